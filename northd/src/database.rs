//! One database, as far as it is known.

use std::sync::Arc;
use std::time::Instant;

use ovsdb::{Row, RowChange};
use rustc_hash::{FxHashMap, FxHashSet};
use uuid::Uuid;

/// Operations in one transaction, unless something has to stay together.
pub const MAX_OPERATIONS: usize = 2000;

/// Operations in one transaction that replaces something: as many as surely fit into one message (64 MiB), with a kilobyte
/// for each.
pub const MAX_REPLACEMENT: usize = 60_000;

/// What a server has of our schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    missing: Arc<FxHashSet<String>>,
}

impl Columns {
    /// All of it.
    pub fn all() -> Self {
        Self::default()
    }

    /// All but these: tables by their names, columns as `TABLE.COLUMN`, values of enumerations as `TABLE.COLUMN=VALUE`.
    pub fn without(tables: &[String], columns: &[String], values: &[String]) -> Self {
        let missing = [tables, columns, values].into_iter().flatten();
        Self {
            missing: Arc::new(missing.cloned().collect()),
        }
    }

    /// All that is missing, in order, in the notation of [`Columns::without`].
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        let mut missing: Vec<&str> = self.missing.iter().map(String::as_str).collect();
        missing.sort_unstable();
        missing.into_iter()
    }

    /// Whether the server lacks a table, a column or a value, in the notation of [`Columns::without`].
    pub fn lacks(&self, what: &str) -> bool {
        self.missing.contains(what)
    }
}

/// One database: its rows, and what is under way there.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) columns: Columns,
    pub(crate) is_connected: bool,
    pub(crate) is_synced: bool,
    /// Whether a transaction is under way, and of how many operations it is or was.
    pub(crate) is_busy: bool,
    pub(crate) sent: usize,
    /// How many operations the next transaction may have, and when it may be at the earliest.
    pub(crate) limit: usize,
    pub(crate) retry_at: Option<Instant>,
    /// The rows; but while a compiler is at work, not those that it keeps itself.
    pub(crate) rows: FxHashMap<(usize, Uuid), Arc<Row>>,
}

impl Database {
    /// A database that was not reached yet.
    pub(crate) fn new() -> Self {
        Self {
            columns: Columns::all(),
            is_connected: false,
            is_synced: false,
            is_busy: false,
            sent: 0,
            limit: MAX_OPERATIONS,
            retry_at: None,
            rows: FxHashMap::default(),
        }
    }

    /// Takes up a change of a row.
    pub(crate) fn change(&mut self, change: &RowChange) {
        let key = (change.table, change.uuid);
        match &change.new {
            Some(row) => drop(self.rows.insert(key, Arc::clone(row))),
            None => drop(self.rows.remove(&key)),
        }
    }

    /// Every row, as news.
    pub(crate) fn all_rows(&self) -> impl Iterator<Item = RowChange> + '_ {
        self.rows.iter().map(|((table, uuid), row)| RowChange {
            table: *table,
            uuid: *uuid,
            old: None,
            new: Some(Arc::clone(row)),
        })
    }

    /// A row that is kept here, as news.
    pub(crate) fn row(&self, (table, uuid): (usize, Uuid)) -> Option<RowChange> {
        let row = self.rows.get(&(table, uuid))?;
        Some(RowChange {
            table,
            uuid,
            old: None,
            new: Some(Arc::clone(row)),
        })
    }

    /// Whether a transaction can be made now.
    pub(crate) fn may_write(&self, now: Instant) -> bool {
        let may_try = self.retry_at.is_none_or(|at| at <= now);
        self.is_connected && self.is_synced && !self.is_busy && may_try
    }

    /// So many operations are under way now; none means that there is no transaction.
    pub(crate) fn sends(&mut self, operations: usize) {
        self.is_busy = operations > 0;
        self.sent = operations;
    }
}
