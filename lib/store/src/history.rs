//! The latest commits, for clients who come back and want only what they missed.
//!
//! A state of the database has a name, a UUID: the first half is the cluster's, the second is the
//! index of the log entry that last changed the data. So every member names a state alike, and
//! the names need not be stored.

use std::collections::VecDeque;
use std::sync::Arc;

use ovsdb::{RowChange, Uuid};

/// So many commits are remembered at most.
const MAX_COMMITS: usize = 10_000;
/// So many changed rows are remembered at most.
const MAX_CHANGES: usize = 200_000;
/// So many former contents of rows are remembered at most: nobody else keeps them.
const MAX_FORMER: usize = 50_000;

/// Remembers commits.
#[derive(Debug)]
pub struct History {
    cluster: u64,
    /// The index of the state before the oldest remembered commit.
    base: u64,
    commits: VecDeque<(u64, Arc<[RowChange]>)>,
    changes: usize,
    former: usize,
}

impl History {
    /// A history that begins with the state at this log index.
    pub fn new(cluster: Uuid, index: u64) -> Self {
        Self {
            cluster: cluster.as_u64_pair().0,
            base: index,
            commits: VecDeque::new(),
            changes: 0,
            former: 0,
        }
    }

    /// A commit changed the data.
    pub fn push(&mut self, index: u64, delta: Arc<[RowChange]>) {
        self.changes += delta.len();
        self.former += count_former(&delta);
        self.commits.push_back((index, delta));
        while self.commits.len() > MAX_COMMITS
            || self.changes > MAX_CHANGES
            || self.former > MAX_FORMER
        {
            let Some((index, delta)) = self.commits.pop_front() else {
                return;
            };
            self.changes -= delta.len();
            self.former -= count_former(&delta);
            self.base = index;
        }
    }

    /// A snapshot took the place of everything: what led to it is not known here.
    pub fn restart(&mut self, index: u64) {
        self.base = index;
        self.commits.clear();
        (self.changes, self.former) = (0, 0);
    }

    /// The log index of the present state.
    pub fn index(&self) -> u64 {
        self.commits.back().map_or(self.base, |(index, _)| *index)
    }

    /// The name of the present state.
    pub fn state(&self) -> Uuid {
        self.name(self.index())
    }

    /// The name of the state at a log index.
    pub fn name(&self, index: u64) -> Uuid {
        Uuid::from_u64_pair(self.cluster, index)
    }

    /// The log index of the named state; `None` if what changed since then is unknown or too long ago.
    pub fn since(&self, state: Uuid) -> Option<u64> {
        let (cluster, index) = state.as_u64_pair();
        let is_known = cluster == self.cluster && index >= self.base && index <= self.index();
        is_known.then_some(index)
    }

    /// The commit after a log index, if there is one; `None` if it is too long ago to be known.
    pub fn next(&self, index: u64) -> Option<Option<(u64, &[RowChange])>> {
        if index < self.base {
            return None;
        }
        let place = self.commits.partition_point(|(at, _)| *at <= index);
        let commit = self.commits.get(place);
        Some(commit.map(|(index, delta)| (*index, &delta[..])))
    }
}

fn count_former(delta: &[RowChange]) -> usize {
    delta.iter().filter(|change| change.old.is_some()).count()
}

#[cfg(test)]
mod tests {
    use ovsdb::Row;

    use super::*;

    fn row(value: i64) -> Option<Arc<Row>> {
        Some(Arc::new(Row::new([ovsdb::Datum::from(value)])))
    }

    fn change(old: Option<Arc<Row>>, new: Option<Arc<Row>>) -> Arc<[RowChange]> {
        Arc::new([RowChange {
            table: 0,
            uuid: Uuid::from_u128(7),
            old,
            new,
        }])
    }

    #[test]
    fn commits_are_known_by_the_states_before_them() {
        let mut history = History::new(Uuid::from_u128(1 << 64), 5);
        let start = history.state();
        assert_eq!(history.since(start), Some(5));
        assert_eq!(history.next(5), Some(None));
        let (first, second) = (change(None, row(1)), change(row(1), row(2)));
        history.push(7, first.clone());
        history.push(8, second.clone());
        assert_eq!(history.since(start), Some(5));
        assert_eq!(history.next(5), Some(Some((7, &first[..]))));
        assert_eq!(history.next(7), Some(Some((8, &second[..]))));
        assert_eq!(history.next(8), Some(None));
        assert_eq!(history.next(4), None);
        assert_eq!(history.since(history.name(9)), None, "the future");
        assert_eq!(history.since(history.name(4)), None, "too long ago");
        assert_eq!(history.since(Uuid::from_u128(9)), None, "another cluster");
    }

    #[test]
    fn former_contents_are_forgotten_before_new_ones() {
        let mut history = History::new(Uuid::from_u128(1), 0);
        let many =
            |old| -> Arc<[RowChange]> { vec![change(old, row(1))[0].clone(); MAX_FORMER].into() };
        history.push(1, many(None));
        history.push(2, many(None));
        history.push(3, many(row(2)));
        assert!(history.since(history.name(0)).is_some());
        history.push(4, change(row(1), row(2)));
        assert_eq!(history.since(history.name(2)), None);
        assert!(history.since(history.name(3)).is_some());
    }

    #[test]
    fn old_commits_are_forgotten() {
        let mut history = History::new(Uuid::from_u128(1), 0);
        for index in 1..=MAX_COMMITS as u64 + 5 {
            history.push(index, change(None, row(1)));
        }
        assert_eq!(history.since(history.name(4)), None);
        assert!(history.since(history.name(5)).is_some());
    }
}
