//! Transactions that wait for a condition.
//!
//! One is executed again when a table changes that it waits for, or when its time is up: then it is *due*. Thousands
//! may be due after each commit, and each may look at a whole table. So they have a budget in each step of the core;
//! what is left of them goes on with the next step, after whatever else there is to do. Those who ask get their turns
//! one after the other: who has a thousand waits keeps nobody else's from being looked at. While it is due, a wait is
//! not made due again, so that a commit costs nothing for those that wait for their turns already. It sees the state
//! at its turn: a condition that held only in between may be missed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustc_hash::FxHashMap;

use super::transact::{Attempt, Origin};
use crate::session::{DatabaseId, SessionId};

/// So many values may be compared for waits in one step of the core, and those of one more wait.
pub(super) const WAIT_STEPS: usize = 1 << 16;

/// A transaction that waits for a condition.
#[derive(Debug)]
pub(super) struct Blocked {
    pub(super) attempt: Attempt,
    deadline_ms: Option<u64>,
    /// The tables that it waits for.
    tables: Vec<usize>,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Asker {
    Session(SessionId),
    /// A session of another member.
    Member(u64, SessionId),
}

impl Asker {
    fn of(attempt: &Attempt) -> Self {
        match attempt.origin {
            Origin::Client(session, _) => Self::Session(session),
            Origin::Member(member, _) => Self::Member(member, attempt.session_there),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waits {
    waiting: BTreeMap<u64, Blocked>,
    next: u64,
    by_origin: FxHashMap<Origin, u64>,
    of_asker: BTreeMap<Asker, BTreeSet<u64>>,
    /// Those that are not due, by the tables that they wait for.
    by_table: FxHashMap<(bool, usize), BTreeSet<u64>>,
    /// Of those that are not due.
    deadlines: BTreeSet<(u64, u64)>,
    /// Those that are due, and whose turns come next.
    due: FxHashMap<Asker, VecDeque<u64>>,
    turns: VecDeque<Asker>,
    /// So many values were compared for the last one that was looked at.
    pub(super) steps: usize,
    /// So many in this step of the core.
    pub(super) spent: usize,
}

impl Waits {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// One more waits, and has taken so many steps to find that out.
    pub(super) fn push(
        &mut self,
        attempt: Attempt,
        deadline_ms: Option<u64>,
        tables: Vec<usize>,
        steps: usize,
    ) {
        let blocked = Blocked {
            attempt,
            deadline_ms,
            tables,
        };
        self.steps = steps;
        let number = self.next;
        self.next += 1;
        let is_main = blocked.attempt.database == DatabaseId::Main;
        for table in &blocked.tables {
            let waiting = self.by_table.entry((is_main, *table)).or_default();
            waiting.insert(number);
        }
        self.deadlines
            .extend(blocked.deadline_ms.map(|at| (at, number)));
        let asker = Asker::of(&blocked.attempt);
        self.of_asker.entry(asker).or_default().insert(number);
        self.by_origin.insert(blocked.attempt.origin, number);
        self.waiting.insert(number, blocked);
    }

    /// A table of a database has changed.
    pub(super) fn changed(&mut self, database: DatabaseId, table: usize) {
        let key = (database == DatabaseId::Main, table);
        for number in self.by_table.remove(&key).unwrap_or_default() {
            self.make_due(number);
        }
    }

    /// Time has passed.
    pub(super) fn expire(&mut self, now_ms: u64) {
        while let Some((at, number)) = self.deadlines.first().copied()
            && at <= now_ms
        {
            self.deadlines.remove(&(at, number));
            self.make_due(number);
        }
    }

    /// When the next one's time is up.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Whether there is something to do.
    pub(super) fn is_due(&self) -> bool {
        !self.turns.is_empty()
    }

    /// The next whose turn it is; it waits no more.
    pub(super) fn take_due(&mut self) -> Option<Blocked> {
        while let Some(asker) = self.turns.pop_front() {
            let Some(queue) = self.due.get_mut(&asker) else {
                continue;
            };
            let number = queue.pop_front();
            match queue.is_empty() {
                true => drop(self.due.remove(&asker)),
                false => self.turns.push_back(asker),
            }
            if let Some(blocked) = number.and_then(|number| self.take(number)) {
                return Some(blocked);
            }
        }
        None
    }

    /// The one that a client, or another member, calls so.
    pub(super) fn find(&mut self, origin: Origin) -> Option<&mut Blocked> {
        let number = self.by_origin.get(&origin)?;
        self.waiting.get_mut(number)
    }

    /// Takes that one out.
    pub(super) fn cancel(&mut self, origin: Origin) -> Option<Blocked> {
        let number = *self.by_origin.get(&origin)?;
        self.take(number)
    }

    /// Forgets those of a session.
    pub(super) fn disconnect(&mut self, session: SessionId) {
        self.forget(Asker::Session(session));
    }

    /// Forgets those of another member's clients.
    pub(super) fn forget_member(&mut self, member: u64) {
        let first = Asker::Member(member, SessionId(0));
        let last = Asker::Member(member, SessionId(u64::MAX));
        let askers = self.of_asker.range(first..=last);
        for asker in askers.map(|(asker, _)| *asker).collect::<Vec<_>>() {
            self.forget(asker);
        }
    }

    /// Takes out all that are for the main database.
    pub(super) fn take_main(&mut self) -> Vec<Attempt> {
        let waiting = self.waiting.iter();
        let main: Vec<u64> = waiting
            .filter(|(_, blocked)| blocked.attempt.is_main())
            .map(|(number, _)| *number)
            .collect();
        let taken = main.into_iter().filter_map(|number| self.take(number));
        taken.map(|blocked| blocked.attempt).collect()
    }

    fn forget(&mut self, asker: Asker) {
        let numbers = self.of_asker.get(&asker).cloned().unwrap_or_default();
        for number in numbers {
            self.take(number);
        }
    }

    fn make_due(&mut self, number: u64) {
        let Some(blocked) = self.waiting.get(&number) else {
            return;
        };
        let asker = Asker::of(&blocked.attempt);
        self.unlist(number);
        let queue = self.due.entry(asker).or_default();
        if queue.is_empty() {
            self.turns.push_back(asker);
        }
        queue.push_back(number);
    }

    /// It is not to be made due by a table or by time.
    fn unlist(&mut self, number: u64) {
        let Some(blocked) = self.waiting.get(&number) else {
            return;
        };
        let is_main = blocked.attempt.database == DatabaseId::Main;
        for table in &blocked.tables {
            let key = (is_main, *table);
            if let Some(waiting) = self.by_table.get_mut(&key) {
                waiting.remove(&number);
                if waiting.is_empty() {
                    self.by_table.remove(&key);
                }
            }
        }
        if let Some(at) = blocked.deadline_ms {
            self.deadlines.remove(&(at, number));
        }
    }

    fn take(&mut self, number: u64) -> Option<Blocked> {
        self.unlist(number);
        let blocked = self.waiting.remove(&number)?;
        self.by_origin.remove(&blocked.attempt.origin);
        let asker = Asker::of(&blocked.attempt);
        if let Some(numbers) = self.of_asker.get_mut(&asker) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.of_asker.remove(&asker);
            }
        }
        Some(blocked)
    }
}

#[cfg(test)]
mod tests {
    use ovsdb::Transaction;

    use super::*;
    use crate::caller::Caller;
    use crate::peer::Call;
    use crate::session::{Consistency, RequestId};

    fn push(waits: &mut Waits, session: u64, request: u64, deadline_ms: Option<u64>) {
        let attempt = Attempt {
            origin: Origin::Client(SessionId(session), RequestId(request)),
            database: DatabaseId::Main,
            caller: Caller::unrestricted(),
            transaction: Transaction {
                operations: Vec::new(),
                error: None,
                asked: 0,
            },
            consistency: Consistency::Linearizable,
            name: None,
            lock_holders: Vec::new(),
            since_ms: 0,
            sending: 0,
            session_there: SessionId(0),
        };
        waits.push(attempt, deadline_ms, vec![0, 1], 1);
    }

    /// Of a session of member 9.
    fn forward(waits: &mut Waits, session: u64, number: u64) {
        push(waits, 0, number, None);
        let last = waits.cancel(Origin::Client(SessionId(0), RequestId(number)));
        let mut attempt = last.unwrap().attempt;
        attempt.origin = Origin::Member(9, Call { process: 1, number });
        attempt.session_there = SessionId(session);
        waits.push(attempt, None, vec![0], 1);
    }

    fn turns(waits: &mut Waits) -> Vec<(u64, u64)> {
        let due = std::iter::from_fn(|| waits.take_due());
        due.map(|blocked| match blocked.attempt.origin {
            Origin::Client(session, request) => (session.0, request.0),
            Origin::Member(_, call) => (blocked.attempt.session_there.0, call.number),
        })
        .collect()
    }

    #[test]
    fn the_clients_of_another_member_take_turns() {
        let mut waits = Waits::default();
        for (session, number) in [(1, 10), (1, 11), (1, 12), (2, 20)] {
            forward(&mut waits, session, number);
        }
        push(&mut waits, 1, 7, None);
        waits.changed(DatabaseId::Main, 0);
        let expected = [(1, 10), (2, 20), (1, 7), (1, 11), (1, 12)];
        assert_eq!(turns(&mut waits), expected);
        forward(&mut waits, 1, 13);
        forward(&mut waits, 2, 21);
        push(&mut waits, 1, 8, None);
        waits.forget_member(9);
        waits.changed(DatabaseId::Main, 0);
        assert_eq!(turns(&mut waits), [(1, 8)]);
    }

    #[test]
    fn sessions_take_turns_and_each_wait_is_due_once() {
        let mut waits = Waits::default();
        for request in 0..3 {
            push(&mut waits, 1, request, None);
        }
        push(&mut waits, 2, 0, Some(50));
        waits.changed(DatabaseId::Server, 0);
        assert!(!waits.is_due());
        waits.changed(DatabaseId::Main, 0);
        waits.changed(DatabaseId::Main, 1);
        waits.expire(100);
        assert_eq!(turns(&mut waits), [(1, 0), (2, 0), (1, 1), (1, 2)]);
        assert_eq!(waits.len(), 0);
        assert!(waits.by_table.is_empty() && waits.of_asker.is_empty());
        assert!(waits.by_origin.is_empty());
    }

    #[test]
    fn what_is_forgotten_or_canceled_has_no_turn() {
        let mut waits = Waits::default();
        for (session, request) in [(1, 0), (1, 1), (2, 0), (3, 0)] {
            push(&mut waits, session, request, Some(10));
        }
        waits.expire(10);
        waits.disconnect(SessionId(2));
        let canceled = waits.cancel(Origin::Client(SessionId(1), RequestId(0)));
        assert!(canceled.is_some());
        assert_eq!(turns(&mut waits), [(3, 0), (1, 1)]);
        assert_eq!(waits.deadline(), None);
    }
}
