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
    /// Bytes of all items together.
    pub total_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_key: 16,
            total: 16_384,
            total_bytes: 16 << 20,
        }
    }
}

/// The queue. A key without items takes no memory.
#[derive(Debug)]
pub struct FairQueue<K, T> {
    limits: Limits,
    /// Items with their sizes.
    queues: FxHashMap<K, VecDeque<(T, usize)>>,
    /// The keys that have items, in the order of their turns.
    turns: VecDeque<K>,
    length: usize,
    bytes: usize,
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
            bytes: 0,
            dropped: 0,
        }
    }

    /// Adds an item of so many bytes, or drops it: then `false`.
    pub fn push(&mut self, key: K, item: T, size: usize) -> bool {
        let waiting = self.queues.get(&key).map_or(0, VecDeque::len);
        let is_full =
            self.length >= self.limits.total || self.bytes + size > self.limits.total_bytes;
        if waiting >= self.limits.per_key || is_full {
            self.dropped += 1;
            return false;
        }
        if waiting == 0 {
            self.turns.push_back(key);
        }
        self.queues.entry(key).or_default().push_back((item, size));
        self.length += 1;
        self.bytes += size;
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
        let (item, size) = item?;
        self.length -= 1;
        self.bytes -= size;
        Some(item)
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
            total_bytes: 1_000,
        });
        for item in 0..100 {
            queue.push("flood", item, 1);
        }
        assert!(queue.push("quiet", 1000, 1));
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
            total_bytes: 1_000,
        });
        for key in 0..100 {
            queue.push(key, key, 1);
        }
        assert_eq!(queue.dropped(), 92);
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), 8);
    }

    #[test]
    fn large_items_are_limited_by_their_bytes() {
        let limits = Limits {
            per_key: 4,
            total: 8,
            total_bytes: 1_000,
        };
        let mut queue = FairQueue::new(limits);
        assert!(queue.push(1, 1, 600));
        assert!(!queue.push(2, 2, 600));
        assert!(queue.push(3, 3, 400));
        assert_eq!((queue.pop(), queue.pop()), (Some(1), Some(3)));
        assert!(queue.push(2, 2, 600));
        assert_eq!(queue.dropped(), 1);
    }
}
