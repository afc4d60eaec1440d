//! All problems that there are, kept as they come and go: what is told of them costs what has changed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use uuid::Uuid;

use super::problem::Problem;

/// More problems than these are not told northbound; the log says how many there are.
const MAX_TOLD: usize = 1000;

/// What happened to a problem since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It is new.
    Came,
    /// It is none any more.
    Went,
}

/// The problems, each with how many say it.
#[derive(Default)]
pub struct Ledger {
    problems: BTreeMap<Uuid, (Problem, usize)>,
    /// The last of those that are told northbound, which are the first in the order of their UUIDs, and how many they are.
    last_told: Option<Uuid>,
    told: usize,
    /// Rows that are to be told northbound, or not any longer.
    rows: BTreeMap<Uuid, bool>,
    news: BTreeMap<Uuid, (News, Problem)>,
}

impl Ledger {
    /// Somebody says a problem.
    pub fn add(&mut self, problem: Problem) {
        let uuid = problem.uuid();
        match self.problems.entry(uuid) {
            Entry::Occupied(mut known) => known.get_mut().1 += 1,
            Entry::Vacant(vacant) => {
                note(&mut self.news, uuid, News::Came, &problem);
                vacant.insert((problem, 1));
                self.came(uuid);
            }
        }
    }

    /// Somebody says it no more.
    pub fn remove(&mut self, uuid: Uuid) {
        let Some((_, count)) = self.problems.get_mut(&uuid) else {
            return;
        };
        *count -= 1;
        if *count > 0 {
            return;
        }
        if let Some((problem, _)) = self.problems.remove(&uuid) {
            note(&mut self.news, uuid, News::Went, &problem);
            self.went(uuid);
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values().map(|(problem, _)| problem)
    }

    /// What has come and gone since the last call.
    pub fn take_news(&mut self) -> impl Iterator<Item = (News, Problem)> + use<> {
        std::mem::take(&mut self.news).into_values()
    }

    /// The rows that the northbound should have, or should not have any longer, since the last call.
    pub fn take_rows(&mut self) -> Vec<(Uuid, Option<Problem>)> {
        let rows = std::mem::take(&mut self.rows);
        let problem = |uuid: &Uuid| self.problems.get(uuid).map(|(problem, _)| problem.clone());
        rows.into_iter()
            .map(|(uuid, is_told)| (uuid, problem(&uuid).filter(|_| is_told)))
            .collect()
    }

    /// What another ledger has otherwise, in short.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let beyond = |of: &Self, others: &Self, what: &str| -> Vec<String> {
            let problems = of.problems.iter();
            let beyond = problems.filter(|(uuid, _)| !others.problems.contains_key(uuid));
            beyond
                .map(|(_, (problem, _))| format!("{what} problem: {problem}"))
                .collect()
        };
        let mut found = beyond(self, other, "stale");
        found.extend(beyond(other, self, "missing"));
        found
    }

    fn came(&mut self, uuid: Uuid) {
        if self.told < MAX_TOLD {
            self.tell(uuid, true);
            self.last_told = self.last_told.max(Some(uuid));
            return;
        }
        if let Some(last) = self.last_told
            && uuid < last
        {
            self.tell(uuid, true);
            self.tell(last, false);
            let before = self.problems.range(..last).next_back();
            self.last_told = before.map(|(uuid, _)| *uuid);
        }
    }

    fn went(&mut self, uuid: Uuid) {
        let Some(last) = self.last_told.filter(|last| uuid <= *last) else {
            return;
        };
        self.tell(uuid, false);
        let behind = (Bound::Excluded(last), Bound::Unbounded);
        match self.problems.range(behind).next().map(|(uuid, _)| *uuid) {
            Some(next) => {
                self.tell(next, true);
                self.last_told = Some(next);
            }
            None if uuid == last => {
                let before = self.problems.range(..last).next_back();
                self.last_told = before.map(|(uuid, _)| *uuid);
            }
            None => {}
        }
    }

    fn tell(&mut self, uuid: Uuid, is_told: bool) {
        self.rows.insert(uuid, is_told);
        if is_told {
            self.told += 1;
        } else {
            self.told -= 1;
        }
    }
}

/// What came and went between two looks is no news.
fn note(news: &mut BTreeMap<Uuid, (News, Problem)>, uuid: Uuid, what: News, problem: &Problem) {
    match news.entry(uuid) {
        Entry::Occupied(other) if other.get().0 != what => drop(other.remove()),
        Entry::Occupied(_) => {}
        Entry::Vacant(vacant) => drop(vacant.insert((what, problem.clone()))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::compiler::problem::Rank;
    use crate::testing::random::Rng;

    fn problem(number: usize) -> Problem {
        Problem {
            rank: Rank::Error,
            table: "T",
            row: Uuid::from_u128(number as u128),
            name: Arc::from(""),
            column: "c",
            place: None,
            why: number.to_string(),
            remedy: String::new(),
        }
    }

    #[test]
    fn the_first_are_told_and_news_are_what_differs() {
        for seed in 1..20 {
            let mut rng = Rng::new(seed);
            let (mut ledger, mut all) = (Ledger::default(), BTreeMap::new());
            let (mut rows, mut known) = (BTreeSet::new(), BTreeSet::new());
            for step in 0..4000 {
                let (number, grows) = (rng.below(1300), step < 1500 || seed % 2 == 0);
                let uuid = problem(number).uuid();
                let count: &mut usize = all.entry(uuid).or_default();
                if rng.once_in(if grows { 4 } else { 2 }) {
                    ledger.remove(uuid);
                    *count = count.saturating_sub(1);
                } else {
                    ledger.add(problem(number));
                    *count += 1;
                }
                if *count == 0 {
                    all.remove(&uuid);
                }
                if rng.once_in(97) {
                    look(&mut ledger, &all, &mut rows, &mut known);
                }
            }
            look(&mut ledger, &all, &mut rows, &mut known);
            assert!(ledger.iter().map(Problem::uuid).eq(all.keys().copied()));
        }
    }

    fn look(
        ledger: &mut Ledger,
        all: &BTreeMap<Uuid, usize>,
        rows: &mut BTreeSet<Uuid>,
        known: &mut BTreeSet<Uuid>,
    ) {
        for (uuid, row) in ledger.take_rows() {
            match row {
                Some(problem) => {
                    assert_eq!(problem.uuid(), uuid);
                    rows.insert(uuid);
                }
                None => drop(rows.remove(&uuid)),
            }
        }
        assert!(rows.iter().eq(all.keys().take(MAX_TOLD)));
        for (news, problem) in ledger.take_news() {
            let is_new = match news {
                News::Came => known.insert(problem.uuid()),
                News::Went => known.remove(&problem.uuid()),
            };
            assert!(is_new, "news are told once");
        }
        assert!(known.iter().eq(all.keys()));
    }

    #[test]
    fn one_problem_among_many_is_told_by_itself() {
        let mut ledger = Ledger::default();
        (0..5000).for_each(|number| ledger.add(problem(number)));
        let told = ledger.take_rows().into_iter();
        assert_eq!(
            told.filter(|(_, row)| row.is_some()).count(),
            MAX_TOLD,
            "of those that came, the first"
        );
        assert_eq!(ledger.take_news().count(), 5000);
        ledger.add(problem(5000));
        assert!(
            ledger.take_rows().len() <= 2,
            "it, and the one in whose place it is"
        );
        assert_eq!(ledger.take_news().count(), 1);
        ledger.remove(problem(5000).uuid());
        assert!(ledger.take_rows().len() <= 2);
    }
}
