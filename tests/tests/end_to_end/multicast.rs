//! A switch that snoops brings what is sent to a group to those who have joined it, on whatever chassis they are, and to nobody
//! else; with every version of IGMP and MLD. A router that relays brings it to the other switch. A querier asks.
//!
//! That a guest has heard nothing is known when it has heard what was sent to everybody afterwards, on the same way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::guest::Guest;
use tests::implementation::{Door, Implementation, Plan};
use tests::lab::{CHASSIS, Lab};
use tests::story::story;
use tests::wait::wait_until;

/// The guests: switch, port, MAC address, IP address, and the chassis. The first sends.
const GUESTS: [(&str, &str, &str, &str, usize); 4] = [
    ("mc", "sender", "02:ac:10:fd:00:01", "10.8.0.1", 0),
    ("mc", "member", "02:ac:10:fd:00:02", "10.8.0.2", 1),
    ("mc", "bystander", "02:ac:10:fd:00:03", "10.8.0.3", 1),
    ("far", "beyond", "02:ac:10:fd:01:04", "10.8.1.4", 1),
];
const PORT: u16 = 5_000;
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn what_is_sent_to_a_group_goes_to_who_has_joined_it() {
    groups(Plan::under_test());
}

#[test]
fn what_is_sent_to_a_group_goes_to_who_has_joined_it_by_ovns_northd() {
    groups(Plan {
        northd: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

#[test]
fn what_is_sent_to_a_group_goes_to_who_has_joined_it_by_ovns_controllers() {
    groups(Plan {
        controller: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

fn groups(plan: Plan) {
    story(plan, |lab| {
        let guests = describe(lab, true)?;
        let [_, member, ..] = &guests;
        for version in ["1", "2", "3"] {
            force(member, "ipv4", "force_igmp_version", version)?;
            let group = format!("239.1.1.{version}").parse::<Ipv4Addr>()?;
            joined(lab, &guests, group.into())?;
        }
        for version in ["1", "2"] {
            force(member, "ipv6", "force_mld_version", version)?;
            let group = format!("ff1e::{version}").parse::<Ipv6Addr>()?;
            joined(lab, &guests, group.into())?;
        }
        unregistered(lab, &guests)?;
        flush(lab, &guests)
    });
}

#[test]
fn a_router_relays_groups_to_the_switch_where_somebody_has_joined() {
    story(Plan::under_test(), |lab| {
        let guests = describe(lab, true)?;
        let [sender, _, bystander, beyond] = &guests;
        for words in [
            "lr-add relay -- set Logical_Router relay options:mcast_relay=true",
            "lrp-add relay to-mc 02:ac:10:fd:00:fe 10.8.0.254/24",
            "lrp-add relay to-far 02:ac:10:fd:01:fe 10.8.1.254/24",
            "lsp-add mc mc-relay -- lsp-set-type mc-relay router",
            "lsp-set-addresses mc-relay router -- lsp-set-options mc-relay router-port=to-mc",
            "lsp-add far far-relay -- lsp-set-type far-relay router",
            "lsp-set-addresses far-relay router -- lsp-set-options far-relay router-port=to-far",
        ] {
            nb(lab, words)?;
        }
        let group = IpAddr::from([239, 2, 2, 2]);
        let heard = join(beyond, group)?;
        wait_for_row(lab, group, "beyond")?;
        let other = bystander.listen("udp")?;
        send(sender, group, "over the router")?;
        ensure!(receive(&heard)? == "over the router");
        send(sender, Ipv4Addr::new(10, 8, 0, 255).into(), "to all here")?;
        other.wait_for(&["10.8.0.255"])?;
        let wrong: Vec<String> = other
            .heard()?
            .into_iter()
            .filter(|packet| packet.contains("239.2.2.2"))
            .collect();
        ensure!(wrong.is_empty(), "{wrong:#?}");
        Ok(())
    });
}

#[test]
fn a_querier_asks_every_guest() {
    story(Plan::under_test(), |lab| {
        let [_, member, ..] = describe(lab, true)?;
        let asked = member.listen("igmp or ip6")?;
        nb(
            lab,
            "set Logical_Switch mc other_config:mcast_querier=true other_config:mcast_query_interval=2 \
             other_config:mcast_eth_src=02:ac:10:fd:00:77 other_config:mcast_ip4_src=10.8.0.77 \
             other_config:mcast_ip6_src=fe80::77",
        )?;
        asked.wait_for(&["10.8.0.77 > 224.0.0.1", "igmp query v3"])?;
        asked.wait_for(&["fe80::77 > ff02::1", "multicast listener query v2"])?;
        Ok(())
    });
}

/// A guest joins and hears, the others do not hear; it leaves, and the row is gone.
fn joined(lab: &Lab, [sender, member, bystander, _]: &[Guest; 4], group: IpAddr) -> Result<()> {
    let heard = join(member, group)?;
    wait_for_row(lab, group, "member")?;
    let other = bystander.listen("udp")?;
    send(sender, group, "to the group")?;
    let text = receive(&heard).with_context(|| format!("nothing came for {group}"))?;
    ensure!(text == "to the group");
    send(sender, Ipv4Addr::new(10, 8, 0, 255).into(), "to all")?;
    other.wait_for(&["10.8.0.255"])?;
    let wrong: Vec<String> = other
        .heard()?
        .into_iter()
        .filter(|packet| packet.contains(&group.to_string()))
        .collect();
    ensure!(wrong.is_empty(), "the bystander heard {wrong:#?}");
    drop(heard);
    // Version 1 of IGMP does not say that somebody leaves.
    if group == IpAddr::from([239, 1, 1, 1]) {
        return Ok(());
    }
    wait_until(&format!("{group} to be forgotten"), LIMIT, || {
        Ok(row(lab, group)?.is_empty())
    })
}

/// What nobody has joined is for nobody, or for everybody.
fn unregistered(lab: &Lab, [sender, member, ..]: &[Guest; 4]) -> Result<()> {
    let config = "set Logical_Switch mc other_config:mcast_flood_unregistered";
    let heard = member.listen("udp")?;
    send(sender, IpAddr::from([239, 9, 9, 1]), "to nobody")?;
    nb(lab, &format!("--wait=hv {config}=true"))?;
    send(sender, IpAddr::from([239, 9, 9, 2]), "to everybody")?;
    heard.wait_for(&["239.9.9.2"])?;
    let wrong: Vec<String> = heard
        .heard()?
        .into_iter()
        .filter(|packet| packet.contains("239.9.9.1"))
        .collect();
    ensure!(wrong.is_empty(), "{wrong:#?}");
    nb(lab, &format!("--wait=hv {config}=false")).map(drop)
}

/// A flush forgets who has joined, until it says so again.
fn flush(lab: &Lab, [_, member, ..]: &[Guest; 4]) -> Result<()> {
    let group = IpAddr::from([239, 5, 5, 5]);
    let _heard = join(member, group)?;
    wait_for_row(lab, group, "member")?;
    lab.rig.sb(&["ip-multicast-flush", "mc"])?;
    wait_until("the group to be flushed", LIMIT, || {
        Ok(row(lab, group)?.is_empty())
    })
}

fn join(guest: &Guest, group: IpAddr) -> Result<UdpSocket> {
    let device = guest.device().to_owned();
    guest.namespace().inside(|| {
        let socket = match group {
            IpAddr::V4(group) => {
                let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
                socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)?;
                socket
            }
            IpAddr::V6(group) => {
                let index = std::fs::read_to_string(format!("/sys/class/net/{device}/ifindex"));
                let index = index
                    .ok()
                    .and_then(|text| text.trim().parse().ok())
                    .unwrap_or(0);
                let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT))?;
                socket.join_multicast_v6(&group, index)?;
                socket
            }
        };
        socket.set_read_timeout(Some(LIMIT))?;
        Ok(socket)
    })
}

fn send(guest: &Guest, to: IpAddr, text: &str) -> Result<()> {
    guest.namespace().inside(|| {
        let socket = match to {
            IpAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
            IpAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
        };
        if to.is_ipv4() {
            socket.set_broadcast(true)?;
            socket.set_multicast_ttl_v4(8)?;
        }
        socket.send_to(text.as_bytes(), SocketAddr::new(to, PORT))?;
        Ok(())
    })
}

fn receive(socket: &UdpSocket) -> Result<String> {
    let mut bytes = [0; 100];
    let length = socket.recv(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

/// The row of a group, and the chassis have what follows from it.
fn wait_for_row(lab: &Lab, group: IpAddr, port: &str) -> Result<()> {
    let find = ["--bare", "--columns=_uuid", "find", "Port_Binding"];
    let named = format!("logical_port={port}");
    let uuid = lab.rig.sb(&[&find[..], &[&named]].concat())?;
    wait_until(&format!("{port} to be in {group}"), LIMIT, || {
        Ok(row(lab, group)?.contains(uuid.trim()))
    })?;
    let name = format!("name=\"{group}\"");
    let find = [
        "--bare",
        "--columns=_uuid",
        "find",
        "Multicast_Group",
        &name,
    ];
    wait_until(&format!("a group {group}"), LIMIT, || {
        Ok(!lab.rig.sb(&find)?.trim().is_empty())
    })?;
    nb(lab, "--wait=hv sync").map(drop)
}

/// The ports in the rows of a group.
fn row(lab: &Lab, group: IpAddr) -> Result<String> {
    let address = format!("address=\"{group}\"");
    lab.rig
        .sb(&["--bare", "--columns=ports", "find", "IGMP_Group", &address])
}

fn force(guest: &Guest, family: &str, key: &str, version: &str) -> Result<()> {
    let path = format!("net.{family}.conf.{}.{key}={version}", guest.device());
    let run = guest.namespace().run("sysctl").args(["-w", &path]);
    run.output().map(drop)
}

fn nb(lab: &Lab, words: &str) -> Result<String> {
    let words: Vec<&str> = words.split_whitespace().collect();
    lab.rig.nb(&words)
}

/// Two switches that snoop, if they shall, and their guests.
fn describe(lab: &Lab, snoops: bool) -> Result<[Guest; 4]> {
    for switch in ["mc", "far"] {
        let config = format!("other_config:mcast_snoop={snoops}");
        lab.rig.nb(&[
            "ls-add",
            switch,
            "--",
            "set",
            "Logical_Switch",
            switch,
            &config,
        ])?;
    }
    let mut guests = Vec::new();
    for (switch, port, mac, address, chassis) in GUESTS {
        let addresses = format!("{mac} {address}");
        lab.rig.nb(&[
            "lsp-add",
            switch,
            port,
            "--",
            "lsp-set-addresses",
            port,
            &addresses,
        ])?;
        let guest = Guest::new(&lab.rig, port, mac)?;
        let chassis = lab.rig.chassis(CHASSIS[chassis])?;
        let id = format!("external_ids:iface-id={port}");
        guest.plug(chassis, "br-int", &[["Interface", &id]])?;
        let inside = guest.namespace();
        inside.ip(&[
            "address",
            "add",
            &format!("{address}/24"),
            "broadcast",
            "+",
            "dev",
            port,
        ])?;
        inside.ip(&["route", "add", "224.0.0.0/4", "dev", port])?;
        lab.rig
            .nb(&["wait-until", "Logical_Switch_Port", port, "up=true"])?;
        // Nothing is sent from an address of which the guest does not know yet whether it is its own.
        wait_until("a link-local address", LIMIT, || {
            let shown = inside.ip(&["-6", "address", "show", "dev", port, "scope", "link"])?;
            Ok(shown.contains("fe80") && !shown.contains("tentative"))
        })?;
        guests.push(guest);
    }
    Ok(guests.try_into().expect("as many as there are"))
}
