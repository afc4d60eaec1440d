//! Rows that were asked for a moment ago.
//!
//! Between the first packet from an unknown address and the flow that says that it is known, many more may come. Each
//! of them asks for the same row, and only the first needs to be written.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use daemon::Now;
use ovsdb::{Operation, Uuid};
use rustc_hash::FxHashSet;

/// For how long nobody asks twice. Longer than a row takes to come back, short enough to try again soon.
const WHILE: Duration = Duration::from_secs(1);
/// How many are remembered. Beyond that the oldest are asked for again, which costs a transaction and no more.
const LIMIT: usize = 4_096;

/// The rows, by identity.
#[derive(Debug, Default)]
pub(super) struct Recent {
    since: VecDeque<(Instant, Uuid)>,
    rows: FxHashSet<Uuid>,
}

impl Recent {
    /// Whether this asks for a new row that was asked for just now; if not, it has been now.
    pub(super) fn repeats(&mut self, now: Now, operation: &Operation) -> bool {
        let Operation::Insert { uuid, .. } = operation else {
            return false;
        };
        self.forget(now);
        if !self.rows.insert(*uuid) {
            return true;
        }
        self.since.push_back((now.at, *uuid));
        false
    }

    /// Forgets what is old.
    fn forget(&mut self, now: Now) {
        while let Some(&(since, uuid)) = self.since.front() {
            let is_fresh = now.at < since + WHILE;
            if is_fresh && self.since.len() < LIMIT {
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

    fn insert(n: u128) -> Operation {
        Operation::Insert {
            table: 0,
            uuid: Uuid::from_u128(n),
            row: Vec::new(),
        }
    }

    #[test]
    fn a_row_is_asked_for_once_in_a_while() {
        let mut recent = Recent::default();
        let start = Instant::now();
        let at = |millis| Now {
            at: start + Duration::from_millis(millis),
            unix_ms: 0,
        };
        assert!(!recent.repeats(at(0), &insert(1)));
        assert!(recent.repeats(at(999), &insert(1)));
        assert!(!recent.repeats(at(999), &insert(2)));
        assert!(!recent.repeats(at(1_000), &insert(1)));
        let deletion = Operation::delete_row(0, Uuid::from_u128(1));
        assert!(!recent.repeats(at(1_000), &deletion));
        for n in 10..20_000 {
            assert!(!recent.repeats(at(1_000), &insert(n)));
        }
        assert!(recent.rows.len() <= LIMIT && recent.since.len() == recent.rows.len());
    }
}
