//! What is remembered, told and asked, in virtual time.

use addr::Mac;
use openflow::message::PacketOut;
use ovsdb::Row;
use packet::userdata::Opcode;

use super::*;
use crate::pinctrl::tests::{DATAPATH, World, now, packet_in};

const CONFIG: Uuid = Uuid::from_u128(70);

/// The service, its world, the southbound's rows, and a clock.
struct Stage {
    service: Multicast,
    world: World,
    now: Now,
    config: IpMulticast,
    /// What the southbound has of `IGMP_Group`.
    rows: BTreeMap<Uuid, Arc<Row>>,
    /// Packets that were sent.
    sent: Vec<PacketOut>,
    /// Whether the southbound answers.
    answers: bool,
}

impl Stage {
    fn new(change: impl FnOnce(&mut IpMulticast)) -> Self {
        let mut config = IpMulticast {
            uuid: CONFIG,
            datapath: DATAPATH,
            enabled: Some(true),
            idle_timeout: Some(300),
            ..IpMulticast::default()
        };
        change(&mut config);
        let mut stage = Self {
            service: Multicast::default(),
            world: World {
                here: vec!["p1".into(), "p2".into()],
                ..World::default()
            },
            now: now(),
            config: config.clone(),
            rows: BTreeMap::new(),
            sent: Vec::new(),
            answers: true,
        };
        stage.configure(None, Some(config));
        stage
    }

    fn configure(&mut self, old: Option<IpMulticast>, new: Option<IpMulticast>) {
        if let Some(new) = &new {
            self.config = new.clone();
        }
        let change = RowChange {
            table: IpMulticast::INDEX,
            uuid: CONFIG,
            old: old.map(|row| Arc::new(row.to_row())),
            new: new.map(|row| Arc::new(row.to_row())),
        };
        self.tell(&change);
    }

    fn tell(&mut self, change: &RowChange) {
        let mut effects = Vec::new();
        let change = Change::Row(change);
        self.service
            .changed(self.now, change, &self.world, &mut effects);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::PacketOut(out) => self.sent.push(out),
                Effect::Write(_, operations) if self.answers => {
                    operations.into_iter().for_each(|op| self.execute(op));
                }
                Effect::Write(..) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn execute(&mut self, operation: Operation) {
        let of = |condition: &[ovsdb::Clause]| {
            self.rows
                .keys()
                .copied()
                .find(|uuid| condition == [ovsdb::Clause::is_row(*uuid)])
        };
        let (uuid, new) = match operation {
            Operation::Insert { uuid, row, .. } => {
                let mut new = IgmpGroup::default().to_row();
                row.into_iter()
                    .for_each(|(column, datum)| new.set(column, datum));
                (uuid, Some(new))
            }
            Operation::Update { condition, row, .. } => {
                let uuid = of(&condition).expect("a row that is there");
                let mut new = Row::clone(&self.rows[&uuid]);
                row.into_iter()
                    .for_each(|(column, datum)| new.set(column, datum));
                (uuid, Some(new))
            }
            Operation::Delete { condition, .. } => match of(&condition) {
                Some(uuid) => (uuid, None),
                None => return,
            },
            other => panic!("{other:?}"),
        };
        self.set(uuid, new);
    }

    fn set(&mut self, uuid: Uuid, new: Option<Row>) {
        let new = new.map(Arc::new);
        let old = match &new {
            Some(new) => self.rows.insert(uuid, Arc::clone(new)),
            None => self.rows.remove(&uuid),
        };
        let table = IgmpGroup::INDEX;
        self.tell(&RowChange {
            table,
            uuid,
            old,
            new,
        });
    }

    fn pass(&mut self, seconds: u64) {
        let until = self.now.at + Duration::from_secs(seconds);
        while let Some(due) = self.service.deadline().filter(|due| *due <= until) {
            self.now.at = self.now.at.max(due);
            let mut effects = Vec::new();
            self.service.tick(self.now, &self.world, &mut effects);
            self.perform(effects);
        }
        self.now.at = until;
    }

    /// A frame comes by a port.
    fn hear(&mut self, port: u32, frame: Vec<u8>) {
        let mut packet_in = packet_in(port, Opcode::Igmp.header().to_vec(), frame);
        packet_in.continuation.clear();
        let packet = Packet {
            opcode: Opcode::Igmp,
            arguments: &[],
            packet_in: &packet_in,
        };
        let mut effects = Vec::new();
        let result = self
            .service
            .packet(self.now, packet, &self.world, &mut effects);
        result.expect("a good packet");
        self.perform(effects);
    }

    /// The rows: address, protocol, ports.
    fn told(&self) -> Vec<String> {
        let mut told: Vec<String> = self
            .rows
            .iter()
            .map(|(uuid, row)| {
                let row = IgmpGroup::from_row(*uuid, row);
                let ports: Vec<String> = row
                    .ports
                    .iter()
                    .map(|port| port.as_u128().to_string())
                    .collect();
                format!("{} {} {}", row.address, row.protocol, ports.join(","))
            })
            .collect();
        told.sort();
        told
    }
}

/// IGMPv2.
fn report(joins: bool, group: &str) -> Vec<u8> {
    let IpAddr::V4(ip) = group.parse().expect("an address") else {
        panic!("IPv4")
    };
    let mut message = vec![if joins { 0x16 } else { 0x17 }, 0, 0, 0];
    message.extend(ip.octets());
    let sum = etherparse::checksum::Sum16BitWords::new()
        .add_slice(&message)
        .ones_complement();
    message[2..4].copy_from_slice(&sum.to_be().to_be_bytes());
    let source = "10.0.0.9".parse().expect("an address");
    let (_, packet) =
        packet::frame::ip_packet(source, ip.into(), etherparse::IpNumber::IGMP, 1, &message)
            .expect("short");
    let mut frame = vec![1, 0, 0x5e, 0, 0, 2, 2, 0, 0, 0, 0, 9, 8, 0];
    frame.extend(packet);
    frame
}

fn query(source: &str) -> Vec<u8> {
    let source = source.parse().expect("an address");
    let second = Duration::from_secs(1);
    membership::query((Mac([2, 0, 0, 0, 0, 8]), source), second).expect("short")
}

#[test]
fn who_joins_is_told_until_it_leaves_or_is_silent() {
    let mut stage = Stage::new(|_| {});
    stage.hear(1, report(true, "239.1.1.1"));
    stage.hear(2, report(true, "239.1.1.1"));
    stage.hear(2, report(true, "239.1.1.2"));
    assert_eq!(stage.told(), ["239.1.1.1 IGMPv2 1,2", "239.1.1.2 IGMPv2 2"]);
    stage.hear(2, report(false, "239.1.1.1"));
    assert_eq!(stage.told(), ["239.1.1.1 IGMPv2 1", "239.1.1.2 IGMPv2 2"]);
    stage.pass(200);
    stage.hear(1, report(true, "239.1.1.1"));
    stage.pass(200);
    assert_eq!(stage.told(), ["239.1.1.1 IGMPv2 1"]);
    stage.pass(101);
    assert_eq!(stage.told(), <[String; 0]>::default());
    stage.pass(5);
    assert_eq!(stage.service.deadline(), None);
    assert!(stage.service.of_port.is_empty() && stage.service.asked.is_empty());
}

#[test]
fn reports_go_to_routers_and_queries_to_hosts() {
    let mut stage = Stage::new(|_| {});
    stage.hear(2, query("10.0.0.8"));
    assert_eq!(stage.told(), ["mrouters  2"]);
    stage.hear(1, report(true, "239.1.1.1"));
    let to = |out: &PacketOut| format!("{:?} {:?}", out.metadata, out.actions);
    let sent: Vec<String> = stage.sent.iter().map(to).collect();
    assert!(
        sent[0].contains("32772") && sent[1].contains("32770"),
        "{sent:?}"
    );
    // A switch that asks by MLD for want of a router is none.
    stage.hear(1, query("::"));
    assert_eq!(stage.told()[1..], ["mrouters  2"]);
    stage.pass(179);
    assert_eq!(stage.told().len(), 2);
    stage.pass(1);
    assert_eq!(stage.told(), ["239.1.1.1 IGMPv2 1"]);
}

#[test]
fn a_full_table_refuses_who_comes() {
    let mut stage = Stage::new(|config| config.table_size = Some(1));
    stage.hear(1, report(true, "239.1.1.1"));
    stage.hear(1, report(true, "239.1.1.2"));
    stage.hear(2, report(true, "239.1.1.1"));
    stage.hear(2, query("10.0.0.8"));
    assert_eq!(stage.told(), ["239.1.1.1 IGMPv2 1,2", "mrouters  2"]);
    assert_eq!(stage.service.dropped().map(|(_, count)| count), Some(1));
}

#[test]
fn a_flush_forgets_everything_and_asks() {
    let mut stage = Stage::new(|config| {
        config.querier = Some(true);
        config.eth_src = "02:00:00:00:00:77".into();
        config.ip4_src = "10.0.0.77".into();
        config.ip6_src = "fe80::77".into();
        config.query_interval = Some(100);
    });
    stage.pass(0);
    assert_eq!(stage.sent.len(), 2, "of both families");
    stage.pass(99);
    assert_eq!(stage.sent.len(), 2);
    stage.pass(1);
    assert_eq!(stage.sent.len(), 4);
    stage.hear(1, report(true, "239.1.1.1"));
    stage.sent.clear();
    let old = stage.config.clone();
    let new = IpMulticast {
        seq_no: 1,
        ..old.clone()
    };
    stage.configure(Some(old), Some(new));
    assert_eq!(stage.told(), <[String; 0]>::default());
    stage.pass(0);
    assert_eq!(stage.sent.len(), 2);
    let old = stage.config.clone();
    stage.configure(Some(old), None);
    stage.pass(1_000);
    assert_eq!(stage.sent.len(), 2, "nobody asks any more");
}

#[test]
fn a_restart_forgets_nobody_and_writes_nothing() {
    let mut stage = Stage::new(|_| {});
    stage.hear(1, report(true, "239.1.1.1"));
    let rows = stage.rows.clone();
    for is_config_first in [true, false] {
        let mut next = Stage::new(|_| {});
        if !is_config_first {
            next.service = Multicast::default();
        }
        next.answers = false;
        for (uuid, row) in &rows {
            next.set(*uuid, Some(Row::clone(row)));
        }
        if !is_config_first {
            next.configure(None, Some(next.config.clone()));
        }
        next.pass(100);
        assert_eq!(next.told(), ["239.1.1.1 IGMPv2 1"]);
        next.answers = true;
        next.pass(201);
        assert_eq!(next.told(), <[String; 0]>::default());
    }
}

#[test]
fn what_does_not_answer_is_written_again() {
    let mut stage = Stage::new(|_| {});
    stage.answers = false;
    stage.hear(1, report(true, "239.1.1.1"));
    stage.answers = true;
    assert_eq!(stage.told(), <[String; 0]>::default());
    stage.pass(5);
    assert_eq!(stage.told(), ["239.1.1.1 IGMPv2 1"]);
    // Somebody else spoils the row.
    let (uuid, row) = stage.rows.first_key_value().expect("a row");
    let (uuid, mut row) = (*uuid, Row::clone(row));
    let (column, ports) = IgmpGroup::COLUMN.ports.to(&Vec::new());
    row.set(column, ports);
    stage.set(uuid, Some(row));
    assert_eq!(stage.told(), ["239.1.1.1 IGMPv2 1"]);
}

#[test]
fn a_guest_that_is_gone_has_joined_nothing() {
    let mut stage = Stage::new(|_| {});
    stage.hear(1, report(true, "239.1.1.1"));
    stage.world.here.clear();
    let mut effects = Vec::new();
    let change = Change::Attachment(Uuid::from_u128(1));
    stage
        .service
        .changed(stage.now, change, &stage.world, &mut effects);
    stage.perform(effects);
    assert_eq!(stage.told(), <[String; 0]>::default());
}

#[test]
fn a_guest_has_no_more_than_its_share() {
    let mut stage = Stage::new(|config| config.table_size = Some(100));
    for n in 0..40 {
        stage.hear(1, report(true, &format!("239.1.1.{n}")));
    }
    assert_eq!(stage.told().len(), 25);
    stage.hear(1, report(true, "239.1.1.3"));
    stage.hear(2, report(true, "239.1.2.1"));
    assert_eq!(stage.told().len(), 26);
    assert_eq!(stage.service.dropped().map(|(_, count)| count), Some(15));
}

#[test]
fn groups_that_nobody_filters_are_passed_on_and_not_remembered() {
    let mut stage = Stage::new(|_| {});
    stage.hear(1, report(true, "224.0.0.251"));
    assert_eq!(stage.told(), <[String; 0]>::default());
    assert_eq!(stage.sent.len(), 1);
    for (group, is_never) in [
        ("224.0.1.1", false),
        ("ff02::1:ff00:1", true),
        ("ff02::1", true),
        ("ff05::2", true),
        ("ff05::1", false),
        ("ff0e::", true),
        ("ff1e::", false),
        ("ff02::1:2", false),
    ] {
        let ip = group.parse().expect("an address");
        assert_eq!(is_never_filtered(ip), is_never, "{group}");
    }
}

#[test]
fn times_beyond_all_limits_are_cut() {
    let mut stage = Stage::new(|config| {
        config.idle_timeout = Some(i64::MAX);
        config.query_interval = Some(i64::MAX);
        config.query_max_resp = Some(i64::MAX);
        config.querier = Some(true);
        config.eth_src = "02:00:00:00:00:77".into();
        config.ip4_src = "10.0.0.77".into();
    });
    stage.hear(1, report(true, "239.1.1.1"));
    stage.pass(86_401);
    assert_eq!(stage.told(), <[String; 0]>::default());
}
