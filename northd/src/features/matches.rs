//! Matches that users write: read where they were written, and held against what is there.
//!
//! A match that names an address set, a port group or a port that does not exist is compiled as written, and told: the name may
//! come later, and then the match means it.

use std::sync::Arc;

use lflow::{Constant, Expr, Symbol};
use nb_db::tables::{AddressSet, LogicalSwitchPort, PortGroup};
use ovsdb::Atom;

use crate::compiler::feature::Index;
use crate::compiler::problem::Complaints;
use crate::compiler::unit::Unit;

/// Address sets by name.
pub const ADDRESS_SETS: Index = Index::north::<AddressSet>(AddressSet::COLUMN.name.index);
/// Port groups by name.
pub const PORT_GROUPS: Index = Index::north::<PortGroup>(PortGroup::COLUMN.name.index);
/// Ports of switches by name.
pub const PORTS: Index = Index::north::<LogicalSwitchPort>(LogicalSwitchPort::COLUMN.name.index);

/// So many names that are not there are told of one match.
const MAX_TOLD: usize = 8;

/// Reads a match. `remedy` says what becomes of a row whose match cannot be read.
pub fn parse(
    text: &str,
    column: &'static str,
    remedy: &str,
    complaints: &mut Complaints,
) -> Option<Expr> {
    Expr::parse(text)
        .map_err(|error| complaints.text(column, text, error.at, error.message, remedy))
        .ok()
}

/// Tells which names in a match are names of nothing. The feature declares the three tables and indexes.
pub fn check_names(
    unit: &Unit<'_>,
    when: &Expr,
    text: &str,
    column: &'static str,
    complaints: &mut Complaints,
) {
    let mut missing: Vec<(String, String)> = Vec::new();
    when.comparisons(&mut |comparison| {
        for constant in &comparison.constants {
            if missing.len() == MAX_TOLD {
                return;
            }
            let lost = match constant {
                Constant::AddressSet(name) if !is_address_set(unit, name) => {
                    (format!("${name}"), "address set")
                }
                Constant::PortGroup(name) if !is_there(unit, PORT_GROUPS, name) => {
                    (format!("@{name}"), "port group")
                }
                Constant::Str(name)
                    if is_port_field(comparison.field.symbol()) && !is_port(unit, name) =>
                {
                    (format!("\"{name}\""), "port")
                }
                _ => continue,
            };
            if !missing.iter().any(|(word, _)| *word == lost.0) {
                missing.push((lost.0, lost.1.to_owned()));
            }
        }
    });
    for (word, kind) in missing {
        let why = format!("there is no {kind} {word}");
        let at = place_of(&word, text);
        let remedy = "it matches nothing until there is one";
        complaints.warning(column, text, at, why, remedy);
    }
}

fn is_port_field(symbol: Symbol) -> bool {
    matches!(symbol, Symbol::Inport | Symbol::Outport)
}

/// Groups of ports for multicast have names, too, and are not rows of users.
fn is_port(unit: &Unit<'_>, name: &Arc<str>) -> bool {
    name.starts_with("_MC_") || is_there(unit, PORTS, name)
}

/// A port group stands for two address sets.
fn is_address_set(unit: &Unit<'_>, name: &Arc<str>) -> bool {
    let of_group = ["_ip4", "_ip6"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix));
    is_there(unit, ADDRESS_SETS, name)
        || of_group.is_some_and(|group| is_there(unit, PORT_GROUPS, group))
}

fn is_there(unit: &Unit<'_>, index: Index, name: &str) -> bool {
    !unit.having(index, &Atom::from(name)).is_empty()
}

/// Where a word stands in a text, as a whole word if possible.
pub fn place_of(word: &str, text: &str) -> usize {
    let continues = |end: usize| {
        let next = text[end..].chars().next();
        next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
    };
    let mut places = text.match_indices(word).map(|(at, _)| at);
    places
        .find(|at| word.ends_with('"') || !continues(at + word.len()))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_deep_matches_are_read_or_refused_by_name() {
        let parse = |text: &str| {
            let row = ovsdb::Uuid::nil();
            let mut complaints = Complaints::about("ACL", row, "".into());
            let read = parse(text, "match", "it is left out", &mut complaints).is_some();
            (
                read,
                complaints.into_problems().pop().map(|problem| problem.why),
            )
        };
        let long = vec!["ip4.src == 10.0.0.1"; 3000].join(" || ");
        assert!(long.len() > 64 << 10);
        assert_eq!(parse(&long), (true, None));
        for deep in [
            format!("{}ip4{}", "(".repeat(1000), ")".repeat(1000)),
            "!".repeat(1000) + "ip4",
        ] {
            let (read, why) = parse(&deep);
            let why = why.expect("a problem");
            assert!(!read && why.contains("nested more than"), "{why}");
        }
    }

    #[test]
    fn a_name_is_found_as_a_whole_word() {
        for (word, text, at) in [
            ("$a", "ip4.src == $ab || ip4.src == $a", 29),
            ("@pg", "inport == @pg && ip4.src == $pg_ip4", 10),
            ("\"p\"", "inport == \"p\"", 10),
            ("outport", "ip4 && outport == \"p\"", 7),
        ] {
            assert_eq!(place_of(word, text), at, "{word} in {text}");
        }
    }
}
