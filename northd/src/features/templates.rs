//! Template variables: `^name` in a load balancer or a match is what a chassis' row of `Chassis_Template_Var` says. The rows are
//! copied southbound, where chassis find theirs.

use std::sync::Arc;

use nb_db::tables as nb;
use ovsdb::Atom;
use ovsdb::typed::{Table, TableDefinition};
use relations::{Bucket, Handle, Small};
use sb_db::tables::ChassisTemplateVar;
use uuid::Uuid;

use crate::compiler::feature::{Feature, Index, Kind, Over, Owned, Source};
use crate::compiler::identity;
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::Change;

const BY_CHASSIS: Index =
    Index::south::<ChassisTemplateVar>(ChassisTemplateVar::COLUMN.chassis.index);

static ROWS: Owned = Owned::south::<ChassisTemplateVar>(&[
    ChassisTemplateVar::COLUMN.chassis.index,
    ChassisTemplateVar::COLUMN.variables.index,
]);

/// The rows that give a variable of this name ([`name_of`]) a value.
static VALUES: Bucket<Uuid, Uuid> = Bucket::new("values of template variables");

/// Whether any chassis has a value for a variable. For units that declare to read [`READS`].
pub fn has_value(unit: &Unit<'_>, name: &str) -> bool {
    !unit.members(&VALUES, name_of(name)).is_empty()
}

/// What [`has_value`] reads.
pub const READS: &dyn relations::Declared = &VALUES;

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[Source::north::<nb::ChassisTemplateVar>(&[
        nb::ChassisTemplateVar::COLUMN.chassis.index,
        nb::ChassisTemplateVar::COLUMN.variables.index,
    ])],
    indexes: &[BY_CHASSIS],
    owns: &[&ROWS],
    relations: &[&VALUES],
    kinds: &[&COPY],
    #[cfg(test)]
    operator: &[Change {
        weight: 2,
        run: tests::change,
    }],
    ..Feature::new("template variables")
};

static COPY: Kind = Kind {
    name: "template-variables",
    over: Over::North(nb::ChassisTemplateVar::INDEX),
    reads: &[],
    says: &[&VALUES],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let of = unit.uuid(row);
        for (name, _) in columns
            .get(nb::ChassisTemplateVar::COLUMN.variables.index)
            .pairs()
        {
            if let Some(name) = name.as_str() {
                unit.join(&VALUES, name_of(name), of);
            }
        }
        let (north, south) = (nb::ChassisTemplateVar::COLUMN, ChassisTemplateVar::COLUMN);
        let chassis: Arc<str> = north.chassis.get(columns);
        let name = Atom::String(Arc::clone(&chassis));
        let known = unit.recorded(BY_CHASSIS, &name).next();
        let uuid = known.map_or_else(
            || identity::named(ChassisTemplateVar::NAME, Uuid::nil(), &chassis),
            |(uuid, _)| uuid,
        );
        let copied = [
            (south.chassis.index, north.chassis.index),
            (south.variables.index, north.variables.index),
        ];
        let copied = copied.map(|(to, from)| (to, columns.get(from).clone()));
        unit.row::<ChassisTemplateVar>(uuid, copied);
    },
};

/// A name as a key.
fn name_of(name: &str) -> Uuid {
    identity::named(nb::ChassisTemplateVar::NAME, Uuid::nil(), name)
}

#[cfg(test)]
mod tests {
    use ovsdb::operation::Operation;

    use super::*;
    use crate::testing::random::Rng;
    use crate::testing::{World, insert};

    /// A chassis has variables, others than before, or none.
    pub fn change(world: &mut World, rng: &mut Rng) -> String {
        let name: Arc<str> = ["c0", "c1"][rng.below(2)].into();
        let all = world.nb::<nb::ChassisTemplateVar>();
        let known = all.iter().find(|(_, row)| row.chassis == name);
        let value: Arc<str> = ["10.0.0.1", "80", "10.0.0.1:80,10.0.0.2:80"][rng.below(3)].into();
        let row = nb::ChassisTemplateVar {
            chassis: name,
            variables: [(["var", "vip", "backends"][rng.below(3)].into(), value)].into(),
            ..Default::default()
        };
        let operation = match known {
            None => insert(rng.uuid(), &row),
            Some((uuid, _)) if rng.once_in(3) => {
                Operation::delete_row(nb::ChassisTemplateVar::INDEX, *uuid)
            }
            Some((uuid, _)) => {
                let column = nb::ChassisTemplateVar::COLUMN.variables;
                let columns = vec![column.to(&row.variables)];
                Operation::update_row(nb::ChassisTemplateVar::INDEX, *uuid, columns)
            }
        };
        let what = format!("template variables: {operation:?}");
        world.north(vec![operation]);
        what
    }

    #[test]
    fn what_a_chassis_has_is_copied() {
        let mut world = World::new();
        let row = nb::ChassisTemplateVar {
            chassis: "c0".into(),
            variables: [("vip".into(), "10.0.0.1".into())].into(),
            ..Default::default()
        };
        world.north(vec![insert(Uuid::from_u128(1), &row)]);
        let copies = world.sb::<ChassisTemplateVar>();
        let [(_, copy)] = copies.as_slice() else {
            panic!("one row: {copies:?}");
        };
        assert_eq!(
            (&copy.chassis, &copy.variables),
            (&row.chassis, &row.variables)
        );
    }
}
