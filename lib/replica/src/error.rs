//! Why a transaction did not do what it should.

use ovsdb::Error;
use ovsdb::operation::Failure;

/// Why a transaction has no results.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TransactError {
    /// It was not sent, because there is no connection, or the contents have not come yet. Nothing happened.
    #[error("not connected to the database")]
    NotConnected,
    /// The connection was lost before the answer came: nobody knows whether it happened.
    #[error("the connection was lost before the answer came")]
    Disconnected,
    /// It was not tried: the server, or this end, refused it. Nothing happened, unless the kind is
    /// [`IoError`](ovsdb::ErrorKind::IoError) (of OVN's servers `cluster error`): then nobody knows.
    #[error("{0}")]
    Refused(Error),
    /// One of its operations failed, or its commit. Nothing happened, with the same exception.
    #[error("{}", .0.error)]
    Failed(Failure),
}

impl TransactError {
    /// What the server said is wrong, if it said so.
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::NotConnected | Self::Disconnected => None,
            Self::Refused(error) => Some(error),
            Self::Failed(failure) => Some(&failure.error),
        }
    }
}
