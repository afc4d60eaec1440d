//! The simulated world: what happens, in the order of virtual time.
//!
//! A world has a phase without faults, in which the registers are created; a phase with faults,
//! in which clients work; and one in which everything is mended and everybody has to come to an
//! end. Time is in milliseconds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use store::event::{Effects, Event, SessionId};
use store::peer::{PeerMessage, Snapshot};
use store::raft::MemberChange;
use store::storage::Storage;

use crate::check;
use crate::client::{Client, Kind, REGISTERS, Record, Wish};
use crate::member::Member;
use crate::network::{Fate, Network};
use crate::random::Random;
use crate::watcher::{Rows, Watcher};

/// So long everybody may take to come to an end once nothing fails any more.
const RECOVERY_MS: u64 = 60_000;
/// After so long without faults, it is clear who belongs to the cluster.
const SETTLING_MS: u64 = 8_000;

/// A mistake that a run can be told to make, to see that it is noticed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bug {
    /// Disks say that they have written before they have.
    LyingDisk,
    /// Clients try again without the name of their transaction.
    ForgottenName,
    /// Reads are answered from what any member has.
    LocalReads,
    /// Watchers miss an update.
    SkippedUpdate,
    /// A member applies what it was not told to.
    Divergence,
}

/// What a run is like.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything follows from it.
    pub seed: u64,
    /// How many members the cluster begins with.
    pub members: u64,
    /// How many clients work.
    pub clients: usize,
    /// How long faults happen.
    pub faults_ms: u64,
    /// The log is truncated when it has so many entries.
    pub log_entries: usize,
    /// Whether members come and go.
    pub membership: bool,
    /// A mistake to make.
    pub bug: Option<Bug>,
}

/// What a run was like.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// How many events were simulated.
    pub events: u64,
    /// How many operations were answered.
    pub answered: usize,
    /// Faults by what they were.
    pub faults: BTreeMap<&'static str, u64>,
    /// How many snapshots arrived.
    pub snapshots: u64,
    /// The newest log index at the end, which tells runs apart.
    pub index: u64,
    /// The term at the end.
    pub term: u64,
}

/// What may happen next.
#[derive(Debug)]
pub(crate) enum Next {
    /// A member's clock ticks, if it is still this process.
    Tick(u64, u64),
    /// A wait of a member's may be over.
    Timer(u64, u64),
    /// A member's disk has written.
    Written(u64, u64),
    /// A message arrives: from whom, to whom, at which epoch of the stream.
    Arrives(u64, u64, u64, Box<PeerMessage>),
    /// A snapshot arrives: from which process of whom, to whom.
    Snapshot(u64, u64, u64, Box<Snapshot>),
    /// A member hears that a stream broke, or what became of a snapshot.
    Hear(u64, u64, Box<Event>),
    /// A client does something: its try with this number is over, or it has a new wish.
    Client(usize, u64),
    /// A watcher looks for a member.
    Watch(usize),
    /// Everything is compared.
    Compare,
    /// A fault.
    Fault,
    /// A member starts again.
    Start(u64),
    /// A fault ends.
    End(Box<crate::faults::End>),
    /// Somebody wants the members to be others.
    Membership,
}

/// The world.
#[derive(Debug)]
pub struct World {
    pub(crate) plan: Plan,
    pub(crate) now: u64,
    pub(crate) random: Random,
    pub(crate) members: BTreeMap<u64, Member>,
    pub(crate) network: Network,
    pub(crate) report: Report,
    pub(crate) mended: bool,
    pub(crate) next_member: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<(u64, u64), Next>,
    sequence: u64,
    processes: u64,
    pub(crate) sessions: u64,
    pub(crate) uuids: u64,
    pub(crate) wishes: u64,
    pub(crate) clients: Vec<Client>,
    pub(crate) watchers: Vec<Watcher>,
    pub(crate) owners: BTreeMap<SessionId, Owner>,
    pub(crate) records: Vec<Record>,
    /// What the rows are at a log index, as the first member said that had applied it.
    states: BTreeMap<u64, Rows>,
    pub(crate) last_seen: i64,
    pub(crate) membership_session: Option<(SessionId, u64, MemberChange)>,
}

/// Whose a session is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner {
    /// The client's with this number.
    Client(usize),
    /// The watcher's with this number.
    Watcher(usize),
    /// Of him who changes the members.
    Operator,
}

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(plan: Plan) -> Self {
        let voters: Vec<u64> = (1..=plan.members).collect();
        let members = voters
            .iter()
            .map(|member| (*member, Member::new(*member, &voters)));
        let clients = (0..plan.clients).map(|number| Client::new(number % 4 != 3));
        let watchers = (0..plan.members).map(|_| Watcher::new());
        Self {
            now: 0,
            random: Random::new(plan.seed),
            members: members.collect(),
            network: Network::default(),
            report: Report::default(),
            mended: false,
            next_member: plan.members + 1,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            processes: 0,
            sessions: 0,
            uuids: 0,
            wishes: 0,
            clients: clients.collect(),
            watchers: watchers.collect(),
            owners: BTreeMap::new(),
            records: Vec::new(),
            states: BTreeMap::new(),
            last_seen: 0,
            membership_session: None,
            plan,
        }
    }

    /// Lets everything happen, and checks it.
    pub fn run(mut self) -> Result<Report, String> {
        for member in self.members.keys().copied().collect::<Vec<_>>() {
            self.start(member)?;
        }
        self.create_registers()?;
        for watcher in 0..self.watchers.len() {
            self.later(1, Next::Watch(watcher));
        }
        for client in 0..self.clients.len() {
            let tries = self.clients[client].tries;
            self.later(1, Next::Client(client, tries));
        }
        self.later(200, Next::Compare);
        self.later(100, Next::Fault);
        if self.plan.membership {
            self.later(1000, Next::Membership);
        }
        self.run_until(self.now + self.plan.faults_ms, |_| false)?;
        self.mend()?;
        self.run_until(self.now + SETTLING_MS, |_| false)?;
        self.dismiss_strangers();
        let deadline = self.now + RECOVERY_MS;
        self.run_until(deadline, Self::is_over)?;
        if !self.is_over() {
            return Err(format!(
                "no progress {RECOVERY_MS} ms after the last fault: {}",
                self.describe()
            ));
        }
        self.finish()
    }

    /// Switches off whose addition failed, or whose removal succeeded unheard.
    fn dismiss_strangers(&mut self) {
        let Some(leader) = self.leader().and_then(|leader| self.process(leader)) else {
            return;
        };
        let membership = leader.core.membership();
        for member in self.members.keys().copied().collect::<Vec<_>>() {
            let voter = membership.voters.contains(&member);
            if !voter && !membership.learners.contains(&member) {
                self.end(crate::faults::End::Leaves(member));
            }
        }
    }

    fn create_registers(&mut self) -> Result<(), String> {
        for register in 0..REGISTERS {
            self.wishes += 1;
            let number = self.wishes;
            let client = &mut self.clients[0];
            client.wish = Some(Wish {
                number,
                register,
                kind: Kind::Create,
                asked: self.now,
                request: None,
            });
            client.tries += 1;
            let tries = client.tries;
            self.later(1, Next::Client(0, tries));
            self.run_until(self.now + RECOVERY_MS, |world| {
                world.clients[0].wish.is_none()
            })?;
            if self.clients[0].wish.is_some() {
                return Err(format!("the cluster does not start: {}", self.describe()));
            }
        }
        Ok(())
    }

    /// Whether all clients have come to an end and all members and watchers are equal.
    fn is_over(&self) -> bool {
        let idle = self.clients.iter().all(|client| client.wish.is_none());
        let mut members = self.members.values().filter(|member| !member.gone);
        let positions = members.clone().map(|member| {
            let process = member.process.as_ref();
            process.map(|process| process.core.applied())
        });
        let mut positions: Vec<_> = positions.collect();
        positions.dedup();
        let settled = members.all(|member| {
            let process = member.process.as_ref();
            process.is_some_and(|process| process.core.membership().learners.is_empty())
        });
        let watching = self
            .watchers
            .iter()
            .all(|watcher| watcher.session.is_some());
        idle && settled && watching && positions.len() == 1 && self.leader().is_some()
    }

    fn describe(&self) -> String {
        let members = self.members.iter().filter(|(_, member)| !member.gone);
        let members: Vec<String> = members
            .map(|(member, state)| match &state.process {
                None => format!("{member}: down"),
                Some(process) => format!("{member}: {}", process.core.summary()),
            })
            .collect();
        let wishes: Vec<_> = self
            .clients
            .iter()
            .filter_map(|client| client.wish)
            .collect();
        format!("{}; clients wait for {wishes:?}", members.join("; "))
    }

    fn finish(&mut self) -> Result<Report, String> {
        self.compare()?;
        let rows = self.members.values().find_map(|member| {
            let core = &member.process.as_ref()?.core;
            Some(rows_of(&core.content()))
        });
        let rows = rows.unwrap_or_default();
        for (number, watcher) in self.watchers.iter().enumerate() {
            if watcher.rows != rows {
                return Err(format!("watcher {number} does not see what is there"));
            }
        }
        check::history(&self.records, &rows)?;
        let answered = self.records.iter().filter(|r| r.answer.is_some());
        self.report.answered = answered.count();
        self.report.index = self.states.keys().last().copied().unwrap_or(0);
        let leader = self.leader().and_then(|leader| self.members.get(&leader));
        let process = leader.and_then(|leader| leader.process.as_ref());
        self.report.term = process.map_or(0, |process| process.core.applied().term);
        Ok(self.report.clone())
    }

    // Time.

    pub(crate) fn later(&mut self, after: u64, next: Next) {
        self.sequence += 1;
        let key = (self.now + after, self.sequence);
        self.queue.push(Reverse(key));
        self.events.insert(key, next);
    }

    fn run_until(&mut self, end: u64, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        while let Some(Reverse(key)) = self.queue.pop() {
            if key.0 > end {
                self.queue.push(Reverse(key));
                break;
            }
            self.now = key.0;
            let next = self.events.remove(&key).expect("queued with its key");
            self.report.events += 1;
            let now = self.now;
            let failed = |error| format!("at {now} ms: {error}");
            self.happen(next).map_err(failed)?;
            if done(self) {
                return Ok(());
            }
        }
        self.now = self.now.max(end);
        Ok(())
    }

    fn happen(&mut self, next: Next) -> Result<(), String> {
        match next {
            Next::Tick(member, process) => {
                if self.lives(member, process) {
                    self.step(member, Event::Tick)?;
                    self.write(member, true);
                    let tick = self.process(member).map_or(100, |process| process.tick_ms);
                    self.later(tick, Next::Tick(member, process));
                }
            }
            Next::Timer(member, process) => {
                if self.lives(member, process) {
                    self.step(member, Event::Timer)?;
                }
            }
            Next::Written(member, process) => {
                if self.lives(member, process) {
                    self.written(member)?;
                }
            }
            Next::Arrives(from, to, epoch, message) => {
                if self.network.arrives((from, to), epoch) {
                    let (member, message) = (from, *message);
                    if self.process(to).is_none() {
                        self.lose(from, to);
                    } else {
                        self.step(to, Event::Peer { member, message })?;
                    }
                }
            }
            Next::Snapshot(process, from, to, snapshot) => {
                let arrived = self.network.is_open((from, to)) && self.process(to).is_some();
                if arrived {
                    self.report.snapshots += 1;
                    self.step(to, Event::SnapshotArrived(snapshot))?;
                }
                if self.lives(from, process) {
                    let member = to;
                    self.step(from, Event::SnapshotSent { member, arrived })?;
                }
            }
            Next::Hear(member, process, event) => {
                if self.lives(member, process) {
                    self.step(member, *event)?;
                }
            }
            Next::Client(client, tries) => self.client_acts(client, tries)?,
            Next::Watch(watcher) => self.watch(watcher)?,
            Next::Compare => {
                self.compare()?;
                self.later(200, Next::Compare);
            }
            Next::Fault => self.fault()?,
            Next::Start(member) => self.start(member)?,
            Next::End(end) => self.end(*end),
            Next::Membership => self.change_membership()?,
        }
        Ok(())
    }

    // Members.

    fn lives(&self, member: u64, number: u64) -> bool {
        let process = self.process(member);
        process.is_some_and(|process| process.number == number)
    }

    pub(crate) fn process(&self, member: u64) -> Option<&crate::member::Process> {
        self.members.get(&member)?.process.as_ref()
    }

    /// Who leads, as far as it is known to itself.
    pub(crate) fn leader(&self) -> Option<u64> {
        let leads = |member: &&u64| self.process(**member).is_some_and(|p| p.core.serves());
        self.members.keys().find(leads).copied()
    }

    pub(crate) fn start(&mut self, member: u64) -> Result<(), String> {
        self.processes += 1;
        let (number, seed) = (self.processes, self.random.number());
        let log_entries = self.plan.log_entries;
        let Some(state) = self.members.get_mut(&member) else {
            return Ok(());
        };
        if state.process.is_some() || state.gone {
            return Ok(());
        }
        state.start(number, seed, log_entries)?;
        let tick = self.random.range(1..100);
        self.later(tick, Next::Tick(member, number));
        Ok(())
    }

    pub(crate) fn crash(&mut self, member: u64) {
        let written = self.random.percent(50);
        if let Some(state) = self.members.get_mut(&member) {
            state.crash(written);
        }
        let gone: Vec<SessionId> = self
            .owners
            .iter()
            .filter(|(session, owner)| self.session_of(**owner) == Some((**session, member)))
            .map(|(session, _)| *session)
            .collect();
        for session in gone {
            match self.owners.remove(&session) {
                Some(Owner::Client(client)) => {
                    self.clients[client].session = None;
                    self.clients[client].tries += 1;
                    let tries = self.clients[client].tries;
                    let pause = self.random.range(1..200);
                    self.later(pause, Next::Client(client, tries));
                }
                Some(Owner::Watcher(watcher)) => {
                    self.watchers[watcher].session = None;
                    let pause = self.random.range(1..500);
                    self.later(pause, Next::Watch(watcher));
                }
                Some(Owner::Operator) | None => self.membership_session = None,
            }
        }
    }

    fn session_of(&self, owner: Owner) -> Option<(SessionId, u64)> {
        match owner {
            Owner::Client(client) => self.clients[client].session,
            Owner::Watcher(watcher) => self.watchers[watcher].session,
            Owner::Operator => {
                let (session, member, _) = self.membership_session.as_ref()?;
                Some((*session, *member))
            }
        }
    }

    /// The members that run.
    pub(crate) fn running(&self) -> Vec<u64> {
        let running = self.members.iter().filter(|(_, m)| m.process.is_some());
        running.map(|(member, _)| *member).collect()
    }

    pub(crate) fn step(&mut self, member: u64, event: Event) -> Result<(), String> {
        let now = self.now;
        let Some(state) = self.members.get_mut(&member) else {
            return Ok(());
        };
        let Some(process) = state.process.as_mut() else {
            return Ok(());
        };
        let number = process.number;
        let Effects {
            outputs,
            jobs,
            messages,
            snapshots,
            wake_at,
            failure,
            members: _,
        } = process.core.step(now, event);
        if let Some(failure) = failure {
            return Err(format!("member {member} failed: {failure}"));
        }
        for job in jobs {
            process.writer.push(job);
        }
        if let Some(at) = wake_at {
            self.later(at.saturating_sub(now), Next::Timer(member, number));
        }
        self.write(member, false);
        for (to, message) in messages {
            match self.network.send((member, to), now, &mut self.random) {
                Fate::Arrives(at, epoch) => {
                    let message = Box::new(message);
                    self.later(at - now, Next::Arrives(member, to, epoch, message));
                }
                Fate::Lost => self.lose(member, to),
                Fate::Dropped => {}
            }
        }
        for snapshot in snapshots {
            let to = snapshot.message.to;
            let takes = self.random.range(5..300);
            let snapshot = Box::new(snapshot);
            self.later(takes, Next::Snapshot(number, member, to, snapshot));
        }
        for (session, output) in outputs {
            self.output(member, session, output)?;
        }
        Ok(())
    }

    /// A stream breaks, and the sender hears of it.
    pub(crate) fn lose(&mut self, from: u64, to: u64) {
        let pause = self.random.range(10..200);
        self.network.break_stream((from, to), self.now + pause);
        if let Some(number) = self.process(from).map(|process| process.number) {
            let event = Box::new(Event::PeerLost { member: to });
            self.later(1, Next::Hear(from, number, event));
        }
    }

    /// Lets the disk begin to write, if it is free and there is something.
    fn write(&mut self, member: u64, idle: bool) {
        let rows_too = idle || self.random.percent(20);
        let lies = self.plan.bug == Some(Bug::LyingDisk);
        let jitter = self.random.range(0..3);
        let Some(state) = self.members.get_mut(&member) else {
            return;
        };
        let Some(process) = state.process.as_mut() else {
            return;
        };
        let due = process.writer.must_flush() || (idle && !process.writer.is_idle());
        if process.writing.is_some() || !due {
            return;
        }
        process.writing = Some(process.writer.take(rows_too));
        let number = process.number;
        let takes = if lies { 300 } else { state.flush_ms + jitter };
        if lies && let Some((_, Some(flush))) = &mut process.writing.as_mut().map(|w| (&w.0, w.1)) {
            let event = Box::new(Event::Persisted { flush: *flush });
            self.later(1, Next::Hear(member, number, event));
        }
        self.later(takes, Next::Written(member, number));
    }

    fn written(&mut self, member: u64) -> Result<(), String> {
        let lies = self.plan.bug == Some(Bug::LyingDisk);
        let Some(state) = self.members.get_mut(&member) else {
            return Ok(());
        };
        let Some(process) = state.process.as_mut() else {
            return Ok(());
        };
        let Some((batch, flush)) = process.writing.take() else {
            return Ok(());
        };
        let written = state.disk.write(&batch);
        written.map_err(|error| error.to_string())?;
        if let Some(flush) = flush.filter(|_| !lies) {
            self.step(member, Event::Persisted { flush })?;
        }
        self.write(member, false);
        Ok(())
    }

    // Comparing.

    /// Members that have applied as much are equal, and watchers see what their member has.
    fn compare(&mut self) -> Result<(), String> {
        for (member, state) in &self.members {
            let Some(process) = state.process.as_ref() else {
                continue;
            };
            let content = process.core.content();
            let index = content.position.index;
            let mut rows = rows_of(&content);
            if self.plan.bug == Some(Bug::Divergence) && self.random.percent(1) {
                rows.pop_first();
            }
            let first = self.states.entry(index).or_insert_with(|| rows.clone());
            if *first != rows {
                return Err(format!(
                    "member {member} has other rows at log entry {index} than another member had"
                ));
            }
            for (number, watcher) in self.watchers.iter().enumerate() {
                let watches = watcher.session.is_some_and(|(_, of)| of == *member);
                if watches && watcher.rows != rows {
                    return Err(format!(
                        "watcher {number} does not see what member {member} has"
                    ));
                }
            }
        }
        while self.states.len() > 2000 {
            self.states.pop_first();
        }
        Ok(())
    }
}

/// The rows of a whole database.
pub(crate) fn rows_of(content: &store::peer::Content) -> Rows {
    let rows = content.rows.iter();
    rows.map(|(table, uuid, row)| ((*table, *uuid), row.clone()))
        .collect()
}
