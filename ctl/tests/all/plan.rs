//! `weft plan` says what then happens, and does nothing itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::against_ovn::{relabel, words};
use crate::trace::{World, exit, run};

/// A change, and lines of what is said of it beforehand.
const CHANGES: &[(&str, &[&str])] = &[
    (
        "acl-add dmz to-lport 3000 'outport == \"dmz-vm2\" && icmp4' drop",
        &[
            "northbound: 1 row added, 1 changed, 0 removed",
            "  + ACL to-lport 3000 outport == \"dmz-vm2\" && icmp4 drop",
            "  ~ Logical_Switch dmz: acls",
            "southbound: 0 rows added, 0 changed, 0 removed",
            "chassis: 1 of 1 follow what changes",
            "  a ping from dmz-vm1 to dmz-vm2",
            "problems: 0 would appear, 0 would go",
        ],
    ),
    (
        "lsp-add dmz late -- lsp-set-addresses late \"02:ac:10:ff:01:77 172.16.255.140\"",
        &["  + Logical_Switch_Port late", "  + Port_Binding late"],
    ),
    (
        "set Logical_Switch_Port dmz-vm1 addresses=nonsense",
        &["problems: 1 would appear, 0 would go"],
    ),
    ("-- --if-exists ls-del nosuch", &["nothing would change"]),
];

fn command(world: &World, words: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command
        .args(["plan", "--all", "--db", &world.remote()])
        .args(["--sb", &world.remote()])
        .args(words);
    command
}

fn plan(world: &World, words: &[String]) -> Output {
    command(world, words).output().unwrap()
}

fn northd() -> PathBuf {
    let northd = Path::new(env!("CARGO_BIN_EXE_weft")).with_file_name("weft-northd");
    let missing = "is missing: run `cargo build --package northd`";
    assert!(northd.exists(), "{} {missing}", northd.display());
    northd
}

fn ovn(world: &World, tool: &str, words: &[&str]) -> String {
    let remote = format!("--db={}", world.remote());
    run(Command::new(tool).arg(remote).args(words))
}

/// The UUIDs of all rows of some tables.
fn rows(world: &World) -> BTreeSet<String> {
    let tables = ["Logical_Flow", "Port_Binding", "Datapath_Binding"];
    let mut found = BTreeSet::new();
    for table in tables {
        let text = ovn(
            world,
            "ovn-sbctl",
            &["--bare", "--columns=_uuid", "list", table],
        );
        found.extend(text.lines().map(|line| format!("{table} {line}")));
    }
    let text = ovn(
        world,
        "ovn-nbctl",
        &["--bare", "--columns=_uuid", "list", "ACL"],
    );
    found.extend(text.lines().map(|line| format!("ACL {line}")));
    found
}

/// The logical flows added and removed: as they are announced.
fn announced(text: &str) -> Option<(usize, usize)> {
    let line = text
        .lines()
        .find(|line| line.starts_with("logical flows: "))?;
    let mut numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

#[test]
fn what_is_planned_happens() {
    let world = World::new(&northd());
    for (change, lines) in CHANGES {
        let words = words(change);
        let before = rows(&world);
        let planned = plan(&world, &words);
        let text = String::from_utf8_lossy(&planned.stdout);
        assert!(planned.status.success(), "{change}: {planned:?}");
        assert_eq!(rows(&world), before, "{change}: it is done already");
        for line in *lines {
            assert!(
                text.lines().any(|said| said == *line),
                "{change}: no {line:?} in\n{text}"
            );
        }
        let mut arguments = vec!["--wait=sb", "--timeout=60"];
        arguments.extend(words.iter().map(String::as_str));
        ovn(&world, "ovn-nbctl", &arguments);
        let after = rows(&world);
        let flows = |rows: &BTreeSet<String>, others: &BTreeSet<String>| {
            let gone = rows.difference(others);
            gone.filter(|row| row.starts_with("Logical_Flow")).count()
        };
        if let Some(announced) = announced(&text) {
            let happened = (flows(&after, &before), flows(&before, &after));
            assert_eq!(announced, happened, "{change}:\n{text}");
        }
    }
    let refused = plan(&world, &["ls-del".to_owned(), "nosuch".to_owned()]);
    assert!(!refused.status.success());
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains("nosuch"), "{text}");
}

/// A change, its plan by the daemon, and whether it is then made.
const PLANNED: &[(&str, bool)] = &[
    (
        "acl-add dmz to-lport 3000 'outport == \"dmz-vm2\" && icmp4' drop",
        false,
    ),
    (
        "acl-add dmz to-lport 3000 'outport == \"dmz-vm2\" && icmp4' drop",
        false,
    ),
    (
        "acl-add dmz to-lport 3000 'outport == \"dmz-vm2\" && icmp4' drop",
        true,
    ),
    (
        "lsp-add dmz late -- lsp-set-addresses late \"02:ac:10:ff:01:78 172.16.255.141\"",
        true,
    ),
    (
        "lsp-add dmz later -- lsp-set-addresses later \"02:ac:10:ff:01:79 172.16.255.142\"",
        false,
    ),
    ("set Logical_Switch_Port dmz-vm1 addresses=nonsense", false),
    ("lsp-del dmz-vm2", false),
    ("ls-del inside", false),
    (
        "ls-add more -- lsp-add more more-1 -- lsp-set-addresses more-1 unknown",
        true,
    ),
    (
        "acl-del dmz to-lport 3000 'outport == \"dmz-vm2\" && icmp4'",
        true,
    ),
    ("lr-del tenant1", false),
    ("lsp-del late", true),
    (
        "lsp-add dmz late -- lsp-set-addresses late \"02:ac:10:ff:01:78 172.16.255.141\"",
        false,
    ),
];

/// A daemon that has planned much, and has followed what was made of it, says what a program says that begins with nothing.
#[test]
fn a_daemon_plans_as_a_program_does() {
    let world = World::new(&northd());
    let control = world.file("plan.ctl");
    let printed = command(&world, &[])
        .args(["--detach", "--no-chdir", "-u"])
        .arg(&control)
        .output()
        .unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let socket = String::from_utf8_lossy(&printed.stdout)
        .trim_end()
        .to_owned();
    assert_eq!(socket, control.to_string_lossy());
    let said = |output: Output| {
        let [out, err] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        let text = format!("{:?}\n{out}{err}", output.status.code());
        // New rows stand in the order of their UUIDs, which are made up anew each time.
        let text = relabel(&text, &BTreeMap::new());
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    let check = |words: &[String]| {
        let by_daemon = command(&world, words)
            .env("WEFT_PLAN_DAEMON", &socket)
            .output();
        assert_eq!(
            said(by_daemon.unwrap()),
            said(plan(&world, words)),
            "{words:?}"
        );
    };
    for (change, is_made) in PLANNED {
        let words = words(change);
        check(&words);
        if *is_made {
            let mut arguments = vec!["--wait=sb", "--timeout=60"];
            arguments.extend(words.iter().map(String::as_str));
            ovn(&world, "ovn-nbctl", &arguments);
        }
    }
    // What the database would refuse is told, and the next is planned all the same.
    check(&words("-- create Logical_Switch_Port name=stray"));
    check(&words("clear Logical_Router tenant1 ports"));
    exit(&control);
    // It answers before it has ended.
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while std::os::unix::net::UnixStream::connect(&control).is_ok() {
        assert!(std::time::Instant::now() < limit, "the daemon does not end");
        std::thread::yield_now();
    }
    let gone = command(&world, &words("ls-add x"))
        .env("WEFT_PLAN_DAEMON", &socket)
        .output();
    let text = said(gone.unwrap());
    assert!(text.contains("unset WEFT_PLAN_DAEMON"), "{text}");
}
