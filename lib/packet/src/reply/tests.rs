//! Each answer, read again by an independent parser.

use std::net::Ipv6Addr;

use etherparse::{NetSlice, PacketBuilder};

use super::*;

const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
const B: [u8; 6] = [2, 0, 0, 0, 0, 2];
const A4: [u8; 4] = [10, 0, 0, 1];
const B4: [u8; 4] = [10, 0, 0, 2];
const A6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const B6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

fn built<T>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), T>) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert!(write(&mut bytes).is_ok());
    bytes
}

/// Checks addresses and the checksum of the transport, with the library's own arithmetic.
#[track_caller]
fn check(reply: &[u8], macs: ([u8; 6], [u8; 6]), ips: (IpAddr, IpAddr)) {
    let frame = Frame::parse(reply).expect("a frame");
    assert_eq!((frame.eth_src().0, frame.eth_dst().0), macs);
    assert_eq!(frame.ips(), Some(ips));
    let (v4, v6) = match frame.net() {
        Some(NetSlice::Ipv4(ip)) => (Some(ip.header().to_header()), None),
        Some(NetSlice::Ipv6(ip)) => (None, Some(ip.header().to_header())),
        _ => panic!("no IP"),
    };
    match (frame.transport(), v4, v6) {
        (Some(TransportSlice::Tcp(tcp)), Some(ip), _) => {
            assert_eq!(
                Ok(tcp.checksum()),
                tcp.calc_checksum_ipv4(ip.source, ip.destination)
            );
        }
        (Some(TransportSlice::Tcp(tcp)), _, Some(ip)) => {
            assert_eq!(
                Ok(tcp.checksum()),
                tcp.calc_checksum_ipv6(ip.source, ip.destination)
            );
        }
        (Some(TransportSlice::Icmpv6(icmp)), _, Some(ip)) => {
            assert!(icmp.is_checksum_valid(ip.source, ip.destination));
        }
        (Some(TransportSlice::Icmpv4(icmp)), Some(ip), _) => {
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            let mut header = icmp.header();
            header.update_checksum(icmp.payload());
            assert_eq!(header.checksum, icmp.checksum());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_syn_is_refused_by_a_reset_in_both_families() {
    let v4 = built(|out| {
        let b = PacketBuilder::ethernet2(A, B).ipv4(A4, B4, 64);
        b.tcp(1000, 80, 7, 100).syn().write(out, &[])
    });
    let v6 = built(|out| {
        let b = PacketBuilder::ethernet2(A, B).ipv6(A6, B6, 64);
        b.tcp(1000, 80, 7, 100).syn().write(out, &[])
    });
    for bytes in [&v4, &v6] {
        let frame = Frame::parse(bytes).expect("a frame");
        let (source, destination) = frame.ips().expect("IP");
        let reset = reject(&frame).expect("a reset");
        check(&reset, (B, A), (destination, source));
        let reset = Frame::parse(&reset).expect("a frame");
        let Some(TransportSlice::Tcp(tcp)) = reset.transport() else {
            panic!("no TCP")
        };
        assert!(tcp.rst() && tcp.ack() && !tcp.syn());
        assert_eq!((tcp.source_port(), tcp.destination_port()), (80, 1000));
        assert_eq!(tcp.acknowledgment_number(), 8);
        let ttl = match reset.net() {
            Some(NetSlice::Ipv4(ip)) => ip.header().ttl(),
            Some(NetSlice::Ipv6(ip)) => ip.header().hop_limit(),
            _ => panic!("no IP"),
        };
        assert_eq!(ttl, 63);
        assert_eq!(
            reject(&reset),
            Err(FrameError::Unanswerable("it is a reset"))
        );
        check(
            &tcp_reset(&frame, Direction::Onward).expect("a reset"),
            (A, B),
            (source, destination),
        );
    }
    let ack = built(|out| {
        let b = PacketBuilder::ethernet2(A, B).ipv4(A4, B4, 64);
        b.tcp(1000, 80, 7, 100).ack(4711).write(out, b"hello")
    });
    let reset = reject(&Frame::parse(&ack).expect("a frame")).expect("a reset");
    let reset = Frame::parse(&reset).expect("a frame");
    let Some(TransportSlice::Tcp(tcp)) = reset.transport() else {
        panic!("no TCP")
    };
    assert_eq!((tcp.sequence_number(), tcp.ack()), (4711, false));
}

#[test]
fn a_datagram_is_refused_by_an_error_that_quotes_it() {
    let long = vec![9; 1400];
    let v4 = built(|out| {
        let b = PacketBuilder::ethernet2(A, B).ipv4(A4, B4, 64);
        b.udp(1, 2).write(out, &long)
    });
    let v6 = built(|out| {
        let b = PacketBuilder::ethernet2(A, B).ipv6(A6, B6, 64);
        b.udp(1, 2).write(out, &long)
    });
    for (bytes, most) in [(&v4, 576), (&v6, 1280)] {
        let frame = Frame::parse(bytes).expect("a frame");
        let (source, destination) = frame.ips().expect("IP");
        let error = reject(&frame).expect("an error");
        check(&error, (B, A), (destination, source));
        assert_eq!(error.len(), 14 + most);
        let headers = if most == 576 { 28 } else { 48 };
        let quoted = &error[14 + headers..];
        assert_eq!(quoted, &bytes[14..][..most - headers]);
        let again = Frame::parse(&error).expect("a frame");
        let (back, onward) = if most == 576 {
            ([3, 3], [3, 1])
        } else {
            ([1, 4], [1, 1])
        };
        assert_eq!(error[14 + headers - 8..][..2], back);
        let error = unreachable(&frame, Direction::Onward).expect("an error");
        assert_eq!(error[14 + headers - 8..][..2], onward);
        assert_eq!(
            reject(&again),
            Err(FrameError::Unanswerable("it is an ICMP error"))
        );
    }
}

#[test]
fn what_went_to_many_is_not_answered() {
    let broadcast = built(|out| {
        let b = PacketBuilder::ethernet2(A, [0xff; 6]).ipv4(A4, B4, 64);
        b.udp(1, 2).write(out, &[])
    });
    let multicast = built(|out| {
        let b = PacketBuilder::ethernet2(A, B).ipv4(A4, [224, 0, 0, 1], 64);
        b.udp(1, 2).write(out, &[])
    });
    let nobody = built(|out| {
        let b = PacketBuilder::ethernet2(A, B).ipv4([0; 4], B4, 64);
        b.udp(1, 2).write(out, &[])
    });
    for bytes in [&broadcast, &multicast, &nobody] {
        let result = reject(&Frame::parse(bytes).expect("a frame"));
        assert!(
            matches!(result, Err(FrameError::Unanswerable(_))),
            "{result:?}"
        );
    }
}

#[test]
fn an_ip_packet_becomes_a_question_for_its_destination() {
    let bytes = built(|out| {
        let b = PacketBuilder::ethernet2(A, B).ipv4(A4, B4, 64);
        b.udp(1, 2).write(out, b"x")
    });
    let arp = arp_request(&Frame::parse(&bytes).expect("a frame")).expect("a request");
    let frame = Frame::parse(&arp).expect("a frame");
    assert_eq!((frame.eth_src().0, frame.eth_dst().0), (A, B));
    let Some(NetSlice::Arp(arp)) = frame.net() else {
        panic!("no ARP")
    };
    let arp = arp
        .to_packet()
        .try_eth_ipv4()
        .expect("of Ethernet and IPv4");
    assert_eq!(arp.operation, etherparse::ArpOperation::REQUEST);
    assert_eq!((arp.sender_mac, arp.sender_ipv4), (A, A4));
    assert_eq!((arp.target_mac, arp.target_ipv4), ([0; 6], B4));
}

#[test]
fn a_solicitation_is_answered_from_its_target() {
    // From A to the solicited-node address of B, with the Ethernet destination that the flow put there.
    for (source, to, flags) in [
        (A6, Ipv6Addr::from(A6), 0x60),
        ([0; 16], Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0x20),
    ] {
        let bytes = built(|out| {
            let mut body = B6.to_vec();
            body.extend([1, 1]);
            body.extend(A);
            let b = PacketBuilder::ethernet2(A, B).ipv6(source, B6, 255);
            b.icmpv6_raw(135, 0, [0; 4]).write(out, &body)
        });
        let frame = Frame::parse(&bytes).expect("a frame");
        let reply = neighbour_advertisement(&frame, false).expect("an advertisement");
        check(&reply, (B, A), (Ipv6Addr::from(B6).into(), to.into()));
        let again = Frame::parse(&reply).expect("a frame");
        let Some(TransportSlice::Icmpv6(icmp)) = again.transport() else {
            panic!("no ICMP")
        };
        assert_eq!((icmp.type_u8(), icmp.slice()[4]), (136, flags));
        assert_eq!(icmp.slice()[8..24], B6);
        assert_eq!(icmp.slice()[26..32], B);
        let router = neighbour_advertisement(&frame, true).expect("an advertisement");
        let again = Frame::parse(&router).expect("a frame");
        assert_eq!(again.network()[40 + 4], flags | 0x80);
        assert!(
            neighbour_advertisement(&again, true).is_err(),
            "it is no solicitation"
        );
    }
}

#[test]
fn a_solicitation_asks_those_who_may_have_the_target() {
    let packet = built(|out| {
        let b = PacketBuilder::ethernet2(A, B).ipv6(A6, B6, 64);
        b.udp(1, 2).write(out, &[])
    });
    let frame = Frame::parse(&packet).expect("a frame");
    let target: Ipv6Addr = "fd00::12:3456".parse().expect("an address");
    let asked = neighbour_solicitation(&frame, target).expect("a solicitation");
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let to = [0x33, 0x33, 0xff, 0x12, 0x34, 0x56];
    check(
        &asked,
        (A, to),
        (ip("fe80::ff:fe00:1"), ip("ff02::1:ff12:3456")),
    );
    assert_eq!(asked[14 + 40 + 8..][..16], target.octets());
    assert_eq!(asked[14 + 40 + 24..], [1, 1, 2, 0, 0, 0, 0, 1]);
}

#[test]
fn an_error_tells_the_mtu_where_its_family_has_it() {
    let v4 = built(|out| {
        let b = PacketBuilder::ethernet2(A, B).ipv4(A4, B4, 64);
        b.udp(1, 2).write(out, &[])
    });
    let v6 = built(|out| {
        let b = PacketBuilder::ethernet2(A, B).ipv6(A6, B6, 64);
        b.udp(1, 2).write(out, &[])
    });
    for (packet, header, mtu, field) in [
        (&v4, 34, 1400, [0, 0, 0x05, 0x78]),
        (&v4, 34, 70_000, [0, 0, 0xff, 0xff]),
        (&v6, 54, 70_000, [0, 1, 0x11, 0x70]),
    ] {
        let frame = Frame::parse(packet).expect("a frame");
        let ips = frame.ips().expect("IP");
        let error = too_big(&frame, Direction::Onward, mtu).expect("an error");
        if header == 54 {
            check(&error, (A, B), ips);
        } else {
            // The library reads no MTU where the code is not "fragmentation needed", as it is only later.
            let sum = etherparse::checksum::Sum16BitWords::new().add_slice(&error[header..]);
            assert_eq!(sum.ones_complement(), 0);
        }
        assert_eq!(error[header + 4..header + 8], field);
    }
}
