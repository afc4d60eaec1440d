//! The tables of a database in memory, and everything that is derived from them.
//!
//! Derived are the count of strong references to each row, the reverse of the weak references, and the indexes. All of
//! it is kept up to date change by change: no operation but an unindexed query looks at rows that it does not change.
//!
//! Rows change in two steps. `Database::place` puts a row where it belongs and mends the indexes; a transaction does
//! so while it runs, so that its later operations see what its earlier ones did. `Database::settle` mends what is known
//! about references, once it is known which rows stay changed. Between the two, references may dangle.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as TreeEntry;
use std::sync::Arc;

use ovsdb::schema::{DatabaseSchema, TableSchema};
use ovsdb::{Row, RowChange, Uuid};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::delta::{ApplyError, reversed};
use crate::facts::{RowId, TableFacts, changed_references};
use crate::index::{Growing, Index};
use crate::weak::WeakReferences;

/// What a database refuses to exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Operations in one transaction.
    pub operations: usize,
    /// Rows that the `select` operations of one transaction return together.
    pub selected_rows: usize,
    /// Bytes of the rows that they return, about as many as they have when they are written down. Whoever asks may have
    /// a lower limit, see [`Context`](crate::Context).
    pub selected_bytes: usize,
    /// Steps of one transaction: a step compares a value of a row with one of a condition, or copies an element of a
    /// value that is changed. So nobody else waits for long, whatever somebody asks.
    pub steps: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            operations: ovsdb::operation::MAX_OPERATIONS,
            selected_rows: 10_000_000,
            selected_bytes: 512 << 20,
            steps: 25_000_000,
        }
    }
}

/// A database: a schema and the rows that obey it.
#[derive(Debug)]
pub struct Database {
    schema: Arc<DatabaseSchema>,
    pub(crate) facts: Arc<[TableFacts]>,
    pub(crate) limits: Limits,
    pub(crate) tables: Vec<Table>,
    pub(crate) weak: WeakReferences,
}

/// One table's rows, sorted by identity: so every member of a cluster iterates alike, and undoing restores the order.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) entries: BTreeMap<Uuid, Entry>,
    /// The indexes that the schema calls unique, in its order.
    pub(crate) unique: Vec<Index>,
    /// Indexes that only make queries faster.
    pub(crate) lookups: Vec<Index>,
    /// Such indexes that do not have all rows yet.
    pub(crate) growing: Vec<Growing>,
    /// How many queries scanned the table for the contents of a column, by column.
    pub(crate) scans: Vec<u8>,
}

/// A row and what the engine knows about it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) row: Arc<Row>,
    /// How many strong references other rows have to it.
    pub(crate) strong: u32,
}

impl Database {
    /// An empty database.
    pub fn new(schema: Arc<DatabaseSchema>) -> Self {
        Self::with_limits(schema, Limits::default())
    }

    /// An empty database with other limits.
    pub fn with_limits(schema: Arc<DatabaseSchema>, limits: Limits) -> Self {
        let table = |table: &TableSchema| Table {
            entries: BTreeMap::new(),
            unique: table
                .indexes
                .iter()
                .map(|c| Index::new(c.as_slice()))
                .collect(),
            lookups: Vec::new(),
            growing: Vec::new(),
            scans: vec![0; table.columns.len()],
        };
        Self {
            facts: TableFacts::of_schema(&schema).into(),
            tables: schema.tables.iter().map(table).collect(),
            weak: WeakReferences::default(),
            limits,
            schema,
        }
    }

    /// The schema.
    pub fn schema(&self) -> &Arc<DatabaseSchema> {
        &self.schema
    }

    /// The row of the table with this index, if it exists.
    pub fn row(&self, table: usize, uuid: Uuid) -> Option<&Arc<Row>> {
        Some(&self.tables.get(table)?.entries.get(&uuid)?.row)
    }

    /// The rows of the table with this index, in the order of their identities. An unknown table has none.
    pub fn rows(&self, table: usize) -> impl Iterator<Item = (Uuid, &Arc<Row>)> + Clone {
        let entries = self.tables.get(table).map(|table| &table.entries);
        entries
            .into_iter()
            .flatten()
            .map(|(&uuid, entry)| (uuid, &entry.row))
    }

    /// The rows of the table after the one called `after`, or from the first one on: for reading a table piece by
    /// piece.
    pub fn rows_after(
        &self,
        table: usize,
        after: Option<Uuid>,
    ) -> impl Iterator<Item = (Uuid, &Arc<Row>)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, Excluded);
        let entries = self.tables.get(table).map(|table| &table.entries);
        entries
            .into_iter()
            .flat_map(move |entries| entries.range((start, Unbounded)))
            .map(|(&uuid, entry)| (uuid, &entry.row))
    }

    /// How many rows the table with this index has.
    pub fn row_count(&self, table: usize) -> usize {
        self.tables.get(table).map_or(0, |t| t.entries.len())
    }

    /// Completes changes that only say what rows are now, such as a log's records, with what they were before.
    pub fn delta(
        &self,
        rows: impl IntoIterator<Item = (usize, Uuid, Option<Arc<Row>>)>,
    ) -> Vec<RowChange> {
        rows.into_iter()
            .map(|(table, uuid, new)| RowChange {
                table,
                uuid,
                old: self.row(table, uuid).cloned(),
                new,
            })
            .collect()
    }

    /// Does what a transaction did elsewhere. Constraints are not checked again, but a delta that does not fit is
    /// refused as a whole.
    pub fn apply(&mut self, delta: &[RowChange]) -> Result<(), ApplyError> {
        self.check_fit(delta)?;
        let counts = self.count_strong(delta)?;
        for change in delta {
            self.place((change.table, change.uuid), change.new.clone());
        }
        self.settle(delta, counts);
        Ok(())
    }

    /// Takes back the newest transaction that was executed or applied: the database is as if it had never been.
    pub fn undo(&mut self, delta: &[RowChange]) -> Result<(), ApplyError> {
        self.apply(&reversed(delta))
    }

    /// Fills an empty database with the rows of a file or a snapshot: (table, identity, row). A row may come before
    /// those to which it refers. After an error the database is of no use.
    pub fn load(
        &mut self,
        rows: impl IntoIterator<Item = (usize, Uuid, Arc<Row>)>,
    ) -> Result<(), ApplyError> {
        let mut tables: Vec<Vec<(Uuid, Entry)>> = self.tables.iter().map(|_| Vec::new()).collect();
        for (table, uuid, row) in rows {
            let schema = self.schema.tables.get(table);
            check_columns(schema.ok_or(ApplyError::Table(table))?, uuid, &row)?;
            tables[table].push((uuid, Entry { row, strong: 0 }));
        }
        for (index, mut rows) in tables.into_iter().enumerate() {
            rows.sort_unstable_by_key(|(uuid, _)| *uuid);
            if let Some(pair) = rows.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(ApplyError::Row {
                    table: self.schema.tables[index].name.to_string(),
                    uuid: pair[0].0,
                    expected: false,
                });
            }
            let table = &mut self.tables[index];
            // Made at once of sorted rows, a tree takes little more than half of what it takes
            // when it grows row by row.
            table.entries = rows.into_iter().collect();
            let entries = table.entries.iter();
            let rows = entries.map(|(&uuid, entry)| (uuid, &*entry.row));
            for index in table.unique.iter_mut().chain(&mut table.lookups) {
                index.fill(rows.clone());
            }
        }
        self.count_all()
    }

    /// Finds out what is known about references from the rows alone.
    fn count_all(&mut self) -> Result<(), ApplyError> {
        let mut counts = StrongCounts::default();
        let facts = self.facts.clone();
        for (index, table) in self.tables.iter().enumerate() {
            for (&uuid, entry) in &table.entries {
                let (id, row) = ((index, uuid), Some(&*entry.row));
                changed_references(&facts[index].strong, None, row, &mut |_, target, added| {
                    counts.add(id, target, added);
                });
                self.weak.update(&facts[index].weak, id, None, row);
            }
        }
        for ((table, uuid), count) in counts.0 {
            let entry = self.tables[table].entries.get_mut(&uuid);
            let entry = entry.ok_or_else(|| ApplyError::References {
                table: self.schema.tables[table].name.to_string(),
                uuid,
            })?;
            entry.strong = u32::try_from(count).unwrap_or(u32::MAX);
        }
        Ok(())
    }

    fn check_fit(&self, delta: &[RowChange]) -> Result<(), ApplyError> {
        let mut seen: FxHashSet<RowId> = FxHashSet::default();
        for change in delta {
            let schema = self.schema.tables.get(change.table);
            let schema = schema.ok_or(ApplyError::Table(change.table))?;
            let (table, uuid) = (schema.name.to_string(), change.uuid);
            let expected = change.old.is_some();
            if !seen.insert((change.table, uuid)) {
                return Err(ApplyError::Twice { table, uuid });
            }
            if self.row(change.table, uuid).is_some() != expected {
                return Err(ApplyError::Row {
                    table,
                    uuid,
                    expected,
                });
            }
            if let Some(row) = &change.new {
                check_columns(schema, uuid, row)?;
            }
        }
        Ok(())
    }

    /// By how much the counts of strong references change, and whether they then say that all references are to rows
    /// that exist.
    fn count_strong(&self, delta: &[RowChange]) -> Result<StrongCounts, ApplyError> {
        let mut counts = StrongCounts::default();
        let mut exists: FxHashMap<RowId, bool> = FxHashMap::default();
        for change in delta {
            counts.count(&self.facts[change.table], change);
            exists.insert((change.table, change.uuid), change.new.is_some());
        }
        let stays = |id: &RowId| {
            let before = self.row(id.0, id.1).is_some();
            exists.get(id).copied().unwrap_or(before)
        };
        let gone = exists.iter().filter(|(_, exists)| !**exists);
        for id in counts.0.keys().chain(gone.map(|(id, _)| id)) {
            let count = counts.total(self, *id);
            let fits = if stays(id) { count >= 0 } else { count == 0 };
            if !fits {
                return Err(ApplyError::References {
                    table: self.schema.tables[id.0].name.to_string(),
                    uuid: id.1,
                });
            }
        }
        Ok(counts)
    }

    /// Puts a row where it belongs, or removes it, and mends the indexes. The row's count of references stays. Returns
    /// what was there.
    pub(crate) fn place(&mut self, id: RowId, row: Option<Arc<Row>>) -> Option<Entry> {
        let (table, uuid) = (&mut self.tables[id.0], id.1);
        let new = row.clone();
        // One search in the tree: of a large one, each costs more than all the rest.
        let former = match (table.entries.entry(uuid), row) {
            (TreeEntry::Vacant(place), Some(row)) => {
                place.insert(Entry { row, strong: 0 });
                None
            }
            (TreeEntry::Vacant(_), None) => None,
            (TreeEntry::Occupied(mut place), Some(row)) => {
                let former = place.get().clone();
                place.get_mut().row = row;
                Some(former)
            }
            (TreeEntry::Occupied(place), None) => Some(place.remove()),
        };
        let old = former.as_ref().map(|entry| &*entry.row);
        let filled = table
            .growing
            .iter_mut()
            .filter_map(|growing| growing.covering(uuid));
        for index in table
            .unique
            .iter_mut()
            .chain(&mut table.lookups)
            .chain(filled)
        {
            if let (Some(old), Some(new)) = (old, &new)
                && !index.differ(old, new)
            {
                continue;
            }
            if let Some(old) = old {
                index.remove(uuid, old);
            }
            if let Some(new) = &new {
                index.insert(uuid, new);
            }
        }
        former
    }

    /// Mends what is known about references after the rows of `delta` were placed.
    pub(crate) fn settle(&mut self, delta: &[RowChange], counts: StrongCounts) {
        for (id, difference) in counts.0 {
            if let Some(entry) = self.tables[id.0].entries.get_mut(&id.1) {
                let count = i64::from(entry.strong) + difference;
                entry.strong = u32::try_from(count).expect("counts were checked");
            }
        }
        let facts = self.facts.clone();
        for change in delta {
            self.weak.update(
                &facts[change.table].weak,
                (change.table, change.uuid),
                change.old.as_deref(),
                change.new.as_deref(),
            );
        }
    }
}

fn check_columns(table: &TableSchema, uuid: Uuid, row: &Row) -> Result<(), ApplyError> {
    let (columns, expected) = (row.columns().len(), table.columns.len());
    if columns != expected {
        let table = table.name.to_string();
        return Err(ApplyError::Columns {
            table,
            uuid,
            columns,
            expected,
        });
    }
    Ok(())
}

/// By how much the number of strong references to rows changes.
#[derive(Debug, Default)]
pub(crate) struct StrongCounts(pub(crate) FxHashMap<RowId, i64>);

impl StrongCounts {
    /// Adds what a change of a row does to others.
    fn count(&mut self, facts: &TableFacts, change: &RowChange) {
        let (old, new) = (change.old.as_deref(), change.new.as_deref());
        changed_references(&facts.strong, old, new, &mut |_, target, added| {
            self.add((change.table, change.uuid), target, added);
        });
    }

    /// Counts a reference that was added or went. One of a row to itself keeps nothing alive and does not count.
    pub(crate) fn add(&mut self, source: RowId, target: RowId, added: bool) {
        if source != target {
            *self.0.entry(target).or_default() += if added { 1 } else { -1 };
        }
    }

    /// How many strong references a row has after the change, if `database` counts those before it.
    fn total(&self, database: &Database, id: RowId) -> i64 {
        let before = database.tables[id.0].entries.get(&id.1);
        let before = before.map_or(0, |entry| i64::from(entry.strong));
        before + self.0.get(&id).copied().unwrap_or_default()
    }
}

impl Table {
    /// The index over exactly these columns, if there is one.
    pub(crate) fn index_over(&self, columns: &[usize]) -> Option<&Index> {
        self.unique
            .iter()
            .chain(&self.lookups)
            .find(|index| index.columns() == columns)
    }
}
