//! Numbers, each held by one owner, or by several that insist; some reserved, so that nobody is given them.

use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::ops::RangeInclusive;

use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};
use uuid::Uuid;

use super::pool::Order;
use super::reserved::Reserved;

/// Numbers from 1 on, and who holds them.
#[derive(Debug, Clone)]
pub struct Numbers {
    order: Order,
    /// The holders of each, the first being the one who had it first.
    held: FxHashMap<u32, SmallVec<[Uuid; 1]>>,
    /// Where the search for a free number starts: numbers are not used again at once, unless the lowest is wanted.
    next: u32,
    /// Where the lowest is given: numbers below `next` that have been given back. Some may be held or reserved by now.
    freed: BTreeSet<u32>,
    reserved: Reserved,
}

impl Numbers {
    /// All are free, and given in this order.
    pub fn new(order: Order) -> Self {
        Self {
            order,
            held: FxHashMap::default(),
            next: 0,
            freed: BTreeSet::new(),
            reserved: Reserved::default(),
        }
    }

    /// Who holds `number`.
    pub fn holders(&self, number: u32) -> &[Uuid] {
        self.held.get(&number).map_or(&[], SmallVec::as_slice)
    }

    /// Takes `number` if it is in the range and free, or `owner`'s already, or to be shared.
    pub fn take(&mut self, number: u32, max: u32, owner: Uuid, shares: bool) -> bool {
        if number == 0 || number > max || self.reserved.end(number).is_some() {
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

    /// A number up to `max` is held that was not chosen here: those that are chosen late come behind it.
    pub fn pass(&mut self, number: u32, max: u32) {
        // Behind the last one there is no place: to begin anew for its sake would put newcomers before all others.
        if self.order == Order::Late && (self.next..max).contains(&number) {
            self.next = number + 1;
        }
    }

    /// Takes a free number up to `max`, if there is one.
    pub fn choose(&mut self, max: u32, owner: Uuid) -> Option<u32> {
        match self.order {
            Order::Late => self.choose_next(max, owner),
            Order::Lowest => self.choose_lowest(max, owner),
        }
    }

    fn choose_next(&mut self, max: u32, owner: Uuid) -> Option<u32> {
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

    /// Of the numbers below `next`, all that are free are among `freed`.
    fn choose_lowest(&mut self, max: u32, owner: Uuid) -> Option<u32> {
        while let Some(&number) = self.freed.first()
            && number < self.next
            && number <= max
        {
            self.freed.pop_first();
            if self.reserved.end(number).is_none()
                && let Entry::Vacant(vacant) = self.held.entry(number)
            {
                vacant.insert(smallvec![owner]);
                return Some(number);
            }
        }
        let mut number = self.next.max(1);
        while number <= max {
            if let Some(end) = self.reserved.end(number) {
                number = end.checked_add(1)?;
            } else if let Entry::Vacant(vacant) = self.held.entry(number) {
                vacant.insert(smallvec![owner]);
                self.next = number + 1;
                return Some(number);
            } else {
                number += 1;
            }
        }
        // All up to here are held or reserved.
        self.next = self.next.max(number);
        None
    }

    /// Numbers that nobody is given from now on; who holds one of them.
    pub fn reserve(&mut self, range: &RangeInclusive<u32>) -> Vec<Uuid> {
        self.reserved.add(range);
        let holders = |number: u32| self.holders(number).iter().copied();
        if range.start() == range.end() {
            return holders(*range.start()).collect();
        }
        let mut held: Vec<u32> = self.held.keys().copied().collect();
        held.retain(|number| range.contains(number));
        held.sort_unstable();
        held.into_iter().flat_map(holders).collect()
    }

    /// They can be given again, as far as nobody else reserves them.
    pub fn unreserve(&mut self, range: &RangeInclusive<u32>) {
        self.reserved.remove(range);
        if range.start() != range.end() {
            self.next = self.next.min(*range.start());
        } else if *range.start() < self.next {
            self.freed.insert(*range.start());
        }
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
            if self.order == Order::Lowest && number < self.next {
                self.freed.insert(number);
            }
        }
        released
    }

    /// Whether all numbers are free.
    pub fn is_unused(&self) -> bool {
        self.held.is_empty() && self.reserved.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_holder_and_are_reused_late() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut pool = Numbers::new(Order::Late);
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
    fn numbers_come_behind_those_that_are_held() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut pool = Numbers::new(Order::Late);
        for number in [7, 3] {
            assert!(pool.take(number, 9, a, false));
            pool.pass(number, 9);
        }
        assert_eq!(pool.choose(9, b), Some(8), "behind all");
        assert!(pool.take(9, 9, a, false));
        pool.pass(9, 9);
        assert_eq!(pool.choose(9, b), Some(1), "in turn");
        pool.pass(9, 9);
        assert_eq!(
            pool.choose(9, a),
            Some(2),
            "not anew for the last one's sake"
        );
        pool.pass(20, 9);
        assert_eq!(pool.choose(9, b), Some(4), "what was asked for is beyond");
    }

    #[test]
    fn numbers_that_come_and_go_leave_nothing_behind() {
        let owner = Uuid::from_u128(1);
        let mut pool = Numbers::new(Order::Late);
        for _ in 0..1000 {
            let number = pool.choose(10_000, owner).unwrap();
            assert!(pool.release(number, owner));
        }
        assert!(pool.held.is_empty() && pool.freed.is_empty());
    }

    #[test]
    fn numbers_beyond_the_chosen_ones_can_be_asked_for_and_shared() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut pool = Numbers::new(Order::Late);
        assert!(pool.take(9, 10, a, false) && pool.take(9, 10, b, true));
        assert_eq!(pool.choose(1, a), Some(1));
        assert_eq!(pool.choose(1, b), None);
        assert!(pool.release(9, a));
        assert_eq!(pool.holders(9), [b]);
    }

    #[test]
    fn the_lowest_free_number_is_what_a_search_of_all_finds() {
        const MAX: u32 = 12;
        let owner = Uuid::from_u128;
        let mut pool = Numbers::new(Order::Lowest);
        let mut held = std::collections::BTreeMap::<u32, u128>::new();
        let mut ranges: Vec<RangeInclusive<u32>> = Vec::new();
        let mut state = 7_u64;
        let mut below = |n: u32| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            u32::try_from(state >> 33).unwrap() % n
        };
        for turn in 1..20_000_u128 {
            match below(6) {
                0 | 1 => {
                    let is_reserved = |n: &u32| ranges.iter().any(|range| range.contains(n));
                    let lowest = (1..=MAX).find(|n| !held.contains_key(n) && !is_reserved(n));
                    assert_eq!(pool.choose(MAX, owner(turn)), lowest, "turn {turn}");
                    held.extend(lowest.map(|number| (number, turn)));
                }
                2 | 3 => {
                    let number = 1 + below(MAX);
                    if let Some(holder) = held.remove(&number) {
                        assert!(pool.release(number, owner(holder)));
                    }
                }
                4 => {
                    let from = 1 + below(MAX);
                    let range = from..=from + below(3) / 2 * below(4);
                    let holders = pool.reserve(&range);
                    let expected = held.range(range.clone()).map(|(_, holder)| owner(*holder));
                    assert!(expected.eq(holders));
                    // Who has one of them gives it back.
                    for number in range.clone() {
                        if let Some(holder) = held.remove(&number) {
                            assert!(pool.release(number, owner(holder)));
                        }
                    }
                    ranges.push(range);
                }
                _ if ranges.is_empty() => {}
                _ => {
                    let place = below(u32::try_from(ranges.len()).unwrap());
                    pool.unreserve(&ranges.swap_remove(usize::try_from(place).unwrap()));
                }
            }
        }
    }
}
