//! Which way packets go: the longest prefix, routes by source, tables, several next hops, replies that go back as they came,
//! and policies that overrule all of them.
//!
//! ```text
//!   red1 10.1.0.11 ──┐                       ┌── hop1 10.9.0.2   198.19.1.1, 198.19.5.1, …
//!                    gw ── 10.9.0.1 ── mid ──┤
//!   red2 10.1.0.12 ──┘                       └── hop2 10.9.0.3   the same addresses
//! ```
//!
//! Both next hops have all addresses beyond, so that who answers tells which way it went. `gw` is on one chassis.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::guest::Guest;
use tests::implementation::{Door, Implementation, Plan};
use tests::lab::{CHASSIS, Lab};
use tests::service::{Connection, Service};
use tests::story::story;
use tests::wait::wait_until;

/// Name, switch, MAC and IP address of the guests, and which chassis they are on.
const GUESTS: [([&str; 4], usize); 4] = [
    (["red1", "red", "02:ac:10:01:00:01", "10.1.0.11"], 0),
    (["red2", "red", "02:ac:10:01:00:02", "10.1.0.12"], 1),
    (["hop1", "mid", "02:ac:10:09:00:02", "10.9.0.2"], 0),
    (["hop2", "mid", "02:ac:10:09:00:03", "10.9.0.3"], 1),
];
/// What is beyond both next hops.
const BEYOND: [&str; 8] = [
    "198.18.1.1",
    "198.18.2.1",
    "198.18.3.1",
    "198.18.4.1",
    "198.18.5.1",
    "198.18.6.1",
    "198.19.1.1",
    "198.19.5.1",
];
/// As whom next hops speak by themselves.
const CLIENT: &str = "198.19.5.1";
const PORT: u16 = 7;
/// So many connections are enough to see both of two next hops: that one is missed happens once in 2^31 times.
const CONNECTIONS: usize = 32;

#[test]
fn packets_go_where_routes_and_policies_say() {
    routes(Plan::under_test());
}

#[test]
fn packets_go_where_routes_and_policies_say_under_ovns_controllers() {
    routes(Plan {
        controller: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

fn routes(plan: Plan) {
    let is_ours = plan.northd == Implementation::Weft;
    story(plan, |lab| {
        let guests = build(lab)?;
        let [red1, red2, hop1, hop2] = &guests;
        let services = [
            Service::start(hop1, PORT)?,
            Service::start(hop2, PORT)?,
            Service::start(red1, PORT)?,
        ];
        nb(
            lab,
            "lr-route-add gw 198.18.0.0/16 10.9.0.2 \
             -- lr-route-add gw 198.18.2.0/24 10.9.0.3 \
             -- lr-route-add gw 198.18.3.0/24 discard \
             -- --policy=src-ip lr-route-add gw 10.1.0.12/32 10.9.0.3 \
             -- --ecmp-symmetric-reply lr-route-add gw 198.19.0.0/16 10.9.0.2 \
             -- --ecmp-symmetric-reply lr-route-add gw 198.19.0.0/16 10.9.0.3 \
             -- lr-policy-add gw 100 ip4.dst==198.18.4.1 drop \
             -- lr-policy-add gw 90 ip4.dst==198.18.5.1 reroute 10.9.0.3",
        )?;
        if is_ours {
            // Chains are younger than OVN 23.03.
            nb(
                lab,
                "lr-policy-add gw 80 ip4.dst==198.18.6.1 jump other \
                 -- --chain=other lr-policy-add gw 10 ip4 reroute 10.9.0.3",
            )?;
        }
        lab.rig.nb(&["--wait=hv", "sync"])?;

        answers(red1, "198.18.1.1", "hop1", "by its prefix")?;
        answers(red1, "198.18.2.1", "hop2", "by the longer prefix")?;
        answers(red2, "198.18.1.1", "hop2", "by its source, which is longer")?;
        answers(red1, "198.18.5.1", "hop2", "by a policy")?;
        if is_ours {
            answers(red1, "198.18.6.1", "hop2", "by a policy of a chain")?;
        }
        for (gone, why) in [("198.18.3.1", "is discarded"), ("198.18.4.1", "is dropped")] {
            let limit = Duration::from_secs(2);
            let found = Connection::open_within(red1, (address(gone)?, PORT).into(), limit);
            ensure!(found.is_err(), "{gone} {why}, and answers");
        }
        marks(lab, red1, [hop1, hop2])?;
        both_are_used(red1)?;
        as_they_came(red1, [hop1, hop2])?;

        // What comes in by the port of red is looked up in a table of its own.
        nb(
            lab,
            "lrp-set-options gw-red route_table=blue \
             -- --route-table=blue lr-route-add gw 198.18.1.0/24 10.9.0.3",
        )?;
        lab.rig.nb(&["--wait=hv", "sync"])?;
        answers(red1, "198.18.1.1", "hop2", "by the table of the port")?;
        drop(services);
        Ok(())
    });
}

/// Ports between routers need no addresses but those of the link: IPv4 and IPv6 are routed by them.
#[test]
fn routers_lead_on_by_ports_without_networks() {
    story(Plan::under_test(), |lab| {
        nb(
            lab,
            "ls-add join \
             -- lr-add left -- lrp-add left left-join 02:00:00:0c:00:01 \
             -- lsp-add join join-left -- lsp-set-type join-left router -- lsp-set-addresses join-left router \
             -- lsp-set-options join-left router-port=left-join \
             -- lr-add right -- lrp-add right right-join 02:00:00:0c:00:02 \
             -- lsp-add join join-right -- lsp-set-type join-right router -- lsp-set-addresses join-right router \
             -- lsp-set-options join-right router-port=right-join \
             -- lr-route-add left 2001:db8:5::/64 fe80::ff:fe0c:2 left-join \
             -- lr-route-add right 2001:db8:4::/64 fe80::ff:fe0c:1 right-join",
        )?;
        for (router, prefix, hop) in [("left", "10.5.0.0/24", 2), ("right", "10.4.0.0/24", 1)] {
            nb(
                lab,
                &format!(
                    "--id=@route create Logical_Router_Static_Route ip_prefix={prefix} \
                     nexthop=\"fe80::ff:fe0c:{hop}\" output_port={router}-join \
                     -- add Logical_Router {router} static_routes @route"
                ),
            )?;
        }
        let mut guests = Vec::new();
        for (router, number, place) in [("left", 4, 0), ("right", 5, 1)] {
            let (port, mac) = (
                format!("guest{number}"),
                format!("02:ac:0c:00:00:0{number}"),
            );
            let addresses = [
                format!("10.{number}.0.11"),
                format!("2001:db8:{number}::11"),
            ];
            nb(
                lab,
                &format!(
                    "ls-add lan{number} \
                     -- lrp-add {router} {router}-lan 02:00:00:0d:00:0{number} 10.{number}.0.1/24 2001:db8:{number}::1/64 \
                     -- lsp-add lan{number} lan-{router} -- lsp-set-type lan-{router} router -- lsp-set-addresses lan-{router} router \
                     -- lsp-set-options lan-{router} router-port={router}-lan \
                     -- lsp-add lan{number} {port}"
                ),
            )?;
            let known = format!("{mac} {}", addresses.join(" "));
            lab.rig.nb(&["lsp-set-addresses", &port, &known])?;
            let guest = Guest::new(&lab.rig, &port, &mac)?;
            let id = format!("external_ids:iface-id={port}");
            guest.plug(
                lab.rig.chassis(CHASSIS[place])?,
                "br-int",
                &[["Interface", &id]],
            )?;
            let ip = |words: &str| guest.namespace().ip(&words.split(' ').collect::<Vec<_>>());
            ip(&format!("address add {}/24 dev {port}", addresses[0]))?;
            ip(&format!("route add default via 10.{number}.0.1"))?;
            ip(&format!(
                "-6 address add {}/64 dev {port} nodad",
                addresses[1]
            ))?;
            ip(&format!("-6 route add default via 2001:db8:{number}::1"))?;
            lab.rig
                .nb(&["wait-until", "Logical_Switch_Port", &port, "up=true"])?;
            guests.push(guest);
        }
        lab.rig.nb(&["--wait=hv", "sync"])?;
        for target in ["10.5.0.11", "2001:db8:5::11"] {
            let target: std::net::IpAddr = target.parse()?;
            guests[0].ping(target)?;
            ensure!(
                !guests[0].reaches_within(target, 2)?,
                "{target} is two routers away"
            );
            ensure!(
                guests[0].reaches_within(target, 3)?,
                "{target} is two routers away"
            );
        }
        Ok(())
    });
}

/// A policy marks its packets, and no others, for who looks at the mark behind the router: here a rule that tells it by a DSCP. On the
/// router's own chassis: a mark does not go through a tunnel.
fn marks(lab: &Lab, from: &Guest, hops: [&Guest; 2]) -> Result<()> {
    nb(
        lab,
        "lr-policy-add gw 70 ip4.dst==198.18.2.1 allow pkt_mark=77",
    )?;
    let shows = ["qos-add", "mid", "to-lport", "100", "ip4 && pkt.mark == 77"];
    lab.rig.nb(&[&shows[..], &["dscp=46"]].concat())?;
    lab.rig.nb(&["--wait=hv", "sync"])?;
    for (hop, to, tos) in [
        (hops[0], "198.18.1.1", "tos 0x0"),
        (hops[1], "198.18.2.1", "tos 0xb8"),
    ] {
        let heard = hop.listen("icmp")?;
        from.ping(address(to)?)?;
        heard.wait_for(&[tos, &format!("> {to}: ICMP echo request")])?;
    }
    Ok(())
}

/// Each connection goes to one of both next hops and stays there, and both are used.
fn both_are_used(from: &Guest) -> Result<()> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(
            from,
            (address("198.19.1.1")?, PORT).into(),
        )?);
    }
    let mut servers: BTreeMap<String, usize> = BTreeMap::new();
    for connection in &mut connections {
        connection.lives()?;
        *servers.entry(connection.server.clone()).or_default() += 1;
    }
    ensure!(servers.len() == 2, "{servers:?}");
    Ok(())
}

/// What comes in by a next hop is answered by it, whichever it is.
fn as_they_came(to: &Guest, hops: [&Guest; 2]) -> Result<()> {
    for hop in hops {
        let device = hop.device();
        let route = ["route", "replace", "default", "via", "10.9.0.1"];
        let source = ["dev", device, "src", CLIENT];
        hop.namespace().ip(&[&route[..], &source].concat())?;
        for _ in 0..CONNECTIONS {
            let target = (address("10.1.0.11")?, PORT).into();
            let mut connection = Connection::open_within(hop, target, Duration::from_secs(3))
                .with_context(|| format!("what came by {device} was answered elsewhere"))?;
            connection.lives()?;
            ensure!(connection.server == to.device(), "{connection:?}");
            ensure!(connection.seen_as == address(CLIENT)?, "{connection:?}");
        }
    }
    Ok(())
}

/// Whoever answers at an address is this one.
fn answers(from: &Guest, to: &str, hop: &str, why: &str) -> Result<()> {
    let target = (address(to)?, PORT).into();
    wait_until(
        &format!("{to} to be reached by {hop}, {why}"),
        Duration::from_secs(10),
        || Ok(Connection::open(from, target)?.server == hop),
    )
}

fn address(text: &str) -> Result<Ipv4Addr> {
    text.parse()
        .with_context(|| format!("{text} is no address"))
}

/// The network, with its guests.
fn build(lab: &Lab) -> Result<[Guest; 4]> {
    let gateway = CHASSIS[1];
    nb(
        lab,
        &format!(
            "lr-add gw -- set Logical_Router gw options:chassis={gateway} \
             -- ls-add red -- lrp-add gw gw-red 02:00:00:01:00:01 10.1.0.1/24 \
             -- lsp-add red red-gw -- lsp-set-type red-gw router -- lsp-set-addresses red-gw router \
             -- lsp-set-options red-gw router-port=gw-red \
             -- ls-add mid -- lrp-add gw gw-mid 02:00:00:09:00:01 10.9.0.1/24 \
             -- lsp-add mid mid-gw -- lsp-set-type mid-gw router -- lsp-set-addresses mid-gw router \
             -- lsp-set-options mid-gw router-port=gw-mid"
        ),
    )?;
    let mut guests = Vec::new();
    for ([port, switch, mac, own], place) in GUESTS {
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
        let (net, _) = own.rsplit_once('.').context("an address")?;
        network.ip(&["route", "add", "default", "via", &format!("{net}.1")])?;
        if switch == "mid" {
            network.ip(&["link", "set", "lo", "up"])?;
            for beyond in BEYOND {
                network.ip(&["address", "add", &format!("{beyond}/32"), "dev", "lo"])?;
            }
        }
        guests.push(guest);
    }
    for ([port, ..], _) in GUESTS {
        lab.rig
            .nb(&["wait-until", "Logical_Switch_Port", port, "up=true"])?;
    }
    Ok(guests.try_into().expect("as many as there are names"))
}

/// Commands as one would type them.
fn nb(lab: &Lab, commands: &str) -> Result<()> {
    let words: Vec<&str> = commands.split_whitespace().collect();
    lab.rig.nb(&words).map(drop)
}
