//! What a feature reads and writes of the two databases.

use ovsdb::Datum;
use ovsdb::typed::Table;

/// One of the two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The northbound.
    North,
    /// The southbound.
    South,
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
    /// Whether no unit ever looks at these columns in a row: when nothing else of it changes, nobody has to run again.
    pub is_unread: bool,
    /// Keys of map columns that others write and that stay as they are.
    pub foreign: &'static [Foreign],
    /// Map columns that are others', and our keys there: those that are said are added where they are missing, and nothing else is
    /// changed.
    pub keys: &'static [(usize, &'static [&'static str])],
    /// Of those keys, the ones whose values are ours whatever others write there.
    pub sure: &'static [&'static str],
    /// Columns that are others' from then on, with what they have until others write there. They are never empty.
    pub initial: &'static [(usize, Datum)],
}

/// Keys of a map column that others write.
#[derive(Debug)]
pub struct Foreign {
    /// The column.
    pub column: usize,
    /// The keys.
    pub keys: &'static [&'static str],
    /// They go when the row is to have nothing in this column.
    pub lives_by: Option<usize>,
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
            is_unread: false,
            foreign: &[],
            keys: &[],
            sure: &[],
            initial: &[],
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
            is_unread: false,
            foreign: &[],
            keys: &[],
            sure: &[],
            initial: &[],
        }
    }
}
