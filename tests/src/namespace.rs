//! A network namespace that takes its processes with it when it goes.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::run::Run;
use crate::wait::wait_until;

/// A network namespace under `/run/netns`, deleted when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes it, with its loopback up.
    pub fn create(name: &str) -> Result<Self> {
        Run::new("ip").args(["netns", "add", name]).output().with_context(|| {
            format!("cannot make the network namespace {name}: end-to-end tests need root and the namespaces of Linux")
        })?;
        let namespace = Self {
            name: name.to_owned(),
        };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name under `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command inside it.
    pub fn run(&self, program: impl AsRef<std::ffi::OsStr>) -> Run {
        Run::new(program).inside(&self.name)
    }

    /// Does something on a thread inside it. Sockets that are made there stay there.
    pub fn inside<T: Send>(&self, what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = fs::File::open(Path::new("/run/netns").join(&self.name))?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(file.as_fd(), network)
                    .context("cannot enter a network namespace")?;
                what()
            });
            inside.join().expect("what is done inside does not panic")
        })
    }

    /// `ip ARGS` inside it.
    pub fn ip(&self, args: &[&str]) -> Result<String> {
        Run::new("ip").args(["-n", &self.name]).args(args).output()
    }

    /// Leaves checksums to nobody: a veth pair or an internal port hands on packets whose checksum the sender left
    /// to hardware that is not there, and TCP dies of it while pings pass.
    pub fn disable_checksum_offload(&self, device: &str) -> Result<()> {
        self.run("ethtool")
            .args(["-K", device, "tx", "off"])
            .output()
            .map(drop)
    }

    /// Lets it be: it will outlive this value.
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.name) {
            eprintln!(
                "cannot clean up the network namespace {}: {error:#}",
                self.name
            );
        }
    }
}

/// Ends every process inside the namespace `name` and deletes it.
pub fn remove(name: &str) -> Result<()> {
    for pid in processes_inside(name)? {
        // It may have ended by itself in the meantime.
        let _gone = kill_process(pid, Signal::KILL);
    }
    wait_until(
        &format!("the processes in {name} to end"),
        Duration::from_secs(10),
        || Ok(processes_inside(name)?.into_iter().all(is_zombie)),
    )?;
    match Run::new("ip").args(["netns", "del", name]).output() {
        // Another process may be sweeping too.
        Err(error) if Path::new("/run/netns").join(name).exists() => Err(error),
        _ => Ok(()),
    }
}

/// The names of all namespaces that begin with `prefix`.
pub fn with_prefix(prefix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/run/netns") else {
        return Vec::new();
    };
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(prefix)).collect()
}

fn processes_inside(name: &str) -> Result<Vec<Pid>> {
    let listing = Run::new("ip").args(["netns", "pids", name]).output()?;
    Ok(listing
        .split_whitespace()
        .filter_map(|word| Pid::from_raw(word.parse().ok()?))
        .collect())
}

/// Whether it has ended and only waits for its parent to ask how.
fn is_zombie(pid: Pid) -> bool {
    let path = Path::new("/proc")
        .join(pid.as_raw_nonzero().to_string())
        .join("stat");
    match fs::read_to_string(path) {
        // The state follows the command in parentheses, which may itself hold any character.
        Ok(stat) => stat
            .rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('Z')),
        Err(_) => true,
    }
}
