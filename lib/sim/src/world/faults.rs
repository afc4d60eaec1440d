//! What goes wrong.
//!
//! Faults come one after the other at random, and most end after a while; several can be under
//! way at a time. Nothing keeps them from taking away the majority.

use ovsdb::Uuid;
use store::peer::Purpose;
use store::raft::MemberChange;

use super::{Next, World};
use crate::member::{Member, Process, server_of};

/// The end of a fault.
#[derive(Debug)]
pub enum End {
    /// Something gets through again.
    Mended(Vec<(u64, u64)>),
    /// A stream is fast again.
    Quick(u64, u64),
    /// A disk is fast again.
    Fast(u64),
    /// A disk has room again.
    Room(u64),
    /// A stopped process goes on.
    Continues(u64),
    /// A member that was removed is switched off, if it is still this server.
    Leaves(u64, Uuid),
}

impl World {
    /// Something goes wrong, and later something else.
    pub(crate) fn fault(&mut self) -> Result<(), String> {
        if self.mended {
            return Ok(());
        }
        let pause = self.random.range(self.plan.pause_ms.clone());
        self.later(pause, Next::Fault);
        let running = self.running();
        let Some(member) = self.random.pick(&running) else {
            return Ok(());
        };
        let leader = self.leader();
        let other = self.random.pick(&running).filter(|other| *other != member);
        let name = match (self.random.range(0..100), leader, other) {
            (0..12, ..) => self.crash_for_a_while(member),
            (12..20, Some(leader), _) => {
                self.crash_for_a_while(leader);
                "crash of the leader"
            }
            (20..22, ..) => {
                for member in running {
                    self.crash_for_a_while(member);
                }
                "crash of all"
            }
            (22..32, ..) => self.isolate(member),
            (32..40, Some(leader), _) => {
                self.isolate(leader);
                "isolation of the leader"
            }
            (40..46, _, Some(other)) => {
                self.cut(vec![(member, other)]);
                "one direction lost"
            }
            (46..60, _, Some(other)) => {
                let raft = self.random.percent(70);
                let purpose = if raft {
                    Purpose::Raft
                } else {
                    Purpose::Forwards
                };
                self.lose(member, other, purpose);
                if self.random.percent(50) {
                    self.lose(
                        member,
                        other,
                        if raft {
                            Purpose::Forwards
                        } else {
                            Purpose::Raft
                        },
                    );
                }
                // It may look as if the process had ended; to all, even.
                match self.random.range(0..100) {
                    0..30 => self.peer_gone(other, member),
                    30..40 => {
                        for other in running {
                            self.peer_gone(other, member);
                        }
                    }
                    _ => {}
                }
                "stream breaks"
            }
            (60..68, ..) => {
                self.change(member, |state| state.flush_ms = 400);
                self.ends(End::Fast(member));
                "slow disk"
            }
            (68..73, ..) if self.plan.failing_disks && self.random.percent(60) => {
                self.change(member, |state| state.fails_once = true);
                "a write that fails"
            }
            (68..73, ..) => {
                self.fill(member, true);
                self.ends(End::Room(member));
                "full disk"
            }
            (73..83, _, Some(other)) => {
                let delay = self.random.range(20..300);
                self.network.delay((member, other), delay);
                self.ends(End::Quick(member, other));
                "slow stream"
            }
            (83..88, ..) => {
                let tick = self.random.range(60..180);
                if let Some(process) = self.running_process(member) {
                    process.tick_ms = tick;
                }
                "clock drifts"
            }
            (88..95, ..) => {
                if let Some(process) = self.running_process(member) {
                    process.stopped = true;
                }
                self.ends(End::Continues(member));
                "process stopped"
            }
            (95..100, Some(leader), _) => {
                self.step(leader, store::event::Event::Retire)?;
                "leadership passed on"
            }
            _ => return Ok(()),
        };
        *self.report.faults.entry(name).or_default() += 1;
        Ok(())
    }

    fn ends(&mut self, end: End) {
        let lasts = self.random.range(20..self.plan.lasts_ms);
        self.later(lasts, Next::End(Box::new(end)));
    }

    fn change(&mut self, member: u64, change: impl FnOnce(&mut Member)) {
        if let Some(state) = self.members.get_mut(&member) {
            change(state);
        }
    }

    fn running_process(&mut self, member: u64) -> Option<&mut Process> {
        self.members.get_mut(&member)?.process.as_mut()
    }

    fn fill(&mut self, member: u64, full: bool) {
        self.change(member, |state| {
            state.full = full;
            state.disk.fill(full);
        });
    }

    fn crash_for_a_while(&mut self, member: u64) -> &'static str {
        self.crash(member);
        let lasts = match self.random.percent(30) {
            true => self.random.range(1..50),
            false => self.random.range(50..self.plan.lasts_ms),
        };
        self.later(lasts, Next::Start(member));
        "crash"
    }

    fn cut(&mut self, directions: Vec<(u64, u64)>) {
        for direction in &directions {
            self.network.cut(*direction, true);
        }
        self.ends(End::Mended(directions));
    }

    /// Cuts a member off: from everybody, or so that it only hears, or only speaks.
    fn isolate(&mut self, member: u64) -> &'static str {
        let (both, hears) = (self.random.percent(50), self.random.percent(50));
        let others = self.members.keys().copied().filter(|m| *m != member);
        let directions = others
            .flat_map(|other| [(member, other), (other, member)])
            .filter(|(from, _)| both || (*from == member) == hears);
        self.cut(directions.collect());
        match both {
            true => "isolation",
            false => "one-way isolation",
        }
    }

    pub(crate) fn end(&mut self, end: End) -> Result<(), String> {
        match end {
            End::Mended(directions) => {
                for direction in directions {
                    self.network.cut(direction, false);
                }
            }
            End::Quick(from, to) => self.network.delay((from, to), 0),
            End::Fast(member) => self.change(member, |state| state.flush_ms = 1),
            End::Room(member) => self.fill(member, false),
            End::Continues(member) => return self.go_on(member),
            End::Leaves(member, server) => {
                if self
                    .members
                    .get(&member)
                    .is_some_and(|member| member.server == server)
                {
                    self.leaves(member);
                }
            }
        }
        Ok(())
    }

    /// A member leaves for good.
    pub(crate) fn leaves(&mut self, member: u64) {
        self.crash(member);
        self.change(member, |state| state.gone = true);
    }

    /// No more faults.
    pub(crate) fn mend(&mut self) -> Result<(), String> {
        self.mended = true;
        self.network.heal();
        for member in self.members.keys().copied().collect::<Vec<_>>() {
            self.change(member, |state| state.flush_ms = 1);
            self.fill(member, false);
            self.start(member)?;
            self.go_on(member)?;
        }
        Ok(())
    }

    /// A new server starts that is about to be this member.
    pub(crate) fn new_member(&mut self, member: u64) -> Result<Uuid, String> {
        self.processes += 1;
        let server = match self.members.contains_key(&member) {
            true => Uuid::from_u64_pair(self.processes, member),
            false => server_of(member),
        };
        let new = Member::of_server((member, server), &[], self.plan.files);
        self.members.insert(member, new);
        self.start(member)?;
        Ok(server)
    }

    /// The operator adds a member, or takes one away.
    pub(crate) fn change_membership(&mut self) -> Result<(), String> {
        if self.mended {
            return Ok(());
        }
        let pause = self.random.range(500..3000);
        self.later(pause, Next::Membership);
        let Some(leader) = self.leader().filter(|_| self.membership_session.is_none()) else {
            return Ok(());
        };
        let Some(process) = self.process(leader) else {
            return Ok(());
        };
        let membership = process.core.membership();
        let size = membership.voters.len() + membership.learners.len();
        let grows = size <= self.plan.members as usize && self.random.percent(60);
        let change = if grows {
            let gone = self.members.iter();
            let gone = gone.filter(|(member, state)| state.gone && !membership.contains(**member));
            let gone: Vec<u64> = gone.map(|(member, _)| *member).collect();
            let again = self.random.pick(&gone).filter(|_| self.plan.reuses_numbers);
            let member = again.unwrap_or(self.next_member);
            self.next_member = self.next_member.max(member + 1);
            let server = self.new_member(member)?;
            *self.report.faults.entry("member comes").or_default() += 1;
            MemberChange::Add {
                member,
                address: format!("member{member}:6645"),
                server: Some(server),
            }
        } else if size as u64 > self.plan.members.min(3) {
            let others = membership.voters.iter().chain(&membership.learners);
            let others: Vec<u64> = others.copied().filter(|m| *m != leader).collect();
            let Some(member) = self.random.pick(&others) else {
                return Ok(());
            };
            *self.report.faults.entry("member goes").or_default() += 1;
            MemberChange::Remove { member }
        } else {
            return Ok(());
        };
        self.ask_for(leader, change)
    }
}
