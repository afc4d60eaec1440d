//! Flows between logical ports and the switch's ports, in a small world.

use ovsdb::Uuid;
use sb_db::tables::{Chassis, DatapathBinding, Fdb, MacBinding, MulticastGroup, PortBinding};

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

#[test]
fn a_flow_based_tunnel_is_told_both_ends() {
    let mut world = routed();
    two_ends(&mut world);
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
