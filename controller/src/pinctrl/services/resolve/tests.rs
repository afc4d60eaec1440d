//! A packet for an unknown next hop becomes a request, and goes on when the answer has come.

use etherparse::{NetSlice, PacketBuilder};
use openflow::action::encode_actions;
use openflow::{Port, Subfield};
use ovsdb::typed::TableDefinition;
use ovsdb::{RowChange, Uuid};

use super::*;
use crate::pinctrl::tests::{DATAPATH, World, now, packet_in};

const NEXT_HOP: &str = "10.0.0.9";

/// A packet that is to leave by `port`, sent to the agent by a flow with these actions in braces.
fn sent(opcode: Opcode, actions: &[Action], port: u32, packet: Vec<u8>) -> PacketIn {
    let mut userdata = opcode.header().to_vec();
    encode_actions(actions, &mut userdata);
    let mut packet_in = packet_in(1, userdata, packet);
    let metadata = &mut packet_in.metadata;
    metadata.set(Field::Reg15, port.into());
    metadata.set(Field::Reg0, 0x0a00_0009);
    packet_in
}

fn udp4(port: u16) -> Vec<u8> {
    let builder =
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [0; 6]).ipv4([10, 1, 0, 1], [10, 2, 0, 2], 64);
    let mut packet = Vec::new();
    builder
        .udp(port, 2)
        .write(&mut packet, &[])
        .expect("writes");
    packet
}

fn udp6() -> Vec<u8> {
    let builder =
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [0; 6]).ipv6([0xfd; 16], [0xfe; 16], 64);
    let mut packet = Vec::new();
    builder.udp(1, 2).write(&mut packet, &[]).expect("writes");
    packet
}

fn take(resolve: &mut Resolve, world: &World, now: Now, packet_in: &PacketIn) -> Vec<Effect> {
    let (opcode, arguments) = Opcode::split(&packet_in.userdata).expect("an opcode");
    let packet = Packet {
        opcode,
        arguments,
        packet_in,
    };
    let mut effects = Vec::new();
    let done = resolve.packet(now, packet, world, &mut effects);
    done.expect("a packet that can be asked for");
    effects
}

/// The packets that a row sets free.
fn tell(resolve: &mut Resolve, now: Now, port: &str, ip: &str, mac: &str) -> Vec<PacketOut> {
    let row = MacBinding {
        logical_port: port.into(),
        ip: ip.into(),
        mac: mac.into(),
        datapath: DATAPATH,
        ..MacBinding::default()
    };
    let change = RowChange {
        table: MacBinding::INDEX,
        uuid: Uuid::from_u128(77),
        old: None,
        new: Some(Arc::new(row.to_row())),
    };
    let mut effects = Vec::new();
    resolve.changed(now, Change::Row(&change), &World::default(), &mut effects);
    let outs = effects.into_iter().map(|effect| match effect {
        Effect::PacketOut(out) => out,
        other => panic!("{other:?}"),
    });
    outs.collect()
}

#[test]
fn a_packet_waits_while_its_next_hop_is_asked() {
    let (mut resolve, world, now) = (Resolve::default(), World::default(), now());
    let actions = [Action::Output {
        port: Port(3),
        max_len: 0,
    }];
    for port in [11, 12] {
        let effects = take(
            &mut resolve,
            &world,
            now,
            &sent(Opcode::Arp, &actions, 2, udp4(port)),
        );
        let [Effect::Keep, Effect::PacketOut(request)] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        assert_eq!(request.actions, actions);
        let frame = Frame::parse(&request.packet).expect("a frame");
        assert!(matches!(frame.net(), Some(NetSlice::Arp(_))));
    }
    assert_eq!(
        tell(&mut resolve, now, "p1", NEXT_HOP, "02:00:00:00:00:09"),
        []
    );
    assert_eq!(
        tell(&mut resolve, now, "p2", "10.0.0.8", "02:00:00:00:00:08"),
        []
    );
    let freed = tell(&mut resolve, now, "p2", NEXT_HOP, "02:00:00:00:00:09");
    let packets: Vec<_> = freed.iter().map(|out| out.packet.clone()).collect();
    assert_eq!(packets, [udp4(11), udp4(12)]);
    for out in &freed {
        let to = Action::set(Field::EthDst, 0x0200_0000_0009_u64);
        assert_eq!(out.actions, [to, Action::resubmit(layout::REMOTE_OUTPUT)]);
        assert_eq!(value(&out.metadata, Field::Reg15), 2);
        assert_eq!(out.metadata.get(Field::CtState), None);
    }
    // One that comes while the flow is not in the switch yet, however long that takes.
    let late = sent(Opcode::Arp, &actions, 2, udp4(13));
    let later = Now {
        at: now.at + Duration::from_secs(60),
        ..now
    };
    let effects = take(&mut resolve, &world, later, &late);
    let [Effect::Keep, Effect::PacketOut(out)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!((&out.packet, &out.actions), (&udp4(13), &freed[0].actions));
    assert_eq!(resolve.dropped(), Some(("unresolved", 0)));
}

#[test]
fn nobody_answers() {
    let (mut resolve, world, start) = (Resolve::default(), World::default(), now());
    let packet = sent(Opcode::Arp, &[], 2, udp4(1));
    take(&mut resolve, &world, start, &packet);
    let deadline = resolve.deadline().expect("somebody waits");
    assert_eq!(deadline, start.at + WAIT);
    let late = Now {
        at: deadline,
        ..start
    };
    resolve.tick(late, &world, &mut Vec::new());
    assert_eq!(resolve.deadline(), None);
    assert_eq!(
        tell(&mut resolve, late, "p2", NEXT_HOP, "02:00:00:00:00:09"),
        []
    );
    assert_eq!(resolve.dropped(), Some(("unresolved", 1)));
}

#[test]
fn a_gateways_neighbours_are_those_of_the_port_that_it_stands_for() {
    let (mut resolve, now) = (Resolve::default(), now());
    let mut world = World::default();
    let mut gateway = PortBinding::clone(&world.ports[0]);
    gateway.logical_port = "cr-p2".into();
    gateway.r#type = "chassisredirect".into();
    gateway.options = [("distributed-port".into(), "p2".into())].into();
    world.ports[0] = Arc::new(gateway);
    let packet = sent(Opcode::Arp, &[], 1, udp4(1));
    take(&mut resolve, &world, now, &packet);
    let freed = tell(&mut resolve, now, "p2", NEXT_HOP, "02:00:00:00:00:09");
    assert_eq!(freed.len(), 1);
}

#[test]
fn solicitations_ask_for_the_next_hop() {
    let target = 0xfd00_u128 << 112 | 9;
    let whole = |field: Field| Subfield::from(field);
    let from_register = Action::Move {
        src: whole(Field::Xxreg0),
        dst: whole(Field::NdTarget),
    };
    for action in [Action::set(Field::NdTarget, target), from_register] {
        let (mut resolve, world, now) = (Resolve::default(), World::default(), now());
        let mut packet = sent(Opcode::NdNs, &[action], 2, udp6());
        for (n, register) in Field::Xxreg0.overlaid_regs().iter().enumerate() {
            let part = target >> (96 - 32 * n) & 0xffff_ffff;
            packet.metadata.set(*register, part);
        }
        let effects = take(&mut resolve, &world, now, &packet);
        let [Effect::Keep, Effect::PacketOut(asked)] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        assert_eq!(asked.packet[62..78], target.to_be_bytes());
        let freed = tell(&mut resolve, now, "p2", "fd00::9", "02:00:00:00:00:09");
        assert_eq!(freed.len(), 1);
    }
}

#[test]
fn what_cannot_be_asked_for_is_not_kept() {
    let (mut resolve, world, now) = (Resolve::default(), World::default(), now());
    let packet_in = sent(Opcode::Arp, &[], 2, udp6());
    let (opcode, arguments) = Opcode::split(&packet_in.userdata).expect("an opcode");
    let packet = Packet {
        opcode,
        arguments,
        packet_in: &packet_in,
    };
    let refused = resolve.packet(now, packet, &world, &mut Vec::new());
    assert!(matches!(refused, Err(HandleError::Frame(_))), "{refused:?}");
    assert_eq!(resolve.deadline(), None);
    // A port that is gone: the request goes out, and nobody waits for it.
    let gone = sent(Opcode::Arp, &[], 5, udp4(1));
    assert_eq!(take(&mut resolve, &world, now, &gone).len(), 2);
    assert_eq!(resolve.deadline(), None);
}

#[test]
fn what_counts_of_a_neighbour_is_what_counts_in_the_switch() {
    let [learned_mac, declared_mac] = [Mac([2, 0, 0, 0, 0, 9]), Mac([2, 0, 0, 0, 0, 8])];
    let neighbour = Neighbour {
        port: "p2".into(),
        ip: NEXT_HOP.parse().expect("an address"),
    };
    for overrides in [false, true] {
        let mut resolve = Resolve::default();
        tell(
            &mut resolve,
            now(),
            "p2",
            NEXT_HOP,
            &learned_mac.to_string(),
        );
        let row = StaticMacBinding {
            logical_port: "p2".into(),
            ip: NEXT_HOP.into(),
            mac: declared_mac.to_string().into(),
            override_dynamic_mac: overrides,
            ..StaticMacBinding::default()
        };
        let row = Arc::new(row.to_row());
        let mut change = |old: Option<&Arc<Row>>, new: Option<&Arc<Row>>| {
            let change = RowChange {
                table: StaticMacBinding::INDEX,
                uuid: Uuid::from_u128(78),
                old: old.cloned(),
                new: new.cloned(),
            };
            let mut effects = Vec::new();
            let world = World::default();
            resolve.changed(now(), Change::Row(&change), &world, &mut effects);
            resolve.known(&neighbour)
        };
        let expected = if overrides { declared_mac } else { learned_mac };
        assert_eq!(change(None, Some(&row)), Some(expected));
        assert_eq!(change(Some(&row), None), Some(learned_mac));
        change(None, Some(&row));
        resolve.learned.clear();
        assert_eq!(resolve.known(&neighbour), Some(declared_mac));
    }
}
