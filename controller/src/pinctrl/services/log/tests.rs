//! A packet is taken in, a line comes out.

use etherparse::PacketBuilder;
use openflow::message::PacketIn;

use super::*;
use crate::pinctrl::tests::{handle, packet_in};

fn line(arguments: &[u8], table: u8) -> String {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1000, 80, 3, 4)
        .syn()
        .write(&mut packet, &[])
        .expect("writes");
    let userdata = [&Opcode::Log.header()[..], arguments].concat();
    let passing = PacketIn {
        continuation: Vec::new(),
        table,
        ..packet_in(1, userdata, packet)
    };
    match handle(passing).as_slice() {
        [Effect::Log(line)] => line.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lines_are_those_of_ovn() {
    const PACKET: &str = "tcp,vlan_tci=0x0000,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.0.0.1,\
        nw_dst=10.0.0.2,nw_tos=0,nw_ecn=0,nw_ttl=64,nw_frag=no,tp_src=1000,tp_dst=80,tcp_flags=syn";
    for (arguments, table, head) in [
        (
            &b"\x00\x03web"[..],
            layout::INGRESS + 5,
            r#"name="web", verdict=allow, severity=info, direction=from-lport"#,
        ),
        (
            b"\x01\x00",
            layout::EGRESS + 1,
            r#"name="<unnamed>", verdict=drop, severity=alert, direction=to-lport"#,
        ),
        (
            b"\x02\x04a\"\nb",
            layout::EGRESS_ASKING + 1,
            r#"name="a\"\nb", verdict=reject, severity=debug, direction=to-lport"#,
        ),
        (
            b"\x09",
            layout::INGRESS_ASKING + 5,
            r#"name="<unnamed>", verdict=<unknown>, severity=<unknown>, direction=from-lport"#,
        ),
    ] {
        assert_eq!(line(arguments, table), format!("{head}: {PACKET}"));
    }
}
