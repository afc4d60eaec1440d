//! What packets taught, on its way into the southbound: many rows a transaction, one transaction at a time.
//!
//! What is refused is dropped, for another chassis was faster, or the port is gone; the next packet tries again.

use std::collections::VecDeque;
use std::time::Instant;

use ovsdb::{Operation, Uuid};
use replica::TransactError;
use rustc_hash::FxHashMap;

use super::writes::Writes;
use super::{Core, Effects};

/// The most rows that wait. What comes beyond that is not learned from this packet.
const LIMIT: usize = 4_096;
/// The most rows of one transaction.
const BATCH: usize = 256;

/// The rows that wait, and those that are under way.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// By the row's identity: what is learned later takes the place of what was not sent yet.
    waiting: FxHashMap<Uuid, Vec<Operation>>,
    order: VecDeque<Uuid>,
    under_way: Vec<(Uuid, Vec<Operation>)>,
    writes: Writes<Uuid>,
}

impl Learned {
    /// Takes the wish for a row. False if too many wait.
    pub(super) fn add(&mut self, row: Uuid, operations: Vec<Operation>) -> bool {
        if let Some(known) = self.waiting.get_mut(&row) {
            *known = operations;
            return true;
        }
        if self.order.len() >= LIMIT {
            return false;
        }
        self.waiting.insert(row, operations);
        self.order.push_back(row);
        true
    }

    pub(super) fn elapse(&mut self, now: Instant) {
        self.writes.elapse(now);
    }

    /// The next transaction, if there is something for it and it may be sent.
    fn take(&mut self, id: u64) -> Option<Vec<Operation>> {
        if self.order.is_empty() || !self.writes.may_send() {
            return None;
        }
        let count = self.order.len().min(self.writes.room()).min(BATCH);
        for row in self.order.drain(..count) {
            let operations = self.waiting.remove(&row).unwrap_or_default();
            self.under_way.push((row, operations));
        }
        Some(self.writes.send(id, self.under_way.clone()))
    }

    /// Whether this was about what was learned.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        id: u64,
        failure: Option<&TransactError>,
    ) -> bool {
        let Some(outcome) = self.writes.answered(now, id, failure) else {
            return false;
        };
        let under_way = std::mem::take(&mut self.under_way);
        let refused = outcome.refused.map(|(row, _)| row);
        if let Some(row) = refused {
            self.writes.forgive(row);
        }
        if failure.is_some() {
            // The others are not to blame, unless something newer is known of them.
            for (row, operations) in under_way.into_iter().rev() {
                if Some(row) != refused && !self.waiting.contains_key(&row) {
                    self.waiting.insert(row, operations);
                    self.order.push_front(row);
                }
            }
        }
        true
    }

    /// Another southbound is followed.
    pub(super) fn forget(&mut self) {
        *self = Learned::default();
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.writes.deadline()
    }
}

impl Core {
    /// Sends what was learned.
    pub(super) fn write_learned(&mut self, effects: &mut Effects) {
        if !self.south_synced {
            return;
        }
        if let Some(operations) = self.learned.take(self.next_transaction) {
            let id = self.new_transaction();
            effects.south.push((id, operations));
        }
    }
}

#[cfg(test)]
mod tests {
    use ovsdb::Error;
    use ovsdb::operation::Failure;

    use super::*;

    fn wish(n: u128) -> (Uuid, Vec<Operation>) {
        let row = Uuid::from_u128(n);
        (row, vec![Operation::delete_row(0, row)])
    }

    #[test]
    fn rows_are_learned_in_batches_and_a_refused_one_is_dropped() {
        let now = Instant::now();
        let mut learned = Learned::default();
        for n in 0..300 {
            let (row, operations) = wish(n);
            assert!(learned.add(row, operations.clone()) && learned.add(row, operations));
        }
        assert_eq!(learned.take(1).map(|batch| batch.len()), Some(BATCH));
        assert_eq!(learned.take(2), None, "one at a time");
        let failure = TransactError::Failed(Failure {
            done: Vec::new(),
            error: Error::constraint("another chassis was faster"),
        });
        assert!(learned.answered(now, 1, Some(&failure)));
        let again = learned.take(2).expect("the others at once");
        assert_eq!(again.len(), BATCH);
        assert_eq!(again[0], wish(1).1[0]);
        assert!(learned.answered(now, 2, None));
        assert_eq!(
            learned.take(3).map(|batch| batch.len()),
            Some(300 - 1 - BATCH)
        );
        assert!(learned.answered(now, 3, None) && !learned.answered(now, 3, None));
        assert_eq!(learned.take(4), None);
        assert_eq!(learned.deadline(), None);
    }

    #[test]
    fn only_so_many_wait() {
        let mut learned = Learned::default();
        let taken = (0..10_000).filter(|n| learned.add(wish(*n).0, wish(*n).1));
        assert_eq!(taken.count(), LIMIT);
    }
}
