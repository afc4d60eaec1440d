//! What was proposed, and nobody knows whether it will be committed.
//!
//! A member that ceases to lead has proposals in its log that the next leader may have, and may
//! commit. So their effects are taken back, but who waits for them goes on waiting: each proposal
//! has a place in the log, and when that place is filled, it is certain whether it was filled with
//! the proposal. If not, the transaction is sent to the new leader, as if it had just come. It is
//! certain as well when an earlier place is filled with an entry of a later term: terms never fall
//! along a log. So nobody waits until others have filled the log, who may not come.

use std::collections::BTreeMap;

use ovsdb::{Error, ErrorKind};

use super::Core;
use super::transact::{Origin, Reply, Waiter};
use crate::event::{Consistency, Effects};
use crate::raft::Mark;
use crate::storage::LogPosition;

/// A proposal in doubt.
#[derive(Debug)]
pub(super) struct Doubt {
    mark: Mark,
    position: LogPosition,
    waiter: Waiter,
}

/// The proposals in doubt, by their places. A member that led twice may have two for one place.
#[derive(Debug, Default)]
pub(super) struct Doubts(BTreeMap<u64, Vec<Doubt>>);

impl Doubts {
    fn push(&mut self, doubt: Doubt) {
        self.0.entry(doubt.position.index).or_default().push(doubt);
    }

    /// Those with places up to an index.
    fn take(&mut self, index: u64) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        while let Some(first) = self.0.first_entry().filter(|first| *first.key() <= index) {
            doubts.extend(first.remove());
        }
        doubts
    }

    /// Those that have no place in a log with an entry of this term already.
    fn take_older(&mut self, term: u64) -> Vec<Doubt> {
        let places = self.0.values_mut();
        let older = |doubt: &mut Doubt| doubt.position.term < term;
        let taken = places.flat_map(|doubts| doubts.extract_if(.., older).collect::<Vec<_>>());
        let taken = taken.collect();
        self.0.retain(|_, doubts| !doubts.is_empty());
        taken
    }
}

impl Core {
    /// Takes back what is not committed.
    pub(super) fn lose_leadership(&mut self, effects: &mut Effects) {
        let mut doubts = Vec::new();
        let mut again = self.reads.give_up();
        again.extend(self.pieces.give_up().map(|attempt| Waiter {
            attempt,
            outcome: Ok(Vec::new()),
        }));
        while let Some(pending) = self.pending.pop_back() {
            self.take_back(&pending.delta);
            self.leave_in_doubt(pending.others, pending.position.index, effects);
            doubts.push(Doubt {
                mark: pending.mark,
                position: pending.position,
                waiter: pending.owner,
            });
        }
        self.pending_bytes = 0;
        // The other members send what they forwarded to whoever leads, by name.
        let ours = |doubt: &Doubt| matches!(doubt.waiter.attempt.origin, Origin::Client(..));
        for doubt in doubts.into_iter().rev().filter(|doubt| ours(doubt)) {
            self.doubts.push(doubt);
        }
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
        for Waiter { attempt, .. } in again {
            match attempt.consistency {
                // It needs no leader, and there may be none for long.
                Consistency::Local => self.leave(attempt, effects),
                Consistency::Linearizable => self.send_away(attempt, effects),
            }
        }
    }

    /// Those who sent a transaction of which another sending was proposed, for this place: only the
    /// next leader knows what became of it.
    fn leave_in_doubt(&mut self, others: Vec<Waiter>, index: u64, effects: &mut Effects) {
        for waiter in others {
            self.send_away_since(waiter.attempt, Some(index - 1), effects);
        }
    }

    /// The log is applied up to a position, with the entry that has this mark.
    pub(super) fn resolve_doubts(
        &mut self,
        position: LogPosition,
        mark: Option<Mark>,
        effects: &mut Effects,
    ) {
        for doubt in self.doubts.take(position.index) {
            let Waiter { attempt, outcome } = doubt.waiter;
            if mark == Some(doubt.mark) {
                let reply = Reply::Done(outcome, Some(position.index));
                self.reply(&attempt, reply, effects);
            } else {
                self.send_away(attempt, effects);
            }
        }
        for doubt in self.doubts.take_older(position.term) {
            self.send_away(doubt.waiter.attempt, effects);
        }
    }

    /// The log up to an index was replaced by a snapshot: what became of the proposals there is
    /// known of those only that have names.
    pub(super) fn skip_doubts(&mut self, index: u64, effects: &mut Effects) {
        for doubt in self.doubts.take(index) {
            let attempt = doubt.waiter.attempt;
            if attempt.name.is_some() {
                self.send_away_since(attempt, Some(doubt.position.index - 1), effects);
            } else {
                let details = "The leader changed, and it is not known whether the transaction \
                               was committed.";
                let error = Error::new(ErrorKind::IoError, details);
                self.reply(&attempt, Reply::Refused(error), effects);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ovsdb::Transaction;

    use super::super::transact::Attempt;
    use super::*;
    use crate::access::Caller;
    use crate::event::{DatabaseId, RequestId, SessionId};

    fn doubt(index: u64, term: u64, sequence: u64) -> Doubt {
        let attempt = Attempt {
            origin: Origin::Client(SessionId(1), RequestId(sequence)),
            database: DatabaseId::Main,
            caller: Caller::unrestricted(),
            transaction: Transaction {
                operations: Vec::new(),
                error: None,
                asked: 0,
            },
            consistency: Consistency::Linearizable,
            name: None,
            lock_holders: Vec::new(),
            since_ms: 0,
            sending: 0,
        };
        Doubt {
            mark: Mark {
                member: 1,
                process: 1,
                sequence,
            },
            position: LogPosition { index, term },
            waiter: Waiter {
                attempt,
                outcome: Ok(Vec::new()),
            },
        }
    }

    /// A member was deposed with proposals up to 12, led again, and was deposed with one at 11.
    #[test]
    fn an_older_doubt_does_not_hide_a_newer_one_at_an_earlier_place() {
        let mut doubts = Doubts::default();
        for (index, term, sequence) in [(10, 1, 1), (11, 1, 2), (12, 1, 3), (11, 3, 4)] {
            doubts.push(doubt(index, term, sequence));
        }
        let mut take = |index| {
            let taken = doubts.take(index).into_iter();
            taken.map(|doubt| doubt.mark.sequence).collect::<Vec<_>>()
        };
        assert_eq!(take(9), [0; 0]);
        assert_eq!(take(10), [1]);
        assert_eq!(take(11), [2, 4]);
        assert_eq!(take(20), [3]);
    }

    /// An entry of term 3 stands before the places of what was proposed in term 1.
    #[test]
    fn what_is_older_than_what_is_applied_has_no_place_after_it() {
        let mut doubts = Doubts::default();
        for (index, term, sequence) in [(10, 1, 1), (11, 1, 2), (11, 3, 4), (12, 4, 5)] {
            doubts.push(doubt(index, term, sequence));
        }
        let sequences = |taken: Vec<Doubt>| {
            let taken = taken.into_iter();
            taken.map(|doubt| doubt.mark.sequence).collect::<Vec<_>>()
        };
        assert_eq!(sequences(doubts.take_older(1)), [0; 0]);
        assert_eq!(sequences(doubts.take_older(3)), [1, 2]);
        assert_eq!(sequences(doubts.take(20)), [4, 5]);
    }
}
