//! Values by key, with tracked reads.

use std::hash::Hash;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::{Changes, Reads};

/// A map whose reads are noted and whose changes are told: one cell for each key, present or absent.
#[derive(Debug, Clone)]
pub struct Store<C, K, V> {
    cell: fn(K) -> C,
    values: HashMap<K, V, FxBuildHasher>,
}

impl<C: Copy, K: Copy + Eq + Hash, V: PartialEq> Store<C, K, V> {
    /// An empty store. `cell` names the cell of a key.
    pub fn new(cell: fn(K) -> C) -> Self {
        Self {
            cell,
            values: HashMap::default(),
        }
    }

    /// The value at `key`, as a unit reads it.
    pub fn get(&self, reads: &Reads<C>, key: K) -> Option<&V> {
        reads.note((self.cell)(key));
        self.values.get(&key)
    }

    /// The value at `key`, for code that is no unit.
    pub fn peek(&self, key: K) -> Option<&V> {
        self.values.get(&key)
    }

    /// Sets the value at `key`. Nothing is told when it was equal. Returns whether it differs.
    pub fn set<U>(&mut self, changes: &mut Changes<C, U>, key: K, value: V) -> bool {
        match self.values.get_mut(&key) {
            Some(old) if *old == value => return false,
            Some(old) => *old = value,
            None => {
                self.values.insert(key, value);
            }
        }
        changes.cell((self.cell)(key));
        true
    }

    /// Removes the value at `key` and returns it.
    pub fn remove<U>(&mut self, changes: &mut Changes<C, U>, key: K) -> Option<V> {
        let old = self.values.remove(&key)?;
        changes.cell((self.cell)(key));
        Some(old)
    }

    /// Everything in the store, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.values.iter().map(|(key, value)| (*key, value))
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}
