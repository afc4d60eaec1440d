//! Load balancers at gateway ports that no single chassis balances: one of which each chassis serves its own backends
//! (`options:distributed`), and one that translates each packet by itself, so that connections may come in at one gateway and go
//! out at another (`options:use_stateless_nat`). On the routed lab.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::capture::Capture;
use tests::implementation::Plan;
use tests::namespace::Namespace;
use tests::process::tail;
use tests::routed::{GATEWAY, GATEWAYS, HYPERVISORS, MEMBERS, Member, OUTSIDE, RoutedLab};
use tests::service::{Connection, Service};

/// Where the backends listen.
const PORT: u16 = 8080;
const LIMIT: Duration = Duration::from_secs(20);
/// So long who will not be served is waited for.
const SHORT: Duration = Duration::from_secs(2);
/// So many connections see both of two backends: that one is missed happens once in 2^31 times.
const CONNECTIONS: usize = 32;
/// The gateway port's MAC.
const MAC: &str = "02:00:00:cb:00:01";

#[test]
fn each_chassis_serves_its_own_backends_to_the_outside() {
    told(distributed);
}

#[test]
fn a_connection_comes_in_by_one_gateway_and_goes_out_by_another() {
    told(stateless);
}

fn told(story: impl FnOnce(&RoutedLab) -> Result<()>) {
    let plan = Plan::under_test();
    let mut lab = RoutedLab::build(plan, &mut ()).expect("the lab is built");
    let told = story(&lab).and_then(|()| lab.rig.check_alive());
    if let Err(error) = told {
        for log in lab.rig.logs() {
            eprintln!("---- {}\n{}", log.display(), tail(&log, 25));
        }
        panic!("{error:#} ({plan})");
    }
}

/// The backends: one on each hypervisor, none with an address of its own outside.
fn backends() -> [&'static Member; 2] {
    let [_, dmz2, inside1, _] = &MEMBERS;
    [inside1, dmz2]
}

fn distributed(lab: &RoutedLab) -> Result<()> {
    const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
    let vip = SocketAddr::from((VIP, 80));
    let places = backends().map(|of| {
        let Member { name, address, .. } = of;
        let [a, b, c, _] = address.octets();
        format!("ip_port_mappings:{address}={name}:{a}.{b}.{c}.99")
    });
    add(
        lab,
        vip,
        &["options:distributed=true", &places[0], &places[1]],
    )?;
    let _services = serve(lab)?;
    // The gateway's announcements must not teach the bridges of the others that its MAC is elsewhere.
    for name in HYPERVISORS {
        let chassis = lab.rig.chassis(name)?;
        let ports = chassis.vsctl(&["list-ports", "br-phys"])?;
        let way = ports.lines().find(|port| port.starts_with("patch-"));
        let way = way.context("the way to the integration bridge")?;
        chassis.appctl(&["fdb/add", "br-phys", way, "0", MAC])?;
    }

    // Who asks for the address is answered by the chassis with a backend, and not by the gateway's.
    let [gateway, _] = GATEWAYS;
    let wires = HYPERVISORS.iter().chain([&gateway]);
    let wires = wires.map(|name| {
        let network = lab.rig.chassis(name)?.namespace();
        Capture::start(network, "eth0", "arp or tcp port 80", lab.rig.dir())
    });
    let wires: Vec<Capture> = wires.collect::<Result<_>>()?;
    for address in [VIP, GATEWAY] {
        // The outside may or may not get a connection, or an answer; it asks at any rate.
        let asks = lab.outside().run("ping");
        let asks = asks.args(["-n", "-c", "1", "-W", "1", &address.to_string()]);
        let _answered = asks.succeeds()?;
    }
    let answer = |address: Ipv4Addr| format!("Reply {address} is-at {MAC}");
    for wire in &wires[..2] {
        wire.wait_for(&[&answer(VIP)])?;
    }
    // In this order: what it had to say of the first is in the capture by now.
    wires[2].wait_for(&[&answer(GATEWAY)])?;
    not_heard(&wires[2], &answer(VIP))?;

    // The network sends what is for the address to one of them, and that one serves it alone.
    let mut place = 2;
    for (name, backend) in HYPERVISORS.iter().zip(backends()) {
        turn(lab, place)?;
        for _ in 0..CONNECTIONS {
            let mut connection = Connection::open_from(lab.outside(), vip, LIMIT)?;
            connection.lives()?;
            ensure!(connection.server == backend.name, "{name}: {connection:?}");
            ensure!(connection.seen_as == OUTSIDE, "{name}: {connection:?}");
        }
        wires[place - 2].wait_for(&[&format!("{VIP}.80 > {OUTSIDE}")])?;
        place += 1;
    }
    not_heard(&wires[2], &format!("{VIP}.80"))?;

    // A chassis without a backend serves nobody, and one whose backend went neither.
    turn(lab, place)?;
    let served = Connection::open_from(lab.outside(), vip, SHORT);
    ensure!(served.is_err(), "{served:?} without a backend");
    turn(lab, 2)?;
    let [_, other] = backends();
    let only = format!("{}:{PORT}", other.address);
    lab.rig.nb(&[
        "--wait=hv",
        "--may-exist",
        "lb-add",
        "web",
        &vip.to_string(),
        &only,
        "tcp",
    ])?;
    let served = Connection::open_from(lab.outside(), vip, SHORT);
    ensure!(served.is_err(), "{served:?} after the backend went");
    turn(lab, 3)?;
    Connection::open_from(lab.outside(), vip, LIMIT)?.lives()
}

/// From now on the network outside sends what is for the router's MAC to one chassis, whatever it has learned.
fn turn(lab: &RoutedLab, place: usize) -> Result<()> {
    let port = format!("to{place}");
    let bridge = lab.rig.namespace().run("bridge");
    let entry = [
        "fdb", "replace", MAC, "dev", &port, "master", "static", "sticky",
    ];
    bridge.args(entry).output().map(drop)
}

fn not_heard(wire: &Capture, part: &str) -> Result<()> {
    let heard = wire
        .heard()?
        .into_iter()
        .find(|packet| packet.contains(part));
    ensure!(heard.is_none(), "the gateway's chassis has {heard:?}");
    Ok(())
}

fn stateless(lab: &RoutedLab) -> Result<()> {
    const VIP: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 80);
    const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    let vip = SocketAddr::from((VIP, 80));
    let [first, second] = GATEWAYS;
    // By the first gateway in, by the second one out, which leads to another network on the same wire.
    nb(
        lab,
        &format!(
            "ls-add other -- lsp-add other other-phys -- lsp-set-type other-phys localnet \
             -- lsp-set-addresses other-phys unknown -- lsp-set-options other-phys network_name=phys \
             -- lrp-add tenant tenant-other 02:00:00:cb:00:02 198.51.100.10/24 \
             -- lsp-add other other-tenant -- lsp-set-type other-tenant router -- lsp-set-addresses other-tenant router \
             -- lsp-set-options other-tenant router-port=tenant-other \
             -- lrp-set-gateway-chassis tenant-other {second} 20 \
             -- lr-route-add tenant 192.0.2.0/24 198.51.100.100"
        ),
    )?;
    add(lab, vip, &["options:use_stateless_nat=true"])?;
    let outside = lab.outside();
    let ip = |words: &str| outside.ip(&words.split(' ').collect::<Vec<_>>());
    for device in ["all", "default", "eth0"] {
        let setting = format!("net.ipv4.conf.{device}.rp_filter=0");
        outside.run("sysctl").args(["-qw", &setting]).output()?;
    }
    ip("address add 198.51.100.100/24 dev eth0")?;
    ip(&format!("address add {CLIENT}/32 dev lo"))?;
    // On this wire, the router answers for its outside address by both ports.
    ip(&format!(
        "neighbour replace {GATEWAY} lladdr {MAC} dev eth0 nud permanent"
    ))?;
    ip(&format!("route add {VIP} via {GATEWAY} src {CLIENT}"))?;
    lab.rig.nb(&["--wait=hv", "sync"])?;
    let _services = serve(lab)?;

    let wire = |name| {
        let network: &Namespace = lab.rig.chassis(name)?.namespace();
        Capture::start(network, "eth0", "tcp port 80", lab.rig.dir())
    };
    let (comes, goes) = (wire(first)?, wire(second)?);
    // Before its gateway has come up, nothing comes back by the second one.
    tests::wait::wait_until("the second gateway to let replies out", LIMIT, || {
        Ok(Connection::open_from(outside, vip, SHORT).is_ok())
    })?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open_from(outside, vip, LIMIT)?);
    }
    let mut servers = BTreeSet::new();
    for connection in &mut connections {
        connection.lives()?;
        ensure!(connection.seen_as == CLIENT, "{connection:?}");
        servers.insert(connection.server.clone());
    }
    ensure!(servers.len() == 2, "{servers:?} serve alone");
    comes.wait_for(&[&format!("> {VIP}.80")])?;
    goes.wait_for(&["02:00:00:cb:00:02 > ", &format!("{VIP}.80 > {CLIENT}")])?;
    let back = comes.heard()?.into_iter();
    let back: Vec<String> = back
        .filter(|packet| packet.contains(&format!("{VIP}.80 > ")))
        .collect();
    ensure!(back.is_empty(), "{first} has {back:#?}");
    // A backend that goes cuts its own connections, and no others.
    let [stays, gone] = backends();
    let only = format!("{}:{PORT}", stays.address);
    lab.rig.nb(&[
        "--wait=hv",
        "--may-exist",
        "lb-add",
        "web",
        &vip.to_string(),
        &only,
        "tcp",
    ])?;
    for connection in &mut connections {
        if connection.server != gone.name {
            connection.lives()?;
        }
    }
    for _ in 0..CONNECTIONS {
        let connection = Connection::open_from(outside, vip, LIMIT)?;
        ensure!(connection.server == stays.name, "{connection:?}");
    }
    Ok(())
}

/// Adds the load balancer `web` of both backends to the router.
fn add(lab: &RoutedLab, vip: SocketAddr, settings: &[&str]) -> Result<()> {
    let all = backends()
        .map(|of| format!("{}:{PORT}", of.address))
        .join(",");
    lab.rig
        .nb(&["lb-add", "web", &vip.to_string(), &all, "tcp"])?;
    let find = ["--bare", "--columns=_uuid", "find", "Load_Balancer"];
    let row = lab.rig.nb(&find)?;
    for setting in settings {
        lab.rig.nb(&["set", "Load_Balancer", row.trim(), setting])?;
    }
    lab.rig
        .nb(&["--wait=hv", "lr-lb-add", "tenant", "web"])
        .map(drop)
}

fn serve(lab: &RoutedLab) -> Result<Vec<Service>> {
    let all = backends().into_iter();
    all.map(|backend| Service::start(lab.guest(backend), PORT))
        .collect()
}

/// Commands as one would type them.
fn nb(lab: &RoutedLab, commands: &str) -> Result<()> {
    let words: Vec<&str> = commands.split_whitespace().collect();
    lab.rig.nb(&words).map(drop)
}
