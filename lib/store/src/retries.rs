//! Transactions that clients named, so that they can send them again when they do not know what
//! became of them.
//!
//! The names are part of the replicated state: each stands in the log entry of its transaction,
//! with the answer, and on disk beside the rows, under a table name that no schema can have. The
//! oldest are forgotten, in the order of the log, so that all members forget the same: all but the
//! last [`MAX_NAMES`]. Of each client that was busy of late ([`MAX_OWNERS`]), the last
//! [`NAMES_PER_OWNER`] are remembered all the same, however many names others give.
//!
//! A name belongs to the client that gave it ([`owned`]): under the same name, another client's
//! transaction is another one, is executed, and sees nothing of the first one's answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
/// So many of each client, if it is one of so many that gave names last.
const NAMES_PER_OWNER: usize = 64;
const MAX_OWNERS: usize = 1024;
/// So many bytes of answers are remembered. Of a name whose answer is forgotten, it is known that its transaction was
/// applied.
const MAX_BYTES: usize = 64 << 20;
/// Under this name the disk, and a snapshot, have the log index up to which names are forgotten. No client's is it.
const FORGOTTEN: Uuid = Uuid::nil();
/// Under this one, that up to which names of clients are forgotten that were not busy any more.
const FORGOTTEN_OF_IDLE: Uuid = Uuid::max();

/// Under what a client's name for a transaction is remembered: it tells clients apart by their roles and the names
/// that their certificates vouch for.
///
/// It begins with what tells the client: see [`owner`].
pub fn owned(caller: &Caller, name: Uuid) -> Uuid {
    let role = caller.role.name();
    let length = role.len().to_le_bytes();
    let owner = [&length[..], role.as_bytes(), caller.name.as_bytes()].concat();
    let mut owned = Uuid::new_v5(&name, &owner).into_bytes();
    owned[..4].copy_from_slice(&Uuid::new_v5(&Uuid::nil(), &owner).as_bytes()[..4]);
    Uuid::from_bytes(owned)
}

/// Whose a name is that is remembered.
fn owner(name: Uuid) -> u32 {
    name.as_fields().0
}

/// What is to be on disk of a name: its log index and its answer, which is empty if it is forgotten; or nothing.
pub type Stored = (Uuid, Option<(u64, Bytes)>);

/// The names, and what was answered.
///
/// What is remembered follows from the log alone, whatever part of it was on disk when a member started: of the names
/// the last, of each busy client's the last, and of the answers the last that have [`MAX_BYTES`] together.
#[derive(Debug, Default)]
pub struct Retries {
    answers: FxHashMap<Uuid, (u64, Bytes)>,
    /// By log index.
    order: BTreeMap<u64, Uuid>,
    /// Names from this index on are the last of all, and so many are.
    last_from: u64,
    last: usize,
    /// The last names of each client that are remembered.
    owners: FxHashMap<u32, VecDeque<u64>>,
    /// The clients that were busy of late, by the indexes of their last names.
    busy: BTreeSet<(u64, u32)>,
    bytes: usize,
    /// Answers before this index are forgotten.
    answered_from: u64,
    /// The newest log index of a name that is forgotten; absent if the disk does not say.
    forgotten: Option<u64>,
    /// The same, of those of clients that were not busy any more.
    forgotten_of_idle: u64,
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
        let before = (self.forgotten, self.forgotten_of_idle);
        self.forgotten = Some(before.0.unwrap_or(0));
        self.forget_names(index, owner(named.name), &mut stored);
        if self.forgotten != before.0 {
            let mark = self.forgotten.map(|index| (index, Bytes::new()));
            stored.push((FORGOTTEN, mark));
        }
        if self.forgotten_of_idle != before.1 || before.0.is_none() {
            let mark = (self.forgotten_of_idle, Bytes::new());
            stored.push((FORGOTTEN_OF_IDLE, Some(mark)));
        }
        self.forget_answers(&mut stored);
        stored
    }

    /// A client has given one more name: forgets those that are too many.
    fn forget_names(&mut self, index: u64, owner: u32, stored: &mut Vec<Stored>) {
        let names = self.owners.entry(owner).or_default();
        let before = names.back().copied();
        names.push_back(index);
        let is_full = names.len() > NAMES_PER_OWNER;
        let oldest = names.pop_front_if(|_| is_full);
        if let Some(oldest) = oldest.filter(|oldest| *oldest < self.last_from) {
            self.forget(oldest, stored);
        }
        if let Some(before) = before {
            self.busy.remove(&(before, owner));
        }
        self.busy.insert((index, owner));
        if self.busy.len() > MAX_OWNERS
            && let Some((_, idle)) = self.busy.pop_first()
        {
            let names = self.owners.get(&idle).into_iter().flatten().copied();
            let names: Vec<u64> = names.filter(|index| *index < self.last_from).collect();
            for index in names {
                self.forget_idle(index, idle, stored);
            }
        }
        self.last += usize::from(index >= self.last_from);
        while self.last > MAX_NAMES
            && let Some((&index, &name)) = self.order.range(self.last_from..).next()
        {
            self.last_from = index + 1;
            self.last -= 1;
            let owner = self::owner(name);
            let names = self.owners.get(&owner);
            let kept = names.and_then(|names| Some((*names.front()?, *names.back()?)));
            match kept {
                Some((first, last)) if first <= index => {
                    if !self.busy.contains(&(last, owner)) {
                        self.forget_idle(index, owner, stored);
                    }
                }
                _ => self.forget(index, stored),
            }
        }
    }

    /// Forgets one of the last names of a client that is not busy any more.
    fn forget_idle(&mut self, index: u64, owner: u32, stored: &mut Vec<Stored>) {
        if let Some(names) = self.owners.get_mut(&owner) {
            names.retain(|of| *of != index);
            if names.is_empty() {
                self.owners.remove(&owner);
            }
        }
        self.forgotten_of_idle = self.forgotten_of_idle.max(index);
        self.forget(index, stored);
    }

    fn forget(&mut self, index: u64, stored: &mut Vec<Stored>) {
        let Some(name) = self.order.remove(&index) else {
            return;
        };
        if let Some((_, results)) = self.answers.remove(&name) {
            self.bytes -= results.len();
        }
        // What the disk says may be newer than what is gone over again.
        self.forgotten = self.forgotten.max(Some(index));
        stored.push((name, None));
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
        let mut mark = |name| {
            let marked = rows.extract_if(.., |(_, named)| named.name == name);
            marked.map(|(index, _)| index).last()
        };
        let (marked, of_idle) = (mark(FORGOTTEN), mark(FORGOTTEN_OF_IDLE));
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
        let here = retries.forgotten.filter(|index| *index > 0);
        retries.forgotten = marked.or(guess).max(here);
        // Older files do not say whose names they have.
        let of_idle = of_idle.or(retries.forgotten).unwrap_or(0);
        retries.forgotten_of_idle = retries.forgotten_of_idle.max(of_idle);
        retries
    }

    /// Whether it is certainly known whether a transaction with this name was applied after a log index.
    pub fn knows_since(&self, name: Uuid, index: u64) -> bool {
        if self.forgotten.unwrap_or(0) <= index {
            return true;
        }
        let names = self.owners.get(&owner(name));
        match names.filter(|names| names.len() >= NAMES_PER_OWNER) {
            Some(names) => names.front().is_some_and(|first| *first <= index),
            // None of a busy client's is forgotten before it has so many.
            None => self.forgotten_of_idle <= index,
        }
    }

    /// All that is to be on disk: the names, with the log index and the answer of each, the oldest first, and what is
    /// forgotten.
    pub fn iter(&self) -> impl Iterator<Item = (u64, NamedResult)> + '_ {
        let marks = self.forgotten.map(|index| {
            [
                (FORGOTTEN, index),
                (FORGOTTEN_OF_IDLE, self.forgotten_of_idle),
            ]
        });
        let mark = |(name, index)| {
            let results = Bytes::new();
            (index, NamedResult { name, results })
        };
        let marked = marks.into_iter().flatten().map(mark);
        let names = self.order.iter().filter_map(|(index, name)| {
            let (_, results) = self.answers.get(name)?;
            let named = NamedResult {
                name: *name,
                results: results.clone(),
            };
            Some((*index, named))
        });
        marked.chain(names)
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
            assert!(retries.knows_since(Uuid::from_u128(1), 0));
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
                [9, 10].map(|index| retries.knows_since(Uuid::from_u128(1), index)),
                [false, true]
            );
        }
    }

    /// A name of a client, of which there are many.
    fn of(owner: u128, name: u128) -> NamedResult {
        NamedResult {
            name: Uuid::from_u128((owner << 96) | name),
            results: Bytes::from_static(b"x"),
        }
    }

    #[test]
    fn who_names_many_transactions_has_only_its_own_forgotten() {
        let mut retries = Retries::default();
        let mut disk = BTreeMap::new();
        let few = 10;
        for index in 1..=few {
            disk_of(retries.insert(index, &of(7, u128::from(index))), &mut disk);
        }
        let many = MAX_NAMES as u64 + 500;
        for index in few + 1..=few + many {
            disk_of(retries.insert(index, &of(8, u128::from(index))), &mut disk);
        }
        for retries in [&retries, &loaded(&disk)] {
            let remembers = |owner, index: u64| retries.get(of(owner, index.into()).name).is_some();
            assert!((1..=few).all(|index| remembers(7, index)));
            assert!(retries.knows_since(of(7, 0).name, 0));
            assert!(!remembers(8, few + 1) && remembers(8, few + many));
            assert!(!retries.knows_since(of(8, 0).name, few));
            assert!(retries.knows_since(of(8, 0).name, few + many - 64));
            // Of a client that was never here, nothing was forgotten.
            assert!(retries.knows_since(of(9, 0).name, 0));
        }
        // There are so many clients that some are not busy any more.
        for index in 0..MAX_OWNERS as u64 {
            let (at, owner) = (few + many + 1 + index, 100 + u128::from(index));
            disk_of(retries.insert(at, &of(owner, 1)), &mut disk);
        }
        for retries in [&retries, &loaded(&disk)] {
            assert!(retries.get(of(7, 1).name).is_none());
            assert!(!retries.knows_since(of(7, 0).name, few - 1));
            assert!(retries.knows_since(of(7, 0).name, few));
            assert!(retries.get(of(100, 1).name).is_some());
            assert!(retries.order.len() <= MAX_NAMES + NAMES_PER_OWNER);
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
                let owner = u128::from(index % 1000 / 997) << 96;
                let size = if index > first { size } else { 1 };
                (index, named(owner | u128::from(index), size))
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
            let is_mark = |name| name == FORGOTTEN || name == FORGOTTEN_OF_IDLE;
            let is_newer = |name: Uuid| is_mark(name) || name.as_u128() % 5 < part;
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
