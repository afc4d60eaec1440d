//! The time, as a daemon's core is told it: cores ask no clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The time of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For intervals and deadlines.
    pub at: Instant,
    /// Milliseconds since the Unix epoch, for timestamps in databases.
    pub unix_ms: i64,
}

impl Now {
    /// What the clocks say. For a daemon's shell.
    pub fn read() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            at: Instant::now(),
            unix_ms: i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX),
        }
    }
}
