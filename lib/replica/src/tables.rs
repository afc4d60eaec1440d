//! Rows in memory, by table and UUID.

use std::sync::Arc;

use ovsdb::schema::DatabaseSchema;
use ovsdb::{Datum, Row, RowChange, Table, Uuid};
use rustc_hash::{FxHashMap, FxHashSet};

/// All rows of a database, or of what is replicated of it.
#[derive(Clone, Debug)]
pub struct Tables {
    schema: Arc<DatabaseSchema>,
    tables: Vec<TableRows>,
}

/// The rows of one table, with indexes over some of its columns.
#[derive(Clone, Debug, Default)]
pub struct TableRows {
    rows: FxHashMap<Uuid, Arc<Row>>,
    indexes: Vec<Index>,
}

/// Rows by the values of some columns.
#[derive(Clone, Debug)]
struct Index {
    columns: Vec<usize>,
    rows: FxHashMap<Box<[Datum]>, FxHashSet<Uuid>>,
}

impl Tables {
    /// No rows, and an index for every index of the schema.
    pub fn new(schema: &Arc<DatabaseSchema>) -> Self {
        let mut tables = Self::without_indexes(schema.clone());
        for (table, schema) in schema.tables.iter().enumerate() {
            for columns in &schema.indexes {
                tables.add_index(table, columns);
            }
        }
        tables
    }

    /// No rows and no indexes.
    pub fn without_indexes(schema: Arc<DatabaseSchema>) -> Self {
        Self {
            tables: schema.tables.iter().map(|_| TableRows::default()).collect(),
            schema,
        }
    }

    /// The schema.
    pub fn schema(&self) -> &Arc<DatabaseSchema> {
        &self.schema
    }

    /// Keeps an index over these columns of a table from now on, for [`TableRows::lookup`].
    ///
    /// # Panics
    /// If the schema has no such table or columns.
    pub fn add_index(&mut self, table: usize, columns: &[usize]) {
        let table = &mut self.tables[table];
        if table.indexes.iter().any(|index| index.columns == columns) {
            return;
        }
        let mut index = Index {
            columns: columns.to_vec(),
            rows: FxHashMap::default(),
        };
        for (uuid, row) in &table.rows {
            index.insert(*uuid, row);
        }
        table.indexes.push(index);
    }

    /// Makes a change. What `change.old` says does not matter: the row becomes `change.new`.
    ///
    /// # Panics
    /// If the schema has no such table.
    pub fn apply(&mut self, change: &RowChange) {
        self.tables[change.table].set(change.uuid, change.new.clone());
    }

    /// The rows of a table.
    ///
    /// # Panics
    /// If the schema has no such table.
    pub fn table(&self, table: usize) -> &TableRows {
        &self.tables[table]
    }

    /// The row of a table with this UUID.
    pub fn get(&self, table: usize, uuid: Uuid) -> Option<&Arc<Row>> {
        self.tables.get(table)?.rows.get(&uuid)
    }

    /// The row of table `T` with this UUID, as its struct.
    pub fn get_as<T: Table>(&self, uuid: Uuid) -> Option<T> {
        self.get(T::INDEX, uuid).map(|row| T::from_row(uuid, row))
    }

    /// All rows of table `T`, as its structs, in no particular order.
    pub fn iter_as<T: Table>(&self) -> impl Iterator<Item = T> + '_ {
        self.table(T::INDEX)
            .iter()
            .map(|(uuid, row)| T::from_row(uuid, row))
    }

    /// How many rows there are in all tables.
    pub fn len(&self) -> usize {
        self.tables.iter().map(TableRows::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(TableRows::is_empty)
    }
}

impl TableRows {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row with this UUID.
    pub fn get(&self, uuid: Uuid) -> Option<&Arc<Row>> {
        self.rows.get(&uuid)
    }

    /// All rows, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, &Arc<Row>)> + '_ {
        self.rows.iter().map(|(uuid, row)| (*uuid, row))
    }

    /// The rows whose columns have these values, in no particular order: through an index over just these columns, in
    /// this order, if there is one, else by looking at every row.
    pub fn lookup<'a>(
        &'a self,
        columns: &'a [usize],
        values: &'a [Datum],
    ) -> Box<dyn Iterator<Item = (Uuid, &'a Arc<Row>)> + 'a> {
        match self.indexes.iter().find(|index| index.columns == columns) {
            Some(index) => Box::new(
                index
                    .rows
                    .get(values)
                    .into_iter()
                    .flatten()
                    .filter_map(|uuid| self.rows.get(uuid).map(|row| (*uuid, row))),
            ),
            None => Box::new(self.iter().filter(move |(_, row)| {
                let mut pairs = columns.iter().zip(values);
                pairs.all(|(column, value)| row.get(*column) == value)
            })),
        }
    }

    /// Puts `row` in place of what was there, and gives that.
    pub(crate) fn set(&mut self, uuid: Uuid, row: Option<Arc<Row>>) -> Option<Arc<Row>> {
        if !self.indexes.is_empty() {
            let old = self.rows.get(&uuid);
            for index in &mut self.indexes {
                let same = match (old, &row) {
                    (Some(old), Some(new)) => {
                        index.columns.iter().all(|&c| old.get(c) == new.get(c))
                    }
                    _ => false,
                };
                if same {
                    continue;
                }
                if let Some(old) = old {
                    index.remove(uuid, old);
                }
                if let Some(new) = &row {
                    index.insert(uuid, new);
                }
            }
        }
        match row {
            Some(row) => self.rows.insert(uuid, row),
            None => self.rows.remove(&uuid),
        }
    }
}

impl Index {
    fn key(&self, row: &Row) -> Box<[Datum]> {
        self.columns.iter().map(|&c| row.get(c).clone()).collect()
    }

    fn insert(&mut self, uuid: Uuid, row: &Row) {
        self.rows.entry(self.key(row)).or_default().insert(uuid);
    }

    fn remove(&mut self, uuid: Uuid, row: &Row) {
        let key = self.key(row);
        if let Some(rows) = self.rows.get_mut(&key) {
            rows.remove(&uuid);
            if rows.is_empty() {
                self.rows.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn indexes_follow_the_rows() {
        let json = json!({"name": "T", "tables": {"A": {"indexes": [["name"]], "columns": {
            "level": {"type": "integer"}, "name": {"type": "string"}}}}});
        let schema = Arc::new(DatabaseSchema::from_json(&json).unwrap());
        let mut tables = Tables::new(&schema);
        let set = |tables: &mut Tables, id: u128, new: Option<(i64, &str)>| {
            let new = new.map(|(level, name)| Arc::new(Row::new(vec![level.into(), name.into()])));
            let uuid = Uuid::from_u128(id);
            tables.apply(&RowChange {
                table: 0,
                uuid,
                old: None,
                new,
            });
        };
        let found = |tables: &Tables, column: usize, value: Datum| {
            let values = [value];
            let mut ids: Vec<u128> = tables
                .table(0)
                .lookup(&[column], &values)
                .map(|(uuid, _)| uuid.as_u128())
                .collect();
            ids.sort_unstable();
            ids
        };
        set(&mut tables, 1, Some((5, "a")));
        set(&mut tables, 2, Some((5, "b")));
        assert_eq!(found(&tables, 1, "a".into()), [1]);
        assert_eq!(found(&tables, 0, 5.into()), [1, 2]);
        tables.add_index(0, &[0]);
        assert_eq!(found(&tables, 0, 5.into()), [1, 2]);
        set(&mut tables, 1, Some((6, "a")));
        assert_eq!(found(&tables, 0, 5.into()), [2]);
        set(&mut tables, 1, None);
        assert_eq!(found(&tables, 1, "a".into()), [0; 0]);
        assert_eq!(tables.len(), 1);
        assert_eq!(tables.table(0).indexes[0].rows.len(), 1);
    }
}
