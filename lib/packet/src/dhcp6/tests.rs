//! Requests as clients send them, and what they are answered.

use dhcproto::v6::{Decodable, Decoder, ORO};
use proptest::prelude::*;

use super::*;

const ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 4);
const OTHER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9);
const SERVER: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];

fn request(kind: MessageType, options: Vec<DhcpOption>) -> Vec<u8> {
    let mut message = Message::new_with_id(kind, [1, 2, 3]);
    let own = [
        DhcpOption::ClientId(vec![0, 3, 0, 1, 2, 0, 0, 0, 0, 1]),
        DhcpOption::ElapsedTime(0),
        DhcpOption::ORO(ORO {
            opts: vec![OptionCode::DomainNameServers],
        }),
    ];
    message.set_opts(own.into_iter().chain(options).collect());
    let mut bytes = Vec::new();
    message.encode(&mut Encoder::new(&mut bytes)).unwrap();
    bytes
}

fn wish(id: u32, addresses: &[Ipv6Addr]) -> DhcpOption {
    DhcpOption::IANA(IANA {
        id,
        t1: 0,
        t2: 0,
        opts: addresses
            .iter()
            .map(|address| lease(*address, 60))
            .collect(),
    })
}

fn answer(request: &[u8], more: Vec<(u16, Vec<u8>)>) -> Option<Message> {
    let mut options = vec![
        (code::IA_ADDR, ADDRESS.octets().to_vec()),
        (code::SERVER_ID, SERVER.to_vec()),
        (23, OTHER.octets().to_vec()),
    ];
    options.extend(more);
    let reply = Request::parse(request).unwrap().reply(&options)?;
    let message = Message::decode(&mut Decoder::new(&reply)).unwrap();
    assert_eq!(message.xid(), [1, 2, 3]);
    let server = DhcpOption::ServerId(link_layer_id(&SERVER));
    assert_eq!(message.opts().get(OptionCode::ServerId), Some(&server));
    assert!(message.opts().get(OptionCode::ClientId).is_some());
    Some(message)
}

#[test]
fn options_stand_as_the_flow_has_them_behind_the_client() {
    let order = |kind: u8, options: &[(u16, Vec<u8>)]| {
        let mut request = vec![kind, 1, 2, 3, 0, 1, 0, 4, 0, 3, 0, 1];
        request.extend([&[0, 3, 0, 12, 0, 0, 0, 5][..], &[0; 8]].concat());
        let reply = Request::parse(&request).unwrap().reply(options).unwrap();
        let codes = options_of(&reply[4..]).map(|option| option.unwrap().0);
        codes.collect::<Vec<u16>>()
    };
    let options = [
        (code::IA_ADDR, ADDRESS.octets().to_vec()),
        (23, OTHER.octets().to_vec()),
        (24, b"\x01a\0".to_vec()),
        (code::SERVER_ID, SERVER.to_vec()),
    ];
    assert_eq!(order(1, &options), [1, 3, 23, 24, 2]);
    assert_eq!(order(11, &options), [1, 23, 24, 2]);
    // What has no options of the flow's: who answers, and how it is.
    assert_eq!(order(8, &options), [1, 2, 13]);
}

fn status_of(options: &DhcpOptions) -> Option<Status> {
    match options.get(OptionCode::StatusCode) {
        Some(DhcpOption::StatusCode(code)) => Some(code.status),
        _ => None,
    }
}

#[test]
fn an_address_is_advertised_and_given() {
    let server = DhcpOption::ServerId(link_layer_id(&SERVER));
    for (kind, options, expected) in [
        (
            MessageType::Solicit,
            vec![wish(7, &[])],
            MessageType::Advertise,
        ),
        (
            MessageType::Request,
            vec![wish(7, &[ADDRESS]), server.clone()],
            MessageType::Reply,
        ),
        (
            MessageType::Renew,
            vec![wish(7, &[ADDRESS]), server],
            MessageType::Reply,
        ),
        (
            MessageType::Rebind,
            vec![wish(7, &[ADDRESS])],
            MessageType::Reply,
        ),
    ] {
        let message = answer(&request(kind, options), vec![]).unwrap();
        assert_eq!(message.msg_type(), expected);
        let Some(DhcpOption::IANA(given)) = message.opts().get(OptionCode::IANA) else {
            panic!("{message:?}")
        };
        assert_eq!((given.id, given.t1, given.t2), (7, FOREVER, FOREVER));
        let given: Vec<&DhcpOption> = given.opts.iter().collect();
        assert_eq!(given, [&lease(ADDRESS, FOREVER)]);
        let servers = DhcpOption::DomainNameServers(vec![OTHER]);
        assert_eq!(
            message.opts().get(OptionCode::DomainNameServers),
            Some(&servers)
        );
    }
}

#[test]
fn what_is_not_the_ports_is_taken_back() {
    let renewal = request(MessageType::Renew, vec![wish(7, &[OTHER]), wish(8, &[])]);
    let message = answer(&renewal, vec![]).unwrap();
    let given = message.opts().get_all(OptionCode::IANA).unwrap();
    let given: Vec<Vec<DhcpOption>> = given
        .iter()
        .map(|option| match option {
            DhcpOption::IANA(given) => given.opts.iter().cloned().collect(),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(
        given,
        [
            vec![lease(OTHER, 0), lease(ADDRESS, FOREVER)],
            vec![status(Status::NoAddrsAvail)]
        ]
    );
}

#[test]
fn what_needs_no_address_gets_none() {
    let information = request(MessageType::InformationRequest, vec![]);
    let message = answer(&information, vec![]).unwrap();
    assert_eq!(message.msg_type(), MessageType::Reply);
    assert!(message.opts().get(OptionCode::IANA).is_none());
    assert!(message.opts().get(OptionCode::DomainNameServers).is_some());
    for (kind, has, expected) in [
        (MessageType::Confirm, ADDRESS, Status::Success),
        (MessageType::Confirm, OTHER, Status::NotOnLink),
        (MessageType::Release, ADDRESS, Status::Success),
        (MessageType::Decline, OTHER, Status::Success),
    ] {
        let message = answer(&request(kind, vec![wish(7, &[has])]), vec![]).unwrap();
        assert_eq!(status_of(message.opts()), Some(expected), "{kind:?}");
        assert!(message.opts().get(OptionCode::IANA).is_none());
    }
}

#[test]
fn some_requests_are_for_nobody_here() {
    let elsewhere = DhcpOption::ServerId(vec![0, 3, 0, 1, 2, 0, 0, 0, 0, 0xaa]);
    for request in [
        request(MessageType::Request, vec![wish(7, &[ADDRESS]), elsewhere]),
        request(MessageType::Solicit, vec![]),
        request(MessageType::Confirm, vec![wish(7, &[])]),
    ] {
        assert_eq!(answer(&request, vec![]), None);
    }
    let advertisement = request(MessageType::Advertise, vec![]);
    assert_eq!(Request::parse(&advertisement), Err(RequestError::Type(2)));
    assert_eq!(
        Request::parse(&[1, 2, 3]),
        Err(RequestError::Short("its header"))
    );
    assert_eq!(Request::parse(&[1, 1, 2, 3]), Err(RequestError::Nobody));
    let whole = request(MessageType::Solicit, vec![wish(7, &[])]);
    let cut = &whole[..whole.len() - 1];
    assert_eq!(Request::parse(cut), Err(RequestError::Short("an option")));
}

#[test]
fn booting_clients_get_the_file_for_them_and_names_when_they_ask() {
    let unknown = |code: u16, value: &[u8]| {
        DhcpOption::Unknown(UnknownOption::new(OptionCode::from(code), value.to_vec()))
    };
    let both = || {
        vec![
            (code::BOOT_FILE, b"http://ipxe".to_vec()),
            (code::BOOT_FILE_ALT, b"tftp://a".to_vec()),
            (code::FQDN, b"\x02vm\0".to_vec()),
        ]
    };
    let ipxe = unknown(code::USER_CLASS, b"\x00\x05other\x00\x04iPXE");
    let file = |message: &Message| message.opts().get(OptionCode::OptBootfileUrl).cloned();
    let plain = request(MessageType::Solicit, vec![wish(7, &[])]);
    let message = answer(&plain, both()).unwrap();
    assert_eq!(file(&message), Some(unknown(code::BOOT_FILE, b"tftp://a")));
    assert_eq!(message.opts().get(OptionCode::ClientFqdn), None);
    let named = unknown(code::FQDN, b"\x01\x01x\0");
    let message = request(MessageType::Solicit, vec![wish(7, &[]), ipxe, named]);
    let message = answer(&message, both()).unwrap();
    assert_eq!(
        file(&message),
        Some(unknown(code::BOOT_FILE, b"http://ipxe"))
    );
    let told = unknown(code::FQDN, b"\x06\x02vm\0");
    assert_eq!(message.opts().get(OptionCode::ClientFqdn), Some(&told));
}

proptest! {
    #[test]
    fn no_bytes_are_too_much(kind in 1..12u8, bytes in proptest::collection::vec(0..40u8, 0..200)) {
        let message = [[kind, 0, 0, 0].as_slice(), &bytes].concat();
        if let Ok(request) = Request::parse(&message) {
            let options = [(code::SERVER_ID, SERVER.to_vec()), (code::IA_ADDR, vec![1; 16])];
            let _ = request.reply(&options);
        }
    }
}
