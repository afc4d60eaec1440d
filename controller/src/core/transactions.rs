//! At most one transaction under way for each database; after one that failed, a pause.

use std::time::{Duration, Instant};

/// The pause after a failure, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// The transactions of one database.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    under_way: Option<u64>,
    /// How long the last pause was; none since a transaction succeeded.
    pause: Option<Duration>,
    retry_at: Option<Instant>,
}

impl Transactions {
    /// Time has passed: a pause may be over.
    pub(super) fn elapse(&mut self, now: Instant) {
        self.retry_at = self.retry_at.filter(|at| *at > now);
    }

    /// Whether another may be sent.
    pub(super) fn may_send(&self) -> bool {
        self.under_way.is_none() && self.retry_at.is_none()
    }

    pub(super) fn sent(&mut self, id: u64) {
        self.under_way = Some(id);
    }

    /// Whether it is this transaction that was answered; if so, there may be another, at once or after a pause.
    pub(super) fn answered(&mut self, now: Instant, id: u64, failed: bool) -> bool {
        if self.under_way != Some(id) {
            return false;
        }
        self.under_way = None;
        self.pause = failed.then(|| self.pause.map_or(PAUSE.0, |pause| (pause * 2).min(PAUSE.1)));
        self.retry_at = self.pause.map(|pause| now + pause);
        true
    }

    /// When a pause ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_costs_a_pause_that_grows() {
        let mut transactions = Transactions::default();
        let mut now = Instant::now();
        for millis in [100, 200, 400, 800, 1000, 1000] {
            transactions.elapse(now);
            assert!(transactions.may_send());
            transactions.sent(7);
            assert!(!transactions.may_send());
            assert!(!transactions.answered(now, 6, true));
            assert!(transactions.answered(now, 7, true));
            let due = transactions.deadline().expect("a pause");
            assert_eq!(due - now, Duration::from_millis(millis));
            assert!(!transactions.may_send());
            now = due;
        }
        transactions.elapse(now);
        transactions.sent(8);
        assert!(transactions.answered(now, 8, false) && transactions.may_send());
        assert_eq!(transactions.deadline(), None);
    }
}
