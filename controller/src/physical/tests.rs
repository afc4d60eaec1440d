//! Flows between logical ports and the switch's ports, in a small world.

mod handover;
mod networks;

use ovsdb::Uuid;
use sb_db::tables::{
    Chassis, DatapathBinding, Fdb, GatewayChassis, HaChassis, HaChassisGroup, MacBinding,
    MulticastGroup, PortBinding, StaticMacBinding,
};

use crate::layout;
use crate::network::Tunnel;
use crate::settings::TunnelKind;
use crate::testing::{SWITCH, World, datapath, options, port};

/// A router (key 9) behind the switch, joined to it by patch ports with the keys 4 and 1, and another chassis, which has `there`.
fn routed() -> World {
    let mut world = World::new();
    let router = DatapathBinding {
        external_ids: options([("logical-router", "r"), ("name", "r")]),
        ..datapath(9)
    };
    world.set(2, None, Some(&router));
    let patch = |name: &str, of: Uuid, key, peer: &str| PortBinding {
        r#type: "patch".into(),
        options: options([("peer", peer)]),
        ..port(name, of, key)
    };
    world.set(14, None, Some(&patch("to-router", SWITCH, 4, "to-switch")));
    world.set(
        15,
        None,
        Some(&patch("to-switch", Uuid::from_u128(2), 1, "to-router")),
    );
    let chassis = Chassis {
        name: "other".into(),
        ..Chassis::default()
    };
    world.set(30, None, Some(&chassis));
    let there = PortBinding {
        chassis: Some(Uuid::from_u128(30)),
        ..port("there", SWITCH, 2)
    };
    world.set(12, Some(&port("there", SWITCH, 2)), Some(&there));
    world.change_own(|own| own.geneve_field = Some(0));
    world.change_ports(|ports| {
        let tunnel = Tunnel {
            ofport: 100,
            kind: TunnelKind::Geneve,
            remote: None,
            local: None,
        };
        ports
            .tunnels
            .insert("other".into(), [tunnel].into_iter().collect());
    });
    world
}

fn localport(name: &str, key: u128) -> PortBinding {
    PortBinding {
        r#type: "localport".into(),
        ..port(name, SWITCH, key)
    }
}

#[test]
fn what_every_chassis_has_is_served_where_packets_come_from() {
    let mut world = routed();
    world.set(16, None, Some(&localport("meta", 6)));
    world.plug("meta", 8);
    let group = |ports: &[u128]| MulticastGroup {
        name: "_MC_flood".into(),
        datapath: SWITCH,
        tunnel_key: 32_768,
        ports: ports.iter().map(|n| Uuid::from_u128(*n)).collect(),
        ..MulticastGroup::default()
    };
    world.changes();
    world.set(20, Some(&group(&[11, 12])), Some(&group(&[11, 12, 14, 16])));
    let flows =
        world.changes_in(|table| table == layout::REMOTE_OUTPUT || table == layout::LOCAL_OUTPUT);
    let of = |table: u8| {
        let start = format!("+ {table} ");
        let mut lines = flows.lines().filter(move |line| line.starts_with(&start));
        let found = lines.next().unwrap_or_default().to_owned();
        assert_eq!(lines.next(), None, "{flows}");
        found
    };
    let (remote, local) = (of(layout::REMOTE_OUTPUT), of(layout::LOCAL_OUTPUT));
    for key in ["0x4->reg15", "0x6->reg15"] {
        assert!(remote.contains(key), "{remote}");
        assert!(!local.contains(key), "{local}");
    }
    assert!(remote.contains("output:100"), "{remote}");
    assert!(
        remote.ends_with("set_field:0x8000->reg15,resubmit(,46)"),
        "{remote}"
    );
}

#[test]
fn a_localport_stays_on_its_chassis() {
    let mut world = World::new();
    world.set(16, None, Some(&localport("meta", 6)));
    let localnet = PortBinding {
        r#type: "localnet".into(),
        ..port("physical", SWITCH, 7)
    };
    world.set(17, None, Some(&localnet));
    world.plug("meta", 8);
    world.change_ports(|ports| {
        ports.patches.insert("patch-br-int-to-physical".into(), 50);
    });
    let flows = world.changes_in(|table| {
        [
            layout::PHYSICAL_TO_LOGICAL,
            layout::REMOTE_OUTPUT,
            layout::CHECK_LOOPBACK,
        ]
        .contains(&table)
    });
    for (what, expected) in [
        ("it is marked", "in_port=8 -> "),
        ("with its mark", "set_field:0x400/0x400->reg10"),
        ("no tunnel", "+ 44 150 metadata=0x5/0xffffff"),
        (
            "no localnet",
            "+ 47 160 metadata=0x5/0xffffff,reg10=0x400/0x400,reg15=0x7 -> drop",
        ),
    ] {
        assert!(flows.contains(expected), "{what}:\n{flows}");
    }
}

#[test]
fn the_hidden_input_port_is_no_port() {
    let mut world = World::new();
    world.plug("there", 9);
    let flows = world.changes_in(|table| table == layout::SAVE_IN_PORT);
    assert!(flows.contains("set_field:ANY->in_port"), "{flows}");
    assert!(!flows.contains("set_field:0->in_port"), "{flows}");
}

#[test]
fn a_neighbour_that_is_found_is_said_to_be() {
    let mut world = routed();
    world.changes();
    let neighbour = MacBinding {
        datapath: Uuid::from_u128(2),
        logical_port: "to-switch".into(),
        ip: "10.0.0.9".into(),
        mac: "02:00:00:00:00:09".into(),
        ..MacBinding::default()
    };
    world.set(40, None, Some(&neighbour));
    let flows = world.changes_in(|table| table == layout::MAC_BINDING);
    assert!(flows.contains("set_field:0x40/0x40->reg10"), "{flows}");
}

#[test]
fn a_neighbour_is_known_no_longer_at_half_of_its_age_until_it_is_heard_of() {
    let mut world = routed();
    world.changes();
    let neighbour = |timestamp| MacBinding {
        datapath: Uuid::from_u128(2),
        logical_port: "to-switch".into(),
        ip: "10.0.0.9".into(),
        mac: "02:00:00:00:00:09".into(),
        timestamp,
        ..MacBinding::default()
    };
    let router = |age| DatapathBinding {
        external_ids: options([("logical-router", "r"), ("mac_binding_age_threshold", age)]),
        ..datapath(9)
    };
    world.set(2, None, Some(&router("20")));
    world.set(40, None, Some(&neighbour(5_000)));
    world.changes();
    let tables = [layout::MAC_BINDING, layout::MAC_LOOKUP];
    let ripen = |world: &mut World, now_ms| {
        world.engine.input(&mut world.network, |network, changes| {
            network.ripen(changes, now_ms);
        });
        world.changes_in(|table| tables.contains(&table))
    };
    assert_eq!(world.network.ripe_at_ms(), Some(15_000));
    assert_eq!(ripen(&mut world, 14_999), "");
    let flows = ripen(&mut world, 15_000);
    assert!(
        flows.starts_with("- 67 ") && flows.lines().count() == 1,
        "{flows}"
    );
    world.set(40, Some(&neighbour(5_000)), Some(&neighbour(16_000)));
    let flows = world.changes_in(|table| tables.contains(&table));
    assert!(
        flows.starts_with("+ 67 ") && flows.lines().count() == 1,
        "{flows}"
    );
    // Nothing is forgotten any more.
    world.set(2, Some(&router("20")), Some(&router("0")));
    assert_eq!(world.network.ripe_at_ms(), None);
    assert_eq!(ripen(&mut world, 1_000_000), "");
}

#[test]
fn an_address_is_known_no_longer_at_half_of_its_age_until_it_is_heard_of() {
    let mut world = World::new();
    let switch = |age| DatapathBinding {
        external_ids: options([("logical-switch", "s"), ("fdb_age_threshold", age)]),
        ..datapath(5)
    };
    let address = |timestamp| Fdb {
        mac: "02:00:00:00:00:09".into(),
        dp_key: 5,
        port_key: 1,
        timestamp,
        ..Fdb::default()
    };
    world.set(40, None, Some(&address(5_000)));
    world.changes();
    assert_eq!(world.network.ripe_at_ms(), None);
    world.set(1, Some(&datapath(5)), Some(&switch("20")));
    world.changes();
    let tables = [layout::GET_FDB, layout::LOOKUP_FDB];
    let ripen = |world: &mut World, now_ms| {
        world.engine.input(&mut world.network, |network, changes| {
            network.ripen(changes, now_ms);
        });
        world.changes_in(|table| tables.contains(&table))
    };
    assert_eq!(world.network.ripe_at_ms(), Some(15_000));
    let flows = ripen(&mut world, 15_000);
    let port = "- 72 100 metadata=0x5/0xffffff,reg14=0x1,";
    assert!(
        flows.starts_with(port) && flows.lines().count() == 1,
        "{flows}"
    );
    // It was heard of, and until its row says so it is known: packets of its guest come up once in a while, not all of them.
    let refreshed = |world: &mut World, now_ms| {
        world.engine.input(&mut world.network, |network, changes| {
            network.refreshed(changes, Uuid::from_u128(40), now_ms);
        });
        world.changes_in(|table| tables.contains(&table))
    };
    let flows = refreshed(&mut world, 15_100);
    assert!(flows.starts_with("+ 72 "), "{flows}");
    assert_eq!(refreshed(&mut world, 15_200), "");
    assert_eq!(ripen(&mut world, 17_099), "");
    let flows = ripen(&mut world, 17_100);
    assert!(
        flows.starts_with("- 72 "),
        "the southbound is slow: {flows}"
    );
    world.set(40, Some(&address(5_000)), Some(&address(16_000)));
    let flows = world.changes_in(|table| tables.contains(&table));
    assert!(
        flows.starts_with("+ 72 ") && flows.lines().count() == 1,
        "{flows}"
    );
    world.set(1, Some(&switch("20")), Some(&switch("0")));
    assert_eq!(world.network.ripe_at_ms(), None);
}

#[test]
fn what_crosses_to_another_datapath_may_leave_by_the_tunnel_that_it_came_by() {
    let mut world = routed();
    let flows = world.changes_in(|table| table == layout::LOGICAL_TO_PHYSICAL);
    let crossing = flows.lines().filter(|flow| flow.contains("clone("));
    let crossing: Vec<&str> = crossing.collect();
    assert!(!crossing.is_empty(), "{flows}");
    assert!(
        crossing
            .iter()
            .all(|flow| flow.contains("set_field:ANY->in_port,resubmit")),
        "{flows}"
    );
}

#[test]
fn a_declared_neighbour_is_below_what_was_learned_unless_it_overrides() {
    let mut world = routed();
    world.changes();
    for (overrides, priority) in [(false, " 50 "), (true, " 150 ")] {
        let neighbour = StaticMacBinding {
            datapath: Uuid::from_u128(2),
            logical_port: "to-switch".into(),
            ip: "10.0.0.9".into(),
            mac: "02:00:00:00:00:09".into(),
            override_dynamic_mac: overrides,
            ..StaticMacBinding::default()
        };
        world.set(40, None, Some(&neighbour));
        let tables = [layout::MAC_BINDING, layout::MAC_LOOKUP];
        let flows = world.changes_in(|table| tables.contains(&table));
        assert_eq!(
            flows.lines().filter(|line| line.starts_with('+')).count(),
            2,
            "{flows}"
        );
        assert!(flows.contains(priority), "{flows}");
        world.set(40, Some(&neighbour), None);
        world.changes();
    }
}

#[test]
fn reflected_frames_do_not_move_guests() {
    let mut world = World::new();
    let learned = |port_key| Fdb {
        mac: "02:00:00:00:00:07".into(),
        dp_key: 5,
        port_key,
        ..Fdb::default()
    };
    world.set(40, None, Some(&learned(1)));
    let flows = world.changes_in(|table| table == layout::LOOKUP_FDB);
    assert_eq!(flows.lines().count(), 2, "{flows}");
    assert!(flows.contains("reg10=0x8000/0x8000"), "{flows}");
    let localnet = PortBinding {
        r#type: "localnet".into(),
        ..port("physical", SWITCH, 7)
    };
    world.set(17, None, Some(&localnet));
    world.set(40, Some(&learned(1)), Some(&learned(7)));
    let flows = world.changes_in(|table| table == layout::LOOKUP_FDB);
    let added = flows.lines().filter(|line| line.starts_with('+')).count();
    assert_eq!(added, 1, "{flows}");
}

#[test]
fn an_advertisement_is_judged_by_its_source_and_its_target() {
    let mut world = World::new();
    let guarded = PortBinding {
        port_security: vec!["02:00:00:00:00:01 fd00::1 fd00::2".into()],
        ..port("here", SWITCH, 1)
    };
    world.set(11, Some(&port("here", SWITCH, 1)), Some(&guarded));
    let flows = world.changes_in(|table| table == layout::CHECK_IN_PORT_SEC);
    let judged: Vec<&str> = flows
        .lines()
        .filter(|line| line.contains("icmpv6_type=136"))
        .collect();
    // Both addresses and the link-local one.
    assert_eq!(judged.len(), 3, "{flows}");
    assert!(
        judged
            .iter()
            .all(|line| line.contains("ipv6_src=") && line.ends_with("resubmit(,74)")),
        "{flows}"
    );
}

#[test]
fn tags_pass_an_untagged_localnet_port_where_they_may() {
    for (passes, tagged) in [("false", true), ("true", false)] {
        let mut world = World::new();
        let localnet = PortBinding {
            r#type: "localnet".into(),
            options: options([("vlan-passthru", passes)]),
            ..port("physical", SWITCH, 7)
        };
        world.set(17, None, Some(&localnet));
        world.change_ports(|ports| {
            ports.patches.insert("patch-br-int-to-physical".into(), 50);
        });
        let flows = world.changes_in(|table| table == layout::PHYSICAL_TO_LOGICAL);
        assert_eq!(
            flows.contains("vlan_tci") || flows.contains("dl_vlan") || flows.contains("vlan_vid"),
            tagged,
            "{flows}"
        );
    }
}

/// Rows for two ends of the other chassis, and what the controller knows of its own two.
fn two_ends(world: &mut World) {
    use sb_db::tables::Encap;
    let encap = |ip: &str| Encap {
        r#type: "geneve".into(),
        ip: ip.into(),
        chassis_name: "other".into(),
        ..Encap::default()
    };
    world.set(31, None, Some(&encap("10.0.0.8")));
    world.set(32, None, Some(&encap("10.0.0.9")));
    let chassis = |encaps: &[u128]| Chassis {
        name: "other".into(),
        encaps: encaps.iter().map(|n| Uuid::from_u128(*n)).collect(),
        ..Chassis::default()
    };
    world.set(30, Some(&chassis(&[])), Some(&chassis(&[31, 32])));
    world.change_own(|own| {
        own.encap_ips = ["10.0.0.1", "10.0.0.2"]
            .map(|ip| ip.parse().expect("an address"))
            .into();
    });
    let there = |encap: Option<u128>| PortBinding {
        chassis: Some(Uuid::from_u128(30)),
        encap: encap.map(Uuid::from_u128),
        ..port("there", SWITCH, 2)
    };
    world.set(12, Some(&there(None)), Some(&there(Some(32))));
    let own_end = Encap {
        r#type: "geneve".into(),
        ip: "10.0.0.2".into(),
        ..Encap::default()
    };
    world.set(33, None, Some(&own_end));
    let here = |encap: Option<u128>| PortBinding {
        encap: encap.map(Uuid::from_u128),
        ..port("here", SWITCH, 1)
    };
    world.set(11, Some(&here(None)), Some(&here(Some(33))));
}

#[test]
fn ports_of_several_ends_go_their_own_ways() {
    let mut world = routed();
    two_ends(&mut world);
    world.change_ports(|ports| {
        let tunnel = |ofport, remote: &str, local: &str| Tunnel {
            ofport,
            kind: TunnelKind::Geneve,
            remote: remote.parse().ok(),
            local: local.parse().ok(),
        };
        let all = [
            tunnel(101, "10.0.0.8", "10.0.0.1"),
            tunnel(102, "10.0.0.8", "10.0.0.2"),
            tunnel(103, "10.0.0.9", "10.0.0.1"),
            tunnel(104, "10.0.0.9", "10.0.0.2"),
        ];
        ports
            .tunnels
            .insert("other".into(), all.into_iter().collect());
    });
    let flows = world
        .changes_in(|table| [layout::PHYSICAL_TO_LOGICAL, layout::REMOTE_OUTPUT].contains(&table));
    let line = |start: &str, mention: &str| {
        let mut lines = flows.lines();
        let found = lines.find(|line| line.starts_with(start) && line.contains(mention));
        found.unwrap_or_else(|| panic!("{start} … {mention}:\n{flows}"))
    };
    assert!(line("+ 0 100 in_port=7 ", "").contains("set_field:0x20000/0xffff0000->reg13"));
    assert!(line("+ 44 100 ", "reg15=0x2 ").ends_with("output:103"));
    let own_way = line("+ 44 101 ", "reg15=0x2 ");
    assert!(own_way.contains("reg13=0x20000/0xffff0000"), "{own_way}");
    assert!(own_way.ends_with("output:104"), "{own_way}");
    assert!(line("+ 44 101 ", "reg15=0x8000 ").contains("output:104"));
}

/// There is one tunnel, whose ends flows name.
fn flow_based(world: &mut World) {
    world.change_ports(|ports| {
        ports.tunnels.clear();
        let tunnel = Tunnel {
            ofport: 60,
            kind: TunnelKind::Geneve,
            remote: None,
            local: None,
        };
        ports
            .tunnels
            .insert("flow".into(), [tunnel].into_iter().collect());
    });
}

#[test]
fn a_flow_based_tunnel_is_told_both_ends() {
    let mut world = routed();
    two_ends(&mut world);
    flow_based(&mut world);
    let flows = world.changes_in(|table| table == layout::REMOTE_OUTPUT);
    let unicast = flows
        .lines()
        .find(|line| line.contains("reg15=0x2 ") && line.starts_with("+ 44 100 "))
        .unwrap_or_else(|| panic!("{flows}"));
    for part in [
        "set_field:10.0.0.1->tun_src",
        "set_field:10.0.0.9->tun_dst",
        "output:60",
    ] {
        assert!(unicast.contains(part), "{unicast}");
    }
}

#[test]
fn keys_that_vxlan_has_no_room_for_are_told_and_not_cut() {
    for (kind, port_key, is_reached) in [
        (TunnelKind::Vxlan, 2_047, true),
        (TunnelKind::Vxlan, 2_048, false),
        (TunnelKind::Gre, 2_047, true),
        (TunnelKind::Gre, 2_048, false),
        (TunnelKind::Geneve, 2_048, true),
    ] {
        let mut world = routed();
        two_ends(&mut world);
        world.change_own(|own| own.geneve_field = Some(0));
        world.change_ports(|ports| {
            ports.tunnels.clear();
            let tunnel = Tunnel {
                ofport: 60,
                kind,
                remote: "10.0.0.9".parse().ok(),
                local: "10.0.0.1".parse().ok(),
            };
            let tunnels = [tunnel].into_iter().collect();
            ports.tunnels.insert("other".into(), tunnels);
        });
        let there = PortBinding {
            chassis: Some(Uuid::from_u128(30)),
            encap: Some(Uuid::from_u128(32)),
            ..port("there", SWITCH, 2)
        };
        let moved = PortBinding {
            tunnel_key: port_key,
            ..there.clone()
        };
        world.set(12, Some(&there), Some(&moved));
        let flows = world.changes_in(|table| table == layout::REMOTE_OUTPUT);
        let wanted = format!("reg15={port_key:#x} ");
        let reached = flows.lines().any(|line| line.contains(&wanted));
        assert_eq!(reached, is_reached, "{kind:?} {port_key}:\n{flows}");
        let problems: Vec<&String> = world.network.problems.values().collect();
        assert_eq!(problems.is_empty(), is_reached, "{problems:?}");
        if let [problem] = &problems[..] {
            assert!(
                problem.contains("port there") && problem.contains("2047"),
                "{problem}"
            );
        }
    }
}

#[test]
fn a_flow_based_tunnel_keeps_to_transport_zones() {
    let mut world = routed();
    two_ends(&mut world);
    flow_based(&mut world);
    let leaves = |world: &mut World| {
        let flows = world.changes_in(|table| table == layout::REMOTE_OUTPUT);
        let mut lines = flows.lines();
        lines.find_map(|line| {
            Some(
                line.contains("reg15=0x2 ")
                    .then_some(line)?
                    .starts_with('+'),
            )
        })
    };
    assert_eq!(leaves(&mut world), Some(true));
    world.change_own(|own| own.transport_zones = vec!["tz1".into()]);
    assert_eq!(leaves(&mut world), Some(false), "the other is in none");
    let chassis = |zones: &[&str]| Chassis {
        name: "other".into(),
        encaps: [31, 32].map(Uuid::from_u128).into(),
        transport_zones: zones.iter().map(|zone| (*zone).into()).collect(),
        ..Chassis::default()
    };
    world.set(30, Some(&chassis(&[])), Some(&chassis(&["tz1", "tz2"])));
    assert_eq!(leaves(&mut world), Some(true));
}

#[test]
fn from_an_address_that_leads_nowhere_packets_take_the_default_way() {
    let mut world = routed();
    two_ends(&mut world);
    world.change_own(|own| {
        own.encap_ips = ["10.0.0.1", "fd00::1"]
            .map(|ip| ip.parse().expect("an address"))
            .into();
    });
    flow_based(&mut world);
    let flows = world.changes_in(|table| table == layout::REMOTE_OUTPUT);
    assert!(flows.contains("+ 44 100 "), "{flows}");
    assert!(!flows.contains("+ 44 101 "), "{flows}");
}

#[test]
fn a_guest_that_moves_is_sent_to_at_both_places() {
    let mut world = routed();
    world.changes_in(|_| true);
    let chassis = |name: &str| Chassis {
        name: name.into(),
        ..Chassis::default()
    };
    world.set(40, None, Some(&chassis("third")));
    world.set(41, None, Some(&chassis("self")));
    world.change_own(|own| own.chassis = Some(Uuid::from_u128(41)));
    world.change_ports(|ports| {
        let tunnel = Tunnel {
            ofport: 101,
            kind: TunnelKind::Geneve,
            remote: None,
            local: None,
        };
        ports
            .tunnels
            .insert("third".into(), [tunnel].into_iter().collect());
    });
    let there = |additional: &[u128]| PortBinding {
        chassis: Some(Uuid::from_u128(30)),
        additional_chassis: additional.iter().map(|n| Uuid::from_u128(*n)).collect(),
        ..port("there", SWITCH, 2)
    };
    world.changes_in(|_| true);
    world.set(12, Some(&there(&[])), Some(&there(&[40])));
    let both = |flows: &str, key: &str, start: &str| {
        let line = flows
            .lines()
            .find(|line| line.starts_with(start) && line.contains(key))
            .unwrap_or_else(|| panic!("{start} {key}: {flows}"))
            .to_owned();
        assert!(
            line.contains("output:100") && line.contains("output:101"),
            "{line}"
        );
        line
    };
    let flows = world.changes_in(|table| table == layout::REMOTE_OUTPUT);
    both(&flows, "reg15=0x2 ", "+ 44 100 ");
    both(&flows, "reg15=0x8000 ", "+ 44 100 ");
    // Coming here: what this chassis sends reaches the old place, the third, and this one.
    world.set(12, Some(&there(&[40])), Some(&there(&[40, 41])));
    world.plug("there", 9);
    let flows = world.changes_in(|table| table == layout::REMOTE_OUTPUT);
    let line = both(&flows, "reg15=0x2 ", "+ 44 110 ");
    assert!(line.ends_with("resubmit(,46)"), "{line}");
}

#[test]
fn a_gateway_routers_port_leads_on_at_its_chassis_alone() {
    let mut world = routed();
    world.change_own(|own| own.name = "self".into());
    let gateway = |name: &str, of: Uuid, key, peer: &str, chassis: &str| PortBinding {
        r#type: "l3gateway".into(),
        chassis: (chassis == "other").then(|| Uuid::from_u128(30)),
        options: options([("peer", peer), ("l3gateway-chassis", chassis)]),
        ..port(name, of, key)
    };
    let router = DatapathBinding {
        external_ids: options([("logical-router", "gw"), ("name", "gw")]),
        ..datapath(11)
    };
    world.set(3, None, Some(&router));
    let of = Uuid::from_u128(3);
    world.changes_in(|_| true);
    world.set(
        18,
        None,
        Some(&gateway("to-gw", SWITCH, 8, "from-gw", "self")),
    );
    world.set(19, None, Some(&gateway("from-gw", of, 1, "to-gw", "self")));
    let flows = world.changes_in(|table| table == layout::LOGICAL_TO_PHYSICAL);
    assert!(flows.contains("reg15=0x8 -> clone("), "{flows}");
    assert!(world.network.local.peek(of).is_some());
    let mine = gateway("to-gw", SWITCH, 8, "from-gw", "self");
    let theirs = gateway("to-gw", SWITCH, 8, "from-gw", "other");
    world.set(18, Some(&mine), Some(&theirs));
    let flows = world.changes_in(|table| table == layout::REMOTE_OUTPUT);
    assert!(
        flows.contains("reg15=0x8 -> ") && flows.contains("output:100"),
        "{flows}"
    );
}

#[test]
fn a_redirected_packet_goes_to_the_best_gateway() {
    let mut world = routed();
    let own = Chassis {
        name: "self".into(),
        ..Chassis::default()
    };
    world.set(41, None, Some(&own));
    world.change_own(|own| {
        own.chassis = Some(Uuid::from_u128(41));
        own.name = "self".into();
    });
    let rank = |chassis, priority| HaChassis {
        chassis: Some(Uuid::from_u128(chassis)),
        priority,
        ..HaChassis::default()
    };
    world.set(50, None, Some(&rank(30, 20)));
    world.set(51, None, Some(&rank(41, 10)));
    let group = HaChassisGroup {
        name: "g".into(),
        ha_chassis: [50, 51].map(Uuid::from_u128).into(),
        ..HaChassisGroup::default()
    };
    world.set(52, None, Some(&group));
    let redirect = PortBinding {
        r#type: "chassisredirect".into(),
        ha_chassis_group: Some(Uuid::from_u128(52)),
        options: options([("distributed-port", "to-switch")]),
        ..port("cr-to-switch", Uuid::from_u128(2), 7)
    };
    world.set(18, None, Some(&redirect));
    let in_tables = |table| [layout::REMOTE_OUTPUT, layout::LOCAL_OUTPUT].contains(&table);
    let flows = world.changes_in(in_tables);
    let remote = "+ 44 100 metadata=0x9/0xffffff,reg15=0x7 ";
    assert!(
        flows.contains(remote) && flows.contains("output:100"),
        "{flows}"
    );
    // The other loses its rank.
    world.change_ports(|ports| {
        ports.sessions.insert("user".into(), true);
    });
    world.set(50, Some(&rank(30, 20)), Some(&rank(30, 5)));
    let flows = world.changes_in(in_tables);
    let local = "+ 46 100 metadata=0x9/0xffffff,reg15=0x7 -> set_field:0x1->reg15,resubmit(,46)";
    assert!(flows.contains(local), "{flows}");
    // It is first again, and dies: this chassis takes over, unless it is cut off itself.
    world.set(50, Some(&rank(30, 5)), Some(&rank(30, 20)));
    assert!(world.changes_in(in_tables).contains(remote));
    let session = |world: &mut World, name: &str, is_up| {
        world.change_ports(|ports| {
            ports.sessions.insert(name.into(), is_up);
        });
        world.changes_in(in_tables)
    };
    session(&mut world, "user", false);
    session(&mut world, "other", false);
    let bound = |world: &World| world.network.bindings.peek(Uuid::from_u128(18)).is_some();
    assert!(!bound(&world), "no session is up");
    // The other member's chassis is deleted: nobody is left to have a session with.
    let gone = HaChassis {
        chassis: None,
        ..rank(30, 20)
    };
    world.set(50, Some(&rank(30, 20)), Some(&gone));
    world.changes_in(in_tables);
    assert!(bound(&world), "the last one serves");
    world.set(50, Some(&gone), Some(&rank(30, 20)));
    world.changes_in(in_tables);
    assert!(!bound(&world));
    session(&mut world, "user", true);
    assert!(!bound(&world), "it may know old claims only");
    world.engine.input(&mut world.network, |network, changes| {
        network.has_word(changes);
    });
    let flows = world.changes_in(in_tables);
    assert!(bound(&world) && flows.contains(local), "{flows}");
    let flows = session(&mut world, "other", true);
    assert!(!bound(&world) && flows.contains(remote), "{flows}");
    world.set(50, Some(&rank(30, 20)), Some(&rank(30, 5)));
    world.changes_in(in_tables);
    // The older form, and a chassis that is not there.
    let gateway = |chassis, priority| GatewayChassis {
        chassis: Some(Uuid::from_u128(chassis)),
        priority,
        ..GatewayChassis::default()
    };
    world.set(53, None, Some(&gateway(30, 3)));
    world.set(54, None, Some(&gateway(99, 30)));
    let older = PortBinding {
        ha_chassis_group: None,
        gateway_chassis: [53, 54].map(Uuid::from_u128).into(),
        ..redirect.clone()
    };
    world.set(18, Some(&redirect), Some(&older));
    let flows = world.changes_in(in_tables);
    assert!(flows.contains(remote), "{flows}");
}

#[test]
fn what_a_router_sends_back_may_leave_by_the_port_that_it_came_in_by() {
    let mut world = routed();
    let flows = world.changes_in(|table| table == layout::SAVE_IN_PORT);
    let router = "+ 64 100 metadata=0x9/0xffffff,reg10=0x1/0x1,reg15=0x1 -> push:in_port_oxm[]";
    assert!(flows.contains(router), "{flows}");
}

#[test]
fn in_a_physical_network_a_router_speaks_as_the_chassis() {
    let mut world = routed();
    let localnet = PortBinding {
        r#type: "localnet".into(),
        options: options([("network_name", "phys")]),
        tag: Some(100),
        ..port("physical", SWITCH, 7)
    };
    world.set(17, None, Some(&localnet));
    let plain = PortBinding {
        r#type: "patch".into(),
        options: options([("peer", "to-router")]),
        ..port("to-switch", Uuid::from_u128(2), 1)
    };
    let end = PortBinding {
        mac: vec!["02:00:00:00:00:09 10.0.0.1/24".into()],
        ..plain.clone()
    };
    world.set(15, Some(&plain), Some(&end));
    world.change_ports(|ports| {
        ports.patches.insert("patch-br-int-to-physical".into(), 50);
    });
    world.changes();
    let as_chassis = |world: &mut World| {
        let flows = world.changes_in(|table| table == layout::LOGICAL_TO_PHYSICAL);
        let found = flows.lines().find(|line| line.contains(" 65 150 "));
        found.map(str::to_owned)
    };
    world.change_own(|own| {
        let mac = "02:00:00:00:0c:01".parse().expect("a MAC");
        own.mac_mappings.insert("phys".into(), mac);
    });
    let flow = as_chassis(&mut world).expect("a flow");
    assert!(
        flow.starts_with("+") && flow.contains("reg15=0x7") && flow.contains("02:00:00:00:00:09"),
        "{flow}"
    );
    let there_and_back = [
        "->dl_src,push_vlan",
        "output:50",
        "pop_vlan,set_field:02:00:00:00:00:09->dl_src",
    ];
    assert!(
        there_and_back.iter().all(|part| flow.contains(part)),
        "{flow}"
    );

    // A gateway port of another chassis: by the network, if it is to be.
    let in_tables = |table| [layout::REMOTE_OUTPUT, layout::LOCAL_OUTPUT].contains(&table);
    let rank = HaChassis {
        chassis: Some(Uuid::from_u128(30)),
        priority: 20,
        ..HaChassis::default()
    };
    world.set(50, None, Some(&rank));
    let group = HaChassisGroup {
        name: "g".into(),
        ha_chassis: vec![Uuid::from_u128(50)],
        ..HaChassisGroup::default()
    };
    world.set(52, None, Some(&group));
    let tunnelled = PortBinding {
        r#type: "chassisredirect".into(),
        ha_chassis_group: Some(Uuid::from_u128(52)),
        options: options([("distributed-port", "to-switch")]),
        ..port("cr-to-switch", Uuid::from_u128(2), 7)
    };
    let bridged = PortBinding {
        options: options([
            ("distributed-port", "to-switch"),
            ("redirect-type", "bridged"),
        ]),
        ..tunnelled.clone()
    };
    world.set(18, None, Some(&tunnelled));
    assert!(world.changes_in(in_tables).contains("output:100"));
    world.set(18, Some(&tunnelled), Some(&bridged));
    let flows = world.changes_in(in_tables);
    let local = "+ 46 100 metadata=0x9/0xffffff,reg15=0x7 -> set_field:0x1->reg15,resubmit(,46)";
    assert!(flows.contains(local), "{flows}");

    // Who has a gateway port keeps its MAC.
    let gateway = PortBinding {
        options: options([
            ("peer", "to-router"),
            ("chassis-redirect-port", "cr-to-switch"),
        ]),
        ..end.clone()
    };
    world.set(15, Some(&end), Some(&gateway));
    assert_eq!(as_chassis(&mut world), None, "it is elsewhere");
    let own = Chassis {
        name: "self".into(),
        ..Chassis::default()
    };
    world.set(41, None, Some(&own));
    world.change_own(|own| own.chassis = Some(Uuid::from_u128(41)));
    let here = HaChassis {
        chassis: Some(Uuid::from_u128(41)),
        ..rank.clone()
    };
    world.set(50, Some(&rank), Some(&here));
    let gone = as_chassis(&mut world);
    assert!(gone.is_some_and(|flow| flow.starts_with('-')));
}
