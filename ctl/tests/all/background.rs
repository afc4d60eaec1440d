//! Tools as daemons and as clients of daemons: OVN's and ours, each with each.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::against_ovn::relabel;
use crate::trace::{World, exit, run};

/// What is said to a daemon, a line each, and leaves the database as it was.
const LINES: [&str; 14] = [
    "ls-add extra",
    "--may-exist ls-add extra",
    "ls-add extra",
    "--wait=sb --timeout=20 lsp-add extra extra-p -- lsp-set-addresses extra-p unknown",
    "show extra",
    "--oneline lsp-list extra -- get Logical_Switch extra name",
    "--format=csv --columns=name find Logical_Switch name=extra",
    "--dry-run ls-del extra",
    "nosuch",
    "lsp-add extra",
    "--frobnicate ls-add",
    "--no-leader-only --if-exists ls-del nobody",
    "-- --if-exists ls-del extra -- --if-exists ls-del extra",
    "get Logical_Switch extra name",
];

/// A tool that runs in the background.
struct Daemon(PathBuf);

impl Daemon {
    fn new(world: &World, program: &Path, name: &str) -> Self {
        let control = world.file(name);
        let printed = run(Command::new(program)
            .arg(format!("--db={}", world.remote()))
            .args(["--detach", "--no-chdir", "-vconsole:off", "-u"])
            .arg(&control));
        assert_eq!(printed.trim_end(), control.to_string_lossy());
        Self(control)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        exit(&self.0);
    }
}

/// What a client prints for each of the lines.
fn answers(program: &Path, control: &Path) -> Vec<String> {
    let answer = |line: &str| {
        let output = Command::new(program)
            .args(line.split(' '))
            .env("OVN_NB_DAEMON", control)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let [stdout, stderr] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        let said = format!("{line}: {:?}\n{stdout}{stderr}", output.status.code());
        relabel(&said, &BTreeMap::new())
    };
    LINES.into_iter().map(answer).collect()
}

#[test]
fn daemons_and_clients_of_ovn_and_ours_understand_each_other() {
    let world = World::new(Path::new("ovn-northd"));
    let (theirs, ours) = (PathBuf::from("ovn-nbctl"), world.ours("ovn-nbctl"));
    let their_daemon = Daemon::new(&world, &theirs, "their-nb.ctl");
    let our_daemon = Daemon::new(&world, &ours, "our-nb.ctl");
    let expected = answers(&theirs, &their_daemon.0);
    for (client, daemon) in [
        (&ours, &their_daemon),
        (&theirs, &our_daemon),
        (&ours, &our_daemon),
    ] {
        let got = answers(client, &daemon.0);
        assert_eq!(got, expected, "{client:?} with {:?}", daemon.0);
    }
}

/// Without a name for the socket, the daemon gives it one, and prints it; it sees what others change, and ends.
#[test]
fn a_daemon_names_its_socket_and_follows_the_database() {
    let world = World::new(Path::new("ovn-northd"));
    let ours = world.ours("ovn-nbctl");
    let printed = run(Command::new(&ours)
        .arg(format!("--db={}", world.remote()))
        .args(["--detach", "--pidfile=our.pid", "-vconsole:off"])
        .env("OVN_RUNDIR", world.file(""))
        .env("OVN_LOGDIR", world.file("")));
    let daemon = Daemon(PathBuf::from(printed.trim_end()));
    assert!(daemon.0.starts_with(world.file("")), "{printed}");
    assert!(world.file("our.pid").exists());
    let ask = |words: &[&str]| {
        let mut command = Command::new(&ours);
        command.args(words).env("OVN_NB_DAEMON", &daemon.0);
        command.stdin(Stdio::null()).output().unwrap()
    };
    run(Command::new("ovn-nbctl")
        .arg(format!("--db={}", world.remote()))
        .args(["ls-add", "from-elsewhere"]));
    let waited = ask(&[
        "--timeout=20",
        "wait-until",
        "Logical_Switch",
        "from-elsewhere",
    ]);
    assert!(waited.status.success(), "{waited:?}");
    let gone = ask(&[
        "--timeout=1",
        "wait-until",
        "Logical_Switch",
        "from-nowhere",
    ]);
    assert!(!gone.status.success(), "{gone:?}");
    exit(&daemon.0);
    let refused = ask(&["show"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("unset OVN_NB_DAEMON"), "{text}");
}
