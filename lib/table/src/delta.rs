//! What a transaction does to a database, as data: a list of [`RowChange`]s, enough to do it elsewhere and to undo it.
//!
//! A delta is minimal (each row once, and only rows that really change) and sorted by table and row, so the same
//! transaction on the same database is the same delta everywhere.

use ovsdb::{RowChange, Uuid};

/// A delta does not fit the database: it was made for another state of it. Nothing was applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The row should be there and is not, or the other way round.
    #[error("table {table}: row {uuid} {}", if *.expected {"should exist and does not"} else {"exists and should not"})]
    Row {
        /// The table's name.
        table: String,
        /// The row.
        uuid: Uuid,
        /// Whether the delta takes the row for existing.
        expected: bool,
    },
    /// The row changes twice in one delta.
    #[error("table {table}: row {uuid} changes twice in one transaction")]
    Twice {
        /// The table's name.
        table: String,
        /// The row.
        uuid: Uuid,
    },
    /// The schema has no table with this index.
    #[error("the schema has no table number {0}")]
    Table(usize),
    /// A row has another number of columns than its table.
    #[error("table {table}: row {uuid} has {columns} columns where the schema has {expected}")]
    Columns {
        /// The table's name.
        table: String,
        /// The row.
        uuid: Uuid,
        /// How many columns the row has.
        columns: usize,
        /// How many the table has.
        expected: usize,
    },
    /// A row refers strongly to one that is not there, or one that is referred to would go.
    #[error("table {table}: strong references to row {uuid} do not add up")]
    References {
        /// The name of the table that is referred to.
        table: String,
        /// The row that is referred to.
        uuid: Uuid,
    },
}

/// The same delta backwards.
pub fn reversed(delta: &[RowChange]) -> Vec<RowChange> {
    delta.iter().map(RowChange::reversed).collect()
}
