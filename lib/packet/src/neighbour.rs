//! Questions to a neighbour whether it is still there: to its own MAC address, so that nobody else hears them.

use std::net::IpAddr;

use addr::Mac;
use etherparse::{EtherType, IpNumber};

use crate::frame::{FrameError, ip_packet, transport_checksum};

/// Hardware type Ethernet, protocol type IPv4, lengths 6 and 4, a request (RFC 826).
const ARP_REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
/// Type and code of a neighbour solicitation (RFC 4861, section 4.3).
const SOLICITATION: [u8; 2] = [135, 0];
/// The option with the sender's address, of eight bytes.
const SOURCE_ADDRESS: [u8; 2] = [1, 1];
const HOP_LIMIT: u8 = 255;

/// An ARP request or a neighbour solicitation (RFC 4861, section 7.3.3) for an address, to the MAC address that it had.
///
/// # Errors
/// If the addresses are of two families.
pub fn request(from: (Mac, IpAddr), to: (Mac, IpAddr)) -> Result<Vec<u8>, FrameError> {
    let (ether_type, packet) = match (from.1, to.1) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            let mut arp = ARP_REQUEST.to_vec();
            arp.extend(from.0.octets());
            arp.extend(source.octets());
            arp.extend([0; 6]);
            arp.extend(target.octets());
            (EtherType::ARP, arp)
        }
        (source @ IpAddr::V6(_), IpAddr::V6(target)) => {
            let mut message = SOLICITATION.to_vec();
            message.extend([0; 6]);
            message.extend(target.octets());
            message.extend(SOURCE_ADDRESS);
            message.extend(from.0.octets());
            let kind = IpNumber::IPV6_ICMP;
            let sum = transport_checksum(source, to.1, kind, &message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            ip_packet(source, to.1, kind, HOP_LIMIT, &message)?
        }
        _ => return Err(FrameError::Missing("an address of the neighbour's family")),
    };
    let mut frame = to.0.octets().to_vec();
    frame.extend(from.0.octets());
    frame.extend(ether_type.0.to_be_bytes());
    frame.extend(packet);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, TransportSlice};

    use super::*;
    use crate::frame::Frame;

    const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const NEIGHBOUR: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_neighbour_is_asked_at_its_own_address() {
        let asked =
            request((ROUTER, ip("10.0.0.1")), (NEIGHBOUR, ip("10.0.0.9"))).expect("a frame");
        let frame = Frame::parse(&asked).expect("a frame");
        assert_eq!((frame.eth_src(), frame.eth_dst()), (ROUTER, NEIGHBOUR));
        let Some(NetSlice::Arp(arp)) = frame.net() else {
            panic!("no ARP")
        };
        assert_eq!(
            (arp.operation().0, arp.target_protocol_addr()),
            (1, &[10, 0, 0, 9][..])
        );

        let asked = request((ROUTER, ip("fd00::1")), (NEIGHBOUR, ip("fd00::9"))).expect("a frame");
        let frame = Frame::parse(&asked).expect("a frame");
        assert_eq!(
            (frame.eth_dst(), frame.ips()),
            (NEIGHBOUR, Some((ip("fd00::1"), ip("fd00::9"))))
        );
        let Some(TransportSlice::Icmpv6(icmp)) = frame.transport() else {
            panic!("no ICMPv6")
        };
        assert_eq!((icmp.type_u8(), icmp.slice().len()), (135, 32));
        assert!(request((ROUTER, ip("fd00::1")), (NEIGHBOUR, ip("10.0.0.9"))).is_err());
    }
}
