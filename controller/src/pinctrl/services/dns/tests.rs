//! Questions as guests ask them, and what becomes of them.

use etherparse::PacketBuilder;
use openflow::Field;
use ovsdb::RowChange;
use ovsdb::typed::TableDefinition as _;
use packet::userdata::UserdataError;

use super::*;
use crate::pinctrl::PinControl;
use crate::pinctrl::fields::value as field;
use crate::pinctrl::tests::{DATAPATH, World, now, packet_in};

const ROW: Uuid = Uuid::from_u128(77);

fn rows(datapath: Uuid, records: &[(&str, &str)], is_ours: bool) -> Arc<Row> {
    let mut row = DnsRow {
        datapaths: vec![datapath],
        ..DnsRow::default()
    };
    for (name, value) in records {
        row.records.insert((*name).into(), (*value).into());
    }
    if is_ours {
        row.options.insert("ovn-owned".into(), "true".into());
    }
    Arc::new(row.to_row())
}

fn tell(dns: &mut Dns, uuid: Uuid, new: Option<Arc<Row>>) {
    let change = RowChange {
        table: DnsRow::INDEX,
        uuid,
        old: None,
        new,
    };
    dns.changed(
        now(),
        Change::Row(&change),
        &World::default(),
        &mut Vec::new(),
    );
}

/// A question for addresses of `name`, of type `kind`.
fn question(name: &str, kind: u8, is_v6: bool) -> Vec<u8> {
    let mut payload = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        payload.push(label.len() as u8);
        payload.extend(label.as_bytes());
    }
    payload.extend([0, 0, kind, 0, 1]);
    frame(&payload, is_v6)
}

fn frame(payload: &[u8], is_v6: bool) -> Vec<u8> {
    let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let mut bytes = Vec::new();
    let written = if is_v6 {
        link.ipv6([0xfd; 16], [0xfe; 16], 64)
            .udp(5353, 53)
            .write(&mut bytes, payload)
    } else {
        link.ipv4([10, 0, 0, 9], [8, 8, 8, 8], 64)
            .udp(5353, 53)
            .write(&mut bytes, payload)
    };
    written.expect("written");
    bytes
}

/// Whether it is answered, and what goes on.
fn ask(dns: &mut Dns, packet: Vec<u8>) -> (bool, Vec<u8>) {
    let mut userdata = Opcode::DnsLookup.header().to_vec();
    userdata.extend([0, 1, 0, 4, 0, 0, 0, 4]);
    let packet_in = packet_in(1, userdata, packet);
    let (opcode, arguments) = Opcode::split(&packet_in.userdata).expect("a header");
    let packet = Packet {
        opcode,
        arguments,
        packet_in: &packet_in,
    };
    let mut effects = Vec::new();
    dns.packet(now(), packet, &World::default(), &mut effects)
        .expect("well-made userdata");
    let Some(Effect::Resume(resumed)) = effects.pop() else {
        panic!("it goes on")
    };
    (
        field(&resumed.metadata, Field::Reg0) & 16 != 0,
        resumed.packet,
    )
}

#[test]
fn questions_become_answers_in_both_families() {
    let mut dns = Dns::default();
    let row = rows(DATAPATH, &[("vm1.ovn.org", "10.0.0.4 fd00::4")], false);
    tell(&mut dns, ROW, Some(row));
    for is_v6 in [false, true] {
        let asked = question("Vm1.Ovn.ORG", 1, is_v6);
        let (yes, answer) = ask(&mut dns, asked.clone());
        assert!(yes);
        let (asked, answer) = (
            Frame::parse(&asked).unwrap(),
            Frame::parse(&answer).unwrap(),
        );
        assert_eq!(
            (answer.eth_src(), answer.ips()),
            (asked.eth_src(), asked.ips())
        );
        let (asked, answer) = (asked.udp().unwrap(), answer.udp().unwrap());
        assert_eq!(answer.payload()[..2], asked.payload()[..2]);
        assert!(
            answer
                .payload()
                .windows(11)
                .any(|bytes| bytes == b"Vm1\x03Ovn\x03ORG")
        );
        assert!(answer.payload().ends_with(&[10, 0, 0, 4]));
    }
}

#[test]
fn what_nobody_knows_goes_on() {
    let mut dns = Dns::default();
    let row = rows(DATAPATH, &[("vm1", "10.0.0.4")], false);
    tell(&mut dns, ROW, Some(row));
    let elsewhere = rows(Uuid::from_u128(3), &[("vm2", "10.0.0.5")], true);
    tell(&mut dns, Uuid::from_u128(78), Some(elsewhere));
    for packet in [
        question("vm2", 1, false),
        question("vm1", 28, false),
        question("vm1", 15, false),
        frame(b"no DNS", false),
        vec![1, 2, 3],
    ] {
        assert_eq!(ask(&mut dns, packet.clone()), (false, packet));
    }
    assert_eq!(dns.dropped(), Some(("malformed DNS questions", 2)));
    // Of a name that is ours alone, it is refused.
    let ours = rows(DATAPATH, &[("vm1", "10.0.0.4")], true);
    tell(&mut dns, ROW, Some(ours));
    let (yes, refused) = ask(&mut dns, question("vm1", 28, false));
    let refused = Frame::parse(&refused).unwrap();
    assert!(yes && refused.udp().unwrap().payload()[3] & 15 == 5);
    tell(&mut dns, ROW, None);
    assert!(!ask(&mut dns, question("vm1", 1, false)).0);
    assert!(dns.by_datapath.len() == 1 && dns.rows.len() == 1);
    assert_eq!(
        ResultBit::decode(&[0; 7]),
        Err(UserdataError::Short("the result's bit"))
    );
}

#[test]
fn a_guest_that_floods_delays_nobody() {
    let mut dns = Dns::default();
    let row = rows(DATAPATH, &[("vm1", "10.0.0.4")], false);
    tell(&mut dns, ROW, Some(row));
    let mut control = PinControl::new(vec![Box::new(dns)]);
    let mut userdata = Opcode::DnsLookup.header().to_vec();
    userdata.extend([0, 1, 0, 4, 0, 0, 0, 4]);
    let ask = |port| packet_in(port, userdata.clone(), question("vm1", 1, false));
    (0..10_000).for_each(|_| control.receive(ask(1)));
    control.receive(ask(2));
    let effects = control.run(now(), &World::default());
    let ports = effects.iter().filter_map(|effect| match effect {
        Effect::Resume(packet) => Some(field(&packet.metadata, Field::Reg14)),
        _ => None,
    });
    let place = ports.clone().position(|port| port == 2);
    assert!(place.is_some_and(|place| place <= 1), "{place:?}");
    assert!(ports.count() < 64 && control.dropped() > 9_900);
}
