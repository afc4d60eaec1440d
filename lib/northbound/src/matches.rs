//! Matches of rules, read where they are written: what cannot be read is refused, and names of nothing are told.

use std::fmt;
use std::sync::Arc;

use lflow::expr::Reference;
use lflow::{Expr, ParseError};
use nb_db::tables::{AddressSet, LogicalRouterPort, LogicalSwitchPort, PortGroup};
use ovsdb::Datum;
use ovsdb::typed::TableDefinition;

use crate::draft::Draft;
use crate::error::{Refusal, RefusalKind};

/// So many names that are not there are told of one match.
const MAX_TOLD: usize = 8;
/// The column by which all of them are called.
const NAME: &str = "name";

/// A match that nobody could read: what is wrong, and a caret under the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the match cannot be read: {0}")]
pub struct WrongMatch(pub ParseError);

impl Refusal for WrongMatch {
    fn kind(&self) -> RefusalKind {
        RefusalKind::Invalid
    }
}

/// Reads a match, in the expression language of logical flows.
pub fn read(text: &str) -> Result<Expr, WrongMatch> {
    Expr::parse(text).map_err(WrongMatch)
}

/// A name in a match that nothing has. It may come later, and then the match means it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// The name as it stands in the match: `$set`, `@group` or `"port"`.
    pub word: String,
    /// What it would be a name of.
    pub kind: &'static str,
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { word, kind } = self;
        write!(
            f,
            "there is no {kind} {word}: that part of the match is not true of any packet until there is one"
        )
    }
}

/// The names in a match that are names of nothing in the draft, eight of them at most.
pub fn unknown_names(draft: &Draft<'_>, when: &Expr) -> Vec<UnknownName> {
    let mut unknown: Vec<UnknownName> = Vec::new();
    when.references(&mut |reference| {
        if unknown.len() == MAX_TOLD || is_known(draft, reference) {
            return;
        }
        let name = UnknownName {
            word: reference.to_string(),
            kind: reference.kind(),
        };
        if !unknown.contains(&name) {
            unknown.push(name);
        }
    });
    unknown
}

/// The rows that [`unknown_names`] looks for: their tables, and their names there. Who reads no more of these tables than
/// that need not read them whole.
pub fn rows_named(when: &Expr) -> Vec<(&'static str, Arc<str>)> {
    let mut rows = Vec::new();
    when.references(&mut |reference| rows.extend(candidates(reference)));
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// The rows of which one must be there for a name to mean something.
fn candidates(reference: Reference<'_>) -> Vec<(&'static str, Arc<str>)> {
    match reference {
        Reference::AddressSet(name) => {
            let group = reference.group_of_set();
            let group = group.map(|group| (PortGroup::NAME, group));
            let mut rows = vec![(AddressSet::NAME, Arc::clone(name))];
            rows.extend(group);
            rows
        }
        Reference::PortGroup(name) => vec![(PortGroup::NAME, Arc::clone(name))],
        Reference::Port(name) => vec![
            (LogicalSwitchPort::NAME, Arc::clone(name)),
            (LogicalRouterPort::NAME, Arc::clone(name)),
        ],
    }
}

fn is_known(draft: &Draft<'_>, reference: Reference<'_>) -> bool {
    let is_there = |(table, name): (&str, Arc<str>)| {
        let table = draft.schema().table_index(table)?;
        let column = draft.table_schema(table).column_index(NAME)?;
        let found = draft.rows_with(table, column, &Datum::from(&*name));
        (!found.is_empty()).then_some(())
    };
    candidates(reference)
        .into_iter()
        .find_map(is_there)
        .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Snapshot;

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let error = read("ip4.src == 10.0.0.1 && ip4.sorce == 10.0.0.2").expect_err("no match");
        let expected = "the match cannot be read: unknown field \"ip4.sorce\"; perhaps ip4.src is meant\n  \
                        ip4.src == 10.0.0.1 && ip4.sorce == 10.0.0.2\n                         ^^^^^^^^^";
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.kind(), RefusalKind::Invalid);
    }

    #[test]
    fn names_of_nothing_are_told_once_and_not_without_end() {
        let before = Snapshot::empty(nb_db::schema().clone());
        let mut draft = Draft::new(&before);
        let group = PortGroup {
            name: "known".into(),
            ..PortGroup::default()
        };
        draft.insert_as(&group).expect("the schema has port groups");
        let words = |text: &str| -> Vec<String> {
            let when = read(text).expect("a match");
            let unknown = unknown_names(&draft, &when).into_iter();
            unknown.map(|name| name.word).collect()
        };
        let text = "inport == @known && ip4.src == {$known_ip4, $none, $none} && outport == \"vm\"";
        assert_eq!(words(text), ["$none", "\"vm\""]);
        let many: Vec<String> = (0..20).map(|number| format!("$set{number}")).collect();
        let text = format!("ip4.src == {{{}}}", many.join(", "));
        assert_eq!(words(&text).len(), MAX_TOLD);
    }

    #[test]
    fn only_rows_of_these_names_are_looked_for() {
        let when = read("inport == \"p\" && ip4.src == {$a_ip4, $a_ip4, $b}").expect("a match");
        let told: Vec<String> = rows_named(&when)
            .into_iter()
            .map(|(table, name)| format!("{table} {name}"))
            .collect();
        let expected = [
            "Address_Set a_ip4",
            "Address_Set b",
            "Logical_Router_Port p",
            "Logical_Switch_Port p",
            "Port_Group a",
        ];
        assert_eq!(told, expected);
    }
}
