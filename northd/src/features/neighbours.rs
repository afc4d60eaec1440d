//! ARP and neighbour discovery: requests for known addresses are answered on the spot.
//!
//! Arrives: admitted packets. Guarantees that an ARP request or neighbour solicitation to everybody, for an address of a port,
//! is answered on the asker's own chassis and never crosses the network. A request to the port's own MAC goes to the port: it
//! asks whether the port lives. The port that has the address is another exception: its own requests go on, so that it can
//! find out whether another host uses its address (RFC 5227, RFC 4862).
//!
//! Not answered for: ports with `unknown` addresses (the address may have moved behind them), disabled ports, ports with
//! `options:disable_arp_nd_rsp`, addresses that another port had first, and any port of a switch that is transparent to VLAN
//! tags, where one address may be somebody else in each VLAN. Requests from a physical network (`localnet`) go on, too: every
//! chassis gets a copy, and all of them would answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use addr::Mac;
use lflow::Int;
use lflow::Symbol;
use lflow::action::{Action, Transform};
use lflow::{Expr, a, m};
use nb_db::tables::LogicalSwitchPort;

use super::ports::{self, IPS, PortKind, PortView, is_first};
use super::switch::{SWITCH, SWITCHES, SWITCHES_NAME};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;

const FROM_OUTSIDE: Rule = Rule::new(Stage::InNeighbours, 100, "from a localnet port: next");
const OWN: Rule = Rule::new(
    Stage::InNeighbours,
    100,
    "a port asks for its own address: next",
);
const ANSWER: Rule = Rule::new(
    Stage::InNeighbours,
    50,
    "a request for a known address: reply to the asker",
);
const PASS: Rule = Rule::new(Stage::InNeighbours, 0, "the rest: next");

/// The feature.
pub static FEATURE: Feature = Feature {
    kinds: &[&SHARED, &OF_PORT],
    rules: &[FROM_OUTSIDE, OWN, ANSWER, PASS],
    ..Feature::new("neighbours")
};

static SHARED: Kind = Kind {
    name: "switches",
    over: Over::Shared(&SWITCHES),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&SWITCHES, (), SWITCHES_NAME, None);
        flows.add(PASS, &m::any(), [a::next()]);
    },
};

static OF_PORT: Kind = ports::kind!([&IPS, &SWITCH], [], |unit, view| {
    let port = view.port;
    let ips = own_ips(unit, view);
    if matches!(port.kind, PortKind::Localnet { .. }) {
        let mut flows = view.flows(unit);
        flows.add(FROM_OUTSIDE, &m::inport(port.name.clone()), [a::next()]);
        return;
    }
    let switch = unit.get(&SWITCH, view.switch);
    let is_transparent = switch.is_some_and(|switch| switch.is_vlan_transparent);
    if is_transparent || port.is_unknown || !port.is_enabled || !port.is_answered_for {
        return;
    }
    let mut flows = view.flows(unit);
    for (ip, mac) in ips {
        let request = request(ip);
        let own = m::inport(port.name.clone()) & request.clone();
        flows.add(OWN, &own, [a::next()]);
        match ip {
            IpAddr::V4(ip) => flows.add(ANSWER, &request, arp_reply(ip, mac)),
            IpAddr::V6(ip) => flows.add(ANSWER, &request, [advertisement(ip, mac)]),
        }
    }
});

/// The IP addresses that are the port's alone, each with its MAC.
fn own_ips(unit: &mut Unit<'_>, view: &PortView<'_>) -> Vec<(IpAddr, Mac)> {
    let name = view.port.name.clone();
    let mut complaints = unit.complaints::<LogicalSwitchPort>(view.row, name);
    let mut ips: Vec<(IpAddr, Mac)> = Vec::new();
    for (mac, ip) in view.port.neighbours() {
        let ip = ip.addr();
        let claims = unit.members(&IPS, (view.switch, ip));
        let is_new = !ips.iter().any(|(known, _)| *known == ip);
        if is_first(unit, view, claims, &ip, &mut complaints) && is_new {
            ips.push((ip, mac));
        }
    }
    unit.problems(complaints.into_problems());
    ips
}

/// An ARP request or a neighbour solicitation for `ip`, to everybody: one to the port alone asks whether it lives.
fn request(ip: IpAddr) -> Expr {
    match ip {
        IpAddr::V4(ip) => m::eth_dst(Mac::BROADCAST) & m::arp_tpa(ip) & m::arp_op(1),
        IpAddr::V6(ip) => m::nd_ns() & m::ip_dst(solicited_node(ip).into()) & m::nd_target(ip),
    }
}

/// The packet becomes the reply and goes back.
fn arp_reply(ip: Ipv4Addr, mac: Mac) -> [Action; 10] {
    [
        a::copy(Symbol::EthDst, Symbol::EthSrc),
        a::set(Symbol::EthSrc, mac),
        a::set(Symbol::ArpOp, Int::new(2)),
        a::copy(Symbol::ArpTha, Symbol::ArpSha),
        a::set(Symbol::ArpSha, mac),
        a::copy(Symbol::ArpTpa, Symbol::ArpSpa),
        a::set(Symbol::ArpSpa, ip),
        a::copy(Symbol::Outport, Symbol::Inport),
        a::loopback(),
        a::output(),
    ]
}

/// An advertisement is made from the solicitation and goes back.
fn advertisement(ip: Ipv6Addr, mac: Mac) -> Action {
    a::within(
        Transform::NdNa,
        [
            a::set(Symbol::EthSrc, mac),
            a::set(Symbol::Ip6Src, ip),
            a::set(Symbol::NdTarget, ip),
            a::set(Symbol::NdTll, mac),
            a::copy(Symbol::Outport, Symbol::Inport),
            a::loopback(),
            a::output(),
        ],
    )
}

/// The group that a solicitation for `ip` is sent to (RFC 4291, section 2.7.1).
fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., x, y, z] = ip.octets();
    let low = u16::from_be_bytes([y, z]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(x), low)
}
