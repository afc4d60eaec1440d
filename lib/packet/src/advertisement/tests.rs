//! Bytes of advertisements, and texts.

use etherparse::PacketBuilder;

use super::*;

const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 0xfe]);

fn advertisement() -> Advertisement {
    Advertisement {
        mode: AddressMode::Slaac,
        preference: Preference::High,
        mac: ROUTER,
        mtu: Some(1442),
        prefixes: vec!["fd00:1::1/64".parse().expect("a network")],
        servers: vec![Ipv6Addr::LOCALHOST],
        domains: vec!["a.example".to_owned()],
        routes: vec!["LOW-fd00:2::/48".parse().expect("a route")],
    }
}

#[test]
fn every_option_has_its_place() {
    let bytes = advertisement().encode();
    let (header, mut rest) = bytes.split_at(16);
    assert_eq!(
        header,
        [134, 0, 0, 0, 255, 0x08, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    let mut options = Vec::new();
    while let [kind, units, ..] = rest {
        let (option, tail) = rest.split_at(usize::from(*units) * 8);
        options.push((*kind, option[2..].to_vec()));
        rest = tail;
    }
    let kinds: Vec<u8> = options.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [1, 5, 3, 25, 31, 24]);
    let value = |at: usize| options[at].1.as_slice();
    assert_eq!(value(0), ROUTER.octets());
    assert_eq!(value(1), [0, 0, 0, 0, 0x05, 0xa2]);
    assert_eq!(value(2)[..2], [64, 0xc0]);
    assert_eq!(
        value(2)[14..],
        [0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(value(3)[6..], Ipv6Addr::LOCALHOST.octets());
    assert_eq!(value(4)[6..], *b"\x01a\x07example\x00\x00\x00\x00\x00\x00");
    assert_eq!(
        value(5),
        [48, 0x18, 255, 255, 255, 255, 0xfd, 0, 0, 2, 0, 0, 0, 0]
    );
}

#[test]
fn how_addresses_are_got_is_in_flags() {
    for (mode, flags, of_prefix) in [
        ("slaac", 0x08, 0xc0),
        ("dhcpv6_stateful", 0x88, 0x80),
        ("dhcpv6_stateless", 0x48, 0xc0),
    ] {
        let mode = mode.parse().expect(mode);
        let bytes = Advertisement {
            mode,
            ..advertisement()
        }
        .encode();
        assert_eq!((bytes[5], bytes[16 + 8 + 8 + 3]), (flags, of_prefix));
    }
}

#[test]
fn what_makes_no_sense_is_told_or_left_out() {
    assert!("SLAAC".parse::<AddressMode>().is_err());
    for text in [
        "HIGH",
        "HIGH-10.0.0.0/8",
        "VERY-fd00::/8",
        "LOW-fd00::/200",
        "",
    ] {
        assert!(text.parse::<Route>().is_err(), "{text}");
    }
    let routes = list::<Route>("HIGH-fd00::/8, LOW-fd01::/16,").expect("two");
    assert_eq!(routes.len(), 2);
    let long = "x".repeat(64);
    let mut said = advertisement();
    said.domains = vec![String::new(), "a..b".to_owned(), long];
    let without = Advertisement {
        domains: Vec::new(),
        ..advertisement()
    };
    assert_eq!(said.encode(), without.encode());
    said.domains = vec!["example".to_owned(); 1_000];
    said.servers = vec![Ipv6Addr::LOCALHOST; 1_000];
    assert_eq!(said.encode().len() % 8, 0);
}

#[test]
fn a_solicitation_is_answered_and_nothing_else() {
    let packet = |kind: u8| {
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 2])
            .ipv6([0xfe; 16], [0xff; 16], 255)
            .icmpv6_raw(kind, 0, [0; 4])
            .write(&mut bytes, &[])
            .expect("writes");
        bytes
    };
    let message = advertisement().encode();
    let asked = packet(133);
    let frame = Frame::parse(&asked).expect("a frame");
    let bytes = reply(&frame, &message).expect("an answer");
    let answer = Frame::parse(&bytes).expect("a frame");
    assert_eq!(answer.ips(), frame.ips());
    assert_eq!(answer.eth_src(), frame.eth_src());
    let Some(TransportSlice::Icmpv6(icmp)) = answer.transport() else {
        panic!("no ICMPv6")
    };
    let (source, destination) = answer.ips().expect("IP");
    let sum = transport_checksum(source, destination, IpNumber::IPV6_ICMP, icmp.slice());
    assert_eq!((icmp.type_u8(), sum), (134, 0));
    let other = packet(135);
    let frame = Frame::parse(&other).expect("a frame");
    assert!(reply(&frame, &message).is_err());

    let bytes = to_all(ROUTER, ROUTER.link_local(), &message).expect("a frame");
    let frame = Frame::parse(&bytes).expect("a frame");
    assert_eq!(frame.eth_dst(), Mac([0x33, 0x33, 0, 0, 0, 1]));
    let all = (ROUTER.link_local().into(), ALL_NODES.into());
    assert_eq!(frame.ips(), Some(all));
    assert!(to_all(ROUTER, ROUTER.link_local(), &[0; 70_000]).is_err());
}
