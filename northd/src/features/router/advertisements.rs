//! Router advertisements: guests learn prefixes, routes and DNS from the router (RFC 4861, RFC 4191, RFC 8106).
//!
//! Arrives: what is not for the router itself. Guarantees that a solicitation is answered by a port with
//! `ipv6_ra_configs:address_mode` and a network of IPv6 that leads to a switch, on the guest's own chassis. The encoding is the controller's
//! (`put_nd_ra_opts`), which also tells whether it was a solicitation. Who has no address yet is answered at its MAC address and at
//! that of all nodes.
//!
//! With `ipv6_ra_configs:send_periodic` controllers advertise by themselves; what they say stands in `Port_Binding.options`, and
//! is put there by `links`.

mod model;

use std::net::Ipv6Addr;
use std::sync::Arc;

use addr::Cidr;
use lflow::action::OptionsKind;
use lflow::{Expr, Int, Symbol, a, m};
use nb_db::tables::LogicalRouterPort;
use ovsdb::typed::Table;
use relations::{Handle, Relation, Small};

use super::links::{PEER, Peer};
use super::ports::{self, IPS, NETWORKS, PERIODIC, View, has_network, is_link_local};
use super::{ROUTERS, ROUTERS_NAME};
use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::ports::{LOCALNETS, PORT};
use crate::features::switch::SWITCH;
use crate::features::underlay::{self, EVERYWHERE, GUEST_MTU};
use model::Configuration;

/// What ports are to tell.
static CONFIGURATION: Relation<Handle, Arc<Configuration>> = Relation::new("router advertisements");

/// Nothing has written this bit before, so a guest's own advertisement is not taken for an answer.
const IS_ANSWER: Bits = Bits::bit(
    "the solicitation has become an advertisement",
    Symbol::Reg9,
    12,
    Stage::RouterInAdvertise,
    Stage::RouterInAdvertised,
);

const SOLICITED: Rule = Rule::new(
    Stage::RouterInAdvertise,
    50,
    "a solicitation to a port that advertises: make it an advertisement",
);
const OTHERS: Rule = Rule::new(Stage::RouterInAdvertise, 0, "the rest: next");
const TO_ALL: Rule = Rule::new(
    Stage::RouterInAdvertised,
    60,
    "an advertisement for somebody without an address: to all nodes, at its MAC",
);
const BACK: Rule = Rule::new(
    Stage::RouterInAdvertised,
    50,
    "an advertisement: back to who asked, from the port's MAC and link-local address",
);
const PASS: Rule = Rule::new(Stage::RouterInAdvertised, 0, "the rest: next");

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<LogicalRouterPort>(&[LogicalRouterPort::COLUMN.name.index])
            .keys(&[(LogicalRouterPort::COLUMN.ipv6_ra_configs.index, model::KEYS)]),
    ],
    relations: &[&CONFIGURATION],
    kinds: &[&MODEL, &SHARED, &BY_ITSELF, &OF_PORT],
    rules: &[SOLICITED, OTHERS, TO_ALL, BACK, PASS],
    bits: &[IS_ANSWER],
    ..Feature::new("router advertisements")
};

static MODEL: Kind = Kind {
    name: "model/router-advertisements",
    over: Over::North(LogicalRouterPort::INDEX),
    reads: &[&GUEST_MTU, &EVERYWHERE, &SWITCH, &LOCALNETS, &PORT, &PEER],
    says: &[&CONFIGURATION],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let (configuration, problems) = Configuration::parse(unit.uuid(row), columns, || {
            let Peer::Switch { switch, .. } = unit.get(&PEER, row)? else {
                return None;
            };
            underlay::mtu_of(unit, *switch)
        });
        if let Some(configuration) = configuration {
            unit.say(&CONFIGURATION, row, Arc::new(configuration));
        }
        unit.problems(problems);
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
        flows.add(OTHERS, &m::any(), [a::next()]);
        flows.add(PASS, &m::any(), [a::next()]);
    },
};

static BY_ITSELF: Kind = Kind {
    name: "router-port/advertisements",
    ..ports::kind!(
        [&CONFIGURATION, &PEER, &IPS, &NETWORKS],
        [&PERIODIC],
        |unit, view| {
            let Some(configuration) = unit.get(&CONFIGURATION, view.row) else {
                return;
            };
            if !view.port.is_enabled || !leads_to_guests(unit, view) {
                return;
            }
            let prefixes = prefixes(unit, view);
            let port = view.port;
            let told = configuration.periodic(port.mac, port.link_local(), &prefixes);
            if let Some(told) = told {
                unit.say(&PERIODIC, view.row, told);
            }
        }
    )
};

static OF_PORT: Kind = ports::kind!(
    [&CONFIGURATION, &PEER, &IPS, &NETWORKS],
    [],
    |unit, view| {
        if let Some(configuration) = unit.get(&CONFIGURATION, view.row) {
            answer(unit, view, configuration);
        }
    }
);

fn answer(unit: &mut Unit<'_>, view: &View<'_>, configuration: &Configuration) {
    let prefixes = prefixes(unit, view);
    if !view.port.is_enabled || prefixes.is_empty() || !leads_to_guests(unit, view) {
        return;
    }
    tell_left_out(unit, view, configuration, prefixes.len());
    let port = view.port;
    let here = |kind: Symbol| -> Expr {
        m::inport(port.name.clone()) & m::eq(Symbol::Ip6Dst, ALL_ROUTERS) & m::is(kind)
    };
    let kind = OptionsKind::RouterAdvertisement;
    let options = configuration.options(port.mac, &prefixes);
    let put = a::put_options(IS_ANSWER.field(), kind, options);
    let answer = here(Symbol::NdRa) & IS_ANSWER.is_set();
    let nowhere = m::eq(Symbol::Ip6Src, Ipv6Addr::UNSPECIFIED);
    let from_here = [
        a::set(Symbol::EthSrc, port.mac),
        a::set(Symbol::Ip6Src, port.link_local()),
        a::copy(Symbol::Outport, Symbol::Inport),
        a::set(Symbol::FlagsLoopback, Int::new(1)),
        a::output(),
    ];
    let mut to_all = vec![
        // To the address of all, and to the one who asked (RFC 6085): nobody makes others hear of it.
        a::copy(Symbol::EthDst, Symbol::EthSrc),
        a::set(Symbol::Ip6Dst, ALL_NODES),
    ];
    to_all.extend(from_here.clone());
    let mut back = vec![
        a::copy(Symbol::EthDst, Symbol::EthSrc),
        a::copy(Symbol::Ip6Dst, Symbol::Ip6Src),
    ];
    back.extend(from_here);
    let mut flows = view.flows(unit);
    flows.add(SOLICITED, &here(Symbol::NdRs), [put, a::next()]);
    flows.add(TO_ALL, &(answer.clone() & nowhere), to_all);
    flows.add(BACK, &answer, back);
}

/// Whether hosts may be at the port's other end: between two routers nobody makes addresses of what is advertised.
fn leads_to_guests(unit: &Unit<'_>, view: &View<'_>) -> bool {
    matches!(unit.get(&PEER, view.row), Some(Peer::Switch { .. }))
}

/// More networks, or domains beside them, than an advertisement has room for.
fn tell_left_out(
    unit: &mut Unit<'_>,
    view: &View<'_>,
    configuration: &Configuration,
    advertised: usize,
) {
    let name = Arc::clone(&view.port.name);
    let mut complaints = unit.complaints::<LogicalRouterPort>(view.row, name);
    let column = LogicalRouterPort::COLUMN;
    let count = networks(unit, view).len();
    if count > advertised {
        let why = format!("the port has {count} networks of IPv6, and advertises {advertised}");
        let remedy = "give the others to further ports, or remove ipv6_ra_configs";
        complaints.column(column.networks.name, why, remedy);
    }
    let (told, all) = (
        configuration.domains(advertised).len(),
        configuration.domain_count(),
    );
    if told < all {
        let why = format!("an advertisement has room for {told} of the {all} domains of dnssl");
        let remedy = "the others are left out: shorten them, or raise the mtu";
        complaints.column(column.ipv6_ra_configs.name, why, remedy);
    }
    unit.problems(complaints.into_problems());
}

/// The networks that the port advertises.
fn prefixes(unit: &Unit<'_>, view: &View<'_>) -> Vec<Cidr> {
    let mut networks = networks(unit, view);
    networks.truncate(model::MAX_PREFIXES);
    networks
}

/// The networks of IPv6 that are the port's own: those of which guests may make addresses.
fn networks(unit: &Unit<'_>, view: &View<'_>) -> Vec<Cidr> {
    let mut prefixes: Vec<Cidr> = Vec::new();
    for cidr in &view.port.networks {
        let network = cidr.network();
        // Of a single address nobody makes another one.
        let is_wanted = !cidr.is_ipv4() && !is_link_local(cidr.addr()) && cidr.prefix_len() < 128;
        if is_wanted && !prefixes.contains(&network) && has_network(unit, view, *cidr) {
            prefixes.push(network);
        }
    }
    prefixes
}
