//! Sets of atoms: sorted, each atom once, shared, and changed at a cost that follows the change.
//!
//! Most sets are small and stand in one piece. A large one, such as the 25,000 ports of a group, is cut into chunks. A set
//! that differs from another in one atom has one chunk of its own and shares all others with it; what is shared is neither
//! copied nor looked at when the two are compared. How a set is cut depends on its history; what it is does not:
//! equality, order and hash are those of the atoms.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter::FusedIterator;
use std::slice;
use std::sync::Arc;

use serde::ser::{Serialize, Serializer};

use crate::atom::Atom;

/// Sets of no more atoms than these stand in one piece, and no chunk has more.
const MAX_CHUNK: usize = 256;
/// Large sets are cut into chunks of so many atoms, so that there is room for more.
const CHUNK: usize = 128;
/// A chunk with fewer atoms is joined with the one before it, if they fit.
const MIN_CHUNK: usize = 32;

type Chunk = Arc<[Atom]>;

/// A set of atoms in ascending order.
#[derive(Clone)]
pub struct AtomSet(Pieces);

#[derive(Clone)]
enum Pieces {
    /// No more than [`MAX_CHUNK`].
    One(Chunk),
    /// More than [`MAX_CHUNK`], in chunks that are not empty.
    Many(Arc<Many>),
}

struct Many {
    len: usize,
    chunks: Box<[Chunk]>,
}

impl Default for AtomSet {
    /// The empty set. All empty sets share one allocation.
    fn default() -> Self {
        Self(Pieces::One(Arc::default()))
    }
}

impl AtomSet {
    /// A set of these atoms, which are sorted, each once.
    pub(crate) fn from_sorted(atoms: Vec<Atom>) -> Self {
        debug_assert!(atoms.is_sorted_by(|a, b| a < b), "sets are sorted");
        if atoms.len() <= MAX_CHUNK {
            return Self(Pieces::One(atoms.into()));
        }
        let mut chunks = Vec::with_capacity(atoms.len() / CHUNK + 1);
        let len = atoms.len();
        cut(atoms, &mut chunks);
        Self::of_chunks(len, chunks)
    }

    fn of_chunks(len: usize, mut chunks: Vec<Chunk>) -> Self {
        if len > MAX_CHUNK {
            let chunks = chunks.into();
            return Self(Pieces::Many(Arc::new(Many { len, chunks })));
        }
        match (chunks.pop(), chunks.is_empty()) {
            (None, _) => Self::default(),
            (Some(only), true) => Self(Pieces::One(only)),
            (Some(last), false) => {
                chunks.push(last);
                let atoms = chunks.iter().flat_map(|chunk| chunk.iter().cloned());
                Self(Pieces::One(atoms.collect()))
            }
        }
    }

    /// How many atoms it has.
    pub fn len(&self) -> usize {
        match &self.0 {
            Pieces::One(chunk) => chunk.len(),
            Pieces::Many(many) => many.len,
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The least atom.
    pub fn first(&self) -> Option<&Atom> {
        self.chunks().first()?.first()
    }

    /// Whether it has this atom.
    pub fn contains(&self, atom: &Atom) -> bool {
        let chunks = self.chunks();
        let behind = chunks.partition_point(|chunk| chunk.first().is_some_and(|a| a <= atom));
        let chunk = behind.checked_sub(1).and_then(|place| chunks.get(place));
        chunk.is_some_and(|chunk| chunk.binary_search(atom).is_ok())
    }

    /// The atoms in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            current: [].iter(),
            chunks: self.chunks().iter(),
            left: self.len(),
        }
    }

    fn chunks(&self) -> &[Chunk] {
        match &self.0 {
            Pieces::One(chunk) => slice::from_ref(chunk),
            Pieces::Many(many) => &many.chunks,
        }
    }

    /// This set and these atoms, which are in ascending order, by this way of combining them.
    pub(crate) fn combine(&self, way: Combination, with: Iter<'_>) -> Self {
        let (chunks, mut with) = (self.chunks(), with.peekable());
        let mut made: Vec<Chunk> = Vec::with_capacity(chunks.len() + 1);
        let mut taken = 0;
        while let Some(next) = with.peek() {
            // The last chunk that begins at or before the next atom, or the first one.
            let behind = chunks[taken..]
                .partition_point(|chunk| chunk.first().is_some_and(|atom| atom <= next));
            let place = taken + behind.saturating_sub(1);
            made.extend_from_slice(&chunks[taken..place.min(chunks.len())]);
            let chunk = chunks.get(place).map_or(&[][..], |chunk| chunk);
            let until = chunks.get(place + 1).and_then(|chunk| chunk.first());
            let here =
                std::iter::from_fn(|| with.next_if(|atom| until.is_none_or(|until| *atom < until)));
            add(merge(chunk, here, way), &mut made);
            taken = place + 1;
        }
        made.extend_from_slice(chunks.get(taken..).unwrap_or(&[]));
        let len = made.iter().map(|chunk| chunk.len()).sum();
        made.retain(|chunk| !chunk.is_empty());
        Self::of_chunks(len, made)
    }
}

/// What becomes of a set and atoms that are given with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Combination {
    /// What is in either.
    Union,
    /// What is not given.
    Difference,
    /// What is in one of them only.
    Toggle,
}

fn merge<'a>(chunk: &[Atom], with: impl Iterator<Item = &'a Atom>, way: Combination) -> Vec<Atom> {
    let mut merged = Vec::with_capacity(chunk.len() + 1);
    let mut rest = chunk;
    for atom in with {
        let before = rest.partition_point(|known| known < atom);
        merged.extend_from_slice(&rest[..before]);
        rest = &rest[before..];
        let is_there = rest.first() == Some(atom);
        let stays = match way {
            Combination::Union => true,
            Combination::Difference => false,
            Combination::Toggle => !is_there,
        };
        if stays {
            merged.push(atom.clone());
        }
        rest = &rest[usize::from(is_there)..];
    }
    merged.extend_from_slice(rest);
    merged
}

/// Puts atoms that stand behind all of `chunks` there, as chunks.
fn add(mut atoms: Vec<Atom>, chunks: &mut Vec<Chunk>) {
    if atoms.len() < MIN_CHUNK
        && let Some(before) = chunks.last()
        && before.len() + atoms.len() <= MAX_CHUNK
    {
        let before = before.iter().cloned();
        atoms = before.chain(atoms).collect();
        chunks.pop();
    }
    if atoms.len() > MAX_CHUNK {
        cut(atoms, chunks);
    } else if !atoms.is_empty() {
        chunks.push(atoms.into());
    }
}

fn cut(atoms: Vec<Atom>, chunks: &mut Vec<Chunk>) {
    let parts = atoms.len().div_ceil(CHUNK);
    let size = atoms.len().div_ceil(parts.max(1));
    let mut atoms = atoms.into_iter();
    while atoms.len() > 0 {
        chunks.push(atoms.by_ref().take(size).collect());
    }
}

impl<'a> IntoIterator for &'a AtomSet {
    type Item = &'a Atom;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl PartialEq for AtomSet {
    fn eq(&self, other: &Self) -> bool {
        if self.len() != other.len() {
            return false;
        }
        if let (Pieces::One(one), Pieces::One(other)) = (&self.0, &other.0) {
            return Arc::ptr_eq(one, other) || one == other;
        }
        let mut walk = Walk::new(self.chunks(), other.chunks());
        walk.next_difference().is_none()
    }
}

impl Eq for AtomSet {}

impl PartialOrd for AtomSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for AtomSet {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl Hash for AtomSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len().hash(state);
        self.iter().for_each(|atom| atom.hash(state));
    }
}

impl fmt::Debug for AtomSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// As an array of atoms.
impl Serialize for AtomSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

/// The elements of a set or scalar, in order.
#[derive(Clone, Copy, Debug)]
pub struct Atoms<'a>(Elements<'a>);

#[derive(Clone, Copy, Debug)]
enum Elements<'a> {
    Slice(&'a [Atom]),
    Set(&'a AtomSet),
}

impl<'a> Atoms<'a> {
    pub(crate) fn of_slice(atoms: &'a [Atom]) -> Self {
        Self(Elements::Slice(atoms))
    }

    pub(crate) fn of_set(set: &'a AtomSet) -> Self {
        Self(Elements::Set(set))
    }

    /// How many there are.
    pub fn len(self) -> usize {
        match self.0 {
            Elements::Slice(atoms) => atoms.len(),
            Elements::Set(set) => set.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The least one.
    pub fn first(self) -> Option<&'a Atom> {
        match self.0 {
            Elements::Slice(atoms) => atoms.first(),
            Elements::Set(set) => set.first(),
        }
    }

    /// Each in order.
    pub fn iter(self) -> Iter<'a> {
        match self.0 {
            Elements::Slice(atoms) => Iter {
                current: atoms.iter(),
                chunks: [].iter(),
                left: atoms.len(),
            },
            Elements::Set(set) => set.iter(),
        }
    }

    /// All of them, as a vector.
    pub fn to_vec(self) -> Vec<Atom> {
        self.iter().cloned().collect()
    }
}

impl<'a> IntoIterator for Atoms<'a> {
    type Item = &'a Atom;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Goes through atoms in order.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    current: slice::Iter<'a, Atom>,
    chunks: slice::Iter<'a, Chunk>,
    left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Atom;

    fn next(&mut self) -> Option<&'a Atom> {
        loop {
            if let Some(atom) = self.current.next() {
                self.left -= 1;
                return Some(atom);
            }
            self.current = self.chunks.next()?.iter();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl FusedIterator for Iter<'_> {}

/// Calls `visit` with each atom that is in one of the two only: with `true` if it is in `new`. What they share costs
/// nothing.
pub fn difference(old: Atoms<'_>, new: Atoms<'_>, mut visit: impl FnMut(&Atom, bool)) {
    let (old, new) = (Pair::of(old), Pair::of(new));
    let mut walk = Walk::new(old.chunks, new.chunks);
    (walk.old, walk.new) = (old.atoms, new.atoms);
    while let Some((atom, comes)) = walk.next_difference() {
        visit(atom, comes);
    }
}

/// Atoms as chunks and what stands before them.
struct Pair<'a> {
    atoms: &'a [Atom],
    chunks: &'a [Chunk],
}

impl<'a> Pair<'a> {
    fn of(atoms: Atoms<'a>) -> Self {
        match atoms.0 {
            Elements::Slice(atoms) => Self { atoms, chunks: &[] },
            Elements::Set(set) => Self {
                atoms: &[],
                chunks: set.chunks(),
            },
        }
    }
}

/// Goes through two sets side by side, over what they share.
struct Walk<'a> {
    /// What is left of the chunk that is looked at, and the chunks behind it.
    old: &'a [Atom],
    new: &'a [Atom],
    old_chunks: &'a [Chunk],
    new_chunks: &'a [Chunk],
}

impl<'a> Walk<'a> {
    fn new(old_chunks: &'a [Chunk], new_chunks: &'a [Chunk]) -> Self {
        Self {
            old: &[],
            new: &[],
            old_chunks,
            new_chunks,
        }
    }

    /// The next atom that is in one only, and whether that is the new one.
    fn next_difference(&mut self) -> Option<(&'a Atom, bool)> {
        loop {
            while self.old.is_empty()
                && self.new.is_empty()
                && let ([old, old_rest @ ..], [new, new_rest @ ..]) =
                    (self.old_chunks, self.new_chunks)
                && Arc::ptr_eq(old, new)
            {
                (self.old_chunks, self.new_chunks) = (old_rest, new_rest);
            }
            refill(&mut self.old, &mut self.old_chunks);
            refill(&mut self.new, &mut self.new_chunks);
            let comes = match (self.old.first(), self.new.first()) {
                (None, None) => return None,
                (Some(old), Some(new)) if old == new => {
                    (self.old, self.new) = (&self.old[1..], &self.new[1..]);
                    continue;
                }
                (Some(old), Some(new)) => new < old,
                (old, _) => old.is_none(),
            };
            let side = if comes { &mut self.new } else { &mut self.old };
            let atom = &side[0];
            *side = &side[1..];
            return Some((atom, comes));
        }
    }
}

fn refill<'a>(atoms: &mut &'a [Atom], chunks: &mut &'a [Chunk]) {
    while atoms.is_empty()
        && let [next, rest @ ..] = *chunks
    {
        (*atoms, *chunks) = (next, rest);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn atoms(numbers: impl IntoIterator<Item = i64>) -> Vec<Atom> {
        numbers.into_iter().map(Atom::from).collect()
    }

    fn set(numbers: &BTreeSet<i64>) -> AtomSet {
        AtomSet::from_sorted(atoms(numbers.iter().copied()))
    }

    fn numbers(set: &AtomSet) -> BTreeSet<i64> {
        set.iter().filter_map(Atom::as_integer).collect()
    }

    /// Chunks are as large as they should be, and the set is what its atoms say, however it came about.
    fn check(set: &AtomSet, expected: &BTreeSet<i64>) {
        assert_eq!(&numbers(set), expected);
        assert_eq!(set.len(), expected.len());
        assert_eq!(set.iter().len(), expected.len());
        let chunks = set.chunks();
        assert!(chunks.iter().all(|chunk| chunk.len() <= MAX_CHUNK));
        assert!(chunks.len() == 1 || chunks.iter().all(|chunk| !chunk.is_empty()));
        assert_eq!(
            chunks.len() == 1,
            expected.len() <= MAX_CHUNK,
            "small sets are one piece"
        );
        assert!(
            chunks.len() <= 2 + 8 * expected.len() / CHUNK,
            "chunks are not many"
        );
        let fresh = self::set(expected);
        assert_eq!(*set, fresh);
        assert_eq!(set.cmp(&fresh), Ordering::Equal);
        let hash = |set: &AtomSet| {
            use std::hash::BuildHasher;
            rustc_hash::FxBuildHasher.hash_one(set)
        };
        assert_eq!(hash(set), hash(&fresh));
    }

    fn any_numbers() -> impl Strategy<Value = BTreeSet<i64>> {
        prop_oneof![
            proptest::collection::btree_set(0i64..12, 0..8),
            proptest::collection::btree_set(0i64..2000, 0..700),
            (0i64..3000, 0i64..3000).prop_map(|(from, to)| (from..to).collect()),
        ]
    }

    fn any_way() -> impl Strategy<Value = Combination> {
        prop_oneof![
            Just(Combination::Union),
            Just(Combination::Difference),
            Just(Combination::Toggle)
        ]
    }

    proptest! {
        #[test]
        fn sets_are_combined_as_btree_sets_are(
            first in any_numbers(),
            steps in proptest::collection::vec((any_way(), any_numbers()), 1..8),
        ) {
            let (mut set, mut expected) = (set(&first), first);
            for (way, with) in steps {
                let before = (set.clone(), expected.clone());
                let given = atoms(with.iter().copied());
                set = set.combine(way, Atoms::of_slice(&given).iter());
                expected = match way {
                    Combination::Union => &expected | &with,
                    Combination::Difference => &expected - &with,
                    Combination::Toggle => &expected ^ &with,
                };
                check(&set, &expected);
                prop_assert_eq!(set == before.0, expected == before.1);
                prop_assert_eq!(set.cmp(&before.0), expected.iter().cmp(before.1.iter()));
                let mut found = Vec::new();
                let (old, new) = (Atoms::of_set(&before.0), Atoms::of_set(&set));
                difference(old, new, |atom, comes| found.push((atom.as_integer(), comes)));
                let is = before.1.symmetric_difference(&expected);
                let is: Vec<_> = is.map(|number| (Some(*number), expected.contains(number))).collect();
                prop_assert_eq!(found, is);
                for number in with.iter().take(20) {
                    prop_assert_eq!(set.contains(&Atom::from(*number)), expected.contains(number));
                }
            }
        }
    }

    #[test]
    fn a_set_that_gains_or_loses_a_member_shares_all_but_that_part_with_the_one_before() {
        let mut expected: BTreeSet<i64> = (0..50_000).step_by(2).collect();
        let mut set = set(&expected);
        for number in [1, 24_999, 49_999, 60_000, -3]
            .into_iter()
            .chain(20_001..20_400)
        {
            let before: Vec<Chunk> = set.chunks().to_vec();
            let member = [Atom::from(number)];
            set = set.combine(Combination::Toggle, Atoms::of_slice(&member).iter());
            if !expected.remove(&number) {
                expected.insert(number);
            }
            let is_new = |chunk: &&Chunk| !before.iter().any(|old| Arc::ptr_eq(old, chunk));
            let own = set.chunks().iter().filter(is_new).count();
            assert!(own <= 3, "{own} chunks are not shared");
        }
        check(&set, &expected);
    }
}
