//! Constructors of matches, short because whoever compiles networks writes many of them.
//!
//! ```
//! use lflow::m;
//! let mac: addr::Mac = "02:00:00:00:00:01".parse()?;
//! let ip: std::net::IpAddr = "10.0.0.1".parse()?;
//! let e = m::inport("lsp1") & m::eth_src(mac) & m::ip_src(ip);
//! assert_eq!(e.to_string(), r#"inport == "lsp1" && eth.src == 02:00:00:00:00:01 && ip4.src == 10.0.0.1"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where an address decides, the family decides the field: [`ip_src`] gives `ip4.src` or `ip6.src`. Sets are given as
//! iterators: none gives a match that no packet has, one a plain comparison.

use std::net::IpAddr;

use addr::{Cidr, Mac, MaskedIp};
use smallvec::SmallVec;

use crate::constant::{Constant, Format, Int, Name};
use crate::expr::{Comparison, Expr, Relation};
use crate::symbols::{Field, Symbol};

/// Every packet: `1`.
pub fn any() -> Expr {
    Expr::TRUE
}

/// `field == constant`.
pub fn eq(field: impl Into<Field>, constant: impl Into<Constant>) -> Expr {
    Expr::compare(field.into(), Relation::Eq, constant)
}

/// `field != constant`; for ordinal fields only.
pub fn ne(field: impl Into<Field>, constant: impl Into<Constant>) -> Expr {
    Expr::compare(field.into(), Relation::Ne, constant)
}

/// `field == {constants}`; no constant, no packet.
pub fn one_of<C: Into<Constant>>(
    field: impl Into<Field>,
    constants: impl IntoIterator<Item = C>,
) -> Expr {
    let constants: SmallVec<[Constant; 1]> = constants.into_iter().map(Into::into).collect();
    if constants.is_empty() {
        return Expr::FALSE;
    }
    Expr::Cmp(Comparison {
        field: field.into(),
        relation: Relation::Eq,
        constants,
    })
}

/// `lo <= field <= hi`; for ordinal fields only.
pub fn range(field: impl Into<Field>, lo: impl Into<Constant>, hi: impl Into<Constant>) -> Expr {
    let field = field.into();
    Expr::compare(field, Relation::Ge, lo) & Expr::compare(field, Relation::Le, hi)
}

/// A predicate or one-bit field: `ip4`, `eth.bcast`, `ct.est`.
pub fn is(symbol: Symbol) -> Expr {
    eq(symbol, Int::new(1))
}

/// A bit of a symbol is set: `reg0[3]`.
pub fn bit(symbol: Symbol, bit: u8) -> Expr {
    eq(symbol.bit(bit), Int::new(1))
}

/// `is_chassis_resident("port")`.
pub fn resident(port: impl Into<Name>) -> Expr {
    Expr::Resident(port.into())
}

/// `inport == "name"`.
pub fn inport(name: impl Into<Name>) -> Expr {
    eq(Symbol::Inport, Constant::Str(name.into()))
}

/// `outport == "name"`: a port or a multicast group.
pub fn outport(name: impl Into<Name>) -> Expr {
    eq(Symbol::Outport, Constant::Str(name.into()))
}

/// `inport == {"a", "b"}`.
pub fn inports<N: Into<Name>>(names: impl IntoIterator<Item = N>) -> Expr {
    one_of(
        Symbol::Inport,
        names.into_iter().map(|name| Constant::Str(name.into())),
    )
}

/// `outport == {"a", "b"}`.
pub fn outports<N: Into<Name>>(names: impl IntoIterator<Item = N>) -> Expr {
    one_of(
        Symbol::Outport,
        names.into_iter().map(|name| Constant::Str(name.into())),
    )
}

/// `inport == @group`.
pub fn inport_in(group: impl Into<Name>) -> Expr {
    eq(Symbol::Inport, Constant::PortGroup(group.into()))
}

/// `outport == @group`.
pub fn outport_in(group: impl Into<Name>) -> Expr {
    eq(Symbol::Outport, Constant::PortGroup(group.into()))
}

/// `eth.src == mac`.
pub fn eth_src(mac: Mac) -> Expr {
    eq(Symbol::EthSrc, mac)
}

/// `eth.dst == mac`.
pub fn eth_dst(mac: Mac) -> Expr {
    eq(Symbol::EthDst, mac)
}

/// `eth.type == number`.
pub fn eth_type(number: u16) -> Expr {
    eq(Symbol::EthType, Int::exact(number.into(), Format::Hex))
}

/// `eth.mcast`: the destination is a group, broadcast included.
pub fn eth_mcast() -> Expr {
    is(Symbol::EthMcast)
}

/// `eth.bcast`.
pub fn eth_bcast() -> Expr {
    is(Symbol::EthBcast)
}

/// `vlan.present`.
pub fn vlan_present() -> Expr {
    is(Symbol::VlanPresent)
}

/// `ip`.
pub fn ip() -> Expr {
    is(Symbol::Ip)
}

/// `ip4`.
pub fn ip4() -> Expr {
    is(Symbol::Ip4)
}

/// `ip6`.
pub fn ip6() -> Expr {
    is(Symbol::Ip6)
}

/// `ip4` or `ip6`, whichever `addr` is.
pub fn family(addr: IpAddr) -> Expr {
    is(if addr.is_ipv4() {
        Symbol::Ip4
    } else {
        Symbol::Ip6
    })
}

/// `ip4.src == addr` or `ip6.src == addr`.
pub fn ip_src(addr: IpAddr) -> Expr {
    eq(ip_src_field(addr), addr)
}

/// `ip4.dst == addr` or `ip6.dst == addr`.
pub fn ip_dst(addr: IpAddr) -> Expr {
    eq(ip_dst_field(addr), addr)
}

/// The source is in the network.
pub fn ip_src_in(network: Cidr) -> Expr {
    eq(ip_src_field(network.addr()), network)
}

/// The destination is in the network.
pub fn ip_dst_in(network: Cidr) -> Expr {
    eq(ip_dst_field(network.addr()), network)
}

/// The source agrees with the address under its mask.
pub fn ip_src_masked(addr: MaskedIp) -> Expr {
    eq(ip_src_field(addr.addr()), addr)
}

/// The destination agrees with the address under its mask.
pub fn ip_dst_masked(addr: MaskedIp) -> Expr {
    eq(ip_dst_field(addr.addr()), addr)
}

/// `ip4.src` or `ip6.src`, whichever `addr` is.
pub fn ip_src_field(addr: IpAddr) -> Symbol {
    if addr.is_ipv4() {
        Symbol::Ip4Src
    } else {
        Symbol::Ip6Src
    }
}

/// `ip4.dst` or `ip6.dst`, whichever `addr` is.
pub fn ip_dst_field(addr: IpAddr) -> Symbol {
    if addr.is_ipv4() {
        Symbol::Ip4Dst
    } else {
        Symbol::Ip6Dst
    }
}

/// `ip.proto == number`.
pub fn ip_proto(number: u8) -> Expr {
    eq(Symbol::IpProto, number)
}

/// `ip.ttl == {values}`.
pub fn ip_ttl(values: &[u8]) -> Expr {
    one_of(Symbol::IpTtl, values.iter().copied())
}

/// `arp`.
pub fn arp() -> Expr {
    is(Symbol::Arp)
}

/// `arp.op == op`: 1 a request, 2 a reply.
pub fn arp_op(op: u16) -> Expr {
    eq(Symbol::ArpOp, op)
}

/// `arp.tpa == addr`.
pub fn arp_tpa(addr: std::net::Ipv4Addr) -> Expr {
    eq(Symbol::ArpTpa, addr)
}

/// `arp.spa == addr`.
pub fn arp_spa(addr: std::net::Ipv4Addr) -> Expr {
    eq(Symbol::ArpSpa, addr)
}

/// `nd`: a neighbour solicitation or advertisement.
pub fn nd() -> Expr {
    is(Symbol::Nd)
}

/// `nd_ns`: a neighbour solicitation.
pub fn nd_ns() -> Expr {
    is(Symbol::NdNs)
}

/// `nd_na`: a neighbour advertisement.
pub fn nd_na() -> Expr {
    is(Symbol::NdNa)
}

/// `nd.target == addr`.
pub fn nd_target(addr: std::net::Ipv6Addr) -> Expr {
    eq(Symbol::NdTarget, addr)
}

/// `tcp`.
pub fn tcp() -> Expr {
    is(Symbol::Tcp)
}

/// `udp`.
pub fn udp() -> Expr {
    is(Symbol::Udp)
}

/// `udp.src == port`.
pub fn udp_src(port: u16) -> Expr {
    eq(Symbol::UdpSrc, port)
}

/// `udp.dst == port`.
pub fn udp_dst(port: u16) -> Expr {
    eq(Symbol::UdpDst, port)
}

/// `tcp.dst == port`.
pub fn tcp_dst(port: u16) -> Expr {
    eq(Symbol::TcpDst, port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints() {
        let mac: Mac = "02:00:00:00:00:01".parse().unwrap();
        for (expr, text) in [
            (any(), "1"),
            (any() & arp_op(1), "arp.op == 1"),
            (!eth_mcast(), "!eth.mcast"),
            (!eth_dst(mac), "!(eth.dst == 02:00:00:00:00:01)"),
            (
                (ip4() | ip6()) & inports(["a", "b\""]),
                r#"(ip4 || ip6) && inport == {"a", "b\""}"#,
            ),
            (inports::<&str>([]), "0"),
            (
                range(Symbol::TcpDst, 1u16, 9u16),
                "tcp.dst >= 1 && tcp.dst <= 9",
            ),
            (
                ip_src_in("10.0.0.7/24".parse().unwrap()) & !resident("lsp"),
                "ip4.src == 10.0.0.0/24 && !is_chassis_resident(\"lsp\")",
            ),
            (
                bit(Symbol::Reg0, 3) & eth_type(0x800),
                "reg0[3] && eth.type == 0x800",
            ),
            (inport_in("pg"), "inport == @pg"),
        ] {
            assert_eq!(expr.to_string(), text);
        }
    }
}
