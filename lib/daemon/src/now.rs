//! The time, as a daemon's core is told it: cores ask no clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::warp;

/// The time of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For intervals and deadlines. Who tests may move it ([`warp`]); timestamps stay those of the world.
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
            at: warp::shift(Instant::now()),
            unix_ms: i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX),
        }
    }
}
