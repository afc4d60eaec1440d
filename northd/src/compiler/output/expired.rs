//! Rows of others that have had their time, as learned addresses of which nobody has heard.
//!
//! Units say which. They are deleted in batches, when there is nothing else to write: nobody waits for that. A batch is followed by
//! a pause, in which the database tells that the rows are gone, and their units take back what they said.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ovsdb::operation::Operation;
use uuid::Uuid;

/// The pause after a batch.
const PAUSE: Duration = Duration::from_secs(5);

/// The rows, by table and UUID, each with how many are to be deleted at once; 0 is no limit.
#[derive(Default)]
pub(in crate::compiler) struct Expired {
    rows: BTreeMap<(u16, Uuid), u32>,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// The next batch may be taken.
    #[default]
    Ready,
    /// One was.
    Taken,
    /// It was taken long enough before this.
    Pause(Instant),
}

impl Expired {
    pub(in crate::compiler) fn add(&mut self, row: (u16, Uuid), limit: u32) {
        self.rows.insert(row, limit);
    }

    pub(in crate::compiler) fn remove(&mut self, row: (u16, Uuid)) {
        self.rows.remove(&row);
    }

    pub(super) fn elapse(&mut self, now: Instant) {
        match self.state {
            State::Taken => self.state = State::Pause(now + PAUSE),
            State::Pause(until) if until <= now => self.state = State::Ready,
            State::Pause(_) | State::Ready => {}
        }
    }

    /// When the next batch may be taken.
    pub(super) fn due_at(&self) -> Option<Instant> {
        match self.state {
            State::Pause(until) if !self.rows.is_empty() => Some(until),
            _ => None,
        }
    }

    /// The next batch, of `limit` rows at most.
    pub(super) fn take(&mut self, limit: usize) -> Vec<Operation> {
        if self.state != State::Ready || self.rows.is_empty() {
            return Vec::new();
        }
        self.state = State::Taken;
        let limits = self.rows.values().filter(|limit| **limit > 0);
        let own = limits.min().and_then(|limit| usize::try_from(*limit).ok());
        let count = own.unwrap_or(limit).min(limit);
        let rows = self.rows.keys().take(count);
        rows.map(|(table, uuid)| Operation::delete_row(usize::from(*table), *uuid))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_have_a_limit_and_a_pause_between_them() {
        let mut expired = Expired::default();
        let now = Instant::now();
        for n in 0..10 {
            expired.add((3, Uuid::from_u128(n)), 4);
        }
        assert_eq!((expired.take(100).len(), expired.take(100).len()), (4, 0));
        expired.elapse(now);
        assert_eq!(expired.due_at(), Some(now + PAUSE));
        (0..4).for_each(|n| expired.remove((3, Uuid::from_u128(n))));
        expired.elapse(now + PAUSE / 2);
        assert_eq!(expired.take(100), []);
        expired.elapse(now + PAUSE);
        assert_eq!(expired.take(3).len(), 3, "as many as a transaction takes");
        (4..10).for_each(|n| expired.remove((3, Uuid::from_u128(n))));
        expired.elapse(now + PAUSE);
        assert_eq!(expired.due_at(), None);
    }
}
