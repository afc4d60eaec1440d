//! Transactions that clients named, so that they can send them again when they do not know what
//! became of them.
//!
//! The names are part of the replicated state: each stands in the log entry of its transaction,
//! with the answer, and on disk beside the rows, under a table name that no schema can have. The
//! oldest are forgotten, in the order of the log, so that all members forget the same.

use std::collections::VecDeque;

use bytes::Bytes;
use ovsdb::Uuid;
use rustc_hash::FxHashMap;

use crate::codec::{self, DecodeError, Decoder};
use crate::entry::NamedResult;

/// Stands for a table's name in the keys of rows on disk.
pub const TABLE: &str = "transaction names";

/// So many names are remembered.
const MAX_NAMES: usize = 65_536;
/// So many bytes of answers are remembered.
const MAX_BYTES: usize = 64 << 20;

/// The names, and what was answered.
#[derive(Debug, Default)]
pub struct Retries {
    answers: FxHashMap<Uuid, (u64, Bytes)>,
    order: VecDeque<Uuid>,
    bytes: usize,
    /// The newest log index of a name that is forgotten.
    forgotten: u64,
}

impl Retries {
    /// The log index and the answer of a transaction that was applied.
    pub fn get(&self, name: Uuid) -> Option<&(u64, Bytes)> {
        self.answers.get(&name)
    }

    /// A named transaction was applied. Answers which names are forgotten for it.
    pub fn insert(&mut self, index: u64, named: &NamedResult) -> Vec<Uuid> {
        let answer = (index, named.results.clone());
        if self.answers.insert(named.name, answer).is_none() {
            self.order.push_back(named.name);
            self.bytes += named.results.len();
        }
        let mut forgotten = Vec::new();
        while self.order.len() > MAX_NAMES || (self.bytes > MAX_BYTES && self.order.len() > 1) {
            let Some(name) = self.order.pop_front() else {
                break;
            };
            if let Some((index, results)) = self.answers.remove(&name) {
                self.bytes -= results.len();
                self.forgotten = index;
            }
            forgotten.push(name);
        }
        forgotten
    }

    /// What was on disk, in any order.
    pub fn load(rows: Vec<(u64, NamedResult)>) -> Self {
        let mut retries = Self::default();
        let mut rows = rows;
        rows.sort_by_key(|(index, _)| *index);
        for (index, named) in rows {
            retries.insert(index, &named);
        }
        if retries.order.len() >= MAX_NAMES / 2 || retries.bytes >= MAX_BYTES / 2 {
            // Names may have been forgotten before, up to the oldest that is left.
            let oldest = retries.order.front().and_then(|name| retries.get(*name));
            retries.forgotten = oldest.map_or(0, |(index, _)| *index);
        }
        retries
    }

    /// Whether a name that was applied after this log index is certainly known.
    pub fn knows_since(&self, index: u64) -> bool {
        self.forgotten <= index
    }

    /// All names, with the log index and the answer of each, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, NamedResult)> + '_ {
        self.order.iter().filter_map(|name| {
            let (index, results) = self.answers.get(name)?;
            let results = results.clone();
            let named = NamedResult {
                name: *name,
                results,
            };
            Some((*index, named))
        })
    }
}

/// A name's value on disk: the log index as a varint, and the answer.
pub fn encode(index: u64, results: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(results.len() + 5);
    codec::put_varint(&mut bytes, index);
    bytes.extend_from_slice(results);
    bytes
}

/// Reads a name's value on disk.
pub fn decode(name: Uuid, bytes: &[u8]) -> Result<(u64, NamedResult), DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let index = decoder.varint()?;
    let results = Bytes::copy_from_slice(decoder.rest());
    Ok((index, NamedResult { name, results }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: u128, size: usize) -> NamedResult {
        NamedResult {
            name: Uuid::from_u128(name),
            results: vec![b'x'; size].into(),
        }
    }

    #[test]
    fn the_oldest_are_forgotten_on_disk_as_in_memory() {
        let mut retries = Retries::default();
        let half = MAX_BYTES / 2;
        assert!(retries.insert(1, &named(1, half)).is_empty());
        assert!(retries.insert(2, &named(2, half)).is_empty());
        assert_eq!(retries.insert(3, &named(3, 1)), [Uuid::from_u128(1)]);
        assert!(retries.get(Uuid::from_u128(1)).is_none());
        let (index, answer) = retries.get(Uuid::from_u128(3)).unwrap();
        let bytes = encode(*index, answer);
        assert_eq!(decode(Uuid::from_u128(3), &bytes), Ok((3, named(3, 1))));
    }
}
