//! Clients that read what their member has, old as it may be (`Consistency::Local`), now and then
//! what is newest, and now and then leave a trace of their own, in one session.
//!
//! Every transaction that changes a register leaves a trace, and traces stay. So a state of the
//! database is known by how many traces it has: whoever sees as many, at whichever member, sees
//! the same ones and the same registers. What a reader sees must be such a state; its member must
//! have it committed; and it must not be older than what the reader has seen in its session, nor
//! than what it was told there to have written.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use ovsdb::operation::OpResult;
use ovsdb::{Atom, Datum, Row, Transaction, Uuid};
use serde_json::json;
use store::event::{Event, Output, Request};
use store::session::{Consistency, DatabaseId, RequestId, SessionId};

use super::{Next, Owner, World};
use crate::plan::Bug;
use crate::schema;
use crate::watcher::Rows;

/// So long an answer may take before a reader turns to another member.
const PATIENCE_MS: u64 = 3000;

/// A reading client.
#[derive(Debug, Default)]
pub struct Reader {
    /// Its session, and the member that has it.
    pub session: Option<(SessionId, u64)>,
    /// Its requests are numbered; the last one waits for its answer.
    pub requests: u64,
    /// Counts what it does; a time-out of something earlier is of no interest.
    pub tries: u64,
    /// It waits for an answer.
    pub waits: bool,
    /// How many traces it has seen in this session.
    seen: usize,
    /// What its last request was to write; or it was to read.
    writes: Option<i64>,
    /// What it has written in this session, and was told so.
    written: Vec<i64>,
}

/// A state of the database, as far as it changes registers.
#[derive(Debug, Hash)]
pub(crate) struct State {
    traces: BTreeSet<i64>,
    registers: BTreeSet<(i64, i64)>,
}

impl State {
    /// The state that these rows make.
    pub(crate) fn of(rows: &Rows) -> Self {
        let of = |name: &str| {
            let table = schema().table_index(name);
            let rows = rows.iter().filter(move |((of, _), _)| Some(*of) == table);
            rows.map(|(_, row)| row)
        };
        let integer = |row: &Row, column| match row.get(column) {
            Datum::One(Atom::Integer(integer)) => Some(*integer),
            _ => None,
        };
        let pair = |row: &Arc<Row>| Some((integer(row, 0)?, integer(row, 1)?));
        Self {
            traces: of("Trace").filter_map(|row| integer(row, 0)).collect(),
            registers: of("Register").filter_map(pair).collect(),
        }
    }

    /// The state that these answers to [`operations`] show.
    fn told(results: &[OpResult]) -> Option<Self> {
        let results = serde_json::to_value(results).ok()?;
        let rows = |number: usize| results[number]["rows"].as_array();
        let pair = |row: &serde_json::Value| Some((row["name"].as_i64()?, row["value"].as_i64()?));
        Some(Self {
            traces: rows(1)?
                .iter()
                .filter_map(|row| row["operation"].as_i64())
                .collect(),
            registers: rows(0)?.iter().filter_map(pair).collect(),
        })
    }
}

/// Everything that tells states apart.
fn operations() -> serde_json::Value {
    json!([
        {"op": "select", "table": "Register", "where": [], "columns": ["name", "value"]},
        {"op": "select", "table": "Trace", "where": [], "columns": ["operation"]}])
}

impl World {
    pub(crate) fn reader_acts(&mut self, number: usize, tries: u64) -> Result<(), String> {
        let leaves = self.random.percent(10) || self.mended;
        let reader = &mut self.readers[number];
        if reader.tries != tries {
            return Ok(());
        }
        reader.tries += 1;
        if (reader.waits || leaves)
            && let Some((session, member)) = reader.session.take()
        {
            self.owners.remove(&session);
            self.step(member, Event::Disconnected { session })?;
        }
        if self.mended {
            return Ok(());
        }
        if self.readers[number].session.is_none() {
            let running = self.running();
            let Some(member) = self.random.pick(&running) else {
                let tries = self.readers[number].tries;
                self.later(100, Next::Reader(number, tries));
                return Ok(());
            };
            self.reader_goes_to(number, member)?;
        }
        if self.random.percent(25) {
            return self.leave_trace(number);
        }
        let consistency = match self.random.percent(80) {
            true => Consistency::Local,
            false => Consistency::Linearizable,
        };
        self.read_state(number, consistency)
    }

    pub(crate) fn reader_goes_to(&mut self, number: usize, member: u64) -> Result<(), String> {
        let session = self.connect(member, Arc::default())?;
        self.owners.insert(session, Owner::Reader(number));
        let reader = &mut self.readers[number];
        reader.session = Some((session, member));
        if self.plan.bug != Some(Bug::RoamingReads) {
            reader.seen = 0;
        }
        if self.plan.bug != Some(Bug::RoamingWriters) {
            reader.written.clear();
        }
        Ok(())
    }

    /// A reader writes something that no client wishes for.
    fn leave_trace(&mut self, number: usize) -> Result<(), String> {
        self.wishes += 1;
        let trace = i64::try_from(self.wishes).unwrap_or(i64::MAX);
        let operations = json!([{"op": "insert", "table": "Trace", "row": {"operation": trace}}]);
        self.reader_asks(number, &operations, Consistency::default(), Some(trace))
    }

    /// A reader asks for everything.
    pub(crate) fn read_state(
        &mut self,
        number: usize,
        consistency: Consistency,
    ) -> Result<(), String> {
        self.reader_asks(number, &operations(), consistency, None)
    }

    fn reader_asks(
        &mut self,
        number: usize,
        operations: &serde_json::Value,
        consistency: Consistency,
        writes: Option<i64>,
    ) -> Result<(), String> {
        let reader = &mut self.readers[number];
        let Some((session, member)) = reader.session else {
            return Ok(());
        };
        reader.waits = true;
        reader.writes = writes;
        reader.requests += 1;
        let (request, tries) = (RequestId(reader.requests), reader.tries);
        self.later(PATIENCE_MS, Next::Reader(number, tries));
        let operations = operations.as_array().map_or(&[][..], Vec::as_slice);
        let uuids = &mut self.uuids;
        let mut new_uuid = || {
            *uuids += 1;
            Uuid::from_u64_pair(0xfeed, *uuids)
        };
        let body = Request::Transact {
            database: DatabaseId::Main,
            transaction: Transaction::from_json(schema(), operations, &mut new_uuid),
            name: None,
            lock_holders: Vec::new(),
            consistency,
        };
        let event = Event::Request {
            session,
            request,
            body,
        };
        self.step(member, event)
    }

    pub(crate) fn reader_hears(
        &mut self,
        member: u64,
        number: usize,
        output: &Output,
    ) -> Result<(), String> {
        let reader = &mut self.readers[number];
        if output.answers() != Some(RequestId(reader.requests)) {
            return Ok(());
        }
        reader.waits = false;
        reader.tries += 1;
        let writes = reader.writes.take();
        let (tries, seen) = (reader.tries, reader.seen);
        let pause = self.random.range(20..600);
        self.later(pause, Next::Reader(number, tries));
        let mut state = match output {
            Output::Transacted { outcome: Ok(_), .. } | Output::Repeated { .. }
                if writes.is_some() =>
            {
                self.readers[number].written.extend(writes);
                return Ok(());
            }
            Output::Transacted {
                outcome: Ok(results),
                ..
            } => State::told(results).ok_or("a reader was not told what it asked for")?,
            Output::Refused { .. } => return Ok(()),
            output => return Err(format!("a reader was told {output:?}")),
        };
        if self.plan.bug == Some(Bug::UncommittedReads)
            && let Some(wish) = self.clients.iter().find_map(|client| client.wish)
        {
            state.traces.extend(i64::try_from(wish.number));
        }
        if state.traces.len() < seen {
            return Err(format!(
                "reader {number} saw an older state of member {member} than before: {} traces \
                 after {seen}",
                state.traces.len(),
            ));
        }
        let written = &self.readers[number].written;
        if let Some(trace) = written.iter().find(|trace| !state.traces.contains(trace)) {
            return Err(format!(
                "reader {number} does not see its own transaction {trace} at member {member}"
            ));
        }
        self.report.own_read += written.len() as u64;
        self.readers[number].seen = state.traces.len();
        self.report.states_read += 1;
        if let Some(process) = self.process(member) {
            let table = schema().table_index("Trace").unwrap_or_default();
            let rows = process.core.committed_rows(table).into_iter();
            let has = State::of(&rows.map(|(uuid, row)| ((table, uuid), row)).collect());
            if let Some(trace) = state.traces.difference(&has.traces).next() {
                return Err(format!(
                    "reader {number} saw transaction {trace}, which is not committed at member \
                     {member}"
                ));
            }
        }
        self.state_was(&state)
            .map_err(|other| format!("reader {number} saw {other}"))
    }

    /// Somebody has seen a state. There is but one with so many traces, except before the first:
    /// the registers are created without any.
    pub(crate) fn state_was(&mut self, state: &State) -> Result<(), String> {
        if state.traces.is_empty() {
            return Ok(());
        }
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        let (count, hash) = (state.traces.len(), hasher.finish());
        match *self.states_by_traces.entry(count).or_insert(hash) == hash {
            true => Ok(()),
            false => Err(format!("other rows with {count} traces than somebody else")),
        }
    }
}
