//! A guest gets its address from a real DHCP server on another network, through a router that relays.
//!
//! ```text
//!   guest ── red 10.1.0.0/24 ── 10.1.0.1 r 10.9.0.1 ── servers 10.9.0.0/24 ── server 10.9.0.67
//! ```
//!
//! The guest and the server are on different chassis, and the router is on both.

use std::fs;
use std::net::Ipv4Addr;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use tests::guest::{DhcpClient, Guest};
use tests::implementation::Plan;
use tests::lab::{CHASSIS, Lab};
use tests::story::story;

const GUEST: [&str; 2] = ["guest1", "02:ac:10:01:00:01"];
const SERVER: [&str; 2] = ["server1", "02:ac:10:09:00:67"];

/// What the server gives out, and to whom it writes it down.
const SETTINGS: &str = "\
start 10.1.0.20
end 10.1.0.30
interface server1
max_leases 10
min_lease 60
option subnet 255.255.255.0
option router 10.1.0.1
option lease 3600
option dns 10.9.0.53
";

#[test]
fn a_guest_has_its_address_from_a_server_behind_a_router() {
    story(Plan::under_test(), |lab| {
        let [guest, server] = build(lab)?;
        let mut serving = serve(lab, &server)?;
        let leased = lease(&guest);
        serving.kill()?;
        serving.wait().context("the DHCP server")?;
        leased
    });
}

/// Two clients, one after the other.
fn lease(guest: &Guest) -> Result<()> {
    for client in [DhcpClient::Udhcpc, DhcpClient::Dhclient] {
        let lease = guest.lease(client)?;
        let (first, last) = (Ipv4Addr::new(10, 1, 0, 20), Ipv4Addr::new(10, 1, 0, 30));
        ensure!((first..=last).contains(&lease.address), "{lease:?}");
        ensure!(lease.server == Ipv4Addr::new(10, 9, 0, 67), "{lease:?}");
        ensure!(
            lease.router == Some(Ipv4Addr::new(10, 1, 0, 1)),
            "{lease:?}"
        );
        // With it, it reaches the server.
        guest.ping(Ipv4Addr::new(10, 9, 0, 67))?;
    }
    Ok(())
}

/// BusyBox' server, in the server's namespace.
fn serve(lab: &Lab, server: &Guest) -> Result<Child> {
    let dir = lab.rig.dir().join("udhcpd");
    fs::create_dir(&dir)?;
    let (settings, leases, pid) = (dir.join("settings"), dir.join("leases"), dir.join("pid"));
    fs::write(&leases, "")?;
    let files = format!(
        "lease_file {}\npidfile {}\n",
        leases.display(),
        pid.display()
    );
    fs::write(&settings, format!("{SETTINGS}{files}"))?;
    let run = server.namespace().run("busybox");
    let mut command = run.args(["udhcpd", "-f"]).arg(&settings).command();
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().context("the DHCP server")
}

/// The network: the guest's address is known to nobody.
fn build(lab: &Lab) -> Result<[Guest; 2]> {
    nb(
        lab,
        "lr-add r -- ls-add red -- ls-add servers \
         -- lrp-add r r-red 02:00:00:01:00:01 10.1.0.1/24 \
         -- lsp-add red red-r -- lsp-set-type red-r router -- lsp-set-addresses red-r router \
         -- lsp-set-options red-r router-port=r-red \
         -- lrp-add r r-servers 02:00:00:09:00:01 10.9.0.1/24 \
         -- lsp-add servers servers-r -- lsp-set-type servers-r router \
         -- lsp-set-addresses servers-r router -- lsp-set-options servers-r router-port=r-servers \
         -- --id=@relay create DHCP_Relay name=relay servers=10.9.0.67 \
         -- set Logical_Router_Port r-red dhcp_relay=@relay \
         -- set Logical_Switch red other_config:dhcp_relay_port=red-r",
    )?;
    let [guest, server] = [(GUEST, "red", 0, ""), (SERVER, "servers", 1, " 10.9.0.67")].map(
        |([port, mac], switch, place, address)| {
            let known = format!("{mac}{address}");
            let add = [
                "lsp-add",
                switch,
                port,
                "--",
                "lsp-set-addresses",
                port,
                &known,
            ];
            lab.rig.nb(&add)?;
            let guest = Guest::new(&lab.rig, port, mac)?;
            let id = format!("external_ids:iface-id={port}");
            guest.plug(
                lab.rig.chassis(CHASSIS[place])?,
                "br-int",
                &[["Interface", &id]],
            )?;
            anyhow::Ok(guest)
        },
    );
    let (guest, server) = (guest?, server?);
    let network = server.namespace();
    network.ip(&["address", "add", "10.9.0.67/24", "dev", server.device()])?;
    network.ip(&["route", "add", "default", "via", "10.9.0.1"])?;
    for [port, _] in [GUEST, SERVER] {
        lab.rig
            .nb(&["wait-until", "Logical_Switch_Port", port, "up=true"])?;
    }
    lab.rig.nb(&["--wait=hv", "sync"])?;
    Ok([guest, server])
}

/// Commands as one would type them.
fn nb(lab: &Lab, commands: &str) -> Result<()> {
    let words: Vec<&str> = commands.split_whitespace().collect();
    lab.rig.nb(&words).map(drop)
}
