//! Routes to addresses of neighbours: what a router has beside the networks of its ports, and the other routers on its switch reach
//! without a route of their own (`NAT.options:add_route`).
//!
//! Arrives: from whoever has such an address, the switch that it is on. Guarantees that each router with a port on that switch
//! sends packets for the address there, as it does for a connected network; one whose ports there have no address of that family is
//! left alone.
//!
//! | stage | what happens there |
//! | --- | --- |
//! | `lr_in_ip_routing` | to the address: the switch and the next hop, which is the address itself; one flow for all routers on the switch |
//! | `lr_in_ip_routing_ecmp` | the router's own port on that switch; one flow for each such port |
//!
//! So an address is one flow however many routers there are, and a router is one however many addresses.

use std::net::IpAddr;
use std::sync::Arc;

use addr::Cidr;
use lflow::{Expr, Field, Int, Symbol, a, m};
use relations::{Bucket, Handle, Relation, Set, Small};
use uuid::Uuid;

use super::links::{PEER, Peer};
use super::ports::{self, View};
use super::routes::{ASKER_4, ASKER_6};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::segments;

/// Who has addresses on a switch that its routers are to reach: rows. Said by those features.
pub static ROUTED: Bucket<Handle, Uuid> = Bucket::new("addresses that neighbours route to");
/// The switches that have some.
static HAS_ROUTED: Relation<Handle, ()> = Relation::new("switch with addresses to route to");
/// The enabled ports of a router on a switch that have an address of IPv4, and of IPv6.
static ENDS_4: Bucket<(Handle, Handle), Uuid> = Bucket::new("ports of IPv4 on a switch");
static ENDS_6: Bucket<(Handle, Handle), Uuid> = Bucket::new("ports of IPv6 on a switch");
/// The routers with such ports on a switch, by the family.
static EXITS: Set<(Handle, u32)> = Set::new("routers that reach a switch");

const BY_SEGMENT: Bits = Bits::bit(
    "the packet goes out by the router's port on the switch of the next hop",
    Symbol::Reg9,
    15,
    Stage::RouterInRouting,
    Stage::RouterInRoutingEcmp,
);

const ROUTE: Rule = Rule::new(
    Stage::RouterInRouting,
    128 * 8 + 6,
    "an address of a neighbour, at 8 × prefix + 6: to its switch",
);
const PORT_OF: Rule = Rule::new(
    Stage::RouterInRoutingEcmp,
    10_000,
    "to a neighbour on the switch of a port: out by that port",
);
/// The feature.
pub static FEATURE: Feature = Feature {
    relations: &[&ROUTED, &HAS_ROUTED, &ENDS_4, &ENDS_6],
    kinds: &[&OF_SWITCH, &END, &OF_PORT],
    rules: &[ROUTE, PORT_OF],
    bits: &[BY_SEGMENT],
    ..Feature::new("routes to neighbours")
};

static OF_SWITCH: Kind = Kind {
    name: "neighbour-routes",
    over: Over::Keys(&ROUTED),
    reads: &[&ROUTED],
    says: &[&HAS_ROUTED],
    wants: &[],
    run: |unit, key| {
        let switch = Handle::unpack(key);
        if !unit.members(&ROUTED, switch).is_empty() {
            unit.say(&HAS_ROUTED, switch, ());
        }
    },
};

static END: Kind = Kind {
    name: "router-port/ends",
    ..ports::kind!([&PEER], [&ENDS_4, &ENDS_6, &EXITS], |unit, view| {
        let Some(Peer::Switch { switch, .. }) = unit.get(&PEER, view.row) else {
            return;
        };
        let uuid = unit.uuid(view.row);
        for (_, ends, family) in sources(view) {
            unit.join(ends, (view.router, *switch), uuid);
            unit.member(&EXITS, (*switch, family), view.datapath.uuid);
        }
    })
};

static OF_PORT: Kind = ports::kind!([&PEER, &HAS_ROUTED, &ENDS_4, &ENDS_6], [], |unit, view| {
    let Some(Peer::Switch {
        switch, segment, ..
    }) = unit.get(&PEER, view.row)
    else {
        return;
    };
    if unit.get(&HAS_ROUTED, *switch).is_none() {
        return;
    }
    let uuid = unit.uuid(view.row);
    for (source, ends, _) in sources(view) {
        // Of several ports on one switch, the first.
        if unit.members(ends, (view.router, *switch)).first() == Some(&uuid) {
            say_port(unit, view, *segment, source);
        }
    }
});

/// The addresses that an enabled port speaks from, one of each family, with where such ports and their routers are.
fn sources(
    view: &View<'_>,
) -> impl Iterator<Item = (IpAddr, &'static Bucket<(Handle, Handle), Uuid>, u32)> {
    let port = Arc::clone(view.port);
    [true, false].into_iter().filter_map(move |is_ip4| {
        let source = port.source(is_ip4).filter(|_| port.is_enabled)?;
        let ends = if is_ip4 { &ENDS_4 } else { &ENDS_6 };
        Some((source, ends, family(source)))
    })
}

fn family(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { 4 } else { 6 }
}

fn say_port(unit: &mut Unit<'_>, view: &View<'_>, segment: u32, source: IpAddr) {
    let port = view.port;
    let asker: Field = match source {
        IpAddr::V4(_) => ASKER_4.field(),
        IpAddr::V6(_) => ASKER_6.field(),
    };
    let here: Expr = BY_SEGMENT.is_set() & segments::is_in(segment, source);
    let out = [
        a::set(asker, source),
        a::set(Symbol::EthSrc, port.mac),
        a::set_outport(port.name.clone()),
        a::loopback(),
        a::next(),
    ];
    view.flows(unit).add(PORT_OF, &here, out);
}

/// Says the route to an address on a switch, for all routers there. `port` is the router's port that has it.
pub fn say(unit: &mut Unit<'_>, (switch, segment): (Handle, u32), port: Handle, ip: IpAddr) {
    let (switch_uuid, hint) = (unit.uuid(switch), unit.uuid(port));
    let name = format!("ip{} routers of {switch_uuid}", family(ip));
    let mut flows = unit.shared_flows(&EXITS, (switch, family(ip)), &name, Some(hint));
    let length = u16::from(Cidr::host(ip).prefix_len());
    let then = [
        a::decrement_ttl(),
        segments::set_segment(segment, ip),
        a::copy(segments::address(ip), m::ip_dst_field(ip)),
        a::set(BY_SEGMENT.field(), Int::new(1)),
        a::next(),
    ];
    // Rules may share an address.
    flows.add_common(ROUTE.at(length * 8 + 6), &m::ip_dst(ip), then);
}
