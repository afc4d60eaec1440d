//! Policies of a router: rules by an arbitrary match, which overrule its routes.
//!
//! Arrives: packets that have a route. Guarantees that of the policies that match, the one of the highest priority decides: the
//! route stays (`allow`), the packet is dropped (`drop`), or it goes to another next hop (`reroute`); of several next hops one
//! is chosen as for routes. `options:pkt_mark` marks the packet in the chassis. Next hops have to be in a network of the
//! router, unless the policy names the port by which they are reached (`output_port`); a policy whose next hops nobody reaches is
//! left out and told.
//!
//! Policies with a `chain` are asked only after one with the action `jump` has sent a packet there (`jump_chain`), and are by
//! themselves as those without are: where none of a chain matches, the route stays. A chain is known to a packet by a number
//! that follows from its name, so that none has to be kept; of two names of one router with the same number, which is rare,
//! the policies of one are left out and told. A circle of jumps ends at the switch's limit, and the packet with it.
//!
//! Of next hops with which there is one of the policy's `bfd_sessions`, those are used with which it is up.

use std::net::IpAddr;
use std::sync::Arc;

use addr::Cidr;
use lflow::action::{Action, Pipeline};
use lflow::{Expr, Int, Symbol, a, m};
use nb_db::tables::{LogicalRouter, LogicalRouterPolicy, LogicalRouterPort};
use ovsdb::Row;
use ovsdb::typed::{Table, TableDefinition};
use relations::{Bucket, Handle, Key, Relation, Small};
use uuid::Uuid;

use super::bfd;
use super::links::{PEER, Peer};
use super::ports::{self, BINDING, PORT};
use super::routes::{self, Next};
use super::static_routes::select;
use super::{ROUTER, ROUTERS, ROUTERS_NAME};
use crate::compiler::feature::{Feature, Index, Kind, Over, Source};
use crate::compiler::identity;
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

/// The policies of a router's chains: of which router, and the number that follows from the chain's name.
static IN_CHAIN: Bucket<(Handle, u32), Uuid> = Bucket::new("policies of a chain");

/// Whose number each is: of several names, which is rare, that of the first policy.
static CHAIN_NAME: Relation<(Handle, u32), Chain> = Relation::new("name of a chain of policies");

/// The routers that have a policy.
const OWNERS: Index = Index::north::<LogicalRouter>(LogicalRouter::COLUMN.policies.index);

const SEVERAL: Bits = Bits::bit(
    "a policy has several next hops",
    Symbol::Reg9,
    11,
    Stage::RouterInPolicy,
    Stage::RouterInPolicyEcmp,
);
/// What stands there otherwise, the next hop of the route, is of no use any more, and written anew with the chosen one.
const CHOSEN: Bits = Bits::some(
    "which of several next hops of a policy is chosen",
    Symbol::Reg8,
    (0, 16),
    Stage::RouterInPolicy,
    Stage::RouterInPolicyEcmp,
)
.put_back();
const CHAIN: Bits = Bits::some(
    "the chain of policies that is asked; 0 is that of policies without",
    Symbol::Reg9,
    (16, 16),
    Stage::RouterInPolicy,
    Stage::RouterInPolicyEcmp,
);

const APPLY: Rule = Rule::new(
    Stage::RouterInPolicy,
    32_767,
    "a policy of the chain that is asked, at its priority: go on, drop, to another next hop, or to another chain",
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
            LogicalRouterPolicy::COLUMN.jump_chain.index,
            LogicalRouterPolicy::COLUMN.output_port.index,
            LogicalRouterPolicy::COLUMN.bfd_sessions.index,
        ])
        .keys(&[(LogicalRouterPolicy::COLUMN.options.index, &["pkt_mark"])]),
        Source::north::<LogicalRouter>(&[LogicalRouter::COLUMN.policies.index]),
        Source::north::<LogicalRouterPort>(&[LogicalRouterPort::COLUMN.name.index]),
    ],
    indexes: &[OWNERS],
    relations: &[&POLICY, &IN_CHAIN, &CHAIN_NAME],
    kinds: &[&SHARED, &MODEL, &MEMBER, &NAMED, &FLOWS],
    rules: &[APPLY, NO_POLICY, ONE_OF, ONE],
    bits: &[SEVERAL, CHOSEN, CHAIN],
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
    /// `chain`: the chain that it is in.
    chain: Chain,
    when: Expr,
    verdict: Verdict,
    mark: Option<u32>,
    /// `output_port`: the port by which next hops are reached, whatever its networks.
    output_port: Option<Uuid>,
    /// `bfd_sessions`: those that have to be up with the next hops that they are with.
    sessions: Vec<Uuid>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Allow,
    Drop,
    Reroute(Vec<IpAddr>),
    /// Asks another chain.
    Jump(Chain),
}

/// A chain of policies. That of policies which are in none has no name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chain(Arc<str>);

impl Chain {
    fn is_main(&self) -> bool {
        self.0.is_empty()
    }

    /// Its number, from its name alone.
    fn number(&self) -> u16 {
        if self.is_main() {
            return 0;
        }
        let hash = identity::derive(&[b"chain of policies", self.0.as_bytes()]);
        hash.as_fields().1.max(1)
    }

    /// Packets for which it is asked.
    fn is_asked(&self) -> Expr {
        m::eq(CHAIN.field(), self.number())
    }

    fn key(&self, router: Handle) -> (Handle, u32) {
        (router, self.number().into())
    }
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

static MEMBER: Kind = Kind {
    name: "policy/chain",
    over: Over::Keys(&POLICY),
    reads: &[],
    says: &[&IN_CHAIN],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(policy) = unit.get(&POLICY, row) else {
            return;
        };
        if policy.chain.is_main() {
            return;
        }
        let uuid = unit.uuid(row);
        for router in unit.referrers(OWNERS, row) {
            unit.join(&IN_CHAIN, policy.chain.key(*router), uuid);
        }
    },
};

static NAMED: Kind = Kind {
    name: "policy/chain-name",
    over: Over::Shared(&IN_CHAIN),
    reads: &[&POLICY],
    says: &[&CHAIN_NAME],
    wants: &[],
    run: |unit, key| {
        let key = <(Handle, u32)>::unpack(key);
        let first = unit.members(&IN_CHAIN, key).first();
        let row = first.and_then(|first| unit.find_north::<LogicalRouterPolicy>(*first));
        if let Some(policy) = row.and_then(|row| unit.get(&POLICY, row)) {
            unit.say(&CHAIN_NAME, key, policy.chain.clone());
        }
    },
};

static FLOWS: Kind = Kind {
    name: "policy",
    over: Over::Keys(&POLICY),
    reads: &[
        &CHAIN_NAME,
        &ROUTER,
        &DATAPATH,
        &PORT,
        &BINDING,
        &PEER,
        &ports::NETWORKS,
        bfd::READS[0],
        bfd::READS[1],
    ],
    says: &[&bfd::WATCHED],
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
    let when = policy.chain.is_asked() & policy.when.clone();
    let mark = policy
        .mark
        .map(|mark| a::set(Symbol::PktMark, Int::new(mark.into())));
    let mut complaints = unit.complaints::<LogicalRouterPolicy>(row, Arc::from(""));
    let column = LogicalRouterPolicy::COLUMN;
    if !policy.chain.is_main()
        && let Some(other) = unit.get(&CHAIN_NAME, policy.chain.key(router))
        && *other != policy.chain
    {
        let why = format!("the chain {:?} of the router has the same number", other.0);
        let remedy = "the policy is left out: give the chain another name";
        complaints.text(column.chain.name, &policy.chain.0, 0, why, remedy);
        return unit.problems(complaints.into_problems());
    }
    let hops = match &policy.verdict {
        Verdict::Drop => {
            let mut flows = unit.flows(datapath, Some(hint));
            return flows.add(rule, &when, [a::drop()]);
        }
        Verdict::Allow => {
            let then: Vec<Action> = mark.into_iter().chain([a::next()]).collect();
            let mut flows = unit.flows(datapath, Some(hint));
            return flows.add(rule, &when, then);
        }
        Verdict::Jump(to) => {
            if unit.get(&CHAIN_NAME, to.key(router)) != Some(to) {
                let why = "no policy of the router is in this chain";
                let remedy = "packets go on by their routes until one is";
                complaints.text(column.jump_chain.name, &to.0, 0, why, remedy);
            }
            unit.problems(complaints.into_problems());
            let jump = [
                a::set(CHAIN.field(), Int::new(to.number().into())),
                a::next_in(Pipeline::Ingress, Stage::RouterInPolicy.table()),
            ];
            let then: Vec<Action> = mark.into_iter().chain(jump).collect();
            let mut flows = unit.flows(datapath, Some(hint));
            return flows.add(rule, &when, then);
        }
        Verdict::Reroute(hops) => hops,
    };
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
    let mut hops_alive = Vec::new();
    for hop in hops {
        // Each session is asked for, whatever the others say.
        let sessions = policy.sessions.iter();
        let lives = sessions.filter_map(|session| bfd::lives(unit, *session, *hop, hint));
        let lives: Vec<bool> = lives.collect();
        if lives.iter().all(|lives| *lives) {
            hops_alive.push(hop);
        }
    }
    for hop in hops_alive {
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
            flows.add(rule, &when, then);
        }
        several => {
            let count = u16::try_from(several.len()).unwrap_or(u16::MAX);
            let choose = [
                a::set(SEVERAL.field(), Int::new(1)),
                select(CHOSEN, count, None),
            ];
            flows.add(rule, &when, choose);
            for (number, way) in (1..=count).zip(several) {
                let is_chosen = SEVERAL.is_set() & m::eq(CHOSEN.field(), number);
                // The mark is set last: the match, which may ask for it, is asked again.
                let then = mark.iter().chain(way).cloned();
                let then: Vec<Action> = then.chain([a::next()]).collect();
                flows.add(
                    ONE_OF.at(policy.priority),
                    &(is_chosen & when.clone()),
                    then,
                );
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
            complaints.invalid(column.r#match.name, &text, error.at, error.message, remedy);
        });
        let action: Arc<str> = column.action.get(row);
        let chain: Option<Arc<str>> = column.chain.get(row);
        let jump: Option<Arc<str>> = column.jump_chain.get(row);
        let verdict = match &*action {
            "allow" => Verdict::Allow,
            "drop" => Verdict::Drop,
            "reroute" => Verdict::Reroute(hops(row, complaints)),
            "jump" => match jump.filter(|chain| !chain.is_empty()) {
                Some(chain) => Verdict::Jump(Chain(chain)),
                None => {
                    let remedy = "the policy is left out until it names one";
                    complaints.column(column.jump_chain.name, "a jump without a chain", remedy);
                    return None;
                }
            },
            other => {
                let why = format!("the action {other} is not compiled by this version");
                complaints.text(column.action.name, other, 0, why, "the policy is left out");
                return None;
            }
        };
        let options = Options::read(column.options.name, row.get(column.options.index));
        Some(Self {
            priority: u16::try_from(column.priority.get(row)).unwrap_or_default(),
            chain: Chain(chain.unwrap_or_default()),
            when: when.ok()?,
            verdict,
            mark: options.number("pkt_mark", 1..=u32::MAX, complaints),
            output_port: column.output_port.get(row),
            sessions: column.bfd_sessions.get(row),
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
