//! A database, as far as a command line needs it.

use northbound::Snapshot;
use ovsdb::Operation;
use ovsdb::operation::Outcome;

/// A database that has been read, and that can be written.
pub trait Database {
    /// Its state, as far as this client has heard.
    fn snapshot(&self) -> &Snapshot;

    /// Waits until the state has changed since the last call.
    fn wait_for_change(&mut self) -> Result<(), DatabaseError>;

    /// Executes a transaction. What it changed is in the snapshot when this returns.
    fn transact(&mut self, operations: &[Operation]) -> Result<Outcome, DatabaseError>;
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// No connection could be made, or it was lost.
    #[error("{0}")]
    Connection(String),
    /// The time that the user gave is over.
    #[error("the time given with --timeout is over")]
    Timeout,
}
