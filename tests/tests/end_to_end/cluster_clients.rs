//! Outside clients on three members, through the loss of the leader: Python's IDL, `ovsdb-client`, `ovn-nbctl`, `weft nb`,
//! and the northds, ours and OVN's.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tests::cluster::Cluster;
use tests::implementation::{Implementation, Side, start_northd, weft_binary};
use tests::process::tail;
use tests::run::Run;
use tests::wait::wait_until;

const MEMBERS: usize = 3;
const DISK_BYTES: u64 = 160 << 20;
/// Within this time, anything that is waited for happens.
const LIMIT: Duration = Duration::from_secs(60);
/// How much a client has to do before and after the leader is lost.
const SOME: usize = 20;
/// So many more tools look for the next leader at the same time, each in an order of its own.
const OTHERS: usize = 4;

#[test]
fn cluster_clients_of_any_member_outlive_the_leader() {
    let mut cluster =
        Cluster::start(Side::Northbound, MEMBERS, DISK_BYTES).expect("a cluster starts");
    let told = outlive_the_leader(&mut cluster);
    show(told, &[&cluster]);
}

fn outlive_the_leader(cluster: &mut Cluster) -> Result<()> {
    cluster.leader(LIMIT)?;
    ovn_nbctl(&cluster.remotes()).arg("init").output()?;
    every_tool_works_on_every_member(cluster)?;
    let monitors = (0..MEMBERS)
        .map(|at| Background::monitor(cluster, at))
        .collect::<Result<Vec<_>>>()?;
    for monitor in &monitors {
        monitor.wait_for("of-member-1")?;
    }
    let mut writers = [
        Background::writer(cluster, "leader-only")?,
        Background::writer(cluster, "any")?,
    ];
    for writer in &writers {
        writer.wait_for(&format!("wrote {SOME}"))?;
    }
    let leader = cluster.leader(LIMIT)?;
    cluster.members[leader].daemon.kill()?;
    tools_find_the_next_leader(cluster)?;
    let marks: Vec<usize> = writers.iter().map(Background::written).collect();
    for (writer, mark) in writers.iter().zip(marks) {
        writer.wait_for(&format!("wrote {}", mark + SOME))?;
    }
    for (at, monitor) in monitors.iter().enumerate() {
        if at != leader {
            monitor.wait_for("after-election")?;
        }
    }
    cluster.members[leader].daemon.start_again()?;
    for writer in &mut writers {
        writer.tell_to_end()?;
        // Whether it goes on where it was, or gets the contents anew because the member that it found has not come as far
        // yet: it misses nothing.
        writer.wait_for("saw")?;
    }
    every_member_has_all(cluster, &writers)
}

/// Each tool, at each member by itself.
fn every_tool_works_on_every_member(cluster: &Cluster) -> Result<()> {
    for member in &cluster.members {
        let remote = format!("unix:{}", member.socket().display());
        let number = member.number();
        let nbctl = || {
            Run::new("ovn-nbctl")
                .arg(format!("--db={remote}"))
                .args(["--no-leader-only", "--timeout=40"])
        };
        nbctl()
            .args(["ls-add", &format!("switch-{number}")])
            .output()?;
        ensure!(
            nbctl()
                .arg("ls-list")
                .output()?
                .contains(&format!("switch-{number}")),
            "ovn-nbctl sees its own write"
        );
        weft_nb(&remote)?
            .args(["--no-leader-only", "lr-add", &format!("router-{number}")])
            .output()?;
        let insert = format!(
            r#"["OVN_Northbound", {{"op": "insert", "table": "Address_Set", "row": {{"name": "of-member-{number}"}}}}]"#
        );
        Run::new("ovsdb-client")
            .args(["--no-leader-only", "transact", &remote, &insert])
            .output()?;
    }
    Ok(())
}

/// Tools that are started before anybody leads again. OVN's ask each member once, in an order of their own, and fail if
/// none leads.
fn tools_find_the_next_leader(cluster: &Cluster) -> Result<()> {
    let remotes = cluster.remotes();
    let insert = r#"["OVN_Northbound", {"op": "insert", "table": "Address_Set", "row": {"name": "client-after-election"}}]"#;
    let mut tools = vec![
        weft_nb(&remotes)?.args(["create", "Address_Set", "name=weft-after-election"]),
        ovn_nbctl(&remotes).args(["create", "Address_Set", "name=after-election"]),
        Run::new("ovsdb-client").args(["--timeout=40", "transact", &remotes, insert]),
    ];
    for number in 1..=OTHERS {
        let name = format!("name=after-election-{number}");
        tools.push(ovn_nbctl(&remotes).args(["create", "Address_Set", &name]));
    }
    std::thread::scope(|scope| {
        let running: Vec<_> = tools
            .iter()
            .map(|tool| scope.spawn(|| tool.output()))
            .collect();
        running.into_iter().try_for_each(|tool| {
            let told = tool.join().map_err(|_| anyhow!("a thread has panicked"))?;
            told.map(drop)
        })
    })
}

fn every_member_has_all(cluster: &Cluster, writers: &[Background]) -> Result<()> {
    for member in &cluster.members {
        let list = Run::new("ovn-nbctl")
            .arg(format!("--db=unix:{}", member.socket().display()))
            .args([
                "--no-leader-only",
                "--timeout=40",
                "--bare",
                "--columns=name",
                "list",
                "Address_Set",
            ])
            .output()?;
        let names: Vec<&str> = list.split_whitespace().collect();
        for whose in ["", "weft-", "client-"] {
            let name = format!("{whose}after-election");
            ensure!(
                names.contains(&name.as_str()),
                "member {} lacks {name}",
                member.number()
            );
        }
        let of_writers = names.iter().filter(|name| name.starts_with("idl-")).count();
        let written: usize = writers.iter().map(Background::written).sum();
        ensure!(
            of_writers == written,
            "member {} has {of_writers} of {written} rows",
            member.number()
        );
    }
    Ok(())
}

#[test]
fn cluster_clients_like_northd_go_on_with_the_next_leaders() {
    let start = |side| Cluster::start(side, MEMBERS, DISK_BYTES).expect("a cluster starts");
    let (mut northbound, mut southbound) = (start(Side::Northbound), start(Side::Southbound));
    let told = [Implementation::Ovn, Implementation::Weft]
        .into_iter()
        .try_for_each(|northd| {
            go_on(&mut northbound, &mut southbound, northd).with_context(|| format!("{northd:?}"))
        });
    show(told, &[&northbound, &southbound]);
}

fn go_on(
    northbound: &mut Cluster,
    southbound: &mut Cluster,
    implementation: Implementation,
) -> Result<()> {
    let leaders = (northbound.leader(LIMIT)?, southbound.leader(LIMIT)?);
    let dir = northbound.dir().join(format!("{implementation:?}"));
    fs::create_dir(&dir)?;
    let (nb, sb) = (northbound.remotes(), southbound.remotes());
    let mut northd = start_northd(implementation, &dir, None, &nb, &sb)?;
    let number = match implementation {
        Implementation::Ovn => 1,
        Implementation::Weft => 2,
    };
    add_port(&nb, &sb, &format!("0a:00:00:00:0{number}:01"))?;
    northbound.members[leaders.0].daemon.kill()?;
    southbound.members[leaders.1].daemon.kill()?;
    northbound.leader(LIMIT)?;
    southbound.leader(LIMIT)?;
    add_port(&nb, &sb, &format!("0a:00:00:00:0{number}:02"))?;
    northbound.members[leaders.0].daemon.start_again()?;
    southbound.members[leaders.1].daemon.start_again()?;
    northd.check_alive()
}

/// Adds a port with this address, and waits until it has flows.
fn add_port(northbound: &str, southbound: &str, address: &str) -> Result<()> {
    let port = format!("port-{address}");
    ovn_nbctl(northbound)
        .args([
            "--wait=sb",
            "--may-exist",
            "ls-add",
            "ls",
            "--",
            "lsp-add",
            "ls",
            &port,
        ])
        .args(["--", "lsp-set-addresses", &port, address])
        .output()?;
    wait_until(&format!("flows of {port}"), LIMIT, || {
        let list = Run::new("ovn-sbctl").arg(format!("--db={southbound}"));
        let flows = list.args(["--timeout=40", "lflow-list", "ls"]).output()?;
        Ok(flows.contains(address))
    })
}

/// OVN's tool, for all members, as an operator would give it: it looks for the leader.
fn ovn_nbctl(remotes: &str) -> Run {
    Run::new("ovn-nbctl")
        .arg(format!("--db={remotes}"))
        .arg("--timeout=40")
}

fn weft_nb(remotes: &str) -> Result<Run> {
    Ok(Run::new(weft_binary("weft")?)
        .arg("nb")
        .arg(format!("--db={remotes}"))
        .arg("--timeout=40"))
}

fn show(told: Result<()>, clusters: &[&Cluster]) {
    let Err(error) = told else {
        return;
    };
    for member in clusters.iter().flat_map(|cluster| &cluster.members) {
        let path = member.dir().join(format!("{}.log", member.daemon.name()));
        eprintln!("---- {}\n{}", path.display(), tail(&path, 25));
    }
    panic!("{error:#}");
}

/// A client that runs beside the story, ended when dropped.
#[derive(Debug)]
struct Background {
    child: Child,
    output: PathBuf,
}

impl Background {
    /// `ovsdb-client monitor` at one member.
    fn monitor(cluster: &Cluster, at: usize) -> Result<Self> {
        let remote = format!("unix:{}", cluster.members[at].socket().display());
        let run = Run::new("ovsdb-client").args([
            "--no-leader-only",
            "--format=json",
            "monitor",
            &remote,
            "OVN_Northbound",
            "Address_Set",
            "name",
        ]);
        Self::start(&run, &cluster.dir().join(format!("monitor{at}.txt")))
    }

    /// Python's IDL, which writes rows.
    fn writer(cluster: &Cluster, whom: &str) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/idl_writer.py");
        let run = Run::new(tests::implementation::python()?)
            .arg(script)
            .arg(cluster.remotes())
            .args(["/usr/share/ovn/ovn-nb.ovsschema", whom]);
        Self::start(&run, &cluster.dir().join(format!("writer-{whom}.txt")))
    }

    fn start(run: &Run, output: &Path) -> Result<Self> {
        let file = File::create(output)?;
        let child = run
            .command()
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        Ok(Self {
            child,
            output: output.to_owned(),
        })
    }

    /// Waits until it has printed this.
    fn wait_for(&self, text: &str) -> Result<()> {
        let waited = wait_until(
            &format!("{text:?} in {}", self.output.display()),
            LIMIT,
            || Ok(fs::read_to_string(&self.output)?.contains(text)),
        );
        waited.with_context(|| format!("its end: {}", tail(&self.output, 5)))
    }

    /// How much it has written.
    fn written(&self) -> usize {
        let text = fs::read_to_string(&self.output).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.strip_prefix("wrote "));
        lines
            .filter_map(|number| number.parse().ok())
            .max()
            .unwrap_or(0)
    }

    fn tell_to_end(&mut self) -> Result<()> {
        let input = self.child.stdin.as_mut().context("it has an input")?;
        Ok(input.write_all(b"\n")?)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
