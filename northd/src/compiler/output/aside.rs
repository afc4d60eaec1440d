//! Rows that the database would not take, and when they are tried again.
//!
//! They are tried again, all together, when something has changed that may have been in their way, though not more often
//! than once in [`FIRST_PAUSE`]; and from time to time anyway, after longer and longer pauses, since not everything that can
//! be in the way is seen from here.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::compiler::fact::RowId;

/// The first pause before rows are tried again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What was set aside.
#[derive(Default)]
pub(super) struct Aside {
    rows: BTreeSet<RowId>,
    /// When they were tried for the last time, and how long the pause after that is.
    tried: Option<Instant>,
    pause: Duration,
    /// Whether they have been tried since, and nothing has come of it yet.
    is_trying: bool,
    has_news: bool,
}

impl Aside {
    /// Sets a row aside. Returns whether that is new.
    pub(super) fn add(&mut self, id: RowId, now: Instant) -> bool {
        let is_new = self.rows.insert(id);
        self.has_news |= is_new;
        if self.tried.is_none() {
            self.pause = FIRST_PAUSE;
        }
        self.tried.get_or_insert(now);
        self.is_trying = false;
        is_new
    }

    /// A row has been taken after all, or is not wanted any more.
    pub(super) fn remove(&mut self, id: RowId) {
        if self.rows.remove(&id) {
            self.has_news = true;
            if self.rows.is_empty() {
                (self.tried, self.is_trying) = (None, false);
            }
        }
    }

    /// What may have been in the way is gone: the pause begins anew, with the shortest.
    pub(super) fn stir(&mut self) {
        self.pause = FIRST_PAUSE;
        self.is_trying = false;
    }

    /// The rows to be tried now.
    pub(super) fn retry(&mut self, now: Instant) -> Vec<RowId> {
        if self.retry_at().is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.tried = Some(now);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.is_trying = true;
        self.rows.iter().copied().collect()
    }

    /// When they are tried again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        let tried = self.tried.filter(|_| !self.is_trying)?;
        Some(tried + self.pause)
    }

    /// The rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = RowId> + '_ {
        self.rows.iter().copied()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether rows have been set aside or taken after all since the last call.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn row(number: u128) -> RowId {
        let uuid = Uuid::from_u128(number);
        RowId { table: 0, uuid }
    }

    #[test]
    fn pauses_grow_until_something_is_out_of_the_way() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut aside = Aside::default();
        assert!(aside.add(row(1), at(0)) && aside.take_news());
        assert_eq!(aside.retry_at(), Some(at(1)));
        assert_eq!(aside.retry(at(1)), [row(1)]);
        assert_eq!(aside.retry_at(), None, "the answer comes first");
        assert!(!aside.add(row(1), at(1)) && !aside.take_news());
        assert_eq!(aside.retry_at(), Some(at(3)));
        assert_eq!(aside.retry(at(2)), []);
        aside.retry(at(3));
        aside.add(row(1), at(3));
        assert_eq!(aside.retry_at(), Some(at(7)));
        aside.stir();
        assert_eq!(aside.retry_at(), Some(at(4)));
        assert_eq!(
            aside.retry(at(6)),
            [row(1)],
            "at once, if the last time was long ago"
        );
        aside.remove(row(1));
        assert!(aside.is_empty() && aside.take_news());
        assert_eq!(aside.retry_at(), None);
        aside.add(row(2), at(9));
        assert_eq!(
            aside.retry_at(),
            Some(at(10)),
            "a new story has short pauses"
        );
    }
}
