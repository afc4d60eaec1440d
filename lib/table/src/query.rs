//! Which rows a condition is about, found without looking at more of them than necessary.
//!
//! A clause `_uuid == U` names the row. Otherwise equality clauses that cover an index lead to its candidates. Only
//! what is left is a scan, and a column by which a larger table is scanned again and again gets an index.

use ovsdb::{Clause, ColumnRef, Datum, Function, Row, Uuid};

use crate::database::{Database, Table};

/// Tables with fewer rows are scanned: an index would cost more than it saves.
const SMALL_TABLE: usize = 64;
/// The scan for equality in a column that makes the database keep an index of it.
const SCANS_UNTIL_INDEXED: u8 = 2;

/// Where the rows are for which a condition may hold.
#[derive(Debug)]
pub(crate) enum Plan {
    /// It can only be this one.
    Row(Uuid),
    /// An index knows these, in the order of their identities.
    Rows(Vec<Uuid>),
    /// Anywhere in the table.
    Scan,
}

impl Database {
    /// The rows of the table for which all clauses hold, in the order of their identities.
    pub fn matching(&self, table: usize, condition: &[Clause]) -> Vec<Uuid> {
        let found = self.matching_within(table, condition, &mut usize::MAX.clone());
        found.unwrap_or_default()
    }

    /// The same, if it takes no more comparisons than `left`, from which they are taken off.
    pub(crate) fn matching_within(
        &self,
        table: usize,
        condition: &[Clause],
        left: &mut usize,
    ) -> Option<Vec<Uuid>> {
        let holds = |uuid: Uuid, row: &Row| condition.iter().all(|clause| clause.holds(uuid, row));
        let still_holds = |uuid: &Uuid| {
            let row = self.row(table, *uuid);
            row.is_some_and(|row| holds(*uuid, row))
        };
        Some(match self.plan(table, condition, left)? {
            Plan::Row(uuid) => Some(uuid).filter(still_holds).into_iter().collect(),
            Plan::Rows(uuids) => uuids.into_iter().filter(still_holds).collect(),
            Plan::Scan => {
                let rows = self.rows(table).filter(|(uuid, row)| holds(*uuid, row));
                rows.map(|(uuid, _)| uuid).collect()
            }
        })
    }

    /// Where the rows are to be looked for, if looking takes no more comparisons than `left`, from which they are
    /// taken off.
    pub(crate) fn plan(
        &self,
        table: usize,
        condition: &[Clause],
        left: &mut usize,
    ) -> Option<Plan> {
        let Some(table) = self.tables.get(table) else {
            return Some(Plan::Rows(Vec::new()));
        };
        let width: usize = condition.iter().map(width).sum();
        let mut afford = |rows: usize| {
            let rest = left.checked_sub(rows.saturating_mul(width.max(1)));
            rest.map(|rest| *left = rest)
        };
        if let Some(uuid) = condition.iter().find_map(Clause::as_row) {
            afford(1)?;
            return Some(Plan::Row(uuid));
        }
        if let Some(candidates) = table.candidates(condition) {
            afford(candidates.len())?;
            return Some(Plan::Rows(candidates));
        }
        afford(table.entries.len())?;
        Some(Plan::Scan)
    }

    /// Learns by which columns the table is asked, and wants indexes of those.
    pub(crate) fn learn(&mut self, table: usize, condition: &[Clause]) {
        if let Some(column) = self.tables[table].column_to_index(condition) {
            self.want_lookup(table, &[column]);
        }
    }
}

impl Table {
    /// The candidates of the index that says most about the condition, if one says anything.
    fn candidates(&self, condition: &[Clause]) -> Option<Vec<Uuid>> {
        let wanted = |column: &usize| {
            condition
                .iter()
                .find_map(|clause| equality(clause).filter(|(c, _)| c == column))
                .map(|(_, arg)| arg)
        };
        let indexes = self.unique.iter().chain(&self.lookups);
        let covered = indexes.filter_map(|index| {
            let contents: Option<Vec<&Datum>> = index.columns().iter().map(wanted).collect();
            Some((index, contents?))
        });
        // Of equally wide indexes the first, which is the schema's own, is the most selective.
        let (index, contents) = covered
            .enumerate()
            .max_by_key(|(position, (index, _))| {
                (index.columns().len(), std::cmp::Reverse(*position))
            })?
            .1;
        Some(index.candidates(contents).collect())
    }

    /// The column by which the condition scans a table that deserves an index for it by now.
    fn column_to_index(&mut self, condition: &[Clause]) -> Option<usize> {
        if self.entries.len() < SMALL_TABLE
            || condition.iter().any(|clause| clause.as_row().is_some())
            || self.candidates(condition).is_some()
        {
            return None;
        }
        let (column, _) = condition.iter().find_map(equality)?;
        let scans = &mut self.scans[column];
        *scans = scans.saturating_add(1);
        (*scans >= SCANS_UNTIL_INDEXED).then_some(column)
    }
}

/// How many elements a clause compares with.
fn width(clause: &Clause) -> usize {
    match clause {
        Clause::Compare { arg, .. } => arg.len().max(1),
        _ => 1,
    }
}

/// The column and the contents that a clause asks it to have.
fn equality(clause: &Clause) -> Option<(usize, &Datum)> {
    match clause {
        Clause::Compare {
            column: ColumnRef::Column(column),
            function: Function::Equal,
            arg,
        } => Some((*column, arg)),
        _ => None,
    }
}
