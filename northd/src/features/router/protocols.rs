//! Routing protocols for the host: what neighbours send to a router's port by BGP or BFD goes to a port of the switch where a
//! routing daemon listens with the same addresses (`options:routing-protocol-redirect`, `options:routing-protocols`).
//!
//! Arrives: packets at the switch that the router's port leads to. Guarantees that those of the protocols that are for an address
//! of the router's port, or answer what the daemon has asked, go to the daemon's port; that both get the answers to ARP requests
//! and solicitations, for who has asked is not known; and that only the router answers such requests: the daemon's own answers,
//! and its router advertisements, are dropped. Where the router works for the port on one chassis, so does all of this.
//!
//! The daemon's port has to have `unknown` addresses: its MAC is the router's.

use std::sync::Arc;

use lflow::{Expr, Symbol, a, m};
use nb_db::tables::{LogicalRouterPort, LogicalSwitchPort};
use ovsdb::Atom;
use relations::{Handle, Relation, Small};

use super::links::{PEER, Peer};
use super::ports::{self, PORT, View};
use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::options::Options;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::matches::PORTS;
use crate::features::ports as switch_ports;
use crate::features::switch::DATAPATH;

/// What router ports hand on.
static REDIRECT: Relation<Handle, Arc<Redirect>> = Relation::new("redirect of routing protocols");

/// TCP's port of BGP (RFC 4271, section 8) and UDP's of BFD (RFC 5881, section 4).
const BGP: u16 = 179;
const BFD: u16 = 3784;

const TO_DAEMON: Rule = Rule::new(
    Stage::InLookup,
    105,
    "of a routing protocol, for an address of a router's port that hands it on: to the daemon's port",
);
const TO_BOTH: Rule = Rule::new(
    Stage::InLookup,
    105,
    "an ARP reply or advertisement for such a router's port: to it, and to the daemon's port",
);
const SILENT: Rule = Rule::new(
    Stage::InCheckPortSec,
    115,
    "an answer to a request, or a router advertisement, of such a daemon: drop, the router's is enough",
);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<LogicalRouterPort>(&[LogicalRouterPort::COLUMN.name.index]).keys(&[(
            LogicalRouterPort::COLUMN.options.index,
            &["routing-protocol-redirect", "routing-protocols"],
        )]),
        Source::north::<LogicalSwitchPort>(&[LogicalSwitchPort::COLUMN.name.index]),
    ],
    relations: &[&REDIRECT],
    kinds: &[&MODEL, &OF_PORT],
    rules: &[TO_DAEMON, TO_BOTH, SILENT],
    ..Feature::new("routing protocols")
};

/// What a router's port hands on, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Redirect {
    /// The port of the switch where the daemon is.
    daemon: Arc<str>,
    takes_bgp: bool,
    takes_bfd: bool,
}

static MODEL: Kind = Kind {
    name: "model/routing-protocols",
    over: Over::Keys(&PORT),
    reads: &[],
    says: &[&REDIRECT],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(port), Some(columns)) = (unit.get(&PORT, row), unit.north(row)) else {
            return;
        };
        let column = LogicalRouterPort::COLUMN.options;
        let options = Options::read(column.name, columns.get(column.index));
        let name = Arc::clone(&port.name);
        let mut complaints = unit.complaints::<LogicalRouterPort>(row, name);
        let daemon = options.text("routing-protocol-redirect");
        let daemon = daemon.filter(|name| !name.is_empty());
        let protocols = options.text("routing-protocols").unwrap_or_default();
        let mut redirect = Redirect {
            daemon: Arc::from(daemon.unwrap_or_default()),
            takes_bgp: false,
            takes_bfd: false,
        };
        let mut at = 0;
        for word in protocols.split(',') {
            match word.trim() {
                "BGP" => redirect.takes_bgp = true,
                "BFD" => redirect.takes_bfd = true,
                "" => {}
                other => {
                    let why = format!("{other:?} is no protocol that can be handed on");
                    let remedy = "it is left out: write BGP, BFD, or both with a comma";
                    complaints.text(column.name, protocols, at, why, remedy);
                }
            }
            at += word.len() + 1;
        }
        let takes_any = redirect.takes_bgp || redirect.takes_bfd;
        match daemon {
            Some(_) if takes_any => unit.say(&REDIRECT, row, Arc::new(redirect)),
            Some(daemon) if protocols.trim().is_empty() => {
                let why = "routing-protocol-redirect needs routing-protocols beside it";
                let remedy = "nothing is handed on: set routing-protocols to BGP, BFD, or both";
                complaints.text(column.name, daemon, 0, why, remedy);
            }
            None if takes_any => {
                let why = "routing-protocols needs routing-protocol-redirect beside it";
                let remedy = "nothing is handed on: name the switch's port of the daemon";
                complaints.text(column.name, protocols, 0, why, remedy);
            }
            _ => {}
        }
        unit.problems(complaints.into_problems());
    },
};

static OF_PORT: Kind = ports::kind!(
    [&PORT, &PEER, &REDIRECT, &switch_ports::PORT],
    [],
    |unit, view| {
        let Some(redirect) = unit.get(&REDIRECT, view.row) else {
            return;
        };
        let mut complaints =
            unit.complaints::<LogicalRouterPort>(view.row, Arc::clone(&view.port.name));
        let column = LogicalRouterPort::COLUMN.options.name;
        match unit.get(&PEER, view.row) {
            Some(Peer::Switch { name, switch, .. }) if view.port.is_enabled => {
                if is_there(unit, *switch, &redirect.daemon) {
                    say(unit, view, (*switch, name), redirect);
                } else {
                    let why = "there is no port of this name in the switch that the router's port leads to";
                    let remedy = "nothing is handed on until there is: correct the name";
                    complaints.text(column, &redirect.daemon, 0, why, remedy);
                }
            }
            _ => {
                let why = "the router's port leads to no switch";
                let remedy = "nothing is handed on until it does, or the option is removed";
                complaints.text(column, &redirect.daemon, 0, why, remedy);
            }
        }
        unit.problems(complaints.into_problems());
    }
);

/// Whether the switch has a port of this name.
fn is_there(unit: &Unit<'_>, switch: Handle, name: &Arc<str>) -> bool {
    let named = unit.having(PORTS, &Atom::String(Arc::clone(name)));
    let mut named = named.iter().copied();
    named.any(|row| {
        let is_port = unit.get(&switch_ports::PORT, row).is_some();
        is_port && switch_ports::owner(unit, row) == Some(switch)
    })
}

fn say(
    unit: &mut Unit<'_>,
    view: &View<'_>,
    (switch, end): (Handle, &Arc<str>),
    redirect: &Redirect,
) {
    let Some(datapath) = unit.get(&DATAPATH, switch) else {
        return;
    };
    let daemon = &redirect.daemon;
    let to_daemon = || [a::set_outport(Arc::clone(daemon)), a::output()];
    let hint = unit.uuid(view.row);
    let mut flows = unit.flows(datapath.uuid, Some(hint));
    // The daemon answers neighbours, and speaks to them first.
    let mut protocols: Vec<Expr> = Vec::new();
    if redirect.takes_bgp {
        protocols.push(m::tcp_dst(BGP) | m::eq(Symbol::TcpSrc, BGP));
    }
    if redirect.takes_bfd {
        protocols.push(m::udp_dst(BFD));
    }
    for ip in view.port.ips() {
        for protocol in &protocols {
            let here = view.at_home(m::ip_dst(ip) & protocol.clone());
            flows.add(TO_DAEMON, &here, to_daemon());
        }
    }
    let answers = m::arp_op(2) | m::nd_na();
    let here = view.at_home(m::eth_dst(view.port.mac) & answers.clone());
    let both = [
        a::clone(to_daemon()),
        a::set_outport(Arc::clone(end)),
        a::output(),
    ];
    flows.add(TO_BOTH, &here, both);
    let speaks = m::inport(Arc::clone(daemon)) & (answers | m::is(Symbol::NdRa));
    // Several ports may hand on to one daemon.
    flows.add_common(SILENT, &speaks, [a::drop()]);
}
