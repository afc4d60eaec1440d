//! What a guest sends and gets is copied once to the sink of a mirror: another guest, on whichever chassis, an interface of the same
//! chassis, or the other end of a GRE tunnel. Without the sink the guest talks as before.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::capture::Capture;
use tests::guest::Guest;
use tests::implementation::Plan;
use tests::lab::{CHASSIS, Lab, MEMBERS};
use tests::story::story;
use tests::wait::wait_until;

/// How many packets are copied; each has a size of its own.
const COUNT: u16 = 5;

/// Sends packets from the first guest to the second, each answered, and waits until the capture has heard each of them.
fn talk(lab: &Lab, sink: &Capture, marker: &str) -> Result<()> {
    let (from, to) = (&MEMBERS[0], &MEMBERS[1]);
    let count = COUNT.to_string();
    let address = to.address.to_string();
    let ping = ["-c", &count, "-i", "0.2", &address];
    lab.guest(from)
        .namespace()
        .run("ping")
        .args(ping)
        .output()?;
    for seq in 1..=COUNT {
        let seq = format!("seq {seq},");
        sink.wait_for(&[marker, &seq, "echo request"])?;
        sink.wait_for(&[marker, &seq, "echo reply"])?;
    }
    Ok(())
}

/// Waits until packets are copied: the switch may have been told only just now, or asks for the other end of a tunnel first.
fn begin(lab: &Lab, listen: impl Fn() -> Result<Capture>) -> Result<Capture> {
    let first = listen()?;
    wait_until("a copy", Duration::from_secs(20), || {
        lab.guest(&MEMBERS[0]).ping(MEMBERS[1].address)?;
        let heard = first.heard()?;
        Ok(heard.iter().any(|packet| packet.contains("echo reply")))
    })?;
    drop(first);
    listen()
}

/// Each packet was heard once.
fn is_heard_once(sink: &Capture) -> Result<()> {
    let heard = sink.heard()?;
    for kind in ["echo request", "echo reply"] {
        for seq in 1..=COUNT {
            let seq = format!("seq {seq},");
            let times = heard.iter();
            let times = times.filter(|packet| packet.contains(kind) && packet.contains(&seq));
            let times = times.count();
            ensure!(
                times == 1,
                "{kind} {seq} was heard {times} times: {heard:#?}"
            );
        }
    }
    Ok(())
}

/// A guest without addresses, to whom packets are copied.
fn listener(lab: &Lab, name: &str, chassis: &str, id: &str) -> Result<Guest> {
    let guest = Guest::new(&lab.rig, name, "02:ac:10:ff:01:99")?;
    let setting = format!("external_ids:{id}={name}");
    let chassis = lab.rig.chassis(chassis)?;
    guest.plug(chassis, "br-int", &[["Interface", &setting]])?;
    Ok(guest)
}

fn mirror(lab: &Lab, kind: &[&str]) -> Result<()> {
    let port = MEMBERS[0].port;
    lab.rig.nb(&[&["mirror-add", "m"], kind].concat())?;
    lab.rig.nb(&["lsp-attach-mirror", port, "m"])?;
    lab.sync()
}

#[test]
fn a_guest_is_copied_to_another_guest() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        lab.guest(&MEMBERS[0]).ping(MEMBERS[1].address)?;
        for (name, chassis) in CHASSIS
            .iter()
            .enumerate()
            .map(|(n, c)| (format!("ids{n}"), c))
        {
            lab.rig
                .nb(&["ls-add", &name, "--", "lsp-add", &name, &name])?;
            let guest = listener(lab, &name, chassis, "iface-id")?;
            lab.rig
                .nb(&["wait-until", "Logical_Switch_Port", &name, "up=true"])?;
            mirror(lab, &["lport", "both", &name])?;
            wait_until(
                "the copies to have a place",
                Duration::from_secs(20),
                || {
                    let bound = ["--columns=up", "find", "Port_Binding", "type=mirror"];
                    Ok(lab.rig.sb(&bound)?.contains("true"))
                },
            )?;
            lab.sync()?;
            let sink = begin(lab, || guest.listen("icmp"))?;
            talk(lab, &sink, "")?;
            is_heard_once(&sink)?;
            drop(guest);
            // Nobody listens any more.
            lab.guest(&MEMBERS[0]).ping(MEMBERS[1].address)?;
            lab.rig.nb(&["lsp-detach-mirror", MEMBERS[0].port, "m"])?;
            lab.rig.nb(&["mirror-del", "m", "--", "ls-del", &name])?;
            lab.sync()?;
        }
        lab.guest(&MEMBERS[0]).ping(MEMBERS[1].address).map(drop)
    });
}

#[test]
fn a_guest_is_copied_to_an_interface() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        let guest = listener(lab, "ids", CHASSIS[0], "mirror-id")?;
        mirror(lab, &["local", "both", "ids"])?;
        let switch = lab.rig.chassis(CHASSIS[0])?;
        has_mirrors(switch, 1)?;
        let sink = begin(lab, || guest.listen("icmp"))?;
        talk(lab, &sink, "")?;
        is_heard_once(&sink)?;
        drop(guest);
        lab.guest(&MEMBERS[0]).ping(MEMBERS[1].address)?;
        lab.rig.nb(&["lsp-detach-mirror", MEMBERS[0].port, "m"])?;
        has_mirrors(switch, 0)
    });
}

#[test]
fn a_guest_is_copied_into_a_tunnel() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        let listen = || {
            let (place, filter) = (lab.rig.namespace(), "proto gre");
            Capture::start(place, "underlay", filter, lab.rig.dir())
        };
        mirror(lab, &["gre", "77", "both", "192.168.77.1"])?;
        let switch = lab.rig.chassis(CHASSIS[0])?;
        has_mirrors(switch, 1)?;
        let wire = begin(lab, listen)?;
        talk(lab, &wire, "key=0x4d")?;
        is_heard_once(&wire)?;
        // The other chassis has nothing to copy.
        has_mirrors(lab.rig.chassis(CHASSIS[1])?, 0)?;
        lab.rig.nb(&["mirror-del", "m"])?;
        has_mirrors(switch, 0)
    });
}

fn has_mirrors(chassis: &tests::chassis::Chassis, count: usize) -> Result<()> {
    let what = format!("{count} mirrors at {}", chassis.name());
    wait_until(&what, Duration::from_secs(20), || {
        let names = chassis.vsctl(&["--bare", "--columns=name", "list", "Mirror"])?;
        let ports = chassis.vsctl(&["list-ports", "br-int"])?;
        let tunnels = ports.lines().filter(|port| *port == "ovn-m").count();
        Ok(names.split_whitespace().count() == count && tunnels <= count)
    })
}
