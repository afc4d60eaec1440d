//! ARP and neighbour discovery: requests for known addresses are answered on the spot.
//!
//! Arrives: admitted packets. Guarantees that an ARP request or neighbour solicitation to everybody, for an address of a port,
//! is answered on the asker's own chassis and never crosses the network. A request to the port's own MAC goes to the port: it
//! asks whether the port lives. The port that has the address is another exception: its own requests go on, so that it can
//! find out whether another host uses its address (RFC 5227, RFC 4862).
//!
//! Which MAC has the address is found in a stage that routers have, too ([`segments`](super::segments)): one flow an address
//! is both this answer and the MAC of a router's next hop. The request carries the address there, and the reply is one flow
//! for all.
//!
//! Not answered for: ports with `unknown` addresses (the address may have moved behind them), disabled ports, ports with
//! `options:disable_arp_nd_rsp`, addresses that another port had first, and any port of a switch that is transparent to VLAN
//! tags, where one address may be somebody else in each VLAN; external ports, who answer for themselves behind a physical network;
//! and virtual ports, whose guest answers. Requests from a physical network (`localnet`) go on, too: every
//! chassis gets a copy, and all of them would answer. A switch that is a way out and nothing else, with ports to physical networks
//! and to one router, is *quiet*: nobody asks there who is answered, so that it needs no flows for that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use addr::Mac;
use lflow::Int;
use lflow::Symbol;
use lflow::action::{Action, Transform};
use lflow::{Expr, a, m};
use nb_db::tables::{LogicalSwitch, LogicalSwitchPort};
use ovsdb::Atom;
use relations::{Handle, Relation, Small};

use super::ports::{self, IPS, PortKind, PortView, is_first};
use super::segments;
use super::switch::{DATAPATH, SWITCH, SWITCHES, SWITCHES_NAME};
use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;

/// Somebody asks everybody for an address; the request is not to be answered by its own port.
pub const ASKED: Bits = Bits::bit(
    "somebody asks for an address",
    Symbol::Reg9,
    6,
    Stage::InAsk,
    Stage::InAnswer,
);

const FROM_OUTSIDE: Rule = Rule::new(Stage::InAsk, 100, "from a localnet port: next");
const OWN: Rule = Rule::new(
    Stage::InAsk,
    100,
    "a port asks for an address of its own: next",
);
const ASK: Rule = Rule::new(
    Stage::InAsk,
    50,
    "a request to everybody: say which address is asked for",
);
const ASK_NOT: Rule = Rule::new(Stage::InAsk, 0, "the rest: next");
const KNOWN_NOT: Rule = Rule::new(Stage::InNeighbours, 0, "the rest: next");
const ANSWER_AS_ROUTER: Rule = Rule::new(
    Stage::InAnswer,
    60,
    "a solicitation for a router's address: advertise it as a router",
);
const ANSWER: Rule = Rule::new(
    Stage::InAnswer,
    50,
    "a request whose address is known: reply to the asker",
);
const PASS: Rule = Rule::new(Stage::InAnswer, 0, "the rest: next");

/// There is a value for each quiet switch.
static QUIET: Relation<Handle, ()> = Relation::new("quiet switch");
/// A switch with more ports is not looked at: it is no mere way out.
const MAX_QUIET: usize = 4;
/// The option by which a port to a router answers for others, also to the router.
const PROXY: &str = "arp_proxy";

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<LogicalSwitch>(&[
            LogicalSwitch::COLUMN.ports.index,
            LogicalSwitch::COLUMN.forwarding_groups.index,
        ]),
        Source::north::<LogicalSwitchPort>(&[])
            .keys(&[(LogicalSwitchPort::COLUMN.options.index, &[PROXY])]),
    ],
    relations: &[&QUIET],
    kinds: &[&SHARED, &IS_QUIET, &OF_SWITCH, &OF_PORT],
    rules: &[
        FROM_OUTSIDE,
        OWN,
        ASK,
        ASK_NOT,
        KNOWN_NOT,
        ANSWER_AS_ROUTER,
        ANSWER,
        PASS,
    ],
    bits: &[ASKED],
    ..Feature::new("neighbours")
};

static SHARED: Kind = Kind {
    name: "switches",
    over: Over::Shared(&SWITCHES),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        // A request goes to everybody; one for a known address has by now the MAC for its destination.
        let is_known = ASKED.is_set() & m::eq(Symbol::EthDst.bit(40), Int::new(0));
        let solicitation = is_known.clone() & m::nd_ns();
        let as_router = solicitation.clone() & segments::IS_ROUTER.is_set();
        let mut flows = unit.shared_flows(&SWITCHES, (), SWITCHES_NAME, None);
        flows.add(ASK_NOT, &m::any(), [a::next()]);
        flows.add(KNOWN_NOT, &m::any(), [a::next()]);
        flows.add(
            ANSWER_AS_ROUTER,
            &as_router,
            [advertisement(Transform::NdNaRouter)],
        );
        flows.add(ANSWER, &solicitation, [advertisement(Transform::NdNa)]);
        flows.add(ANSWER, &(is_known & m::arp_op(1)), arp_reply());
        flows.add(PASS, &m::any(), [a::next()]);
    },
};

static IS_QUIET: Kind = Kind {
    name: "switch/quiet",
    over: Over::Keys(&SWITCH),
    reads: &[&ports::PORT],
    says: &[&QUIET],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        if is_quiet(unit, row) {
            unit.say(&QUIET, row, ());
        }
    },
};

/// Whether a switch has ports to physical networks and to one router alone, and nothing that the router may ask for.
fn is_quiet(unit: &Unit<'_>, switch: Handle) -> bool {
    let (column, of_port) = (LogicalSwitch::COLUMN, LogicalSwitchPort::COLUMN);
    let Some(columns) = unit.north(switch) else {
        return false;
    };
    let ports = columns.get(column.ports.index).atoms();
    let has_groups = !columns.get(column.forwarding_groups.index).is_empty();
    if has_groups || ports.len() > MAX_QUIET {
        return false;
    }
    let uuids = ports.iter().filter_map(Atom::as_uuid);
    let mut routers = 0;
    for port in uuids.filter_map(|uuid| unit.find_north::<LogicalSwitchPort>(uuid)) {
        match unit.get(&ports::PORT, port).map(|port| &port.kind) {
            Some(PortKind::Router { .. }) => {
                let options = unit.north(port).map(|row| row.get(of_port.options.index));
                let answers = options.is_some_and(|options| options.get_str(PROXY).is_some());
                if answers {
                    return false;
                }
                routers += 1;
            }
            Some(PortKind::Localnet { .. }) | None => {}
            Some(_) => return false,
        }
    }
    routers <= 1
}

static OF_SWITCH: Kind = Kind {
    name: "switch",
    over: Over::Keys(&SWITCH),
    reads: &[&DATAPATH, &QUIET],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(switch), Some(datapath)) = (unit.get(&SWITCH, row), unit.get(&DATAPATH, row))
        else {
            return;
        };
        if switch.is_vlan_transparent || unit.get(&QUIET, row).is_some() {
            return;
        }
        let hint = unit.uuid(row);
        let mut flows = unit.flows(datapath.uuid, Some(hint));
        let arp = m::eth_dst(Mac::BROADCAST) & m::arp_op(1);
        let solicitation = m::eth_mcast() & m::nd_ns();
        for (request, ip, asked) in [
            (arp, IpAddr::V4(Ipv4Addr::UNSPECIFIED), Symbol::ArpTpa),
            (solicitation, Ipv6Addr::UNSPECIFIED.into(), Symbol::NdTarget),
        ] {
            let ask = [
                a::set(ASKED.field(), Int::new(1)),
                segments::set_segment(datapath.key, ip),
                a::copy(segments::address(ip), asked),
                a::next(),
            ];
            flows.add(ASK, &request, ask);
        }
    },
};

static OF_PORT: Kind = ports::kind!([&IPS, &SWITCH, &QUIET], [], |unit, view| {
    let port = view.port;
    let ips = own_ips(unit, view);
    let is_way_out = matches!(
        port.kind,
        PortKind::Localnet { .. } | PortKind::Router { .. }
    );
    let is_quiet = is_way_out && unit.get(&QUIET, view.switch).is_some();
    if matches!(port.kind, PortKind::Localnet { .. }) {
        if is_quiet {
            return;
        }
        let mut flows = view.flows(unit);
        flows.add(FROM_OUTSIDE, &m::inport(port.name.clone()), [a::next()]);
        return;
    }
    if !port.is_enabled || matches!(port.kind, PortKind::Virtual { .. }) {
        return;
    }
    let switch = unit.get(&SWITCH, view.switch);
    let is_transparent = switch.is_some_and(|switch| switch.is_vlan_transparent);
    let is_outside = matches!(port.kind, PortKind::External { .. });
    let is_answered = !is_transparent && !is_outside && !port.is_unknown && port.is_answered_for;
    let is_router = matches!(port.kind, PortKind::Router { .. });
    let mut requests: Vec<Expr> = Vec::new();
    for (ip, mac) in ips {
        let known = segments::is_asked(view.datapath.key, ip);
        let answer = segments::answer(mac, is_router);
        if is_answered {
            segments::flows(unit, view.switch, view.row).add(segments::KNOWN, &known, answer);
            requests.push(request(ip));
        } else {
            let mut flows = segments::router_flows(unit, view.switch, view.row);
            flows.add(segments::KNOWN, &known, answer);
        }
    }
    let requests = requests.into_iter().filter(|_| !is_quiet);
    if let Some(request) = requests.reduce(|all, one| all | one) {
        let own = m::inport(port.name.clone()) & request;
        view.flows(unit).add(OWN, &own, [a::next()]);
    }
});

/// The IP addresses that are the port's alone, each with its MAC.
fn own_ips(unit: &mut Unit<'_>, view: &PortView<'_>) -> Vec<(IpAddr, Mac)> {
    let name = view.port.name.clone();
    let mut complaints = unit.complaints::<LogicalSwitchPort>(view.row, name);
    let mut ips: Vec<(IpAddr, Mac)> = Vec::new();
    for (mac, ip) in view.neighbours() {
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

/// The packet becomes the reply and goes back. Its destination is the MAC that was asked for.
fn arp_reply() -> [Action; 8] {
    [
        a::exchange(Symbol::EthDst, Symbol::EthSrc),
        a::set(Symbol::ArpOp, Int::new(2)),
        a::copy(Symbol::ArpTha, Symbol::ArpSha),
        a::copy(Symbol::ArpSha, Symbol::EthSrc),
        a::exchange(Symbol::ArpTpa, Symbol::ArpSpa),
        a::copy(Symbol::Outport, Symbol::Inport),
        a::loopback(),
        a::output(),
    ]
}

/// An advertisement is made from the solicitation, whose destination is the MAC that was asked for, and goes back.
fn advertisement(transform: Transform) -> Action {
    a::within(
        transform,
        [
            a::copy(Symbol::Outport, Symbol::Inport),
            a::loopback(),
            a::output(),
        ],
    )
}

/// The group that a solicitation for `ip` is sent to (RFC 4291, section 2.7.1).
pub fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., x, y, z] = ip.octets();
    let low = u16::from_be_bytes([y, z]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(x), low)
}

#[cfg(test)]
mod tests {
    use ovsdb::Uuid;
    use sb_db::tables::LogicalFlow;

    use super::*;
    use crate::testing::{World, insert};

    /// How many flows tell requests apart in a switch with ports of these types.
    fn flows(kinds: &[&str]) -> usize {
        let mut world = World::new();
        let mut rows = Vec::new();
        let mut ports = Vec::new();
        for (place, kind) in kinds.iter().enumerate() {
            let mut port = LogicalSwitchPort {
                name: format!("p{place}").into(),
                r#type: (*kind).into(),
                addresses: vec![format!("02:00:00:00:00:0{place} 10.0.0.{place}").into()],
                ..Default::default()
            };
            if *kind == "localnet" {
                port.addresses = vec!["unknown".into()];
                port.options = [("network_name".into(), "physnet".into())].into();
            }
            let uuid = Uuid::from_u128(1 + place as u128);
            rows.push(insert(uuid, &port));
            ports.push(uuid);
        }
        let switch = LogicalSwitch {
            name: "s".into(),
            ports,
            ..Default::default()
        };
        rows.push(insert(Uuid::from_u128(100), &switch));
        world.north(rows);
        let flows = world.sb::<LogicalFlow>().into_iter();
        let of_switch = flows.filter(|(_, flow)| {
            let table = i64::from(Stage::InAsk.table());
            flow.logical_datapath.is_some() && flow.table_id == table
        });
        of_switch.count()
    }

    #[test]
    fn a_switch_that_is_a_way_out_and_nothing_else_asks_nobody() {
        assert_eq!(flows(&["localnet", "router"]), 0);
        assert_eq!(flows(&["localnet"]), 0);
        // How requests are asked, of two families; the ports' own; and those of the physical network.
        assert_eq!(flows(&["localnet", "router", ""]), 2 + 2 + 1);
        assert_eq!(flows(&["localnet", "router", "router"]), 2 + 2 + 1);
        assert_eq!(flows(&["router", ""]), 2 + 2);
    }
}
