//! Messages there and back, options of every type, and whatever else may arrive.

use dhcproto::v4::{Decodable, Decoder, DhcpOption};
use proptest::prelude::*;

use super::*;

const MAC: [u8; 6] = [2, 0xac, 0x10, 0xff, 1, 0x30];
const OFFER: Ipv4Addr = Ipv4Addr::new(172, 16, 255, 130);
const ROUTER: Ipv4Addr = Ipv4Addr::new(172, 16, 255, 129);

/// What a client of the usual kind sends, made by the library that it does not share with the parser's user.
fn message(kind: MessageType, options: Vec<DhcpOption>) -> Vec<u8> {
    let mut message = Message::default();
    message
        .set_opcode(Opcode::BootRequest)
        .set_xid(0x1234_5678)
        .set_chaddr(&MAC)
        .set_flags(Flags::default().set_broadcast());
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    for option in options {
        message.opts_mut().insert(option);
    }
    let mut bytes = Vec::new();
    message
        .encode(&mut Encoder::new(&mut bytes))
        .expect("encodes");
    bytes
}

fn reply(options: Vec<(u8, Vec<u8>)>) -> Reply {
    Reply {
        kind: ReplyKind::Offer,
        your_address: OFFER,
        next_server: Ipv4Addr::UNSPECIFIED,
        options,
    }
}

#[test]
fn a_reply_is_what_the_client_reads() {
    let request = Request::parse(&message(
        MessageType::Discover,
        vec![
            DhcpOption::ClientIdentifier(vec![1, 2, 3]),
            DhcpOption::RequestedIpAddress(OFFER),
        ],
    ))
    .expect("a request");
    assert_eq!(request.kind, RequestKind::Discover);
    assert!(request.broadcast);
    assert_eq!(request.address_option(code::REQUESTED_ADDRESS), Some(OFFER));
    assert_eq!(request.hardware_address(), MAC);
    let reply = reply(vec![
        (3, ROUTER.octets().to_vec()),
        (51, 3600_u32.to_be_bytes().to_vec()),
        (15, b"weft.example".to_vec()),
        (119, b"\x01a\x01b\0".to_vec()),
        (121, vec![0, 172, 16, 255, 129]),
    ]);
    let (payload, left_out) = reply.encode(&request);
    assert!(left_out.is_empty());
    // The message type, the options as they were written, what the client said of itself, padding, and the end.
    let behind = &payload[FIXED_LEN..];
    assert_eq!(behind[..9], [53, 1, 2, 3, 4, 172, 16, 255, 129]);
    assert_eq!(
        behind[behind.len() - 14..],
        [61, 3, 1, 2, 3, 0, 0, 0, 0, 255, 0, 0, 0, 0]
    );
    let read = Message::decode(&mut Decoder::new(&payload)).expect("a message");
    assert_eq!(read.opcode(), Opcode::BootReply);
    assert_eq!(read.xid(), 0x1234_5678);
    assert_eq!((read.yiaddr(), read.chaddr()), (OFFER, &MAC[..]));
    let options = read.opts();
    assert_eq!(options.msg_type(), Some(MessageType::Offer));
    let expect = [
        DhcpOption::Router(vec![ROUTER]),
        DhcpOption::AddressLeaseTime(3600),
        DhcpOption::DomainName("weft.example".to_owned()),
        DhcpOption::ClientIdentifier(vec![1, 2, 3]),
    ];
    for option in expect {
        assert_eq!(options.get(OptionCode::from(&option)), Some(&option));
    }
}

#[test]
fn what_has_no_room_is_left_out_and_told() {
    let small = DhcpOption::MaxMessageSize(576);
    let request = Request::parse(&message(MessageType::Discover, vec![small])).expect("a request");
    let (payload, left_out) =
        reply(vec![(3, vec![0; 4]), (121, vec![0; 300]), (6, vec![0; 4])]).encode(&request);
    assert_eq!(left_out, [121]);
    assert!(payload.len() <= 576 - 28);
    let request = Request::parse(&message(MessageType::Discover, vec![])).expect("a request");
    let (payload, left_out) = reply(vec![(121, vec![7; 300])]).encode(&request);
    assert!(left_out.is_empty());
    let view = View::new(&payload).expect("long enough");
    let long = view
        .opts()
        .find(|o| u8::from(o.code()) == 121)
        .expect("split and joined");
    assert_eq!(long.data(), [7; 300]);
}

#[test]
fn what_a_relay_said_goes_back_once_and_last() {
    for value in [vec![1, 2, b'r', b'1'], vec![7; 300], vec![]] {
        let mut bytes = message(MessageType::Discover, vec![]);
        let end = bytes.pop();
        append(&mut bytes, code::RELAY_AGENT, &value);
        bytes.extend(end);
        let request = Request::parse(&bytes).expect("a request");
        assert_eq!(request.option(code::RELAY_AGENT), Some(&value[..]));
        let (payload, left_out) = reply(vec![(121, vec![0; 300])]).encode(&request);
        assert!(left_out.is_empty());
        let mut rest = &payload[FIXED_LEN..];
        let mut seen = Vec::new();
        while let [code, length, data @ ..] = rest
            && *code != u8::from(OptionCode::Pad)
        {
            let (part, behind) = data.split_at(usize::from(*length));
            seen.push((*code, part.to_vec()));
            rest = behind;
        }
        let first = seen.iter().position(|(code, _)| *code == code::RELAY_AGENT);
        let parts = &seen[first.expect("it goes back")..];
        assert!(parts.iter().all(|(code, _)| *code == code::RELAY_AGENT));
        let joined: Vec<u8> = parts.iter().flat_map(|(_, part)| part.clone()).collect();
        assert_eq!(joined, value);
    }
}

#[test]
fn what_is_no_request_is_refused() {
    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let error = Request::parse(bytes).expect_err("refused");
        assert_eq!(error.to_string(), expected);
    }
    let good = message(MessageType::Request, vec![]);
    check(&good[..100], "a DHCP message of 100 bytes");
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    check(&with(0, 2), "a DHCP message that is not a request");
    check(
        &with(2, 17),
        "a DHCP message with a hardware address of 17 bytes",
    );
    check(&with(239, 0), "a BOOTP message without DHCP options");
    check(&with(242, 5), "a DHCP message of type Some(5)");
    check(&good[..240], "a DHCP message of type None");
    // An option that runs over the end takes nothing but itself.
    let mut bytes = good[..good.len() - 1].to_vec();
    bytes.extend([12, 200, b'x']);
    assert_eq!(Request::parse(&bytes).expect("a request").option(12), None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), shape in any::<bool>()) {
        if shape && bytes.len() > 250 {
            bytes[0] = 1;
            bytes[2] = 6;
            bytes[236..240].copy_from_slice(&v4::MAGIC);
            bytes[240..243].copy_from_slice(&[53, 1, 1]);
        }
        if let Ok(request) = Request::parse(&bytes) {
            let (payload, _) = reply(vec![(3, vec![1; 4])]).encode(&request);
            prop_assert!(payload.len() <= 1500);
            prop_assert!(Request::parse(&payload).is_err());
        }
    }
}
