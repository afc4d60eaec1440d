//! The shell: two replicas, a control socket, signals and a clock around [`Core`].
//!
//! ```text
//!   northbound ──▶ replica ─┐                        ┌─▶ replica ──▶ northbound (states, tags, sb_cfg, hv_cfg)
//!   southbound ──▶ replica ─┼──▶ Input ──▶ Core ─────┤
//!   appctl ─────────────────┘    one loop   effects  └─▶ replica ──▶ southbound (flows, bindings, groups)
//! ```

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use daemon::coverage;
use daemon::event_loop::EventLoop;
use daemon::metrics::{Metrics, MetricsArgs};
use daemon::signals::{Asked, Signals};
use daemon::unixctl::{self, Command, Control, Surface};
use daemon::{Process, Recorder, warp};
use ovsdb::adapt::Missing;
use ovsdb::{ErrorKind, Operation, Remote};
use replica::{Handle, Spec, TableSpec, Tls, TransactError};
use tokio::sync::mpsc;

use crate::compiler::plan::Plan;
use crate::core::{Columns, Core, Effects, Event, Now, Refusal, Request, Side};
use crate::error::Error;
use crate::record;

/// The southbound lock of the active northd: OVN's, so that both kinds can stand by for each other.
const LOCK: &str = "ovn_northd";
/// Replicas wait when so many of their events have not been taken.
const QUEUE: usize = 64;

/// What northd was told when it was started.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the northbound database is.
    pub north: Vec<Remote>,
    /// Where the southbound database is.
    pub south: Vec<Remote>,
    /// The files for TLS.
    pub tls: Option<Tls>,
    /// Where metrics are told.
    pub metrics: MetricsArgs,
    /// Whether to start paused.
    pub is_paused: bool,
    /// Where events are recorded.
    pub record_events: Option<PathBuf>,
}

/// What is answered on the control socket, beside what every daemon answers.
pub const COMMANDS: &[Command] = &[
    Command::plain("exit"),
    Command::plain("pause"),
    Command::plain("resume"),
    Command::plain("is-paused"),
    Command::plain("status"),
    Command::plain("connection-status"),
    Command::plain("nb-connection-status"),
    Command::plain("sb-connection-status"),
    Command::plain("nb-cluster-state-reset"),
    Command::plain("sb-cluster-state-reset"),
    Command::plain("recompute"),
    Command::plain("inc-engine/recompute"),
    Command {
        name: "inc-engine/show-stats",
        usage: "[NODE [COUNTER]]",
        min_args: 0,
        max_args: 2,
    },
    Command::plain("inc-engine/clear-stats"),
    Command::plain("debug/chassis-features-list"),
    Command {
        name: "parallel-build/set-n-threads",
        usage: "N_THREADS",
        min_args: 1,
        max_args: 1,
    },
    Command::plain("parallel-build/get-n-threads"),
];

/// A step of the loop compiles all that has come.
static LOOP: EventLoop = EventLoop::new("ovn-northd-loop");

/// What flows take for granted of a chassis, in OVN's words.
const FEATURES: &str = "ct_no_masked_label:    true
ct_lb_related:         true
mac_binding_timestamp: true
";

/// What is told on the control socket.
const SURFACE: Surface = Surface {
    commands: COMMANDS,
    counters: &[&coverage::TXN_SUCCESS, &coverage::TXN_ERROR],
    event_loop: Some(&LOOP),
};

/// The databases, as metrics call them.
const DATABASES: &[&str] = &["northbound", "southbound"];

/// Everything that wakes the loop.
enum Input {
    Replica(Side, u64, replica::Event),
    Control(unixctl::Request),
    Signal(Asked),
    /// A transaction was not even sent.
    Refused(Side, TransactError),
    Timer,
}

/// Runs until told to end.
///
/// # Errors
/// When the surroundings of a daemon cannot be had. Databases that cannot be reached are waited for.
pub async fn run(config: Config, process: &Process) -> Result<(), Error> {
    let mut signals = Signals::new().map_err(|error| Error::System {
        what: "signals",
        error,
    })?;
    let recorder = config.record_events.as_ref().map(|path| {
        let about = record::about(env!("CARGO_PKG_VERSION"), config.is_paused);
        Recorder::create(path, &about).map_err(|error| Error::System {
            what: "a file for recorded events",
            error,
        })
    });
    let recorder = recorder.transpose()?;
    let mut control = process.listen(env!("CARGO_PKG_VERSION"), SURFACE)?;
    let metrics = Metrics::new(&process.program, env!("CARGO_PKG_VERSION"), DATABASES);
    metrics.listen(&config.metrics, DATABASES).await?;
    process.ready().map_err(|error| Error::System {
        what: "the word to the parent process",
        error,
    })?;
    let mut shell = Shell::new(config, metrics, recorder);
    loop {
        match shell.next(&mut control, &mut signals).await {
            Input::Replica(side, life, event) => shell.replica(side, life, event),
            Input::Signal(Asked::ReopenLog) => daemon::vlog::reopen(),
            Input::Signal(Asked::Exit) => {
                control.finish().await;
                return Ok(());
            }
            Input::Control(request) if request.command == "exit" => {
                request.succeed("");
                control.finish().await;
                return Ok(());
            }
            Input::Control(request) if request.is_tick() => {
                request.succeed("");
                drop(shell.step(Event::Wake));
            }
            Input::Control(request) => shell.answer(request),
            Input::Refused(side, error) => {
                drop(shell.step(Event::Answered(side, Err(refusal(&error)))));
            }
            Input::Timer => drop(shell.step(Event::Wake)),
        }
    }
}

struct Shell {
    config: Config,
    metrics: Metrics,
    recorder: Option<Recorder>,
    core: Core,
    sender: mpsc::Sender<(Side, u64, replica::Event)>,
    events: mpsc::Receiver<(Side, u64, replica::Event)>,
    north: Handle,
    south: Handle,
    /// Which replica of the southbound is the present one: events of former ones may still be on their way.
    south_life: u64,
    next_transaction: u64,
    /// The transactions that are to be answered, for each side in their order.
    unanswered: [VecDeque<u64>; 2],
    has_more: bool,
    wake_at: Option<Instant>,
    /// What `parallel-build/set-n-threads` has said last.
    threads: u32,
    /// Who waits for a recomputation.
    waiting: Vec<unixctl::Request>,
    /// Transactions that were not even sent; the core hears of them before anything else.
    refused: VecDeque<(Side, TransactError)>,
}

impl Shell {
    fn new(config: Config, metrics: Metrics, recorder: Option<Recorder>) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        let core = Core::new(env!("CARGO_PKG_VERSION"), config.is_paused);
        let north = replica::spawn(north_spec(&config, core.plan()), sender.clone(), |event| {
            (Side::North, 0, event)
        });
        let south = replica::spawn(
            south_spec(&config, core.plan(), !config.is_paused),
            sender.clone(),
            |event| (Side::South, 0, event),
        );
        Self {
            config,
            metrics,
            recorder,
            core,
            sender,
            events,
            north,
            south,
            south_life: 0,
            next_transaction: 0,
            unanswered: Default::default(),
            has_more: false,
            wake_at: None,
            threads: 1,
            waiting: Vec::new(),
            refused: VecDeque::new(),
        }
    }

    async fn next(&mut self, control: &mut Control, signals: &mut Signals) -> Input {
        if let Some((side, error)) = self.refused.pop_front() {
            return Input::Refused(side, error);
        }
        let (has_more, wake_at) = (self.has_more, self.wake_at);
        let timer = async move {
            match wake_at {
                // Others get their turn before the next part of a long compilation.
                _ if has_more => tokio::task::yield_now().await,
                Some(at) => warp::until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            asked = signals.next() => Input::Signal(asked),
            request = control.next() => Input::Control(request),
            Some((side, life, event)) = self.events.recv() => Input::Replica(side, life, event),
            () = timer => Input::Timer,
        }
    }

    fn replica(&mut self, side: Side, life: u64, event: replica::Event) {
        if side == Side::South && life != self.south_life {
            return;
        }
        match &event {
            replica::Event::Synced => self.metrics.connected(name(side), true),
            replica::Event::Disconnected { .. } => self.metrics.connected(name(side), false),
            replica::Event::TransactReply { result, .. } => {
                self.metrics.transacted(name(side), result.is_err());
            }
            _ => {}
        }
        let event = match event {
            // Which columns the server has is known when its rows have come.
            replica::Event::Connected { .. } | replica::Event::ConditionsInEffect(_) => return,
            replica::Event::Disconnected { .. } => {
                // The core counts on none of them any more.
                self.unanswered[side as usize].clear();
                Event::Disconnected(side)
            }
            replica::Event::Changes(changes) => Event::Changes(side, changes),
            replica::Event::Synced => {
                let Missing {
                    tables,
                    columns,
                    values,
                } = self.handle(side).status().missing;
                let columns = Columns::without(&tables, &columns, &values);
                self.step(Event::Connected(side, columns));
                Event::Synced(side)
            }
            replica::Event::Lock(held) => {
                tracing::info!(target: "northd", "{} lock {LOCK}", if held { "acquired" } else { "lost" });
                Event::Lock(held)
            }
            replica::Event::TransactReply { id, result } => {
                let unanswered = &mut self.unanswered[side as usize];
                if unanswered.pop_front_if(|front| *front == id).is_none() {
                    if unanswered.contains(&id) {
                        // The core would take it for the answer to another one: it writes both again.
                        self.handle(side).force_reconnect();
                    }
                    return;
                }
                Event::Answered(side, result.map(|_| ()).map_err(|error| refusal(&error)))
            }
        };
        self.step(event);
    }

    /// Gives the core an event and does what it wants; returns its answer, if the event was a request.
    fn step(&mut self, event: Event) -> Option<Result<String, String>> {
        let began = Instant::now();
        let now = Now::read();
        if let Some(recorder) = &mut self.recorder {
            recorder.add(now, &record::to_json(&event));
        }
        let Effects {
            north,
            south,
            answer,
            recomputed,
            wants_lock,
            more,
            wake_at,
        } = self.core.step(now, event);
        LOOP.stepped(&self.metrics, began.elapsed());
        for (side, operations) in [(Side::North, north), (Side::South, south)] {
            if !operations.is_empty() {
                self.send(side, operations);
            }
        }
        self.has_more = more;
        self.wake_at = wake_at;
        if let Some(outcome) = recomputed {
            self.waiting
                .drain(..)
                .for_each(|request| tell(request, outcome.clone()));
        }
        if let Some(with_lock) = wants_lock {
            self.renew_south(with_lock);
        }
        answer
    }

    fn send(&mut self, side: Side, mut operations: Vec<Operation>) {
        self.next_transaction += 1;
        // Another northd may have the lock by the time this arrives.
        if side == Side::South {
            let lock = Arc::from(LOCK);
            operations.insert(0, Operation::Assert { lock });
        }
        let handle = self.handle(side);
        let sent = handle.transact(self.next_transaction, operations);
        let unanswered = &mut self.unanswered[side as usize];
        match sent {
            Ok(()) => unanswered.push_back(self.next_transaction),
            Err(error) if unanswered.is_empty() => self.refused.push_back((side, error)),
            // Beside another one: when the connection is lost, the core writes both again.
            Err(_) => self.handle(side).force_reconnect(),
        }
    }

    fn answer(&mut self, request: unixctl::Request) {
        match self.command(request.command, &request.args) {
            Some(outcome) => tell(request, outcome),
            None => self.waiting.push(request),
        }
    }

    /// What is about connections is answered here, the rest by the core: now, or when it has done it.
    fn command(&mut self, command: &str, args: &[String]) -> Option<Result<String, String>> {
        let asked = match command {
            "connection-status" => {
                return Some(Ok(connection_status(&[&self.north, &self.south])));
            }
            "nb-connection-status" => return Some(Ok(connection_status(&[&self.north]))),
            "sb-connection-status" => return Some(Ok(connection_status(&[&self.south]))),
            "nb-cluster-state-reset" => {
                self.north.force_reconnect();
                return Some(Ok(String::new()));
            }
            "sb-cluster-state-reset" => {
                self.south.force_reconnect();
                return Some(Ok(String::new()));
            }
            // Compiled for what every chassis since 22.09 can do.
            "debug/chassis-features-list" => return Some(Ok(FEATURES.to_owned())),
            "parallel-build/get-n-threads" => return Some(Ok(format!("{}\n", self.threads))),
            // Remembered for compatibility: compiling takes one thread, whatever is asked for.
            "parallel-build/set-n-threads" => {
                let given = args.first().map_or("", String::as_str);
                let number = given.parse::<u32>().ok();
                return Some(match number.filter(|number| (1..=256).contains(number)) {
                    Some(number) => {
                        self.threads = number;
                        Ok(String::new())
                    }
                    None => Err(format!("invalid n_threads: {given}")),
                });
            }
            "pause" => Request::Pause(true),
            "resume" => Request::Pause(false),
            "is-paused" => Request::IsPaused,
            "status" => Request::Status,
            "recompute" | "inc-engine/recompute" => Request::Recompute,
            "inc-engine/show-stats" => Request::Stats(args.first().cloned(), args.get(1).cloned()),
            "inc-engine/clear-stats" => Request::ClearStats,
            other => return Some(Err(format!("{other} is not a command of northd's"))),
        };
        self.step(Event::Request(asked))
    }

    /// A lock belongs to a session: to give it up, or to ask for it, there is a new one.
    fn renew_south(&mut self, with_lock: bool) {
        self.south_life += 1;
        self.unanswered[Side::South as usize].clear();
        let life = self.south_life;
        let spec = south_spec(&self.config, self.core.plan(), with_lock);
        self.south = replica::spawn(spec, self.sender.clone(), move |event| {
            (Side::South, life, event)
        });
        self.step(Event::Forgotten(Side::South));
    }

    fn handle(&self, side: Side) -> &Handle {
        match side {
            Side::North => &self.north,
            Side::South => &self.south,
        }
    }
}

/// Answers on the control socket.
fn tell(request: unixctl::Request, outcome: Result<String, String>) {
    match outcome {
        Ok(text) => request.succeed(text),
        Err(text) => request.fail(text),
    }
}

/// What metrics call a database.
fn name(side: Side) -> &'static str {
    match side {
        Side::North => DATABASES[0],
        Side::South => DATABASES[1],
    }
}

/// Rows are at fault when the server says that a constraint is broken, or that this end could not even say it.
fn refusal(error: &TransactError) -> Refusal {
    let is_about_rows = error.error().is_some_and(|error| {
        matches!(
            error.kind,
            ErrorKind::ConstraintViolation
                | ErrorKind::ReferentialIntegrityViolation
                | ErrorKind::DuplicateUuid
                | ErrorKind::SyntaxError
                | ErrorKind::UnknownColumn
        )
    });
    Refusal {
        reason: error.to_string(),
        is_about_rows,
    }
}

fn connection_status(handles: &[&Handle]) -> String {
    let is_connected = |handle: &&Handle| handle.status().state.is_connected();
    if handles.iter().all(is_connected) {
        "connected\n".to_owned()
    } else {
        "not connected\n".to_owned()
    }
}

fn north_spec(config: &Config, plan: &Plan) -> Spec {
    let kept = plan.kept(Side::North);
    let schema = nb_db::schema();
    // Of tables that nobody reads, it is enough to know that they have rows.
    let tables = (0..schema.tables.len()).map(|table| {
        let spec = TableSpec::all(table);
        if kept.contains_key(&table) {
            spec
        } else {
            spec.columns([0])
        }
    });
    Spec {
        tables: tables.collect(),
        leader_only: true,
        tls: config.tls.clone(),
        chance: Spec::any_chance(),
        ..Spec::new(Arc::clone(schema), config.north.clone())
    }
}

fn south_spec(config: &Config, plan: &Plan, with_lock: bool) -> Spec {
    let kept = plan.kept(Side::South);
    let columns = |(table, columns)| TableSpec::all(table).columns(columns);
    Spec {
        tables: kept.into_iter().map(columns).collect(),
        lock: with_lock.then(|| Arc::from(LOCK)),
        leader_only: true,
        tls: config.tls.clone(),
        chance: Spec::any_chance(),
        ..Spec::new(Arc::clone(sb_db::schema()), config.south.clone())
    }
}
