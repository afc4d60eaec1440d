//! The shell: two replicas, a control socket, signals and a clock around [`Core`].
//!
//! ```text
//!   northbound ──▶ replica ─┐                        ┌─▶ replica ──▶ northbound (states, tags, sb_cfg, hv_cfg)
//!   southbound ──▶ replica ─┼──▶ Input ──▶ Core ─────┤
//!   appctl ─────────────────┘    one loop   effects  └─▶ replica ──▶ southbound (flows, bindings, groups)
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use daemon::Process;
use daemon::signals::{Asked, Signals};
use daemon::unixctl::{Command, Control, Request};
use nb_db::tables as nb;
use ovsdb::adapt::Missing;
use ovsdb::schema::DatabaseSchema;
use ovsdb::{ErrorKind, Operation, Remote};
use replica::{Handle, Spec, TableSpec, Tls, TransactError};
use sb_db::tables as sb;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::core::{Columns, Core, Effects, Event, Refusal, Side};
use crate::error::Error;
use crate::status;

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
    /// Whether to start paused.
    pub is_paused: bool,
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
    Command {
        name: "set-n-threads",
        usage: "N",
        min_args: 1,
        max_args: 1,
    },
    Command::plain("get-n-threads"),
];

/// Everything that wakes the loop.
enum Input {
    Replica(Side, u64, replica::Event),
    Control(Request),
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
    let mut control = process.listen(env!("CARGO_PKG_VERSION"), COMMANDS)?;
    process.ready().map_err(|error| Error::System {
        what: "the word to the parent process",
        error,
    })?;
    let mut shell = Shell::new(config);
    loop {
        match shell.next(&mut control, &mut signals).await {
            Input::Replica(side, life, event) => shell.replica(side, life, event),
            Input::Signal(Asked::ReopenLog) => daemon::vlog::reopen(),
            Input::Signal(Asked::Exit) => return Ok(()),
            Input::Control(request) if request.command == "exit" => {
                request.succeed("");
                control.finish().await;
                return Ok(());
            }
            Input::Control(request) => shell.answer(request),
            Input::Refused(side, error) => {
                shell.step(Event::Answered(side, Err(refusal(&error))));
            }
            Input::Timer => shell.step(Event::Wake),
        }
    }
}

struct Shell {
    config: Config,
    core: Core,
    sender: mpsc::Sender<(Side, u64, replica::Event)>,
    events: mpsc::Receiver<(Side, u64, replica::Event)>,
    north: Handle,
    south: Handle,
    /// Which replica of the southbound is the present one: events of former ones may still be on their way.
    south_life: u64,
    next_transaction: u64,
    has_more: bool,
    wake_at: Option<Instant>,
    /// Transactions that were not even sent; the core hears of them before anything else.
    refused: VecDeque<(Side, TransactError)>,
}

impl Shell {
    fn new(config: Config) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        let core = Core::new(env!("CARGO_PKG_VERSION"), config.is_paused);
        let north = replica::spawn(north_spec(&config), sender.clone(), |event| {
            (Side::North, 0, event)
        });
        let south = replica::spawn(
            south_spec(&config, !config.is_paused),
            sender.clone(),
            |event| (Side::South, 0, event),
        );
        Self {
            config,
            core,
            sender,
            events,
            north,
            south,
            south_life: 0,
            next_transaction: 0,
            has_more: false,
            wake_at: None,
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
                Some(at) => tokio::time::sleep_until(at).await,
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
        let event = match event {
            // Which columns the server has is known when its rows have come.
            replica::Event::Connected { .. } | replica::Event::ConditionsInEffect(_) => return,
            replica::Event::Disconnected { .. } => Event::Disconnected(side),
            replica::Event::Changes(changes) => Event::Changes(side, changes),
            replica::Event::Synced => {
                let status = self.handle(side).status();
                let schema = schema(side);
                let Missing {
                    tables,
                    columns,
                    values,
                } = status.missing;
                let columns = Columns::without(schema, &tables, &columns, &values);
                self.core.step(now_ms(), Event::Connected(side, columns));
                Event::Synced(side)
            }
            replica::Event::Lock(held) => {
                tracing::info!(target: "northd", "{} lock {LOCK}", if held { "acquired" } else { "lost" });
                Event::Lock(held)
            }
            replica::Event::TransactReply { result, .. } => {
                Event::Answered(side, result.map(|_| ()).map_err(|error| refusal(&error)))
            }
        };
        self.step(event);
    }

    fn step(&mut self, event: Event) {
        let now_ms = now_ms();
        let Effects {
            north,
            south,
            more,
            wake_at_ms,
        } = self.core.step(now_ms, event);
        for (side, operations) in [(Side::North, north), (Side::South, south)] {
            if !operations.is_empty() {
                self.next_transaction += 1;
                // Another northd may have the lock by the time this arrives.
                let mut all = Vec::with_capacity(operations.len() + 1);
                if side == Side::South {
                    all.push(Operation::Assert {
                        lock: Arc::from(LOCK),
                    });
                }
                all.extend(operations);
                if let Err(error) = self.handle(side).transact(self.next_transaction, all) {
                    self.refused.push_back((side, error));
                }
            }
        }
        self.has_more = more;
        self.wake_at = wake_at_ms.map(|at| {
            let wait = u64::try_from(at - now_ms).unwrap_or(0);
            Instant::now() + Duration::from_millis(wait)
        });
    }

    fn answer(&mut self, request: Request) {
        match self.command(request.command, &request.args) {
            Ok(text) => request.succeed(text),
            Err(text) => request.fail(text),
        }
    }

    fn command(&mut self, command: &str, args: &[String]) -> Result<String, String> {
        match command {
            "pause" => self.set_paused(true),
            "resume" => self.set_paused(false),
            "is-paused" => return Ok(format!("{}\n", self.core.is_paused())),
            "status" => return Ok(format!("Status: {}\n", self.core.status())),
            "connection-status" => return Ok(connection_status(&[&self.north, &self.south])),
            "nb-connection-status" => return Ok(connection_status(&[&self.north])),
            "sb-connection-status" => return Ok(connection_status(&[&self.south])),
            "nb-cluster-state-reset" => self.north.force_reconnect(),
            "sb-cluster-state-reset" => self.south.force_reconnect(),
            "recompute" | "inc-engine/recompute" => return self.recompute(),
            "inc-engine/show-stats" => {
                let Some(stats) = self.core.stats() else {
                    return Ok(String::new());
                };
                let arg = |index: usize| args.get(index).map(String::as_str);
                return status::engine_stats(stats, arg(0), arg(1));
            }
            "inc-engine/clear-stats" => self.core.clear_stats(),
            "get-n-threads" => return Ok("1\n".to_owned()),
            // Accepted for compatibility: compiling takes one thread, whatever is asked for.
            "set-n-threads" => {
                let number = args.first().and_then(|text| text.parse::<u32>().ok());
                if !number.is_some_and(|number| (1..=256).contains(&number)) {
                    return Err("invalid n_threads: a number from 1 to 256 is expected".to_owned());
                }
            }
            other => return Err(format!("{other} is not a command of northd's")),
        }
        Ok(String::new())
    }

    fn recompute(&mut self) -> Result<String, String> {
        let differences = self.core.recompute().map_err(str::to_owned)?;
        if differences.is_empty() {
            return Ok("compiled anew: no difference\n".to_owned());
        }
        for difference in differences.iter().take(MAX_DIFFERENCES) {
            tracing::error!(target: "northd", "compiled anew, and found: {difference}");
        }
        self.step(Event::Wake);
        let shown: Vec<String> = differences
            .iter()
            .take(MAX_DIFFERENCES)
            .map(|text| format!("- {text}\n"))
            .collect();
        Ok(format!(
            "compiled anew: {} differences, mended\n{}",
            differences.len(),
            shown.concat()
        ))
    }

    /// Pausing gives the lock up, so that another northd can take over. A lock belongs to a session: there is a new one.
    fn set_paused(&mut self, is_paused: bool) {
        if is_paused == self.core.is_paused() {
            return;
        }
        tracing::info!(target: "northd", "{}", if is_paused { "paused" } else { "resumed" });
        self.core.set_paused(is_paused);
        self.south_life += 1;
        let life = self.south_life;
        let spec = south_spec(&self.config, !is_paused);
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

/// More differences than these are counted, not told.
const MAX_DIFFERENCES: usize = 20;

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

fn schema(side: Side) -> &'static Arc<DatabaseSchema> {
    match side {
        Side::North => nb_db::schema(),
        Side::South => sb_db::schema(),
    }
}

fn north_spec(config: &Config) -> Spec {
    Spec {
        tables: vec![
            TableSpec::of::<nb::NbGlobal>(),
            TableSpec::of::<nb::LogicalSwitch>(),
            TableSpec::of::<nb::LogicalSwitchPort>(),
            TableSpec::of::<nb::DhcpOptions>(),
            TableSpec::of::<nb::AddressSet>(),
            TableSpec::of::<nb::PortGroup>(),
            TableSpec::of::<nb::WeftProblem>(),
        ],
        leader_only: true,
        tls: config.tls.clone(),
        ..Spec::new(Arc::clone(nb_db::schema()), config.north.clone())
    }
}

fn south_spec(config: &Config, with_lock: bool) -> Spec {
    let (chassis, private) = (sb::Chassis::COLUMN, sb::ChassisPrivate::COLUMN);
    Spec {
        tables: vec![
            TableSpec::of::<sb::SbGlobal>(),
            TableSpec::of::<sb::Chassis>().columns([chassis.name.index, chassis.hostname.index]),
            TableSpec::of::<sb::ChassisPrivate>().columns([
                private.name.index,
                private.nb_cfg.index,
                private.nb_cfg_timestamp.index,
            ]),
            TableSpec::of::<sb::DatapathBinding>(),
            TableSpec::of::<sb::PortBinding>(),
            TableSpec::of::<sb::LogicalFlow>(),
            TableSpec::of::<sb::LogicalDpGroup>(),
            TableSpec::of::<sb::MulticastGroup>(),
            TableSpec::of::<sb::AddressSet>(),
            TableSpec::of::<sb::PortGroup>(),
            TableSpec::of::<sb::Fdb>()
                .columns([sb::Fdb::COLUMN.dp_key.index, sb::Fdb::COLUMN.port_key.index]),
            TableSpec::of::<sb::DhcpOptions>(),
            TableSpec::of::<sb::Dhcpv6Options>(),
            TableSpec::of::<sb::RbacRole>(),
            TableSpec::of::<sb::RbacPermission>(),
        ],
        lock: with_lock.then(|| Arc::from(LOCK)),
        leader_only: true,
        tls: config.tls.clone(),
        ..Spec::new(Arc::clone(sb_db::schema()), config.south.clone())
    }
}

/// Milliseconds since 1970: the unit of the databases' timestamps.
fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
