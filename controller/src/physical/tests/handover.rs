//! A gateway that passes from one living chassis to another.

use ovsdb::Uuid;
use sb_db::tables::{Chassis, HaChassis, HaChassisGroup, PortBinding};

use super::routed;
use crate::layout;
use crate::settings::PASSES_ON;
use crate::testing::{SWITCH, World, options, port};

const OTHER: u128 = 30;
const OWN: u128 = 41;
const REDIRECT: u128 = 18;

fn rank(chassis: u128, priority: i64) -> HaChassis {
    HaChassis {
        chassis: Some(Uuid::from_u128(chassis)),
        priority,
        ..HaChassis::default()
    }
}

fn claimed_by(chassis: u128) -> PortBinding {
    PortBinding {
        r#type: "chassisredirect".into(),
        chassis: Some(Uuid::from_u128(chassis)),
        ha_chassis_group: Some(Uuid::from_u128(52)),
        options: options([("distributed-port", "to-switch")]),
        ..port("cr-to-switch", Uuid::from_u128(2), 7)
    }
}

fn other(passes_on: &str) -> Chassis {
    Chassis {
        name: "other".into(),
        other_config: options([(PASSES_ON, passes_on)]),
        ..Chassis::default()
    }
}

/// A gateway port on a switch with a physical network, of which the other chassis is the gateway, and this one the next.
fn world() -> World {
    let mut world = routed();
    let own = Chassis {
        name: "self".into(),
        ..Chassis::default()
    };
    world.set(OWN, None, Some(&own));
    world.set(OTHER, None, Some(&other("true")));
    world.change_own(|own| {
        own.chassis = Some(Uuid::from_u128(OWN));
        own.name = "self".into();
    });
    let localnet = PortBinding {
        r#type: "localnet".into(),
        options: options([("network_name", "phys")]),
        ..port("physical", SWITCH, 9)
    };
    world.set(17, None, Some(&localnet));
    let plain = PortBinding {
        r#type: "patch".into(),
        options: options([("peer", "to-router")]),
        ..port("to-switch", Uuid::from_u128(2), 1)
    };
    let of_router = PortBinding {
        mac: vec!["02:00:00:00:00:09 203.0.113.10/24".into()],
        ..plain.clone()
    };
    world.set(15, Some(&plain), Some(&of_router));
    world.set(50, None, Some(&rank(OTHER, 10)));
    world.set(51, None, Some(&rank(OWN, 5)));
    let group = HaChassisGroup {
        name: "g".into(),
        ha_chassis: [50, 51].map(Uuid::from_u128).into(),
        ..HaChassisGroup::default()
    };
    world.set(52, None, Some(&group));
    world.change_ports(|ports| {
        ports.patches.insert("patch-br-int-to-physical".into(), 50);
        ports.sessions.insert("other".into(), true);
    });
    world.set(REDIRECT, None, Some(&claimed_by(OTHER)));
    world.changes();
    world
}

fn changes(world: &mut World) -> String {
    world.changes_in(|table| {
        [
            layout::LOCAL_OUTPUT,
            layout::LOGICAL_TO_PHYSICAL,
            layout::TAKEN_OVER,
            layout::TAKEN_OVER_DESTINATIONS,
        ]
        .contains(&table)
    })
}

/// How many of the flows begin like this.
fn count(flows: &str, start: &str) -> usize {
    flows.lines().filter(|line| line.starts_with(start)).count()
}

/// How many of them are about packets from the physical network to the router.
fn arriving(flows: &str, start: &str) -> usize {
    let to_router = "tun_id=0x0,metadata=0x5/0xffffff,reg10=0x0/0x40000000,reg14=0x9,reg15=0x4,dl_dst=02:00:00:00:00:09";
    let about = flows.lines().filter(|line| line.contains(to_router));
    about.filter(|line| line.starts_with(start)).count()
}

#[test]
fn what_the_new_gateway_does_not_know_it_sends_back_for_a_while() {
    let mut world = world();
    world.set(51, Some(&rank(OWN, 5)), Some(&rank(OWN, 20)));
    let flows = changes(&mut world);
    assert_eq!(
        count(&flows, "+ 46 100 metadata=0x9/0xffffff,reg15=0x7 "),
        1
    );
    world.set(REDIRECT, Some(&claimed_by(OTHER)), Some(&claimed_by(OWN)));
    assert_eq!(changes(&mut world), "", "the claim changes nothing");
    assert_eq!(arriving(&flows, "+ 65 150 "), 2, "{flows}");
    assert_eq!(arriving(&flows, "+ 65 160 "), 11, "{flows}");
    for (start, expected) in [("+ 97 110 ", 1), ("+ 97 100 ip", 2), ("+ 98 110 ", 1)] {
        assert_eq!(count(&flows, start), expected, "{start}: {flows}");
    }
    let back = flows.lines().find(|line| line.starts_with("+ 98 100 "));
    let back = back.expect("what is known to nobody here has a flow");
    assert!(
        back.contains("ct_clear") && back.contains("set_field:0x5->tun_id"),
        "{back}"
    );
    assert!(back.contains("output:100"), "{back}");

    let end = |world: &mut World| {
        world.engine.input(&mut world.network, |network, changes| {
            network.end_takeover(changes, Uuid::from_u128(REDIRECT));
        });
        changes(world)
    };
    let gone = end(&mut world);
    // But for the flow of the port itself, and that to the other chassis, which had gone for it.
    assert_eq!(gone.lines().count(), 13 + 5, "{gone}");
    assert!(gone.lines().all(|line| line.starts_with("- ")), "{gone}");
    // Nothing is sent back to who does not expect it, or is dead.
    world.set(REDIRECT, Some(&claimed_by(OWN)), Some(&claimed_by(OTHER)));
    world.set(OTHER, Some(&other("true")), Some(&other("false")));
    changes(&mut world);
    world.set(REDIRECT, Some(&claimed_by(OTHER)), Some(&claimed_by(OWN)));
    assert_eq!(count(&changes(&mut world), "+ 65"), 0);
    world.set(OTHER, Some(&other("false")), Some(&other("true")));
    assert_eq!(count(&changes(&mut world), "+ 65"), 13);
    world.change_ports(|ports| {
        ports.sessions.insert("other".into(), false);
        ports.sessions.insert("user".into(), true);
    });
    assert_eq!(count(&changes(&mut world), "- 65"), 13);
}

#[test]
fn the_old_gateway_sends_on_what_still_comes_from_inside() {
    let mut world = world();
    world.set(51, Some(&rank(OWN, 5)), Some(&rank(OWN, 20)));
    world.set(REDIRECT, Some(&claimed_by(OTHER)), Some(&claimed_by(OWN)));
    world.set(51, Some(&rank(OWN, 20)), Some(&rank(OWN, 5)));
    changes(&mut world);
    world.set(REDIRECT, Some(&claimed_by(OWN)), Some(&claimed_by(OTHER)));
    let flows = changes(&mut world);
    let on = flows.lines().find(|line| line.starts_with("+ 46 100 "));
    let on = on.unwrap_or_else(|| panic!("{flows}"));
    assert!(
        on.contains("set_field:0x9->tun_id") && on.contains("output:100"),
        "{on}"
    );
    let answers = flows.lines().filter(|line| line.starts_with("+ 65 160 "));
    let answers: Vec<&str> = answers.filter(|line| line.ends_with("-> drop")).collect();
    assert_eq!(answers.len(), 2, "ARP and ND: {flows}");
    let is_resident = |world: &World| {
        let uuid = Uuid::from_u128(REDIRECT);
        world.network.bindings.peek(uuid).is_some()
    };
    assert!(is_resident(&world), "what comes from outside is served");
    world.engine.input(&mut world.network, |network, changes| {
        network.end_handover(changes, Uuid::from_u128(REDIRECT));
    });
    changes(&mut world);
    assert!(!is_resident(&world));
}
