//! Rows of others that have had their time, as learned addresses of which nobody has heard.
//!
//! Units say which, and by which value of which column, if by one: a row that has another one by then is left alone. They are deleted in
//! batches, when there is nothing else to write: nobody waits for that. A batch is followed by a pause, in which the database
//! tells that the rows are gone, and their units take back what they said.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ovsdb::operation::Operation;
use ovsdb::{Atom, Clause, Datum};

use crate::compiler::fact::Stale;

/// The pause after a batch.
const PAUSE: Duration = Duration::from_secs(5);

/// The rows.
#[derive(Default)]
pub(in crate::compiler) struct Expired {
    rows: BTreeSet<Stale>,
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
    pub(in crate::compiler) fn add(&mut self, row: Stale) {
        self.rows.insert(row);
    }

    pub(in crate::compiler) fn remove(&mut self, row: Stale) {
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
        let limits = self.rows.iter().map(|row| row.limit);
        let own = limits.filter(|limit| *limit > 0).min();
        let own = own.and_then(|limit| usize::try_from(limit).ok());
        let rows = self.rows.iter().take(own.unwrap_or(limit).min(limit));
        rows.map(deletion).collect()
    }
}

fn deletion(row: &Stale) -> Operation {
    let by = row.by.map(|(column, value)| {
        let value = Datum::One(Atom::Integer(value));
        Clause::equals(usize::from(column), value)
    });
    Operation::Delete {
        table: usize::from(row.table),
        condition: std::iter::once(Clause::is_row(row.row)).chain(by).collect(),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn stale(n: u128) -> Stale {
        Stale {
            table: 3,
            row: Uuid::from_u128(n),
            limit: 4,
            by: Some((1, 7)),
        }
    }

    #[test]
    fn batches_have_a_limit_and_a_pause_between_them() {
        let mut expired = Expired::default();
        let now = Instant::now();
        for n in 0..10 {
            expired.add(stale(n));
        }
        assert_eq!((expired.take(100).len(), expired.take(100).len()), (4, 0));
        expired.elapse(now);
        assert_eq!(expired.due_at(), Some(now + PAUSE));
        (0..4).for_each(|n| expired.remove(stale(n)));
        expired.elapse(now + PAUSE / 2);
        assert_eq!(expired.take(100), []);
        expired.elapse(now + PAUSE);
        assert_eq!(expired.take(3).len(), 3, "as many as a transaction takes");
        (4..10).for_each(|n| expired.remove(stale(n)));
        expired.elapse(now + PAUSE);
        assert_eq!(expired.due_at(), None);
    }
}
