//! Why northd cannot start or go on.

use std::sync::Arc;

use ovsdb::remote::RemoteError;

/// Why northd cannot start or go on. Trouble with a database is no such reason: it is waited for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A remote makes no sense.
    #[error("{flag}: {error}")]
    Remote {
        /// The flag that gave it.
        flag: &'static str,
        /// What is wrong.
        error: RemoteError,
    },
    /// The files for TLS.
    #[error(transparent)]
    Tls(#[from] daemon::args::TlsArgsError),
    /// The metrics cannot be told.
    #[error(transparent)]
    Metrics(#[from] daemon::metrics::ListenError),
    /// The daemon's surroundings.
    #[error(transparent)]
    Start(#[from] daemon::StartError),
    /// A recording cannot be replayed.
    #[error(transparent)]
    Replay(#[from] crate::record::ReplayError),
    /// What a change would do cannot be said.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// A database cannot be read for a draft.
    #[error("{0}")]
    Read(#[from] replica::ClientError),
    /// The transaction to draft makes no sense.
    #[error("the transaction on the input makes no sense: {0}")]
    Input(String),
    /// Signals or threads.
    #[error("the operating system refused {what}: {error}")]
    System {
        /// What was refused.
        what: &'static str,
        /// Why.
        error: std::io::Error,
    },
}

/// Why there is no saying what a change would do.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The rows of a database do not fit together.
    #[error("the copy of {0} does not fit together: {1}")]
    Copy(Arc<str>, String),
    /// The database would refuse the change.
    #[error("the database would refuse the change: {0}")]
    Refused(String),
    /// The compiler does not come to rest.
    #[error("the compiler did not come to rest after {0} steps")]
    Restless(usize),
    /// There are no copies, or northd would do something to them that has not been done to the databases.
    #[error("the copies are not what the databases are")]
    Stale,
}
