//! The databases that are measured: Weft's or OVN's, one server or a cluster of three on this machine.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use rig::implementation::{Implementation, Side, place, weft_binary};
use rig::process::{Daemon, control_socket};
use rig::run::Run;
use rig::wait::wait_for;
use serde_json::Value;
use tempfile::TempDir;

use super::fleet::Fleet;
use crate::bench::report::median;

/// How long a cluster may take to find a leader.
const ELECTION_LIMIT: Duration = Duration::from_secs(60);

/// Where the data lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Medium {
    /// In the folder for builds.
    Disk,
    /// In `/dev/shm`.
    Ram,
}

impl Medium {
    /// A new folder there.
    pub fn folder(self) -> Result<TempDir> {
        let place = match self {
            Self::Disk => crate::workspace::target_directory()?,
            Self::Ram => PathBuf::from("/dev/shm"),
        };
        std::fs::create_dir_all(&place)?;
        // Names of sockets are short.
        let folder = tempfile::Builder::new().prefix("b").tempdir_in(&place);
        folder.with_context(|| format!("cannot make a folder in {}", place.display()))
    }

    /// What a flush takes that a server cannot do without: a page appended to a file.
    pub fn flush_time(self) -> Result<Duration> {
        let folder = self.folder()?;
        let file = File::create(folder.path().join("flush"))?;
        let mut times = Vec::new();
        for page in 0..200 {
            let began = Instant::now();
            file.write_all_at(&[1; 4096], page * 4096)?;
            file.sync_data()?;
            times.push(began.elapsed());
        }
        Ok(median(times))
    }
}

/// The members of one database.
pub struct Servers {
    side: Side,
    /// In the order of their numbers.
    pub members: Vec<Daemon>,
    sockets: Vec<PathBuf>,
    folder: TempDir,
}

impl Servers {
    /// Starts one server, or a cluster of several, and waits until it serves.
    pub fn start(
        implementation: Implementation,
        side: Side,
        members: usize,
        medium: Medium,
    ) -> Result<Self> {
        let folder = medium.folder()?;
        let mut servers = Self {
            side,
            members: Vec::new(),
            sockets: Vec::new(),
            folder,
        };
        let addresses = free_addresses(members)?;
        for number in 1..=members {
            let dir = servers.folder.path();
            let socket = dir.join(format!("{number}.s"));
            let run = match implementation {
                Implementation::Ovn => ovn(dir, side, number, &addresses)?,
                Implementation::Weft => weft(dir, side, number, &addresses)?,
            };
            let run = run.arg(match implementation {
                Implementation::Ovn => format!("--remote=punix:{}", socket.display()),
                Implementation::Weft => format!("--listen=punix:{}", socket.display()),
            });
            let run = place(run, dir, &number.to_string(), None);
            let control = control_socket(dir, &number.to_string());
            // OVN's first member has to be there for the others; ours wait for each other.
            let ready =
                (implementation == Implementation::Ovn || members == 1).then(|| socket.clone());
            let daemon = Daemon::start(&number.to_string(), dir, run, control, ready)?;
            servers.members.push(daemon);
            servers.sockets.push(socket);
        }
        servers.wait_for_leader()?;
        Ok(servers)
    }

    /// The name of its database.
    pub fn schema(&self) -> &'static str {
        self.side.schema()
    }

    /// Clients of the leader.
    pub fn clients(&self, count: usize) -> Result<Fleet> {
        self.clients_of(self.wait_for_leader()?, count)
    }

    /// Clients of a member.
    pub fn clients_of(&self, member: usize, count: usize) -> Result<Fleet> {
        Fleet::connect(&self.sockets[member], count)
    }

    /// Where a member listens.
    pub fn socket(&self, member: usize) -> &Path {
        &self.sockets[member]
    }

    /// In which term a member of several is; 0 of a server that is alone.
    pub fn term(&self, member: usize) -> Result<u64> {
        if self.members.len() == 1 {
            return Ok(0);
        }
        let status = self.members[member].control(&["cluster/status", self.schema()])?;
        let term = status.lines().find_map(|line| line.strip_prefix("Term: "));
        let term = term.context("a member tells its term")?;
        Ok(term.trim().parse()?)
    }

    /// The member that leads, when one does.
    pub fn wait_for_leader(&self) -> Result<usize> {
        wait_for("a leader", ELECTION_LIMIT, || {
            let mut members = 0..self.members.len();
            Ok(members.find(|member| self.state(*member).is_ok_and(|state| state.leads)))
        })
    }

    /// Whether all members know the leader and have what it has.
    pub fn are_level(&self) -> Result<bool> {
        let states = (0..self.members.len()).map(|member| self.state(member));
        let states = states.collect::<Result<Vec<_>>>()?;
        let newest = states
            .iter()
            .filter(|state| state.leads)
            .map(|state| state.index)
            .max();
        Ok(states
            .iter()
            .all(|state| state.connected && Some(state.index) >= newest))
    }

    /// What a member says of itself.
    fn state(&self, member: usize) -> Result<State> {
        let select = r#"{"id":1,"method":"transact","params":["_Server",{"op":"select","table":"Database","where":[],"columns":["name","leader","connected","index"]}]}"#;
        let result = self
            .clients_of(member, 1)?
            .ask_value(0, select.as_bytes())?;
        let mut rows = result[0]["rows"].as_array().into_iter().flatten();
        let row = rows.find(|row| row["name"] == self.schema());
        let row = row.context("a server has its database")?;
        Ok(State {
            leads: row["leader"] == Value::Bool(true),
            connected: row["connected"] == Value::Bool(true),
            index: row["index"].as_u64().unwrap_or_default(),
        })
    }
}

/// What a member says of itself.
struct State {
    /// It is the leader, or alone.
    leads: bool,
    /// It is connected to the leader.
    connected: bool,
    /// Up to where it has the log.
    index: u64,
}

fn ovn(dir: &Path, side: Side, number: usize, addresses: &[String]) -> Result<Run> {
    let schema = format!("/usr/share/ovn/ovn-{}.ovsschema", side.short());
    let file = dir.join(format!("{number}.db"));
    let tool = Run::new("ovsdb-tool");
    let tool = match (addresses.len(), number) {
        (1, _) => tool.arg("create").arg(&file).arg(schema),
        (_, 1) => tool
            .arg("create-cluster")
            .arg(&file)
            .arg(schema)
            .arg(format!("tcp:{}", addresses[0])),
        _ => {
            let mut others = addresses.to_vec();
            others.swap(0, number - 1);
            let others = others.iter().map(|address| format!("tcp:{address}"));
            tool.arg("join-cluster")
                .arg(&file)
                .arg(side.schema())
                .args(others)
        }
    };
    tool.output()?;
    Ok(Run::new("ovsdb-server").arg(file))
}

fn weft(dir: &Path, side: Side, number: usize, addresses: &[String]) -> Result<Run> {
    let binary = weft_binary(&format!("weft-{}", side.short()))?;
    let run = Run::new(binary)
        .arg("--data-dir")
        .arg(dir.join(number.to_string()));
    if addresses.len() == 1 {
        return Ok(run);
    }
    let peers = (1..)
        .zip(addresses)
        .map(|(number, address)| format!("{number}={address}"));
    Ok(run
        .arg(format!("--id={number}"))
        .arg(format!("--peer-listen={}", addresses[number - 1]))
        .arg(format!("--peers={}", peers.collect::<Vec<_>>().join(",")))
        .arg("--plaintext"))
}

/// Addresses on the loopback where nobody listens.
fn free_addresses(count: usize) -> Result<Vec<String>> {
    let listeners = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<Vec<_>, _>>()?;
    let addresses = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.to_string()));
    match addresses.collect::<Result<Vec<_>>>() {
        Ok(addresses) => Ok(addresses),
        Err(error) => bail!("no free ports: {error}"),
    }
}
