//! What a client wants to see: `monitor` (RFC 7047, section 4.1.5), `monitor_cond` and `monitor_cond_since`
//! (Open vSwitch's extensions), and what a server tells it.
//!
//! | method | updates come as | form | conditions |
//! | --- | --- | --- | --- |
//! | `monitor` | `update` | old and new | no |
//! | `monitor_cond` | `update2` | differences | yes |
//! | `monitor_cond_since` | `update3`, with a transaction id | differences | yes |
//!
//! A request may list the columns of one table in several parts, each with its own choice of events, but each column
//! once. So a table is monitored through a list of columns that say for which events they are shown, and one condition:
//! any clause of any part.

mod request;

use uuid::Uuid;

use crate::condition::{ColumnRef, Condition};
use crate::datum::Datum;
use crate::row::{Row, RowChange};
use crate::schema::{DatabaseSchema, TableSchema};
use crate::update::{Delta, RowUpdate, SparseRow, TableUpdates};

pub use request::condition_changes_to_json;

/// Which of the three protocols a monitor speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MonitorVersion {
    /// `monitor` and `update`.
    V1,
    /// `monitor_cond` and `update2`.
    V2,
    /// `monitor_cond_since` and `update3`.
    V3,
}

impl MonitorVersion {
    /// The request's name.
    pub fn request(self) -> &'static str {
        match self {
            Self::V1 => "monitor",
            Self::V2 => "monitor_cond",
            Self::V3 => "monitor_cond_since",
        }
    }

    /// The notification's name.
    pub fn update(self) -> &'static str {
        match self {
            Self::V1 => "update",
            Self::V2 => "update2",
            Self::V3 => "update3",
        }
    }
}

/// For which events a column is shown (`<monitor-select>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Select {
    /// The row is there when the monitor begins.
    pub initial: bool,
    /// The row comes to be.
    pub insert: bool,
    /// The row goes.
    pub delete: bool,
    /// The row changes.
    pub modify: bool,
}

impl Select {
    /// For all events.
    pub const ALL: Self = Self {
        initial: true,
        insert: true,
        delete: true,
        modify: true,
    };

    /// For no event.
    const NONE: Self = Self {
        initial: false,
        insert: false,
        delete: false,
        modify: false,
    };

    fn or(self, other: Self) -> Self {
        Self {
            initial: self.initial || other.initial,
            insert: self.insert || other.insert,
            delete: self.delete || other.delete,
            modify: self.modify || other.modify,
        }
    }
}

/// A column that is monitored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MonitoredColumn {
    /// The column.
    pub column: ColumnRef,
    /// For which events it is shown.
    pub select: Select,
}

/// A table that is monitored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableMonitor {
    /// The table's index in the schema.
    pub table: usize,
    /// The columns, sorted, each once.
    pub columns: Vec<MonitoredColumn>,
    /// The events of which a row is told at all: those of some part of the request. A part without columns is about
    /// the rows' coming and going alone.
    pub select: Select,
    /// The rows.
    pub condition: Condition,
}

impl TableMonitor {
    /// All events of these columns, in the rows that meet `condition`.
    pub fn new(
        table: usize,
        columns: impl IntoIterator<Item = ColumnRef>,
        condition: Condition,
    ) -> Self {
        let mut columns: Vec<MonitoredColumn> = columns
            .into_iter()
            .map(|column| MonitoredColumn {
                column,
                select: Select::ALL,
            })
            .collect();
        columns.sort_by_key(|monitored| monitored.column);
        columns.dedup();
        Self {
            table,
            columns,
            select: Select::ALL,
            condition,
        }
    }

    /// The same, but rows that come to be are told without their columns.
    #[must_use]
    pub fn with_bare_inserts(mut self) -> Self {
        for monitored in &mut self.columns {
            monitored.select.insert = false;
        }
        self
    }

    /// What the answer to the request says of a row that is there. `None` if it says nothing of it.
    pub fn initial(
        &self,
        version: MonitorVersion,
        schema: &TableSchema,
        uuid: Uuid,
        row: &Row,
    ) -> Option<RowUpdate> {
        if !self.select.initial || !self.condition.holds(uuid, row) {
            return None;
        }
        Some(match version {
            MonitorVersion::V1 => RowUpdate::Replace {
                old: None,
                new: Some(self.whole(uuid, row, |select| select.initial)),
            },
            _ => RowUpdate::Initial(
                self.without_defaults(schema, uuid, row, |select| select.initial),
            ),
        })
    }

    /// What a notification says of a row that changed. `None` if the client does not see the change.
    pub fn update(
        &self,
        version: MonitorVersion,
        schema: &TableSchema,
        change: &RowChange,
    ) -> Option<RowUpdate> {
        let seen = |row: &Option<std::sync::Arc<Row>>| {
            row.as_ref()
                .is_some_and(|row| self.condition.holds(change.uuid, row))
        };
        self.seen_update(
            version,
            schema,
            change,
            seen(&change.old),
            seen(&change.new),
        )
    }

    /// As [`TableMonitor::update`], for a caller that knows whether the condition held before and holds now.
    pub fn seen_update(
        &self,
        version: MonitorVersion,
        schema: &TableSchema,
        change: &RowChange,
        saw: bool,
        sees: bool,
    ) -> Option<RowUpdate> {
        let old = change.old.as_deref().filter(|_| saw);
        let new = change.new.as_deref().filter(|_| sees);
        self.transition(version, schema, change.uuid, old, new)
    }

    /// What a notification says of a row of which the client saw `old` and is to see `new` from now on. With a
    /// condition that changed, both are the same row, where they are.
    pub fn transition(
        &self,
        version: MonitorVersion,
        schema: &TableSchema,
        uuid: Uuid,
        old: Option<&Row>,
        new: Option<&Row>,
    ) -> Option<RowUpdate> {
        let select = self.select;
        let v1 = version == MonitorVersion::V1;
        match (old, new) {
            (None, None) => None,
            (None, Some(_)) if !select.insert => None,
            (None, Some(new)) if v1 => Some(RowUpdate::Replace {
                old: None,
                new: Some(self.whole(uuid, new, |select| select.insert)),
            }),
            (None, Some(new)) => Some(RowUpdate::Insert(self.without_defaults(
                schema,
                uuid,
                new,
                |select| select.insert,
            ))),
            (Some(_), None) if !select.delete => None,
            (Some(old), None) if v1 => Some(RowUpdate::Replace {
                old: Some(self.whole(uuid, old, |select| select.delete)),
                new: None,
            }),
            (Some(_), None) => Some(RowUpdate::Delete),
            (Some(_), Some(_)) if !select.modify => None,
            (Some(old), Some(new)) => self.modification(version, schema, uuid, old, new),
        }
    }

    fn modification(
        &self,
        version: MonitorVersion,
        schema: &TableSchema,
        uuid: Uuid,
        old: &Row,
        new: &Row,
    ) -> Option<RowUpdate> {
        let changed = self
            .columns
            .iter()
            .filter(|monitored| monitored.select.modify)
            .map(|monitored| monitored.column)
            .filter(|column| match column {
                ColumnRef::Column(index) => old.get(*index) != new.get(*index),
                ColumnRef::Version => old != new,
                ColumnRef::Uuid => false,
            });
        if version == MonitorVersion::V1 {
            let old: SparseRow = changed
                .map(|column| (column, column.of(uuid, old)))
                .collect();
            return (!old.is_empty()).then(|| RowUpdate::Replace {
                old: Some(old),
                new: Some(self.whole(uuid, new, |select| select.modify)),
            });
        }
        let deltas: Vec<(ColumnRef, Delta)> = changed
            .map(|column| {
                let delta = match column {
                    ColumnRef::Column(index) => {
                        Delta::between(&schema.columns[index].ty, old.get(index), new.get(index))
                    }
                    _ => Delta::Replace(column.of(uuid, new)),
                };
                (column, delta)
            })
            .collect();
        (!deltas.is_empty()).then_some(RowUpdate::Modify(deltas))
    }

    fn whole(&self, uuid: Uuid, row: &Row, shown: fn(Select) -> bool) -> SparseRow {
        self.columns
            .iter()
            .filter(|monitored| shown(monitored.select))
            .map(|monitored| (monitored.column, monitored.column.of(uuid, row)))
            .collect()
    }

    fn without_defaults(
        &self,
        schema: &TableSchema,
        uuid: Uuid,
        row: &Row,
        shown: fn(Select) -> bool,
    ) -> SparseRow {
        let columns = self.columns.iter().filter(|column| shown(column.select));
        columns
            .filter(|monitored| match monitored.column {
                ColumnRef::Column(index) => {
                    *row.get(index) != Datum::default_for(&schema.columns[index].ty)
                }
                _ => true,
            })
            .map(|monitored| (monitored.column, monitored.column.of(uuid, row)))
            .collect()
    }
}

/// All that one monitor is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MonitorSpec {
    /// The protocol.
    pub version: MonitorVersion,
    /// The tables, sorted, each once.
    pub tables: Vec<TableMonitor>,
}

impl MonitorSpec {
    /// The part about this table.
    pub fn table(&self, table: usize) -> Option<&TableMonitor> {
        self.tables
            .binary_search_by_key(&table, |monitor| monitor.table)
            .ok()
            .map(|index| &self.tables[index])
    }

    /// What the answer to the request says, given the rows of a table.
    pub fn initial<'r, Rows>(
        &self,
        schema: &DatabaseSchema,
        mut rows: impl FnMut(&TableMonitor) -> Rows,
    ) -> TableUpdates
    where
        Rows: IntoIterator<Item = (Uuid, &'r Row)>,
    {
        let mut updates = TableUpdates::default();
        for monitor in &self.tables {
            if !monitor.select.initial {
                continue;
            }
            let table = &schema.tables[monitor.table];
            for (uuid, row) in rows(monitor) {
                if let Some(update) = monitor.initial(self.version, table, uuid, row) {
                    updates.push(monitor.table, uuid, update);
                }
            }
        }
        updates
    }

    /// What a notification says of the changes of a transaction; perhaps nothing.
    pub fn updates<'c>(
        &self,
        schema: &DatabaseSchema,
        changes: impl IntoIterator<Item = &'c RowChange>,
    ) -> TableUpdates {
        let mut updates = TableUpdates::default();
        for change in changes {
            if let Some(monitor) = self.table(change.table)
                && let Some(update) =
                    monitor.update(self.version, &schema.tables[change.table], change)
            {
                updates.push(change.table, change.uuid, update);
            }
        }
        updates
    }
}

#[cfg(test)]
mod tests;
