//! Things of the switch that have numbers: groups, meters, conjunctive matches.
//!
//! A thing is known by its content and has one number while somebody holds it. The number is the one that its content prefers,
//! or the next that is free: so a restart gives the same numbers, but for two contents that prefer one, and no number ever stands
//! for two things.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::flow::Digest;

/// The things of one kind.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    /// The greatest number; the least is 1.
    last: u32,
    by_content: FxHashMap<Digest, Held>,
    wanted: FxHashMap<u32, T>,
    installed: FxHashMap<u32, T>,
    /// Numbers for which wanted and installed may differ.
    dirty: FxHashSet<u32>,
    /// Numbers of things that the switch refused; they are not offered again while they are wanted.
    refused: FxHashSet<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    number: u32,
    holders: u32,
}

/// What is to be done to one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change<T> {
    /// It is new.
    Add(u32, T),
    /// The switch has another under its number.
    Modify(u32, T),
    /// Nobody wants what has this number.
    Delete(u32),
}

impl<T: Clone + PartialEq> Numbered<T> {
    pub(super) fn new(last: u32) -> Self {
        Numbered {
            last,
            by_content: FxHashMap::default(),
            wanted: FxHashMap::default(),
            installed: FxHashMap::default(),
            dirty: FxHashSet::default(),
            refused: FxHashSet::default(),
        }
    }

    /// Somebody holds a thing. Returns its number.
    pub(super) fn acquire(
        &mut self,
        content: Digest,
        preferred: u32,
        make: impl FnOnce(u32) -> T,
    ) -> u32 {
        if let Some(held) = self.by_content.get_mut(&content) {
            held.holders += 1;
            return held.number;
        }
        let mut number = preferred % self.last + 1;
        // Things do not come near to being as many as there are numbers: each takes more memory than this walk has steps.
        while self.wanted.contains_key(&number) {
            number = number % self.last + 1;
        }
        let held = Held { number, holders: 1 };
        self.by_content.insert(content, held);
        self.wanted.insert(number, make(number));
        self.dirty.insert(number);
        number
    }

    /// Somebody holds it no more.
    pub(super) fn release(&mut self, content: Digest) {
        let Some(held) = self.by_content.get_mut(&content) else {
            return;
        };
        held.holders -= 1;
        if held.holders > 0 {
            return;
        }
        let number = held.number;
        self.by_content.remove(&content);
        self.wanted.remove(&number);
        self.refused.remove(&number);
        self.dirty.insert(number);
    }

    /// What the switch has.
    pub(super) fn set_installed(&mut self, things: impl IntoIterator<Item = (u32, T)>) {
        self.installed.clear();
        self.dirty.clear();
        self.installed.extend(things);
        self.dirty.extend(self.installed.keys().copied());
        self.dirty.extend(self.wanted.keys().copied());
    }

    pub(super) fn forget_installed(&mut self) {
        self.installed.clear();
        self.dirty.clear();
        self.refused.clear();
    }

    /// Takes over what another knows of the switch.
    pub(super) fn adopt_installed(&mut self, other: &mut Self) {
        let installed = std::mem::take(&mut other.installed);
        self.set_installed(installed);
    }

    /// The switch refused what has this number.
    pub(super) fn refuse(&mut self, number: u32) {
        self.installed.remove(&number);
        self.refused.insert(number);
    }

    pub(super) fn is_refused(&self, number: u32) -> bool {
        self.refused.contains(&number)
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// What makes the switch's what is wanted, deletions last, in the order of their numbers. It is taken for done.
    pub(super) fn changes(&mut self) -> Vec<Change<T>> {
        let mut dirty: Vec<u32> = self.dirty.drain().collect();
        dirty.sort_unstable();
        let (mut changes, mut deletions) = (Vec::new(), Vec::new());
        for number in dirty {
            match self.wanted.get(&number) {
                Some(thing) if !self.refused.contains(&number) => {
                    let thing = thing.clone();
                    match self.installed.insert(number, thing.clone()) {
                        None => changes.push(Change::Add(number, thing)),
                        Some(old) if old != thing => changes.push(Change::Modify(number, thing)),
                        Some(_) => {}
                    }
                }
                Some(_) => {}
                None => {
                    if self.installed.remove(&number).is_some() {
                        deletions.push(Change::Delete(number));
                    }
                }
            }
        }
        changes.append(&mut deletions);
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u128) -> Digest {
        Digest(n)
    }

    #[test]
    fn a_number_stands_for_one_thing() {
        let mut things: Numbered<&str> = Numbered::new(3);
        assert_eq!(things.acquire(digest(1), 2, |_| "a"), 3);
        assert_eq!(things.acquire(digest(2), 2, |_| "b"), 1);
        assert_eq!(things.acquire(digest(1), 2, |_| "a"), 3);
        assert_eq!(things.changes(), [Change::Add(1, "b"), Change::Add(3, "a")]);
        things.release(digest(1));
        assert_eq!(things.changes(), []);
        things.release(digest(1));
        assert_eq!(things.acquire(digest(3), 2, |_| "c"), 3);
        things.release(digest(2));
        assert_eq!(
            things.changes(),
            [Change::Modify(3, "c"), Change::Delete(1)]
        );
    }

    #[test]
    fn what_is_installed_is_left_alone() {
        let mut things: Numbered<&str> = Numbered::new(100);
        let number = things.acquire(digest(1), 7, |_| "a");
        things.set_installed([(number, "a"), (50, "foreign")]);
        assert_eq!(things.changes(), [Change::Delete(50)]);
        things.refuse(number);
        things.release(digest(1));
        assert_eq!(things.changes(), []);
        assert_eq!(things.acquire(digest(1), 7, |_| "a"), number);
        assert_eq!(things.changes(), [Change::Add(number, "a")]);
    }
}
