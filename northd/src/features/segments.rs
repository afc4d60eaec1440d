//! Segments: a switch with the routers on it, and who in it has which MAC.
//!
//! A switch answers requests for the addresses that it knows, and a router needs the MACs of its next hops. Both are the same
//! question, asked in the stage that has one number in both pipelines: which MAC has this address in this segment? So each
//! known address is one flow for the switch and all routers on it, with one group of datapaths a segment. Who asks puts three
//! things into registers: the segment with the address' family, and the address.
//!
//! Guarantees the groups and says what the registers are; who asks and who answers is elsewhere (`neighbours`, `router`).

use std::net::IpAddr;

use addr::Mac;
use lflow::action::Action;
use lflow::{Expr, Field, Int, Symbol, a, m};
use relations::{Handle, Set, Small};

use super::switch::{DATAPATH, SWITCH};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::flow::Flows;
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;

/// The datapaths of a segment: its switch and the routers on it.
pub static SEGMENT: Set<Handle> = Set::new("segment");
/// The routers alone.
pub static ROUTERS: Set<Handle> = Set::new("routers of a segment");

/// The family of the address that is asked for: set for IPv6.
const FAMILY: u32 = 1 << 31;

const ASKED_SEGMENT: Bits = Bits::whole(
    "the segment in which an address is asked for; bit 31 for IPv6",
    Symbol::Reg8,
    Stage::InAsk,
    Stage::InNeighbours,
);
const ASKED_4: Bits = Bits::whole(
    "the IPv4 address that is asked for",
    Symbol::Reg0,
    Stage::InAsk,
    Stage::InNeighbours,
);
const ASKED_6: Bits = Bits::wide(
    "the IPv6 address that is asked for",
    Symbol::Xxreg0,
    Stage::InAsk,
    Stage::InNeighbours,
);
/// The neighbour that was found is a router, which its advertisement says.
pub const IS_ROUTER: Bits = Bits::bit(
    "the address is a router's",
    Symbol::Reg9,
    5,
    Stage::InNeighbours,
    Stage::InAnswer,
);
const NEXT_SEGMENT: Bits = Bits::whole(
    "the segment of the next hop; bit 31 for IPv6",
    Symbol::Reg8,
    Stage::RouterInRouting,
    Stage::RouterInAsk,
);
const NEXT_HOP_4: Bits = Bits::whole(
    "the next hop, of IPv4",
    Symbol::Reg0,
    Stage::RouterInRouting,
    Stage::RouterInAsk,
);
const NEXT_HOP_6: Bits = Bits::wide(
    "the next hop, of IPv6",
    Symbol::Xxreg0,
    Stage::RouterInRouting,
    Stage::RouterInAsk,
);
const NEXT_IS_ROUTER: Bits = Bits::bit(
    "as in a switch; not read",
    Symbol::Reg9,
    5,
    Stage::RouterInNeighbours,
    Stage::RouterInNeighbours,
);

/// A known address in a switch and the routers on it. What stands in the router's stage is the same flow.
pub const KNOWN: Rule = Rule::new(
    Stage::InNeighbours,
    100,
    "a known address of the segment, also in the routers on it: its MAC",
);

/// The feature.
pub static FEATURE: Feature = Feature {
    kinds: &[&OF_SWITCH],
    rules: &[KNOWN],
    bits: &[
        ASKED_SEGMENT,
        ASKED_4,
        ASKED_6,
        IS_ROUTER,
        NEXT_SEGMENT,
        NEXT_HOP_4,
        NEXT_HOP_6,
        NEXT_IS_ROUTER,
    ],
    ..Feature::new("segments")
};

static OF_SWITCH: Kind = Kind {
    name: "segment",
    over: Over::Keys(&SWITCH),
    reads: &[&DATAPATH],
    says: &[&SEGMENT],
    wants: &[],
    run: |unit, key| {
        let switch = Handle::unpack(key);
        if let Some(datapath) = unit.get(&DATAPATH, switch) {
            unit.member(&SEGMENT, switch, datapath.uuid);
        }
    },
};

/// Where flows of a switch and the routers on it go, for one of its ports.
pub fn flows<'u>(unit: &'u mut Unit<'_>, switch: Handle, port: Handle) -> Flows<'u> {
    let (switch_uuid, hint) = (unit.uuid(switch), unit.uuid(port));
    unit.shared_flows(
        &SEGMENT,
        switch,
        &format!("segment {switch_uuid}"),
        Some(hint),
    )
}

/// Where flows of the routers on a switch go, for one of its ports.
pub fn router_flows<'u>(unit: &'u mut Unit<'_>, switch: Handle, port: Handle) -> Flows<'u> {
    let (switch_uuid, hint) = (unit.uuid(switch), unit.uuid(port));
    unit.shared_flows(
        &ROUTERS,
        switch,
        &format!("routers of {switch_uuid}"),
        Some(hint),
    )
}

/// The segment is this one, and the address is asked for; a segment is the key of its switch.
pub fn is_asked(segment: u32, ip: IpAddr) -> Expr {
    m::eq(Symbol::Reg8, tagged(segment, ip)) & m::eq(address(ip), ip)
}

/// The segment is this one, and an address of this one's family is asked for.
pub fn is_in(segment: u32, ip: IpAddr) -> Expr {
    m::eq(Symbol::Reg8, tagged(segment, ip))
}

/// The segment and the family of the address, to be asked for.
pub fn set_segment(segment: u32, ip: IpAddr) -> Action {
    a::set(Symbol::Reg8, tagged(segment, ip))
}

/// The register of an address of this family.
pub fn address(ip: IpAddr) -> Symbol {
    match ip {
        IpAddr::V4(_) => Symbol::Reg0,
        IpAddr::V6(_) => Symbol::Xxreg0,
    }
}

/// The address that is asked for is of IPv6.
pub fn is_6() -> Expr {
    m::bit(Symbol::Reg8, 31)
}

/// The address that is asked for is of IPv4.
pub fn is_4() -> Expr {
    let family: Field = Symbol::Reg8.bit(31);
    m::eq(family, Int::new(0))
}

/// The MAC of the address.
pub fn answer(mac: Mac, is_router: bool) -> Vec<Action> {
    let router = is_router.then(|| a::set(IS_ROUTER.field(), Int::new(1)));
    [a::set(Symbol::EthDst, mac)]
        .into_iter()
        .chain(router)
        .chain([a::next()])
        .collect()
}

fn tagged(segment: u32, ip: IpAddr) -> Int {
    let family = if ip.is_ipv6() { FAMILY } else { 0 };
    Int::exact((segment | family).into(), lflow::Format::Hex)
}
