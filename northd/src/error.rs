//! Why northd cannot start or go on.

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
    Draft(#[from] crate::draft::DraftError),
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
