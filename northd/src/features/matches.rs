//! Matches that users write: read where they were written, and held against what is there.
//!
//! A match that names an address set, a port group or a port that does not exist is compiled as written, and told: the name may
//! come later, and then the match means it.

use std::sync::Arc;

use lflow::Expr;
use lflow::expr::Reference;
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

/// The address set that every network has: where probes of backends come from.
pub const SERVICE_MAC_SET: &str = "svc_monitor_mac";

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
        .map_err(|error| complaints.invalid(column, text, error.at, error.message, remedy))
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
    let mut missing: Vec<Reference<'_>> = Vec::new();
    when.references(&mut |reference| {
        let is_told = missing.len() == MAX_TOLD || missing.contains(&reference);
        if !is_told && !is_name_of_something(unit, reference) {
            missing.push(reference);
        }
    });
    for reference in missing {
        let why = format!("there is no {} {reference}", reference.kind());
        let remedy = "it matches nothing until there is one";
        complaints.warning(column, text, reference.place_in(text), why, remedy);
    }
}

fn is_name_of_something(unit: &Unit<'_>, reference: Reference<'_>) -> bool {
    let is_there = |index: Index, name: &Arc<str>| {
        let name = Atom::from(&**name);
        !unit.having(index, &name).is_empty()
    };
    match reference {
        Reference::AddressSet(name) => {
            let group = reference.group_of_set();
            &**name == SERVICE_MAC_SET
                || is_there(ADDRESS_SETS, name)
                || group.is_some_and(|group| is_there(PORT_GROUPS, &group))
        }
        Reference::PortGroup(name) => is_there(PORT_GROUPS, name),
        Reference::Port(name) => is_there(PORTS, name),
    }
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
}
