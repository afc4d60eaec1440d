//! What the tests of all handlers share: a small southbound, and packet-ins.

use openflow::message::PacketIn;
use packet::userdata::ResultBit;
use proptest::prelude::*;

use super::*;

pub(super) const DATAPATH: Uuid = Uuid::from_u128(1);
pub(super) const NOW: Now = Now { unix_ms: 1_000 };

/// One datapath with key 7 and ports 1 and 2, and what was learned in it.
#[derive(Default)]
pub(super) struct Southbound {
    pub(super) fdb: Option<(Uuid, i64)>,
    pub(super) mac_binding: Option<(Uuid, Arc<str>)>,
}

impl Context for Southbound {
    fn port(&self, datapath: u32, port: u32) -> Option<(Arc<str>, Uuid)> {
        (datapath == 7 && (1..=2).contains(&port)).then(|| (format!("p{port}").into(), DATAPATH))
    }

    fn fdb(&self, _: u32, _: Mac) -> Option<(Uuid, i64)> {
        self.fdb
    }

    fn mac_binding(&self, _: &str, _: IpAddr) -> Option<(Uuid, Arc<str>)> {
        self.mac_binding.clone()
    }
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
    let waiting = packet_in(1, Opcode::DnsLookup.header().to_vec(), vec![1]);
    let effects = handle(NOW, waiting.clone(), &Southbound::default());
    let note = Effect::Note("packet from flow 0xbeef: DnsLookup is not supported".to_owned());
    assert_eq!(effects, [note, Effect::Resume(waiting.clone())]);
    let mut passing = waiting;
    passing.continuation.clear();
    let effects = handle(NOW, passing, &Southbound::default());
    assert!(
        matches!(effects.as_slice(), [Effect::Note(_)]),
        "{effects:?}"
    );
}

#[test]
fn nonsense_is_noted_and_holds_nothing_up() {
    let waiting = packet_in(1, vec![0, 0, 0, 99, 0, 0, 0, 0], vec![]);
    let effects = handle(NOW, waiting.clone(), &Southbound::default());
    let note = "packet from flow 0xbeef: userdata have the unknown opcode 99";
    assert_eq!(
        effects,
        [Effect::Note(note.to_owned()), Effect::Resume(waiting)]
    );
}

#[test]
fn a_result_is_put_into_its_bit_and_no_other() {
    let result = |oxm_header, bit| result_bit(ResultBit { oxm_header, bit });
    // reg0: NXM class 1, field 0, four bytes; xreg0: OXM class 0x8001, field 0, eight bytes.
    let bit = result(0x0001_0004, 3).expect("reg0");
    let mut metadata = packet_in(1, vec![], vec![]).metadata;
    set_result(&mut metadata, bit, true);
    assert_eq!(value(&metadata, Field::Reg0), 0x0a00_0009);
    set_result(&mut metadata, bit, false);
    assert_eq!(value(&metadata, Field::Reg0), 0x0a00_0001);
    let wide = result(0x8001_0008, 32).expect("xreg0");
    set_result(&mut metadata, wide, false);
    assert_eq!(value(&metadata, Field::Reg0), 0x0a00_0000);
    assert!(matches!(
        result(0x0001_0004, 32),
        Err(HandleError::Result { .. })
    ));
    assert!(matches!(
        result(0x7777_0004, 0),
        Err(HandleError::Result { .. })
    ));
}

#[test]
fn a_port_that_floods_does_not_keep_another_from_its_address() {
    let mut pinctrl = PinControl::default();
    for _ in 0..1_000 {
        pinctrl.receive(packet_in(
            1,
            Opcode::PutDhcpOptions.header().to_vec(),
            vec![],
        ));
    }
    pinctrl.receive(packet_in(
        2,
        Opcode::PutDhcpOptions.header().to_vec(),
        vec![2],
    ));
    assert_eq!(pinctrl.dropped(), 984);
    let effects = pinctrl.run(NOW, &Southbound::default());
    let place = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Resume(_)))
        .position(|effect| matches!(effect, Effect::Resume(packet_in) if packet_in.packet == [2]));
    assert_eq!(place, Some(1));
    assert!(!pinctrl.has_work());
}

proptest! {
    #[test]
    fn whatever_comes_a_packet_that_waits_goes_on_once(
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
        let effects = handle(NOW, packet_in, &Southbound::default());
        let resumed = effects.iter().filter(|effect| matches!(effect, Effect::Resume(_))).count();
        prop_assert!(resumed <= 1);
        prop_assert!(resumed == 1 || !paused);
    }
}
