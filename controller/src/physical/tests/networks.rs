//! Physical networks, and tunnels of kinds with short keys.

use ovsdb::Uuid;
use sb_db::tables::{Chassis, PortBinding, SbGlobal};

use super::routed;
use crate::layout;
use crate::network::Tunnel;
use crate::settings::TunnelKind;
use crate::testing::{SWITCH, World, options, port};

#[test]
fn gre_has_the_same_keys_as_vxlan_and_nothing_above_them() {
    let mut world = routed();
    world.change_ports(|ports| {
        let tunnel = Tunnel {
            ofport: 100,
            kind: TunnelKind::Gre,
            remote: None,
            local: None,
        };
        ports
            .tunnels
            .insert("other".into(), [tunnel].into_iter().collect());
    });
    let flows = world
        .changes_in(|table| [layout::PHYSICAL_TO_LOGICAL, layout::REMOTE_OUTPUT].contains(&table));
    let line = |start: &str| {
        let found = flows.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("{start}:\n{flows}"))
    };
    // Port 2 of datapath 5, and the first group of it.
    assert!(line("+ 44 100 metadata=0x5/0xffffff,reg15=0x2 ").contains("0x2005->tun_id"));
    assert!(line("+ 44 100 metadata=0x5/0xffffff,reg15=0x8000 ").contains("0x800005->tun_id"));
    for (start, key) in [
        ("+ 0 100 in_port=100,", "tun_id=0/0xff000000"),
        ("+ 0 110 in_port=100,", "tun_id=0x800000/0xff800000"),
    ] {
        assert!(
            line(start).contains(key) || line(start).contains(&key.replace("=0/", "=0x0/")),
            "{flows}"
        );
    }
}

/// A switch with a router and a physical network, VLAN 100, and a chassis that sends there from a MAC of its own.
fn provider() -> World {
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
    world
}

#[test]
fn what_other_chassis_send_for_a_router_comes_in_from_the_router() {
    let mut world = provider();
    world.changes();
    let chassis = |mac: &str| Chassis {
        name: "other".into(),
        other_config: options([("ovn-chassis-mac-mappings", mac)]),
        ..Chassis::default()
    };
    let plain = Chassis {
        name: "other".into(),
        ..Chassis::default()
    };
    let own = Chassis {
        name: "self".into(),
        other_config: options([("ovn-chassis-mac-mappings", "phys:02:00:00:00:0c:02")]),
        ..Chassis::default()
    };
    let mut turned = |change: &dyn Fn(&mut World)| {
        change(&mut world);
        let flows = world.changes_in(|table| table == layout::PHYSICAL_TO_LOGICAL);
        let at_180 = flows.lines().filter(|line| line.contains(" 0 180 "));
        at_180.map(str::to_owned).collect::<Vec<String>>()
    };
    let first = chassis("phys:02:00:00:00:0c:01, nonsense");
    let known = turned(&|world| world.set(30, Some(&plain), Some(&first)));
    assert_eq!(
        known,
        ["+ 0 180 dl_src=02:00:00:00:0c:01 -> conjunction(1,1/2)"]
    );
    let of_itself = turned(&|world| {
        world.change_own(|own| own.chassis = Some(Uuid::from_u128(41)));
        world.set(41, None, Some(&own));
    });
    assert_eq!(of_itself, [""; 0], "its own packets come back from nowhere");
    let gone = turned(&|world| world.set(30, Some(&first), Some(&plain)));
    assert!(gone.len() == 1 && gone[0].starts_with('-'), "{gone:#?}");

    let mut world = provider();
    let flows = world.changes_in(|table| table == layout::PHYSICAL_TO_LOGICAL);
    let at_180: Vec<&str> = flows.lines().filter(|l| l.contains(" 0 180 ")).collect();
    let [both, vlan] = at_180[..] else {
        panic!("{flows}")
    };
    assert!(
        both.contains("conj_id=1") && both.contains("in_port=50"),
        "{both}"
    );
    assert!(
        both.contains("-> set_field:02:00:00:00:00:09->dl_src,pop_vlan,")
            && both.ends_with("resubmit(,8)"),
        "{both}"
    );
    assert!(vlan.ends_with("-> conjunction(1,2/2)"), "{vlan}");
}

#[test]
fn guests_of_a_physical_network_are_reached_by_tunnels_if_all_are_to_be() {
    let mut world = provider();
    let there = |world: &mut World| {
        let flows = world
            .changes_in(|table| [layout::REMOTE_OUTPUT, layout::LOCAL_OUTPUT].contains(&table));
        let lines = flows.lines().filter(|line| line.contains("reg15=0x2 "));
        lines.map(str::to_owned).collect::<Vec<String>>()
    };
    let by_network = there(&mut world);
    assert!(
        by_network.len() == 1 && by_network[0].starts_with("+ 46 100 "),
        "{by_network:#?}"
    );
    let global = SbGlobal {
        options: options([("always_tunnel", "true")]),
        ..SbGlobal::default()
    };
    world.set(70, None, Some(&global));
    let by_tunnel = there(&mut world);
    assert!(
        by_tunnel.iter().any(|line| line.starts_with("+ 44 100 "))
            && by_tunnel.iter().any(|line| line.starts_with("- 46 100 ")),
        "{by_tunnel:#?}"
    );
}
