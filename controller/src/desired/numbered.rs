//! Things of the switch that have numbers: groups, meters, conjunctive matches.
//!
//! A thing has a name, and one number while somebody holds it, whatever it holds: a group keeps its number while backends come and
//! go. Where nothing else is said, its content is its name. The number is the one that its name prefers, or the next that is free:
//! so a restart gives the same numbers, but for two names that prefer one, and no number ever stands for two things.

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use crate::flow::Digest;

/// The things of one kind.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    /// The greatest number; the least is 1.
    last: u32,
    by_name: FxHashMap<Digest, Named<T>>,
    wanted: FxHashMap<u32, T>,
    installed: FxHashMap<u32, T>,
    /// Numbers for which wanted and installed may differ.
    dirty: FxHashSet<u32>,
    /// Numbers of things that the switch refused; they are not offered again while they are wanted.
    refused: FxHashSet<u32>,
}

/// What has a name: a number, and what it holds. Mostly that is one thing.
#[derive(Debug)]
struct Named<T> {
    number: u32,
    contents: SmallVec<[Held<T>; 1]>,
}

#[derive(Clone, Debug)]
struct Held<T> {
    content: Digest,
    thing: T,
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
            by_name: FxHashMap::default(),
            wanted: FxHashMap::default(),
            installed: FxHashMap::default(),
            dirty: FxHashSet::default(),
            refused: FxHashSet::default(),
        }
    }

    /// What is wanted, by number.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (u32, &T)> {
        self.wanted.iter().map(|(number, thing)| (*number, thing))
    }

    /// The number of what has this name.
    pub(super) fn number(&self, name: Digest) -> Option<u32> {
        self.by_name.get(&name).map(|named| named.number)
    }

    /// Somebody holds a thing with a name and a content. Returns its number.
    pub(super) fn acquire(
        &mut self,
        (name, content): (Digest, Digest),
        preferred: u32,
        make: impl FnOnce(u32) -> T,
    ) -> u32 {
        if let Some(named) = self.by_name.get_mut(&name) {
            let number = named.number;
            let mut contents = named.contents.iter_mut();
            match contents.find(|held| held.content == content) {
                Some(held) => held.holders += 1,
                None => {
                    named.contents.push(Held {
                        content,
                        thing: make(number),
                        holders: 1,
                    });
                    self.settle(name);
                }
            }
            return number;
        }
        let mut number = preferred % self.last + 1;
        // Things do not come near to being as many as there are numbers: each takes more memory than this walk has steps.
        while self.wanted.contains_key(&number) {
            number = number % self.last + 1;
        }
        let held = Held {
            content,
            thing: make(number),
            holders: 1,
        };
        let contents = [held].into_iter().collect();
        self.by_name.insert(name, Named { number, contents });
        self.settle(name);
        number
    }

    /// Somebody holds it no more.
    pub(super) fn release(&mut self, (name, content): (Digest, Digest)) {
        let Some(named) = self.by_name.get_mut(&name) else {
            return;
        };
        let mut contents = named.contents.iter_mut();
        let Some(held) = contents.find(|held| held.content == content) else {
            return;
        };
        held.holders -= 1;
        if held.holders == 0 {
            named.contents.retain(|held| held.holders > 0);
            self.settle(name);
        }
    }

    /// Brings up to date what is wanted of a name. Several contents are nobody's intention, but for the moment between the coming
    /// of one and the going of another: then the least counts, whatever came first.
    fn settle(&mut self, name: Digest) {
        let Some(named) = self.by_name.get(&name) else {
            return;
        };
        let number = named.number;
        let least = named.contents.iter().min_by_key(|held| held.content);
        match least.map(|held| held.thing.clone()) {
            Some(thing) if self.wanted.get(&number) == Some(&thing) => return,
            Some(thing) => drop(self.wanted.insert(number, thing)),
            None => {
                self.wanted.remove(&number);
                self.by_name.remove(&name);
            }
        }
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

    /// Something that is its own name.
    fn digest(n: u128) -> (Digest, Digest) {
        (Digest(n), Digest(n))
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

    #[test]
    fn a_name_keeps_its_number_while_its_content_changes() {
        let named = |content| (Digest(1), Digest(content));
        for order in [[0, 1], [1, 0]] {
            let mut things: Numbered<&str> = Numbered::new(100);
            let number = things.acquire(named(5), 7, |_| "two backends");
            things.changes();
            for step in order {
                match step {
                    0 => {
                        let again = things.acquire(named(4), 7, |_| "three");
                        // Without holders in between it is the same by what it prefers.
                        assert_eq!(again, number);
                    }
                    _ => things.release(named(5)),
                }
            }
            assert_eq!(things.changes(), [Change::Modify(number, "three")]);
            things.release(named(4));
            assert_eq!(things.changes(), [Change::Delete(number)]);
        }
    }
}
