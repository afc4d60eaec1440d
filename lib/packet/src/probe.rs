//! Packets that ask whether a service is there, and what is answered: a TCP SYN and the reset that follows, a UDP datagram, an ICMP
//! echo; and the ICMP error that tells that nobody takes a datagram.

use std::net::IpAddr;

use addr::Mac;
use etherparse::{
    Icmpv4Type, Icmpv6Type, IpNumber, LaxNetSlice, LaxSlicedPacket, TcpHeader, TransportSlice,
    UdpHeader, icmpv4, icmpv6,
};

use crate::frame::{Frame, FrameError, ip_packet, transport_checksum};

/// The TTL of a probe: that of OVN's.
const TTL: u8 = 63;
/// The window of a probe's SYN.
const WINDOW: u16 = 65_160;
/// What a datagram carries.
const PAYLOAD: [u8; 8] = [0; 8];

/// From whom to whom a probe goes. Both addresses are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// Who asks.
    pub source: (Mac, IpAddr),
    /// Who is asked.
    pub destination: (Mac, IpAddr),
}

/// `port` of the asker, `port` of the service.
pub type Ports = (u16, u16);

/// A SYN.
///
/// # Errors
/// None that can happen: the packet is short.
pub fn tcp_syn(ends: Ends, ports: Ports, sequence: u32) -> Result<Vec<u8>, FrameError> {
    let mut header = TcpHeader::new(ports.0, ports.1, sequence, WINDOW);
    header.syn = true;
    tcp(ends, header)
}

/// The reset that ends what a SYN has begun.
///
/// # Errors
/// None that can happen: the packet is short.
pub fn tcp_reset(
    ends: Ends,
    ports: Ports,
    sequence: u32,
    acknowledgment: u32,
) -> Result<Vec<u8>, FrameError> {
    let mut header = TcpHeader::new(ports.0, ports.1, sequence, WINDOW);
    (header.rst, header.ack) = (true, true);
    header.acknowledgment_number = acknowledgment;
    tcp(ends, header)
}

/// A datagram of a few zeros.
///
/// # Errors
/// None that can happen: the packet is short.
pub fn udp(ends: Ends, ports: Ports) -> Result<Vec<u8>, FrameError> {
    let header = UdpHeader {
        source_port: ports.0,
        destination_port: ports.1,
        length: (UdpHeader::LEN + PAYLOAD.len()) as u16,
        checksum: 0,
    };
    let mut segment = header.to_bytes().to_vec();
    segment.extend(PAYLOAD);
    // Zero means that there is none (RFC 768).
    let checksum = match sum(ends, IpNumber::UDP, &segment) {
        0 => u16::MAX,
        sum => sum,
    };
    segment[6..8].copy_from_slice(&checksum.to_be_bytes());
    framed(ends, IpNumber::UDP, &segment)
}

/// The ports of the datagram for which nobody was there, and its destination: what an ICMP error "port unreachable" tells.
pub fn unreachable_port(frame: &Frame<'_>) -> Option<(IpAddr, Ports)> {
    let quoted = match frame.transport()? {
        TransportSlice::Icmpv4(icmp) => match icmp.icmp_type() {
            Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::Port) => {
                icmp.payload()
            }
            _ => return None,
        },
        TransportSlice::Icmpv6(icmp) => match icmp.icmp_type() {
            Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port) => icmp.payload(),
            _ => return None,
        },
        _ => return None,
    };
    let quoted = LaxSlicedPacket::from_ip(quoted).ok()?;
    let destination: IpAddr = match quoted.net? {
        LaxNetSlice::Ipv4(ip) => ip.header().destination_addr().into(),
        LaxNetSlice::Ipv6(ip) => ip.header().destination_addr().into(),
        LaxNetSlice::Arp(_) => return None,
    };
    let TransportSlice::Udp(udp) = quoted.transport? else {
        return None;
    };
    Some((destination, (udp.source_port(), udp.destination_port())))
}

fn tcp(ends: Ends, mut header: TcpHeader) -> Result<Vec<u8>, FrameError> {
    header.checksum = sum(ends, IpNumber::TCP, &header.to_bytes());
    framed(ends, IpNumber::TCP, &header.to_bytes())
}

fn sum(ends: Ends, protocol: IpNumber, segment: &[u8]) -> u16 {
    transport_checksum(ends.source.1, ends.destination.1, protocol, segment)
}

fn framed(ends: Ends, protocol: IpNumber, segment: &[u8]) -> Result<Vec<u8>, FrameError> {
    let (ether_type, packet) =
        ip_packet(ends.source.1, ends.destination.1, protocol, TTL, segment)?;
    let mut frame = ends.destination.0.0.to_vec();
    frame.extend(ends.source.0.0);
    frame.extend(ether_type.0.to_be_bytes());
    frame.extend(packet);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::reply;

    fn ends(v6: bool) -> Ends {
        let ip = |n: u8| -> IpAddr {
            match v6 {
                false => Ipv4Addr::new(10, 0, 0, n).into(),
                true => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n.into()).into(),
            }
        };
        Ends {
            source: (Mac([2, 0, 0, 0, 0, 1]), ip(1)),
            destination: (Mac([2, 0, 0, 0, 0, 2]), ip(2)),
        }
    }

    #[test]
    fn a_syn_is_answered_by_a_reset_where_nobody_is() {
        for v6 in [false, true] {
            let bytes = tcp_syn(ends(v6), (40_000, 80), 7).expect("short");
            let frame = Frame::parse(&bytes).expect("a frame");
            assert_eq!(
                frame.ips(),
                Some((ends(v6).source.1, ends(v6).destination.1))
            );
            let answer = reply::tcp_reset(&frame, reply::Direction::Back).expect("answered");
            let answer = Frame::parse(&answer).expect("a frame");
            let Some(TransportSlice::Tcp(tcp)) = answer.transport() else {
                panic!("no TCP");
            };
            assert!(tcp.rst() && tcp.acknowledgment_number() == 8);
            let bytes = tcp_reset(ends(v6), (40_000, 80), 8, 100).expect("short");
            let frame = Frame::parse(&bytes).expect("a frame");
            let Some(TransportSlice::Tcp(tcp)) = frame.transport() else {
                panic!("no TCP");
            };
            assert!(tcp.rst() && tcp.sequence_number() == 8);
        }
    }

    #[test]
    fn a_datagram_that_nobody_takes_is_told_of() {
        for v6 in [false, true] {
            let bytes = udp(ends(v6), (40_000, 53)).expect("short");
            let frame = Frame::parse(&bytes).expect("a frame");
            assert_eq!(unreachable_port(&frame), None);
            let error = reply::reject(&frame).expect("answered");
            let error = Frame::parse(&error).expect("a frame");
            assert_eq!(
                unreachable_port(&error),
                Some((ends(v6).destination.1, (40_000, 53)))
            );
        }
    }
}
