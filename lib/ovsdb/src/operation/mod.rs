//! The operations of a transaction: RFC 7047, section 5.2, and what comes back for each.
//!
//! Operations are read against the schema of their database: tables and columns become indexes, values become data of
//! the columns' types, and names of rows to be (`uuid-name`, `["named-uuid", …]`) become UUIDs. So an [`Operation`]
//! that exists is well-typed. What depends on the rows that are there, on `mutable`, or on other operations, is for
//! the engine to check.
//!
//! Every insert has its UUID from the start: the client's own choice (the `uuid` member, an Open vSwitch extension),
//! or one that the reader is given to hand out. Clients of this crate always choose, so that they can refer to a new
//! row, in the same transaction and later, without waiting for an answer.
//!
//! Open vSwitch refuses a transaction at the first operation that it cannot read, after executing those before it.
//! [`Transaction`] keeps that: it holds the operations up to there, and the error.

mod outcome;
mod read;
mod text;
mod write;

use std::sync::Arc;

use serde::ser::Serialize;
use uuid::Uuid;

use crate::condition::{Clause, ColumnRef};
use crate::datum::Datum;
use crate::mutation::Mutation;
use crate::schema::DatabaseSchema;

pub use outcome::{
    Failure, OpResult, Outcome, Selected, outcome_from_json, outcome_to_json, outcome_to_text,
    results,
};
pub(crate) use read::is_id;
pub use read::{Transaction, TransactionReader};
pub use text::{MAX_OPERATIONS, Operations};
pub use write::operations_to_text;
pub(crate) use write::write_transact;

/// One operation of a transaction. Tables and columns are indexes into the database's schema; a list of clauses means
/// the rows for which all of them hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// A new row (section 5.2.1). Columns that `row` does not have get their defaults.
    Insert {
        /// The table.
        table: usize,
        /// The row's identity.
        uuid: Uuid,
        /// The columns that are given, each at most once.
        row: Vec<(usize, Datum)>,
    },
    /// Rows to read (section 5.2.2).
    Select {
        /// The table.
        table: usize,
        /// Which rows.
        condition: Vec<Clause>,
        /// Which columns: shared, because most of a million are the same.
        columns: Arc<[ColumnRef]>,
    },
    /// Columns to overwrite (section 5.2.3).
    Update {
        /// The table.
        table: usize,
        /// Which rows.
        condition: Vec<Clause>,
        /// The columns that are given, each at most once.
        row: Vec<(usize, Datum)>,
    },
    /// Columns to change (section 5.2.4).
    Mutate {
        /// The table.
        table: usize,
        /// Which rows.
        condition: Vec<Clause>,
        /// The changes, done in this order.
        mutations: Vec<Mutation>,
    },
    /// Rows to delete (section 5.2.5).
    Delete {
        /// The table.
        table: usize,
        /// Which rows.
        condition: Vec<Clause>,
    },
    /// Waits until the rows are, or are not, these (section 5.2.6).
    Wait {
        /// The table.
        table: usize,
        /// Which rows.
        condition: Vec<Clause>,
        /// Which columns of them are compared.
        columns: Vec<ColumnRef>,
        /// Whether they should be `rows`, or should not.
        until: Until,
        /// The rows to compare with, as a set; a column that is not given has its default.
        rows: Vec<Vec<(ColumnRef, Datum)>>,
        /// How long to wait; `None` for as long as it takes. Zero checks once.
        timeout_ms: Option<u64>,
    },
    /// Asks that the transaction be on disk before the answer, if `durable` (section 5.2.7).
    Commit {
        /// Whether to wait for the disk.
        durable: bool,
    },
    /// Fails the transaction (section 5.2.8).
    Abort,
    /// A remark for the log (section 5.2.9).
    Comment {
        /// The remark.
        comment: Arc<str>,
    },
    /// Fails the transaction unless the session owns this lock (section 5.2.10).
    Assert {
        /// The lock's name.
        lock: Arc<str>,
    },
}

/// What a `wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// `==`: the rows are these.
    Equal,
    /// `!=`: the rows are not these.
    NotEqual,
}

impl Operation {
    /// Deletes the row `uuid`.
    pub fn delete_row(table: usize, uuid: Uuid) -> Self {
        Self::Delete {
            table,
            condition: vec![Clause::is_row(uuid)],
        }
    }

    /// Overwrites columns of the row `uuid`.
    pub fn update_row(table: usize, uuid: Uuid, row: Vec<(usize, Datum)>) -> Self {
        Self::Update {
            table,
            condition: vec![Clause::is_row(uuid)],
            row,
        }
    }

    /// Changes columns of the row `uuid`.
    pub fn mutate_row(table: usize, uuid: Uuid, mutations: Vec<Mutation>) -> Self {
        Self::Mutate {
            table,
            condition: vec![Clause::is_row(uuid)],
            mutations,
        }
    }

    /// Checks, without waiting, that the row `uuid` exists and has these columns, and fails the transaction with
    /// "timed out" if not.
    pub fn verify_row(table: usize, uuid: Uuid, row: Vec<(usize, Datum)>) -> Self {
        let row: Vec<(ColumnRef, Datum)> = row
            .into_iter()
            .map(|(column, datum)| (ColumnRef::Column(column), datum))
            .collect();
        Self::Wait {
            table,
            condition: vec![Clause::is_row(uuid)],
            columns: row.iter().map(|(column, _)| *column).collect(),
            until: Until::Equal,
            rows: vec![row],
            timeout_ms: Some(0),
        }
    }

    /// The operation's name in the protocol.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Insert { .. } => "insert",
            Self::Select { .. } => "select",
            Self::Update { .. } => "update",
            Self::Mutate { .. } => "mutate",
            Self::Delete { .. } => "delete",
            Self::Wait { .. } => "wait",
            Self::Commit { .. } => "commit",
            Self::Abort => "abort",
            Self::Comment { .. } => "comment",
            Self::Assert { .. } => "assert",
        }
    }

    /// The table that it is about, if it is about one.
    pub fn table(&self) -> Option<usize> {
        match self {
            Self::Insert { table, .. }
            | Self::Select { table, .. }
            | Self::Update { table, .. }
            | Self::Mutate { table, .. }
            | Self::Delete { table, .. }
            | Self::Wait { table, .. } => Some(*table),
            Self::Commit { .. } | Self::Abort | Self::Comment { .. } | Self::Assert { .. } => None,
        }
    }

    /// Whether it can change a row.
    pub fn is_write(&self) -> bool {
        matches!(
            self,
            Self::Insert { .. } | Self::Update { .. } | Self::Mutate { .. } | Self::Delete { .. }
        )
    }

    /// The operation with the names that its JSON form needs.
    pub fn with<'a>(&'a self, schema: &'a DatabaseSchema) -> impl Serialize + 'a {
        write::WithSchema {
            schema,
            operation: self,
        }
    }
}

#[cfg(test)]
mod tests;
