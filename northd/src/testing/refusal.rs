//! A southbound database that will not take something: the rest goes on.

use super::{World, insert};
use nb_db::tables as nb;
use ovsdb::Uuid;
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use sb_db::tables as sb;

pub(super) fn switch(number: u128, ports: &[u128]) -> Vec<Operation> {
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
    world.refuses = vec![kept.to_string()];

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

#[test]
fn what_was_set_aside_is_tried_again_when_something_is_out_of_its_way() {
    let mut world = World::new();
    for number in [100, 200, 300] {
        world.north(switch(number, &[]));
    }
    let delete = |number| {
        let row = Uuid::from_u128(number);
        vec![Operation::delete_row(nb::LogicalSwitch::INDEX, row)]
    };
    world.refuses = world
        .sb::<sb::DatapathBinding>()
        .into_iter()
        .filter(|(_, row)| &*row.external_ids["name"] == "s100")
        .map(|(uuid, _)| uuid.to_string())
        .collect();
    world.allows_refusals = true;
    world.north(delete(100));
    // By now it is tried once a minute.
    for _ in 0..10 {
        world.now_ms += 60_000;
        world.settle();
    }
    assert_eq!(world.sb::<sb::DatapathBinding>().len(), 3);
    world.refuses.clear();
    world.settle();
    assert_eq!(
        world.sb::<sb::DatapathBinding>().len(),
        3,
        "nobody has noticed"
    );
    world.north(delete(200));
    let names = world.sb::<sb::DatapathBinding>();
    assert_eq!(
        names.len(),
        1,
        "a row of the same table has gone: {names:?}"
    );
}

#[test]
fn a_row_that_serves_several_datapaths_goes_with_the_last() {
    let mut world = World::new();
    for number in [100, 200, 300] {
        world.north(switch(number, &[]));
    }
    let names = Uuid::from_u128(1 << 90);
    let mut operations = vec![insert(names, &nb::Dns::default())];
    for number in [100, 200, 300] {
        let columns = vec![nb::LogicalSwitch::COLUMN.dns_records.to(&vec![names])];
        let row = Uuid::from_u128(number);
        operations.push(Operation::update_row(
            nb::LogicalSwitch::INDEX,
            row,
            columns,
        ));
    }
    world.north(operations);
    let delete = |numbers: &[u128]| {
        let rows = numbers.iter().map(|number| Uuid::from_u128(*number));
        let delete = |row| Operation::delete_row(nb::LogicalSwitch::INDEX, row);
        rows.map(delete).collect::<Vec<_>>()
    };
    world.north(delete(&[100]));
    let left = |world: &World| -> Vec<usize> {
        let rows = world.sb::<sb::Dns>().into_iter();
        rows.map(|(_, row)| row.datapaths.len()).collect()
    };
    assert_eq!(left(&world), [2], "it serves the others");
    world.north(delete(&[200, 300]));
    assert_eq!(left(&world), [0; 0], "nobody is left");
    assert!(world.sb::<sb::DatapathBinding>().is_empty());
}

#[test]
fn a_transaction_is_no_larger_than_a_server_takes() {
    let mut world = World::new();
    let sets = (0..12u128).map(|number| {
        let set = nb::AddressSet {
            name: format!("as{number}").into(),
            addresses: vec![format!("{number}{}", "x".repeat(3 << 20)).into()],
            ..Default::default()
        };
        insert(Uuid::from_u128(1000 + number), &set)
    });
    let before = world.written.1;
    world.north(sets.collect());
    let copies = world.sb::<sb::AddressSet>().into_iter();
    let copies = copies.filter(|(_, set)| set.name.starts_with("as"));
    assert_eq!(copies.count(), 12);
    assert_eq!(
        world.written.1,
        before + 2,
        "36 MB are more than one transaction's"
    );
}

#[test]
fn a_number_that_somebody_asks_for_is_given_up_by_who_was_given_it() {
    let mut world = World::new();
    world.north(switch(100, &[]));
    let key = |world: &World, name: &str| {
        let rows = world.sb::<sb::DatapathBinding>().into_iter();
        let mut rows = rows.filter(|(_, row)| &*row.external_ids["name"] == name);
        let (uuid, row) = rows.next().expect("compiled");
        (uuid, row.tunnel_key)
    };
    let (row, chosen) = key(&world, "s100");
    let asking = |number: u128| {
        let row = nb::LogicalSwitch {
            name: format!("s{number}").into(),
            other_config: [("requested-tnl-key".into(), chosen.to_string().into())].into(),
            ..Default::default()
        };
        vec![insert(Uuid::from_u128(number), &row)]
    };
    world.north(asking(200));
    assert_eq!(key(&world, "s200").1, chosen);
    let (same, other) = key(&world, "s100");
    assert_eq!(same, row, "it is the same datapath");
    assert_ne!(other, chosen);
    assert!(world.nb::<nb::WeftProblem>().is_empty());
    world.north(asking(300));
    assert_eq!(
        key(&world, "s200").1,
        chosen,
        "of two who ask, the first has it"
    );
    assert_ne!(key(&world, "s300").1, chosen);
    assert_eq!(world.nb::<nb::WeftProblem>().len(), 1);
    world.restart();
    assert_eq!(key(&world, "s200").1, chosen);
    assert_eq!(key(&world, "s100").1, other);
}

#[test]
fn what_followed_rows_that_are_gone_goes_when_the_database_lets_it() {
    let mut world = World::new();
    world.north(switch(100, &[1]));
    let learned = sb::Fdb {
        mac: "02:00:00:00:00:99".into(),
        dp_key: 1,
        port_key: 77,
        ..Default::default()
    };
    let row = Uuid::from_u128(1 << 91);
    world.south(vec![insert(row, &learned)]);
    world.refuses = vec![row.to_string()];
    world.allows_refusals = true;
    world.restart();
    assert_eq!(world.sb::<sb::Fdb>().len(), 1, "the database keeps it");
    world.refuses.clear();
    world.now_ms += 120_000;
    world.settle();
    assert_eq!(
        world.sb::<sb::Fdb>().len(),
        0,
        "nobody has the port's key any more"
    );
}
