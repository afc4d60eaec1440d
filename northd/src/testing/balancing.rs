//! Random services and packets, against a model of who may be chosen: a connection to a virtual address reaches one of its
//! backends, stays with it whatever becomes of the others, and its client hears from the virtual address alone.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use lflow::Base;
use lflow::interp::State;
use nb_db::tables as nb;
use ovsdb::Uuid;
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use sb_db::tables as sb;

use super::chassis::Chassis;
use super::random::Rng;
use super::translations::{End, Translations, ends};
use super::{World, insert};

/// Guests of each of the two switches.
const GUESTS: usize = 3;
const NETWORKS: usize = 125;
/// Between two of them, backends are others: 1,000 changes in all.
const CHANGES: usize = 9;
const CONNECTIONS: usize = 10;
const SERVICE: u128 = 80;
const BACKEND: u128 = 8080;

/// Where a service acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reach {
    switches: [bool; 2],
    router: bool,
    /// Through a group that the datapaths name.
    by_group: bool,
}

#[derive(Debug)]
struct Service {
    uuid: Uuid,
    vip: IpAddr,
    is_tcp: bool,
    /// Guests, in ascending order.
    backends: Vec<usize>,
    reach: Reach,
    options: Vec<(&'static str, &'static str)>,
}

#[derive(Debug)]
struct Network {
    services: Vec<Service>,
    /// The router forces its own address on what it has balanced.
    forces: bool,
}

/// A connection that a backend has.
#[derive(Debug, Clone, Copy)]
struct Held {
    client: usize,
    port: u128,
    service: usize,
    backend: usize,
}

impl Service {
    fn is_ip4(&self) -> bool {
        self.vip.is_ipv4()
    }

    fn row(&self) -> nb::LoadBalancer {
        let text = |ip: IpAddr, port| match ip {
            IpAddr::V4(ip) => format!("{ip}:{port}"),
            IpAddr::V6(ip) => format!("[{ip}]:{port}"),
        };
        let backends = self.backends.iter();
        let backends = backends.map(|guest| text(address(*guest, self.is_ip4()), BACKEND));
        let backends: Vec<String> = backends.collect();
        let options = self.options.iter();
        nb::LoadBalancer {
            name: text(self.vip, SERVICE).into(),
            vips: [(
                text(self.vip, SERVICE).into(),
                Arc::from(backends.join(",")),
            )]
            .into(),
            protocol: Some(if self.is_tcp { "tcp" } else { "udp" }.into()),
            options: options
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
            ..Default::default()
        }
    }
}

fn address(guest: usize, is_ip4: bool) -> IpAddr {
    let (switch, host) = (guest / GUESTS, guest % GUESTS + 1);
    let text = match is_ip4 {
        true => format!("10.{switch}.0.{host}"),
        false => format!("fd00:{switch}::{host}"),
    };
    text.parse().expect("an address")
}

fn router(switch: usize, is_ip4: bool) -> IpAddr {
    let text = match is_ip4 {
        true => format!("10.{switch}.0.254"),
        false => format!("fd00:{switch}::254"),
    };
    text.parse().expect("an address")
}

fn mac(guest: usize) -> u128 {
    0x0200_0000_0001 + guest as u128
}

fn router_mac(switch: usize) -> u128 {
    0x0200_0000_ff00 + switch as u128
}

/// A packet from one end to another, through the router of the sender's switch.
fn packet(sender: usize, is_tcp: bool, from: End, to: End) -> State {
    let mut state = State::default()
        .with(Base::EthSrc, mac(sender))
        .with(Base::EthDst, router_mac(sender / GUESTS))
        .with(Base::IpProto, if is_tcp { 6u128 } else { 17 })
        .with(Base::IpTtl, 64u128);
    match (from.0, to.0) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            state.set(Base::EthType, 0x800u128);
            state.set(Base::Ip4Src, u128::from(src.to_bits()));
            state.set(Base::Ip4Dst, u128::from(dst.to_bits()));
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            state.set(Base::EthType, 0x86ddu128);
            state.set(Base::Ip6Src, src.to_bits());
            state.set(Base::Ip6Dst, dst.to_bits());
        }
        _ => panic!("of one family"),
    }
    let ports = match is_tcp {
        true => (Base::TcpSrc, Base::TcpDst),
        false => (Base::UdpSrc, Base::UdpDst),
    };
    state.set(ports.0, from.1);
    state.set(ports.1, to.1);
    state
}

/// Who hears a packet, and from whom to whom it then is.
fn send(chassis: &Chassis, sender: usize, state: &State) -> Option<(usize, End, End)> {
    let (datapath, port) = chassis.find(&format!("p{sender}"));
    let mut heard = chassis.send_state(datapath, port, state);
    // A router may ask for an address that nobody has.
    let is_other = |heard: &State, base| heard.get(base) != state.get(base);
    heard.retain(|(_, heard)| {
        ![Base::EthType, Base::IpProto]
            .iter()
            .any(|base| is_other(heard, *base))
    });
    match heard.as_slice() {
        [] => None,
        [(name, state)] => {
            let guest = name
                .strip_prefix('p')
                .and_then(|number| number.parse().ok());
            let (from, to) = ends(state);
            Some((guest.expect("guests hear"), from, to))
        }
        several => panic!("{several:?}"),
    }
}

#[test]
fn connections_reach_a_backend_and_stay_there() {
    let seed = std::env::var("WEFT_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let mut rng = Rng::new(seed);
    let mut counts = [0usize; 4];
    for number in 0..NETWORKS {
        let (mut world, mut network) = network(&mut rng);
        let routers = world.sb::<sb::DatapathBinding>().into_iter();
        let routers = routers.filter(|(_, row)| row.external_ids.contains_key("logical-router"));
        let routers = routers.map(|(_, row)| u32::try_from(row.tunnel_key).expect("small"));
        let mut translations = Translations::new(routers.collect(), seed + 1);
        let mut held: Vec<Held> = Vec::new();
        let mut port = 10_000;
        for change in 0..CHANGES {
            let mut chassis = Chassis::new(&world);
            chassis.translations = Some(RefCell::new(translations));
            let place = |what: &str| format!("seed {seed}, network {number}.{change}: {what}");
            for held in &held {
                let got = connect(&chassis, &network, held.client, held.service, held.port);
                assert_eq!(
                    got,
                    Some(held.backend),
                    "{}",
                    place(&format!("{held:?} in {network:#?}"))
                );
                counts[0] += 1;
            }
            for _ in 0..CONNECTIONS {
                port += 1;
                let service = rng.below(network.services.len());
                let client = rng.below(2 * GUESTS);
                let got = connect(&chassis, &network, client, service, port);
                let of = &network.services[service];
                let acts = of.reach.switches[client / GUESTS] || of.reach.router;
                let what = || place(&format!("{client} to {service} in {network:#?}"));
                match got {
                    Some(backend) => {
                        assert!(
                            acts && of.backends.contains(&backend),
                            "{backend}: {}",
                            what()
                        );
                        counts[1 + usize::from(backend == client)] += 1;
                        held.push(Held {
                            client,
                            port,
                            service,
                            backend,
                        });
                    }
                    None => {
                        assert!(!acts || of.backends.is_empty(), "{}", what());
                        counts[3] += 1;
                    }
                }
            }
            translations = chassis.translations.expect("it was there").into_inner();
            change_backends(&mut world, &mut network, &held, &mut rng);
        }
        let differences = world.recompute().expect("compiles");
        assert!(differences.is_empty(), "{differences:#?}");
    }
    assert!(counts.iter().all(|count| *count > 200), "{counts:?}");
}

/// A packet of a client to a service; the backend that hears it answers, and the client hears that. Which backend it was.
fn connect(
    chassis: &Chassis,
    network: &Network,
    client: usize,
    service: usize,
    port: u128,
) -> Option<usize> {
    let of = &network.services[service];
    let (own, vip) = ((address(client, of.is_ip4()), port), (of.vip, SERVICE));
    let (backend, from, to) = send(chassis, client, &packet(client, of.is_tcp, own, vip))?;
    if backend == client && from.0 == vip.0 && to.1 != BACKEND {
        // Of its own address, a router says that nobody is there.
        return None;
    }
    assert_eq!(to, (address(backend, of.is_ip4()), BACKEND), "{of:?}");
    let by_switch = of.reach.switches[client / GUESTS];
    let skips = of.options.contains(&("skip_snat", "true"));
    let source = match (by_switch, backend == client) {
        (true, true) => of.vip,
        (true, false) => own.0,
        (false, _) if network.forces && !skips => router(backend / GUESTS, of.is_ip4()),
        (false, _) => own.0,
    };
    assert_eq!(
        from.0, source,
        "{client} to {backend}: {of:?}, forces {}",
        network.forces
    );
    // What a router alone has balanced, and a neighbour answers past it, no client expects.
    let is_past = !by_switch && source == own.0 && client / GUESTS == backend / GUESTS;
    if !is_past {
        let answer = packet(backend, of.is_tcp, to, from);
        let heard = send(chassis, backend, &answer);
        assert_eq!(
            heard,
            Some((client, vip, own)),
            "answer of {backend}: {of:?}"
        );
    }
    Some(backend)
}

/// Backends come and go, but for those that have connections.
fn change_backends(world: &mut World, network: &mut Network, held: &[Held], rng: &mut Rng) {
    let number = rng.below(network.services.len());
    let service = &mut network.services[number];
    let has = |guest: usize| {
        held.iter()
            .any(|held| held.service == number && held.backend == guest)
    };
    service.backends = (0..2 * GUESTS)
        .filter(|guest| has(*guest) || rng.once_in(2))
        .collect();
    let columns = vec![nb::LoadBalancer::COLUMN.vips.to(&service.row().vips)];
    world.north(vec![Operation::update_row(
        nb::LoadBalancer::INDEX,
        service.uuid,
        columns,
    )]);
}

fn service(number: usize, rng: &mut Rng) -> Service {
    let vips = ["172.30.0.1", "10.0.0.80", "fd30::1", "10.1.0.254"];
    let backends = (0..2 * GUESTS).filter(|_| rng.once_in(3)).collect();
    Service {
        uuid: rng.uuid(),
        vip: vips[number].parse().expect("an address"),
        is_tcp: rng.once_in(2),
        backends,
        reach: Reach {
            switches: [rng.once_in(2), rng.once_in(2)],
            router: rng.once_in(2),
            by_group: rng.once_in(2),
        },
        options: match rng.below(4) {
            0 => vec![("skip_snat", "true")],
            1 => vec![("neighbor_responder", "all")],
            _ => Vec::new(),
        },
    }
}

fn network(rng: &mut Rng) -> (World, Network) {
    let mut world = World::new();
    let mut operations = Vec::new();
    let services: Vec<Service> = (0..4).map(|number| service(number, rng)).collect();
    let mut groups = Vec::new();
    for service in &services {
        operations.push(insert(service.uuid, &service.row()));
        let group = rng.uuid();
        let row = nb::LoadBalancerGroup {
            name: service.vip.to_string().into(),
            load_balancer: vec![service.uuid],
            ..Default::default()
        };
        operations.push(insert(group, &row));
        groups.push(group);
    }
    let named = |acts: &dyn Fn(&Reach) -> bool, by_group: bool| -> Vec<Uuid> {
        let services = services.iter().zip(&groups);
        let named = services.filter(|(of, _)| acts(&of.reach) && of.reach.by_group == by_group);
        named
            .map(|(of, group)| if by_group { *group } else { of.uuid })
            .collect()
    };
    let mut router_ports = Vec::new();
    let forces = rng.once_in(2);
    for switch in 0..2 {
        let mut ports = vec![rng.uuid()];
        let row = nb::LogicalSwitchPort {
            name: format!("to{switch}").into(),
            r#type: "router".into(),
            addresses: vec!["router".into()],
            options: [("router-port".into(), format!("from{switch}").into())].into(),
            ..Default::default()
        };
        operations.push(insert(ports[0], &row));
        for guest in switch * GUESTS..(switch + 1) * GUESTS {
            let (v4, v6) = (address(guest, true), address(guest, false));
            let row = nb::LogicalSwitchPort {
                name: format!("p{guest}").into(),
                addresses: vec![format!("02:00:00:00:00:{:02x} {v4} {v6}", guest + 1).into()],
                ..Default::default()
            };
            ports.push(rng.uuid());
            operations.push(insert(ports[ports.len() - 1], &row));
        }
        let row = nb::LogicalSwitch {
            name: format!("s{switch}").into(),
            ports,
            load_balancer: named(&|reach| reach.switches[switch], false),
            load_balancer_group: named(&|reach| reach.switches[switch], true),
            ..Default::default()
        };
        operations.push(insert(rng.uuid(), &row));
        let networks = vec![
            format!("{}/24", router(switch, true)).into(),
            format!("{}/64", router(switch, false)).into(),
        ];
        let row = nb::LogicalRouterPort {
            name: format!("from{switch}").into(),
            mac: format!("02:00:00:00:ff:{switch:02x}").into(),
            networks,
            ..Default::default()
        };
        router_ports.push(rng.uuid());
        operations.push(insert(router_ports[switch], &row));
    }
    let mut options = vec![(Arc::from("chassis"), Arc::from("gw1"))];
    if forces {
        options.push(("lb_force_snat_ip".into(), "router_ip".into()));
    }
    let row = nb::LogicalRouter {
        name: "r".into(),
        ports: router_ports,
        load_balancer: named(&|reach| reach.router, false),
        load_balancer_group: named(&|reach| reach.router, true),
        options: options.into_iter().collect(),
        ..Default::default()
    };
    operations.push(insert(rng.uuid(), &row));
    world.north(operations);
    (world, Network { services, forces })
}
