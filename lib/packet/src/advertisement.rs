//! Router advertisements (RFC 4861, section 4.2) with the options of RFC 4191 (preferences and routes) and RFC 8106 (DNS).
//!
//! Lifetimes are those of OVN's routers, which do not expire: the router is there as long as its row.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use addr::{Cidr, Mac};
use etherparse::{EtherType, IpNumber, TransportSlice};

use crate::frame::{Frame, FrameError, ip_packet, transport_checksum};

/// All nodes of a link (RFC 4291, section 2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
/// The hop limit of neighbour discovery, which proves that no router is between.
const HOP_LIMIT: u8 = 255;
const MANAGED: u8 = 0x80;
const OTHER: u8 = 0x40;
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;
const ROUTER_LIFETIME_S: u16 = u16::MAX;
/// "Infinity", for everything else.
const FOREVER: u32 = u32::MAX;

/// How guests get their addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressMode {
    /// They make them of the prefixes (RFC 4862).
    #[default]
    Slaac,
    /// A DHCPv6 server gives them.
    Stateful,
    /// They make them of the prefixes, and ask a DHCPv6 server for everything else.
    Stateless,
}

/// How much a router or route is preferred to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// To be preferred.
    High,
    /// As any other.
    #[default]
    Medium,
    /// If there is no other.
    Low,
}

/// A text that is none of what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {wanted}")]
pub struct TextError {
    /// The text.
    pub text: String,
    /// What it should be.
    pub wanted: &'static str,
}

/// A network that the router leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// How much this way is preferred.
    pub preference: Preference,
    /// The network, of IPv6.
    pub network: Cidr,
}

/// What a router tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// How guests get their addresses.
    pub mode: AddressMode,
    /// How much the router is preferred as the default one.
    pub preference: Preference,
    /// The router's MAC address.
    pub mac: Mac,
    /// The MTU of the link.
    pub mtu: Option<u32>,
    /// The prefixes of the link.
    pub prefixes: Vec<Cidr>,
    /// DNS servers.
    pub servers: Vec<Ipv6Addr>,
    /// Domains in which names are searched.
    pub domains: Vec<String>,
    /// Networks that the router leads to.
    pub routes: Vec<Route>,
}

impl FromStr for AddressMode {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        match text {
            "slaac" => Ok(Self::Slaac),
            "dhcpv6_stateful" => Ok(Self::Stateful),
            "dhcpv6_stateless" => Ok(Self::Stateless),
            _ => Err(error(text, "slaac, dhcpv6_stateful or dhcpv6_stateless")),
        }
    }
}

impl FromStr for Preference {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        match text {
            "HIGH" => Ok(Self::High),
            "MEDIUM" => Ok(Self::Medium),
            "LOW" => Ok(Self::Low),
            _ => Err(error(text, "HIGH, MEDIUM or LOW")),
        }
    }
}

impl FromStr for Route {
    type Err = TextError;

    /// `PREFERENCE-NETWORK`, such as `HIGH-2001:db8::/48`.
    fn from_str(text: &str) -> Result<Self, TextError> {
        let parse = || {
            let (preference, network) = text.split_once('-')?;
            let network: Cidr = network.parse().ok()?;
            Some(Self {
                preference: preference.parse().ok()?,
                network: (!network.is_ipv4()).then(|| network.network())?,
            })
        };
        parse().ok_or_else(|| error(text, "PREFERENCE-NETWORK"))
    }
}

/// The parts of a text that are separated by commas.
pub fn list<T: FromStr>(text: &str) -> Result<Vec<T>, T::Err> {
    let parts = text.split(',').map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .map(str::parse)
        .collect()
}

fn error(text: &str, wanted: &'static str) -> TextError {
    let text = text.to_owned();
    TextError { text, wanted }
}

impl Preference {
    /// The two bits of a preference (RFC 4191, section 2.1), where flags have them.
    fn bits(self) -> u8 {
        match self {
            Self::High => 0b01 << 3,
            Self::Medium => 0b00 << 3,
            Self::Low => 0b11 << 3,
        }
    }
}

impl Advertisement {
    /// The ICMPv6 message, its checksum zero.
    pub fn encode(&self) -> Vec<u8> {
        let mode = match self.mode {
            AddressMode::Slaac => 0,
            AddressMode::Stateful => MANAGED,
            AddressMode::Stateless => OTHER,
        };
        let flags = mode | self.preference.bits();
        let mut out = vec![ADVERTISEMENT, 0, 0, 0, HOP_LIMIT, flags];
        out.extend(ROUTER_LIFETIME_S.to_be_bytes());
        // Reachable time and retransmission timer: not said.
        out.extend([0; 8]);
        out.extend([1, 1]);
        out.extend(self.mac.octets());
        if let Some(mtu) = self.mtu {
            out.extend([5, 1, 0, 0]);
            out.extend(mtu.to_be_bytes());
        }
        for prefix in &self.prefixes {
            let flags = match self.mode {
                AddressMode::Stateful => ON_LINK,
                _ => ON_LINK | AUTONOMOUS,
            };
            out.extend([3, 4, prefix.prefix_len(), flags]);
            out.extend(FOREVER.to_be_bytes());
            out.extend(FOREVER.to_be_bytes());
            out.extend([0; 4]);
            out.extend(octets(*prefix));
        }
        if !self.servers.is_empty() {
            let units = u8::try_from(2 * self.servers.len() + 1).unwrap_or(u8::MAX);
            out.extend([25, units, 0, 0]);
            out.extend(FOREVER.to_be_bytes());
            let room = usize::from(units / 2);
            out.extend(self.servers.iter().take(room).flat_map(Ipv6Addr::octets));
        }
        self.put_domains(&mut out);
        for route in &self.routes {
            let length = route.network.prefix_len();
            let bytes = usize::from(length.div_ceil(64)) * 8;
            out.extend([24, 1 + length.div_ceil(64), length]);
            out.push(route.preference.bits());
            out.extend(FOREVER.to_be_bytes());
            out.extend(&octets(route.network)[..bytes]);
        }
        out
    }

    /// Those domains for which one option has room.
    fn put_domains(&self, out: &mut Vec<u8>) {
        let mut names = Vec::new();
        for domain in &self.domains {
            let Some(name) = labels(domain) else {
                continue;
            };
            if 8 + names.len() + name.len() <= usize::from(u8::MAX) * 8 {
                names.extend(name);
            }
        }
        if names.is_empty() {
            return;
        }
        names.resize(names.len().next_multiple_of(8), 0);
        let units = 1 + names.len() / 8;
        out.extend([31, u8::try_from(units).unwrap_or(u8::MAX), 0, 0]);
        out.extend(FOREVER.to_be_bytes());
        out.extend(names);
    }
}

fn octets(network: Cidr) -> [u8; 16] {
    match network.network().addr() {
        IpAddr::V6(ip) => ip.octets(),
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
    }
}

/// A domain as labels, each behind its length (RFC 1035, section 3.1); none if it is not one.
fn labels(domain: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for label in domain.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok()?;
        if !(1..=63).contains(&length) {
            return None;
        }
        out.push(length);
        out.extend(label.as_bytes());
    }
    out.push(0);
    (out.len() <= 255).then_some(out)
}

/// The answer to a solicitation: the addresses stay as they are, for the pipeline to turn around.
///
/// # Errors
/// If the frame is no solicitation.
pub fn reply(frame: &Frame<'_>, message: &[u8]) -> Result<Vec<u8>, FrameError> {
    let (Some((source, destination)), Some(TransportSlice::Icmpv6(icmp))) =
        (frame.ips(), frame.transport())
    else {
        return Err(FrameError::Missing("a router solicitation"));
    };
    if (icmp.type_u8(), icmp.code_u8()) != (SOLICITATION, 0) {
        return Err(FrameError::Missing("a router solicitation"));
    }
    let (ether_type, packet) = discovery(source, destination, message)?;
    Ok(frame.with_network(frame.eth_src(), frame.eth_dst(), ether_type, &packet))
}

/// An advertisement to all nodes, from the router's MAC and link-local address.
///
/// # Errors
/// If the message is too long.
pub fn to_all(mac: Mac, source: Ipv6Addr, message: &[u8]) -> Result<Vec<u8>, FrameError> {
    let (ether_type, packet) = discovery(source.into(), ALL_NODES.into(), message)?;
    let mut frame = Mac::for_ip6_multicast(ALL_NODES).octets().to_vec();
    frame.extend(mac.octets());
    frame.extend(ether_type.0.to_be_bytes());
    frame.extend(packet);
    Ok(frame)
}

fn discovery(
    source: IpAddr,
    destination: IpAddr,
    message: &[u8],
) -> Result<(EtherType, Vec<u8>), FrameError> {
    let mut message = message.to_vec();
    if message.len() < 4 {
        return Err(FrameError::Missing("an advertisement"));
    }
    let sum = transport_checksum(source, destination, IpNumber::IPV6_ICMP, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ip_packet(
        source,
        destination,
        IpNumber::IPV6_ICMP,
        HOP_LIMIT,
        &message,
    )
}

#[cfg(test)]
mod tests;
