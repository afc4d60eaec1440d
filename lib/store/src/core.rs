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
//! queue of what is pending, and monitors see the committed state ([`Committed`]). When leadership
//! is lost, what is pending is taken back in reverse order. It may be committed all the same, by
//! the next leader: those who wait go on waiting until its place in the log is filled, with it or
//! with something else (`doubt`).
//!
//! A member that does not lead forwards transactions (`forward`); a leader answers what changes
//! nothing only when it knows that it still led (`reads`).
//!
//! A transaction whose `wait` is not fulfilled is kept aside, and executed again when a table
//! changes that it waits for, or when its time is up.

mod doubt;
mod forward;
mod members;
mod reads;
mod snapshot;
mod watching;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use ovsdb::operation::{Outcome, outcome_to_json};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Condition, Error, ErrorKind, Operation, RowChange, Transaction, Uuid};
use rustc_hash::FxHashMap;
use table::{Context, Database, Done, Execution};

use crate::committed::Committed;
use crate::core::doubt::Doubt;
use crate::core::forward::Forwards;
use crate::core::reads::Reads;
use crate::entry::{self, NamedResult, Turn};
use crate::event::{
    Backlog, DatabaseId, Effects, Event, Output, Request, RequestId, SessionId, Status,
};
use crate::history::History;
use crate::load::Loaded;
use crate::locks::{self, Locks};
use crate::monitor::Monitors;
use crate::peer::{Answered, Call, PeerMessage, Snapshot};
use crate::raft::{
    Committed as CommittedEntry, Mark, Message, MessageType, Node, NodeError, Role, Work,
};
use crate::retries::Retries;
use crate::server_database::{DatabaseRow, ServerDatabase};
use crate::storage::{EntryKind, Identity};
use crate::writer::Job;

/// How long a tick of Raft's is, in milliseconds.
pub const TICK_MS: u64 = 100;
/// After so many ticks, `_Server` shows the index anew.
const TICKS_PER_INDEX: u64 = 10;
/// So many bytes one log entry may have at most.
pub const MAX_ENTRY_BYTES: usize = 128 << 20;
/// So many bytes may wait to be committed; a transaction that comes then is refused.
const MAX_PENDING_BYTES: usize = 192 << 20;
/// So many transactions may wait for a condition.
const MAX_BLOCKED: usize = 65_536;
/// The log is truncated when it has more entries than this, or more bytes than
/// [`MAX_LOG_BYTES`]; half of it stays, for members who are a little behind.
const MAX_LOG_ENTRIES: usize = 16_384;
const MAX_LOG_BYTES: usize = 64 << 20;
/// While a snapshot is on its way, the log may become so many times as long.
const SNAPSHOT_PATIENCE: usize = 8;

/// The store.
#[derive(Debug)]
pub struct Core {
    identity: Identity,
    schema: Arc<DatabaseSchema>,
    head: Database,
    node: Node,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    blocked: Vec<Blocked>,
    /// Tables of the head that changed since the blocked transactions were last looked at.
    changed: BTreeSet<usize>,
    after_flush: VecDeque<(u64, Vec<Message>)>,
    sessions: FxHashMap<SessionId, Arc<Backlog>>,
    locks: Locks,
    monitors: Monitors,
    server: ServerDatabase,
    /// Whether `_Server` says that this member serves.
    described: bool,
    history: History,
    retries: Retries,
    ticks: u64,
    /// The most entries and bytes of the log.
    log_limits: (usize, usize),
    forwards: Forwards,
    reads: Reads,
    doubts: VecDeque<Doubt>,
    /// Changes of the members that were proposed, and who waits for each.
    changes: Vec<(Mark, (SessionId, RequestId))>,
    /// A snapshot that Raft may be about to take over.
    arrived: Option<Snapshot>,
}

/// A transaction to execute.
#[derive(Clone, Debug)]
struct Attempt {
    origin: Origin,
    database: DatabaseId,
    transaction: Transaction,
    name: Option<Uuid>,
    lock_holders: Vec<SessionId>,
    since_ms: u64,
}

/// Who asks, and gets the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Origin {
    /// A client of this member.
    Client(SessionId, RequestId),
    /// A client of another member.
    Member(u64, Call),
}

/// What is answered.
#[derive(Debug)]
enum Reply {
    /// The outcome, and the log index of the commit if it changed anything.
    Done(Outcome, Option<u64>),
    /// The answer to the same named transaction, and the log index of its commit.
    Repeated(bytes::Bytes, u64),
    /// It was not executed.
    Refused(Error),
}

/// A transaction that waits for a condition.
#[derive(Debug)]
struct Blocked {
    attempt: Attempt,
    deadline_ms: Option<u64>,
    /// The tables that it waits for.
    tables: Vec<usize>,
}

/// A delta on its way through the log.
#[derive(Debug)]
struct Pending {
    mark: Mark,
    /// Where it stands in the log.
    index: u64,
    delta: Arc<[RowChange]>,
    bytes: usize,
    named: Option<NamedResult>,
    /// The transaction that made it.
    owner: Waiter,
    /// Other transactions whose answers depend on it.
    others: Vec<Waiter>,
}

/// An answer that waits for a commit.
#[derive(Debug)]
struct Waiter {
    attempt: Attempt,
    outcome: Outcome,
}

impl Core {
    /// The store with what was found on disk. `process` is a random number.
    pub fn new(loaded: Loaded, process: u64) -> Result<Self, NodeError> {
        let identity = loaded.state.identity.clone();
        let node = Node::new(&loaded.state, process)?;
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
            server: ServerDatabase::new(identity.server, &row),
            history: History::new(identity.cluster, loaded.data_index),
            retries: loaded.retries,
            head: loaded.database,
            identity,
            schema,
            node,
            pending: VecDeque::new(),
            pending_bytes: 0,
            blocked: Vec::new(),
            changed: BTreeSet::new(),
            after_flush: VecDeque::new(),
            sessions: FxHashMap::default(),
            locks: Locks::default(),
            described: false,
            ticks: 0,
            log_limits: (MAX_LOG_ENTRIES, MAX_LOG_BYTES),
            forwards: Forwards::new(process),
            reads: Reads::default(),
            doubts: VecDeque::new(),
            changes: Vec::new(),
            arrived: None,
        })
    }

    /// Truncates the log earlier or later than usual, for tests.
    pub fn set_log_limits(&mut self, entries: usize, bytes: usize) {
        self.log_limits = (entries, bytes);
    }

    /// How far the log is applied.
    pub fn applied(&self) -> crate::storage::LogPosition {
        self.node.applied_position()
    }

    /// What this member is doing, in a line, for messages.
    pub fn summary(&self) -> String {
        let status = self.node.status();
        format!(
            "{} of term {}, leader {}, log {}..{}, commit {}, applied {}, {} pending, {} forwarded",
            status.role.name(),
            status.term,
            status.leader,
            status.first,
            status.last,
            status.commit,
            status.applied,
            self.pending.len(),
            self.forwards.len(),
        )
    }

    /// Who belongs to the cluster.
    pub fn membership(&self) -> crate::storage::Membership {
        self.node.membership()
    }

    /// Something happened; `now_ms` is a clock that never goes back.
    pub fn step(&mut self, now_ms: u64, event: Event) -> Effects {
        let mut effects = Effects::default();
        match event {
            Event::Tick => self.tick(&mut effects),
            Event::Timer => {}
            Event::Connected { session, backlog } => {
                self.sessions.insert(session, backlog);
            }
            Event::Disconnected { session } => self.disconnect(session, &mut effects),
            Event::Drained { session } => self.drained(session, &mut effects),
            Event::Persisted { flush } => self.persisted(flush, &mut effects),
            Event::Peer { member, message } => {
                self.hear(now_ms, member, message, &mut effects);
            }
            Event::SnapshotArrived(snapshot) => self.snapshot_arrived(*snapshot),
            Event::SnapshotSent { member, arrived } => self.node.snapshot_sent(member, arrived),
            Event::PeerLost { member } => self.peer_lost(member),
            Event::Retire => self.retire(),
            Event::Request {
                session,
                request,
                body,
            } => self.request(now_ms, (session, request), body, &mut effects),
        }
        self.retry_blocked(now_ms, &mut effects);
        self.confirm_reads();
        self.drive(&mut effects);
        self.arrived = None;
        self.settle(now_ms, &mut effects);
        effects.wake_at = self.blocked.iter().filter_map(|b| b.deadline_ms).min();
        effects
    }

    /// Whether this member serves: it leads, and its head state is the newest.
    pub fn serves(&self) -> bool {
        self.node.leads()
    }

    /// The committed rows of a table, for tests and for backups.
    pub fn committed_rows(&self, table: usize) -> Vec<(Uuid, Arc<ovsdb::Row>)> {
        let everything = Condition::everything();
        self.committed().matching(table, everything.clauses())
    }

    fn request(
        &mut self,
        now_ms: u64,
        (session, request): (SessionId, RequestId),
        body: Request,
        effects: &mut Effects,
    ) {
        let refused = |error: Error| Output::Refused { request, error };
        let output = match body {
            Request::Transact {
                database,
                transaction,
                name,
                lock_holders,
            } => {
                return self.transact(
                    now_ms,
                    Attempt {
                        origin: Origin::Client(session, request),
                        database,
                        transaction,
                        name,
                        lock_holders,
                        since_ms: now_ms,
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
            } => self
                .monitor(database, (session, monitor), view, since, request)
                .unwrap_or_else(refused),
            Request::ChangeConditions {
                monitor,
                conditions,
            } => match self.change_conditions((session, monitor), &conditions, request, effects) {
                true => Output::Done { request },
                false => refused(Error::new(ErrorKind::UnknownMonitor, "No such monitor.")),
            },
            Request::CancelMonitor { monitor } => {
                let key = (session, monitor);
                if self.monitors.cancel(key) || self.server.monitors.cancel(key) {
                    Output::Done { request }
                } else {
                    refused(Error::new(ErrorKind::UnknownMonitor, "No such monitor."))
                }
            }
            Request::Lock { name, steal } => match self.locks.lock(session, &name, steal) {
                Ok((owned, robbed)) => {
                    effects.outputs.extend(robbed.map(lock_changed));
                    Output::Lock { request, owned }
                }
                Err(error) => refused(Error::syntax(format!("Lock {name}: {error}."))),
            },
            Request::Unlock { name } => {
                let next = self.locks.unlock(session, &name);
                effects.outputs.extend(next.map(lock_changed));
                Output::Done { request }
            }
            Request::ChangeMembers(change) => {
                match self.change_members(&change, (session, request)) {
                    Ok(()) => return,
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

    // Transactions.

    fn transact(&mut self, now_ms: u64, attempt: Attempt, effects: &mut Effects) {
        if attempt.database == DatabaseId::Main {
            if !self.serves() {
                return self.send_away(attempt, effects);
            }
            if self.pending_bytes > MAX_PENDING_BYTES {
                let text = "Too many bytes wait for the log; try again.";
                return self.refuse(&attempt, ErrorKind::ResourcesExhausted, text, effects);
            }
            if self.repeat(&attempt, effects) {
                return;
            }
        }
        let (locks, holders) = (&self.locks, &attempt.lock_holders);
        let context = Context {
            owns_lock: &|name| holders.iter().any(|holder| locks.owns(*holder, name)),
            waited_ms: now_ms.saturating_sub(attempt.since_ms),
        };
        let database = match attempt.database {
            DatabaseId::Main => &mut self.head,
            DatabaseId::Server => &mut self.server.database,
        };
        match database.execute(&attempt.transaction, &context) {
            Execution::Blocked { remaining_ms } => {
                if self.blocked.len() >= MAX_BLOCKED {
                    let text = "Too many transactions wait for conditions.";
                    return self.refuse(&attempt, ErrorKind::ResourcesExhausted, text, effects);
                }
                self.blocked.push(Blocked {
                    deadline_ms: remaining_ms.map(|remaining| now_ms + remaining),
                    tables: waited_tables(&attempt.transaction),
                    attempt,
                });
            }
            Execution::Done(done) => match attempt.database {
                DatabaseId::Main => self.finish(attempt, done, effects),
                DatabaseId::Server => self.finish_server(&attempt, done, effects),
            },
        }
    }

    /// Answers a transaction.
    fn reply(&self, attempt: &Attempt, reply: Reply, effects: &mut Effects) {
        let asked = attempt.transaction.asked;
        let (session, request) = match attempt.origin {
            Origin::Client(session, request) => (session, request),
            Origin::Member(member, call) => {
                let index = self.node.applied_position().index;
                let result = match reply {
                    Reply::Done(outcome, commit) => Answered::Done {
                        results: outcome_to_json(asked, &outcome).to_string().into(),
                        index,
                        commit,
                    },
                    Reply::Repeated(results, commit) => Answered::Done {
                        results,
                        index,
                        commit: Some(commit),
                    },
                    Reply::Refused(error) => Answered::Refused(error),
                };
                return effects.answer(member, call, result);
            }
        };
        let output = match reply {
            Reply::Done(outcome, commit) => Output::Transacted {
                request,
                asked,
                outcome,
                state: commit.map(|index| self.history.name(index)),
            },
            Reply::Repeated(results, commit) => Output::Repeated {
                request,
                results,
                state: self.history.name(commit),
            },
            Reply::Refused(error) => Output::Refused { request, error },
        };
        effects.outputs.push((session, output));
    }

    fn refuse(&self, attempt: &Attempt, kind: ErrorKind, details: &str, effects: &mut Effects) {
        let error = Error::new(kind, details);
        self.reply(attempt, Reply::Refused(error), effects);
    }

    /// Answers a named transaction that was applied before, or is about to be.
    fn repeat(&mut self, attempt: &Attempt, effects: &mut Effects) -> bool {
        let Some(name) = attempt.name else {
            return false;
        };
        if let Some((index, results)) = self.retries.get(name) {
            let reply = Reply::Repeated(results.clone(), *index);
            self.reply(attempt, reply, effects);
            return true;
        }
        let same = |pending: &&mut Pending| {
            let named = pending.named.as_ref();
            named.is_some_and(|named| named.name == name)
        };
        let Some(pending) = self.pending.iter_mut().find(same) else {
            return false;
        };
        let waiters = std::iter::once(&pending.owner).chain(&pending.others);
        let mut origins = waiters.map(|waiter| waiter.attempt.origin);
        if !origins.any(|origin| origin == attempt.origin) {
            pending.others.push(Waiter {
                attempt: attempt.clone(),
                outcome: pending.owner.outcome.clone(),
            });
        }
        true
    }

    fn finish(&mut self, attempt: Attempt, done: Done, effects: &mut Effects) {
        if let Some(comment) = &done.comment {
            tracing::debug!("transaction: {comment}");
        }
        let owner = Waiter {
            attempt,
            outcome: done.outcome,
        };
        if done.delta.is_empty() {
            match self.pending.back_mut() {
                Some(pending) => pending.others.push(owner),
                None => self.reads.push(owner),
            }
            return;
        }
        let asked = owner.attempt.transaction.asked;
        let named = owner.attempt.name.map(|name| NamedResult {
            name,
            results: outcome_to_json(asked, &owner.outcome).to_string().into(),
        });
        let bytes = entry::encode(&self.schema, named.as_ref(), &done.delta);
        let size = bytes.len();
        let proposed = if size > MAX_ENTRY_BYTES {
            Err(format!(
                "The transaction has {size} bytes, more than the limit of {MAX_ENTRY_BYTES}."
            ))
        } else {
            self.node.propose(bytes).map_err(|error| error.to_string())
        };
        match proposed {
            Ok((mark, index)) => {
                self.changed
                    .extend(done.delta.iter().map(|change| change.table));
                self.pending_bytes += size;
                self.pending.push_back(Pending {
                    mark,
                    index,
                    delta: done.delta.into(),
                    bytes: size,
                    named,
                    owner,
                    others: Vec::new(),
                });
            }
            Err(details) => {
                self.take_back(&done.delta);
                let kind = ErrorKind::ResourcesExhausted;
                self.refuse(&owner.attempt, kind, &details, effects);
            }
        }
    }

    /// `_Server` can be read, and not be written.
    fn finish_server(&mut self, attempt: &Attempt, done: Done, effects: &mut Effects) {
        if done.delta.is_empty() {
            return self.reply(attempt, Reply::Done(done.outcome, None), effects);
        }
        self.server
            .database
            .undo(&done.delta)
            .expect("it was executed just now");
        let text = "_Server is read-only.";
        self.refuse(attempt, ErrorKind::NotAllowed, text, effects);
    }

    fn cancel(&mut self, session: SessionId, target: RequestId, effects: &mut Effects) {
        let origin = Origin::Client(session, target);
        let found = |blocked: &Blocked| blocked.attempt.origin == origin;
        let canceled = match self.blocked.iter().position(found) {
            Some(place) => {
                self.blocked.remove(place);
                true
            }
            None => self.forwards.cancel(origin, self.node.leader().0, effects),
        };
        if canceled {
            let output = Output::Canceled { request: target };
            effects.outputs.push((session, output));
        }
    }

    /// Executes again what waits for a table that changed, or has waited long enough.
    fn retry_blocked(&mut self, now_ms: u64, effects: &mut Effects) {
        loop {
            let changed = std::mem::take(&mut self.changed);
            if self.blocked.is_empty() {
                return;
            }
            let due = |blocked: &mut Blocked| {
                blocked
                    .deadline_ms
                    .is_some_and(|deadline| deadline <= now_ms)
                    || blocked.tables.iter().any(|table| changed.contains(table))
            };
            let due: Vec<Blocked> = self.blocked.extract_if(.., due).collect();
            for blocked in due {
                self.transact(now_ms, blocked.attempt, effects);
            }
            if self.changed.is_empty() {
                return;
            }
        }
    }

    fn committed(&self) -> Committed<'_> {
        let uncommitted = self.pending.iter().map(|pending| &pending.delta[..]);
        Committed::new(&self.head, uncommitted)
    }

    // The log.

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

    fn persisted(&mut self, flush: u64, effects: &mut Effects) {
        self.node.persisted(flush);
        while let Some((waits_for, _)) = self.after_flush.front()
            && *waits_for <= flush
        {
            let messages = self.after_flush.pop_front();
            for message in messages.into_iter().flat_map(|(_, messages)| messages) {
                self.post(message, effects);
            }
        }
    }

    /// Sends a message of Raft's.
    fn post(&self, message: Message, effects: &mut Effects) {
        if message.get_msg_type() == MessageType::MsgSnapshot {
            effects.snapshots.push(self.take_snapshot(message));
        } else {
            let member = message.to;
            effects.messages.push((member, PeerMessage::Raft(message)));
        }
    }

    /// Does what Raft wants done.
    fn drive(&mut self, effects: &mut Effects) {
        while let Some(work) = self.node.take_work() {
            let Work {
                entries,
                hard_state,
                flush,
                messages,
                messages_after_flush,
                committed,
                snapshot,
                reads,
                role,
            } = work;
            for message in messages {
                self.post(message, effects);
            }
            if let Some(flush) = flush
                && !messages_after_flush.is_empty()
            {
                self.after_flush.push_back((flush, messages_after_flush));
            }
            if role.is_some_and(|role| role != Role::Leader) {
                self.lose_leadership(effects);
            }
            let mut job = Job {
                entries,
                hard_state,
                flush,
                ..Job::default()
            };
            let restored = snapshot.map_or(Ok(()), |(position, _)| {
                self.restore(position, &mut job, effects)
            });
            let applied = committed
                .iter()
                .try_for_each(|entry| self.apply(entry, &mut job, effects));
            if let Err(failure) = restored.and(applied) {
                effects.failure = Some(failure);
                return;
            }
            self.reads_confirmed(&reads, effects);
            if role.is_some() || self.described != self.serves() {
                self.describe(effects);
            }
            self.truncate(&mut job);
            effects.jobs.push(job);
        }
    }

    fn apply(
        &mut self,
        entry: &CommittedEntry,
        job: &mut Job,
        effects: &mut Effects,
    ) -> Result<(), String> {
        let position = entry.position;
        let failure =
            |what: &dyn std::fmt::Display| format!("log entry {}: {what}", position.index);
        match entry.kind {
            EntryKind::Normal if !entry.data.is_empty() => {
                self.apply_data(entry, job, effects)
                    .map_err(|what| failure(&what))?;
            }
            EntryKind::Normal => job.applied.push((position, Arc::new([]))),
            EntryKind::ConfChange => {
                return Err(failure(&"a change of members in an old form"));
            }
            EntryKind::ConfChangeV2 => {
                let membership = self.node.apply_change(position.index, &entry.data);
                let membership = membership.map_err(|error| failure(&error))?;
                job.applied.push((position, Arc::new([])));
                job.membership = Some(membership.clone());
                effects.members = Some(membership);
                self.members_changed(entry.mark, effects);
            }
        }
        self.node.applied(position);
        self.resolve_doubts(position.index, entry.mark, effects);
        Ok(())
    }

    fn apply_data(
        &mut self,
        entry: &CommittedEntry,
        job: &mut Job,
        effects: &mut Effects,
    ) -> Result<(), String> {
        let position = entry.position;
        let ours = self
            .pending
            .pop_front_if(|pending| entry.mark == Some(pending.mark));
        let (delta, named, waiters) = match ours {
            Some(pending) => {
                self.pending_bytes -= pending.bytes;
                let waiters = std::iter::once(pending.owner).chain(pending.others);
                (pending.delta, pending.named, waiters.collect())
            }
            None => {
                self.lose_leadership(effects);
                let head = &self.head;
                let old = |table, uuid| head.row(table, uuid).cloned();
                let read = entry::decode(&self.schema, &entry.data, Turn::Next, old);
                let read = read.map_err(|error| error.to_string())?;
                let applied = self.head.apply(&read.changes);
                applied.map_err(|error| error.to_string())?;
                self.changed
                    .extend(read.changes.iter().map(|change| change.table));
                (read.changes.into(), read.named, Vec::new())
            }
        };
        if let Some(named) = named {
            let forgotten = self.retries.insert(position.index, &named);
            let remembered = (named.name, Some((position.index, named.results)));
            let forgotten = forgotten.into_iter().map(|name| (name, None));
            job.names.extend(forgotten.chain([remembered]));
        }
        let updates = self.monitors.commit(&delta);
        if !delta.is_empty() {
            self.history.push(position.index, delta.clone());
        }
        for (key, update) in updates {
            self.tell(key, update, effects);
        }
        let mut commit = Some(position.index);
        for waiter in waiters {
            // Only the first of them changed something.
            let reply = Reply::Done(waiter.outcome, commit.take());
            self.reply(&waiter.attempt, reply, effects);
        }
        job.applied.push((position, delta));
        Ok(())
    }

    fn take_back(&mut self, delta: &[RowChange]) {
        self.head
            .undo(delta)
            .expect("the newest delta can be taken back");
    }

    fn truncate(&mut self, job: &mut Job) {
        let (entries, bytes) = self.node.log_size();
        let (max_entries, max_bytes) = self.log_limits;
        if entries > max_entries || bytes > max_bytes {
            let status = self.node.status();
            let mut index = status.first + (entries / 2) as u64;
            let patient = SNAPSHOT_PATIENCE;
            if entries <= max_entries * patient && bytes <= max_bytes * patient {
                index = index.min(self.node.snapshot_under_way().unwrap_or(index));
            }
            let truncated = self.node.truncate(index);
            if truncated.index >= status.first {
                job.truncate = Some(truncated);
            }
        }
    }

    // About itself.

    /// Says in `_Server` how things stand.
    fn describe(&mut self, effects: &mut Effects) {
        let changes = self.locks.set_active(self.serves());
        effects
            .outputs
            .extend(changes.into_iter().map(lock_changed));
        let status = self.node.status();
        self.described = self.serves();
        let row = DatabaseRow {
            connected: status.leader != 0,
            leader: self.serves(),
            index: i64::try_from(status.applied).ok(),
            ..self.server.main()
        };
        let Some(change) = self.server.set_main(&row) else {
            return;
        };
        for (key, update) in self.server.monitors.commit(&[change]) {
            self.tell(key, update, effects);
        }
    }

    fn status(&self) -> Status {
        let tables = self.schema.tables.iter().enumerate();
        Status {
            identity: self.identity.clone(),
            raft: self.node.status(),
            sessions: self.sessions.len(),
            monitors: self.monitors.len() + self.server.monitors.len(),
            pending: self.pending.len(),
            blocked: self.blocked.len(),
            rows: tables
                .map(|(index, table)| (table.name.clone(), self.head.row_count(index)))
                .collect(),
        }
    }

    fn disconnect(&mut self, session: SessionId, effects: &mut Effects) {
        self.sessions.remove(&session);
        self.monitors.disconnect(session);
        self.server.monitors.disconnect(session);
        let of_session = |origin| matches!(origin, Origin::Client(client, _) if client == session);
        self.blocked
            .retain(|blocked| !of_session(blocked.attempt.origin));
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

fn waited_tables(transaction: &Transaction) -> Vec<usize> {
    let waits = transaction.operations.iter();
    waits
        .filter(|operation| matches!(operation, Operation::Wait { .. }))
        .filter_map(Operation::table)
        .collect()
}
