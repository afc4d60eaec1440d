//! What goes wrong.
//!
//! Faults come one after the other at random, and most end after a while; several can be under
//! way at a time. Nothing keeps them from taking away the majority.

use store::raft::MemberChange;

use crate::member::Member;
use crate::world::{Next, World};

/// The end of a fault.
#[derive(Debug)]
pub enum End {
    /// Something gets through again.
    Mended(Vec<(u64, u64)>),
    /// A disk is fast again.
    Fast(u64),
    /// A member that was removed is switched off.
    Leaves(u64),
}

impl World {
    /// Something goes wrong, and later something else.
    pub(crate) fn fault(&mut self) -> Result<(), String> {
        if self.mended {
            return Ok(());
        }
        let pause = self.random.range(50..2500);
        self.later(pause, Next::Fault);
        let running = self.running();
        let Some(member) = self.random.pick(&running) else {
            return Ok(());
        };
        let name = match self.random.range(0..100) {
            0..20 => self.crash_for_a_while(member),
            20..35 => match self.leader() {
                Some(leader) => self.crash_for_a_while(leader),
                None => return Ok(()),
            },
            35..38 => {
                for member in running {
                    self.crash_for_a_while(member);
                }
                "everybody crashes"
            }
            38..53 => {
                let both = self.random.percent(60);
                self.isolate(member, both)
            }
            53..63 => match self.leader() {
                Some(leader) => {
                    let both = self.random.percent(50);
                    self.isolate(leader, both)
                }
                None => return Ok(()),
            },
            63..78 => {
                let other = self.random.pick(&running).unwrap_or(member);
                if other != member {
                    self.lose(member, other);
                }
                "stream breaks"
            }
            78..86 => {
                if let Some(state) = self.members.get_mut(&member) {
                    state.flush_ms = 400;
                }
                let lasts = self.random.range(500..4000);
                self.later(lasts, Next::End(Box::new(End::Fast(member))));
                "slow disk"
            }
            86..92 => {
                let other = self.random.pick(&running).unwrap_or(member);
                let delay = self.random.range(20..300);
                self.network.delay((member, other), delay);
                "slow stream"
            }
            92..96 => {
                let tick = self.random.range(60..180);
                if let Some(process) = self
                    .members
                    .get_mut(&member)
                    .and_then(|state| state.process.as_mut())
                {
                    process.tick_ms = tick;
                }
                "clock drifts"
            }
            _ => {
                self.step(member, store::event::Event::Retire)?;
                "leadership is passed on"
            }
        };
        *self.report.faults.entry(name).or_default() += 1;
        Ok(())
    }

    fn crash_for_a_while(&mut self, member: u64) -> &'static str {
        self.crash(member);
        let lasts = match self.random.percent(30) {
            true => self.random.range(1..50),
            false => self.random.range(50..4000),
        };
        self.later(lasts, Next::Start(member));
        "crash"
    }

    /// Cuts a member off: from everybody, or so that it only hears, or only speaks.
    fn isolate(&mut self, member: u64, both: bool) -> &'static str {
        let hears = self.random.percent(50);
        let others = self.members.keys().copied().filter(|m| *m != member);
        let directions: Vec<(u64, u64)> = others
            .flat_map(|other| [(member, other), (other, member)])
            .filter(|(from, _)| both || (*from == member) == hears)
            .collect();
        for direction in &directions {
            self.network.cut(*direction, true);
        }
        let lasts = self.random.range(200..5000);
        self.later(lasts, Next::End(Box::new(End::Mended(directions))));
        match both {
            true => "isolation",
            false => "one-way isolation",
        }
    }

    pub(crate) fn end(&mut self, end: End) {
        match end {
            End::Mended(directions) => {
                for direction in directions {
                    self.network.cut(direction, false);
                }
            }
            End::Fast(member) => {
                if let Some(state) = self.members.get_mut(&member) {
                    state.flush_ms = 1;
                }
            }
            End::Leaves(member) => {
                self.crash(member);
                if let Some(state) = self.members.get_mut(&member) {
                    state.gone = true;
                }
            }
        }
    }

    /// No more faults.
    pub(crate) fn mend(&mut self) -> Result<(), String> {
        self.mended = true;
        self.network.heal();
        for member in self.members.keys().copied().collect::<Vec<_>>() {
            if let Some(state) = self.members.get_mut(&member) {
                state.flush_ms = 1;
            }
            self.start(member)?;
        }
        Ok(())
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
            let member = self.next_member;
            self.next_member += 1;
            self.members.insert(member, Member::new(member, &[]));
            self.start(member)?;
            *self.report.faults.entry("member comes").or_default() += 1;
            MemberChange::Add {
                member,
                address: format!("member{member}:6645"),
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
