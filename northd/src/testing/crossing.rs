//! Packets that cross routers: three switches behind two routers with a direct link between them. What should become of a
//! packet is written here by hand, without a look at flows.
//!
//! ```text
//!   a ──┐
//!       r1 ── 10.9.0.0/30, fd09::/126 ── r2 ── c
//!   b ──┘
//! ```

use std::net::IpAddr;

use addr::Mac;
use lflow::Base;
use lflow::interp::State;
use nb_db::tables as nb;
use ovsdb::Uuid;
use ovsdb::operation::Operation;
use sb_db::tables as sb;

use super::chassis::Chassis;
use super::packet::{Content, Packet};
use super::{World, insert};

/// A switch: its name, its number, and its router.
const SWITCHES: [(&str, u8, &str); 3] = [("a", 1, "r1"), ("b", 2, "r1"), ("c", 3, "r2")];

#[test]
fn guests_reach_each_other_one_hop_older_a_router() {
    let (_, chassis) = network();
    for from in SWITCHES {
        for to in SWITCHES.into_iter().filter(|to| to.1 != from.1) {
            for is_ip4 in [true, false] {
                let packet = packet(from, guest_ip(to.1, is_ip4));
                let heard = send(&chassis, from, &packet.state());
                let hops = if from.2 == to.2 { 1 } else { 2 };
                let [(name, state)] = heard.as_slice() else {
                    panic!("{from:?} to {to:?}: {heard:?}");
                };
                assert_eq!(**name, *format!("{}-vm", to.0));
                assert_eq!(state.get(Base::IpTtl), 64 - hops, "{from:?} to {to:?}");
                assert_eq!(mac(state, Base::EthSrc), router_mac(to.1));
                assert_eq!(mac(state, Base::EthDst), guest_mac(to.1));
            }
        }
    }
}

#[test]
fn a_router_says_what_it_does_not_forward() {
    let (_, chassis) = network();
    let from = SWITCHES[0];
    for is_ip4 in [true, false] {
        let kind = if is_ip4 {
            Base::Icmp4Type
        } else {
            Base::Icmp6Type
        };
        let too_far = packet(from, guest_ip(2, is_ip4));
        let too_far = too_far.state().with(Base::IpTtl, 1u128);
        let no_port = packet(from, router_ip(2, is_ip4)).state();
        for (sent, expected) in [
            (too_far, if is_ip4 { 11u128 } else { 3 }),
            (no_port, if is_ip4 { 3 } else { 1 }),
        ] {
            let heard = send(&chassis, from, &sent);
            let [(name, state)] = heard.as_slice() else {
                panic!("{heard:?}");
            };
            assert_eq!(**name, *"a-vm");
            assert_eq!(state.get(kind), expected);
            assert_eq!(mac(state, Base::EthDst), guest_mac(1));
            assert_eq!(mac(state, Base::EthSrc), router_mac(1));
        }
        let nowhere: IpAddr = if is_ip4 { "10.77.0.1" } else { "fd77::1" }
            .parse()
            .expect("an address");
        let heard = send(&chassis, from, &packet(from, nowhere).state());
        assert!(heard.is_empty(), "without a route: {heard:?}");
    }
}

#[test]
fn an_unknown_neighbour_is_asked_for_and_learned_from_its_answer() {
    let (_, chassis) = network();
    let (from, to) = (SWITCHES[0], SWITCHES[1]);
    let stranger: IpAddr = "10.0.2.77".parse().expect("an address");
    let sent = packet(from, stranger).state();
    let asked = send(&chassis, from, &sent);
    let [(name, state)] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    assert_eq!(**name, *"b-vm", "the request goes to everybody there");
    assert_eq!(state.get(Base::ArpOp), 1);
    let answer = State::default()
        .with(Base::EthType, 0x0806u128)
        .with(Base::EthSrc, u128::from(guest_mac(7).to_u64()))
        .with(Base::EthDst, u128::from(router_mac(2).to_u64()))
        .with(Base::ArpOp, 2u128)
        .with(Base::ArpSha, u128::from(guest_mac(7).to_u64()))
        .with(Base::ArpSpa, bits(stranger));
    assert!(send(&chassis, to, &answer).is_empty());
    let heard = send(&chassis, from, &sent);
    // Nobody on the switch has that MAC; it goes nowhere, but not as a request any more.
    assert!(heard.is_empty(), "{heard:?}");
    assert_eq!(chassis.neighbours.borrow().len(), 1);
}

fn packet(from: (&str, u8, &str), to: IpAddr) -> Packet {
    Packet {
        src: guest_mac(from.1),
        dst: router_mac(from.1),
        is_tagged: false,
        content: Content::Ip(guest_ip(from.1, to.is_ipv4()), to),
    }
}

fn send(
    chassis: &Chassis,
    from: (&str, u8, &str),
    state: &State,
) -> Vec<(std::sync::Arc<str>, State)> {
    let (datapath, port) = chassis.find(&format!("{}-vm", from.0));
    chassis.send_state(datapath, port, state)
}

fn mac(state: &State, base: Base) -> Mac {
    Mac::from_u64(u64::try_from(state.get(base)).expect("48 bits"))
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn guest_mac(switch: u8) -> Mac {
    Mac([2, 0, 0, 0, switch, 2])
}

fn router_mac(switch: u8) -> Mac {
    Mac([2, 0, 0, 0, switch, 1])
}

fn guest_ip(switch: u8, is_ip4: bool) -> IpAddr {
    ip(switch, 2, is_ip4)
}

fn router_ip(switch: u8, is_ip4: bool) -> IpAddr {
    ip(switch, 1, is_ip4)
}

fn ip(switch: u8, host: u8, is_ip4: bool) -> IpAddr {
    let text = if is_ip4 {
        format!("10.0.{switch}.{host}")
    } else {
        format!("fd0{switch}::{host}")
    };
    text.parse().expect("an address")
}

fn network() -> (World, Chassis) {
    let mut number = 0u128;
    let mut uuid = || {
        number += 1;
        Uuid::from_u128(number)
    };
    let mut operations: Vec<Operation> = Vec::new();
    let mut ports: Vec<(&str, Uuid)> = Vec::new();
    for (name, number, router) in SWITCHES {
        let (vm, link, end) = (uuid(), uuid(), uuid());
        let (mac, v4, v6) = (
            guest_mac(number),
            guest_ip(number, true),
            guest_ip(number, false),
        );
        let guest = nb::LogicalSwitchPort {
            name: format!("{name}-vm").into(),
            addresses: vec![format!("{mac} {v4} {v6}").into()],
            ..Default::default()
        };
        let to_router = nb::LogicalSwitchPort {
            name: format!("{name}-r").into(),
            r#type: "router".into(),
            addresses: vec!["router".into()],
            options: [("router-port".into(), format!("r-{name}").into())].into(),
            ..Default::default()
        };
        let to_switch = nb::LogicalRouterPort {
            name: format!("r-{name}").into(),
            mac: router_mac(number).to_string().into(),
            networks: vec![
                format!("{}/24", router_ip(number, true)).into(),
                format!("{}/64", router_ip(number, false)).into(),
            ],
            ..Default::default()
        };
        let switch = nb::LogicalSwitch {
            name: name.into(),
            ports: vec![vm, link],
            ..Default::default()
        };
        operations.push(insert(vm, &guest));
        operations.push(insert(link, &to_router));
        operations.push(insert(end, &to_switch));
        operations.push(insert(uuid(), &switch));
        ports.push((router, end));
    }
    for (router, peer, host) in [("r1", "r2", 1), ("r2", "r1", 2)] {
        let end = uuid();
        let link = nb::LogicalRouterPort {
            name: format!("{router}-{peer}").into(),
            mac: format!("02:00:00:00:09:0{host}").into(),
            networks: vec![
                format!("10.9.0.{host}/30").into(),
                format!("fd09::{host}/126").into(),
            ],
            peer: Some(format!("{peer}-{router}").into()),
            ..Default::default()
        };
        operations.push(insert(end, &link));
        ports.push((router, end));
        let other = 3 - host;
        let far: &[u8] = if router == "r1" { &[3] } else { &[1, 2] };
        let mut routes = Vec::new();
        for switch in far {
            for (prefix, hop) in [
                (format!("10.0.{switch}.0/24"), format!("10.9.0.{other}")),
                (format!("fd0{switch}::/64"), format!("fd09::{other}")),
            ] {
                let route = nb::LogicalRouterStaticRoute {
                    ip_prefix: prefix.into(),
                    nexthop: hop.into(),
                    ..Default::default()
                };
                let row = uuid();
                operations.push(insert(row, &route));
                routes.push(row);
            }
        }
        let of = ports.iter().filter(|(of, _)| *of == router);
        let row = nb::LogicalRouter {
            name: router.into(),
            ports: of.map(|(_, port)| *port).collect(),
            static_routes: routes,
            ..Default::default()
        };
        operations.push(insert(uuid(), &row));
    }
    let mut world = World::new();
    world.north(operations);
    assert_eq!(world.sb::<sb::DatapathBinding>().len(), 5);
    assert!(world.nb::<nb::WeftProblem>().is_empty());
    let chassis = Chassis::new(&world);
    (world, chassis)
}
