//! `nd_na { … }`: the answer to a neighbour solicitation; `nd_ns { … }`: a solicitation (RFC 4861, sections 4.3, 4.4, 7.2.2 and
//! 7.2.4).

use std::net::{IpAddr, Ipv6Addr};

use addr::Mac;
use etherparse::{IpNumber, TransportSlice};

use super::TTL;
use crate::frame::{Frame, FrameError, ip_packet, transport_checksum};

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Option "source link-layer address", of one unit of eight bytes.
const SOURCE_LINK_LAYER: [u8; 2] = [1, 1];
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

/// A solicitation for the address `target`, from whoever sent the packet: by its Ethernet address, and the link-local address made
/// of that (RFC 4291, appendix A). Who is asked listens to the multicast address made of `target` (section 2.7.1 there).
pub fn neighbour_solicitation(frame: &Frame<'_>, target: Ipv6Addr) -> Result<Vec<u8>, FrameError> {
    let mac = frame.eth_src();
    let [a, b, c, d, e, f] = mac.0;
    let source = [
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ];
    let [.., x, y, z] = target.octets();
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z];
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend(SOURCE_LINK_LAYER);
    message.extend(mac.0);
    let (source, group) = (Ipv6Addr::from(source).into(), Ipv6Addr::from(group).into());
    let checksum = transport_checksum(source, group, IpNumber::IPV6_ICMP, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let (ether_type, packet) = ip_packet(source, group, IpNumber::IPV6_ICMP, TTL, &message)?;
    let to = Mac([0x33, 0x33, 0xff, x, y, z]);
    Ok(frame.with_network(mac, to, ether_type, &packet))
}
