//! The steps of a daemon's event loop: how long they take, for metrics, `stopwatch/*` and the log.
//!
//! `inc-engine/compute-log-timeout` says from when on a step is told in the log, and `inc-engine/list-stopwatches` by which name
//! the steps are measured.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::Metrics;
use crate::stopwatch::Stopwatch;
use crate::unixctl::Command;

/// A step that takes so long is told in the log, unless somebody has said otherwise: OVN's time.
const TOLD_FROM_MS: u64 = 500;

/// What operators ask of a loop.
pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "inc-engine/compute-log-timeout",
        usage: "MS",
        min_args: 1,
        max_args: 1,
    },
    Command::plain("inc-engine/list-stopwatches"),
];

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

    /// Carries out one of [`COMMANDS`]; `None` for others.
    pub(crate) fn command(&self, name: &str, args: &[String]) -> Option<Result<String, String>> {
        match name {
            "inc-engine/list-stopwatches" => Some(Ok(format!("{}\n", self.stopwatch.name()))),
            "inc-engine/compute-log-timeout" => {
                let ms = args.first().and_then(|text| text.parse().ok());
                let set = ms.map(|ms| self.told_from_ms.store(ms, Ordering::Relaxed));
                let answer = set.map(|()| String::new());
                Some(answer.ok_or_else(|| "unsigned integer required".to_owned()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_from_when_on_can_be_set() {
        let steps = EventLoop::new("steps");
        let set = |text: &str| steps.command("inc-engine/compute-log-timeout", &[text.to_owned()]);
        assert_eq!(set("100"), Some(Ok(String::new())));
        assert_eq!(steps.told_from_ms.load(Ordering::Relaxed), 100);
        for text in ["", "-1", "x", "1.5"] {
            let refused = Err("unsigned integer required".to_owned());
            assert_eq!(set(text), Some(refused), "{text}");
        }
        assert_eq!(steps.told_from_ms.load(Ordering::Relaxed), 100);
        assert_eq!(
            steps.command("inc-engine/list-stopwatches", &[]),
            Some(Ok("steps\n".to_owned()))
        );
        assert_eq!(steps.command("inc-engine/recompute", &[]), None);
    }
}
