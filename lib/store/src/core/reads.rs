//! Answers that change nothing.
//!
//! A leader that was deposed does not know it at once, and what it shows may be old. So an answer
//! that depends on no pending commit waits for a round of Raft's ReadIndex: a majority says that
//! this member still leads. That makes it an answer as of the moment when it was executed, which is
//! after it was asked for. Answers that gather during a round share the next one. The only member
//! of a cluster needs nobody's word.

use super::Core;
use super::transact::{Reply, Waiter};
use crate::event::Effects;

/// After so many ticks without a word, a round is started again: Raft drops what it cannot
/// confirm.
const TICKS_PER_ROUND: u64 = 5;

/// The answers that wait.
#[derive(Debug, Default)]
pub(super) struct Reads {
    waiting: Vec<Waiter>,
    /// The number of the round under way, and who is answered at its end.
    round: u64,
    asked: Vec<Waiter>,
    ticks: u64,
}

impl Reads {
    /// An answer to give if this member still leads.
    pub(super) fn push(&mut self, waiter: Waiter) {
        self.waiting.push(waiter);
    }

    /// Those who cannot be answered because this member does not lead.
    pub(super) fn give_up(&mut self) -> Vec<Waiter> {
        let mut waiters = std::mem::take(&mut self.asked);
        waiters.append(&mut self.waiting);
        waiters
    }

    /// Time passes.
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
    }
}

impl Core {
    /// Starts a round if there is need of one.
    pub(super) fn confirm_reads(&mut self) {
        let reads = &mut self.reads;
        if reads.asked.is_empty() {
            if reads.waiting.is_empty() {
                return;
            }
            reads.asked = std::mem::take(&mut reads.waiting);
        } else if reads.ticks < TICKS_PER_ROUND {
            return;
        }
        reads.ticks = 0;
        reads.round += 1;
        self.node.read_index(reads.round);
    }

    /// These rounds ended well.
    pub(super) fn reads_confirmed(&mut self, rounds: &[u64], effects: &mut Effects) {
        if !rounds.contains(&self.reads.round) {
            return;
        }
        for waiter in std::mem::take(&mut self.reads.asked) {
            let reply = Reply::Done(waiter.outcome, None);
            self.reply(&waiter.attempt, reply, effects);
        }
        self.confirm_reads();
    }
}
