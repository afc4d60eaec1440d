//! Every daemon answers on its control socket, logs in Open vSwitch's form, and complains of nothing while all is well.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tests::implementation::{Implementation, Plan};
use tests::lab::{Lab, MEMBERS};
use tests::process::{Daemon, log_file};
use tests::story::story;

/// What every daemon can be asked.
const COMMON: &[&str] = &[
    "exit",
    "version",
    "list-commands",
    "vlog/set",
    "vlog/list",
    "connection-status",
    "status",
];
/// What northd can be asked beyond that.
const NORTHD: &[&str] = &[
    "pause",
    "resume",
    "is-paused",
    "nb-connection-status",
    "sb-connection-status",
    "recompute",
    "inc-engine/recompute",
    "inc-engine/show-stats",
    "inc-engine/clear-stats",
];
/// What the controller can be asked beyond that.
const CONTROLLER: &[&str] = &[
    "ct-zone-list",
    "inject-pkt",
    "debug/pause",
    "debug/resume",
    "debug/status",
    "debug/dump-local-bindings",
    "debug/dump-related-ports",
    "recompute",
    "inc-engine/recompute",
    "inc-engine/show-stats",
    "inc-engine/clear-stats",
];

#[test]
fn daemons_answer_what_they_are_asked() {
    story(Plan::under_test(), |lab| {
        let plan = lab.rig.plan();
        for (place, daemon) in lab.rig.control_plane().into_iter().enumerate() {
            let (whose, own) = match place {
                0 | 1 => (plan.databases, &[][..]),
                2 => (plan.northd, NORTHD),
                _ => (plan.controller, CONTROLLER),
            };
            if whose == Implementation::Weft {
                check_commands(daemon, own)?;
            }
        }
        for (question, answer) in [
            ("nb-connection-status", "connected"),
            ("sb-connection-status", "connected"),
            ("is-paused", "false"),
            ("status", "Status: active"),
        ] {
            let given = lab.rig.northd.control(&[question])?;
            ensure!(
                given.trim() == answer,
                "northd answers {question} with {given}"
            );
        }
        Ok(())
    });
}

fn check_commands(daemon: &Daemon, own: &[&str]) -> Result<()> {
    let name = daemon.name();
    let listed = daemon.control(&["list-commands"])?;
    let first_words = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let commands: Vec<&str> = first_words.collect();
    for command in COMMON.iter().chain(own) {
        ensure!(
            commands.contains(command),
            "{name}: `{command}` is missing in {commands:?}"
        );
    }
    let connected = daemon.control(&["connection-status"])?;
    ensure!(connected.trim() == "connected", "{name}: {connected}");
    let version = daemon.control(&["version"])?;
    ensure!(
        version.contains("Weft"),
        "{name}: an odd version: {version}"
    );
    Ok(())
}

#[test]
fn paused_northd_waits_and_resumed_it_goes_on() {
    story(Plan::under_test(), |lab| {
        lab.rig.northd.control(&["pause"])?;
        let paused = lab.rig.northd.control(&["is-paused"])?;
        ensure!(paused.trim() == "true", "northd is not paused");
        lab.rig.nb(&["lsp-add", "dmz", "dmz-late"])?;
        let find = [
            "--bare",
            "--columns=_uuid",
            "find",
            "Port_Binding",
            "logical_port=dmz-late",
        ];
        ensure!(
            lab.rig.sb(&find)?.trim().is_empty(),
            "paused, northd has compiled a port"
        );
        lab.rig.northd.control(&["resume"])?;
        lab.rig.nb(&["--wait=sb", "sync"])?;
        ensure!(
            !lab.rig.sb(&find)?.trim().is_empty(),
            "resumed, northd has not compiled the port"
        );
        Ok(())
    });
}

#[test]
fn while_all_is_well_no_log_warns() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        lab.ping_all()?;
        lab.rig.nb(&["lsp-del", MEMBERS[1].port])?;
        lab.sync()?;
        weft_logs(lab).iter().try_for_each(check_log)
    });
}

/// The logs of those daemons that are Weft's.
fn weft_logs(lab: &Lab) -> Vec<PathBuf> {
    let (plan, dir) = (lab.rig.plan(), lab.rig.dir());
    let mut logs = vec![
        (plan.databases, log_file(dir, "nb")),
        (plan.databases, log_file(dir, "sb")),
        (plan.northd, log_file(dir, "northd")),
    ];
    let chassis = lab.rig.chassis.iter();
    logs.extend(chassis.map(|chassis| (plan.controller, log_file(chassis.dir(), "controller"))));
    logs.retain(|(whose, _)| *whose == Implementation::Weft);
    logs.into_iter().map(|(_, log)| log).collect()
}

/// Every line is `TIME|NUMBER|MODULE|LEVEL|TEXT`, and none is a warning or an error.
fn check_log(log: &PathBuf) -> Result<()> {
    let name = log.display();
    let text = std::fs::read_to_string(log).with_context(|| format!("no log {name}"))?;
    ensure!(!text.is_empty(), "{name} is empty");
    for line in text.lines() {
        let fields: Vec<&str> = line.splitn(5, '|').collect();
        let [time, number, _module, level, _text] = fields[..] else {
            anyhow::bail!("{name}: not in Open vSwitch's form: {line}");
        };
        ensure!(
            time.ends_with('Z') && number.chars().all(|c| c.is_ascii_digit()),
            "{name}: {line}"
        );
        ensure!(["DBG", "INFO"].contains(&level), "{name}: {line}");
    }
    Ok(())
}
