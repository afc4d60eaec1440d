//! Answers that change nothing.
//!
//! A leader that was deposed does not know it at once, and what it shows may be old. So an answer
//! that changes nothing waits for a round of Raft's ReadIndex: a majority says that this member
//! still leads. That makes it an answer as of the moment when it was executed, which is after it
//! was asked for. Answers that gather during a round share the next one. The only member of a
//! cluster needs nobody's word.
//!
//! What is executed may depend on what is not committed yet: then the answer waits for that, too.
//! The commit alone would not do, because the word of others that brings it may be older than the
//! question: a process that was stopped finds it in its queue, behind the question, when there is
//! another leader already.
//!
//! A member that does not lead reads for its clients by itself: the round goes through the leader,
//! who tells how far the log is committed; when this member has applied as much, it executes what
//! was asked. If the leader says nothing, the transaction goes to it as a whole, like one that
//! writes.

use std::collections::VecDeque;

use table::Reading;

use super::Core;
use super::transact::{Attempt, Origin, Reply, Waiter};
use crate::event::Effects;
use crate::session::Consistency;

/// After so many ticks without a word, a round is started again: Raft drops what it cannot
/// confirm.
const TICKS_PER_ROUND: u64 = 5;
/// So many transactions of this member's clients may wait for a word of the leader, or for this member to have applied
/// what it says; those of clients that are gone count until then.
const MAX_HERE: usize = 65_536;

/// So many slices are executed in one step without leading, of those that are short.
const SLICES_AT_ONCE: usize = 4;

/// The answers that wait.
#[derive(Debug, Default)]
pub(super) struct Reads {
    waiting: Vec<Read>,
    /// What this member is going to execute without leading.
    here: Vec<Attempt>,
    /// The number of the round under way, and who is answered at its end.
    round: u64,
    asked: Vec<Read>,
    asked_here: Vec<Attempt>,
    /// Those whose rounds ended well, in the order of what they depend on.
    confirmed: VecDeque<Read>,
    /// What is executed when the log is applied up to an index.
    due: VecDeque<(u64, Attempt)>,
    ticks: u64,
}

/// An answer, and the log index of the newest commit that it depends on.
#[derive(Debug)]
struct Read {
    waiter: Waiter,
    after: u64,
}

impl Reads {
    /// An answer to give if this member still leads, and when the log is applied up to `after`.
    pub(super) fn push(&mut self, waiter: Waiter, after: u64) {
        self.waiting.push(Read { waiter, after });
    }

    /// Those who cannot be answered because this member does not lead.
    pub(super) fn give_up(&mut self) -> Vec<Waiter> {
        let all = self.confirmed.drain(..).chain(self.asked.drain(..));
        let all = all.chain(self.waiting.drain(..));
        all.map(|read| read.waiter).collect()
    }

    /// How many wait that this member is going to execute without leading.
    fn count_here(&self) -> usize {
        self.here.len() + self.asked_here.len() + self.due.len()
    }

    /// Whether something can be executed now.
    pub(super) fn is_due(&self, applied: u64) -> bool {
        self.due.front().is_some_and(|(at, _)| *at <= applied)
    }

    /// Time passes.
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
    }
}

impl Core {
    /// Without leading: executes what only reads, and leaves all else to the leader.
    pub(super) fn leave(&mut self, attempt: Attempt, effects: &mut Effects) {
        let Origin::Client(session, _) = attempt.origin else {
            return self.send_away(attempt, effects);
        };
        // What the session asked for before comes first.
        let here = attempt.transaction.only_reads() && !self.forwards.has_of(session);
        match attempt.consistency {
            Consistency::Local if here => self.read_here(attempt, effects),
            Consistency::Linearizable
                if here && self.node.leader().0 != 0 && self.reads.count_here() < MAX_HERE =>
            {
                self.reads.here.push(attempt);
            }
            _ => self.send_away(attempt, effects),
        }
    }

    /// Whether the client that asks has not gone.
    fn is_here(&self, attempt: &Attempt) -> bool {
        match attempt.origin {
            Origin::Client(session, _) => self.sessions.contains_key(&session),
            Origin::Member(..) => true,
        }
    }

    /// Executes a transaction that only reads on what is applied here.
    fn read_here(&mut self, attempt: Attempt, effects: &mut Effects) {
        match Reading::begin(&self.head, &attempt.transaction) {
            Some(reading) => self.read(attempt, reading, effects),
            None => self.send_away(attempt, effects),
        }
    }

    /// Starts a round if there is need of one.
    pub(super) fn confirm_reads(&mut self, effects: &mut Effects) {
        if self.serves() || self.reads.ticks >= TICKS_PER_ROUND {
            // It leads now, or the leader said nothing.
            let mut attempts = std::mem::take(&mut self.reads.asked_here);
            if self.serves() {
                attempts.append(&mut self.reads.here);
            }
            for attempt in attempts {
                self.send_away(attempt, effects);
            }
        }
        let reads = &mut self.reads;
        if reads.asked.is_empty() && reads.asked_here.is_empty() {
            if reads.waiting.is_empty() && reads.here.is_empty() {
                return;
            }
            reads.asked = std::mem::take(&mut reads.waiting);
            reads.asked_here = std::mem::take(&mut reads.here);
        } else if reads.ticks < TICKS_PER_ROUND {
            return;
        }
        reads.ticks = 0;
        reads.round += 1;
        self.node.read_index(reads.round);
    }

    /// These rounds ended well, each with the index up to which the log was committed.
    pub(super) fn reads_confirmed(&mut self, rounds: &[(u64, u64)], effects: &mut Effects) {
        let round = rounds.iter().find(|(round, _)| *round == self.reads.round);
        if let Some((_, index)) = round {
            let asked = std::mem::take(&mut self.reads.asked);
            self.reads.confirmed.extend(asked);
            let due = std::mem::take(&mut self.reads.asked_here);
            let due = due.into_iter().map(|attempt| (*index, attempt));
            self.reads.due.extend(due);
        }
        let applied = self.node.applied_position().index;
        let ready = |read: &mut Read| read.after <= applied;
        while let Some(Read { waiter, .. }) = self.reads.confirmed.pop_front_if(ready) {
            let reply = Reply::Done(waiter.outcome, None);
            self.reply(&waiter.attempt, reply, effects);
            self.pieces.discard(waiter.attempt.transaction);
        }
        if round.is_some() {
            self.confirm_reads(effects);
        }
    }

    /// Executes what this member may execute now without leading, as far as the budget of a step goes: in a round,
    /// thousands gather.
    pub(super) fn read_due(&mut self, effects: &mut Effects) {
        let applied = self.node.applied_position().index;
        // Later rounds are not committed before earlier ones.
        while self.spent < SLICES_AT_ONCE * self.slice_steps
            && let Some((_, attempt)) = self.reads.due.pop_front_if(|(at, _)| *at <= applied)
        {
            if !self.is_here(&attempt) {
                continue;
            }
            // A leader's head runs ahead of what is committed.
            match self.node.is_leader() {
                true => self.send_away(attempt, effects),
                false => self.read_here(attempt, effects),
            }
        }
    }
}
