//! What a feature declares. The machinery works from these declarations alone; see `docs/adding-a-feature.md`.

use ovsdb::Row;
use relations::{Declared, Key};

pub use super::pool::{Conflict, Pool};
use super::register::Bits;
pub use super::source::{Foreign, Index, Owned, Side, Source};
use super::stage::Rule;
use super::unit::Unit;
use super::world::World;

/// Everything that northd does for one purpose.
pub struct Feature {
    /// Its name in the book and in tests.
    pub name: &'static str,
    /// The columns and keys that it reads.
    pub reads: &'static [Source],
    /// The columns by which it looks rows up.
    pub indexes: &'static [Index],
    /// The tables or columns that it writes.
    pub owns: &'static [&'static Owned],
    /// Its relations.
    pub relations: &'static [&'static dyn Declared],
    /// Its numbers.
    pub pools: &'static [&'static Pool],
    /// Its kinds of units.
    pub kinds: &'static [&'static Kind],
    /// Its kinds of flows.
    pub rules: &'static [Rule],
    /// Its registers and flags.
    pub bits: &'static [Bits],
    /// Rows of others that go with rows of its own.
    pub followers: &'static [&'static Follower],
    /// What a careless operator does with it, for the property test.
    #[cfg(test)]
    pub operator: &'static [crate::testing::Change],
}

impl Feature {
    /// A feature that does nothing yet.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            reads: &[],
            indexes: &[],
            owns: &[],
            relations: &[],
            pools: &[],
            kinds: &[],
            rules: &[],
            bits: &[],
            followers: &[],
            #[cfg(test)]
            operator: &[],
        }
    }
}

/// What a kind of units has a unit for.
#[derive(Clone, Copy)]
pub enum Over {
    /// Each row of a northbound table.
    North(usize),
    /// Each row of a southbound table.
    South(usize),
    /// Each key of a relation or a set; the key begins with the northbound row that the unit is about.
    Keys(&'static dyn Declared),
    /// Each key of a relation or a set that is about no row of its own.
    Shared(&'static dyn Declared),
    /// There is one unit.
    Once,
}

/// A kind of units: what each is about, what it reads and says, and what it does.
pub struct Kind {
    /// Its name in statistics. Kinds of one name over the same run as one unit, each its part.
    pub name: &'static str,
    /// What there is a unit for.
    pub over: Over,
    /// The relations that it reads. Rows and indexes are inputs, declared by the feature.
    pub reads: &'static [&'static dyn Declared],
    /// The relations and sets that it says.
    pub says: &'static [&'static dyn Declared],
    /// The pools that it wants numbers of.
    pub wants: &'static [&'static Pool],
    /// What a unit does.
    pub run: fn(&mut Unit<'_>, Key),
}

/// Rows of others that belong to a row of an owned table without referring to it, as learned addresses belong to a port:
/// they are deleted with it, and when it moves.
pub struct Follower {
    /// The southbound table.
    pub table: usize,
    /// The columns that say to whom a row belongs.
    pub columns: &'static [usize],
    /// To whom a row belongs.
    pub place: fn(&Row) -> (i64, i64),
    /// The owned table.
    pub of: usize,
    /// Which place a row of that table is.
    pub place_of: fn(&World, &Row) -> Option<(i64, i64)>,
    /// What is left by a row of that table, or of a third one, that changes so.
    pub leaves: fn(&World, usize, &Row, &Row) -> Option<Left>,
}

/// Where rows of others are left when the row that they belong to moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// At a place.
    Place((i64, i64)),
    /// At all places that begin so.
    All(i64),
}
