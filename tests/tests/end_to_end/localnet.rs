//! A localnet port joins a logical switch to a network outside: packets go out as they are, or in a VLAN, and not
//! through tunnels.
//!
//! The bridge mappings of both chassis say that the network is behind `br-phys`, so that two guests on different
//! chassis reach each other over the bare underlay, where their packets are seen with the VLAN of the port.

use std::net::Ipv4Addr;

use anyhow::Result;
use tests::capture::Capture;
use tests::guest::Guest;
use tests::implementation::Plan;
use tests::lab::{CHASSIS, Lab};
use tests::story::story;

/// The switch's guests: port, MAC address and IP address, one for each chassis.
const GUESTS: [[&str; 3]; 2] = [
    ["ext-a", "02:ac:10:fe:00:01", "10.9.0.1"],
    ["ext-b", "02:ac:10:fe:00:02", "10.9.0.2"],
];

#[test]
fn packets_leave_through_a_localnet_port_with_its_vlan() {
    story(Plan::under_test(), |lab| {
        let [a, _b] = describe(lab)?;
        lab.rig
            .nb(&["set", "Logical_Switch_Port", "ext-net", "tag_request=100"])?;
        let wire = Capture::start(
            lab.rig.namespace(),
            "underlay",
            "vlan 100 or udp port 6081",
            lab.rig.dir(),
        )?;
        a.ping("10.9.0.2".parse::<Ipv4Addr>()?)?;
        wire.wait_for(&["vlan 100", "10.9.0.1 > 10.9.0.2: ICMP echo request"])?;
        wire.wait_for(&["vlan 100", "10.9.0.2 > 10.9.0.1: ICMP echo reply"])?;
        let tunnelled = wire
            .heard()?
            .into_iter()
            .find(|packet| packet.contains("Geneve") && packet.contains("10.9.0"));
        assert_eq!(
            tunnelled, None,
            "what belongs to the localnet port went through the tunnel"
        );
        Ok(())
    });
}

#[test]
fn packets_leave_through_a_localnet_port_as_they_are() {
    story(Plan::under_test(), |lab| {
        let [_a, b] = describe(lab)?;
        let wire = Capture::start(
            lab.rig.namespace(),
            "underlay",
            "icmp and not vlan",
            lab.rig.dir(),
        )?;
        b.ping("10.9.0.1".parse::<Ipv4Addr>()?)?;
        wire.wait_for(&["10.9.0.2 > 10.9.0.1: ICMP echo request"])
            .map(drop)
    });
}

/// What a router sends into a physical network comes from the chassis' MAC there, and is the router's again where it comes in.
#[test]
fn a_router_of_all_chassis_is_known_by_their_macs_outside_and_by_its_own_inside() {
    story(Plan::under_test(), |lab| {
        const ROUTER: &str = "02:ac:10:fe:00:fe";
        let [a, _b] = describe(lab)?;
        for (number, chassis) in lab.rig.chassis.iter().enumerate() {
            let macs = format!("phys:02:00:00:00:0c:0{number}");
            let macs = format!("external_ids:ovn-chassis-mac-mappings=\"{macs}\"");
            chassis.vsctl(&["set", "Open_vSwitch", ".", &macs])?;
        }
        let c = Guest::new(&lab.rig, "back-c", "02:ac:10:fe:01:03")?;
        for line in [
            "set Logical_Switch_Port ext-net tag_request=100".to_owned(),
            "ls-add back -- lsp-add back back-c".to_owned(),
            "lr-add between".to_owned(),
            format!("lrp-add between to-ext {ROUTER} 10.9.0.254/24"),
            "lrp-add between to-back 02:ac:10:fe:01:fe 10.8.0.254/24".to_owned(),
            "lsp-add ext ext-r -- lsp-set-type ext-r router -- lsp-set-addresses ext-r router"
                .to_owned(),
            "lsp-set-options ext-r router-port=to-ext".to_owned(),
            "lsp-add back back-r -- lsp-set-type back-r router -- lsp-set-addresses back-r router"
                .to_owned(),
            "lsp-set-options back-r router-port=to-back".to_owned(),
        ] {
            lab.rig.nb(&line.split_whitespace().collect::<Vec<_>>())?;
        }
        lab.rig
            .nb(&["lsp-set-addresses", "back-c", "02:ac:10:fe:01:03 10.8.0.3"])?;
        let interface = ["Interface", "external_ids:iface-id=back-c"];
        c.plug(lab.rig.chassis(CHASSIS[1])?, "br-int", &[interface])?;
        for (guest, address, router) in [
            (&a, None, "10.9.0.254"),
            (&c, Some("10.8.0.3/24"), "10.8.0.254"),
        ] {
            let inside = guest.namespace();
            if let Some(address) = address {
                inside.ip(&["address", "add", address, "dev", guest.device()])?;
            }
            inside.ip(&["route", "add", "default", "via", router])?;
        }
        lab.rig
            .nb(&["wait-until", "Logical_Switch_Port", "back-c", "up=true"])?;
        lab.sync()?;
        let rig = &lab.rig;
        let wire = Capture::start(rig.namespace(), "underlay", "vlan 100", rig.dir())?;
        let heard = a.listen("icmp")?;
        c.ping("10.9.0.1".parse::<Ipv4Addr>()?)?;
        let request = "10.8.0.3 > 10.9.0.1: ICMP echo request";
        wire.wait_for(&["02:00:00:00:0c:01 > 02:ac:10:fe:00:01", request])?;
        heard.wait_for(&[&format!("{ROUTER} > 02:ac:10:fe:00:01"), request])?;
        Ok(())
    });
}

/// A switch with a localnet port, and a guest of it on each chassis.
fn describe(lab: &Lab) -> Result<[Guest; 2]> {
    lab.rig.nb(&["ls-add", "ext"])?;
    let net = [
        "lsp-add",
        "ext",
        "ext-net",
        "--",
        "lsp-set-type",
        "ext-net",
        "localnet",
    ];
    let more = [
        "--",
        "lsp-set-addresses",
        "ext-net",
        "unknown",
        "--",
        "lsp-set-options",
        "ext-net",
        "network_name=phys",
    ];
    lab.rig.nb(&[&net[..], &more].concat())?;
    let mut guests = Vec::new();
    for ([port, mac, address], chassis) in GUESTS.iter().zip(CHASSIS) {
        let chassis = lab.rig.chassis(chassis)?;
        chassis.vsctl(&[
            "set",
            "Open_vSwitch",
            ".",
            "external_ids:ovn-bridge-mappings=phys:br-phys",
        ])?;
        lab.rig.nb(&[
            "lsp-add",
            "ext",
            port,
            "--",
            "lsp-set-addresses",
            port,
            &format!("{mac} {address}"),
        ])?;
        let guest = Guest::new(&lab.rig, port, mac)?;
        guest.plug(
            chassis,
            "br-int",
            &[["Interface", &format!("external_ids:iface-id={port}")]],
        )?;
        guest
            .namespace()
            .ip(&["address", "add", &format!("{address}/24"), "dev", port])?;
        lab.rig
            .nb(&["wait-until", "Logical_Switch_Port", port, "up=true"])?;
        guests.push(guest);
    }
    Ok(guests.try_into().expect("as many guests as chassis"))
}
