//! Guests configure themselves by what their router advertises: asked for when an interface comes up, and from time to time
//! without being asked. On Weft's daemons, and on mixtures with OVN's. The clients are Linux kernels.

use std::time::Duration;

use anyhow::Result;
use tests::guest::Guest;
use tests::implementation::{Door, Implementation, Plan};
use tests::lab::{CHASSIS, Lab};
use tests::story::story;
use tests::wait::wait_until;

#[test]
fn guests_configure_themselves() {
    guests_configure_themselves_on(Plan::under_test());
}

#[test]
fn guests_configure_themselves_by_ovns_northd() {
    guests_configure_themselves_on(Plan {
        northd: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

#[test]
fn guests_configure_themselves_by_ovns_controllers() {
    guests_configure_themselves_on(Plan {
        controller: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

fn guests_configure_themselves_on(plan: Plan) {
    story(plan, |lab| {
        nb(
            lab,
            "lr-add r -- ls-add red -- lrp-add r r-red 02:00:00:01:00:01 fd00:1::1/64 \
             -- lsp-add red red-r -- lsp-set-type red-r router -- lsp-set-addresses red-r router \
             -- lsp-set-options red-r router-port=r-red \
             -- set Logical_Router_Port r-red ipv6_ra_configs:address_mode=slaac ipv6_ra_configs:mtu=1400 \
                ipv6_ra_configs:router_preference=HIGH",
        )?;
        let asking = guest(lab, "red1", "02:00:00:00:01:01", CHASSIS[0])?;
        asking.namespace().ip(&["link", "set", "red1", "down"])?;
        asking.namespace().ip(&["link", "set", "red1", "up"])?;
        configured(&asking, "fd00:1::ff:fe00:101")?;
        let route = asking.namespace().ip(&["-6", "route", "show", "default"])?;
        anyhow::ensure!(route.contains("pref high"), "{route}");
        asking.ping("fd00:1::1".parse::<std::net::IpAddr>()?)?;

        // One that never asks.
        let quiet = guest(lab, "red2", "02:00:00:00:01:02", CHASSIS[1])?;
        let silence = quiet.namespace().run("sysctl");
        silence
            .args(["-qw", "net.ipv6.conf.red2.router_solicitations=0"])
            .output()?;
        quiet.namespace().ip(&["link", "set", "red2", "down"])?;
        quiet
            .namespace()
            .ip(&["-6", "address", "flush", "dev", "red2"])?;
        quiet.namespace().ip(&["link", "set", "red2", "up"])?;
        nb(
            lab,
            "set Logical_Router_Port r-red ipv6_ra_configs:send_periodic=true \
             ipv6_ra_configs:max_interval=4 ipv6_ra_configs:min_interval=3",
        )?;
        configured(&quiet, "fd00:1::ff:fe00:102")?;
        let found = "fd00:1::ff:fe00:101".parse::<std::net::IpAddr>()?;
        quiet.ping(found)?;
        told(lab, &asking)
    });
}

/// What an advertisement says of addresses, prefix, MTU and name servers, is what the router's port says; the flags tell who has more.
fn told(lab: &Lab, guest: &Guest) -> Result<()> {
    nb(
        lab,
        "set Logical_Router_Port r-red ipv6_ra_configs:rdnss=\"fd00:53::1\" ipv6_ra_configs:dnssl=weft.example",
    )?;
    for (mode, flags, prefix) in [
        ("slaac", "Flags [none]", "Flags [onlink, auto]"),
        ("dhcpv6_stateful", "Flags [managed]", "Flags [onlink]"),
        (
            "dhcpv6_stateless",
            "Flags [other stateful]",
            "Flags [onlink, auto]",
        ),
    ] {
        let setting = format!("ipv6_ra_configs:address_mode={mode}");
        lab.rig
            .nb(&["set", "Logical_Router_Port", "r-red", &setting])?;
        lab.rig.nb(&["--wait=hv", "sync"])?;
        let heard = guest.listen("icmp6 and ip6[40] == 134")?;
        heard.wait_for(&[
            flags,
            prefix,
            "fd00:1::/64",
            "mtu option (5), length 8 (1):  1400",
            "addr: fd00:53::1",
            "domain(s): weft.example.",
        ])?;
    }
    Ok(())
}

/// Waits until a guest has its address and its default route.
fn configured(guest: &Guest, address: &str) -> Result<()> {
    let what = format!("{} to have {address} and a route", guest.device());
    wait_until(&what, Duration::from_secs(30), || {
        let ip = guest.namespace();
        let addresses = ip.ip(&["-6", "address", "show", "dev", guest.device()])?;
        let routes = ip.ip(&["-6", "route", "show", "default"])?;
        Ok(addresses.contains(address) && routes.contains("via fe80::ff:fe01:1"))
    })
}

/// A guest that is up. It has no address but its MAC.
fn guest(lab: &Lab, name: &str, mac: &str, chassis: &str) -> Result<Guest> {
    nb(
        lab,
        &format!("lsp-add red {name} -- lsp-set-addresses {name} unknown"),
    )?;
    let guest = Guest::new(&lab.rig, name, mac)?;
    let id = format!("external_ids:iface-id={name}");
    guest.plug(lab.rig.chassis(chassis)?, "br-int", &[["Interface", &id]])?;
    lab.rig
        .nb(&["wait-until", "Logical_Switch_Port", name, "up=true"])?;
    lab.sync()?;
    Ok(guest)
}

/// Commands as one would type them.
fn nb(lab: &Lab, commands: &str) -> Result<()> {
    let words: Vec<&str> = commands.split_whitespace().collect();
    lab.rig.nb(&words).map(drop)
}
