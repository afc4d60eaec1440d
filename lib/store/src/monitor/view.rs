//! What a monitor shows: which columns of which rows of which tables, and which kinds of change.
//!
//! The columns and the condition of a table are kept apart, because what is said about a row
//! depends on the columns only: monitors with equal columns and different conditions share it.

use std::sync::Arc;

use ovsdb::monitor::{MonitorSpec, TableMonitor};
use ovsdb::{ColumnRef, Condition, RowChange};

/// The columns and rows of some tables, each table once.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct View {
    /// The columns, under a condition that always holds, and the condition that counts.
    pub tables: Vec<(Arc<TableMonitor>, Condition)>,
}

impl From<MonitorSpec> for View {
    fn from(spec: MonitorSpec) -> Self {
        let tables = spec.tables.into_iter().map(|mut table| {
            let condition = std::mem::take(&mut table.condition);
            (Arc::new(table), condition)
        });
        Self {
            tables: tables.collect(),
        }
    }
}

/// Whether a change of a row, of which only these sides are visible, is worth a word.
pub fn reports(columns: &TableMonitor, change: &RowChange) -> bool {
    match (&change.old, &change.new) {
        (None, None) => false,
        (None, Some(_)) => columns.select.insert,
        (Some(_), None) => columns.select.delete,
        (Some(old), Some(new)) => columns.columns.iter().any(|monitored| {
            monitored.select.modify
                && match monitored.column {
                    ColumnRef::Uuid => false,
                    ColumnRef::Version => old != new,
                    ColumnRef::Column(index) => old.get(index) != new.get(index),
                }
        }),
    }
}
