//! Policies of a router: rules by an arbitrary match, which overrule its routes.
//!
//! Arrives: packets that have a route. Guarantees that of the policies that match, the one of the highest priority decides: the
//! route stays (`allow`), the packet is dropped (`drop`), or it goes to another next hop (`reroute`); of several next hops one
//! is chosen as for routes. `options:pkt_mark` marks the packet in the chassis. Next hops have to be in a network of the
//! router, unless the policy names the port by which they are reached (`output_port`); a policy whose next hops nobody reaches is
//! left out and told.
//!
//! Chains (`chain`, `jump`) and BFD are not compiled by this version: policies in chains are left out.

use std::net::IpAddr;
use std::sync::Arc;

use addr::Cidr;
use lflow::action::Action;
use lflow::{Expr, Int, Symbol, a, m};
use nb_db::tables::{LogicalRouter, LogicalRouterPolicy, LogicalRouterPort};
use ovsdb::Row;
use ovsdb::typed::{Table, TableDefinition};
use relations::{Handle, Key, Relation, Small};
use uuid::Uuid;

use super::links::{PEER, Peer};
use super::ports::{self, BINDING, PORT};
use super::routes::{self, Next};
use super::static_routes::select;
use super::{ROUTER, ROUTERS, ROUTERS_NAME};
use crate::compiler::feature::{Feature, Index, Kind, Over, Source};
use crate::compiler::options::Options;
use crate::compiler::problem::{Complaints, Problem};
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::switch::DATAPATH;
#[cfg(test)]
use crate::testing::{Change, routers};

/// Policies that make sense by themselves.
static POLICY: Relation<Handle, Policy> = Relation::new("policy");

/// The routers that have a policy.
const OWNERS: Index = Index::north::<LogicalRouter>(LogicalRouter::COLUMN.policies.index);

const SEVERAL: Bits = Bits::bit(
    "a policy has several next hops",
    Symbol::Reg9,
    11,
    Stage::RouterInPolicy,
    Stage::RouterInPolicyEcmp,
);
const CHOSEN: Bits = Bits::some(
    "which of several next hops of a policy is chosen",
    Symbol::Reg9,
    (16, 16),
    Stage::RouterInPolicy,
    Stage::RouterInPolicyEcmp,
);

const APPLY: Rule = Rule::new(
    Stage::RouterInPolicy,
    32_767,
    "a policy, at its priority: go on, drop, or to another next hop",
);
const NO_POLICY: Rule = Rule::new(Stage::RouterInPolicy, 0, "the rest: next");
const ONE_OF: Rule = Rule::new(
    Stage::RouterInPolicyEcmp,
    32_767,
    "the chosen next hop of a policy, at its priority",
);
const ONE: Rule = Rule::new(Stage::RouterInPolicyEcmp, 0, "the rest: next");

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<LogicalRouterPolicy>(&[
            LogicalRouterPolicy::COLUMN.priority.index,
            LogicalRouterPolicy::COLUMN.r#match.index,
            LogicalRouterPolicy::COLUMN.action.index,
            LogicalRouterPolicy::COLUMN.nexthop.index,
            LogicalRouterPolicy::COLUMN.nexthops.index,
            LogicalRouterPolicy::COLUMN.chain.index,
            LogicalRouterPolicy::COLUMN.output_port.index,
        ])
        .keys(&[(LogicalRouterPolicy::COLUMN.options.index, &["pkt_mark"])]),
        Source::north::<LogicalRouter>(&[LogicalRouter::COLUMN.policies.index]),
        Source::north::<LogicalRouterPort>(&[LogicalRouterPort::COLUMN.name.index]),
    ],
    indexes: &[OWNERS],
    relations: &[&POLICY],
    kinds: &[&SHARED, &MODEL, &FLOWS],
    rules: &[APPLY, NO_POLICY, ONE_OF, ONE],
    bits: &[SEVERAL, CHOSEN],
    #[cfg(test)]
    operator: &[Change {
        weight: 5,
        run: routers::policy,
    }],
    ..Feature::new("router policies")
};

/// A policy that makes sense by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Policy {
    priority: u16,
    when: Expr,
    verdict: Verdict,
    mark: Option<u32>,
    /// `output_port`: the port by which next hops are reached, whatever its networks.
    output_port: Option<Uuid>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Allow,
    Drop,
    Reroute(Vec<IpAddr>),
}

static SHARED: Kind = Kind {
    name: "routers",
    over: Over::Shared(&ROUTERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&ROUTERS, (), ROUTERS_NAME, None);
        flows.add(NO_POLICY, &m::any(), [a::next()]);
        flows.add(ONE, &m::any(), [a::next()]);
    },
};

static MODEL: Kind = Kind {
    name: "model/policy",
    over: Over::North(LogicalRouterPolicy::INDEX),
    reads: &[],
    says: &[&POLICY],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let (policy, problems) = Policy::parse(unit.uuid(row), columns);
        if let Some(policy) = policy {
            unit.say(&POLICY, row, policy);
        }
        unit.problems(problems);
    },
};

static FLOWS: Kind = Kind {
    name: "policy",
    over: Over::Keys(&POLICY),
    reads: &[&ROUTER, &DATAPATH, &PORT, &BINDING, &PEER, &ports::NETWORKS],
    says: &[],
    wants: &[],
    run: flows,
};

fn flows(unit: &mut Unit<'_>, key: Key) {
    let row = Handle::unpack(key);
    let Some(policy) = unit.get(&POLICY, row) else {
        return;
    };
    for router in unit.referrers(OWNERS, row) {
        if unit.get(&ROUTER, *router).is_some()
            && let Some(datapath) = unit.get(&DATAPATH, *router)
        {
            of_router(unit, row, policy, *router, datapath.uuid);
        }
    }
}

fn of_router(unit: &mut Unit<'_>, row: Handle, policy: &Policy, router: Handle, datapath: Uuid) {
    let hint = unit.uuid(row);
    let rule = APPLY.at(policy.priority);
    let mark = policy
        .mark
        .map(|mark| a::set(Symbol::PktMark, Int::new(mark.into())));
    let hops = match &policy.verdict {
        Verdict::Drop => {
            let mut flows = unit.flows(datapath, Some(hint));
            return flows.add(rule, &policy.when, [a::drop()]);
        }
        Verdict::Allow => {
            let then: Vec<Action> = mark.into_iter().chain([a::next()]).collect();
            let mut flows = unit.flows(datapath, Some(hint));
            return flows.add(rule, &policy.when, then);
        }
        Verdict::Reroute(hops) => hops,
    };
    let mut complaints = unit.complaints::<LogicalRouterPolicy>(row, Arc::from(""));
    let column = LogicalRouterPolicy::COLUMN;
    let named = policy.output_port.map(|port| {
        let port = unit.find_north::<LogicalRouterPort>(port);
        port.filter(|port| ports::owner(unit, *port) == Some(router))
    });
    if named == Some(None) {
        let why = "the port is not one of the router's";
        let remedy = "the policy has no effect until it names one that is, or none";
        complaints.column(column.output_port.name, why, remedy);
        return unit.problems(complaints.into_problems());
    }
    let mut ways: Vec<Vec<Action>> = Vec::new();
    for hop in hops {
        let port = named.unwrap_or_else(|| ports::facing(unit, router, *hop));
        match port.and_then(|port| towards(unit, port, *hop)) {
            Some(way) => {
                ways.push(way);
                routes::ask(&mut unit.flows(datapath, None), *hop);
            }
            None => {
                let (column, hop) = (column.nexthops.name, hop.to_string());
                let (why, remedy) = match named {
                    None => (
                        format!("no enabled port of the router has {hop} in its network"),
                        "this next hop is left out until one has",
                    ),
                    Some(_) => (
                        format!("output_port is disabled, or has no address to ask {hop} from"),
                        "this next hop is left out until it has one of that family",
                    ),
                };
                complaints.text(column, &hop, 0, why, remedy);
            }
        }
    }
    unit.problems(complaints.into_problems());
    let mut flows = unit.flows(datapath, Some(hint));
    match ways.as_slice() {
        [] => {}
        [way] => {
            let then = mark.into_iter().chain(way.iter().cloned());
            let then: Vec<Action> = then.chain([a::next()]).collect();
            flows.add(rule, &policy.when, then);
        }
        several => {
            let count = u16::try_from(several.len()).unwrap_or(u16::MAX);
            let mut choose: Vec<Action> = mark.into_iter().collect();
            choose.push(a::set(SEVERAL.field(), Int::new(1)));
            choose.push(select(CHOSEN, count, None));
            flows.add(rule, &policy.when, choose);
            for (number, way) in (1..=count).zip(several) {
                let is_chosen = SEVERAL.is_set() & m::eq(CHOSEN.field(), number);
                let mut then = way.clone();
                then.push(a::next());
                let when = is_chosen & policy.when.clone();
                flows.add(ONE_OF.at(policy.priority), &when, then);
            }
        }
    }
}

fn towards(unit: &Unit<'_>, row: Handle, hop: IpAddr) -> Option<Vec<Action>> {
    let port = unit.get(&PORT, row).filter(|port| port.is_enabled)?;
    let segment = unit.get(&PEER, row).map_or(0, Peer::segment);
    let source = port.source_towards(hop)?;
    Some(routes::towards(port, segment, Next::Hop(hop), source))
}

impl Policy {
    fn parse(uuid: Uuid, row: &Row) -> (Option<Self>, Vec<Problem>) {
        let mut complaints = Complaints::about(LogicalRouterPolicy::NAME, uuid, Arc::from(""));
        let policy = Self::parse_with(row, &mut complaints);
        (policy, complaints.into_problems())
    }

    fn parse_with(row: &Row, complaints: &mut Complaints) -> Option<Self> {
        let column = LogicalRouterPolicy::COLUMN;
        let text: Arc<str> = column.r#match.get(row);
        let when = Expr::parse(&text).map_err(|error| {
            let remedy = "the policy is left out until its match can be read";
            complaints.text(column.r#match.name, &text, error.at, error.message, remedy);
        });
        let action: Arc<str> = column.action.get(row);
        let chain: Option<Arc<str>> = column.chain.get(row);
        if let Some(chain) = chain.filter(|chain| !chain.is_empty()) {
            let why = "chains of policies are not compiled by this version";
            complaints.text(column.chain.name, &chain, 0, why, "the policy is left out");
            return None;
        }
        let verdict = match &*action {
            "allow" => Verdict::Allow,
            "drop" => Verdict::Drop,
            "reroute" => Verdict::Reroute(hops(row, complaints)),
            other => {
                let why = format!("the action {other} is not compiled by this version");
                complaints.text(column.action.name, other, 0, why, "the policy is left out");
                return None;
            }
        };
        let options = Options::read(column.options.name, row.get(column.options.index));
        Some(Self {
            priority: u16::try_from(column.priority.get(row)).unwrap_or_default(),
            when: when.ok()?,
            verdict,
            mark: options.number("pkt_mark", 1..=u32::MAX, complaints),
            output_port: column.output_port.get(row),
        })
    }
}

fn hops(row: &Row, complaints: &mut Complaints) -> Vec<IpAddr> {
    let column = LogicalRouterPolicy::COLUMN;
    let old: Option<Arc<str>> = column.nexthop.get(row);
    let new: Vec<Arc<str>> = column.nexthops.get(row);
    // `nexthop` is the older form, for a single one.
    let texts = if new.is_empty() {
        old.into_iter().collect()
    } else {
        new
    };
    let mut hops = Vec::new();
    for text in texts.iter().filter(|text| !text.is_empty()) {
        match text.parse::<Cidr>() {
            Ok(ip) if ip.is_host() => hops.push(ip.addr()),
            Ok(_) => {
                let why = "a network is no next hop";
                complaints.text(column.nexthops.name, text, 0, why, "write one address");
            }
            Err(error) => complaints.address(column.nexthops.name, text, &error),
        }
    }
    if hops.is_empty() {
        let remedy = "the policy has no effect until it has one";
        complaints.column(column.nexthops.name, "reroute without a next hop", remedy);
    }
    hops
}
