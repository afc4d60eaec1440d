//! Rows that were asked for a moment ago.
//!
//! Between the first packet from an unknown address and the flow that says that it is known, many more may come. Each
//! of them asks for the same row, and only the first needs to be written.

use std::collections::VecDeque;

use ovsdb::{Operation, Uuid};
use rustc_hash::FxHashSet;

use super::{Effect, Now};

/// For how long nobody asks twice. Longer than a row takes to come back, short enough to try again soon.
const WHILE_MS: i64 = 1_000;
/// How many are remembered. Beyond that the oldest are asked for again, which costs a transaction and no more.
const LIMIT: usize = 4_096;

/// The rows, by identity.
#[derive(Debug, Default)]
pub(super) struct Recent {
    since: VecDeque<(i64, Uuid)>,
    rows: FxHashSet<Uuid>,
}

impl Recent {
    /// Whether the effect asks for a row that was asked for just now; if not, it has been now.
    pub(super) fn repeats(&mut self, now: Now, effect: &Effect) -> bool {
        let Effect::Write(operations) = effect else {
            return false;
        };
        let [Operation::Insert { uuid, .. }] = operations.as_slice() else {
            return false;
        };
        self.forget(now);
        if !self.rows.insert(*uuid) {
            return true;
        }
        self.since.push_back((now.unix_ms, *uuid));
        false
    }

    /// Forgets what is old, or from a time that has not come: clocks are set back.
    fn forget(&mut self, now: Now) {
        while let Some(&(since, uuid)) = self.since.front() {
            let fresh = (0..WHILE_MS).contains(&(now.unix_ms - since));
            if fresh && self.since.len() < LIMIT {
                break;
            }
            self.since.pop_front();
            self.rows.remove(&uuid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(n: u128) -> Effect {
        Effect::Write(vec![Operation::Insert {
            table: 0,
            uuid: Uuid::from_u128(n),
            row: Vec::new(),
        }])
    }

    #[test]
    fn a_row_is_asked_for_once_in_a_while() {
        let mut recent = Recent::default();
        let at = |unix_ms| Now { unix_ms };
        assert!(!recent.repeats(at(5_000), &insert(1)));
        assert!(recent.repeats(at(5_999), &insert(1)));
        assert!(!recent.repeats(at(5_999), &insert(2)));
        assert!(!recent.repeats(at(6_000), &insert(1)));
        assert!(
            !recent.repeats(at(1_000), &insert(1)),
            "the clock was set back"
        );
        assert!(!recent.repeats(at(1_000), &Effect::Note(String::new())));
        for n in 10..20_000 {
            assert!(!recent.repeats(at(1_000), &insert(n)));
        }
        assert!(recent.rows.len() <= LIMIT && recent.since.len() == recent.rows.len());
    }
}
