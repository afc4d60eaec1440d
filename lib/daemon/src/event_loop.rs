//! The steps of a daemon's event loop: how long they take, for metrics, `stopwatch/*` and the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::Metrics;
use crate::stopwatch::Stopwatch;

/// A step that takes so long is told in the log, unless somebody has said otherwise: OVN's time.
const TOLD_FROM_MS: u64 = 500;

/// An event loop whose steps are measured.
#[derive(Debug)]
pub struct EventLoop {
    pub(crate) stopwatch: Stopwatch,
    told_from_ms: AtomicU64,
}

impl EventLoop {
    /// A loop that has not stepped; `name` is that of its stopwatch.
    pub const fn new(name: &'static str) -> Self {
        Self {
            stopwatch: Stopwatch::new(name),
            told_from_ms: AtomicU64::new(TOLD_FROM_MS),
        }
    }

    /// One step took so long.
    pub fn stepped(&self, metrics: &Metrics, took: Duration) {
        metrics.stepped(took);
        self.stopwatch.add(took);
        if took >= Duration::from_millis(self.told_from_ms.load(Ordering::Relaxed)) {
            tracing::info!(target: "inc_engine", "one step took {} ms", took.as_millis());
        }
    }

    /// `inc-engine/list-stopwatches`: by which name the steps are measured.
    pub(crate) fn list(&self) -> String {
        format!("{}\n", self.stopwatch.name())
    }

    /// `inc-engine/compute-log-timeout`: from when on a step is told in the log.
    pub(crate) fn tell_from(&self, ms: &str) -> Result<String, String> {
        let ms = ms.parse().map_err(|_| "unsigned integer required")?;
        self.told_from_ms.store(ms, Ordering::Relaxed);
        Ok(String::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_from_when_on_can_be_set() {
        let steps = EventLoop::new("steps");
        assert_eq!(steps.tell_from("100"), Ok(String::new()));
        assert_eq!(steps.told_from_ms.load(Ordering::Relaxed), 100);
        for text in ["", "-1", "x", "1.5"] {
            let refused = Err("unsigned integer required".to_owned());
            assert_eq!(steps.tell_from(text), refused, "{text}");
        }
        assert_eq!(steps.told_from_ms.load(Ordering::Relaxed), 100);
        assert_eq!(steps.list(), "steps\n");
    }
}
