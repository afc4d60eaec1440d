//! Sets whose members units say, one by one: ports of a group, datapaths that share flows, addresses.
//!
//! Nobody says or reads a whole set. A set exists while it has members; a row may have its members in a column, and then
//! what is written is who came and who went.

use ovsdb::{Atom, Datum};
use relations::{Cell, Key};
use rustc_hash::FxHashMap;

use super::fact::{RowId, member_key};

/// All sets.
#[derive(Default)]
pub struct Sets {
    sets: FxHashMap<Cell, Set>,
}

/// A set.
#[derive(Default)]
pub struct Set {
    /// The members, and how many units say each.
    members: FxHashMap<Key, (Atom, u32)>,
    /// Members that may be otherwise in the database than here.
    changed: FxHashMap<Key, Atom>,
    /// Whether all members may be.
    pub is_stale: bool,
    /// The rows that have the members in a column.
    pub rows: Vec<RowId>,
}

impl Set {
    /// Whether this is a member.
    pub fn contains(&self, atom: &Atom) -> bool {
        self.members.contains_key(&member_key(atom))
    }

    /// A row of the set has gained or lost this in the database.
    pub fn observe(&mut self, atom: &Atom, is_there: bool) {
        let key = member_key(atom);
        if self.members.contains_key(&key) == is_there {
            self.changed.remove(&key);
        } else {
            self.changed.insert(key, atom.clone());
        }
    }

    /// All that its only row has in the database is told: from now on what comes and goes is remembered.
    pub fn take_up(&mut self, actual: &Datum) {
        let (come, gone) = self.difference(actual);
        let atoms = come.into_iter().chain(gone);
        self.changed = atoms.map(|atom| (member_key(&atom), atom)).collect();
        self.is_stale = false;
    }

    /// The database is as it should be.
    pub fn settle(&mut self) {
        self.is_stale = false;
        self.changed = FxHashMap::default();
    }

    /// The members, as a column has them.
    pub fn datum(&self) -> Datum {
        Datum::set(self.members.values().map(|(atom, _)| atom.clone()))
    }

    /// The member with this key.
    pub fn atom(&self, key: Key) -> Option<Atom> {
        self.members.get(&key).map(|(atom, _)| atom.clone())
    }

    /// The members, in no order.
    pub fn atoms(&self) -> Vec<Atom> {
        let members = self.members.values();
        members.map(|(atom, _)| atom.clone()).collect()
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether what comes and goes is remembered: not while everything has to be compared anyway.
    fn is_followed(&self) -> bool {
        !self.rows.is_empty() && !self.is_stale
    }

    /// Whether nobody needs it.
    fn is_unused(&self) -> bool {
        self.members.is_empty() && self.rows.is_empty()
    }

    /// The members that `actual` lacks, and those of `actual` that are none. Costs what has changed, unless all may have.
    pub fn difference(&self, actual: &Datum) -> (Vec<Atom>, Vec<Atom>) {
        let (mut come, mut gone) = (Vec::new(), Vec::new());
        if self.is_stale {
            let atoms = actual.atoms().iter();
            gone.extend(atoms.filter(|atom| !self.contains(atom)).cloned());
            // Nearly always everybody is there: then there is nobody to look for.
            if actual.len() - gone.len() < self.members.len() {
                let members = self.members.values().map(|(atom, _)| atom);
                come.extend(members.filter(|atom| !actual.contains(atom)).cloned());
            }
        } else {
            for (key, atom) in &self.changed {
                match (self.members.contains_key(key), actual.contains(atom)) {
                    (true, false) => come.push(atom.clone()),
                    (false, true) => gone.push(atom.clone()),
                    _ => {}
                }
            }
        }
        come.sort_unstable();
        gone.sort_unstable();
        (come, gone)
    }
}

/// What a change of a set's members came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: somebody else says the same.
    None,
    /// Its members are others.
    Members,
    /// It came to be, or is no more.
    Existence,
}

impl Sets {
    /// The set at a cell, if it has members or a row.
    pub fn get(&self, cell: Cell) -> Option<&Set> {
        self.sets.get(&cell)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, cell: Cell) -> Option<&mut Set> {
        self.sets.get_mut(&cell)
    }

    /// Whether a set has members.
    pub fn exists(&self, cell: Cell) -> bool {
        self.sets
            .get(&cell)
            .is_some_and(|set| !set.members.is_empty())
    }

    /// Somebody says that `atom`, whose key this is, is a member.
    pub fn join(&mut self, cell: Cell, key: Key, atom: Atom) -> Step {
        let set = self.sets.entry(cell).or_default();
        let (was_empty, is_followed) = (set.members.is_empty(), set.is_followed());
        let (atom, count) = set.members.entry(key).or_insert((atom, 0));
        *count += 1;
        if *count > 1 {
            return Step::None;
        }
        if is_followed {
            set.changed.insert(key, atom.clone());
        }
        if was_empty {
            Step::Existence
        } else {
            Step::Members
        }
    }

    /// Somebody does not say any longer that what has this key is a member.
    pub fn leave(&mut self, cell: Cell, key: Key) -> Step {
        let Some(set) = self.sets.get_mut(&cell) else {
            return Step::None;
        };
        let Some((_, count)) = set.members.get_mut(&key) else {
            return Step::None;
        };
        *count -= 1;
        if *count > 0 {
            return Step::None;
        }
        if let Some((atom, _)) = set.members.remove(&key)
            && set.is_followed()
        {
            set.changed.insert(key, atom);
        }
        let is_empty = set.members.is_empty();
        if set.is_unused() {
            self.sets.remove(&cell);
        }
        if is_empty {
            Step::Existence
        } else {
            Step::Members
        }
    }

    /// A row has the members of a set in a column.
    pub fn attach(&mut self, cell: Cell, row: RowId) {
        let set = self.sets.entry(cell).or_default();
        set.is_stale = true;
        set.changed = FxHashMap::default();
        if !set.rows.contains(&row) {
            set.rows.push(row);
        }
    }

    /// A row has them no more.
    pub fn detach(&mut self, cell: Cell, row: RowId) {
        if let Some(set) = self.sets.get_mut(&cell) {
            set.rows.retain(|known| *known != row);
            if set.rows.is_empty() {
                set.changed.clear();
            }
            if set.is_unused() {
                self.sets.remove(&cell);
            }
        }
    }

    /// The members of a set, as a column has them.
    pub fn datum(&self, cell: Cell) -> Datum {
        self.sets
            .get(&cell)
            .map_or_else(Datum::empty_set, Set::datum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_while_a_row_is_written_is_remembered_from_the_first_sight_of_it() {
        let cell = Cell {
            relation: 1,
            key: Key::default(),
        };
        let row = RowId {
            table: 0,
            uuid: uuid::Uuid::nil(),
        };
        let mut sets = Sets::default();
        let join = |sets: &mut Sets, name: &str| {
            let atom = Atom::from(name);
            sets.join(cell, member_key(&atom), atom)
        };
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| Atom::from(*name))
                .collect::<Vec<_>>()
        };
        assert_eq!(join(&mut sets, "a"), Step::Existence);
        sets.attach(cell, row);
        let written = Datum::set(names(&["a", "x"]));
        assert_eq!(join(&mut sets, "b"), Step::Members);
        let set = sets.get_mut(cell).unwrap();
        assert_eq!(set.difference(&written), (names(&["b"]), names(&["x"])));
        set.take_up(&written);
        assert!(!set.is_stale);
        assert_eq!(set.difference(&written), (names(&["b"]), names(&["x"])));
        join(&mut sets, "c");
        sets.leave(cell, member_key(&Atom::from("a")));
        let set = sets.get_mut(cell).unwrap();
        let (come, gone) = set.difference(&written);
        assert_eq!((come, gone), (names(&["b", "c"]), names(&["a", "x"])));
        // Of what has become so in the database, nothing is left to do.
        for (name, comes) in [("b", true), ("c", true), ("a", false), ("x", false)] {
            set.observe(&Atom::from(name), comes);
        }
        assert!(set.changed.is_empty());
    }
}
