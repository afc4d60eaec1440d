//! Which port of a router has an address or a network. Of several that declare one, that with the lowest tunnel key has it: it
//! was there first. The others have a problem.

use std::net::IpAddr;

use addr::Cidr;
use nb_db::tables::LogicalRouterPort;
use relations::{Bucket, Handle, Relation, Set, Small};

use super::{View, is_link_local, kind};
use crate::compiler::feature::{Kind, Over};
use crate::compiler::unit::Unit;

/// The ports of a router that have an address: tunnel key and row. Link-local addresses are of the link alone and not here.
pub static IPS: Bucket<(Handle, IpAddr), (u32, Handle)> = Bucket::new("router ip");
/// The ports of a router that have a network ([`network`]): tunnel key and row.
pub static NETWORKS: Bucket<(Handle, IpAddr), (u32, Handle)> = Bucket::new("router network");

/// The ports that have an address, of all routers: router and row. The same without an order.
pub static HOLDERS: Bucket<IpAddr, (Handle, Handle)> = Bucket::new("holders of an address");
/// There are networks with prefixes of this length ([`length`]).
static OF_LENGTH: Set<u32> = Set::new("networks of a length");
pub(super) static HAS_LENGTH: Relation<u32, ()> = Relation::new("has networks of a length");
/// The lengths of the prefixes that there are: a bit for each, of IPv4 and of IPv6.
pub static LENGTHS: Relation<(), (u32, u128)> = Relation::new("lengths of networks");
/// The ports that have a network ([`network`]), of all routers.
pub static LANS: Bucket<IpAddr, (Handle, Handle)> = Bucket::new("holders of a network");

pub(super) static CLAIMS: Kind = Kind {
    name: "router-port/addresses",
    ..kind!(
        [],
        [&IPS, &NETWORKS, &HOLDERS, &LANS, &OF_LENGTH],
        |unit, view| {
            if !view.port.is_enabled {
                return;
            }
            let claim = (view.binding.key, view.row);
            for cidr in view.port.networks.iter().filter(|cidr| is_shared(**cidr)) {
                unit.join(&IPS, (view.router, cidr.addr()), claim);
                unit.join(&HOLDERS, cidr.addr(), (view.router, view.row));
            }
            for network in networks(view) {
                unit.join(&NETWORKS, (view.router, network), claim);
                unit.join(&LANS, network, (view.router, view.row));
                unit.member(&OF_LENGTH, length(network), unit.uuid(view.row));
            }
        }
    )
};

pub(super) static CHECK: Kind = kind!([&IPS, &NETWORKS], [], |unit, view| {
    let name = view.port.name.clone();
    let mut complaints = unit.complaints::<LogicalRouterPort>(view.row, name);
    let column = LogicalRouterPort::COLUMN.networks.name;
    for cidr in view.port.networks.iter().filter(|_| view.port.is_enabled) {
        let first = first(unit, view, *cidr);
        if let Some(first) = first.filter(|first| *first != view.row) {
            let why = format!(
                "{cidr}: port {} of the same router has this network or address already",
                unit.uuid(first)
            );
            let remedy = "it stays there: give each port a network of its own";
            complaints.text(column, &cidr.to_string(), 0, why, remedy);
        }
    }
    unit.problems(complaints.into_problems());
});

/// Whether a port is the one that has an address among its networks.
pub fn has_ip(unit: &Unit<'_>, view: &View<'_>, ip: IpAddr) -> bool {
    if is_link_local(ip) {
        return true;
    }
    let first = unit.members(&IPS, (view.router, ip)).first();
    first.is_some_and(|(_, port)| *port == view.row)
}

/// Whether a port is the one that has the network of one of its addresses.
pub fn has_network(unit: &Unit<'_>, view: &View<'_>, cidr: Cidr) -> bool {
    first(unit, view, cidr).is_none_or(|first| first == view.row)
}

/// The port of a router in whose network a neighbour is, the longest prefix first. The cost is that of a prefix, not that of
/// the router.
pub fn facing(unit: &Unit<'_>, router: Handle, neighbour: IpAddr) -> Option<Handle> {
    let longest = if neighbour.is_ipv4() { 31 } else { 127 };
    (1..=longest).rev().find_map(|len| {
        let network = network(Cidr::new(neighbour, len)?)?;
        let members = unit.members(&NETWORKS, (router, network));
        members.first().map(|(_, port)| *port)
    })
}

pub(super) static IS_LENGTH: Kind = Kind {
    name: "router-port/length",
    over: Over::Shared(&OF_LENGTH),
    reads: &[],
    says: &[&HAS_LENGTH],
    wants: &[],
    run: |unit, key| unit.say(&HAS_LENGTH, u32::unpack(key), ()),
};

pub(super) static ALL_LENGTHS: Kind = Kind {
    name: "router-port/lengths",
    over: Over::Once,
    reads: &[&HAS_LENGTH],
    says: &[&LENGTHS],
    wants: &[],
    run: |unit, _| {
        let has = |tag: u32, len: &u32| unit.get(&HAS_LENGTH, tag | len).is_some();
        let v4 = (1..32)
            .filter(|len| has(0, len))
            .fold(0, |bits, len| bits | 1u32 << len);
        let v6 = (1..128)
            .filter(|len| has(LENGTH_6, len))
            .fold(0, |bits, len| bits | 1u128 << len);
        unit.say(&LENGTHS, (), (v4, v6));
    },
};

/// In [`OF_LENGTH`], the family.
const LENGTH_6: u32 = 1 << 8;

/// The key of the length of a network ([`network`]).
fn length(network: IpAddr) -> u32 {
    match network {
        IpAddr::V4(ip) => 31 - ip.to_bits().trailing_zeros(),
        IpAddr::V6(ip) => LENGTH_6 | (127 - ip.to_bits().trailing_zeros()),
    }
}

/// The ports of all routers in whose networks an address is, with their routers. The cost is that of a prefix, not that of
/// the routers.
pub fn in_whose_network(unit: &Unit<'_>, ip: IpAddr) -> Vec<(Handle, Handle)> {
    let (v4, v6) = unit.get(&LENGTHS, ()).copied().unwrap_or_default();
    let lengths = if ip.is_ipv4() { v4.into() } else { v6 };
    let lengths = (1..128u8).filter(|len| lengths & (1u128 << len) != 0);
    let networks = lengths.filter_map(|len| network(Cidr::new(ip, len)?));
    let found = networks.flat_map(|network| unit.members(&LANS, network));
    let mut found: Vec<(Handle, Handle)> = found.copied().collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The port that has the network of an address, and the address.
fn first(unit: &Unit<'_>, view: &View<'_>, cidr: Cidr) -> Option<Handle> {
    if !is_shared(cidr) {
        return None;
    }
    let by_ip = unit.members(&IPS, (view.router, cidr.addr())).first();
    let by_network = network(cidr).and_then(|network| {
        let members = unit.members(&NETWORKS, (view.router, network));
        members.first()
    });
    let firsts = by_ip.into_iter().chain(by_network);
    firsts.min().map(|(_, port)| *port)
}

fn is_shared(cidr: Cidr) -> bool {
    !is_link_local(cidr.addr())
}

/// The networks of a port, each once.
fn networks(view: &View<'_>) -> Vec<IpAddr> {
    let shared = view.port.networks.iter().filter(|cidr| is_shared(**cidr));
    let mut networks: Vec<IpAddr> = shared.filter_map(|cidr| network(*cidr)).collect();
    networks.sort_unstable();
    networks.dedup();
    networks
}

/// A network as an address: the highest bit behind the prefix says where the prefix ends. That of a single host is known by
/// its address.
fn network(cidr: Cidr) -> Option<IpAddr> {
    if cidr.is_host() {
        return None;
    }
    let len = u32::from(cidr.prefix_len());
    Some(match cidr.network().addr() {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() | 1 << (31 - len)).into()),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() | 1 << (127 - len)).into()),
    })
}
