//! Ports that are here in addition to their main chassis, while their guests move from one to the other.

use ovsdb::mutation::{Mutation, Mutator};
use ovsdb::{Atom, Datum, Uuid};
use sb_db::tables::PortBinding;

/// In `Port_Binding.options`: the names of the chassis at which the guest has spoken.
pub const ACTIVATED: &str = "additional-chassis-activated";

/// Whether a chassis has a port, or is to have it, in addition to its main one.
pub fn is_additional(port: &PortBinding, chassis: Uuid) -> bool {
    let is_main = port.requested_chassis == Some(chassis) || port.chassis == Some(chassis);
    let is_named = port.additional_chassis.contains(&chassis)
        || port.requested_additional_chassis.contains(&chassis);
    is_named && !is_main
}

/// Whether the southbound says that the guest has spoken at the chassis of this name.
pub fn has_spoken(port: &PortBinding, chassis: &str) -> bool {
    let names = port.options.get(ACTIVATED);
    let mut names = names.map_or("", |names| names).split(',');
    names.any(|name| name.trim() == chassis)
}

/// What makes a port's row say at which chassis its guest has spoken; at none if `names` is empty.
pub fn say_spoken(names: &str) -> Vec<Mutation> {
    let column = PortBinding::COLUMN.options.index;
    let key = Datum::set([Atom::from(ACTIVATED)]);
    let mut mutations = vec![Mutation::new(column, Mutator::Delete, key)];
    if !names.is_empty() {
        let pair = Datum::map([(Atom::from(ACTIVATED), Atom::from(names))]);
        mutations.push(Mutation::new(column, Mutator::Insert, pair));
    }
    mutations
}
