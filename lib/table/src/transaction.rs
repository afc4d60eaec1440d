//! A transaction that runs: the rows that it touched, as they were before.
//!
//! It works on the database itself, so its operations see each other's results through the same indexes as anyone
//! else's, and remembers the former state of every row that it touches. Ending well, [`Transaction::commit`] checks
//! what only the end can tell; ending badly, [`Transaction::roll_back`] puts the former rows back.

use std::sync::Arc;

use ovsdb::{Row, RowChange};
use rustc_hash::FxHashMap;

use crate::database::{Database, Entry};
use crate::facts::RowId;

/// A transaction on a database.
#[derive(Debug)]
pub(crate) struct Transaction<'d> {
    pub(crate) database: &'d mut Database,
    /// What each touched row was before; `None` if it did not exist.
    before: FxHashMap<RowId, Option<Entry>>,
    /// How many times a row was put.
    puts: u64,
}

impl<'d> Transaction<'d> {
    /// Begins a transaction.
    pub(crate) fn new(database: &'d mut Database) -> Self {
        Self {
            database,
            before: FxHashMap::default(),
            puts: 0,
        }
    }

    /// The row as the transaction sees it.
    pub(crate) fn row(&self, id: RowId) -> Option<&Arc<Row>> {
        self.database.row(id.0, id.1)
    }

    /// Whether the row exists, or existed before the transaction, which deleted it.
    pub(crate) fn is_taken(&self, id: RowId) -> bool {
        matches!(self.before.get(&id), Some(Some(_))) || self.row(id).is_some()
    }

    /// Grows with every row that is put.
    pub(crate) fn puts(&self) -> u64 {
        self.puts
    }

    /// Whether the row exists only since this transaction.
    pub(crate) fn inserted(&self, id: RowId) -> bool {
        matches!(self.before.get(&id), Some(None))
    }

    /// Whether the row has been touched at all.
    pub(crate) fn touched(&self, id: RowId) -> bool {
        self.before.contains_key(&id)
    }

    /// How many strong references there were to the row before the transaction.
    pub(crate) fn strong_before(&self, id: RowId) -> i64 {
        let entry = match self.before.get(&id) {
            Some(before) => before.as_ref(),
            None => self.database.tables[id.0].entries.get(&id.1),
        };
        entry.map_or(0, |entry| i64::from(entry.strong))
    }

    /// The row as it was before the transaction, if it existed.
    pub(crate) fn row_before(&self, id: RowId) -> Option<&Arc<Row>> {
        match self.before.get(&id) {
            Some(before) => before.as_ref().map(|entry| &entry.row),
            None => self.row(id),
        }
    }

    /// The rows that the operations changed, as they were and as they are, sorted. Those that came and went again
    /// within the transaction are not among them.
    pub(crate) fn touched_rows(&self) -> Vec<RowChange> {
        let change = |(&(table, uuid), before): (&RowId, &Option<Entry>)| RowChange {
            table,
            uuid,
            old: before.as_ref().map(|entry| entry.row.clone()),
            new: self.row((table, uuid)).cloned(),
        };
        let mut changes: Vec<RowChange> = self.before.iter().map(change).collect();
        changes.retain(|change| change.old != change.new);
        changes.sort_unstable_by_key(|change| (change.table, change.uuid));
        changes
    }

    /// Makes the row what is given, or nothing.
    pub(crate) fn put(&mut self, id: RowId, row: Option<Arc<Row>>) {
        let former = self.database.place(id, row);
        self.before.entry(id).or_insert(former);
        self.puts += 1;
    }

    /// The rows that really differ from what they were, sorted. Those that do not are forgotten.
    pub(crate) fn changes(&mut self) -> Vec<RowChange> {
        let database = &mut *self.database;
        let mut changes = Vec::with_capacity(self.before.len());
        self.before.retain(|&(table, uuid), before| {
            let old = before.as_ref().map(|entry| entry.row.clone());
            let new = database.row(table, uuid).cloned();
            if old == new {
                // An equal row takes the place of the former one, so that only one of them stays in memory.
                if let (Some(entry), Some(old)) =
                    (database.tables[table].entries.get_mut(&uuid), old)
                {
                    entry.row = old;
                }
                return false;
            }
            changes.push(RowChange {
                table,
                uuid,
                old,
                new,
            });
            true
        });
        changes.sort_unstable_by_key(|change| (change.table, change.uuid));
        changes
    }

    /// Ends the transaction as if it had never been.
    pub(crate) fn roll_back(self) {
        for (id, before) in self.before {
            let (row, strong) = before.map_or((None, 0), |entry| (Some(entry.row), entry.strong));
            self.database.place(id, row);
            if let Some(entry) = self.database.tables[id.0].entries.get_mut(&id.1) {
                entry.strong = strong;
            }
        }
    }
}
