//! Installs from the distribution what the rig needs, and only what is missing.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace::{privileged, succeed, target_directory};

/// The packages, each with what it is for.
const PACKAGES: &[(&str, &str)] = &[
    ("openvswitch-switch", "the switch of every chassis"),
    (
        "ovn-central",
        "OVN's databases and northd, for mixed runs and as the other side of benchmarks",
    ),
    ("ovn-host", "OVN's controller, for the same"),
    (
        "isc-dhcp-client",
        "guests that ask for a lease with dhclient",
    ),
    ("udhcpc", "guests that ask for a lease with udhcpc"),
    ("dhcpcd-base", "guests that ask for a lease with dhcpcd"),
    ("bind9-dnsutils", "guests that ask for names with dig"),
    ("iputils-ping", "guests that ping"),
    ("tcpdump", "looking at packets on the wire"),
    ("iproute2", "network namespaces"),
    ("ethtool", "checksum offload"),
    ("curl", "asking the REST interface as the book does"),
    ("nftables", "partitions between members of a database"),
    ("util-linux", "entering namespaces"),
    ("g++", "libFuzzer, for the fuzz targets"),
    ("python3-venv", "clients of the databases that are Python's"),
];

/// The Python packages of the outside clients, with their versions.
const CLIENTS: &str = include_str!("../../tests/clients/requirements.txt");

/// Installs what is missing.
pub fn run() -> Result<()> {
    ensure!(
        rig::rig::find_program("apt-get").is_some(),
        "this is not a Debian: install by hand what these packages hold: {}",
        PACKAGES
            .iter()
            .map(|(name, purpose)| format!("{name} ({purpose})"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let missing: Vec<&(&str, &str)> = PACKAGES
        .iter()
        .filter(|(name, _)| !is_installed(name))
        .collect();
    if missing.is_empty() {
        println!("setup: everything is installed");
        return Ok(());
    }
    for (name, purpose) in &missing {
        println!("setup: {name} is missing: {purpose}");
    }
    let mut update = apt_get()?;
    succeed(update.args(["update", "--quiet"]))?;
    let mut install = apt_get()?;
    install.args(["install", "--yes", "--quiet", "--no-install-recommends"]);
    succeed(install.args(missing.iter().map(|(name, _)| name)))
        .context("cannot install what is missing")
}

/// Installs the outside clients into a virtual environment beside the build's other output, unless these very versions
/// are there.
pub fn clients() -> Result<()> {
    let home = target_directory()?.join("clients");
    let stamp = home.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == CLIENTS) {
        return Ok(());
    }
    println!("setup: installing ovsdbapp, whose tests our databases must pass");
    fs::create_dir_all(&home)?;
    let wanted = home.join("requirements.txt");
    fs::write(&wanted, CLIENTS)?;
    succeed(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(home.join("venv")),
    )?;
    let mut install = Command::new(home.join("venv/bin/pip"));
    install
        .args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--requirement",
        ])
        .arg(&wanted);
    succeed(&mut install).context("cannot install the outside clients")?;
    fs::write(stamp, CLIENTS).context("cannot note what is installed")
}

fn apt_get() -> Result<Command> {
    let mut command = privileged("env")?;
    // Nobody is there to answer questions.
    command
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get"])
        .stdin(std::process::Stdio::null());
    Ok(command)
}

fn is_installed(package: &str) -> bool {
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .output();
    query.is_ok_and(|output| output.stdout == b"installed")
}
