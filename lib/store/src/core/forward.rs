//! Transactions that somebody else executes: the leader.
//!
//! Every member takes transactions from its clients. One that does not lead keeps each here until
//! it has an answer, and sends it to the leader, again if the leader changes, if the stream to it
//! breaks, and after a while. What is sent has a name, the client's or one that is chosen here, so
//! that it is applied once however often it is sent.
//!
//! An answer that says that nothing was done must be true of all sendings, those on their way
//! included. So it counts only if it answers the newest one, and that one is the last to be looked
//! at: a leader does nothing that was meant for another term, or that comes after a newer sending.
//! A sending to an earlier leader that was committed is known by its name to the later one.
//!
//! An answer is passed on when this member has applied as much of the log as the answer is based
//! on: a client that monitors sees its own transactions before it is told that they are done.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use ovsdb::operation::outcome_from_json;
use ovsdb::{Error, ErrorKind, Uuid};
use rustc_hash::FxHashMap;

use super::transact::{Attempt, Origin, Reply};
use super::{Core, Process};
use crate::event::Effects;
use crate::peer::{Answer, Answered, Call, Forward, PeerMessage};
use crate::session::{Consistency, DatabaseId, SessionId};

/// So many transactions may wait for a leader.
const MAX_FORWARDS: usize = 65_536;
/// After so many ticks without an answer, a transaction is sent again; after more, up to the most,
/// if answers turn out to take longer, so that one to the newest sending gets here in time.
const TICKS_PER_TRY: u64 = 20;
const MAX_TICKS_PER_TRY: u64 = 80;
/// So many of them are executed in one step when this member begins to lead.
const MAX_TAKEN_OVER: usize = 256;
/// A transaction that could not be sent for so many ticks is refused.
const MAX_UNSENT_TICKS: u64 = 100;

/// The transactions that wait for the leader.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    waiting: BTreeMap<u64, Waiting>,
    /// Those of each session.
    sessions: FxHashMap<SessionId, BTreeSet<u64>>,
    /// Those that are to be sent.
    unsent: BTreeSet<u64>,
    /// Those with answers, by the log indexes that these are based on.
    answered: BTreeSet<(u64, u64)>,
    calls: u64,
    /// Counts what is sent.
    sendings: u64,
    /// What came last from each member: its process, and the number of the sending.
    heard: BTreeMap<u64, (u64, u64)>,
    /// Something is to be sent.
    due: bool,
    /// The leader and the term at the last look.
    leader: (u64, u64),
    /// The random number of this process.
    process: u64,
    /// From this follow the names that are chosen here.
    secret: Uuid,
}

#[derive(Debug)]
struct Waiting {
    attempt: Attempt,
    name: Uuid,
    /// How far the log was applied when it was first sent or proposed, if it ever was.
    since: Option<u64>,
    /// The number of the newest sending.
    sending: u64,
    /// The client does not want it any more. If it was sent, it is for the leader to say whether
    /// that is in time.
    canceled: bool,
    /// When it came, and when it was last sent, in ticks.
    came: u64,
    sent: Option<u64>,
    /// So many ticks it waits then.
    patience: u64,
    /// The answer, while this member does not have the entries that it is based on.
    answer: Option<(u64, bytes::Bytes, Option<u64>)>,
}

impl Attempt {
    pub(super) fn is_main(&self) -> bool {
        self.database == DatabaseId::Main
    }
}

impl Effects {
    /// Answers a sending of another member.
    pub(super) fn answer(&mut self, member: u64, (call, sending): (Call, u64), result: Answered) {
        let answer = PeerMessage::Answer(Answer {
            call,
            sending,
            result,
        });
        self.messages.push((member, answer));
    }
}

impl Forwards {
    /// Nothing waits.
    pub(super) fn new(process: Process) -> Self {
        Self {
            process: process.number,
            secret: process.secret,
            ..Self::default()
        }
    }

    fn put(&mut self, number: u64, waiting: Waiting) {
        if let Origin::Client(session, _) = waiting.attempt.origin {
            self.sessions.entry(session).or_default().insert(number);
        }
        self.unsent.insert(number);
        self.waiting.insert(number, waiting);
    }

    fn take(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&number)?;
        self.unsent.remove(&number);
        if let Some((index, ..)) = &waiting.answer {
            self.answered.remove(&(*index, number));
        }
        if let Origin::Client(session, _) = waiting.attempt.origin
            && let Entry::Occupied(mut numbers) = self.sessions.entry(session)
        {
            numbers.get_mut().remove(&number);
            if numbers.get().is_empty() {
                numbers.remove();
            }
        }
        Some(waiting)
    }

    /// Takes the oldest that nobody has been asked for since the leader changed.
    fn take_first(&mut self) -> Option<Waiting> {
        let number = *self.unsent.first()?;
        self.take(number)
    }

    /// Takes those of a kind.
    fn take_all(&mut self, of_kind: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let waiting = self.waiting.iter();
        let found: Vec<u64> = waiting
            .filter(|(_, waiting)| of_kind(waiting))
            .map(|(number, _)| *number)
            .collect();
        let found = found.into_iter();
        found.filter_map(|number| self.take(number)).collect()
    }

    /// Whether a session has transactions that wait.
    pub(super) fn has_of(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Forgets a transaction that was certainly not done. If it may have been, the leader is asked,
    /// and the answer is false.
    pub(super) fn cancel(&mut self, origin: Origin, leader: u64, effects: &mut Effects) -> bool {
        let Origin::Client(session, _) = origin else {
            return false;
        };
        let is_it = |number: &u64| {
            let waiting = self.waiting.get(number);
            waiting.is_some_and(|waiting| waiting.attempt.origin == origin)
        };
        let mut numbers = self.sessions.get(&session).into_iter().flatten().copied();
        let number = numbers.find(is_it).unwrap_or(0);
        let Some(waiting) = self.waiting.get_mut(&number) else {
            return false;
        };
        if waiting.since.is_none() {
            self.take(number);
            return true;
        }
        waiting.canceled = true;
        if waiting.sent.is_some() && leader != 0 {
            effects.messages.push((leader, self.cancellation(number)));
        }
        false
    }

    fn cancellation(&self, number: u64) -> PeerMessage {
        let process = self.process;
        PeerMessage::Cancel(Call { process, number })
    }

    /// Forgets a session's transactions.
    pub(super) fn disconnect(&mut self, session: SessionId, leader: u64, effects: &mut Effects) {
        for number in self.sessions.get(&session).cloned().unwrap_or_default() {
            self.forget(number, leader, effects);
        }
    }

    fn forget(&mut self, number: u64, leader: u64, effects: &mut Effects) {
        if let Some(waiting) = self.take(number)
            && waiting.sent.is_some()
            && leader != 0
        {
            effects.messages.push((leader, self.cancellation(number)));
        }
    }

    /// Whether something comes after what was sent later.
    fn is_late(&mut self, member: u64, forward: &Forward) -> bool {
        let (process, sending) = (forward.call.process, forward.sending);
        let newest = self.heard.entry(member).or_default();
        let late = newest.0 == process && sending <= newest.1;
        if !late {
            *newest = (process, sending);
        }
        late
    }

    /// The stream to the leader broke: what was sent may not have arrived. It is sent again with
    /// the next tick.
    pub(super) fn resend(&mut self) {
        for (number, waiting) in &mut self.waiting {
            waiting.sent = None;
            if waiting.answer.is_none() {
                self.unsent.insert(*number);
            }
        }
    }
}

impl Core {
    /// Leaves a transaction to the leader that was certainly not done.
    pub(super) fn send_away(&mut self, attempt: Attempt, effects: &mut Effects) {
        self.send_away_since(attempt, None, effects);
    }

    /// Leaves a transaction to the leader, which may have been done after a place of the log.
    pub(super) fn send_away_since(
        &mut self,
        attempt: Attempt,
        since: Option<u64>,
        effects: &mut Effects,
    ) {
        match attempt.origin {
            Origin::Member(member, call) => {
                effects.answer(member, (call, attempt.sending), Answered::NotLeader);
            }
            Origin::Client(..) if self.forwards.len() >= MAX_FORWARDS => {
                let text = "Too many transactions wait for a leader.";
                let kind = match since {
                    None => ErrorKind::ResourcesExhausted,
                    // What became of it is not known.
                    Some(_) => ErrorKind::IoError,
                };
                self.refuse(&attempt, kind, text, effects);
            }
            Origin::Client(session, _) if !self.sessions.contains_key(&session) => {}
            Origin::Client(..) => {
                self.forwards.calls += 1;
                let number = self.forwards.calls;
                // Whoever could foretell it could have something else done under it.
                let chosen = Uuid::new_v5(&self.forwards.secret, &number.to_le_bytes());
                let waiting = Waiting {
                    name: attempt.name.unwrap_or(chosen),
                    attempt,
                    since,
                    sending: 0,
                    canceled: false,
                    came: self.ticks,
                    sent: None,
                    patience: TICKS_PER_TRY,
                    answer: None,
                };
                self.forwards.put(number, waiting);
                self.forwards.due = true;
            }
        }
    }

    /// At the end of each step: sends what is to be sent, and passes answers on.
    pub(super) fn settle(&mut self, now_ms: u64, effects: &mut Effects) {
        if self.forwards.waiting.is_empty() {
            return;
        }
        let leader = self.node.leader();
        if self.forwards.leader != leader {
            self.forwards.leader = leader;
            self.forwards.resend();
            self.forwards.due = true;
        }
        self.pass_answers(effects);
        if self.serves() {
            if !self.node.hands_over() {
                self.take_over(now_ms, effects);
            }
        } else if std::mem::take(&mut self.forwards.due) {
            self.send_forwards(now_ms, effects);
        }
    }

    /// Every tick: sends again what has waited for long.
    pub(super) fn forwards_tick(&mut self, effects: &mut Effects) {
        let ticks = self.ticks;
        let tired =
            |waiting: &Waiting| waiting.since.is_none() && waiting.came + MAX_UNSENT_TICKS <= ticks;
        for waiting in self.forwards.take_all(tired) {
            let text = "not leader, and the cluster has none that could be asked";
            self.refuse(&waiting.attempt, ErrorKind::NotAllowed, text, effects);
        }
        for (number, waiting) in &mut self.forwards.waiting {
            let patience = waiting.patience;
            if waiting.sent.is_some_and(|at| at + patience <= ticks) {
                waiting.sent = None;
            }
            if waiting.sent.is_none() && waiting.answer.is_none() {
                self.forwards.unsent.insert(*number);
            }
        }
        self.forwards.due |= !self.forwards.unsent.is_empty();
    }

    fn send_forwards(&mut self, now_ms: u64, effects: &mut Effects) {
        let (leader, term) = self.node.leader();
        if leader == 0 || leader == self.node.member() {
            return;
        }
        let applied = self.node.applied_position().index;
        for number in std::mem::take(&mut self.forwards.unsent) {
            let Some(waiting) = self.forwards.waiting.get_mut(&number) else {
                continue;
            };
            self.forwards.sendings += 1;
            waiting.sent = Some(self.ticks);
            waiting.sending = self.forwards.sendings;
            let since = *waiting.since.get_or_insert(applied);
            let forward = Forward {
                call: Call {
                    process: self.node.process(),
                    number,
                },
                name: waiting.name,
                since,
                term,
                sending: waiting.sending,
                waited_ms: now_ms.saturating_sub(waiting.attempt.since_ms),
                caller: waiting.attempt.caller.clone(),
                session: waiting.attempt.session_there,
                transaction: waiting.attempt.transaction.clone(),
            };
            let call = forward.call;
            let message = PeerMessage::Forward(Box::new(forward));
            effects.messages.push((leader, message));
            if waiting.canceled {
                effects.messages.push((leader, PeerMessage::Cancel(call)));
            }
        }
    }

    /// This member leads now: it executes by itself what waits, the oldest first, and in each step so much as its budget
    /// allows. What the log has no room for goes on waiting.
    fn take_over(&mut self, now_ms: u64, effects: &mut Effects) {
        let mut spent = 0;
        for _ in 0..MAX_TAKEN_OVER {
            if !self.has_room() {
                break;
            }
            let Some(waiting) = self.forwards.take_first() else {
                break;
            };
            self.waits.steps = 0;
            self.execute_waiting(now_ms, waiting, effects);
            spent += self.waits.steps;
            if spent >= self.wait_steps {
                break;
            }
        }
        self.confirm_reads(effects);
        self.drive(effects);
    }

    fn execute_waiting(&mut self, now_ms: u64, waiting: Waiting, effects: &mut Effects) {
        let mut attempt = waiting.attempt;
        if let Some(since) = waiting.since {
            attempt.name = Some(waiting.name);
            if self.too_long_ago(&attempt, since, effects) {
                return;
            }
        }
        let origin = attempt.origin;
        self.transact_in_turn(now_ms, attempt, effects);
        if let Origin::Client(session, request) = origin
            && waiting.canceled
        {
            self.cancel(session, request, effects);
        }
    }

    /// Whether there is something that this member executes by itself with its next step.
    pub(super) fn is_taking_over(&self) -> bool {
        let may = self.serves() && !self.node.hands_over() && self.has_room();
        may && !self.forwards.unsent.is_empty()
    }

    /// Another member asks for a transaction.
    pub(super) fn forwarded(
        &mut self,
        now_ms: u64,
        member: u64,
        forward: Forward,
        effects: &mut Effects,
    ) {
        if self.forwards.is_late(member, &forward) {
            return;
        }
        let origin = Origin::Member(member, forward.call);
        let attempt = Attempt {
            origin,
            caller: forward.caller,
            database: DatabaseId::Main,
            transaction: forward.transaction,
            name: Some(forward.name),
            lock_holders: Vec::new(),
            consistency: Consistency::Linearizable,
            since_ms: now_ms.saturating_sub(forward.waited_ms),
            sending: forward.sending,
            session_there: forward.session,
        };
        if forward.term != self.node.leader().1 {
            return self.send_away(attempt, effects);
        }
        if let Some(blocked) = self.waits.find(origin) {
            blocked.attempt.sending = forward.sending;
            return;
        }
        if self.serves() && self.too_long_ago(&attempt, forward.since, effects) {
            return;
        }
        self.transact(now_ms, attempt, effects);
    }

    /// Refuses a transaction of which it is not known whether it was applied: its name, if it was
    /// here, may be forgotten.
    fn too_long_ago(&self, attempt: &Attempt, since: u64, effects: &mut Effects) -> bool {
        let name = attempt.owned_name();
        let is_known =
            |name| self.retries.get(name).is_some() || self.retries.knows_since(name, since);
        if name.is_some_and(is_known) {
            return false;
        }
        let text = "The transaction was sent so long ago that it is not known whether it was \
                    committed.";
        self.refuse(attempt, ErrorKind::IoError, text, effects);
        true
    }

    /// Another member does not wait any more. It is told whether that is in time.
    pub(super) fn forward_canceled(&mut self, member: u64, call: Call, effects: &mut Effects) {
        let origin = Origin::Member(member, call);
        if let Some(blocked) = self.waits.cancel(origin) {
            let text = "The client canceled it.";
            self.refuse(&blocked.attempt, ErrorKind::Canceled, text, effects);
        }
    }

    /// The leader, or who was taken for it, answers.
    pub(super) fn answered(&mut self, answer: Answer, effects: &mut Effects) {
        let Call { process, number } = answer.call;
        if process != self.node.process() {
            return;
        }
        let Some(waiting) = self.forwards.waiting.get_mut(&number) else {
            return;
        };
        let committed = matches!(&answer.result, Answered::Done { commit, .. } if commit.is_some());
        if answer.sending != waiting.sending && !committed {
            // Another sending may yet do what this one has not done.
            waiting.patience = MAX_TICKS_PER_TRY.min(2 * waiting.patience);
            return;
        }
        match answer.result {
            Answered::NotLeader => waiting.sent = None,
            Answered::Done {
                results,
                index,
                commit,
            } => {
                let before = waiting.answer.replace((index, results, commit));
                self.forwards.unsent.remove(&number);
                if let Some((index, ..)) = before {
                    self.forwards.answered.remove(&(index, number));
                }
                self.forwards.answered.insert((index, number));
            }
            Answered::Refused(error) => {
                if let Some(waiting) = self.forwards.take(number) {
                    self.reply(&waiting.attempt, Reply::Refused(error), effects);
                }
            }
        }
    }

    /// A transaction is too large for the stream to the leader.
    pub(super) fn forward_too_large(
        &mut self,
        call: Call,
        (bytes, limit): (usize, usize),
        effects: &mut Effects,
    ) {
        if call.process != self.node.process() {
            return;
        }
        if let Some(waiting) = self.forwards.take(call.number) {
            let text = format!(
                "The transaction has {bytes} bytes on its way to the leader, more than the limit of \
                 {limit}; make it several transactions, or send it to the leader."
            );
            let kind = ErrorKind::ResourcesExhausted;
            self.refuse(&waiting.attempt, kind, &text, effects);
        }
    }

    fn pass_answers(&mut self, effects: &mut Effects) {
        let applied = self.node.applied_position().index;
        while let Some((index, number)) = self.forwards.answered.first().copied()
            && index <= applied
        {
            self.forwards.answered.remove(&(index, number));
            let waiting = self.forwards.take(number);
            let answer = waiting.and_then(|waiting| Some((waiting.answer?, waiting.attempt)));
            let Some(((_, results, commit), attempt)) = answer else {
                continue;
            };
            let reply = match self.read_results(&attempt, &results) {
                Ok(outcome) => Reply::Done(outcome, commit),
                Err(error) => Reply::Refused(error),
            };
            self.reply(&attempt, reply, effects);
        }
    }

    fn read_results(
        &self,
        attempt: &Attempt,
        results: &[u8],
    ) -> Result<ovsdb::operation::Outcome, Error> {
        let json = serde_json::from_slice(results);
        let json = json.map_err(|error| Error::new(ErrorKind::InternalError, error.to_string()))?;
        outcome_from_json(&self.schema, &attempt.transaction.operations, &json)
    }
}
