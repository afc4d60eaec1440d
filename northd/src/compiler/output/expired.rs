//! Rows of others that have had their time, as learned addresses of which nobody has heard.
//!
//! Units say which, and by which value of which column, if by one: a row that has another one by then is left alone. They are deleted in
//! batches, when there is nothing else to write: nobody waits for that. A batch is followed by a pause, in which the database
//! tells that the rows are gone, and their units take back what they said.

use std::collections::{BTreeMap, BTreeSet};
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
        // Each table has a limit of its own, and a share of the batch: none keeps another's rows.
        let mut taken: BTreeMap<u16, Vec<&Stale>> = BTreeMap::new();
        for row in &self.rows {
            let of_table = taken.entry(row.table).or_default();
            let most = usize::try_from(row.limit).ok().filter(|most| *most > 0);
            if of_table.len() < most.unwrap_or(limit).min(limit) {
                of_table.push(row);
            }
        }
        let share = limit.div_ceil(taken.len());
        let rows = taken.values().flat_map(|rows| rows.iter().take(share));
        rows.take(limit).map(|row| deletion(row)).collect()
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
        let other = Stale {
            table: 5,
            limit: 1,
            ..stale(20)
        };
        expired.add(other);
        expired.elapse(now + PAUSE * 2);
        expired.elapse(now + PAUSE * 3);
        let tables = expired
            .take(4)
            .into_iter()
            .map(|operation| match operation {
                Operation::Delete { table, .. } => table,
                other => panic!("{other:?}"),
            });
        assert_eq!(
            tables.collect::<Vec<_>>(),
            [3, 3, 5],
            "each table has its share"
        );
        expired.remove(other);
        (4..10).for_each(|n| expired.remove(stale(n)));
        expired.elapse(now + PAUSE * 4);
        assert_eq!(expired.due_at(), None);
    }
}
