//! Rows that the database would not take, and when they are tried again.
//!
//! They are tried apart from everything else, in *rounds*: the rows of a round together, and when that is refused in smaller
//! and smaller parts, until each has been taken or found at fault, or the round has used up its transactions; then the next
//! one begins where this one ended. Rounds come when something has happened that may have been in the way, and from time to
//! time anyway, since not everything that can be in the way is seen from here. Pauses grow while nothing comes of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::compiler::fact::{RowId, TableId};

/// The first pause before rows are tried again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// So many rows are tried together at most.
const MAX_TOGETHER: usize = 1000;
/// So many transactions has a round.
const MAX_TRIES: usize = 64;

/// What was set aside.
#[derive(Clone, Default)]
pub(super) struct Aside {
    rows: BTreeSet<RowId>,
    /// How many rows of each table.
    tables: BTreeMap<TableId, usize>,
    /// When the last round began, or the first row was set aside; and the pause after that.
    tried: Option<Instant>,
    pause: Duration,
    /// Whether something has happened since that may have been in the way, and the pause if so.
    is_stirred: bool,
    stirred_pause: Duration,
    /// What is still to be tried in this round, how many rows at once, and in how many transactions at most.
    round: VecDeque<RowId>,
    together: usize,
    tries: usize,
    /// The last row that was tried.
    last: Option<RowId>,
    /// Rows that were set aside (`true`), and those that are no longer, in this order.
    news: Vec<(RowId, bool)>,
}

impl Aside {
    /// Sets a row aside. Returns whether that is new.
    pub(super) fn add(&mut self, id: RowId, now: Instant) -> bool {
        let is_new = self.rows.insert(id);
        if is_new {
            *self.tables.entry(id.table).or_default() += 1;
            self.news.push((id, true));
        }
        if self.tried.is_none() {
            (self.pause, self.stirred_pause) = (FIRST_PAUSE, FIRST_PAUSE);
        }
        self.tried.get_or_insert(now);
        is_new
    }

    /// A row has been taken after all, or is not wanted any more.
    pub(super) fn remove(&mut self, id: RowId) {
        if self.rows.is_empty() || !self.rows.remove(&id) {
            return;
        }
        self.news.push((id, false));
        if let Some(count) = self.tables.get_mut(&id.table) {
            *count -= 1;
            if *count == 0 {
                self.tables.remove(&id.table);
            }
        }
        if self.rows.is_empty() {
            // A new story begins with short pauses.
            self.tried = None;
            self.round.clear();
        }
    }

    /// Whether a row is set aside.
    pub(super) fn contains(&self, id: RowId) -> bool {
        !self.rows.is_empty() && self.rows.contains(&id)
    }

    /// Whether a row of a table is, other than this one.
    pub(super) fn has_other(&self, table: TableId, than: Uuid) -> bool {
        match self.tables.get(&table) {
            None => false,
            Some(1) => !self.rows.contains(&RowId { table, uuid: than }),
            Some(_) => true,
        }
    }

    /// Something has happened that may have been in the way.
    pub(super) fn stir(&mut self) {
        self.is_stirred = true;
    }

    /// Begins a round, if it is time.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.due_at().is_none_or(|at| at > now) {
            return;
        }
        self.tried = Some(now);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        // What goes on happening is as often in vain.
        self.stirred_pause = if std::mem::take(&mut self.is_stirred) {
            (self.stirred_pause * 2).min(LONGEST_PAUSE)
        } else {
            FIRST_PAUSE
        };
        let behind = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.rows.range((behind, Bound::Unbounded));
        let rest = self.last.map(|last| self.rows.range(..=last));
        self.round = behind.chain(rest.into_iter().flatten()).copied().collect();
        (self.together, self.tries) = (MAX_TOGETHER, MAX_TRIES);
    }

    /// When the next round begins; not while there is one.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let tried = self.tried.filter(|_| self.round.is_empty())?;
        let pause = if self.is_stirred {
            self.pause.min(self.stirred_pause)
        } else {
            self.pause
        };
        Some(tried + pause)
    }

    /// Whether rows are to be tried now.
    pub(super) fn is_trying(&self) -> bool {
        !self.round.is_empty()
    }

    /// The next row to be tried, if there may be one more beside `count` others.
    pub(super) fn next(&mut self, count: usize) -> Option<RowId> {
        if count >= self.together {
            return None;
        }
        loop {
            let id = self.round.pop_front()?;
            if self.rows.contains(&id) {
                self.last = Some(id);
                return Some(id);
            }
        }
    }

    /// What was tried together was taken.
    pub(super) fn taken(&mut self) {
        self.together = (self.together * 2).min(MAX_TOGETHER);
        self.tried_once();
    }

    /// What was tried together was refused for what it is: it is tried in smaller parts, unless it was a single row.
    pub(super) fn refused(&mut self, ids: &[RowId]) {
        if ids.len() > 1 {
            self.together = (ids.len() / 8).max(1);
            self.again(ids);
        }
        self.tried_once();
    }

    /// What was tried together was not even looked at, or nobody knows.
    pub(super) fn again(&mut self, ids: &[RowId]) {
        ids.iter().rev().for_each(|id| self.round.push_front(*id));
    }

    fn tried_once(&mut self) {
        self.tries = self.tries.saturating_sub(1);
        if self.tries == 0 {
            self.round.clear();
        }
    }

    /// The same rows, for who has not seen how they came here: they are news.
    pub(super) fn anew(&self) -> Self {
        Self {
            round: VecDeque::new(),
            news: self.rows.iter().map(|id| (*id, true)).collect(),
            ..self.clone()
        }
    }

    /// The rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = RowId> + '_ {
        self.rows.iter().copied()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows that have been set aside since the last call (`true`), or are no longer, in this order.
    pub(super) fn take_news(&mut self) -> Vec<(RowId, bool)> {
        std::mem::take(&mut self.news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u128) -> RowId {
        let uuid = Uuid::from_u128(number);
        RowId { table: 0, uuid }
    }

    /// The rows that are tried together.
    fn next(aside: &mut Aside) -> Vec<u128> {
        let mut ids = Vec::new();
        while let Some(id) = aside.next(ids.len()) {
            ids.push(id.uuid.as_u128());
        }
        ids
    }

    fn rows(numbers: &[u128]) -> Vec<RowId> {
        numbers.iter().copied().map(row).collect()
    }

    #[test]
    fn pauses_grow_until_something_is_out_of_the_way() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut aside = Aside::default();
        assert!(aside.add(row(1), at(0)));
        assert_eq!(aside.take_news(), [(row(1), true)]);
        let mut now = 0;
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            now += pause;
            assert_eq!(aside.due_at(), Some(at(now)));
            aside.begin(at(now - 1));
            assert_eq!(next(&mut aside), []);
            aside.begin(at(now));
            assert_eq!(next(&mut aside), [1]);
            aside.refused(&[row(1)]);
            assert!(!aside.add(row(1), at(now)) && aside.take_news().is_empty());
        }
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            aside.stir();
            now += pause;
            assert_eq!(
                aside.due_at(),
                Some(at(now)),
                "soon, and later if in vain again and again"
            );
            aside.begin(at(now));
            assert_eq!(next(&mut aside), [1]);
            aside.refused(&[row(1)]);
        }
        aside.remove(row(1));
        assert!(aside.is_empty() && aside.take_news() == [(row(1), false)]);
        assert_eq!(aside.due_at(), None);
        aside.add(row(2), at(now));
        assert_eq!(
            aside.due_at(),
            Some(at(now + 1)),
            "a new story has short pauses"
        );
    }

    #[test]
    fn a_round_finds_the_one_row_at_fault() {
        let now = Instant::now();
        let mut aside = Aside::default();
        (0..500).for_each(|number| assert!(aside.add(row(number), now)));
        aside.begin(now + FIRST_PAUSE);
        let mut tries = 0;
        loop {
            let ids = next(&mut aside);
            if ids.is_empty() {
                break;
            }
            tries += 1;
            assert!(!aside.is_trying() || aside.due_at().is_none());
            if ids.contains(&321) {
                aside.refused(&rows(&ids));
            } else {
                aside.taken();
                rows(&ids).into_iter().for_each(|id| aside.remove(id));
            }
        }
        assert!(aside.rows.iter().eq(&[row(321)]));
        assert!(tries < 40, "{tries}");
    }

    #[test]
    fn a_round_has_an_end_and_the_next_one_goes_on_there() {
        let now = Instant::now();
        let mut aside = Aside::default();
        (0..500).for_each(|number| assert!(aside.add(row(number), now)));
        let mut alone = BTreeSet::new();
        for round in 1..=40u64 {
            aside.begin(now + LONGEST_PAUSE * u32::try_from(round).expect("small"));
            let mut tries = 0;
            while aside.is_trying() {
                let ids = next(&mut aside);
                if let [id] = *ids {
                    alone.insert(id);
                }
                aside.refused(&rows(&ids));
                tries += 1;
            }
            assert!(tries <= MAX_TRIES);
        }
        assert_eq!(alone.len(), 500, "each has had its turn");
    }

    #[test]
    fn what_was_not_looked_at_is_tried_again() {
        let now = Instant::now();
        let mut aside = Aside::default();
        (0..3).for_each(|number| assert!(aside.add(row(number), now)));
        assert!(aside.has_other(0, Uuid::nil()) && !aside.has_other(1, Uuid::nil()));
        aside.begin(now + FIRST_PAUSE);
        assert_eq!(next(&mut aside), [0, 1, 2]);
        aside.again(&rows(&[0, 1, 2]));
        aside.remove(row(1));
        aside.remove(row(2));
        assert!(!aside.has_other(0, Uuid::nil()));
        assert_eq!(next(&mut aside), [0], "of those that are still aside");
    }
}
