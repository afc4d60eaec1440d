//! Who is asked, and what the answers lead to, in virtual time.

use std::time::Duration;

use openflow::message::{PacketIn, PacketOut};
use ovsdb::RowChange;
use packet::reply;

use super::*;
use crate::network::Datapath;
use crate::pinctrl::tests::{OWN, World, now, packet_in};

const ROW: Uuid = Uuid::from_u128(50);

/// The service and its world, and a clock.
struct Stage {
    service: ServiceMonitors,
    world: World,
    now: Now,
    row: Option<ServiceMonitor>,
}

impl Stage {
    /// A service behind the first port, which is here.
    fn new(protocol: &str, v6: bool, options: &[(&str, &str)]) -> Self {
        let mut world = World {
            datapath: Some(Datapath {
                key: 7,
                is_router: false,
                name: "s".into(),
                snat_zone: None,
                is_quiet: false,
                ages: None,
                fdb_age_s: None,
            }),
            ..World::default()
        };
        let port = Arc::make_mut(&mut world.ports[0]);
        port.chassis = Some(OWN);
        port.mac = vec!["02:00:00:00:00:01 10.0.0.1 fd00::1".into()];
        let mut stage = Stage {
            service: ServiceMonitors::default(),
            world,
            now: now(),
            row: None,
        };
        let (ip, src_ip) = match v6 {
            false => ("10.0.0.1", "10.0.0.254"),
            true => ("fd00::1", "fd00::fe"),
        };
        let options = options.iter();
        stage.set(Some(ServiceMonitor {
            uuid: ROW,
            ip: ip.into(),
            src_ip: src_ip.into(),
            src_mac: "02:00:00:00:00:fe".into(),
            protocol: Some(protocol.into()),
            port: 80,
            logical_port: "p1".into(),
            options: options
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
            ..ServiceMonitor::default()
        }));
        stage
    }

    fn set(&mut self, row: Option<ServiceMonitor>) {
        let change = RowChange {
            table: ServiceMonitor::INDEX,
            uuid: ROW,
            old: self.row.as_ref().map(|row| Arc::new(row.to_row())),
            new: row.as_ref().map(|row| Arc::new(row.to_row())),
        };
        self.row = row;
        self.tell(Change::Row(&change));
    }

    fn tell(&mut self, change: Change<'_>) {
        let mut effects = Vec::new();
        self.service
            .changed(self.now, change, &self.world, &mut effects);
        assert_eq!(effects, []);
    }

    /// What is done when so much time has passed.
    fn wait(&mut self, seconds: u64) -> Vec<Effect> {
        self.now.at += Duration::from_secs(seconds);
        self.now.unix_ms += i64::try_from(seconds).expect("little") * 1_000;
        let mut effects = Vec::new();
        while self
            .service
            .deadline()
            .is_some_and(|due| due <= self.now.at)
        {
            self.service.tick(self.now, &self.world, &mut effects);
        }
        effects
    }

    /// An answer comes from the port with this key.
    fn answer(&mut self, packet: Vec<u8>, port: u32) -> Vec<Effect> {
        let packet_in: PacketIn = packet_in(port, Opcode::ServiceCheck.header().to_vec(), packet);
        let packet = Packet {
            opcode: Opcode::ServiceCheck,
            arguments: &[],
            packet_in: &packet_in,
        };
        let mut effects = Vec::new();
        self.service
            .packet(self.now, packet, &self.world, &mut effects)
            .expect("it makes sense");
        effects
    }

    /// The status that effects ask for. The row follows.
    fn written(&mut self, effects: &[Effect]) -> Option<String> {
        let mut statuses = effects.iter().filter_map(|effect| match effect {
            Effect::Write(ROW, operations) => Some(operations),
            _ => None,
        });
        let [Operation::Update { row, .. }] = &statuses.next()?[..] else {
            panic!("{effects:?}");
        };
        assert_eq!(statuses.next(), None);
        let status = row[0].1.scalar()?.as_str()?.to_owned();
        let mut row = self.row.clone()?;
        row.status = Some(status.as_str().into());
        self.set(Some(row));
        Some(status)
    }
}

/// The packets among effects.
fn packets(effects: &[Effect]) -> Vec<&PacketOut> {
    let sent = effects.iter().filter_map(|effect| match effect {
        Effect::PacketOut(out) => Some(out),
        _ => None,
    });
    sent.collect()
}

/// The one packet among effects.
fn probe(effects: &[Effect]) -> Vec<u8> {
    let sent = packets(effects);
    assert_eq!(sent.len(), 1, "{effects:?}");
    sent[0].packet.clone()
}

/// What somebody who listens answers to a SYN.
fn syn_ack(syn: &[u8]) -> Vec<u8> {
    let frame = Frame::parse(syn).expect("a frame");
    let Some(TransportSlice::Tcp(tcp)) = frame.transport() else {
        panic!("no TCP");
    };
    let (source, destination) = frame.ips().expect("IP");
    let mut header = etherparse::TcpHeader::new(tcp.destination_port(), tcp.source_port(), 900, 1);
    (header.syn, header.ack) = (true, true);
    header.acknowledgment_number = tcp.sequence_number().wrapping_add(1);
    let protocol = etherparse::IpNumber::TCP;
    let (kind, packet) =
        packet::frame::ip_packet(destination, source, protocol, 64, &header.to_bytes())
            .expect("short");
    frame.with_network(frame.eth_dst(), frame.eth_src(), kind, &packet)
}

/// What somebody answers who does not: a reset, or an ICMP error.
fn refusal(packet: &[u8]) -> Vec<u8> {
    let frame = Frame::parse(packet).expect("a frame");
    reply::reject(&frame).expect("answered")
}

#[test]
fn a_service_that_listens_is_online_until_it_does_not() {
    for v6 in [false, true] {
        let mut stage = Stage::new("tcp", v6, &[]);
        let syn = probe(&stage.wait(0));
        let frame = Frame::parse(&syn).expect("a frame");
        assert_eq!(frame.eth_src().to_string(), "02:00:00:00:00:fe");
        assert_eq!(frame.eth_dst().to_string(), "02:00:00:00:00:01");
        let effects = stage.answer(syn_ack(&syn), 1);
        let reset = probe(&effects);
        let reset = Frame::parse(&reset).expect("a frame");
        assert!(matches!(reset.transport(), Some(TransportSlice::Tcp(tcp)) if tcp.rst()));
        assert_eq!(stage.written(&effects).as_deref(), Some("online"));
        // It is asked again after five seconds, and nothing is written when nothing changed.
        assert_eq!(stage.wait(4), []);
        let syn = probe(&stage.wait(1));
        let effects = stage.answer(syn_ack(&syn), 1);
        assert_eq!(stage.written(&effects), None);
        let syn = probe(&stage.wait(5));
        let effects = stage.answer(refusal(&syn), 1);
        assert_eq!(stage.written(&effects).as_deref(), Some("offline"));
        // Silence says the same as a reset.
        probe(&stage.wait(5));
        let effects = stage.wait(3);
        assert_eq!((effects.len(), stage.written(&effects)), (0, None));
    }
}

#[test]
fn datagrams_are_taken_unless_an_error_says_otherwise() {
    for v6 in [false, true] {
        let mut stage = Stage::new("udp", v6, &[("interval", "10"), ("timeout", "2")]);
        probe(&stage.wait(0));
        let effects = stage.wait(2);
        assert_eq!(stage.written(&effects).as_deref(), Some("online"));
        assert_eq!(stage.wait(7), []);
        let datagram = probe(&stage.wait(1));
        let effects = stage.answer(refusal(&datagram), 1);
        assert_eq!(stage.written(&effects).as_deref(), Some("offline"));
    }
}

#[test]
fn several_probes_may_have_to_say_the_same() {
    let options = [("success_count", "2"), ("failure_count", "3")];
    let mut stage = Stage::new("tcp", false, &options);
    let mut told = Vec::new();
    for is_there in [true, true, false, false, false, true, true] {
        let syn = probe(&stage.wait(if told.is_empty() { 0 } else { 5 }));
        let answer = if is_there {
            syn_ack(&syn)
        } else {
            refusal(&syn)
        };
        let effects = stage.answer(answer, 1);
        told.push(stage.written(&effects));
    }
    let told: Vec<Option<&str>> = told.iter().map(Option::as_deref).collect();
    let (on, off) = (Some("online"), Some("offline"));
    assert_eq!(told, [None, on, None, None, off, None, on]);
}

#[test]
fn what_was_not_asked_for_changes_nothing() {
    let mut stage = Stage::new("tcp", false, &[]);
    let old = probe(&stage.wait(0));
    assert_eq!(stage.answer(syn_ack(&old), 2), [], "another port");
    assert_eq!(stage.answer(vec![0; 60], 1), [], "no packet of IP");
    stage.wait(3);
    let syn = probe(&stage.wait(2));
    assert_ne!(old, syn);
    assert_eq!(stage.answer(syn_ack(&old), 1), [], "too late");
    assert_eq!(packets(&stage.answer(syn_ack(&syn), 1)).len(), 1);
    assert_eq!(stage.answer(syn_ack(&syn), 1), [], "once is enough");
}

#[test]
fn only_the_chassis_of_the_port_asks() {
    let mut stage = Stage::new("tcp", false, &[]);
    probe(&stage.wait(0));
    Arc::make_mut(&mut stage.world.ports[0]).chassis = None;
    stage.tell(Change::Attachment(Uuid::from_u128(1)));
    assert_eq!((stage.wait(60), stage.service.deadline()), (vec![], None));
    Arc::make_mut(&mut stage.world.ports[0]).chassis = Some(OWN);
    stage.tell(Change::Attachment(Uuid::from_u128(1)));
    probe(&stage.wait(0));
    stage.set(None);
    assert!(stage.service.by_target.is_empty() && stage.service.of_port.is_empty());
    assert_eq!(stage.service.deadline(), None);
}
