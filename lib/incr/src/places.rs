//! Where things stand in a list, by what they are: a hash table that does not repeat them.

use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

/// Places in a list that the owner keeps.
#[derive(Default)]
pub(crate) struct Places(HashTable<u32>);

/// The hash by which something is looked up.
pub(crate) fn hash(of: &impl Hash) -> u64 {
    FxBuildHasher.hash_one(of)
}

impl Places {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The place of what has this hash and `is_it`.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.0.find(hash, |place| is_it(*place)).copied()
    }

    /// Takes up the place of something that was not there. `rehash` gives the hash of what stands at a place.
    pub(crate) fn insert(&mut self, hash: u64, place: u32, rehash: impl Fn(u32) -> u64) {
        self.0.insert_unique(hash, place, |place| rehash(*place));
    }

    /// Forgets the place of something that has this hash.
    pub(crate) fn remove(&mut self, hash: u64, place: u32) {
        if let Ok(entry) = self.0.find_entry(hash, |known| *known == place) {
            entry.remove();
        }
    }
}
