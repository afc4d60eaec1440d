//! What the southbound is asked to change, subject by subject.
//!
//! Many subjects share a transaction, and a transaction is done as a whole or not at all. So that what the server refuses costs
//! itself only, whoever is to blame is left out, and the others are sent again at once: it is the subject whose operation failed,
//! where the server says which; else batches are halved until one is alone. Who was refused is tried again after a pause that
//! grows. What was not sent, or whose answer was lost, is nobody's fault: then everything pauses.

use std::collections::BTreeSet;
use std::hash::Hash;
use std::time::{Duration, Instant};

use ovsdb::{ErrorKind, Operation};
use replica::TransactError;
use rustc_hash::FxHashMap;

use super::transactions::Transactions;

/// The pause after which something refused is tried again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The most subjects of one transaction, and how few there are at least while the server has no time.
const MAX_SUBJECTS: usize = 1_024;
const MIN_SUBJECTS: usize = 64;

/// The transactions, at most one of them under way.
#[derive(Debug)]
pub(super) struct Writes<S> {
    transactions: Transactions,
    /// Whom the transaction under way is about, and where the operations of each end in it.
    under_way: Vec<(S, usize)>,
    /// What was asked for in it, and in the last one that was done.
    asked: FxHashMap<S, Vec<Operation>>,
    done: FxHashMap<S, Vec<Operation>>,
    /// How many subjects may be in the next transaction.
    limit: usize,
    /// Who was refused, until when, and after how long a pause.
    refused: FxHashMap<S, (Instant, Duration)>,
    due: BTreeSet<(Instant, S)>,
}

/// What became of a transaction.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome<S> {
    /// Who has to be looked at again, now: whether it was done, or has to be asked for once more.
    pub(super) again: Vec<S>,
    /// Who was refused, and is left out for this long.
    pub(super) refused: Option<(S, Duration)>,
}

impl<S> Default for Writes<S> {
    fn default() -> Self {
        Writes {
            transactions: Transactions::default(),
            under_way: Vec::new(),
            asked: FxHashMap::default(),
            done: FxHashMap::default(),
            limit: MAX_SUBJECTS,
            refused: FxHashMap::default(),
            due: BTreeSet::new(),
        }
    }
}

impl<S: Copy + Eq + Hash + Ord> Writes<S> {
    /// Time has passed. Gives those who were refused and may be tried again.
    pub(super) fn elapse(&mut self, now: Instant) -> Vec<S> {
        self.transactions.elapse(now);
        let mut due = Vec::new();
        while let Some(&first) = self.due.first().filter(|(at, _)| *at <= now) {
            self.due.remove(&first);
            due.push(first.1);
        }
        due
    }

    /// Whether a transaction may be sent.
    pub(super) fn may_send(&self) -> bool {
        self.transactions.may_send()
    }

    /// How many subjects a transaction may have now.
    pub(super) fn room(&self) -> usize {
        self.limit
    }

    /// Whether this is left out for a while because it was refused.
    pub(super) fn is_held_back(&self, subject: S) -> bool {
        let refused = self.refused.get(&subject);
        refused.is_some_and(|(until, _)| self.due.contains(&(*until, subject)))
    }

    /// Leaves out what has just been done word for word and is wanted all the same: the server takes it and changes nothing, because
    /// its schema lacks a column for one. Asked for again and again it would keep everything else from being written. Gives those
    /// that are left out now.
    pub(super) fn leave_out_repeated(
        &mut self,
        now: Instant,
        wanted: &mut Vec<(S, Vec<Operation>)>,
    ) -> Vec<S> {
        let done = &self.done;
        let repeated = wanted.extract_if(.., |(subject, its)| done.get(subject) == Some(its));
        let repeated: Vec<S> = repeated.map(|(subject, _)| subject).collect();
        for subject in &repeated {
            self.hold_back(now, *subject);
        }
        self.asked = wanted.iter().cloned().collect();
        repeated
    }

    /// Makes a transaction of what is wanted of each subject.
    pub(super) fn send(&mut self, id: u64, wanted: Vec<(S, Vec<Operation>)>) -> Vec<Operation> {
        let mut operations = Vec::new();
        for (subject, its) in wanted {
            operations.extend(its);
            self.under_way.push((subject, operations.len()));
        }
        self.transactions.sent(id);
        operations
    }

    /// A transaction was answered; `None` if it is none of these.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        id: u64,
        failure: Option<&TransactError>,
    ) -> Option<Outcome<S>> {
        let is_nobodys = failure.is_some_and(is_nobodys);
        if !self.transactions.answered(now, id, is_nobodys) {
            return None;
        }
        let subjects = std::mem::take(&mut self.under_way);
        let all = subjects.iter().map(|(subject, _)| *subject);
        let mut outcome = Outcome {
            again: all.collect(),
            refused: None,
        };
        match failure {
            None => {
                self.limit = (self.limit * 2).min(MAX_SUBJECTS);
                self.done = std::mem::take(&mut self.asked);
                for subject in &outcome.again {
                    self.forgive(*subject);
                }
            }
            // The limit may be that of the operations of one transaction.
            Some(_) if is_nobodys => {
                self.limit = (self.limit / 2).max(MIN_SUBJECTS.min(self.limit));
            }
            Some(failure) => match to_blame(&subjects, failure) {
                Some(subject) => {
                    outcome.again.retain(|other| *other != subject);
                    outcome.refused = Some((subject, self.hold_back(now, subject)));
                }
                None => self.limit = (subjects.len() / 2).max(1),
            },
        }
        Some(outcome)
    }

    /// Whoever would have answered is not listened to any more. Gives those whom the transaction under way was about.
    pub(super) fn forget(&mut self) -> Vec<S> {
        let subjects = std::mem::take(self).under_way;
        subjects.into_iter().map(|(subject, _)| subject).collect()
    }

    /// When somebody may be tried again, or a pause ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = self.due.first().map(|(at, _)| *at);
        [due, self.transactions.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Forgets that a subject was refused: it was done, or nothing more is wanted of it.
    pub(super) fn forgive(&mut self, subject: S) {
        if let Some((until, _)) = self.refused.remove(&subject) {
            self.due.remove(&(until, subject));
        }
    }

    fn hold_back(&mut self, now: Instant, subject: S) -> Duration {
        let before = self.refused.get(&subject).copied();
        if let Some((until, _)) = before {
            self.due.remove(&(until, subject));
        }
        let pause = before.map_or(PAUSE.0, |(_, pause)| (pause * 2).min(PAUSE.1));
        self.refused.insert(subject, (now + pause, pause));
        self.due.insert((now + pause, subject));
        pause
    }
}

/// Whether a transaction failed for a reason that has nothing to do with what it asks for: it was not sent, nobody knows what became
/// of it, or the server has no time or no leader. Then everything waits.
pub(super) fn is_nobodys(failure: &TransactError) -> bool {
    failure.error().is_none_or(|error| {
        matches!(
            error.kind,
            ErrorKind::ResourcesExhausted
                | ErrorKind::TimedOut
                | ErrorKind::NotAllowed
                | ErrorKind::IoError
                | ErrorKind::Canceled
        )
    })
}

/// The subject because of which a transaction failed, if that is known.
fn to_blame<S: Copy>(subjects: &[(S, usize)], failure: &TransactError) -> Option<S> {
    let failed = match failure {
        TransactError::Failed(failure) => subjects
            .iter()
            .find(|(_, end)| failure.done.len() < *end)
            .map(|(subject, _)| *subject),
        _ => None,
    };
    match subjects {
        [(only, _)] => Some(*only),
        _ => failed,
    }
}

#[cfg(test)]
mod tests {
    use ovsdb::operation::{Failure, OpResult};
    use ovsdb::{Error, Uuid};

    use super::*;

    /// A server that refuses some subjects, and says which operation it was, or only that the commit failed.
    fn run(writes: &mut Writes<u8>, now: Instant, bad: &[u8], tells_which: bool) -> Vec<usize> {
        let mut wanted: BTreeSet<u8> = (0..100).collect();
        let mut sizes = Vec::new();
        for id in 1.. {
            let batch: Vec<u8> = wanted.iter().copied().take(writes.room()).collect();
            if batch.is_empty() {
                break;
            }
            sizes.push(batch.len());
            let operation = |n: &u8| Operation::delete_row(0, Uuid::from_u128((*n).into()));
            let asked = batch.iter().map(|n| (*n, vec![operation(n); 2])).collect();
            let count = writes.send(id, asked).len();
            assert!(!writes.may_send());
            let place = batch.iter().position(|n| bad.contains(n));
            let failure = place.map(|place| {
                let done = if tells_which { place * 2 + 1 } else { count };
                let done = vec![OpResult::Count(1); done];
                let error = Error::constraint("no");
                TransactError::Failed(Failure { done, error })
            });
            let outcome = writes.answered(now, id, failure.as_ref()).expect("ours");
            match (&failure, outcome.refused) {
                (None, _) => wanted.retain(|n| !batch.contains(n)),
                (_, Some((subject, _))) => {
                    assert!(bad.contains(&subject) && wanted.remove(&subject));
                }
                _ => {}
            }
        }
        sizes
    }

    #[test]
    fn what_is_refused_costs_itself_only() {
        let now = Instant::now();
        let mut writes = Writes::default();
        assert_eq!(run(&mut writes, now, &[7, 50], true), [100, 99, 98]);
        assert!(writes.is_held_back(7) && !writes.is_held_back(8));
        assert_eq!(writes.deadline(), Some(now + PAUSE.0));
        assert_eq!(writes.elapse(now + PAUSE.0), [7, 50]);
        assert!(!writes.is_held_back(7));
        // Without a word of which it was, some halving finds it.
        let mut writes = Writes::default();
        let sizes = run(&mut writes, now, &[7, 50], false);
        assert!(sizes.len() < 40, "{sizes:?}");
        assert!(writes.is_held_back(7) && writes.is_held_back(50));
    }

    #[test]
    fn pauses_grow_until_it_works() {
        let mut now = Instant::now();
        let mut writes = Writes::default();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            run(&mut writes, now, &[7], true);
            let due = writes.deadline().expect("a pause");
            assert_eq!(due - now, Duration::from_secs(seconds));
            now = due;
            assert_eq!(writes.elapse(now), [7]);
        }
        run(&mut writes, now, &[], true);
        run(&mut writes, now, &[7], true);
        assert_eq!(writes.deadline(), Some(now + PAUSE.0));
    }

    #[test]
    fn what_is_done_without_effect_is_not_asked_for_again_at_once() {
        let now = Instant::now();
        let mut writes = Writes::default();
        let wish = |n: u128| vec![Operation::delete_row(0, Uuid::from_u128(n))];
        let mut wanted = vec![(1, wish(1)), (2, wish(2))];
        assert!(writes.leave_out_repeated(now, &mut wanted).is_empty());
        writes.send(1, wanted);
        writes.answered(now, 1, None).expect("ours");
        let mut wanted = vec![(1, wish(1)), (2, wish(3))];
        assert_eq!(writes.leave_out_repeated(now, &mut wanted), [1]);
        assert_eq!(wanted, [(2, wish(3))]);
        assert!(writes.is_held_back(1) && !writes.is_held_back(2));
    }

    #[test]
    fn a_server_without_time_or_leader_is_nobodys_fault() {
        let now = Instant::now();
        for kind in [ErrorKind::ResourcesExhausted, ErrorKind::NotAllowed] {
            let mut writes = Writes::default();
            writes.send(1, vec![(1, Vec::new()), (2, Vec::new())]);
            let error = TransactError::Refused(Error::new(kind, "try again"));
            let outcome = writes.answered(now, 1, Some(&error)).expect("ours");
            assert_eq!((outcome.again, outcome.refused), (vec![1, 2], None));
            assert!(!writes.may_send() && writes.room() >= MIN_SUBJECTS);
        }
    }

    #[test]
    fn a_lost_connection_is_nobodys_fault() {
        let now = Instant::now();
        let mut writes = Writes::default();
        writes.send(1, vec![(1, Vec::new()), (2, Vec::new())]);
        let lost = TransactError::Disconnected;
        let outcome = writes.answered(now, 1, Some(&lost)).expect("ours");
        assert_eq!((outcome.again, outcome.refused), (vec![1, 2], None));
        assert!(!writes.may_send() && !writes.is_held_back(1));
        assert_eq!(writes.answered(now, 9, None), None);
    }
}
