//! What is local, and what is asked for.

use ovsdb::Uuid;
use sb_db::tables::{DatapathBinding, PortBinding};

use crate::testing::{SWITCH, World, datapath, options, port};

const ROUTERS: [u128; 2] = [2, 3];

fn patch(name: &str, of: Uuid, key: u128, peer: &str) -> PortBinding {
    PortBinding {
        r#type: "patch".into(),
        options: options([("peer", peer)]),
        ..port(name, of, key)
    }
}

fn router(key: i64) -> DatapathBinding {
    DatapathBinding {
        external_ids: options([("logical-router", "r"), ("name", "twin")]),
        ..datapath(key)
    }
}

/// The names that are asked for beside those of this chassis' own ports.
fn asked(world: &mut World) -> Vec<String> {
    world.changes();
    let mut names: Vec<String> = world
        .network
        .unknown_peers()
        .iter()
        .map(ToString::to_string)
        .collect();
    names.sort();
    names
}

/// A switch whose guest is here, and routers behind it that are told of step by step, as by a server with conditions.
#[test]
fn a_network_is_followed_across_patch_ports() {
    let mut world = World::new();
    let is_local = |world: &World, n: u128| world.network.local.peek(Uuid::from_u128(n)).is_some();
    assert_eq!(asked(&mut world), [""; 0]);
    world.set(14, None, Some(&patch("s-r", SWITCH, 4, "r-s")));
    assert_eq!(asked(&mut world), ["r-s"]);
    assert!(!is_local(&world, 2));
    let peer = patch("r-s", Uuid::from_u128(2), 1, "s-r");
    world.set(15, None, Some(&peer));
    assert_eq!(asked(&mut world), [""; 0]);
    assert!(is_local(&world, 2));
    world.set(16, None, Some(&patch("r-t", Uuid::from_u128(2), 2, "t-r")));
    assert_eq!(asked(&mut world), ["t-r"]);
    world.set(17, None, Some(&patch("t-r", Uuid::from_u128(3), 1, "r-t")));
    assert_eq!(asked(&mut world), [""; 0]);
    assert!(is_local(&world, 3));
    // The first router's port goes, and with it the way to both.
    world.set(15, Some(&peer), None);
    assert_eq!(asked(&mut world), ["r-s"]);
    assert!(!is_local(&world, 2) && !is_local(&world, 3) && is_local(&world, 1));
}

/// The row of its port is asked for, for what it tells guests.
#[test]
fn a_gateway_router_elsewhere_is_asked_for_and_not_followed() {
    let mut world = World::new();
    let end = |name, of, key, peer| PortBinding {
        r#type: "l3gateway".into(),
        ..patch(name, of, key, peer)
    };
    let near = end("s-gw", SWITCH, 4, "gw-s");
    world.set(14, None, Some(&near));
    assert_eq!(asked(&mut world), ["gw-s"]);
    let far = end("gw-s", Uuid::from_u128(2), 1, "s-gw");
    world.set(15, None, Some(&far));
    assert_eq!(
        asked(&mut world),
        ["gw-s"],
        "it is told while it is asked for"
    );
    assert!(world.network.local.peek(Uuid::from_u128(2)).is_none());
    world.set(14, Some(&near), None);
    assert_eq!(asked(&mut world), [""; 0]);
}

#[test]
fn routers_of_one_name_keep_their_zones_until_the_last_is_gone() {
    let mut world = World::new();
    for (n, key) in ROUTERS.into_iter().zip(8..) {
        world.set(n, None, Some(&router(key)));
        let (name, peer) = (format!("s-{n}"), format!("{n}-s"));
        world.set(20 + n, None, Some(&patch(&name, SWITCH, 20 + n, &peer)));
        world.set(
            30 + n,
            None,
            Some(&patch(&peer, Uuid::from_u128(n), 1, &name)),
        );
    }
    world.changes();
    let zones = |world: &mut World| {
        world.network.zones.forget_left();
        ["twin_dnat", "twin_snat"].map(|name| world.network.zones.get(name).is_some())
    };
    assert_eq!(zones(&mut world), [true, true]);
    world.set(22, Some(&patch("s-2", SWITCH, 22, "2-s")), None);
    world.changes();
    assert_eq!(zones(&mut world), [true, true]);
    world.set(23, Some(&patch("s-3", SWITCH, 23, "3-s")), None);
    world.changes();
    assert_eq!(zones(&mut world), [false, false]);
}

#[test]
fn a_name_that_passes_to_another_row_stays() {
    use sb_db::tables::AddressSet;
    let mut world = World::new();
    let set = AddressSet {
        name: "set".into(),
        addresses: vec!["10.0.0.1".into()],
        ..AddressSet::default()
    };
    world.set(50, None, Some(&set));
    // The new row is told before the old one goes.
    world.set(51, None, Some(&set));
    world.set(50, Some(&set), None);
    world.changes();
    let id = super::NameId::of("set");
    assert!(world.network.address_sets.peek(id).is_some());
}

/// Switches with a guest each, all of them in one group that has two flows.
fn shared(switches: u128) -> World {
    use sb_db::tables::{LogicalDpGroup, LogicalFlow};
    let mut world = World::new();
    world.change_own(|own| own.shares_flows = true);
    for n in 0..switches {
        let key = i64::try_from(100 + n).expect("keys are small");
        world.set(100 + n, None, Some(&datapath(key)));
        let name = format!("guest{n}");
        world.set(
            200 + n,
            None,
            Some(&port(&name, Uuid::from_u128(100 + n), 1)),
        );
        world.plug(&name, 20 + u32::try_from(n).expect("few"));
    }
    let group = LogicalDpGroup {
        datapaths: (0..switches).map(|n| Uuid::from_u128(100 + n)).collect(),
        ..LogicalDpGroup::default()
    };
    world.set(300, None, Some(&group));
    for (n, matches) in (400..).zip(["ip4", "eth.mcast"]) {
        let flow = LogicalFlow {
            logical_dp_group: Some(Uuid::from_u128(300)),
            pipeline: "ingress".into(),
            r#match: matches.into(),
            actions: "next;".into(),
            ..LogicalFlow::default()
        };
        world.set(n, None, Some(&flow));
    }
    world
}

#[test]
fn a_groups_flows_are_installed_once() {
    let mut world = shared(3);
    let flows = world.changes();
    assert_eq!(flows.lines().count(), 2, "{flows}");
    assert!(
        flows.contains("metadata=0x1000000/0x1000000"),
        "the first bit above the key: {flows}"
    );
    world.change_own(|own| own.shares_flows = false);
    let flows = world.changes();
    let added = flows.lines().filter(|line| line.starts_with('+')).count();
    assert_eq!(added, 6, "{flows}");
}

#[test]
fn a_datapath_that_joins_costs_its_own_flows_and_not_the_groups() {
    use sb_db::tables::LogicalDpGroup;
    let mut world = shared(4);
    let of = |members: std::ops::Range<u128>| LogicalDpGroup {
        datapaths: members.map(Uuid::from_u128).collect(),
        ..LogicalDpGroup::default()
    };
    world.set(300, Some(&of(100..104)), Some(&of(100..103)));
    world.changes();
    assert_eq!(
        world.network.metadata(Uuid::from_u128(103)),
        Some(103),
        "it is no member"
    );
    world.set(300, Some(&of(100..103)), Some(&of(100..104)));
    assert_eq!(world.changes(), "");
    assert_eq!(
        world.network.metadata(Uuid::from_u128(103)),
        Some(103 | 1 << 24)
    );
}

#[test]
fn bits_are_those_that_the_switch_has() {
    use openflow::message::{FlowDesc, FlowFlags};
    let mut world = shared(3);
    let read = super::Bits {
        datapaths: super::BitsByKeys::from([(vec![100, 101, 102], 40)]),
        ..super::Bits::default()
    };
    world.engine.input(&mut world.network, |network, changes| {
        network.recall_bits(changes, read.clone());
    });
    world.engine.step(&mut world.network, 10_000);
    let wanted = world.network.desired.changes();
    let flows: Vec<FlowDesc> = wanted
        .flows
        .into_iter()
        .map(|(key, flow)| FlowDesc {
            table: key.table,
            priority: key.priority,
            cookie: flow.cookie,
            idle_timeout: 0,
            hard_timeout: 0,
            flags: FlowFlags::default(),
            matches: key.matches.clone(),
            actions: flow.actions,
        })
        .collect();
    assert_eq!(crate::physical::bits_of_flows(&flows), read);
    assert_eq!(world.network.bits(), read);
}

#[test]
fn a_port_to_a_router_has_a_zone_while_rules_are_asked_of_it() {
    let mut world = World::new();
    let open = patch("s-r", SWITCH, 4, "r-s");
    let ruled = PortBinding {
        options: options([("peer", "r-s"), ("enable_router_port_acl", "true")]),
        ..open.clone()
    };
    world.set(14, None, Some(&open));
    let zone = |world: &mut World| {
        world.changes();
        world.network.zones.forget_left();
        world.network.zones.get("s-r").is_some()
    };
    assert!(!zone(&mut world));
    world.set(14, Some(&open), Some(&ruled));
    assert!(zone(&mut world));
    world.set(14, Some(&ruled), Some(&open));
    assert!(!zone(&mut world));
}
