//! What chassis learn, and what becomes of it.

use nb_db::tables as nb;
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use sb_db::tables as sb;
use uuid::Uuid;

use crate::testing::{World, insert};

/// Ports `a`, `b` and `c` on one switch that snoops, and three chassis.
fn world(config: &[(&str, &str)]) -> World {
    let mut world = World::new();
    let names = ["a", "b", "c"];
    let mut operations: Vec<Operation> = names
        .iter()
        .zip(1u128..)
        .map(|(name, n)| {
            let row = nb::LogicalSwitchPort {
                name: (*name).into(),
                ..Default::default()
            };
            insert(Uuid::from_u128(n), &row)
        })
        .collect();
    let config = config.iter().copied().chain([("mcast_snoop", "true")]);
    let row = nb::LogicalSwitch {
        name: "s".into(),
        ports: (1..=3).map(Uuid::from_u128).collect(),
        other_config: config
            .map(|(key, value)| (key.into(), value.into()))
            .collect(),
        ..Default::default()
    };
    operations.push(insert(Uuid::from_u128(9), &row));
    world.north(operations);
    let chassis = (0..3u128).flat_map(|n| {
        let encap = sb::Encap {
            r#type: "geneve".into(),
            ip: format!("10.9.0.{n}").into(),
            ..Default::default()
        };
        let row = sb::Chassis {
            name: format!("c{n}").into(),
            encaps: vec![Uuid::from_u128(300 + n)],
            ..Default::default()
        };
        [
            insert(Uuid::from_u128(300 + n), &encap),
            insert(Uuid::from_u128(100 + n), &row),
        ]
    });
    let chassis = chassis.collect();
    world.south(chassis);
    world
}

fn binding(world: &World, name: &str) -> Uuid {
    let rows = world.sb::<sb::PortBinding>();
    let found = rows.iter().find(|(_, row)| &*row.logical_port == name);
    found.expect("a binding").0
}

fn learn(world: &mut World, n: u128, address: &str, ports: &[&str]) {
    let ports: Vec<Uuid> = ports.iter().map(|name| binding(world, name)).collect();
    let (datapath, _) = world.sb::<sb::DatapathBinding>().remove(0);
    let row = sb::IgmpGroup {
        address: address.into(),
        datapath: Some(datapath),
        chassis: Some(Uuid::from_u128(100 + n % 3)),
        ports,
        ..Default::default()
    };
    world.south(vec![insert(Uuid::from_u128(200 + n), &row)]);
}

fn forget(world: &mut World, n: u128) {
    world.south(vec![Operation::Delete {
        table: sb::IgmpGroup::INDEX,
        condition: vec![ovsdb::Clause::is_row(Uuid::from_u128(200 + n))],
    }]);
}

/// The groups of addresses, with keys and members.
fn groups(world: &World) -> Vec<String> {
    let bindings = world.sb::<sb::PortBinding>();
    let name = |uuid: &Uuid| {
        let found = bindings.iter().find(|(known, _)| known == uuid);
        found.map_or("?".to_owned(), |(_, row)| row.logical_port.to_string())
    };
    let groups = world.sb::<sb::MulticastGroup>().into_iter();
    let groups = groups.filter(|(_, row)| !row.name.starts_with("_MC_flood"));
    let mut groups: Vec<String> = groups
        .map(|(_, row)| {
            let mut ports: Vec<String> = row.ports.iter().map(name).collect();
            ports.sort();
            format!("{} {} {}", row.name, row.tunnel_key, ports.join(","))
        })
        .collect();
    groups.sort();
    groups
}

fn flows(world: &World, priority: i64) -> Vec<String> {
    let flows = world.sb::<sb::LogicalFlow>().into_iter();
    let flows = flows.filter(|(_, row)| {
        row.priority == priority && row.external_ids["stage-name"].as_ref() == "ls_in_l2_lkup"
    });
    let mut flows: Vec<String> = flows.map(|(_, row)| row.r#match.to_string()).collect();
    flows.sort();
    flows
}

#[test]
fn members_of_all_chassis_are_in_one_group_that_keeps_its_key() {
    let mut world = world(&[]);
    learn(&mut world, 0, "239.1.1.1", &["a"]);
    learn(&mut world, 1, "239.1.1.1", &["b", "a"]);
    learn(&mut world, 2, "ff1e::1", &["c"]);
    assert_eq!(groups(&world), ["239.1.1.1 32773 a,b", "ff1e::1 32774 c"]);
    let of = [
        "eth.mcast && ip4.dst == 239.1.1.1",
        "eth.mcast && ip6.dst == ff1e::1",
    ];
    assert_eq!(flows(&world, 90), of);
    forget(&mut world, 1);
    assert_eq!(groups(&world), ["239.1.1.1 32773 a", "ff1e::1 32774 c"]);
    forget(&mut world, 0);
    assert_eq!(groups(&world), ["ff1e::1 32774 c"]);
    assert_eq!(flows(&world, 90), of[1..]);
}

#[test]
fn what_is_learned_costs_its_own_group() {
    let mut world = world(&[]);
    learn(&mut world, 0, "239.1.1.1", &["a"]);
    let before = world.core.units_run().expect("active");
    learn(&mut world, 1, "239.1.1.2", &["b"]);
    let units = world.core.units_run().expect("active") - before;
    assert!(units <= 8, "{units} units");
}

#[test]
fn what_is_never_filtered_is_no_group_and_routers_are_one() {
    let mut world = world(&[]);
    for (n, address) in (0..).zip(["224.0.0.7", "ff02::1:ff00:1", "ff02::2", "mrouters"]) {
        learn(&mut world, n, address, &["a"]);
    }
    assert_eq!(groups(&world), ["_MC_mrouter_flood 32770 a"]);
}

#[test]
fn groups_beyond_the_table_wait_and_are_told() {
    let mut world = world(&[("mcast_table_size", "1")]);
    learn(&mut world, 0, "239.1.1.1", &["a"]);
    learn(&mut world, 1, "239.1.1.2", &["b"]);
    assert_eq!(groups(&world), ["239.1.1.1 32773 a"]);
    let problems = world.nb::<nb::WeftProblem>();
    let whys: Vec<&str> = problems.iter().map(|(_, row)| &*row.why).collect();
    assert_eq!(whys, ["all 1 of the multicast groups are in use"]);
    forget(&mut world, 0);
    assert_eq!(groups(&world), ["239.1.1.2 32773 b"]);
    assert_eq!(world.nb::<nb::WeftProblem>(), []);
}

#[test]
fn rows_about_nothing_are_deleted() {
    let mut world = world(&[]);
    learn(&mut world, 0, "239.1.1.1", &["a"]);
    learn(&mut world, 1, "nonsense", &["a"]);
    let gone = |row: &(Uuid, sb::IgmpGroup)| &*row.1.address == "nonsense";
    world.settle();
    assert!(!world.sb::<sb::IgmpGroup>().iter().any(gone));
    // With its chassis.
    world.south(vec![Operation::Delete {
        table: sb::Chassis::INDEX,
        condition: vec![ovsdb::Clause::is_row(Uuid::from_u128(100))],
    }]);
    world.now_ms += 10_000;
    world.settle();
    assert_eq!(world.sb::<sb::IgmpGroup>(), []);
    assert_eq!(groups(&world), <[String; 0]>::default());
}

#[test]
fn a_member_behind_which_a_router_is_gets_packets_once() {
    let mut world = world(&[]);
    learn(&mut world, 0, "mrouters", &["b"]);
    learn(&mut world, 1, "239.1.1.1", &["b", "a"]);
    let [group, routers] = &groups(&world)[..] else {
        panic!("{:?}", groups(&world));
    };
    assert_eq!(group, "239.1.1.1 32773 a");
    assert!(routers.starts_with("_MC_mrouter_flood ") && routers.ends_with(" b"));
    forget(&mut world, 0);
    assert_eq!(groups(&world), ["239.1.1.1 32773 a,b"]);
    // Who gets everything is no router.
    let flood = [("mcast_flood".into(), "true".into())].into();
    let columns = vec![nb::LogicalSwitchPort::COLUMN.options.to(&flood)];
    let port = Uuid::from_u128(2);
    let update = Operation::update_row(nb::LogicalSwitchPort::INDEX, port, columns);
    world.north(vec![update]);
    learn(&mut world, 0, "mrouters", &["b"]);
    let of_b: Vec<String> = groups(&world);
    let of_b: Vec<&String> = of_b.iter().filter(|group| group.contains('b')).collect();
    assert!(
        matches!(&of_b[..], [only] if only.starts_with("_MC_static ")),
        "{of_b:?}"
    );
}
