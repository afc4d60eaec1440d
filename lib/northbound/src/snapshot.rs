//! [`Snapshot`]: rows in memory, with indexes, kept up to date change by change.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use ovsdb::schema::DatabaseSchema;
use ovsdb::{Atom, Datum, Row, RowChange, Uuid};

use crate::rows::Rows;

/// The rows of some tables of a database, in our own schema. Tables that were not asked for are empty.
#[derive(Clone, Debug)]
pub struct Snapshot {
    schema: Arc<DatabaseSchema>,
    tables: Vec<BTreeMap<Uuid, Arc<Row>>>,
    /// What the server lacks: tables, and columns of tables.
    missing: BTreeSet<(usize, Option<usize>)>,
    /// By table and column.
    by_contents: HashMap<(usize, usize), Index<Datum>>,
    by_element: HashMap<(usize, usize), Index<Atom>>,
    by_pair: Vec<PairIndex>,
}

/// Rows by the value of a key in a column that holds a map of texts.
#[derive(Clone, Debug)]
struct PairIndex {
    table: usize,
    column: usize,
    key: &'static str,
    rows: Index<Arc<str>>,
}

impl PairIndex {
    fn value(&self, row: &Row) -> Option<Arc<str>> {
        Some(row.get(self.column).get_str(self.key)?.into())
    }
}

/// Rows by something that they hold.
type Index<K> = HashMap<K, BTreeSet<Uuid>>;

impl Snapshot {
    /// No rows and no indexes: for a copy that serves one draft.
    pub fn empty(schema: Arc<DatabaseSchema>) -> Self {
        let tables = vec![BTreeMap::new(); schema.tables.len()];
        Self {
            schema,
            tables,
            missing: BTreeSet::new(),
            by_contents: HashMap::new(),
            by_element: HashMap::new(),
            by_pair: Vec::new(),
        }
    }

    /// Takes note of what the server lacks of our schema: names of tables, and `TABLE.COLUMN`. Other names mean nothing.
    pub fn set_missing(&mut self, names: impl IntoIterator<Item = String>) {
        let place = |name: String| {
            let (table, column) = match name.split_once('.') {
                Some((table, column)) => (table, Some(column)),
                None => (name.as_str(), None),
            };
            let table = self.schema.table_index(table)?;
            match column {
                None => Some((table, None)),
                Some(column) => {
                    let column = self.schema.tables[table].column_index(column)?;
                    Some((table, Some(column)))
                }
            }
        };
        self.missing = names.into_iter().filter_map(place).collect();
    }

    /// Keeps an index of the rows by what they hold in a column, for [`Rows::holding`].
    ///
    /// # Panics
    /// If the schema has no such table or column.
    pub fn index_contents(&mut self, table: usize, column: usize) {
        let mut index = Index::new();
        for (uuid, row) in &self.tables[table] {
            add(&mut index, row.get(column).clone(), *uuid);
        }
        self.by_contents.insert((table, column), index);
    }

    /// Keeps an index of the rows by the elements of a column, for [`Rows::containing`].
    ///
    /// # Panics
    /// If the schema has no such table or column.
    pub fn index_elements(&mut self, table: usize, column: usize) {
        let mut index = Index::new();
        for (uuid, row) in &self.tables[table] {
            for atom in keys(row.get(column)) {
                add(&mut index, atom.clone(), *uuid);
            }
        }
        self.by_element.insert((table, column), index);
    }

    /// Keeps an index of the rows by the value of a key in a column that holds a map of texts, for [`Rows::with_pair`].
    ///
    /// # Panics
    /// If the schema has no such table or column.
    pub fn index_pairs(&mut self, table: usize, column: usize, key: &'static str) {
        let mut index = PairIndex {
            table,
            column,
            key,
            rows: Index::new(),
        };
        for (uuid, row) in &self.tables[table] {
            if let Some(value) = index.value(row) {
                add(&mut index.rows, value, *uuid);
            }
        }
        self.by_pair.push(index);
    }

    /// The rows of the table with this index, in the order of their UUIDs.
    ///
    /// # Panics
    /// If the schema has no such table.
    pub fn table(&self, table: usize) -> &BTreeMap<Uuid, Arc<Row>> {
        &self.tables[table]
    }

    /// Takes over a change that the server told of. What `change.old` says does not matter.
    ///
    /// # Panics
    /// If the schema has no such table.
    pub fn apply(&mut self, change: RowChange) {
        let RowChange {
            table, uuid, new, ..
        } = change;
        let old = match &new {
            Some(row) => self.tables[table].insert(uuid, Arc::clone(row)),
            None => self.tables[table].remove(&uuid),
        };
        for ((_, column), index) in of_table(&mut self.by_contents, table) {
            let of = |row: &Arc<Row>| row.get(*column).clone();
            let (before, after) = (old.as_ref().map(of), new.as_ref().map(of));
            if before != after {
                before.iter().for_each(|datum| remove(index, datum, uuid));
                after.into_iter().for_each(|datum| add(index, datum, uuid));
            }
        }
        for ((_, column), index) in of_table(&mut self.by_element, table) {
            let of =
                |row: &'_ Arc<Row>| -> BTreeSet<Atom> { keys(row.get(*column)).cloned().collect() };
            let before = old.as_ref().map(of).unwrap_or_default();
            let after = new.as_ref().map(of).unwrap_or_default();
            for atom in before.difference(&after) {
                remove(index, atom, uuid);
            }
            for atom in after.difference(&before) {
                add(index, atom.clone(), uuid);
            }
        }
        for index in self.by_pair.iter_mut().filter(|index| index.table == table) {
            let before = old.as_ref().and_then(|row| index.value(row));
            let after = new.as_ref().and_then(|row| index.value(row));
            if before != after {
                before
                    .iter()
                    .for_each(|value| remove(&mut index.rows, value, uuid));
                after
                    .into_iter()
                    .for_each(|value| add(&mut index.rows, value, uuid));
            }
        }
    }
}

fn of_table<K>(
    indexes: &mut HashMap<(usize, usize), Index<K>>,
    table: usize,
) -> impl Iterator<Item = (&(usize, usize), &mut Index<K>)> {
    indexes.iter_mut().filter(move |((of, _), _)| *of == table)
}

fn add<K: Hash + Eq>(index: &mut Index<K>, key: K, uuid: Uuid) {
    index.entry(key).or_default().insert(uuid);
}

fn remove<K: Hash + Eq>(index: &mut Index<K>, key: &K, uuid: Uuid) {
    if let Some(uuids) = index.get_mut(key) {
        uuids.remove(&uuid);
        if uuids.is_empty() {
            index.remove(key);
        }
    }
}

/// The elements of a set, or the keys of a map.
fn keys(datum: &Datum) -> impl Iterator<Item = &Atom> {
    let pairs = datum.pairs().iter().map(|(key, _)| key);
    datum.atoms().iter().chain(pairs)
}

impl Rows for Snapshot {
    fn schema(&self) -> &Arc<DatabaseSchema> {
        &self.schema
    }

    fn row(&self, table: usize, uuid: Uuid) -> Option<&Arc<Row>> {
        self.tables[table].get(&uuid)
    }

    fn rows(&self, table: usize) -> Box<dyn Iterator<Item = (Uuid, &Arc<Row>)> + '_> {
        Box::new(self.tables[table].iter().map(|(uuid, row)| (*uuid, row)))
    }

    fn holding(&self, table: usize, column: usize, datum: &Datum) -> Option<Vec<Uuid>> {
        let index = self.by_contents.get(&(table, column))?;
        let found = index.get(datum).into_iter().flatten();
        Some(found.copied().collect())
    }

    fn containing(&self, table: usize, column: usize, atom: &Atom) -> Option<Vec<Uuid>> {
        let index = self.by_element.get(&(table, column))?;
        let found = index.get(atom).into_iter().flatten();
        Some(found.copied().collect())
    }

    fn with_pair(&self, table: usize, column: usize, key: &str, value: &str) -> Option<Vec<Uuid>> {
        let mut indexes = self.by_pair.iter();
        let index =
            indexes.find(|index| (index.table, index.column, index.key) == (table, column, key))?;
        let found = index.rows.get(value).into_iter().flatten();
        Some(found.copied().collect())
    }

    fn has_table(&self, table: usize) -> bool {
        !self.missing.contains(&(table, None))
    }

    fn has_column(&self, table: usize, column: usize) -> bool {
        !self.missing.contains(&(table, Some(column)))
    }
}
