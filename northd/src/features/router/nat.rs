//! Network address translation on gateway routers.
//!
//! Guarantees, for a router that is on one chassis (`options:chassis`): a packet from an inside address of an `snat` or
//! `dnat_and_snat` rule leaves with the rule's outside address, the rule of the longest prefix first; one to the outside
//! address of a `dnat` or `dnat_and_snat` rule goes to the inside address; what belongs to a connection that was translated is
//! translated back. The router answers requests for all outside addresses, by
//! whichever port they come, and they are steered to it. A rule with a `match`
//! is for those packets alone, and stands before those without, by its `priority`; `allowed_ext_ips` limits a rule to some
//! hosts outside, `exempted_ext_ips` leaves some alone.
//!
//! | stage | what happens there |
//! | --- | --- |
//! | `lr_in_unsnat` | replies to an outside address become those to the inside one |
//! | `lr_in_dnat` | outside addresses become inside ones |
//! | `lr_out_undnat` | replies from inside get their outside address back |
//! | `lr_out_post_undnat` | connections that are not translated are remembered as such |
//! | `lr_out_snat` | inside addresses become outside ones |
//!
//! Translation on routers that are on all chassis is not compiled by this version; such a rule is told and has no effect.

use std::net::IpAddr;
use std::sync::Arc;

use addr::{Cidr, PortRange};
use lflow::action::{Action, NatKind};
use lflow::{Constant, Expr, Symbol, a, m};
use nb_db::tables::{AddressSet, LogicalRouter, Nat};
use ovsdb::Row;
use ovsdb::typed::{Table, TableDefinition};
use relations::{Handle, Relation, Set, Small};
use uuid::Uuid;

use super::links::{PEER, Peer};
use super::own::{ASKED, TO_ME, TRANSLATED};
use super::ports::{self, PORT};
use super::{ROUTER, ROUTERS, ROUTERS_NAME};
use crate::compiler::feature::{Feature, Index, Kind, Over, Source};
use crate::compiler::options::Options;
use crate::compiler::problem::{Complaints, Problem};
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::lookup::{TO_ROUTER, steer};
use crate::features::segments;
use crate::features::switch::DATAPATH;
#[cfg(test)]
use crate::testing::{Change, routers};

/// Rules that make sense by themselves.
static RULE: Relation<Handle, Arc<Translation>> = Relation::new("nat rule");
/// The datapaths of routers that translate.
static TRANSLATORS: Set<()> = Set::new("translating routers");
const TRANSLATORS_NAME: &str = "translating routers";

/// The routers that have a rule.
const OWNERS: Index = Index::north::<LogicalRouter>(LogicalRouter::COLUMN.nat.index);

const ANSWERED: Rule = Rule::new(
    Stage::RouterInOwn,
    40,
    "a request for an outside address of a NAT rule: mark",
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
            Nat::COLUMN.priority.index,
            Nat::COLUMN.r#match.index,
        ])
        .keys(&[(Nat::COLUMN.options.index, &["stateless"])]),
        Source::north::<LogicalRouter>(&[LogicalRouter::COLUMN.nat.index]),
        Source::north::<AddressSet>(&[AddressSet::COLUMN.name.index]),
    ],
    indexes: &[OWNERS],
    relations: &[&RULE, &TRANSLATORS],
    kinds: &[&MODEL, &CLAIMS, &FLOWS, &SHARED, &OF_TRANSLATORS],
    rules: &[
        ANSWERED,
        UNSNAT,
        NO_UNSNAT,
        DNAT_EXEMPTED,
        DNAT,
        NO_DNAT,
        NOWHERE,
        UNDNAT_NOT,
        UNDNAT,
        NO_UNDNAT,
        COMMIT,
        NO_COMMIT,
        SNAT_NOT,
        SNAT_EXEMPTED,
        SNAT,
        NO_SNAT,
    ],
    #[cfg(test)]
    operator: &[Change {
        weight: 6,
        run: routers::nat,
    }],
    ..Feature::new("nat")
};

/// A rule that makes sense by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Translation {
    external: IpAddr,
    ports: Option<PortRange>,
    /// One host, but for `snat`.
    logical: Cidr,
    is_dnat: bool,
    is_snat: bool,
    /// `options:stateless`: each packet by itself, without connections. For `dnat_and_snat` alone.
    is_stateless: bool,
    allowed: Option<Uuid>,
    exempted: Option<Uuid>,
    /// With its rank.
    only: Option<(u16, Expr)>,
}

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
    reads: &[&ROUTER, &DATAPATH],
    says: &[&TRANSLATED, &TRANSLATORS],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(rule) = unit.get(&RULE, row) else {
            return;
        };
        let uuid = unit.uuid(row);
        for (router, datapath) in translating(unit, row) {
            unit.member(&TRANSLATORS, (), datapath);
            unit.join(&TRANSLATED, (router, rule.external), uuid);
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
        &ports::IPS,
        &ports::NETWORKS,
    ],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(rule) = unit.get(&RULE, row) else {
            return;
        };
        for (router, datapath) in translating(unit, row) {
            flows(unit, row, rule, datapath);
            announce(unit, router, rule.external);
        }
        let owners = unit.referrers(OWNERS, row);
        let idle = owners.iter().any(|owner| {
            unit.get(&ROUTER, *owner)
                .is_some_and(|of| of.chassis.is_none())
        });
        if idle {
            let mut complaints = unit.complaints::<Nat>(row, Arc::from(""));
            let why = "the router is on no chassis of its own, and translation on others is not compiled by this version";
            let remedy = "the rule has no effect: set options:chassis of the router";
            complaints.column(Nat::COLUMN.r#type.name, why, remedy);
            unit.problems(complaints.into_problems());
        }
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
        for rule in [NO_UNSNAT, NO_DNAT, NO_UNDNAT, NO_COMMIT, NO_SNAT] {
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
            [a::loopback(), translate(NatKind::Dnat, None, None)],
        );
        let is_new = m::ip() & m::is(Symbol::CtNew);
        flows.add(COMMIT, &is_new, [a::ct_commit([]), a::next()]);
        flows.add(SNAT_NOT, &m::nd_ns(), [a::next()]);
    },
};

/// The routers where a rule has an effect, each with its datapath.
fn translating(unit: &Unit<'_>, row: Handle) -> Vec<(Handle, Uuid)> {
    let routers = unit.referrers(OWNERS, row).iter();
    let routers = routers.filter(|router| {
        let router = unit.get(&ROUTER, **router);
        router.is_some_and(|router| router.chassis.is_some())
    });
    routers
        .filter_map(|router| Some((*router, unit.get(&DATAPATH, *router)?.uuid)))
        .collect()
}

fn flows(unit: &mut Unit<'_>, row: Handle, rule: &Translation, datapath: Uuid) {
    let hint = unit.uuid(row);
    let mut complaints = unit.complaints::<Nat>(row, Arc::from(""));
    let columns = Nat::COLUMN;
    let allowed = set_name(
        unit,
        rule.allowed,
        columns.allowed_ext_ips.name,
        &mut complaints,
    );
    let exempted = set_name(
        unit,
        rule.exempted,
        columns.exempted_ext_ips.name,
        &mut complaints,
    );
    unit.problems(complaints.into_problems());
    let mut flows = unit.flows(datapath, Some(hint));

    // Rules may share an outside address; what they say of it alone is one flow.
    let to_outside = m::ip_dst(rule.external);
    flows.add_common(
        ANSWERED,
        &request(rule.external),
        [
            a::set(TO_ME.field(), lflow::Int::new(1)),
            a::set(ASKED.field(), lflow::Int::new(1)),
            a::next(),
        ],
    );
    if rule.is_snat && !rule.is_stateless {
        let back = translate(NatKind::Snat, None, None);
        flows.add_common(UNSNAT, &to_outside, [back]);
    }
    flows.add_common(NOWHERE, &to_outside, [a::drop()]);
    let only = |when: Expr| match &rule.only {
        Some((_, only)) => when & only.clone(),
        None => when,
    };
    let rank = |plain: u16| rule.only.as_ref().map_or(plain, |(rank, _)| 300 + rank);
    let in_set = |field: Symbol, name: &Arc<str>| m::eq(field, Constant::AddressSet(name.clone()));
    if rule.is_dnat {
        let outside = m::ip_src_field(rule.external);
        let mut when = only(to_outside);
        if let Some(name) = &exempted {
            let leave = when.clone() & in_set(outside, name);
            flows.add(DNAT_EXEMPTED.at(rank(100) + 1), &leave, [a::next()]);
        }
        if let Some(name) = &allowed {
            when = when & in_set(outside, name);
        }
        let ports = rule.ports.filter(|_| !rule.is_snat);
        let inside = rule.logical.addr();
        let then = match rule.is_stateless {
            true => vec![a::loopback(), a::set_ip_dst(inside), a::next()],
            false => vec![a::loopback(), translate(NatKind::Dnat, Some(inside), ports)],
        };
        flows.add(DNAT.at(rank(100)), &when, then);
    }
    if rule.is_snat {
        let outside = m::ip_dst_field(rule.external);
        let length = u16::from(rule.logical.prefix_len()) * 2 + 2;
        let mut when = only(m::ip_src_in(rule.logical));
        if !rule.is_stateless {
            when = when & is_no_reply();
        }
        if let Some(name) = &exempted {
            let leave = when.clone() & in_set(outside, name);
            flows.add(SNAT_EXEMPTED.at(rank(length) + 1), &leave, [a::next()]);
        }
        if let Some(name) = &allowed {
            when = when & in_set(outside, name);
        }
        let then = match rule.is_stateless {
            true => vec![a::set_ip_src(rule.external), a::next()],
            false => vec![translate(NatKind::Snat, Some(rule.external), rule.ports)],
        };
        flows.add(SNAT.at(rank(length)), &when, then);
    }
}

/// In the switch where an outside address is, requests for it go to the router, and the other routers there know its MAC. An
/// address of the router's port is known as that.
fn announce(unit: &mut Unit<'_>, router: Handle, external: IpAddr) {
    if !unit.members(&ports::IPS, (router, external)).is_empty() {
        return;
    }
    let Some(port) = ports::facing(unit, router, external) else {
        return;
    };
    let (
        Some(end),
        Some(Peer::Switch {
            name,
            switch,
            segment,
        }),
    ) = (unit.get(&PORT, port), unit.get(&PEER, port))
    else {
        return;
    };
    let Some(datapath) = unit.get(&DATAPATH, *switch) else {
        return;
    };
    let asked = m::eth_mcast() & request(external);
    let mut flows = unit.flows(datapath.uuid, None);
    flows.add(TO_ROUTER, &asked, steer(name));
    let known = segments::is_asked(*segment, external);
    let answer = segments::answer(end.mac, true);
    let mut flows = segments::router_flows(unit, *switch, port);
    flows.add_common(segments::KNOWN, &known, answer);
}

/// The name of an address set, which the rule's hosts outside are in.
fn set_name(
    unit: &Unit<'_>,
    uuid: Option<Uuid>,
    column: &'static str,
    complaints: &mut Complaints,
) -> Option<Arc<str>> {
    let row = unit.find_north::<AddressSet>(uuid?);
    let found = row.and_then(|row| unit.north(row));
    if found.is_none() {
        complaints.column(column, "the address set is gone", "name another one");
    }
    found.map(|row| AddressSet::COLUMN.name.get(row))
}

/// A request for an address, by whichever port.
fn request(ip: IpAddr) -> Expr {
    match ip {
        IpAddr::V4(ip) => m::arp_op(1) & m::arp_tpa(ip),
        IpAddr::V6(ip) => m::nd_ns() & m::nd_target(ip),
    }
}

/// The packet is not of a connection that came from the other side.
fn is_no_reply() -> Expr {
    !m::is(Symbol::CtTrk) | !m::is(Symbol::CtRpl)
}

fn translate(kind: NatKind, ip: Option<IpAddr>, ports: Option<PortRange>) -> Action {
    Action::Nat { kind, ip, ports }
}

impl Translation {
    fn parse(uuid: Uuid, row: &Row) -> (Option<Self>, Vec<Problem>) {
        let mut complaints = Complaints::about(Nat::NAME, uuid, Arc::from(""));
        let rule = Self::parse_with(row, &mut complaints);
        (rule, complaints.into_problems())
    }

    fn parse_with(row: &Row, complaints: &mut Complaints) -> Option<Self> {
        let column = Nat::COLUMN;
        let kind: Arc<str> = column.r#type.get(row);
        let external = cidr(
            &column.external_ip.get(row),
            column.external_ip.name,
            complaints,
        );
        let logical = cidr(
            &column.logical_ip.get(row),
            column.logical_ip.name,
            complaints,
        );
        let ports = parse_ports(row, complaints);
        let options = Options::read(column.options.name, row.get(column.options.index));
        let (external, logical) = (external?, logical?.network());
        if !external.is_host() || (&*kind != "snat" && !logical.is_host()) {
            let why = "a network cannot be translated to, or from but by snat";
            let remedy = "the rule is left out: write one address";
            complaints.column(column.logical_ip.name, why, remedy);
            return None;
        }
        if external.is_ipv4() != logical.is_ipv4() {
            let why = "one address is of IPv4, the other of IPv6";
            let remedy = "the rule is left out: write both of one family";
            complaints.column(column.logical_ip.name, why, remedy);
            return None;
        }
        Some(Self {
            external: external.addr(),
            ports,
            logical,
            is_dnat: &*kind != "snat",
            is_snat: &*kind != "dnat",
            is_stateless: options.truth("stateless", false, complaints)
                && &*kind == "dnat_and_snat",
            allowed: column.allowed_ext_ips.get(row),
            exempted: column.exempted_ext_ips.get(row),
            only: parse_match(row, complaints)?,
        })
    }
}

fn cidr(text: &Arc<str>, column: &'static str, complaints: &mut Complaints) -> Option<Cidr> {
    text.parse()
        .map_err(|error| complaints.address(column, text, &error))
        .ok()
}

fn parse_ports(row: &Row, complaints: &mut Complaints) -> Option<PortRange> {
    let column = Nat::COLUMN.external_port_range;
    let text: Arc<str> = column.get(row);
    if text.is_empty() {
        return None;
    }
    text.parse()
        .map_err(|error| complaints.address(column.name, &text, &error))
        .ok()
}

/// The outer `None` is a match that cannot be read.
#[expect(
    clippy::option_option,
    reason = "no rule, a rule without a match, and one with a match are three answers"
)]
fn parse_match(row: &Row, complaints: &mut Complaints) -> Option<Option<(u16, Expr)>> {
    let column = Nat::COLUMN;
    let text: Arc<str> = column.r#match.get(row);
    if text.is_empty() {
        return Some(None);
    }
    match Expr::parse(&text) {
        Ok(when) => {
            let rank = u16::try_from(column.priority.get(row)).unwrap_or_default();
            Some(Some((rank, when)))
        }
        Err(error) => {
            let remedy = "the rule is left out until its match can be read";
            complaints.text(column.r#match.name, &text, error.at, error.message, remedy);
            None
        }
    }
}
