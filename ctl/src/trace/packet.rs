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

/// The bit of `ip.frag` that only later fragments have.
const LATER_FRAGMENT: u128 = 1 << 1;
/// `ct.rpl`
const REPLY: u128 = 1 << 3;

/// A packet.
#[derive(Clone, Debug, Default)]
pub struct Packet {
    /// Headers and metadata.
    pub state: State,
    /// Where the connection's first packet was sent to, before translation: known once the packet is tracked.
    pub original: Option<Original>,
    /// Of a later fragment, which has no ports itself: from and to which port the whole is sent. conntrack knows.
    pub ports_of_whole: Option<(u16, u16)>,
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
        self.ports().1
    }

    /// The transport ports that it, or the whole that it is a fragment of, is sent from and to; 0 where there is none.
    pub fn ports(&self) -> (u16, u16) {
        let port = |base| u16::try_from(self.state.get(base)).unwrap_or_default();
        let own = || {
            self.port_fields()
                .map_or((0, 0), |(from, to)| (port(from), port(to)))
        };
        self.ports_of_whole.unwrap_or_else(own)
    }

    /// Of a later fragment, takes the ports out of the packet, where a switch does not see them.
    pub fn hide_ports_of_whole(&mut self) {
        let is_later = self.state.get(Base::IpFrag) & LATER_FRAGMENT != 0;
        let Some((from, to)) = self.port_fields().filter(|_| is_later) else {
            return;
        };
        self.ports_of_whole = Some(self.ports());
        self.state.set(from, 0);
        self.state.set(to, 0);
    }

    /// Sends it somewhere else.
    pub fn set_destination(&mut self, address: IpAddr, port: Option<u16>) {
        match address {
            IpAddr::V4(ip) => self.state.set(Base::Ip4Dst, ip.to_bits().into()),
            IpAddr::V6(ip) => self.state.set(Base::Ip6Dst, ip.to_bits()),
        }
        if let (Some(port), Some((_, field))) = (port, self.port_fields()) {
            match &mut self.ports_of_whole {
                Some((_, to)) => *to = port,
                None => self.state.set(field, port.into()),
            }
        }
    }

    /// Has it come from somewhere else.
    pub fn set_source(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(ip) => self.state.set(Base::Ip4Src, ip.to_bits().into()),
            IpAddr::V6(ip) => self.state.set(Base::Ip6Src, ip.to_bits()),
        }
    }

    fn port_fields(&self) -> Option<(Base, Base)> {
        match self.state.get(Base::IpProto) {
            6 => Some((Base::TcpSrc, Base::TcpDst)),
            17 => Some((Base::UdpSrc, Base::UdpDst)),
            132 => Some((Base::SctpSrc, Base::SctpDst)),
            _ => None,
        }
    }

    /// Takes away what is known of its connection.
    pub fn forget_connection(&mut self) {
        let connection = [
            Base::CtState,
            Base::CtMark,
            Base::CtLabel,
            Base::CtNwProto,
            Base::CtTpSrc,
            Base::CtTpDst,
        ];
        for base in connection {
            self.state.set(base, 0);
        }
        self.original = None;
    }

    /// What the switch knows of its connection once it is tracked, by which flows may ask for that instead of the packet: how it
    /// was begun, given the packet as it was `before` it was translated. An answer goes the other way.
    pub fn remember_connection(&mut self, before: &Packet) {
        let (from, to) = match (before.ports(), self.state.get(Base::CtState) & REPLY) {
            (ports, 0) => ports,
            ((from, to), _) => (to, from),
        };
        let protocol = before.state.get(Base::IpProto);
        self.state.set(Base::CtNwProto, protocol);
        self.state.set(Base::CtTpSrc, from.into());
        self.state.set(Base::CtTpDst, to.into());
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
