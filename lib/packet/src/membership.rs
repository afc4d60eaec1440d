//! Who wants what is sent to which group: IGMP versions 1 to 3 (RFC 1112, appendix I; RFC 2236; RFC 3376) and MLD versions 1 and 2
//! (RFC 2710; RFC 3810), as a switch that snoops reads them (RFC 4541), and the queries that it sends.
//!
//! Sources are not told apart: whoever wants a group from some sources, or from all but some, has joined it; whoever wants it from
//! none has left it.
//!
//! ```text
//! IGMPv1, v2   type  max response  checksum  group                       MLDv1   the same with 128 bits for the group, behind
//! IGMPv3       0x22  -             checksum  -, number of records                an ICMPv6 header of 8 bytes
//! a record     type  auxiliary words  number of sources  group  sources…  auxiliary data…
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use addr::Mac;
use etherparse::checksum::Sum16BitWords;
use etherparse::{EtherType, IpNumber, Ipv4Header, Ipv6Header, NetSlice};

use crate::frame::{Frame, FrameError, transport_checksum};

/// More records than these of a message are not read: a frame of 1,500 bytes has 185.
const MAX_RECORDS: u16 = 256;
/// The length of every message before its records.
const HEADER_LEN: usize = 8;
/// The hop limit of all messages.
const HOP_LIMIT: u8 = 1;
/// A hop-by-hop header that asks routers to look into the packet (RFC 2711), for MLD, and padding.
const ROUTER_ALERT_6: [u8; 6] = [5, 2, 0, 0, 0, 0];
/// The robustness variable of RFC 3376, section 8.1, is left to hosts.
const ROBUSTNESS: u8 = 0;

/// A protocol and its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// IGMP version 1.
    Igmp1,
    /// IGMP version 2.
    Igmp2,
    /// IGMP version 3.
    Igmp3,
    /// MLD version 1.
    Mld1,
    /// MLD version 2.
    Mld2,
}

impl Protocol {
    /// The name in `IGMP_Group.protocol`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Igmp1 => "IGMPv1",
            Self::Igmp2 => "IGMPv2",
            Self::Igmp3 => "IGMPv3",
            Self::Mld1 => "MLDv1",
            Self::Mld2 => "MLDv2",
        }
    }

    /// The protocol with this name.
    pub fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Igmp1,
            Self::Igmp2,
            Self::Igmp3,
            Self::Mld1,
            Self::Mld2,
        ];
        all.into_iter().find(|protocol| protocol.name() == name)
    }
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A multicast router asks who wants what. `is_router` unless it asks by MLD and has no address: of IGMP, OVN believes also a
    /// switch that asks for want of a router.
    Query {
        /// Whether a multicast router is behind it.
        is_router: bool,
    },
    /// Something else of the protocol, such as a trace or the discovery of routers: it is for everybody.
    Other,
    /// A host says what it wants (`true`), and what no longer.
    Report(Protocol, Vec<(IpAddr, bool)>),
}

/// Reads a message.
///
/// # Errors
/// If the frame is no such message, is cut, is from a place that may not send it, or has a wrong checksum.
pub fn parse(frame: &Frame<'_>) -> Result<Message, FrameError> {
    match frame.net() {
        Some(NetSlice::Ipv4(ip)) => {
            let payload = ip.payload();
            if payload.ip_number != IpNumber::IGMP || payload.fragmented {
                return Err(FrameError::Missing("IGMP"));
            }
            igmp(payload.payload)
        }
        Some(NetSlice::Ipv6(ip)) => {
            let payload = ip.payload();
            if payload.ip_number != IpNumber::IPV6_ICMP || payload.fragmented {
                return Err(FrameError::Missing("MLD"));
            }
            let header = ip.header();
            // RFC 3810, section 5: what comes from elsewhere is to be ignored.
            if header.hop_limit() != HOP_LIMIT {
                return Err(FrameError::Unanswerable(
                    "MLD with another hop limit than 1",
                ));
            }
            let (source, destination) = (header.source_addr(), header.destination_addr());
            let sum = transport_checksum(
                source.into(),
                destination.into(),
                IpNumber::IPV6_ICMP,
                payload.payload,
            );
            mld(source, payload.payload, sum)
        }
        _ => Err(FrameError::Missing("IGMP or MLD")),
    }
}

fn igmp(message: &[u8]) -> Result<Message, FrameError> {
    let (header, rest) = message
        .split_first_chunk::<HEADER_LEN>()
        .ok_or(FrameError::Missing("a whole IGMP message"))?;
    if Sum16BitWords::new().add_slice(message).ones_complement() != 0 {
        return Err(FrameError::Malformed("wrong checksum of IGMP".into()));
    }
    let group = IpAddr::from([header[4], header[5], header[6], header[7]]);
    match header[0] {
        0x11 => Ok(Message::Query { is_router: true }),
        0x12 => one(Protocol::Igmp1, group, true),
        0x16 => one(Protocol::Igmp2, group, true),
        0x17 => one(Protocol::Igmp2, group, false),
        0x22 => {
            let count = u16::from_be_bytes([header[6], header[7]]);
            let changes = records::<4>(count, rest)?;
            Ok(Message::Report(Protocol::Igmp3, changes))
        }
        _ => Ok(Message::Other),
    }
}

fn mld(source: Ipv6Addr, message: &[u8], sum: u16) -> Result<Message, FrameError> {
    let (header, rest) = message
        .split_first_chunk::<HEADER_LEN>()
        .ok_or(FrameError::Missing("a whole MLD message"))?;
    if sum != 0 {
        return Err(FrameError::Malformed("wrong checksum of MLD".into()));
    }
    if !source.is_unicast_link_local() && !source.is_unspecified() {
        return Err(FrameError::Unanswerable("MLD from beyond the link"));
    }
    let group = || {
        let octets = rest.first_chunk::<16>();
        let octets = octets.ok_or(FrameError::Missing("a group of MLD"))?;
        Ok(IpAddr::from(*octets))
    };
    match header[0] {
        130 => Ok(Message::Query {
            is_router: !source.is_unspecified(),
        }),
        131 => one(Protocol::Mld1, group()?, true),
        132 => one(Protocol::Mld1, group()?, false),
        143 => {
            let count = u16::from_be_bytes([header[6], header[7]]);
            let changes = records::<16>(count, rest)?;
            Ok(Message::Report(Protocol::Mld2, changes))
        }
        _ => Ok(Message::Other),
    }
}

fn one(protocol: Protocol, group: IpAddr, joins: bool) -> Result<Message, FrameError> {
    if !group.is_multicast() {
        return Err(FrameError::Malformed(format!("{group} is no group")));
    }
    Ok(Message::Report(protocol, vec![(group, joins)]))
}

/// The records of a report, with addresses of `N` bytes. Those of unknown types, and such about no group, are passed over
/// (RFC 3376, section 4.2.12).
fn records<const N: usize>(count: u16, mut rest: &[u8]) -> Result<Vec<(IpAddr, bool)>, FrameError> {
    let cut = || FrameError::Missing("a whole record");
    let mut changes = Vec::new();
    for _ in 0..count.min(MAX_RECORDS) {
        let ([kind, words, high, low], tail) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let (group, tail) = tail.split_first_chunk::<N>().ok_or_else(cut)?;
        let sources = usize::from(u16::from_be_bytes([*high, *low]));
        let length = sources * N + usize::from(*words) * 4;
        rest = tail.get(length..).ok_or_else(cut)?;
        let group = match <[u8; 4]>::try_from(&group[..]) {
            Ok(octets) => IpAddr::from(octets),
            Err(_) => <[u8; 16]>::try_from(&group[..])
                .map(IpAddr::from)
                .map_err(|_| cut())?,
        };
        // RFC 3376, section 4.2.12: only from these sources, or from all but these, as it is (1, 2) or has become (3, 4); more
        // sources (5); fewer (6), which leaves the rest.
        let joins = match kind {
            1 | 3 if sources == 0 => false,
            1..=5 => true,
            _ => continue,
        };
        if group.is_multicast() {
            changes.push((group, joins));
        }
    }
    Ok(changes)
}

/// A general query: IGMPv3 if the address is of IPv4, else MLDv2. Older hosts understand it as one of theirs. As OVN's it is in a
/// packet without a router alert if of IPv4, goes to 33:33:00:00:00:00 if of IPv6, and says the time for answers, of which it says
/// seconds for MLD, in the place of the querier's interval, too.
///
/// # Errors
/// None that can happen: the packet is short.
pub fn query(source: (Mac, IpAddr), max_response: Duration) -> Result<Vec<u8>, FrameError> {
    let malformed = |error: &dyn std::fmt::Display| FrameError::Malformed(error.to_string());
    match source.1 {
        IpAddr::V4(ip) => {
            let response = u32::try_from(max_response.as_millis() / 100).unwrap_or(u32::MAX);
            let response = code(response, 4);
            let mut message = vec![0x11, response as u8, 0, 0, 0, 0, 0, 0];
            message.extend([ROBUSTNESS, response as u8, 0, 0]);
            let sum = Sum16BitWords::new().add_slice(&message).ones_complement();
            message[2..4].copy_from_slice(&sum.to_be().to_be_bytes());
            let all_hosts = Ipv4Addr::new(224, 0, 0, 1);
            let mut header = Ipv4Header::new(
                0,
                HOP_LIMIT,
                IpNumber::IGMP,
                ip.octets(),
                all_hosts.octets(),
            )
            .map_err(|error| malformed(&error))?;
            header.dont_fragment = true;
            header
                .set_payload_len(message.len())
                .map_err(|error| malformed(&error))?;
            header.header_checksum = header.calc_header_checksum();
            let mut packet = header.to_bytes().to_vec();
            packet.extend(message);
            Ok(ethernet(
                [1, 0, 0x5e, 0, 0, 1],
                source.0,
                EtherType::IPV4,
                &packet,
            ))
        }
        IpAddr::V6(ip) => {
            let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
            let response = u32::try_from(max_response.as_millis()).unwrap_or(u32::MAX);
            let interval = code(u32::try_from(max_response.as_secs()).unwrap_or(u32::MAX), 4);
            let mut message = vec![130, 0, 0, 0];
            message.extend((code(response, 12) as u16).to_be_bytes());
            message.extend([0; 18]);
            message.extend([ROBUSTNESS, interval as u8, 0, 0]);
            let sum =
                transport_checksum(ip.into(), all_nodes.into(), IpNumber::IPV6_ICMP, &message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            let mut packet = vec![IpNumber::IPV6_ICMP.0, 0];
            packet.extend(ROUTER_ALERT_6);
            packet.extend(message);
            let header = Ipv6Header {
                payload_length: u16::try_from(packet.len()).unwrap_or(u16::MAX),
                next_header: IpNumber::IPV6_HEADER_HOP_BY_HOP,
                hop_limit: HOP_LIMIT,
                source: ip.octets(),
                destination: all_nodes.octets(),
                ..Ipv6Header::default()
            };
            let mut bytes = header.to_bytes().to_vec();
            bytes.extend(packet);
            Ok(ethernet(
                [0x33, 0x33, 0, 0, 0, 0],
                source.0,
                EtherType::IPV6,
                &bytes,
            ))
        }
    }
}

fn ethernet(to: [u8; 6], from: Mac, kind: EtherType, packet: &[u8]) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend(from.octets());
    frame.extend(kind.0.to_be_bytes());
    frame.extend(packet);
    frame
}

/// A number as itself, or from 2^(bits + 3) on with an exponent of three bits and a mantissa of so many
/// (RFC 3376, section 4.1.1; RFC 3810, section 5.1.3): the largest that is not above it.
fn code(number: u32, bits: u32) -> u32 {
    let limit = 1 << (bits + 3);
    if number < limit {
        return number;
    }
    let exponent = (31 - number.leading_zeros()).saturating_sub(bits + 3);
    if exponent > 7 {
        return limit * 2 - 1;
    }
    let mantissa = number >> (exponent + 3) & ((1 << bits) - 1);
    limit | exponent << bits | mantissa
}

#[cfg(test)]
mod tests;
