//! What clients, watchers and the operator do in the world, and what they hear.

use std::sync::Arc;

use ovsdb::{Transaction, Uuid};
use store::caller::Caller;
use store::event::{Event, Output, Request};
use store::raft::MemberChange;
use store::session::{Backlog, Consistency, DatabaseId, MonitorId, RequestId, SessionId};

use super::compare::rows_of;
use super::{Next, Owner, World};
use crate::check;
use crate::client::{Client, Kind, LOCK, Meaning, Record, Wish};
use crate::linearizable::Operation;
use crate::plan::Bug;
use crate::schema;
use crate::watcher::Watcher;

/// So long an answer may take before a client turns to another member.
const PATIENCE_MS: u64 = 2500;

impl World {
    pub(crate) fn connect(
        &mut self,
        member: u64,
        backlog: Arc<Backlog>,
    ) -> Result<SessionId, String> {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let caller = Caller::unrestricted();
        let connected = Event::Connected {
            session,
            backlog,
            caller,
        };
        self.step(member, connected)?;
        Ok(session)
    }

    pub(crate) fn output(
        &mut self,
        member: u64,
        session: SessionId,
        output: Output,
    ) -> Result<(), String> {
        self.told_of_lock(member, session, &output);
        match self.owners.get(&session).copied() {
            Some(Owner::Client(client)) => self.client_hears(client, &output),
            Some(Owner::Watcher(watcher)) => self.watcher_hears(member, watcher, output),
            Some(Owner::Reader(reader)) => self.reader_hears(member, reader, &output),
            Some(Owner::Keeper(keeper)) => self.keeper_hears(keeper, &output),
            Some(Owner::Operator) => self.operator_hears(&output),
            None => Ok(()),
        }
    }

    pub(crate) fn client_acts(&mut self, number: usize, tries: u64) -> Result<(), String> {
        if self.clients[number].tries != tries {
            return Ok(());
        }
        self.clients[number].tries += 1;
        let tries = self.clients[number].tries;
        if let Some((session, member)) = self.clients[number].session.take() {
            // The last try has taken too long.
            self.owners.remove(&session);
            self.step(member, Event::Disconnected { session })?;
        }
        let given_up = !self.clients[number].persistent || self.plan.bug == Some(Bug::LocalReads);
        if let Some(wish) = self.clients[number].wish
            && wish.request.is_some()
            && given_up
        {
            self.records.push(Record { wish, answer: None });
            self.clients[number].wish = None;
        }
        if self.clients[number].wish.is_none() {
            if self.mended {
                return Ok(());
            }
            self.wishes += 1;
            let wish = Client::wish(self.wishes, self.now, self.last_seen, &mut self.random);
            self.clients[number].wish = Some(wish);
        }
        let running = self.running();
        let Some(member) = self.random.pick(&running) else {
            self.later(100, Next::Client(number, tries));
            return Ok(());
        };
        let patience = PATIENCE_MS + self.random.range(0..500);
        self.later(patience, Next::Client(number, tries));
        self.ask(number, member)
    }

    pub(crate) fn ask(&mut self, number: usize, member: u64) -> Result<(), String> {
        let Some(wish) = self.clients[number].wish else {
            return Ok(());
        };
        if self.plan.bug == Some(Bug::LocalReads) && matches!(wish.kind, Kind::Read) {
            return self.read_locally(number, wish, member);
        }
        let session = self.connect(member, Arc::default())?;
        self.owners.insert(session, Owner::Client(number));
        if matches!(wish.kind, Kind::Guarded) {
            // Its number is no wish's.
            let request = RequestId(u64::MAX);
            let body = Request::Lock {
                name: LOCK.into(),
                steal: self.random.percent(30),
            };
            let event = Event::Request {
                session,
                request,
                body,
            };
            self.step(member, event)?;
        }
        let uuids = &mut self.uuids;
        let mut new_uuid = || {
            *uuids += 1;
            Uuid::from_u64_pair(0xfeed, *uuids)
        };
        let operations = wish.operations();
        let operations = operations.as_array().map_or(&[][..], Vec::as_slice);
        let transaction = Transaction::from_json(schema(), operations, &mut new_uuid);
        let forgets = self.plan.bug == Some(Bug::ForgottenName);
        let client = &mut self.clients[number];
        client.session = Some((session, member));
        client.requests += 1;
        let request = RequestId(client.requests);
        if let Some(wish) = &mut client.wish {
            wish.request = Some(request);
        }
        let named = client.persistent && !forgets;
        let body = Request::Transact {
            database: DatabaseId::Main,
            transaction,
            name: named.then(|| wish.name()),
            lock_holders: vec![session],
            consistency: Consistency::default(),
        };
        let event = Event::Request {
            session,
            request,
            body,
        };
        self.step(member, event)
    }

    pub(crate) fn read_locally(
        &mut self,
        number: usize,
        wish: Wish,
        member: u64,
    ) -> Result<(), String> {
        let rows = self
            .process(member)
            .map(|process| rows_of(&process.core.content()));
        let value = rows.and_then(|rows| check::value(&rows, wish.register));
        let answer = value.map(|value| (self.now, Operation::Read(value)));
        self.records.push(Record { wish, answer });
        self.fulfilled(number);
        Ok(())
    }

    pub(crate) fn fulfilled(&mut self, number: usize) {
        let client = &mut self.clients[number];
        client.wish = None;
        client.tries += 1;
        let tries = client.tries;
        let pause = self.random.range(1..50);
        self.later(pause, Next::Client(number, tries));
    }

    pub(crate) fn client_hears(&mut self, number: usize, output: &Output) -> Result<(), String> {
        let Some(wish) = self.clients[number].wish else {
            return Ok(());
        };
        if output.answers() != wish.request {
            return Ok(());
        }
        match wish.meaning(output) {
            Meaning::Done(operation) => {
                if let Operation::Read(seen) | Operation::Write(seen) = operation {
                    self.last_seen = seen;
                }
                let answer = Some((self.now, operation));
                self.records.push(Record { wish, answer });
                self.fulfilled(number);
            }
            Meaning::Unknown if matches!(wish.kind, Kind::Create) => {
                return Err(format!("a register could not be created: {output:?}"));
            }
            Meaning::Unknown => {
                self.records.push(Record { wish, answer: None });
                self.fulfilled(number);
            }
            Meaning::NotDone => {
                let client = &mut self.clients[number];
                client.tries += 1;
                let tries = client.tries;
                if let Some(wish) = &mut client.wish {
                    wish.request = None;
                }
                let pause = self.random.range(20..300);
                self.later(pause, Next::Client(number, tries));
            }
        }
        Ok(())
    }

    pub(crate) fn watch(&mut self, number: usize) -> Result<(), String> {
        let running = self.running();
        let Some(member) = self.random.pick(&running) else {
            self.later(100, Next::Watch(number));
            return Ok(());
        };
        self.watch_at(number, member)
    }

    pub(crate) fn watch_at(&mut self, number: usize, member: u64) -> Result<(), String> {
        let backlog = Arc::new(Backlog::default());
        let session = self.connect(member, backlog.clone())?;
        self.owners.insert(session, Owner::Watcher(number));
        let watcher = &mut self.watchers[number];
        watcher.session = Some((session, member));
        watcher.backlog = backlog;
        if let Some(process) = self
            .members
            .get_mut(&member)
            .and_then(|m| m.process.as_mut())
        {
            process.compared = None;
        }
        let body = Request::Monitor {
            database: DatabaseId::Main,
            monitor: MonitorId(1),
            view: Watcher::view(),
            since: watcher.state,
        };
        let event = Event::Request {
            session,
            request: RequestId(1),
            body,
        };
        self.step(member, event)
    }

    pub(crate) fn hop(&mut self, number: usize) -> Result<(), String> {
        let pause = self.random.range(100..1500);
        self.later(pause, Next::Hop(number));
        match self.watcher_leaves(number)? {
            true => self.watch(number),
            false => Ok(()),
        }
    }

    /// Whether it was at a member.
    pub(crate) fn watcher_leaves(&mut self, number: usize) -> Result<bool, String> {
        let Some((session, member)) = self.watchers[number].session.take() else {
            return Ok(false);
        };
        self.owners.remove(&session);
        self.step(member, Event::Disconnected { session })?;
        Ok(true)
    }

    pub(crate) fn watcher_hears(
        &mut self,
        member: u64,
        number: usize,
        output: Output,
    ) -> Result<(), String> {
        let skips = self.plan.bug == Some(Bug::SkippedUpdate) && self.random.percent(1);
        let watcher = &mut self.watchers[number];
        match output {
            Output::MonitorStarted {
                resumed,
                state,
                update,
                ..
            } => watcher.started(resumed, state, &update),
            Output::Updated { state, update, .. } => {
                if !skips {
                    watcher.apply(state, &update)?;
                }
                if watcher.backlog.remove()
                    && let Some((session, _)) = watcher.session
                {
                    return self.step(member, Event::Drained { session });
                }
                Ok(())
            }
            output => Err(format!("a watcher was told {output:?}")),
        }
    }

    /// Asks a member for a change of the members.
    pub(crate) fn ask_for(&mut self, member: u64, change: MemberChange) -> Result<(), String> {
        let session = self.connect(member, Arc::default())?;
        self.owners.insert(session, Owner::Operator);
        self.membership_session = Some((session, member, change.clone()));
        let event = Event::Request {
            session,
            request: RequestId(1),
            body: Request::ChangeMembers(change),
        };
        self.step(member, event)
    }

    pub(crate) fn operator_hears(&mut self, output: &Output) -> Result<(), String> {
        let Some((session, _, change)) = self.membership_session.take() else {
            return Ok(());
        };
        self.owners.remove(&session);
        if let (Output::Done { .. }, MemberChange::Remove { member }) = (output, &change) {
            // Its process may live on for a while, as in life.
            let pause = self.random.range(1..3000);
            let end = super::faults::End::Leaves(*member);
            self.later(pause, Next::End(Box::new(end)));
        }
        Ok(())
    }
}
