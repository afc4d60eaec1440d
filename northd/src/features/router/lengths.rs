//! Packets that are too large for the port that they came by, or would leave by (`options:gateway_mtu`).
//!
//! Guarantees of an admitted packet whose IP length is more than the MTU of the port that it came by that it goes no further, and
//! that its sender is told the MTU, by that port.
//!
//! Arrives: packets with port and next hop. Guarantees that a packet whose IP length is more than its port's MTU goes no
//! further, and that its sender is told the MTU (RFC 1191, RFC 8201) from the address of the port that it came by. The error
//! enters the router again, as if the port that it came by had sent it, and is routed.
//!
//! Three stages, so that the flows are as many as the ports, and not as their pairs: is it too large, from which address is
//! that said, and which MTU.

use lflow::action::{Action, Pipeline, Transform};
use lflow::{Expr, Int, Symbol, a, m};
use relations::{Bucket, Handle};

use super::admission::{AGAIN, ETHERNET, HAS_4, HAS_6, IS_LARGER, SOURCE_4, SOURCE_6};
use super::family::Family;
use super::ports;
use super::{ROUTERS, ROUTERS_NAME};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};

/// The ports of a router that have an MTU.
static LIMITED: Bucket<Handle, (u32, Handle)> = Bucket::new("ports with mtu");

const FROM_4: Bits = Bits::whole(
    "the IPv4 address of the port that a large packet came by",
    Symbol::Reg2,
    Stage::RouterInTooLarge,
    Stage::RouterInLarger,
);
const FROM_6: Bits = Bits::wide(
    "the IPv6 address of the port that a large packet came by, in place of the asker's",
    Symbol::Xxreg1,
    Stage::RouterInTooLarge,
    Stage::RouterInLarger,
);

const ARRIVED: Rule = Rule::new(
    Stage::RouterInInput,
    150,
    "larger than the MTU of the port that it came by: an error with the MTU, back by that port",
);
const CHECK: Rule = Rule::new(
    Stage::RouterInCheckLength,
    50,
    "by a port with an MTU: ask whether it is larger",
);
const NO_LIMIT: Rule = Rule::new(Stage::RouterInCheckLength, 0, "the rest: next");
const CAME_BY: Rule = Rule::new(
    Stage::RouterInTooLarge,
    50,
    "larger: the port's MAC and address, to send an error from; without an address it passes",
);
const NOT_LARGER: Rule = Rule::new(Stage::RouterInTooLarge, 0, "the rest: next");
const ERROR: Rule = Rule::new(
    Stage::RouterInLarger,
    50,
    "larger: an error with the MTU enters the router in its place",
);
const PASS: Rule = Rule::new(Stage::RouterInLarger, 0, "the rest: next");

/// The feature.
pub static FEATURE: Feature = Feature {
    relations: &[&LIMITED],
    kinds: &[&SHARED, &LIMITS, &OF_PORT],
    rules: &[ARRIVED, CHECK, NO_LIMIT, CAME_BY, NOT_LARGER, ERROR, PASS],
    bits: &[FROM_4],
    ..Feature::new("router lengths")
};

static SHARED: Kind = Kind {
    name: "routers",
    over: Over::Shared(&ROUTERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&ROUTERS, (), ROUTERS_NAME, None);
        // What it was on its way in counts no more.
        let anew = [a::set(IS_LARGER.field(), Int::new(0)), a::next()];
        flows.add(NO_LIMIT, &m::any(), anew);
        for rule in [NOT_LARGER, PASS] {
            flows.add(rule, &m::any(), [a::next()]);
        }
    },
};

static LIMITS: Kind = Kind {
    name: "router-port/mtu",
    ..ports::kind!([], [&LIMITED], |unit, view| {
        if view.port.mtu.is_some() && view.port.is_enabled {
            unit.join(&LIMITED, view.router, (view.binding.key, view.row));
        }
    })
};

static OF_PORT: Kind = ports::kind!([&LIMITED], [], |unit, view| {
    if unit.members(&LIMITED, view.router).is_empty() || !view.port.is_enabled {
        return;
    }
    let mut flows = view.flows(unit);
    let came_by = m::inport(view.port.name.clone()) & IS_LARGER.is_set();
    for family in [Family::V4, Family::V6] {
        let here = came_by.clone() & family.is();
        let (source, from) = match family {
            Family::V4 => (view.port.source(true), FROM_4),
            Family::V6 => {
                let link_local = Some(view.port.link_local().into());
                (view.port.source(false).or(link_local), FROM_6)
            }
        };
        let then = match source {
            None => vec![a::set(IS_LARGER.field(), Int::new(0)), a::next()],
            Some(source) => vec![
                a::set(Symbol::EthDst, view.port.mac),
                a::set(from.field(), source),
                a::next(),
            ],
        };
        flows.add(CAME_BY, &here, then);
    }
    let Some(mtu) = view.port.mtu else {
        return;
    };
    let leaves_by = m::outport(view.port.name.clone());
    let check = a::check_pkt_larger(IS_LARGER.field(), mtu.saturating_add(ETHERNET));
    flows.add(
        CHECK,
        &(leaves_by.clone() & AGAIN.is_clear()),
        [check, a::next()],
    );
    for family in [Family::V4, Family::V6] {
        let here: Expr = leaves_by.clone() & IS_LARGER.is_set() & family.is();
        flows.add(ERROR, &here, [error(family, mtu)]);
        let came_by = m::inport(view.port.name.clone()) & IS_LARGER.is_set() & AGAIN.is_clear();
        let (has_source, source) = match family {
            Family::V4 => (HAS_4, SOURCE_4),
            Family::V6 => (HAS_6, SOURCE_6),
        };
        let here = came_by & family.is() & has_source.is_set();
        let here = here & !m::is(Symbol::IpLaterFrag) & !m::eth_mcast();
        flows.add(ARRIVED, &here, [back(family, mtu, source)]);
    }
});

/// The packet becomes an error about itself, and enters the router by the port that it came by.
fn error(family: Family, mtu: u16) -> Action {
    let from = match family {
        Family::V4 => FROM_4,
        Family::V6 => FROM_6,
    };
    let (transform, message) = message(family, mtu);
    let mut then = vec![
        a::set(AGAIN.field(), Int::new(1)),
        a::set(IS_LARGER.field(), Int::new(0)),
        a::copy(family.dst(), family.src()),
        a::copy(family.src(), from.field()),
        a::set(Symbol::IpTtl, Int::new(255)),
    ];
    then.extend(message);
    then.push(a::next_in(
        Pipeline::Ingress,
        Stage::RouterInAdmission.table(),
    ));
    a::within(transform, then)
}

/// The packet becomes an error about itself, and leaves by the port that it came by.
fn back(family: Family, mtu: u16, source: Bits) -> Action {
    let (transform, mut then) = message(family, mtu);
    then.extend([
        a::exchange(Symbol::EthDst, Symbol::EthSrc),
        a::copy(family.dst(), family.src()),
        a::copy(family.src(), source.field()),
        a::set(Symbol::IpTtl, Int::new(255)),
        a::copy(Symbol::Outport, Symbol::Inport),
        a::loopback(),
        a::output(),
    ]);
    a::within(transform, then)
}

/// What says that a packet is too large, and for which MTU.
fn message(family: Family, mtu: u16) -> (Transform, Vec<Action>) {
    let [kind, code] = family.icmp();
    let (transform, of, with, size) = match family {
        Family::V4 => (Transform::Icmp4Error, 3, 4, Symbol::Icmp4FragMtu),
        Family::V6 => (Transform::Icmp6Error, 2, 0, Symbol::Icmp6FragMtu),
    };
    let message = vec![
        a::set(kind, Int::new(of)),
        a::set(code, Int::new(with)),
        a::set(size, mtu),
    ];
    (transform, message)
}
