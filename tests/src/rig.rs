//! Databases, compiler, chassis and underlay together.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::chassis::{Chassis, Settings};
use crate::folder::{Folder, Sweep, sweep};
use crate::implementation::{Database, Plan, Side, start_northd};
use crate::namespace::Namespace;
use crate::process::Daemon;
use crate::run::{Run, search_path};

/// The first three numbers of every address of the underlay.
const UNDERLAY: &str = "192.168.77";
/// The programs without which no rig can be, each with what it is for.
const PROGRAMS: &[(&str, &str)] = &[
    ("ovs-vswitchd", "the switch of every chassis"),
    ("ovsdb-server", "the database of every switch"),
    ("ovs-vsctl", "the settings of every switch"),
    ("ovs-ofctl", "looking at flows"),
    ("ip", "network namespaces"),
    ("nsenter", "running programs in namespaces"),
    ("ethtool", "checksum offload"),
    ("nft", "partitions between members of a database"),
    ("mount", "disks that can be full"),
    ("ping", "the guests' pings"),
    ("dhclient", "the guests' leases"),
    ("udhcpc", "the guests' leases"),
    ("dhcpcd", "the guests' leases"),
    ("dig", "the guests' questions"),
    ("tcpdump", "captures"),
];

/// A whole system on one machine, gone when dropped.
#[derive(Debug)]
pub struct Rig {
    /// The northbound database.
    pub northbound: Database,
    /// The southbound database.
    pub southbound: Database,
    /// The compiler.
    pub northd: Daemon,
    /// The chassis, in the order in which they were added.
    pub chassis: Vec<Chassis>,
    plan: Plan,
    namespace: Namespace,
    folder: Folder,
}

impl Rig {
    /// Starts the databases and the compiler of `plan`, with an underlay and no chassis.
    pub fn start(plan: Plan) -> Result<Self> {
        check_requirements()?;
        sweep(Sweep::Abandoned)?;
        let folder = Folder::create()?;
        let namespace = Namespace::create(&folder.namespace("db"))?;
        namespace.ip(&["link", "add", "underlay", "type", "bridge"])?;
        namespace.ip(&[
            "address",
            "add",
            &format!("{UNDERLAY}.1/24"),
            "dev",
            "underlay",
        ])?;
        namespace.ip(&["link", "set", "underlay", "up"])?;
        namespace.disable_checksum_offload("underlay")?;
        let address = format!("{UNDERLAY}.1");
        let start = |side| {
            Database::start(
                plan.databases,
                side,
                folder.path(),
                Some(namespace.name()),
                Some(&address),
            )
        };
        let (northbound, southbound) = (start(Side::Northbound)?, start(Side::Southbound)?);
        let (nb, sb) = (
            northbound.local_remote(plan.door),
            southbound.local_remote(plan.door),
        );
        let northd = start_northd(plan.northd, folder.path(), Some(namespace.name()), &nb, &sb)?;
        Ok(Self {
            northbound,
            southbound,
            northd,
            chassis: Vec::new(),
            plan,
            namespace,
            folder,
        })
    }

    /// Whose daemons stand where.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// The folder with all sockets and logs.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// The namespace of the databases, in which the bridge `underlay` is.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The address of the namespace of [`Rig::namespace`] on the underlay, which every chassis reaches.
    pub fn underlay_address(&self) -> String {
        format!("{UNDERLAY}.1")
    }

    /// Makes a namespace of this rig: its name is `suffix` behind the rig's own.
    pub fn new_namespace(&self, suffix: &str) -> Result<Namespace> {
        Namespace::create(&self.folder.namespace(suffix))
    }

    /// Adds a chassis to the underlay, starts its switch and its controller.
    pub fn add_chassis(&mut self, name: &str) -> Result<()> {
        let namespace = self.new_namespace(name)?;
        let number = self.chassis.len() + 2;
        let far_end = format!("to{number}");
        let (here, there) = (self.namespace.name(), namespace.name());
        let veth = [
            "-n", there, "link", "add", "eth0", "type", "veth", "peer", "name", &far_end, "netns",
            here,
        ];
        Run::new("ip").args(veth).output()?;
        self.namespace
            .ip(&["link", "set", &far_end, "master", "underlay", "up"])?;
        self.namespace.disable_checksum_offload(&far_end)?;
        namespace.ip(&["link", "set", "eth0", "up"])?;
        namespace.disable_checksum_offload("eth0")?;
        let settings = Settings {
            name,
            address: &format!("{UNDERLAY}.{number}"),
            southbound: &self.southbound.network_remote(self.plan.door)?,
            controller: match self.plan.other_controllers {
                Some(others) if !self.chassis.is_empty() => others,
                _ => self.plan.controller,
            },
        };
        let mut chassis = Chassis::start(&settings, namespace, &self.folder.path().join(name))?;
        chassis.start_controller()?;
        self.chassis.push(chassis);
        Ok(())
    }

    /// The chassis of that name.
    pub fn chassis(&self, name: &str) -> Result<&Chassis> {
        self.chassis
            .iter()
            .find(|chassis| chassis.name() == name)
            .with_context(|| format!("no chassis {name}"))
    }

    /// `weft nb ARGS` or `ovn-nbctl ARGS`, as the plan says.
    pub fn nb(&self, args: &[&str]) -> Result<String> {
        self.northbound
            .tool(self.plan.tools, self.plan.door)?
            .args(args)
            .output()
    }

    /// `weft sb ARGS` or `ovn-sbctl ARGS`, as the plan says.
    pub fn sb(&self, args: &[&str]) -> Result<String> {
        self.southbound
            .tool(self.plan.tools, self.plan.door)?
            .args(args)
            .output()
    }

    /// Every daemon that Weft provides in this rig: databases, compiler, controllers.
    pub fn control_plane(&mut self) -> Vec<&mut Daemon> {
        let Self {
            northbound,
            southbound,
            northd,
            chassis,
            ..
        } = self;
        let mut daemons = vec![&mut northbound.daemon, &mut southbound.daemon, northd];
        daemons.extend(chassis.iter_mut().filter_map(Chassis::controller));
        daemons
    }

    /// Fails if any daemon has ended by itself.
    pub fn check_alive(&mut self) -> Result<()> {
        self.control_plane()
            .into_iter()
            .try_for_each(Daemon::check_alive)?;
        self.chassis
            .iter_mut()
            .try_for_each(|chassis| chassis.switch().check_alive())
    }

    /// The log files of all daemons.
    pub fn logs(&self) -> Vec<PathBuf> {
        let folders = std::iter::once(self.dir()).chain(self.chassis.iter().map(Chassis::dir));
        let files = folders.flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
        let mut logs: Vec<PathBuf> = files
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "log" || extension == "out")
            })
            .collect();
        logs.sort();
        logs
    }

    /// Leaves everything running when this process ends.
    pub fn keep(self) -> Result<PathBuf> {
        let Self {
            northbound,
            southbound,
            northd,
            chassis,
            namespace,
            folder,
            ..
        } = self;
        northbound.daemon.forget();
        southbound.daemon.forget();
        northd.forget();
        chassis.into_iter().for_each(Chassis::forget);
        namespace.forget();
        folder.keep()
    }
}

/// Fails with the remedy if this machine or this user cannot have a rig.
pub fn check_requirements() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "end-to-end tests make network namespaces and so need root: run `cargo xtask test`, which asks sudo for it"
    );
    for (program, purpose) in PROGRAMS {
        ensure!(
            find_program(program).is_some(),
            "{program} is not installed ({purpose}): run `cargo xtask setup`"
        );
    }
    Ok(())
}

/// Where a program is.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = search_path();
    let mut files = std::env::split_paths(&path).map(|folder| folder.join(name));
    files.find(|file| file.is_file())
}
