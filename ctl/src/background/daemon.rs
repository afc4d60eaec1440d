//! A tool as a daemon: it reads the database once, follows it, and runs the lines that come over its control socket
//! (ovn-nbctl(8), "DAEMON MODE").
//!
//! ```text
//!   control socket ══▶ loop ── Request ──▶ worker: the database, one line after the other
//! ```
//!
//! Lines are run one at a time, in the order in which they come, as OVN's daemon does; one that waits keeps the others
//! waiting, but not the loop, which says its version and ends when it is told to.

use std::path::PathBuf;
use std::process::{Command as Program, ExitCode};
use std::sync::Arc;

use daemon::unixctl::{Command, Request, Surface};
use daemon::{CommonArgs, Process, place};
use replica::TableSpec;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

use crate::arguments::{Line, parse_commands, parse_options};
use crate::error::{CommandError, Outcome, fail};
use crate::help;
use crate::options::{Instead, RunOptions};
use crate::output::render;
use crate::report::Reporter;
use crate::run::commit::{LineError, run_line};
use crate::run::connection::Connection;
use crate::run::database::DatabaseError;
use crate::time::now_ms;
use crate::tool::Tool;
use crate::transfer;

/// What the control socket answers to.
const COMMANDS: &[Command] = &[
    Command::plain("exit"),
    Command {
        name: "run",
        usage: "[OPTIONS] COMMAND [ARG]... [-- [OPTIONS] COMMAND [ARG]...]...",
        min_args: 0,
        max_args: usize::MAX,
    },
];

/// Lines that wait to be run; one more is refused.
const QUEUE: usize = 32;

/// Runs a tool as a daemon, in the background: prints the name of its control socket once it serves.
pub fn serve(
    tool: &'static Tool,
    reporter: &Reporter,
    line: &Line,
    options: &RunOptions,
) -> Outcome<ExitCode> {
    if !line.words.is_empty() || !line.local.is_empty() {
        return fail("non-option arguments not supported with --detach (use --help for help)");
    }
    let common = common(line);
    let Some(socket) = common.unixctl.clone() else {
        return start_with_socket(reporter);
    };
    let wrong = |error: &dyn std::fmt::Display| CommandError::Failed(error.to_string());
    let started = Process::start(&common, "weft", &["db_ctl_base", "unixctl", "main"]);
    let process = match started.map_err(|error| wrong(&error))? {
        Ok(process) => process,
        Err(code) => {
            if code == ExitCode::SUCCESS {
                println!("{}", place::run_dir().join(socket).display());
            }
            return Ok(code);
        }
    };
    let (lines, waiting) = mpsc::channel(QUEUE);
    let (connected, is_connected) = oneshot::channel();
    let name = reporter.name.clone();
    let options = options.clone();
    let worker = std::thread::Builder::new()
        .name("lines".to_owned())
        .spawn(move || work(tool, &name, &options, connected, waiting));
    worker.map_err(|error| wrong(&error))?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| wrong(&error))?;
    runtime.block_on(async {
        let control = process.listen(env!("CARGO_PKG_VERSION"), Surface::of(COMMANDS));
        let mut control = control.map_err(|error| wrong(&error))?;
        match is_connected.await {
            Ok(Ok(())) => process.ready().map_err(|error| wrong(&error))?,
            Ok(Err(text)) => return fail(text),
            Err(_) => return fail("the database was given up"),
        }
        loop {
            let request = control.next().await;
            if request.command == "exit" {
                request.succeed("");
                control.finish().await;
                return Ok(ExitCode::SUCCESS);
            }
            match lines.try_send(request) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(request)) => {
                    request.fail(format!("{QUEUE} lines wait already; try again later\n"));
                }
                Err(mpsc::error::TrySendError::Closed(request)) => {
                    request.fail("the database was given up; this daemon ends\n");
                    control.finish().await;
                    return fail("the database was given up");
                }
            }
        }
    })
}

/// The daemon's own options among those of the line.
fn common(line: &Line) -> CommonArgs {
    let mut common = CommonArgs::default();
    for (name, value) in &line.options {
        let path = || value.as_ref().map(PathBuf::from);
        match *name {
            "--detach" => common.detach = true,
            "--pidfile" => common.pidfile = Some(path()),
            "--overwrite-pidfile" => common.overwrite_pidfile = true,
            "--no-chdir" => common.no_chdir = true,
            "--user" => common.user.clone_from(value),
            "--unixctl" => common.unixctl = path(),
            "--log-file" => common.log_file = Some(path()),
            "--verbose" => {
                let spec = value.clone().unwrap_or_else(|| "dbg".to_owned());
                common.verbose.push(spec);
            }
            _ => {}
        }
    }
    common
}

/// Starts this program again with a control socket of its own name: whoever asked is to be told that name.
fn start_with_socket(reporter: &Reporter) -> Outcome<ExitCode> {
    let program = reporter.name.replace(' ', "-");
    let socket = place::run_dir().join(format!("{program}.{}.ctl", std::process::id()));
    let mut again = Program::new("/proc/self/exe");
    let mut words = std::env::args_os();
    if let Some(name) = words.next() {
        std::os::unix::process::CommandExt::arg0(&mut again, name);
    }
    let mut unixctl = std::ffi::OsString::from("--unixctl=");
    unixctl.push(&socket);
    let status = again.args(words).arg(unixctl).status();
    let status = status.map_err(|error| {
        CommandError::Failed(format!("the program cannot be started again: {error}"))
    })?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Runs the lines that come, one after the other, until nobody sends any more.
fn work(
    tool: &'static Tool,
    name: &str,
    options: &RunOptions,
    connected: oneshot::Sender<Result<(), String>>,
    mut waiting: mpsc::Receiver<Request>,
) {
    let schema = Arc::clone((tool.schema)());
    let tables = (0..schema.tables.len()).map(TableSpec::all).collect();
    let mut connection = match Connection::keep_open(options, &schema, tables) {
        Ok(connection) => connection,
        Err(error) => {
            // Who waits for it is told, unless it has gone.
            let _ = connected.send(Err(error.to_string()));
            return;
        }
    };
    let _ = connected.send(Ok(()));
    while let Some(request) = connection.next_of(&mut waiting) {
        match run(tool, name, &mut connection, &request.args) {
            Ok(text) => request.succeed(text),
            Err(CommandError::Failed(text)) => request.fail(format!("{text}\n")),
            Err(CommandError::NotYet) => request.fail("not yet\n"),
        }
    }
}

/// What a line prints.
fn run(
    tool: &'static Tool,
    name: &str,
    connection: &mut Connection,
    words: &[String],
) -> Outcome<String> {
    let remark = format!("{name}: run {}", words.join(" "));
    let line = parse_options(tool, words.to_vec())?;
    let options = RunOptions::read(tool, &line.options, &|_| None)?;
    if options.detach {
        return fail("--detach: this is a daemon already");
    }
    match &options.instead {
        Some(Instead::Help(None)) => return Ok(help::tool_help(tool, name)),
        Some(Instead::Help(Some(command))) => return help::command_help(tool, name, command),
        Some(Instead::Version) => return Ok(help::version(tool, name)),
        Some(Instead::Commands) => return Ok(help::command_list(tool)),
        Some(Instead::Options) => return Ok(help::option_list(tool)),
        None => {}
    }
    let commands = parse_commands(tool, line)?;
    if let Some(transfer) = commands.iter().find(|c| transfer::find(c).is_some()) {
        let name = transfer.command.name;
        return fail(format!("{name}: this command is not run by a daemon"));
    }
    connection.set_timeout(options.timeout);
    match run_line(tool, connection, &commands, &options, &remark, &now_ms) {
        Ok(done) => {
            for warning in &done.warnings {
                tracing::warn!(target: "db_ctl_base", "{warning}");
            }
            Ok(done.wait_time + &render(&done.outputs, &options.style))
        }
        Err(LineError::Database(DatabaseError::Timeout)) => {
            fail("the time given with --timeout is over")
        }
        Err(error) => fail(error.to_string()),
    }
}
