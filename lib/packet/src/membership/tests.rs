//! What is read of each version, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::frame::ip_packet;

const HOST: Mac = Mac([2, 0, 0, 0, 0, 9]);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn igmp_frame(mut message: Vec<u8>) -> Vec<u8> {
    let sum = Sum16BitWords::new().add_slice(&message).ones_complement();
    message[2..4].copy_from_slice(&sum.to_be().to_be_bytes());
    let to = ip("224.0.0.22");
    let (kind, packet) = ip_packet(ip("10.0.0.9"), to, IpNumber::IGMP, 1, &message).expect("short");
    ethernet([1, 0, 0x5e, 0, 0, 22], HOST, kind, &packet)
}

fn mld_frame(source: &str, hops: u8, mut message: Vec<u8>) -> Vec<u8> {
    let (from, to) = (ip(source), ip("ff02::16"));
    let sum = transport_checksum(from, to, IpNumber::IPV6_ICMP, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let (kind, packet) = ip_packet(from, to, IpNumber::IPV6_ICMP, hops, &message).expect("short");
    ethernet([0x33, 0x33, 0, 0, 0, 22], HOST, kind, &packet)
}

fn read(frame: &[u8]) -> Result<Message, FrameError> {
    parse(&Frame::parse(frame)?)
}

/// A record with so many sources and auxiliary words.
fn record(kind: u8, words: u8, sources: u16, group: IpAddr) -> Vec<u8> {
    let mut bytes = vec![kind, words];
    bytes.extend(sources.to_be_bytes());
    let length = match group {
        IpAddr::V4(ip) => {
            bytes.extend(ip.octets());
            4
        }
        IpAddr::V6(ip) => {
            bytes.extend(ip.octets());
            16
        }
    };
    let more = usize::from(sources) * length + usize::from(words) * 4;
    bytes.extend(std::iter::repeat_n(7, more));
    bytes
}

fn report(kind: u8, records: &[Vec<u8>]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, records.len() as u8];
    message.extend(records.concat());
    message
}

#[test]
fn every_version_joins_and_leaves() {
    let group = ip("239.1.2.3");
    for (kind, protocol, joins) in [
        (0x12, Protocol::Igmp1, true),
        (0x16, Protocol::Igmp2, true),
        (0x17, Protocol::Igmp2, false),
    ] {
        let message = read(&igmp_frame(vec![kind, 0, 0, 0, 239, 1, 2, 3]));
        assert_eq!(message, Ok(Message::Report(protocol, vec![(group, joins)])));
    }
    let group = ip("ff1e::5");
    for (kind, joins) in [(131, true), (132, false)] {
        let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
        message.extend([0xff, 0x1e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
        let message = read(&mld_frame("fe80::9", 1, message));
        assert_eq!(
            message,
            Ok(Message::Report(Protocol::Mld1, vec![(group, joins)]))
        );
    }
}

#[test]
fn records_say_what_is_wanted_whatever_their_sources() {
    for (kind, group, frame, protocol) in [
        (
            0x22,
            "239.1.2.3",
            igmp_frame as fn(Vec<u8>) -> Vec<u8>,
            Protocol::Igmp3,
        ),
        (
            143,
            "ff1e::5",
            |message| mld_frame("::", 1, message),
            Protocol::Mld2,
        ),
    ] {
        let group = ip(group);
        let records = [
            record(4, 0, 0, group),
            record(3, 0, 0, group),
            record(1, 1, 3, group),
            record(6, 2, 1, group),
            record(9, 0, 0, group),
            record(
                2,
                0,
                0,
                match group {
                    IpAddr::V4(_) => ip("10.0.0.1"),
                    IpAddr::V6(_) => ip("fd00::1"),
                },
            ),
            record(5, 0, 1, group),
        ];
        let expected = [true, false, true, true].map(|joins| (group, joins));
        let message = read(&frame(report(kind, &records)));
        assert_eq!(message, Ok(Message::Report(protocol, expected.to_vec())));
    }
}

#[test]
fn what_is_cut_or_wrong_is_refused() {
    let records = [record(4, 0, 2, ip("239.1.2.3"))];
    let whole = report(0x22, &records);
    for length in 8..whole.len() {
        read(&igmp_frame(whole[..length].to_vec())).expect_err("cut");
    }
    let mut frame = igmp_frame(vec![0x16, 0, 0, 0, 239, 1, 2, 3]);
    *frame.last_mut().expect("not empty") ^= 1;
    read(&frame).expect_err("a wrong checksum");
    read(&igmp_frame(vec![0x16, 0, 0, 0, 10, 1, 2, 3])).expect_err("no group");
    let other = read(&igmp_frame(vec![0x30, 0, 0, 0, 239, 1, 2, 3]));
    assert_eq!(other, Ok(Message::Other));
    let message = report(143, &[]);
    read(&mld_frame("fe80::9", 64, message.clone())).expect_err("from afar");
    read(&mld_frame("fd00::9", 1, message.clone())).expect_err("from beyond the link");
    read(&mld_frame("fe80::9", 1, message)).expect("of nothing");
}

#[test]
fn queries_are_read_as_such() {
    let second = Duration::from_secs(1);
    for source in ["10.0.0.1", "fe80::1"] {
        let frame = query((HOST, ip(source)), second * 10).expect("short");
        assert_eq!(read(&frame), Ok(Message::Query { is_router: true }));
    }
    for (source, is_router) in [("0.0.0.0", true), ("::", false)] {
        let frame = query((HOST, ip(source)), second).expect("short");
        assert_eq!(read(&frame), Ok(Message::Query { is_router }), "{source}");
    }
}

/// What ovn-controller 23.03 sends with `mcast_query_max_response=3`.
#[test]
fn queries_are_those_of_ovn() {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    for (source, expected) in [
        (
            "20.0.0.254",
            "01005e0000010000000002fe08004500002000004000010284dd140000fee0000001111eeec300000000001e0000",
        ),
        (
            "fe80::fe",
            "3333000000000000000002fe86dd6000000000240001fe8000000000000000000000000000feff020000000000000000\
             0000000000013a000502000000008200736b0bb800000000000000000000000000000000000000030000",
        ),
    ] {
        let mac = Mac([0, 0, 0, 0, 2, 0xfe]);
        let frame = query((mac, ip(source)), Duration::from_secs(3)).expect("short");
        assert_eq!(hex(&frame), expected, "{source}");
    }
}

#[test]
fn numbers_are_coded_as_the_standard_says() {
    for (number, bits, expected) in [
        (127, 4, 127),
        (128, 4, 0x80),
        (150, 4, 0x82),
        (256, 4, 0x90),
        (1 << 30, 4, 0xff),
        (10_000, 12, 10_000),
        (32_768, 12, 0x8000),
    ] {
        assert_eq!(code(number, bits), expected, "{number}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u8..=255) {
        let mut message = vec![kind, 0, 0, 0];
        message.extend(&bytes);
        let _ = read(&igmp_frame(message.clone()));
        let _ = read(&mld_frame("fe80::9", 1, message));
        let _ = read(&bytes);
    }
}
