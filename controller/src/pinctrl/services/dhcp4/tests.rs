//! Requests as clients send them, what is answered, and what is not.

use dhcproto::v4::{
    Decodable, Decoder, DhcpOption, Encodable, Encoder, Flags, Message, MessageType, Opcode,
    OptionCode,
};
use etherparse::PacketBuilder;
use openflow::Field;
use packet::userdata::ResultBit;

use super::*;
use crate::pinctrl::fields::value as field;
use crate::pinctrl::tests::{handle, packet_in};

const OFFER: Ipv4Addr = Ipv4Addr::new(172, 16, 255, 130);
const SERVER: Ipv4Addr = Ipv4Addr::new(172, 16, 255, 129);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 1);
const MAC: [u8; 6] = [2, 0xac, 0x10, 0xff, 1, 0x30];

/// What dhclient sends: all options that it asks for, a name, an identity.
fn request(kind: MessageType, ciaddr: Option<Ipv4Addr>, options: Vec<DhcpOption>) -> Vec<u8> {
    let mut message = Message::default();
    message
        .set_opcode(Opcode::BootRequest)
        .set_xid(0xcafe)
        .set_chaddr(&MAC)
        .set_ciaddr(ciaddr.unwrap_or(Ipv4Addr::UNSPECIFIED));
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    message
        .opts_mut()
        .insert(DhcpOption::Hostname("guest".to_owned()));
    message
        .opts_mut()
        .insert(DhcpOption::ParameterRequestList(vec![
            OptionCode::SubnetMask,
            OptionCode::Router,
        ]));
    for option in options {
        message.opts_mut().insert(option);
    }
    frame(&message)
}

fn frame(message: &Message) -> Vec<u8> {
    let mut payload = Vec::new();
    message
        .encode(&mut Encoder::new(&mut payload))
        .expect("encodes");
    payload.resize(payload.len().max(300), 0);
    let source = message.ciaddr().octets();
    let builder = PacketBuilder::ethernet2(MAC, [0xff; 6])
        .ipv4(source, [255; 4], 128)
        .udp(68, 67);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &payload).expect("writes");
    bytes
}

fn arguments(more: Vec<(u8, Vec<u8>)>) -> DhcpArguments {
    let mut options = vec![
        (1, vec![255, 255, 255, 192]),
        (3, SERVER.octets().to_vec()),
        (51, 3600_u32.to_be_bytes().to_vec()),
        (54, SERVER.octets().to_vec()),
    ];
    options.extend(more);
    DhcpArguments {
        result: ResultBit {
            oxm_header: 0x0001_0004,
            bit: 3,
        },
        offer: OFFER,
        options,
    }
}

/// What goes on: whether the result bit is set, the IP destination, and the message.
fn answer(packet: Vec<u8>, more: Vec<(u8, Vec<u8>)>) -> (bool, Ipv4Addr, Message) {
    let userdata = arguments(more).encode().expect("short enough");
    let original = packet_in(1, userdata, packet);
    let effects = handle(original.clone());
    let Some(Effect::Resume(resumed)) = effects.last() else {
        panic!("{effects:?}")
    };
    let yes = field(&resumed.metadata, Field::Reg0) & 8 != 0;
    assert_eq!(resumed.continuation, original.continuation);
    assert_eq!(resumed.packet == original.packet, !yes);
    let frame = Frame::parse(&resumed.packet).expect("a frame");
    assert_eq!((frame.eth_src().0, frame.eth_dst().0), (MAC, [0xff; 6]));
    let udp = frame.udp4().expect("a datagram");
    assert_eq!((udp.source_port(), udp.destination_port()), (68, 67));
    let message = Message::decode(&mut Decoder::new(udp.payload())).expect("a message");
    let Some((_, std::net::IpAddr::V4(destination))) = frame.ips() else {
        panic!("no IPv4")
    };
    (yes, destination, message)
}

#[test]
fn a_lease_is_offered_taken_and_renewed() {
    let (yes, destination, offer) = answer(request(MessageType::Discover, None, vec![]), vec![]);
    assert!(yes);
    assert_eq!(destination, OFFER);
    assert_eq!(offer.opts().msg_type(), Some(MessageType::Offer));
    assert_eq!((offer.yiaddr(), offer.xid()), (OFFER, 0xcafe));
    for option in [
        DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 192)),
        DhcpOption::Router(vec![SERVER]),
        DhcpOption::AddressLeaseTime(3600),
        DhcpOption::ServerIdentifier(SERVER),
    ] {
        assert_eq!(offer.opts().get(OptionCode::from(&option)), Some(&option));
    }
    let selecting = vec![
        DhcpOption::RequestedIpAddress(OFFER),
        DhcpOption::ServerIdentifier(SERVER),
    ];
    let (yes, _, ack) = answer(request(MessageType::Request, None, selecting), vec![]);
    assert!(yes);
    assert_eq!(ack.opts().msg_type(), Some(MessageType::Ack));
    assert_eq!(ack.yiaddr(), OFFER);
    let (yes, destination, ack) =
        answer(request(MessageType::Request, Some(OFFER), vec![]), vec![]);
    assert!(yes);
    assert_eq!(destination, OFFER);
    assert_eq!(ack.ciaddr(), OFFER);
    assert_eq!(ack.opts().msg_type(), Some(MessageType::Ack));
}

#[test]
fn another_address_is_refused_and_another_server_left_alone() {
    for (ciaddr, options) in [
        (None, vec![DhcpOption::RequestedIpAddress(OTHER)]),
        (Some(OTHER), vec![]),
        (None, vec![]),
    ] {
        let (yes, destination, nak) =
            answer(request(MessageType::Request, ciaddr, options), vec![]);
        assert!(yes);
        assert_eq!(destination, OFFER);
        assert_eq!(nak.opts().msg_type(), Some(MessageType::Nak));
        assert_eq!(nak.yiaddr(), Ipv4Addr::UNSPECIFIED);
        assert_eq!(nak.opts().len(), 1, "its type only");
    }
    for (kind, options) in [
        (
            MessageType::Request,
            vec![
                DhcpOption::RequestedIpAddress(OFFER),
                DhcpOption::ServerIdentifier(OTHER),
            ],
        ),
        (MessageType::Release, vec![]),
        (
            MessageType::Decline,
            vec![DhcpOption::RequestedIpAddress(OFFER)],
        ),
    ] {
        let (yes, _, _) = answer(request(kind, None, options), vec![]);
        assert!(!yes, "{kind:?}");
    }
}

#[test]
fn an_inform_gets_options_and_no_lease() {
    let (yes, destination, ack) = answer(
        request(MessageType::Inform, Some(OTHER), vec![]),
        vec![(58, vec![0; 4])],
    );
    assert!(yes);
    assert_eq!(destination, OFFER);
    assert_eq!(ack.yiaddr(), Ipv4Addr::UNSPECIFIED);
    let options = ack.opts();
    assert_eq!(options.msg_type(), Some(MessageType::Ack));
    assert!(!options.contains(OptionCode::AddressLeaseTime));
    assert!(!options.contains(OptionCode::Renewal));
    assert!(!options.contains(OptionCode::SubnetMask));
    assert!(options.contains(OptionCode::Router));
}

#[test]
fn booting_clients_get_the_file_for_them() {
    let boot = vec![
        (pseudo::NEXT_SERVER, OTHER.octets().to_vec()),
        (code::BOOTFILE_NAME, b"http://ipxe".to_vec()),
        (pseudo::BOOTFILE_NAME_ALT, b"undionly".to_vec()),
    ];
    let file = |message: &Message| match message.opts().get(OptionCode::BootfileName) {
        Some(DhcpOption::BootfileName(name)) => name.clone(),
        other => panic!("{other:?}"),
    };
    let (_, _, offer) = answer(request(MessageType::Discover, None, vec![]), boot.clone());
    assert_eq!(
        (file(&offer), offer.siaddr()),
        (b"undionly".to_vec(), OTHER)
    );
    assert!(
        !offer
            .opts()
            .contains(OptionCode::Unknown(pseudo::NEXT_SERVER))
    );
    let ipxe = DhcpOption::Unknown(dhcproto::v4::UnknownOption::new(
        OptionCode::Unknown(code::ETHERBOOT),
        vec![1],
    ));
    let (_, _, offer) = answer(request(MessageType::Discover, None, vec![ipxe]), boot);
    assert_eq!(file(&offer), b"http://ipxe");
}

#[test]
fn a_client_that_wants_broadcasts_gets_them() {
    let mut message = Message::default();
    message
        .set_opcode(Opcode::BootRequest)
        .set_chaddr(&MAC)
        .set_flags(Flags::default().set_broadcast());
    let kind = DhcpOption::MessageType(MessageType::Discover);
    message.opts_mut().insert(kind);
    let (yes, destination, _) = answer(frame(&message), vec![]);
    assert!(yes);
    assert_eq!(destination, Ipv4Addr::BROADCAST);
}

#[test]
fn malformed_requests_go_on_unanswered() {
    let good = request(MessageType::Discover, None, vec![]);
    let userdata = || arguments(vec![]).encode().expect("short enough");
    let udp_payload = 14 + 20 + 8;
    // A hostname that is no text costs nothing; the type gone, the cookie gone, the frame cut.
    let mut strange = good.clone();
    let at = good.windows(5).position(|w| w == b"guest").expect("there");
    strange[at] = 0xff;
    let mut untyped = good.clone();
    let at = good[udp_payload + 240..]
        .iter()
        .position(|b| *b == 53)
        .expect("there");
    untyped[udp_payload + 240 + at + 2] = 99;
    let mut uncooked = good.clone();
    uncooked[udp_payload + 236] = 0;
    for (packet, expected) in [
        (strange, true),
        (untyped, false),
        (uncooked, false),
        (good[..100].to_vec(), false),
        (vec![], false),
    ] {
        let original = packet_in(1, userdata(), packet);
        let effects = handle(original.clone());
        let Some(Effect::Resume(resumed)) = effects.last() else {
            panic!("{effects:?}")
        };
        assert_eq!(field(&resumed.metadata, Field::Reg0) & 8 != 0, expected);
    }
}
