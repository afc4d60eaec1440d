//! What switches and routers with load balancers have alike.

use lflow::action::{Action, Balance, BalanceKind, Bare, NatKind, Plain};
use lflow::{Expr, Int, Symbol, a, m};

use super::carriers::{BALANCING_ROUTERS, BALANCING_SWITCHES};
use super::{
    BACK, FLAG, FROM_VIP, IS_HAIRPIN, IS_HAIRPIN_REPLY, KEEP_SOURCE, LOOK_UP_IN, LOOK_UP_OUT,
    MARKED, NO_AFFINITY, NO_BALANCE, NO_DEFRAG, NO_HAIRPIN, NO_LEARN, NO_NAT_HAIRPIN,
    NO_PRE_HAIRPIN, NO_ROUTER_AFFINITY, NO_ROUTER_LEARN, OWN_VIP,
};
use crate::compiler::feature::{Kind, Over};
use crate::features::router::{ROUTERS, ROUTERS_NAME};
use crate::features::switch::{SWITCHES, SWITCHES_NAME};

pub(super) static OF_SWITCHES: Kind = Kind {
    name: "switches",
    over: Over::Shared(&SWITCHES),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&SWITCHES, (), SWITCHES_NAME, None);
        for rule in [
            NO_AFFINITY,
            NO_BALANCE,
            NO_LEARN,
            NO_PRE_HAIRPIN,
            NO_NAT_HAIRPIN,
            NO_HAIRPIN,
        ] {
            flows.add(rule, &m::any(), [a::next()]);
        }
    },
};

pub(super) static OF_ROUTERS: Kind = Kind {
    name: "routers",
    over: Over::Shared(&ROUTERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&ROUTERS, (), ROUTERS_NAME, None);
        for rule in [NO_DEFRAG, NO_ROUTER_AFFINITY, NO_ROUTER_LEARN] {
            flows.add(rule, &m::any(), [a::next()]);
        }
    },
};

pub(super) static OF_BALANCING_SWITCHES: Kind = Kind {
    name: "switches with load balancers",
    over: Over::Shared(&BALANCING_SWITCHES),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let name = "switches with load balancers";
        let mut flows = unit.shared_flows(&BALANCING_SWITCHES, (), name, None);
        for rule in [LOOK_UP_IN, LOOK_UP_OUT] {
            flows.add(rule, &m::ip(), [translate()]);
        }
        let ask = [
            a::ask(IS_HAIRPIN.field(), Bare::ChkLbHairpin),
            a::ask(IS_HAIRPIN_REPLY.field(), Bare::ChkLbHairpinReply),
            a::next(),
        ];
        flows.add(OWN_VIP, &(m::ip() & m::is(Symbol::CtTrk)), ask);
        let is_hairpin = || m::ip() & IS_HAIRPIN.is_set();
        let begins = is_hairpin() & m::is(Symbol::CtNew);
        let from_vip = [a::plain(Plain::CtSnatToVip), a::next()];
        flows.add(FROM_VIP, &begins, from_vip);
        let goes_on = is_hairpin() & m::is(Symbol::CtEst);
        flows.add(FROM_VIP, &goes_on, [snat()]);
        let replies = m::ip() & IS_HAIRPIN_REPLY.is_set();
        flows.add(FROM_VIP.at(90), &replies, [snat()]);
        let back = [
            a::exchange(Symbol::EthDst, Symbol::EthSrc),
            a::copy(Symbol::Outport, Symbol::Inport),
            a::loopback(),
            a::output(),
        ];
        let goes_back = IS_HAIRPIN.is_set() | IS_HAIRPIN_REPLY.is_set();
        flows.add(BACK, &goes_back, back);
    },
};

pub(super) static OF_BALANCING_ROUTERS: Kind = Kind {
    name: "routers with load balancers",
    over: Over::Shared(&BALANCING_ROUTERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let name = "routers with load balancers";
        let mut flows = unit.shared_flows(&BALANCING_ROUTERS, (), name, None);
        let fates = [
            (Symbol::CtMarkSkipSnat, Symbol::FlagsSkipSnatForLb),
            (Symbol::CtMarkForceSnat, Symbol::FlagsForceSnatForLb),
        ];
        for (mark, flag) in fates {
            let marked = m::eq(mark, Int::new(1));
            let remember = || a::set(flag, Int::new(1));
            let goes_on = goes_on() & marked.clone();
            flows.add(FLAG, &goes_on, [remember(), a::next()]);
            let related = is_related() & marked;
            flows.add(FLAG, &related, [remember(), Action::CtCommitNat(None)]);
        }
        flows.add(MARKED, &goes_on(), [a::next()]);
        flows.add(MARKED, &is_related(), [Action::CtCommitNat(None)]);
        let keeps = m::eq(Symbol::FlagsSkipSnatForLb, Int::new(1)) & m::ip();
        flows.add(KEEP_SOURCE, &keeps, [a::next()]);
    },
};

/// Looks a connection up, and translates what belongs to one that was balanced.
pub(super) fn translate() -> Action {
    Action::Balance(Box::new(Balance {
        kind: BalanceKind::CtLbMark,
        backends: Vec::new(),
        template: None,
        hash_fields: None,
        skip_snat: false,
        force_snat: false,
    }))
}

/// Translates back what is a reply.
fn snat() -> Action {
    Action::Nat {
        kind: NatKind::Snat,
        ip: None,
        ports: None,
    }
}

/// Part of a connection that was balanced.
fn goes_on() -> Expr {
    let is_old = m::is(Symbol::CtEst) & !m::is(Symbol::CtRel) & !m::is(Symbol::CtNew);
    is_old & m::eq(Symbol::CtMarkNatted, Int::new(1))
}

/// An error about a connection.
fn is_related() -> Expr {
    m::is(Symbol::CtRel) & !m::is(Symbol::CtEst) & !m::is(Symbol::CtNew)
}
