//! Numbers that are reserved: single ones, of which there may be many, and ranges, of which there are few.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use rustc_hash::FxHashMap;

/// What is reserved, and how often: several may reserve the same.
#[derive(Debug, Clone, Default)]
pub struct Reserved {
    singles: FxHashMap<u32, u32>,
    ranges: BTreeMap<(u32, u32), u32>,
    /// The ranges, those that overlap or touch as one: first and last, in ascending order.
    merged: Vec<(u32, u32)>,
}

impl Reserved {
    /// One more reserves these.
    pub fn add(&mut self, range: &RangeInclusive<u32>) {
        let (from, to) = (*range.start(), *range.end());
        if from == to {
            *self.singles.entry(from).or_default() += 1;
            return;
        }
        let count = self.ranges.entry((from, to)).or_default();
        *count += 1;
        if *count == 1 {
            self.merge();
        }
    }

    /// One less does.
    pub fn remove(&mut self, range: &RangeInclusive<u32>) {
        let (from, to) = (*range.start(), *range.end());
        if from == to {
            if let Some(count) = self.singles.get_mut(&from) {
                *count -= 1;
                if *count == 0 {
                    self.singles.remove(&from);
                }
            }
            return;
        }
        if let Some(count) = self.ranges.get_mut(&(from, to)) {
            *count -= 1;
            if *count == 0 {
                self.ranges.remove(&(from, to));
                self.merge();
            }
        }
    }

    /// The last number of those that are reserved together with this one, if it is.
    pub fn end(&self, number: u32) -> Option<u32> {
        let behind = self.merged.partition_point(|(from, _)| *from <= number);
        let range = behind.checked_sub(1).map(|place| self.merged[place]);
        match range.filter(|(_, to)| number <= *to) {
            Some((_, to)) => Some(to),
            None => self.singles.contains_key(&number).then_some(number),
        }
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.singles.is_empty() && self.ranges.is_empty()
    }

    fn merge(&mut self) {
        self.merged.clear();
        for &(from, to) in self.ranges.keys() {
            match self.merged.last_mut() {
                Some((_, last)) if from <= last.saturating_add(1) => *last = (*last).max(to),
                _ => self.merged.push((from, to)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_reserved_as_long_as_somebody_reserves_it() {
        let mut reserved = Reserved::default();
        for range in [3..=5, 5..=9, 7..=7, 7..=7, 20..=30] {
            reserved.add(&range);
        }
        let ends = |reserved: &Reserved, of: &[u32]| -> Vec<Option<u32>> {
            of.iter().map(|number| reserved.end(*number)).collect()
        };
        let (nine, thirty) = (Some(9), Some(30));
        assert_eq!(
            ends(&reserved, &[2, 3, 9, 10, 20, 30, 31]),
            [None, nine, nine, None, thirty, thirty, None]
        );
        reserved.remove(&(5..=9));
        reserved.remove(&(7..=7));
        assert_eq!(
            ends(&reserved, &[3, 5, 6, 7, 8]),
            [Some(5), Some(5), None, Some(7), None]
        );
        for range in [3..=5, 7..=7, 20..=30] {
            reserved.remove(&range);
        }
        assert!(reserved.is_empty());
    }
}
