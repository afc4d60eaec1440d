//! Circles between the modules of a crate.
//!
//! Modules that stand side by side point one way: what is in one and in the modules inside it may use what is in
//! another, or the other way round, not both, and not by way of a third. A module and those inside it are one room: they
//! may use each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::modules::{Mention, Modules, Name};

/// So many places are shown of what ties a module to the next.
const SHOWN: usize = 3;

/// A circle: each module, and what ties it to the next; the last is tied to the first.
#[derive(Debug)]
struct Circle {
    /// The module that has them all in it.
    parent: Name,
    /// How many modules can be reached from each other.
    modules: usize,
    /// The shortest way round.
    way: Vec<(String, Vec<Mention>)>,
}

/// Looks at every crate of the workspace.
pub fn check(top: &Path, metadata: &Value) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let mut circles = Vec::new();
        for target in package["targets"].as_array().into_iter().flatten() {
            let is_source = ["lib", "bin"].iter().any(|kind| target["kind"][0] == *kind);
            if let Some(root) = target["src_path"].as_str().filter(|_| is_source) {
                circles.extend(find(&Modules::read(top, Path::new(root))?));
            }
        }
        findings.extend(circles.iter().map(|circle| tell(name, circle)));
    }
    Ok(findings)
}

fn tell(name: &str, circle: &Circle) -> String {
    let place: Vec<&str> = [name]
        .into_iter()
        .chain(circle.parent.iter().map(String::as_str))
        .collect();
    let names: Vec<&str> = circle.way.iter().map(|(name, _)| name.as_str()).collect();
    let mut text = format!(
        "{}: a circle, {} -> {} ({} modules are tied)",
        place.join("::"),
        names.join(" -> "),
        names[0],
        circle.modules
    );
    for (number, (from, ties)) in circle.way.iter().enumerate() {
        let to = names[(number + 1) % names.len()];
        text += &format!("\n  {from} -> {to}:");
        for tie in ties.iter().take(SHOWN) {
            let file = tie.file.display();
            text += &format!("\n    {file}:{}: {}", tie.line, tie.path.join("::"));
        }
        if ties.len() > SHOWN {
            text += &format!("\n    and {} more", ties.len() - SHOWN);
        }
    }
    text
}

/// What ties one module to another beside it.
type Ties = BTreeMap<String, BTreeMap<String, Vec<Mention>>>;

/// All circles of a crate, one for each set of modules that can be reached from each other.
fn find(modules: &Modules) -> Vec<Circle> {
    let mut levels: BTreeMap<Name, Ties> = BTreeMap::new();
    for (from, to, mention) in modules.mentions() {
        let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        // One that has the other inside it is one room with it.
        let (Some(a), Some(b)) = (from.get(common), to.get(common)) else {
            continue;
        };
        let ties = levels.entry(from[..common].to_vec()).or_default();
        let ties = ties.entry(a.clone()).or_default();
        ties.entry(b.clone()).or_default().push(mention.clone());
    }
    let mut circles = Vec::new();
    for (parent, ties) in levels {
        let mut done: BTreeSet<&String> = BTreeSet::new();
        for start in ties.keys() {
            if done.contains(start) {
                continue;
            }
            let forth = reached(start, &ties);
            let tied: BTreeSet<&String> = forth
                .into_iter()
                .filter(|other| reached(other, &ties).contains(start))
                .collect();
            if tied.is_empty() {
                continue;
            }
            circles.push(Circle {
                parent: parent.clone(),
                modules: tied.len(),
                way: shortest(&tied, &ties),
            });
            done.extend(tied);
        }
    }
    circles
}

/// What can be reached from a module, itself only if there is a way back.
fn reached<'t>(start: &str, ties: &'t Ties) -> BTreeSet<&'t String> {
    let mut seen = BTreeSet::new();
    let mut waiting: Vec<&String> = ties
        .get(start)
        .into_iter()
        .flatten()
        .map(|(to, _)| to)
        .collect();
    while let Some(next) = waiting.pop() {
        if seen.insert(next) {
            waiting.extend(ties.get(next).into_iter().flatten().map(|(to, _)| to));
        }
    }
    seen
}

/// The shortest circle through any of the modules.
fn shortest(tied: &BTreeSet<&String>, ties: &Ties) -> Vec<(String, Vec<Mention>)> {
    let ways = tied.iter().filter_map(|start| way_back(start, ties));
    let way = ways.min_by_key(Vec::len).unwrap_or_default();
    let next = |number: usize| &way[(number + 1) % way.len()];
    way.iter()
        .enumerate()
        .map(|(number, from)| {
            let between = ties.get(from).and_then(|ties| ties.get(next(number)));
            (from.clone(), between.cloned().unwrap_or_default())
        })
        .collect()
}

/// The shortest way from a module back to itself, by breadth first.
fn way_back(start: &String, ties: &Ties) -> Option<Vec<String>> {
    let mut from: BTreeMap<&String, &String> = BTreeMap::new();
    let mut level = vec![start];
    while !level.is_empty() {
        let mut next = Vec::new();
        for at in level {
            for to in ties.get(at)?.keys().filter(|to| ties.contains_key(*to)) {
                if to == start {
                    let mut way = vec![at.clone()];
                    let mut back = at;
                    while back != start {
                        back = from[back];
                        way.push(back.clone());
                    }
                    way.reverse();
                    return Some(way);
                }
                if !from.contains_key(to) {
                    from.insert(to, at);
                    next.push(to);
                }
            }
        }
        level = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let circles = find(&Modules::of_text(text));
        circles.iter().map(|circle| tell("x", circle)).collect()
    }

    #[test]
    fn circles_are_told_with_what_ties_them() {
        let text = "mod a { use crate::b::inner::B; pub struct A; }\n\
             mod b { pub mod inner { pub struct B; fn f(_: crate::c::C) {} } }\n\
             mod c { pub struct C(crate::a::A); }\nmod d { use crate::a::A; }";
        assert_eq!(
            told(text),
            ["x: a circle, a -> b -> c -> a (3 modules are tied)\n  \
              a -> b:\n    lib.rs:1: crate::b::inner::B\n  \
              b -> c:\n    lib.rs:2: crate::c::C\n  \
              c -> a:\n    lib.rs:3: crate::a::A"]
        );
    }

    #[test]
    fn circles_inside_a_module_are_found_and_rooms_are_not_circles() {
        let inside = "mod m { pub mod a { use super::b::B; pub struct A; }\n\
             pub mod b { use super::a::A; pub struct B; } }";
        assert!(told(inside)[0].starts_with("x::m: a circle, a -> b -> a (2 modules"));
        let rooms = "mod a { mod part { use super::A; } use part::P; pub struct A; }\n\
             mod b { use crate::a::A; }";
        assert_eq!(told(rooms), [] as [String; 0]);
    }
}
