//! A packet on its way: headers and metadata, and what conntrack knows of its connection.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lflow::Base;
use lflow::interp::State;

/// `eth.type` of IPv4.
pub const IP4: u128 = 0x0800;
/// `eth.type` of IPv6.
pub const IP6: u128 = 0x86dd;
/// `eth.type` of ARP.
pub const ARP: u128 = 0x0806;

/// A packet.
#[derive(Clone, Debug, Default)]
pub struct Packet {
    /// Headers and metadata.
    pub state: State,
    /// Where the connection's first packet was sent to, before translation: known once the packet is tracked.
    pub original: Option<Original>,
}

/// The destination that a connection's first packet had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Original {
    /// Its address.
    pub address: IpAddr,
    /// Its protocol.
    pub protocol: u8,
    /// Its port.
    pub port: u16,
}

impl Packet {
    /// The destination as it is now; nothing if the packet is not IP.
    pub fn destination(&self) -> Option<Original> {
        Some(Original {
            address: self.address(Base::Ip4Dst, Base::Ip6Dst)?,
            protocol: u8::try_from(self.state.get(Base::IpProto)).unwrap_or_default(),
            port: self.destination_port(),
        })
    }

    /// The source address; nothing if the packet is not IP.
    pub fn source(&self) -> Option<IpAddr> {
        self.address(Base::Ip4Src, Base::Ip6Src)
    }

    fn address(&self, ip4: Base, ip6: Base) -> Option<IpAddr> {
        match self.state.get(Base::EthType) {
            IP4 => u32::try_from(self.state.get(ip4))
                .ok()
                .map(|bits| Ipv4Addr::from_bits(bits).into()),
            IP6 => Some(Ipv6Addr::from_bits(self.state.get(ip6)).into()),
            _ => None,
        }
    }

    /// The transport port that it is sent to; 0 if it has none.
    pub fn destination_port(&self) -> u16 {
        let port = self.port_field().map_or(0, |base| self.state.get(base));
        u16::try_from(port).unwrap_or_default()
    }

    /// Sends it somewhere else.
    pub fn set_destination(&mut self, address: IpAddr, port: Option<u16>) {
        match address {
            IpAddr::V4(ip) => self.state.set(Base::Ip4Dst, ip.to_bits().into()),
            IpAddr::V6(ip) => self.state.set(Base::Ip6Dst, ip.to_bits()),
        }
        if let (Some(port), Some(field)) = (port, self.port_field()) {
            self.state.set(field, port.into());
        }
    }

    /// Has it come from somewhere else.
    pub fn set_source(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(ip) => self.state.set(Base::Ip4Src, ip.to_bits().into()),
            IpAddr::V6(ip) => self.state.set(Base::Ip6Src, ip.to_bits()),
        }
    }

    fn port_field(&self) -> Option<Base> {
        match self.state.get(Base::IpProto) {
            6 => Some(Base::TcpDst),
            17 => Some(Base::UdpDst),
            132 => Some(Base::SctpDst),
            _ => None,
        }
    }

    /// Takes away what is known of its connection.
    pub fn forget_connection(&mut self) {
        for base in [Base::CtState, Base::CtMark, Base::CtLabel] {
            self.state.set(base, 0);
        }
        self.original = None;
    }

    /// One of `count`, the same for each packet of a connection, as a switch chooses.
    pub fn choice(&self, count: usize) -> usize {
        let mut hasher = DefaultHasher::new();
        let fields = [
            Base::IpProto,
            Base::Ip4Src,
            Base::Ip4Dst,
            Base::Ip6Src,
            Base::Ip6Dst,
            Base::TcpSrc,
            Base::TcpDst,
            Base::UdpSrc,
            Base::UdpDst,
        ];
        fields.map(|base| self.state.get(base)).hash(&mut hasher);
        usize::try_from(hasher.finish() % count.max(1) as u64).unwrap_or_default()
    }
}
