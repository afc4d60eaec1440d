//! Rows that the database would not take, and when they are tried again.
//!
//! They are tried apart from everything else, in *rounds*: the rows of a round together, and when that is refused in smaller
//! and smaller parts, until each has been taken or found at fault, or the round has used up its transactions; then the next
//! one begins where this one ended. Each row has pauses of its own, which grow while nothing comes of it: one that is hopeless
//! keeps no other waiting. Beside that, a round of all comes when something has happened that may have been in the way.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::compiler::fact::{RowId, TableId};

/// How long a row waits that has been tried in vain so often, in seconds; the last for ever after.
const PAUSES_S: [u64; 7] = [1, 2, 4, 8, 16, 32, 60];
/// The same by itself: the place of the longest.
const LONGEST: usize = PAUSES_S.len() - 1;

/// So many rows are tried together at most.
const MAX_TOGETHER: usize = 1000;
/// So many transactions has a round.
const MAX_TRIES: usize = 64;

/// What was set aside.
#[derive(Clone, Default)]
pub(super) struct Aside {
    /// The rows, and how often each was tried in vain: a place in [`PAUSES_S`].
    rows: BTreeMap<RowId, usize>,
    /// How many rows of each table.
    tables: BTreeMap<TableId, usize>,
    /// For each pause, how many rows wait for so long, and since when.
    waiting: [(usize, Option<Instant>); PAUSES_S.len()],
    /// When the last round of all rows began; before that, when the first row was set aside.
    stirred: Option<Instant>,
    /// Whether something has happened since that may have been in the way, and the pause if so, a place in [`PAUSES_S`].
    is_stirred: bool,
    stirred_pause: usize,
    /// What is still to be tried in this round, how many rows at once, and in how many transactions at most.
    round: VecDeque<RowId>,
    together: usize,
    tries: usize,
    /// When this round began, and the last row that was tried.
    began: Option<Instant>,
    last: Option<RowId>,
    /// Rows that were set aside (`true`), and those that are no longer, in this order.
    news: Vec<(RowId, bool)>,
}

fn pause(place: usize) -> Duration {
    Duration::from_secs(PAUSES_S[place])
}

impl Aside {
    /// Sets a row aside. Returns whether that is new.
    pub(super) fn add(&mut self, id: RowId, now: Instant) -> bool {
        if self.rows.contains_key(&id) {
            return false;
        }
        *self.tables.entry(id.table).or_default() += 1;
        self.news.push((id, true));
        self.stirred.get_or_insert(now);
        self.wait(id, 0, now);
        true
    }

    /// Has a row wait from `now` on, after it was tried in vain so often; with others that began earlier, as long as they.
    fn wait(&mut self, id: RowId, place: usize, now: Instant) {
        self.rows.insert(id, place);
        let (count, since) = &mut self.waiting[place];
        *count += 1;
        since.get_or_insert(now);
    }

    fn stop_waiting(&mut self, place: usize) {
        let (count, since) = &mut self.waiting[place];
        *count -= 1;
        if *count == 0 {
            *since = None;
        }
    }

    /// A row has been taken after all, or is not wanted any more.
    pub(super) fn remove(&mut self, id: RowId) {
        let Some(place) = self.rows.remove(&id) else {
            return;
        };
        self.stop_waiting(place);
        self.news.push((id, false));
        if let Some(count) = self.tables.get_mut(&id.table) {
            *count -= 1;
            if *count == 0 {
                self.tables.remove(&id.table);
            }
        }
        if self.rows.is_empty() {
            // A new story begins with short pauses.
            (self.stirred, self.stirred_pause) = (None, 0);
            self.round.clear();
        }
    }

    /// Whether a row is set aside.
    pub(super) fn contains(&self, id: RowId) -> bool {
        !self.rows.is_empty() && self.rows.contains_key(&id)
    }

    /// Whether a row of a table is, other than this one.
    pub(super) fn has_other(&self, table: TableId, than: Uuid) -> bool {
        match self.tables.get(&table) {
            None => false,
            Some(1) => !self.rows.contains_key(&RowId { table, uuid: than }),
            Some(_) => true,
        }
    }

    /// Something has happened that may have been in the way.
    pub(super) fn stir(&mut self) {
        self.is_stirred = true;
    }

    /// Begins a round, if it is time.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.is_trying() {
            return;
        }
        let of_all = self.stirred_due_at().is_some_and(|at| at <= now);
        let due: [bool; PAUSES_S.len()] =
            std::array::from_fn(|place| self.is_due(place, now) || of_all);
        if !due.contains(&true) {
            return;
        }
        if of_all {
            self.stirred = Some(now);
            self.is_stirred = false;
            // What goes on happening is as often in vain.
            self.stirred_pause = (self.stirred_pause + 1).min(LONGEST);
        } else if !self.is_stirred {
            self.stirred_pause = 0;
        }
        // Those that this round does not come to have their next turn one pause later.
        for ((_, since), is_due) in self.waiting.iter_mut().zip(due) {
            if is_due {
                *since = since.map(|_| now);
            }
        }
        let behind = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.rows.range((behind, Bound::Unbounded));
        let rest = self.last.map(|last| self.rows.range(..=last));
        let all = behind.chain(rest.into_iter().flatten());
        let turn = all.filter(|(_, place)| due[**place]).map(|(id, _)| *id);
        self.round = turn.collect();
        (self.together, self.tries) = (MAX_TOGETHER, MAX_TRIES);
        self.began = Some(now);
    }

    fn is_due(&self, place: usize, now: Instant) -> bool {
        let (_, since) = self.waiting[place];
        since.is_some_and(|since| since + pause(place) <= now)
    }

    fn stirred_due_at(&self) -> Option<Instant> {
        let since = self.stirred.filter(|_| self.is_stirred)?;
        Some(since + pause(self.stirred_pause))
    }

    /// When the next round begins; not while there is one.
    pub(super) fn due_at(&self) -> Option<Instant> {
        if self.is_trying() {
            return None;
        }
        let waiting = self.waiting.iter().enumerate();
        let turns = waiting.filter_map(|(place, (_, since))| Some((*since)? + pause(place)));
        turns.chain(self.stirred_due_at()).min()
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
            if self.rows.contains_key(&id) {
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
        match *ids {
            [id] => self.in_vain(id),
            _ => {
                self.together = (ids.len() / 8).max(1);
                self.again(ids);
            }
        }
        self.tried_once();
    }

    fn in_vain(&mut self, id: RowId) {
        if let (Some(place), Some(began)) = (self.rows.get(&id).copied(), self.began) {
            self.stop_waiting(place);
            self.wait(id, (place + 1).min(LONGEST), began);
        }
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
            news: self.rows.keys().map(|id| (*id, true)).collect(),
            ..self.clone()
        }
    }

    /// The rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = RowId> + '_ {
        self.rows.keys().copied()
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
    use std::collections::BTreeSet;

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
        aside.stir();
        assert!(aside.due_at() <= Some(at(now)), "at once");
        aside.begin(at(now));
        assert_eq!(next(&mut aside), [1]);
        aside.refused(&[row(1)]);
        for pause in [2, 4, 8, 16, 32, 60, 60] {
            aside.stir();
            now += pause;
            assert_eq!(
                aside.due_at(),
                Some(at(now)),
                "later if in vain again and again"
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
    fn a_hopeless_row_keeps_no_other_waiting() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut aside = Aside::default();
        aside.add(row(1), at(0));
        let mut now = 0;
        for pause in PAUSES_S {
            now += pause;
            aside.begin(at(now));
            assert_eq!(next(&mut aside), [1]);
            aside.refused(&[row(1)]);
        }
        // It has a minute to wait; one that comes now has a second, and then two.
        aside.add(row(2), at(now + 10));
        for (seconds, tried) in [
            (11, 2),
            (13, 2),
            (17, 2),
            (25, 2),
            (41, 2),
            (60, 1),
            (73, 2),
        ] {
            assert_eq!(aside.due_at(), Some(at(now + seconds)), "{seconds}");
            aside.begin(at(now + seconds));
            assert_eq!(next(&mut aside), [tried], "{seconds}");
            aside.refused(&[row(tried)]);
        }
        // What may have been in the way of one may have been in the way of all.
        aside.stir();
        aside.begin(at(now + 75));
        assert_eq!(next(&mut aside), [1, 2]);
    }

    #[test]
    fn a_round_finds_the_one_row_at_fault() {
        let now = Instant::now();
        let mut aside = Aside::default();
        (0..500).for_each(|number| assert!(aside.add(row(number), now)));
        aside.begin(now + pause(0));
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
        assert!(aside.rows().eq([row(321)]));
        assert!(tries < 40, "{tries}");
    }

    #[test]
    fn a_round_has_an_end_and_the_next_one_goes_on_there() {
        let now = Instant::now();
        let mut aside = Aside::default();
        (0..500).for_each(|number| assert!(aside.add(row(number), now)));
        let mut alone = BTreeSet::new();
        for round in 1..=40u64 {
            aside.begin(now + pause(LONGEST) * u32::try_from(round).expect("small"));
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
        aside.begin(now + pause(0));
        assert_eq!(next(&mut aside), [0, 1, 2]);
        aside.again(&rows(&[0, 1, 2]));
        aside.remove(row(1));
        aside.remove(row(2));
        assert!(!aside.has_other(0, Uuid::nil()));
        assert_eq!(next(&mut aside), [0], "of those that are still aside");
    }
}
