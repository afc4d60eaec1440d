//! Two transactions under way at once, while much is added.

use std::sync::Arc;

use super::refusal::switch;
use super::{World, all_rows};
use ovsdb::typed::Table;
use ovsdb::{Row, Uuid};
use sb_db::tables as sb;

/// The ports of the switch.
const PORTS: u128 = 60;

/// A world with a switch full of ports, written in parts of so many operations.
fn world(part: Option<usize>, refuses: Vec<String>) -> World {
    let mut world = World::new();
    if let Some(part) = part {
        world.write_in_parts(part);
    }
    world.allows_refusals = !refuses.is_empty();
    world.refuses = refuses;
    let ports: Vec<u128> = (1..=PORTS).collect();
    world.north(switch(100, &ports));
    world
}

/// What is compiled.
fn compiled(world: &World) -> Vec<(usize, Uuid, Arc<Row>)> {
    let tables = [
        sb::DatapathBinding::INDEX,
        sb::PortBinding::INDEX,
        sb::MulticastGroup::INDEX,
        sb::LogicalFlow::INDEX,
        sb::LogicalDpGroup::INDEX,
    ];
    let rows = all_rows(&world.south).into_iter();
    let rows = rows.filter(|change| tables.contains(&change.table));
    let mut rows: Vec<_> = rows
        .filter_map(|change| Some((change.table, change.uuid, change.new?)))
        .collect();
    rows.sort_by_key(|(table, uuid, _)| (*table, *uuid));
    rows
}

#[test]
fn much_that_is_added_goes_by_two_transactions_at_once() {
    let usual = world(None, Vec::new());
    for part in [8, 13, 40] {
        let mut parts = world(Some(part), Vec::new());
        assert_eq!((usual.most_under_way, parts.most_under_way), (1, 2));
        assert_eq!(parts.recompute(), Ok(Vec::new()));
        assert_eq!(compiled(&parts), compiled(&usual), "in parts of {part}");
    }
}

#[test]
fn a_refusal_costs_the_other_transaction_nothing() {
    let usual = world(None, Vec::new());
    let of_port = |name: &str| {
        let mut rows = usual.sb::<sb::PortBinding>().into_iter();
        let found = rows.find(|(_, row)| &*row.logical_port == name);
        found.expect("compiled").0
    };
    for port in ["p1", "p30", "p60"] {
        let uuid = of_port(port);
        let mut parts = world(Some(8), vec![uuid.to_string()]);
        assert!(parts.refused > 0 && parts.most_under_way == 2);
        let bindings = parts.sb::<sb::PortBinding>();
        assert_eq!(bindings.len() as u128, PORTS - 1);
        assert!(bindings.iter().all(|(known, _)| *known != uuid));
        parts.refuses.clear();
        parts.rest();
        parts.now_ms += 60_000;
        parts.settle();
        assert_eq!(compiled(&parts), compiled(&usual), "{port}");
    }
}
