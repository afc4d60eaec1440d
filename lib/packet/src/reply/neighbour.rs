//! `nd_na { … }`: the answer to a neighbour solicitation (RFC 4861, sections 4.3, 4.4 and 7.2.4).

use std::net::{IpAddr, Ipv6Addr};

use etherparse::{IpNumber, TransportSlice};

use super::TTL;
use crate::frame::{Frame, FrameError, ip_packet, transport_checksum};

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Option "target link-layer address", of one unit of eight bytes.
const TARGET_LINK_LAYER: [u8; 2] = [2, 1];
const FLAG_ROUTER: u8 = 0x80;
const FLAG_SOLICITED: u8 = 0x40;
const FLAG_OVERRIDE: u8 = 0x20;
/// Where the target begins in the message, and its length.
const TARGET: std::ops::Range<usize> = 8..24;

/// A neighbour advertisement from the target of a solicitation to whoever asked, Ethernet addresses exchanged. A guest
/// that has no address yet, and asks only whether it may take one, is answered through the address of all nodes.
pub fn neighbour_advertisement(frame: &Frame<'_>, router: bool) -> Result<Vec<u8>, FrameError> {
    let missing = FrameError::Missing("a neighbour solicitation");
    let (Some((IpAddr::V6(asker), _)), Some(TransportSlice::Icmpv6(icmp))) =
        (frame.ips(), frame.transport())
    else {
        return Err(missing);
    };
    let target = icmp
        .slice()
        .get(TARGET)
        .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    let Some(target) = target.filter(|_| icmp.type_u8() == SOLICITATION && icmp.code_u8() == 0)
    else {
        return Err(missing);
    };
    let (destination, solicited) = if asker.is_unspecified() {
        (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0)
    } else {
        (asker, FLAG_SOLICITED)
    };
    let flags = FLAG_OVERRIDE | solicited | if router { FLAG_ROUTER } else { 0 };
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target);
    message.extend(TARGET_LINK_LAYER);
    message.extend(frame.eth_dst().0);
    let (source, destination) = (Ipv6Addr::from(target).into(), destination.into());
    let checksum = transport_checksum(source, destination, IpNumber::IPV6_ICMP, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let (ether_type, packet) = ip_packet(source, destination, IpNumber::IPV6_ICMP, TTL, &message)?;
    Ok(frame.with_network(frame.eth_dst(), frame.eth_src(), ether_type, &packet))
}
