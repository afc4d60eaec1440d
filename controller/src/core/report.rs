//! A pause before the southbound is told which configuration was reached: for tests of what waits for it
//! (`debug/delay-nb-cfg-report`).

use std::time::{Duration, Instant};

/// The pause, and what it holds back.
#[derive(Debug, Default)]
pub(super) struct Report {
    pause: Duration,
    /// The configuration that was reached last.
    reached: Option<i64>,
    due: Option<Instant>,
}

impl Report {
    /// From now on each is held back so long.
    pub(super) fn set_pause(&mut self, pause: Duration) {
        self.pause = pause;
        self.due = None;
    }

    /// Whether it may be told that this configuration was reached.
    pub(super) fn may_tell(&mut self, now: Instant, reached: i64) -> bool {
        if !self.pause.is_zero() && self.reached.replace(reached) != Some(reached) {
            self.due = Some(now + self.pause);
        }
        self.due.is_none()
    }

    /// Forgets a time that has come.
    pub(super) fn elapse(&mut self, now: Instant) {
        self.due.take_if(|due| *due <= now);
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_configuration_is_held_back() {
        let begin = Instant::now();
        let second = Duration::from_secs(1);
        let mut report = Report::default();
        assert!(report.may_tell(begin, 1));
        report.set_pause(2 * second);
        assert!(!report.may_tell(begin, 2));
        assert_eq!(report.deadline(), Some(begin + 2 * second));
        report.elapse(begin + second);
        assert!(!report.may_tell(begin + second, 2));
        report.elapse(begin + 2 * second);
        assert!(report.may_tell(begin + 2 * second, 2));
        assert!(!report.may_tell(begin + 3 * second, 3));
        report.set_pause(Duration::from_secs(u32::MAX.into()));
        assert!(!report.may_tell(begin + 3 * second, 4));
        report.set_pause(Duration::ZERO);
        assert!(report.may_tell(begin + 3 * second, 3));
    }
}
