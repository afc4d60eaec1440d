//! One client's conversation with one OVSDB server, without I/O: bytes come in, bytes and [`Event`]s go out.
//!
//! ```text
//! set_db_change_aware ─┐
//! monitor_cond _Server ├─▶ both answered ─▶ monitor_cond_since ─▶ contents ─▶ updates …
//! get_schema ──────────┘                    (or monitor_cond,
//!                                            or monitor)         lock ─▶ locked, stolen …
//! ```
//!
//! With [`Config::own_inserts`], the lock is asked for before the contents.
//!
//! The first three requests go out together. From the `_Server` database the client learns whether this server is
//! fit to be talked to: whether it is in contact with its cluster and, if that was asked for, leads it. That can change
//! at any time, and then the session ends with an error, so that its owner tries the next server. A server without
//! `_Server` is taken as it is.
//!
//! A session lasts as long as its connection. What outlives connections, rows and the wish to reconnect, is the
//! business of the owner.

mod own;
mod transactions;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::adapt::{Adaptation, Missing};
use crate::condition::Condition;
use crate::error::{Error, ErrorKind};
use crate::framing::{FrameError, FrameLimits, Framer};
use crate::jsonrpc::{self, Message, MessageError};
use crate::monitor::{MonitorSpec, MonitorVersion, TableMonitor, condition_changes_to_json};
use crate::operation::{Operation, Outcome, write_transact};
use crate::schema::DatabaseSchema;
use crate::update::TableUpdates;

use own::OwnRows;
use transactions::SentTransaction;

/// What a client wants of a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database and our schema of it, by which all tables and columns are numbered.
    pub schema: Arc<DatabaseSchema>,
    /// What to see.
    pub tables: Vec<TableMonitor>,
    /// Whether to talk to the leader of a cluster only.
    pub leader_only: bool,
    /// A lock to own.
    pub lock: Option<Arc<str>>,
    /// Tables of which the server need not tell what this client itself has inserted; what others insert there reads as rows
    /// of defaults. That holds if the lock is there to be had at the beginning: who waits for it sees everything.
    pub own_inserts: Vec<usize>,
    /// After how long a silence to ask whether the server is there; after as long again the session ends. Zero: never.
    pub probe_interval: Duration,
    /// The last transaction whose effects the owner holds rows of; nil if it holds none, or other tables.
    pub last_transaction: Uuid,
}

/// What the owner of a session is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The server's schema is known; what it lacks of ours.
    Schema(Missing),
    /// The answer to the monitor request.
    Contents {
        /// Whether `updates` are the changes since [`Config::last_transaction`], and not everything.
        since_last: bool,
        /// What is or what changed.
        updates: TableUpdates,
        /// The last transaction in it; nil if the server has no such history.
        last_transaction: Uuid,
    },
    /// Rows changed.
    Updates {
        /// What changed.
        updates: TableUpdates,
        /// The last transaction in it; nil if the server has no such history.
        last_transaction: Uuid,
    },
    /// All conditions given so far are in effect, and what they brought has been told.
    Conditions,
    /// Whether the lock is ours now.
    Lock(bool),
    /// What a transaction gave.
    Reply {
        /// The owner's number for it.
        id: u64,
        /// Its outcome, or why it was not even tried.
        result: Result<Outcome, Error>,
    },
}

/// Why a session cannot go on. Its connection is of no use after this.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The stream is not made of messages.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A message is none.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The server refused what the session cannot do without.
    #[error("the server refused {method}: {error}")]
    Refused {
        /// The request.
        method: &'static str,
        /// What the server said.
        error: Error,
    },
    /// The server does not have the database.
    #[error("the server has no database {0}")]
    NoDatabase(Arc<str>),
    /// The server has lost its cluster, or its source.
    #[error("the server is not connected to its cluster")]
    NotConnected,
    /// Another member of the cluster leads.
    #[error("the server is not the leader of its cluster")]
    NotLeader,
    /// What the server sent makes no sense.
    #[error("the server sent {what}: {error}")]
    Nonsense {
        /// What it was about.
        what: &'static str,
        /// What is wrong with it.
        error: Error,
    },
    /// The server is silent.
    #[error("no response to inactivity probe after {} seconds", .0.as_secs_f64())]
    Silent(Duration),
}

/// What the answer to a request is about.
#[derive(Debug)]
enum Pending {
    Aware,
    ServerMonitor,
    Schema,
    Monitor(MonitorVersion),
    Conditions,
    Lock,
    Echo,
    Transact(Box<SentTransaction>),
}

/// What is known of the server.
#[derive(Debug)]
enum Stage {
    /// Waiting for `_Server` and the schema, in any order.
    Greeting {
        server_is_fit: bool,
        schema_known: bool,
    },
    /// Waiting for the contents.
    Loading,
    /// Told everything so far.
    Live,
}

/// A conversation.
#[derive(Debug)]
pub struct Session {
    config: Config,
    framer: Framer,
    output: Vec<u8>,
    events: VecDeque<Event>,
    pending: FxHashMap<u64, Pending>,
    next_id: u64,
    stage: Stage,
    version: MonitorVersion,
    adaptation: Adaptation,
    /// What need not be told, once the monitor has begun.
    own: Option<OwnRows>,
    server: ServerState,
    /// How many changes of conditions the server has not confirmed.
    condition_changes: usize,
    last_received: Instant,
    probed: bool,
}

/// What `_Server` says of the database; fields that were never told are as of a server that is alone.
#[derive(Clone, Debug)]
struct ServerState {
    /// The database's row of `_Server`, as far as known.
    row: Option<(Uuid, DatabaseState)>,
}

#[derive(Clone, Debug, Default)]
struct DatabaseState {
    name: String,
    connected: bool,
    leader: bool,
}

const MONITOR: &str = "weft";
const SERVER_MONITOR: &str = "weft-server";
/// The least silence before a probe while the contents are awaited.
const LOADING_PATIENCE: Duration = Duration::from_secs(60);
/// A buffer for output that grew past this is not used again: the next transactions are not likely to be as large.
const KEEP: usize = 2 << 20;
/// A transaction is refused when so many are unanswered: a server that is that far behind needs no more work.
const MAX_OUTSTANDING: usize = 10_000;

impl Session {
    /// Begins: the first requests are in [`Session::take_output`].
    pub fn new(config: Config, now: Instant) -> Self {
        let mut session = Self {
            config,
            framer: Framer::new(FrameLimits::CLIENT),
            output: Vec::new(),
            events: VecDeque::new(),
            pending: FxHashMap::default(),
            next_id: 1,
            stage: Stage::Greeting {
                server_is_fit: false,
                schema_known: false,
            },
            version: MonitorVersion::V3,
            adaptation: Adaptation::default(),
            own: None,
            server: ServerState { row: None },
            condition_changes: 0,
            last_received: now,
            probed: false,
        };
        session.request(Pending::Aware, "set_db_change_aware", &json!([true]));
        session.request(
            Pending::ServerMonitor,
            "monitor_cond",
            &json!(["_Server", SERVER_MONITOR, {"Database": [{"columns": ["name", "connected", "leader"]}]}]),
        );
        let database = json!([&*session.config.schema.name]);
        session.request(Pending::Schema, "get_schema", &database);
        session
    }

    /// Bytes to send, all that came up since the last call.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// The same into a buffer that has been sent, whose room is used again.
    pub fn exchange_output(&mut self, sent: &mut Vec<u8>) {
        sent.clear();
        if sent.capacity() > KEEP {
            *sent = Vec::new();
        }
        std::mem::swap(&mut self.output, sent);
    }

    /// What happened, in order, until `None`.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Takes bytes from the connection. Look for output and events afterwards; after an error too, which ends the
    /// session.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) -> Result<(), SessionError> {
        self.last_received = now;
        self.probed = false;
        // The framer lends the frame, and handling it needs the rest of the session.
        let mut framer = std::mem::replace(&mut self.framer, Framer::new(FrameLimits::CLIENT));
        framer.push(bytes);
        let result = self.handle_frames(&mut framer);
        self.framer = framer;
        result
    }

    fn handle_frames(&mut self, framer: &mut Framer) -> Result<(), SessionError> {
        while let Some(frame) = framer.next_frame()? {
            if let Some((last_transaction, updates)) = self.adaptation.told(MONITOR, frame) {
                self.tell(updates, last_transaction);
                continue;
            }
            match Message::parse(frame)? {
                Message::Request { id, method, params } => {
                    self.handle_request(&id, &method, params);
                }
                Message::Notification { method, params } => {
                    self.handle_notification(&method, params)?;
                }
                Message::Response { id, result } => {
                    let pending = id.as_u64().and_then(|id| self.pending.remove(&id));
                    if let Some(pending) = pending {
                        self.handle_response(pending, result)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// When to call [`Session::handle_timer`], unless something is received before.
    pub fn next_timer(&self) -> Option<Instant> {
        (!self.config.probe_interval.is_zero()).then(|| {
            let silences = if self.probed { 2 } else { 1 };
            self.last_received + self.probe_interval() * silences
        })
    }

    /// A server that gathers the contents of a large database, with one thread, is not dead.
    fn probe_interval(&self) -> Duration {
        if self.is_live() {
            self.config.probe_interval
        } else {
            self.config.probe_interval.max(LOADING_PATIENCE)
        }
    }

    /// Looks whether the server has been silent for too long.
    pub fn handle_timer(&mut self, now: Instant) -> Result<(), SessionError> {
        match self.next_timer() {
            Some(due) if now >= due && self.probed => {
                Err(SessionError::Silent(now - self.last_received))
            }
            Some(due) if now >= due => {
                self.probed = true;
                self.request(Pending::Echo, "echo", &json!([]));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The owner did not read from the connection for a while, so silence until now means nothing.
    pub fn forgive_silence(&mut self, now: Instant) {
        self.last_received = now;
        self.probed = false;
    }

    /// Whether the contents have been told and transactions are taken.
    pub fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Live)
    }

    /// Whether all conditions given so far are in effect.
    pub fn conditions_in_effect(&self) -> bool {
        self.condition_changes == 0
    }

    /// Sends a transaction. The answer is an [`Event::Reply`] with this `id`.
    ///
    /// # Errors
    /// If the contents have not been told yet, or too many transactions are unanswered; nothing is sent then.
    pub fn transact(&mut self, id: u64, operations: Vec<Operation>) -> Result<(), Error> {
        if !self.is_live() {
            return Err(Error::new(
                ErrorKind::NotAllowed,
                "the connection to the database is not ready yet",
            ));
        }
        if self.pending.len() >= MAX_OUTSTANDING {
            return Err(Error::new(
                ErrorKind::ResourcesExhausted,
                format!("{MAX_OUTSTANDING} requests wait for an answer"),
            ));
        }
        let schema = self.config.schema.clone();
        let mut sent = SentTransaction::new(id, operations, &self.adaptation, &schema);
        write_transact(&mut self.output, self.next_id, &schema, sent.operations());
        // There are no contents without a monitor, and no transactions without contents.
        if let Some(own) = &mut self.own {
            sent.give_rows(own);
        }
        self.pending
            .insert(self.next_id, Pending::Transact(Box::new(sent)));
        self.next_id += 1;
        Ok(())
    }

    /// Changes the rows to see of some tables. [`Event::Conditions`] comes when they are in effect.
    pub fn set_conditions(&mut self, conditions: impl IntoIterator<Item = (usize, Condition)>) {
        let mut changed = Vec::new();
        for (table, condition) in conditions {
            if let Some(monitor) = self
                .config
                .tables
                .iter_mut()
                .find(|monitor| monitor.table == table)
                && monitor.condition != condition
            {
                monitor.condition = condition;
                changed.push(table);
            }
        }
        // Before it has begun, it begins with these.
        let monitoring = self.own.is_some();
        if changed.is_empty() || !monitoring {
            return;
        }
        if self.version == MonitorVersion::V1 {
            // Such a server knows no conditions and tells of every row; that is a superset.
            self.events.push_back(Event::Conditions);
        } else {
            self.send_conditions(&changed);
        }
    }

    fn send_conditions(&mut self, tables: &[usize]) {
        let schema = self.config.schema.clone();
        let adapted: Vec<(usize, Condition)> = self
            .config
            .tables
            .iter()
            .filter(|monitor| tables.contains(&monitor.table))
            .filter_map(|monitor| self.adaptation.monitor(&schema, monitor))
            .map(|monitor| (monitor.table, monitor.condition))
            .collect();
        let changes = condition_changes_to_json(
            &schema,
            adapted.iter().map(|(table, condition)| (*table, condition)),
        );
        self.condition_changes += 1;
        self.request(
            Pending::Conditions,
            "monitor_cond_change",
            &json!([MONITOR, MONITOR, changes]),
        );
    }

    fn request(&mut self, pending: Pending, method: &str, params: &impl Serialize) {
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id, pending);
        jsonrpc::write_request(&mut self.output, &json!(id), method, params);
    }

    fn handle_request(&mut self, id: &Value, method: &str, params: &RawValue) {
        let mut answer = if method == "echo" {
            jsonrpc::response(id, &params)
        } else {
            jsonrpc::error_response(id, &Error::new(ErrorKind::UnknownMethod, ""))
        };
        self.output.append(&mut answer);
    }

    fn handle_notification(&mut self, method: &str, params: &RawValue) -> Result<(), SessionError> {
        match method {
            "update" | "update2" => {
                let (monitor, updates): (Value, &RawValue) = read("an update", params)?;
                self.handle_updates(&monitor, updates, Uuid::nil())
            }
            "update3" => {
                let (monitor, last, updates): (Value, Uuid, &RawValue) = read("an update", params)?;
                self.handle_updates(&monitor, updates, last)
            }
            "locked" | "stolen" => {
                let (lock,): (String,) = read("a lock", params)?;
                if self.config.lock.as_deref() == Some(&*lock) {
                    self.events.push_back(Event::Lock(method == "locked"));
                }
                Ok(())
            }
            "monitor_canceled" => {
                let (monitor,): (Value,) = read("the end of a monitor", params)?;
                if monitor == MONITOR {
                    return Err(SessionError::NoDatabase(self.config.schema.name.clone()));
                }
                Ok(())
            }
            // A server may say more than we know.
            _ => Ok(()),
        }
    }

    fn handle_updates(
        &mut self,
        monitor: &Value,
        updates: &RawValue,
        last_transaction: Uuid,
    ) -> Result<(), SessionError> {
        if monitor == SERVER_MONITOR {
            self.server.learn(&self.config.schema.name, updates)?;
            return self.check_server();
        }
        if monitor == MONITOR {
            let updates = self
                .adaptation
                .updates(updates)
                .map_err(|error| nonsense("an update", error))?;
            self.tell(updates, last_transaction);
        }
        Ok(())
    }

    fn tell(&mut self, mut updates: TableUpdates, last_transaction: Uuid) {
        if let Some(own) = &mut self.own {
            own.fill(&mut updates);
        }
        self.events.push_back(Event::Updates {
            updates,
            last_transaction,
        });
    }

    fn handle_response(
        &mut self,
        pending: Pending,
        result: Result<&RawValue, Error>,
    ) -> Result<(), SessionError> {
        match pending {
            Pending::Aware | Pending::Echo => Ok(()),
            Pending::ServerMonitor => {
                // Servers before Open vSwitch 2.9 have no such database, and no clusters either.
                if let Ok(updates) = result {
                    self.server.learn(&self.config.schema.name, updates)?;
                    self.check_server()?;
                }
                self.greeted(|server_is_fit, _| *server_is_fit = true);
                Ok(())
            }
            Pending::Schema => {
                let json = result.map_err(|error| match error.kind {
                    ErrorKind::UnknownDatabase => {
                        SessionError::NoDatabase(self.config.schema.name.clone())
                    }
                    _ => refused("get_schema", error),
                })?;
                let json: Value = read("a schema", json)?;
                let schema = DatabaseSchema::from_json(&json)
                    .map_err(|error| nonsense("a schema", Error::syntax(error.to_string())))?;
                self.adaptation = Adaptation::new(&self.config.schema, &schema);
                let missing = self.adaptation.missing().clone();
                self.events.push_back(Event::Schema(missing));
                self.greeted(|_, schema_known| *schema_known = true);
                Ok(())
            }
            Pending::Monitor(version) => self.handle_contents(version, result),
            Pending::Conditions => {
                result.map_err(|error| refused("monitor_cond_change", error))?;
                self.condition_changes -= 1;
                if self.condition_changes == 0 {
                    self.events.push_back(Event::Conditions);
                }
                Ok(())
            }
            Pending::Lock => {
                let answer = result.map_err(|error| refused("lock", error))?;
                let answer: Value = read("a lock", answer)?;
                let is_ours = answer["locked"] == true;
                self.events.push_back(Event::Lock(is_ours));
                if self.own.is_none() {
                    self.begin_monitor(is_ours);
                }
                Ok(())
            }
            Pending::Transact(sent) => {
                if let Some(own) = &mut self.own {
                    own.answered(sent.operations());
                }
                let event = sent.reply(&self.config.schema, result);
                self.events.push_back(
                    event.map_err(|error| nonsense("the results of a transaction", error))?,
                );
                Ok(())
            }
        }
    }

    /// Notes that one of the two answers is here; with both, the monitor can begin.
    fn greeted(&mut self, note: impl FnOnce(&mut bool, &mut bool)) {
        let Stage::Greeting {
            server_is_fit,
            schema_known,
        } = &mut self.stage
        else {
            return;
        };
        note(server_is_fit, schema_known);
        if *server_is_fit && *schema_known {
            self.stage = Stage::Loading;
            let lock = self.config.lock.clone();
            if lock.is_none() || self.config.own_inserts.is_empty() {
                self.begin_monitor(false);
            }
            if let Some(lock) = lock {
                self.request(Pending::Lock, "lock", &json!([&*lock]));
            }
        }
    }

    fn begin_monitor(&mut self, has_lock: bool) {
        let tables = match has_lock {
            true => self.config.own_inserts.clone(),
            false => Vec::new(),
        };
        self.own = Some(OwnRows::of(tables));
        self.send_monitor(MonitorVersion::V3);
    }

    fn send_monitor(&mut self, version: MonitorVersion) {
        self.version = version;
        let schema = self.config.schema.clone();
        let spec = MonitorSpec {
            version,
            tables: self
                .config
                .tables
                .iter()
                .filter_map(|monitor| self.adaptation.monitor(&schema, monitor))
                .map(|monitor| match &self.own {
                    // The first version of the protocol has another form.
                    Some(own) if version != MonitorVersion::V1 => own.monitor(monitor),
                    _ => monitor,
                })
                .collect(),
        };
        let tables = spec.with(&schema);
        let pending = Pending::Monitor(version);
        match version {
            MonitorVersion::V3 => {
                let last = self.config.last_transaction;
                self.request(
                    pending,
                    version.request(),
                    &(&*schema.name, MONITOR, tables, last),
                );
            }
            _ => self.request(
                pending,
                version.request(),
                &(&*schema.name, MONITOR, tables),
            ),
        }
    }

    fn handle_contents(
        &mut self,
        version: MonitorVersion,
        result: Result<&RawValue, Error>,
    ) -> Result<(), SessionError> {
        let json = match result {
            Ok(json) => json,
            Err(error)
                if error.kind == ErrorKind::UnknownMethod && version != MonitorVersion::V1 =>
            {
                self.send_monitor(match version {
                    MonitorVersion::V3 => MonitorVersion::V2,
                    _ => MonitorVersion::V1,
                });
                return Ok(());
            }
            Err(error) => return Err(refused(version.request(), error)),
        };
        let (since_last, last_transaction, updates): (bool, Uuid, &RawValue) = match version {
            MonitorVersion::V3 => read("the contents", json)?,
            _ => (false, Uuid::nil(), json),
        };
        let updates = self
            .adaptation
            .updates(updates)
            .map_err(|error| nonsense("the contents", error))?;
        self.stage = Stage::Live;
        self.events.push_back(Event::Contents {
            since_last,
            updates,
            last_transaction,
        });
        Ok(())
    }

    /// Whether the server may be talked to, as far as `_Server` says.
    fn check_server(&self) -> Result<(), SessionError> {
        let Some((_, database)) = &self.server.row else {
            return Err(SessionError::NoDatabase(self.config.schema.name.clone()));
        };
        if !database.connected {
            return Err(SessionError::NotConnected);
        }
        if self.config.leader_only && !database.leader {
            return Err(SessionError::NotLeader);
        }
        Ok(())
    }
}

impl ServerState {
    /// Takes what `_Server` says of the database called `name`.
    fn learn(&mut self, name: &str, updates: &RawValue) -> Result<(), SessionError> {
        let updates: Value = read("the state of its databases", updates)?;
        for (uuid, update) in updates["Database"].as_object().into_iter().flatten() {
            let uuid = Uuid::try_parse(uuid).unwrap_or_default();
            let columns = ["initial", "insert", "modify"]
                .into_iter()
                .find_map(|kind| update.get(kind));
            let ours = self.row.as_ref().is_some_and(|(other, _)| *other == uuid);
            match columns {
                Some(columns) => {
                    let known = self.row.as_ref().filter(|_| ours);
                    let mut state =
                        known.map_or_else(DatabaseState::default, |(_, state)| state.clone());
                    state.learn(columns);
                    if state.name == name {
                        self.row = Some((uuid, state));
                    }
                }
                None if ours => self.row = None,
                None => {}
            }
        }
        Ok(())
    }
}

impl DatabaseState {
    fn learn(&mut self, columns: &Value) {
        if let Some(name) = columns["name"].as_str() {
            name.clone_into(&mut self.name);
        }
        if let Some(connected) = columns["connected"].as_bool() {
            self.connected = connected;
        }
        if let Some(leader) = columns["leader"].as_bool() {
            self.leader = leader;
        }
    }
}

fn read<'a, T: serde::Deserialize<'a>>(
    what: &'static str,
    json: &'a RawValue,
) -> Result<T, SessionError> {
    serde_json::from_str(json.get())
        .map_err(|error| nonsense(what, Error::syntax(error.to_string())))
}

fn refused(method: &'static str, error: Error) -> SessionError {
    SessionError::Refused { method, error }
}

fn nonsense(what: &'static str, error: Error) -> SessionError {
    SessionError::Nonsense { what, error }
}

#[cfg(test)]
mod tests;
