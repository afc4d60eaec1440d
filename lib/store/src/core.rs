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
//! is lost, what is pending is taken back in reverse order, and those who wait are told.
//!
//! A transaction whose `wait` is not fulfilled is kept aside, and executed again when a table
//! changes that it waits for, or when its time is up.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use ovsdb::operation::{Outcome, outcome_to_json};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Condition, Error, ErrorKind, Operation, RowChange, Transaction, Uuid};
use rustc_hash::FxHashMap;
use table::{Context, Database, Done, Execution};

use crate::committed::Committed;
use crate::entry::{self, NamedResult, Turn};
use crate::event::{
    Backlog, DatabaseId, Effects, Event, Output, Request, RequestId, SessionId, Status,
};
use crate::history::History;
use crate::load::Loaded;
use crate::locks::{self, Locks};
use crate::monitor::{Key, MAX_MONITORS_PER_SESSION, Monitors, Update, View};
use crate::raft::{Committed as CommittedEntry, Mark, Message, Node, NodeError, Role, Work};
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
}

/// A transaction to execute.
#[derive(Debug)]
struct Attempt {
    session: SessionId,
    request: RequestId,
    database: DatabaseId,
    transaction: Transaction,
    name: Option<Uuid>,
    lock_holders: Vec<SessionId>,
    since_ms: u64,
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
    session: SessionId,
    request: RequestId,
    asked: usize,
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
        })
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
            Event::Request {
                session,
                request,
                body,
            } => self.request(now_ms, (session, request), body, &mut effects),
        }
        self.retry_blocked(now_ms, &mut effects);
        self.drive(&mut effects);
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
                        session,
                        request,
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
            Request::Status => Output::Status {
                request,
                status: Box::new(self.status()),
            },
        };
        effects.outputs.push((session, output));
    }

    // Transactions.

    fn transact(&mut self, now_ms: u64, attempt: Attempt, effects: &mut Effects) {
        let refuse = |kind, details: &str| Output::Refused {
            request: attempt.request,
            error: Error::new(kind, details),
        };
        if attempt.database == DatabaseId::Main {
            if !self.serves() {
                let output = refuse(ErrorKind::NotAllowed, "not leader");
                return effects.outputs.push((attempt.session, output));
            }
            if self.pending_bytes > MAX_PENDING_BYTES {
                let text = "Too many bytes wait for the log; try again.";
                let output = refuse(ErrorKind::ResourcesExhausted, text);
                return effects.outputs.push((attempt.session, output));
            }
            if self.repeat(&attempt, effects) {
                return;
            }
        }
        let (locks, holders) = (&self.locks, &attempt.lock_holders);
        let context = Context {
            owns_lock: &|name| holders.iter().any(|holder| locks.owns(*holder, name)),
            waited_ms: now_ms - attempt.since_ms,
        };
        let database = match attempt.database {
            DatabaseId::Main => &mut self.head,
            DatabaseId::Server => &mut self.server.database,
        };
        match database.execute(&attempt.transaction, &context) {
            Execution::Blocked { remaining_ms } => {
                if self.blocked.len() >= MAX_BLOCKED {
                    let text = "Too many transactions wait for conditions.";
                    let output = refuse(ErrorKind::ResourcesExhausted, text);
                    return effects.outputs.push((attempt.session, output));
                }
                self.blocked.push(Blocked {
                    deadline_ms: remaining_ms.map(|remaining| now_ms + remaining),
                    tables: waited_tables(&attempt.transaction),
                    attempt,
                });
            }
            Execution::Done(done) => match attempt.database {
                DatabaseId::Main => self.finish(&attempt, done, effects),
                DatabaseId::Server => self.finish_server(&attempt, done, effects),
            },
        }
    }

    /// Answers a named transaction that was applied before, or is about to be.
    fn repeat(&mut self, attempt: &Attempt, effects: &mut Effects) -> bool {
        let Some(name) = attempt.name else {
            return false;
        };
        if let Some((index, results)) = self.retries.get(name) {
            let output = Output::Repeated {
                request: attempt.request,
                results: results.clone(),
                state: self.history.name(*index),
            };
            effects.outputs.push((attempt.session, output));
            return true;
        }
        let same = |pending: &&mut Pending| {
            let named = pending.named.as_ref();
            named.is_some_and(|named| named.name == name)
        };
        let Some(pending) = self.pending.iter_mut().find(same) else {
            return false;
        };
        pending.others.push(Waiter {
            session: attempt.session,
            request: attempt.request,
            asked: attempt.transaction.asked,
            outcome: pending.owner.outcome.clone(),
        });
        true
    }

    fn finish(&mut self, attempt: &Attempt, done: Done, effects: &mut Effects) {
        if let Some(comment) = &done.comment {
            tracing::debug!("transaction: {comment}");
        }
        let owner = Waiter {
            session: attempt.session,
            request: attempt.request,
            asked: attempt.transaction.asked,
            outcome: done.outcome,
        };
        if done.delta.is_empty() {
            match self.pending.back_mut() {
                Some(pending) => pending.others.push(owner),
                None => effects.outputs.push(owner.answer(None)),
            }
            return;
        }
        let named = attempt.name.map(|name| NamedResult {
            name,
            results: outcome_to_json(owner.asked, &owner.outcome)
                .to_string()
                .into(),
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
            Ok(mark) => {
                self.changed
                    .extend(done.delta.iter().map(|change| change.table));
                self.pending_bytes += size;
                self.pending.push_back(Pending {
                    mark,
                    delta: done.delta.into(),
                    bytes: size,
                    named,
                    owner,
                    others: Vec::new(),
                });
            }
            Err(details) => {
                self.take_back(&done.delta);
                let output = Output::Refused {
                    request: owner.request,
                    error: Error::new(ErrorKind::ResourcesExhausted, details),
                };
                effects.outputs.push((owner.session, output));
            }
        }
    }

    /// `_Server` can be read, and not be written.
    fn finish_server(&mut self, attempt: &Attempt, done: Done, effects: &mut Effects) {
        let output = if done.delta.is_empty() {
            Output::Transacted {
                request: attempt.request,
                asked: attempt.transaction.asked,
                outcome: done.outcome,
                state: None,
            }
        } else {
            self.server
                .database
                .undo(&done.delta)
                .expect("it was executed just now");
            Output::Refused {
                request: attempt.request,
                error: Error::new(ErrorKind::NotAllowed, "_Server is read-only."),
            }
        };
        effects.outputs.push((attempt.session, output));
    }

    fn cancel(&mut self, session: SessionId, target: RequestId, effects: &mut Effects) {
        let found = |blocked: &Blocked| {
            blocked.attempt.session == session && blocked.attempt.request == target
        };
        if let Some(place) = self.blocked.iter().position(found) {
            self.blocked.remove(place);
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

    // Monitors.

    fn monitor(
        &mut self,
        database: DatabaseId,
        key: Key,
        view: View,
        since: Option<Uuid>,
        request: RequestId,
    ) -> Result<Output, Error> {
        let monitors = self.monitors.of_session(key.0) + self.server.monitors.of_session(key.0);
        let backlog = self.sessions.get(&key.0).cloned();
        let backlog = backlog.filter(|_| monitors < MAX_MONITORS_PER_SESSION);
        let Some(backlog) = backlog else {
            return Err(Error::new(
                ErrorKind::ResourcesExhausted,
                format!("More than {MAX_MONITORS_PER_SESSION} monitors in one session."),
            ));
        };
        if database == DatabaseId::Server {
            let committed = Committed::new(&self.server.database, [].into_iter());
            let monitors = &mut self.server.monitors;
            return Ok(Output::MonitorStarted {
                request,
                resumed: false,
                state: Uuid::nil(),
                update: Arc::new(monitors.subscribe(key, view, backlog, &committed)),
            });
        }
        for (table, column) in Monitors::indexable_columns(&view) {
            self.head.add_lookup(table, &[column]);
        }
        let missed = since.and_then(|since| self.history.since(since));
        let update = match &missed {
            Some(missed) => self.monitors.resume(key, view, backlog, missed),
            None => {
                let uncommitted = self.pending.iter().map(|pending| &pending.delta[..]);
                let committed = Committed::new(&self.head, uncommitted);
                self.monitors.subscribe(key, view, backlog, &committed)
            }
        };
        Ok(Output::MonitorStarted {
            request,
            resumed: missed.is_some(),
            state: self.history.state(),
            update: Arc::new(update),
        })
    }

    /// False if there is no such monitor.
    fn change_conditions(
        &mut self,
        key: Key,
        conditions: &[(usize, Condition)],
        request: RequestId,
        effects: &mut Effects,
    ) -> bool {
        let uncommitted = self.pending.iter().map(|pending| &pending.delta[..]);
        let (monitors, committed) = if self.monitors.contains(key) {
            (&mut self.monitors, Committed::new(&self.head, uncommitted))
        } else {
            let committed = Committed::new(&self.server.database, [].into_iter());
            (&mut self.server.monitors, committed)
        };
        let Some(updates) = monitors.change(key, conditions, &committed) else {
            return false;
        };
        effects
            .outputs
            .push((key.0, Output::ConditionsChange { request }));
        for update in updates {
            self.tell(key, Arc::new(update), effects);
        }
        true
    }

    fn drained(&mut self, session: SessionId, effects: &mut Effects) {
        let updates = self.monitors.drained(session);
        for (key, update) in updates
            .into_iter()
            .chain(self.server.monitors.drained(session))
        {
            self.tell(key, update, effects);
        }
    }

    fn tell(&self, (session, monitor): Key, update: Arc<Update>, effects: &mut Effects) {
        let Some(backlog) = self.sessions.get(&session) else {
            return;
        };
        backlog.add();
        let output = Output::Updated {
            monitor,
            state: self.history.state(),
            update,
        };
        effects.outputs.push((session, output));
    }

    fn committed(&self) -> Committed<'_> {
        let uncommitted = self.pending.iter().map(|pending| &pending.delta[..]);
        Committed::new(&self.head, uncommitted)
    }

    // The log.

    fn tick(&mut self, effects: &mut Effects) {
        self.node.tick();
        self.ticks += 1;
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
            effects
                .messages
                .extend(messages.into_iter().flat_map(|(_, messages)| messages));
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
                role,
            } = work;
            effects.messages.extend(messages);
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
            for entry in committed {
                if let Err(failure) = self.apply(&entry, &mut job, effects) {
                    effects.failure = Some(failure);
                    return;
                }
            }
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
        if entry.kind != EntryKind::Normal {
            let what = "it changes the members of the cluster, which this version cannot do";
            return Err(failure(&what));
        }
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
                let read = read.map_err(|error| failure(&error))?;
                let applied = self.head.apply(&read.changes);
                applied.map_err(|error| failure(&error))?;
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
        let mut state = Some(self.history.state());
        for waiter in waiters {
            // Only the first of them changed something.
            effects.outputs.push(waiter.answer(state.take()));
        }
        job.applied.push((position, delta));
        self.node.applied(position);
        Ok(())
    }

    /// Takes back what is not committed, and tells those who wait for it.
    fn lose_leadership(&mut self, effects: &mut Effects) {
        while let Some(pending) = self.pending.pop_back() {
            self.take_back(&pending.delta);
            let waiters = std::iter::once(pending.owner).chain(pending.others);
            for waiter in waiters {
                let error = Error::new(ErrorKind::NotAllowed, "not leader");
                let request = waiter.request;
                let output = Output::Refused { request, error };
                effects.outputs.push((waiter.session, output));
            }
        }
        self.pending_bytes = 0;
    }

    fn take_back(&mut self, delta: &[RowChange]) {
        self.head
            .undo(delta)
            .expect("the newest delta can be taken back");
    }

    fn truncate(&mut self, job: &mut Job) {
        let (entries, bytes) = self.node.log_size();
        if entries > MAX_LOG_ENTRIES || bytes > MAX_LOG_BYTES {
            let status = self.node.status();
            let half = (entries / 2) as u64;
            let truncated = self.node.truncate(status.first + half);
            if truncated.index >= status.first {
                job.truncate = Some(truncated);
            }
        }
    }

    // About itself.

    /// Says in `_Server` how things stand.
    fn describe(&mut self, effects: &mut Effects) {
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
        self.blocked
            .retain(|blocked| blocked.attempt.session != session);
        let changes = self.locks.disconnect(session);
        effects
            .outputs
            .extend(changes.into_iter().map(lock_changed));
    }
}

impl Waiter {
    fn answer(self, state: Option<Uuid>) -> (SessionId, Output) {
        let output = Output::Transacted {
            request: self.request,
            asked: self.asked,
            outcome: self.outcome,
            state,
        };
        (self.session, output)
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
