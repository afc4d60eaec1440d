//! Transactions that clients named, so that they can send them again when they do not know what
//! became of them.
//!
//! The names are part of the replicated state: each stands in the log entry of its transaction,
//! with the answer, and on disk beside the rows, under a table name that no schema can have. The
//! oldest are forgotten, in the order of the log, so that all members forget the same.
//!
//! A name belongs to the client that gave it ([`owned`]): under the same name, another client's
//! transaction is another one, is executed, and sees nothing of the first one's answer.

use std::collections::BTreeMap;

use bytes::Bytes;
use ovsdb::Uuid;
use rustc_hash::FxHashMap;

use crate::caller::Caller;
use crate::codec::{self, DecodeError, Decoder};
use crate::entry::NamedResult;

/// Stands for a table's name in the keys of rows on disk.
pub const TABLE: &str = "transaction names";

/// So many names are remembered, whatever was answered.
const MAX_NAMES: usize = 65_536;
/// So many bytes of answers are remembered. Of a name whose answer is forgotten, it is known that its transaction was
/// applied.
const MAX_BYTES: usize = 64 << 20;
/// Under this name the disk, and a snapshot, have the log index up to which names are forgotten. No client's is it.
const FORGOTTEN: Uuid = Uuid::nil();

/// Under what a client's name for a transaction is remembered: it tells clients apart by their roles and the names
/// that their certificates vouch for.
pub fn owned(caller: &Caller, name: Uuid) -> Uuid {
    let role = caller.role.name();
    let length = role.len().to_le_bytes();
    let owner = [&length[..], role.as_bytes(), caller.name.as_bytes()].concat();
    Uuid::new_v5(&name, &owner)
}

/// What is to be on disk of a name: its log index and its answer, which is empty if it is forgotten; or nothing.
pub type Stored = (Uuid, Option<(u64, Bytes)>);

/// The names, and what was answered.
///
/// What is remembered follows from the log alone: of the names the last [`MAX_NAMES`], and of their answers the last
/// that have [`MAX_BYTES`] together. So it is the same whatever part of it was on disk when a member started.
#[derive(Debug, Default)]
pub struct Retries {
    answers: FxHashMap<Uuid, (u64, Bytes)>,
    /// By log index.
    order: BTreeMap<u64, Uuid>,
    bytes: usize,
    /// Answers before this index are forgotten.
    answered_from: u64,
    /// The newest log index of a name that is forgotten; absent if the disk does not say.
    forgotten: Option<u64>,
}

impl Retries {
    /// The log index and the answer of a transaction that was applied; the answer is empty if it is forgotten.
    pub fn get(&self, name: Uuid) -> Option<&(u64, Bytes)> {
        self.answers.get(&name)
    }

    /// A named transaction was applied. Answers what is to be on disk.
    pub fn insert(&mut self, index: u64, named: &NamedResult) -> Vec<Stored> {
        let mut stored = Vec::new();
        let known = self.answers.get(&named.name);
        if known.is_some_and(|(known, _)| *known == index) {
            let (_, results) = known.cloned().unwrap_or_default();
            return vec![(named.name, Some((index, results)))];
        }
        let results = match index < self.answered_from {
            true => Bytes::new(),
            false => named.results.clone(),
        };
        self.bytes += results.len();
        self.order.insert(index, named.name);
        self.answers.insert(named.name, (index, results.clone()));
        stored.push((named.name, Some((index, results))));
        let before = self.forgotten;
        self.forgotten = Some(before.unwrap_or(0));
        while self.order.len() > MAX_NAMES
            && let Some((index, name)) = self.order.pop_first()
        {
            if let Some((_, results)) = self.answers.remove(&name) {
                self.bytes -= results.len();
            }
            // What the disk says may be newer than what is gone over again.
            self.forgotten = self.forgotten.max(Some(index));
            stored.push((name, None));
        }
        if self.forgotten != before {
            stored.extend(
                self.forgotten
                    .map(|index| (FORGOTTEN, Some((index, Bytes::new())))),
            );
        }
        self.forget_answers(&mut stored);
        stored
    }

    /// Forgets the oldest answers while there are too many bytes of them.
    fn forget_answers(&mut self, stored: &mut Vec<Stored>) {
        while self.bytes > MAX_BYTES
            && let Some((index, name)) = self.order.range(self.answered_from..).next()
        {
            self.answered_from = index + 1;
            if let Some((_, results)) = self.answers.get_mut(name) {
                self.bytes -= results.len();
                results.clear();
                stored.retain(|(of, _)| of != name);
                stored.push((*name, Some((*index, Bytes::new()))));
            }
        }
    }

    /// What was on disk, in any order.
    pub fn load(rows: Vec<(u64, NamedResult)>) -> Self {
        let mut retries = Self::default();
        let mut rows = rows;
        rows.sort_by_key(|(index, _)| *index);
        let marked = rows.extract_if(.., |(_, named)| named.name == FORGOTTEN);
        let marked = marked.map(|(index, _)| index).last();
        // Answers are forgotten in the order of the log, and not all of that may be on disk.
        let mut forgotten = rows.iter().rev();
        let forgotten = forgotten.find(|(_, named)| named.results.is_empty());
        retries.answered_from = forgotten.map_or(0, |(index, _)| index + 1);
        for (index, named) in rows {
            retries.insert(index, &named);
        }
        let oldest = retries.order.keys().next().copied();
        // Files from before this was written down: names may have been forgotten up to the oldest that is left.
        let guess = oldest
            .filter(|_| retries.order.len() >= MAX_NAMES / 2 || retries.bytes >= MAX_BYTES / 2);
        retries.forgotten = marked.or(guess);
        retries
    }

    /// Whether a name that was applied after this log index is certainly known.
    pub fn knows_since(&self, index: u64) -> bool {
        self.forgotten.unwrap_or(0) <= index
    }

    /// All that is to be on disk: the names, with the log index and the answer of each, the oldest first, and what is
    /// forgotten.
    pub fn iter(&self) -> impl Iterator<Item = (u64, NamedResult)> + '_ {
        let marked = self.forgotten.map(|index| {
            let named = NamedResult {
                name: FORGOTTEN,
                results: Bytes::new(),
            };
            (index, named)
        });
        let names = self.order.iter().filter_map(|(index, name)| {
            let (_, results) = self.answers.get(name)?;
            let named = NamedResult {
                name: *name,
                results: results.clone(),
            };
            Some((*index, named))
        });
        marked.into_iter().chain(names)
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

    fn disk_of(stored: Vec<Stored>, disk: &mut BTreeMap<Uuid, (u64, Bytes)>) {
        for (name, value) in stored {
            match value {
                Some(value) => drop(disk.insert(name, value)),
                None => drop(disk.remove(&name)),
            }
        }
    }

    fn loaded(disk: &BTreeMap<Uuid, (u64, Bytes)>) -> Retries {
        let rows = disk.iter().map(|(name, (index, results))| {
            let bytes = encode(*index, results);
            decode(*name, &bytes).unwrap()
        });
        Retries::load(rows.collect())
    }

    #[test]
    fn large_answers_are_forgotten_and_names_are_not() {
        let mut retries = Retries::default();
        let mut disk = BTreeMap::new();
        let third = MAX_BYTES / 3 + 1;
        disk_of(retries.insert(1, &named(1, third)), &mut disk);
        for name in 2..=4 {
            disk_of(
                retries.insert(name, &named(u128::from(name), third)),
                &mut disk,
            );
        }
        disk_of(retries.insert(5, &named(5, MAX_BYTES + 1)), &mut disk);
        disk_of(retries.insert(6, &named(6, 7)), &mut disk);
        for retries in [&retries, &loaded(&disk)] {
            let length = |name| {
                retries
                    .get(Uuid::from_u128(name))
                    .map(|(_, answer)| answer.len())
            };
            let lengths: Vec<_> = (1..=7).map(length).collect();
            assert_eq!(
                lengths,
                [0, 0, 0, 0, 0, 7]
                    .map(Some)
                    .into_iter()
                    .chain([None])
                    .collect::<Vec<_>>()
            );
            assert!(retries.knows_since(0));
            assert_eq!(retries.bytes, 7);
        }
    }

    #[test]
    fn what_is_forgotten_is_known_after_a_restart() {
        let mut retries = Retries::default();
        let mut disk = BTreeMap::new();
        let last = MAX_NAMES as u64 + 10;
        for index in 1..=last {
            disk_of(
                retries.insert(index, &named(u128::from(index), 1)),
                &mut disk,
            );
        }
        for retries in [&retries, &loaded(&disk)] {
            assert!(retries.get(Uuid::from_u128(10)).is_none());
            assert!(retries.get(Uuid::from_u128(11)).is_some());
            assert_eq!(
                (retries.knows_since(9), retries.knows_since(10)),
                (false, true)
            );
        }
    }

    /// Of the names of a log, any may be on disk as they are at its end, and the others as they were when the log began
    /// that is gone over again.
    #[test]
    fn a_restart_in_the_middle_of_a_round_forgets_the_same() {
        let first = MAX_NAMES as u64 - 50;
        let log: Vec<(u64, NamedResult)> = (1..=first + 200)
            .map(|index| {
                let size = if index % 7 == 0 { MAX_BYTES / 20 } else { 1 };
                (
                    index,
                    named(u128::from(index), if index > first { size } else { 1 }),
                )
            })
            .collect();
        let mut retries = Retries::default();
        let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
        for (index, named) in &log {
            let stored = retries.insert(*index, named);
            if *index <= first {
                disk_of(stored.clone(), &mut before);
            }
            disk_of(stored, &mut after);
        }
        for part in 0..5 {
            // The first name is what says how much is forgotten.
            let is_newer = |name: Uuid| name == FORGOTTEN || name.as_u128() % 5 < part;
            let newer = after.iter().filter(|(name, _)| is_newer(**name));
            let older = before.iter().filter(|(name, _)| !is_newer(**name));
            let disk = newer
                .chain(older)
                .map(|(name, value)| (*name, value.clone()));
            let mut again = loaded(&disk.collect());
            for (index, named) in &log[first as usize..] {
                again.insert(*index, named);
            }
            assert_eq!(again.order, retries.order, "{part}");
            assert!(again.answers == retries.answers, "{part}");
            assert_eq!(
                (again.forgotten, again.bytes),
                (retries.forgotten, retries.bytes)
            );
        }
    }
}
