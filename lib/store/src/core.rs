//! The store without I/O: what happens goes in as an [`Event`], what is to be done comes out as
//! [`Effects`].
//!
//! There is one copy of the database in memory, the *head*. On the leader it runs ahead of what
//! the cluster has agreed on:
//!
//! ```text
//!   request ──▶ execute on the head ──▶ delta ──▶ propose ──▶ …disk, majority… ──▶ committed
//!                     │                   │                                            │
//!                     │                   └── pending: the delta, and who waits for it ◀┘
//!                     └── nothing changed: the answer waits for the newest pending one
//! ```
//!
//! Nothing that depends on a delta is shown before the delta is committed: answers wait in the
//! queue of what is pending, and monitors see the committed state only. When leadership
//! is lost, what is pending is taken back in reverse order. It may be committed all the same, by
//! the next leader: those who wait go on waiting until its place in the log is filled, with it or
//! with something else (`unresolved`).
//!
//! A member that does not lead forwards transactions (`forward`), but for those that only read;
//! what changes nothing is answered only when it is known that the leader still led (`reads`).
//!
//! What monitors are told at first is found in pieces if it takes long (`contents`).
//!
//! What only reads is executed in pieces if it takes long (`pieces`), and its answer waits for the
//! word that the leader still leads (`reads`).
//!
//! A transaction whose `wait` is not fulfilled is kept aside (`waits`), and executed again when a
//! table changes that it waits for, or when its time is up.

mod contents;
mod describe;
mod forward;
mod gather;
mod log;
mod members;
mod pieces;
mod reads;
mod snapshot;
mod transact;
mod unresolved;
mod waits;
mod watching;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use ovsdb::schema::DatabaseSchema;
use ovsdb::{Error, ErrorKind, Row, Uuid};
use rustc_hash::FxHashMap;
use table::Database;

use crate::access::Access;
use crate::caller::Caller;
use crate::core::contents::Contents;
use crate::core::forward::Forwards;
use crate::core::gather::{Gather, ROWS_PER_STEP};
use crate::core::log::{MAX_LOG_BYTES, MAX_LOG_ENTRIES};
use crate::core::pieces::{Pieces, SLICE_STEPS};
use crate::core::reads::Reads;
use crate::core::transact::{Attempt, Origin, Pending};
use crate::core::unresolved::UnresolvedProposals;
use crate::core::waits::{WAIT_STEPS, Waits};
use crate::event::{Effects, Event, Output, Request};
use crate::history::History;
use crate::load::Loaded;
use crate::locks::{self, Locks};
use crate::monitor::Monitors;
use crate::parts::{PART_BYTES, Parts};
use crate::peer::Snapshot;
use crate::raft::{Mark, Message, Node, NodeError};
use crate::retries::Retries;
use crate::server_database::{DatabaseRow, ServerDatabase};
use crate::session::{Backlog, RequestId, SessionId};
use crate::storage::{Identity, LogPosition, Membership};

/// How long a tick of Raft's is, in milliseconds.
pub const TICK_MS: u64 = 100;
/// After so many ticks, `_Server` shows the index anew.
const TICKS_PER_INDEX: u64 = 10;
/// So many slices are looked at in one step, at most: of what monitors are told, of a transaction that reads, of an index,
/// and of others that read.
const MAX_SLICES: usize = 8;
/// So many bytes an answer may have that goes to another member, or is remembered by the name of its transaction.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// While so many bytes of answers wait for a session, it may ask for nothing more.
const MAX_HELD_BYTES: usize = 64 << 20;

/// What tells the process of a member from all others.
#[derive(Clone, Copy)]
pub struct Process {
    /// Chosen at random. The other members know it.
    pub number: u64,
    /// Chosen at random. Nobody else ever knows it.
    pub secret: Uuid,
}

impl fmt::Debug for Process {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Process({})", self.number)
    }
}

/// The store.
#[derive(Debug)]
pub struct Core {
    identity: Identity,
    schema: Arc<DatabaseSchema>,
    head: Database,
    node: Node,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    pending_rows: usize,
    waits: Waits,
    /// So many values may be compared for them in one step.
    wait_steps: usize,
    /// Tables of the head that changed since the blocked transactions were last looked at.
    changed: BTreeSet<usize>,
    /// The beginning of a transaction that is committed in parts.
    parts: Parts,
    /// So many bytes go into one entry of the log.
    part_bytes: usize,
    after_flush: VecDeque<(u64, Vec<Message>)>,
    sessions: FxHashMap<SessionId, (Arc<Backlog>, Caller)>,
    access: Access,
    locks: Locks,
    monitors: Monitors,
    server: ServerDatabase,
    /// Whether `_Server` says that this member serves.
    described: bool,
    history: History,
    retries: Retries,
    ticks: u64,
    /// When the others are told of what is committed by now, in milliseconds.
    news_at: Option<u64>,
    /// The most entries and bytes of the log.
    log_limits: (usize, usize),
    forwards: Forwards,
    pieces: Pieces,
    contents: Contents,
    /// So many values are compared in one slice of what is done in pieces.
    slice_steps: usize,
    reads: Reads,
    unresolved: UnresolvedProposals,
    /// Changes of the members that were proposed, and who waits for each.
    changes: Vec<(Mark, (SessionId, RequestId))>,
    /// The most bytes of an answer that goes to another member.
    answer_bytes: usize,
    /// A snapshot that Raft may be about to take over.
    arrived: Option<Snapshot>,
    /// A snapshot for other members.
    gather: Option<Gather>,
    /// So many of its rows are gathered in one step.
    rows_per_step: usize,
    /// See [`Core::spent`].
    spent: usize,
}

impl Core {
    /// The store with what was found on disk.
    pub fn new(loaded: Loaded, process: Process) -> Result<Self, NodeError> {
        let identity = loaded.state.identity.clone();
        let settled = loaded.parts.settled(loaded.state.applied);
        let node = Node::new(&loaded.state, settled, process.number)?;
        let schema = loaded.database.schema().clone();
        let row = DatabaseRow {
            name: schema.name.clone(),
            model: "clustered".into(),
            schema: Some(schema.to_json().to_string().into()),
            cid: Some(identity.cluster),
            sid: Some(identity.server),
            index: i64::try_from(loaded.state.applied.index).ok(),
            ..DatabaseRow::default()
        };
        Ok(Self {
            monitors: Monitors::new(&schema),
            access: Access::new(&schema),
            server: ServerDatabase::new(identity.server, &row),
            history: History::new(identity.cluster, loaded.data_index),
            retries: loaded.retries,
            parts: loaded.parts,
            part_bytes: PART_BYTES,
            head: loaded.database,
            identity,
            schema,
            node,
            pending: VecDeque::new(),
            pending_bytes: 0,
            pending_rows: 0,
            waits: Waits::default(),
            wait_steps: WAIT_STEPS,
            changed: BTreeSet::new(),
            after_flush: VecDeque::new(),
            sessions: FxHashMap::default(),
            locks: Locks::default(),
            described: false,
            ticks: 0,
            news_at: None,
            log_limits: (MAX_LOG_ENTRIES, MAX_LOG_BYTES),
            forwards: Forwards::new(process),
            pieces: Pieces::default(),
            contents: Contents::default(),
            slice_steps: SLICE_STEPS,
            reads: Reads::default(),
            unresolved: UnresolvedProposals::default(),
            changes: Vec::new(),
            answer_bytes: MAX_ANSWER_BYTES,
            arrived: None,
            gather: None,
            rows_per_step: ROWS_PER_STEP,
            spent: 0,
        })
    }

    /// Truncates the log earlier or later than usual, for tests.
    pub fn set_log_limits(&mut self, entries: usize, bytes: usize) {
        self.log_limits = (entries, bytes);
    }

    /// Cuts transactions into smaller parts than usual, and sends few of them at once, for tests.
    pub fn set_part_bytes(&mut self, bytes: usize) {
        self.part_bytes = bytes;
        self.node.set_message_bytes(2 * bytes as u64);
    }

    /// Gathers snapshots in smaller portions than usual, for tests.
    pub fn set_rows_per_step(&mut self, rows: usize) {
        self.rows_per_step = rows;
    }

    /// Gives waits another budget than usual, for tests.
    pub fn set_wait_steps(&mut self, steps: usize) {
        self.wait_steps = steps;
    }

    /// How many rows and values were looked at in the last step, besides those that a transaction is about. In a debug
    /// build, a step that looks at more than its budgets say panics.
    pub fn spent(&self) -> usize {
        self.spent
    }

    /// How many transactions of this member's clients wait for a leader, or for its answers.
    pub fn waiting_for_leader(&self) -> usize {
        self.forwards.len()
    }

    /// How many values were compared for waits in the last step.
    pub fn wait_steps_spent(&self) -> usize {
        self.waits.spent
    }

    /// Gives other members smaller answers than usual, for tests.
    pub fn set_answer_bytes(&mut self, bytes: usize) {
        self.answer_bytes = bytes;
    }

    /// Reads in smaller pieces than usual, for tests.
    pub fn set_slice_steps(&mut self, steps: usize) {
        self.slice_steps = steps;
    }

    /// How far the log is applied.
    pub fn applied(&self) -> LogPosition {
        self.node.applied_position()
    }

    /// Raft's term.
    pub fn term(&self) -> u64 {
        self.node.leader().1
    }

    /// Who belongs to the cluster.
    pub fn membership(&self) -> Membership {
        self.node.membership()
    }

    /// Something happened; `now_ms` is a clock that never goes back.
    pub fn step(&mut self, now_ms: u64, event: Event) -> Effects {
        let mut effects = Effects::default();
        self.spent = 0;
        let name = event.name();
        match event {
            Event::Tick => self.tick(&mut effects),
            Event::Timer => {
                self.go_on(now_ms, &mut effects);
                self.go_on_with_contents(now_ms, &mut effects);
                self.spent += self.head.grow_lookups(self.slice_steps);
            }
            Event::Connected {
                session,
                backlog,
                caller,
            } => {
                self.access.foresee(&caller, &mut self.head);
                self.sessions.insert(session, (backlog, caller));
            }
            Event::Disconnected { session } => self.disconnect(session, &mut effects),
            Event::Drained { session } => self.drained(session, &mut effects),
            Event::Persisted { flush } => self.persisted(flush, &mut effects),
            Event::Peer { sender, message } => {
                self.hear(now_ms, sender, message, &mut effects);
            }
            Event::SnapshotArrived(snapshot) => self.snapshot_arrived(*snapshot),
            Event::SnapshotSent { member, arrived } => self.node.snapshot_sent(member, arrived),
            Event::PeerLost { member, purpose } => self.peer_lost(member, purpose),
            Event::ForwardTooLarge { call, bytes, limit } => {
                self.forward_too_large(call, (bytes, limit), &mut effects);
            }
            Event::PeerGone { member } => self.node.peer_gone(member),
            Event::Retire => self.retire(),
            Event::Request {
                session,
                request,
                body,
            } => self.request(now_ms, (session, request), body, &mut effects),
        }
        self.retry_blocked(now_ms, &mut effects);
        self.confirm_reads(&mut effects);
        self.drive(&mut effects);
        self.arrived = None;
        self.read_due(&mut effects);
        self.settle(now_ms, &mut effects);
        self.gather(&mut effects);
        self.spread_news(now_ms, &mut effects);
        let gathering = self.gather.as_ref().map(|_| now_ms + 1);
        let deadlines = self.waits.deadline().into_iter();
        effects.discarded = self.pieces.discarded();
        let applied = self.node.applied_position().index;
        let is_busy = self.pieces.is_busy() || self.waits.is_due() || self.reads.is_due(applied);
        let is_busy = is_busy || self.is_taking_over();
        let at_once = (is_busy || self.head.has_growing_lookups()).then_some(now_ms);
        let times = deadlines.chain(gathering).chain(self.news_at);
        let times = times.chain(self.contents.wake_at(now_ms));
        effects.wake_at = times.chain(at_once).min();
        debug_assert!(
            self.spent <= MAX_SLICES * (self.slice_steps + 1),
            "{name}: {} values are looked at in one step",
            self.spent
        );
        effects
    }

    /// Whether this member serves: it leads, and its head state is the newest.
    pub fn serves(&self) -> bool {
        self.node.leads()
    }

    /// The committed rows of a table, in the order of their identities, for tests and for backups.
    pub fn committed_rows(&self, table: usize) -> Vec<(Uuid, Arc<Row>)> {
        let rows = self.head.rows(table);
        let mut rows: BTreeMap<_, _> = rows.map(|(uuid, row)| (uuid, row.clone())).collect();
        let changes = self.pending.iter().rev();
        let changes = changes.flat_map(|pending| pending.delta.iter().rev());
        for change in changes.filter(|change| change.table == table) {
            match &change.old {
                Some(row) => rows.insert(change.uuid, row.clone()),
                None => rows.remove(&change.uuid),
            };
        }
        rows.into_iter().collect()
    }

    fn request(
        &mut self,
        now_ms: u64,
        (session, request): (SessionId, RequestId),
        mut body: Request,
        effects: &mut Effects,
    ) {
        let refused = |error: Error| Output::Refused { request, error };
        let Some((backlog, caller)) = self.sessions.get(&session) else {
            return;
        };
        if body.has_large_answer() && backlog.held() > MAX_HELD_BYTES {
            let text = format!(
                "More than {MAX_HELD_BYTES} bytes of answers wait for this client to read them."
            );
            let error = Error::new(ErrorKind::ResourcesExhausted, text);
            return effects.outputs.push((session, refused(error)));
        }
        let caller = caller.clone();
        if let Err(error) = self.access.check_request(&caller, &mut body) {
            effects.outputs.push((session, refused(error)));
            return;
        }
        let output = match body {
            Request::Transact {
                database,
                transaction,
                name,
                lock_holders,
                consistency,
            } => {
                return self.transact(
                    now_ms,
                    Attempt {
                        origin: Origin::Client(session, request),
                        caller,
                        database,
                        transaction,
                        name,
                        lock_holders,
                        consistency,
                        since_ms: now_ms,
                        sending: 0,
                        session_there: session,
                    },
                    effects,
                );
            }
            Request::Cancel { target } => return self.cancel(session, target, effects),
            Request::Monitor {
                database,
                monitor,
                view,
                since,
            } => {
                let named = ((session, monitor), request);
                match self.monitor(now_ms, database, named, (view, since), effects) {
                    Ok(()) => return,
                    Err(error) => refused(error),
                }
            }
            Request::ChangeConditions {
                monitor,
                mut conditions,
            } => {
                let key = (session, monitor);
                if !self.server.monitors.contains(key) {
                    self.access.narrow(&caller, &mut conditions);
                }
                match self.change_conditions(now_ms, (key, request), conditions, effects) {
                    Ok(()) => return,
                    Err(error) => refused(error),
                }
            }
            Request::CancelMonitor { monitor } => {
                self.cancel_monitor(((session, monitor), request), effects)
            }
            Request::Lock { name, steal } => match self.locks.lock(session, &name, steal) {
                Ok((owned, robbed)) => {
                    effects.outputs.extend(robbed.map(lock_changed));
                    Output::Lock { request, owned }
                }
                Err(error) => refused(Error::syntax(format!("Lock {name}: {error}."))),
            },
            Request::Unlock { name } if !self.locks.is_queued(session, &name) => refused(
                Error::syntax(format!("Lock {name}: unlock without lock or steal.")),
            ),
            Request::Unlock { name } => {
                let next = self.locks.unlock(session, &name);
                effects.outputs.extend(next.map(lock_changed));
                Output::Done { request }
            }
            Request::ChangeMembers(change) => {
                match self.change_members(&change, (session, request)) {
                    Ok(false) => return,
                    Ok(true) => Output::Done { request },
                    Err(error) => refused(error),
                }
            }
            Request::Transfer { member } => match self.transfer(member) {
                Ok(()) => Output::Done { request },
                Err(error) => refused(error),
            },
            Request::Status => Output::Status {
                request,
                status: Box::new(self.status()),
            },
        };
        effects.outputs.push((session, output));
    }

    fn tick(&mut self, effects: &mut Effects) {
        self.node.tick();
        self.ticks += 1;
        self.reads.tick();
        self.promote();
        self.forwards_tick(effects);
        if self.ticks.is_multiple_of(TICKS_PER_INDEX) {
            self.describe(effects);
        }
    }

    fn disconnect(&mut self, session: SessionId, effects: &mut Effects) {
        self.sessions.remove(&session);
        self.monitors.disconnect(session);
        self.server.monitors.disconnect(session);
        self.waits.disconnect(session);
        self.pieces.disconnect(session);
        self.contents.disconnect(session);
        let leader = self.node.leader().0;
        self.forwards.disconnect(session, leader, effects);
        let changes = self.locks.disconnect(session);
        effects
            .outputs
            .extend(changes.into_iter().map(lock_changed));
    }
}

fn lock_changed(change: locks::Change) -> (SessionId, Output) {
    let output = Output::LockChanged {
        name: change.name,
        owned: change.owned,
    };
    (change.session, output)
}
