//! `weft plan` as a daemon: a northd beside it keeps compiled copies of both databases (`weft-northd --draft=lines`), and the
//! southbound is read and followed, so that a plan costs what the change does.
//!
//! ```text
//!   control socket ── plan OPERATIONS ──▶ loop ── operations ──▶ weft-northd --draft=lines
//!                  ◀───── in words ──────      ◀──── rows ──────
//! ```
//!
//! One plan is made after the other. A northd that has ended is started again for the next.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::daemon::unixctl::{Command, Control, Request, Surface};
use ::daemon::{Process, place};
use ovsdb::condition::Clause;
use ovsdb::operation::operations_to_text;
use ovsdb::{ColumnRef, Operation, Remote, Table, Uuid};
use replica::{Client, Event, Spec, TableSpec, TransactError};
use sb_db::tables::Chassis;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::draft;
use super::{Arguments, tell};
use crate::error::{CommandError, Outcome, fail};
use crate::tools::{NB, SB};
use crate::trace::known::Known;
use crate::trace::request::with_room;
use crate::trace::world::TABLES;

/// The command of the control socket.
pub(super) const PLAN: &str = "plan";

/// What the control socket answers to.
const COMMANDS: &[Command] = &[
    Command::plain("exit"),
    Command {
        name: PLAN,
        usage: "OPERATIONS [--all]",
        min_args: 1,
        max_args: 2,
    },
];

/// The control socket, if no other is asked for.
const SOCKET: &str = "weft-plan.ctl";
/// A northd may take so long for a draft, and to read and compile.
const PATIENCE: Duration = Duration::from_secs(300);
/// So long a plan waits for a southbound that is away.
const AWAY: Duration = Duration::from_secs(30);
/// So long a northd that has closed its output may take to end.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long a silent database is trusted.
const PROBE_INTERVAL: Duration = Duration::from_secs(60);

const ALL: &str = "--all";

fn wrong(error: &dyn std::fmt::Display) -> CommandError {
    CommandError::Failed(error.to_string())
}

/// The arguments of the command for a change.
pub(super) fn words(operations: &[Operation], is_all: bool) -> Outcome<Vec<String>> {
    let text = operations_to_text((NB.schema)(), operations);
    let text = String::from_utf8(text).map_err(|error| wrong(&error))?;
    let all = is_all.then(|| ALL.to_owned());
    Ok(std::iter::once(text).chain(all).collect())
}

/// Runs as a daemon until it is told to end; for whoever started it: the control socket.
pub(super) fn serve(arguments: &mut Arguments) -> Outcome<Option<PathBuf>> {
    if !arguments.commands.is_empty() || !arguments.declaration.is_empty() {
        return fail("commands and files are not for --detach; give them to weft plan --daemon");
    }
    let socket = arguments.common.unixctl.get_or_insert(SOCKET.into());
    let socket = place::run_dir().join(socket);
    let started = Process::start(&arguments.common, "weft-plan", &["unixctl"]);
    let process = match started.map_err(|error| wrong(&error))? {
        Ok(process) => process,
        Err(ExitCode::SUCCESS) => return Ok(Some(socket)),
        Err(_) => return fail("the daemon could not be started"),
    };
    let served = with_room(|| {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| wrong(&error))?.block_on(async {
            let mut planner = Planner::start(arguments).await?;
            let control = process.listen(env!("CARGO_PKG_VERSION"), Surface::of(COMMANDS));
            let mut control = control.map_err(|error| wrong(&error))?;
            process.ready().map_err(|error| wrong(&error))?;
            planner.answer(&mut control).await?;
            control.finish().await;
            Ok::<_, CommandError>(())
        })
    });
    served.map_err(CommandError::Failed)??;
    Ok(None)
}

/// A northd that drafts.
struct Northd {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// The last line of its errors.
    said: Arc<Mutex<String>>,
    /// It ends with this.
    child: Child,
}

impl Northd {
    /// Starts one, and waits until it has read and compiled.
    async fn start(arguments: &Arguments) -> Outcome<Self> {
        let (program, connect) = (arguments.northd.as_deref(), &arguments.connect);
        let mut command = draft::northd(program, connect, &arguments.southbound(), "--draft=lines");
        // This daemon leaves its own errors to whoever started it once it serves.
        command.stderr(Stdio::piped());
        let mut running = tokio::process::Command::from(command);
        running.kill_on_drop(true);
        let started = running.spawn();
        let mut child = started.map_err(|error| draft::cannot(running.as_std(), &error))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return fail("weft-northd has no input and output");
        };
        let said = Arc::new(Mutex::new(String::new()));
        let last = Arc::clone(&said);
        tokio::spawn(async move {
            let mut errors = BufReader::new(errors).lines();
            while let Ok(Some(line)) = errors.next_line().await {
                *last.lock().unwrap_or_else(PoisonError::into_inner) = line;
            }
        });
        let mut northd = Self {
            input,
            output: BufReader::new(output).lines(),
            said,
            child,
        };
        northd.line().await?;
        Ok(northd)
    }

    async fn line(&mut self) -> Outcome<Value> {
        match timeout(PATIENCE, self.output.next_line()).await {
            Ok(Ok(Some(line))) => serde_json::from_str(&line).map_err(|error| wrong(&error)),
            Ok(Ok(None)) => {
                // Its errors are read by the time that it has ended, or a moment later.
                let _ = timeout(FAREWELL, self.child.wait()).await;
                tokio::task::yield_now().await;
                let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
                fail(format!("weft-northd has ended: {said}"))
            }
            Ok(Err(error)) => Err(wrong(&error)),
            Err(_) => fail("weft-northd does not say in time what would happen"),
        }
    }

    async fn ask(&mut self, operations: &str) -> Outcome<Value> {
        let line = format!("{operations}\n");
        let written = self.input.write_all(line.as_bytes()).await;
        written.map_err(|error| wrong(&error))?;
        self.line().await
    }
}

/// What makes plans.
struct Planner<'a> {
    arguments: &'a Arguments,
    northd: Option<Northd>,
    south: Client,
    known: Known,
    /// How often the database was asked whether there is news.
    asked: u64,
}

impl<'a> Planner<'a> {
    async fn start(arguments: &'a Arguments) -> Outcome<Self> {
        let (northd, south) = tokio::join!(Northd::start(arguments), connect(arguments));
        let south = south?;
        Ok(Self {
            arguments,
            northd: Some(northd?),
            known: Known::new(south.tables()),
            south,
            asked: 0,
        })
    }

    /// One request after the other, and changes of the database in between.
    async fn answer(&mut self, control: &mut Control) -> Outcome {
        let mut waiting = VecDeque::new();
        loop {
            let request = match waiting.pop_front() {
                Some(request) => request,
                None => tokio::select! {
                    request = control.next() => request,
                    event = self.south.next() => {
                        self.take(&event.map_err(|error| wrong(&error))?);
                        continue;
                    }
                },
            };
            if request.command == "exit" {
                request.succeed("");
                return Ok(());
            }
            let plan = self.plan(request);
            tokio::pin!(plan);
            loop {
                tokio::select! {
                    biased;
                    () = &mut plan => break,
                    // There are no more of them than clients of the control socket.
                    request = control.next() => match request.command {
                        "exit" => {
                            request.succeed("");
                            return Ok(());
                        }
                        _ => waiting.push_back(request),
                    },
                }
            }
        }
    }

    fn take(&mut self, event: &Event) {
        if let Event::Changes(changes) = event {
            self.known.apply(changes);
        }
    }

    async fn plan(&mut self, request: Request) {
        let (operations, is_all) = match &request.args[..] {
            [operations] => (operations.clone(), false),
            [operations, all] if all == ALL => (operations.clone(), true),
            words => {
                let text = format!("{}: {ALL} is meant, or nothing", words[1..].concat());
                return request.fail(text);
            }
        };
        // A line is a transaction: JSON has no ends of lines but between its words.
        match self
            .planned(&operations.replace(['\n', '\r'], " "), is_all)
            .await
        {
            Ok(text) => request.succeed(text),
            Err(error) => request.fail(error.to_string()),
        }
    }

    async fn planned(&mut self, operations: &str, is_all: bool) -> Outcome<String> {
        let mut northd = match self.northd.take() {
            Some(northd) => northd,
            None => Northd::start(self.arguments).await?,
        };
        let told = northd.ask(operations).await;
        // One that has ended, or that may still answer this when it is asked the next, is of no more use.
        self.northd = told.is_ok().then_some(northd);
        let drafted = draft::read(&told?)?;
        match timeout(AWAY, self.catch_up()).await {
            Ok(caught_up) => caught_up?,
            Err(_) => return fail("the southbound database is away"),
        }
        let tables = self.south.tables();
        Ok(tell(tables, &mut self.known, &drafted, is_all))
    }

    /// Waits until everything is here that has been committed before.
    async fn catch_up(&mut self) -> Outcome {
        loop {
            self.asked += 1;
            let nothing = Operation::Select {
                table: 0,
                condition: vec![Clause::is_row(Uuid::nil())],
                columns: Arc::from([ColumnRef::Uuid]),
            };
            let handle = self.south.handle();
            let is_asked =
                self.south.is_synced() && handle.transact(self.asked, vec![nothing]).is_ok();
            loop {
                let event = self.south.next().await.map_err(|error| wrong(&error))?;
                self.take(&event);
                match event {
                    Event::TransactReply { id, result } if id == self.asked => match result {
                        Ok(_) => return Ok(()),
                        Err(TransactError::NotConnected | TransactError::Disconnected) => break,
                        Err(error) => return Err(wrong(&error)),
                    },
                    Event::Synced if !is_asked => break,
                    _ => {}
                }
            }
        }
    }
}

async fn connect(arguments: &Arguments) -> Outcome<Client> {
    let remotes = Remote::parse_list(&arguments.southbound()).map_err(|error| wrong(&error))?;
    let tls = arguments.connect.tls();
    let tables = TABLES.into_iter().chain([Chassis::INDEX]);
    let spec = Spec {
        tables: tables.map(TableSpec::all).collect(),
        leader_only: true,
        probe_interval: PROBE_INTERVAL,
        tls: arguments
            .common
            .asking_for_name(tls.files().map_err(|error| wrong(&error))?),
        ..Spec::new(Arc::clone((SB.schema)()), remotes)
    };
    let client = Client::connect(spec, None, false).await;
    client.map_err(|error| wrong(&error))
}
