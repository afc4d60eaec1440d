//! The lab: virtual machines and nested containers on one logical switch, over two chassis.
//!
//! Two virtual machines, one on each chassis, and on the first a container host, `vm5`: a bridge of its own,
//! `br-vm5`, joined to `br-int` by a pair of patch ports. On that bridge the host is untagged, its containers have
//! access ports with their VLANs, and each of the three is a logical port.
//!
//! ```text
//!   ubuntu2                                        ubuntu3
//!   vm1 ─────── br-int ═════════ Geneve ══════════ br-int ─────── vm2
//!                 │ patch pair, iface-id dmz-vm5
//!   vm5 ──────── br-vm5
//!   c51 ── 51 ──┤
//!   c52 ── 52 ──┘
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::guest::{DhcpClient, Guest, Lease};
use crate::implementation::{Implementation, Plan};
use crate::rig::Rig;
use crate::run::quoted;
use crate::wait::{wait_for, wait_until};

/// The logical switch.
pub const SWITCH: &str = "dmz";
/// Its network.
pub const NETWORK: &str = "172.16.255.128/26";
/// The mask of its network.
pub const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 192);
/// The broadcast address of its network.
pub const BROADCAST: Ipv4Addr = Ipv4Addr::new(172, 16, 255, 191);
/// Its DHCP server and router, one address for both.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(172, 16, 255, 129);
/// How long a lease lasts.
pub const LEASE_TIME_S: u32 = 3600;
/// The two chassis.
pub const CHASSIS: [&str; 2] = ["ubuntu2", "ubuntu3"];
/// The logical port of the container host.
pub const CONTAINER_HOST: &str = "dmz-vm5";

/// A guest of the lab as the operator plans it.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its logical port.
    pub port: &'static str,
    /// Its interface.
    pub device: &'static str,
    /// Its MAC address.
    pub mac: &'static str,
    /// The address that it shall have.
    pub address: Ipv4Addr,
    /// The VLAN that its host gives it, if it is a container.
    pub tag: Option<u16>,
    /// Where in [`CHASSIS`] it starts.
    pub chassis: usize,
}

/// All guests of the lab.
pub const MEMBERS: [Member; 5] = [
    member("dmz-vm1", "vm1", "02:ac:10:ff:01:30", 130, None, 0),
    member("dmz-vm2", "vm2", "02:ac:10:ff:01:31", 131, None, 1),
    member(CONTAINER_HOST, "vm5", "02:ac:10:ff:01:32", 132, None, 0),
    member("dmz-c51", "c51", "02:ac:10:ff:01:33", 133, Some(51), 0),
    member("dmz-c52", "c52", "02:ac:10:ff:01:34", 134, Some(52), 0),
];

/// A guest for whoever needs one more.
pub const NEWCOMER: Member = member("dmz-vm6", "vm6", "02:ac:10:ff:01:35", 135, None, 1);

const fn member(
    port: &'static str,
    device: &'static str,
    mac: &'static str,
    last: u8,
    tag: Option<u16>,
    chassis: usize,
) -> Member {
    Member {
        port,
        device,
        mac,
        address: Ipv4Addr::new(172, 16, 255, last),
        tag,
        chassis,
    }
}

impl Member {
    /// Whether it is on the bridge of the container host: the host itself and its containers.
    pub fn is_behind_host(&self) -> bool {
        self.port == CONTAINER_HOST || self.tag.is_some()
    }

    /// The lease that it must get.
    pub fn expected_lease(&self) -> Lease {
        Lease {
            address: self.address,
            mask: MASK,
            router: Some(ROUTER),
            lease_time_s: LEASE_TIME_S,
            server: ROUTER,
        }
    }
}

/// Who is told how the building goes on.
pub trait Observer {
    /// A new part of the work begins.
    fn doing(&mut self, what: &str);
    /// An operator's command is given.
    fn command(&mut self, line: &str);
}

/// Nobody.
impl Observer for () {
    fn doing(&mut self, _what: &str) {}
    fn command(&mut self, _line: &str) {}
}

/// The lab, built.
#[derive(Debug)]
pub struct Lab {
    /// The guests by device.
    guests: BTreeMap<&'static str, Guest>,
    /// Where the container host is, as an index of [`CHASSIS`].
    host_chassis: usize,
    /// What it stands on.
    pub rig: Rig,
}

impl Lab {
    /// Builds it as far as an operator does: network described, guests plugged in, all ports up. Nobody has an
    /// address yet.
    pub fn build(plan: Plan, observer: &mut dyn Observer) -> Result<Self> {
        observer.doing("databases and northd");
        let mut rig = Rig::start(plan)?;
        for name in CHASSIS {
            observer.doing(&format!("chassis {name}"));
            rig.add_chassis(name)?;
        }
        let mut lab = Self {
            guests: BTreeMap::new(),
            host_chassis: 0,
            rig,
        };
        for name in CHASSIS {
            observer.doing(&format!("{name} registers"));
            lab.rig.sb(&["wait-until", "Chassis", name])?;
        }
        observer.doing("the operator describes the network");
        lab.describe(observer)?;
        observer.doing("guests are plugged in");
        lab.plug_host()?;
        for member in &MEMBERS {
            let guest = Guest::new(&lab.rig, member.device, member.mac)?;
            lab.guests.insert(member.device, guest);
            lab.plug(member)?;
        }
        observer.doing("ports come up");
        lab.wait_all_up()?;
        Ok(lab)
    }

    /// The guest of a member.
    pub fn guest(&self, member: &Member) -> &Guest {
        self.guests
            .get(member.device)
            .expect("every member has a guest from the building on")
    }

    /// Waits until every port is up, and everything told so far is in the switches.
    pub fn wait_all_up(&self) -> Result<()> {
        for member in &MEMBERS {
            self.wait_up(member)?;
        }
        self.sync()
    }

    /// Waits until a port is up.
    pub fn wait_up(&self, member: &Member) -> Result<()> {
        self.rig
            .nb(&["wait-until", "Logical_Switch_Port", member.port, "up=true"])
            .map(drop)
    }

    /// Waits until everything told so far is in the switches.
    pub fn sync(&self) -> Result<()> {
        self.rig.nb(&["--wait=hv", "sync"]).map(drop)
    }

    /// What `lsp-get-up` says of a port.
    pub fn is_up(&self, port: &str) -> Result<bool> {
        Ok(self.rig.nb(&["lsp-get-up", port])?.trim() == "up")
    }

    /// Waits until `lsp-get-up` says `down` of a port.
    pub fn wait_down(&self, port: &str) -> Result<()> {
        wait_until(
            &format!("{port} to be down"),
            Duration::from_secs(20),
            || Ok(!self.is_up(port)?),
        )
    }

    /// Every guest asks for its lease.
    pub fn lease_all(&self, client: DhcpClient) -> Result<Vec<(&'static Member, Lease)>> {
        // At the same time, for each spends most of it waiting.
        std::thread::scope(|scope| {
            let asking: Vec<_> = MEMBERS
                .iter()
                .map(|member| {
                    (
                        member,
                        scope.spawn(move || self.guest(member).lease(client)),
                    )
                })
                .collect();
            asking
                .into_iter()
                .map(|(member, lease)| {
                    Ok((
                        member,
                        lease.join().expect("asking for a lease does not panic")?,
                    ))
                })
                .collect()
        })
    }

    /// Gives every guest its address by DHCP, and checks that it is its own.
    pub fn address_all(&self) -> Result<()> {
        for (member, lease) in self.lease_all(DhcpClient::Dhclient)? {
            ensure!(
                lease == member.expected_lease(),
                "{} was given {lease:?}",
                member.port
            );
        }
        Ok(())
    }

    /// Every guest pings every other: how long each took, or an error naming the first pair that does not.
    pub fn ping_all(&self) -> Result<Vec<(&'static Member, &'static Member, Duration)>> {
        pairs()
            .map(|(from, to)| Ok((from, to, self.guest(from).ping(to.address)?)))
            .collect()
    }

    /// Moves the container host, with its bridge and its containers, to the other chassis: which one that is. Its
    /// guests lose their addresses.
    pub fn move_host(&mut self) -> Result<&'static str> {
        let behind_host = || MEMBERS.iter().filter(|member| member.is_behind_host());
        let chassis = self.rig.chassis(CHASSIS[self.host_chassis])?;
        chassis.vsctl(&["del-br", "br-vm5", "--", "del-port", "br-int", "to-vm5"])?;
        behind_host().try_for_each(|member| self.wait_down(member.port))?;
        self.host_chassis = 1 - self.host_chassis;
        self.plug_host()?;
        behind_host().try_for_each(|member| self.plug(member))?;
        Ok(CHASSIS[self.host_chassis])
    }

    /// Gives a container's access port another VLAN.
    pub fn set_tag(&self, member: &Member, tag: u16) -> Result<()> {
        let chassis = self.rig.chassis(CHASSIS[self.host_chassis])?;
        chassis
            .vsctl(&["set", "Port", member.device, &format!("tag={tag}")])
            .map(drop)
    }

    /// The chassis on which a port is bound.
    pub fn bound_to(&self, port: &str) -> Result<String> {
        let condition = format!("logical_port={port}");
        let chassis = self.rig.sb(&[
            "--bare",
            "--columns=chassis",
            "find",
            "Port_Binding",
            &condition,
        ])?;
        Ok(self
            .rig
            .sb(&["get", "Chassis", chassis.trim(), "name"])?
            .trim()
            .trim_matches('"')
            .to_owned())
    }

    /// Adds a guest that is not of the lab to `br-int` of a chassis; its logical port is the operator's to add.
    pub fn add_guest(&self, member: &Member) -> Result<Guest> {
        let guest = Guest::new(&self.rig, member.device, member.mac)?;
        let interface_id = format!("external_ids:iface-id={}", member.port);
        let chassis = self.rig.chassis(CHASSIS[member.chassis])?;
        guest.plug(chassis, "br-int", &[["Interface", &interface_id]])?;
        Ok(guest)
    }

    /// Adds a guest with all that belongs to it, gives it its lease and lets it and the others ping each other.
    pub fn welcome(&self, member: &Member) -> Result<Guest> {
        self.add_port(member, &mut ())?;
        let guest = self.add_guest(member)?;
        self.wait_up(member)?;
        let lease = guest.lease(DhcpClient::Dhclient)?;
        ensure!(
            lease == member.expected_lease(),
            "{} was given {lease:?}",
            member.port
        );
        for other in &MEMBERS {
            guest.ping(other.address)?;
            self.guest(other).ping(member.address)?;
        }
        Ok(guest)
    }

    /// The commands that make the logical port of a member, in one line joined with `--`.
    fn port_commands(&self, member: &Member) -> Result<Vec<String>> {
        let options = self.dhcp_options()?;
        let addresses = format!("{} {}", member.mac, member.address);
        let tag = member.tag.map(|tag| tag.to_string());
        let mut words = vec!["lsp-add", SWITCH, member.port];
        if let Some(tag) = &tag {
            words.extend([CONTAINER_HOST, tag]);
        }
        words.extend(["--", "lsp-set-addresses", member.port, &addresses]);
        words.extend(["--", "lsp-set-port-security", member.port, &addresses]);
        words.extend(["--", "lsp-set-dhcpv4-options", member.port, &options]);
        Ok(words.into_iter().map(str::to_owned).collect())
    }

    /// Adds the logical port of a member.
    pub fn add_port(&self, member: &Member, observer: &mut dyn Observer) -> Result<()> {
        let words = self.port_commands(member)?;
        self.operate(
            &words.iter().map(String::as_str).collect::<Vec<_>>(),
            observer,
        )
        .map(drop)
    }

    /// The key of the switch's datapath, which is the VNI of its packets between chassis.
    pub fn datapath_key(&self) -> Result<u32> {
        let found = self.rig.sb(&[
            "--bare",
            "--columns=tunnel_key",
            "find",
            "Datapath_Binding",
            &switch_condition(),
        ])?;
        found
            .trim()
            .parse()
            .with_context(|| format!("the datapath of {SWITCH} has the key {found:?}"))
    }

    /// Leaves everything running when this process ends: its folder.
    pub fn keep(self) -> Result<PathBuf> {
        self.guests.into_values().for_each(Guest::forget);
        self.rig.keep()
    }

    fn describe(&self, observer: &mut dyn Observer) -> Result<()> {
        self.operate(&["ls-add", SWITCH], observer)?;
        self.operate(&["dhcp-options-create", NETWORK], observer)?;
        let options = self.dhcp_options()?;
        let settings = [
            format!("server_id={ROUTER}"),
            "server_mac=02:ac:10:ff:01:29".to_owned(),
            format!("router={ROUTER}"),
            format!("lease_time={LEASE_TIME_S}"),
        ];
        let mut words = vec!["dhcp-options-set-options", &options];
        words.extend(settings.iter().map(String::as_str));
        self.operate(&words, observer)?;
        MEMBERS
            .iter()
            .try_for_each(|member| self.add_port(member, observer))
    }

    fn dhcp_options(&self) -> Result<String> {
        let condition = format!("cidr=\"{NETWORK}\"");
        let found = self.rig.nb(&[
            "--bare",
            "--columns=_uuid",
            "find",
            "DHCP_Options",
            &condition,
        ])?;
        Ok(found.trim().to_owned())
    }

    fn operate(&self, words: &[&str], observer: &mut dyn Observer) -> Result<String> {
        operate(&self.rig, words, observer)
    }

    fn plug(&self, member: &Member) -> Result<()> {
        let guest = self.guest(member);
        if !member.is_behind_host() {
            let interface_id = format!("external_ids:iface-id={}", member.port);
            let chassis = self.rig.chassis(CHASSIS[member.chassis])?;
            return guest.plug(chassis, "br-int", &[["Interface", &interface_id]]);
        }
        let chassis = self.rig.chassis(CHASSIS[self.host_chassis])?;
        match member.tag {
            Some(tag) => guest.plug(chassis, "br-vm5", &[["Port", &format!("tag={tag}")]]),
            None => guest.plug(chassis, "br-vm5", &[]),
        }
    }

    /// Makes the container host's bridge and joins it to `br-int`, which the controller has to have made.
    fn plug_host(&self) -> Result<()> {
        let chassis = self.rig.chassis(CHASSIS[self.host_chassis])?;
        wait_for(
            "the controller to make br-int",
            Duration::from_secs(20),
            || Ok(chassis.vsctl(&["br-exists", "br-int"]).ok()),
        )?;
        let bridge = [
            "add-br",
            "br-vm5",
            "--",
            "set",
            "Bridge",
            "br-vm5",
            "datapath_type=netdev",
        ];
        let inner = [
            "add-port",
            "br-vm5",
            "to-int",
            "--",
            "set",
            "Interface",
            "to-int",
            "type=patch",
            "options:peer=to-vm5",
        ];
        let outer = [
            "add-port",
            "br-int",
            "to-vm5",
            "--",
            "set",
            "Interface",
            "to-vm5",
            "type=patch",
            "options:peer=to-int",
        ];
        let interface_id = format!("external_ids:iface-id={CONTAINER_HOST}");
        let mut command = Vec::new();
        command.extend(bridge);
        command.push("--");
        command.extend(inner);
        command.push("--");
        command.extend(outer);
        command.push(&interface_id);
        chassis.vsctl(&command).map(drop)
    }
}

/// Gives an operator's command to the northbound.
pub fn operate(rig: &Rig, words: &[&str], observer: &mut dyn Observer) -> Result<String> {
    let mut line = match rig.plan().tools {
        Implementation::Weft => "weft nb".to_owned(),
        Implementation::Ovn => "ovn-nbctl".to_owned(),
    };
    for word in words {
        write!(line, " {}", quoted(word)).expect("a String can be written to");
    }
    observer.command(&line);
    rig.nb(words)
}

/// Every ordered pair of different members.
pub fn pairs() -> impl Iterator<Item = (&'static Member, &'static Member)> {
    let all = || MEMBERS.iter();
    all().flat_map(move |from| {
        all()
            .filter(move |to| to.port != from.port)
            .map(move |to| (from, to))
    })
}

fn switch_condition() -> String {
    format!("external_ids:name={SWITCH}")
}
