//! Why the daemon cannot start or go on.

use ovsdb::Listen;
use ovsdb::remote::RemoteError;

/// Why the daemon cannot start or go on. Trouble with the database is no such reason: it is waited for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A remote makes no sense.
    #[error("--nb: {0}")]
    Remote(#[from] RemoteError),
    /// The files for TLS.
    #[error(transparent)]
    Tls(#[from] daemon::args::TlsArgsError),
    /// The daemon's surroundings.
    #[error(transparent)]
    Start(#[from] daemon::StartError),
    /// A listener cannot be opened.
    #[error("{listen}: {why}")]
    Listen {
        /// Where.
        listen: Listen,
        /// Why, and what to do.
        why: String,
    },
    /// The operating system.
    #[error("the operating system refused {what}: {error}")]
    System {
        /// What was refused.
        what: &'static str,
        /// Why.
        error: std::io::Error,
    },
}
