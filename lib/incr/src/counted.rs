//! Facts that several units may say at once: kept while anybody says them, with the names of those who do.

use std::hash::Hash;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use rustc_hash::FxBuildHasher;
use smallvec::{SmallVec, smallvec};

use crate::UnitId;

/// Reference counts by key, which remember the producers.
#[derive(Debug, Clone)]
pub struct Counted<K> {
    producers: HashMap<K, SmallVec<[UnitId; 2]>, FxBuildHasher>,
}

impl<K: Copy + Eq + Hash> Default for Counted<K> {
    fn default() -> Self {
        Self {
            producers: HashMap::default(),
        }
    }
}

impl<K: Copy + Eq + Hash> Counted<K> {
    /// `unit` says `key`. Returns whether nobody said it before.
    pub fn acquire(&mut self, key: K, unit: UnitId) -> bool {
        match self.producers.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(smallvec![unit]);
                true
            }
            Entry::Occupied(mut occupied) => {
                if !occupied.get().contains(&unit) {
                    occupied.get_mut().push(unit);
                }
                false
            }
        }
    }

    /// `unit` no longer says `key`. Returns whether nobody says it now.
    pub fn release(&mut self, key: K, unit: UnitId) -> bool {
        let Entry::Occupied(mut occupied) = self.producers.entry(key) else {
            return false;
        };
        occupied.get_mut().retain(|producer| *producer != unit);
        if occupied.get().is_empty() {
            occupied.remove();
            return true;
        }
        false
    }

    /// Who says `key`.
    pub fn producers(&self, key: K) -> &[UnitId] {
        self.producers.get(&key).map_or(&[], SmallVec::as_slice)
    }

    /// Whether anybody says `key`.
    pub fn contains(&self, key: K) -> bool {
        self.producers.contains_key(&key)
    }

    /// All keys that somebody says, in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.producers.keys().copied()
    }

    /// How many keys somebody says.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether nobody says anything.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }
}
