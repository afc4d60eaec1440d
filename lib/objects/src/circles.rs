//! Names that lead back to where they come from. The database takes them, and packets would go round: a container in a
//! container that is in it, and chains of policies that send packets to each other. What would close such a circle is refused:
//! a new row, or a change of one of the fields that lead on. One that is there already, made by other means, stays the business of
//! whoever made it, and its rows can be changed in all else.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use nb_db::tables::{LogicalRouter, LogicalRouterPolicy, LogicalSwitchPort};
use northbound::Draft;
use ovsdb::{Atom, Table, Uuid};

use crate::catalog::Kind;
use crate::declared::{Wrongs, refuse};
use crate::error::{Code, Refused, Violation};
use crate::kinds::OF_ROUTER;

/// So many names of a circle are told.
const TOLD: usize = 5;

/// An object that a request has made or changed.
#[derive(Debug)]
pub struct Written {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its row.
    pub uuid: Uuid,
    /// Its place in the request.
    pub place: String,
    /// The fields that were changed; nothing if it was made.
    pub changed: Option<Vec<&'static str>>,
}

impl Written {
    /// Whether it is of this table, and one of these fields is another than before.
    pub(crate) fn changes(&self, table: usize, fields: &[&str]) -> bool {
        let is_among = |changed: &Vec<&str>| changed.iter().any(|field| fields.contains(field));
        self.kind.table == table && self.changed.as_ref().is_none_or(is_among)
    }

    /// A refusal for a field of it.
    pub(crate) fn wrong(&self, column: &str, why: String, remedy: &str) -> (Code, Violation) {
        let field = format!("{}.{column}", self.kind.label());
        let violation = Violation::new(field, why, remedy).within(&self.place);
        (Code::Conflict, violation)
    }
}

/// Refuses what would be part of a circle.
pub fn check(draft: &Draft<'_>, written: &[Written]) -> Result<(), Refused> {
    let mut wrongs = containers(draft, written);
    wrongs.extend(chains(draft, written));
    match wrongs.is_empty() {
        true => Ok(()),
        false => Err(refuse(wrongs)),
    }
}

/// Whether a text of a row says something.
fn said(text: Option<Arc<str>>) -> Option<Arc<str>> {
    text.filter(|text| !text.is_empty())
}

/// Containers that are in themselves.
fn containers(draft: &Draft<'_>, written: &[Written]) -> Wrongs {
    let column = LogicalSwitchPort::COLUMN;
    let parent = |port: Uuid| -> Option<Uuid> {
        let name = said(draft.get::<LogicalSwitchPort, _>(port, column.parent_name))?;
        let named = draft.rows_with(
            LogicalSwitchPort::INDEX,
            column.name.index,
            &ovsdb::Datum::from(&*name),
        );
        named.first().copied()
    };
    let mut wrongs = Wrongs::new();
    // Every port is gone by once.
    let (mut ends, mut circle_of) = (HashSet::new(), HashMap::new());
    let leading = [column.parent_name.name];
    let ports = written
        .iter()
        .filter(|object| object.changes(LogicalSwitchPort::INDEX, &leading));
    for object in ports {
        let mut way = vec![object.uuid];
        let mut places = HashMap::from([(object.uuid, 0)]);
        while let Some(next) = way.last().and_then(|port| parent(*port)) {
            if ends.contains(&next) || circle_of.contains_key(&next) {
                break;
            }
            if let Some(start) = places.get(&next) {
                let circle: Arc<[Uuid]> = way.drain(start..).collect();
                circle_of.extend(circle.iter().map(|port| (*port, Arc::clone(&circle))));
                break;
            }
            places.insert(next, way.len());
            way.push(next);
        }
        ends.extend(way.into_iter().filter(|port| !circle_of.contains_key(port)));
        if let Some(circle) = circle_of.get(&object.uuid) {
            let names = circle.iter().chain(circle.first()).take(TOLD);
            let names = names.map(|port| draft.get::<LogicalSwitchPort, _>(*port, column.name));
            let names: Vec<String> = names.map(|name| name.to_string()).collect();
            let why = format!("the port would be in itself: {}", names.join(" in "));
            let remedy = "name the port of the guest that the container is in";
            wrongs.push(object.wrong(column.parent_name.name, why, remedy));
        }
    }
    wrongs
}

/// A policy, its chain, and the chain that it jumps to.
type Jump<'w> = (&'w Written, Arc<str>, Arc<str>);

/// Policies that send packets back to their own chain.
fn chains(draft: &Draft<'_>, written: &[Written]) -> Wrongs {
    let column = LogicalRouterPolicy::COLUMN;
    let jump = |policy: Uuid| -> Option<(Arc<str>, Arc<str>)> {
        let text = |column| said(draft.get::<LogicalRouterPolicy, _>(policy, column));
        let action = draft.get::<LogicalRouterPolicy, _>(policy, column.action);
        (&*action == "jump").then_some(())?;
        Some((text(column.chain)?, text(column.jump_chain)?))
    };
    let mut by_router: BTreeMap<Uuid, Vec<Jump<'_>>> = BTreeMap::new();
    let columns = [
        column.action.name,
        column.chain.name,
        column.jump_chain.name,
    ];
    let leading = [&columns[..], &[OF_ROUTER]].concat();
    let policies = written
        .iter()
        .filter(|object| object.changes(LogicalRouterPolicy::INDEX, &leading));
    for object in policies {
        let Some((from, to)) = jump(object.uuid) else {
            continue;
        };
        let policies = LogicalRouter::COLUMN.policies.index;
        let atom = Atom::Uuid(object.uuid);
        for router in draft.rows_containing(LogicalRouter::INDEX, policies, &atom) {
            let of_router = by_router.entry(router).or_default();
            of_router.push((object, Arc::clone(&from), Arc::clone(&to)));
        }
    }
    let mut wrongs = Wrongs::new();
    for (router, jumps) in by_router {
        let all = draft.get::<LogicalRouter, _>(router, LogicalRouter::COLUMN.policies);
        let graph = Graph::of(all.into_iter().filter_map(jump));
        for (object, from, to) in jumps {
            if graph.leads_back(&from, &to) {
                let why = format!("from the chain {to:?} packets would come back to {from:?}");
                let remedy = "let no chain lead to one from which it is reached";
                wrongs.push(object.wrong(column.jump_chain.name, why, remedy));
            }
        }
    }
    wrongs
}

/// Names, and which leads to which.
#[derive(Debug, Default)]
struct Graph {
    numbers: HashMap<Arc<str>, usize>,
    /// By name: names that lead to each other have the same number.
    components: Vec<usize>,
}

impl Graph {
    fn of(edges: impl Iterator<Item = (Arc<str>, Arc<str>)>) -> Self {
        let mut numbers: HashMap<Arc<str>, usize> = HashMap::new();
        let (mut next, mut before) = (Vec::new(), Vec::new());
        for (from, to) in edges {
            let [from, to] = [from, to].map(|name| {
                let count = numbers.len();
                *numbers.entry(name).or_insert(count)
            });
            next.resize_with(numbers.len(), Vec::new);
            before.resize_with(numbers.len(), Vec::new);
            next[from].push(to);
            before[to].push(from);
        }
        let components = components(&next, &before);
        Self {
            numbers,
            components,
        }
    }

    /// Whether a step from one name to another is part of a circle.
    fn leads_back(&self, from: &str, to: &str) -> bool {
        let component = |name: &str| Some(self.components[*self.numbers.get(name)?]);
        component(from).is_some() && component(from) == component(to)
    }
}

/// The strongly connected components of a graph, by Kosaraju's and Sharir's method: who is reached backwards from whoever was
/// left last.
fn components(next: &[Vec<usize>], before: &[Vec<usize>]) -> Vec<usize> {
    let mut left = Vec::new();
    let mut is_seen = vec![false; next.len()];
    for start in 0..next.len() {
        let mut stack = vec![(start, 0)];
        while let Some((node, step)) = stack.pop() {
            if step == 0 && std::mem::replace(&mut is_seen[node], true) {
                continue;
            }
            match next[node].get(step) {
                Some(child) => stack.extend([(node, step + 1), (*child, 0)]),
                None => left.push(node),
            }
        }
    }
    let mut component = vec![usize::MAX; next.len()];
    for start in left.into_iter().rev() {
        let mut stack = vec![start];
        while let Some(node) = stack.pop() {
            if component[node] == usize::MAX {
                component[node] = start;
                stack.extend(&before[node]);
            }
        }
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leads_to_whom() {
        let graph = |edges: &str| {
            let pair = |edge: &str| {
                let (from, to) = edge.split_once('>').expect("an edge");
                (Arc::from(from), Arc::from(to))
            };
            Graph::of(edges.split(' ').map(pair))
        };
        for (edges, from, to, expected) in [
            ("a>b", "a", "b", false),
            ("a>a", "a", "a", true),
            ("a>b b>a", "a", "b", true),
            ("a>b b>c c>d d>b", "b", "c", true),
            ("a>b b>c c>d d>b", "a", "b", false),
            ("a>b a>c b>d c>d", "a", "b", false),
            ("a>b b>c c>a c>d d>e e>d", "c", "d", false),
            ("a>b b>c c>a c>d d>e e>d", "e", "d", true),
        ] {
            assert_eq!(graph(edges).leads_back(from, to), expected, "{edges}");
        }
    }
}
