//! The routed lab: a tenant whose two switches are joined by a router, the outside behind a distributed gateway port on
//! two gateway chassis, and a host there.
//!
//! ```text
//!   dmz     10.1.0.0/24 ──┐
//!                         tenant ── 203.0.113.10 ── public ── internet, 203.0.113.100
//!   inside  10.2.0.0/24 ──┘         on gw1, or else on gw2
//! ```
//!
//! Each of the two hypervisors `hv1` and `hv2` has a guest of each switch. Guests are seen outside as 203.0.113.10; two of
//! them have addresses of their own there: `dmz1`, served on its own hypervisor, and `inside2`, served on the gateway.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::chassis::Chassis;
use crate::guest::{Guest, parse_round_trip};
use crate::implementation::Plan;
use crate::lab::{Observer, operate};
use crate::namespace::Namespace;
use crate::rig::Rig;
use crate::run::Run;
use crate::traffic::{Outcome, Traffic};
use crate::wait::{wait_for, wait_until};

/// Where the guests are.
pub const HYPERVISORS: [&str; 2] = ["hv1", "hv2"];
/// Where the gateway port may be: the first if it can.
pub const GATEWAYS: [&str; 2] = ["gw1", "gw2"];
/// The host outside.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 100);
/// As which the guests without an address outside are seen there.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// The router's gateway port.
pub const GATEWAY_PORT: &str = "tenant-public";

/// Between two packets of those that go on while a gateway dies.
const MILLISECOND: Duration = Duration::from_millis(1);
/// So many answers are a flow.
const ENOUGH: u64 = 200;

/// A guest of the tenant.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its logical port, and its interface.
    pub name: &'static str,
    /// Its logical switch.
    pub switch: &'static str,
    /// Its MAC address.
    pub mac: &'static str,
    /// Its address.
    pub address: Ipv4Addr,
    /// Where in [`HYPERVISORS`] it is.
    pub hypervisor: usize,
    /// Its address outside, and the MAC address that this has there if it is served on the guest's own hypervisor.
    pub floating: Option<(Ipv4Addr, Option<&'static str>)>,
}

/// All of them.
pub const MEMBERS: [Member; 4] = [
    member("dmz1", "02:ac:10:01:00:01", [10, 1, 0, 11], 0),
    member("dmz2", "02:ac:10:01:00:02", [10, 1, 0, 12], 1),
    member("inside1", "02:ac:10:02:00:01", [10, 2, 0, 11], 0),
    member("inside2", "02:ac:10:02:00:02", [10, 2, 0, 12], 1),
];

const fn member(
    name: &'static str,
    mac: &'static str,
    address: [u8; 4],
    hypervisor: usize,
) -> Member {
    let [a, b, c, d] = address;
    let floating = match (b, d) {
        (1, 11) => Some((Ipv4Addr::new(203, 0, 113, 50), Some("02:00:00:cb:00:50"))),
        (2, 12) => Some((Ipv4Addr::new(203, 0, 113, 51), None)),
        _ => None,
    };
    Member {
        name,
        switch: if b == 1 { "dmz" } else { "inside" },
        mac,
        address: Ipv4Addr::new(a, b, c, d),
        hypervisor,
        floating,
    }
}

/// What the death of a gateway cost those who were talking through it, a packet a millisecond.
#[derive(Clone, Copy, Debug)]
pub struct Failover {
    /// A guest that spoke to the host outside.
    pub out: Outcome,
    /// The host outside that spoke to a guest.
    pub back: Outcome,
}

/// The lab, built.
#[derive(Debug)]
pub struct RoutedLab {
    guests: BTreeMap<&'static str, Guest>,
    outside: Namespace,
    /// What it stands on.
    pub rig: Rig,
}

impl RoutedLab {
    /// Builds it: network described, guests plugged in and addressed, all ports up, the first gateway at work.
    pub fn build(plan: Plan, observer: &mut dyn Observer) -> Result<Self> {
        observer.doing("databases and northd");
        let mut rig = Rig::start(plan)?;
        for name in HYPERVISORS.iter().chain(&GATEWAYS) {
            observer.doing(&format!("chassis {name}"));
            rig.add_chassis(name)?;
            let mappings = "external_ids:ovn-bridge-mappings=phys:br-phys";
            rig.chassis(name)?
                .vsctl(&["set", "Open_vSwitch", ".", mappings])?;
        }
        for name in HYPERVISORS.iter().chain(&GATEWAYS) {
            observer.doing(&format!("{name} registers"));
            rig.sb(&["wait-until", "Chassis", name])?;
        }
        observer.doing("the operator describes the network");
        for command in commands() {
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            operate(&rig, &words, observer)?;
        }
        observer.doing("guests are plugged in");
        let guests = MEMBERS
            .iter()
            .map(|member| Ok((member.name, plug(&rig, member)?)));
        let guests = guests.collect::<Result<_>>()?;
        let outside = outside(&rig)?;
        let lab = Self {
            guests,
            outside,
            rig,
        };
        observer.doing("ports come up, gateways watch each other");
        for member in &MEMBERS {
            lab.rig
                .nb(&["wait-until", "Logical_Switch_Port", member.name, "up=true"])?;
        }
        lab.rig.nb(&["--wait=hv", "sync"])?;
        lab.wait_for_gateway(GATEWAYS[0])?;
        Ok(lab)
    }

    /// The guest of a member.
    pub fn guest(&self, member: &Member) -> &Guest {
        &self.guests[member.name]
    }

    /// The host outside.
    pub fn outside(&self) -> &Namespace {
        &self.outside
    }

    /// Every guest pings every other, and the host outside; that host pings each address that guests have outside, `from`
    /// being `internet`. How long each took.
    pub fn ping_all(&self) -> Result<Vec<(&'static str, String, Duration)>> {
        let mut times = Vec::new();
        for from in &MEMBERS {
            for to in MEMBERS.iter().filter(|to| to.name != from.name) {
                let time = self.guest(from).ping(to.address)?;
                times.push((from.name, to.name.to_owned(), time));
            }
            times.push((
                from.name,
                "internet".to_owned(),
                self.guest(from).ping(OUTSIDE)?,
            ));
        }
        for member in &MEMBERS {
            if let Some((address, _)) = member.floating {
                let time = wait_for(
                    &format!("{address} to answer outside"),
                    Duration::from_secs(30),
                    || {
                        let ping = self.outside.run("ping");
                        let ping = ping.args(["-n", "-c", "1", "-W", "1", &address.to_string()]);
                        Ok(Some(parse_round_trip(&ping.output()?)?))
                    },
                )?;
                times.push(("internet", member.name.to_owned(), time));
            }
        }
        Ok(times)
    }

    /// The chassis on which the gateway port is, if it is on any.
    pub fn gateway(&self) -> Result<String> {
        let condition = format!("logical_port=cr-{GATEWAY_PORT}");
        let find = [
            "--bare",
            "--columns=chassis",
            "find",
            "Port_Binding",
            &condition,
        ];
        let chassis = self.rig.sb(&find)?;
        let name = self
            .rig
            .sb(&["--bare", "get", "Chassis", chassis.trim(), "name"])?;
        Ok(name.trim().trim_matches('"').to_owned())
    }

    /// Waits until each other chassis knows by BFD that this one lives, and the gateway port is on it. In this order: while the
    /// sessions come up, a lower member takes the port and gives it back.
    pub fn wait_for_gateway(&self, name: &str) -> Result<()> {
        for watcher in self
            .rig
            .chassis
            .iter()
            .filter(|watcher| watcher.name() != name)
        {
            wait_until(
                &format!("{} to see {name} alive", watcher.name()),
                Duration::from_secs(30),
                || sees_alive(watcher, name),
            )?;
        }
        wait_until(
            &format!("the gateway port to be on {name}"),
            Duration::from_secs(30),
            || Ok(self.gateway()? == name),
        )
    }

    /// Does something while a guest and the host outside send each other a packet each millisecond, and lets them go on for
    /// as long as it takes to see packets flow again.
    pub fn under_traffic(
        &mut self,
        fault: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<Failover> {
        let [_, dmz2, _, inside2] = &MEMBERS;
        let (floating, _) = inside2
            .floating
            .context("inside2 is reached from outside")?;
        let (outside, guest) = (&self.outside, |member| self.guest(member).namespace());
        let out = Traffic::start(guest(dmz2), outside, OUTSIDE, MILLISECOND)?;
        let back = Traffic::start(outside, guest(inside2), floating, MILLISECOND)?;
        let flowing = |what: &str| {
            let start = [out.answered(), back.answered()];
            wait_until(what, Duration::from_secs(30), || {
                let now = [out.answered(), back.answered()];
                Ok(now
                    .iter()
                    .zip(start)
                    .all(|(now, start)| *now >= start + ENOUGH))
            })
        };
        flowing("packets to flow both ways")?;
        fault(self)?;
        flowing("packets to flow again")?;
        Ok(Failover {
            out: out.stop()?,
            back: back.stop()?,
        })
    }

    /// Kills the switch of the gateway that is at work, under traffic, and waits until the other gateway has taken over.
    pub fn kill_gateway(&mut self) -> Result<Failover> {
        let dead = self.gateway()?;
        let others = GATEWAYS.into_iter().find(|name| *name != dead);
        let heir = others.context("a second gateway")?;
        self.under_traffic(|lab| {
            lab.chassis(&dead)?.switch().kill()?;
            wait_until(
                &format!("{heir} to take over"),
                Duration::from_secs(30),
                || Ok(lab.gateway()? == heir),
            )
        })
    }

    /// The chassis of that name.
    pub fn chassis(&mut self, name: &str) -> Result<&mut Chassis> {
        let mut all = self.rig.chassis.iter_mut();
        all.find(|chassis| chassis.name() == name)
            .with_context(|| format!("no chassis {name}"))
    }

    /// Starts the switch again that [`RoutedLab::kill_gateway`] has killed, and waits until its chassis is the gateway
    /// again.
    pub fn revive_gateway(&mut self) -> Result<()> {
        let [first, _] = GATEWAYS;
        let chassis = self.chassis(first)?;
        chassis.switch().start_again()?;
        chassis.namespace().ip(&["link", "set", "br-phys", "up"])?;
        self.wait_for_gateway(first)
    }

    /// Leaves everything running when this process ends: its folder.
    pub fn keep(self) -> Result<std::path::PathBuf> {
        self.guests.into_values().for_each(Guest::forget);
        self.outside.forget();
        self.rig.keep()
    }
}

/// Whether BFD says to a chassis, over its tunnel, that another one lives.
fn sees_alive(watcher: &Chassis, name: &str) -> Result<bool> {
    let ports = watcher.vsctl(&["list-ports", "br-int"])?;
    let start = format!("ovn-{name}-");
    let tunnel = ports.lines().find(|port| port.starts_with(&start));
    let tunnel = tunnel.with_context(|| format!("{} has no tunnel to {name}", watcher.name()))?;
    let status = watcher.vsctl(&["get", "Interface", tunnel, "bfd_status"])?;
    Ok(status.contains("remote_state=up") && status.contains(", state=up"))
}

/// What the operator types, command by command.
fn commands() -> Vec<Vec<String>> {
    let mut lines: Vec<String> = vec![
        // Whoever watches a gateway misses three packets, a tenth of a second apart, before it takes it for dead.
        "set NB_Global . options:bfd-min-rx=100 options:bfd-min-tx=100 options:bfd-mult=3"
            .to_owned(),
        "lr-add tenant".to_owned(),
    ];
    let join = |switch: &str, mac: &str, network: &str| {
        let port = format!("{switch}-tenant");
        [
            format!("ls-add {switch}"),
            format!("lrp-add tenant tenant-{switch} {mac} {network}"),
            format!(
                "lsp-add {switch} {port} -- lsp-set-type {port} router -- lsp-set-addresses {port} router \
                 -- lsp-set-options {port} router-port=tenant-{switch}"
            ),
        ]
    };
    lines.extend(join("dmz", "02:00:00:01:00:01", "10.1.0.1/24"));
    lines.extend(join("inside", "02:00:00:02:00:01", "10.2.0.1/24"));
    lines.extend(join("public", "02:00:00:cb:00:01", "203.0.113.10/24"));
    lines.push(
        "lsp-add public public-phys -- lsp-set-type public-phys localnet \
         -- lsp-set-addresses public-phys unknown -- lsp-set-options public-phys network_name=phys"
            .to_owned(),
    );
    for (gateway, priority) in GATEWAYS.iter().zip(["20", "10"]) {
        lines.push(format!(
            "lrp-set-gateway-chassis {GATEWAY_PORT} {gateway} {priority}"
        ));
    }
    lines.push(format!("lr-nat-add tenant snat {GATEWAY} 10.0.0.0/8"));
    let words = |line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut commands: Vec<Vec<String>> = lines.into_iter().map(words).collect();
    for member in &MEMBERS {
        let Member {
            name,
            switch,
            mac,
            address,
            floating,
            ..
        } = member;
        let mut add = words(format!(
            "lsp-add {switch} {name} -- lsp-set-addresses {name}"
        ));
        add.push(format!("{mac} {address}"));
        commands.push(add);
        if let Some((floating, mac)) = floating {
            let place = mac.map_or(String::new(), |mac| format!(" {name} {mac}"));
            let nat = format!("lr-nat-add tenant dnat_and_snat {floating} {address}{place}");
            commands.push(words(nat));
        }
    }
    commands
}

fn plug(rig: &Rig, member: &Member) -> Result<Guest> {
    let guest = Guest::new(rig, member.name, member.mac)?;
    let id = format!("external_ids:iface-id={}", member.name);
    let chassis = rig.chassis(HYPERVISORS[member.hypervisor])?;
    guest.plug(chassis, "br-int", &[["Interface", &id]])?;
    let network = guest.namespace();
    let address = format!("{}/24", member.address);
    network.ip(&["address", "add", &address, "dev", member.name])?;
    let [a, b, c, _] = member.address.octets();
    let router = Ipv4Addr::new(a, b, c, 1).to_string();
    network.ip(&["route", "add", "default", "via", &router])?;
    Ok(guest)
}

/// A host on the underlay, which is what all chassis call `phys`.
fn outside(rig: &Rig) -> Result<Namespace> {
    let host = rig.new_namespace("internet")?;
    let underlay = rig.namespace();
    Run::new("ip")
        .args(["-n", host.name(), "link", "add", "eth0", "type", "veth"])
        .args(["peer", "name", "outside", "netns", underlay.name()])
        .output()?;
    underlay.ip(&["link", "set", "outside", "master", "underlay", "up"])?;
    underlay.disable_checksum_offload("outside")?;
    host.ip(&["link", "set", "eth0", "up"])?;
    host.disable_checksum_offload("eth0")?;
    host.ip(&["address", "add", &format!("{OUTSIDE}/24"), "dev", "eth0"])?;
    Ok(host)
}
