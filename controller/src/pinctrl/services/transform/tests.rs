//! A packet is taken in, another goes out.

use etherparse::{PacketBuilder, TransportSlice};
use openflow::action::encode_actions;
use openflow::message::PacketIn;
use openflow::{Action, Field, Port};

use super::*;
use crate::pinctrl::tests::{handle, packet_in};

/// What becomes of a packet that is not held up.
fn effects(userdata: Vec<u8>, packet: Vec<u8>) -> Vec<Effect> {
    let passing = PacketIn {
        continuation: Vec::new(),
        ..packet_in(1, userdata, packet)
    };
    handle(passing)
}

#[test]
fn the_actions_are_done_with_the_new_packet() {
    let actions = vec![Action::Output {
        port: Port(3),
        max_len: 0,
    }];
    let mut userdata = Opcode::Reject.header().to_vec();
    encode_actions(&actions, &mut userdata);
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4(
        [10, 0, 0, 1],
        [10, 0, 0, 2],
        64,
    );
    let mut packet = Vec::new();
    builder
        .tcp(1, 2, 3, 4)
        .syn()
        .write(&mut packet, &[])
        .expect("writes");
    let effects = effects(userdata, packet);
    let [Effect::PacketOut(sent)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(sent.actions, actions);
    assert!(sent.metadata.get(Field::Reg14).is_some());
    let from = sent.metadata.get(Field::InPort).map(|term| term.value);
    assert_eq!(
        from,
        Some(Port::CONTROLLER.0.into()),
        "an answer may leave by the port that its packet came in by"
    );
    assert!(
        sent.metadata.get(Field::CtState).is_none(),
        "not a field to start with"
    );
    let frame = Frame::parse(&sent.packet).expect("a frame");
    let Some(TransportSlice::Tcp(tcp)) = frame.transport() else {
        panic!("no TCP")
    };
    assert!(tcp.rst());
}

#[test]
fn every_transformation_is_dispatched() {
    let mut solicitation = vec![0xfd; 16];
    solicitation.extend([1, 1, 2, 0, 0, 0, 0, 1]);
    let mut ns = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv6([0xfd; 16], [0xfe; 16], 255)
        .icmpv6_raw(135, 0, [0; 4])
        .write(&mut ns, &solicitation)
        .expect("writes");
    let mut udp = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(1, 2)
        .write(&mut udp, &[])
        .expect("writes");
    for (opcode, packet, check) in [
        (
            Opcode::NdNa,
            &ns,
            (|f| f.network()[44] & 0x80 == 0) as fn(&Frame<'_>) -> bool,
        ),
        (Opcode::NdNaRouter, &ns, |f| f.network()[44] & 0x80 != 0),
        (Opcode::Icmp, &udp, |f| {
            matches!(f.transport(), Some(TransportSlice::Icmpv4(_)))
        }),
        (Opcode::Icmp4Error, &udp, |f| f.eth_src().0[5] == 1),
        (Opcode::Reject, &udp, |f| f.eth_src().0[5] == 2),
    ] {
        let effects = effects(opcode.header().to_vec(), packet.clone());
        let [Effect::PacketOut(sent)] = effects.as_slice() else {
            panic!("{opcode:?}: {effects:?}")
        };
        assert!(
            check(&Frame::parse(&sent.packet).expect("a frame")),
            "{opcode:?}"
        );
    }
}

#[test]
fn errors_tell_the_mtu() {
    let mut udp = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv6([0xfd; 16], [0xfe; 16], 64)
        .udp(1, 2)
        .write(&mut udp, &[])
        .expect("writes");
    let made = |opcode: Opcode, action: Action| {
        let mut userdata = opcode.header().to_vec();
        encode_actions(&[action], &mut userdata);
        let effects = effects(userdata, udp.clone());
        let [Effect::PacketOut(sent)] = effects.as_slice() else {
            panic!("{opcode:?}: {effects:?}")
        };
        sent.packet.clone()
    };
    let error = made(Opcode::Icmp6Error, Action::Note(vec![32, 0, 0, 0, 5, 0x78]));
    assert_eq!(error[58..62], [0, 0, 5, 0x78]);
}
