//! The log as raft-rs reads it: in memory, from the last truncation on.
//!
//! Entries come here as soon as Raft hands them out, before they are on disk; raft-rs keeps track
//! of which are (`RawNode::on_persist_ready`) and commits none that is not. What is older than the
//! truncation exists only as its effect on the rows; a member that needs it gets a snapshot.

use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::storage::LogPosition;

/// The log in memory, and Raft's persistent variables beside it.
#[derive(Debug)]
pub struct Log {
    hard_state: HardState,
    conf_state: ConfState,
    truncated: LogPosition,
    applied: LogPosition,
    settled: LogPosition,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Those of the entries after `settled`.
    unsettled: usize,
}

impl Log {
    /// The log as it was found on disk. For `applied` and `settled` see [`Log::set_applied`].
    pub fn new(
        hard_state: HardState,
        conf_state: ConfState,
        truncated: LogPosition,
        (applied, settled): (LogPosition, LogPosition),
        entries: Vec<Entry>,
    ) -> Self {
        let bytes = entries.iter().map(size).sum();
        let unsettled = entries.iter().filter(|entry| entry.index > settled.index);
        let unsettled = unsettled.map(size).sum();
        Self {
            hard_state,
            conf_state,
            truncated,
            applied,
            settled,
            entries: entries.into(),
            bytes,
            unsettled,
        }
    }

    /// Appends consecutive entries; they replace whatever is there from the first one's index on.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else {
            return;
        };
        assert!(
            first.index > self.truncated.index && first.index <= self.last() + 1,
            "raft appends without holes and never before what is applied"
        );
        let keep = (first.index - self.truncated.index - 1) as usize;
        for dropped in self.entries.drain(keep..) {
            self.bytes -= size(&dropped);
            self.unsettled -= size(&dropped);
        }
        let bytes = entries.iter().map(size).sum::<usize>();
        self.bytes += bytes;
        self.unsettled += bytes;
        self.entries.extend(entries.iter().cloned());
    }

    /// Forgets everything up to and including an index, as far as it is settled.
    pub fn truncate(&mut self, index: u64) -> LogPosition {
        let index = index.min(self.settled.index);
        while self.truncated.index < index {
            let entry = self.entries.pop_front().expect("applied entries are here");
            self.bytes -= size(&entry);
            self.truncated = LogPosition {
                index: entry.index,
                term: entry.term,
            };
        }
        self.truncated
    }

    /// Replaces everything by a snapshot that stands here.
    pub fn restore(&mut self, position: LogPosition, conf_state: ConfState) {
        self.truncated = position;
        self.applied = position;
        self.settled = position;
        self.conf_state = conf_state;
        self.entries.clear();
        self.bytes = 0;
        self.unsettled = 0;
    }

    /// Notes the members.
    pub fn set_conf_state(&mut self, conf_state: ConfState) {
        self.conf_state = conf_state;
    }

    /// Notes Raft's variables.
    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// The term among them.
    pub fn term_of_state(&self) -> u64 {
        self.hard_state.term
    }

    /// Notes how far the entries were applied, and up to where they show in the rows: the first
    /// parts of a transaction do not (see [`crate::parts`]).
    pub fn set_applied(&mut self, applied: LogPosition, settled: LogPosition) {
        self.applied = applied;
        let before = std::mem::replace(&mut self.settled, settled);
        let newly = self.position(before.index + 1).into_iter();
        let newly = newly.flat_map(|from| self.entries.range(from.min(self.entries.len())..));
        let newly = newly.take_while(|entry| entry.index <= settled.index);
        self.unsettled -= newly.map(size).sum::<usize>();
    }

    /// The members.
    pub fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    /// How far the entries were applied.
    pub fn applied(&self) -> LogPosition {
        self.applied
    }

    /// Up to where the entries show in the rows.
    pub fn settled(&self) -> LogPosition {
        self.settled
    }

    /// Up to where the log was forgotten.
    pub fn truncated(&self) -> LogPosition {
        self.truncated
    }

    /// The index of the newest entry.
    pub fn last(&self) -> u64 {
        self.truncated.index + self.entries.len() as u64
    }

    /// How many bytes of memory the entries take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many of them are of entries that do not show in the rows yet.
    pub fn unsettled_bytes(&self) -> usize {
        self.unsettled
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    fn position(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.truncated.index + 1)?).ok()
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(
            self.hard_state.clone(),
            self.conf_state.clone(),
        ))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let Some(start) = self.position(low) else {
            return Err(StorageError::Compacted.into());
        };
        let limit = max_size.into().unwrap_or(u64::MAX);
        let count = high.saturating_sub(low) as usize;
        let mut total = 0;
        let mut found = Vec::new();
        for entry in self.entries.iter().skip(start).take(count) {
            total += size(entry) as u64;
            if total > limit && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.truncated.index {
            return Ok(self.truncated.term);
        }
        let Some(position) = self.position(index) else {
            return Err(StorageError::Compacted.into());
        };
        match self.entries.get(position) {
            Some(entry) => Ok(entry.term),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    /// Only says where the snapshot stands: the rows are streamed apart from Raft's messages.
    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        if self.settled.index < request_index || self.settled.index == 0 {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = self.settled.index;
        metadata.term = self.settled.term;
        metadata.set_conf_state(self.conf_state.clone());
        Ok(snapshot)
    }
}

/// The memory that an entry takes, about.
fn size(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len() + 64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry {
            index,
            term,
            ..Default::default()
        }
    }

    fn log() -> Log {
        let mut log = Log::new(
            HardState::default(),
            ConfState::default(),
            LogPosition::default(),
            Default::default(),
            Vec::new(),
        );
        log.append(&[entry(1, 1), entry(2, 1), entry(3, 2)]);
        log
    }

    #[test]
    fn an_append_replaces_the_tail() {
        let mut log = log();
        log.append(&[entry(2, 3)]);
        assert_eq!(log.last(), 2);
        assert_eq!(log.term(2).unwrap(), 3);
        assert_eq!(log.bytes(), 2 * 64);
    }

    #[test]
    fn what_does_not_show_in_the_rows_is_known() {
        let mut log = log();
        let at = |index| LogPosition { index, term: 1 };
        for (applied, settled, unsettled) in [(1, 0, 3), (1, 1, 2), (2, 1, 2)] {
            log.set_applied(at(applied), at(settled));
            assert_eq!(log.unsettled_bytes() / 64, unsettled);
        }
        log.truncate(1);
        log.append(&[entry(3, 3), entry(4, 3)]);
        assert_eq!(log.unsettled_bytes() / 64, 3);
        log.set_applied(at(4), at(4));
        assert_eq!(log.unsettled_bytes(), 0);
        log.append(&[entry(5, 3)]);
        log.restore(at(9), ConfState::default());
        assert_eq!(log.unsettled_bytes(), 0);

        let entries = (2..=5).map(|index| entry(index, 1)).collect();
        let (hard_state, members) = Default::default();
        let log = Log::new(hard_state, members, at(1), (at(4), at(3)), entries);
        assert_eq!(log.unsettled_bytes() / 64, 2);
    }

    #[test]
    fn truncation_stops_at_what_is_settled() {
        let mut log = log();
        let two = LogPosition { index: 2, term: 1 };
        log.set_applied(LogPosition { index: 3, term: 2 }, two);
        assert_eq!(log.truncate(10), LogPosition { index: 2, term: 1 });
        assert_eq!(log.first_index().unwrap(), 3);
        assert_eq!(log.term(2).unwrap(), 1);
        assert!(log.term(1).is_err());
        let entries = log.entries(3, 4, None, GetEntriesContext::empty(false));
        assert_eq!(entries.unwrap(), [entry(3, 2)]);
    }

    #[test]
    fn a_slice_has_at_least_one_entry_whatever_the_limit() {
        let log = log();
        let entries = log.entries(1, 4, Some(1), GetEntriesContext::empty(false));
        assert_eq!(entries.unwrap(), [entry(1, 1)]);
    }
}
