//! What clients, watchers and the operator do in the world, and what they hear.

use std::sync::Arc;

use ovsdb::operation::OpResult;
use ovsdb::{Transaction, Uuid};
use serde_json::json;
use store::caller::{Caller, Role};
use store::event::{Event, Output, Request};
use store::raft::MemberChange;
use store::session::{Backlog, Consistency, DatabaseId, MonitorId, RequestId, SessionId};

use super::compare::rows_of;
use super::{Next, Owner, World};
use crate::check;
use crate::client::{Client, Kind, LOCK, Meaning, Record, Wish, name_of};
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
            Some(Owner::Glutton) => {
                self.glutton_hears(&output);
                Ok(())
            }
            Some(Owner::Imitator) => self.imitator_hears(session, &output),
            None => Ok(()),
        }
    }

    /// Somebody waits, so many times, for a value that no register ever has.
    pub(crate) fn wait_much(
        &mut self,
        member: u64,
        times: u64,
        timeout_ms: Option<u64>,
    ) -> Result<(), String> {
        let session = self.connect(member, Arc::default())?;
        self.owners.insert(session, Owner::Glutton);
        let mut wait = [
            json!({"op": "wait", "table": "Register", "where": [["name", "!=", -1]],
            "columns": ["value"], "until": "==", "rows": [{"value": -7}]}),
        ];
        if let Some(timeout_ms) = timeout_ms {
            wait[0]["timeout"] = json!(timeout_ms);
        }
        for request in 1..=times {
            let body = Request::Transact {
                database: DatabaseId::Main,
                transaction: Transaction::from_json(schema(), &wait, &mut Uuid::nil),
                name: None,
                lock_holders: Vec::new(),
                consistency: Consistency::default(),
            };
            let request = RequestId(request);
            let event = Event::Request {
                session,
                request,
                body,
            };
            self.step(member, event)?;
        }
        Ok(())
    }

    /// Somebody writes, and selects everything so many times.
    pub(crate) fn select_much(&mut self, member: u64, times: usize) -> Result<(), String> {
        self.refused = None;
        let session = self.connect(member, Arc::default())?;
        self.owners.insert(session, Owner::Glutton);
        let mut operations =
            vec![json!({"op": "insert", "table": "Trace", "row": {"operation": -1}})];
        let select = json!({"op": "select", "table": "Register", "where": []});
        operations.extend(std::iter::repeat_n(select, times));
        let uuids = &mut self.uuids;
        let mut new_uuid = || {
            *uuids += 1;
            Uuid::from_u64_pair(0xfeed, *uuids)
        };
        let body = Request::Transact {
            database: DatabaseId::Main,
            transaction: Transaction::from_json(schema(), &operations, &mut new_uuid),
            name: None,
            lock_holders: Vec::new(),
            consistency: Consistency::default(),
        };
        let event = Event::Request {
            session,
            request: RequestId(1),
            body,
        };
        self.step(member, event)
    }

    /// An imitator is told of its own row, or of none.
    fn imitator_hears(&self, session: SessionId, output: &Output) -> Result<(), String> {
        let own = self.imitated.get(&session);
        let told = match output {
            Output::Transacted {
                outcome: Ok(done), ..
            } => match done.first() {
                Some(OpResult::Inserted(uuid)) => Some(uuid),
                _ => None,
            },
            Output::Refused { .. } => return Ok(()),
            _ => None,
        };
        match told == own {
            true => Ok(()),
            false => Err(format!(
                "a client was told another one's results: {output:?}"
            )),
        }
    }

    /// What he is told is an error, or, if he is told all, nothing.
    fn glutton_hears(&mut self, output: &Output) {
        self.refused = match output {
            Output::Transacted {
                outcome: Err(failure),
                ..
            } => Some(failure.error.to_string()),
            Output::Refused { error, .. } => Some(error.to_string()),
            _ => Some(String::new()),
        };
    }

    /// Somebody with another identity than all clients leaves a trace under the name of a wish.
    pub(crate) fn imitate(&mut self, member: u64, wish: u64) -> Result<(), String> {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        self.owners.insert(session, Owner::Imitator);
        let connected = Event::Connected {
            session,
            backlog: Arc::default(),
            caller: Caller::new(Role::Writer, &format!("imitator {}", session.0)),
        };
        self.step(member, connected)?;
        // No wish has such a number.
        let trace = i64::MAX - i64::try_from(session.0).unwrap_or_default();
        let operations = [json!({"op": "insert", "table": "Trace", "row": {"operation": trace}})];
        let uuids = &mut self.uuids;
        let mut new_uuid = || {
            *uuids += 1;
            Uuid::from_u64_pair(0xfeed, *uuids)
        };
        let transaction = Transaction::from_json(schema(), &operations, &mut new_uuid);
        if let Some(ovsdb::Operation::Insert { uuid, .. }) = transaction.operations.first() {
            self.imitated.insert(session, *uuid);
        }
        let body = Request::Transact {
            database: DatabaseId::Main,
            transaction,
            name: Some(name_of(wish)),
            lock_holders: Vec::new(),
            consistency: Consistency::default(),
        };
        let event = Event::Request {
            session,
            request: RequestId(1),
            body,
        };
        self.step(member, event)
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
        (watcher.started, watcher.asked, watcher.requests) = (false, None, 1);
        let (view, since) = (watcher.view(), watcher.state);
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
            view,
            since,
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
        // Some want everything, always.
        if number % 2 == 1 && self.random.percent(70) {
            return self.change_conditions(number);
        }
        match self.watcher_leaves(number)? {
            true => self.watch(number),
            false => Ok(()),
        }
    }

    /// A watcher wants to see other rows.
    fn change_conditions(&mut self, number: usize) -> Result<(), String> {
        let watcher = &mut self.watchers[number];
        let (Some((session, member)), None) = (watcher.session, &watcher.asked) else {
            return Ok(());
        };
        watcher.requests += 1;
        let request = RequestId(watcher.requests);
        let conditions = Watcher::other_conditions(&mut self.random);
        watcher.asked = Some((request, conditions.clone()));
        let body = Request::ChangeConditions {
            monitor: MonitorId(1),
            conditions,
        };
        let event = Event::Request {
            session,
            request,
            body,
        };
        self.step(member, event)
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
            Output::ConditionsChange { request } => {
                match watcher.asked.clone().filter(|(asked, _)| *asked == request) {
                    Some((_, conditions)) => watcher.want(conditions),
                    None => return Err(format!("watcher {number} has not asked for {request:?}")),
                }
                Ok(())
            }
            Output::Done { request } => {
                let asked = watcher.asked.take().map(|(asked, _)| asked);
                match asked == Some(request) {
                    true => Ok(()),
                    false => Err(format!("watcher {number} has not asked for {request:?}")),
                }
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
            if let Some(server) = self.members.get(member).map(|member| member.server) {
                let end = super::faults::End::Leaves(*member, server);
                self.later(pause, Next::End(Box::new(end)));
            }
        }
        Ok(())
    }
}
