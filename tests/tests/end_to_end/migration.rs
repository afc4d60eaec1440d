//! A guest moves between chassis under traffic: both have its port meanwhile, its new place is silent until it speaks there, and
//! nobody hears anything twice. By what it is recognised there is told in three ways.

use std::net::Ipv4Addr;
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

/// Sends a frame: the device, the MAC address, the IPv4 address, and what kind of frame.
const SPEAK: &str = r#"
import socket, struct, sys
device, mac, ip, kind = sys.argv[1:]
mac, ip = bytes.fromhex(mac.replace(":", "")), socket.inet_aton(ip)
def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
if kind == "rarp":
    frame = b"\xff" * 6 + mac + b"\x80\x35" + struct.pack(">HHBBH", 1, 0x800, 6, 4, 3)
    frame += mac + bytes(4) + mac + bytes(4)
elif kind == "garp":
    frame = b"\xff" * 6 + mac + b"\x08\x06" + struct.pack(">HHBBH", 1, 0x800, 6, 4, 1)
    frame += mac + ip + bytes(6) + ip
else:
    source = b"\xfe\x80" + bytes(6) + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]
    to = b"\xff\x02" + bytes(13) + b"\x01"
    body = b"\x20\0\0\0" + source + b"\x02\x01" + mac
    length = struct.pack(">I", 4 + len(body))
    total = checksum(source + to + length + b"\0\0\0\x3a" + b"\x88\0\0\0" + body)
    frame = b"\x33\x33\0\0\0\x01" + mac + b"\x86\xdd\x60\0\0\0"
    frame += struct.pack(">HBB", 4 + len(body), 58, 255) + source + to
    frame += b"\x88\0" + struct.pack(">H", total) + body
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind((device, 0))
raw.send(frame.ljust(60, b"\0"))
"#;

#[test]
fn a_guest_moves_under_traffic() {
    for strategy in ["rarp", "garp", "na"] {
        moves(Plan::under_test(), strategy);
    }
}

#[test]
fn a_guest_moves_under_traffic_by_ovns_northd() {
    let plan = Plan {
        northd: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    };
    moves(plan, "rarp");
}

#[test]
fn a_guest_moves_under_traffic_by_ovns_controllers() {
    let plan = Plan {
        controller: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    };
    moves(plan, "rarp");
}

fn moves(plan: Plan, strategy: &str) {
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
                "lsp-set-options vm requested-chassis={first},{second} activation-strategy={strategy}"
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
        old.namespace().ip(&["link", "set", "old", "down"])?;
        speak(&new, strategy)?;
        answered(&traffic, 500)?;
        nb(
            lab,
            &format!("lsp-set-options vm requested-chassis={second}"),
        )?;
        wait_for(lab, "chassis", &chassis)?;
        wait_for(lab, "additional_chassis", "")?;
        lab.sync()?;
        answered(&traffic, 500)?;
        let outcome = traffic.stop()?;
        println!("moved by {strategy}: {outcome:?}");
        ensure!(outcome.repeated == 0, "{outcome:?}");
        // Nothing is left of it for the next time.
        if plan.controller == Implementation::Weft {
            wait_until("the port to forget", LIMIT, || {
                Ok(!column(lab, "options")?.contains("activated"))
            })?;
        }
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

fn speak(guest: &Guest, kind: &str) -> Result<()> {
    let address = ADDRESS.to_string();
    let python = python()?;
    let python = python.to_str().context("a path in UTF-8")?;
    let run = guest.namespace().run(python);
    run.args(["-c", SPEAK, guest.device(), MAC, &address, kind])
        .output()
        .map(drop)
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
