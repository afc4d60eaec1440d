//! What a `select` has found.

use std::collections::BTreeSet;
use std::sync::Arc;

use ovsdb::operation::{OpResult, Selected};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Atom, ColumnRef, Datum, Row, Uuid};

/// Rows that are added one by one. Rows that are equal in the columns asked for are one row of the result (RFC 7047,
/// section 5.2.2); with the identity among them, none are.
#[derive(Debug)]
pub(crate) struct Selection {
    selected: Selected,
    /// What was added, if it may come again and there is more than one row.
    seen: BTreeSet<Vec<Datum>>,
    distinct: bool,
    /// About how many bytes the rows that were added have in an answer.
    bytes: usize,
}

/// About what a row, and a value in it, takes in an answer besides their texts.
const ROW_BYTES: usize = 8;
const VALUE_BYTES: usize = 8;

/// About how many bytes a value has in an answer.
fn written_bytes(datum: &Datum) -> usize {
    let atom = |atom: &Atom| match atom {
        Atom::String(text) => 3 + text.len(),
        Atom::Uuid(_) => 48,
        Atom::Integer(_) | Atom::Real(_) | Atom::Boolean(_) => 12,
    };
    let atoms: usize = datum.atoms().iter().map(atom).sum();
    let pairs = datum.pairs().iter();
    let pairs: usize = pairs.map(|(key, value)| 4 + atom(key) + atom(value)).sum();
    VALUE_BYTES + atoms + pairs
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
            bytes: 0,
        }
    }

    /// About how many bytes the rows that were added since the last time have in an answer.
    pub(crate) fn take_bytes(&mut self) -> usize {
        std::mem::take(&mut self.bytes)
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
        let schema = &self.selected.schema.tables[self.selected.table];
        let name = |column: &ColumnRef| column.name(schema).len();
        let value = |column: &ColumnRef| match column {
            ColumnRef::Column(index) => written_bytes(row.get(*index)),
            ColumnRef::Uuid | ColumnRef::Version => VALUE_BYTES + 48,
        };
        let columns = self.selected.columns.iter();
        self.bytes += ROW_BYTES
            + columns
                .map(|column| name(column) + value(column))
                .sum::<usize>();
        let rows = &mut self.selected.rows;
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
