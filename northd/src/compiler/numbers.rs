//! Numbers, each held by one owner, or by several that insist.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};
use uuid::Uuid;

/// Numbers from 1 on, and who holds them.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    /// The holders of each, the first being the one who had it first.
    held: FxHashMap<u32, SmallVec<[Uuid; 1]>>,
    /// Where the search for a free number starts: numbers are not used again at once.
    next: u32,
}

impl Numbers {
    /// Who holds `number`.
    pub fn holders(&self, number: u32) -> &[Uuid] {
        self.held.get(&number).map_or(&[], SmallVec::as_slice)
    }

    /// Takes `number` if it is in the range and free, or `owner`'s already, or to be shared.
    pub fn take(&mut self, number: u32, max: u32, owner: Uuid, shares: bool) -> bool {
        if number == 0 || number > max {
            return false;
        }
        let holders = self.held.entry(number).or_insert_with(|| smallvec![owner]);
        let mut holds = holders.contains(&owner);
        if !holds && shares {
            holders.push(owner);
            holds = true;
        }
        if holds && number == self.next {
            self.next = number % max + 1;
        }
        holds
    }

    /// Takes a free number up to `max`, if there is one.
    pub fn choose(&mut self, max: u32, owner: Uuid) -> Option<u32> {
        let mut number = self.next.max(1);
        // Numbers beyond `max` may be held, too: by those who asked for them.
        for _ in 0..=self.held.len() {
            if number > max {
                number = 1;
            }
            if let Entry::Vacant(vacant) = self.held.entry(number) {
                vacant.insert(smallvec![owner]);
                self.next = number % max + 1;
                return Some(number);
            }
            number += 1;
        }
        None
    }

    /// Gives `number` back if `owner` holds it. Returns whether it is free now.
    pub fn release(&mut self, number: u32, owner: Uuid) -> bool {
        let Some(holders) = self.held.get_mut(&number) else {
            return false;
        };
        let before = holders.len();
        holders.retain(|holder| *holder != owner);
        let released = holders.len() < before;
        if holders.is_empty() {
            self.held.remove(&number);
        }
        released
    }

    /// Whether all numbers are free.
    pub fn is_unused(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_holder_and_are_reused_late() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut pool = Numbers::default();
        assert_eq!(pool.choose(3, a), Some(1));
        assert!(pool.take(3, 3, b, false));
        assert!(!pool.take(3, 3, a, false));
        assert!(!pool.take(0, 3, a, false) && !pool.take(4, 3, a, false));
        assert!(pool.release(1, a));
        assert_eq!(pool.choose(3, b), Some(2), "1 has just been given back");
        assert_eq!(pool.choose(3, b), Some(1));
        assert_eq!(pool.choose(3, b), None);
        assert!(!pool.release(2, a), "only the holder gives back");
        assert_eq!(pool.holders(2), [b]);
    }

    #[test]
    fn numbers_beyond_the_chosen_ones_can_be_asked_for_and_shared() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut pool = Numbers::default();
        assert!(pool.take(9, 10, a, false) && pool.take(9, 10, b, true));
        assert_eq!(pool.choose(1, a), Some(1));
        assert_eq!(pool.choose(1, b), None);
        assert!(pool.release(9, a));
        assert_eq!(pool.holders(9), [b]);
    }
}
