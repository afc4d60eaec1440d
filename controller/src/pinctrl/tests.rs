//! What the tests of all services share: a small world, and packet-ins; and the dispatcher with services that do nothing.

use std::sync::Arc;
use std::time::Duration;

use openflow::message::PacketOut;
use openflow::{Action, Field, Match};
use ovsdb::Uuid;
use proptest::prelude::*;
use sb_db::tables::PortBinding;

use super::*;
use crate::network::Datapath;
use crate::settings::Settings;

pub(super) const DATAPATH: Uuid = Uuid::from_u128(1);
pub(super) const OWN: Uuid = Uuid::from_u128(9);

/// One datapath with key 7 and ports 1 and 2.
#[derive(Debug)]
pub(super) struct World {
    pub(super) ports: Vec<Arc<PortBinding>>,
    pub(super) datapath: Option<Datapath>,
    pub(super) has_localnet: bool,
    pub(super) is_local: bool,
    pub(super) settings: Option<Settings>,
    /// The names of ports that are here.
    pub(super) here: Vec<Arc<str>>,
}

impl Default for World {
    fn default() -> Self {
        let port = |key: i64| PortBinding {
            uuid: Uuid::from_u128(key as u128),
            logical_port: format!("p{key}").into(),
            datapath: DATAPATH,
            tunnel_key: key,
            ..PortBinding::default()
        };
        World {
            ports: [1, 2].map(port).map(Arc::new).into(),
            datapath: None,
            has_localnet: false,
            is_local: true,
            settings: None,
            here: Vec::new(),
        }
    }
}

impl View for World {
    fn own(&self) -> Option<Uuid> {
        Some(OWN)
    }

    fn settings(&self) -> Option<&Settings> {
        self.settings.as_ref()
    }

    fn port(&self, uuid: Uuid) -> Option<&Arc<PortBinding>> {
        self.ports.iter().find(|port| port.uuid == uuid)
    }

    fn port_keyed(&self, datapath: u32, port: u32) -> Option<&Arc<PortBinding>> {
        let mut ports = self.ports.iter();
        ports.find(|known| datapath == 7 && known.tunnel_key == i64::from(port))
    }

    fn port_named(&self, name: &str) -> Option<&Arc<PortBinding>> {
        self.ports.iter().find(|port| *port.logical_port == *name)
    }

    fn is_local(&self, _: Uuid) -> bool {
        self.is_local
    }

    fn datapath(&self, _: Uuid) -> Option<&Datapath> {
        self.datapath.as_ref()
    }

    fn has_localnet(&self, datapath: Uuid) -> bool {
        self.has_localnet && datapath == DATAPATH
    }

    fn is_here(&self, name: &str) -> bool {
        self.here.iter().any(|here| **here == *name)
    }

    fn is_served_elsewhere(&self, name: &str) -> bool {
        let port = self.ports.iter().find(|port| &*port.logical_port == name);
        port.is_some_and(|port| port.chassis.is_some())
    }

    fn packet_to(&self, port: &PortBinding, packet: Vec<u8>) -> Option<PacketOut> {
        Some(PacketOut {
            metadata: Match::new().with(Field::Reg15, port.tunnel_key as u32),
            actions: Vec::new(),
            packet,
        })
    }

    fn packet_from(&self, port: &PortBinding, packet: Vec<u8>) -> Option<PacketOut> {
        Some(PacketOut {
            metadata: Match::new().with(Field::Reg14, port.tunnel_key as u32),
            actions: Vec::new(),
            packet,
        })
    }

    fn packet_onward(&self, _: Uuid, from: u32, to: &[u32], packet: Vec<u8>) -> Option<PacketOut> {
        let to = to.iter().map(|to| Action::set(Field::Reg15, *to));
        Some(PacketOut {
            metadata: Match::new().with(Field::Reg14, from),
            actions: to.collect(),
            packet,
        })
    }

    fn packet_to_all(&self, _: Uuid, packet: Vec<u8>) -> Option<PacketOut> {
        Some(PacketOut {
            metadata: Match::new(),
            actions: Vec::new(),
            packet,
        })
    }
}

/// The time at which most tests happen.
pub(super) fn now() -> Now {
    Now {
        at: Instant::now(),
        unix_ms: 1_000,
    }
}

/// What becomes of a packet.
pub(super) fn handle(packet_in: PacketIn) -> Vec<Effect> {
    let mut effects = Vec::new();
    let world = World::default();
    PinControl::default().handle(now(), packet_in, &world, &mut effects);
    effects
}

/// A packet from port `port` of the datapath, with this userdata; paused.
pub(super) fn packet_in(port: u32, userdata: Vec<u8>, packet: Vec<u8>) -> PacketIn {
    PacketIn {
        packet,
        cookie: 0xbeef,
        metadata: Match::new()
            .with(Field::InPort, 5_u32)
            .with(Field::Metadata, 7_u32)
            .with(Field::Reg0, 0x0a00_0001_u32)
            .with(Field::Reg14, port)
            .with(Field::CtState, 0x20_u32),
        userdata,
        continuation: vec![1, 2, 3],
        ..PacketIn::default()
    }
}

#[test]
fn an_opcode_without_handler_holds_nothing_up() {
    let waiting = packet_in(1, Opcode::Dhcp6Reply.header().to_vec(), vec![1]);
    let effects = handle(waiting.clone());
    let text = "packet from flow 0xbeef: Dhcp6Reply is not supported";
    let warning = Effect::Warn(text.to_owned());
    assert_eq!(effects, [warning, Effect::Resume(waiting.clone())]);
    let mut passing = waiting;
    passing.continuation.clear();
    let effects = handle(passing);
    assert!(
        matches!(effects.as_slice(), [Effect::Warn(_)]),
        "{effects:?}"
    );
}

#[test]
fn nonsense_is_noted_and_holds_nothing_up() {
    let waiting = packet_in(1, vec![0, 0, 0, 99, 0, 0, 0, 0], vec![]);
    let effects = handle(waiting.clone());
    let note = "packet from flow 0xbeef: userdata have the unknown opcode 99";
    assert_eq!(
        effects,
        [Effect::Warn(note.to_owned()), Effect::Resume(waiting)]
    );
}

/// Also one that floods the address from which services are probed (CVE-2023-3153).
#[test]
fn a_port_that_floods_does_not_keep_another_from_its_answer() {
    for opcode in [Opcode::PutDhcpOptions, Opcode::ServiceCheck] {
        let mut pinctrl = PinControl::default();
        for _ in 0..1_000 {
            pinctrl.receive(packet_in(1, opcode.header().to_vec(), vec![]));
        }
        pinctrl.receive(packet_in(2, opcode.header().to_vec(), vec![2]));
        assert_eq!(pinctrl.dropped(), 984);
        let effects = pinctrl.run(now(), &World::default());
        let place = effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Resume(_)))
            .position(
                |effect| matches!(effect, Effect::Resume(packet_in) if packet_in.packet == [2]),
            );
        assert_eq!(place, Some(1), "{opcode:?}");
        assert!(!pinctrl.has_work());
    }
}

/// A service that wakes every second and does nothing else.
#[derive(Debug)]
struct Clock {
    due: Instant,
    ticks: Vec<Instant>,
}

impl Service for Clock {
    fn opcodes(&self) -> &'static [Opcode] {
        &[]
    }

    fn tick(&mut self, now: Now, _: &dyn View, effects: &mut Vec<Effect>) {
        self.ticks.push(now.at);
        self.due += Duration::from_secs(1);
        effects.push(Effect::Note("tick".to_owned()));
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.due)
    }
}

#[test]
fn what_is_due_is_done_once_and_the_first_deadline_counts() {
    let start = now();
    let clock = |seconds| -> Box<dyn Service> {
        Box::new(Clock {
            due: start.at + Duration::from_secs(seconds),
            ticks: Vec::new(),
        })
    };
    let mut pinctrl = PinControl::new(vec![clock(2), clock(1)]);
    let world = World::default();
    for (seconds, ticks, next) in [(0, 0, 1), (1, 1, 2), (2, 2, 3), (2, 0, 3)] {
        let now = Now {
            at: start.at + Duration::from_secs(seconds),
            ..start
        };
        assert_eq!(pinctrl.run(now, &world).len(), ticks);
        let due = start.at + Duration::from_secs(next);
        assert_eq!(pinctrl.deadline(), Some(due));
    }
}

#[test]
fn no_two_services_take_one_opcode() {
    let mut taken: Vec<Opcode> = Vec::new();
    for service in services::all() {
        taken.extend(service.opcodes());
    }
    let count = taken.len();
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), count);
}

proptest! {
    #[test]
    fn whatever_comes_a_packet_that_waits_goes_on_once_or_is_kept(
        opcode in proptest::sample::select(Opcode::all().collect::<Vec<_>>()),
        arguments in proptest::collection::vec(any::<u8>(), 0..80),
        packet in proptest::collection::vec(any::<u8>(), 0..400),
        paused in any::<bool>(),
    ) {
        let mut userdata = opcode.header().to_vec();
        userdata.extend(arguments);
        let mut packet_in = packet_in(1, userdata, packet);
        if !paused {
            packet_in.continuation.clear();
        }
        let effects = handle(packet_in);
        let resumed = effects.iter().filter(|effect| matches!(effect, Effect::Resume(_) | Effect::Keep)).count();
        prop_assert!(resumed <= 1);
        prop_assert!(resumed == 1 || !paused);
    }
}

#[test]
fn an_opcode_that_nobody_serves_is_told_once_and_counted() {
    let mut control = PinControl::new(Vec::new());
    let mut told = Vec::new();
    for opcode in [Opcode::PutArp, Opcode::PutArp, Opcode::PutFdb] {
        control.receive(packet_in(1, opcode.header().to_vec(), Vec::new()));
        told.extend(control.run(now(), &World::default()));
    }
    // One that there is not at all.
    control.receive(packet_in(1, vec![0, 0, 0x7f, 0xff, 0, 0, 0, 0], Vec::new()));
    told.extend(control.run(now(), &World::default()));
    let warnings = told
        .iter()
        .filter(|effect| matches!(effect, Effect::Warn(_)));
    assert_eq!(warnings.count(), 3);
    assert_eq!(control.unserved(), 4);
    // None of the packets is held up by that.
    let resumed = told
        .iter()
        .filter(|effect| matches!(effect, Effect::Resume(_)));
    assert_eq!(resumed.count(), 4);
}
