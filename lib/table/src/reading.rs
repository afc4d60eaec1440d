//! Transactions that only read, piece by piece.
//!
//! A million `select`s, or one of a table with a million rows, take their time, and nobody else should have to wait
//! for that. So they are executed a little at a time, with other transactions in between. All of them see the database
//! as it was at the beginning: whoever executes something else in between says what that changes ([`Reading::note`]),
//! and what these rows were is kept here. For all others one looks into the database.
//!
//! ```text
//!   begin ── advance ── advance ── … ── advance ──▶ Done, as if all of it had been executed at the beginning
//!              │   note ↗   │  note ↗
//!              └── so many steps at most, wherever that is: between operations, or within a scan
//! ```

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

use ovsdb::error::Error;
use ovsdb::operation::{Failure, OpResult, Operation};
use ovsdb::{Clause, Row, RowChange, Transaction, Uuid};

use crate::database::Database;
use crate::execute::{
    Cost, Done, Permission, check_length, check_selected_bytes, too_many_selected, too_many_steps,
};
use crate::facts::RowId;
use crate::query::Plan;
use crate::selection::Selection;

/// What an operation costs besides the rows that it looks at, in steps.
const OPERATION_STEPS: usize = 4;

/// A transaction of `select`s that was begun.
#[derive(Debug)]
pub struct Reading {
    /// What rows were at the beginning that have been changed since; `None` if they were not there.
    before: BTreeMap<RowId, Option<Arc<Row>>>,
    query: Option<Query>,
    results: Vec<OpResult>,
    comments: Vec<Arc<str>>,
    durable: bool,
    /// How many rows were found so far, and about how many bytes they have.
    selected: usize,
    selected_bytes: usize,
    /// How many steps are left of [`Limits::steps`](crate::Limits).
    steps_left: usize,
}

/// A `select` that was begun.
#[derive(Debug)]
struct Query {
    selection: Selection,
    rest: Rest,
}

/// Where rows may be that were not looked at yet.
#[derive(Debug)]
enum Rest {
    /// This one only.
    Row(Uuid),
    /// These, and those that have changed.
    Rows(std::vec::IntoIter<Uuid>),
    /// All after this one, and those that have changed.
    Scan(Option<Uuid>),
    /// Of those that have changed, all after this one. They may have been found before.
    Changed(Option<Uuid>),
    /// Nowhere.
    Nothing,
}

impl Reading {
    /// Begins a transaction; nothing if it does more than read.
    pub fn begin(database: &Database, transaction: &Transaction) -> Option<Self> {
        transaction.only_reads().then(|| Self {
            before: BTreeMap::new(),
            query: None,
            results: Vec::new(),
            comments: Vec::new(),
            durable: false,
            selected: 0,
            selected_bytes: 0,
            steps_left: database.limits.steps,
        })
    }

    /// Rows of the database change, or have just changed, that may not have been looked at yet.
    pub fn note(&mut self, delta: &[RowChange]) {
        for change in delta {
            let id = (change.table, change.uuid);
            self.before.entry(id).or_insert_with(|| change.old.clone());
        }
    }

    /// Goes on with the transaction with which it was begun for about so many steps, which it takes off: how it ended, if
    /// it did.
    pub fn advance(
        &mut self,
        database: &mut Database,
        transaction: &Transaction,
        permission: Option<&dyn Permission>,
        steps: &mut usize,
    ) -> Option<Done> {
        if let Err(error) = check_length(database, transaction.asked) {
            return Some(self.end(Some(error)));
        }
        while *steps > 0 {
            let Some(operation) = transaction.operations.get(self.results.len()) else {
                return Some(self.end(transaction.error.clone()));
            };
            let advanced = match self.query.take() {
                None => self.start(database, operation, permission, steps),
                Some(query) => self.continue_with(query, database, operation, steps),
            };
            if let Err(error) = advanced {
                return Some(self.end(Some(error)));
            }
        }
        None
    }

    fn end(&mut self, error: Option<Error>) -> Done {
        let done = std::mem::take(&mut self.results);
        Done {
            outcome: match error {
                None => Ok(done),
                Some(error) => Err(Failure { done, error }),
            },
            delta: Vec::new(),
            durable: self.durable,
            comment: (!self.comments.is_empty()).then(|| self.comments.join("\n")),
            cost: Cost::default(),
        }
    }

    fn start(
        &mut self,
        database: &mut Database,
        operation: &Operation,
        permission: Option<&dyn Permission>,
        steps: &mut usize,
    ) -> Result<(), Error> {
        *steps = steps.saturating_sub(OPERATION_STEPS);
        if let Some(permission) = permission {
            permission.operation(database, operation)?;
        }
        match operation {
            Operation::Select {
                table,
                condition,
                columns,
            } => {
                database.learn(*table, condition);
                let plan = database.plan(*table, condition, &mut self.steps_left);
                let plan = plan.ok_or_else(|| too_many_steps(database))?;
                self.query = Some(Query {
                    selection: Selection::new(database.schema().clone(), *table, columns),
                    rest: match plan {
                        Plan::Row(uuid) => Rest::Row(uuid),
                        Plan::Rows(uuids) => Rest::Rows(uuids.into_iter()),
                        Plan::Scan => Rest::Scan(None),
                    },
                });
            }
            operation => {
                match operation {
                    Operation::Comment { comment } => self.comments.push(comment.clone()),
                    Operation::Commit { durable } => self.durable |= durable,
                    _ => {}
                }
                self.results.push(OpResult::Empty);
            }
        }
        Ok(())
    }

    fn continue_with(
        &mut self,
        mut query: Query,
        database: &Database,
        operation: &Operation,
        steps: &mut usize,
    ) -> Result<(), Error> {
        let condition = match operation {
            Operation::Select { condition, .. } => condition.as_slice(),
            _ => &[],
        };
        self.selected += query.advance(&self.before, database, condition, steps);
        if self.selected > database.limits.selected_rows {
            return Err(too_many_selected(database));
        }
        self.selected_bytes += query.selection.take_bytes();
        check_selected_bytes(database, self.selected_bytes, usize::MAX)?;
        match query.rest {
            Rest::Nothing => self.results.push(query.selection.finish()),
            _ => self.query = Some(query),
        }
        Ok(())
    }
}

impl Query {
    /// Looks at a few rows: how many of them it found.
    fn advance(
        &mut self,
        before: &BTreeMap<RowId, Option<Arc<Row>>>,
        database: &Database,
        condition: &[Clause],
        steps: &mut usize,
    ) -> usize {
        let table = self.selection.table();
        let width = 1 + condition.len();
        let at_once = steps.div_ceil(width);
        let (mut looked, mut found) = (0, 0);
        let mut look = |selection: &mut Selection, uuid: Uuid, row: Option<&Arc<Row>>| {
            looked += 1;
            if let Some(row) = row
                && condition.iter().all(|clause| clause.holds(uuid, row))
            {
                selection.add(uuid, row);
                found += 1;
            }
        };
        let selection = &mut self.selection;
        let is_changed = |uuid: Uuid| before.contains_key(&(table, uuid));
        self.rest = match std::mem::replace(&mut self.rest, Rest::Nothing) {
            Rest::Row(uuid) => {
                let row = match before.get(&(table, uuid)) {
                    Some(row) => row.as_ref(),
                    None => database.row(table, uuid),
                };
                look(selection, uuid, row);
                Rest::Nothing
            }
            Rest::Rows(mut uuids) => {
                for uuid in uuids.by_ref().take(at_once) {
                    let row = database.row(table, uuid);
                    look(selection, uuid, row.filter(|_| !is_changed(uuid)));
                }
                match uuids.len() {
                    0 => Rest::Changed(None),
                    _ => Rest::Rows(uuids),
                }
            }
            Rest::Scan(after) => {
                let mut newest = None;
                for (uuid, row) in database.rows_after(table, after).take(at_once) {
                    look(selection, uuid, Some(row).filter(|_| !is_changed(uuid)));
                    newest = Some(uuid);
                }
                match newest {
                    None => Rest::Changed(None),
                    newest => Rest::Scan(newest),
                }
            }
            Rest::Changed(after) => {
                let from = match after {
                    None => Included((table, Uuid::nil())),
                    Some(uuid) => Excluded((table, uuid)),
                };
                let mut newest = None;
                let changed = before.range((from, Included((table, Uuid::max()))));
                for ((_, uuid), row) in changed.take(at_once) {
                    look(selection, *uuid, row.as_ref());
                    newest = Some(*uuid);
                }
                if newest.is_none() && after.is_some() {
                    selection.sort();
                }
                newest.map_or(Rest::Nothing, |newest| Rest::Changed(Some(newest)))
            }
            Rest::Nothing => Rest::Nothing,
        };
        *steps = steps.saturating_sub(looked * width);
        found
    }
}
