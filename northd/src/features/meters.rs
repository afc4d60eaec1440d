//! Meters: copies for actions that name them, with their bands.
//!
//! A *fair* meter is one for each of its users, who say their own copy of it under a name of their own.

use std::sync::Arc;

use nb_db::tables as nb;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Atom, Datum};
use relations::{Handle, Small};
use sb_db::tables::{Meter, MeterBand};
use uuid::Uuid;

use crate::compiler::feature::{Feature, Index, Kind, Over, Owned, Source};
use crate::compiler::identity;
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::Change;

/// Northbound meters by name.
pub const BY_NAME: Index = Index::north::<nb::Meter>(nb::Meter::COLUMN.name.index);
const SOUTH_BY_NAME: Index = Index::south::<Meter>(Meter::COLUMN.name.index);

static ROWS: Owned = Owned::south::<Meter>(&[
    Meter::COLUMN.name.index,
    Meter::COLUMN.unit.index,
    Meter::COLUMN.bands.index,
]);
static BANDS: Owned = Owned::south::<MeterBand>(&[
    MeterBand::COLUMN.action.index,
    MeterBand::COLUMN.rate.index,
    MeterBand::COLUMN.burst_size.index,
]);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<nb::Meter>(&[
            nb::Meter::COLUMN.name.index,
            nb::Meter::COLUMN.unit.index,
            nb::Meter::COLUMN.bands.index,
            nb::Meter::COLUMN.fair.index,
        ]),
        Source::north::<nb::MeterBand>(&[
            nb::MeterBand::COLUMN.action.index,
            nb::MeterBand::COLUMN.rate.index,
            nb::MeterBand::COLUMN.burst_size.index,
        ]),
    ],
    indexes: &[SOUTH_BY_NAME],
    owns: &[&BANDS, &ROWS],
    kinds: &[&COPY],
    #[cfg(test)]
    operator: &[Change {
        weight: 2,
        run: tests::change,
    }],
    ..Feature::new("meters")
};

static COPY: Kind = Kind {
    name: "meter",
    over: Over::North(nb::Meter::INDEX),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        if let Some(columns) = unit.north(row) {
            let name: Arc<str> = nb::Meter::COLUMN.name.get(columns);
            say(unit, &name, row);
        }
    },
};

/// The meter of this name. For features that declare to read the table.
pub fn find(unit: &Unit<'_>, name: &str) -> Option<Handle> {
    unit.having(BY_NAME, &Atom::from(name)).first().copied()
}

/// Says a copy of a meter under a name. For features that declare to read all four tables.
pub fn say(unit: &mut Unit<'_>, name: &str, meter: Handle) {
    let Some(columns) = unit.north(meter) else {
        return;
    };
    let recorded = unit.recorded(SOUTH_BY_NAME, &Atom::from(name)).next();
    let uuid = recorded.map_or_else(
        || identity::named(Meter::NAME, Uuid::nil(), name),
        |(uuid, _)| uuid,
    );
    let mut bands = Vec::new();
    for band in nb::Meter::COLUMN.bands.get(columns) {
        let Some(row) = unit.find_north::<nb::MeterBand>(band) else {
            continue;
        };
        let Some(columns) = unit.north(row) else {
            continue;
        };
        let (from, to) = (nb::MeterBand::COLUMN, MeterBand::COLUMN);
        let copied = [
            (to.action.index, columns.get(from.action.index).clone()),
            (to.rate.index, columns.get(from.rate.index).clone()),
            (
                to.burst_size.index,
                columns.get(from.burst_size.index).clone(),
            ),
        ];
        let band = identity::named(MeterBand::NAME, band, name);
        unit.row::<MeterBand>(band, copied);
        bands.push(Atom::Uuid(band));
    }
    let column = Meter::COLUMN;
    let unit_of = columns.get(nb::Meter::COLUMN.unit.index).clone();
    unit.row::<Meter>(
        uuid,
        [
            (column.name.index, Datum::from(name)),
            (column.unit.index, unit_of),
            (column.bands.index, Datum::set(bands)),
        ],
    );
}

#[cfg(test)]
mod tests {
    use ovsdb::operation::Operation;

    use super::*;
    use crate::testing::random::Rng;
    use crate::testing::{World, insert};

    /// A meter comes, goes, becomes fair, or gets another rate.
    pub fn change(world: &mut World, rng: &mut Rng) -> String {
        let all = world.nb::<nb::Meter>();
        let operation = match rng.pick(&all).filter(|_| !rng.once_in(3)) {
            Some((uuid, _)) if rng.once_in(3) => {
                vec![Operation::delete_row(nb::Meter::INDEX, *uuid)]
            }
            Some((uuid, row)) => {
                let fair = Some(row.fair != Some(true));
                let columns = vec![nb::Meter::COLUMN.fair.to(&fair)];
                vec![Operation::update_row(nb::Meter::INDEX, *uuid, columns)]
            }
            None => {
                let name: Arc<str> = ["m1", "m2"][rng.below(2)].into();
                if all.iter().any(|(_, row)| row.name == name) {
                    return "the meter is there".to_owned();
                }
                let (meter, band) = (rng.uuid(), rng.uuid());
                let of = nb::MeterBand {
                    action: "drop".into(),
                    rate: [1, 10][rng.below(2)],
                    ..Default::default()
                };
                let row = nb::Meter {
                    name,
                    unit: "pktps".into(),
                    bands: vec![band],
                    ..Default::default()
                };
                vec![insert(band, &of), insert(meter, &row)]
            }
        };
        let what = format!("meters: {operation:?}");
        world.north(operation);
        what
    }
}
