//! A guest that a rule limits gets its rate and no more, on whichever chassis the other end is, and all of it without the rule. A
//! port with a rate has a queue at the interface to the physical network of its switch, on the chassis that has it. What a chassis answers
//! itself it answers at the rate of the switch's profile.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tests::guest::Guest;
use tests::implementation::Plan;
use tests::lab::{CHASSIS, MEMBERS};
use tests::story::story;
use tests::traffic::measure;
use tests::wait::wait_until;

/// The rate of the rule, in kbit/s, and what is offered, in bit/s.
const RATE: u64 = 5_000;
const OFFERED: u64 = 8_000_000;

#[test]
fn a_guest_with_a_rate_gets_it_and_no_more() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        let (vm1, vm2) = (&MEMBERS[0], &MEMBERS[1]);
        let reached = |lab: &tests::lab::Lab| {
            let [from, to] = [vm1, vm2].map(|member| lab.guest(member).namespace());
            measure(from, to, vm2.address, OFFERED)
        };
        lab.guest(vm1).ping(vm2.address)?;
        let matches = format!("inport == \"{}\" && ip4", vm1.port);
        let rate = format!("rate={RATE}");
        lab.rig
            .nb(&["qos-add", "dmz", "from-lport", "100", &matches, &rate])?;
        lab.sync()?;
        let limited = reached(lab)?;
        println!("limited to {RATE} kbit/s: {} kbit/s", limited / 1000);
        let share = limited * 100 / (RATE * 1000);
        assert!((90..=110).contains(&share), "{limited} bit/s");

        lab.rig.nb(&["qos-del", "dmz"])?;
        lab.sync()?;
        let free = reached(lab)?;
        println!("without a limit: {} kbit/s", free / 1000);
        assert!(free > RATE * 1300, "{free} bit/s");
        Ok(())
    });
}

#[test]
fn a_port_with_a_rate_has_a_queue_where_it_is() {
    story(Plan::under_test(), |lab| {
        let net = [
            "lsp-add",
            "dmz",
            "net",
            "--",
            "lsp-set-type",
            "net",
            "localnet",
            "--",
            "lsp-set-addresses",
            "net",
            "unknown",
            "--",
            "lsp-set-options",
            "net",
            "network_name=phys",
        ];
        lab.rig.nb(&net)?;
        for chassis in CHASSIS {
            let mapping = "external_ids:ovn-bridge-mappings=phys:br-phys";
            let chassis = lab.rig.chassis(chassis)?;
            chassis.vsctl(&["set", "Open_vSwitch", ".", mapping])?;
        }
        let vm1 = &MEMBERS[0];
        let set = |rate: &str| {
            let option = format!("options:qos_max_rate={rate}");
            lab.rig
                .nb(&["set", "Logical_Switch_Port", vm1.port, &option])
        };
        let has = |chassis: &str, rate: &str, wanted: bool| {
            let chassis = lab.rig.chassis(chassis)?;
            let what = format!("{}: a class of {rate}: {wanted}", chassis.name());
            wait_until(&what, Duration::from_secs(20), || {
                let show = ["class", "show", "dev", "eth0"];
                let classes = chassis.namespace().run("tc").args(show).output()?;
                Ok(classes.contains(&format!("ceil {rate} ")) == wanted)
            })
        };
        set("5000000")?;
        has(CHASSIS[0], "5Mbit", true)?;
        has(CHASSIS[1], "5Mbit", false)?;
        set("7000000")?;
        has(CHASSIS[0], "7Mbit", true)?;
        has(CHASSIS[0], "5Mbit", false)?;
        lab.rig.nb(&[
            "remove",
            "Logical_Switch_Port",
            vm1.port,
            "options",
            "qos_max_rate",
        ])?;
        has(CHASSIS[0], "7Mbit", false)
    });
}

/// How many ICMP errors have come to a guest.
fn errors(guest: &Guest) -> Result<u64> {
    let text = guest
        .namespace()
        .run("cat")
        .args(["/proc/net/snmp"])
        .output()?;
    let mut lines = text.lines().filter(|line| line.starts_with("Icmp:"));
    let (names, values) = (lines.next(), lines.next());
    let mut pairs = names
        .zip(values)
        .into_iter()
        .flat_map(|(names, values)| names.split(' ').zip(values.split(' ')));
    let found = pairs.find(|(name, _)| *name == "InDestUnreachs");
    let (_, value) = found.context("the kernel counts them")?;
    Ok(value.parse()?)
}

/// How many of 300 datagrams are refused, and in how long a time that was.
fn refused(guest: &Guest, socket: &UdpSocket) -> Result<(u64, Duration)> {
    let (before, begin) = (errors(guest)?, Instant::now());
    for _ in 0..300 {
        // An error that has come is told here, and the datagram is sent all the same by the next.
        while socket.send(b"?").is_err() {}
        std::thread::sleep(Duration::from_millis(3));
    }
    let sent = begin.elapsed();
    // Whatever is under way comes before what comes last.
    let mut count = errors(guest)?;
    wait_until("the last answer", Duration::from_secs(20), || {
        let now = errors(guest)?;
        Ok(std::mem::replace(&mut count, now) == now)
    })?;
    Ok((count - before, sent))
}

#[test]
fn refusals_come_at_the_rate_of_the_profile() {
    const RATE: u64 = 10;
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        let (vm1, vm2) = (&MEMBERS[0], &MEMBERS[1]);
        let guest = lab.guest(vm1);
        guest.ping(vm2.address)?;
        let matches = format!("outport == \"{}\" && udp.dst == 9", vm2.port);
        lab.rig
            .nb(&["acl-add", "dmz", "to-lport", "100", &matches, "reject"])?;
        lab.sync()?;
        let socket = guest.namespace().inside(|| {
            let socket = UdpSocket::bind((vm1.address, 0))?;
            socket.connect((vm2.address, 9))?;
            Ok(socket)
        })?;
        let (free, _) = refused(guest, &socket)?;
        let rate = RATE.to_string();
        lab.rig.nb(&["meter-add", "slow", "drop", &rate, "pktps"])?;
        lab.rig.nb(&["copp-add", "guard", "reject", "slow"])?;
        lab.rig.nb(&["ls-copp-add", "guard", "dmz"])?;
        lab.sync()?;
        let (limited, within) = refused(guest, &socket)?;
        println!("{free} of 300 are refused, by the profile {limited} in {within:?}");
        assert!(free > 150, "{free} of 300 without the profile");
        let most = RATE + RATE * (1 + within.as_secs()) + 5;
        assert!(
            (1..=most).contains(&limited),
            "{limited}, not {most} at most"
        );

        lab.rig.nb(&["clear", "Logical_Switch", "dmz", "copp"])?;
        lab.sync()?;
        let (again, _) = refused(guest, &socket)?;
        assert!(again > 150, "{again} of 300 when the profile is gone");
        Ok(())
    });
}
