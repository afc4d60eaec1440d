//! Runs that a script drives: each step is written down, nothing else happens.

use store::event::{Event, Request};
use store::peer::Purpose;
use store::raft::MemberChange;
use store::session::{Consistency, RequestId};

use crate::client::{Kind, Wish};
use crate::disk::Disk;
use crate::plan::Plan;
use crate::world::{Next, World};

/// So long a script waits for what must happen.
const PATIENCE_MS: u64 = 60_000;
/// The first client that does not name its transactions.
const UNNAMED: usize = 3;

/// A world and its script.
#[derive(Debug)]
pub struct Script {
    world: World,
}

impl Script {
    /// A cluster that serves.
    pub fn begin(plan: Plan) -> Result<Self, String> {
        let mut world = World::new(plan);
        // Clients wish for nothing by themselves.
        world.mended = true;
        world.begin()?;
        Ok(Self { world })
    }

    /// Time passes.
    pub fn pass(&mut self, ms: u64) -> Result<(), String> {
        self.world.run_until(self.world.now + ms, |_| false)
    }

    /// Waits until something holds.
    pub fn until(&mut self, what: &str, holds: impl Fn(&World) -> bool) -> Result<(), String> {
        let end = self.world.now + PATIENCE_MS;
        self.world.run_until(end, &holds)?;
        match holds(&self.world) {
            true => Ok(()),
            false => Err(format!("never {what}: {}", self.world.describe())),
        }
    }

    /// A member's process is stopped.
    pub fn stop(&mut self, member: u64) {
        let member = self.world.members.get_mut(&member);
        if let Some(process) = member.and_then(|member| member.process.as_mut()) {
            process.stopped = true;
        }
    }

    /// A process that was stopped goes on. What it hears first is that a client wants to read;
    /// then all that it has not heard meanwhile.
    pub fn read_and_go_on(&mut self, member: u64) -> Result<(), String> {
        let unheard = std::mem::take(&mut self.world.unheard);
        self.world.go_on(member)?;
        self.wish(1, Kind::Read);
        self.world.ask(1, member)?;
        self.world.unheard = unheard;
        self.world.go_on(member)
    }

    /// A client asks a member to write, and does not wait.
    pub fn begin_write(&mut self, member: u64) -> Result<(), String> {
        self.wish(0, Kind::Write);
        self.world.ask(0, member)
    }

    /// A reader asks a member for what it has, and gets an answer before it loses patience.
    pub fn read_locally(&mut self, member: u64) -> Result<(), String> {
        self.world.reader_goes_to(0, member)?;
        self.world.read_state(0, Consistency::Local)?;
        self.until("answered", |world| !world.readers[0].waits)
    }

    /// A client that does not name its transactions asks a member to write, and does not wait. If
    /// it is told that nothing was done, it asks again.
    pub fn begin_unnamed_write(&mut self, member: u64) -> Result<(), String> {
        self.wish(UNNAMED, Kind::Write);
        self.world.ask(UNNAMED, member)
    }

    /// That client asks a member to replace what is never there, for as long as it takes.
    pub fn begin_unnamed_wait(&mut self, member: u64) -> Result<(), String> {
        self.wish(UNNAMED, Kind::Swap(-1, 1_000_000));
        self.world.ask(UNNAMED, member)
    }

    /// That client does not want any more what it has asked for.
    pub fn cancel(&mut self) -> Result<(), String> {
        let client = &self.world.clients[UNNAMED];
        let wish = client.wish.and_then(|wish| wish.request);
        let (Some((session, member)), Some(target)) = (client.session, wish) else {
            return Err("there is nothing to cancel".to_owned());
        };
        let event = Event::Request {
            session,
            request: RequestId(u64::MAX),
            body: Request::Cancel { target },
        };
        self.world.step(member, event)
    }

    /// Waits until that client has an answer.
    pub fn until_unnamed_answered(&mut self) -> Result<(), String> {
        self.until("answered", |world| world.clients[UNNAMED].wish.is_none())
    }

    /// How often that client has asked.
    pub fn unnamed_requests(&self) -> u64 {
        self.world.clients[UNNAMED].requests
    }

    /// A client asks a member to replace what the next wish will write, if it is there now, and
    /// does not wait.
    pub fn begin_swap(&mut self, member: u64) -> Result<(), String> {
        let next = i64::try_from(self.world.wishes + 2).unwrap_or(i64::MAX);
        self.wish(2, Kind::Swap(next, 0));
        self.world.ask(2, member)
    }

    /// A client with another identity asks a member to do something under the name of the last wish, or of the next
    /// one, and does not wait.
    pub fn imitate(&mut self, member: u64, next: bool) -> Result<(), String> {
        self.world.wishes += u64::from(next);
        let wish = self.world.wishes;
        self.world.imitate(member, wish + u64::from(next))
    }

    /// Somebody asks a member to wait for what never comes, so many times.
    pub fn wait_much(&mut self, member: u64, times: u64) -> Result<(), String> {
        self.world.wait_much(member, times, None)
    }

    /// The same for so many milliseconds.
    pub fn wait_for_a_while(&mut self, member: u64, times: u64, ms: u64) -> Result<(), String> {
        self.world.wait_much(member, times, Some(ms))
    }

    /// Somebody asks a member to write, and to select everything so many times.
    pub fn select_much(&mut self, member: u64, times: usize) -> Result<(), String> {
        self.world.select_much(member, times)
    }

    /// How the error was called that he was told, once he is.
    pub fn until_refused(&mut self) -> Result<String, String> {
        self.until("told", |world| world.refused.is_some())?;
        Ok(self.world.refused.clone().unwrap_or_default())
    }

    /// How many streams have broken.
    pub fn streams_lost(&self) -> u64 {
        self.world.report.streams_lost
    }

    /// A watcher goes to a member.
    pub fn watch(&mut self, watcher: usize, member: u64) -> Result<(), String> {
        self.unwatch(watcher)?;
        self.world.watch_at(watcher, member)
    }

    /// A watcher goes, and comes back when it is told to.
    pub fn unwatch(&mut self, watcher: usize) -> Result<(), String> {
        self.world.watcher_leaves(watcher).map(drop)
    }

    /// Waits until all members have applied as much.
    pub fn until_equal(&mut self) -> Result<(), String> {
        self.until("equal", |world| {
            let running = world.running().into_iter();
            let cores = running.filter_map(|member| world.process(member));
            let mut positions: Vec<_> = cores.map(|process| process.core.applied()).collect();
            positions.dedup();
            positions.len() == 1
        })
    }

    /// How many snapshots have arrived.
    pub fn snapshots(&self) -> u64 {
        self.world.report.snapshots
    }

    fn wish(&mut self, client: usize, kind: Kind) {
        let world = &mut self.world;
        world.wishes += 1;
        world.clients[client].tries += 1;
        world.clients[client].wish = Some(Wish {
            number: world.wishes,
            register: 0,
            kind,
            asked: world.now,
            request: None,
        });
    }

    /// So many writes are done, one after the other.
    pub fn write(&mut self, count: usize) -> Result<(), String> {
        for _ in 0..count {
            self.wish(1, Kind::Write);
            let tries = self.world.clients[1].tries;
            self.world.later(1, Next::Client(1, tries));
            self.until("answered", |world| world.clients[1].wish.is_none())?;
        }
        Ok(())
    }

    /// Who leads; nobody is 0.
    pub fn leader(&self) -> u64 {
        self.world.leader().unwrap_or(0)
    }

    /// A running member that does not lead.
    pub fn follower(&self) -> u64 {
        let mut running = self.world.running().into_iter();
        let leader = self.leader();
        running.find(|member| *member != leader).unwrap_or(0)
    }

    /// The newest term of all members.
    pub fn term(&self) -> u64 {
        let running = self.world.running().into_iter();
        let cores = running.filter_map(|member| self.world.process(member));
        cores.map(|process| process.core.term()).max().unwrap_or(0)
    }

    /// Waits until somebody else leads than this one.
    pub fn until_other_leads(&mut self, old: u64) -> Result<u64, String> {
        let other = move |world: &World| {
            let mut running = world.running().into_iter();
            running.find(|member| {
                let process = world.process(*member);
                *member != old && process.is_some_and(|process| process.core.serves())
            })
        };
        self.until("another leader", |world| other(world).is_some())?;
        Ok(other(&self.world).unwrap_or(0))
    }

    /// Cuts a member off from all others, or not any more.
    pub fn isolate(&mut self, member: u64, cut: bool) {
        for other in self.world.members.keys().copied().collect::<Vec<_>>() {
            self.world.network.cut((member, other), cut);
            self.world.network.cut((other, member), cut);
        }
    }

    /// What one member says takes so long to reach another.
    pub fn delay(&mut self, from: u64, to: u64, ms: u64) {
        self.world.network.delay((from, to), ms);
    }

    /// A stream breaks, and is there again at once.
    pub fn break_stream(&mut self, from: u64, to: u64) -> Result<(), String> {
        for purpose in Purpose::ALL {
            self.world.network.break_stream((from, to), purpose, 0);
            let member = to;
            self.world.step(from, Event::PeerLost { member, purpose })?;
        }
        Ok(())
    }

    /// A member passes its leadership on.
    pub fn retire(&mut self, member: u64) -> Result<(), String> {
        self.world.step(member, Event::Retire)
    }

    /// A member's process ends.
    pub fn crash(&mut self, member: u64) {
        self.world.crash(member);
    }

    /// A member starts.
    pub fn start(&mut self, member: u64) -> Result<(), String> {
        self.world.start(member)
    }

    /// What a member's disk has at the moment.
    pub fn copy_disk(&self, member: u64) -> Option<Disk> {
        self.world.members.get(&member)?.disk.copy()
    }

    /// A member's disk has something else from now on.
    pub fn replace_disk(&mut self, member: u64, disk: Disk) {
        if let Some(member) = self.world.members.get_mut(&member) {
            member.disk = disk;
        }
    }

    /// A new member starts, and the operator adds it.
    pub fn add(&mut self) -> Result<u64, String> {
        let member = self.world.next_member;
        self.world.next_member += 1;
        self.add_as(member)?;
        Ok(member)
    }

    /// A new server starts, and the operator adds it under this number, which another one may have had.
    pub fn add_as(&mut self, member: u64) -> Result<(), String> {
        let server = self.world.new_member(member)?;
        let change = MemberChange::Add {
            member,
            address: format!("member{member}:6645"),
            server: Some(server),
        };
        let leader = self.leader();
        self.world.ask_for(leader, change)
    }

    /// The operator removes a member, which ends when that is done.
    pub fn remove(&mut self, member: u64) -> Result<(), String> {
        let leader = self.leader();
        self.world
            .ask_for(leader, MemberChange::Remove { member })?;
        self.until("removed", move |world| {
            let leader = world.leader().and_then(|leader| world.process(leader));
            leader.is_some_and(|process| !process.core.membership().contains(member))
        })?;
        self.world.leaves(member);
        Ok(())
    }

    /// Waits until a member votes.
    pub fn until_voter(&mut self, member: u64) -> Result<(), String> {
        self.until("a voter", move |world| {
            let leader = world.leader().and_then(|leader| world.process(leader));
            leader.is_some_and(|process| process.core.membership().voters.contains(&member))
        })
    }

    /// Waits until all are equal, and checks everything.
    pub fn end(mut self) -> Result<(), String> {
        self.world.mend()?;
        self.until("equal", World::is_over)?;
        self.world.finish().map(drop)
    }
}
