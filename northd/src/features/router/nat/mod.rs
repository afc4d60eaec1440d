//! Network address translation.
//!
//! Guarantees that a packet from an inside address of an `snat` or `dnat_and_snat` rule leaves with the rule's outside address,
//! the rule of the longest prefix first; one to the outside address of a `dnat` or `dnat_and_snat` rule goes to the inside
//! address; what belongs to a connection that was translated is translated back. A rule with a `match` is for those packets
//! alone, and stands before those without, by its `priority`; `allowed_ext_ips` limits a rule to some hosts outside,
//! `exempted_ext_ips` leaves some alone. Requests for outside addresses are answered, and steered to the router.
//!
//! Where that happens is a matter of the router (`site`): on one that is on one chassis (`options:chassis`) at all ports; else
//! at a gateway port, on the chassis that has it, or on that of a guest with `external_mac` and `logical_port`.
//!
//! | stage | what happens there |
//! | --- | --- |
//! | `lr_in_unsnat` | replies to an outside address become those to the inside one |
//! | `lr_in_dnat` | outside addresses become inside ones |
//! | `lr_in_gw_redirect` | what a guest with a MAC outside sends stays on its chassis |
//! | `lr_out_undnat` | replies from inside get their outside address back |
//! | `lr_out_post_undnat` | connections that are not translated are remembered as such |
//! | `lr_out_snat` | inside addresses become outside ones |
//! | `lr_out_egr_loop` | what would leave by a gateway port for an outside address of it comes back in |

mod announce;
mod flows;
mod model;
mod site;
mod told;

use std::sync::Arc;

use lflow::action::NatKind;
use lflow::{Symbol, a, m};
use nb_db::tables::{AddressSet, LogicalRouter, LogicalRouterPort, LogicalSwitchPort, Nat};
use ovsdb::typed::Table;
use relations::{Handle, Relation, Small};

pub use self::announce::{announce, facing};
pub use self::flows::request;
use self::flows::translate;
use self::model::Translation;
use self::site::sites;
use super::force_snat::FORCED;
use super::gateways::{GATEWAY, GATEWAYS, GUESTS};
use super::links::{FACING, PEER};
use super::neighbour_routes::ROUTED;
use super::own::{TRANSLATED, TRANSLATORS};
use super::ports::{self, PORT};
use super::{ROUTER, ROUTERS, ROUTERS_NAME};
use crate::compiler::feature::{Feature, Index, Kind, Over, Source};
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::features::matches;
use crate::features::ports::{self as switch_ports, ANNOUNCED, ENTRANCE, LOCALNETS};
use crate::features::switch::DATAPATH;
#[cfg(test)]
use crate::testing::{Change, routers};

/// Rules that make sense by themselves.
static RULE: Relation<Handle, Arc<Translation>> = Relation::new("nat rule");
const TRANSLATORS_NAME: &str = "translating routers";

/// The routers that have a rule.
const OWNERS: Index = Index::north::<LogicalRouter>(LogicalRouter::COLUMN.nat.index);

const ANSWERED: Rule = Rule::new(
    Stage::RouterInOwn,
    40,
    "a request for an outside address of a NAT rule: mark",
);
const ANSWERED_NOT: Rule = Rule::new(
    Stage::RouterInOwn,
    41,
    "a request by the gateway port for an address of a guest with a MAC outside: next",
);
const ANSWERED_BY_GUEST: Rule = Rule::new(
    Stage::RouterInOwn,
    42,
    "a request for it by the gateway port, on the chassis of a guest with a MAC outside: mark, with that MAC",
);
const ADMIT: Rule = Rule::new(
    Stage::RouterInAdmission,
    50,
    "to the MAC outside of a guest, on its chassis: as to the port's",
);
const UNSNAT: Rule = Rule::new(
    Stage::RouterInUnsnat,
    90,
    "to an outside address: translate back what is a reply",
);
const NO_UNSNAT: Rule = Rule::new(Stage::RouterInUnsnat, 0, "the rest: next");
const DNAT_EXEMPTED: Rule = Rule::new(
    Stage::RouterInDnat,
    33_068,
    "from a host that a rule leaves alone, one above the rule: next",
);
const DNAT: Rule = Rule::new(
    Stage::RouterInDnat,
    33_067,
    "to an outside address, at 100, with a match at 300 + priority: to the inside one",
);
const NO_DNAT: Rule = Rule::new(Stage::RouterInDnat, 0, "the rest: next");
const NOWHERE: Rule = Rule::new(
    Stage::RouterInNeighbours,
    150,
    "still to an outside address of a rule: nobody's connection, drop",
);
const UNDNAT_NOT: Rule = Rule::new(Stage::RouterOutUndnat, 100, "neighbour discovery: next");
const UNDNAT: Rule = Rule::new(
    Stage::RouterOutUndnat,
    50,
    "on a router that translates: translate back what is a reply",
);
const UNDNAT_AT_GATEWAY: Rule = Rule::new(
    Stage::RouterOutUndnat,
    60,
    "by a gateway port, from the inside address of a rule: translate back what is a reply",
);
const BY_GUEST_NOT: Rule = Rule::new(
    Stage::RouterInRedirect,
    101,
    "to a host that the rule of a guest with a MAC outside leaves alone: by the gateway's chassis",
);
const BY_GUEST: Rule = Rule::new(
    Stage::RouterInRedirect,
    100,
    "from a guest with a MAC outside, on its chassis: leave from there",
);
const LOOP: Rule = Rule::new(
    Stage::RouterOutLoop,
    100,
    "by a gateway port, to an outside address of it: enter the router by that port",
);
const NO_LOOP: Rule = Rule::new(Stage::RouterOutLoop, 0, "the rest: next");
const NO_UNDNAT: Rule = Rule::new(Stage::RouterOutUndnat, 0, "the rest: next");
const COMMIT: Rule = Rule::new(
    Stage::RouterOutPostUndnat,
    50,
    "on a router that translates, a new connection: remember it",
);
const NO_COMMIT: Rule = Rule::new(Stage::RouterOutPostUndnat, 0, "the rest: next");
const SNAT_NOT: Rule = Rule::new(Stage::RouterOutSnat, 65_000, "neighbour discovery: next");
const SNAT_EXEMPTED: Rule = Rule::new(
    Stage::RouterOutSnat,
    33_068,
    "to a host that a rule leaves alone, one above the rule: next",
);
const SNAT: Rule = Rule::new(
    Stage::RouterOutSnat,
    33_067,
    "from an inside address, at 2 × prefix + 2, with a match at 300 + priority: to the outside one",
);
const NO_SNAT: Rule = Rule::new(Stage::RouterOutSnat, 0, "the rest: next");

/// Registers are empty when a packet enters again.
const CLEARED: [Bits; 4] = [
    cleared(Symbol::Xxreg0, 128),
    cleared(Symbol::Xxreg1, 128),
    cleared(Symbol::Reg8, 32),
    cleared(Symbol::Reg9, 32),
];

const fn cleared(register: Symbol, width: u8) -> Bits {
    let stage = Stage::RouterOutLoop;
    let name = "cleared for the way back in";
    Bits::some(name, register, (0, width), stage, stage)
}

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<Nat>(&[
            Nat::COLUMN.external_ip.index,
            Nat::COLUMN.external_port_range.index,
            Nat::COLUMN.logical_ip.index,
            Nat::COLUMN.r#type.index,
            Nat::COLUMN.allowed_ext_ips.index,
            Nat::COLUMN.exempted_ext_ips.index,
            Nat::COLUMN.external_mac.index,
            Nat::COLUMN.logical_port.index,
            Nat::COLUMN.gateway_port.index,
            Nat::COLUMN.priority.index,
            Nat::COLUMN.r#match.index,
        ])
        .keys(&[(Nat::COLUMN.options.index, &["stateless", "add_route"])]),
        Source::north::<LogicalRouter>(&[LogicalRouter::COLUMN.nat.index]),
        Source::north::<AddressSet>(&[AddressSet::COLUMN.name.index]),
        Source::north::<LogicalRouterPort>(&[LogicalRouterPort::COLUMN.name.index]),
        Source::north::<LogicalSwitchPort>(&[LogicalSwitchPort::COLUMN.name.index]),
    ],
    indexes: &[OWNERS, matches::PORTS],
    relations: &[&RULE],
    kinds: &[
        &MODEL,
        &CLAIMS,
        &FLOWS,
        &SHARED,
        &OF_TRANSLATORS,
        &told::TELL,
    ],
    rules: &[
        ANSWERED,
        ANSWERED_NOT,
        ANSWERED_BY_GUEST,
        ADMIT,
        UNSNAT,
        NO_UNSNAT,
        DNAT_EXEMPTED,
        DNAT,
        NO_DNAT,
        NOWHERE,
        UNDNAT_NOT,
        UNDNAT,
        UNDNAT_AT_GATEWAY,
        BY_GUEST_NOT,
        BY_GUEST,
        LOOP,
        NO_LOOP,
        NO_UNDNAT,
        COMMIT,
        NO_COMMIT,
        SNAT_NOT,
        SNAT_EXEMPTED,
        SNAT,
        NO_SNAT,
    ],
    bits: &CLEARED,
    #[cfg(test)]
    operator: &[Change {
        weight: 6,
        run: routers::nat,
    }],
    ..Feature::new("nat")
};

static MODEL: Kind = Kind {
    name: "model/nat",
    over: Over::North(Nat::INDEX),
    reads: &[],
    says: &[&RULE],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let (rule, problems) = Translation::parse(unit.uuid(row), columns);
        if let Some(rule) = rule {
            unit.say(&RULE, row, Arc::new(rule));
        }
        unit.problems(problems);
    },
};

static CLAIMS: Kind = Kind {
    name: "nat/claims",
    over: Over::Keys(&RULE),
    reads: &[
        &ROUTER,
        &DATAPATH,
        &PORT,
        &GATEWAY,
        &GATEWAYS,
        &PEER,
        &LOCALNETS,
        &ports::NETWORKS,
    ],
    says: &[&TRANSLATED, &TRANSLATORS, &GUESTS, &ROUTED],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(rule) = unit.get(&RULE, row) else {
            return;
        };
        let uuid = unit.uuid(row);
        // What is wrong with it is told with the flows.
        let mut complaints = unit.complaints::<Nat>(row, Arc::from(""));
        for site in sites(unit, row, rule, &mut complaints) {
            match &site.gateway {
                None => unit.member(&TRANSLATORS, (), site.datapath),
                Some(at) if at.mac.is_some() => unit.join(&GUESTS, at.row, uuid),
                Some(_) => {}
            }
            unit.join(&TRANSLATED, (site.router, rule.external), uuid);
            let end = announce::end(unit, rule, &site).filter(|_| rule.adds_route);
            if let Some(end) = end {
                unit.join(&ROUTED, end.switch, uuid);
            }
        }
    },
};

static FLOWS: Kind = Kind {
    name: "nat",
    over: Over::Keys(&RULE),
    reads: &[
        &ROUTER,
        &DATAPATH,
        &PORT,
        &PEER,
        &FACING,
        &GATEWAY,
        &GATEWAYS,
        &ports::IPS,
        &ports::NETWORKS,
        &switch_ports::PORT,
        &LOCALNETS,
        &ENTRANCE,
        &FORCED,
    ],
    says: &[&ANNOUNCED],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(rule) = unit.get(&RULE, row) else {
            return;
        };
        let mut complaints = unit.complaints::<Nat>(row, Arc::from(""));
        for site in sites(unit, row, rule, &mut complaints) {
            flows::say(unit, row, rule, &site, &mut complaints);
            announce::say(unit, rule, &site, &mut complaints);
        }
        unit.problems(complaints.into_problems());
    },
};

static SHARED: Kind = Kind {
    name: "routers",
    over: Over::Shared(&ROUTERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&ROUTERS, (), ROUTERS_NAME, None);
        for rule in [NO_UNSNAT, NO_DNAT, NO_UNDNAT, NO_COMMIT, NO_SNAT, NO_LOOP] {
            flows.add(rule, &m::any(), [a::next()]);
        }
    },
};

static OF_TRANSLATORS: Kind = Kind {
    name: "translators",
    over: Over::Shared(&TRANSLATORS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&TRANSLATORS, (), TRANSLATORS_NAME, None);
        let discovery = m::nd() | m::is(Symbol::NdRs) | m::is(Symbol::NdRa);
        flows.add(UNDNAT_NOT, &discovery, [a::next()]);
        flows.add(
            UNDNAT,
            &m::ip(),
            [a::loopback(), translate(NatKind::Dnat, None)],
        );
        let is_new = m::ip() & m::is(Symbol::CtNew);
        flows.add(COMMIT, &is_new, [a::ct_commit([]), a::next()]);
        flows.add(SNAT_NOT, &m::nd_ns(), [a::next()]);
    },
};
