//! Packets of guests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::frame::{Frame, ip_packet, transport_checksum};
use packet::membership::{self, Message};

/// IGMP.
const IGMP: u8 = 2;
/// ICMP of IPv6.
const ICMP6: u8 = 58;

/// A frame as it comes; and a message of IGMP, and one of MLD, in frames whose checksums are right: what is told of groups is told
/// of groups, and no more than was written.
pub fn membership_reports(input: &[u8]) {
    if let Ok(frame) = Frame::parse(input) {
        check(membership::parse(&frame), input.len());
    }
    if input.len() < 4 {
        return;
    }
    let v4 = (Ipv4Addr::new(10, 0, 0, 9), Ipv4Addr::new(224, 0, 0, 22));
    let v6 = (
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9),
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16),
    );
    let ends: [(IpAddr, IpAddr, u8); 2] = [
        (v4.0.into(), v4.1.into(), IGMP),
        (v6.0.into(), v6.1.into(), ICMP6),
    ];
    for (from, to, protocol) in ends {
        let mut message = input.to_vec();
        message[2..4].fill(0);
        let sum = match protocol {
            IGMP => internet_checksum(&message),
            _ => transport_checksum(from, to, protocol.into(), &message),
        };
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let Ok((kind, packet)) = ip_packet(from, to, protocol.into(), 1, &message) else {
            continue;
        };
        let mut frame = vec![1, 0, 0x5e, 0, 0, 22, 2, 0, 0, 0, 0, 9];
        frame.extend(kind.0.to_be_bytes());
        frame.extend(packet);
        if let Ok(frame) = Frame::parse(&frame) {
            check(membership::parse(&frame), input.len());
        }
    }
}

/// RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(u16::from_be_bytes([
            pair[0],
            pair.get(1).copied().unwrap_or(0),
        ]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn check(message: Result<Message, packet::frame::FrameError>, length: usize) {
    if let Ok(Message::Report(_, changes)) = message {
        assert!(changes.iter().all(|(group, _)| group.is_multicast()));
        assert!(changes.len() <= length, "more than was written");
    }
}
