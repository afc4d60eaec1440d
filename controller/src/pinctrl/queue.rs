//! A queue in which everybody waits behind his own kind only.
//!
//! Each key has a short queue; keys with something in it are served in turn. Both a key's queue and the whole have a
//! limit, and what comes when one is reached is dropped and counted. So a key that floods loses its own items, and as
//! long as fewer than [`Limits::total`] / [`Limits::per_key`] keys flood at once nobody else loses any.

use std::collections::VecDeque;
use std::hash::Hash;

use rustc_hash::FxHashMap;

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Items of one key.
    pub per_key: usize,
    /// Items of all keys together.
    pub total: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_key: 16,
            total: 16_384,
        }
    }
}

/// The queue. A key without items takes no memory.
#[derive(Debug)]
pub struct FairQueue<K, T> {
    limits: Limits,
    queues: FxHashMap<K, VecDeque<T>>,
    /// The keys that have items, in the order of their turns.
    turns: VecDeque<K>,
    length: usize,
    dropped: u64,
}

impl<K: Copy + Eq + Hash, T> FairQueue<K, T> {
    /// An empty queue.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            queues: FxHashMap::default(),
            turns: VecDeque::new(),
            length: 0,
            dropped: 0,
        }
    }

    /// Adds an item, or drops it: then `false`.
    pub fn push(&mut self, key: K, item: T) -> bool {
        let waiting = self.queues.get(&key).map_or(0, VecDeque::len);
        if waiting >= self.limits.per_key || self.length >= self.limits.total {
            self.dropped += 1;
            return false;
        }
        if waiting == 0 {
            self.turns.push_back(key);
        }
        self.queues.entry(key).or_default().push_back(item);
        self.length += 1;
        true
    }

    /// Takes the first item of the key whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let key = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&key)?;
        let item = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&key);
        } else {
            self.turns.push_back(key);
        }
        self.length -= usize::from(item.is_some());
        item
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many items were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_delays_nobody_by_more_than_a_turn() {
        let mut queue = FairQueue::new(Limits {
            per_key: 4,
            total: 8,
        });
        for item in 0..100 {
            queue.push("flood", item);
        }
        assert!(queue.push("quiet", 1000));
        assert_eq!(queue.dropped(), 96);
        let order: Vec<i32> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [0, 1000, 1, 2, 3]);
        assert!(queue.is_empty() && queue.queues.is_empty() && queue.turns.is_empty());
    }

    #[test]
    fn the_whole_has_a_limit_too() {
        let mut queue = FairQueue::new(Limits {
            per_key: 4,
            total: 8,
        });
        for key in 0..100 {
            queue.push(key, key);
        }
        assert_eq!(queue.dropped(), 92);
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), 8);
    }
}
