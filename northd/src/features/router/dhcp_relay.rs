//! DHCPv4 relay: guests get their addresses from a server elsewhere (RFC 2131; RFC 1542, section 4).
//!
//! Arrives: on a switch with `other_config:dhcp_relay_port`, requests of guests that the switch does not answer; in a router,
//! requests by a port with `dhcp_relay`, and what its server answers. Guarantees that a request goes to the server from the port's
//! first IPv4 address, by whatever route, and that the answer goes by the port to the guest. What a relay writes into a message, and which
//! messages it refuses, is the controller's (`dhcp_relay_req_chk`, `dhcp_relay_resp_chk`); what it refuses is dropped.
//!
//! | stage | what happens there |
//! | --- | --- |
//! | `ls_in_l2_lkup` | a request goes to the router alone |
//! | `lr_in_ip_input` | a request, or an answer, is checked and written to |
//! | `lr_in_nd_ra_options` | a request that is right gets its addresses, an answer goes out |
//!
//! A guest that has an address renews it at the server itself, by routes.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use lflow::action::{Action, Query};
use lflow::{Expr, Int, Symbol, a, m};
use nb_db::tables::{DhcpRelay, LogicalRouterPort, LogicalSwitch};
use ovsdb::Atom;
use ovsdb::typed::Table;
use relations::{Handle, Relation, Small};
use uuid::Uuid;

use super::ROUTER;
use super::ports::{self, BINDING, PORT, RESIDENCE, View};
use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::options::Options;
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::matches;
use crate::features::multicast::Group;
use crate::features::ports::{self as switch_ports, LINK, LOCALNETS};
use crate::features::switch::{DATAPATH, SWITCH};
#[cfg(test)]
use crate::testing::{Change, routers};

/// Servers that make sense.
static SERVER: Relation<Handle, Ipv4Addr> = Relation::new("dhcp server of a relay");

const IS_REQUEST: Bits = Bits::bit(
    "the packet is a DHCP request that may be relayed",
    Symbol::Reg9,
    14,
    Stage::RouterInInput,
    Stage::RouterInAdvertise,
);
const IS_REPLY: Bits = Bits::bit(
    "the packet is a DHCP reply that may be relayed",
    Symbol::Reg9,
    15,
    Stage::RouterInInput,
    Stage::RouterInAdvertise,
);
const RELAY: Bits = Bits::whole(
    "the relay that the DHCP server has answered",
    Symbol::Reg2,
    Stage::RouterInInput,
    Stage::RouterInAdvertise,
);

const TO_RELAY: Rule = Rule::new(
    Stage::InLookup,
    100,
    "a DHCP request on a switch with a relay: to the router's port",
);
const CHECK: Rule = Rule::new(
    Stage::RouterInInput,
    110,
    "a DHCP request by a port that relays, or an answer of its server: check it",
);
const PASS_ON: Rule = Rule::new(
    Stage::RouterInAdvertise,
    100,
    "one that may be relayed: a request to the server, an answer out by the port",
);
const REFUSED: Rule = Rule::new(Stage::RouterInAdvertise, 90, "one that may not: drop");

const CLIENT_PORT: u16 = 68;
const SERVER_PORT: u16 = 67;

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<DhcpRelay>(&[
            DhcpRelay::COLUMN.name.index,
            DhcpRelay::COLUMN.servers.index,
        ]),
        Source::north::<LogicalRouterPort>(&[LogicalRouterPort::COLUMN.dhcp_relay.index]),
        Source::north::<LogicalSwitch>(&[]).keys(&[(
            LogicalSwitch::COLUMN.other_config.index,
            &["dhcp_relay_port"],
        )]),
    ],
    indexes: &[matches::PORTS],
    relations: &[&SERVER],
    kinds: &[&MODEL, &OF_PORT, &OF_SWITCH],
    rules: &[TO_RELAY, CHECK, PASS_ON, REFUSED],
    bits: &[IS_REQUEST, IS_REPLY, RELAY],
    #[cfg(test)]
    operator: &[Change {
        weight: 4,
        run: routers::relay,
    }],
    ..Feature::new("dhcp relay")
};

static MODEL: Kind = Kind {
    name: "model/dhcp-relay",
    over: Over::North(DhcpRelay::INDEX),
    reads: &[],
    says: &[&SERVER],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let column = DhcpRelay::COLUMN;
        let name: Arc<str> = column.name.get(columns);
        let servers: Option<Arc<str>> = column.servers.get(columns);
        let mut complaints = unit.complaints::<DhcpRelay>(row, name);
        match servers.as_deref().map(str::parse::<Ipv4Addr>) {
            Some(Ok(server)) if !server.is_unspecified() && !server.is_multicast() => {
                unit.say(&SERVER, row, server);
            }
            Some(_) => {
                let text = servers.as_deref().unwrap_or_default();
                let why = "not the IPv4 address of a server";
                let remedy = "nothing is relayed until it is one";
                complaints.text(column.servers.name, text, 0, why, remedy);
            }
            None => {
                let remedy = "nothing is relayed until it has one";
                complaints.column(column.servers.name, "a relay without a server", remedy);
            }
        }
        unit.problems(complaints.into_problems());
    },
};

static OF_PORT: Kind = ports::kind!([&SERVER], [], |unit, view| {
    let Some(columns) = unit.north(view.row) else {
        return;
    };
    let relay: Option<Uuid> = LogicalRouterPort::COLUMN.dhcp_relay.get(columns);
    let relay = relay.and_then(|relay| unit.find_north::<DhcpRelay>(relay));
    let server = relay.and_then(|relay| unit.get(&SERVER, relay).copied());
    let Some(server) = server.filter(|_| view.port.is_enabled) else {
        return;
    };
    match view.port.source(true) {
        Some(IpAddr::V4(relay)) => flows(unit, view, relay, server),
        _ => {
            let name = Arc::clone(&view.port.name);
            let mut complaints = unit.complaints::<LogicalRouterPort>(view.row, name);
            let why = "the port has no IPv4 address to relay from";
            let remedy = "nothing is relayed until it has one";
            complaints.column(LogicalRouterPort::COLUMN.dhcp_relay.name, why, remedy);
            unit.problems(complaints.into_problems());
        }
    }
});

fn flows(unit: &mut Unit<'_>, view: &View<'_>, relay: Ipv4Addr, server: Ipv4Addr) {
    let check = |bit: Bits, response| {
        let (relay, server) = (relay.into(), server.into());
        let query = Query::RelayCheck {
            response,
            relay,
            server,
        };
        Action::Query(bit.field(), query)
    };
    let request = || view.at_home(m::inport(view.port.name.clone()) & is_request());
    let reply = || m::ip_src(server.into()) & is_reply();
    let mut flows = view.flows(unit);

    let checked = [check(IS_REQUEST, false), a::next()];
    flows.add(CHECK, &(request() & !m::is(Symbol::IpIsFrag)), checked);
    let to_server = [
        a::set_ip_src(relay.into()),
        a::set_ip_dst(server.into()),
        a::set(Symbol::UdpSrc, Int::new(SERVER_PORT.into())),
        a::next(),
    ];
    flows.add(PASS_ON, &(IS_REQUEST.is_set() & request()), to_server);
    flows.add(REFUSED, &request(), [a::drop()]);

    let answered = reply() & m::ip_dst(relay.into()) & !m::is(Symbol::IpIsFrag);
    let checked = [
        a::copy(RELAY.field(), Symbol::Ip4Dst),
        check(IS_REPLY, true),
        a::next(),
    ];
    flows.add(CHECK, &answered, checked);
    // Whom it is for, the controller has written into it.
    let answered = reply() & m::eq(RELAY.field(), relay);
    let out = [
        a::set_ip_src(relay.into()),
        a::set(Symbol::UdpDst, Int::new(CLIENT_PORT.into())),
        a::set(Symbol::EthSrc, view.port.mac),
        a::set_outport(view.port.name.clone()),
        a::loopback(),
        a::output(),
    ];
    flows.add(PASS_ON, &(IS_REPLY.is_set() & answered.clone()), out);
    flows.add(REFUSED, &answered, [a::drop()]);
}

static OF_SWITCH: Kind = Kind {
    name: "dhcp-relay/switch",
    over: Over::Keys(&SWITCH),
    reads: &[
        &DATAPATH,
        &LINK,
        &LOCALNETS,
        &switch_ports::PORT,
        &ROUTER,
        &PORT,
        &BINDING,
        &RESIDENCE,
    ],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(switch), Some(columns)) = (unit.get(&SWITCH, row), unit.north(row)) else {
            return;
        };
        let column = LogicalSwitch::COLUMN.other_config;
        let options = Options::read(column.name, columns.get(column.index));
        let Some(name) = options
            .text("dhcp_relay_port")
            .filter(|name| !name.is_empty())
        else {
            return;
        };
        let name: Arc<str> = name.into();
        let named = unit.having(matches::PORTS, &Atom::String(Arc::clone(&name)));
        let mut named = named.iter().copied();
        let peer = named
            .find(|port| switch_ports::owner(unit, *port) == Some(row))
            .and_then(|port| unit.get(&LINK, port))
            .and_then(|link| ports::named(unit, &link.peer))
            .and_then(|(port, _)| unit.get(&PORT, port));
        let (Some(peer), Some(datapath)) = (peer, unit.get(&DATAPATH, row)) else {
            let display = Arc::clone(&switch.name);
            let mut complaints = unit.complaints::<LogicalSwitch>(row, display);
            let why = "the switch has no port of this name that leads to a router";
            let remedy = "requests are not relayed until it has: add it, or correct the name";
            complaints.text(column.name, &name, 0, why, remedy);
            return unit.problems(complaints.into_problems());
        };
        let (datapath, hint) = (datapath.uuid, unit.uuid(row));
        let outside = unit.members(&LOCALNETS, row).iter();
        let outside = outside.filter_map(|(_, port)| unit.get(&switch_ports::PORT, *port));
        let outside: Vec<Arc<str>> = outside.map(|port| port.name.clone()).collect();
        let mut flows = unit.flows(datapath, Some(hint));
        let then = [
            a::set(Symbol::EthDst, peer.mac),
            a::set_outport(name),
            a::next(),
        ];
        flows.add(TO_RELAY, &is_request(), then);
        // What comes from outside is for who relays there, and goes to all as other broadcasts do.
        for port in outside {
            let when = m::inport(port) & is_request();
            let then = [a::set_outport(Group::Flood.name()), a::output()];
            flows.add(TO_RELAY.at(101), &when, then);
        }
    },
};

/// A request of a guest that has no address.
fn is_request() -> Expr {
    m::eq(Symbol::Ip4Src, Ipv4Addr::UNSPECIFIED)
        & m::eq(Symbol::Ip4Dst, Ipv4Addr::BROADCAST)
        & m::udp_src(CLIENT_PORT)
        & m::udp_dst(SERVER_PORT)
}

/// What a server says to a relay.
fn is_reply() -> Expr {
    m::udp_src(SERVER_PORT) & m::udp_dst(SERVER_PORT)
}
