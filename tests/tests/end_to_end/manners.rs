//! Every daemon answers on its control socket, logs in Open vSwitch's form, and complains of nothing while all is well.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tests::folder::Folder;
use tests::implementation::{Implementation, Plan, weft_binary};
use tests::lab::{Lab, MEMBERS};
use tests::process::{Daemon, control_socket, log_file};
use tests::run::Run;
use tests::story::story;

/// What every daemon can be asked.
const COMMON: &[&str] = &[
    "exit",
    "version",
    "list-commands",
    "vlog/set",
    "vlog/list",
    "vlog/list-pattern",
    "vlog/enable-rate-limit",
    "vlog/disable-rate-limit",
    "coverage/show",
    "coverage/read-counter",
    "memory/show",
    "stopwatch/list",
    "stopwatch/show",
    "stopwatch/reset",
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
    "nb-cluster-state-reset",
    "sb-cluster-state-reset",
    "parallel-build/set-n-threads",
    "parallel-build/get-n-threads",
    "inc-engine/compute-log-timeout",
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
    "debug/delay-nb-cfg-report",
    "debug/dump-lflow-conj-ids",
    "debug/dump-local-datapaths",
    "debug/dump-local-template-vars",
    "debug/dump-mac-bindings",
    "debug/dump-peer-ports",
    "evpn/remote-vtep-list",
    "group-table-list",
    "meter-table-list",
    "lflow-cache/flush",
    "lflow-cache/show-stats",
    "flush-lflow-cache",
    "sb-cluster-state-reset",
    "inc-engine/compute-log-timeout",
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
        if plan.northd == Implementation::Weft {
            check_answers(&lab.rig.northd, OF_NORTHD)?;
        }
        if plan.controller == Implementation::Weft {
            for daemon in lab.rig.control_plane().into_iter().skip(3) {
                check_answers(daemon, OF_CONTROLLER)?;
            }
        }
        Ok(())
    });
}

/// Questions, and how what northd answers begins.
const OF_NORTHD: &[(&[&str], &str)] = &[
    (&["parallel-build/get-n-threads"], "1"),
    (&["inc-engine/clear-stats"], ""),
    (&["inc-engine/show-stats", "northd", "recompute"], "0\n"),
    (&["inc-engine/recompute"], ""),
    (&["inc-engine/show-stats", "northd", "recompute"], "1\n"),
    (&["parallel-build/set-n-threads", "4"], ""),
    (&["parallel-build/get-n-threads"], "4\n"),
    (&["debug/enable-timewarp"], ""),
    (&["time/warp", "60000", "1000"], "warped\n"),
    (&["inc-engine/compute-log-timeout", "100"], ""),
    (
        &["stopwatch/show", "ovn-northd-loop"],
        "Statistics for 'ovn-northd-loop'\n  Total samples: ",
    ),
    (&["memory/show"], "peak-resident-KB:"),
    (&["vlog/enable-rate-limit", "northd"], ""),
    (&["vlog/disable-rate-limit", "any"], ""),
    (
        &["debug/chassis-features-list"],
        "ct_no_masked_label:    true\n",
    ),
    (&["inc-engine/list-stopwatches"], "ovn-northd-loop\n"),
];
/// The same for the controller.
const OF_CONTROLLER: &[(&[&str], &str)] = &[
    (&["coverage/read-counter", "lflow_run"], "1\n"),
    (
        &["coverage/show"],
        "Event coverage, avg rate over last: 5 seconds",
    ),
    (
        &["inc-engine/show-stats", "logical_flow_output", "recompute"],
        "0",
    ),
    (
        &["debug/dump-local-datapaths"],
        "Local datapaths:\nDatapath: ",
    ),
    (
        &["debug/dump-lflow-conj-ids"],
        "Conjunction IDs allocations:\n---\nTotal ",
    ),
    (&["lflow-cache/show-stats"], "Enabled: true\n"),
    (&["coverage/read-counter", "txn_unchanged"], "0\n"),
    (
        &["debug/dump-local-bindings"],
        "Local bindings:\nname: [dmz-",
    ),
    (&["group-table-list"], ""),
    (&["debug/delay-nb-cfg-report", "0"], ""),
    (&["stopwatch/show"], "Statistics for 'flow-generation'"),
];

fn check_answers(daemon: &Daemon, expected: &[(&[&str], &str)]) -> Result<()> {
    for (question, begins) in expected {
        let answer = daemon.control(question)?;
        let name = daemon.name();
        ensure!(
            answer.starts_with(begins),
            "{name} answers {question:?} with {answer:?}"
        );
    }
    Ok(())
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
    ensure!(connected == "connected\n", "{name}: {connected:?}");
    let version = daemon.control(&["version"])?;
    ensure!(
        version.contains("Weft"),
        "{name}: an odd version: {version}"
    );
    Ok(())
}

/// The options that OVN 26.03's daemons have in common, each with a value that makes sense; `DIR` is the folder.
const OPTIONS: &[&str] = &[
    "--pidfile=DIR/NAME.pid",
    "--overwrite-pidfile",
    "--no-chdir",
    "--monitor",
    "--no-self-confinement",
    "--user=root",
    "-v",
    "-vjsonrpc",
    "-vconsole:off",
    "-vsyslog:err",
    "-vfile:info",
    "-vofproto_dpif:file:dbg",
    "-vPATTERN:console:%c|%m",
    "-vFACILITY:daemon",
    "--verbose=reconnect:info",
    "--log-file",
    "--syslog-method=null",
    "--syslog-target=127.0.0.1:514",
    "--ssl-protocols=TLSv1.2",
    "--ssl-ciphers=HIGH",
    "--ssl-ciphersuites=TLS_AES_128_GCM_SHA256",
    "--ssl-server-name=db",
    "--peer-ca-cert=DIR/peer.pem",
];
/// What some of them have beyond that.
const OPTIONS_OF_NORTHD: &[&str] = &[
    "--ovnnb-db=unix:DIR/nb.sock",
    "--ovnsb-db=unix:DIR/sb.sock",
    "--dry-run",
    "--n-threads=4",
    "-u",
    "DIR/NAME.ctl",
];
const OPTIONS_OF_CONTROLLER: &[&str] = &[
    "unix:DIR/db.sock",
    "-n",
    "chassis-1",
    "--enable-dummy-vif-plug",
    "--unixctl=DIR/NAME.ctl",
];
const OPTIONS_OF_SERVERS: &[&str] = &[
    "--data-dir=DIR/NAME",
    "--disable-file-column-diff",
    "--bootstrap-ca-cert=DIR/ca.pem",
    "--unixctl=DIR/NAME.ctl",
];

#[test]
fn options_of_ovn_are_taken_and_exit_is_answered() {
    for (program, own) in [
        ("weft-northd", OPTIONS_OF_NORTHD),
        ("weft-controller", OPTIONS_OF_CONTROLLER),
        ("weft-nb", OPTIONS_OF_SERVERS),
        ("weft-sb", OPTIONS_OF_SERVERS),
    ] {
        if let Err(error) = check_options(program, own) {
            panic!("{program}: {error:#}");
        }
    }
}

fn check_options(program: &str, own: &[&str]) -> Result<()> {
    let folder = Folder::create()?;
    let dir = folder.path();
    let logs = dir.join("logs");
    let at = dir.display().to_string();
    let options = OPTIONS.iter().chain(own);
    let options = options.map(|option| option.replace("DIR", &at).replace("NAME", program));
    let run = Run::new(weft_binary(program)?)
        .args(options)
        .env("OVN_RUNDIR", dir)
        // Without OVN_LOGDIR, this is where OVN's own daemons log.
        .env("OVS_LOGDIR", &logs);
    let control = control_socket(dir, program);
    let mut daemon = Daemon::start(program, dir, run, control, None)?;
    let log = std::fs::read_to_string(logs.join(format!("{program}.log")))?;
    let told: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("without effect"))
        .collect();
    ensure!(told.len() == 1, "told {} times: {log}", told.len());
    for option in ["--monitor", "--ssl-ciphers", "--syslog-target", "PATTERN"] {
        ensure!(
            told[0].contains(option),
            "{option} is not told of: {}",
            told[0]
        );
    }
    let answer = daemon.control(&["exit"])?;
    ensure!(answer.is_empty(), "exit is answered with {answer:?}");
    daemon.wait_end()
}

#[test]
fn an_unknown_log_module_is_told_as_by_vlog() {
    for program in ["weft-northd", "weft-controller", "weft-nb", "weft-sb"] {
        let run = weft_binary(program).map(|path| Run::new(path).arg("-vnonsense"));
        let complaint = run.and_then(|run| run.complaint()).unwrap_or_else(|error| {
            panic!("{program}: {error:#}");
        });
        let expected = format!(
            "{program}: processing \"nonsense\": no destination, level, or module \"nonsense\""
        );
        assert_eq!(complaint.trim(), expected);
    }
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
