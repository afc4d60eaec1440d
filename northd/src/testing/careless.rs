//! What careless or hostile operators write about rules, balancers and mirrors: what is said of each, and that it touches nobody else.

use std::sync::Arc;

use lflow::Base;
use lflow::interp::State;
use nb_db::tables as nb;
use ovsdb::Uuid;
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use sb_db::tables as sb;

use super::chassis::Chassis;
use super::refusal::switch;
use super::{World, insert};

/// A switch with the guests `p1` and `p2`, who want nothing but to talk, and one with the guest `p3`. What is tried is tried on both.
fn world() -> World {
    let mut world = World::new();
    world.north(switch(100, &[1, 2]));
    world.north(switch(200, &[3]));
    world
}

const SWITCHES: [Uuid; 2] = [Uuid::from_u128(100), Uuid::from_u128(200)];

fn rule(r#match: String) -> nb::Acl {
    nb::Acl {
        direction: "to-lport".into(),
        r#match: r#match.into(),
        action: "drop".into(),
        ..Default::default()
    }
}

/// Gives the switches these rules.
fn with_rules(rules: &[nb::Acl]) -> Vec<Operation> {
    let uuids = (0..rules.len() as u128).map(|n| Uuid::from_u128(1_000 + n));
    let uuids: Vec<Uuid> = uuids.collect();
    let rows = uuids
        .iter()
        .zip(rules)
        .map(|(uuid, row)| insert(*uuid, row));
    let mut operations: Vec<Operation> = rows.collect();
    for switch in SWITCHES {
        let columns = vec![nb::LogicalSwitch::COLUMN.acls.to(&uuids)];
        let table = nb::LogicalSwitch::INDEX;
        operations.push(Operation::update_row(table, switch, columns));
    }
    operations
}

/// Gives the switches this balancer.
fn with_balancer(vips: &[(&str, String)], options: &[(&str, &str)]) -> Vec<Operation> {
    let uuid = Uuid::from_u128(2_000);
    let row = nb::LoadBalancer {
        name: "lb".into(),
        vips: vips
            .iter()
            .map(|(vip, of)| ((*vip).into(), of.as_str().into()))
            .collect(),
        options: options
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect(),
        ..Default::default()
    };
    let names = SWITCHES.map(|switch| {
        let columns = vec![nb::LogicalSwitch::COLUMN.load_balancer.to(&vec![uuid])];
        Operation::update_row(nb::LogicalSwitch::INDEX, switch, columns)
    });
    std::iter::once(insert(uuid, &row)).chain(names).collect()
}

/// Gives the guest `p3` a mirror to a port.
fn with_mirror(sink: &str) -> Vec<Operation> {
    let uuid = Uuid::from_u128(3_000);
    let row = nb::Mirror {
        name: "m".into(),
        r#type: "lport".into(),
        sink: sink.into(),
        filter: "both".into(),
        ..Default::default()
    };
    let columns = vec![nb::LogicalSwitchPort::COLUMN.mirror_rules.to(&vec![uuid])];
    let of_port = Operation::update_row(nb::LogicalSwitchPort::INDEX, Uuid::from_u128(3), columns);
    vec![insert(uuid, &row), of_port]
}

/// What is said, as `table column: why`.
fn said(world: &World) -> Vec<String> {
    let rows = world.nb::<nb::WeftProblem>().into_iter();
    let mut said: Vec<String> = rows
        .map(|(_, row)| format!("{} {}: {}", row.table, row.column, row.why))
        .collect();
    said.sort();
    said
}

/// Those whom it does not concern hear each other.
fn others_talk(world: &World) {
    let chassis = Chassis::new(world);
    let packet = State::default()
        .with(Base::EthSrc, 0x0200_0000_0001_u128)
        .with(Base::EthDst, 0x0200_0000_0002_u128)
        .with(Base::EthType, 0x0800_u128)
        .with(Base::IpProto, 17_u128)
        .with(Base::Ip4Src, 0x0a00_0001_u128)
        .with(Base::Ip4Dst, 0x0a00_0002_u128);
    let (datapath, port) = chassis.find("p1");
    let heard = chassis.send_state(datapath, port, &packet);
    let names: Vec<&str> = heard.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["p2"]);
}

#[test]
fn what_cannot_be_meant_is_named_and_touches_nobody_else() {
    let deep = format!("{}ip4{}", "(".repeat(1_000), ")".repeat(1_000));
    let long = "ip4.sorce == 1 && ".repeat(4_000);
    let contradicting = [
        ("reject", "true"),
        ("event", "true"),
        ("affinity_timeout", "-1"),
    ];
    let one = "10.0.0.1:80".to_owned();
    let cases: Vec<(&str, Vec<Operation>, &[&str])> = vec![
        (
            "a match that is too deep",
            with_rules(&[rule(deep)]),
            &["ACL match: parentheses and \"!\" are nested more than 100 deep"],
        ),
        (
            "a match of 72 KB that means nothing",
            with_rules(&[rule(long)]),
            &["ACL match: unknown field \"ip4.sorce\"; perhaps ip4.src is meant"],
        ),
        (
            "a balancer without backends",
            with_balancer(&[("172.30.0.1:80", String::new())], &[]),
            &["Load_Balancer vips: 172.30.0.1:80 has no backends"],
        ),
        (
            "options that contradict each other, and one of no meaning",
            with_balancer(&[("172.30.0.1:80", one.clone())], &contradicting),
            &[
                "Load_Balancer options: affinity_timeout is not a number from 0 to 65535",
                "Load_Balancer options: who is told by a reject needs no event (ovn-nb, reject)",
            ],
        ),
        (
            "a template without values",
            with_balancer(
                &[("^vip:80", "^backends".to_owned())],
                &[("template", "true"), ("address-family", "ipv4")],
            ),
            &[
                "Load_Balancer vips: no chassis has a value for ^backends",
                "Load_Balancer vips: no chassis has a value for ^vip",
            ],
        ),
        (
            "a template that is none",
            with_balancer(&[("^vip:80", one)], &[]),
            &["Load_Balancer vips: it is no IP address, nor one with : and a port number"],
        ),
        (
            "a mirror to oneself",
            with_mirror("p3"),
            &["Logical_Switch_Port mirror_rules: a mirror to the port itself"],
        ),
    ];
    for (what, operations, expected) in cases {
        let mut world = world();
        world.north(operations);
        assert_eq!(said(&world), expected, "{what}");
        others_talk(&world);
        let differences = world.recompute().expect("compiles");
        assert!(differences.is_empty(), "{what}: {differences:#?}");
    }
}

#[test]
fn what_is_large_is_compiled() {
    // A match of 64 KB.
    let ports: Vec<String> = (0..11_000).map(|n| n.to_string()).collect();
    let text = format!("tcp.dst == {{{}}}", ports.join(", "));
    assert!(text.len() > 64 << 10);
    let mut world = world();
    world.north(with_rules(&[rule(text)]));
    assert_eq!(said(&world), [""; 0]);
    others_talk(&world);

    // 5,000 backends, more than a group of a switch holds; each chassis says so, too (`features/enforcement.rs`).
    let backends = (0..5_000).map(|n| format!("10.1.{}.{}:80", n / 250, n % 250 + 1));
    let backends: Vec<String> = backends.collect();
    let mut world = self::world();
    world.north(with_balancer(&[("172.30.0.1:80", backends.join(","))], &[]));
    let expected = "Load_Balancer vips: 172.30.0.1:80 has 5000 backends, and a group of OpenFlow has room for 650";
    assert_eq!(said(&world), [expected]);
    others_talk(&world);

    // Ten rules that name a set of 100,000 addresses are ten flows, and a member more is that.
    let mut world = self::world();
    let address = |n: u32| -> Arc<str> {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + n)
            .to_string()
            .into()
    };
    let mut set = nb::AddressSet {
        name: "many".into(),
        addresses: (0..100_000).map(address).collect(),
        ..Default::default()
    };
    let rules = (0..10).map(|n| rule(format!("ip4.src == $many && tcp.dst == {n}")));
    let rules: Vec<nb::Acl> = rules.collect();
    let uuid = Uuid::from_u128(4_000);
    let operations = std::iter::once(insert(uuid, &set)).chain(with_rules(&rules));
    world.north(operations.collect());
    assert_eq!(said(&world), [""; 0]);
    let flows = |world: &World| {
        let rows = world.sb::<sb::LogicalFlow>().into_iter();
        let mut naming: Vec<Uuid> = rows
            .filter(|(_, row)| row.r#match.contains("$many"))
            .map(|(uuid, _)| uuid)
            .collect();
        naming.sort_unstable();
        naming
    };
    let before = flows(&world);
    assert_eq!(before.len(), 20, "ten for each switch");
    set.addresses.push(address(100_000));
    let columns = vec![nb::AddressSet::COLUMN.addresses.to(&set.addresses)];
    world.north(vec![Operation::update_row(
        nb::AddressSet::INDEX,
        uuid,
        columns,
    )]);
    assert_eq!(flows(&world), before, "no flow is another");
}

#[test]
fn a_virtual_address_that_is_a_routers_is_balanced_and_the_router_still_answers() {
    let mut world = world();
    let [port, router] = [5_000, 5_001].map(Uuid::from_u128);
    let of_router = nb::LogicalRouterPort {
        name: "r".into(),
        mac: "02:00:00:00:01:01".into(),
        networks: vec!["10.0.0.254/24".into()],
        ..Default::default()
    };
    let row = nb::LogicalRouter {
        name: "router".into(),
        ports: vec![port],
        load_balancer: vec![Uuid::from_u128(2_000)],
        ..Default::default()
    };
    let balancer = nb::LoadBalancer {
        name: "lb".into(),
        vips: [("10.0.0.254:80".into(), "10.0.0.3:80".into())].into(),
        ..Default::default()
    };
    world.north(vec![
        insert(port, &of_router),
        insert(Uuid::from_u128(2_000), &balancer),
        insert(router, &row),
    ]);
    assert_eq!(said(&world), [""; 0]);
    others_talk(&world);
    let own = world.sb::<sb::LogicalFlow>().into_iter();
    let own: Vec<String> = own
        .filter(|(_, row)| {
            row.external_ids["stage-name"].contains("lr_in_own")
                || row.r#match.contains("arp.tpa == 10.0.0.254")
        })
        .map(|(_, row)| row.r#match.to_string())
        .collect();
    assert!(
        own.iter().any(|text| text.contains("icmp4.type == 8")),
        "pings are for the router: {own:#?}"
    );
}
