//! ARP and neighbour discovery: requests for known addresses are answered on the spot.
//!
//! Arrives: admitted packets. Guarantees that an ARP request or neighbour solicitation for an address of a port is answered
//! on the asker's own chassis, and never crosses the network. The port that has the address is the exception: its own
//! requests go on, so that it can find out whether another host uses its address (RFC 5227, RFC 4862).
//!
//! Not answered for: ports with `unknown` addresses (the address may have moved behind them), disabled ports, ports with
//! `options:disable_arp_nd_rsp`, addresses that another port had first. Requests from a physical network (`localnet`) go on,
//! too: every chassis gets a copy, and all of them would answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use addr::Mac;
use lflow::Int;
use lflow::Symbol;
use lflow::action::{Action, Transform};
use lflow::{Expr, a, m};

use super::PortView;
use crate::model::PortKind;
use crate::pipeline::{Flows, Rule, Stage};

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

/// The kinds of flows of this feature.
pub const RULES: &[Rule] = &[FROM_OUTSIDE, OWN, ANSWER, PASS];

/// The flows of all switches.
pub fn shared(flows: &mut Flows<'_>) {
    flows.add(PASS, &m::any(), [a::next()]);
}

/// The flows of one port.
pub fn port(view: &PortView<'_>, flows: &mut Flows<'_>) {
    let port = view.port;
    if matches!(port.kind, PortKind::Localnet { .. }) {
        flows.add(FROM_OUTSIDE, &m::inport(port.name.clone()), [a::next()]);
        return;
    }
    if port.is_unknown || !port.is_enabled || !port.is_answered_for {
        return;
    }
    for (ip, mac) in &view.ips {
        let request = request(*ip);
        flows.add(
            OWN,
            &(m::inport(port.name.clone()) & request.clone()),
            [a::next()],
        );
        match ip {
            IpAddr::V4(ip) => flows.add(ANSWER, &request, arp_reply(*ip, *mac)),
            IpAddr::V6(ip) => flows.add(ANSWER, &request, [advertisement(*ip, *mac)]),
        }
    }
}

/// An ARP request or a neighbour solicitation for `ip`.
fn request(ip: IpAddr) -> Expr {
    match ip {
        IpAddr::V4(ip) => m::arp_tpa(ip) & m::arp_op(1),
        IpAddr::V6(ip) => {
            let destinations = [ip, solicited_node(ip)];
            m::nd_ns() & m::one_of(Symbol::Ip6Dst, destinations) & m::nd_target(ip)
        }
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
