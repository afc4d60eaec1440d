//! To the outside through a gateway router and through a distributed gateway port, and to neighbours that nobody told of: on
//! Weft's daemons, and on mixtures with OVN's.
//!
//! The outside is a host behind the bridge of the underlay, which both chassis map as `phys`.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use tests::capture::Capture;
use tests::guest::Guest;
use tests::implementation::{Door, Implementation, Plan};
use tests::lab::{CHASSIS, Lab};
use tests::namespace::Namespace;
use tests::run::Run;
use tests::story::story;
use tests::wait::wait_until;

/// Name, switch, chassis, MAC and IP address of the guests.
const GUESTS: [[&str; 4]; 3] = [
    ["red1", "red", "02:ac:10:01:00:01", "10.1.0.11"],
    ["red2", "red", "02:ac:10:01:00:02", "10.1.0.12"],
    ["blue1", "blue", "02:ac:10:02:00:01", "10.2.0.11"],
];
/// The chassis of each.
const PLACES: [&str; 3] = [CHASSIS[0], CHASSIS[1], CHASSIS[1]];

fn by_ovns_northd() -> Plan {
    Plan {
        northd: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    }
}

fn by_ovns_controllers() -> Plan {
    Plan {
        controller: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    }
}

#[test]
fn a_neighbour_that_nobody_told_of_is_asked_for() {
    a_neighbour_is_asked_for(Plan::under_test());
}

#[test]
fn a_neighbour_is_asked_for_as_ovns_northd_says() {
    a_neighbour_is_asked_for(by_ovns_northd());
}

#[test]
fn a_neighbour_is_asked_for_by_ovns_controllers() {
    a_neighbour_is_asked_for(by_ovns_controllers());
}

fn a_neighbour_is_asked_for(plan: Plan) {
    story(plan, |lab| {
        let [red1, _, blue1] = tenant(lab)?;
        // From now on only ARP tells where it is. What is sent before that does not get lost.
        lab.rig
            .nb(&["--wait=hv", "lsp-set-addresses", "blue1", "unknown"])?;
        let first = red1.namespace().run("ping");
        let first = first.args(["-n", "-c", "1", "-W", "5", "10.2.0.11"]);
        let answer = first.output().context("the first packet was lost")?;
        ensure!(answer.contains("1 received"), "{answer}");
        let learned = lab
            .rig
            .sb(&["--bare", "--columns=ip", "find", "MAC_Binding"])?;
        ensure!(learned.contains("10.2.0.11"), "{learned}");
        drop(blue1);
        Ok(())
    });
}

#[test]
fn a_gateway_router_leads_outside() {
    gateway_router(Plan::under_test());
}

#[test]
fn a_gateway_router_of_ovns_northd_leads_outside() {
    gateway_router(by_ovns_northd());
}

#[test]
fn a_gateway_router_under_ovns_controllers_leads_outside() {
    gateway_router(by_ovns_controllers());
}

fn gateway_router(plan: Plan) {
    story(plan, |lab| {
        let [red1, _, blue1] = tenant(lab)?;
        let outside = outside(lab)?;
        add_gateway_router(lab)?;
        ping(&red1, "203.0.113.100")?;
        ping(&blue1, "203.0.113.100")?;
        wait_until(
            "the gateway to answer",
            std::time::Duration::from_secs(20),
            || {
                let ping = outside.run("ping");
                ping.args(["-n", "-c", "1", "-W", "1", "203.0.113.10"])
                    .succeeds()
            },
        )?;
        without_translation(lab, &red1, &outside)
    });
}

/// IPv6 is routed as it is, both ways.
fn without_translation(lab: &Lab, red1: &Guest, outside: &Namespace) -> Result<()> {
    for (port, network) in [
        ("r-red", "2001:db8:1::1/64"),
        ("r-join", "2001:db8:64::1/64"),
        ("gw-join", "2001:db8:64::2/64"),
        ("gw-public", "2001:db8:f::10/64"),
    ] {
        let network = format!("\"{network}\"");
        let add = ["add", "Logical_Router_Port", port, "networks", &network];
        lab.rig.nb(&add)?;
    }
    nb(
        lab,
        "lr-route-add r ::/0 2001:db8:64::2 -- lr-route-add gw 2001:db8:1::/64 2001:db8:64::1",
    )?;
    let [port, _, mac, address] = GUESTS[0];
    let known = format!("{mac} {address} 2001:db8:1::11");
    lab.rig.nb(&["lsp-set-addresses", port, &known])?;
    for (network, device, own, route) in [
        (
            red1.namespace(),
            port,
            "2001:db8:1::11/64",
            ["default", "2001:db8:1::1"],
        ),
        (
            outside,
            "eth0",
            "2001:db8:f::100/64",
            ["2001:db8:1::/64", "2001:db8:f::10"],
        ),
    ] {
        network.ip(&["-6", "address", "add", own, "dev", device, "nodad"])?;
        network.ip(&["-6", "route", "add", route[0], "via", route[1]])?;
    }
    lab.rig.nb(&["--wait=hv", "sync"])?;
    let wire = Capture::start(outside, "eth0", "icmp6", lab.rig.dir())?;
    red1.ping("2001:db8:f::100".parse::<IpAddr>()?)?;
    wire.wait_for(&["2001:db8:1::11 > 2001:db8:f::100", "echo request"])?;
    wait_until(
        "the guest to answer",
        std::time::Duration::from_secs(20),
        || {
            let ping = outside.run("ping");
            ping.args(["-n", "-c", "1", "-W", "1", "2001:db8:1::11"])
                .succeeds()
        },
    )
}

/// A gateway router between the tenant and the outside.
fn add_gateway_router(lab: &Lab) -> Result<()> {
    let commands = "lr-add gw -- set Logical_Router gw options:chassis=CHASSIS \
         -- ls-add join \
         -- lrp-add r r-join 02:00:00:64:00:01 100.64.0.1/24 \
         -- lsp-add join join-r -- lsp-set-type join-r router -- lsp-set-addresses join-r router \
         -- lsp-set-options join-r router-port=r-join \
         -- lrp-add gw gw-join 02:00:00:64:00:02 100.64.0.2/24 \
         -- lsp-add join join-gw -- lsp-set-type join-gw router -- lsp-set-addresses join-gw router \
         -- lsp-set-options join-gw router-port=gw-join \
         -- lrp-add gw gw-public 02:00:00:cb:00:02 203.0.113.10/24 \
         -- lsp-add public public-gw -- lsp-set-type public-gw router -- lsp-set-addresses public-gw router \
         -- lsp-set-options public-gw router-port=gw-public \
         -- lr-route-add r 0.0.0.0/0 100.64.0.2 \
         -- lr-route-add gw 10.0.0.0/8 100.64.0.1 \
         -- lr-nat-add gw snat 203.0.113.10 10.0.0.0/8";
    let commands = commands.replace("CHASSIS", CHASSIS[1]);
    nb(lab, &commands)?;
    lab.rig.nb(&["--wait=hv", "sync"]).map(drop)
}

#[test]
fn a_neighbour_that_speaks_stays_and_one_that_is_gone_is_forgotten() {
    story(Plan::under_test(), |lab| {
        let [red1, ..] = tenant(lab)?;
        let outside = outside(lab)?;
        add_gateway_router(lab)?;
        let age = "options:mac_binding_age_threshold=10";
        lab.rig.nb(&["set", "Logical_Router", "gw", age])?;
        ping(&red1, "203.0.113.100")?;
        let heard = || {
            let place = ["find", "MAC_Binding", "ip=203.0.113.100"];
            let columns = ["--bare", "--columns=timestamp"];
            let text = lab.rig.sb(&[&columns[..], &place].concat())?;
            anyhow::Ok(text.trim().to_owned())
        };
        let first = heard()?;
        ensure!(!first.is_empty(), "the neighbour was not learned");
        // Nobody sends to it: it is asked, and answers.
        let limit = std::time::Duration::from_secs(30);
        wait_until("the neighbour to be heard of again", limit, || {
            let now = heard()?;
            ensure!(!now.is_empty(), "the neighbour was forgotten");
            Ok(now != first)
        })?;
        outside.ip(&["link", "set", "eth0", "down"])?;
        wait_until("the neighbour to be forgotten", limit, || {
            Ok(heard()?.is_empty())
        })
    });
}

#[test]
fn a_distributed_gateway_port_leads_outside() {
    distributed_gateway_port(Plan::under_test());
}

#[test]
fn a_distributed_gateway_port_of_ovns_northd_leads_outside() {
    distributed_gateway_port(by_ovns_northd());
}

#[test]
fn a_distributed_gateway_port_under_ovns_controllers_leads_outside() {
    distributed_gateway_port(by_ovns_controllers());
}

fn distributed_gateway_port(plan: Plan) {
    story(plan, |lab| {
        let [red1, red2, _] = tenant(lab)?;
        let outside = outside(lab)?;
        let commands = "lrp-add r r-public 02:00:00:cb:00:01 203.0.113.10/24 \
             -- lsp-add public public-r -- lsp-set-type public-r router -- lsp-set-addresses public-r router \
             -- lsp-set-options public-r router-port=r-public \
             -- lrp-set-gateway-chassis r-public FIRST 20 \
             -- lrp-set-gateway-chassis r-public SECOND 10 \
             -- lr-nat-add r snat 203.0.113.10 10.1.0.0/24 \
             -- lr-nat-add r dnat_and_snat 203.0.113.50 10.1.0.12";
        let [first, second] = CHASSIS;
        let commands = commands.replace("FIRST", first).replace("SECOND", second);
        nb(lab, &commands)?;
        lab.rig.nb(&["--wait=hv", "sync"])?;
        // Each waits for a BFD session, so as not to take over when it is itself that is cut off.
        wait_until(
            "the gateway of higher priority",
            std::time::Duration::from_secs(20),
            || Ok(lab.bound_to("cr-r-public")? == first),
        )?;
        ping(&red1, "203.0.113.100")?;
        ping(&red2, "203.0.113.100")?;
        // By its floating address a guest is reached.
        wait_until(
            "203.0.113.50 to answer",
            std::time::Duration::from_secs(20),
            || {
                let ping = outside.run("ping");
                ping.args(["-n", "-c", "1", "-W", "1", "203.0.113.50"])
                    .succeeds()
            },
        )?;
        // The other takes over when it is the one with the higher priority.
        let first_now = ["lrp-set-gateway-chassis", "r-public", second, "30"];
        lab.rig.nb(&[&["--wait=hv"], &first_now[..]].concat())?;
        wait_until(
            "the other gateway",
            std::time::Duration::from_secs(20),
            || Ok(lab.bound_to("cr-r-public")? == second),
        )?;
        ping(&red1, "203.0.113.100").map(drop)
    });
}

#[test]
fn a_gateway_on_a_switch_without_a_physical_network_is_reached() {
    gateway_without_outside(Plan::under_test());
}

#[test]
fn a_gateway_on_a_switch_without_a_physical_network_is_reached_under_ovns_controllers() {
    gateway_without_outside(by_ovns_controllers());
}

/// The guests of `blue` are on another chassis than their router's port. OVN 23.03's northd leaves them alone, and its controllers do
/// not send back by a tunnel what came by it.
fn gateway_without_outside(plan: Plan) {
    let is_ovns = plan.controller == Implementation::Ovn;
    story(plan, |lab| {
        let [red1, red2, blue1] = tenant(lab)?;
        let [first, _] = CHASSIS;
        nb(lab, &format!("lrp-set-gateway-chassis r-blue {first} 20"))?;
        lab.rig.nb(&["--wait=hv", "sync"])?;
        wait_until("the gateway", std::time::Duration::from_secs(20), || {
            Ok(lab.bound_to("cr-r-blue")? == first && lab.bound_to("cr-blue-r")? == first)
        })?;
        for address in ["10.2.0.1", "10.1.0.11"] {
            ping(&blue1, address)?;
        }
        ping(&red1, "10.2.0.11")?;
        if is_ovns {
            return Ok(());
        }
        ping(&blue1, "10.1.0.12")?;
        ping(&red2, "10.2.0.11").map(drop)
    });
}

/// A router with two switches, and a guest of each on different chassis.
fn tenant(lab: &Lab) -> Result<[Guest; 3]> {
    nb(
        lab,
        "lr-add r \
         -- ls-add red -- lrp-add r r-red 02:00:00:01:00:01 10.1.0.1/24 \
         -- lsp-add red red-r -- lsp-set-type red-r router -- lsp-set-addresses red-r router \
         -- lsp-set-options red-r router-port=r-red \
         -- ls-add blue -- lrp-add r r-blue 02:00:00:02:00:01 10.2.0.1/24 \
         -- lsp-add blue blue-r -- lsp-set-type blue-r router -- lsp-set-addresses blue-r router \
         -- lsp-set-options blue-r router-port=r-blue",
    )?;
    let mut guests = Vec::new();
    for ([port, switch, mac, address], place) in GUESTS.iter().zip(PLACES) {
        let known = format!("{mac} {address}");
        lab.rig.nb(&[
            "lsp-add",
            switch,
            port,
            "--",
            "lsp-set-addresses",
            port,
            &known,
        ])?;
        let guest = Guest::new(&lab.rig, port, mac)?;
        let id = format!("external_ids:iface-id={port}");
        guest.plug(lab.rig.chassis(place)?, "br-int", &[["Interface", &id]])?;
        let network = guest.namespace();
        network.ip(&["address", "add", &format!("{address}/24"), "dev", port])?;
        let (net, _) = address.rsplit_once('.').context("an address")?;
        network.ip(&["route", "add", "default", "via", &format!("{net}.1")])?;
        guests.push(guest);
    }
    for [port, ..] in GUESTS {
        lab.rig
            .nb(&["wait-until", "Logical_Switch_Port", port, "up=true"])?;
    }
    lab.rig.nb(&["--wait=hv", "sync"])?;
    Ok(guests.try_into().expect("as many as there are names"))
}

/// The switch `public`, with the outside behind it, and a host there.
fn outside(lab: &Lab) -> Result<Namespace> {
    nb(
        lab,
        "ls-add public -- lsp-add public public-net -- lsp-set-type public-net localnet \
         -- lsp-set-addresses public-net unknown -- lsp-set-options public-net network_name=phys",
    )?;
    for name in CHASSIS {
        let mappings = "external_ids:ovn-bridge-mappings=phys:br-phys";
        lab.rig
            .chassis(name)?
            .vsctl(&["set", "Open_vSwitch", ".", mappings])?;
    }
    let host = lab.rig.new_namespace("internet")?;
    let rig = lab.rig.namespace();
    let veth = ["-n", host.name(), "link", "add", "eth0", "type", "veth"];
    let peer = ["peer", "name", "outside", "netns", rig.name()];
    Run::new("ip").args(veth).args(peer).output()?;
    rig.ip(&["link", "set", "outside", "master", "underlay", "up"])?;
    host.ip(&["link", "set", "eth0", "up"])?;
    host.ip(&["address", "add", "203.0.113.100/24", "dev", "eth0"])?;
    Ok(host)
}

/// Commands as one would type them.
fn nb(lab: &Lab, commands: &str) -> Result<()> {
    let words: Vec<&str> = commands.split_whitespace().collect();
    lab.rig.nb(&words).map(drop)
}

/// Waits until the address answers: what `ping` says then.
fn ping(guest: &Guest, address: &str) -> Result<String> {
    guest.ping(address.parse::<Ipv4Addr>()?)?;
    let again = guest.namespace().run("ping");
    again.args(["-n", "-c", "1", "-W", "2", address]).output()
}
