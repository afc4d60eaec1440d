//! What a monitor shows: which columns of which rows of which tables, and which kinds of change.
//!
//! The columns and the condition of a table are kept apart, because what is said about a row
//! depends on the columns only: monitors with equal columns and different conditions share it.

use std::sync::Arc;

use ovsdb::monitor::{MonitorSpec, TableMonitor};
use ovsdb::{Atom, Clause, ColumnRef, Condition, Error, ErrorKind, Row, RowChange};

use crate::matcher::{MAX_CLAUSES, Matcher};

/// The columns and rows of some tables, each table once.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct View {
    /// The columns, under a condition that always holds, and the condition that counts.
    pub tables: Vec<(Arc<TableMonitor>, Condition)>,
}

impl View {
    /// The same with other conditions for some tables.
    pub fn with(&self, conditions: &[(usize, Condition)]) -> Self {
        let mut view = self.clone();
        for (table, condition) in conditions {
            for (columns, current) in &mut view.tables {
                if columns.table == *table {
                    current.clone_from(condition);
                }
            }
        }
        view
    }

    /// The conditions, made ready to be asked.
    pub fn matchers(&self) -> Vec<Matcher> {
        let tables = self.tables.iter();
        tables
            .map(|(_, condition)| Matcher::new(condition.clauses()))
            .collect()
    }

    /// About how many bytes the conditions have.
    pub fn weight(&self) -> usize {
        let atom = |atom: &Atom| match atom {
            Atom::String(text) => CLAUSE_BYTES + text.len(),
            _ => CLAUSE_BYTES,
        };
        let weight = |clause: &Clause| match clause {
            Clause::Compare { arg, .. } => {
                let pairs = arg
                    .pairs()
                    .iter()
                    .map(|(key, value)| atom(key) + atom(value));
                CLAUSE_BYTES + arg.atoms().iter().map(atom).sum::<usize>() + pairs.sum::<usize>()
            }
            Clause::Always(_) => CLAUSE_BYTES,
        };
        let tables = self.tables.iter();
        let clauses = tables.flat_map(|(_, condition)| condition.clauses());
        clauses.map(weight).sum()
    }

    /// Refuses conditions that would cost too much.
    ///
    /// # Errors
    /// What is too much of them.
    pub fn check(&self) -> Result<(), Error> {
        let clauses = self
            .tables
            .iter()
            .map(|(_, condition)| condition.clauses().len());
        if clauses.sum::<usize>() > MAX_CLAUSES {
            return Err(Error::new(
                ErrorKind::ResourcesExhausted,
                format!("The conditions of a monitor have more than {MAX_CLAUSES} clauses."),
            ));
        }
        self.matchers().iter().try_for_each(Matcher::check)
    }
}

/// About how many bytes a clause, or a value in one, takes besides its text.
const CLAUSE_BYTES: usize = 64;

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

/// What a view sees of a change, and in which of its tables; `None` if nothing that is worth a word.
pub fn visible(
    view: &View,
    matchers: &[Matcher],
    change: &RowChange,
) -> Option<(usize, RowChange)> {
    let (place, sides) = seen(view, matchers, change)?;
    let change = limited(change, sides);
    reports(&view.tables[place].0, &change).then_some((place, change))
}

/// In which of its tables a view sees a change, and whether the row as it was and as it is.
pub fn seen(
    view: &View,
    matchers: &[Matcher],
    change: &RowChange,
) -> Option<(usize, (bool, bool))> {
    let mut tables = view.tables.iter();
    let place = tables.position(|(columns, _)| columns.table == change.table)?;
    let condition = &matchers[place];
    let sees = |row: &Option<Arc<Row>>| {
        let row = row.as_ref();
        row.is_some_and(|row| condition.holds(change.uuid, row))
    };
    Some((place, (sees(&change.old), sees(&change.new))))
}

/// A change of which these sides are seen.
pub fn limited(change: &RowChange, (old, new): (bool, bool)) -> RowChange {
    RowChange {
        old: change.old.clone().filter(|_| old),
        new: change.new.clone().filter(|_| new),
        ..*change
    }
}
