//! The committed state, seen through the head state.
//!
//! There is one database in memory, and it runs ahead of what the cluster has agreed on. What is
//! not yet agreed on is a short list of deltas, which know the rows that they replaced: laid over
//! the head, these rows show the state without them. Monitors read this one.

use std::collections::BTreeMap;
use std::sync::Arc;

use ovsdb::condition::Function;
use ovsdb::{Clause, ColumnRef, Datum, Row, RowChange, Uuid};
use rustc_hash::FxHashMap;
use table::Database;

use crate::matcher::Matcher;

/// The committed state.
#[derive(Debug)]
pub struct Committed<'a> {
    head: &'a Database,
    /// What rows are that uncommitted deltas change.
    overlay: FxHashMap<(usize, Uuid), Option<Arc<Row>>>,
}

impl<'a> Committed<'a> {
    /// The state of `head` before these deltas, which are given in the order of their execution.
    pub fn new(head: &'a Database, uncommitted: impl Iterator<Item = &'a [RowChange]>) -> Self {
        let mut overlay = FxHashMap::default();
        for change in uncommitted.flatten() {
            overlay
                .entry((change.table, change.uuid))
                .or_insert_with(|| change.old.clone());
        }
        Self { head, overlay }
    }

    /// The rows for which one of the clauses holds, sorted by their identities.
    pub fn matching(&self, table: usize, clauses: &[Clause]) -> Vec<(Uuid, Arc<Row>)> {
        if self.overlay.is_empty() && clauses.contains(&Clause::Always(true)) {
            let rows = self.head.rows(table);
            return rows.map(|(uuid, row)| (uuid, row.clone())).collect();
        }
        let matcher = Matcher::new(clauses);
        let mut rows = BTreeMap::new();
        if matcher.scans() {
            let all = self
                .head
                .rows(table)
                .filter(|(uuid, row)| matcher.holds(*uuid, row));
            rows.extend(all.map(|(uuid, row)| (uuid, row.clone())));
        } else {
            for clause in clauses {
                self.collect(table, clause, &mut rows);
            }
        }
        let overlay = self.overlay.iter().filter(|((of, _), _)| *of == table);
        for ((_, uuid), row) in overlay {
            rows.remove(uuid);
            if let Some(row) = row
                && matcher.holds(*uuid, row)
            {
                rows.insert(*uuid, row.clone());
            }
        }
        rows.into_iter().collect()
    }

    /// Adds the rows of the head for which a clause holds, by the shortest way.
    fn collect(&self, table: usize, clause: &Clause, rows: &mut BTreeMap<Uuid, Arc<Row>>) {
        match clause {
            Clause::Always(false) => {}
            Clause::Compare {
                column: ColumnRef::Column(column),
                function: Function::Equal,
                arg: contents @ Datum::One(_),
            } => {
                let found = self.head.rows_with(table, *column, contents);
                rows.extend(found.into_iter().map(|(uuid, row)| (uuid, row.clone())));
            }
            clause => match clause.as_row() {
                Some(uuid) => {
                    rows.extend(self.head.row(table, uuid).map(|row| (uuid, row.clone())));
                }
                None => rows.extend(
                    self.head
                        .rows(table)
                        .filter(|(uuid, row)| clause.holds(*uuid, row))
                        .map(|(uuid, row)| (uuid, row.clone())),
                ),
            },
        }
    }
}
