//! A pool of numbers: each held by one owner at most.

use rustc_hash::FxHashMap;
use uuid::Uuid;

/// Numbers from 1 to a maximum, and who holds them.
#[derive(Debug, Clone)]
pub struct Pool {
    held: FxHashMap<u32, Uuid>,
    max: u32,
    /// Where the search for a free number starts: numbers are not used again at once.
    next: u32,
}

impl Pool {
    /// The numbers from 1 to `max`, all free.
    pub fn new(max: u32) -> Self {
        Self {
            held: FxHashMap::default(),
            max,
            next: 1,
        }
    }

    /// Who holds `number`.
    pub fn holder(&self, number: u32) -> Option<Uuid> {
        self.held.get(&number).copied()
    }

    /// Takes `number` if it is in the range and free, or `owner`'s already.
    pub fn take(&mut self, number: u32, owner: Uuid) -> bool {
        if number == 0 || number > self.max {
            return false;
        }
        let holder = *self.held.entry(number).or_insert(owner);
        if holder == owner && number == self.next {
            self.next = number % self.max + 1;
        }
        holder == owner
    }

    /// Takes a free number, if there is one.
    pub fn choose(&mut self, owner: Uuid) -> Option<u32> {
        if self.held.len() >= self.max as usize {
            return None;
        }
        let mut number = self.next;
        // Ends: fewer numbers are held than there are.
        while self.held.contains_key(&number) {
            number = number % self.max + 1;
        }
        self.held.insert(number, owner);
        self.next = number % self.max + 1;
        Some(number)
    }

    /// Gives `number` back if `owner` holds it.
    pub fn release(&mut self, number: u32, owner: Uuid) {
        if self.holder(number) == Some(owner) {
            self.held.remove(&number);
        }
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
        let mut pool = Pool::new(3);
        assert_eq!(pool.choose(a), Some(1));
        assert!(pool.take(3, b));
        assert!(!pool.take(3, a));
        assert!(!pool.take(0, a) && !pool.take(4, a));
        pool.release(1, a);
        assert_eq!(pool.choose(b), Some(2), "1 has just been given back");
        assert_eq!(pool.choose(b), Some(1));
        assert_eq!(pool.choose(b), None);
        pool.release(2, a);
        assert_eq!(pool.holder(2), Some(b), "only the holder gives back");
    }
}
