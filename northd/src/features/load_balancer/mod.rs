//! Load balancers: connections to a virtual address are spread over backends.
//!
//! Arrives: on switches, what their ports send; on routers, what comes to them. Guarantees that a new connection to a virtual
//! address goes to one of its backends, with all its packets and back; that a client which is a backend itself can reach the
//! address (a *hairpin*); that an address without backends drops, rejects or tells, as its options say; and that rules with
//! `apply-after-lb` see the backend. Of the addresses that match, one with a port comes first.
//!
//! ```text
//!   Load_Balancer ── model ──┐
//!                            ├── flows, record, neighbours       a flow for each address, for the sets of its carriers
//!   who names it ── carriers ┘   shared                          a flow for all addresses
//! ```
//!
//! | stage | what happens there |
//! | --- | --- |
//! | `ls_*_pre_acl` | connections are looked up; what belongs to one that was balanced is translated |
//! | `ls_in_l2_lkup` | answers to probes of backends go to the chassis (`health`) |
//! | `l*_in_lb_aff_check`, `l*_in_lb_aff_learn` | a client keeps its backend for a while (`affinity`) |
//! | `lr_in_defrag` | the same for what comes to a virtual address, on routers |
//! | `ls_in_lb`, `lr_in_dnat` | a new connection to a virtual address gets a backend: one flow, for the stage has one number |
//! | `ls_in_*_hairpin` | what has come back to its own sender is from the virtual address, and goes back |
//! | `lr_out_undnat` | by a gateway port, replies are from the virtual address again |
//! | `lr_out_snat` | the client's address is left alone (`skip_snat`); it is forced elsewhere (`force_snat`) |
//!
//! Other routers have routes to virtual addresses with `options:add_route` (`routes`). Rules that are stateless leave load balancers their
//! packets where a switch says so (`untracking`). Backends may have to be on the client's chassis (`distributed`), and routers with several
//! gateway ports may have to do without connections (`stateless_nat`).
//!
//! A switch with load balancers tracks all connections, as one with a rule `allow-related` does. The original destination of
//! a connection is what connection tracking remembers: no register carries it, and controllers read it there, too.

mod affinity;
mod carriers;
mod distributed;
mod endpoint;
mod flows;
mod health;
mod mappings;
mod model;
mod neighbours;
mod record;
mod routes;
mod settings;
mod shared;
mod spread;
mod stateless_nat;
mod templates;
#[cfg(test)]
mod tests;
mod told;
mod untracking;
mod variables;

use lflow::Symbol;
use nb_db::tables::{
    LoadBalancer, LoadBalancerGroup, LoadBalancerHealthCheck, LogicalRouter, LogicalRouterPort,
    LogicalSwitch, LogicalSwitchPort, NbGlobal,
};
use sb_db::tables as sb;

use crate::compiler::feature::{Feature, Source};
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::features::matches;
#[cfg(test)]
use crate::testing::Change;

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<LoadBalancer>(&[
            LoadBalancer::COLUMN.name.index,
            LoadBalancer::COLUMN.vips.index,
            LoadBalancer::COLUMN.protocol.index,
            LoadBalancer::COLUMN.selection_fields.index,
        ])
        .keys(&[(LoadBalancer::COLUMN.options.index, OPTIONS)]),
        Source::north::<LoadBalancer>(&[
            LoadBalancer::COLUMN.health_check.index,
            LoadBalancer::COLUMN.ip_port_mappings.index,
        ]),
        Source::north::<LoadBalancerHealthCheck>(&[LoadBalancerHealthCheck::COLUMN.vip.index])
            .keys(&[(
                LoadBalancerHealthCheck::COLUMN.options.index,
                &["interval", "timeout", "success_count", "failure_count"],
            )]),
        Source::south::<sb::ServiceMonitor>(&[sb::ServiceMonitor::COLUMN.status.index]),
        Source::south::<sb::PortBinding>(&[sb::PortBinding::COLUMN.chassis.index]),
        Source::south::<sb::Chassis>(&[sb::Chassis::COLUMN.name.index]),
        Source::north::<LoadBalancerGroup>(&[
            LoadBalancerGroup::COLUMN.name.index,
            LoadBalancerGroup::COLUMN.load_balancer.index,
        ]),
        Source::north::<LogicalSwitch>(&[
            LogicalSwitch::COLUMN.load_balancer.index,
            LogicalSwitch::COLUMN.load_balancer_group.index,
        ]),
        Source::north::<LogicalSwitch>(&[LogicalSwitch::COLUMN.name.index]).keys(&[(
            LogicalSwitch::COLUMN.other_config.index,
            &["enable-stateless-acl-with-lb"],
        )]),
        Source::north::<LogicalRouter>(&[
            LogicalRouter::COLUMN.load_balancer.index,
            LogicalRouter::COLUMN.load_balancer_group.index,
        ]),
        Source::north::<LogicalRouterPort>(&[]),
        Source::north::<LogicalSwitchPort>(&[LogicalSwitchPort::COLUMN.name.index]).keys(&[(
            LogicalSwitchPort::COLUMN.options.index,
            &["exclude-lb-vips-from-garp"],
        )]),
        Source::north::<NbGlobal>(&[]).keys(&[(
            NbGlobal::COLUMN.options.index,
            &[
                "controller_event",
                "install_ls_lb_from_router",
                "svc_monitor_mac",
            ],
        )]),
        // Written in the name of the feature whose table it is.
        Source::south::<sb::AddressSet>(&[]),
    ],
    indexes: &[
        carriers::GROUPS_OF,
        carriers::SWITCHES_OF,
        carriers::ROUTERS_OF,
        carriers::SWITCHES_WITH,
        carriers::ROUTERS_WITH,
        health::BY_PORT,
        matches::PORTS,
    ],
    owns: &[
        &record::ROWS,
        &record::GROUPS,
        &health::ROWS,
        &settings::COLUMNS,
    ],
    relations: &[
        &model::BALANCER,
        &settings::SETTINGS,
        &carriers::HAS,
        &carriers::ACTS_ON,
        &carriers::HAS_VIPS,
        &carriers::NAMED,
        &carriers::UNTRACKING,
        &carriers::FOLLOWERS,
        &flows::HAS_BACKENDS,
        &routes::CLAIMANTS,
        &stateless_nat::SPEAKERS,
        &health::LIVE,
    ],
    kinds: &[
        &model::MODEL,
        &settings::READ,
        &carriers::IS_THERE,
        &carriers::IN_GROUPS,
        &carriers::OF_SWITCHES,
        &carriers::OF_ROUTERS,
        &carriers::FOLLOW,
        &carriers::GROUPS,
        &carriers::DIRECT,
        &health::HEALTH,
        &flows::FLOWS,
        &flows::GROUP_VIPS,
        &flows::GROUP_BACKENDS,
        &flows::GROUP_LOOKUP,
        &flows::AT_GATEWAYS,
        &flows::AT_GATEWAYS_DIRECT,
        &stateless_nat::FLOWS,
        &stateless_nat::REPLIES,
        &distributed::FLOWS,
        &untracking::FLOWS,
        &record::RECORD,
        &neighbours::CLAIMS,
        &neighbours::NEIGHBOURS,
        &variables::VARIABLES,
        &routes::CLAIM,
        &routes::ROUTES,
        &told::TELL,
        &shared::OF_SWITCHES,
        &shared::OF_ROUTERS,
        &shared::OF_BALANCING_SWITCHES,
        &shared::OF_BALANCING_ROUTERS,
    ],
    rules: &[
        LOOK_UP_IN,
        LOOK_UP_OUT,
        UNTRACKED_IN,
        UNTRACKED_OUT,
        untracking::TO_VIP,
        untracking::FROM_BACKEND,
        untracking::ERROR,
        PROBE_IN,
        PROBE_LATER,
        PROBE_OUT,
        PROBED,
        affinity::CHECK,
        affinity::KEPT,
        affinity::LEARN,
        NO_AFFINITY,
        EMPTY,
        BALANCE,
        NO_BALANCE,
        NO_LEARN,
        OWN_VIP,
        NO_PRE_HAIRPIN,
        FROM_VIP,
        NO_NAT_HAIRPIN,
        BACK,
        NO_HAIRPIN,
        ANSWERED,
        NOBODYS,
        DEFRAG,
        NO_DEFRAG,
        NO_ROUTER_AFFINITY,
        FLAG,
        MARKED,
        NO_ROUTER_LEARN,
        TRANSLATE_BACK,
        stateless_nat::UNTRACKED,
        stateless_nat::CHOOSE,
        stateless_nat::TO_BACKEND,
        stateless_nat::FROM_BACKEND,
        distributed::FROM_OUTSIDE,
        distributed::ADMIT,
        distributed::UNANSWERED,
        distributed::ASKED,
        distributed::DEFRAG,
        distributed::STAYS,
        distributed::TRANSLATE_BACK,
        KEEP_SOURCE,
    ],
    bits: &[
        IS_HAIRPIN,
        IS_HAIRPIN_REPLY,
        affinity::IS_KNOWN,
        affinity::END_4,
        affinity::END_6,
        affinity::VIP_PORT,
        affinity::BACKEND_PORT,
        affinity::LOADED_6,
        affinity::ROUTER_IS_KNOWN,
        affinity::ROUTER_END_4,
        affinity::ROUTER_END_6,
        affinity::ROUTER_VIP_PORT,
        affinity::ROUTER_BACKEND_PORT,
        stateless_nat::CHOSEN,
    ],
    #[cfg(test)]
    operator: &[Change {
        weight: 8,
        run: tests::change,
    }],
    ..Feature::new("load balancers")
};

/// The keys that this feature reads, or that go southbound for controllers to read.
const OPTIONS: &[&str] = &[
    "add_route",
    "address-family",
    "affinity_timeout",
    "ct_flush",
    "distributed",
    "event",
    "hairpin_snat_ip",
    "neighbor_responder",
    "reject",
    "skip_snat",
    "template",
    "use_stateless_nat",
];

const LOOK_UP_IN: Rule = Rule::new(
    Stage::InPreAcl,
    105,
    "on a switch with load balancers, IP: look the connection up, and translate",
);
const LOOK_UP_OUT: Rule = Rule::new(
    Stage::OutPreAcl,
    105,
    "on a switch with load balancers, IP: look the connection up, and translate",
);
const UNTRACKED_IN: Rule = Rule::new(
    Stage::InPreAcl,
    // Above all rules allow-stateless.
    60_000,
    "an answer to a probe of a backend: next",
);
const UNTRACKED_OUT: Rule = Rule::new(Stage::OutPreAcl, 60_000, "a probe of a backend: next");
const PROBE_IN: Rule = Rule::new(
    Stage::InAclEval,
    34_000,
    "an answer to a probe of a backend: allow",
);
const PROBE_LATER: Rule = Rule::new(
    Stage::InAclAfterLbEval,
    34_000,
    "an answer to a probe of a backend: allow",
);
const PROBE_OUT: Rule = Rule::new(Stage::OutAclEval, 34_001, "a probe of a backend: allow");
const PROBED: Rule = Rule::new(
    Stage::InLookup,
    110,
    "an answer to a probe of a backend: to the chassis",
);
const NO_AFFINITY: Rule = Rule::new(Stage::InAffinity, 0, "the rest: next");
const EMPTY: Rule = Rule::new(
    Stage::InBalance,
    130,
    "to a virtual address without backends, with event: tell it; also in routers",
);
const BALANCE: Rule = Rule::new(
    Stage::InBalance,
    120,
    "a new connection to a virtual address, at 110 without a port: one of its backends, or drop or reject; also in routers",
);
const NO_BALANCE: Rule = Rule::new(Stage::InBalance, 0, "the rest: next");
const NO_LEARN: Rule = Rule::new(Stage::InLearnAffinity, 0, "the rest: next");
const OWN_VIP: Rule = Rule::new(
    Stage::InPreHairpin,
    100,
    "on a switch with load balancers: has a packet come back to its own sender?",
);
const NO_PRE_HAIRPIN: Rule = Rule::new(Stage::InPreHairpin, 0, "the rest: next");
const FROM_VIP: Rule = Rule::new(
    Stage::InNatHairpin,
    100,
    "back to its own sender: from the virtual address; a reply, at 90, to the sender's own",
);
const NO_NAT_HAIRPIN: Rule = Rule::new(Stage::InNatHairpin, 0, "the rest: next");
const BACK: Rule = Rule::new(
    Stage::InHairpin,
    1,
    "back to its own sender, or a reply to that: out by the port that it came by",
);
const NO_HAIRPIN: Rule = Rule::new(Stage::InHairpin, 0, "the rest: next");
const ANSWERED: Rule = Rule::new(
    Stage::RouterInOwn,
    40,
    "a request for a virtual address: mark",
);
const NOBODYS: Rule = Rule::new(
    Stage::RouterInNeighbours,
    150,
    "still to a virtual address, by the port that it came by, in whose network it is or to which others have a route: nobody's connection, drop",
);
const DEFRAG: Rule = Rule::new(
    Stage::RouterInDefrag,
    100,
    "to a virtual address, at gateway ports where the port is: look the connection up, and translate",
);
const NO_DEFRAG: Rule = Rule::new(Stage::RouterInDefrag, 0, "the rest: next");
const NO_ROUTER_AFFINITY: Rule = Rule::new(Stage::RouterInAffinity, 0, "the rest: next");
const FLAG: Rule = Rule::new(
    Stage::RouterInDnat,
    70,
    "of a balanced connection whose client's address is forced, or left alone: remember that",
);
const MARKED: Rule = Rule::new(
    Stage::RouterInDnat,
    50,
    "of another balanced connection, or an error about one: next",
);
const NO_ROUTER_LEARN: Rule = Rule::new(Stage::RouterInLearnAffinity, 0, "the rest: next");
const TRANSLATE_BACK: Rule = Rule::new(
    Stage::RouterOutUndnat,
    120,
    "by a gateway port, from a backend: translate back what is a reply",
);
const KEEP_SOURCE: Rule = Rule::new(
    Stage::RouterOutSnat,
    290,
    "of a connection whose client's address is left alone: next",
);

const IS_HAIRPIN: Bits = Bits::bit(
    "the packet has come back to its own sender",
    Symbol::Reg0,
    6,
    Stage::InPreHairpin,
    Stage::InHairpin,
);
const IS_HAIRPIN_REPLY: Bits = Bits::bit(
    "the packet is a reply to such a one",
    Symbol::Reg0,
    12,
    Stage::InPreHairpin,
    Stage::InHairpin,
);
