//! The lab for load balancers: beside the lab's switch a second one, a router between them, IPv6 for all, services on some of the
//! members; and load balancers over those.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Result;
use tests::guest::Guest;
use tests::implementation::Plan;
use tests::lab::{CHASSIS, Lab, MEMBERS, Member, ROUTER};
use tests::service::Service;
use tests::story::story;

/// Where every guest of the first switch listens.
pub const PORT: u16 = 8080;
/// The members that are backends: both chassis have some, and containers are among them.
pub const BACKENDS: [usize; 4] = [0, 1, 3, 4];
/// The second switch's guests: port, device, MAC address, last part of both addresses; one for each chassis.
pub const INSIDE: [(&str, &str, &str, u8); 2] = [
    ("inside-vm3", "vm3", "02:ac:10:ff:01:94", 194),
    ("inside-vm4", "vm4", "02:ac:10:ff:01:95", 195),
];
pub const INSIDE_ROUTER: Ipv4Addr = Ipv4Addr::new(172, 16, 255, 193);
pub const DMZ6: &str = "2001:db8:1::";
pub const INSIDE6: &str = "2001:db8:2::";
/// What virtual addresses begin with, of either family.
pub const VIPS: [&str; 2] = ["172.30.0.", "2001:db8:30::"];

/// The services of the backends.
pub type Services = BTreeMap<usize, Service>;

/// A story of a lab with both switches, the router, guests of the second switch, and services on the backends.
pub fn told_of(plan: Plan, told: impl FnOnce(&mut Lab, &[Guest; 2], &mut Services) -> Result<()>) {
    story(plan, |lab| {
        lab.address_all()?;
        let inside = describe(lab)?;
        let mut services = Services::new();
        for number in BACKENDS {
            services.insert(number, Service::start(lab.guest(&MEMBERS[number]), PORT)?);
        }
        told(lab, &inside, &mut services)
    });
}

/// Guests of both switches that are no backends.
pub fn clients<'l>(lab: &'l Lab, inside: &'l [Guest; 2]) -> [&'l Guest; 3] {
    [&inside[0], &inside[1], lab.guest(&MEMBERS[2])]
}

/// The virtual address with this last part, in a family.
pub fn vip(family: usize, last: u8) -> Result<SocketAddr> {
    let ip: IpAddr = format!("{}{last}", VIPS[family]).parse()?;
    Ok((ip, 80).into())
}

/// A member's address in a family.
pub fn address(family: usize, member: usize) -> Result<SocketAddr> {
    let member = &MEMBERS[member];
    let ip: IpAddr = match family {
        0 => member.address.into(),
        _ => format!("{DMZ6}{}", member.address.octets()[3]).parse()?,
    };
    Ok((ip, PORT).into())
}

/// Addresses of members, as a load balancer has its backends.
pub fn backends(family: usize, members: &[usize]) -> Result<String> {
    let all = members.iter().map(|member| address(family, *member));
    let all: Vec<String> = all
        .map(|address| Ok(address?.to_string()))
        .collect::<Result<_>>()?;
    Ok(all.join(","))
}

/// Adds a load balancer of these backends in both families, and says its two names.
pub fn add(lab: &Lab, name: &str, last: u8, members: &[usize]) -> Result<[String; 2]> {
    let names = ["4", "6"].map(|family| format!("{name}{family}"));
    for (family, name) in names.iter().enumerate() {
        let vip = vip(family, last)?.to_string();
        let backends = backends(family, members)?;
        lab.rig.nb(&["lb-add", name, &vip, &backends, "tcp"])?;
    }
    Ok(names)
}

/// The identity of a load balancer's row.
pub fn row_of(lab: &Lab, name: &str) -> Result<String> {
    let condition = format!("name={name}");
    let row = lab.rig.nb(&[
        "--bare",
        "--columns=_uuid",
        "find",
        "Load_Balancer",
        &condition,
    ])?;
    Ok(row.trim().to_owned())
}

/// The second switch with its guests, the router, and IPv6 for all.
pub fn describe(lab: &Lab) -> Result<[Guest; 2]> {
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
        let port = format!("{switch}-tenant1");
        nb(&format!(
            "lsp-add {switch} {port} -- lsp-set-type {port} router -- lsp-set-addresses {port} router \
             -- lsp-set-options {port} router-port=tenant1-{switch}"
        ))?;
    }
    for member in &MEMBERS {
        let Member {
            port, mac, address, ..
        } = member;
        let last = address.octets()[3];
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
        address_ipv6(&guest, INSIDE6, *last)?;
        lab.rig
            .nb(&["wait-until", "Logical_Switch_Port", port, "up=true"])?;
        guests.push(guest);
    }
    lab.sync()?;
    Ok(guests.try_into().expect("as many guests as chassis"))
}

pub fn address_ipv6(guest: &Guest, network: &str, last: u8) -> Result<()> {
    let device = guest.device();
    for line in [
        format!("-6 address add {network}{last}/64 dev {device} nodad"),
        format!("-6 route add default via {network}1 dev {device}"),
    ] {
        guest.namespace().ip(&line.split(' ').collect::<Vec<_>>())?;
    }
    Ok(())
}
