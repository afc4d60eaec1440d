//! The replica without its connections: which rows the owner has been told of, what the next session has to ask for,
//! and when and where to try next.
//!
//! A session's events become the owner's events here. Its contents become a difference to what is held, so that the
//! owner never sees that a connection was lost, except by being told. The rows held share their data with those in the
//! owner's hands.
//!
//! # When to try where
//! The remotes are tried in turn, each at once, until each has failed; then there is a pause, of 1 s the first time and
//! twice as long each time up to 8 s, before the next round; when the last one has no leader, of 200 ms the first time. A
//! connection that came as far as the contents and held for a second begins a new count, with an attempt at once. With a
//! chance of its own ([`Spec::chance`]) a replica begins with any of the remotes, and its pauses are shorter by up to half:
//! those of a thousand chassis spread over the members, and do not come in step to the next one when a member dies.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ovsdb::adapt::Missing;
use ovsdb::client::{self, SessionError};
use ovsdb::operation::Operation;
use ovsdb::update::{RowUpdate, TableUpdates};
use ovsdb::{Condition, Error, Remote, Row, RowChange, Uuid};
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use crate::error::TransactError;
use crate::event::Event;
use crate::spec::Spec;
use crate::tables::Tables;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// A connection that broke sooner than this counts as a failed attempt.
const STEADY: Duration = Duration::from_secs(1);
/// A transaction that was first sent so long ago is not sent again.
const MAX_AGE: Duration = Duration::from_secs(60);
/// A cluster that is about to elect a leader is asked again after this, and then after twice as long each time.
const ELECTION_PAUSE: Duration = Duration::from_millis(200);
/// While so many events wait for the owner, no more of its commands are taken.
const MAX_EVENTS: usize = 1024;

/// What a replica knows.
#[derive(Debug)]
pub(crate) struct Core {
    spec: Spec,
    held: Tables,
    /// A row of defaults for each table.
    defaults: Vec<Row>,
    /// The last transaction whose effects `held` has; nil if unknown.
    last_transaction: Uuid,
    events: VecDeque<Event>,
    /// Transactions that were sent and not answered, in their order.
    outstanding: Vec<(u64, Option<Again>)>,
    /// Those of an earlier connection that are to be sent again.
    again: Vec<(u64, Again)>,
    /// What the present session has said of the lock, if anything.
    has_lock: Option<bool>,
    /// The number of the last change of conditions, and of the last that the owner was told is in effect.
    conditions: u64,
    conditions_told: u64,
    /// What the server's schema lacks.
    missing: Missing,
    /// When the contents of the current session came.
    live_since: Option<Instant>,
    /// The remote to try next, an index into the spec's.
    next_remote: usize,
    /// How many attempts have failed since the last steady connection.
    failures: usize,
    retry_at: Option<Instant>,
}

/// What it takes to send a transaction again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Again {
    /// By what the server recognises it.
    pub name: Uuid,
    pub operations: Vec<Operation>,
    /// When it was sent for the first time: servers do not remember names for ever.
    pub since: Instant,
}

/// The server said something that does not go with what it said before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server changed row {uuid} of table {table}, which it never told of")]
pub(crate) struct OutOfSync {
    uuid: Uuid,
    table: Arc<str>,
}

impl Core {
    pub(crate) fn new(spec: Spec) -> Self {
        let mut core = Self {
            held: Tables::without_indexes(spec.schema.clone()),
            defaults: spec.schema.tables.iter().map(Row::default_for).collect(),
            last_transaction: Uuid::nil(),
            events: VecDeque::new(),
            outstanding: Vec::new(),
            again: Vec::new(),
            has_lock: None,
            conditions: 0,
            conditions_told: 0,
            missing: Missing::default(),
            live_since: None,
            next_remote: 0,
            failures: 0,
            retry_at: None,
            spec,
        };
        core.next_remote = core.first_remote();
        core
    }

    /// A number below `end`, by chance, or 0 for who has none; the same for the same attempt.
    fn chance(&self, end: usize) -> usize {
        let of_attempt = |chance| FxBuildHasher.hash_one((chance, self.failures));
        // The upper bits of such a hash are its good ones.
        let number = self
            .spec
            .chance
            .map_or(0, |chance| of_attempt(chance) >> 32);
        usize::try_from(number).map_or(0, |number| number % end.max(1))
    }

    fn first_remote(&self) -> usize {
        self.chance(self.spec.remotes.len())
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What a session has to ask for.
    pub(crate) fn session_config(&self) -> client::Config {
        let schema = &self.spec.schema;
        client::Config {
            schema: schema.clone(),
            tables: self
                .spec
                .tables
                .iter()
                .map(|table| table.monitor(schema))
                .collect(),
            leader_only: self.spec.leader_only,
            lock: self.spec.lock.clone(),
            own_inserts: self.spec.own_inserts.clone(),
            probe_interval: self.spec.probe_interval,
            last_transaction: self.last_transaction,
        }
    }

    /// What to tell the owner next.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether the owner's commands may be taken: each can be a cause of events, and while the owner does not take
    /// those, its commands wait.
    pub(crate) fn has_room(&self) -> bool {
        self.events.len() < MAX_EVENTS
    }

    /// Where to connect to, and when: at once if `None`. There is nowhere while the list of remotes is empty.
    pub(crate) fn next_attempt(&self) -> Option<(Remote, Option<Instant>)> {
        let remotes = &self.spec.remotes;
        let remote = remotes.get(self.next_remote % remotes.len().max(1))?;
        Some((remote.clone(), self.retry_at))
    }

    /// Takes another list of remotes; whether the connection to `current` has to go.
    pub(crate) fn set_remotes(&mut self, remotes: Vec<Remote>, current: Option<&Remote>) -> bool {
        if remotes == self.spec.remotes {
            return false;
        }
        let keep = current.is_some_and(|current| remotes.contains(current));
        self.spec.remotes = remotes;
        self.failures = 0;
        self.next_remote = self.first_remote();
        self.retry_at = None;
        current.is_some() && !keep
    }

    /// The next attempt is at once.
    pub(crate) fn hurry(&mut self) {
        self.failures = 0;
        self.retry_at = None;
    }

    pub(crate) fn connected(&mut self, remote: &Remote) {
        self.live_since = None;
        let remote = remote.clone();
        self.events.push_back(Event::Connected { remote });
    }

    /// An attempt failed or a connection ended; `conditions_in_effect` as the session said last.
    pub(crate) fn disconnected(
        &mut self,
        now: Instant,
        remote: &Remote,
        reason: String,
        conditions_in_effect: bool,
    ) {
        let steady = self
            .live_since
            .take()
            .is_some_and(|since| now - since >= STEADY);
        if steady {
            self.failures = 0;
            self.retry_at = None;
        } else {
            self.failures += 1;
            let first = match elects(&reason) {
                true => ELECTION_PAUSE,
                false => FIRST_PAUSE,
            };
            self.retry_at = self.pause(first).map(|pause| now + pause);
            self.next_remote = (self.next_remote + 1) % self.spec.remotes.len().max(1);
        }
        if !conditions_in_effect {
            self.forget_transaction();
        }
        for (id, again) in std::mem::take(&mut self.outstanding) {
            match again {
                Some(again) => self.again.push((id, again)),
                None => self.lose(id),
            }
        }
        self.has_lock = None;
        let remote = remote.clone();
        self.events
            .push_back(Event::Disconnected { remote, reason });
    }

    /// Nobody knows what became of a transaction.
    fn lose(&mut self, id: u64) {
        let result = Err(TransactError::Disconnected);
        self.events.push_back(Event::TransactReply { id, result });
    }

    /// What is to be sent again, in the session that has just got its contents. `named`: whether it can say by which
    /// names.
    pub(crate) fn take_again(&mut self, now: Instant, named: bool) -> Vec<(u64, Again)> {
        let mut again = std::mem::take(&mut self.again);
        let young = |again: &Again| named && now - again.since < MAX_AGE;
        for (id, _) in again.extract_if(.., |(_, again)| !young(again)) {
            self.lose(id);
        }
        again
    }

    /// How long to wait before the next attempt, if at all.
    fn pause(&self, first: Duration) -> Option<Duration> {
        let remotes = self.spec.remotes.len().max(1);
        if !self.failures.is_multiple_of(remotes) {
            return None;
        }
        let rounds = u32::try_from(self.failures / remotes - 1).unwrap_or(u32::MAX);
        let factor = 2u32.saturating_pow(rounds);
        let pause = first.saturating_mul(factor).min(LONGEST_PAUSE);
        let less = u32::try_from(self.chance(1024)).unwrap_or(0);
        Some(pause - pause / 2 * less / 1024)
    }

    /// What the server has since some transaction is of no use: it may have other rows in view.
    fn forget_transaction(&mut self) {
        self.last_transaction = Uuid::nil();
    }

    /// Notes new conditions and gives those that are new to a session.
    pub(crate) fn set_conditions(
        &mut self,
        number: u64,
        conditions: Vec<(usize, Condition)>,
        in_session: bool,
    ) -> Vec<(usize, Condition)> {
        self.conditions = number;
        let mut changed = Vec::new();
        for (table, condition) in conditions {
            let known = self.spec.tables.iter_mut().find(|spec| spec.table == table);
            if let Some(spec) = known
                && spec.condition != condition
            {
                spec.condition = condition.clone();
                changed.push((table, condition));
            }
        }
        if !in_session && !changed.is_empty() {
            self.forget_transaction();
        }
        changed
    }

    /// The session knows of no change of conditions that the server has not made.
    pub(crate) fn conditions_in_effect(&mut self) {
        if self.conditions_told < self.conditions {
            self.conditions_told = self.conditions;
            self.events
                .push_back(Event::ConditionsInEffect(self.conditions));
        }
    }

    /// What the schema of the server last talked to lacks of ours.
    pub(crate) fn missing(&self) -> &Missing {
        &self.missing
    }

    /// A transaction was sent, or could not be.
    pub(crate) fn transaction_sent(
        &mut self,
        id: u64,
        sent: Result<(), TransactError>,
        again: Option<Again>,
    ) {
        match sent {
            Ok(()) => self
                .outstanding
                .push((id, again.filter(|_| self.spec.resend))),
            Err(error) => {
                let result = Err(error);
                self.events.push_back(Event::TransactReply { id, result });
            }
        }
    }

    /// Takes what a session says.
    pub(crate) fn session_event(
        &mut self,
        now: Instant,
        event: client::Event,
        conditions_in_effect: bool,
    ) -> Result<(), OutOfSync> {
        match event {
            client::Event::Schema(missing) => {
                if !missing.is_empty() {
                    tracing::info!(
                        "{}: the server's schema lacks {missing}; they read as their defaults and are not written",
                        self.spec.schema.name
                    );
                }
                self.missing = missing;
            }
            client::Event::Contents {
                since_last,
                updates,
                last_transaction,
            } => {
                let result = if since_last {
                    self.apply(updates)
                } else {
                    self.replace(updates)
                };
                if result.is_err() {
                    self.forget_transaction();
                }
                result?;
                self.last_transaction = last_transaction;
                self.live_since = Some(now);
                self.events.push_back(Event::Synced);
                if conditions_in_effect {
                    self.conditions_in_effect();
                }
            }
            client::Event::Updates {
                updates,
                last_transaction,
            } => {
                let result = self.apply(updates);
                if result.is_err() {
                    self.forget_transaction();
                }
                result?;
                self.last_transaction = last_transaction;
            }
            client::Event::Conditions => self.conditions_in_effect(),
            client::Event::Lock(owned) => {
                if self.has_lock != Some(owned) {
                    self.has_lock = Some(owned);
                    self.events.push_back(Event::Lock(owned));
                }
            }
            client::Event::Reply { id, result } => {
                let mut outstanding = self.outstanding.iter();
                if let Some(place) = outstanding.position(|(other, _)| *other == id) {
                    self.outstanding.remove(place);
                }
                let result = match result {
                    Ok(outcome) => outcome.map_err(TransactError::Failed),
                    Err(error) => Err(TransactError::Refused(error)),
                };
                self.events.push_back(Event::TransactReply { id, result });
            }
        }
        Ok(())
    }

    /// Makes changes to what is held and tells the owner of them.
    fn apply(&mut self, updates: TableUpdates) -> Result<(), OutOfSync> {
        let mut changes = Vec::with_capacity(updates.len());
        for (table, rows) in updates.tables {
            for (uuid, update) in rows {
                let old = self.held.get(table, uuid);
                if old.is_none() && matches!(update, RowUpdate::Modify(_)) {
                    let table = self.spec.schema.tables[table].name.clone();
                    return Err(OutOfSync { uuid, table });
                }
                let new = update.into_row(&self.defaults[table], old.map(|row| &**row));
                self.put(table, uuid, new, &mut changes);
            }
        }
        self.tell(changes);
        Ok(())
    }

    /// Makes what is held equal to these contents and tells the owner of the difference.
    fn replace(&mut self, contents: TableUpdates) -> Result<(), OutOfSync> {
        let mut changes = Vec::with_capacity(contents.len());
        let mut present: FxHashMap<usize, FxHashSet<Uuid>> = FxHashMap::default();
        for (table, rows) in contents.tables {
            let present = present.entry(table).or_default();
            for (uuid, update) in rows {
                present.insert(uuid);
                let new = update.into_row(&self.defaults[table], None);
                self.put(table, uuid, new, &mut changes);
            }
        }
        let nothing = FxHashSet::default();
        for table in 0..self.spec.schema.tables.len() {
            let present = present.get(&table).unwrap_or(&nothing);
            let gone: Vec<Uuid> = self
                .held
                .table(table)
                .iter()
                .map(|(uuid, _)| uuid)
                .filter(|uuid| !present.contains(uuid))
                .collect();
            for uuid in gone {
                self.put(table, uuid, None, &mut changes);
            }
        }
        self.tell(changes);
        Ok(())
    }

    fn put(&mut self, table: usize, uuid: Uuid, new: Option<Row>, changes: &mut Vec<RowChange>) {
        let old = self.held.get(table, uuid).cloned();
        if old.as_deref() == new.as_ref() {
            return;
        }
        let change = RowChange {
            table,
            uuid,
            old,
            new: new.map(Arc::new),
        };
        self.held.apply(&change);
        changes.push(change);
    }

    fn tell(&mut self, changes: Vec<RowChange>) {
        if !changes.is_empty() {
            self.events.push_back(Event::Changes(changes));
        }
    }
}

/// Whether a connection ended because the server's cluster has no leader, or another one than the server.
pub(crate) fn elects(reason: &str) -> bool {
    let reasons = [SessionError::NotConnected, SessionError::NotLeader];
    reasons.iter().any(|error| error.to_string() == reason)
}

/// A transaction that a session would not take.
pub(crate) fn not_sent(error: Error) -> TransactError {
    match error.kind {
        ovsdb::ErrorKind::NotAllowed => TransactError::NotConnected,
        _ => TransactError::Refused(error),
    }
}

/// A request of the owner's.
#[derive(Debug)]
pub(crate) enum Command {
    Transact { id: u64, operations: Vec<Operation> },
    SetConditions(u64, Vec<(usize, Condition)>),
    SetRemotes(Vec<Remote>),
    Reconnect,
}

#[cfg(test)]
mod tests;
