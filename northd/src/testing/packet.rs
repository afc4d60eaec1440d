//! Packets, and what port security thinks of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use addr::{Mac, PortSecurity};
use lflow::Base;
use lflow::interp::State;

use super::random::Rng;

/// A frame that a guest may send.
#[derive(Debug, Clone)]
pub struct Packet {
    pub src: Mac,
    pub dst: Mac,
    pub is_tagged: bool,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub enum Content {
    /// An ARP request, from an address, for one.
    Arp(Ipv4Addr, Ipv4Addr),
    /// A neighbour solicitation, from an address, for one.
    Solicitation(Ipv6Addr, Ipv6Addr),
    /// A UDP datagram.
    Ip(IpAddr, IpAddr),
    /// A DHCP request from nobody to everybody.
    Dhcp,
    /// Something else.
    Other,
}

impl Packet {
    /// A packet among few addresses.
    pub fn random(rng: &mut Rng) -> Self {
        let mac = |rng: &mut Rng| {
            Mac([
                2,
                0,
                0,
                0,
                0,
                1 + u8::try_from(rng.below(11)).expect("small"),
            ])
        };
        let ip4 = |rng: &mut Rng| {
            Ipv4Addr::new(10, 0, 0, 1 + u8::try_from(rng.below(11)).expect("small"))
        };
        let ip6 = |rng: &mut Rng| {
            Ipv6Addr::new(
                0xfd00,
                0,
                0,
                0,
                0,
                0,
                0,
                1 + u16::try_from(rng.below(11)).expect("small"),
            )
        };
        let content = match rng.below(10) {
            0..3 => Content::Arp(ip4(rng), ip4(rng)),
            3..5 => Content::Solicitation(ip6(rng), ip6(rng)),
            5 => Content::Dhcp,
            6 => Content::Other,
            7 => Content::Ip(ip6(rng).into(), ip6(rng).into()),
            _ => Content::Ip(ip4(rng).into(), ip4(rng).into()),
        };
        let dst = match &content {
            // Some only ask whether somebody still lives.
            Content::Arp(..) | Content::Solicitation(..) if rng.once_in(4) => mac(rng),
            Content::Arp(..) | Content::Dhcp => Mac::BROADCAST,
            Content::Solicitation(_, target) => Mac::for_ip6_multicast(solicited_node(*target)),
            Content::Ip(..) | Content::Other if rng.once_in(6) => Mac::BROADCAST,
            Content::Ip(..) | Content::Other => mac(rng),
        };
        let src = if rng.once_in(30) {
            Mac([3, 0, 0, 0, 0, 1])
        } else {
            mac(rng)
        };
        Self {
            src,
            dst,
            is_tagged: rng.once_in(12),
            content,
        }
    }

    /// The packet as a switch sees it.
    pub fn state(&self) -> State {
        let state = State::default()
            .with(Base::EthSrc, u128::from(self.src.to_u64()))
            .with(Base::EthDst, u128::from(self.dst.to_u64()))
            .with(Base::VlanTci, if self.is_tagged { 0x1005u128 } else { 0 });
        match &self.content {
            Content::Arp(from, target) => state
                .with(Base::EthType, 0x0806u128)
                .with(Base::ArpOp, 1u128)
                .with(Base::ArpSha, u128::from(self.src.to_u64()))
                .with(Base::ArpSpa, from.to_bits())
                .with(Base::ArpTpa, target.to_bits()),
            Content::Solicitation(from, target) => state
                .with(Base::EthType, 0x86ddu128)
                .with(Base::IpProto, 58u128)
                .with(Base::IpTtl, 255u128)
                .with(Base::Icmp6Type, 135u128)
                .with(Base::Ip6Src, from.to_bits())
                .with(
                    Base::Ip6Dst,
                    if self.dst.is_multicast() {
                        solicited_node(*target).to_bits()
                    } else {
                        target.to_bits()
                    },
                )
                .with(Base::NdTarget, target.to_bits())
                .with(Base::NdSll, u128::from(self.src.to_u64())),
            Content::Ip(IpAddr::V4(from), IpAddr::V4(to)) => udp(state, 1000, 2000)
                .with(Base::EthType, 0x0800u128)
                .with(Base::Ip4Src, from.to_bits())
                .with(Base::Ip4Dst, to.to_bits()),
            Content::Ip(IpAddr::V6(from), IpAddr::V6(to)) => udp(state, 1000, 2000)
                .with(Base::EthType, 0x86ddu128)
                .with(Base::Ip6Src, from.to_bits())
                .with(Base::Ip6Dst, to.to_bits()),
            Content::Dhcp => udp(state, 68, 67)
                .with(Base::EthType, 0x0800u128)
                .with(Base::Ip4Dst, Ipv4Addr::BROADCAST.to_bits()),
            Content::Other | Content::Ip(..) => state.with(Base::EthType, 0x88b5u128),
        }
    }
}

fn udp(state: State, src: u16, dst: u16) -> State {
    state
        .with(Base::IpProto, 17u128)
        .with(Base::IpTtl, 64u128)
        .with(Base::UdpSrc, u128::from(src))
        .with(Base::UdpDst, u128::from(dst))
}

/// RFC 4291, section 2.7.1.
pub fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(0xff02_0000_0000_0000_0000_0001_ff00_0000 | (ip.to_bits() & 0xff_ffff))
}

/// Whether port security lets a sender send, or a receiver get, this packet: a part of the rules, the same for the network
/// and the naive model of it. No entries allow everything.
pub fn allows(security: &[Arc<str>], state: &State, is_sender: bool) -> bool {
    let mut entries = security
        .iter()
        .filter_map(|entry| entry.parse::<PortSecurity>().ok())
        .peekable();
    if entries.peek().is_none() {
        return true;
    }
    let mac = state.get(if is_sender {
        Base::EthSrc
    } else {
        Base::EthDst
    });
    let ip = match state.get(Base::EthType) {
        0x0800 => {
            let base = if is_sender {
                Base::Ip4Src
            } else {
                Base::Ip4Dst
            };
            Some(IpAddr::V4(Ipv4Addr::from_bits(
                u32::try_from(state.get(base)).expect("32 bits"),
            )))
        }
        0x0806 if is_sender => Some(IpAddr::V4(Ipv4Addr::from_bits(
            u32::try_from(state.get(Base::ArpSpa)).expect("32 bits"),
        ))),
        _ => None,
    };
    entries.any(|entry| {
        let addresses = &entry.addresses;
        let may_have = |ip: IpAddr| {
            let mut of_family = addresses
                .ips
                .iter()
                .filter(|cidr| cidr.is_ipv4() == ip.is_ipv4())
                .peekable();
            ip.is_unspecified()
                || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
                || ip.is_multicast()
                || of_family.peek().is_none()
                || of_family.any(|cidr| cidr.addr() == ip)
        };
        u128::from(addresses.mac.to_u64()) == mac && ip.is_none_or(may_have)
    })
}
