//! Address sets: copies for matches that name them.
//!
//! An address that comes or goes is written as such: nobody reads or writes the whole set.

use std::sync::Arc;

use nb_db::tables as nb;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Atom, Datum};
use relations::{Cell, Handle, Set, Small};
use sb_db::tables::AddressSet;
use uuid::Uuid;

use crate::compiler::feature::{Feature, Index, Kind, Over, Owned, Source};
use crate::compiler::identity;
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::{Change, random};

/// The addresses of each northbound set.
static ADDRESSES: Set<Handle> = Set::new("address set");

const BY_NAME: Index = Index::south::<AddressSet>(AddressSet::COLUMN.name.index);

static ROWS: Owned = Owned::south::<AddressSet>(&[
    AddressSet::COLUMN.name.index,
    AddressSet::COLUMN.addresses.index,
]);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[Source::north::<nb::AddressSet>(&[
        nb::AddressSet::COLUMN.name.index,
        nb::AddressSet::COLUMN.addresses.index,
    ])],
    indexes: &[BY_NAME],
    owns: &[&ROWS],
    kinds: &[&COPY],
    #[cfg(test)]
    operator: &[Change {
        weight: 3,
        run: random::address_sets,
    }],
    ..Feature::new("address-sets")
};

static COPY: Kind = Kind {
    name: "address-set",
    over: Over::North(nb::AddressSet::INDEX),
    reads: &[],
    says: &[&ADDRESSES],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let column = nb::AddressSet::COLUMN;
        let name: Arc<str> = column.name.get(columns);
        unit.mirror(&ADDRESSES, row, row, column.addresses.index);
        say(unit, &name, ADDRESSES.cell(row));
    },
};

/// Says an address set of this name with the members of a set. For features whose own the table is, or that declare to read
/// it.
pub fn say(unit: &mut Unit<'_>, name: &str, members: Cell) {
    let column = AddressSet::COLUMN;
    let recorded = unit.recorded(BY_NAME, &Atom::from(name)).next();
    let uuid = recorded.map_or_else(
        || identity::named(AddressSet::NAME, Uuid::nil(), name),
        |(uuid, _)| uuid,
    );
    let columns = [(column.name.index, Datum::from(name))];
    let sets = Box::new([(column.addresses.index, members)]);
    unit.row_of_sets::<AddressSet>(uuid, columns, sets);
}
