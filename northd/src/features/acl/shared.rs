//! What switches have alike: those with rules, those that track connections, those with tiers, and all.

use lflow::action::{Action, Transform};
use lflow::{Expr, Int, Symbol, a, m};
use relations::Small;

use super::flows::{commit_nat, is_blocked, is_related, is_reply, pass_certainly, verdict};
use super::owners::{PERSISTING, RULED_SWITCHES, TIERS, TRACKING, tier_of};
use super::settings::{SETTINGS, Settings};
use super::{
    AFTER_LB, ALLOW, DROP, HAS_LABEL_IN, IN, IS_REPLY, LABEL_IN, NUMBER_IN, OUT, PERSISTS_IN,
    Point, REJECT, TIER_IN, VERDICT_IN,
};
use crate::compiler::feature::{Kind, Over};
use crate::compiler::flow::Flows;
use crate::compiler::register::Bits;
use crate::compiler::stage::Stage;
use crate::features::switch::{SWITCHES, SWITCHES_NAME};

/// The packet is looked up for a load balancer, though nothing else of its sort is: that it is part of no known connection says
/// nothing against it.
pub const MAY_BE_REPLY: Bits = Bits::bit(
    "the packet is looked up for a load balancer only",
    Symbol::Reg0,
    16,
    Stage::OutPreAcl,
    Stage::OutAclEval,
);

const RULED_NAME: &str = "switches with acls";
const TRACKING_NAME: &str = "switches with stateful acls";

pub(super) static OF_SWITCHES: Kind = Kind {
    name: "switches",
    over: Over::Shared(&SWITCHES),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&SWITCHES, (), SWITCHES_NAME, None);
        for rule in [
            IN.no_track,
            IN.no_rule,
            AFTER_LB.no_rule,
            AFTER_LB.no_verdict,
            IN.no_commit,
            OUT.no_track,
            OUT.no_rule,
            OUT.no_verdict,
            OUT.no_commit,
        ] {
            flows.add(rule, &m::any(), [a::next()]);
        }
        // The next point begins with the lowest tier again.
        let anew = [a::set(TIER_IN.field(), Int::new(0)), a::next()];
        flows.add(IN.no_verdict, &m::any(), anew);
    },
};

pub(super) static OF_RULED: Kind = Kind {
    name: "switches with acls",
    over: Over::Shared(&RULED_SWITCHES),
    reads: &[&SETTINGS],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let settings = Settings::of(unit);
        let mut flows = unit.shared_flows(&RULED_SWITCHES, (), RULED_NAME, None);
        for point in Point::ALL {
            let kinds = point.kinds();
            flows.add(kinds.certain, &untracked_ip6(), [verdict(ALLOW), a::next()]);
            verdicts(point, &mut flows);
            if settings.drops_by_default {
                flows.add(kinds.cut_by_default, &is_established(), [block()]);
                flows.add(kinds.drop_by_default, &m::any(), [a::drop()]);
            }
        }
    },
};

/// What the verdicts at a point do.
fn verdicts(point: Point, flows: &mut Flows<'_>) {
    let kinds = point.kinds();
    let has = |bit| m::bit(VERDICT_IN.symbol, bit);
    let mut pass: Vec<Action> = Vec::new();
    if point == Point::In {
        // The next point begins anew.
        pass.push(a::set(VERDICT_IN.field(), Int::new(0)));
        pass.push(a::set(TIER_IN.field(), Int::new(0)));
    }
    pass.push(a::next());
    flows.add(kinds.verdict, &has(ALLOW), pass);
    flows.add(kinds.verdict, &has(DROP), [a::drop()]);
    flows.add(kinds.verdict, &has(REJECT), [reject(point)]);
    flows.add(kinds.cut, &(has(DROP) & is_established()), [block()]);
    flows.add(
        kinds.cut,
        &(has(REJECT) & is_established()),
        [block(), reject(point)],
    );
}

/// A reset or an ICMP error goes back to the sender, past the rules of the other direction.
fn reject(point: Point) -> Action {
    let (pipeline, stage) = match point {
        Point::In | Point::AfterLb => (Point::Out.pipeline(), Stage::OutQos),
        Point::Out => (Point::In.pipeline(), Stage::InLookup),
    };
    a::within(
        Transform::Reject,
        [
            // What goes back was let pass by no rule, so its connection gets no label.
            a::set(HAS_LABEL_IN.field(), Int::new(0)),
            a::set(PERSISTS_IN.field(), Int::new(0)),
            a::exchange(Symbol::Outport, Symbol::Inport),
            a::next_in(pipeline, stage.table()),
        ],
    )
}

/// In the direction that began a connection that passes so far.
fn is_established() -> Expr {
    m::is(Symbol::CtEst) & is_blocked(false)
}

/// Nothing of the connection passes from now on.
fn block() -> Action {
    a::ct_commit([a::set(Symbol::CtMarkBlocked, Int::new(1))])
}

/// What keeps IPv6 alive; tracking it does not work.
fn untracked_ip6() -> Expr {
    let kinds = [
        Symbol::Nd,
        Symbol::NdRs,
        Symbol::NdRa,
        Symbol::Mldv1,
        Symbol::Mldv2,
    ];
    Expr::any(kinds.map(m::is))
}

fn dhcp6() -> Expr {
    m::udp_src(546) & m::udp_dst(547)
}

pub(super) static OF_TRACKED: Kind = Kind {
    name: "switches with stateful acls",
    over: Over::Shared(&TRACKING),
    reads: &[&SETTINGS],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let settings = Settings::of(unit);
        let mut flows = unit.shared_flows(&TRACKING, (), TRACKING_NAME, None);
        for point in [Point::In, Point::Out] {
            let kinds = point.kinds();
            flows.add(kinds.untracked, &m::eth_mcast(), [a::next()]);
            flows.add(kinds.untracked, &(untracked_ip6() | dhcp6()), [a::next()]);
            flows.add(kinds.track, &m::ip(), [a::ct_next()]);

            let of_blocked = m::is(Symbol::CtEst) & m::is(Symbol::CtRpl) & is_blocked(true);
            let is_invalid = match point {
                Point::Out => m::is(Symbol::CtInv) & MAY_BE_REPLY.is_clear(),
                _ => m::is(Symbol::CtInv),
            };
            let invalid = match settings.drops_invalid {
                true => is_invalid | of_blocked,
                false => of_blocked,
            };
            flows.add(kinds.certain, &invalid, [verdict(DROP), a::next()]);
            for (belongs, on) in [(is_reply(), a::next()), (is_related(), commit_nat())] {
                // Of two flows that match at one priority, nobody knows which counts.
                let belongs = match settings.drops_invalid {
                    true => belongs & !m::is(Symbol::CtInv),
                    false => belongs,
                };
                let mut then: Vec<Action> = pass_certainly(point == Point::In).collect();
                then.push(on);
                flows.add(kinds.certain, &belongs, then);
            }
            commits(kinds, &mut flows);
        }
        let passes = IS_REPLY.is_set();
        flows.add(AFTER_LB.certain, &passes, [verdict(ALLOW), a::next()]);
    },
};

/// Connections that pass are remembered; those that were blocked are let again.
fn commits(kinds: &super::FlowKinds, flows: &mut Flows<'_>) {
    let pass = || a::set(Symbol::CtMarkBlocked, Int::new(0));
    let is_asked = m::is(Symbol::CtEst) & !m::is(Symbol::CtRpl);
    // A connection that has got a backend is remembered already; of its later packets, the label is.
    let is_new = m::is(Symbol::CtNew) & m::eq(Symbol::CtMarkNatted, Int::new(0));
    let labelled = HAS_LABEL_IN.is_set() & (is_new.clone() | is_asked.clone());
    let label = a::copy(Symbol::CtLabelLabel, LABEL_IN.field());
    flows.add(
        kinds.label,
        &labelled,
        [a::ct_commit([pass(), label]), a::next()],
    );
    let anew = m::ip() & (is_new | (is_asked & is_blocked(true)));
    flows.add(kinds.commit, &anew, [a::ct_commit([pass()]), a::next()]);
}

pub(super) static OF_PERSISTING: Kind = Kind {
    name: "switches with persistent acls",
    over: Over::Shared(&PERSISTING),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let name = "switches with persistent acls";
        let mut flows = unit.shared_flows(&PERSISTING, (), name, None);
        let is_new = m::is(Symbol::CtNew) & m::eq(Symbol::CtMarkNatted, Int::new(0));
        let marks = [
            a::set(Symbol::CtMarkBlocked, Int::new(0)),
            a::set(Symbol::CtMarkAllowEstablished, Int::new(1)),
            a::copy(Symbol::CtLabelAclId, NUMBER_IN.field()),
        ];
        let label = a::copy(Symbol::CtLabelLabel, LABEL_IN.field());
        let labelled = [&marks[..], &[label]].concat();
        for kinds in [&IN, &OUT] {
            let persists = PERSISTS_IN.is_set() & is_new.clone();
            let with = persists.clone() & HAS_LABEL_IN.is_set();
            let then = [a::ct_commit(labelled.clone()), a::next()];
            flows.add(kinds.persist, &with, then);
            let then = [a::ct_commit(marks.clone()), a::next()];
            flows.add(kinds.persist.at(111), &persists, then);
        }
    },
};

pub(super) static OF_TIER: Kind = Kind {
    name: "switches with acl tiers",
    over: Over::Shared(&TIERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let number = u32::unpack(key);
        let Some((point, tier)) = tier_of(number) else {
            return;
        };
        let name = format!("switches with tier {tier} of acls {point:?}");
        let mut flows = unit.shared_flows(&TIERS, number, &name, None);
        let kinds = point.kinds();
        let before = m::eq(TIER_IN.field(), Int::new((tier - 1).into()));
        let ask = [
            a::set(TIER_IN.field(), Int::new(tier.into())),
            a::next_in(point.pipeline(), kinds.rule.stage.table()),
        ];
        flows.add(kinds.next_tier, &before, ask);
    },
};
