//! Rows that this client has inserted itself: of some tables the server is asked to tell that such a row has come, and not what is in
//! it.
//!
//! That is for clients which write many rows that nobody else inserts, and own a lock while they do. A row that another one has
//! inserted all the same is told of, too, and reads as a row of defaults: who compares it with what it should be mends or deletes it.

use rustc_hash::FxHashMap;
use uuid::Uuid;

use crate::condition::ColumnRef;
use crate::datum::Datum;
use crate::monitor::TableMonitor;
use crate::operation::Operation;
use crate::update::{RowUpdate, TableUpdates};

/// What was inserted by transactions that are not answered yet.
#[derive(Debug)]
pub(super) struct OwnRows {
    tables: Vec<usize>,
    rows: FxHashMap<(usize, Uuid), Vec<(usize, Datum)>>,
}

impl OwnRows {
    /// None yet, of these tables.
    pub(super) fn of(tables: Vec<usize>) -> Self {
        Self {
            tables,
            rows: FxHashMap::default(),
        }
    }

    /// The monitor of a table, which leaves out what is known here.
    pub(super) fn monitor(&self, monitor: TableMonitor) -> TableMonitor {
        if self.tables.contains(&monitor.table) {
            return monitor.with_bare_inserts();
        }
        monitor
    }

    /// An operation was sent: what it inserts is kept here, or not needed any more.
    pub(super) fn sent(&mut self, operation: &mut Operation) {
        if let Operation::Insert { table, uuid, row } = operation {
            let row = std::mem::take(row);
            if self.tables.contains(table) {
                self.rows.insert((*table, *uuid), row);
            }
        }
    }

    /// The transaction of these operations was answered, and what it did has been told.
    pub(super) fn answered(&mut self, operations: &[Operation]) {
        if self.rows.is_empty() {
            return;
        }
        for operation in operations {
            if let Operation::Insert { table, uuid, .. } = operation {
                self.rows.remove(&(*table, *uuid));
            }
        }
    }

    /// Puts into rows that came what is in them.
    pub(super) fn fill(&mut self, updates: &mut TableUpdates) {
        if self.rows.is_empty() {
            return;
        }
        let of = &self.tables;
        let tables = updates.tables.iter_mut();
        for (table, rows) in tables.filter(|(table, _)| of.contains(table)) {
            for (uuid, update) in rows {
                if let RowUpdate::Insert(columns) = update
                    && columns.is_empty()
                    && let Some(row) = self.rows.remove(&(*table, *uuid))
                {
                    let row = row.into_iter();
                    *columns = row
                        .map(|(column, datum)| (ColumnRef::Column(column), datum))
                        .collect();
                }
            }
        }
    }
}
