//! The MAC of the next hop.
//!
//! Arrives: packets with port and next hop. Guarantees that a packet leaves with the MAC of its next hop. Known addresses of the
//! segment are flows that switch and routers share (`segments`); so are the addresses of a router at the other end of a
//! direct link, which stand here. Of the rest, controllers know what was learned or declared (`learning`). Whom nobody knows
//! is asked: the packet becomes the request, and controllers keep it until the answer comes.

use addr::Mac;
use lflow::action::{Function, Transform};
use lflow::{Int, Symbol, a, m};

use super::links::{PEER, Peer};
use super::ports;
use super::routes::ASKER_4;
use super::{ROUTERS, ROUTERS_NAME};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::stage::{Rule, Stage};
use crate::features::segments;

const GROUP: Rule = Rule::new(Stage::RouterInNeighbours, 500, "to a group: next");
const PEER_OF: Rule = Rule::new(
    Stage::RouterInNeighbours,
    100,
    "an address of the router at the other end: its MAC",
);
const LEARNED: Rule = Rule::new(
    Stage::RouterInNeighbours,
    1,
    "the rest: look among learned and declared neighbours",
);
const ASK: Rule = Rule::new(Stage::RouterInAsk, 100, "no MAC is known: ask for it");
const STUCK: Rule = Rule::new(
    Stage::RouterInAsk,
    50,
    "no MAC is known and none can be asked for: drop",
);
const OUT: Rule = Rule::new(Stage::RouterInAsk, 0, "the rest: out");

/// The feature.
pub static FEATURE: Feature = Feature {
    kinds: &[&SHARED, &OF_PORT],
    rules: &[GROUP, PEER_OF, LEARNED, ASK, STUCK, OUT],
    ..Feature::new("next hops")
};

static SHARED: Kind = Kind {
    name: "routers",
    over: Over::Shared(&ROUTERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&ROUTERS, (), ROUTERS_NAME, None);
        let group = m::is(Symbol::Ip4Mcast) | m::is(Symbol::Ip6Mcast);
        flows.add(GROUP, &group, [a::next()]);
        let learned4 = a::call(Function::GetArp, [Symbol::Outport, Symbol::Reg0]);
        flows.add(LEARNED, &segments::is_4(), [learned4, a::next()]);
        let learned6 = a::call(Function::GetNd, [Symbol::Outport, Symbol::Xxreg0]);
        flows.add(LEARNED, &segments::is_6(), [learned6, a::next()]);

        let is_unknown = m::eth_dst(Mac::ZERO);
        let ask4 = a::within(
            Transform::Arp,
            [
                a::set(Symbol::EthDst, Mac::BROADCAST),
                a::copy(Symbol::ArpSpa, ASKER_4.field()),
                a::copy(Symbol::ArpTpa, Symbol::Reg0),
                a::set(Symbol::ArpOp, Int::new(1)),
                a::output(),
            ],
        );
        flows.add(ASK, &(is_unknown.clone() & segments::is_4()), [ask4]);
        let ask6 = a::within(
            Transform::NdNs,
            [a::copy(Symbol::NdTarget, Symbol::Xxreg0), a::output()],
        );
        flows.add(ASK, &(is_unknown.clone() & segments::is_6()), [ask6]);
        flows.add(STUCK, &is_unknown, [a::drop()]);
        flows.add(OUT, &m::any(), [a::output()]);
    },
};

static OF_PORT: Kind = ports::kind!([&PEER], [], |unit, view| {
    let Some(Peer::Router { mac, ips, .. }) = unit.get(&PEER, view.row) else {
        return;
    };
    let here = m::outport(view.port.name.clone());
    let mut flows = view.flows(unit);
    for ip in ips {
        let known = here.clone() & segments::is_asked(0, ip.addr());
        flows.add(PEER_OF, &known, [a::set(Symbol::EthDst, *mac), a::next()]);
    }
});
