//! Packets to the router itself, and packets that pretend to be from it.
//!
//! Arrives: admitted packets. Guarantees that what is for an address of the router, whichever of its ports has it, is marked;
//! so is a request for an address of the port that it came by, if the asker is in that port's network. What is done with
//! marked packets is the same for all routers and stands in `input`.
//!
//! A packet from an address of the router, or from a broadcast address of one of its networks, is dropped, unless the router
//! made it and has it enter again.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use addr::Cidr;
use lflow::{Expr, Int, Symbol, a, m};
use relations::{Bucket, Handle, Set};
use uuid::Uuid;

use super::admission::AGAIN;
use super::ports::{self, IPS, View, has_ip, is_link_local};
use super::{ROUTERS, ROUTERS_NAME};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};

/// The packet is for the router.
pub const TO_ME: Bits = Bits::bit(
    "the packet is for the router itself",
    Symbol::Reg9,
    4,
    Stage::RouterInOwn,
    Stage::RouterInInput,
);

/// The packet asks for the MAC of an address of the router, of IPv6.
pub const ASKED: Bits = Bits::bit(
    "the packet is a solicitation for an address of the router",
    Symbol::Reg9,
    9,
    Stage::RouterInOwn,
    Stage::RouterInInput,
);

/// The NAT rules of a router whose outside address this is: their rows. Said by the feature `nat`.
pub static TRANSLATED: Bucket<(Handle, IpAddr), Uuid> = Bucket::new("translated addresses");
/// The load balancers whose virtual address this address of a router is, and the ports for which it is forced: their rows. Said
/// by them.
pub static BALANCED: Bucket<(Handle, IpAddr), Uuid> = Bucket::new("balanced addresses");
/// The datapaths of routers on one chassis that translate. Said by all who do.
pub static TRANSLATORS: Set<()> = Set::new("translating routers");

const EAST_WEST: Rule = Rule::new(
    Stage::RouterInOwn,
    110,
    "by a gateway port, from an address of it that a NAT rule uses: another chassis has translated it, next",
);
const FORGED: Rule = Rule::new(
    Stage::RouterInOwn,
    100,
    "from an address of the router, or from a broadcast address: drop",
);
const OWN: Rule = Rule::new(
    Stage::RouterInOwn,
    50,
    "to addresses of a port, or an ARP request for one from its network: mark",
);
const SOLICITED: Rule = Rule::new(
    Stage::RouterInOwn,
    60,
    "a solicitation for an address of the port that it came by: mark",
);
const NOBODYS: Rule = Rule::new(
    Stage::RouterInNeighbours,
    150,
    "back to an address of the port, which the router balances or forces: nobody's connection, drop",
);
const OTHERS: Rule = Rule::new(Stage::RouterInOwn, 0, "the rest: next");

/// The feature.
pub static FEATURE: Feature = Feature {
    relations: &[&TRANSLATED, &BALANCED],
    kinds: &[&SHARED, &OF_PORT],
    rules: &[EAST_WEST, FORGED, SOLICITED, OWN, NOBODYS, OTHERS],
    bits: &[TO_ME, ASKED],
    ..Feature::new("router addresses")
};

static SHARED: Kind = Kind {
    name: "routers",
    over: Over::Shared(&ROUTERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&ROUTERS, (), ROUTERS_NAME, None);
        flows.add(OTHERS, &m::any(), [a::next()]);
    },
};

static OF_PORT: Kind = ports::kind!([&IPS, &TRANSLATED, &BALANCED], [], |unit, view| {
    if !view.port.is_enabled {
        return;
    }
    let link_local = Cidr::host(view.port.link_local().into());
    let networks = view.port.networks.iter().copied();
    let owned: Vec<Cidr> = networks
        .chain([link_local])
        .filter(|cidr| has_ip(unit, view, cidr.addr()))
        .collect();
    let is_translated: Vec<bool> = owned
        .iter()
        .map(|cidr| {
            let rules = unit.members(&TRANSLATED, (view.router, cidr.addr()));
            !rules.is_empty()
        })
        .collect();
    // Between guests, one without an address of its own outside and one with, what the gateway's chassis has translated comes in
    // at the other's.
    let pairs = owned.iter().zip(&is_translated);
    let translated = pairs.filter(|(cidr, is)| **is && cidr.is_ipv4() && view.is_gateway());
    let translated: Vec<IpAddr> = translated.map(|(cidr, _)| cidr.addr()).collect();
    let balanced = owned.iter().map(|cidr| cidr.addr());
    let balanced: Vec<IpAddr> = balanced
        .filter(|ip| !unit.members(&BALANCED, (view.router, *ip)).is_empty())
        .collect();
    let mut flows = view.flows(unit);
    let mut seen: Vec<IpAddr> = Vec::new();
    let mut marked: Vec<Expr> = Vec::new();
    for (cidr, is_translated) in owned.iter().zip(is_translated) {
        if !seen.contains(&cidr.addr()) {
            seen.push(cidr.addr());
            let is_balanced = balanced.contains(&cidr.addr());
            if is_balanced {
                let name = &view.port.name;
                let stays = m::inport(Arc::clone(name)) & m::outport(Arc::clone(name));
                flows.add(NOBODYS, &(stays & m::ip_dst(cidr.addr())), [a::drop()]);
            }
            marked.push(own(view, *cidr, is_translated || is_balanced));
            if let IpAddr::V6(ip) = cidr.addr() {
                let asked = [a::set(ASKED.field(), Int::new(1)), a::next()];
                flows.add(SOLICITED, &solicitation(view, ip), asked);
            }
        }
    }
    if let Some(own) = marked.into_iter().reduce(|all, own| all | own) {
        flows.add(OWN, &own, [a::set(TO_ME.field(), Int::new(1)), a::next()]);
    }
    for ip in translated {
        let here = m::inport(view.port.name.clone()) & m::ip_src(ip);
        flows.add(EAST_WEST, &here, [a::next()]);
    }
    let mut forged: Vec<IpAddr> = Vec::new();
    for cidr in owned.iter().filter(|cidr| cidr.is_ipv4()) {
        forged.push(cidr.addr());
        let broadcast = cidr.broadcast().map(IpAddr::V4);
        forged.extend(broadcast.filter(|ip| *ip != cidr.addr()));
    }
    forged.sort_unstable();
    forged.dedup();
    if !forged.is_empty() {
        let others = AGAIN.is_clear();
        let forged = m::one_of(Symbol::Ip4Src, forged);
        flows.add(FORGED, &(forged & others), [a::drop()]);
    }
});

/// To an address of the port; or a request for it that comes by this port. Of what comes to an address that is also that of a
/// NAT rule, only pings are for the router.
fn own(view: &View<'_>, cidr: Cidr, is_translated: bool) -> Expr {
    let ip = cidr.addr();
    let ping = match ip {
        IpAddr::V4(_) => m::eq(Symbol::Icmp4Type, Int::new(8)),
        IpAddr::V6(_) => m::eq(Symbol::Icmp6Type, Int::new(128)),
    };
    let to = match is_translated {
        true => m::ip_dst(ip) & ping,
        false => m::ip_dst(ip),
    };
    let here = m::inport(view.port.name.clone());
    match ip {
        IpAddr::V4(own) => {
            let asker = m::eq(Symbol::ArpSpa, cidr.network());
            to | view.at_home(here & m::arp_op(1) & m::arp_tpa(own) & asker)
        }
        IpAddr::V6(_) => {
            // Every link of the router may have its own host of this address.
            match is_link_local(ip) {
                true => here & to,
                false => to,
            }
        }
    }
}

/// A solicitation for an address, by the port that has it.
fn solicitation(view: &View<'_>, ip: Ipv6Addr) -> Expr {
    let to = [ip, solicited_node(ip)].map(IpAddr::V6);
    let here = m::inport(view.port.name.clone());
    view.at_home(here & m::nd_ns() & m::one_of(Symbol::Ip6Dst, to) & m::nd_target(ip))
}

/// The group that a solicitation for `ip` is sent to (RFC 4291, section 2.7.1).
pub fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., x, y, z] = ip.octets();
    let low = u16::from_be_bytes([y, z]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(x), low)
}
