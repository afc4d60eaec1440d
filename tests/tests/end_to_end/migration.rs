//! A guest moves between chassis under traffic: both have its port meanwhile, its new place is silent until it speaks there, and
//! nobody hears anything twice.

use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::guest::Guest;
use tests::implementation::{Door, Implementation, Plan, python};
use tests::lab::{CHASSIS, Lab};
use tests::story::story;
use tests::traffic::Traffic;
use tests::wait::wait_until;

const MAC: &str = "02:ac:10:f3:00:02";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 2);
/// 5,000 packets a second.
const INTERVAL: Duration = Duration::from_micros(200);
const LIMIT: Duration = Duration::from_secs(20);

/// Announces by reverse ARP, when it is told a line: the device, and the MAC address.
const SPEAK: &str = r#"
import socket, struct, sys
device, mac = sys.argv[1:]
mac = bytes.fromhex(mac.replace(":", ""))
frame = b"\xff" * 6 + mac + b"\x80\x35" + struct.pack(">HHBBH", 1, 0x800, 6, 4, 3)
frame += mac + bytes(4) + mac + bytes(4)
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind((device, 0))
print(flush=True)
sys.stdin.readline()
raw.send(frame.ljust(60, b"\0"))
"#;

#[test]
fn a_guest_moves_under_traffic() {
    moves(Plan::under_test());
}

#[test]
fn a_guest_moves_under_traffic_by_ovns_northd() {
    let plan = Plan {
        northd: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    };
    moves(plan);
}

#[test]
fn a_guest_moves_under_traffic_by_ovns_controllers() {
    let plan = Plan {
        controller: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    };
    moves(plan);
}

fn moves(plan: Plan) {
    story(plan, |lab| {
        nb(lab, "ls-add move")?;
        let peer = guest(lab, "peer", "peer", "02:ac:10:f3:00:01", 0)?;
        let inside = peer.namespace();
        inside.ip(&["address", "add", "10.3.0.1/24", "dev", "peer"])?;
        let old = guest(lab, "vm", "old", MAC, 0)?;
        take_address(&old)?;
        nb(lab, "wait-until Logical_Switch_Port vm up=true")?;
        lab.sync()?;
        peer.ping(ADDRESS)?;
        let mut traffic = Traffic::start(inside, old.namespace(), ADDRESS, INTERVAL)?;
        answered(&traffic, 500)?;

        // The port is at both, and the new place is silent.
        let [first, second] = CHASSIS;
        nb(
            lab,
            &format!(
                "lsp-set-options vm requested-chassis={first},{second} activation-strategy=rarp"
            ),
        )?;
        let new = plug(lab, "vm", "new", 1)?;
        take_address(&new)?;
        traffic.answer_at(new.namespace())?;
        let heard = new.listen("udp port 7777")?;
        let chassis = chassis_row(lab, second)?;
        wait_for(lab, "additional_chassis", &chassis)?;
        lab.sync()?;
        answered(&traffic, 500)?;
        let before = heard.heard()?;
        ensure!(before.is_empty(), "{before:#?}");

        // It is stopped here, and goes on there.
        let speaker = Speaker::new(&new)?;
        old.namespace().ip(&["link", "set", "old", "down"])?;
        speaker.speak()?;
        answered(&traffic, 500)?;
        if plan.controller == Implementation::Weft {
            let activated = format!("additional-chassis-activated={second}");
            wait_until("the row to say where it has spoken", LIMIT, || {
                Ok(column(lab, "options")?.contains(&activated))
            })?;
        }
        nb(
            lab,
            &format!("lsp-set-options vm requested-chassis={second}"),
        )?;
        wait_for(lab, "chassis", &chassis)?;
        wait_for(lab, "additional_chassis", "")?;
        if plan.controller == Implementation::Weft {
            // It counts for this migration only.
            wait_until("options without what was", LIMIT, || {
                Ok(!column(lab, "options")?.contains("additional-chassis-activated"))
            })?;
        }
        lab.sync()?;
        answered(&traffic, 500)?;
        let outcome = traffic.stop()?;
        println!("moved: {outcome:?}");
        ensure!(outcome.repeated == 0, "{outcome:?}");
        Ok(())
    });
}

/// Waits until so many more packets are answered.
fn answered(traffic: &Traffic, more: u64) -> Result<()> {
    let goal = traffic.answered() + more;
    wait_until("answers", LIMIT, || Ok(traffic.answered() >= goal))
}

fn take_address(guest: &Guest) -> Result<()> {
    let inside = guest.namespace();
    inside.ip(&["address", "add", "10.3.0.2/24", "dev", guest.device()])?;
    guest.know_neighbour(Ipv4Addr::new(10, 3, 0, 1), "02:ac:10:f3:00:01")
}

/// Ready to announce a guest, so that what is measured is not how long a program takes to start.
struct Speaker(Child);

impl Speaker {
    fn new(guest: &Guest) -> Result<Self> {
        let python = python()?;
        let python = python.to_str().context("a path in UTF-8")?;
        let run = guest.namespace().run(python);
        let run = run.args(["-c", SPEAK, guest.device(), MAC]);
        let mut command = run.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let ready = child.stdout.take().context("it was asked for")?;
        BufReader::new(ready).read_line(&mut String::new())?;
        Ok(Self(child))
    }

    fn speak(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        let status = self.0.wait()?;
        ensure!(
            status.success(),
            "the guest could not be announced: {status}"
        );
        Ok(())
    }
}

fn chassis_row(lab: &Lab, name: &str) -> Result<String> {
    let name = format!("name={name}");
    let find = ["--bare", "--columns=_uuid", "find", "Chassis", &name];
    Ok(lab.rig.sb(&find)?.trim().to_owned())
}

fn wait_for(lab: &Lab, name: &str, value: &str) -> Result<()> {
    wait_until(&format!("{name} {value:?}"), LIMIT, || {
        Ok(column(lab, name)? == value)
    })
}

fn column(lab: &Lab, name: &str) -> Result<String> {
    let columns = format!("--columns={name}");
    let find = [
        "--bare",
        &columns,
        "find",
        "Port_Binding",
        "logical_port=vm",
    ];
    Ok(lab.rig.sb(&find)?.trim().to_owned())
}

/// A port of the switch, and a guest at it.
fn guest(lab: &Lab, port: &str, device: &str, mac: &str, chassis: usize) -> Result<Guest> {
    lab.rig.nb(&["lsp-add", "move", port])?;
    lab.rig.nb(&["lsp-set-addresses", port, mac])?;
    let guest = Guest::new(&lab.rig, device, mac)?;
    plug_in(lab, &guest, port, chassis)?;
    Ok(guest)
}

fn plug(lab: &Lab, port: &str, device: &str, chassis: usize) -> Result<Guest> {
    let guest = Guest::new(&lab.rig, device, MAC)?;
    plug_in(lab, &guest, port, chassis)?;
    Ok(guest)
}

fn plug_in(lab: &Lab, guest: &Guest, port: &str, chassis: usize) -> Result<()> {
    let id = format!("external_ids:iface-id={port}");
    let chassis = lab.rig.chassis(CHASSIS[chassis])?;
    guest.plug(chassis, "br-int", &[["Interface", &id]])
}

fn nb(lab: &Lab, words: &str) -> Result<String> {
    let words: Vec<&str> = words.split_whitespace().collect();
    lab.rig.nb(&words)
}
