//! What chassis cannot do of what is asked of them, told to whoever wrote it.
//!
//! Arrives: `Chassis_Private.external_ids:weft-problem-HINT`, in which controllers say of which northbound row they cannot make flows, and
//! why: a match that is too large once its sets are known, more backends than fit into a group of the switch. `HINT` is what the row's
//! logical flows say of it, the first half of its UUID. Guarantees a `Problem` of each row that begins so

use std::sync::Arc;

use nb_db::tables::{Acl, LoadBalancer, LogicalRouterPolicy, Nat, Qos};
use ovsdb::typed::{Table, TableDefinition};
use relations::{Bucket, Handle, Key, Small};
use sb_db::tables::ChassisPrivate;

use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::problem::Complaints;
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::Change;

/// What the keys begin with.
const KEY: &str = "weft-problem-";
/// So many are believed of a chassis, and so many characters of each.
const MAX_REPORTS: usize = 64;
const MAX_TEXT: usize = 300;

/// The rows of which chassis may say something, by the first half of their UUIDs; each with the number of its table here.
static WRITTEN: Bucket<u32, (Handle, u32)> = Bucket::new("rows for chassis");

/// The chassis that say something of such rows.
static REPORTED: Bucket<u32, Handle> = Bucket::new("reports of chassis");

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<Acl>(&[Acl::COLUMN.name.index]),
        Source::north::<LoadBalancer>(&[LoadBalancer::COLUMN.name.index]),
        Source::north::<LogicalRouterPolicy>(&[]),
        Source::north::<Nat>(&[]),
        Source::north::<Qos>(&[]),
        Source::south::<ChassisPrivate>(&[
            ChassisPrivate::COLUMN.name.index,
            ChassisPrivate::COLUMN.external_ids.index,
        ]),
    ],
    relations: &[&WRITTEN, &REPORTED],
    kinds: &[
        &ACLS, &BALANCERS, &POLICIES, &NATS, &QOS, &REPORTS, &PROBLEM,
    ],
    #[cfg(test)]
    operator: &[Change {
        weight: 2,
        run: tests::change,
    }],
    ..Feature::new("enforcement")
};

static ACLS: Kind = Kind {
    name: "enforcement/acl",
    over: Over::North(Acl::INDEX),
    run: |unit, key| note(unit, key, 0),
    ..NOTES
};
static BALANCERS: Kind = Kind {
    name: "enforcement/load-balancer",
    over: Over::North(LoadBalancer::INDEX),
    run: |unit, key| note(unit, key, 1),
    ..NOTES
};
static POLICIES: Kind = Kind {
    name: "enforcement/policy",
    over: Over::North(LogicalRouterPolicy::INDEX),
    run: |unit, key| note(unit, key, 2),
    ..NOTES
};
static NATS: Kind = Kind {
    name: "enforcement/nat",
    over: Over::North(Nat::INDEX),
    run: |unit, key| note(unit, key, 3),
    ..NOTES
};
static QOS: Kind = Kind {
    name: "enforcement/qos",
    over: Over::North(Qos::INDEX),
    run: |unit, key| note(unit, key, 4),
    ..NOTES
};

const NOTES: Kind = Kind {
    name: "enforcement",
    over: Over::Once,
    reads: &[],
    says: &[&WRITTEN],
    wants: &[],
    run: |_, _| {},
};

fn note(unit: &mut Unit<'_>, key: Key, table: u32) {
    let row = Handle::unpack(key);
    if unit.north(row).is_some() {
        let (start, ..) = unit.uuid(row).as_fields();
        unit.join(&WRITTEN, start, (row, table));
    }
}

static REPORTS: Kind = Kind {
    name: "enforcement/chassis",
    over: Over::South(ChassisPrivate::INDEX),
    reads: &[],
    says: &[&REPORTED],
    wants: &[],
    run: |unit, key| {
        let chassis = Handle::unpack(key);
        let Some(columns) = unit.south(chassis) else {
            return;
        };
        let said = columns.get(ChassisPrivate::COLUMN.external_ids.index);
        let hints = said.pairs().iter().filter_map(|(key, _)| {
            let hint = key.as_str()?.strip_prefix(KEY)?;
            let number = u32::from_str_radix(hint, 16).ok()?;
            (*format!("{number:08x}") == *hint).then_some(number)
        });
        for hint in hints.take(MAX_REPORTS) {
            unit.join(&REPORTED, hint, chassis);
        }
    },
};

/// However many chassis cannot do it, it is one problem.
static PROBLEM: Kind = Kind {
    name: "enforcement/problem",
    over: Over::Keys(&REPORTED),
    reads: &[&WRITTEN],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let hint = u32::unpack(key);
        let chassis = unit.members(&REPORTED, hint);
        let first = chassis.iter().min_by_key(|row| unit.south_uuid(**row));
        let Some(columns) = first.and_then(|row| unit.south(*row)) else {
            return;
        };
        let name: Arc<str> = ChassisPrivate::COLUMN.name.get(columns);
        let said = columns.get(ChassisPrivate::COLUMN.external_ids.index);
        let Some(why) = said.get_str(&format!("{KEY}{hint:08x}")) else {
            return;
        };
        let others = match chassis.len() {
            1 => String::new(),
            count => format!(", and {} more,", count - 1),
        };
        let why: String = why.chars().take(MAX_TEXT).collect();
        let why = format!("chassis {name:?}{others} cannot enforce it: {why}");
        for (row, table) in unit.members(&WRITTEN, hint) {
            let (mut complaints, column) = about(unit, *row, *table);
            let remedy = "there, packets are treated as if it had not been written";
            complaints.column(column, why.clone(), remedy);
            unit.problems(complaints.into_problems());
        }
    },
};

/// Whom a row concerns, and what of it makes flows.
fn about(unit: &Unit<'_>, row: Handle, table: u32) -> (Complaints, &'static str) {
    fn of<T: TableDefinition>(unit: &Unit<'_>, row: Handle, name: Option<Arc<str>>) -> Complaints {
        unit.complaints::<T>(row, name.unwrap_or_default())
    }
    let columns = unit.north(row);
    match table {
        0 => {
            let name = columns.and_then(|row| Acl::COLUMN.name.get(row));
            (of::<Acl>(unit, row, name), Acl::COLUMN.r#match.name)
        }
        1 => {
            let name = columns.map(|row| LoadBalancer::COLUMN.name.get(row));
            let column = LoadBalancer::COLUMN.vips.name;
            (of::<LoadBalancer>(unit, row, name), column)
        }
        2 => {
            let column = LogicalRouterPolicy::COLUMN.r#match.name;
            (of::<LogicalRouterPolicy>(unit, row, None), column)
        }
        3 => (of::<Nat>(unit, row, None), Nat::COLUMN.r#match.name),
        _ => (of::<Qos>(unit, row, None), Qos::COLUMN.r#match.name),
    }
}

#[cfg(test)]
mod tests {
    use nb_db::tables::{LogicalSwitch, WeftProblem};
    use ovsdb::Uuid;
    use ovsdb::operation::Operation;

    use super::*;
    use crate::testing::random::Rng;
    use crate::testing::{World, insert};

    /// A chassis cannot do something, or can again.
    pub(super) fn change(world: &mut World, rng: &mut Rng) -> String {
        let chassis = world.sb::<ChassisPrivate>();
        if chassis.len() < 3 {
            let row = ChassisPrivate {
                name: format!("private{}", chassis.len()).into(),
                ..ChassisPrivate::default()
            };
            let what = format!("{} is there", row.name);
            world.south(vec![insert(rng.uuid(), &row)]);
            return what;
        }
        let (uuid, mut row) = chassis[rng.below(3)].clone();
        let mut rows: Vec<Uuid> = Vec::new();
        rows.extend(world.nb::<Acl>().into_iter().map(|(uuid, _)| uuid));
        rows.extend(world.nb::<LoadBalancer>().into_iter().map(|(uuid, _)| uuid));
        rows.extend(
            world
                .nb::<LogicalRouterPolicy>()
                .into_iter()
                .map(|(uuid, _)| uuid),
        );
        rows.extend(world.nb::<Nat>().into_iter().map(|(uuid, _)| uuid));
        rows.extend(world.nb::<Qos>().into_iter().map(|(uuid, _)| uuid));
        row.external_ids
            .retain(|key, _| !key.starts_with(KEY) || rng.once_in(2));
        if let Some(of) = rng.pick(&rows) {
            let hint = &of.simple().to_string()[..8];
            let why = ["too much", "too many"][rng.below(2)];
            row.external_ids
                .insert(format!("{KEY}{hint}").into(), why.into());
        }
        for nonsense in ["nonsense", "+0000001", "000000001"] {
            row.external_ids
                .insert(format!("{KEY}{nonsense}").into(), "?".into());
        }
        let columns = vec![ChassisPrivate::COLUMN.external_ids.to(&row.external_ids)];
        let what = format!("{} says {:?}", row.name, row.external_ids);
        world.south(vec![Operation::update_row(
            ChassisPrivate::INDEX,
            uuid,
            columns,
        )]);
        what
    }

    #[test]
    fn what_a_chassis_cannot_do_is_a_problem_of_the_row_until_it_can() {
        let mut world = World::new();
        let [acl, switch, chassis] = [0xabcd_1234 << 96, 2, 3].map(Uuid::from_u128);
        let rule = Acl {
            name: Some("web".into()),
            direction: "to-lport".into(),
            r#match: "ip4".into(),
            action: "drop".into(),
            ..Acl::default()
        };
        let row = LogicalSwitch {
            name: "s".into(),
            acls: vec![acl],
            ..LogicalSwitch::default()
        };
        world.north(vec![insert(acl, &rule), insert(switch, &row)]);
        let mut private = ChassisPrivate {
            name: "hv1".into(),
            ..ChassisPrivate::default()
        };
        let key: Arc<str> = "weft-problem-abcd1234".into();
        private.external_ids.insert(key.clone(), "too many".into());
        world.south(vec![insert(chassis, &private)]);
        let problems = |world: &World| -> Vec<(Arc<str>, Uuid, Arc<str>, String)> {
            let rows = world.nb::<WeftProblem>().into_iter();
            rows.map(|(_, row)| (row.table, row.row, row.name, row.why.to_string()))
                .collect()
        };
        let why = "chassis \"hv1\" cannot enforce it: too many".to_owned();
        let expected = [("ACL".into(), acl, "web".into(), why)];
        assert_eq!(problems(&world), expected);
        let before = world.written;
        world.restart();
        assert_eq!(world.written, before, "a restart writes nothing");
        let other = ChassisPrivate {
            name: "hv2".into(),
            ..private.clone()
        };
        world.south(vec![insert(Uuid::from_u128(4), &other)]);
        let why = "chassis \"hv1\", and 1 more, cannot enforce it: too many".to_owned();
        let both = [("ACL".into(), acl, "web".into(), why)];
        assert_eq!(problems(&world), both, "one problem, whoever has it");
        let gone = Operation::delete_row(ChassisPrivate::INDEX, Uuid::from_u128(4));
        world.south(vec![gone]);
        assert_eq!(problems(&world), expected);
        private.external_ids.remove(&key);
        let columns = vec![
            ChassisPrivate::COLUMN
                .external_ids
                .to(&private.external_ids),
        ];
        let operation = Operation::update_row(ChassisPrivate::INDEX, chassis, columns);
        world.south(vec![operation]);
        assert_eq!(problems(&world), []);
    }
}
