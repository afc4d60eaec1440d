//! Static routes: what an operator says of destinations, or sources, that no port is connected to.
//!
//! Guarantees that a route is followed while its next hop can be reached: by the port that it names (`output_port`), else by the
//! port of the router that has the next hop in its network. Several routes of one router to one prefix share the load: which
//! one a packet takes follows from its addresses and ports, so that a connection stays on one. `discard` drops. A route whose
//! next hop nobody reaches is a problem and has no effect.
//!
//! Routes are in tables; the one that a packet is looked up in is that of the port it came by (`options:route_table`). The main
//! one has no name.
//!
//! Who came in by the next hop of a route with `ecmp_symmetric_reply` is answered by it (`symmetric`). A route with a `bfd` session
//! with its next hop is followed while that is up (`bfd`).

use std::net::IpAddr;
use std::sync::Arc;

use addr::Cidr;
use lflow::action::{Action, Query, Select};
use lflow::{Expr, Int, Symbol, a, m};
use nb_db::tables::{LogicalRouter, LogicalRouterStaticRoute};
use ovsdb::Row;
use ovsdb::typed::{Table, TableDefinition};
use relations::{Bucket, Handle, Key, Relation, Small};
use uuid::Uuid;

use super::ROUTER;
use super::bfd;
use super::links::{PEER, Peer};
use super::next_hops::{HOPS, LIVING};
use super::ports::{self, BINDING, PORT, RESIDENCE};
use super::routes::{self, Next, TABLE, table_number};
use super::symmetric::{self, Symmetric};
use crate::compiler::feature::{Feature, Index, Kind, Over, Source};
use crate::compiler::flow::Flows;
use crate::compiler::identity;
use crate::compiler::options::Options;
use crate::compiler::problem::{Complaints, Problem};
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::switch::DATAPATH;
#[cfg(test)]
use crate::testing::{Change, routers};

/// Routes that make sense by themselves.
static ROUTE: Relation<Handle, Arc<Route>> = Relation::new("static route");
/// Where each leads in each of its routers.
static WAY: Relation<(Handle, Handle), Way> = Relation::new("way of a static route");
/// The port by which a route leads in a router, and to which prefix.
pub static LED: Relation<(Handle, Handle), Led> = Relation::new("port of a static route");
/// The routes of a router to one prefix: their rows.
static SAME: Bucket<Uuid, Uuid> = Bucket::new("routes to a prefix");

/// The routers that have a route.
const OWNERS: Index = Index::north::<LogicalRouter>(LogicalRouter::COLUMN.static_routes.index);

const SEVERAL: Bits = Bits::bit(
    "there are several next hops",
    Symbol::Reg9,
    10,
    Stage::RouterInRouting,
    Stage::RouterInRoutingEcmp,
);
const CHOSEN: Bits = Bits::some(
    "which of several next hops is chosen",
    Symbol::Reg6,
    (0, 16),
    Stage::RouterInRouting,
    Stage::RouterInRoutingEcmp,
);

const BY_PORT: Rule = Rule::new(
    Stage::RouterInRoutingPre,
    100,
    "by a port with a table of routes: that table",
);
const STATIC: Rule = Rule::new(
    Stage::RouterInRouting,
    128 * 8 + 4,
    "a static route, at 8 × prefix + 4, by source at 8 × prefix: to its next hop; one of several is chosen; or drop",
);
const ONE_OF: Rule = Rule::new(
    Stage::RouterInRoutingEcmp,
    128 * 8 + 4,
    "the chosen next hop of a static route, at the priority of the route",
);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<LogicalRouterStaticRoute>(&[
            LogicalRouterStaticRoute::COLUMN.route_table.index,
            LogicalRouterStaticRoute::COLUMN.ip_prefix.index,
            LogicalRouterStaticRoute::COLUMN.policy.index,
            LogicalRouterStaticRoute::COLUMN.nexthop.index,
            LogicalRouterStaticRoute::COLUMN.output_port.index,
            LogicalRouterStaticRoute::COLUMN.bfd.index,
            LogicalRouterStaticRoute::COLUMN.selection_fields.index,
        ])
        .keys(&[(
            LogicalRouterStaticRoute::COLUMN.options.index,
            &["ecmp_symmetric_reply"],
        )]),
        Source::north::<LogicalRouter>(&[LogicalRouter::COLUMN.static_routes.index]),
    ],
    indexes: &[OWNERS],
    relations: &[&ROUTE, &WAY, &LED, &SAME],
    kinds: &[&MODEL, &RESOLVE, &GROUP, &OF_PORT],
    rules: &[BY_PORT, STATIC, ONE_OF],
    bits: &[SEVERAL, CHOSEN],
    #[cfg(test)]
    operator: &[Change {
        weight: 10,
        run: routers::route,
    }],
    ..Feature::new("static routes")
};

/// A static route that makes sense by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    prefix: Cidr,
    is_by_source: bool,
    table: Arc<str>,
    hop: Hop,
    output_port: Option<Arc<str>>,
    /// `selection_fields`, as `select` writes them.
    hash_fields: Option<Arc<str>>,
    /// `bfd`: the session that has to be up.
    session: Option<Uuid>,
    /// `options:ecmp_symmetric_reply`: who came in by the next hop is answered by it.
    is_symmetric: bool,
}

/// What is said of a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hop {
    /// A router.
    Router(IpAddr),
    /// The destination is a neighbour.
    OnLink,
    /// The packet goes nowhere.
    Discard,
}

/// By which port of its router a route leads, and to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Led {
    /// The port.
    pub port: Handle,
    /// The prefix.
    pub prefix: Cidr,
}

/// Where a route leads in its router.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Way {
    route: Arc<Route>,
    datapath: Uuid,
    /// What it has in common with other routes of the router to the prefix.
    same: Uuid,
    /// What puts port and next hop where later stages look for them; nothing for a route that discards.
    towards: Option<Vec<Action>>,
}

static MODEL: Kind = Kind {
    name: "model/static-route",
    over: Over::North(LogicalRouterStaticRoute::INDEX),
    reads: &[],
    says: &[&ROUTE],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let (route, problems) = Route::parse(unit.uuid(row), columns);
        if let Some(route) = route {
            unit.say(&ROUTE, row, Arc::new(route));
        }
        unit.problems(problems);
    },
};

static RESOLVE: Kind = Kind {
    name: "static-route",
    over: Over::Keys(&ROUTE),
    reads: &[
        &ROUTER,
        &DATAPATH,
        &PORT,
        &BINDING,
        &RESIDENCE,
        &PEER,
        &ports::NETWORKS,
        bfd::READS[0],
        bfd::READS[1],
    ],
    says: &[&WAY, &LED, &SAME, &bfd::WATCHED, &HOPS, &LIVING],
    wants: &[],
    run: resolve,
};

static GROUP: Kind = Kind {
    name: "static-routes",
    over: Over::Shared(&SAME),
    reads: &[&WAY],
    says: &[],
    wants: &[],
    run: group,
};

static OF_PORT: Kind = ports::kind!([], [], |unit, view| {
    if let Some(table) = view
        .port
        .route_table
        .as_ref()
        .filter(|_| view.port.is_enabled)
    {
        let here = m::inport(view.port.name.clone());
        let set = [a::set(TABLE.field(), table_number(table)), a::next()];
        view.flows(unit).add(BY_PORT, &here, set);
    }
});

/// A route may be in several routers: each follows it by its own ports.
fn resolve(unit: &mut Unit<'_>, key: Key) {
    let row = Handle::unpack(key);
    let Some(route) = unit.get(&ROUTE, row) else {
        return;
    };
    for router in unit.referrers(OWNERS, row) {
        resolve_in(unit, *router, row, route);
    }
}

fn resolve_in(unit: &mut Unit<'_>, router: Handle, row: Handle, route: &Arc<Route>) {
    let (Some(of), Some(datapath)) = (unit.get(&ROUTER, router), unit.get(&DATAPATH, router))
    else {
        return;
    };
    let mut complaints = unit.complaints::<LogicalRouterStaticRoute>(row, Arc::from(""));
    let mut leaves_by = None;
    let towards = match route.hop {
        Hop::Discard => Some(None),
        hop => out_port(unit, route, router, &mut complaints)
            .and_then(|port| {
                leaves_by = Some(port);
                towards(unit, port, hop, route, &mut complaints)
            })
            .map(Some),
    };
    let symmetric_hop = match (route.hop, leaves_by) {
        (Hop::Router(hop), Some(port)) if route.is_symmetric && of.chassis.is_some() => {
            Some((port, hop))
        }
        _ => None,
    };
    let who = unit.uuid(row);
    if let Some(hop) = symmetric_hop {
        unit.join(&HOPS, hop, who);
    }
    if let (Some(session), Hop::Router(hop)) = (route.session, route.hop) {
        match bfd::lives(unit, session, hop, who) {
            Some(true) => {}
            Some(false) => return unit.problems(complaints.into_problems()),
            None => {
                let why = "the session is not with the next hop, or cannot be";
                let remedy =
                    "the route is followed whatever it says: correct its dst_ip, or take another";
                complaints.column(LogicalRouterStaticRoute::COLUMN.bfd.name, why, remedy);
            }
        }
    }
    if let Some(hop) = symmetric_hop {
        unit.join(&LIVING, hop, who);
    }
    if route.is_symmetric && of.chassis.is_none() {
        let why = "the router is not on one chassis (options:chassis), and chassis do not know each other's connections";
        let remedy = "it is ignored: replies go where routes say";
        let key = "ecmp_symmetric_reply";
        complaints.warning(
            LogicalRouterStaticRoute::COLUMN.options.name,
            key,
            0,
            why,
            remedy,
        );
    }
    unit.problems(complaints.into_problems());
    let is_symmetric = route.is_symmetric && of.chassis.is_some();
    let is_led = towards.as_ref().is_some_and(Option::is_some) && is_symmetric;
    if let Some(view) = leaves_by
        .filter(|_| is_led)
        .and_then(|port| ports::view_of(unit, port))
    {
        let symmetric = Symmetric {
            prefix: route.prefix,
            is_by_source: route.is_by_source,
            table: table_number(&route.table),
        };
        symmetric::say(unit, &view, symmetric);
    }
    if let (Some(port), Some(Some(_))) = (leaves_by, &towards) {
        let prefix = route.prefix;
        unit.say(&LED, (row, router), Led { port, prefix });
    }
    if let Some(towards) = towards {
        let same = route.key(datapath.uuid);
        let way = Way {
            route: Arc::clone(route),
            datapath: datapath.uuid,
            same,
            towards,
        };
        unit.say(&WAY, (row, router), way);
        unit.join(&SAME, same, who);
    }
}

/// The port that a route leaves by: the one that it names, else the one that has the next hop in its network.
fn out_port(
    unit: &Unit<'_>,
    route: &Route,
    router: Handle,
    complaints: &mut Complaints,
) -> Option<Handle> {
    let column = LogicalRouterStaticRoute::COLUMN;
    if let Some(name) = &route.output_port {
        let named = ports::named(unit, name).filter(|(_, of)| *of == router);
        if named.is_none() {
            let why = "the router has no port of this name";
            let remedy = "the route has no effect until it has, or names another";
            complaints.invalid(column.output_port.name, name, 0, why, remedy);
        }
        return named.map(|(port, _)| port);
    }
    match route.hop {
        Hop::Router(ip) => {
            let port = ports::facing(unit, router, ip);
            if port.is_none() {
                let why = format!("no port of the router has {ip} in its network");
                let remedy =
                    "the route has no effect until one has: add a network, or set output_port";
                complaints.invalid(column.nexthop.name, &ip.to_string(), 0, why, remedy);
            }
            port
        }
        Hop::OnLink | Hop::Discard => {
            let why = "a route without a next hop has no output_port";
            let remedy = "the route has no effect until it has one, or a next hop";
            complaints.column(column.output_port.name, why, remedy);
            None
        }
    }
}

fn towards(
    unit: &Unit<'_>,
    row: Handle,
    hop: Hop,
    route: &Route,
    complaints: &mut Complaints,
) -> Option<Vec<Action>> {
    let port = unit.get(&PORT, row)?;
    let segment = unit.get(&PEER, row).map_or(0, Peer::segment);
    let (next, source) = match hop {
        Hop::Router(ip) => (Next::Hop(ip), port.source_towards(ip)),
        Hop::OnLink | Hop::Discard => {
            let source = port.source_towards(route.prefix.addr());
            (Next::Destination, source)
        }
    };
    let Some(source) = source else {
        let column = LogicalRouterStaticRoute::COLUMN.nexthop.name;
        let why = format!(
            "port {} has no address to ask for the next hop from",
            port.name
        );
        let remedy = "the route has no effect until it has one of that family";
        complaints.column(column, why, remedy);
        return None;
    };
    port.is_enabled
        .then(|| routes::towards(port, segment, next, source))
}

fn group(unit: &mut Unit<'_>, key: Key) {
    let same = Uuid::unpack(key);
    let members = unit.members(&SAME, same).iter();
    let rows = members.filter_map(|uuid| unit.find_north::<LogicalRouterStaticRoute>(*uuid));
    let ways: Vec<(Handle, &Way)> = rows
        .filter_map(|row| {
            let routers = unit.referrers(OWNERS, row).iter();
            let mut ways = routers.filter_map(|router| unit.get(&WAY, (row, *router)));
            Some((row, ways.find(|way| way.same == same)?))
        })
        .collect();
    let Some((first, way)) = ways.first() else {
        return;
    };
    let route = &way.route;
    let (rule, when) = (route.priority(STATIC), route.when());
    let several: Option<Vec<&Vec<Action>>> =
        ways.iter().map(|(_, way)| way.towards.as_ref()).collect();
    let hint = (ways.len() == 1).then(|| unit.uuid(*first));
    let mut flows = unit.flows(way.datapath, hint);
    let Some(several) = several else {
        // One that discards is meant before others.
        flows.add(rule, &when, [a::drop()]);
        return;
    };
    for (_, way) in &ways {
        if let Hop::Router(hop) = way.route.hop {
            routes::ask(&mut flows, hop);
        }
    }
    let hashes = ways
        .iter()
        .find_map(|(_, way)| way.route.hash_fields.clone());
    follow(&mut flows, &when, rule, &several, hashes);
}

/// Packets go one of these ways, at the priority of the rule. What they have in common says their table, too.
pub fn follow(
    flows: &mut Flows<'_>,
    when: &Expr,
    rule: Rule,
    ways: &[&Vec<Action>],
    hash_fields: Option<Arc<str>>,
) {
    if let [one] = ways {
        let mut then = vec![a::decrement_ttl()];
        then.extend(one.iter().cloned());
        then.push(a::next());
        flows.add(rule, when, then);
        return;
    }
    let count = u16::try_from(ways.len()).unwrap_or(u16::MAX);
    let select = select(CHOSEN, count, hash_fields);
    let choose = [
        a::decrement_ttl(),
        a::loopback(),
        a::set(SEVERAL.field(), Int::new(1)),
        select,
    ];
    flows.add(rule, when, choose);
    for (number, towards) in (1..=count).zip(ways) {
        // Another table may have other next hops for the same destination.
        let chosen = SEVERAL.is_set() & m::eq(CHOSEN.field(), number) & when.clone();
        let mut then = (*towards).clone();
        then.push(a::next());
        flows.add(ONE_OF.at(rule.priority), &chosen, then);
    }
}

/// One of so many, by the hash of a connection; goes on to the next stage.
pub fn select(chosen: Bits, count: u16, hash_fields: Option<Arc<str>>) -> Action {
    let values = (1..=count).map(|number| (number, Select::DEFAULT_WEIGHT));
    let select = Select {
        values: values.collect(),
        hash_fields,
    };
    Action::Query(chosen.field(), Query::Select(select))
}

impl Route {
    fn parse(uuid: Uuid, row: &Row) -> (Option<Self>, Vec<Problem>) {
        let name = LogicalRouterStaticRoute::NAME;
        let mut complaints = Complaints::about(name, uuid, Arc::from(""));
        let route = Self::parse_with(row, &mut complaints);
        (route, complaints.into_problems())
    }

    fn parse_with(row: &Row, complaints: &mut Complaints) -> Option<Self> {
        let column = LogicalRouterStaticRoute::COLUMN;
        let text: Arc<str> = column.ip_prefix.get(row);
        let prefix = text
            .parse::<Cidr>()
            .map_err(|error| complaints.address(column.ip_prefix.name, &text, &error))
            .ok();
        let text: Arc<str> = column.nexthop.get(row);
        let hop = match text.trim() {
            "" => Some(Hop::OnLink),
            "discard" => Some(Hop::Discard),
            _ => match text.parse::<Cidr>() {
                Ok(ip) if ip.is_host() => Some(Hop::Router(ip.addr())),
                Ok(_) => {
                    let why = "a network is no next hop";
                    complaints.invalid(column.nexthop.name, &text, 0, why, "write one address");
                    None
                }
                Err(error) => {
                    complaints.address(column.nexthop.name, &text, &error);
                    None
                }
            },
        };
        let policy: Option<Arc<str>> = column.policy.get(row);
        let fields: Vec<Arc<str>> = column.selection_fields.get(row);
        let options = Options::read(column.options.name, row.get(column.options.index));
        Some(Self {
            prefix: prefix?.network(),
            is_by_source: policy.as_deref() == Some("src-ip"),
            table: column.route_table.get(row),
            hop: hop?,
            output_port: column.output_port.get(row).filter(|name| !name.is_empty()),
            hash_fields: (!fields.is_empty()).then(|| Arc::from(fields.join(","))),
            session: column.bfd.get(row),
            is_symmetric: options.truth("ecmp_symmetric_reply", false, complaints),
        })
    }

    /// What routes of one router to one prefix have in common.
    fn key(&self, datapath: Uuid) -> Uuid {
        let prefix = self.prefix.to_string();
        let by = if self.is_by_source { "src" } else { "dst" };
        identity::derive(&[
            b"routes",
            datapath.as_bytes(),
            self.table.as_bytes(),
            prefix.as_bytes(),
            by.as_bytes(),
        ])
    }

    fn priority(&self, rule: Rule) -> Rule {
        let base = if self.is_by_source { 0 } else { 4 };
        rule.at(u16::from(self.prefix.prefix_len()) * 8 + base)
    }

    /// The packets that it is for, in the table that it is in.
    fn when(&self) -> Expr {
        m::eq(TABLE.field(), table_number(&self.table)) & self.destination()
    }

    fn destination(&self) -> Expr {
        match self.is_by_source {
            true => m::ip_src_in(self.prefix),
            false => m::ip_dst_in(self.prefix),
        }
    }
}
