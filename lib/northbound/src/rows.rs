//! [`Rows`]: the copy of a database that a draft reads.

use std::fmt;
use std::sync::Arc;

use ovsdb::schema::DatabaseSchema;
use ovsdb::{Atom, Datum, Row, Uuid};
use table::Database;

/// A copy of a database at one moment: what a [`Draft`](crate::Draft) has under its changes.
///
/// Tables and columns are numbered as in [`Rows::schema`]. Whoever keeps a copy for long has indexes over the columns
/// by which rows are called and over those that say what belongs to what ([`indexes`](crate::indexes) lists both), and answers [`Rows::holding`] and
/// [`Rows::containing`] by them. For a column without an index a draft makes its own, which costs a pass over the table
/// for each draft.
pub trait Rows: fmt::Debug {
    /// The schema by which tables and columns are numbered.
    fn schema(&self) -> &Arc<DatabaseSchema>;

    /// The row, if it is there.
    fn row(&self, table: usize, uuid: Uuid) -> Option<&Arc<Row>>;

    /// The rows of a table, in the order of their UUIDs.
    fn rows(&self, table: usize) -> Box<dyn Iterator<Item = (Uuid, &Arc<Row>)> + '_>;

    /// The rows that hold exactly this in the column; `None` if there is no index over it.
    fn holding(&self, table: usize, column: usize, datum: &Datum) -> Option<Vec<Uuid>>;

    /// The rows that have this among the elements, or keys, of the column; `None` if there is no index over those.
    fn containing(&self, table: usize, column: usize, atom: &Atom) -> Option<Vec<Uuid>>;

    /// The rows that have this pair in the column, a map of texts; `None` if there is no index over the values of the key.
    fn with_pair(
        &self,
        _table: usize,
        _column: usize,
        _key: &str,
        _value: &str,
    ) -> Option<Vec<Uuid>> {
        None
    }

    /// Whether the server has this table of the schema.
    fn has_table(&self, _table: usize) -> bool {
        true
    }

    /// Whether the server has this column of a table that it has.
    fn has_column(&self, _table: usize, _column: usize) -> bool {
        true
    }
}

/// The engine of a server. It knows by index what is unique, by what it was often asked for, and what
/// [`Database::add_lookup`] has been told; it has no indexes over elements.
impl Rows for Database {
    fn schema(&self) -> &Arc<DatabaseSchema> {
        self.schema()
    }

    fn row(&self, table: usize, uuid: Uuid) -> Option<&Arc<Row>> {
        self.row(table, uuid)
    }

    fn rows(&self, table: usize) -> Box<dyn Iterator<Item = (Uuid, &Arc<Row>)> + '_> {
        Box::new(self.rows(table))
    }

    fn holding(&self, table: usize, column: usize, datum: &Datum) -> Option<Vec<Uuid>> {
        let found = self.rows_with(table, column, datum).into_iter();
        Some(found.map(|(uuid, _)| uuid).collect())
    }

    fn containing(&self, _table: usize, _column: usize, _atom: &Atom) -> Option<Vec<Uuid>> {
        None
    }
}
