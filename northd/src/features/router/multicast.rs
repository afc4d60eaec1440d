//! Routers that relay IP multicast between their switches: `Logical_Router.options:mcast_relay`.
//!
//! Arrives: what switches send to multicast routers. Guarantees that each group that somebody has joined in a switch of such a
//! router is a group of the router, too, with the ports that lead there; that what is sent to it leaves by these and by the
//! ports that get everything (`options:mcast_flood` of the port), one hop further; and that what nobody has joined leaves by the
//! latter alone. Those get reports and queries, too, as they are; what comes back with a MAC of the router is dropped.
//!
//! Of IPv6, only groups that may leave their link are relayed (RFC 4291, section 2.7).

use std::net::IpAddr;

use lflow::action::Action;
use lflow::{Expr, Symbol, a, m};
use nb_db::tables::{LogicalRouter, LogicalRouterPort};
use ovsdb::Atom;
use ovsdb::typed::{Table, TableDefinition};
use relations::{Bucket, Handle, Relation, Set, Small};
use sb_db::tables::MulticastGroup;
use uuid::Uuid;

use super::ROUTER;
use super::gateways::REDIRECT;
use super::links::{PEER, Peer};
use super::ports::{self, BINDING, PORT, RESIDENCE, View};
use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::options::Options;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::multicast::learned::{GIVEN, JOINED, KEYS, row, want};
use crate::features::multicast::{EXISTS, Group, MEMBERS, RELAYED_BY, any_group};
use crate::features::switch::DATAPATH;
use crate::features::{chassis, matches, ports as switch_ports};

/// Routers that relay.
static RELAYING: Relation<Handle, ()> = Relation::new("relays multicast");
/// Ports of routers that get everything.
static FLOODED: Relation<Handle, ()> = Relation::new("router port gets all multicast");
/// The ports of routers that relay, by the switch that they lead to; but for those that get everything.
static RELAYS: Bucket<Handle, Handle> = Bucket::new("multicast relays");
/// The datapaths of routers that relay, by whether ports get everything.
static RELAYERS: Set<u32> = Set::new("routers that relay multicast");
/// The ports of a router that lead to who has joined a group.
static RELAYED: Set<(Handle, IpAddr)> = Set::new("relayed multicast group");

const FLOODED_REPORT: Rule = Rule::new(
    Stage::RouterInInput,
    120,
    "IGMP or MLD, of a router of which ports get everything: next",
);
const RELAY: Rule = Rule::new(
    Stage::RouterInInput,
    82,
    "to a group, of a router that relays: next",
);
const OWN_REPORT: Rule = Rule::new(
    Stage::RouterInRouting,
    10_550,
    "IGMP or MLD that the router has sent itself: drop",
);
const GROUP_OF: Rule = Rule::new(
    Stage::RouterInRouting,
    10_500,
    "a group that somebody has joined: by the ports that lead there, and by those that get everything",
);
const REPORT: Rule = Rule::new(
    Stage::RouterInRouting,
    10_460,
    "IGMP or MLD: by the ports that get everything, as it is",
);
const UNREGISTERED: Rule = Rule::new(
    Stage::RouterInRouting,
    10_450,
    "a group that nobody has joined: by the ports that get everything",
);
const DELIVER: Rule = Rule::new(
    Stage::RouterOutDelivery,
    110,
    "to a group, of a router that relays: from the port's MAC",
);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<LogicalRouter>(&[LogicalRouter::COLUMN.name.index])
            .keys(&[(LogicalRouter::COLUMN.options.index, &["mcast_relay"])]),
        Source::north::<LogicalRouterPort>(&[LogicalRouterPort::COLUMN.name.index])
            .keys(&[(LogicalRouterPort::COLUMN.options.index, &["mcast_flood"])]),
        Source::south::<MulticastGroup>(&[MulticastGroup::COLUMN.tunnel_key.index]),
    ],
    indexes: &[matches::PORTS],
    relations: &[&RELAYING, &FLOODED, &RELAYS],
    kinds: &[
        &ROUTER_MODEL,
        &PORT_MODEL,
        &JOIN,
        &MEMBER,
        &SHARED,
        &OF_PORT,
        &GROUP,
        &WISH,
        &FLOWS,
    ],
    rules: &[
        FLOODED_REPORT,
        RELAY,
        OWN_REPORT,
        GROUP_OF,
        REPORT,
        UNREGISTERED,
        DELIVER,
    ],
    ..Feature::new("multicast relay")
};

static ROUTER_MODEL: Kind = Kind {
    name: "model/multicast-relay",
    over: Over::North(LogicalRouter::INDEX),
    reads: &[],
    says: &[&RELAYING],
    wants: &[],
    run: |unit, key| {
        let router = Handle::unpack(key);
        let Some(columns) = unit.north(router) else {
            return;
        };
        let column = LogicalRouter::COLUMN;
        let options = Options::read(column.options.name, columns.get(column.options.index));
        let name = column.name.get(columns);
        let mut complaints = unit.complaints::<LogicalRouter>(router, name);
        if options.truth("mcast_relay", false, &mut complaints) {
            unit.say(&RELAYING, router, ());
        }
        unit.problems(complaints.into_problems());
    },
};

static PORT_MODEL: Kind = Kind {
    name: "model/flooded-router-port",
    over: Over::North(LogicalRouterPort::INDEX),
    reads: &[],
    says: &[&FLOODED],
    wants: &[],
    run: |unit, key| {
        let port = Handle::unpack(key);
        let Some(columns) = unit.north(port) else {
            return;
        };
        let column = LogicalRouterPort::COLUMN;
        let options = Options::read(column.options.name, columns.get(column.options.index));
        let name = column.name.get(columns);
        let mut complaints = unit.complaints::<LogicalRouterPort>(port, name);
        if options.truth("mcast_flood", false, &mut complaints) {
            unit.say(&FLOODED, port, ());
        }
        unit.problems(complaints.into_problems());
    },
};

/// The switch's end gets what is for multicast routers, the router's what is for everybody.
static JOIN: Kind = Kind {
    name: "router-port/multicast",
    ..ports::kind!(
        [
            &RELAYING,
            &FLOODED,
            &PEER,
            &REDIRECT,
            &switch_ports::PORT,
            &switch_ports::BINDING
        ],
        [&RELAYS, &RELAYED_BY, &MEMBERS],
        join
    )
};

fn join(unit: &mut Unit<'_>, view: &View<'_>) {
    if unit.get(&RELAYING, view.router).is_none() || !view.port.is_enabled {
        return;
    }
    let is_flooded = unit.get(&FLOODED, view.row).is_some();
    if is_flooded {
        let statics = Group::Static.of_datapath(view.router);
        let member = member(unit, view);
        unit.member(&MEMBERS, statics, member);
    }
    let Some(Peer::Switch { name, switch, .. }) = unit.get(&PEER, view.row) else {
        return;
    };
    if !is_flooded {
        unit.join(&RELAYS, *switch, view.row);
    }
    let named = unit.having(matches::PORTS, &Atom::String(name.clone()));
    let facing = named.iter().copied().find(|port| {
        let is_enabled = unit
            .get(&switch_ports::PORT, *port)
            .is_some_and(|port| port.is_enabled);
        is_enabled && switch_ports::owner(unit, *port) == Some(*switch)
    });
    if let Some(facing) = facing
        && let Some(binding) = unit.get(&switch_ports::BINDING, facing)
    {
        unit.say(&RELAYED_BY, facing, ());
        unit.member(&MEMBERS, Group::Routers.of_datapath(*switch), binding.uuid);
    }
}

/// The binding by which packets to a group leave: that on the chassis of a gateway port, if it is one.
fn member(unit: &Unit<'_>, view: &View<'_>) -> Uuid {
    let redirect = unit.get(&REDIRECT, view.row).filter(|_| view.is_gateway());
    redirect.map_or(view.binding.uuid, |redirect| redirect.uuid)
}

static MEMBER: Kind = Kind {
    name: "multicast-relay",
    over: Over::Keys(&RELAYING),
    reads: &[&ROUTER, &DATAPATH, &EXISTS],
    says: &[&RELAYERS],
    wants: &[],
    run: |unit, key| {
        let router = Handle::unpack(key);
        let (Some(_), Some(datapath)) = (unit.get(&ROUTER, router), unit.get(&DATAPATH, router))
        else {
            return;
        };
        let floods = u32::from(has_flooded(unit, router));
        unit.member(&RELAYERS, floods, datapath.uuid);
    },
};

/// Whether ports of a router get everything.
fn has_flooded(unit: &Unit<'_>, router: Handle) -> bool {
    let statics = Group::Static.of_datapath(router);
    unit.get(&EXISTS, statics).is_some()
}

static SHARED: Kind = Kind {
    name: "multicast-relay/flows",
    over: Over::Shared(&RELAYERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let floods = u32::unpack(key);
        let name = format!("routers that relay multicast {floods}");
        let mut flows = unit.shared_flows(&RELAYERS, floods, &name, None);
        flows.add(RELAY, &any_group(), [a::next()]);
        if floods == 0 {
            flows.add(UNREGISTERED, &any_group(), [a::drop()]);
            return;
        }
        for report in reports() {
            // A hop limit of 1 is what all of them have (RFC 3376, section 4; RFC 3810, section 5).
            let arrives = report.clone() & m::ip_ttl(&[1]);
            flows.add(FLOODED_REPORT, &arrives, [a::next()]);
            let statics = a::set_outport(Group::Static.name());
            flows.add(REPORT, &report, [a::clone([statics, a::next()])]);
        }
        let rest = [a::clone(on(Group::Static.name()))];
        flows.add(UNREGISTERED, &any_group(), rest);
    },
};

static OF_PORT: Kind = Kind {
    name: "router-port/multicast-flows",
    ..ports::kind!([&RELAYING, &EXISTS], [], |unit, view| {
        if unit.get(&RELAYING, view.router).is_none() || !view.port.is_enabled {
            return;
        }
        let floods = has_flooded(unit, view.router);
        let mut flows = view.flows(unit);
        let leaves = any_group() & m::outport(view.port.name.clone());
        let deliver = [a::set(Symbol::EthSrc, view.port.mac), a::output()];
        flows.add(DELIVER, &leaves, deliver);
        if floods {
            for report in reports() {
                let own = m::eth_src(view.port.mac) & report;
                flows.add(OWN_REPORT, &own, [a::drop()]);
            }
        }
    })
};

fn reports() -> [Expr; 2] {
    let mld = m::is(Symbol::Mldv1) | m::is(Symbol::Mldv2);
    [m::is(Symbol::Igmp), mld]
}

/// By the ports of a group, one hop further.
fn on(group: &str) -> [Action; 3] {
    [a::set_outport(group), a::decrement_ttl(), a::next()]
}

static GROUP: Kind = Kind {
    name: "learned-multicast/relays",
    over: Over::Keys(&JOINED),
    reads: &[
        &RELAYS, &PORT, &ROUTER, &BINDING, &RESIDENCE, &DATAPATH, &REDIRECT,
    ],
    says: &[&RELAYED],
    wants: &[],
    run: |unit, key| {
        let (switch, group) = <(Handle, IpAddr)>::unpack(key);
        if !is_routable(group) {
            return;
        }
        for port in unit.members(&RELAYS, switch) {
            if let Some(view) = ports::view_of(unit, *port) {
                let member = member(unit, &view);
                unit.member(&RELAYED, (view.router, group), member);
            }
        }
    },
};

/// Whether what is sent to a group may leave its link.
fn is_routable(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => !matches!(ip.segments()[0] & 0xf, 0..=3 | 0xf),
    }
}

static WISH: Kind = Kind {
    name: "alloc/relayed-multicast-group",
    over: Over::Keys(&RELAYED),
    reads: &[&ROUTER, &DATAPATH, &chassis::IS_VXLAN],
    says: &[],
    wants: &[&KEYS],
    run: |unit, key| {
        let (router, _) = <(Handle, IpAddr)>::unpack(key);
        if let Some(of) = unit.get(&ROUTER, router) {
            let place = (LogicalRouter::NAME, LogicalRouter::COLUMN.options.name);
            want(unit, key, &of.name, Some(place), u32::MAX);
        }
    },
};

static FLOWS: Kind = Kind {
    name: "relayed-multicast-group",
    over: Over::Keys(&RELAYED),
    reads: &[&DATAPATH, &GIVEN, &EXISTS],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let (router, group) = <(Handle, IpAddr)>::unpack(key);
        let Some(datapath) = row(unit, key, &RELAYED) else {
            return;
        };
        let flooded = has_flooded(unit, router).then(|| a::clone(on(Group::Static.name())));
        let mut then: Vec<Action> = flooded.into_iter().collect();
        then.extend(on(&group.to_string()));
        let mut flows = unit.flows(datapath.uuid, None);
        flows.add(GROUP_OF, &m::ip_dst(group), then);
    },
};
