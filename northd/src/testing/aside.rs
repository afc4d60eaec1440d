//! Rows that the southbound database will not take, for a long time: what it costs the others, and what is told.

use super::refusal::switch;
use super::{World, insert};
use nb_db::tables as nb;
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use ovsdb::{Atom, Datum, Uuid};
use sb_db::tables as sb;

fn binding(world: &World, port: &str) -> (Uuid, sb::PortBinding) {
    let rows = world.sb::<sb::PortBinding>().into_iter();
    let mut rows = rows.filter(|(_, row)| &*row.logical_port == port);
    rows.next().expect("compiled")
}

fn set_ports(switch: u128, ports: &[u128]) -> Operation {
    let ports = Datum::set(ports.iter().map(|port| Atom::Uuid(Uuid::from_u128(*port))));
    let column = nb::LogicalSwitch::COLUMN.ports.index;
    let columns = vec![(column, ports)];
    Operation::update_row(nb::LogicalSwitch::INDEX, Uuid::from_u128(switch), columns)
}

/// A world whose southbound will not give up the binding of `p1`, and has been asked to.
fn stubborn() -> World {
    let mut world = World::new();
    world.north(switch(100, &[1, 2, 3]));
    world.refuses = vec![binding(&world, "p1").0.to_string()];
    world.allows_refusals = true;
    world.north(vec![set_ports(100, &[2, 3])]);
    assert!(world.refused > 0);
    // What was written in parts meanwhile has had its effect.
    for number in 0..20 {
        world.north(switch(200 + number, &[]));
    }
    world
}

#[test]
fn a_row_set_aside_costs_the_others_nothing() {
    let mut world = stubborn();
    let mut claimed = binding(&world, "p2").0;
    let (mut refused, mut parts) = (world.refused, 0);
    for second in 0..120u128 {
        world.now_ms += 1000;
        let up = Datum::One(Atom::Boolean(second % 2 == 0));
        let column = sb::PortBinding::COLUMN.up.index;
        let columns = vec![(column, up)];
        world.south(vec![Operation::update_row(
            sb::PortBinding::INDEX,
            claimed,
            columns,
        )]);
        claimed = binding(&world, if second % 3 == 0 { "p3" } else { "p2" }).0;
        let before = (world.written.1, world.refused);
        world.north(switch(1000 + second, &[10_000 + second, 20_000 + second]));
        parts += (world.written.1 - before.0) - (world.refused - before.1);
    }
    refused = world.refused - refused;
    // Seven rounds; the groups that the port was in are refused with it, so that each is tried alone, too.
    assert!(refused <= 28, "refused {refused} times in two minutes");
    assert!(parts <= 122, "120 changes in {parts} transactions");
}

#[test]
fn what_is_refused_and_no_longer_wanted_is_no_problem() {
    let mut world = World::new();
    world.north(switch(100, &[1]));
    world.refuses = vec!["untakable".to_owned()];
    world.allows_refusals = true;
    let port = Uuid::from_u128(50);
    let row = nb::LogicalSwitchPort {
        name: "untakable".into(),
        addresses: vec!["02:00:00:00:00:50".into()],
        ..Default::default()
    };
    world.north(vec![insert(port, &row), set_ports(100, &[1, 50])]);
    let problems = world.nb::<nb::WeftProblem>();
    assert!(!problems.is_empty(), "it is told");
    assert!(problems.iter().all(|(_, problem)| problem.row == port));
    world.north(vec![set_ports(100, &[1])]);
    assert_eq!(world.nb::<nb::WeftProblem>(), [], "nobody wants it");
}

#[test]
fn a_recomputation_with_a_row_set_aside_finds_nothing() {
    let mut world = stubborn();
    let before = world.nb::<nb::WeftProblem>();
    assert!(!before.is_empty());
    assert_eq!(world.recompute(), Ok(Vec::new()));
    world.settle();
    assert_eq!(world.nb::<nb::WeftProblem>(), before);
}

#[test]
fn each_of_many_rows_is_told_and_taken_when_it_can_be() {
    let mut world = World::new();
    world.north(switch(100, &[]));
    world.refuses = vec!["untakable".to_owned()];
    world.allows_refusals = true;
    let ports: Vec<u128> = (1..=30).collect();
    let rows = ports.iter().map(|port| nb::LogicalSwitchPort {
        uuid: Uuid::from_u128(*port),
        name: format!("untakable{port}").into(),
        ..Default::default()
    });
    let mut operations: Vec<Operation> = rows.map(|row| insert(row.uuid, &row)).collect();
    operations.push(set_ports(100, &ports));
    world.north(operations);
    let told: std::collections::BTreeSet<Uuid> = world
        .nb::<nb::WeftProblem>()
        .into_iter()
        .map(|(_, problem)| problem.row)
        .collect();
    assert_eq!(told.len(), ports.len(), "each row has its problem");
    world.north(switch(200, &[77]));
    assert_eq!(binding(&world, "p77").1.tunnel_key, 1, "the rest goes on");
    world.refuses.clear();
    world.now_ms += 600_000;
    let before = world.written.1;
    world.settle();
    assert_eq!(world.sb::<sb::PortBinding>().len(), 31);
    assert_eq!(world.nb::<nb::WeftProblem>(), []);
    let parts = world.written.1 - before;
    assert!(parts <= 2, "together: in {parts} transactions");
}

#[test]
fn what_was_learned_at_a_place_goes_when_another_one_gets_it() {
    let mut world = World::new();
    world.north(switch(100, &[1, 2]));
    let (_, first) = binding(&world, "p1");
    let datapath = |world: &World, uuid| {
        let rows = world.sb::<sb::DatapathBinding>().into_iter();
        let mut rows = rows.filter(|(known, _)| *known == uuid);
        rows.next().expect("compiled").1.tunnel_key
    };
    let learn = |world: &mut World, row: u128, port_key| {
        let learned = sb::Fdb {
            mac: format!("02:00:00:00:01:{row:02x}").into(),
            dp_key: datapath(world, first.datapath),
            port_key,
            ..Default::default()
        };
        world.south(vec![insert(Uuid::from_u128(1 << 90 | row), &learned)]);
    };
    learn(&mut world, 1, first.tunnel_key);
    let (_, second) = binding(&world, "p2");
    learn(&mut world, 2, second.tunnel_key);
    assert_eq!(world.sb::<sb::Fdb>().len(), 2);

    let asking = nb::LogicalSwitchPort {
        name: "p3".into(),
        options: [(
            "requested-tnl-key".into(),
            first.tunnel_key.to_string().into(),
        )]
        .into(),
        ..Default::default()
    };
    let before = world.written.1;
    let operations = vec![
        insert(Uuid::from_u128(3), &asking),
        set_ports(100, &[1, 2, 3]),
    ];
    world.north(operations);
    assert_eq!(binding(&world, "p3").1.tunnel_key, first.tunnel_key);
    let left: Vec<i64> = world
        .sb::<sb::Fdb>()
        .into_iter()
        .map(|(_, row)| row.port_key)
        .collect();
    assert_eq!(
        left,
        [second.tunnel_key],
        "what was learned at p1 is not at p3"
    );
    assert_eq!(world.written.1, before + 1, "in one transaction");

    let key = datapath(&world, first.datapath);
    let asking = nb::LogicalSwitch {
        name: "s200".into(),
        other_config: [("requested-tnl-key".into(), key.to_string().into())].into(),
        ..Default::default()
    };
    world.north(vec![insert(Uuid::from_u128(200), &asking)]);
    assert_ne!(datapath(&world, first.datapath), key);
    assert_eq!(
        world.sb::<sb::Fdb>(),
        [],
        "nor is anything of one datapath in another"
    );
}
