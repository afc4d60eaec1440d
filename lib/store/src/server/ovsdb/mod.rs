//! The OVSDB service: one task a connection, which speaks JSON-RPC (RFC 7047 and Open vSwitch's
//! extensions) with the client on one side and events with the core on the other.
//!
//! The task reads, decodes, encodes and writes, what is large with the help of the [workers](super::limits::workers); whatever
//! needs the database goes to the core when its turn in the [queue](request_queue) has come, and its answer comes
//! back in the session's order. While a client does not take what is written to it, nothing is read
//! from it. However much comes in, the task lets others go on after every [`TURN_BYTES`].

#[cfg(test)]
mod tests;

mod call;
mod end;
mod leader_gate;
mod reading;
mod request_queue;
mod wire;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ovsdb::framing::{FrameLimits, Framer};
use ovsdb::jsonrpc;
use ovsdb::monitor::{MonitorSpec, MonitorVersion};
use ovsdb::operation::results;
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Error, ErrorKind, Uuid};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use self::call::{Kind, QueuedCall};
use self::end::{End, MESSAGE_TIMEOUT};
use self::leader_gate::LeaderGate;
use self::reading::{Asked, Said};
use self::request_queue::RequestQueue;
use self::wire::{OwnEnd, Wire};
use super::databases::Databases;
use super::engine::outputs::Next;
use super::engine::{ConnectError, Engine, Session};
use super::limits::answer_size::is_large;
use super::limits::budget::{Charge, Exhausted};
use super::limits::cost::Cost;
use super::limits::workers::{LARGE_BYTES, TURN_BYTES};
use super::limits::{Stopped, log_limit};
use super::net::listen::{Connection, Io};
use super::net::protocol;
use crate::event::{Output, Request};
use crate::monitor::{Update, View};
use crate::session::{DatabaseId, MonitorId, RequestId};

/// So many requests may be unanswered; what comes then is refused.
const MAX_OUTSTANDING: usize = 4096;
/// While the unanswered requests have so many bytes, no more are read.
const MAX_OUTSTANDING_BYTES: usize = 64 << 20;
/// So many bytes the name of a monitor may have, as JSON.
const MAX_MONITOR_NAME_BYTES: usize = 4096;
/// The most bytes of one read.
const READ_BYTES: usize = 64 << 10;
/// What is longer is written by itself instead of being gathered with others.
const GATHER_BYTES: usize = 64 << 10;
/// When so much of a message is there and more to come, it is read so much at a time, and then
/// nothing for so long: whoever sends 250 MB as fast as the machine can copy them would have the
/// processors for himself.
const SLOW_BYTES: usize = 1 << 20;
const SLOW_TURN_BYTES: usize = 256 << 10;
const SLOW_PAUSE: Duration = Duration::from_millis(1);
/// So much a message costs at least, as if it had so many bytes: after some dozens of the smallest it
/// is the turn of others, too.
const MESSAGE_BYTES: usize = 2 << 10;

/// Serves a client until it goes.
pub async fn serve(engine: Arc<Engine>, connection: Connection) {
    let Connection {
        io,
        peer,
        probe,
        caller,
        permit,
        ..
    } = connection;
    let session = match engine.connect(caller).await {
        Ok(session) => session,
        Err(ConnectError::Stopped(_)) => return,
        Err(error @ ConnectError::TooMany) => {
            log_limit::warn(&peer, &format!("refused, {error}"));
            return;
        }
    };
    tracing::debug!("{peer}: connected");
    let wire = Arc::new(Wire::new(io));
    session.outputs.connect(wire.clone());
    let mut io: Box<dyn Io> = Box::new(OwnEnd(wire.clone()));
    let client = Client {
        engine: engine.clone(),
        databases: engine.databases.clone(),
        session,
        charge: Charge::new(engine.requests.clone()),
        waiting: HashMap::new(),
        waiting_bytes: 0,
        gate: LeaderGate::default(),
        queue: RequestQueue::default(),
        monitors: HashMap::new(),
        next_monitor: 0,
        wire,
        out: Vec::new(),
        is_unflushed: false,
    };
    let mut framer = Framer::new(FrameLimits::SERVER);
    let end = client.run(&mut io, &mut framer, probe).await;
    if framer.pending() > LARGE_BYTES {
        engine.workers.discard(framer);
    }
    if let Some(error) = end.told() {
        let bytes = jsonrpc::error_response(&Value::Null, &error);
        protocol::farewell(&mut io, &bytes).await;
    }
    match end {
        end @ (End::Closed | End::Stopped) => tracing::debug!("{peer}: {end}"),
        end @ End::Io(_) => log_limit::inform(&peer, &end),
        end => log_limit::warn(&peer, &end),
    }
    drop(permit);
}

/// A request that waits for the core.
#[derive(Debug)]
struct Waiting {
    /// What the client calls it.
    id: Value,
    /// How large it was.
    bytes: usize,
    cost: Cost,
    kind: Kind,
}

#[derive(Debug)]
struct Monitor {
    name: Value,
    database: DatabaseId,
    spec: MonitorSpec,
    /// The client asked for its end: its name is free again.
    ending: bool,
}

struct Client {
    engine: Arc<Engine>,
    databases: Arc<Databases>,
    session: Session,
    /// For what it has sent, and is not done with.
    charge: Charge,
    waiting: HashMap<RequestId, Waiting>,
    /// The bytes of all requests without an answer, those that the core does not have yet among
    /// them.
    waiting_bytes: usize,
    gate: LeaderGate,
    /// Before the core.
    queue: RequestQueue,
    monitors: HashMap<MonitorId, Monitor>,
    next_monitor: u64,
    wire: Arc<Wire>,
    /// Bytes to be written.
    out: Vec<u8>,
    /// Something was written that is still to be flushed.
    is_unflushed: bool,
}

impl Client {
    async fn run(
        mut self,
        io: &mut Box<dyn Io>,
        framer: &mut Framer,
        probe: Option<Duration>,
    ) -> End {
        let mut heard = Instant::now();
        let mut probed = false;
        let mut is_first = true;
        // Since when the message that is coming in has been coming in.
        let mut begun: Option<Instant> = None;
        // How much was done without letting others go on.
        let mut turn = 0;
        loop {
            let full = self.waiting_bytes >= MAX_OUTSTANDING_BYTES;
            let silent_at = probe.map(|probe| heard + probe);
            let unfinished_at = begun.filter(|_| !full).map(|begun| begun + MESSAGE_TIMEOUT);
            let gated_until = self.gate.until();
            let due = [silent_at, unfinished_at, gated_until];
            let due = due.into_iter().flatten().min();
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                read = read_some(io, framer), if !full => match read {
                    Ok(Read { count: 0, .. }) => return End::Closed,
                    Ok(Read { count, first }) => {
                        (heard, probed) = (Instant::now(), false);
                        turn += count;
                        let was = framer.messages();
                        let framed = self.frames(framer).await;
                        if std::mem::take(&mut is_first)
                            && let Some(what) = protocol::not_ovsdb(&first)
                        {
                            return End::WrongProtocol(what);
                        }
                        if let Err(end) = framed {
                            return end;
                        }
                        if framer.messages() > was {
                            begun = None;
                        }
                        begun = begun.or(Some(heard)).filter(|_| framer.is_within_message());
                        if let Err(exhausted) = self.charge(framer.pending()) {
                            return End::Exhausted(exhausted);
                        }
                    }
                    Err(error) => return End::Io(error),
                },
                said = self.session.outputs.next() => {
                    let Some(said) = said else {
                        return if self.session.outputs.is_cut_off() {
                            End::CutOff
                        } else {
                            End::Stopped
                        };
                    };
                    if let Err(end) = self.outputs(said, io, probe).await {
                        return end;
                    }
                    if let Err(exhausted) = self.charge(framer.pending()) {
                        return End::Exhausted(exhausted);
                    }
                }
                () = timer => {
                    let now = Instant::now();
                    if unfinished_at.is_some_and(|at| at <= now) {
                        return End::Unfinished;
                    }
                    if gated_until.is_some_and(|until| until <= now)
                        && let Err(stopped) = self.release().await
                    {
                        return stopped.into();
                    }
                    if silent_at.is_some_and(|at| at <= now) {
                        if probed {
                            return End::Silent;
                        }
                        (heard, probed) = (now, true);
                        self.out.extend(jsonrpc::request(&json!("echo"), "echo", &json!([])));
                    }
                }
            }
            if let Err(end) = self.flush(io, probe).await {
                return end;
            }
            self.session.outputs.done();
            if framer.pending() >= SLOW_BYTES {
                if turn >= SLOW_TURN_BYTES {
                    turn = 0;
                    tokio::time::sleep(SLOW_PAUSE).await;
                }
            } else if turn >= TURN_BYTES {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Accounts for what was sent and is not done with.
    fn charge(&mut self, pending: usize) -> Result<(), Exhausted> {
        self.charge.set(pending + self.waiting_bytes)
    }

    /// Takes what the core says, and all that it says right after.
    async fn outputs(
        &mut self,
        first: Next,
        io: &mut Box<dyn Io>,
        probe: Option<Duration>,
    ) -> Result<(), End> {
        let mut next = Some(first);
        while let Some(said) = next {
            let update = matches!(said, Next::Rest(_) | Next::Output(Output::Updated { .. }));
            match said {
                Next::Output(output) => {
                    if self.gate.is_answered_by(&output) {
                        self.release().await?;
                    }
                    if is_large(&output) {
                        self.large_output(output).await?;
                    } else {
                        self.output(output);
                    }
                }
                Next::Rest(rest) => {
                    self.out.extend(rest);
                    self.is_unflushed = true;
                }
            }
            self.advance().await?;
            if self.out.len() >= GATHER_BYTES {
                self.flush(io, probe).await?;
            }
            if update {
                self.session.written().await?;
            }
            next = self.session.outputs.try_next();
        }
        Ok(())
    }

    async fn flush(&mut self, io: &mut Box<dyn Io>, probe: Option<Duration>) -> Result<(), End> {
        if self.out.is_empty() && !self.is_unflushed {
            return Ok(());
        }
        let rest = self.session.outputs.take_pen().await;
        let began = rest.is_some();
        if let Some(mut rest) = rest {
            rest.append(&mut self.out);
            self.out = rest;
        }
        let mut left = self.out.as_slice();
        let mut turn = 0;
        while !left.is_empty() {
            let write = io.write(&left[..left.len().min(TURN_BYTES)]);
            let count = if let Some(probe) = probe {
                match tokio::time::timeout(2 * probe, write).await {
                    Ok(written) => written?,
                    Err(_) => return Err(End::Silent),
                }
            } else {
                write.await?
            };
            if count == 0 {
                return Err(End::Closed);
            }
            left = &left[count..];
            turn += count;
            if turn >= TURN_BYTES && !left.is_empty() {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
        io.flush().await?;
        self.is_unflushed = false;
        if self.out.capacity() > 4 * GATHER_BYTES {
            self.engine.workers.discard(std::mem::take(&mut self.out));
        } else {
            self.out.clear();
        }
        if began {
            self.session.written().await?;
        }
        Ok(())
    }

    async fn frames(&mut self, framer: &mut Framer) -> Result<(), End> {
        let mut turn = 0;
        while let Some(frame) = framer.next_message(LARGE_BYTES).map_err(End::Frame)? {
            let said = match frame {
                Cow::Borrowed(frame) => {
                    turn += frame.len().max(MESSAGE_BYTES);
                    reading::read(&self.databases, self.session.id, frame)
                }
                Cow::Owned(frame) => {
                    let databases = self.databases.clone();
                    let session = self.session.id;
                    let read = move || reading::read(&databases, session, &frame);
                    self.engine.workers.run(read).await?
                }
            };
            match said.map_err(End::Message)? {
                Said::Call { id, bytes, call } => self.call(id, bytes, call).await?,
                Said::Cancel(id) => self.cancel(&id).await?,
                Said::Nothing => {}
            }
            if turn >= TURN_BYTES {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn cancel(&mut self, id: &Value) -> Result<(), End> {
        let mut waiting = self.waiting.iter();
        if let Some((target, _)) = waiting.find(|(_, waiting)| waiting.id == *id) {
            let target = *target;
            self.session.request(Request::Cancel { target }).await?;
        } else if let Some(call) = self.queue.cancel(id) {
            self.waiting_bytes -= call.bytes;
            self.canceled(&call.id);
            self.advance().await?;
        }
        Ok(())
    }

    fn canceled(&mut self, id: &Value) {
        let error = Error::new(ErrorKind::Canceled, "The client canceled it.");
        self.out.extend(jsonrpc::error_response(id, &error));
    }

    /// Answers a request, or passes it on to the core.
    async fn call(
        &mut self,
        id: Value,
        bytes: usize,
        asked: Result<Asked, Error>,
    ) -> Result<(), End> {
        if self.waiting.len() + self.gate.len() + self.queue.len() >= MAX_OUTSTANDING {
            let error = Error::new(
                ErrorKind::ResourcesExhausted,
                format!("More than {MAX_OUTSTANDING} requests of this session are unanswered."),
            );
            self.out.extend(jsonrpc::error_response(&id, &error));
            return Ok(());
        }
        let call = asked.and_then(|asked| self.prepare(asked));
        match call {
            Ok(Prepared::Answer(result)) => self.answer(&id, result.get().as_bytes()),
            Ok(Prepared::Request(request, cost, kind)) => {
                self.waiting_bytes += bytes;
                let call = QueuedCall {
                    id,
                    bytes,
                    cost,
                    request,
                    kind,
                };
                self.pass_on(call).await?;
            }
            Err(error) => self.out.extend(jsonrpc::error_response(&id, &error)),
        }
        Ok(())
    }

    /// Asks the core, or lets the question wait until it is certain who leads.
    async fn pass_on(&mut self, call: QueuedCall) -> Result<(), Stopped> {
        if self.is_about_server(&call.request) {
            match &mut self.gate {
                LeaderGate::Released => {}
                LeaderGate::Waiting { calls, .. } => {
                    calls.push(call);
                    return Ok(());
                }
                LeaderGate::Unasked => {
                    let read = LeaderGate::read(self.session.id);
                    let read = self.session.request(read).await?;
                    self.gate = LeaderGate::wait(read, call);
                    return Ok(());
                }
            }
        }
        self.queue.push(call);
        self.advance().await
    }

    /// Asks the core what it is the turn of.
    async fn advance(&mut self) -> Result<(), Stopped> {
        while let Some(call) = self.queue.next() {
            let QueuedCall {
                id,
                bytes,
                cost,
                request,
                kind,
            } = call;
            let request = self.session.request(request).await?;
            let waiting = Waiting {
                id,
                bytes,
                cost,
                kind,
            };
            self.waiting.insert(request, waiting);
        }
        Ok(())
    }

    /// Asks what has waited for a leader.
    async fn release(&mut self) -> Result<(), Stopped> {
        let calls = self.gate.release();
        self.queue.push_front(calls);
        self.advance().await
    }

    fn is_about_server(&self, request: &Request) -> bool {
        let database = match request {
            Request::Transact { database, .. } | Request::Monitor { database, .. } => *database,
            Request::ChangeConditions { monitor, .. } | Request::CancelMonitor { monitor } => {
                self.monitors[monitor].database
            }
            _ => return false,
        };
        database == DatabaseId::Server
    }

    fn prepare(&mut self, asked: Asked) -> Result<Prepared, Error> {
        Ok(match asked {
            Asked::Answer(result) => Prepared::Answer(result),
            Asked::Request(request, cost) => Prepared::Request(request, cost, Kind::Plain),
            Asked::Monitor {
                name,
                database,
                spec,
                since,
            } => {
                Self::check_name(&name)?;
                if self.monitor(&name).is_ok() {
                    return Err(duplicate(&name));
                }
                self.next_monitor += 1;
                let id = MonitorId(self.next_monitor);
                let request = Request::Monitor {
                    database,
                    monitor: id,
                    view: View::from(spec.clone()),
                    since,
                };
                let monitor = Monitor {
                    name,
                    database,
                    spec,
                    ending: false,
                };
                let schema = &self.databases.get(database).schema;
                let version = monitor.spec.version;
                self.wire.monitor(id, &monitor.name, version, schema);
                self.monitors.insert(id, monitor);
                Prepared::Request(request, Cost::Read, Kind::Monitor(id))
            }
            Asked::ChangeMonitor {
                monitor,
                renamed,
                tables,
            } => {
                let unknown = |_| Error::syntax("unknown monitor session").at(&monitor);
                let id = self.monitor(&monitor).map_err(unknown)?;
                Self::check_name(&renamed)?;
                if renamed != monitor && self.monitor(&renamed).is_ok() {
                    return Err(duplicate(&renamed));
                }
                let Monitor { spec, database, .. } = &self.monitors[&id];
                let schema = &self.databases.get(*database).schema;
                let request = Request::ChangeConditions {
                    monitor: id,
                    conditions: spec.condition_changes(schema, &tables)?,
                };
                Prepared::Request(request, Cost::Read, Kind::Rename(id, renamed))
            }
            Asked::CancelMonitor(name) => {
                let monitor = self.monitor(&name)?;
                if let Some(monitor) = self.monitors.get_mut(&monitor) {
                    monitor.ending = true;
                }
                let request = Request::CancelMonitor { monitor };
                Prepared::Request(request, Cost::Rest, Kind::CancelMonitor(monitor))
            }
        })
    }

    /// A name that the client gives is kept as long as its monitor.
    fn check_name(name: &Value) -> Result<(), Error> {
        if name.to_string().len() <= MAX_MONITOR_NAME_BYTES {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ResourcesExhausted,
            format!("The name of a monitor has more than {MAX_MONITOR_NAME_BYTES} bytes."),
        ))
    }

    fn monitor(&self, name: &Value) -> Result<MonitorId, Error> {
        let mut monitors = self.monitors.iter();
        monitors
            .find(|(_, monitor)| monitor.name == *name && !monitor.ending)
            .map(|(id, _)| *id)
            .ok_or_else(|| Error::new(ErrorKind::UnknownMonitor, format!("No monitor {name}.")))
    }

    /// The request that is answered by this.
    fn answered(&mut self, output: &Output) -> Option<Waiting> {
        let waiting = self.waiting.remove(&output.answers()?)?;
        self.waiting_bytes -= waiting.bytes;
        self.queue.answered(waiting.cost);
        Some(waiting)
    }

    /// Writes down what the core says at length: not here, and what it is written from goes with it.
    async fn large_output(&mut self, output: Output) -> Result<(), Stopped> {
        let Some(waiting) = self.answered(&output) else {
            return Ok(());
        };
        let encoded = match output {
            Output::Transacted { asked, outcome, .. } => {
                let encode = move || {
                    let mut bytes = Vec::new();
                    jsonrpc::write_response(&mut bytes, &waiting.id, &results(asked, &outcome));
                    bytes
                };
                self.engine.workers.run(encode).await?
            }
            Output::MonitorStarted {
                resumed,
                state,
                update,
                ..
            } => {
                let Some(begun) = self.begun(&waiting) else {
                    return Ok(());
                };
                let encode = move || begun.answer(&waiting.id, resumed, state, &update);
                self.engine.workers.run(encode).await?
            }
            // Nothing else is large.
            _ => return Ok(()),
        };
        if self.out.is_empty() {
            self.out = encoded;
        } else {
            self.out.extend(encoded);
        }
        Ok(())
    }

    /// Writes down what the core says.
    fn output(&mut self, output: Output) {
        let waiting = self.answered(&output);
        match (output, waiting) {
            (
                Output::Updated {
                    monitor,
                    state,
                    update,
                },
                _,
            ) => self.wire.encode(monitor, state, &update, &mut self.out),
            (Output::ConditionsChange { request }, _) => {
                if let Some(Waiting {
                    kind: Kind::Rename(id, name),
                    ..
                }) = self.waiting.get_mut(&request)
                    && let Some(monitor) = self.monitors.get_mut(id)
                {
                    monitor.name = name.take();
                    let schema = &self.databases.get(monitor.database).schema;
                    let version = monitor.spec.version;
                    self.wire.monitor(*id, &monitor.name, version, schema);
                }
            }
            (Output::LockChanged { name, owned }, _) => {
                let method = if owned { "locked" } else { "stolen" };
                self.out.extend(jsonrpc::notification(method, &[&*name]));
            }
            (
                Output::MonitorStarted {
                    resumed,
                    state,
                    update,
                    ..
                },
                Some(waiting),
            ) => {
                if let Some(begun) = self.begun(&waiting) {
                    self.out
                        .extend(begun.answer(&waiting.id, resumed, state, &update));
                }
            }
            (Output::Transacted { asked, outcome, .. }, Some(waiting)) => {
                let results = results(asked, &outcome);
                jsonrpc::write_response(&mut self.out, &waiting.id, &results);
            }
            (Output::Repeated { results, .. }, Some(waiting)) => self.answer(&waiting.id, &results),
            (Output::Canceled { .. }, Some(waiting)) => self.canceled(&waiting.id),
            (Output::Lock { owned, .. }, Some(waiting)) => {
                let result = json!({ "locked": owned });
                self.out.extend(jsonrpc::response(&waiting.id, &result));
            }
            (Output::Done { .. }, Some(waiting)) => {
                if let Kind::CancelMonitor(monitor) = waiting.kind {
                    self.forget(monitor);
                }
                self.out.extend(jsonrpc::response(&waiting.id, &json!({})));
            }
            (Output::Refused { error, .. }, Some(waiting)) => {
                if let Kind::Monitor(monitor) = waiting.kind {
                    self.forget(monitor);
                }
                self.out
                    .extend(jsonrpc::error_response(&waiting.id, &error));
            }
            // This service asks for no status, and knows all of its requests.
            (Output::Status { .. }, _) | (_, None) => {}
        }
    }

    /// The monitor that has begun.
    fn begun(&self, waiting: &Waiting) -> Option<Begun> {
        let Kind::Monitor(id) = waiting.kind else {
            return None;
        };
        let monitor = self.monitors.get(&id)?;
        Some(Begun {
            version: monitor.spec.version,
            schema: self.databases.get(monitor.database).schema.clone(),
        })
    }

    fn forget(&mut self, monitor: MonitorId) {
        self.monitors.remove(&monitor);
        self.wire.forget(monitor);
    }

    fn answer(&mut self, id: &Value, result: &[u8]) {
        write_answer(&mut self.out, id, &[result]);
    }
}

/// A monitor that has begun, as far as its client is told.
struct Begun {
    version: MonitorVersion,
    schema: Arc<DatabaseSchema>,
}

impl Begun {
    /// The answer to the request of this name.
    fn answer(&self, id: &Value, resumed: bool, state: Uuid, update: &Update) -> Vec<u8> {
        let mut bytes = Vec::new();
        let body = update.to_json(&self.schema, self.version);
        if self.version == MonitorVersion::V3 {
            let head = format!("[{resumed},\"{state}\",");
            write_answer(&mut bytes, id, &[head.as_bytes(), body, b"]"]);
        } else {
            write_answer(&mut bytes, id, &[body]);
        }
        bytes
    }
}

/// A successful answer whose result is JSON already, in these parts.
fn write_answer(out: &mut Vec<u8>, id: &Value, result: &[&[u8]]) {
    let head = format!("{{\"id\":{id},\"result\":");
    let tail = b",\"error\":null}";
    let length: usize = result.iter().map(|part| part.len()).sum();
    out.reserve(head.len() + length + tail.len());
    out.extend_from_slice(head.as_bytes());
    for part in result {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(tail);
}

/// What was read.
struct Read {
    count: usize,
    /// How it begins.
    first: [u8; 4],
}

thread_local! {
    /// Where bytes are read to, before they go to the framer of the connection: so an idle
    /// connection needs no buffer.
    static CHUNK: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// Reads what there is. May be dropped and called again at any time.
async fn read_some(io: &mut Box<dyn Io>, framer: &mut Framer) -> std::io::Result<Read> {
    std::future::poll_fn(|context| {
        CHUNK.with_borrow_mut(|chunk| {
            let mut buffer = ReadBuf::new(chunk);
            std::task::ready!(Pin::new(&mut *io).poll_read(context, &mut buffer))?;
            let read = buffer.filled();
            framer.push(read);
            let mut first = [0; 4];
            first
                .iter_mut()
                .zip(read)
                .for_each(|(to, from)| *to = *from);
            let count = read.len();
            Poll::Ready(Ok(Read { count, first }))
        })
    })
    .await
}

/// What is to be done about a request.
enum Prepared {
    /// Answer it with this result.
    Answer(Box<RawValue>),
    /// Ask the core.
    Request(Request, Cost, Kind),
}

fn duplicate(name: &Value) -> Error {
    Error::new(
        ErrorKind::DuplicateMonitor,
        format!("There is a monitor {name} in this session already."),
    )
}
