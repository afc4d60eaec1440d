//! A distributed gateway port on two chassis: everybody inside reaches the outside and is reached from there, also after a
//! gateway has died and come back and after one was drained; a controller that dies moves nothing. How long nobody is reached
//! meanwhile is a matter of `cargo xtask bench failover`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::bulk::transfer;
use tests::capture::Capture;
use tests::chassis::Chassis;
use tests::guest::Guest;
use tests::implementation::{Door, Implementation, Plan};
use tests::namespace::Namespace;
use tests::process::tail;
use tests::routed::{GATEWAY, GATEWAY_PORT, GATEWAYS, HYPERVISORS, MEMBERS, OUTSIDE, RoutedLab};
use tests::wait::wait_until;

/// A drain loses nothing; a machine that has other things to do may.
const BUSY: u64 = 2;
/// The router's MAC outside.
const MAC: &str = "02:00:00:cb:00:01";
/// An address there that is served elsewhere.
const FLOATING: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 50);

#[test]
fn gateways_replace_each_other_on_weft() {
    gateways_replace_each_other(Plan::under_test());
}

#[test]
fn gateways_of_ovns_northd_replace_each_other() {
    gateways_replace_each_other(Plan {
        northd: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

#[test]
fn gateways_under_ovns_controllers_replace_each_other() {
    gateways_replace_each_other(Plan {
        controller: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

fn gateways_replace_each_other(plan: Plan) {
    let mut lab = RoutedLab::build(plan, &mut ()).expect("the lab is built");
    let told = story(&mut lab).and_then(|()| lab.rig.check_alive());
    if let Err(error) = told {
        for log in lab.rig.logs() {
            eprintln!("---- {}\n{}", log.display(), tail(&log, 25));
        }
        panic!("{error:#} ({plan})");
    }
}

fn story(lab: &mut RoutedLab) -> Result<()> {
    let [first, second] = GATEWAYS;
    lab.ping_all()?;
    each_from_its_chassis(lab)?;

    is_outside_at(lab, first)?;

    lab.kill_gateway()?;
    ensure!(lab.gateway()? == second, "nobody else took over");
    is_outside_at(lab, second)?;
    lab.ping_all()?;
    lab.revive_gateway()?;
    is_outside_at(lab, first)?;
    lab.ping_all()?;

    // The controller alone: packets go on as they were.
    lab.under_traffic(|lab| {
        let chassis = lab.chassis(first)?;
        if let Some(controller) = chassis.controller() {
            controller.kill()?;
        }
        chassis.start_controller()?;
        lab.rig.nb(&["--wait=hv", "sync"]).map(drop)
    })?;
    ensure!(
        lab.gateway()? == first,
        "a controller's death moved the gateway"
    );

    // As an administrator empties a chassis, fills it again, and empties it for good.
    for (to, priority) in [(second, "30"), (first, "10"), (second, "30")] {
        let told = lab.under_traffic(|lab| {
            let drain = ["lrp-set-gateway-chassis", GATEWAY_PORT, second, priority];
            lab.rig.nb(&drain)?;
            wait_until("the drain", Duration::from_secs(30), || {
                Ok(lab.gateway()? == to)
            })
        })?;
        let lost = told.out.lost + told.back.lost;
        let is_ours = lab.rig.plan().controller == Implementation::Weft;
        ensure!(
            !is_ours || lost <= BUSY,
            "a drain to {to} has lost {lost} packets: {told:?}"
        );
        lab.wait_for_gateway(to)?;
    }
    is_outside_at(lab, second)?;
    lab.ping_all()?;
    too_large(lab)?;
    by_the_physical_network(lab)
}

/// With `redirect-type=bridged`, guests' chassis send to the gateway by the physical network, each from a MAC of its own there.
fn by_the_physical_network(lab: &RoutedLab) -> Result<()> {
    for (place, name) in HYPERVISORS.iter().enumerate() {
        let mac = format!("external_ids:ovn-chassis-mac-mappings=phys:02:00:00:0c:00:0{place}");
        lab.rig
            .chassis(name)?
            .vsctl(&["set", "Open_vSwitch", ".", &mac])?;
    }
    let bridged = "options:redirect-type=bridged";
    lab.rig
        .nb(&["set", "Logical_Router_Port", GATEWAY_PORT, bridged])?;
    lab.rig.nb(&["--wait=hv", "sync"])?;
    let wire = Capture::start(lab.rig.namespace(), "underlay", "icmp", lab.rig.dir())?;
    for member in MEMBERS.iter().filter(|member| member.floating.is_none()) {
        lab.guest(member).ping(OUTSIDE)?;
        let own = format!("02:00:00:0c:00:0{} > 02:00:00:cb:00:01", member.hypervisor);
        let request = format!("{} > {OUTSIDE}: ICMP echo request", member.address);
        wire.wait_for(&[&own, &request])?;
    }
    lab.ping_all().map(drop)
}

/// The switch outside knows the router where it is, and one chassis alone answers for it.
fn is_outside_at(lab: &RoutedLab, name: &str) -> Result<()> {
    let all: Vec<&str> = lab.rig.chassis.iter().map(Chassis::name).collect();
    let place = all.iter().position(|chassis| *chassis == name);
    let port = format!("dev to{}", place.context("a chassis")? + 2);
    let limit = Duration::from_secs(10);
    wait_until(&format!("the router to be at {name}"), limit, || {
        let bridge = lab.rig.namespace().run("bridge");
        let known = bridge.args(["fdb", "show", "br", "underlay"]).output()?;
        let mut lines = known.lines();
        Ok(lines.any(|line| line.starts_with(MAC) && line.contains(&port)))
    })?;
    let outside = lab.outside();
    let wire = Capture::start(outside, "eth0", "arp", lab.rig.dir())?;
    outside.ip(&["neighbour", "flush", "dev", "eth0"])?;
    let ping = |address: &str| {
        let ping = outside.run("ping");
        ping.args(["-n", "-c", "1", "-W", "5", address]).output()
    };
    ping(&GATEWAY.to_string())?;
    // Whoever else answers does so before this one does.
    ping(&FLOATING.to_string())?;
    let heard = wire.heard()?;
    let count = |part: String| heard.iter().filter(|packet| packet.contains(&part)).count();
    let asked = count(format!("Request who-has {GATEWAY} tell {OUTSIDE}"));
    let answered = count(format!("Reply {GATEWAY} is-at {MAC}"));
    ensure!(
        asked > 0 && asked == answered,
        "{asked} requests for {GATEWAY}, and {answered} answers: {heard:#?}"
    );
    Ok(())
}

/// What a guest with an address and a MAC of its own outside sends there leaves its own hypervisor by the physical network; what
/// others send leaves the gateway.
fn each_from_its_chassis(lab: &RoutedLab) -> Result<()> {
    let [gateway, _] = GATEWAYS;
    let all = HYPERVISORS.iter().chain([&gateway]);
    let wires = all.map(|name| {
        let network = lab.rig.chassis(name)?.namespace();
        let capture = Capture::start(network, "eth0", "icmp", lab.rig.dir())?;
        Ok((*name, network, capture))
    });
    let wires: Vec<(&str, &Namespace, Capture)> = wires.collect::<Result<_>>()?;
    let ping = |from: &Namespace, to: &str, length: u16| {
        let payload = (length - 8).to_string();
        let ping = from.run("ping");
        let ping = ping.args(["-n", "-c", "1", "-W", "5", "-s", &payload, to]);
        ping.output()
            .with_context(|| format!("{} pings no more", from.name()))
    };
    let mut sent = Vec::new();
    for (member, length) in MEMBERS.iter().zip(901..) {
        let (seen_as, place) = match member.floating {
            Some((address, Some(_))) => (address, HYPERVISORS[member.hypervisor]),
            Some((address, None)) => (address, gateway),
            None => (GATEWAY, gateway),
        };
        ping(lab.guest(member).namespace(), &OUTSIDE.to_string(), length)?;
        let request = format!("{seen_as} > {OUTSIDE}: ICMP echo request");
        sent.push((place, request, format!("length {length}")));
    }
    // What was sent before it is in the capture when this is.
    let last = 999;
    for (_, network, wire) in &wires {
        ping(network, &lab.rig.underlay_address(), last)?;
        wire.wait_for(&["ICMP echo request", &format!("length {last}")])?;
    }
    for (name, _, wire) in &wires {
        let heard = wire.heard()?;
        for (place, request, length) in &sent {
            let is_there = heard
                .iter()
                .any(|packet| packet.contains(length) && packet.contains("echo request"));
            ensure!(
                is_there == (place == name),
                "{request} with {length} is to leave {place}; {name}: {heard:#?}"
            );
            let is_right = heard
                .iter()
                .any(|packet| packet.contains(length) && packet.contains(request));
            ensure!(is_right == is_there, "{request} is not what {name} sent");
        }
    }
    Ok(())
}

/// What is too large for the network outside is told by the gateway, and TCP goes on.
fn too_large(lab: &RoutedLab) -> Result<()> {
    let mtu = [
        "set",
        "Logical_Router_Port",
        GATEWAY_PORT,
        "options:gateway_mtu=1300",
    ];
    lab.rig.nb(&mtu)?;
    let (sender, target) = address_ipv6(lab)?;
    lab.rig.nb(&["--wait=hv", "sync"])?;
    for member in &MEMBERS {
        let guest = lab.guest(member);
        let errors = guest.listen("icmp")?;
        transfer(guest.namespace(), lab.outside(), OUTSIDE.into(), 1 << 20)?;
        errors.wait_for(&["203.0.113.100 unreachable - need to frag (mtu 1300)"])?;
    }
    sender.ping(target)?;
    let errors = sender.listen("icmp6")?;
    transfer(sender.namespace(), lab.outside(), target, 1 << 20)?;
    errors
        .wait_for(&["ICMP6, packet too big, mtu 1300"])
        .map(drop)
}

/// IPv6 for one guest, its router and the host outside, routed without translation. The guest, and the address of that host.
fn address_ipv6(lab: &RoutedLab) -> Result<(&Guest, IpAddr)> {
    for (port, network) in [
        ("tenant-dmz", "\"2001:db8:1::1/64\""),
        (GATEWAY_PORT, "\"2001:db8:f::10/64\""),
    ] {
        let add = ["add", "Logical_Router_Port", port, "networks", network];
        lab.rig.nb(&add)?;
    }
    let member = &MEMBERS[1];
    let addresses = format!("{} {} 2001:db8:1::12", member.mac, member.address);
    lab.rig
        .nb(&["lsp-set-addresses", member.name, &addresses])?;
    let guest = lab.guest(member);
    let ip = |network: &Namespace, words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        network.ip(&words).map(drop)
    };
    let own = format!("-6 address add 2001:db8:1::12/64 dev {} nodad", member.name);
    ip(guest.namespace(), &own)?;
    ip(guest.namespace(), "-6 route add default via 2001:db8:1::1")?;
    ip(
        lab.outside(),
        "-6 address add 2001:db8:f::100/64 dev eth0 nodad",
    )?;
    ip(
        lab.outside(),
        "-6 route add 2001:db8:1::/64 via 2001:db8:f::10",
    )?;
    Ok((guest, "2001:db8:f::100".parse()?))
}
