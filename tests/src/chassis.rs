//! One hypervisor: a namespace with Open vSwitch in userspace and a controller.
//!
//! `br-phys` holds the chassis' end of the veth pair to the underlay and, on its internal port, the chassis' address;
//! `br-int` is the integration bridge. `ovs-vswitchd` runs inside the namespace, because its routes, and with them
//! its tunnels, are those of the namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::implementation::{Implementation, place, start_controller};
use crate::namespace::Namespace;
use crate::process::{Daemon, control_socket};
use crate::run::Run;
use crate::wait::wait_until;

/// How the chassis finds the rest of the system.
#[derive(Debug)]
pub struct Settings<'a> {
    /// Its `system-id`.
    pub name: &'a str,
    /// Its address on the underlay, without prefix length.
    pub address: &'a str,
    /// The southbound database.
    pub southbound: &'a str,
    /// Whose controller runs on it.
    pub controller: Implementation,
}

/// A running chassis.
#[derive(Debug)]
pub struct Chassis {
    name: String,
    dir: PathBuf,
    implementation: Implementation,
    controller: Option<Daemon>,
    switch: Daemon,
    database: Daemon,
    namespace: Namespace,
}

impl Chassis {
    /// Starts Open vSwitch in `namespace`, whose device `eth0` leads to the underlay, and tells it how to find the
    /// rest. The controller is not started yet.
    pub fn start(settings: &Settings<'_>, namespace: Namespace, dir: &Path) -> Result<Self> {
        fs::create_dir(dir)?;
        let database = start_switch_database(dir, Some(namespace.name()))?;
        let socket = dir.join("db.sock");
        let run = Run::new("ovs-vswitchd")
            .arg(format!("unix:{}", socket.display()))
            .arg("--disable-system");
        let run = place(run, dir, "switch", Some(namespace.name()));
        let switch = Daemon::start("switch", dir, run, control_socket(dir, "switch"), None)?;
        let chassis = Self {
            name: settings.name.to_owned(),
            dir: dir.to_owned(),
            implementation: settings.controller,
            controller: None,
            switch,
            database,
            namespace,
        };
        chassis.configure(settings)?;
        Ok(chassis)
    }

    /// Its `system-id`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it lives.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its folder: sockets, logs, database.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts its controller.
    pub fn start_controller(&mut self) -> Result<()> {
        match &mut self.controller {
            Some(controller) => controller.start_again(),
            None => {
                let switch = format!("unix:{}", self.dir.join("db.sock").display());
                let namespace = Some(self.namespace.name());
                self.controller = Some(start_controller(
                    self.implementation,
                    &self.dir,
                    namespace,
                    &switch,
                )?);
                Ok(())
            }
        }
    }

    /// Its controller, once started.
    pub fn controller(&mut self) -> Option<&mut Daemon> {
        self.controller.as_mut()
    }

    /// Its `ovs-vswitchd`.
    pub fn switch(&mut self) -> &mut Daemon {
        &mut self.switch
    }

    /// Has the switch look up anew what becomes of packets: its cache is up to date with its flows only a moment after these changed.
    pub fn forget_cached_flows(&self) -> Result<()> {
        self.switch.control(&["revalidator/purge"]).map(drop)
    }

    /// What its switch answers to `ovs-appctl WORDS`.
    pub fn appctl(&self, words: &[&str]) -> Result<String> {
        self.switch.control(words)
    }

    /// `ovs-vsctl ARGS` on its switch's database, waiting until the switch has done it.
    pub fn vsctl(&self, args: &[&str]) -> Result<String> {
        Run::new("ovs-vsctl")
            .arg(format!("--db=unix:{}", self.dir.join("db.sock").display()))
            .args(["--timeout=30"])
            .args(args)
            .output()
    }

    /// `ovs-ofctl COMMAND BRIDGE ARGS` on one of its bridges.
    pub fn ofctl(&self, command: &str, bridge: &str, args: &[&str]) -> Result<String> {
        Run::new("ovs-ofctl")
            .args(["-O", "OpenFlow15", command])
            .arg(format!(
                "unix:{}",
                self.dir.join(format!("{bridge}.mgmt")).display()
            ))
            .args(args)
            .output()
    }

    /// Lets it be: it will outlive this value.
    pub fn forget(self) {
        let Self {
            controller,
            switch,
            database,
            namespace,
            ..
        } = self;
        controller.into_iter().for_each(Daemon::forget);
        switch.forget();
        database.forget();
        namespace.forget();
    }

    fn configure(&self, settings: &Settings<'_>) -> Result<()> {
        let Settings {
            name,
            address,
            southbound,
            ..
        } = settings;
        self.vsctl(&[
            "add-br",
            "br-phys",
            "--",
            "set",
            "Bridge",
            "br-phys",
            "datapath_type=netdev",
        ])?;
        self.vsctl(&["add-port", "br-phys", "eth0"])?;
        self.namespace
            .ip(&["address", "add", &format!("{address}/24"), "dev", "br-phys"])?;
        self.namespace.ip(&["link", "set", "br-phys", "up"])?;
        self.namespace.disable_checksum_offload("br-phys")?;
        let external_ids = [
            format!("system-id={name}"),
            format!("ovn-remote={southbound}"),
            "ovn-encap-type=geneve".to_owned(),
            format!("ovn-encap-ip={address}"),
            "ovn-bridge-datapath-type=netdev".to_owned(),
        ];
        let settings: Vec<String> = external_ids
            .iter()
            .filter_map(|pair| pair.split_once('='))
            // A remote holds colons, so it is quoted for the tool.
            .map(|(key, value)| format!("external_ids:{key}=\"{value}\""))
            .collect();
        let mut command = vec!["set", "Open_vSwitch", "."];
        command.extend(settings.iter().map(String::as_str));
        self.vsctl(&command)?;
        wait_until(
            "Open vSwitch to know the route to the underlay",
            Duration::from_secs(20),
            || {
                Ok(self
                    .switch
                    .control(&["ovs/route/show"])?
                    .contains("br-phys"))
            },
        )
    }
}

/// Starts the database of an Open vSwitch in `dir`, at `dir/db.sock`.
pub fn start_switch_database(dir: &Path, namespace: Option<&str>) -> Result<Daemon> {
    let (file, socket) = (dir.join("conf.db"), dir.join("db.sock"));
    Run::new("ovsdb-tool")
        .arg("create")
        .arg(&file)
        .arg("/usr/share/openvswitch/vswitch.ovsschema")
        .output()?;
    let run = Run::new("ovsdb-server")
        .arg(file)
        .arg(format!("--remote=punix:{}", socket.display()));
    let run = place(run, dir, "db", namespace);
    let control = control_socket(dir, "db");
    let database = Daemon::start("db", dir, run, control, Some(socket.clone()))?;
    Run::new("ovs-vsctl")
        .arg(format!("--db=unix:{}", socket.display()))
        .args(["--no-wait", "init"])
        .output()?;
    Ok(database)
}
