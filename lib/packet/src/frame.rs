//! An Ethernet frame taken apart, and put together again.
//!
//! [`Frame`] is a view of a frame that came from a guest. Replies keep its link header (VLAN tags included) and get a
//! new network packet: [`Frame::with_network`]. Checksums are always calculated anew.

use std::net::{IpAddr, Ipv4Addr};

use addr::Mac;
use etherparse::checksum::Sum16BitWords;
use etherparse::{
    EtherType, IpNumber, Ipv4Header, Ipv6Header, NetSlice, SlicedPacket, TransportSlice, UdpHeader,
    UdpSlice,
};

/// The length of an Ethernet header without tags.
const ETHERNET_LEN: usize = 14;

/// A frame, its headers found and their lengths checked.
#[derive(Clone, Debug)]
pub struct Frame<'p> {
    /// Ethernet header and VLAN tags.
    link: &'p [u8],
    /// All after that, with whatever pads a short frame.
    network: &'p [u8],
    net: Option<NetSlice<'p>>,
    transport: Option<TransportSlice<'p>>,
}

/// A header of either family.
enum IpHeader {
    V4(Ipv4Header),
    V6(Ipv6Header),
}

/// Why bytes are no frame that can be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A header is cut off or contradicts itself.
    #[error("malformed frame: {0}")]
    Malformed(String),
    /// The frame has no packet of the kind that is to be answered.
    #[error("a frame without {0}")]
    Missing(&'static str),
    /// The reply would be too long for its headers.
    #[error("a reply of {0} bytes")]
    TooLong(usize),
    /// To answer is forbidden: RFC 1122, section 3.2.2, RFC 4443, section 2.4, RFC 9293, section 3.5.2.
    #[error("a packet that must not be answered: {0}")]
    Unanswerable(&'static str),
}

impl<'p> Frame<'p> {
    /// Takes a frame apart.
    pub fn parse(bytes: &'p [u8]) -> Result<Self, FrameError> {
        let sliced = SlicedPacket::from_ethernet(bytes)
            .map_err(|error| FrameError::Malformed(error.to_string()))?;
        let tags: usize = sliced
            .link_exts
            .iter()
            .map(etherparse::LinkExtSlice::header_len)
            .sum();
        let (link, network) = bytes
            .split_at_checked(ETHERNET_LEN + tags)
            .ok_or(FrameError::Missing("a network packet"))?;
        Ok(Self {
            link,
            network,
            net: sliced.net,
            transport: sliced.transport,
        })
    }

    /// The Ethernet source.
    pub fn eth_src(&self) -> Mac {
        self.mac_at(6)
    }

    /// The Ethernet destination.
    pub fn eth_dst(&self) -> Mac {
        self.mac_at(0)
    }

    /// The Ethernet type of what follows the link header.
    pub fn ether_type(&self) -> u16 {
        let at = self.link.len() - 2;
        u16::from_be_bytes([self.link[at], self.link[at + 1]])
    }

    /// The outer VLAN tag, if there is one.
    pub fn vlan_tci(&self) -> Option<u16> {
        let tag = self.link.get(14..16)?;
        Some(u16::from_be_bytes([tag[0], tag[1]]))
    }

    /// The network packet and what follows it.
    pub fn network(&self) -> &'p [u8] {
        self.network
    }

    /// The network headers, if it is IP or ARP.
    pub fn net(&self) -> Option<&NetSlice<'p>> {
        self.net.as_ref()
    }

    /// The transport header and what follows, if it is a known one and not in a fragment.
    pub fn transport(&self) -> Option<&TransportSlice<'p>> {
        self.transport.as_ref()
    }

    /// The IP addresses: source, destination.
    pub fn ips(&self) -> Option<(IpAddr, IpAddr)> {
        match self.net.as_ref()? {
            NetSlice::Ipv4(ip) => {
                let header = ip.header();
                Some((
                    header.source_addr().into(),
                    header.destination_addr().into(),
                ))
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header();
                Some((
                    header.source_addr().into(),
                    header.destination_addr().into(),
                ))
            }
            NetSlice::Arp(_) => None,
        }
    }

    /// The UDP datagram, if it is one; in IPv6 only right behind the header.
    pub fn udp(&self) -> Option<&UdpSlice<'p>> {
        match (&self.net, &self.transport) {
            (Some(NetSlice::Ipv4(_)), Some(TransportSlice::Udp(udp))) => Some(udp),
            (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Udp(udp)))
                if ip.header().next_header() == IpNumber::UDP =>
            {
                Some(udp)
            }
            _ => None,
        }
    }

    /// The UDP datagram in IPv4, if it is one.
    pub fn udp4(&self) -> Option<&UdpSlice<'p>> {
        match (&self.net, &self.transport) {
            (Some(NetSlice::Ipv4(_)), Some(TransportSlice::Udp(udp))) => Some(udp),
            _ => None,
        }
    }

    /// The frame with the same link header but these addresses, and another network packet.
    pub fn with_network(
        &self,
        source: Mac,
        destination: Mac,
        ether_type: EtherType,
        network: &[u8],
    ) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.link.len() + network.len());
        bytes.extend(destination.0);
        bytes.extend(source.0);
        bytes.extend(&self.link[12..self.link.len() - 2]);
        bytes.extend(ether_type.0.to_be_bytes());
        bytes.extend(network);
        bytes
    }

    /// The frame with the same headers, except for the IP destination, and another UDP payload.
    pub fn with_udp4_payload(
        &self,
        destination: Ipv4Addr,
        payload: &[u8],
    ) -> Result<Vec<u8>, FrameError> {
        let Some(NetSlice::Ipv4(ip)) = &self.net else {
            return Err(FrameError::Missing("a UDP datagram in IPv4"));
        };
        let mut ip = ip.header().to_header();
        ip.destination = destination.octets();
        self.with_udp(IpHeader::V4(ip), payload)
    }

    /// The frame with the same headers and another UDP payload.
    pub fn with_udp_payload(&self, payload: &[u8]) -> Result<Vec<u8>, FrameError> {
        match &self.net {
            Some(NetSlice::Ipv4(ip)) => {
                self.with_udp(IpHeader::V4(ip.header().to_header()), payload)
            }
            Some(NetSlice::Ipv6(ip)) => {
                self.with_udp(IpHeader::V6(ip.header().to_header()), payload)
            }
            _ => Err(FrameError::Missing("a UDP datagram")),
        }
    }

    /// In IPv4 without a checksum, as OVN's agents answer: it is optional there (RFC 768).
    fn with_udp(&self, ip: IpHeader, payload: &[u8]) -> Result<Vec<u8>, FrameError> {
        let udp = self.udp().ok_or(FrameError::Missing("a UDP datagram"))?;
        let (from, to) = (udp.source_port(), udp.destination_port());
        let too_long = || FrameError::TooLong(payload.len());
        let length = UdpHeader::LEN + payload.len();
        let (ether_type, mut network, udp) = match ip {
            IpHeader::V4(mut ip) => {
                ip.set_payload_len(length).map_err(|_| too_long())?;
                ip.header_checksum = ip.calc_header_checksum();
                let udp = UdpHeader::without_ipv4_checksum(from, to, payload.len());
                (EtherType::IPV4, ip.to_bytes().to_vec(), udp)
            }
            IpHeader::V6(mut ip) => {
                ip.set_payload_length(length).map_err(|_| too_long())?;
                let udp = UdpHeader::with_ipv6_checksum(from, to, &ip, payload);
                (EtherType::IPV6, ip.to_bytes().to_vec(), udp)
            }
        };
        network.extend(udp.map_err(|_| too_long())?.to_bytes());
        network.extend(payload);
        Ok(self.with_network(self.eth_src(), self.eth_dst(), ether_type, &network))
    }

    fn mac_at(&self, at: usize) -> Mac {
        let bytes = self.link[at..at + 6].try_into();
        Mac(bytes.expect("a link header has 14 bytes"))
    }
}

/// A new IP packet, of the family of its addresses: never fragmented, IPv4 without options.
///
/// # Errors
/// If the payload is too long.
///
/// # Panics
/// If the addresses are of different families.
pub fn ip_packet(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpNumber,
    ttl: u8,
    payload: &[u8],
) -> Result<(EtherType, Vec<u8>), FrameError> {
    let too_long = || FrameError::TooLong(payload.len());
    let length = u16::try_from(payload.len()).map_err(|_| too_long())?;
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let (source, destination) = (source.octets(), destination.octets());
            let mut ip = Ipv4Header::new(length, ttl, protocol, source, destination)
                .map_err(|_| too_long())?;
            ip.header_checksum = ip.calc_header_checksum();
            let mut packet = ip.to_bytes().to_vec();
            packet.extend(payload);
            Ok((EtherType::IPV4, packet))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let ip = Ipv6Header {
                payload_length: length,
                next_header: protocol,
                hop_limit: ttl,
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv6Header::default()
            };
            let mut packet = ip.to_bytes().to_vec();
            packet.extend(payload);
            Ok((EtherType::IPV6, packet))
        }
        _ => unreachable!("a packet has addresses of one family"),
    }
}

/// The checksum of a transport segment whose checksum field is zero, the pseudo header of its family included
/// (RFC 9293, section 3.1; RFC 8200, section 8.1).
pub fn transport_checksum(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpNumber,
    segment: &[u8],
) -> u16 {
    let mut sum = Sum16BitWords::new();
    for address in [source, destination] {
        sum = match address {
            IpAddr::V4(address) => sum.add_4bytes(address.octets()),
            IpAddr::V6(address) => sum.add_16bytes(address.octets()),
        };
    }
    sum.add_4bytes([0, 0, 0, protocol.0])
        .add_4bytes((segment.len() as u32).to_be_bytes())
        .add_slice(segment)
        .ones_complement()
        .to_be()
}

#[cfg(test)]
mod tests;
