//! Where things stand in a list, by what they are: a hash table that does not repeat them. It keeps half of each hash, so that it
//! looks at things only where they are likely to be the same, and grows without looking at any.

use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

/// Places in a list that the owner keeps.
#[derive(Default)]
pub(crate) struct Places(HashTable<Place>);

struct Place {
    hash: u32,
    place: u32,
}

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
        let half = half(hash);
        let known = self.0.find(whole(half), |known| {
            known.hash == half && is_it(known.place)
        });
        known.map(|known| known.place)
    }

    /// Takes up the place of something that was not there.
    pub(crate) fn insert(&mut self, hash: u64, place: u32) {
        let hash = half(hash);
        let entry = Place { hash, place };
        self.0
            .insert_unique(whole(hash), entry, |known| whole(known.hash));
    }

    /// Forgets the place of something that has this hash.
    pub(crate) fn remove(&mut self, hash: u64, place: u32) {
        let hash = whole(half(hash));
        if let Ok(entry) = self.0.find_entry(hash, |known| known.place == place) {
            entry.remove();
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "both halves count")]
fn half(hash: u64) -> u32 {
    (hash >> 32) as u32 ^ hash as u32
}

/// The table takes a bucket by the low bits, and a tag by the high ones.
fn whole(half: u32) -> u64 {
    u64::from(half) << 32 | u64::from(half)
}
