//! Whatever is sent to the controllers has the meter that the profile of its datapath says, seen from the rows alone; and what old
//! mistakes of this field let through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use addr::Mac;
use lflow::action::{Function, protection};
use lflow::interp::{Effect, State, run};
use lflow::{Actions, Base, Expr};
use nb_db::tables as nb;
use ovsdb::Uuid;
use sb_db::tables as sb;

use super::chassis::Chassis;
use super::{World, insert};

/// Each flow that is sent to the controllers has the meter of each of its datapaths.
pub fn check(world: &World, place: &dyn Fn() -> String) {
    let profiles: BTreeMap<Uuid, nb::Copp> = world.nb().into_iter().collect();
    let switches = world.nb::<nb::LogicalSwitch>().into_iter();
    let routers = world.nb::<nb::LogicalRouter>().into_iter();
    let copps = switches.map(|(row, switch)| (row, switch.copp));
    let copps = copps.chain(routers.map(|(row, router)| (row, router.copp)));
    let copps: BTreeMap<Uuid, Option<Uuid>> = copps.collect();
    let meters = world.nb::<nb::Meter>().into_iter();
    let meters: BTreeSet<Arc<str>> = meters.map(|(_, meter)| meter.name).collect();
    let known: BTreeSet<Arc<str>> = world
        .sb::<sb::Meter>()
        .into_iter()
        .map(|(_, meter)| meter.name)
        .collect();
    let datapaths = world.sb::<sb::DatapathBinding>().into_iter();
    let profile_of: BTreeMap<Uuid, Option<&nb::Copp>> = datapaths
        .map(|(datapath, row)| {
            let ids = &row.external_ids;
            let of = ids
                .get("logical-switch")
                .or_else(|| ids.get("logical-router"));
            let of = of.and_then(|text| text.parse::<Uuid>().ok());
            let copp = of.and_then(|of| copps.get(&of).copied().flatten());
            (datapath, copp.and_then(|copp| profiles.get(&copp)))
        })
        .collect();
    let groups: BTreeMap<Uuid, sb::LogicalDpGroup> = world.sb().into_iter().collect();
    for (_, flow) in world.sb::<sb::LogicalFlow>() {
        // Only chassis know what variables stand for; such flows send nothing to the controllers.
        if flow.actions.contains('^') || flow.r#match.contains('^') {
            assert_eq!(flow.controller_meter, None);
            continue;
        }
        let when = Expr::parse(&flow.r#match).expect("a match");
        let then = Actions::parse(&flow.actions).expect("actions");
        let protocol = protection(&when, &then);
        let group = flow.logical_dp_group.and_then(|group| groups.get(&group));
        let members = group.into_iter().flat_map(|group| &group.datapaths);
        for datapath in members.chain(&flow.logical_datapath) {
            let said = protocol.and_then(|protocol| {
                let profile = profile_of.get(datapath).copied().flatten()?;
                profile.meters.get(protocol.name())
            });
            let wanted = said.filter(|meter| meters.contains(*meter));
            assert_eq!(
                flow.controller_meter.as_ref(),
                wanted,
                "{}: {flow:?} of {datapath}",
                place()
            );
        }
        assert!(
            flow.controller_meter
                .is_none_or(|meter| known.contains(&meter)),
            "{}: a meter that no chassis knows",
            place()
        );
    }
}

/// Two guests in a switch that knows names and gives leases, and a rule that lets nothing pass to the second.
fn closed() -> World {
    let mut world = World::new();
    let [switch, dns, acl, allow] = [1, 2, 3, 4].map(Uuid::from_u128);
    let guests = [10, 11].map(Uuid::from_u128);
    let row = nb::Dns {
        records: [("a.example".into(), "10.0.0.1".into())].into(),
        ..Default::default()
    };
    let mut operations = vec![insert(dns, &row)];
    for (number, guest) in guests.iter().enumerate() {
        let row = nb::LogicalSwitchPort {
            name: format!("p{number}").into(),
            addresses: vec![
                format!("02:00:00:00:00:0{number} 10.0.0.{number} fd00::{number}").into(),
            ],
            ..Default::default()
        };
        operations.push(insert(*guest, &row));
    }
    let rules = [
        (acl, 1000, "outport == \"p1\" && ip", "drop"),
        (
            allow,
            1001,
            "outport == \"p1\" && tcp.dst == 80",
            "allow-related",
        ),
    ];
    for (uuid, priority, text, action) in rules {
        let row = nb::Acl {
            priority,
            direction: "to-lport".into(),
            r#match: text.into(),
            action: action.into(),
            ..Default::default()
        };
        operations.push(insert(uuid, &row));
    }
    let row = nb::LogicalSwitch {
        name: "s".into(),
        ports: guests.to_vec(),
        dns_records: vec![dns],
        acls: rules.map(|(uuid, ..)| uuid).to_vec(),
        ..Default::default()
    };
    operations.push(insert(switch, &row));
    world.north(operations);
    world
}

/// Rules `to-lport` let the network's own answers pass. What a guest makes look like one (CVE-2025-0650) is not; nor are fragments without
/// ports and protocols without a number (CVE-2023-1668) what a rule about TCP means.
#[test]
fn nothing_that_a_guest_makes_passes_a_rule_as_an_answer_of_the_network() {
    let world = closed();
    let chassis = Chassis::new(&world);
    let (datapath, port) = chassis.find("p0");
    let to = |kind: u128, proto: u128| {
        State::default()
            .with(Base::EthSrc, 0x0200_0000_0000u128)
            .with(Base::EthDst, 0x0200_0000_0001u128)
            .with(Base::EthType, kind)
            .with(Base::IpProto, proto)
            .with(Base::IpTtl, 64u128)
    };
    let ip4 = |proto| {
        to(0x800, proto)
            .with(Base::Ip4Src, 0x0a00_0000u128)
            .with(Base::Ip4Dst, 0x0a00_0001u128)
    };
    let ip6 = |proto| {
        to(0x86dd, proto)
            .with(Base::Ip6Src, 0xfd00_u128 << 112)
            .with(Base::Ip6Dst, 0xfd00_u128 << 112 | 1)
    };
    let udp =
        |state: State, from: u128, to: u128| state.with(Base::UdpSrc, from).with(Base::UdpDst, to);
    const FIRST: u128 = 1;
    const LATER: u128 = 3;
    for (what, state) in [
        ("a question", udp(ip4(17), 40_000, 53)),
        ("an answer", udp(ip4(17), 53, 53)),
        ("an answer over IPv6", udp(ip6(17), 53, 40_000)),
        ("a lease", udp(ip4(17), 67, 68)),
        ("a lease over IPv6", udp(ip6(17), 547, 546)),
        ("no protocol", ip4(0)),
        ("no protocol over IPv6", ip6(0)),
        ("a later fragment", ip4(6).with(Base::IpFrag, LATER)),
        (
            "a later fragment over IPv6",
            ip6(6).with(Base::IpFrag, LATER),
        ),
        (
            "a first fragment of something else",
            udp(ip6(17), 1, 2).with(Base::IpFrag, FIRST),
        ),
    ] {
        let heard = chassis.send_state(datapath, port, &state);
        assert!(
            heard.iter().all(|(name, _)| &**name != "p1"),
            "{what}: {heard:?}"
        );
    }
    let meant = ip4(6)
        .with(Base::TcpSrc, 4000u128)
        .with(Base::TcpDst, 80u128);
    let heard = chassis.send_state(datapath, port, &meant);
    assert!(
        heard.iter().any(|(name, _)| &**name == "p1"),
        "what is allowed passes"
    );
}

/// The address from which services are probed is no way to the controller for guests (CVE-2023-3153): what goes there is told only if it
/// may be the answer of who is probed.
#[test]
fn only_answers_of_who_is_probed_go_to_the_controller() {
    let mut world = World::new();
    let uuid = Uuid::from_u128;
    let balancer = nb::LoadBalancer {
        vips: [("172.30.0.1:80".into(), "10.0.0.1:80".into())].into(),
        ip_port_mappings: [("10.0.0.1".into(), "p1:10.0.0.9".into())].into(),
        health_check: vec![uuid(2)],
        ..Default::default()
    };
    let check = nb::LoadBalancerHealthCheck {
        vip: "172.30.0.1:80".into(),
        ..Default::default()
    };
    let ports = [uuid(11), uuid(12)];
    let switch = nb::LogicalSwitch {
        name: "s".into(),
        ports: ports.to_vec(),
        load_balancer: vec![uuid(1)],
        ..Default::default()
    };
    let mut operations = vec![
        insert(uuid(1), &balancer),
        insert(uuid(2), &check),
        insert(uuid(3), &switch),
    ];
    for (number, port) in (1..).zip(ports) {
        let row = nb::LogicalSwitchPort {
            name: format!("p{number}").into(),
            addresses: vec![format!("02:00:00:00:00:0{number} 10.0.0.{number}").into()],
            ..Default::default()
        };
        operations.push(insert(port, &row));
    }
    world.north(operations);
    let monitors = world.sb::<sb::ServiceMonitor>();
    let mac: Mac = monitors[0].1.src_mac.parse().expect("northd writes one");
    let mac = u128::from(mac.to_u64());
    let chassis = Chassis::new(&world);
    let is_told = |port: &str, (to, from, target), (protocol, service)| {
        let ports = if protocol == 6_u128 {
            Base::TcpSrc
        } else {
            Base::UdpSrc
        };
        let state = State::default()
            .with(Base::EthSrc, 0x0200_0000_0001_u128)
            .with(Base::EthDst, mac + to)
            .with(Base::EthType, 0x800_u128)
            .with(Base::IpProto, protocol)
            .with(Base::Ip4Src, 0x0a00_0000_u128 + from)
            .with(Base::Ip4Dst, 0x0a00_0000_u128 + target)
            .with(ports, service);
        let (datapath, key) = chassis.find(port);
        let effects = run(&chassis, datapath, key, &state).effects;
        effects.into_iter().any(|effect| {
            matches!(
                effect,
                Effect::Call {
                    function: Function::HandleSvcCheck,
                    ..
                }
            )
        })
    };
    assert!(is_told("p1", (0, 1, 9), (6, 80_u128)));
    for (port, ends, what) in [
        ("p2", (0, 1, 9), (6, 80)),
        ("p2", (0, 2, 8), (6, 80)),
        ("p1", (0, 1, 9), (6, 81)),
        ("p1", (0, 1, 9), (17, 80)),
        ("p1", (0, 2, 9), (6, 80)),
        ("p1", (1, 1, 9), (6, 80)),
    ] {
        assert!(!is_told(port, ends, what), "{port} {ends:?} {what:?}");
    }
}
