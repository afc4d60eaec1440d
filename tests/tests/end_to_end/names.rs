//! A switch gives its guests addresses and names: ports say `dynamic` and are given addresses, DHCP tells them, IPv6 as IPv4,
//! and DNS knows the names. On Weft's daemons, and on mixtures with OVN's. The clients are ISC's, dhcpcd and `dig`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::guest::{DhcpClient, Guest};
use tests::implementation::{Door, Implementation, Plan};
use tests::lab::{CHASSIS, Lab};
use tests::story::story;
use tests::wait::wait_until;

/// Where guests send their questions; nobody is there.
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const SERVER_MAC: &str = "02:00:00:00:00:fe";
const MACS: [&str; 2] = ["02:00:00:00:01:01", "02:00:00:00:01:02"];

#[test]
fn a_switch_gives_addresses_and_names() {
    on(Plan::under_test());
}

#[test]
fn a_switch_gives_addresses_and_names_by_ovns_northd() {
    on(Plan {
        northd: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

#[test]
fn a_switch_gives_addresses_and_names_by_ovns_controllers() {
    on(Plan {
        controller: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

fn on(plan: Plan) {
    story(plan, |lab| {
        let options6 = describe(lab)?;
        let guests = [plug(lab, 0)?, plug(lab, 1)?];
        let [first, second] = &guests;
        let lease = first.lease(DhcpClient::Dhclient)?;
        ensure!(lease.address == Ipv4Addr::new(10, 0, 0, 2), "{lease:?}");
        let lease = second.lease(DhcpClient::Udhcpc)?;
        ensure!(lease.address == Ipv4Addr::new(10, 0, 0, 5), "{lease:?}");
        second.ping(Ipv4Addr::new(10, 0, 0, 2))?;

        // IPv6: an address that follows from the MAC, and the same for a guest that wants nothing else.
        let told = lease6(first, &["-1"])?;
        ensure!(told.contains("new_ip6_address=fd00::ff:fe00:101"), "{told}");
        ensure!(told.contains("new_dhcp6_name_servers=fd00::1"), "{told}");
        // OVN's controllers write the whole of it as one label, which the client does not take.
        let is_told = told.contains("new_dhcp6_domain_search=ovn.org.");
        ensure!(is_told || plan.controller == Implementation::Ovn, "{told}");
        let stateless = "options:dhcpv6_stateless=true";
        lab.rig.nb(&["set", "DHCP_Options", &options6, stateless])?;
        lab.sync()?;
        let told = lease6(second, &["-S", "-1"])?;
        ensure!(told.contains("new_dhcp6_name_servers=fd00::1"), "{told}");
        ensure!(!told.contains("new_ip6_address"), "{told}");

        first
            .namespace()
            .ip(&["address", "replace", "fd00::ff:fe00:101/64", "dev", "red1"])?;
        let address6 = "fd00::ff:fe00:101";
        for server in [IpAddr::V4(SERVER), SERVER6.into()] {
            for (name, kind, expected) in [
                ("red1.ovn.org", "A", "10.0.0.2"),
                ("RED1.Ovn.Org", "AAAA", address6),
                ("red2.ovn.org", "A", "10.0.0.5\n10.0.0.77"),
            ] {
                let said = dig(first, server, &[name, kind]);
                let said = said.with_context(|| format!("{name} {kind} of {server}"))?;
                let mut said: Vec<&str> = said.lines().collect();
                said.sort_unstable();
                ensure!(
                    said.join("\n") == expected,
                    "{name} {kind} of {server}: {said:?}"
                );
            }
            let said = dig(first, server, &["-x", "10.0.0.2"])?;
            ensure!(said == "red1.ovn.org.", "{said}");
        }
        // Nobody else answers what the switch does not know.
        ensure!(dig(first, SERVER.into(), &["red3.ovn.org", "A"]).is_err());

        // Rules come first: a question that must not leave is not answered, and answers pass rules to guests.
        lab.rig
            .nb(&["acl-add", "red", "to-lport", "1000", "udp", "drop"])?;
        lab.sync()?;
        ensure!(dig(first, SERVER.into(), &["red1.ovn.org", "A"])? == "10.0.0.2");
        lab.rig.nb(&[
            "acl-add",
            "red",
            "from-lport",
            "1000",
            "udp.dst==53",
            "drop",
        ])?;
        lab.sync()?;
        ensure!(dig(first, SERVER.into(), &["red1.ovn.org", "A"]).is_err());
        Ok(())
    });
}

/// A switch that gives addresses and names: its options of DHCPv6.
fn describe(lab: &Lab) -> Result<String> {
    let server_mac = format!("options:server_mac=\"{SERVER_MAC}\"");
    let options = lab.rig.nb(&[
        "create",
        "DHCP_Options",
        "cidr=10.0.0.0/24",
        "options:server_id=10.0.0.1",
        &server_mac,
        "options:lease_time=3600",
        "options:router=10.0.0.1",
    ])?;
    let server_id = format!("options:server_id=\"{SERVER_MAC}\"");
    let options6 = lab.rig.nb(&[
        "create",
        "DHCP_Options",
        "cidr=\"fd00::/64\"",
        &server_id,
        "options:dns_server=\"fd00::1\"",
        "options:domain_search=\"\\\"ovn.org\\\"\"",
    ])?;
    let records = [
        "\"red1.ovn.org\"=\"10.0.0.2 fd00::ff:fe00:101\"",
        "\"red2.ovn.org\"=\"10.0.0.77 10.0.0.5\"",
        "\"2.0.0.10.in-addr.arpa\"=\"red1.ovn.org\"",
    ];
    let records = format!("records={{{}}}", records.join(","));
    let names = lab.rig.nb(&["create", "DNS", &records])?;
    let (options, options6, names) = (options.trim(), options6.trim(), names.trim());
    lab.rig.nb(&["ls-add", "red"])?;
    lab.rig.nb(&[
        "set",
        "Logical_Switch",
        "red",
        "other_config:subnet=10.0.0.0/24",
        "other_config:ipv6_prefix=\"fd00::\"",
        "other_config:exclude_ips=10.0.0.3..10.0.0.4",
        &format!("dns_records={names}"),
    ])?;
    for (number, mac) in (1..).zip(MACS) {
        let port = format!("red{number}");
        lab.rig.nb(&[
            "lsp-add",
            "red",
            &port,
            "--",
            "lsp-set-addresses",
            &port,
            &format!("{mac} dynamic"),
            "--",
            "lsp-set-dhcpv4-options",
            &port,
            options,
            "--",
            "lsp-set-dhcpv6-options",
            &port,
            options6,
        ])?;
    }
    Ok(options6.to_owned())
}

/// A guest that is up, and knows where to send questions.
fn plug(lab: &Lab, place: usize) -> Result<Guest> {
    let name = format!("red{}", place + 1);
    let guest = Guest::new(&lab.rig, &name, MACS[place])?;
    let quick = guest.namespace().run("sysctl");
    quick
        .args(["-qw", "net.ipv6.conf.default.accept_dad=0"])
        .output()?;
    let id = format!("external_ids:iface-id={name}");
    let chassis = lab.rig.chassis(CHASSIS[place])?;
    guest.plug(chassis, "br-int", &[["Interface", &id]])?;
    lab.rig
        .nb(&["wait-until", "Logical_Switch_Port", &name, "up=true"])?;
    lab.sync()?;
    guest.know_neighbour(SERVER, SERVER_MAC)?;
    let neighbour = ["neighbour", "replace", "fd00::1", "lladdr", SERVER_MAC];
    let there = [&neighbour[..], &["dev", &name, "nud", "permanent"]].concat();
    guest.namespace().ip(&there)?;
    let ready = format!("{name} to have a link-local address");
    wait_until(&ready, Duration::from_secs(10), || {
        let shown = guest
            .namespace()
            .ip(&["-6", "address", "show", "dev", &name])?;
        Ok(shown.contains("fe80::") && !shown.contains("tentative"))
    })?;
    Ok(guest)
}

/// What ISC's client tells its script of what it is told by DHCPv6.
fn lease6(guest: &Guest, how: &[&str]) -> Result<String> {
    let file = |suffix: &str| {
        let name = format!("{}{suffix}", guest.namespace().name());
        std::env::temp_dir().join(name)
    };
    let [script, told, leases, pid] = [".script6", ".told6", ".leases6", ".pid6"].map(file);
    std::fs::write(&script, "#!/bin/sh\nenv >>\"$TOLD\"\n")?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    // The client of IPv4 has begun by removing all addresses.
    let own = [
        "address",
        "replace",
        "fe80::9/64",
        "dev",
        guest.device(),
        "nodad",
    ];
    guest.namespace().ip(&own)?;
    let run = guest.namespace().run("dhclient").args(["-6", "-v", "-lf"]);
    let run = run.arg(&leases).arg("-pf").arg(&pid).args(how);
    let run = run.arg("-sf").arg(&script).arg("-e");
    let run = run.arg(format!("TOLD={}", told.display()));
    run.arg(guest.device()).output()?;
    let stop = guest.namespace().run("dhclient").args(["-6", "-x", "-pf"]);
    stop.arg(&pid).output()?;
    let said = std::fs::read_to_string(&told)?;
    for file in [script, told, leases, pid] {
        let _absent = std::fs::remove_file(file);
    }
    Ok(said)
}

/// What a server, or the switch in its place, answers; nothing is an error.
fn dig(guest: &Guest, server: IpAddr, question: &[&str]) -> Result<String> {
    let run = guest.namespace().run("dig");
    let run = run.args([
        "+short",
        "+noedns",
        "+tries=2",
        "+time=2",
        &format!("@{server}"),
    ]);
    Ok(run.args(question).output()?.trim().to_owned())
}
