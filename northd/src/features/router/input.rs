//! The router's own answers, and what it does not forward.
//!
//! Arrives: packets of which is known whether they are for the router (`own`), with MAC and addresses of their port in registers
//! (`admission`). Guarantees that the router answers ARP, neighbour solicitations and pings, says of everything else to itself
//! that nobody is there (a reset for TCP, an ICMP error for the rest), tells senders whose packets have gone too far, and
//! that only what is to be forwarded goes on.
//!
//! Not answered by errors (RFC 1122, section 3.2.2; RFC 4443, section 2.4): later fragments, and packets to groups.

use lflow::action::Transform;
use lflow::{Int, Symbol, a, m};

use super::admission::{HAS_4, HAS_6, MAC, SOURCE_4, SOURCE_6};
use super::family::Family;
use super::own::{ASKED, TO_ME};
use super::{ROUTERS, ROUTERS_NAME};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::flow::Flows;
use crate::compiler::stage::{Rule, Stage};

const MARTIAN: Rule = rule(
    100,
    "addresses that no packet between hosts has (RFC 1812, section 5.3.7): drop",
);
const ANSWER_AS_HOST: Rule = rule(
    91,
    "a solicitation for an outside or a virtual address: advertise it as a host",
);
const ANSWER: Rule = rule(90, "a request or ping for the router: reply");
const OTHER_REQUESTS: Rule = rule(85, "other ARP and neighbour discovery: drop");
const DISCOVERY: Rule = rule(84, "router solicitations and advertisements: next");
const RESERVED: Rule = rule(83, "to a reserved group: drop");
/// Routers that relay let it pass, one above.
const GROUP: Rule = rule(81, "to a group: drop");
const NO_PORT: Rule = rule(
    80,
    "to the router, of a transport protocol: a reset or an unreachable port",
);
const NO_PROTOCOL: Rule = rule(70, "to the router, of another protocol: unreachable");
const TO_ROUTER: Rule = rule(60, "to the router, the rest: drop");
const BROADCAST: Rule = rule(50, "to everybody: drop");
const TOO_FAR: Rule = rule(
    31,
    "too far, by a port with an address of the family: tell the sender",
);
const TOO_FAR_SILENT: Rule = rule(30, "too far, the rest: drop");
const PASS: Rule = rule(0, "the rest: next");

const fn rule(priority: u16, what: &'static str) -> Rule {
    Rule::new(Stage::RouterInInput, priority, what)
}

/// The feature.
pub static FEATURE: Feature = Feature {
    kinds: &[&SHARED],
    rules: &[
        MARTIAN,
        ANSWER_AS_HOST,
        ANSWER,
        OTHER_REQUESTS,
        DISCOVERY,
        RESERVED,
        GROUP,
        NO_PORT,
        NO_PROTOCOL,
        TO_ROUTER,
        BROADCAST,
        TOO_FAR,
        TOO_FAR_SILENT,
        PASS,
    ],
    ..Feature::new("router input")
};

static SHARED: Kind = Kind {
    name: "routers",
    over: Over::Shared(&ROUTERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&ROUTERS, (), ROUTERS_NAME, None);
        answers(&mut flows);
        drops(&mut flows);
        for family in [Family::V4, Family::V6] {
            ping(&mut flows, family);
            unreachable(&mut flows, family);
            too_far(&mut flows, family);
        }
        flows.add(PASS, &m::any(), [a::next()]);
    },
};

fn answers(flows: &mut Flows<'_>) {
    let arp = [
        a::copy(Symbol::EthDst, Symbol::EthSrc),
        a::copy(Symbol::EthSrc, MAC.field()),
        a::set(Symbol::ArpOp, Int::new(2)),
        a::copy(Symbol::ArpTha, Symbol::ArpSha),
        a::copy(Symbol::ArpSha, MAC.field()),
        a::exchange(Symbol::ArpTpa, Symbol::ArpSpa),
        a::copy(Symbol::Outport, Symbol::Inport),
        a::loopback(),
        a::output(),
    ];
    flows.add(ANSWER, &(TO_ME.is_set() & m::arp_op(1)), arp);
    let advertisement = |transform| {
        a::within(
            transform,
            [
                a::copy(Symbol::EthSrc, MAC.field()),
                a::copy(Symbol::Ip6Src, Symbol::NdTarget),
                a::copy(Symbol::NdTll, MAC.field()),
                a::copy(Symbol::Outport, Symbol::Inport),
                a::loopback(),
                a::output(),
            ],
        )
    };
    let solicitation = ASKED.is_set() & m::nd_ns();
    // What is to be translated or balanced is marked as for the router, too; neighbours are not to route by it.
    let as_host = solicitation.clone() & TO_ME.is_set();
    flows.add(ANSWER_AS_HOST, &as_host, [advertisement(Transform::NdNa)]);
    flows.add(
        ANSWER,
        &solicitation,
        [advertisement(Transform::NdNaRouter)],
    );
}

fn drops(flows: &mut Flows<'_>) {
    let network = |symbol: Symbol, text: &str| {
        let network: addr::Cidr = text.parse().expect("a network");
        m::eq(symbol, network)
    };
    let martian = m::is(Symbol::Ip4SrcMcast)
        | m::eq(Symbol::Ip4Src, std::net::Ipv4Addr::BROADCAST)
        | network(Symbol::Ip4Src, "127.0.0.0/8")
        | network(Symbol::Ip4Dst, "127.0.0.0/8")
        | network(Symbol::Ip4Src, "0.0.0.0/8")
        | network(Symbol::Ip4Dst, "0.0.0.0/8");
    flows.add(MARTIAN, &martian, [a::drop()]);
    flows.add(OTHER_REQUESTS, &(m::arp() | m::nd()), [a::drop()]);
    let discovery = m::is(Symbol::NdRs) | m::is(Symbol::NdRa);
    flows.add(DISCOVERY, &discovery, [a::next()]);
    flows.add(RESERVED, &m::is(Symbol::Ip6McastRsvd), [a::drop()]);
    let group = m::is(Symbol::Ip4Mcast) | m::is(Symbol::Ip6Mcast);
    flows.add(GROUP, &group, [a::drop()]);
    flows.add(TO_ROUTER, &TO_ME.is_set(), [a::drop()]);
    flows.add(BROADCAST, &m::eth_bcast(), [a::drop()]);
    flows.add(TOO_FAR_SILENT, &m::ip_ttl(&[0, 1]), [a::drop()]);
}

fn ping(flows: &mut Flows<'_>, family: Family) {
    let [kind, code] = family.icmp();
    let (request, reply) = match family {
        Family::V4 => (8, 0),
        Family::V6 => (128, 129),
    };
    let request = TO_ME.is_set() & m::eq(kind, Int::new(request)) & m::eq(code, Int::new(0));
    let back = [
        a::exchange(family.dst(), family.src()),
        a::set(Symbol::IpTtl, Int::new(255)),
        a::set(kind, Int::new(reply)),
        a::loopback(),
        a::next(),
    ];
    flows.add(ANSWER, &request, back);
}

fn unreachable(flows: &mut Flows<'_>, family: Family) {
    let [kind, code] = family.icmp();
    // Destination unreachable: of IPv4 by port or protocol (RFC 792), of IPv6 by port, and an unknown header.
    let (no_port, no_protocol) = match family {
        Family::V4 => ((3, 3), (3, 2)),
        Family::V6 => ((1, 4), (1, 3)),
    };
    let first = TO_ME.is_set() & family.is() & !m::is(Symbol::IpLaterFrag);
    let back = || {
        [
            a::exchange(Symbol::EthDst, Symbol::EthSrc),
            a::exchange(family.dst(), family.src()),
        ]
    };
    let error = |(of, with): (u128, u128)| {
        let mut actions = back().to_vec();
        actions.push(a::set(Symbol::IpTtl, Int::new(255)));
        actions.push(a::set(kind, Int::new(of)));
        actions.push(a::set(code, Int::new(with)));
        actions.push(a::next());
        family.error(actions)
    };
    let abort = |transform| {
        let mut actions = back().to_vec();
        actions.push(a::next());
        a::within(transform, actions)
    };
    flows.add(NO_PORT, &(first.clone() & m::udp()), [error(no_port)]);
    flows.add(
        NO_PORT,
        &(first.clone() & m::tcp()),
        [abort(Transform::TcpReset)],
    );
    flows.add(
        NO_PORT,
        &(first.clone() & m::is(Symbol::Sctp)),
        [abort(Transform::SctpAbort)],
    );
    flows.add(NO_PROTOCOL, &first, [error(no_protocol)]);
}

fn too_far(flows: &mut Flows<'_>, family: Family) {
    let [kind, code] = family.icmp();
    // Time exceeded (RFC 792; RFC 4443, section 3.3).
    let (exceeded, source, has_source) = match family {
        Family::V4 => (11, SOURCE_4, HAS_4),
        Family::V6 => (3, SOURCE_6, HAS_6),
    };
    let here = family.is() & m::ip_ttl(&[0, 1]) & !m::is(Symbol::IpLaterFrag) & has_source.is_set();
    let error = family.error([
        a::exchange(Symbol::EthDst, Symbol::EthSrc),
        a::set(kind, Int::new(exceeded)),
        a::set(code, Int::new(0)),
        a::copy(family.dst(), family.src()),
        a::copy(family.src(), source.field()),
        a::set(Symbol::IpTtl, Int::new(254)),
        a::copy(Symbol::Outport, Symbol::Inport),
        a::loopback(),
        a::output(),
    ]);
    flows.add(TOO_FAR, &here, [error]);
}
