//! Symmetric replies: what came in by a route's next hop is answered by way of that next hop (`ecmp_symmetric_reply`).
//!
//! Arrives: packets of which is known whether they are for the router, and packets with a route. Guarantees that a reply to a
//! connection that came in by the port of such a route, from hosts of its prefix, goes out by that port and to the MAC that the
//! connection's packets came from last, whatever route or policy else is for it.
//!
//! | stage | what happens there |
//! | --- | --- |
//! | `lr_in_defrag` | packets from and to the prefix are looked up as connections |
//! | `lr_in_ip_routing_pre` | from the prefix, not a reply: the connection remembers port and MAC, unless it does already |
//! | `lr_in_ip_routing` | a reply of a connection that remembers the port: out by it, unless its next hop is dead (`next_hops`) |
//! | `lr_in_policy` | such a reply: no policy is for it |
//! | `lr_in_arp_resolve` | such a reply: the MAC that the connection remembers |
//!
//! A connection that moves to another next hop is told by its next packet, so nothing has to be learned beside the connection
//! itself. Each chassis has connections of its own: what comes in on one and is answered on another is routed as if nothing
//! had come in, which is why the option is for routers with `options:chassis`; elsewhere it is ignored.
//!
//! That a connection remembers already what its packet says can be known for next hops whose MAC is known (`next_hops`); packets
//! of others have it remembered again.

use addr::Cidr;
use lflow::{Expr, Int, Symbol, a, m};

use super::ports::View;
use super::routes::{TABLE, table_number};
use super::{ROUTERS, ROUTERS_NAME};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::segments;

const IS_REPLY: Bits = Bits::bit(
    "the packet goes back to the next hop that its connection came from",
    Symbol::Reg9,
    13,
    Stage::RouterInRouting,
    Stage::RouterInNeighbours,
);
/// What the connection remembers is not followed: its next hop is dead.
pub const IS_DEAD: Bits = Bits::bit(
    "the next hop that the connection came from is dead: it goes where routes say",
    Symbol::Reg9,
    14,
    Stage::RouterInRouting,
    Stage::RouterInRouting,
);
const ALL_OF_LABEL: Bits = Bits::wide(
    "the label of the connection, for a moment",
    Symbol::Xxreg1,
    Stage::RouterInNeighbours,
    Stage::RouterInNeighbours,
)
.put_back();

const LOOK_UP: Rule = Rule::new(
    Stage::RouterInDefrag,
    90,
    "from or to the prefix of a route with symmetric replies: look the connection up",
);
const REMEMBER: Rule = Rule::new(
    Stage::RouterInRoutingPre,
    200,
    "from the prefix of a route with symmetric replies, by its port: the connection remembers port and MAC; as for the port",
);
const REPLY: Rule = Rule::new(
    Stage::RouterInRouting,
    10_300,
    "a reply to a connection that came in by a port of a route with symmetric replies: out by that port",
);
const NO_POLICY: Rule = Rule::new(
    Stage::RouterInPolicy,
    65_535,
    "a reply that goes back to its next hop: next",
);
const HOP: Rule = Rule::new(
    Stage::RouterInNeighbours,
    200,
    "a reply that goes back to its next hop: the MAC that its connection remembers",
);

/// The feature.
pub static FEATURE: Feature = Feature {
    kinds: &[&SHARED],
    rules: &[LOOK_UP, REMEMBER, REPLY, NO_POLICY, HOP],
    bits: &[IS_REPLY, IS_DEAD, ALL_OF_LABEL],
    ..Feature::new("symmetric replies")
};

static SHARED: Kind = Kind {
    name: "routers",
    over: Over::Shared(&ROUTERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&ROUTERS, (), ROUTERS_NAME, None);
        flows.add(NO_POLICY, &IS_REPLY.is_set(), [a::next()]);
        let label = ALL_OF_LABEL.field();
        // `ct_label` is read as a whole, for switches that cannot read parts of it.
        let hop = [
            a::push(label),
            a::copy(label, Symbol::CtLabel),
            a::copy(Symbol::EthDst, Symbol::Xxreg1.bits(32, 79)),
            a::pop(label),
            a::next(),
        ];
        flows.add(HOP, &IS_REPLY.is_set(), hop);
    },
};

/// What a route with symmetric replies is for.
#[derive(Debug, Clone, Copy)]
pub struct Symmetric {
    /// Whoever is answered by it, or answers, if it is by source.
    pub prefix: Cidr,
    /// The route is chosen by the source of packets.
    pub is_by_source: bool,
    /// The number of the table that it is in.
    pub table: Int,
}

impl Symmetric {
    /// Packets that come from where it leads, and those that go there.
    fn ways(&self) -> [Expr; 2] {
        let mut ways = [m::ip_src_in(self.prefix), m::ip_dst_in(self.prefix)];
        if self.is_by_source {
            ways.reverse();
        }
        ways
    }
}

/// Says the flows of such a route, which leads out by the port. Routes by one port to one prefix have them in common.
pub fn say(unit: &mut Unit<'_>, view: &View<'_>, route: Symmetric) {
    let port = Int::new(view.binding.key.into());
    let [from, to] = route.ways();
    let here = m::inport(view.port.name.clone()) & from;
    let mut flows = unit.flows(view.datapath.uuid, None);
    for looked_up in [&here, &to] {
        flows.add_common(LOOK_UP, looked_up, [a::ct_next()]);
    }
    let is_no_reply = !m::is(Symbol::CtRpl) & (m::is(Symbol::CtNew) | m::is(Symbol::CtEst));
    let remember = [
        a::ct_commit([
            a::copy(Symbol::CtLabelEcmpReplyEth, Symbol::EthSrc),
            a::set(Symbol::CtMarkEcmpReplyPort, port),
        ]),
        a::set(TABLE.field(), port_table(view)),
        a::next(),
    ];
    flows.add_common(REMEMBER, &(here & is_no_reply), remember);
    let is_reply = m::is(Symbol::CtRpl) & m::eq(Symbol::CtMarkEcmpReplyPort, port);
    let is_reply = is_reply & m::eq(TABLE.field(), route.table) & !IS_DEAD.is_set() & to;
    let back = [
        a::decrement_ttl(),
        segments::set_segment(0, route.prefix.addr()),
        a::set(Symbol::EthSrc, view.port.mac),
        a::set_outport(view.port.name.clone()),
        a::loopback(),
        a::set(IS_REPLY.field(), Int::new(1)),
        a::next(),
    ];
    flows.add_common(REPLY, &is_reply, back);
}

/// The table of routes for what comes in by the port.
pub fn port_table(view: &View<'_>) -> Int {
    let name = view.port.route_table.as_deref();
    table_number(name.unwrap_or_default())
}
