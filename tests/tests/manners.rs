//! Every daemon answers on its control socket, logs in Open vSwitch's form, and complains of nothing while all is well.

use anyhow::{Context, Result, ensure};
use tests::implementation::Plan;
use tests::lab::{Lab, MEMBERS};
use tests::process::log_file;
use tests::story::story;

/// What every daemon can be asked.
const COMMON: &[&str] = &[
    "exit",
    "version",
    "list-commands",
    "vlog/set",
    "vlog/list",
    "status",
];
/// What northd can be asked beyond that.
const NORTHD: &[&str] = &[
    "connection-status",
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
    "connection-status",
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
    story(Plan::weft(), |lab| {
        for (place, daemon) in lab.rig.control_plane().into_iter().enumerate() {
            let own: &[&str] = match place {
                0 | 1 => &[],
                2 => NORTHD,
                _ => CONTROLLER,
            };
            let listed = daemon.control(&["list-commands"])?;
            let commands: Vec<&str> = listed
                .lines()
                .filter_map(|line| line.split_whitespace().next())
                .collect();
            for command in COMMON.iter().chain(own) {
                ensure!(
                    commands.contains(command),
                    "`{command}` is missing in {commands:?}"
                );
            }
            ensure!(
                daemon
                    .control(&["version"])?
                    .to_lowercase()
                    .contains("weft"),
                "an odd version"
            );
        }
        let northd = &lab.rig.northd;
        for question in ["nb-connection-status", "sb-connection-status"] {
            ensure!(
                northd.control(&[question])?.trim() == "connected",
                "{question}"
            );
        }
        ensure!(
            northd.control(&["is-paused"])?.trim() == "false",
            "northd is paused"
        );
        ensure!(
            northd.control(&["status"])?.trim() == "Status: active",
            "{}",
            northd.control(&["status"])?
        );
        let controller = lab.rig.chassis[0]
            .controller()
            .context("the chassis has a controller")?;
        ensure!(
            controller.control(&["connection-status"])?.trim() == "connected",
            "the controller is not connected"
        );
        Ok(())
    });
}

#[test]
fn paused_northd_waits_and_resumed_it_goes_on() {
    story(Plan::under_test(), |lab| {
        lab.rig.northd.control(&["pause"])?;
        ensure!(
            lab.rig.northd.control(&["is-paused"])?.trim() == "true",
            "northd is not paused"
        );
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
    story(Plan::weft(), |lab| {
        lab.address_all()?;
        lab.ping_all()?;
        lab.rig.nb(&["lsp-del", MEMBERS[1].port])?;
        lab.sync()?;
        check_logs(lab)
    });
}

/// Every line is `TIME|NUMBER|MODULE|LEVEL|TEXT`, and none is a warning or an error.
fn check_logs(lab: &Lab) -> Result<()> {
    let central = ["nb", "sb", "northd"].map(|name| log_file(lab.rig.dir(), name));
    let controllers = lab
        .rig
        .chassis
        .iter()
        .map(|chassis| log_file(chassis.dir(), "controller"));
    for log in central.into_iter().chain(controllers) {
        let text =
            std::fs::read_to_string(&log).with_context(|| format!("no log {}", log.display()))?;
        ensure!(!text.is_empty(), "{} is empty", log.display());
        for line in text.lines() {
            let fields: Vec<&str> = line.splitn(5, '|').collect();
            let [time, number, _module, level, _text] = fields[..] else {
                anyhow::bail!("{}: not in Open vSwitch's form: {line}", log.display());
            };
            ensure!(
                time.ends_with('Z') && number.chars().all(|c| c.is_ascii_digit()),
                "{line}"
            );
            ensure!(
                ["DBG", "INFO"].contains(&level),
                "{}: {line}",
                log.display()
            );
        }
    }
    Ok(())
}
