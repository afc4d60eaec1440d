//! The signals that a daemon heeds.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To end in good order (SIGTERM, SIGINT).
    Exit,
    /// To open the log file again, after it was rotated (SIGHUP).
    ReopenLog,
}

/// The signals' receiver.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Starts to receive them; to be called within a tokio runtime.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Exit,
            _ = self.interrupt.recv() => Asked::Exit,
            _ = self.hangup.recv() => Asked::ReopenLog,
        }
    }
}
