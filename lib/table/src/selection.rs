//! What a `select` has found.

use std::collections::BTreeSet;
use std::sync::Arc;

use ovsdb::operation::{OpResult, Selected};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{ColumnRef, Datum, Row, Uuid};

/// Rows that are added one by one. Rows that are equal in the columns asked for are one row of the result (RFC 7047,
/// section 5.2.2); with the identity among them, none are.
#[derive(Debug)]
pub(crate) struct Selection {
    selected: Selected,
    /// What was added, if it may come again and there is more than one row.
    seen: BTreeSet<Vec<Datum>>,
    distinct: bool,
}

impl Selection {
    /// Nothing found yet in this table.
    pub(crate) fn new(
        schema: Arc<DatabaseSchema>,
        table: usize,
        columns: &Arc<[ColumnRef]>,
    ) -> Self {
        Self {
            selected: Selected {
                schema,
                table,
                columns: columns.clone(),
                rows: Vec::new(),
            },
            seen: BTreeSet::new(),
            distinct: columns.contains(&ColumnRef::Uuid),
        }
    }

    /// The index of the table.
    pub(crate) fn table(&self) -> usize {
        self.selected.table
    }

    /// Another row for which the condition holds.
    pub(crate) fn add(&mut self, uuid: Uuid, row: &Arc<Row>) {
        let Selected { columns, rows, .. } = &mut self.selected;
        if !self.distinct {
            let of = |uuid, row| columns.iter().map(|c| c.of(uuid, row)).collect();
            if let [(first, row)] = rows.as_slice() {
                self.seen.insert(of(*first, row));
            }
            if !rows.is_empty() && !self.seen.insert(of(uuid, row)) {
                return;
            }
        }
        if rows.is_empty() {
            // Most find one row, and there may be a million of them.
            rows.reserve_exact(1);
        }
        rows.push((uuid, row.clone()));
    }

    /// Puts rows that were added out of turn in the order of their identities, each once.
    pub(crate) fn sort(&mut self) {
        self.selected.rows.sort_by_key(|(uuid, _)| *uuid);
        self.selected.rows.dedup_by_key(|(uuid, _)| *uuid);
    }

    /// The result.
    pub(crate) fn finish(self) -> OpResult {
        OpResult::Selected(Box::new(self.selected))
    }
}
