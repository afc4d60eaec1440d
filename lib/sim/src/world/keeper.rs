//! Clients that want a lock, and count while they own it.
//!
//! All of them count with one counter, each by transactions that `assert` the lock. As long as a
//! keeper owns the lock without a break, nobody else counts: each number that it is told is the
//! next after its last one. Locks are the members' own, and only the leader gives them out; so a
//! keeper at a member that was deposed without knowing it takes itself for the owner while there is
//! another. What it counts then must not be committed.
//!
//! And at each member, at any time, no more than one session was told that it owns the lock, and
//! none where somebody else leads.

use std::collections::BTreeMap;
use std::sync::Arc;

use ovsdb::operation::outcome_to_json;
use ovsdb::{Transaction, Uuid};
use serde_json::json;
use store::event::{Event, Output, Request};
use store::session::{Consistency, DatabaseId, RequestId, SessionId};

use super::{Next, Owner, World};
use crate::client::{LOCK, REGISTERS};
use crate::plan::Bug;
use crate::schema;

/// The register that keepers count with.
pub const COUNTER: u64 = REGISTERS;
/// So long an answer may take before a keeper turns to another member.
const PATIENCE_MS: u64 = 3000;
/// The request for the lock.
const LOCK_REQUEST: RequestId = RequestId(0);

/// A client that wants the lock.
#[derive(Debug, Default)]
pub struct Keeper {
    /// Its session, and the member that has it.
    pub session: Option<(SessionId, u64)>,
    /// Its requests are numbered.
    pub requests: u64,
    /// Counts what it does; a time-out of something earlier is of no interest.
    pub tries: u64,
    owns: bool,
    /// Counts how often it was told something about the lock.
    period: u64,
    /// The period in which it last counted and has not been answered.
    asked: Option<u64>,
    /// The last number that it was told, and in which period.
    last: Option<(u64, i64)>,
}

impl World {
    pub(crate) fn keeper_acts(&mut self, number: usize, tries: u64) -> Result<(), String> {
        let leaves = self.random.percent(5) || self.mended;
        let keeper = &mut self.keepers[number];
        if keeper.tries != tries {
            return Ok(());
        }
        keeper.tries += 1;
        if (keeper.asked.take().is_some() || leaves)
            && let Some((session, member)) = keeper.session.take()
        {
            self.owners.remove(&session);
            self.step(member, Event::Disconnected { session })?;
        }
        if self.mended {
            return Ok(());
        }
        let tries = self.keepers[number].tries;
        match self.keepers[number].session {
            None => self.want_lock(number, tries),
            Some((session, member)) => {
                let keeper = &self.keepers[number];
                if keeper.owns || self.plan.bug == Some(Bug::SharedLock) {
                    self.later(PATIENCE_MS, Next::Keeper(number, tries));
                    self.count(number, session, member)
                } else {
                    let pause = self.random.range(50..400);
                    self.later(pause, Next::Keeper(number, tries));
                    Ok(())
                }
            }
        }
    }

    fn want_lock(&mut self, number: usize, tries: u64) -> Result<(), String> {
        let pause = self.random.range(5..100);
        self.later(pause, Next::Keeper(number, tries));
        let running = self.running();
        let leader = self.leader().filter(|_| self.random.percent(70));
        let Some(member) = leader.or_else(|| self.random.pick(&running)) else {
            return Ok(());
        };
        let session = self.connect(member, Arc::default())?;
        self.owners.insert(session, Owner::Keeper(number));
        let keeper = &mut self.keepers[number];
        keeper.session = Some((session, member));
        keeper.owns = false;
        keeper.period += 1;
        let body = Request::Lock {
            name: LOCK.into(),
            steal: self.random.percent(15),
        };
        let event = Event::Request {
            session,
            request: LOCK_REQUEST,
            body,
        };
        self.step(member, event)
    }

    fn count(&mut self, number: usize, session: SessionId, member: u64) -> Result<(), String> {
        self.wishes += 1;
        let counter = json!([["name", "==", COUNTER]]);
        let operations = [
            json!({"op": "assert", "lock": LOCK}),
            json!({"op": "mutate", "table": "Register", "where": counter,
                "mutations": [["value", "+=", 1]]}),
            json!({"op": "select", "table": "Register", "where": counter, "columns": ["value"]}),
            json!({"op": "insert", "table": "Trace", "row": {"operation": self.wishes}}),
        ];
        let uuids = &mut self.uuids;
        let mut new_uuid = || {
            *uuids += 1;
            Uuid::from_u64_pair(0xfeed, *uuids)
        };
        let transaction = Transaction::from_json(schema(), &operations, &mut new_uuid);
        let mut lock_holders = vec![session];
        if self.plan.bug == Some(Bug::SharedLock) {
            lock_holders.extend(self.told_owners.keys());
        }
        let keeper = &mut self.keepers[number];
        keeper.requests += 1;
        keeper.asked = Some(keeper.period);
        let request = RequestId(keeper.requests);
        let body = Request::Transact {
            database: DatabaseId::Main,
            transaction,
            name: None,
            lock_holders,
            consistency: Consistency::default(),
        };
        let event = Event::Request {
            session,
            request,
            body,
        };
        self.step(member, event)
    }

    pub(crate) fn keeper_hears(&mut self, number: usize, output: &Output) -> Result<(), String> {
        let keeper = &mut self.keepers[number];
        match output {
            Output::Lock { owned, .. } | Output::LockChanged { owned, .. } => {
                keeper.period += 1;
                keeper.owns = *owned;
                return Ok(());
            }
            output if output.answers() != Some(RequestId(keeper.requests)) => return Ok(()),
            _ => {}
        }
        keeper.tries += 1;
        let (tries, period) = (keeper.tries, keeper.period);
        let asked = keeper.asked.take();
        let pause = self.random.range(1..60);
        self.later(pause, Next::Keeper(number, tries));
        let results = match output {
            Output::Transacted { asked, outcome, .. } => outcome_to_json(*asked, outcome),
            Output::Refused { .. } => return Ok(()),
            output => return Err(format!("a keeper was told {output:?}")),
        };
        let counted = results[2]["rows"][0]["value"].as_i64();
        if asked != Some(period) {
            // The lock changed hands meanwhile: before or after this, nobody knows.
            return Ok(());
        }
        let Some(counted) = counted else {
            return match self.plan.bug {
                Some(Bug::SharedLock) => Ok(()),
                _ => Err(format!(
                    "keeper {number} owns the lock, and was told {results}"
                )),
            };
        };
        let keeper = &mut self.keepers[number];
        let last = keeper.last.replace((period, counted));
        self.report.counted += 1;
        match last {
            Some((same, last)) if same == period && counted != last + 1 => Err(format!(
                "two own one lock: keeper {number} counted {counted} after {last}, and owned it \
                 all the time"
            )),
            _ => Ok(()),
        }
    }

    /// A session is told whether it owns the lock.
    pub(crate) fn told_of_lock(&mut self, member: u64, session: SessionId, output: &Output) {
        if let Output::Lock { owned, .. } | Output::LockChanged { owned, .. } = output {
            match owned {
                true => self.told_owners.insert(session, member),
                false => self.told_owners.remove(&session),
            };
        }
    }

    /// What sessions were told about the lock fits together.
    pub(crate) fn check_owners(&mut self) -> Result<(), String> {
        let owners = &self.owners;
        self.told_owners
            .retain(|session, _| owners.contains_key(session));
        let mut at: BTreeMap<u64, SessionId> = BTreeMap::new();
        for (session, member) in &self.told_owners {
            if let Some(other) = at.insert(*member, *session) {
                return Err(format!(
                    "two own one lock: {session:?} and {other:?}, at member {member}"
                ));
            }
            if let Some(process) = self.process(*member)
                && !process.core.serves()
            {
                return Err(format!(
                    "{session:?} owns a lock at member {member}, which does not lead"
                ));
            }
        }
        Ok(())
    }
}
