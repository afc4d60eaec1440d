//! What was proposed, and nobody knows whether it will be committed.
//!
//! A member that ceases to lead has proposals in its log that the next leader may have, and may
//! commit. So their effects are taken back, but who waits for them goes on waiting: each proposal
//! has a place in the log, and when that place is filled, it is certain whether it was filled with
//! the proposal. If not, the transaction is sent to the new leader, as if it had just come.

use ovsdb::{Error, ErrorKind};

use super::Core;
use super::transact::{Origin, Reply, Waiter};
use crate::event::Effects;
use crate::raft::Mark;

/// A proposal in doubt.
#[derive(Debug)]
pub(super) struct Doubt {
    mark: Mark,
    index: u64,
    waiter: Waiter,
}

impl Core {
    /// Takes back what is not committed.
    pub(super) fn lose_leadership(&mut self, effects: &mut Effects) {
        let mut doubts = Vec::new();
        let mut again = self.reads.give_up();
        while let Some(pending) = self.pending.pop_back() {
            self.take_back(&pending.delta);
            again.extend(pending.others);
            doubts.push(Doubt {
                mark: pending.mark,
                index: pending.index,
                waiter: pending.owner,
            });
        }
        self.pending_bytes = 0;
        // The other members send what they forwarded to whoever leads, by name.
        let ours = |doubt: &Doubt| matches!(doubt.waiter.attempt.origin, Origin::Client(..));
        self.doubts
            .extend(doubts.into_iter().rev().filter(|doubt| ours(doubt)));
        if !self.serves() {
            self.doubt_changes(effects);
            again.extend(
                self.blocked
                    .extract_if(.., |blocked| blocked.attempt.is_main())
                    .map(|blocked| Waiter {
                        attempt: blocked.attempt,
                        outcome: Ok(Vec::new()),
                    }),
            );
        }
        for waiter in again {
            self.send_away(waiter.attempt, effects);
        }
    }

    /// The log is applied up to an index, with the entry that has this mark.
    pub(super) fn resolve_doubts(&mut self, index: u64, mark: Option<Mark>, effects: &mut Effects) {
        while let Some(doubt) = self.doubts.pop_front_if(|doubt| doubt.index <= index) {
            let Waiter { attempt, outcome } = doubt.waiter;
            if mark == Some(doubt.mark) {
                let reply = Reply::Done(outcome, Some(index));
                self.reply(&attempt, reply, effects);
            } else {
                self.send_away(attempt, effects);
            }
        }
    }

    /// The log up to an index was replaced by a snapshot: what became of the proposals there is
    /// known of those only that have names.
    pub(super) fn skip_doubts(&mut self, index: u64, effects: &mut Effects) {
        while let Some(doubt) = self.doubts.pop_front_if(|doubt| doubt.index <= index) {
            let attempt = doubt.waiter.attempt;
            if attempt.name.is_some() {
                self.send_away(attempt, effects);
            } else {
                let details = "The leader changed, and it is not known whether the transaction \
                               was committed.";
                let error = Error::new(ErrorKind::IoError, details);
                self.reply(&attempt, Reply::Refused(error), effects);
            }
        }
    }
}
