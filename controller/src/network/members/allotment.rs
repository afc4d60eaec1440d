//! A few bits, and who has them.

use std::collections::{BTreeMap, VecDeque};

/// The bits, numbered from 0.
#[derive(Debug)]
pub(super) struct Allotment<K> {
    held: BTreeMap<K, u8>,
    /// Bits that nobody has, those that were free for longest first: a packet that waits at the controller may still carry one.
    free: VecDeque<u8>,
}

impl<K: Copy + Ord> Allotment<K> {
    pub(super) fn new(bits: u8) -> Self {
        Allotment {
            held: BTreeMap::new(),
            free: (0..bits).collect(),
        }
    }

    /// Who has bits.
    pub(super) fn holders(&self) -> impl Iterator<Item = K> + '_ {
        self.held.keys().copied()
    }

    /// The bit that somebody has.
    pub(super) fn bit(&self, holder: K) -> Option<u8> {
        self.held.get(&holder).copied()
    }

    pub(super) fn is_free(&self, bit: u8) -> bool {
        self.free.contains(&bit)
    }

    pub(super) fn first_free(&self) -> Option<u8> {
        self.free.front().copied()
    }

    /// Gives a free bit to somebody who has none.
    pub(super) fn give(&mut self, holder: K, bit: u8) {
        self.free.retain(|free| *free != bit);
        self.held.insert(holder, bit);
    }

    /// Takes the bit from somebody.
    pub(super) fn take(&mut self, holder: K) -> Option<u8> {
        let bit = self.held.remove(&holder)?;
        self.free.push_back(bit);
        Some(bit)
    }
}
