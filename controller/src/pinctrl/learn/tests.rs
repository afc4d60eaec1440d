//! What packets teach: one row for a new address, none for a known one.

use etherparse::PacketBuilder;
use packet::userdata::Opcode;

use super::super::tests::{DATAPATH, NOW, Southbound, packet_in};
use super::*;

fn from(opcode: Opcode, port: u32) -> PacketIn {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], [0xff; 6]).ipv4([0; 4], [255; 4], 1);
    let mut packet = Vec::new();
    builder.udp(1, 2).write(&mut packet, &[]).expect("writes");
    packet_in(port, opcode.header().to_vec(), packet)
}

fn operations(opcode: Opcode, port: u32, southbound: &Southbound) -> Vec<Operation> {
    let effects = super::super::handle(NOW, from(opcode, port), southbound);
    let written = effects.into_iter().filter_map(|effect| match effect {
        Effect::Write(operations) => Some(operations),
        _ => None,
    });
    written.flatten().collect()
}

#[test]
fn an_address_is_learned_once_and_follows_its_port() {
    let mut southbound = Southbound::default();
    let operations_first = operations(Opcode::PutFdb, 1, &southbound);
    let [Operation::Insert { table, uuid, row }] = operations_first.as_slice() else {
        panic!("{operations_first:?}")
    };
    assert_eq!(*table, Fdb::INDEX);
    let data: Vec<_> = row.iter().map(|(_, datum)| datum.clone()).collect();
    let read = <Fdb as ovsdb::typed::TableDefinition>::from_row(*uuid, &ovsdb::Row::new(data));
    assert_eq!(&*read.mac, "02:00:00:00:00:09");
    assert_eq!((read.dp_key, read.port_key, read.timestamp), (7, 1, 1_000));
    southbound.fdb = Some((*uuid, 1));
    assert!(operations(Opcode::PutFdb, 1, &southbound).is_empty());
    let moved = operations(Opcode::PutFdb, 2, &southbound);
    let changed = vec![
        Fdb::COLUMN.port_key.to(&2),
        Fdb::COLUMN.timestamp.to(&1_000),
    ];
    assert_eq!(moved, [Operation::update_row(Fdb::INDEX, *uuid, changed)]);
    assert!(
        operations(Opcode::PutFdb, 3, &southbound).is_empty(),
        "no such port"
    );
}

#[test]
fn a_neighbour_is_learned_in_both_families() {
    let mut southbound = Southbound::default();
    for (opcode, ip) in [(Opcode::PutArp, "10.0.0.1"), (Opcode::PutNd, "a00:1::")] {
        let operations = operations(opcode, 1, &southbound);
        let [Operation::Insert { table, uuid, row }] = operations.as_slice() else {
            panic!("{operations:?}")
        };
        assert_eq!(*table, MacBinding::INDEX);
        let data: Vec<_> = row.iter().map(|(_, datum)| datum.clone()).collect();
        let row = ovsdb::Row::new(data);
        let read = <MacBinding as ovsdb::typed::TableDefinition>::from_row(*uuid, &row);
        assert_eq!((&*read.logical_port, &*read.ip), ("p1", ip));
        assert_eq!((&*read.mac, read.datapath), ("02:00:00:00:00:09", DATAPATH));
    }
    southbound.mac_binding = Some((DATAPATH, "02:00:00:00:00:09".into()));
    assert!(operations(Opcode::PutArp, 1, &southbound).is_empty());
    southbound.mac_binding = Some((DATAPATH, "02:00:00:00:00:08".into()));
    assert!(matches!(
        operations(Opcode::PutArp, 1, &southbound).as_slice(),
        [Operation::Update { .. }]
    ));
}
