//! Who gets a virtual port.

use std::sync::Arc;

use super::*;
use crate::pinctrl::tests::{OWN, World, now};

/// A virtual port that `p1` may have, among others.
fn make_virtual(port: &mut PortBinding) {
    port.r#type = "virtual".into();
    port.options = crate::testing::options([("virtual-parents", "p2, p1")]);
}

/// What comes of an announcement by the guest `p1`, with these rows.
fn announce(change: impl FnOnce(&mut PortBinding), is_here: bool) -> Vec<Effect> {
    let mut world = World::default();
    let port = Arc::make_mut(&mut world.ports[1]);
    make_virtual(port);
    change(port);
    if is_here {
        world.here = vec!["p1".into()];
    }
    let packet_in = crate::pinctrl::tests::packet_in(1, Vec::new(), Vec::new());
    let packet = Packet {
        opcode: Opcode::BindVport,
        arguments: &[0, 0, 0, 2],
        packet_in: &packet_in,
    };
    let mut effects = Vec::new();
    let outcome = VirtualPorts::default().packet(now(), packet, &world, &mut effects);
    assert_eq!(outcome, Ok(()));
    effects
}

#[test]
fn who_announces_the_address_gets_it() {
    let column = PortBinding::COLUMN;
    let columns = vec![
        column.chassis.to(&Some(OWN)),
        column.virtual_parent.to(&Some("p1".into())),
    ];
    let uuid = Uuid::from_u128(2);
    let claim = vec![Operation::update_row(PortBinding::INDEX, uuid, columns)];
    let taken = vec![Effect::Write(uuid, claim)];
    assert_eq!(announce(|_| {}, true), taken);
    let others = |port: &mut PortBinding| {
        port.chassis = Some(Uuid::from_u128(8));
        port.virtual_parent = Some("p2".into());
    };
    assert_eq!(announce(others, true), taken);
    let own = |port: &mut PortBinding| {
        port.chassis = Some(OWN);
        port.virtual_parent = Some("p1".into());
    };
    assert_eq!(announce(own, true), []);
    assert_eq!(announce(|_| {}, false), [], "the guest is elsewhere");
    assert_eq!(announce(|port| port.r#type = "".into(), true), []);
    let stranger = |port: &mut PortBinding| {
        port.options = crate::testing::options([("virtual-parents", "p2")]);
    };
    assert_eq!(announce(stranger, true), [], "it may not have it");
}

#[test]
fn userdata_that_end_too_early_say_so() {
    let packet_in = crate::pinctrl::tests::packet_in(1, Vec::new(), Vec::new());
    let packet = Packet {
        opcode: Opcode::BindVport,
        arguments: &[0, 0],
        packet_in: &packet_in,
    };
    let outcome = VirtualPorts::default().packet(now(), packet, &World::default(), &mut Vec::new());
    assert!(matches!(outcome, Err(HandleError::Userdata(_))));
}

#[test]
fn a_port_that_is_fought_for_is_claimed_after_growing_pauses() {
    let mut world = World {
        here: vec!["p1".into()],
        ..World::default()
    };
    make_virtual(Arc::make_mut(&mut world.ports[1]));
    let mut service = VirtualPorts::default();
    let start = now();
    let mut claims = Vec::new();
    // Another chassis has it again each time, and the guest announces the address every 100 ms.
    for tenths in 0..100 {
        let now = Now {
            at: start.at + Duration::from_millis(tenths * 100),
            ..start
        };
        let packet_in = crate::pinctrl::tests::packet_in(1, Vec::new(), Vec::new());
        let packet = Packet {
            opcode: Opcode::BindVport,
            arguments: &[0, 0, 0, 2],
            packet_in: &packet_in,
        };
        let mut effects = Vec::new();
        if service.deadline().is_some_and(|due| due <= now.at) {
            service.tick(now, &world, &mut effects);
        }
        let outcome = service.packet(now, packet, &world, &mut effects);
        assert_eq!(outcome, Ok(()));
        claims.extend(effects.iter().map(|_| tenths));
    }
    assert_eq!(claims, [0, 10, 30, 70]);
}
