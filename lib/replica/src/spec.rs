//! What to replicate, and from where.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use ovsdb::monitor::TableMonitor;
use ovsdb::schema::DatabaseSchema;
use ovsdb::{ColumnRef, Condition, Remote, Table};

use crate::Tls;

/// What to replicate, and from where.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Our schema of the database, by which all tables and columns are numbered. Its name is the database's name.
    pub schema: Arc<DatabaseSchema>,
    /// The tables to see; others can be written all the same.
    pub tables: Vec<TableSpec>,
    /// Where the database is: the members of one cluster, tried in turn.
    pub remotes: Vec<Remote>,
    /// A lock to own.
    pub lock: Option<Arc<str>>,
    /// Tables of which the server need not tell what this client itself has inserted while it owns the lock. What others insert
    /// there reads as rows of defaults, and so does what it has inserted itself and is told of in another session, or after its answer.
    /// For owners to whom a row's name says everything. Over gRPC everything is told.
    pub own_inserts: Vec<usize>,
    /// Whether to stay with the leader of the cluster only: for those who write much, or must see their writes.
    pub leader_only: bool,
    /// Whether transactions that were not answered when a connection broke are sent again, where that is safe: over
    /// gRPC, which applies a transaction once however often it comes. Not for owners that make up their transactions
    /// anew from what they see after a reconnection.
    pub resend: bool,
    /// After how long a silence to ask whether the server is there; after as long again the connection is given up.
    /// Zero: never.
    pub probe_interval: Duration,
    /// How to be known to servers behind TLS, and to know them.
    pub tls: Option<Tls>,
    /// What tells this one from others with the same remotes, such as [`Spec::any_chance`]: by it those begin with
    /// different remotes, and do not come back in step. `None`: the first remote comes first, and pauses are whole.
    pub chance: Option<u64>,
}

/// A table to see.
#[derive(Clone, Debug, PartialEq)]
pub struct TableSpec {
    /// The table's index in the schema.
    pub table: usize,
    /// Its columns.
    pub columns: Columns,
    /// Its rows.
    pub condition: Condition,
}

/// Columns of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Columns {
    /// All of them.
    All,
    /// Those with these indexes in the table's schema; the others read as their defaults.
    Only(Vec<usize>),
}

impl Spec {
    /// OVSDB's usual interval between probes.
    pub const PROBE_INTERVAL: Duration = Duration::from_secs(5);

    /// All of the database that `remotes` serve.
    pub fn new(schema: Arc<DatabaseSchema>, remotes: Vec<Remote>) -> Self {
        Self {
            tables: (0..schema.tables.len()).map(TableSpec::all).collect(),
            schema,
            remotes,
            lock: None,
            own_inserts: Vec::new(),
            leader_only: false,
            resend: false,
            probe_interval: Self::PROBE_INTERVAL,
            tls: None,
            chance: None,
        }
    }

    /// Another number each time.
    pub fn any_chance() -> Option<u64> {
        Some(RandomState::new().hash_one(()))
    }
}

impl TableSpec {
    /// All rows and columns of the table with this index.
    pub fn all(table: usize) -> Self {
        Self {
            table,
            columns: Columns::All,
            condition: Condition::everything(),
        }
    }

    /// All rows and columns of table `T`.
    pub fn of<T: Table>() -> Self {
        Self::all(T::INDEX)
    }

    /// The same with only these columns, indexes into the table's schema.
    #[must_use]
    pub fn columns(mut self, columns: impl IntoIterator<Item = usize>) -> Self {
        self.columns = Columns::Only(columns.into_iter().collect());
        self
    }

    /// The same with only the rows that meet `condition`.
    #[must_use]
    pub fn rows(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// The table's part of a monitor request.
    pub(crate) fn monitor(&self, schema: &DatabaseSchema) -> TableMonitor {
        let all = 0..schema.tables[self.table].columns.len();
        let columns: Vec<ColumnRef> = match &self.columns {
            Columns::All => all.map(ColumnRef::Column).collect(),
            Columns::Only(columns) => columns.iter().copied().map(ColumnRef::Column).collect(),
        };
        TableMonitor::new(self.table, columns, self.condition.clone())
    }
}
