//! Access control lists of switches and port groups: which packets pass, by the rules that operators write.
//!
//! Arrives: admitted packets on their way in, and packets on their way out. Guarantees that of the rules of a direction that
//! match, the one of the highest priority in the lowest tier that has a verdict decides; `pass` leaves it to the next tier.
//! Rules with `options:apply-after-lb` are asked once more, behind load balancers. Without a verdict a packet passes, or not,
//! as `NB_Global.options:default_acl_drop` says; that holds for each of the three points where rules are asked.
//!
//! | stage | what happens there |
//! | --- | --- |
//! | `ls_*_pre_acl` | connections are looked up, on switches with a rule `allow-related` |
//! | `ls_*_acl_eval` | the rule that decides leaves its verdict |
//! | `ls_*_acl_action` | the verdict is done: pass, drop, reject; without one, the next tier is asked |
//! | `ls_*_stateful` | connections that pass are remembered |
//!
//! *Connections.* With one rule `allow-related`, all connections of the switch are tracked, in a zone for each port. Replies
//! and ICMP errors of a connection that passes pass without being asked about. The direction that began it is asked about
//! with each packet: when a rule says no to an established connection, the connection is marked (`ct_mark.blocked`), and
//! nothing of it passes until a rule lets it again. So a rule is one flow: whether a connection has to be remembered,
//! forgotten or neither is decided behind, by three flows for all rules. The rest of the switches tracks nothing.
//!
//! Never tracked, and never dropped: neighbour discovery, router solicitations and advertisements, MLD. Never tracked:
//! groups, what comes from or goes to routers and physical networks, DHCPv6, and what a rule `allow-stateless` matches.
//!
//! *Port groups.* A rule of a group is one flow for all switches on which the group has ports (`owners.rs`).
//!
//! *Fragments.* With `acl_ct_translation`, a rule that asks for a protocol with ports is two flows: one for tracked packets, whose
//! connections have protocol and ports, whatever fragment the packet is; and one for the others. Behind load balancers, where packets
//! have backends' ports and connections those that clients wrote, packets are asked all the same.
//!
//! *Sampling* tells collectors of a rule's packets (`samples.rs`); connections may outlive what other rules say (`persistent.rs`).
//! Ports of routers have rules where they say so (`enable_router_port_acl`, `ports.rs`). Network functions are not compiled by this
//! version: setting them is told.

mod flows;
mod model;
mod owners;
mod persistent;
mod ports;
mod samples;
mod settings;
mod shared;
#[cfg(test)]
mod tests;

use lflow::Symbol;
use lflow::action::Pipeline;
use nb_db::tables::{
    Acl, AddressSet, LogicalSwitch, LogicalSwitchPort, Meter, MeterBand, NbGlobal, PortGroup,
    Sample, SampleCollector, SamplingApp,
};
use sb_db::tables as sb;

use super::{matches, meters};
use crate::compiler::feature::{Feature, Source};
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
#[cfg(test)]
use crate::testing::Change;

pub use owners::{HAS_RULES, TRACKED_SETS, track};
pub use ports::{ANSWER, PART, pass_answer};
pub use samples::APPS as SAMPLING_APPS;
pub use shared::MAY_BE_REPLY;

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<Acl>(&[
            Acl::COLUMN.name.index,
            Acl::COLUMN.priority.index,
            Acl::COLUMN.direction.index,
            Acl::COLUMN.r#match.index,
            Acl::COLUMN.action.index,
            Acl::COLUMN.log.index,
            Acl::COLUMN.severity.index,
            Acl::COLUMN.meter.index,
            Acl::COLUMN.label.index,
            Acl::COLUMN.tier.index,
            Acl::COLUMN.sample_new.index,
            Acl::COLUMN.sample_est.index,
        ])
        .keys(&[(
            Acl::COLUMN.options.index,
            &["apply-after-lb", "log-related", "persist-established"],
        )]),
        Source::north::<LogicalSwitch>(&[LogicalSwitch::COLUMN.acls.index]),
        Source::north::<PortGroup>(&[PortGroup::COLUMN.acls.index, PortGroup::COLUMN.name.index]),
        Source::north::<AddressSet>(&[AddressSet::COLUMN.name.index]),
        Source::north::<LogicalSwitchPort>(&[LogicalSwitchPort::COLUMN.name.index]),
        Source::north::<Meter>(&[
            Meter::COLUMN.name.index,
            Meter::COLUMN.unit.index,
            Meter::COLUMN.bands.index,
            Meter::COLUMN.fair.index,
        ]),
        Source::north::<MeterBand>(&[]),
        Source::north::<Sample>(&[
            Sample::COLUMN.collectors.index,
            Sample::COLUMN.metadata.index,
        ]),
        Source::north::<SampleCollector>(&[
            SampleCollector::COLUMN.id.index,
            SampleCollector::COLUMN.name.index,
            SampleCollector::COLUMN.probability.index,
            SampleCollector::COLUMN.set_id.index,
        ]),
        Source::north::<SamplingApp>(&[
            SamplingApp::COLUMN.r#type.index,
            SamplingApp::COLUMN.id.index,
        ]),
        Source::north::<NbGlobal>(&[]).keys(&[(
            NbGlobal::COLUMN.options.index,
            &["acl_ct_translation", "default_acl_drop", "use_ct_inv_match"],
        )]),
        // Written in the name of the feature whose tables they are.
        Source::south::<sb::Meter>(&[]),
        Source::south::<sb::MeterBand>(&[]),
    ],
    indexes: &[
        flows::SWITCHES_OF,
        flows::GROUPS_OF,
        matches::ADDRESS_SETS,
        matches::PORT_GROUPS,
        matches::PORTS,
        meters::BY_NAME,
        samples::APPS,
    ],
    owns: &[&persistent::ROWS],
    pools: &[&persistent::NUMBERS],
    relations: &[
        &model::RULE,
        &settings::SETTINGS,
        &owners::HAS,
        &owners::PROFILE,
        &HAS_RULES,
        &owners::IS_TRACKED,
        &persistent::NUMBER,
        &flows::LOGGED,
    ],
    kinds: &[
        &model::MODEL,
        &settings::READ,
        &persistent::WISH,
        &flows::LABEL,
        &flows::FLOWS,
        &owners::TRAIT,
        &owners::PROFILES,
        &owners::OF_SWITCH,
        &owners::OF_GROUP,
        &owners::RULED,
        &owners::TRACKED,
        &ports::OF_PORT,
        &shared::OF_SWITCHES,
        &shared::OF_RULED,
        &shared::OF_TRACKED,
        &shared::OF_PERSISTING,
        &shared::OF_TIER,
    ],
    rules: &[
        IN.untracked,
        IN.track,
        IN.no_track,
        IN.log_related,
        IN.certain,
        IN.persistent,
        IN.rule,
        IN.no_rule,
        IN.cut,
        IN.verdict,
        IN.next_tier,
        IN.cut_by_default,
        IN.drop_by_default,
        IN.no_verdict,
        IN.label,
        IN.persist,
        IN.commit,
        IN.no_commit,
        IN.stateless,
        AFTER_LB.certain,
        AFTER_LB.rule,
        AFTER_LB.no_rule,
        AFTER_LB.cut,
        AFTER_LB.verdict,
        AFTER_LB.next_tier,
        AFTER_LB.cut_by_default,
        AFTER_LB.drop_by_default,
        AFTER_LB.no_verdict,
        OUT.untracked,
        OUT.track,
        OUT.no_track,
        OUT.log_related,
        OUT.certain,
        OUT.persistent,
        OUT.rule,
        OUT.no_rule,
        OUT.cut,
        OUT.verdict,
        OUT.next_tier,
        OUT.cut_by_default,
        OUT.drop_by_default,
        OUT.no_verdict,
        OUT.label,
        OUT.persist,
        OUT.commit,
        OUT.no_commit,
        OUT.stateless,
        ANSWER,
    ],
    bits: &[
        VERDICT_IN,
        TIER_IN,
        IS_REPLY,
        HAS_LABEL_IN,
        LABEL_IN,
        PERSISTS_IN,
        NUMBER_IN,
        VERDICT_OUT,
        TIER_OUT,
        HAS_LABEL_OUT,
        LABEL_OUT,
        PERSISTS_OUT,
        NUMBER_OUT,
        MAY_BE_REPLY,
    ],
    #[cfg(test)]
    operator: &[Change {
        weight: 8,
        run: tests::change,
    }],
    ..Feature::new("acl")
};

const VERDICT_IN: Bits = Bits::some(
    "the verdict of a rule: bit 16 allows, 17 drops, 18 rejects",
    Symbol::Reg8,
    (16, 3),
    Stage::InAclEval,
    Stage::InAclAfterLbAction,
);
const TIER_IN: Bits = Bits::some(
    "the tier of rules that is asked",
    Symbol::Reg8,
    (30, 2),
    Stage::InAclEval,
    Stage::InAclAfterLbAction,
);
const IS_REPLY: Bits = Bits::bit(
    "part of a connection that passes: rules behind load balancers are not asked",
    Symbol::Reg0,
    17,
    Stage::InAclEval,
    Stage::InAclAfterLbEval,
);
const HAS_LABEL_IN: Bits = Bits::bit(
    "the rule has a label",
    Symbol::Reg0,
    13,
    Stage::InAclEval,
    Stage::InStateful,
);
const LABEL_IN: Bits = Bits::whole(
    "the label of the rule",
    Symbol::Reg3,
    Stage::InAclEval,
    Stage::InStateful,
);
const PERSISTS_IN: Bits = Bits::bit(
    "the connection is to outlive what other rules say",
    Symbol::Reg0,
    20,
    Stage::InAclEval,
    Stage::InStateful,
);
const NUMBER_IN: Bits = Bits::some(
    "the number of the rule that let it pass",
    Symbol::Reg2,
    (16, 16),
    Stage::InAclEval,
    Stage::InStateful,
);
const PERSISTS_OUT: Bits = Bits::bit(
    "the connection is to outlive what other rules say",
    Symbol::Reg0,
    20,
    Stage::OutAclEval,
    Stage::OutStateful,
);
const NUMBER_OUT: Bits = Bits::some(
    "the number of the rule that let it pass",
    Symbol::Reg2,
    (16, 16),
    Stage::OutAclEval,
    Stage::OutStateful,
);
const VERDICT_OUT: Bits = Bits::some(
    "the verdict of a rule: bit 16 allows, 17 drops, 18 rejects",
    Symbol::Reg8,
    (16, 3),
    Stage::OutAclEval,
    Stage::OutAclAction,
);
const TIER_OUT: Bits = Bits::some(
    "the tier of rules that is asked",
    Symbol::Reg8,
    (30, 2),
    Stage::OutAclEval,
    Stage::OutAclAction,
);
const HAS_LABEL_OUT: Bits = Bits::bit(
    "the rule has a label",
    Symbol::Reg0,
    13,
    Stage::OutAclEval,
    Stage::OutStateful,
);
const LABEL_OUT: Bits = Bits::whole(
    "the label of the rule",
    Symbol::Reg3,
    Stage::OutAclEval,
    Stage::OutStateful,
);

/// The lowest bit of the verdict: the packet passes.
const ALLOW: u8 = 16;
/// The packet is dropped.
const DROP: u8 = 17;
/// The packet is dropped, and its sender told.
const REJECT: u8 = 18;
/// Priorities of rules are so much higher as flows: below are the switch's own.
const ABOVE: u16 = 1000;
/// The last tier.
const LAST_TIER: u8 = 3;

/// Where rules are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// `from-lport`.
    In,
    /// `from-lport` with `options:apply-after-lb`.
    AfterLb,
    /// `to-lport`.
    Out,
}

impl Point {
    const ALL: [Self; 3] = [Self::In, Self::AfterLb, Self::Out];

    /// The flows there.
    const fn kinds(self) -> &'static FlowKinds {
        match self {
            Self::In => &IN,
            Self::AfterLb => &AFTER_LB,
            Self::Out => &OUT,
        }
    }

    const fn pipeline(self) -> Pipeline {
        match self {
            Self::In | Self::AfterLb => Pipeline::Ingress,
            Self::Out => Pipeline::Egress,
        }
    }
}

/// The kinds of flows at one of the points. Those of stages that two points share are the same.
struct FlowKinds {
    stateless: Rule,
    untracked: Rule,
    track: Rule,
    no_track: Rule,
    log_related: Rule,
    certain: Rule,
    persistent: Rule,
    rule: Rule,
    no_rule: Rule,
    cut: Rule,
    verdict: Rule,
    next_tier: Rule,
    cut_by_default: Rule,
    drop_by_default: Rule,
    no_verdict: Rule,
    label: Rule,
    persist: Rule,
    commit: Rule,
    no_commit: Rule,
}

/// Where replies and ICMP errors are told of.
const RELATED: u16 = 65_533;
/// Where they are, if they are sampled as those of other rules may be, and logged as well.
const RELATED_LOGGED: u16 = 65_534;
/// Where packets are that are never tracked.
const UNTRACKED: u16 = 55_000;
/// A rule's own priority, and its place above the switch's.
const HIGHEST: u16 = 32_767 + ABOVE;

impl FlowKinds {
    const fn of(pre: Stage, eval: Stage, action: Stage, stateful: Stage) -> Self {
        Self {
            stateless: Rule::new(
                pre,
                HIGHEST,
                "a rule allow-stateless, at its priority + 1000: next",
            ),
            // Above rules allow-stateless, and what load balancers look up all the same.
            untracked: Rule::new(
                pre,
                UNTRACKED,
                "what is never tracked: groups, neighbour discovery, MLD, DHCPv6, ports of routers and physical networks: next",
            ),
            track: Rule::new(
                pre,
                100,
                "on a switch with a rule allow-related, IP: look the connection up",
            ),
            no_track: Rule::new(pre, 0, "the rest: next"),
            log_related: Rule::new(
                eval,
                RELATED,
                "what belongs to a connection with the label or sample of a rule: sample, log, allow; at 65534 both sample and log",
            ),
            certain: Rule::new(
                eval,
                65_532,
                "what no rule is asked about: invalid, of a blocked connection, replies, related, neighbour discovery, MLD",
            ),
            persistent: Rule::new(
                eval,
                65_532,
                "of a connection that a rule persist-established has let pass: allow",
            ),
            rule: Rule::new(
                eval,
                HIGHEST,
                "a rule, at its priority + 1000, in its tier: its verdict",
            ),
            no_rule: Rule::new(eval, 0, "the rest: next"),
            cut: Rule::new(
                action,
                1001,
                "no to an established connection: mark it as blocked as well",
            ),
            verdict: Rule::new(action, 1000, "the verdict: next, drop, or reject"),
            next_tier: Rule::new(
                action,
                500,
                "no verdict, and there are higher tiers: ask the next",
            ),
            cut_by_default: Rule::new(
                action,
                2,
                "no verdict, with default_acl_drop, of an established connection: mark it as blocked",
            ),
            drop_by_default: Rule::new(action, 1, "no verdict, with default_acl_drop: drop"),
            no_verdict: Rule::new(action, 0, "the rest: next"),
            label: Rule::new(
                stateful,
                110,
                "allowed by a rule with a label: remember the connection with it",
            ),
            persist: Rule::new(
                stateful,
                112,
                "a new connection allowed by a rule persist-established, at 111 without a label: remember the rule's number",
            ),
            commit: Rule::new(
                stateful,
                100,
                "a new connection, or one that was blocked: remember that it passes",
            ),
            no_commit: Rule::new(stateful, 0, "the rest: next"),
        }
    }
}

const IN: FlowKinds = FlowKinds::of(
    Stage::InPreAcl,
    Stage::InAclEval,
    Stage::InAclAction,
    Stage::InStateful,
);
const AFTER_LB: FlowKinds = FlowKinds::of(
    Stage::InPreAcl,
    Stage::InAclAfterLbEval,
    Stage::InAclAfterLbAction,
    Stage::InStateful,
);
const OUT: FlowKinds = FlowKinds::of(
    Stage::OutPreAcl,
    Stage::OutAclEval,
    Stage::OutAclAction,
    Stage::OutStateful,
);
