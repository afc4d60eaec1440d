//! What the owner of a replica is told.

use ovsdb::operation::OpResult;
use ovsdb::{Remote, RowChange};

use crate::error::TransactError;

/// Something happened to a replica.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A connection stands; the contents are on their way.
    Connected {
        /// To where.
        remote: Remote,
    },
    /// A connection was lost, or could not be made. There will be another attempt.
    Disconnected {
        /// To where it was, or should have been.
        remote: Remote,
        /// Why.
        reason: String,
    },
    /// Rows changed, all in one transaction, or in the change from what was told before to what the server has now.
    /// Each row once.
    Changes(Vec<RowChange>),
    /// The changes so far are what the server has: after each connection once.
    Synced,
    /// The conditions are in effect that [`Handle::set_conditions`](crate::Handle::set_conditions) gave this number, and
    /// all before it, and what they brought has been told.
    ConditionsInEffect(u64),
    /// Whether the lock is ours now. Each session says so anew; [`Event::Disconnected`] takes it away without a word.
    Lock(bool),
    /// A transaction is done.
    TransactReply {
        /// The number that the owner gave it.
        id: u64,
        /// A result an operation.
        result: Result<Vec<OpResult>, TransactError>,
    },
}
