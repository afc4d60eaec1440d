//! Databases, compiler, chassis and underlay together; and the sweep of what a killed run has left.
//!
//! All names begin with the process id of the owner: `wf4711a-ubuntu2` is a namespace of the first rig of process
//! 4711. Everything that a rig starts runs inside one of its namespaces. So whoever makes a rig can first remove those
//! of owners that are no more: end what runs in their namespaces, delete the namespaces, delete the folder. Only a rig
//! that was meant to stay (its folder holds a file `keep`) is spared, until [`sweep`] is told otherwise.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result, ensure};

use crate::chassis::{Chassis, Settings};
use crate::implementation::{Database, Plan, Side, start_northd};
use crate::namespace::{self, Namespace};
use crate::process::Daemon;
use crate::run::{Run, search_path};

/// With what the names of all namespaces of all rigs begin.
const PREFIX: &str = "wf";
/// With what the names of all folders of all rigs begin.
const FOLDER_PREFIX: &str = "weft-rig-";
/// The file in a rig's folder that lets it outlive its owner.
const KEEP: &str = "keep";
/// The file in a rig's folder that says when its owner began.
const OWNER: &str = "owner";
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
    ("ping", "the guests' pings"),
    ("dhclient", "the guests' leases"),
    ("udhcpc", "the guests' leases"),
    ("tcpdump", "captures"),
];

static RIGS_OF_THIS_PROCESS: AtomicU8 = AtomicU8::new(0);

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
                &folder.path,
                Some(namespace.name()),
                Some(&address),
            )
        };
        let (northbound, southbound) = (start(Side::Northbound)?, start(Side::Southbound)?);
        let (nb, sb) = (
            northbound.local_remote(plan.door),
            southbound.local_remote(plan.door),
        );
        let northd = start_northd(plan.northd, &folder.path, Some(namespace.name()), &nb, &sb)?;
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
        &self.folder.path
    }

    /// The namespace of the databases, in which the bridge `underlay` is.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
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
            controller: self.plan.controller,
        };
        let mut chassis = Chassis::start(&settings, namespace, &self.folder.path.join(name))?;
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
        fs::write(folder.path.join(KEEP), "")?;
        northbound.daemon.forget();
        southbound.daemon.forget();
        northd.forget();
        chassis.into_iter().for_each(Chassis::forget);
        namespace.forget();
        let path = folder.path.clone();
        std::mem::forget(folder);
        Ok(path)
    }
}

/// Which rigs a sweep removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// Those whose owner has ended, unless they were to be kept.
    Abandoned,
    /// Those whose owner has ended, kept or not.
    Kept,
}

/// Removes what earlier rigs have left; how many there were.
pub fn sweep(which: Sweep) -> Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(std::env::temp_dir())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(id) = name.strip_prefix(FOLDER_PREFIX) else {
            continue;
        };
        let kept = entry.path().join(KEEP).exists();
        if owner_is_alive(id, &entry.path()) || (kept && which == Sweep::Abandoned) {
            continue;
        }
        for namespace in namespace::with_prefix(&format!("{PREFIX}{id}-")) {
            namespace::remove(&namespace)?;
        }
        fs::remove_dir_all(entry.path())?;
        removed += 1;
    }
    Ok(removed)
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

/// A rig's folder, deleted when dropped: after everything else, for it is the last field of [`Rig`].
#[derive(Debug)]
struct Folder {
    id: String,
    path: PathBuf,
}

impl Folder {
    fn create() -> Result<Self> {
        let number = RIGS_OF_THIS_PROCESS.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}{}", std::process::id(), char::from(b'a' + number % 26));
        let path = std::env::temp_dir().join(format!("{FOLDER_PREFIX}{id}"));
        let owner = process_start(std::process::id()).context("no entry of its own under /proc")?;
        fs::create_dir(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        let folder = Self { id, path };
        fs::write(folder.path.join(OWNER), owner)?;
        Ok(folder)
    }

    fn namespace(&self, suffix: &str) -> String {
        format!("{PREFIX}{}-{suffix}", self.id)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Whether the process that made the rig `id` still runs; another that has its number by now is not it.
fn owner_is_alive(id: &str, folder: &Path) -> bool {
    let pid = id.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let Some(start) = pid.parse::<u32>().ok().and_then(process_start) else {
        return false;
    };
    // Without the file the rig is being made just now.
    fs::read_to_string(folder.join(OWNER)).map_or(true, |owner| owner == start)
}

/// When a process began, in clock ticks since the machine did.
fn process_start(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Of the fields after the command in parentheses it is the 20th.
    stat.rsplit(") ")
        .next()?
        .split_whitespace()
        .nth(19)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_rig_is_known_by_its_start_and_not_by_its_number_alone() {
        let folder = std::env::temp_dir().join(format!("owner-test-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let id = format!("{}a", std::process::id());
        fs::write(
            folder.join(OWNER),
            process_start(std::process::id()).unwrap(),
        )
        .unwrap();
        let same = owner_is_alive(&id, &folder);
        fs::write(folder.join(OWNER), "1").unwrap();
        let reused = owner_is_alive(&id, &folder);
        fs::remove_dir_all(&folder).unwrap();
        assert!(same, "the owner itself is alive");
        assert!(!reused, "another process of that number is not the owner");
    }
}
