//! What can keep the controller from running at all. Everything else is told in the log, and tried again.

/// Why the controller cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The local switch's database is not named in a way that can be understood.
    #[error("{0}")]
    Remote(#[from] ovsdb::remote::RemoteError),
    /// The metrics cannot be told.
    #[error(transparent)]
    Metrics(#[from] daemon::metrics::ListenError),
    /// The files for TLS.
    #[error(transparent)]
    Tls(#[from] daemon::args::TlsArgsError),
    /// It could not take its place among the daemons.
    #[error(transparent)]
    Start(#[from] daemon::StartError),
    /// A recording cannot be replayed.
    #[error(transparent)]
    Replay(#[from] crate::record::ReplayError),
    /// The system refused something that every daemon needs.
    #[error("{what}: {error}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why it was refused.
        error: std::io::Error,
    },
}
