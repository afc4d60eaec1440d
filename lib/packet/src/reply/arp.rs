//! `arp { … }`: who has the packet's destination?

use std::net::IpAddr;

use etherparse::EtherType;

use crate::frame::{Frame, FrameError};

/// Hardware type Ethernet, protocol type IPv4, lengths 6 and 4, operation "request" (RFC 826).
const REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];

/// An ARP request for the destination of an IPv4 packet, in the name of its source; Ethernet addresses unchanged.
pub fn arp_request(frame: &Frame<'_>) -> Result<Vec<u8>, FrameError> {
    let Some((IpAddr::V4(source), IpAddr::V4(destination))) = frame.ips() else {
        return Err(FrameError::Missing("an IPv4 packet"));
    };
    let mut arp = REQUEST.to_vec();
    arp.extend(frame.eth_src().0);
    arp.extend(source.octets());
    arp.extend([0; 6]);
    arp.extend(destination.octets());
    Ok(frame.with_network(frame.eth_src(), frame.eth_dst(), EtherType::ARP, &arp))
}
