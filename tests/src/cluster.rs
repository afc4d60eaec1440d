//! A database of several members, each in a namespace and on a disk of its own, that can be hurt.
//!
//! ```text
//!   namespace "db"                       namespaces "nb1", "nb2", "nb3"
//!  ┌───────────────────┐                ┌──────────────────────────────┐
//!  │ bridge "cluster" ─┼─ veth, eth0 ───┤ weft-nb --id N, nft, volume  │
//!  └───────────────────┘                └──────────────────────────────┘
//! ```
//!
//! Members talk to each other over the bridge, and each can be made deaf to each. Clients come through Unix sockets,
//! which no namespace hides: they go on talking to a member that no other member hears, which is when it must not lie.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::folder::{Folder, Sweep, sweep};
use crate::implementation::{Side, place, weft_binary};
use crate::namespace::Namespace;
use crate::process::{Daemon, control_socket};
use crate::rig::check_requirements;
use crate::run::Run;
use crate::volume::Volume;
use crate::wait::wait_for;

/// The first three numbers of every address of the cluster's network.
const NETWORK: &str = "192.168.78";
/// Where members listen for each other.
const PEER_PORT: u16 = 6643;
/// Where members listen for OVSDB clients on the network.
const OVSDB_PORT: u16 = 6641;
/// The name of the folder on which a member's disk is mounted.
const DATA: &str = "data";
/// How long it may take until somebody leads.
const LEADER_LIMIT: Duration = Duration::from_secs(30);
/// How long an answer on a control socket may take.
const CONTROL_LIMIT: Duration = Duration::from_secs(10);

/// A cluster and its network, gone when dropped.
#[derive(Debug)]
pub struct Cluster {
    /// The members; that with the number N is at N - 1.
    pub members: Vec<Member>,
    side: Side,
    /// The number for the next member that joins. No number is used twice.
    next_id: usize,
    _network: Namespace,
    folder: Folder,
}

/// One member, running or not.
#[derive(Debug)]
pub struct Member {
    /// Its process.
    pub daemon: Daemon,
    /// Its disk.
    pub volume: Volume,
    number: usize,
    /// Its number in the cluster; a member that takes the place of a lost one has another.
    id: usize,
    dir: PathBuf,
    schema: &'static str,
    short: &'static str,
    namespace: Namespace,
}

/// What a member says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it believes to lead.
    pub leads: bool,
    /// Whether it knows who leads.
    pub settled: bool,
    /// Its term.
    pub term: u64,
}

impl Cluster {
    /// Starts a new cluster of `count` members, each with a disk of `disk_bytes`.
    pub fn start(side: Side, count: usize, disk_bytes: u64) -> Result<Self> {
        check_requirements()?;
        sweep(Sweep::Abandoned)?;
        let folder = Folder::create()?;
        let network = Namespace::create(&folder.namespace("db"))?;
        network.ip(&["link", "add", "cluster", "type", "bridge"])?;
        network.ip(&["link", "set", "cluster", "up"])?;
        let mut cluster = Self {
            members: Vec::new(),
            side,
            next_id: count + 1,
            _network: network,
            folder,
        };
        let peers: Vec<String> = (1..=count)
            .map(|number| format!("{number}={}:{PEER_PORT}", address(number)))
            .collect();
        for number in 1..=count {
            let beginning = format!("--peers={}", peers.join(","));
            let member = cluster.new_member(number, disk_bytes, &beginning)?;
            cluster.members.push(member);
        }
        // The initial members wait for each other.
        for member in &mut cluster.members {
            member.daemon.wait_ready()?;
        }
        Ok(cluster)
    }

    /// The folder with all sockets and logs.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// The name of its database.
    pub fn schema(&self) -> &'static str {
        self.side.schema()
    }

    /// Where clients on this machine reach any member: the members' remotes, separated by commas.
    pub fn remotes(&self) -> String {
        let remotes: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("unix:{}", member.socket().display()))
            .collect();
        remotes.join(",")
    }

    /// Waits until a member leads that others follow: its place among [`Cluster::members`].
    ///
    /// A member that was cut off may believe in its leadership for a while; the newest term tells.
    pub fn leader(&self, limit: Duration) -> Result<usize> {
        wait_for("a leader", limit, || {
            let standings: Vec<Option<Standing>> =
                self.members.iter().map(Member::standing).collect();
            let newest = standings
                .iter()
                .flatten()
                .map(|standing| standing.term)
                .max();
            let leads = |standing: &Option<Standing>| {
                standing
                    .as_ref()
                    .is_some_and(|standing| standing.leads && Some(standing.term) == newest)
            };
            Ok(standings.iter().position(leads))
        })
    }

    /// Makes the second member deaf to the first.
    pub fn cut(&self, from: usize, to: usize) -> Result<()> {
        let source = address(self.members[from].number);
        let rule = [
            "add", "rule", "inet", "faults", "in", "ip", "saddr", &source, "drop",
        ];
        self.members[to].nft(&rule)
    }

    /// Lets everybody hear everybody.
    pub fn mend(&self) -> Result<()> {
        self.members
            .iter()
            .try_for_each(|member| member.nft(&["flush", "chain", "inet", "faults", "in"]))
    }

    /// Removes a member that does not run from the cluster, takes its data away, and lets a new one join in its place.
    pub fn replace(&mut self, at: usize) -> Result<()> {
        let others = || (0..self.members.len()).filter(|other| *other != at);
        let id = self.members[at].id.to_string();
        // One of the others may have been cut off until now. The leader removes nobody before it hears of a majority of
        // those that stay, and says so.
        wait_for(
            "the leader to hear of the others",
            LEADER_LIMIT,
            || match self.administer(at, &["remove", &id]) {
                Err(error) if format!("{error:#}").contains("cannot be reached") => Ok(None),
                // Whatever else comes of it is final.
                removed => Ok(Some(removed)),
            },
        )??;
        let peers: Vec<String> = others()
            .map(|other| format!("{}:{PEER_PORT}", address(self.members[other].number)))
            .collect();
        let id = self.next_id;
        self.next_id += 1;
        let beginning = format!("--join={}", peers.join(","));
        let run = self.command(self.members[at].number, id, &beginning)?;
        let member = &mut self.members[at];
        member.volume.clear()?;
        member.id = id;
        member.daemon.start_as(run)?;
        // Until it votes, the cluster can do without nobody.
        let place = format!("{}:{PEER_PORT}", address(member.number));
        self.administer(at, &["add", &id.to_string(), &place])
    }

    /// Passes the leadership on, to whoever the leader chooses.
    pub fn transfer(&self) -> Result<()> {
        self.administer(self.members.len(), &["transfer"])
    }

    /// `weft cluster ARGS`, asked of any member but one.
    fn administer(&self, but: usize, args: &[&str]) -> Result<()> {
        // The command waits for a leader, too, but not as long as a busy machine may take.
        self.leader(LEADER_LIMIT)?;
        let remotes: Vec<String> = self
            .members
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != but)
            .map(|(_, member)| format!("grpc+unix:{}", member.grpc_socket().display()))
            .collect();
        Run::new(weft_binary("weft")?)
            .args([
                "cluster",
                &format!("--db={}", remotes.join(",")),
                "--timeout=50",
            ])
            .args(args)
            .output()
            .map(drop)
    }

    /// The command of the member at place `number`, whose number in the cluster is `id`.
    fn command(&self, number: usize, id: usize, beginning: &str) -> Result<Run> {
        let short = self.side.short();
        let name = format!("{short}{number}");
        let dir = self.folder.path().join(&name);
        let run = Run::new(weft_binary(&format!("weft-{short}"))?)
            .arg("--data-dir")
            .arg(dir.join(DATA))
            .arg(format!("--listen=punix:{}", socket(&dir).display()))
            .arg(format!(
                "--listen=pgrpc+unix:{}",
                grpc_socket(&dir).display()
            ))
            .arg(format!("--listen=ptcp:{OVSDB_PORT}:{}", address(number)))
            .arg("--plaintext")
            .arg(format!("--id={id}"))
            .arg(format!("--peer-listen={}:{PEER_PORT}", address(number)))
            .arg(beginning);
        let namespace = self.folder.namespace(&name);
        Ok(place(run, &dir, &name, Some(&namespace)))
    }

    fn new_member(&self, number: usize, disk_bytes: u64, beginning: &str) -> Result<Member> {
        let short = self.side.short();
        let name = format!("{short}{number}");
        let namespace = Namespace::create(&self.folder.namespace(&name))?;
        connect(&namespace, &self.folder.namespace("db"), number)?;
        let dir = self.folder.path().join(&name);
        std::fs::create_dir(&dir)?;
        let volume = Volume::mount(&dir.join(DATA), disk_bytes)?;
        let run = self.command(number, number, beginning)?;
        let control = control_socket(&dir, &name);
        let daemon = Daemon::launch(&name, &dir, run, control, Some(socket(&dir)))?;
        let member = Member {
            daemon,
            volume,
            number,
            id: number,
            dir,
            schema: self.side.schema(),
            short,
            namespace,
        };
        member.nft(&["add", "table", "inet", "faults"])?;
        let chain = "{ type filter hook input priority 0; }";
        member.nft(&["add", "chain", "inet", "faults", "in", chain])?;
        Ok(member)
    }
}

impl Member {
    /// Its number in the cluster, from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The folder with its sockets and logs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The Unix socket of its OVSDB door.
    pub fn socket(&self) -> PathBuf {
        socket(&self.dir)
    }

    /// The Unix socket of its gRPC door.
    pub fn grpc_socket(&self) -> PathBuf {
        grpc_socket(&self.dir)
    }

    /// The file with its data.
    pub fn file(&self) -> PathBuf {
        self.volume.path().join("weft.redb")
    }

    /// The name under which `ip netns` knows its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// What it says about itself, if it says anything.
    pub fn standing(&self) -> Option<Standing> {
        let text = self.control(&["cluster/status", self.schema]).ok()?;
        let term = text.lines().find_map(|line| line.strip_prefix("Term: "))?;
        Some(Standing {
            leads: text.lines().any(|line| line == "Role: leader"),
            settled: !text.lines().any(|line| line == "Leader: unknown"),
            term: term.trim().parse().ok()?,
        })
    }

    /// A command on its control socket.
    pub fn control(&self, args: &[&str]) -> Result<String> {
        ensure!(
            self.daemon.is_awake(),
            "member {} does not run",
            self.number
        );
        let name = format!("{}{}", self.short, self.number);
        Run::new("ovs-appctl")
            .arg("-t")
            .arg(control_socket(&self.dir, &name))
            .args(args)
            .within(CONTROL_LIMIT)
            .output()
    }

    fn nft(&self, args: &[&str]) -> Result<()> {
        let run = self.namespace.run("nft").args(args);
        run.output().map(drop).context("cannot set up a partition")
    }
}

/// Puts a namespace on the bridge.
fn connect(namespace: &Namespace, network: &str, number: usize) -> Result<()> {
    let far_end = format!("to{number}");
    let here = namespace.name();
    let veth = [
        "-n", here, "link", "add", "eth0", "type", "veth", "peer", "name", &far_end, "netns",
        network,
    ];
    Run::new("ip").args(veth).output()?;
    let plug = [
        "-n", network, "link", "set", &far_end, "master", "cluster", "up",
    ];
    Run::new("ip").args(plug).output()?;
    namespace.ip(&[
        "address",
        "add",
        &format!("{}/24", address(number)),
        "dev",
        "eth0",
    ])?;
    namespace.ip(&["link", "set", "eth0", "up"]).map(drop)
}

fn address(number: usize) -> String {
    format!("{NETWORK}.{number}")
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("db.sock")
}

fn grpc_socket(dir: &Path) -> PathBuf {
    dir.join("db.grpc")
}
