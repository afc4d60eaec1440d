//! The state of the database at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ovsdb::schema::DatabaseSchema;
use ovsdb::{Row, RowChange, Uuid};

/// The rows of some tables of a database, in our own schema. Tables that were not asked for are empty.
#[derive(Clone, Debug)]
pub struct Snapshot {
    schema: Arc<DatabaseSchema>,
    tables: Vec<BTreeMap<Uuid, Arc<Row>>>,
    missing: BTreeSet<String>,
}

impl Snapshot {
    /// No rows.
    pub fn empty(schema: Arc<DatabaseSchema>) -> Self {
        let tables = vec![BTreeMap::new(); schema.tables.len()];
        Self {
            schema,
            tables,
            missing: BTreeSet::new(),
        }
    }

    /// Takes note of what the server lacks of our schema: names of tables, and `TABLE.COLUMN`.
    pub fn set_missing(&mut self, names: impl IntoIterator<Item = String>) {
        self.missing = names.into_iter().collect();
    }

    /// Whether the server has this table.
    pub fn has_table(&self, table: &str) -> bool {
        !self.missing.contains(table)
    }

    /// Whether the server has this column of a table that it has.
    pub fn has_column(&self, table: &str, column: &str) -> bool {
        self.missing.is_empty() || !self.missing.contains(&format!("{table}.{column}"))
    }

    /// The schema by which tables and columns are numbered.
    pub fn schema(&self) -> &Arc<DatabaseSchema> {
        &self.schema
    }

    /// The rows of the table with this index, in the order of their UUIDs.
    ///
    /// # Panics
    /// If the schema has no such table.
    pub fn table(&self, table: usize) -> &BTreeMap<Uuid, Arc<Row>> {
        &self.tables[table]
    }

    /// Takes over a change that the server told of.
    ///
    /// # Panics
    /// If the schema has no such table.
    pub fn apply(&mut self, change: RowChange) {
        let rows = &mut self.tables[change.table];
        match change.new {
            Some(row) => {
                rows.insert(change.uuid, row);
            }
            None => {
                rows.remove(&change.uuid);
            }
        }
    }
}
