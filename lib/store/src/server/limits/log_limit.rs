//! A rate limit for what the log says of clients: without one, anybody who can connect could fill the
//! disk.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many lines are written in a [`PERIOD`].
const LINES: u32 = 60;
/// After so long there may be as many again.
const PERIOD: Duration = Duration::from_secs(60);

/// How much was said of late.
#[derive(Debug)]
struct Limit {
    since: Option<Instant>,
    lines: u32,
    /// How many lines were left out.
    withheld: u64,
}

impl Limit {
    const NEW: Self = Self {
        since: None,
        lines: 0,
        withheld: 0,
    };

    /// Whether a line may be written now; if so, how many were left out before it.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let is_over = |since| now.saturating_duration_since(since) >= PERIOD;
        if self.since.is_none_or(is_over) {
            (self.since, self.lines) = (Some(now), 0);
        }
        if self.lines >= LINES {
            self.withheld += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.withheld))
    }
}

/// Logs a warning about a client, unless there were many of late.
pub fn warn(client: &dyn Display, what: &dyn Display) {
    if may_speak() {
        tracing::warn!("{client}: {what}");
    }
}

/// Logs something less grave about a client, unless there was much of late.
pub fn inform(client: &dyn Display, what: &dyn Display) {
    if may_speak() {
        tracing::info!("{client}: {what}");
    }
}

fn may_speak() -> bool {
    static LIMIT: Mutex<Limit> = Mutex::new(Limit::NEW);
    let mut limit = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    let allowed = limit.take(Instant::now());
    drop(limit);
    if let Some(withheld @ 1..) = allowed {
        tracing::warn!("{withheld} more lines about clients were left out");
    }
    allowed.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted_and_told_later() {
        let (mut limit, start) = (Limit::NEW, Instant::now());
        for _ in 0..LINES {
            assert_eq!(limit.take(start), Some(0));
        }
        for _ in 0..500 {
            assert_eq!(limit.take(start + PERIOD / 2), None);
        }
        assert_eq!(limit.take(start + PERIOD), Some(500));
        assert_eq!(limit.take(start + PERIOD), Some(0));
    }
}
