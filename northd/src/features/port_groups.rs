//! Port groups: copies for matches that name them.
//!
//! A group is one southbound row for each datapath that has members, called by the datapath's key, and two address sets of
//! the members' addresses. Each port says for itself in which groups it is: one that joins a group of many costs itself.
//!
//! A northbound address set that has the name of a group's addresses is used in their place, and told.

use std::sync::Arc;

use nb_db::tables as nb;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Atom, Datum};
use relations::{Handle, Key, Relation, Set, Small};
use sb_db::tables::{AddressSet, PortGroup};
use uuid::Uuid;

use super::switch::DATAPATH;
use super::{address_sets, ports};
use crate::compiler::feature::{Feature, Index, Kind, Over, Owned, Source};
use crate::compiler::identity;
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::{Change, random};

/// The name of each group.
static NAME: Relation<Handle, Arc<str>> = Relation::new("port group");
/// The members of each group, by their switch.
pub static MEMBERS: Set<(Handle, Handle)> = Set::new("port group members");
/// The addresses of each group's members, by the version of IP.
static ADDRESSES: Set<(Handle, u32)> = Set::new("port group addresses");

const GROUPS_OF_PORT: Index = Index::north::<nb::PortGroup>(nb::PortGroup::COLUMN.ports.index);
const SETS_BY_NAME: Index = Index::north::<nb::AddressSet>(nb::AddressSet::COLUMN.name.index);
const BY_NAME: Index = Index::south::<PortGroup>(PortGroup::COLUMN.name.index);

static ROWS: Owned =
    Owned::south::<PortGroup>(&[PortGroup::COLUMN.name.index, PortGroup::COLUMN.ports.index]);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<nb::PortGroup>(&[
            nb::PortGroup::COLUMN.name.index,
            nb::PortGroup::COLUMN.ports.index,
        ]),
        Source::north::<nb::AddressSet>(&[nb::AddressSet::COLUMN.name.index]),
        // Written in the name of the feature whose table it is.
        Source::south::<AddressSet>(&[AddressSet::COLUMN.name.index]),
    ],
    indexes: &[GROUPS_OF_PORT, SETS_BY_NAME, BY_NAME],
    owns: &[&ROWS],
    relations: &[&NAME],
    kinds: &[&MODEL, &JOIN, &GROUP],
    #[cfg(test)]
    operator: &[Change {
        weight: 4,
        run: random::port_groups,
    }],
    ..Feature::new("port-groups")
};

static MODEL: Kind = Kind {
    name: "port-group/addresses",
    over: Over::North(nb::PortGroup::INDEX),
    reads: &[],
    says: &[&NAME],
    wants: &[],
    run: model,
};

static JOIN: Kind = ports::kind!([], [&MEMBERS, &ADDRESSES], |unit, view| {
    for group in unit.referrers(GROUPS_OF_PORT, view.row) {
        let name = Atom::String(Arc::clone(&view.port.name));
        unit.member(&MEMBERS, (*group, view.switch), name);
        for ip in view.addresses().flat_map(|entry| &entry.ips) {
            let version = if ip.is_ipv4() { 4 } else { 6 };
            unit.member(&ADDRESSES, (*group, version), ip.addr().to_string());
        }
    }
});

static GROUP: Kind = Kind {
    name: "port-group",
    over: Over::Keys(&MEMBERS),
    reads: &[&NAME, &DATAPATH],
    says: &[],
    wants: &[],
    run: group,
};

fn model(unit: &mut Unit<'_>, key: Key) {
    let row = Handle::unpack(key);
    let Some(columns) = unit.north(row) else {
        return;
    };
    let column = nb::PortGroup::COLUMN;
    let name: Arc<str> = column.name.get(columns);
    let mut complaints = unit.complaints::<nb::PortGroup>(row, Arc::clone(&name));
    for version in [4, 6] {
        let set = format!("{name}_ip{version}");
        if unit
            .having(SETS_BY_NAME, &Atom::from(set.as_str()))
            .is_empty()
        {
            address_sets::say(unit, &set, ADDRESSES.cell((row, version)));
        } else {
            let why = format!(
                "there is an address set {set:?}, which is also the name for the group's addresses"
            );
            complaints.column(
                column.name.name,
                why,
                "the address set is used: rename one of the two",
            );
        }
    }
    unit.say(&NAME, row, name);
    unit.problems(complaints.into_problems());
}

fn group(unit: &mut Unit<'_>, key: Key) {
    let (row, switch) = <(Handle, Handle)>::unpack(key);
    let (Some(name), Some(datapath)) = (unit.get(&NAME, row), unit.get(&DATAPATH, switch)) else {
        return;
    };
    let name = format!("{}_{name}", datapath.key);
    let recorded = unit.recorded(BY_NAME, &Atom::from(name.as_str())).next();
    let uuid = recorded.map_or_else(
        || identity::named(PortGroup::NAME, Uuid::nil(), &name),
        |(uuid, _)| uuid,
    );
    let column = PortGroup::COLUMN;
    let columns = [(column.name.index, Datum::from(name))];
    let sets = Box::new([(column.ports.index, MEMBERS.cell((row, switch)))]);
    unit.row_of_sets::<PortGroup>(uuid, columns, sets);
}
