//! A southbound database that will not take something: the rest goes on.

use super::{World, insert};
use nb_db::tables as nb;
use ovsdb::Uuid;
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use sb_db::tables as sb;

fn switch(number: u128, ports: &[u128]) -> Vec<Operation> {
    let rows = ports.iter().map(|port| nb::LogicalSwitchPort {
        uuid: Uuid::from_u128(*port),
        name: format!("p{port}").into(),
        addresses: vec![format!("02:00:00:00:00:{port:02x}").into()],
        ..Default::default()
    });
    let mut operations: Vec<Operation> = rows.map(|row| insert(row.uuid, &row)).collect();
    let switch = nb::LogicalSwitch {
        name: format!("s{number}").into(),
        ports: ports.iter().copied().map(Uuid::from_u128).collect(),
        ..Default::default()
    };
    operations.push(insert(Uuid::from_u128(number), &switch));
    operations
}

#[test]
fn a_row_that_the_database_will_not_give_up_stops_nothing_else() {
    let mut world = World::new();
    world.north(switch(100, &[1, 2]));
    world.north(switch(200, &[3]));
    let datapath = |world: &World, name: &str| {
        let rows = world.sb::<sb::DatapathBinding>();
        rows.into_iter()
            .find(|(_, row)| &*row.external_ids["name"] == name)
            .map(|(uuid, _)| uuid)
    };
    let kept = datapath(&world, "s100").expect("compiled");
    world.refuses = vec![kept];

    world.allows_refusals = true;
    let mut operations = switch(300, &[4]);
    operations.push(Operation::delete_row(
        nb::LogicalSwitch::INDEX,
        Uuid::from_u128(100),
    ));
    world.north(operations);
    let ports: Vec<String> = world
        .sb::<sb::PortBinding>()
        .into_iter()
        .map(|(_, row)| row.logical_port.to_string())
        .collect();
    assert!(
        ports.contains(&"p4".to_owned()),
        "what came is compiled: {ports:?}"
    );
    assert!(
        !ports.contains(&"p1".to_owned()),
        "what could go went: {ports:?}"
    );
    assert_eq!(
        datapath(&world, "s100"),
        Some(kept),
        "what could not go stayed"
    );

    let problems = world.nb::<nb::WeftProblem>();
    let is_told = |(_, problem): &(Uuid, nb::WeftProblem)| problem.why.contains("Datapath_Binding");
    assert!(problems.iter().any(is_told), "it is told: {problems:?}");

    world.north(switch(400, &[5]));
    assert!(datapath(&world, "s400").is_some(), "northd goes on");
    world.refuses.clear();
    world.now_ms += 120_000;
    world.settle();
    world.allows_refusals = false;
    assert_eq!(
        datapath(&world, "s100"),
        None,
        "what nobody holds any more goes with the next look"
    );
}

#[test]
fn a_datapath_takes_with_it_what_strongly_refers_to_it() {
    let mut world = World::new();
    world.north(switch(100, &[1]));
    let datapath = world.sb::<sb::DatapathBinding>()[0].0;
    let binding = sb::MacBinding {
        logical_port: "lrp".into(),
        ip: "10.0.0.1".into(),
        datapath,
        ..Default::default()
    };
    world.south(vec![insert(Uuid::from_u128(1 << 90), &binding)]);
    let before = world.written.1;
    world.north(vec![Operation::delete_row(
        nb::LogicalSwitch::INDEX,
        Uuid::from_u128(100),
    )]);
    assert!(world.sb::<sb::DatapathBinding>().is_empty());
    assert!(world.sb::<sb::MacBinding>().is_empty());
    assert_eq!(world.written.1, before + 1, "in one transaction");
}
