//! Who refers weakly to a row: the reverse of all weak references.
//!
//! When a row goes, its weak references go with it; this index makes that cost what there are of them. It says which
//! row refers to which, not through which column: the schema tells the few columns that can.

use std::collections::BTreeSet;

use ovsdb::{Row, Uuid};

use crate::facts::{RefColumn, RowId, changed_references};

/// All pairs of a row and one that refers to it weakly.
#[derive(Debug, Default)]
pub(crate) struct WeakReferences {
    edges: BTreeSet<Edge>,
}

/// `source` refers to `target`. Tables take 16 bits here, to keep an edge at 36 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    target_table: u16,
    target: Uuid,
    source_table: u16,
    source: Uuid,
}

impl Edge {
    fn new(target: RowId, source: RowId) -> Self {
        Self {
            target_table: target.0 as u16,
            target: target.1,
            source_table: source.0 as u16,
            source: source.1,
        }
    }
}

impl WeakReferences {
    /// Brings the index up to date with a change of the row `source`, whose weak columns are `columns`.
    pub(crate) fn update(
        &mut self,
        columns: &[RefColumn],
        source: RowId,
        old: Option<&Row>,
        new: Option<&Row>,
    ) {
        changed_references(columns, old, new, &mut |_, target, added| {
            let edge = Edge::new(target, source);
            if added {
                self.edges.insert(edge);
            } else if !new.is_some_and(|row| columns.iter().any(|c| c.refers(row, target))) {
                self.edges.remove(&edge);
            }
        });
    }

    /// The rows that refer weakly to `target`, each once.
    pub(crate) fn sources(&self, target: RowId) -> impl Iterator<Item = RowId> + '_ {
        let first = Edge::new(target, (0, Uuid::nil()));
        let last = Edge::new(target, (usize::from(u16::MAX), Uuid::max()));
        self.edges
            .range(first..=last)
            .map(|edge| (usize::from(edge.source_table), edge.source))
    }

    /// All pairs (target, source), in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RowId, RowId)> + '_ {
        self.edges.iter().map(|edge| {
            (
                (usize::from(edge.target_table), edge.target),
                (usize::from(edge.source_table), edge.source),
            )
        })
    }
}
