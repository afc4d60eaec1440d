//! The simulated world: what happens, in the order of virtual time.
//!
//! A world has a phase without faults, in which the registers are created; a phase with faults,
//! in which clients work; and one in which everything is mended and everybody has to come to an
//! end. Time is in milliseconds.

mod compare;
mod faults;
mod keeper;
mod machines;
mod reader;
mod sessions;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use ovsdb::Uuid;
use store::event::Event;
use store::peer::{PeerMessage, Snapshot};
use store::raft::MemberChange;
use store::sender::Sender;
use store::session::SessionId;

use self::compare::rows_of;
use self::keeper::{COUNTER, Keeper};
use self::reader::Reader;
use crate::check;
use crate::client::{Client, Kind, Record, Wish};
use crate::member::Member;
use crate::network::Network;
use crate::plan::Plan;
use crate::random::Random;
use crate::watcher::Watcher;

/// So long everybody may take to come to an end once nothing fails any more.
const RECOVERY_MS: u64 = 60_000;
/// After so long without faults, it is clear who belongs to the cluster.
const SETTLING_MS: u64 = 8_000;
/// So many clients read states, and so many want the lock.
const READERS: usize = 2;
const KEEPERS: usize = 3;

/// What a run was like.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// How many events were simulated.
    pub events: u64,
    /// How many operations were answered.
    pub answered: usize,
    /// Faults by what they were.
    pub faults: BTreeMap<&'static str, u64>,
    /// How many streams between members broke, by a fault or because of one.
    pub streams_lost: u64,
    /// How many steps the cores took.
    pub steps: u64,
    /// How many snapshots arrived.
    pub snapshots: u64,
    /// How many states were read whole.
    pub states_read: u64,
    /// How often readers found in them what they had written themselves.
    pub own_read: u64,
    /// How often the owner of the lock counted.
    pub counted: u64,
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
    /// A message arrives: from whom, to which member that is taken for which server, at which epoch of the stream.
    Arrives(Sender, (u64, Option<Uuid>), u64, Box<PeerMessage>),
    /// A snapshot arrives: from which process of whom, to whom.
    Snapshot(u64, u64, u64, Box<Snapshot>),
    /// A member hears that a stream broke, or what became of a snapshot.
    Hear(u64, u64, Box<Event>),
    /// A client does something: its try with this number is over, or it has a new wish.
    Client(usize, u64),
    /// A reader does something, as a client does.
    Reader(usize, u64),
    /// One who wants the lock does something, as a client does.
    Keeper(usize, u64),
    /// A watcher looks for a member.
    Watch(usize),
    /// A watcher leaves its member for another.
    Hop(usize),
    /// Everything is compared.
    Compare,
    /// A fault.
    Fault,
    /// A member starts again.
    Start(u64),
    /// A process ends that has heard of its disk's failure, and is started again.
    Ends(u64, u64),
    /// A fault ends.
    End(Box<faults::End>),
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
    pub(crate) processes: u64,
    pub(crate) sessions: u64,
    pub(crate) uuids: u64,
    pub(crate) wishes: u64,
    pub(crate) clients: Vec<Client>,
    pub(crate) watchers: Vec<Watcher>,
    pub(crate) readers: Vec<Reader>,
    pub(crate) keepers: Vec<Keeper>,
    pub(crate) owners: BTreeMap<SessionId, Owner>,
    /// Who was told that it owns the lock, and at which member.
    pub(crate) told_owners: BTreeMap<SessionId, u64>,
    pub(crate) records: Vec<Record>,
    /// A hash of the rows at a log index, as the first member had them that was there.
    pub(crate) states: BTreeMap<u64, u64>,
    /// A hash of what readers see, by the number of traces.
    pub(crate) states_by_traces: BTreeMap<usize, u64>,
    /// What processes that are stopped have not heard: which process of whom, and what.
    pub(crate) unheard: Vec<(u64, u64, Event)>,
    pub(crate) last_seen: i64,
    /// The row that each imitator is to be told of.
    pub(crate) imitated: BTreeMap<SessionId, Uuid>,
    /// What somebody was told who wanted too much.
    pub(crate) refused: Option<String>,
    pub(crate) membership_session: Option<(SessionId, u64, MemberChange)>,
}

/// Whose a session is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner {
    /// The client's with this number.
    Client(usize),
    /// The watcher's with this number.
    Watcher(usize),
    /// The reader's with this number.
    Reader(usize),
    /// The keeper's with this number.
    Keeper(usize),
    /// Of him who changes the members.
    Operator,
    /// Of somebody who asks under the names of others.
    Imitator,
    /// Somebody who wants much at a time.
    Glutton,
}

impl Report {
    /// How many faults were injected.
    pub fn injected(&self) -> u64 {
        self.faults.values().sum()
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.answered += other.answered;
        self.snapshots += other.snapshots;
        self.streams_lost += other.streams_lost;
        self.steps += other.steps;
        self.states_read += other.states_read;
        self.own_read += other.own_read;
        self.counted += other.counted;
        for (fault, count) in &other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
    }
}

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(plan: Plan) -> Self {
        let voters: Vec<u64> = (1..=plan.members).collect();
        let members = voters
            .iter()
            .map(|member| (*member, Member::new(*member, &voters, plan.files)));
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
            readers: (0..READERS).map(|_| Reader::default()).collect(),
            keepers: (0..KEEPERS).map(|_| Keeper::default()).collect(),
            owners: BTreeMap::new(),
            told_owners: BTreeMap::new(),
            records: Vec::new(),
            states: BTreeMap::new(),
            states_by_traces: BTreeMap::new(),
            unheard: Vec::new(),
            last_seen: 0,
            refused: None,
            imitated: BTreeMap::new(),
            membership_session: None,
            plan,
        }
    }

    /// Starts everybody, and creates the registers.
    pub(crate) fn begin(&mut self) -> Result<(), String> {
        for member in self.members.keys().copied().collect::<Vec<_>>() {
            self.start(member)?;
        }
        self.create_registers()?;
        for watcher in 0..self.watchers.len() {
            self.later(1, Next::Watch(watcher));
            self.later(1000, Next::Hop(watcher));
        }
        Ok(())
    }

    /// Lets everything happen, and checks it.
    pub fn run(mut self) -> Result<Report, String> {
        self.begin()?;
        for client in 0..self.clients.len() {
            let tries = self.clients[client].tries;
            self.later(1, Next::Client(client, tries));
        }
        for reader in 0..self.readers.len() {
            self.later(1, Next::Reader(reader, 0));
        }
        for keeper in 0..self.keepers.len() {
            self.later(1, Next::Keeper(keeper, 0));
        }
        self.later(200, Next::Compare);
        self.later(100, Next::Fault);
        if self.plan.membership {
            self.later(1000, Next::Membership);
        }
        self.run_until(self.now + self.plan.faults_ms, |_| false)?;
        self.mend()?;
        self.run_until(self.now + SETTLING_MS, |_| false)?;
        self.switch_off_others();
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
    fn switch_off_others(&mut self) {
        let Some(leader) = self.leader().and_then(|leader| self.process(leader)) else {
            return;
        };
        let membership = leader.core.membership();
        for member in self.members.keys().copied().collect::<Vec<_>>() {
            let voter = membership.voters.contains(&member);
            if !voter && !membership.learners.contains(&member) {
                self.leaves(member);
            }
        }
    }

    fn create_registers(&mut self) -> Result<(), String> {
        for register in 0..=COUNTER {
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
    pub(crate) fn is_over(&self) -> bool {
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
            .all(|watcher| watcher.session.is_some() && watcher.started);
        idle && settled && watching && positions.len() == 1 && self.leader().is_some()
    }

    pub(crate) fn describe(&self) -> String {
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

    pub(crate) fn finish(&mut self) -> Result<Report, String> {
        self.compare(true)?;
        let rows = self.members.values().find_map(|member| {
            let core = &member.process.as_ref()?.core;
            Some(rows_of(&core.content()))
        });
        let rows = rows.unwrap_or_default();
        for (number, watcher) in self.watchers.iter().enumerate() {
            if watcher.rows != watcher.shown(&rows) {
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

    pub(crate) fn run_until(
        &mut self,
        end: u64,
        done: impl Fn(&Self) -> bool,
    ) -> Result<(), String> {
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
                    if self.process(member).is_some_and(|process| !process.stopped) {
                        self.step(member, Event::Tick)?;
                    }
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
            Next::Arrives(sender, (to, meant), epoch, message) => {
                let from = sender.member;
                let purpose = message.purpose();
                if self.network.arrives((from, to), purpose, epoch) {
                    let message = *message;
                    let is_meant = self.members.get(&to).is_some_and(|member| {
                        member.process.is_some() && meant.is_none_or(|meant| meant == member.server)
                    });
                    if !is_meant {
                        self.lose(from, to, purpose);
                    } else {
                        self.step(to, Event::Peer { sender, message })?;
                    }
                }
            }
            Next::Snapshot(process, from, to, snapshot) => {
                let lost = self.plan.snapshots_lost > 0;
                self.plan.snapshots_lost -= u64::from(lost);
                let open = self.network.is_open((from, to));
                let arrived = open && !lost && self.process(to).is_some();
                if arrived {
                    self.report.snapshots += 1;
                    self.step(to, Event::SnapshotArrived(snapshot))?;
                }
                let known = self.random.range(self.plan.report_ms.clone());
                let event = Box::new(Event::SnapshotSent {
                    member: to,
                    arrived,
                });
                self.later(known, Next::Hear(from, process, event));
            }
            Next::Hear(member, process, event) => {
                if self.lives(member, process) {
                    self.step(member, *event)?;
                }
            }
            Next::Client(client, tries) => self.client_acts(client, tries)?,
            Next::Reader(reader, tries) => self.reader_acts(reader, tries)?,
            Next::Keeper(keeper, tries) => self.keeper_acts(keeper, tries)?,
            Next::Watch(watcher) => self.watch(watcher)?,
            Next::Hop(watcher) => self.hop(watcher)?,
            Next::Compare => {
                self.compare(false)?;
                self.later(200, Next::Compare);
            }
            Next::Fault => self.fault()?,
            Next::Start(member) => self.start(member)?,
            Next::Ends(member, process) => {
                if self.lives(member, process) {
                    self.crash(member);
                    let pause = self.random.range(100..1000);
                    self.later(pause, Next::Start(member));
                }
            }
            Next::End(end) => self.end(*end)?,
            Next::Membership => self.change_membership()?,
        }
        self.check_owners()
    }
}
