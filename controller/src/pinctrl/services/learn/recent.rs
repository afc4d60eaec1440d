//! Rows that were asked for a moment ago.
//!
//! Between the first packet from an unknown address, or from one that moved, and the flow that says that it is known, many more
//! may come. Each of them asks for the same of the same row, and only the first needs to be written.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use daemon::Now;
use ovsdb::Uuid;
use rustc_hash::FxHashMap;

/// For how long nobody asks twice. Longer than a row takes to come back, short enough to try again soon.
const WHILE: Duration = Duration::from_secs(1);
/// How many are remembered. Beyond that the oldest are asked for again, which costs a row in a transaction and no more.
const LIMIT: usize = 4_096;

/// The rows, by identity, with what they were last asked to say.
#[derive(Debug, Default)]
pub(super) struct Recent {
    since: VecDeque<(Instant, Uuid)>,
    rows: FxHashMap<Uuid, (Instant, u64)>,
}

impl Recent {
    /// Whether a row was asked to say this just now, and nothing else since; if not, it has been now.
    pub(super) fn repeats(&mut self, now: Now, row: Uuid, says: u64) -> bool {
        self.forget(now);
        if self.rows.get(&row).is_some_and(|(_, said)| *said == says) {
            return true;
        }
        self.rows.insert(row, (now.at, says));
        self.since.push_back((now.at, row));
        false
    }

    /// The row says something now, what was asked for or not.
    pub(super) fn answered(&mut self, row: Uuid) {
        self.rows.remove(&row);
    }

    /// Forgets what is old.
    fn forget(&mut self, now: Now) {
        while let Some(&(since, row)) = self.since.front() {
            let is_fresh = now.at < since + WHILE;
            if is_fresh && self.since.len() < LIMIT {
                break;
            }
            self.since.pop_front();
            // It may have been asked for again, to say something else.
            if self.rows.get(&row).is_some_and(|(at, _)| *at == since) {
                self.rows.remove(&row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_asked_to_say_something_once_in_a_while() {
        let mut recent = Recent::default();
        let start = Instant::now();
        let at = |millis| Now {
            at: start + Duration::from_millis(millis),
            unix_ms: 0,
        };
        let row = Uuid::from_u128;
        assert!(!recent.repeats(at(0), row(1), 5));
        assert!(recent.repeats(at(999), row(1), 5));
        assert!(!recent.repeats(at(999), row(2), 5));
        assert!(!recent.repeats(at(1_000), row(1), 5));
        // An address that moves, and back.
        assert!(!recent.repeats(at(1_500), row(1), 6));
        assert!(recent.repeats(at(1_500), row(1), 6));
        assert!(!recent.repeats(at(1_500), row(1), 5));
        assert!(recent.repeats(at(2_100), row(1), 5));
        // Somebody else said something else.
        recent.answered(row(1));
        assert!(!recent.repeats(at(2_100), row(1), 5));
        for n in 10..20_000 {
            assert!(!recent.repeats(at(2_100), row(n), 0));
        }
        assert!(recent.rows.len() <= LIMIT && recent.since.len() <= LIMIT);
    }
}
