//! One database, as far as it is known.

use std::collections::VecDeque;
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

/// So many transactions may be under way while there is much to write and nothing to delete: the database has the next one
/// when it has done one.
const MAX_UNDER_WAY: usize = 2;

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

/// A transaction under way.
#[derive(Debug)]
pub(crate) struct Sent {
    /// How many operations it has.
    pub(crate) operations: usize,
    /// Whether one before it was refused when it was under way already: what it refers to may be missing for that.
    pub(crate) follows_refused: bool,
    /// Whether the compiler that wrote it is no more.
    pub(crate) is_forgotten: bool,
}

/// One database: its rows, and what is under way there.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) columns: Columns,
    pub(crate) is_connected: bool,
    pub(crate) is_synced: bool,
    /// The transactions under way, in the order in which they are answered.
    pub(crate) under_way: VecDeque<Sent>,
    /// How many operations a transaction has at most, if all goes well.
    pub(crate) part: usize,
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
            under_way: VecDeque::new(),
            part: MAX_OPERATIONS,
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

    /// Whether a transaction can be made now, perhaps beside another one.
    pub(crate) fn may_write(&self, now: Instant) -> bool {
        let may_try = self.retry_at.is_none_or(|at| at <= now);
        self.is_connected && self.is_synced && self.under_way.len() < MAX_UNDER_WAY && may_try
    }

    /// Whether a transaction is under way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Whether one may be made beside what is under way: not while it is not known how much of it the database takes.
    pub(crate) fn may_overlap(&self) -> bool {
        self.limit == self.part && self.under_way.iter().all(|sent| !sent.is_forgotten)
    }

    /// So many operations are under way now, too; none means that there is no transaction.
    pub(crate) fn sends(&mut self, operations: usize) {
        if operations > 0 {
            self.under_way.push_back(Sent {
                operations,
                follows_refused: false,
                is_forgotten: false,
            });
        }
    }

    /// The oldest transaction under way is answered, and refused or not.
    pub(crate) fn answered(&mut self, is_refused: bool) -> Option<Sent> {
        let sent = self.under_way.pop_front();
        for other in &mut self.under_way {
            other.follows_refused |= is_refused;
        }
        sent
    }

    /// The compiler that has written what is under way is no more.
    pub(crate) fn forget_sender(&mut self) {
        for sent in &mut self.under_way {
            sent.is_forgotten = true;
        }
    }
}
