//! Which port of a router has an address or a network. Of several that declare one, that with the lowest tunnel key has it: it
//! was there first. The others have a problem.

use std::net::IpAddr;

use addr::Cidr;
use nb_db::tables::LogicalRouterPort;
use relations::{Bucket, Handle};

use super::{View, is_link_local, kind};
use crate::compiler::feature::Kind;
use crate::compiler::unit::Unit;

/// The ports of a router that have an address: tunnel key and row. Link-local addresses are of the link alone and not here.
pub static IPS: Bucket<(Handle, IpAddr), (u32, Handle)> = Bucket::new("router ip");
/// The ports of a router that have a network ([`network`]): tunnel key and row.
pub static NETWORKS: Bucket<(Handle, IpAddr), (u32, Handle)> = Bucket::new("router network");

/// The ports that have an address, of all routers: router and row. The same without an order.
pub static HOLDERS: Bucket<IpAddr, (Handle, Handle)> = Bucket::new("holders of an address");
/// The ports that have a network ([`network`]), of all routers.
pub static LANS: Bucket<IpAddr, (Handle, Handle)> = Bucket::new("holders of a network");

pub(super) static CLAIMS: Kind = Kind {
    name: "router-port/addresses",
    ..kind!([], [&IPS, &NETWORKS, &HOLDERS, &LANS], |unit, view| {
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
        }
    })
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

/// The ports of all routers in whose networks an address is, with their routers. The cost is that of a prefix, not that of
/// the routers.
pub fn in_whose_network(unit: &Unit<'_>, ip: IpAddr) -> Vec<(Handle, Handle)> {
    let longest = if ip.is_ipv4() { 31 } else { 127 };
    let networks = (1..=longest).filter_map(|len| network(Cidr::new(ip, len)?));
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
