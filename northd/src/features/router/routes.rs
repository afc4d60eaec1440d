//! Routes: where a packet goes from here.
//!
//! Arrives: packets that are to be forwarded. Guarantees that of the routes that match, the one of the longest prefix decides:
//! the port, the next hop with its segment, the source for asking for its MAC. A packet without a route is dropped.
//!
//! | route | priority |
//! | --- | --- |
//! | a connected network | 8 × prefix + 6 |
//! | a static route | 8 × prefix + 4 |
//! | a route that a chassis has learned (`dynamic`) | 8 × prefix + 2 |
//! | a static route by source | 8 × prefix |
//!
//! Connected networks are in every table of routes. Link-local destinations go back to the link that the packet came by.

use std::net::IpAddr;

use addr::{Cidr, Mac};
use lflow::action::{Action, Transform};
use lflow::{Field, Int, Symbol, a, m};

use super::links::{PEER, Peer};
use super::own::solicited_node;
use super::ports::{self, IPS, RouterPort, has_network};
use super::{ROUTERS, ROUTERS_NAME};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::flow::Flows;
use crate::compiler::identity;
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::features::segments;

/// The IPv4 address to ask for the next hop's MAC from.
pub const ASKER_4: Bits = Bits::whole(
    "the address to ask for the next hop from, of IPv4",
    Symbol::Reg5,
    Stage::RouterInRouting,
    Stage::RouterInAsk,
);
/// The same of IPv6.
pub const ASKER_6: Bits = Bits::wide(
    "the address to ask for the next hop from, of IPv6",
    Symbol::Xxreg1,
    Stage::RouterInRouting,
    Stage::RouterInAsk,
);

/// Which table of routes is looked in.
pub const TABLE: Bits = Bits::whole(
    "the table of routes; 0 is the main one",
    Symbol::Reg7,
    Stage::RouterInRoutingPre,
    Stage::RouterInRoutingEcmp,
);

const CONNECTED: Rule = Rule::new(
    Stage::RouterInRouting,
    128 * 8 + 6,
    "a network of a port, at 8 × prefix + 6: out by that port, to the destination itself",
);
const MAIN: Rule = Rule::new(Stage::RouterInRoutingPre, 0, "the rest: the main table");
const ASK_HOP: Rule = Rule::new(
    Stage::RouterInAsk,
    200,
    "the MAC of a next hop of IPv6 is not known: solicit it",
);
const DISCOVERY: Rule = Rule::new(
    Stage::RouterInRouting,
    10_550,
    "router solicitations and advertisements: drop",
);
const ONE: Rule = Rule::new(Stage::RouterInRoutingEcmp, 0, "one next hop: next");

/// The feature.
pub static FEATURE: Feature = Feature {
    kinds: &[&SHARED, &OF_PORT],
    rules: &[CONNECTED, MAIN, DISCOVERY, ONE, ASK_HOP],
    bits: &[ASKER_4, ASKER_6, TABLE],
    ..Feature::new("routes")
};

static SHARED: Kind = Kind {
    name: "routers",
    over: Over::Shared(&ROUTERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&ROUTERS, (), ROUTERS_NAME, None);
        let discovery = m::is(Symbol::NdRs) | m::is(Symbol::NdRa);
        flows.add(DISCOVERY, &discovery, [a::drop()]);
        let main = [a::set(TABLE.field(), Int::new(0)), a::next()];
        flows.add(MAIN, &m::any(), main);
        flows.add(ONE, &m::any(), [a::next()]);
    },
};

static OF_PORT: Kind = ports::kind!([&IPS, &ports::NETWORKS, &PEER], [], |unit, view| {
    let port = view.port;
    if !port.is_enabled {
        return;
    }
    let segment = unit.get(&PEER, view.row).map_or(0, Peer::segment);
    let mut networks: Vec<Cidr> = Vec::new();
    let mut routes = Vec::new();
    for cidr in &port.networks {
        let network = cidr.network();
        if !networks.contains(&network) && has_network(unit, view, *cidr) {
            networks.push(network);
            routes.push((network, cidr.addr()));
        }
    }
    let mut flows = view.flows(unit);
    for (network, source) in routes {
        if ports::is_link_local(network.addr()) {
            continue;
        }
        let then = out(port, segment, Next::Destination, source);
        flows.add(connected(network), &m::ip_dst_in(network), then);
    }
    let link_local: Cidr = "fe80::/64".parse().expect("a network");
    let here = m::inport(port.name.clone()) & m::ip_dst_in(link_local);
    let source = port.link_local().into();
    let then = out(port, segment, Next::Destination, source);
    flows.add(connected(link_local), &here, then);
});

fn connected(network: Cidr) -> Rule {
    CONNECTED.at(u16::from(network.prefix_len()) * 8 + 6)
}

/// The number of a table of routes, from its name alone. The main one is 0.
pub fn table_number(name: &str) -> Int {
    if name.is_empty() {
        return Int::new(0);
    }
    let hash = identity::derive(&[b"route table", name.as_bytes()]);
    Int::new(u128::from(hash.as_fields().0 | 1))
}

/// A next hop of IPv6 is asked for by its own solicitation: the packet itself is for somebody else, and what controllers make of
/// it alone would go to the group of that one.
pub fn ask(flows: &mut Flows<'_>, hop: IpAddr) {
    let IpAddr::V6(ip) = hop else {
        return;
    };
    let group = solicited_node(ip);
    let unknown = m::eth_dst(Mac::ZERO) & segments::is_6() & m::eq(Symbol::Xxreg0, hop);
    let solicitation = a::within(
        Transform::NdNs,
        [
            a::set(Symbol::EthDst, Mac::for_ip6_multicast(group)),
            a::set(Symbol::Ip6Dst, group),
            a::set(Symbol::NdTarget, ip),
            a::output(),
        ],
    );
    flows.add_common(ASK_HOP, &unknown, [solicitation]);
}

/// The next hop of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The destination of the packet, of the family of the source.
    Destination,
    /// A router.
    Hop(IpAddr),
}

/// The packet goes on to a port, one hop older; `source` is who asks for the next hop's MAC.
pub fn out(port: &RouterPort, segment: u32, next: Next, source: IpAddr) -> Vec<Action> {
    let mut actions = vec![a::decrement_ttl()];
    actions.extend(towards(port, segment, next, source));
    actions.push(a::next());
    actions
}

/// A port and a next hop are put where later stages look for them.
pub fn towards(port: &RouterPort, segment: u32, next: Next, source: IpAddr) -> Vec<Action> {
    let family = match next {
        Next::Destination => source,
        Next::Hop(hop) => hop,
    };
    let hop = segments::address(family);
    let asker: Field = match source {
        IpAddr::V4(_) => ASKER_4.field(),
        IpAddr::V6(_) => ASKER_6.field(),
    };
    vec![
        segments::set_segment(segment, family),
        match next {
            Next::Destination => a::copy(hop, m::ip_dst_field(family)),
            Next::Hop(ip) => a::set(hop, ip),
        },
        a::set(asker, source),
        a::set(Symbol::EthSrc, port.mac),
        a::set_outport(port.name.clone()),
        a::set(Symbol::FlagsLoopback, Int::new(1)),
    ]
}
