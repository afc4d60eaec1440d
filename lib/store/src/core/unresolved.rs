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
use crate::event::Effects;
use crate::raft::Mark;
use crate::session::Consistency;
use crate::storage::LogPosition;

/// A proposal whose outcome is not known.
#[derive(Debug)]
pub(super) struct Unresolved {
    mark: Mark,
    position: LogPosition,
    waiter: Waiter,
}

/// The proposals whose outcomes are not known, by their places. A member that led twice may have two for one place.
#[derive(Debug, Default)]
pub(super) struct UnresolvedProposals(BTreeMap<u64, Vec<Unresolved>>);

impl UnresolvedProposals {
    fn push(&mut self, proposal: Unresolved) {
        self.0
            .entry(proposal.position.index)
            .or_default()
            .push(proposal);
    }

    /// Those with places up to an index.
    fn take(&mut self, index: u64) -> Vec<Unresolved> {
        let mut unresolved = Vec::new();
        while let Some(first) = self.0.first_entry().filter(|first| *first.key() <= index) {
            unresolved.extend(first.remove());
        }
        unresolved
    }

    /// Those that have no place in a log with an entry of this term already.
    fn take_older(&mut self, term: u64) -> Vec<Unresolved> {
        let places = self.0.values_mut();
        let older = |proposal: &mut Unresolved| proposal.position.term < term;
        let taken =
            places.flat_map(|unresolved| unresolved.extract_if(.., older).collect::<Vec<_>>());
        let taken = taken.collect();
        self.0.retain(|_, unresolved| !unresolved.is_empty());
        taken
    }
}

impl Core {
    /// Takes back what is not committed.
    pub(super) fn lose_leadership(&mut self, effects: &mut Effects) {
        let mut unresolved = Vec::new();
        let mut again = self.reads.give_up();
        again.extend(self.pieces.give_up().map(|attempt| Waiter {
            attempt,
            outcome: Ok(Vec::new()),
        }));
        while let Some(pending) = self.pending.pop_back() {
            self.take_back(&pending.delta);
            self.leave_unresolved(pending.others, pending.position.index, effects);
            unresolved.push(Unresolved {
                mark: pending.mark,
                position: pending.position,
                waiter: pending.owner,
            });
        }
        self.pending_bytes = 0;
        self.pending_rows = 0;
        // The other members send what they forwarded to whoever leads, by name.
        let ours =
            |proposal: &Unresolved| matches!(proposal.waiter.attempt.origin, Origin::Client(..));
        for proposal in unresolved
            .into_iter()
            .rev()
            .filter(|proposal| ours(proposal))
        {
            self.unresolved.push(proposal);
        }
        if !self.serves() {
            self.unknown_changes(effects);
            let blocked = self.waits.take_main().into_iter();
            again.extend(blocked.map(|attempt| Waiter {
                attempt,
                outcome: Ok(Vec::new()),
            }));
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
    fn leave_unresolved(&mut self, others: Vec<Waiter>, index: u64, effects: &mut Effects) {
        for waiter in others {
            self.send_away_since(waiter.attempt, Some(index - 1), effects);
        }
    }

    /// The log is applied up to a position, with the entry that has this mark.
    pub(super) fn resolve_proposals(
        &mut self,
        position: LogPosition,
        mark: Option<Mark>,
        effects: &mut Effects,
    ) {
        for proposal in self.unresolved.take(position.index) {
            let Waiter { attempt, outcome } = proposal.waiter;
            if mark == Some(proposal.mark) {
                let reply = Reply::Done(outcome, Some(position.index));
                self.reply(&attempt, reply, effects);
            } else {
                self.send_away(attempt, effects);
            }
        }
        for proposal in self.unresolved.take_older(position.term) {
            self.send_away(proposal.waiter.attempt, effects);
        }
    }

    /// The log up to an index was replaced by a snapshot: what became of the proposals there is
    /// known of those only that have names.
    pub(super) fn skip_proposals(&mut self, index: u64, effects: &mut Effects) {
        for proposal in self.unresolved.take(index) {
            let attempt = proposal.waiter.attempt;
            if attempt.name.is_some() {
                self.send_away_since(attempt, Some(proposal.position.index - 1), effects);
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
    use crate::caller::Caller;
    use crate::session::{DatabaseId, RequestId, SessionId};

    fn proposal(index: u64, term: u64, sequence: u64) -> Unresolved {
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
            session_there: SessionId(1),
        };
        Unresolved {
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
    fn an_older_proposal_does_not_hide_a_newer_one_at_an_earlier_place() {
        let mut unresolved = UnresolvedProposals::default();
        for (index, term, sequence) in [(10, 1, 1), (11, 1, 2), (12, 1, 3), (11, 3, 4)] {
            unresolved.push(proposal(index, term, sequence));
        }
        let mut take = |index| {
            let taken = unresolved.take(index).into_iter();
            taken
                .map(|proposal| proposal.mark.sequence)
                .collect::<Vec<_>>()
        };
        assert_eq!(take(9), [0; 0]);
        assert_eq!(take(10), [1]);
        assert_eq!(take(11), [2, 4]);
        assert_eq!(take(20), [3]);
    }

    /// An entry of term 3 stands before the places of what was proposed in term 1.
    #[test]
    fn what_is_older_than_what_is_applied_has_no_place_after_it() {
        let mut unresolved = UnresolvedProposals::default();
        for (index, term, sequence) in [(10, 1, 1), (11, 1, 2), (11, 3, 4), (12, 4, 5)] {
            unresolved.push(proposal(index, term, sequence));
        }
        let sequences = |taken: Vec<Unresolved>| {
            let taken = taken.into_iter();
            taken
                .map(|proposal| proposal.mark.sequence)
                .collect::<Vec<_>>()
        };
        assert_eq!(sequences(unresolved.take_older(1)), [0; 0]);
        assert_eq!(sequences(unresolved.take_older(3)), [1, 2]);
        assert_eq!(sequences(unresolved.take(20)), [4, 5]);
    }
}
