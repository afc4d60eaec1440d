//! BFD sessions of routers: a next hop that dies leaves a route of several in BFD's time, and comes back.
//!
//! ```text
//!   red1 10.1.0.11 ── a ── 10.9.0.1 ── mid ──┬── b 10.9.0.2 ── far ── far1 198.19.1.1
//!                                            └── hop1 10.9.0.3            198.19.1.1
//! ```
//!
//! `a` and `b` are routers on a chassis each; their session goes through a tunnel. Two of OVN's controllers never bring a session
//! up with one another: each leaves aside what comes without its own number, which nobody can have heard. So theirs are told
//! with one of ours, and with a router that advertises itself: without anything else to send, theirs sends of a session only what
//! answers.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use tests::capture::Capture;
use tests::guest::Guest;
use tests::implementation::{Door, Implementation, Plan};
use tests::lab::{CHASSIS, Lab};
use tests::service::{Connection, Service};
use tests::story::story;
use tests::wait::wait_until;

/// Name, switch, MAC, IP address and gateway of the guests, and which chassis they are on.
const GUESTS: [([&str; 5], usize); 3] = [
    (
        ["red1", "red", "02:ac:10:01:00:01", "10.1.0.11", "10.1.0.1"],
        0,
    ),
    (
        ["hop1", "mid", "02:ac:10:09:00:03", "10.9.0.3", "10.9.0.1"],
        0,
    ),
    (
        [
            "far1",
            "far",
            "02:ac:10:13:00:01",
            "198.19.1.1",
            "198.19.0.1",
        ],
        1,
    ),
];
const BEYOND: Ipv4Addr = Ipv4Addr::new(198, 19, 1, 1);
const PORT: u16 = 7;
/// So many connections see both of two next hops.
const CONNECTIONS: usize = 32;
const LIMIT: Duration = Duration::from_secs(30);
/// Packets are a tenth of a second apart, and three of them may be missed.
const SESSION: &str = "min_tx=100 min_rx=100 detect_mult=3";

#[test]
fn a_next_hop_that_dies_leaves_in_bfds_time() {
    a_next_hop_dies(Plan::under_test());
}

#[test]
fn a_next_hop_that_dies_leaves_as_ovns_northd_says() {
    a_next_hop_dies(Plan {
        northd: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

#[test]
fn a_next_hop_that_dies_leaves_between_ovns_controller_and_ours() {
    a_next_hop_dies(Plan {
        controller: Implementation::Ovn,
        other_controllers: Some(Implementation::Weft),
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

fn a_next_hop_dies(plan: Plan) {
    let is_ours = plan.northd == Implementation::Weft;
    story(plan, |lab| {
        let guests = build(lab)?;
        let [red1, hop1, far1] = &guests;
        let services = [Service::start(hop1, PORT)?, Service::start(far1, PORT)?];
        let tunnel = Capture::start(
            lab.rig.namespace(),
            "underlay",
            "udp port 6081",
            lab.rig.dir(),
        )?;
        nb(
            lab,
            r#"add Logical_Router_Port a-red networks "fd01::1/64""#,
        )?;
        let advertise = "ipv6_ra_configs:address_mode=slaac ipv6_ra_configs:send_periodic=true";
        nb(lab, &format!("set Logical_Router_Port a-red {advertise}"))?;
        for (port, neighbour) in [("a-mid", "10.9.0.2"), ("b-mid", "10.9.0.1")] {
            let row = format!("create BFD logical_port={port} dst_ip={neighbour} {SESSION}");
            nb(lab, &row)?;
        }
        let session = |port: &str| {
            let found = [
                "--bare",
                "--columns=_uuid",
                "find",
                "BFD",
                &format!("logical_port={port}"),
            ];
            anyhow::Ok(lab.rig.nb(&found)?.trim().to_owned())
        };
        nb(
            lab,
            &format!(
                "--bfd={} --ecmp lr-route-add a 198.19.0.0/16 10.9.0.2 \
                 -- --ecmp lr-route-add a 198.19.0.0/16 10.9.0.3 \
                 -- --bfd={} lr-route-add b 10.1.0.0/24 10.9.0.1",
                session("a-mid")?,
                session("b-mid")?
            ),
        )?;
        for port in ["a-mid", "b-mid"] {
            wait_until(&format!("the session of {port}"), LIMIT, || {
                Ok(status(lab, port)? == "up")
            })?;
        }
        if is_ours {
            let sent = ["> 10.9.0.2.3784", "ttl 255"];
            tunnel.wait_for(&sent)?;
        }
        lab.rig.nb(&["--wait=hv", "sync"])?;
        wait_until("both next hops to be used", LIMIT, || {
            Ok(servers(red1)?.len() == 2)
        })?;

        let second = lab
            .rig
            .chassis
            .iter_mut()
            .find(|chassis| chassis.name() == CHASSIS[1]);
        let second = second.context("the second chassis")?;
        second.switch().kill()?;
        wait_until("the session to be down", LIMIT, || {
            Ok(status(lab, "a-mid")? == "down")
        })?;
        let flows = ["--wait=sb", "sync"];
        lab.rig.nb(&flows)?;
        wait_until("the other next hop alone to be used", LIMIT, || {
            Ok(servers(red1)? == BTreeSet::from(["hop1".to_owned()]))
        })?;
        drop(services);
        Ok(())
    });
}

/// Who answers beyond, for new connections. One that nobody answers is nobody's.
fn servers(from: &Guest) -> Result<BTreeSet<String>> {
    let mut servers = BTreeSet::new();
    for _ in 0..CONNECTIONS {
        let limit = Duration::from_secs(1);
        let found = Connection::open_within(from, (BEYOND, PORT).into(), limit);
        servers.insert(found.map_or_else(|_| "nobody".to_owned(), |found| found.server));
    }
    Ok(servers)
}

/// How the session of a port is, as the northbound says.
fn status(lab: &Lab, port: &str) -> Result<String> {
    let condition = format!("logical_port={port}");
    let find = ["--bare", "--columns=status", "find", "BFD", &condition];
    Ok(lab.rig.nb(&find)?.trim().to_owned())
}

/// The network, with its guests.
fn build(lab: &Lab) -> Result<[Guest; 3]> {
    let [first, second] = CHASSIS;
    nb(
        lab,
        &format!(
            "lr-add a -- set Logical_Router a options:chassis={first} \
             -- lr-add b -- set Logical_Router b options:chassis={second} \
             -- ls-add red -- ls-add mid -- ls-add far"
        ),
    )?;
    for (router, switch, mac, network) in [
        ("a", "red", "02:00:00:01:00:01", "10.1.0.1/24"),
        ("a", "mid", "02:00:00:09:00:01", "10.9.0.1/24"),
        ("b", "mid", "02:00:00:09:00:02", "10.9.0.2/24"),
        ("b", "far", "02:00:00:13:00:01", "198.19.0.1/16"),
    ] {
        let port = format!("{switch}-{router}");
        nb(
            lab,
            &format!(
                "lrp-add {router} {router}-{switch} {mac} {network} \
                 -- lsp-add {switch} {port} -- lsp-set-type {port} router \
                 -- lsp-set-addresses {port} router -- lsp-set-options {port} router-port={router}-{switch}"
            ),
        )?;
    }
    let mut guests = Vec::new();
    for ([port, switch, mac, own, gateway], place) in GUESTS {
        let known = format!("{mac} {own}");
        let add = ["lsp-add", switch, port];
        let set = ["--", "lsp-set-addresses", port, &known];
        lab.rig.nb(&[&add[..], &set].concat())?;
        let guest = Guest::new(&lab.rig, port, mac)?;
        let id = format!("external_ids:iface-id={port}");
        guest.plug(
            lab.rig.chassis(CHASSIS[place])?,
            "br-int",
            &[["Interface", &id]],
        )?;
        let network = guest.namespace();
        network.ip(&["address", "add", &format!("{own}/24"), "dev", port])?;
        if switch == "far" {
            network.ip(&["route", "add", gateway, "dev", port])?;
        }
        network.ip(&["route", "add", "default", "via", gateway])?;
        if switch == "mid" {
            network.ip(&["link", "set", "lo", "up"])?;
            network.ip(&["address", "add", &format!("{BEYOND}/32"), "dev", "lo"])?;
        }
        guests.push(guest);
    }
    for ([port, ..], _) in GUESTS {
        lab.rig
            .nb(&["wait-until", "Logical_Switch_Port", port, "up=true"])?;
    }
    lab.rig.nb(&["--wait=hv", "sync"])?;
    Ok(guests.try_into().expect("as many as there are names"))
}

/// Commands as one would type them.
fn nb(lab: &Lab, commands: &str) -> Result<()> {
    let words: Vec<&str> = commands.split_whitespace().collect();
    lab.rig.nb(&words).map(drop)
}
