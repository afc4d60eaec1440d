//! The machines that members run on: their starts and ends, their disks, and what goes out.

use prost::Message as _;
use store::event::{Effects, Event};
use store::peer::Purpose;
use store::sender::Sender;
use store::server::peers;
use store::session::SessionId;

use super::{Next, Owner, World};
use crate::network::Fate;
use crate::plan::Bug;
use crate::schema;

/// So many values are compared for one wait at most.
const ONE_WAIT: usize = 1000;

impl World {
    pub(crate) fn lives(&self, member: u64, number: u64) -> bool {
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
        let Some(state) = self.members.get_mut(&member) else {
            return Ok(());
        };
        if state.process.is_some() || state.gone {
            return Ok(());
        }
        if state.full && self.plan.files {
            // It cannot even be opened.
            self.later(300, Next::Start(member));
            return Ok(());
        }
        state.start(number, seed, &self.plan)?;
        let tick = self.random.range(1..100);
        self.later(tick, Next::Tick(member, number));
        Ok(())
    }

    pub(crate) fn crash(&mut self, member: u64) {
        if let Some(state) = self.members.get_mut(&member) {
            state.crash(&mut self.random);
        }
        for other in self.running() {
            // The system closes the streams of a process that ends; of a machine, nobody does.
            if self.random.percent(60) {
                self.peer_gone(other, member);
            }
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
                Some(Owner::Reader(reader)) => {
                    self.readers[reader].session = None;
                    self.readers[reader].tries += 1;
                    let tries = self.readers[reader].tries;
                    let pause = self.random.range(1..500);
                    self.later(pause, Next::Reader(reader, tries));
                }
                Some(Owner::Keeper(keeper)) => {
                    self.keepers[keeper].session = None;
                    self.keepers[keeper].tries += 1;
                    let tries = self.keepers[keeper].tries;
                    let pause = self.random.range(1..200);
                    self.later(pause, Next::Keeper(keeper, tries));
                }
                Some(Owner::Operator | Owner::Imitator | Owner::Glutton) | None => {
                    self.membership_session = None;
                }
            }
        }
    }

    fn session_of(&self, owner: Owner) -> Option<(SessionId, u64)> {
        match owner {
            Owner::Client(client) => self.clients[client].session,
            Owner::Watcher(watcher) => self.watchers[watcher].session,
            Owner::Reader(reader) => self.readers[reader].session,
            Owner::Keeper(keeper) => self.keepers[keeper].session,
            Owner::Imitator | Owner::Glutton => None,
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
        if process.stopped {
            self.unheard.push((member, number, event));
            return Ok(());
        }
        let Effects {
            outputs,
            jobs,
            messages,
            snapshots,
            wake_at,
            failure,
            members: _,
            discarded: _,
        } = process.core.step(now, event);
        if let Some(failure) = failure {
            return Err(format!("member {member} failed: {failure}"));
        }
        let (server, membership) = (state.server, process.core.membership());
        self.report.steps += 1;
        let spent = process.core.wait_steps_spent();
        if spent > self.plan.wait_steps + ONE_WAIT {
            return Err(format!(
                "member {member} compares {spent} values for waits in one step"
            ));
        }
        // Slices of what monitors are told, of a transaction that reads, of an index, and of others that read.
        let spent = process.core.spent();
        if spent > 8 * (self.plan.slice_steps + 1) {
            return Err(format!("member {member} looks at {spent} rows in one step"));
        }
        for job in jobs {
            process.writer.push(job);
        }
        if let Some(at) = wake_at {
            // What is to go on at once does so after what else there is to do.
            let wait = match at.saturating_sub(now) {
                0 => self.random.range(0..4),
                wait => wait,
            };
            self.later(wait, Next::Timer(member, number));
        }
        self.write(member, false);
        for (to, message) in messages {
            let purpose = message.purpose();
            // As it travels.
            let frame = peers::to_frame(schema(), &message);
            let bytes = frame.encoded_len();
            if bytes > self.plan.frame_bytes {
                // Who receives it ends the stream.
                self.lose(member, to, purpose);
                continue;
            }
            let takes = bytes as u64 / self.plan.bytes_per_ms;
            let direction = ((member, to), purpose);
            let sender = Sender {
                member,
                server,
                members_since: membership.since,
            };
            let meant = (to, membership.server(to));
            match self.network.send(direction, (now, takes), &mut self.random) {
                Fate::Arrives(at, epoch) => {
                    let message = peers::from_frame(schema(), frame);
                    let message = message.map_err(|error| format!("{direction:?}: {error}"))?;
                    let message = Box::new(message);
                    self.later(at - now, Next::Arrives(sender, meant, epoch, message));
                }
                Fate::Lost => self.lose(member, to, purpose),
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

    /// A member hears that the stream from another one ended.
    pub(crate) fn peer_gone(&mut self, member: u64, gone: u64) {
        let pause = self.random.range(1..20);
        if let Some(number) = self.process(member).map(|process| process.number) {
            let event = Box::new(Event::PeerGone { member: gone });
            self.later(pause, Next::Hear(member, number, event));
        }
    }

    /// A stream breaks, and the sender hears of it.
    pub(crate) fn lose(&mut self, from: u64, to: u64, purpose: Purpose) {
        self.report.streams_lost += 1;
        let pause = self.random.range(10..200);
        self.network
            .break_stream((from, to), purpose, self.now + pause);
        if let Some(number) = self.process(from).map(|process| process.number) {
            let event = Box::new(Event::PeerLost {
                member: to,
                purpose,
            });
            self.later(1, Next::Hear(from, number, event));
        }
    }

    /// Lets the disk begin to write, if it is free and there is something.
    pub(crate) fn write(&mut self, member: u64, idle: bool) {
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

    pub(crate) fn written(&mut self, member: u64) -> Result<(), String> {
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
        let number = process.number;
        if let Err(error) = state.write(&batch) {
            if !state.full && self.plan.failing_disks {
                // The server hears of it while the thread of the disk, and the core, go on.
                let pause = self.random.range(1..100);
                self.later(pause, Next::Ends(member, number));
                self.write(member, true);
                return Ok(());
            }
            if !state.full {
                return Err(error.to_string());
            }
            if self.plan.bug != Some(Bug::IgnoredFullDisk) {
                // As a server does, it ends, and is started again.
                self.crash(member);
                let pause = self.random.range(100..1000);
                self.later(pause, Next::Start(member));
                return Ok(());
            }
        }
        if let Some(flush) = flush.filter(|_| !lies) {
            self.step(member, Event::Persisted { flush })?;
        }
        self.write(member, false);
        Ok(())
    }

    /// A process that was stopped goes on, with all that it has not heard.
    pub(crate) fn go_on(&mut self, member: u64) -> Result<(), String> {
        let process = self
            .members
            .get_mut(&member)
            .and_then(|m| m.process.as_mut());
        if let Some(process) = process {
            process.stopped = false;
        }
        let mut unheard: Vec<_> = self
            .unheard
            .extract_if(.., |(of, ..)| *of == member)
            .collect();
        if self.random.percent(50) {
            // Clients and members have streams of their own: whom does it hear first?
            unheard.sort_by_key(|(.., event)| matches!(event, Event::Peer { .. }));
        }
        for (member, process, event) in unheard {
            if self.lives(member, process) {
                self.step(member, event)?;
            }
        }
        Ok(())
    }
}
