//! From a command line to its effect.
//!
//! [`line`] runs the commands of a line over a snapshot, without I/O. [`commit`] does the rest against a [`Database`]:
//! it commits what the commands want, runs them again when somebody else was faster, and waits where that was asked
//! for. [`connection`] is a database behind a socket.

pub mod commit;
pub mod connection;
pub mod line;
mod options;
mod program;

use ovsdb::Operation;
use ovsdb::operation::Outcome;

use northbound::Snapshot;

pub use options::{RunOptions, Wait};
pub use program::{Reporter, run_tool};

/// A database, as far as a command line needs it.
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
