//! What a feature declares. The machinery works from these declarations alone; see `docs/adding-a-feature.md`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use ovsdb::Row;
use ovsdb::typed::Table;
use relations::{Declared, Handle, Key, Relation};

use super::fact::Identity;
use super::register::Bits;
use super::stage::Rule;
use super::unit::Unit;
use super::world::World;

/// One of the two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The northbound.
    North,
    /// The southbound.
    South,
}

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

/// A table that is read, and what of it. What nobody declares, and a user has set, becomes a problem.
pub struct Source {
    /// The database.
    pub side: Side,
    /// The table's index in its schema.
    pub table: usize,
    /// The columns, by their indexes.
    pub columns: &'static [usize],
    /// The keys of map columns; a key that ends in `*` stands for all that begin so. A map column with keys here need not be
    /// among the columns.
    pub keys: &'static [(usize, &'static [&'static str])],
}

impl Source {
    /// Columns of a northbound table.
    pub const fn north<T: Table>(columns: &'static [usize]) -> Self {
        Self {
            side: Side::North,
            table: T::INDEX,
            columns,
            keys: &[],
        }
    }

    /// Columns of a southbound table that others write.
    pub const fn south<T: Table>(columns: &'static [usize]) -> Self {
        Self {
            side: Side::South,
            table: T::INDEX,
            columns,
            keys: &[],
        }
    }

    /// With these keys of map columns.
    #[must_use]
    pub const fn keys(mut self, keys: &'static [(usize, &'static [&'static str])]) -> Self {
        self.keys = keys;
        self
    }
}

/// An index over a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Index {
    /// The database.
    pub side: Side,
    /// The table.
    pub table: usize,
    /// The column.
    pub column: usize,
}

impl Index {
    /// Over a column of a northbound table.
    pub const fn north<T: Table>(column: usize) -> Self {
        Self {
            side: Side::North,
            table: T::INDEX,
            column,
        }
    }

    /// Over a column of a southbound table.
    pub const fn south<T: Table>(column: usize) -> Self {
        Self {
            side: Side::South,
            table: T::INDEX,
            column,
        }
    }
}

/// A table whose rows a feature makes, or columns that it writes in rows of others. No column has two owners.
pub struct Owned {
    /// The database.
    pub side: Side,
    /// The table's index in its schema.
    pub table: usize,
    /// The columns that are written, by their indexes.
    pub columns: &'static [usize],
    /// Whether rows come and go as units say; else only the columns of rows that are there are written.
    pub whole: bool,
    /// Whether a row that is there and that nobody wants is kept.
    pub keeps: bool,
    /// Whether it is written only when everything before it is: it tells that the rest has been done.
    pub last: bool,
    /// Keys of map columns that others write and that stay as they are.
    pub foreign: &'static [(usize, &'static [&'static str])],
}

impl Owned {
    /// Rows of a southbound table, all of them.
    pub const fn south<T: Table>(columns: &'static [usize]) -> Self {
        Self {
            side: Side::South,
            table: T::INDEX,
            columns,
            whole: true,
            keeps: false,
            last: false,
            foreign: &[],
        }
    }

    /// Columns of rows of a northbound table.
    pub const fn north_columns<T: Table>(columns: &'static [usize]) -> Self {
        Self {
            side: Side::North,
            table: T::INDEX,
            columns,
            whole: false,
            keeps: true,
            last: false,
            foreign: &[],
        }
    }
}

/// A pool of numbers, and the relation of who has which.
pub struct Pool {
    /// The relation of what is given.
    pub given: &'static Relation<Handle, Identity>,
    /// The table of those who want numbers, the column where one is requested, and what the number is called.
    pub place: (&'static str, &'static str, &'static str),
    /// What becomes of a request that somebody else has.
    pub conflict: Conflict,
    /// The number in the order of declarations.
    id: OnceLock<u16>,
}

/// What becomes of a request for a number that somebody else has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// Another one is given until it is free.
    Another,
    /// It is granted all the same, and told.
    Shared,
}

impl Pool {
    /// A pool, to be put into a `static`.
    pub const fn new(
        given: &'static Relation<Handle, Identity>,
        place: (&'static str, &'static str, &'static str),
        conflict: Conflict,
    ) -> Self {
        Self {
            given,
            place,
            conflict,
            id: OnceLock::new(),
        }
    }

    /// Its number.
    pub fn id(&self) -> u16 {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        *self.id.get_or_init(|| NEXT.fetch_add(1, Ordering::Relaxed))
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
