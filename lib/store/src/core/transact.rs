//! Transactions of this member's clients and, on the leader, of other members'.
//!
//! A transaction is executed on the head at once, and its answer waits for the commit of its delta
//! or, if it changed nothing, for the word that this member still leads (`reads`).

use std::sync::Arc;

use ovsdb::operation::{Outcome, outcome_to_text};
use ovsdb::{Error, ErrorKind, Operation, RowChange, Transaction, Uuid};
use table::{Context, Done, Execution, Permission, Reading};

use super::Core;
use crate::caller::Caller;
use crate::entry::{self, NamedResult};
use crate::event::{Effects, Output};
use crate::peer::{Answered, Call};
use crate::raft::Mark;
use crate::retries;
use crate::session::{Consistency, DatabaseId, RequestId, SessionId};
use crate::storage::LogPosition;

/// So many bytes the changes of one transaction may have at most.
const MAX_TRANSACTION_BYTES: usize = 128 << 20;
/// So many bytes may wait to be committed; a transaction that comes then is refused.
const MAX_PENDING_BYTES: usize = 192 << 20;
/// So many transactions may wait to be committed, however small they are.
const MAX_PENDING: usize = 65_536;
/// So many may wait for the commit of a transaction that somebody else, or they themselves, sent before.
const MAX_OTHERS: usize = 64;
/// To write down so many bytes of an answer counts as much as to compare a value.
const BYTES_PER_STEP: usize = 64;
/// So many operations a transaction on `_Server` may have, which has two rows.
const MAX_SERVER_OPERATIONS: usize = 1000;
/// So many transactions may wait for a condition.
const MAX_BLOCKED: usize = 65_536;

/// A transaction to execute.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) origin: Origin,
    /// Who the client is.
    pub(super) caller: Caller,
    pub(super) database: DatabaseId,
    pub(super) transaction: Transaction,
    pub(super) name: Option<Uuid>,
    pub(super) lock_holders: Vec<SessionId>,
    pub(super) consistency: Consistency,
    pub(super) since_ms: u64,
    /// Which sending of another member's it is.
    pub(super) sending: u64,
    /// The number of the client's session at the member to which it is connected.
    pub(super) session_there: SessionId,
}

impl Attempt {
    /// Under what the transaction is remembered, if it has a name.
    pub(super) fn owned_name(&self) -> Option<Uuid> {
        self.name.map(|name| retries::owned(&self.caller, name))
    }
}

/// Who asks, and gets the answer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Origin {
    /// A client of this member.
    Client(SessionId, RequestId),
    /// A client of another member.
    Member(u64, Call),
}

/// What is answered.
#[derive(Debug)]
pub(super) enum Reply {
    /// The outcome, and the log index of the commit if it changed anything.
    Done(Outcome, Option<u64>),
    /// The answer to the same named transaction, and the log index of its commit.
    Repeated(bytes::Bytes, u64),
    /// It was not executed.
    Refused(Error),
}

/// A delta on its way through the log.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) mark: Mark,
    /// Where it stands in the log, with its last part.
    pub(super) position: LogPosition,
    pub(super) delta: Arc<[RowChange]>,
    pub(super) bytes: usize,
    pub(super) named: Option<NamedResult>,
    /// The transaction that made it.
    pub(super) owner: Waiter,
    /// Others who sent the same transaction, by its name.
    pub(super) others: Vec<Waiter>,
}

/// An answer that waits for a commit.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) attempt: Attempt,
    pub(super) outcome: Outcome,
}

impl Core {
    /// Executes a transaction here, after what its session has asked for before, or leaves it to the leader.
    pub(super) fn transact(&mut self, now_ms: u64, attempt: Attempt, effects: &mut Effects) {
        if let Origin::Client(session, _) = attempt.origin
            && attempt.is_main()
            && self.serves()
            && self.forwards.has_of(session)
        {
            return self.send_away(attempt, effects);
        }
        self.transact_in_turn(now_ms, attempt, effects);
    }

    /// The same for one whose turn it is.
    pub(super) fn transact_in_turn(
        &mut self,
        now_ms: u64,
        attempt: Attempt,
        effects: &mut Effects,
    ) {
        if attempt.database == DatabaseId::Server
            && attempt.transaction.asked > MAX_SERVER_OPERATIONS
        {
            let text = format!(
                "The transaction has more operations than the limit of {MAX_SERVER_OPERATIONS} for \
                 _Server."
            );
            return self.refuse(&attempt, ErrorKind::ResourcesExhausted, &text, effects);
        }
        if attempt.database == DatabaseId::Main {
            if !self.serves() {
                return self.leave(attempt, effects);
            }
            // Before anything is refused: a refusal says that it was not done.
            if self.repeat(&attempt, effects) {
                return;
            }
            if self.must_wait(&attempt) {
                return self.send_away(attempt, effects);
            }
            if !self.has_room() {
                let text = "Too many transactions, or bytes of them, wait for the log; try again.";
                return self.refuse(&attempt, ErrorKind::ResourcesExhausted, text, effects);
            }
        }
        if attempt.is_main()
            && let Some(reading) = Reading::begin(&self.head, &attempt.transaction)
        {
            return self.read(attempt, reading, effects);
        }
        match self.execute(now_ms, &attempt) {
            Execution::Blocked {
                remaining_ms,
                steps,
            } => {
                if self.waits.len() >= MAX_BLOCKED {
                    let text = "Too many transactions wait for conditions.";
                    return self.refuse(&attempt, ErrorKind::ResourcesExhausted, text, effects);
                }
                let deadline_ms = remaining_ms.map(|remaining| now_ms + remaining);
                let tables = waited_tables(&attempt.transaction);
                self.waits.push(attempt, deadline_ms, tables, steps);
            }
            Execution::Done(done) => {
                let table::Cost {
                    steps,
                    selected_bytes,
                } = done.cost;
                self.waits.steps = steps + selected_bytes / BYTES_PER_STEP;
                match attempt.database {
                    DatabaseId::Main => self.finish(attempt, done, effects),
                    DatabaseId::Server => self.finish_server(&attempt, done, effects),
                }
            }
        }
    }

    /// Whether one more may wait for the log.
    pub(super) fn has_room(&self) -> bool {
        self.pending_bytes <= MAX_PENDING_BYTES && self.pending.len() < MAX_PENDING
    }

    /// Whether a transaction is for the next leader, because this one is handing over and proposes
    /// nothing more. Reads go on, unless they come after something that waits.
    fn must_wait(&self, attempt: &Attempt) -> bool {
        let in_turn = match attempt.origin {
            Origin::Client(session, _) => !self.forwards.has_of(session),
            Origin::Member(..) => true,
        };
        self.node.hands_over() && !(in_turn && attempt.transaction.only_reads())
    }

    /// Executes a transaction on the head, as far as its client may.
    pub(super) fn execute(&mut self, now_ms: u64, attempt: &Attempt) -> Execution {
        let (locks, holders) = (&self.locks, &attempt.lock_holders);
        let permission = match attempt.database {
            DatabaseId::Main => {
                self.access.prepare(&attempt.caller, &mut self.head);
                self.access.permission(&attempt.caller)
            }
            DatabaseId::Server => None,
        };
        let context = Context {
            permission: permission.as_ref().map(|gate| gate as &dyn Permission),
            owns_lock: &|name| holders.iter().any(|holder| locks.owns(*holder, name)),
            // Before anything is built of them.
            selected_bytes: match (attempt.origin, attempt.name) {
                (Origin::Client(..), None) => usize::MAX,
                _ => self.answer_bytes,
            },
            waited_ms: now_ms.saturating_sub(attempt.since_ms),
        };
        let database = match attempt.database {
            DatabaseId::Main => &mut self.head,
            DatabaseId::Server => &mut self.server.database,
        };
        database.execute(&attempt.transaction, &context)
    }

    /// Answers a transaction.
    pub(super) fn reply(&self, attempt: &Attempt, reply: Reply, effects: &mut Effects) {
        let asked = attempt.transaction.asked;
        let (session, request) = match attempt.origin {
            Origin::Client(session, request) => (session, request),
            Origin::Member(member, call) => {
                // The commit itself is about to be applied; who asked should see it first, too.
                let applied = self.node.applied_position().index;
                let done = |results, commit: Option<u64>| Answered::Done {
                    results,
                    index: applied.max(commit.unwrap_or(0)),
                    commit,
                };
                let result = match reply {
                    Reply::Done(outcome, commit) => {
                        let results = outcome_to_text(asked, &outcome);
                        match results.len() > self.answer_bytes {
                            true => self.answer_too_large(results.len(), commit),
                            false => done(results.into(), commit),
                        }
                    }
                    Reply::Repeated(results, commit) => done(results, Some(commit)),
                    Reply::Refused(error) => Answered::Refused(error),
                };
                return effects.answer(member, (call, attempt.sending), result);
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

    /// What is said instead of an answer of so many bytes.
    fn answer_too_large(&self, bytes: usize, commit: Option<u64>) -> Answered {
        let limit = self.answer_bytes;
        let (kind, done) = match commit {
            None => (ErrorKind::ResourcesExhausted, "was not done"),
            // Of this kind are those that do not say that it was not done.
            Some(_) => (ErrorKind::IoError, "was done"),
        };
        let text = format!(
            "The results have {bytes} bytes, more than the limit of {limit} for an answer of another \
             member; the transaction {done}."
        );
        Answered::Refused(Error::new(kind, text))
    }

    pub(super) fn refuse(
        &self,
        attempt: &Attempt,
        kind: ErrorKind,
        details: &str,
        effects: &mut Effects,
    ) {
        let error = Error::new(kind, details);
        self.reply(attempt, Reply::Refused(error), effects);
    }

    /// Answers a named transaction that was applied before, or is about to be.
    pub(super) fn repeat(&mut self, attempt: &Attempt, effects: &mut Effects) -> bool {
        let Some(name) = attempt.owned_name() else {
            return false;
        };
        let is_pending = |pending: &Pending| {
            let named = pending.named.as_ref();
            named.is_some_and(|named| named.name == name)
        };
        let place = self.pending.iter().position(is_pending);
        if place.is_none() && self.retries.get(name).is_none() {
            return false;
        }
        if let Err(error) = self.check_operations(attempt) {
            self.reply(attempt, Reply::Refused(error), effects);
            return true;
        }
        if let Some((index, results)) = self.retries.get(name) {
            if results.is_empty() {
                let text = format!(
                    "The transaction was committed with log entry {index}, and its results are not \
                     known any more."
                );
                self.refuse(attempt, ErrorKind::IoError, &text, effects);
                return true;
            }
            let reply = Reply::Repeated(results.clone(), *index);
            self.reply(attempt, reply, effects);
            return true;
        }
        let Some(pending) = place.and_then(|place| self.pending.get_mut(place)) else {
            return false;
        };
        let mut waiters = std::iter::once(&mut pending.owner).chain(&mut pending.others);
        if let Some(waiter) = waiters.find(|waiter| waiter.attempt.origin == attempt.origin) {
            waiter.attempt.sending = attempt.sending;
        } else if pending.others.len() < MAX_OTHERS {
            pending.others.push(Waiter {
                attempt: attempt.clone(),
                outcome: pending.owner.outcome.clone(),
            });
        } else {
            // Of this kind are those that do not say that it was not done.
            let text = format!(
                "More than {MAX_OTHERS} others wait for this transaction, and it is not known yet \
                 whether it will be committed; ask again with its name."
            );
            self.refuse(attempt, ErrorKind::IoError, &text, effects);
        }
        true
    }

    /// Whether the client may do what its transaction says, as far as the operations tell.
    fn check_operations(&self, attempt: &Attempt) -> Result<(), Error> {
        let Some(permission) = self.access.permission(&attempt.caller) else {
            return Ok(());
        };
        let mut operations = attempt.transaction.operations.iter();
        operations.try_for_each(|operation| permission.operation(&self.head, operation))
    }

    pub(super) fn finish(&mut self, attempt: Attempt, done: Done, effects: &mut Effects) {
        if let Some(comment) = &done.comment {
            tracing::debug!("transaction: {comment}");
        }
        let owner = Waiter {
            attempt,
            outcome: done.outcome,
        };
        if done.delta.is_empty() {
            let newest = self.pending.back().map_or(0, |last| last.position.index);
            return self.reads.push(owner, newest);
        }
        self.note_change(&done.delta);
        let asked = owner.attempt.transaction.asked;
        let named = owner.attempt.owned_name().map(|name| NamedResult {
            name,
            results: outcome_to_text(asked, &owner.outcome).into(),
        });
        let bytes = entry::encode(&self.schema, named.as_ref(), &done.delta);
        let size = bytes.len();
        let proposed = if size > MAX_TRANSACTION_BYTES {
            Err(format!(
                "The transaction's changes have {size} bytes, more than the limit of \
                 {MAX_TRANSACTION_BYTES}; make it several transactions."
            ))
        } else {
            self.propose(bytes).map_err(|error| error.to_string())
        };
        match proposed {
            Ok((mark, position)) => {
                self.changed
                    .extend(done.delta.iter().map(|change| change.table));
                self.pending_bytes += size;
                self.pending_rows += done.delta.len();
                self.pending.push_back(Pending {
                    mark,
                    position,
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
    pub(super) fn finish_server(&mut self, attempt: &Attempt, done: Done, effects: &mut Effects) {
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

    pub(super) fn cancel(&mut self, session: SessionId, target: RequestId, effects: &mut Effects) {
        let origin = Origin::Client(session, target);
        let canceled = self.waits.cancel(origin).is_some()
            || self.pieces.cancel(session, target)
            || self.forwards.cancel(origin, self.node.leader().0, effects);
        if canceled {
            let output = Output::Canceled { request: target };
            effects.outputs.push((session, output));
        }
    }

    /// Executes again what waits for a table that changed, or has waited long enough, as far as the budget goes.
    pub(super) fn retry_blocked(&mut self, now_ms: u64, effects: &mut Effects) {
        self.waits.expire(now_ms);
        self.waits.spent = 0;
        loop {
            for table in std::mem::take(&mut self.changed) {
                self.waits.changed(DatabaseId::Main, table);
            }
            if self.waits.spent >= self.wait_steps {
                return;
            }
            let Some(blocked) = self.waits.take_due() else {
                return;
            };
            self.waits.steps = 0;
            self.transact_in_turn(now_ms, blocked.attempt, effects);
            self.waits.spent += 1 + self.waits.steps;
        }
    }
}

fn waited_tables(transaction: &Transaction) -> Vec<usize> {
    let waits = transaction.operations.iter();
    waits
        .filter(|operation| matches!(operation, Operation::Wait { .. }))
        .filter_map(Operation::table)
        .collect()
}
