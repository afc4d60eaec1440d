//! Runs that a script drives: each step is written down, nothing else happens.

use store::raft::MemberChange;

use crate::client::{Kind, Wish};
use crate::disk::Disk;
use crate::member::Member;
use crate::plan::Plan;
use crate::world::{Next, World};

/// So long a script waits for what must happen.
const PATIENCE_MS: u64 = 60_000;

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

    /// So many writes are done, one after the other.
    pub fn write(&mut self, count: usize) -> Result<(), String> {
        for _ in 0..count {
            let world = &mut self.world;
            world.wishes += 1;
            let client = &mut world.clients[0];
            client.wish = Some(Wish {
                number: world.wishes,
                register: 0,
                kind: Kind::Write,
                asked: world.now,
                request: None,
            });
            client.tries += 1;
            let tries = client.tries;
            world.later(1, Next::Client(0, tries));
            self.until("answered", |world| world.clients[0].wish.is_none())?;
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

    /// Cuts a member off from all others, or not any more.
    pub fn isolate(&mut self, member: u64, cut: bool) {
        for other in self.world.members.keys().copied().collect::<Vec<_>>() {
            self.world.network.cut((member, other), cut);
            self.world.network.cut((other, member), cut);
        }
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
        let files = self.world.plan.files;
        self.world
            .members
            .insert(member, Member::new(member, &[], files));
        self.world.start(member)?;
        let address = format!("member{member}:6645");
        let change = MemberChange::Add { member, address };
        let leader = self.leader();
        self.world.ask_for(leader, change)?;
        Ok(member)
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
