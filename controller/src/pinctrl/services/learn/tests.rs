//! What packets teach: one row for a new address, none for a known one.

use etherparse::PacketBuilder;
use ovsdb::typed::TableDefinition;

use super::*;
use crate::network::Datapath;
use crate::pinctrl::tests::{DATAPATH, World, now, packet_in};

fn from(opcode: Opcode, port: u32) -> PacketIn {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], [0xff; 6]).ipv4([0; 4], [255; 4], 1);
    let mut packet = Vec::new();
    builder.udp(1, 2).write(&mut packet, &[]).expect("writes");
    packet_in(port, opcode.header().to_vec(), packet)
}

/// What a packet makes the service ask of the southbound.
fn operations(learn: &mut Learn, opcode: Opcode, port: u32) -> Vec<Operation> {
    operations_in(&World::default(), learn, opcode, port)
}

fn operations_in(world: &World, learn: &mut Learn, opcode: Opcode, port: u32) -> Vec<Operation> {
    written(effects_in(world, learn, opcode, port))
}

fn written(effects: Vec<Effect>) -> Vec<Operation> {
    let written = effects.into_iter().filter_map(|effect| match effect {
        Effect::Write(_, operations) => Some(operations),
        _ => None,
    });
    written.flatten().collect()
}

fn effects_in(world: &World, learn: &mut Learn, opcode: Opcode, port: u32) -> Vec<Effect> {
    let packet_in = from(opcode, port);
    let packet = Packet {
        opcode,
        arguments: &[],
        packet_in: &packet_in,
    };
    let mut effects = Vec::new();
    // A port that is not there is an error, and nothing is asked for.
    let _ = learn.packet(now(), packet, world, &mut effects);
    effects
}

fn tell<T: Table>(learn: &mut Learn, uuid: Uuid, old: Option<&T>, new: Option<&T>) {
    let change = RowChange {
        table: T::INDEX,
        uuid,
        old: old.map(|row| Arc::new(row.to_row())),
        new: new.map(|row| Arc::new(row.to_row())),
    };
    let world = World::default();
    learn.changed(now(), Change::Row(&change), &world, &mut Vec::new());
}

fn read<T: Table + TableDefinition>(operation: &Operation) -> T {
    let Operation::Insert { table, uuid, row } = operation else {
        panic!("{operation:?}")
    };
    assert_eq!(*table, T::INDEX);
    let data: Vec<_> = row.iter().map(|(_, datum)| datum.clone()).collect();
    T::from_row(*uuid, &Row::new(data))
}

#[test]
fn an_address_is_learned_once_and_follows_its_port() {
    let mut learn = Learn::default();
    let first = operations(&mut learn, Opcode::PutFdb, 1);
    let row: Fdb = read(&first[0]);
    assert_eq!(&*row.mac, "02:00:00:00:00:09");
    assert_eq!((row.dp_key, row.port_key, row.timestamp), (7, 1, 1_000));
    assert!(
        operations(&mut learn, Opcode::PutFdb, 1).is_empty(),
        "it was asked for just now"
    );
    tell(&mut learn, row.uuid, None, Some(&row));
    assert!(operations(&mut learn, Opcode::PutFdb, 1).is_empty());
    let moved = operations(&mut learn, Opcode::PutFdb, 2);
    let changed = vec![
        Fdb::COLUMN.port_key.to(&2),
        Fdb::COLUMN.timestamp.to(&1_000),
    ];
    assert_eq!(
        moved,
        [Operation::update_row(Fdb::INDEX, row.uuid, changed)]
    );
    assert!(
        operations(&mut learn, Opcode::PutFdb, 3).is_empty(),
        "no such port"
    );
}

#[test]
fn a_guest_does_not_move_to_the_physical_network_by_its_echo() {
    let mut world = World::default();
    let mut localnet = (*world.ports[1]).clone();
    localnet.r#type = "localnet".into();
    world.ports[1] = Arc::new(localnet);
    let mut learn = Learn::default();
    let behind = |port_key| Fdb {
        uuid: Uuid::from_u128(5),
        mac: "02:00:00:00:00:09".into(),
        dp_key: 7,
        port_key,
        ..Fdb::default()
    };
    let (guest, outside) = (behind(1), behind(2));
    tell(&mut learn, guest.uuid, None, Some(&guest));
    assert!(operations_in(&world, &mut learn, Opcode::PutFdb, 2).is_empty());
    // The other way it has moved.
    tell(&mut learn, guest.uuid, Some(&guest), Some(&outside));
    assert_eq!(
        operations_in(&world, &mut learn, Opcode::PutFdb, 1).len(),
        1
    );
}

#[test]
fn a_row_that_another_has_replaced_stays_known() {
    let mut learn = Learn::default();
    let first = operations(&mut learn, Opcode::PutFdb, 1);
    let row: Fdb = read(&first[0]);
    let another = Uuid::from_u128(6);
    // Whichever change comes first.
    tell(&mut learn, row.uuid, None, Some(&row));
    tell(&mut learn, another, None, Some(&row));
    tell(&mut learn, row.uuid, Some(&row), None);
    assert!(operations(&mut learn, Opcode::PutFdb, 1).is_empty());
    tell(&mut learn, another, Some(&row), None);
    assert!(learn.fdb.is_empty());
}

#[test]
fn a_router_does_not_learn_its_own_addresses() {
    let port = |mac: &str| {
        let mut world = World::default();
        let mut port = (*world.ports[0]).clone();
        port.mac = vec![mac.into()];
        world.ports[0] = Arc::new(port);
        world
    };
    // The sender is 02:00:00:00:00:09, and says to have 10.0.0.1 or a00:1::.
    for (mac, opcode, is_learned) in [
        ("02:00:00:00:00:01 10.0.0.1/24", Opcode::PutArp, false),
        ("02:00:00:00:00:01 10.0.0.2/24", Opcode::PutArp, true),
        (
            "02:00:00:00:00:01 10.0.0.1/24 a00:1::/64",
            Opcode::PutNd,
            false,
        ),
        ("02:00:00:00:00:01 a00:1::2/64", Opcode::PutNd, true),
        ("02:00:00:00:00:09 10.0.0.1/24", Opcode::PutArp, false),
        ("", Opcode::PutArp, true),
    ] {
        let mut learn = Learn::default();
        let asked = operations_in(&port(mac), &mut learn, opcode, 1);
        assert_eq!(!asked.is_empty(), is_learned, "{mac} {opcode:?}");
    }
}

#[test]
fn a_neighbour_is_learned_in_both_families() {
    for (opcode, ip) in [(Opcode::PutArp, "10.0.0.1"), (Opcode::PutNd, "a00:1::")] {
        let mut learn = Learn::default();
        let asked = operations(&mut learn, opcode, 1);
        let row: MacBinding = read(&asked[0]);
        assert_eq!((&*row.logical_port, &*row.ip), ("p1", ip));
        assert_eq!((&*row.mac, row.datapath), ("02:00:00:00:00:09", DATAPATH));
        tell(&mut learn, row.uuid, None, Some(&row));
        assert!(operations(&mut learn, opcode, 1).is_empty());
        let other = MacBinding {
            mac: "02:00:00:00:00:08".into(),
            ..row.clone()
        };
        tell(&mut learn, row.uuid, Some(&row), Some(&other));
        assert!(matches!(
            operations(&mut learn, opcode, 1).as_slice(),
            [Operation::Update { .. }]
        ));
    }
}

#[test]
fn a_neighbour_that_is_heard_of_is_refreshed_at_half_of_its_age() {
    // It is one second since 1970.
    for (age, heard_ms, is_refreshed) in [
        ("2", 0, true),
        ("2", 1, false),
        ("10.0.0.0/8:0;1", 0, false),
    ] {
        let mut learn = Learn::default();
        let world = World {
            datapath: Some(Datapath {
                key: 7,
                is_router: true,
                name: "r".into(),
                snat_zone: None,
                is_quiet: false,
                ages: Some(Arc::new(age.parse().expect("an age"))),
                fdb_age_s: None,
            }),
            ..World::default()
        };
        let row: MacBinding = read(&operations(&mut learn, Opcode::PutArp, 1)[0]);
        let row = MacBinding {
            timestamp: heard_ms,
            ..row
        };
        tell(&mut learn, row.uuid, None, Some(&row));
        let effects = effects_in(&world, &mut learn, Opcode::PutArp, 1);
        // Until the row has come back it is taken to be known, so that not every packet comes here.
        let is_known = effects.contains(&Effect::Refreshed(row.uuid));
        assert_eq!(is_known, is_refreshed, "{age}");
        let asked = written(effects);
        assert_eq!(!asked.is_empty(), is_refreshed, "{age}: {asked:?}");
        if let [
            Operation::Update {
                condition,
                row: columns,
                ..
            },
        ] = asked.as_slice()
        {
            assert_eq!(*columns, [MacBinding::COLUMN.timestamp.to(&1_000)]);
            let holds = |row: &MacBinding| {
                let (uuid, row) = (row.uuid, row.to_row());
                condition.iter().all(|clause| clause.holds(uuid, &row))
            };
            let heard_elsewhere = MacBinding {
                timestamp: 999,
                ..row.clone()
            };
            assert_eq!((holds(&row), holds(&heard_elsewhere)), (true, false));
        }
    }
}
