//! Ageing of learned neighbours.
//!
//! Guarantees that of a router with `options:mac_binding_age_threshold` a row of `MAC_Binding` is deleted when it is older than the
//! age of its address; how many at once says `NB_Global.options:mac_binding_removal_limit`. Controllers refresh the
//! `timestamp` of those that they hear of. Where no age is set, nothing is ever forgotten.

use std::net::IpAddr;
use std::sync::Arc;

use nb_db::tables::{LogicalRouter, NbGlobal};
use ovsdb::typed::Table;
use relations::{Handle, Relation, Small};
use sb_db::tables::{DatapathBinding, MacBinding};
use uuid::Uuid;

use super::ROUTER;
use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::options::Options;
#[cfg(test)]
use crate::testing::{Change, routers};

/// How many rows are deleted at once; none is no limit.
static LIMIT: Relation<(), u32> = Relation::new("limit of forgotten neighbours");

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<NbGlobal>(&[]).keys(&[(
            NbGlobal::COLUMN.options.index,
            &["mac_binding_removal_limit"],
        )]),
        Source::north::<LogicalRouter>(&[LogicalRouter::COLUMN.name.index]),
        Source::south::<DatapathBinding>(&[DatapathBinding::COLUMN.nb_uuid.index]),
        Source::south::<MacBinding>(&[
            MacBinding::COLUMN.logical_port.index,
            MacBinding::COLUMN.datapath.index,
            MacBinding::COLUMN.ip.index,
            MacBinding::COLUMN.timestamp.index,
        ]),
    ],
    relations: &[&LIMIT],
    kinds: &[&MODEL, &AGE],
    #[cfg(test)]
    operator: &[Change {
        weight: 2,
        run: routers::ages,
    }],
    ..Feature::new("neighbour ageing")
};

static MODEL: Kind = Kind {
    name: "model/forgotten-neighbours",
    over: Over::North(NbGlobal::INDEX),
    reads: &[],
    says: &[&LIMIT],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let column = NbGlobal::COLUMN.options;
        let options = Options::read(column.name, columns.get(column.index));
        let mut complaints = unit.complaints::<NbGlobal>(row, Arc::from(""));
        let key = "mac_binding_removal_limit";
        let limit = options.number(key, 0..=u32::MAX, &mut complaints);
        if let Some(limit) = limit.filter(|limit| *limit > 0) {
            unit.say(&LIMIT, (), limit);
        }
        unit.problems(complaints.into_problems());
    },
};

static AGE: Kind = Kind {
    name: "learned-neighbour",
    over: Over::South(MacBinding::INDEX),
    reads: &[&ROUTER, &LIMIT],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let column = MacBinding::COLUMN;
        let Some(columns) = unit.south(row) else {
            return;
        };
        let datapath = unit.find_south::<DatapathBinding>(column.datapath.get(columns));
        let datapath = datapath.and_then(|datapath| unit.south(datapath));
        let router: Option<Uuid> =
            datapath.and_then(|datapath| DatapathBinding::COLUMN.nb_uuid.get(datapath));
        let router = router.and_then(|uuid| unit.find_north::<LogicalRouter>(uuid));
        let ages = router
            .and_then(|router| unit.get(&ROUTER, router))
            .and_then(|router| router.ages.as_ref());
        let text: Arc<str> = column.ip.get(columns);
        let ip = text.parse::<IpAddr>().ok();
        let age = ages.and_then(|(ages, _)| ages.of(ip?));
        let Some(age_s) = age else {
            return;
        };
        if column.timestamp.get(columns) == 0 {
            // Its controller does not say when.
            return;
        }
        let due_ms = column
            .timestamp
            .get(columns)
            .saturating_add(i64::from(age_s) * 1_000);
        if unit.now_ms() < due_ms {
            return unit.deadline(due_ms);
        }
        let limit = unit.get(&LIMIT, ()).copied().unwrap_or_default();
        let heard = (column.timestamp.index, column.timestamp.get(columns));
        unit.expired::<MacBinding>(row, Some(heard), limit);
    },
};

#[cfg(test)]
mod tests {
    use ovsdb::operation::Operation;

    use super::*;
    use crate::testing::{World, insert};

    /// A router with an age for each of two networks, and neighbours that were heard of at these times.
    fn world(ages: &str, heard: &[(&str, i64)]) -> World {
        let mut world = World::new();
        let (router, port) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let row = nb_db::tables::LogicalRouterPort {
            name: "p".into(),
            mac: "02:00:00:00:00:01".into(),
            networks: vec!["10.0.0.1/8".into()],
            ..Default::default()
        };
        let mut operations = vec![insert(port, &row)];
        let row = LogicalRouter {
            name: "r".into(),
            ports: vec![port],
            options: [("mac_binding_age_threshold".into(), ages.into())].into(),
            ..Default::default()
        };
        operations.push(insert(router, &row));
        world.north(operations);
        let (datapath, _) = world.sb::<DatapathBinding>().remove(0);
        let rows = heard.iter().zip(10u128..).map(|((ip, timestamp), n)| {
            let row = MacBinding {
                logical_port: "p".into(),
                ip: (*ip).into(),
                mac: "02:00:00:00:00:09".into(),
                timestamp: *timestamp,
                datapath,
                ..Default::default()
            };
            insert(Uuid::from_u128(n), &row)
        });
        let rows: Vec<Operation> = rows.collect();
        world.south(rows);
        world
    }

    fn pass_to(world: &mut World, at_ms: i64) {
        world.now_ms = at_ms;
        world.settle();
    }

    fn left(world: &World) -> Vec<String> {
        let rows = world.sb::<MacBinding>();
        let mut left: Vec<String> = rows.iter().map(|(_, row)| row.ip.to_string()).collect();
        left.sort();
        left
    }

    #[test]
    fn neighbours_are_forgotten_when_they_are_old() {
        let now = World::new().now_ms;
        let heard = [("10.1.0.2", now), ("10.2.0.2", now), ("10.3.0.2", now)];
        let mut world = world("10.1.0.0/16:10;10.2.0.0/16:20", &heard);
        assert_eq!(left(&world).len(), 3);
        pass_to(&mut world, now + 8_000);
        assert_eq!(left(&world).len(), 3);
        pass_to(&mut world, now + 10_000);
        assert_eq!(left(&world), ["10.2.0.2", "10.3.0.2"]);
        // A chassis has heard of the other.
        let (uuid, _) = world
            .sb::<MacBinding>()
            .into_iter()
            .find(|(_, row)| &*row.ip == "10.2.0.2")
            .expect("it is there");
        let heard = vec![MacBinding::COLUMN.timestamp.to(&(now + 15_000))];
        world.south(vec![Operation::update_row(MacBinding::INDEX, uuid, heard)]);
        pass_to(&mut world, now + 33_000);
        assert_eq!(left(&world).len(), 2);
        pass_to(&mut world, now + 35_000);
        assert_eq!(left(&world), ["10.3.0.2"]);
    }

    #[test]
    fn ages_that_make_no_sense_are_told_and_forget_nothing() {
        let mut world = world("10.0.0.0/8:soon", &[("10.1.0.2", 0)]);
        let later = world.now_ms + 1_000_000;
        pass_to(&mut world, later);
        assert_eq!(left(&world), ["10.1.0.2"]);
        let problems = world.nb::<nb_db::tables::WeftProblem>();
        assert!(
            problems
                .iter()
                .any(|(_, problem)| &*problem.column == "options")
        );
    }
}
