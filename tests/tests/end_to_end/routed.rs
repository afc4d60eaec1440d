//! Two switches and a router between them: everybody reaches everybody, over IPv4 and IPv6, on whichever chassis; a router
//! costs a hop, says so when a packet has none left, and answers for itself. On Weft's daemons and on mixtures with OVN's.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use tests::bulk::transfer;
use tests::capture::Capture;
use tests::guest::Guest;
use tests::implementation::Implementation::{Ovn, Weft};
use tests::implementation::{Door, Plan};
use tests::lab::{CHASSIS, Lab, MEMBERS, Member, ROUTER};
use tests::story::story;

/// The second switch's guests: port, device, MAC address, last byte of both addresses; one for each chassis.
const INSIDE: [(&str, &str, &str, u8); 2] = [
    ("inside-vm3", "vm3", "02:ac:10:ff:01:94", 194),
    ("inside-vm4", "vm4", "02:ac:10:ff:01:95", 195),
];
const INSIDE_ROUTER: Ipv4Addr = Ipv4Addr::new(172, 16, 255, 193);
const DMZ6: &str = "2001:db8:1::";
const INSIDE6: &str = "2001:db8:2::";

/// The MTU of the second switch's port of the router, and a payload that with its headers is more.
const ROUTER_MTU: &str = "1300";
const TOO_LARGE: &str = "1290";
/// A transfer of this many bytes takes full packets.
const TRANSFER: usize = 1 << 20;

#[test]
fn everybody_reaches_everybody_across_a_router() {
    the_routed_lab_works_on(Plan::under_test(), Over::Geneve);
}

#[test]
fn everybody_reaches_everybody_across_a_router_over_vxlan() {
    the_routed_lab_works_on(Plan::under_test(), Over::Vxlan);
}

#[test]
fn who_sends_too_large_is_told_and_tcp_goes_on() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        let inside = describe(lab)?;
        let mtu = format!("options:gateway_mtu={ROUTER_MTU}");
        lab.rig
            .nb(&["set", "Logical_Router_Port", "tenant1-inside", &mtu])?;
        lab.sync()?;
        let (here, there) = (lab.guest(&MEMBERS[0]), &inside[1]);
        for (address, told) in [
            (
                "172.16.255.195".to_owned(),
                "172.16.255.129 > 172.16.255.130: ICMP 172.16.255.195 unreachable - need to frag (mtu 1300)",
            ),
            (
                format!("{INSIDE6}195"),
                "2001:db8:1::1 > 2001:db8:1::130: [icmp6 sum ok] ICMP6, packet too big, mtu 1300",
            ),
        ] {
            let target: IpAddr = address.parse()?;
            here.ping(target)?;
            let errors = here.listen("icmp or icmp6")?;
            transfer(here.namespace(), there.namespace(), target, TRANSFER)?;
            errors.wait_for(&[told])?;
            let route = here.namespace().ip(&["route", "get", &address])?;
            let learned = format!("mtu {ROUTER_MTU}");
            ensure!(route.contains(&learned), "the sender has learned {route}");
            // The other way there is no such port.
            let ping = [
                "-n", "-c", "1", "-W", "1", "-M", "do", "-s", TOO_LARGE, &address,
            ];
            ensure!(
                !here.namespace().run("ping").args(ping).succeeds()?,
                "a packet that is too large passed"
            );
        }
        Ok(())
    });
}

#[test]
fn ovns_controllers_route_what_our_northd_compiles() {
    the_routed_lab_works_on(
        Plan {
            controller: Ovn,
            ..over_ovsdb()
        },
        Over::Geneve,
    );
}

#[test]
fn our_controllers_route_what_ovns_northd_compiles() {
    the_routed_lab_works_on(
        Plan {
            northd: Ovn,
            ..over_ovsdb()
        },
        Over::Geneve,
    );
}

fn over_ovsdb() -> Plan {
    Plan {
        door: Door::Ovsdb,
        databases: Weft,
        ..Plan::weft()
    }
}

/// What the tunnels are.
#[derive(Clone, Copy, PartialEq)]
enum Over {
    Geneve,
    Vxlan,
}

fn the_routed_lab_works_on(plan: Plan, over: Over) {
    story(plan, |lab| {
        lab.address_all()?;
        let filter = match over {
            Over::Geneve => "udp port 6081",
            Over::Vxlan => {
                let kind = "external_ids:ovn-encap-type=vxlan";
                for chassis in &lab.rig.chassis {
                    chassis.vsctl(&["set", "Open_vSwitch", ".", kind])?;
                }
                "udp port 4789"
            }
        };
        let inside = describe(lab)?;
        let tunnel = Capture::start(lab.rig.namespace(), "underlay", filter, lab.rig.dir())?;

        let mut guests: Vec<(&Guest, IpAddr)> = MEMBERS
            .iter()
            .map(|member| (lab.guest(member), member.address.into()))
            .collect();
        guests.extend(inside.iter().zip(INSIDE).map(|(guest, (.., last))| {
            let address = Ipv4Addr::new(172, 16, 255, last);
            (guest, address.into())
        }));
        reach(&guests, &[ROUTER.into(), INSIDE_ROUTER.into()])?;
        let with_ipv6 = [
            (lab.guest(&MEMBERS[0]), format!("{DMZ6}130").parse()?),
            (lab.guest(&MEMBERS[1]), format!("{DMZ6}131").parse()?),
            (&inside[0], format!("{INSIDE6}194").parse()?),
            (&inside[1], format!("{INSIDE6}195").parse()?),
        ];
        reach(
            &with_ipv6,
            &[format!("{DMZ6}1").parse()?, format!("{INSIDE6}1").parse()?],
        )?;

        let asked = tunnel.heard()?.into_iter().find(|packet| {
            packet.contains("Request who-has 172.16.255") || packet.contains("who has 2001:db8:")
        });
        ensure!(
            asked.is_none(),
            "somebody was asked through a tunnel for an address that the network knows: {asked:?}"
        );
        ensure!(
            tunnel
                .heard()?
                .iter()
                .any(|packet| packet.contains("echo request")),
            "nothing went through a tunnel, so this shows nothing"
        );
        hops(lab, &inside[1])
    });
}

/// Everyone pings all the others, and the routers.
fn reach(guests: &[(&Guest, IpAddr)], routers: &[IpAddr]) -> Result<()> {
    for (from, own) in guests {
        for to in guests.iter().map(|(_, to)| to).chain(routers) {
            if to != own {
                from.ping(*to)?;
            }
        }
    }
    Ok(())
}

/// A packet arrives across the router with one hop less, and does not with none; the router tells its sender.
fn hops(lab: &Lab, there: &Guest) -> Result<()> {
    let vm1 = &MEMBERS[0];
    let families = [
        (
            "172.16.255.130 > 172.16.255.195: ICMP echo request",
            "ttl 63",
            "172.16.255.195".parse()?,
            "172.16.255.129 > 172.16.255.130: ICMP time exceeded in-transit",
        ),
        (
            "2001:db8:1::130 > 2001:db8:2::195: [icmp6 sum ok] ICMP6, echo request",
            "hlim 63",
            format!("{INSIDE6}195").parse()?,
            "2001:db8:1::1 > 2001:db8:1::130: [icmp6 sum ok] ICMP6, time exceeded in-transit",
        ),
    ];
    for (request, one_less, target, exceeded) in families {
        let arriving = there.listen("icmp or icmp6")?;
        lab.guest(vm1).ping(target)?;
        arriving.wait_for(&[request, one_less])?;

        let told = lab.guest(vm1).listen("icmp or icmp6")?;
        ensure!(
            !lab.guest(vm1).reaches_within(target, 1)?,
            "a packet with one hop crossed the router"
        );
        told.wait_for(&[exceeded])?;
        ensure!(
            lab.guest(vm1).reaches_within(target, 2)?,
            "a packet with two hops did not cross the router"
        );
    }
    Ok(())
}

/// The second switch with its guests, the router, and IPv6 for the two virtual machines of the first.
fn describe(lab: &Lab) -> Result<[Guest; 2]> {
    let nb = |line: &str| lab.rig.nb(&line.split(' ').collect::<Vec<_>>()).map(drop);
    nb("ls-add inside")?;
    nb("lr-add tenant1")?;
    for (switch, mac, networks) in [
        (
            "dmz",
            "02:ac:10:ff:01:29",
            [format!("{ROUTER}/26"), format!("{DMZ6}1/64")],
        ),
        (
            "inside",
            "02:ac:10:ff:01:93",
            [format!("{INSIDE_ROUTER}/26"), format!("{INSIDE6}1/64")],
        ),
    ] {
        nb(&format!(
            "lrp-add tenant1 tenant1-{switch} {mac} {}",
            networks.join(" ")
        ))?;
        nb(&format!("lsp-add {switch} {switch}-tenant1"))?;
        nb(&format!("lsp-set-type {switch}-tenant1 router"))?;
        nb(&format!("lsp-set-addresses {switch}-tenant1 router"))?;
        nb(&format!(
            "lsp-set-options {switch}-tenant1 router-port=tenant1-{switch}"
        ))?;
    }
    for (member, last) in [(&MEMBERS[0], 130), (&MEMBERS[1], 131)] {
        let Member {
            port, mac, address, ..
        } = member;
        let addresses = format!("{mac} {address} {DMZ6}{last}");
        lab.rig.nb(&["lsp-set-addresses", port, &addresses])?;
        lab.rig.nb(&["lsp-set-port-security", port, &addresses])?;
        address_ipv6(lab.guest(member), DMZ6, last)?;
    }
    let mut guests = Vec::new();
    for ((port, device, mac, last), chassis) in INSIDE.iter().zip(CHASSIS) {
        let addresses = format!("{mac} 172.16.255.{last} {INSIDE6}{last}");
        lab.rig.nb(&["lsp-add", "inside", port])?;
        lab.rig.nb(&["lsp-set-addresses", port, &addresses])?;
        lab.rig.nb(&["lsp-set-port-security", port, &addresses])?;
        let guest = Guest::new(&lab.rig, device, mac)?;
        let interface = format!("external_ids:iface-id={port}");
        guest.plug(
            lab.rig.chassis(chassis)?,
            "br-int",
            &[["Interface", &interface]],
        )?;
        let ip = |words: &str| guest.namespace().ip(&words.split(' ').collect::<Vec<_>>());
        ip(&format!("address add 172.16.255.{last}/26 dev {device}"))?;
        ip(&format!("route add default via {INSIDE_ROUTER}"))?;
        address_ipv6(&guest, INSIDE6, (*last).into())?;
        lab.rig
            .nb(&["wait-until", "Logical_Switch_Port", port, "up=true"])?;
        guests.push(guest);
    }
    lab.sync()?;
    Ok(guests.try_into().expect("as many guests as chassis"))
}

fn address_ipv6(guest: &Guest, network: &str, last: u16) -> Result<()> {
    let device = guest.device();
    for line in [
        format!("-6 address add {network}{last}/64 dev {device} nodad"),
        format!("-6 route add default via {network}1 dev {device}"),
    ] {
        guest.namespace().ip(&line.split(' ').collect::<Vec<_>>())?;
    }
    Ok(())
}
