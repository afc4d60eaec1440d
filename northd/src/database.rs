//! One database, as far as it is known.

use std::sync::Arc;

use nb_db::tables::{NbGlobal, WeftProblem};
use ovsdb::schema::DatabaseSchema;
use ovsdb::typed::Table;
use ovsdb::{Row, RowChange};
use rustc_hash::{FxHashMap, FxHashSet};
use sb_db::tables::{ChassisPrivate, SbGlobal};
use uuid::Uuid;

use crate::output::northbound::Reached;

/// Operations in one transaction, unless something has to stay together.
pub const MAX_OPERATIONS: usize = 2000;

/// Operations in one transaction that replaces something.
pub const MAX_REPLACEMENT: usize = 200_000;

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The northbound.
    North,
    /// The southbound.
    South,
}

/// Which columns a server has, in the terms of our schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    missing: FxHashSet<(usize, usize)>,
    missing_values: FxHashSet<String>,
}

impl Columns {
    /// All of them.
    pub fn all() -> Self {
        Self::default()
    }

    /// All of `schema`'s but these: tables by their names, columns as `TABLE.COLUMN`, values as `TABLE.COLUMN=VALUE`.
    pub fn without(
        schema: &DatabaseSchema,
        tables: &[String],
        columns: &[String],
        values: &[String],
    ) -> Self {
        let mut missing = FxHashSet::default();
        for (index, table) in schema.tables.iter().enumerate() {
            let is_missing = tables.iter().any(|name| **name == *table.name);
            for (column, schema) in table.columns.iter().enumerate() {
                if is_missing || columns.contains(&format!("{}.{}", table.name, schema.name)) {
                    missing.insert((index, column));
                }
            }
        }
        Self {
            missing,
            missing_values: values.iter().cloned().collect(),
        }
    }

    /// Whether the server has this column of this table.
    pub fn has(&self, table: usize, column: usize) -> bool {
        !self.missing.contains(&(table, column))
    }

    /// Whether the server knows this value of an enumeration, given as `TABLE.COLUMN=VALUE`.
    pub fn has_value(&self, value: &str) -> bool {
        !self.missing_values.contains(value)
    }
}

/// One database: its rows, and what is under way there.
#[derive(Debug)]
pub(crate) struct Database {
    global_table: usize,
    pub(crate) columns: Columns,
    pub(crate) is_connected: bool,
    pub(crate) is_synced: bool,
    /// Whether a transaction is under way, and of how many operations it is or was.
    pub(crate) is_busy: bool,
    pub(crate) sent: usize,
    /// How many operations the next transaction may have, and when it may be at the earliest.
    pub(crate) limit: usize,
    pub(crate) retry_at_ms: i64,
    /// The rows; but while a compiler is at work, not those that it keeps itself.
    pub(crate) rows: FxHashMap<(usize, Uuid), Arc<Row>>,
    /// The only row of the global table.
    global: Option<Uuid>,
    /// How far each chassis has come.
    pub(crate) chassis: FxHashMap<Uuid, Reached>,
    /// The rows of the table of problems.
    pub(crate) problems: FxHashSet<Uuid>,
}

impl Database {
    /// A database that was not reached yet.
    pub(crate) fn new(side: Side) -> Self {
        Self {
            global_table: match side {
                Side::North => NbGlobal::INDEX,
                Side::South => SbGlobal::INDEX,
            },
            columns: Columns::all(),
            is_connected: false,
            is_synced: false,
            is_busy: false,
            sent: 0,
            limit: MAX_OPERATIONS,
            retry_at_ms: 0,
            rows: FxHashMap::default(),
            global: None,
            chassis: FxHashMap::default(),
            problems: FxHashSet::default(),
        }
    }

    /// Takes up a change of a row.
    pub(crate) fn change(&mut self, change: &RowChange) {
        match &change.new {
            Some(row) => {
                self.rows
                    .insert((change.table, change.uuid), Arc::clone(row));
                if change.table == self.global_table {
                    self.global = Some(change.uuid);
                }
            }
            None => {
                self.rows.remove(&(change.table, change.uuid));
                if self.global == Some(change.uuid) {
                    self.global = None;
                }
            }
        }
    }

    /// Takes up a change of a chassis' report. For the southbound.
    pub(crate) fn chassis_change(&mut self, change: &RowChange) {
        if change.table != ChassisPrivate::INDEX {
            return;
        }
        let column = ChassisPrivate::COLUMN;
        match &change.new {
            Some(row) => {
                let reached = Reached {
                    cfg: column.nb_cfg.get(row),
                    at_ms: column.nb_cfg_timestamp.get(row),
                };
                self.chassis.insert(change.uuid, reached);
            }
            None => {
                self.chassis.remove(&change.uuid);
            }
        }
    }

    /// Takes up a change of the table of problems. For the northbound.
    pub(crate) fn problem_change(&mut self, change: &RowChange) {
        if change.table != WeftProblem::INDEX {
            return;
        }
        if change.new.is_some() {
            self.problems.insert(change.uuid);
        } else {
            self.problems.remove(&change.uuid);
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

    /// The only row of the global table.
    pub(crate) fn global_row(&self) -> Option<(Uuid, &Arc<Row>)> {
        let uuid = self.global?;
        Some((uuid, self.rows.get(&(self.global_table, uuid))?))
    }

    /// Whether a transaction can be made now.
    pub(crate) fn may_write(&self, now_ms: i64) -> bool {
        self.is_connected && self.is_synced && !self.is_busy && self.retry_at_ms <= now_ms
    }

    /// So many operations are under way now; none means that there is no transaction.
    pub(crate) fn sends(&mut self, operations: usize) {
        self.is_busy = operations > 0;
        self.sent = operations;
    }
}
