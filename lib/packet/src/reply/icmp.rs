//! `icmp4 { … }`, `icmp6 { … }`: a packet could not be delivered (RFC 792; RFC 4443, section 3.1).

use std::net::IpAddr;

use etherparse::{IpNumber, NetSlice, TransportSlice};

use super::{Direction, TTL};
use crate::frame::{Frame, FrameError, ip_packet, transport_checksum};

/// How much of the packet an error quotes: such that it fits the least MTU of its family with its own headers
/// (RFC 1812, section 4.3.2.3; RFC 4443, section 3.1).
const QUOTE4: usize = 576 - 20 - 8;
const QUOTE6: usize = 1280 - 40 - 8;

/// "Host unreachable", or for IPv6 "administratively prohibited": type and code as the actions in the braces find them.
/// A UDP datagram that is sent back is answered by "port unreachable", the only one of which senders take notice at once.
pub fn unreachable(frame: &Frame<'_>, direction: Direction) -> Result<Vec<u8>, FrameError> {
    error(frame, direction, 0)
}

/// The same with the MTU of the next hop, where "fragmentation needed" and "packet too big" have it (RFC 1191, section 4; RFC 4443,
/// section 3.2). Type and code are for the actions in the braces to set.
pub fn too_big(frame: &Frame<'_>, direction: Direction, mtu: u32) -> Result<Vec<u8>, FrameError> {
    error(frame, direction, mtu)
}

fn error(frame: &Frame<'_>, direction: Direction, mtu: u32) -> Result<Vec<u8>, FrameError> {
    let Some(net) = frame.net() else {
        return Err(FrameError::Missing("an IP packet"));
    };
    let Some(addresses) = frame.ips() else {
        return Err(FrameError::Missing("an IP packet"));
    };
    check_answerable(frame, net, addresses)?;
    let (source, destination) = direction.ips(addresses);
    let port =
        direction == Direction::Back && matches!(frame.transport(), Some(TransportSlice::Udp(_)));
    let (kind, code, quote, protocol) = match (net, port) {
        (NetSlice::Ipv6(_), false) => (1, 1, QUOTE6, IpNumber::IPV6_ICMP),
        (NetSlice::Ipv6(_), true) => (1, 4, QUOTE6, IpNumber::IPV6_ICMP),
        (_, false) => (3, 1, QUOTE4, IpNumber::ICMP),
        (_, true) => (3, 3, QUOTE4, IpNumber::ICMP),
    };
    let mut message = vec![kind, code, 0, 0];
    // With IPv4 it has the lower half of the field, and the upper is unused.
    let mtu = match protocol {
        IpNumber::ICMP => mtu.min(u16::MAX.into()),
        _ => mtu,
    };
    message.extend(mtu.to_be_bytes());
    let packet = frame.network();
    let length = match net {
        NetSlice::Ipv4(ip) => usize::from(ip.header().total_len()),
        NetSlice::Ipv6(ip) => 40 + usize::from(ip.header().payload_length()),
        NetSlice::Arp(_) => 0,
    };
    message.extend(&packet[..length.min(quote).min(packet.len())]);
    let checksum = if protocol == IpNumber::ICMP {
        etherparse::checksum::Sum16BitWords::new()
            .add_slice(&message)
            .ones_complement()
            .to_be()
    } else {
        transport_checksum(source, destination, protocol, &message)
    };
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let (ether_type, packet) = ip_packet(source, destination, protocol, TTL, &message)?;
    let (eth_src, eth_dst) = direction.macs(frame);
    Ok(frame.with_network(eth_src, eth_dst, ether_type, &packet))
}

/// No error answers an error, a fragment but the first, what went to many, or what came from nobody.
fn check_answerable(
    frame: &Frame<'_>,
    net: &NetSlice<'_>,
    (source, destination): (IpAddr, IpAddr),
) -> Result<(), FrameError> {
    let no = |why| Err(FrameError::Unanswerable(why));
    let many = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    };
    if frame.eth_dst().0[0] & 1 == 1 || many(destination) {
        return no("it went to many");
    }
    if source.is_unspecified() || many(source) {
        return no("it comes from nobody");
    }
    if let NetSlice::Ipv4(ip) = net
        && ip.header().fragments_offset().value() != 0
    {
        return no("it is a fragment but the first");
    }
    match frame.transport() {
        // Echoes and other questions may be refused; all else among ICMP are errors and redirects.
        Some(TransportSlice::Icmpv4(icmp)) if matches!(icmp.type_u8(), 3 | 4 | 5 | 11 | 12) => {
            no("it is an ICMP error")
        }
        Some(TransportSlice::Icmpv6(icmp)) if icmp.type_u8() < 128 => no("it is an ICMP error"),
        _ => Ok(()),
    }
}
