//! Transactions that only read, executed piece by piece.
//!
//! A transaction of a million `select`s takes a second, and nobody else waits for it: what cannot
//! be read in one slice goes on whenever there is nothing else to do, and sees the state that the
//! head had at its beginning (see [`Reading`]). One is under way at a time; what comes meanwhile
//! and is no shorter waits for its turn.
//!
//! To free a million operations takes long, too, and is left to somebody else.

use std::collections::VecDeque;

use ovsdb::{ErrorKind, RowChange, Transaction};
use table::{Done, Permission, Reading};

use super::Core;
use super::transact::{Attempt, Origin, Reply, Waiter};
use crate::event::Effects;
use crate::session::{RequestId, SessionId};

/// So many values are compared in a slice, which takes about a fifth of a millisecond.
pub(super) const SLICE_STEPS: usize = 2048;
/// A transaction of more operations is large.
const LARGE_OPERATIONS: usize = 1000;
/// So many long transactions may wait for their turn.
const MAX_WAITING: usize = 4096;

/// What is done in pieces.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    current: Option<Piecewise>,
    waiting: VecDeque<Attempt>,
    /// What was executed, and is large.
    discarded: Vec<Transaction>,
}

/// A transaction under way.
#[derive(Debug)]
struct Piecewise {
    attempt: Attempt,
    reading: Reading,
    /// If this member led at its beginning: the log index of the newest commit that it depends on.
    after: Option<u64>,
}

impl Pieces {
    /// The head changes.
    pub(super) fn note(&mut self, delta: &[RowChange]) {
        if let Some(current) = &mut self.current {
            current.reading.note(delta);
        }
    }

    /// Whether there is something to do.
    pub(super) fn is_busy(&self) -> bool {
        self.current.is_some() || !self.waiting.is_empty()
    }

    /// Nobody needs this any more.
    pub(super) fn discard(&mut self, transaction: Transaction) {
        if transaction.operations.len() > LARGE_OPERATIONS {
            self.discarded.push(transaction);
        }
    }

    /// What was discarded since the last time.
    pub(super) fn discarded(&mut self) -> Vec<Transaction> {
        std::mem::take(&mut self.discarded)
    }

    /// What was begun on a head that is about to be taken back.
    pub(super) fn give_up(&mut self) -> Option<Attempt> {
        let current = self.current.take_if(|current| current.after.is_some());
        current.map(|current| current.attempt)
    }

    /// Forgets transactions of somebody: whether there were any.
    fn forget(&mut self, is_theirs: impl Fn(&Attempt) -> bool) -> bool {
        let current = self.current.take_if(|current| is_theirs(&current.attempt));
        let mut kept = VecDeque::new();
        let mut forgotten: Vec<Attempt> = current.into_iter().map(|c| c.attempt).collect();
        for attempt in self.waiting.drain(..) {
            match is_theirs(&attempt) {
                true => forgotten.push(attempt),
                false => kept.push_back(attempt),
            }
        }
        self.waiting = kept;
        let found = !forgotten.is_empty();
        for attempt in forgotten {
            self.discard(attempt.transaction);
        }
        found
    }

    /// A client went.
    pub(super) fn disconnect(&mut self, session: SessionId) {
        self.forget(
            |attempt| matches!(attempt.origin, Origin::Client(client, _) if client == session),
        );
    }

    /// A client does not want to wait any more: whether it did.
    pub(super) fn cancel(&mut self, session: SessionId, request: RequestId) -> bool {
        self.forget(|attempt| attempt.origin == Origin::Client(session, request))
    }

    /// Another member sends something again: whether it is here already.
    fn is_here(&mut self, attempt: &Attempt) -> bool {
        if let Origin::Client(..) = attempt.origin {
            return false;
        }
        let current = self.current.as_mut().map(|current| &mut current.attempt);
        let mut all = current.into_iter().chain(&mut self.waiting);
        let same = all.find(|other| other.origin == attempt.origin);
        same.map(|other| other.sending = attempt.sending).is_some()
    }
}

impl Core {
    /// Begins a transaction that only reads, and ends it if it is short.
    pub(super) fn read(&mut self, attempt: Attempt, mut reading: Reading, effects: &mut Effects) {
        if self.pieces.is_here(&attempt) {
            return;
        }
        let newest = self.pending.back().map_or(0, |last| last.position.index);
        let after = self.serves().then_some(newest);
        match self.advance(&mut reading, &attempt) {
            Some(done) => self.finish_reading(attempt, after, done, effects),
            None if self.pieces.current.is_none() => {
                self.pieces.current = Some(Piecewise {
                    attempt,
                    reading,
                    after,
                });
            }
            None if self.pieces.waiting.len() < MAX_WAITING => {
                self.pieces.waiting.push_back(attempt);
            }
            None => {
                let text =
                    format!("More than {MAX_WAITING} long transactions wait for their turn.");
                self.refuse(&attempt, ErrorKind::ResourcesExhausted, &text, effects);
            }
        }
    }

    /// Does a little of what is done in pieces.
    pub(super) fn go_on(&mut self, now_ms: u64, effects: &mut Effects) {
        if let Some(mut current) = self.pieces.current.take() {
            match self.advance(&mut current.reading, &current.attempt) {
                None => self.pieces.current = Some(current),
                Some(done) => {
                    self.finish_reading(current.attempt, current.after, done, effects);
                }
            }
        } else if let Some(attempt) = self.pieces.waiting.pop_front() {
            // This member may lead by now, or not any more.
            self.transact(now_ms, attempt, effects);
        }
    }

    fn advance(&mut self, reading: &mut Reading, attempt: &Attempt) -> Option<Done> {
        let permission = self.access.permission(&attempt.caller);
        let permission = permission.as_ref().map(|gate| gate as &dyn Permission);
        let transaction = &attempt.transaction;
        let mut steps = self.slice_steps;
        let done = reading.advance(&mut self.head, transaction, permission, &mut steps);
        self.spent += self.slice_steps - steps;
        done
    }

    fn finish_reading(
        &mut self,
        attempt: Attempt,
        after: Option<u64>,
        done: Done,
        effects: &mut Effects,
    ) {
        if let Some(comment) = &done.comment {
            tracing::debug!("transaction: {comment}");
        }
        let outcome = done.outcome;
        match after {
            Some(after) => self.reads.push(Waiter { attempt, outcome }, after),
            None => {
                self.reply(&attempt, Reply::Done(outcome, None), effects);
                self.pieces.discard(attempt.transaction);
            }
        }
    }
}
