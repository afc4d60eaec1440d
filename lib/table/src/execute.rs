//! The operations of a transaction, one by one: RFC 7047, section 5.2, and the Open vSwitch extensions to it.
//!
//! What is checked here is what an operation by itself can violate: values, immutable columns, identities. What only
//! the end of the transaction can tell is checked in `commit`.
//!
//! Who asks may be allowed less than everything: a [`Permission`] is asked before each operation, about each row that
//! it is about, and at the end about what the operations together made of each row. Whatever follows by itself, such as
//! the end of a row to which nobody refers any more, is nobody's operation and asks nobody.

use std::collections::BTreeSet;
use std::sync::Arc;

use ovsdb::error::{Error, ErrorKind};
use ovsdb::operation::{Failure, OpResult, Operation, Outcome, Until};
use ovsdb::{Clause, ColumnRef, Datum, Mutation, Mutator, Row, RowChange, Uuid};

use crate::database::Database;
use crate::facts::RowId;
use crate::selection::Selection;
use crate::transaction::Transaction;

/// What somebody may do. Each question is answered with nothing, or with the error that the transaction fails with.
pub trait Permission {
    /// Before an operation is executed: whether it may be at all, by its kind, its table and its columns.
    fn operation(&self, database: &Database, operation: &Operation) -> Result<(), Error>;

    /// Before it changes or deletes a row: whether it may be about this one. `row` is the row as it was before the
    /// transaction, or, if it is of the transaction's own making, as it is now.
    fn row(
        &self,
        database: &Database,
        operation: &Operation,
        uuid: Uuid,
        row: &Row,
    ) -> Result<(), Error>;

    /// At the end: whether a row may become what all operations together made of it. The database is as they left
    /// it; `change.old` is the row before the transaction.
    fn outcome(&self, database: &Database, change: &RowChange) -> Result<(), Error>;
}

/// What a transaction must know of the world outside of the database.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// What the session that asks may do; `None` if that is everything.
    pub permission: Option<&'a dyn Permission>,
    /// Whether the session that asks owns this lock: for `assert`.
    pub owns_lock: &'a dyn Fn(&str) -> bool,
    /// How many bytes the rows that it selects may have, if that is less than [`Limits`](crate::Limits) say.
    pub selected_bytes: usize,
    /// For how long the transaction has been waiting already, if its `wait` was not fulfilled at once, in milliseconds.
    pub waited_ms: u64,
}

impl Default for Context<'_> {
    /// A session without locks, whose transaction has just come.
    fn default() -> Self {
        Self {
            permission: None,
            owns_lock: &|_| false,
            selected_bytes: usize::MAX,
            waited_ms: 0,
        }
    }
}

/// How a transaction ended, if it did.
#[derive(Clone, Debug, PartialEq)]
pub enum Execution {
    /// It ended.
    Done(Done),
    /// A `wait` is not fulfilled. Nothing has changed. The transaction is to be executed again when the database has
    /// changed, or when so many milliseconds have passed.
    Blocked {
        /// How long it is still ready to wait; `None` for as long as it takes.
        remaining_ms: Option<u64>,
        /// How many steps it took to find that out, see [`Limits::steps`](crate::Limits).
        steps: usize,
    },
}

/// A transaction that ended, well or badly.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// What is answered: a result an operation, or what failed.
    pub outcome: Outcome,
    /// What changed: minimal, sorted by table and row; empty after a failure.
    pub delta: Vec<RowChange>,
    /// Whether the client asked for the answer to wait for the disk (`commit` with `durable`).
    pub durable: bool,
    /// The remarks of `comment` operations, a line each.
    pub comment: Option<String>,
    /// About how many values were compared or copied, and how many bytes the rows have that were selected.
    pub cost: Cost,
}

/// What a transaction has cost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Cost {
    /// Steps, see [`Limits::steps`](crate::Limits).
    pub steps: usize,
    /// Bytes, see [`Limits::selected_bytes`](crate::Limits).
    pub selected_bytes: usize,
}

/// Why an operation did not succeed.
enum Stop {
    Failed(Error),
    Blocked { remaining_ms: Option<u64> },
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Database {
    /// Executes a transaction: all of it or, if anything in it fails, nothing.
    pub fn execute(
        &mut self,
        transaction: &ovsdb::Transaction,
        context: &Context<'_>,
    ) -> Execution {
        let mut executor = Executor {
            selected: 0,
            selected_bytes: 0,
            steps_left: self.limits.steps,
            durable: false,
            comments: Vec::new(),
            context,
            transaction: Transaction::new(self),
        };
        let mut done = Vec::with_capacity(transaction.operations.len());
        let length = check_length(executor.transaction.database, transaction.asked);
        let mut stop = length.err().map(Stop::Failed);
        if stop.is_none() {
            for operation in &transaction.operations {
                match executor.execute(operation) {
                    Ok(result) => done.push(result),
                    Err(reason) => {
                        stop = Some(reason);
                        break;
                    }
                }
            }
        }
        let unread = transaction.error.clone().map(Stop::Failed);
        stop = stop.or(unread);
        if stop.is_none() {
            stop = executor.check_outcome().err();
        }
        executor.finish(done, stop)
    }
}

/// A transaction and what its operations have in common.
struct Executor<'d, 'c> {
    transaction: Transaction<'d>,
    context: &'c Context<'c>,
    /// How many rows have been selected so far, and about how many bytes they have.
    selected: usize,
    selected_bytes: usize,
    /// How many steps are left of [`Limits::steps`](crate::Limits).
    steps_left: usize,
    durable: bool,
    comments: Vec<Arc<str>>,
}

impl Executor<'_, '_> {
    /// Counts steps that are about to be made.
    fn afford(&mut self, steps: usize) -> Result<(), Error> {
        let left = self.steps_left.checked_sub(steps);
        self.steps_left = left.ok_or_else(|| too_many_steps(self.transaction.database))?;
        Ok(())
    }

    /// The rows for which all clauses hold.
    fn matching(&mut self, table: usize, condition: &[Clause]) -> Result<Vec<Uuid>, Error> {
        let database = &mut *self.transaction.database;
        database.learn(table, condition);
        let found = database.matching_within(table, condition, &mut self.steps_left);
        found.ok_or_else(|| too_many_steps(database))
    }

    fn execute(&mut self, operation: &Operation) -> Result<OpResult, Stop> {
        if let Some(permission) = self.context.permission {
            permission.operation(self.transaction.database, operation)?;
        }
        match operation {
            Operation::Insert { table, uuid, row } => self.insert(*table, *uuid, row),
            Operation::Select {
                table,
                condition,
                columns,
            } => self.select(*table, condition, columns),
            Operation::Update {
                table,
                condition,
                row,
            } => self.update(operation, *table, condition, row),
            Operation::Mutate {
                table,
                condition,
                mutations,
            } => self.mutate(operation, *table, condition, mutations),
            Operation::Delete { table, condition } => self.delete(operation, *table, condition),
            Operation::Wait { .. } => self.wait(operation),
            Operation::Commit { durable } => {
                self.durable |= durable;
                Ok(OpResult::Empty)
            }
            Operation::Abort => Err(Error::new(ErrorKind::Aborted, "aborted by request").into()),
            Operation::Comment { comment } => {
                self.comments.push(comment.clone());
                Ok(OpResult::Empty)
            }
            Operation::Assert { lock } => {
                if (self.context.owns_lock)(lock) {
                    return Ok(OpResult::Empty);
                }
                let details = format!("Asserted lock {lock} not held.");
                Err(Error::new(ErrorKind::NotOwner, details).into())
            }
        }
    }

    fn finish(self, done: Vec<OpResult>, stop: Option<Stop>) -> Execution {
        let cost = Cost {
            steps: self.transaction.database.limits.steps - self.steps_left,
            selected_bytes: self.selected_bytes,
        };
        let failed = |done, error| (Err(Failure { done, error }), Vec::new());
        let (outcome, delta) = match stop {
            Some(Stop::Blocked { remaining_ms }) => {
                self.transaction.roll_back();
                let steps = cost.steps;
                return Execution::Blocked {
                    remaining_ms,
                    steps,
                };
            }
            Some(Stop::Failed(error)) => {
                self.transaction.roll_back();
                failed(done, error)
            }
            None => match self.transaction.commit() {
                Ok(delta) => (Ok(done), delta),
                Err(error) => failed(done, error),
            },
        };
        Execution::Done(Done {
            outcome,
            delta,
            durable: self.durable,
            comment: (!self.comments.is_empty()).then(|| self.comments.join("\n")),
            cost,
        })
    }

    fn insert(
        &mut self,
        table: usize,
        uuid: Uuid,
        columns: &[(usize, Datum)],
    ) -> Result<OpResult, Stop> {
        let id = (table, uuid);
        if self.transaction.is_taken(id) {
            return Err(Error::new(
                ErrorKind::DuplicateUuid,
                format!(
                    "Table {} has a row {uuid} already, or had it before this transaction deleted it.",
                    self.transaction.database.schema().tables[table].name
                ),
            )
            .into());
        }
        let facts = &self.transaction.database.facts[table];
        let mut row = facts.default_row.clone();
        for (column, datum) in columns {
            self.check(table, *column, datum)?;
            row.set(*column, datum.clone());
        }
        let unfit = facts
            .unfit_defaults
            .iter()
            .find(|(unfit, _)| !columns.iter().any(|(column, _)| column == unfit));
        if let Some((_, error)) = unfit {
            return Err(error.clone().into());
        }
        self.transaction.put(id, Some(Arc::new(row)));
        Ok(OpResult::Inserted(uuid))
    }

    fn select(
        &mut self,
        table: usize,
        condition: &[Clause],
        columns: &Arc<[ColumnRef]>,
    ) -> Result<OpResult, Stop> {
        let matching = self.matching(table, condition)?;
        self.selected += matching.len();
        let database = &*self.transaction.database;
        if self.selected > database.limits.selected_rows {
            return Err(too_many_selected(database).into());
        }
        let mut selection = Selection::new(database.schema().clone(), table, columns);
        for uuid in matching {
            if let Some(row) = database.row(table, uuid) {
                selection.add(uuid, row);
                self.selected_bytes += selection.take_bytes();
            }
            check_selected_bytes(database, self.selected_bytes, self.context.selected_bytes)?;
        }
        Ok(selection.finish())
    }

    fn update(
        &mut self,
        operation: &Operation,
        table: usize,
        condition: &[Clause],
        columns: &[(usize, Datum)],
    ) -> Result<OpResult, Stop> {
        for (column, datum) in columns {
            self.check_mutable(table, *column, "update")?;
            self.check(table, *column, datum)?;
        }
        self.rewrite(operation, table, condition, |row| {
            let differs = columns.iter().any(|(c, datum)| row.get(*c) != datum);
            if !differs {
                return Ok(None);
            }
            let mut row = row.clone();
            for (column, datum) in columns {
                row.set(*column, datum.clone());
            }
            Ok(Some(row))
        })
    }

    fn mutate(
        &mut self,
        operation: &Operation,
        table: usize,
        condition: &[Clause],
        mutations: &[Mutation],
    ) -> Result<OpResult, Stop> {
        let schema = self.transaction.database.schema().clone();
        let schema = &schema.tables[table];
        for mutation in mutations {
            self.check_mutable(table, mutation.column, "mutate")?;
            if mutation.mutator == Mutator::Insert {
                let mut ty = schema.columns[mutation.column].ty.clone();
                (ty.min, ty.max) = (0, usize::MAX);
                mutation.arg.check(&ty).map_err(Error::from)?;
            }
        }
        self.rewrite(operation, table, condition, |row| {
            let mut new = row.clone();
            for mutation in mutations {
                let column = &schema.columns[mutation.column];
                let result = mutation.apply(&column.ty, new.get(mutation.column));
                let place = || format!("column {}", column.name);
                new.set(
                    mutation.column,
                    result.map_err(|error| error.within(&place()))?,
                );
            }
            Ok((new != *row).then_some(new))
        })
    }

    /// Replaces the rows that meet the condition by what `change` makes of them, and counts them.
    fn rewrite(
        &mut self,
        operation: &Operation,
        table: usize,
        condition: &[Clause],
        change: impl Fn(&Row) -> Result<Option<Row>, Error>,
    ) -> Result<OpResult, Stop> {
        let matching = self.matching(table, condition)?;
        for &uuid in &matching {
            self.check_row(operation, (table, uuid))?;
            let Some(row) = self.transaction.row((table, uuid)).cloned() else {
                continue;
            };
            self.afford(steps_to_change(operation, &row))?;
            if let Some(new) = change(&row)? {
                self.transaction.put((table, uuid), Some(Arc::new(new)));
            }
        }
        Ok(OpResult::Count(matching.len() as u64))
    }

    fn delete(
        &mut self,
        operation: &Operation,
        table: usize,
        condition: &[Clause],
    ) -> Result<OpResult, Stop> {
        let matching = self.matching(table, condition)?;
        for &uuid in &matching {
            self.check_row(operation, (table, uuid))?;
            self.transaction.put((table, uuid), None);
        }
        Ok(OpResult::Count(matching.len() as u64))
    }

    fn wait(&mut self, operation: &Operation) -> Result<OpResult, Stop> {
        let Operation::Wait {
            table,
            condition,
            columns,
            until,
            rows,
            timeout_ms,
        } = operation
        else {
            return Ok(OpResult::Empty);
        };
        let matching = self.matching(*table, condition)?;
        let database = &*self.transaction.database;
        let found: BTreeSet<Vec<Datum>> = matching
            .into_iter()
            .filter_map(|uuid| Some((uuid, database.row(*table, uuid)?)))
            .map(|(uuid, row)| columns.iter().map(|c| c.of(uuid, row)).collect())
            .collect();
        let schema = &database.schema().tables[*table];
        let default = |column: &ColumnRef| Datum::default_for(&column.column_type(schema));
        let wanted: BTreeSet<Vec<Datum>> = rows
            .iter()
            .map(|row| {
                let given = |column: &ColumnRef| row.iter().find(|(given, _)| given == column);
                let value = |column| given(column).map_or_else(|| default(column), |v| v.1.clone());
                columns.iter().map(value).collect()
            })
            .collect();
        if (found == wanted) == (*until == Until::Equal) {
            return Ok(OpResult::Empty);
        }
        let waited = self.context.waited_ms;
        match timeout_ms {
            Some(0) => Err(Error::new(ErrorKind::TimedOut, "\"where\" clause test failed").into()),
            Some(timeout) if waited >= *timeout => Err(Error::new(
                ErrorKind::TimedOut,
                format!("\"wait\" timed out after {waited} ms"),
            )
            .into()),
            timeout => Err(Stop::Blocked {
                remaining_ms: timeout.map(|timeout| timeout - waited),
            }),
        }
    }

    /// Asks whether the operation may be about a row.
    fn check_row(&self, operation: &Operation, id: RowId) -> Result<(), Error> {
        let Some(permission) = self.context.permission else {
            return Ok(());
        };
        let row = self.transaction.row_before(id);
        let Some(row) = row.or_else(|| self.transaction.row(id)) else {
            return Ok(());
        };
        permission.row(self.transaction.database, operation, id.1, row)
    }

    /// Asks whether the rows may become what the operations made of them, in the order of the rows.
    fn check_outcome(&self) -> Result<(), Stop> {
        let Some(permission) = self.context.permission else {
            return Ok(());
        };
        for change in self.transaction.touched_rows() {
            permission.outcome(self.transaction.database, &change)?;
        }
        Ok(())
    }

    fn check_mutable(&self, table: usize, column: usize, verb: &str) -> Result<(), Error> {
        let database = &self.transaction.database;
        if database.facts[table].mutable[column] {
            return Ok(());
        }
        let schema = &database.schema().tables[table];
        Err(Error::constraint(format!(
            "Cannot {verb} immutable column {} in table {}.",
            schema.columns[column].name, schema.name
        )))
    }

    fn check(&self, table: usize, column: usize, datum: &Datum) -> Result<(), Error> {
        let column = &self.transaction.database.schema().tables[table].columns[column];
        datum
            .check(&column.ty)
            .map_err(|error| Error::from(error).within(&format!("column {}", column.name)))
    }
}

pub(crate) fn check_length(database: &Database, operations: usize) -> Result<(), Error> {
    let limit = database.limits.operations;
    if operations <= limit {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::ResourcesExhausted,
        format!("The transaction has {operations} operations, more than the limit of {limit}."),
    ))
}

pub(crate) fn too_many_steps(database: &Database) -> Error {
    let limit = database.limits.steps;
    Error::new(
        ErrorKind::ResourcesExhausted,
        format!(
            "The transaction compares or copies more than the limit of {limit} values. Name rows by their UUIDs, \
             or do it in several transactions."
        ),
    )
}

pub(crate) fn too_many_selected(database: &Database) -> Error {
    let limit = database.limits.selected_rows;
    Error::new(
        ErrorKind::ResourcesExhausted,
        format!(
            "The transaction selects more rows than the limit of {limit}. Ask for fewer at a time."
        ),
    )
}

/// Whether rows of so many bytes may be selected. `limit` is that of who asks.
pub(crate) fn check_selected_bytes(
    database: &Database,
    bytes: usize,
    limit: usize,
) -> Result<(), Error> {
    let limit = database.limits.selected_bytes.min(limit);
    if bytes <= limit {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::ResourcesExhausted,
        format!(
            "The transaction selects rows of more bytes than the limit of {limit}. Ask for fewer rows or columns at a \
             time."
        ),
    ))
}

/// About how many elements an operation copies to change a row.
fn steps_to_change(operation: &Operation, row: &Row) -> usize {
    match operation {
        Operation::Update { row: columns, .. } => {
            columns.iter().map(|(_, datum)| 1 + datum.len()).sum()
        }
        Operation::Mutate { mutations, .. } => mutations
            .iter()
            .map(|mutation| 1 + row.get(mutation.column).len() + mutation.arg.len())
            .sum(),
        _ => 1,
    }
}
