//! The OVSDB door: one task a connection, which speaks JSON-RPC (RFC 7047 and Open vSwitch's
//! extensions) with the client on one side and events with the core on the other.
//!
//! The task reads, decodes, encodes and writes; whatever needs the database goes to the core, and
//! its answer comes back in the session's order. While a client does not take what is written to
//! it, nothing is read from it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ovsdb::framing::{FrameError, FrameLimits, Framer};
use ovsdb::jsonrpc::{self, Message, MessageError};
use ovsdb::monitor::{MonitorSpec, MonitorVersion};
use ovsdb::operation::results;
use ovsdb::request::Request as Call;
use ovsdb::{Error, ErrorKind, Transaction, Uuid};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use super::budget::{Charge, Exhausted};
use super::engine::{ConnectError, Engine, Session, Stopped};
use super::held::{Held, HeldCall};
use super::listen::{Connection, Io};
use super::{Databases, Served, grumble, stranger};
use crate::event::{Consistency, DatabaseId, MonitorId, Output, Request, RequestId};
use crate::monitor::{Update, View};

/// So many requests may be unanswered; what comes then is refused.
const MAX_OUTSTANDING: usize = 4096;
/// While the unanswered requests have so many bytes, no more are read.
const MAX_OUTSTANDING_BYTES: usize = 64 << 20;
/// So long a client may take to send a message to its end.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(300);
/// The most bytes of one read.
const READ_BYTES: usize = 64 << 10;
/// What is longer is written by itself instead of being gathered with others.
const GATHER_BYTES: usize = 64 << 10;

/// Why a session ended.
#[derive(Debug)]
enum End {
    /// The client went.
    Closed,
    /// The client broke the connection, or the network did.
    Io(std::io::Error),
    /// The client sent what cannot be cut into messages.
    Frame(FrameError),
    /// The client sent what is not JSON-RPC.
    Message(MessageError),
    /// The client speaks another protocol.
    Stranger(String),
    /// The client sends a message that does not end.
    Unfinished,
    /// There is no room for the client's requests.
    Exhausted(Exhausted),
    /// The client does not read what it asked for.
    CutOff,
    /// The client did not answer a probe.
    Silent,
    /// The server goes.
    Stopped,
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => formatter.write_str("closed by the client"),
            Self::Io(error) => write!(formatter, "connection lost: {error}"),
            Self::Frame(error) => write!(formatter, "{error}"),
            Self::Message(error) => write!(formatter, "{error}"),
            Self::Stranger(what) => formatter.write_str(what),
            Self::Unfinished => write!(
                formatter,
                "a message was begun and not finished within {MESSAGE_TIMEOUT:?}"
            ),
            Self::Exhausted(exhausted) => write!(formatter, "{exhausted}"),
            Self::CutOff => formatter.write_str("the client does not read what it asked for"),
            Self::Silent => formatter.write_str("no answer to a probe"),
            Self::Stopped => formatter.write_str("the server is shutting down"),
        }
    }
}

impl End {
    /// What the client is told of it, if it is its fault and it may listen.
    fn told(&self) -> Option<Error> {
        match self {
            Self::Closed | Self::Io(_) | Self::Silent | Self::Stopped => None,
            Self::Frame(_) | Self::Message(_) | Self::Stranger(_) | Self::Unfinished => {
                Some(Error::syntax(self.to_string()))
            }
            Self::Exhausted(_) | Self::CutOff => {
                Some(Error::new(ErrorKind::ResourcesExhausted, self.to_string()))
            }
        }
    }
}

impl From<Stopped> for End {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Serves a client until it goes.
pub async fn serve(engine: Arc<Engine>, connection: Connection) {
    let Connection {
        mut io,
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
            grumble::warn(&peer, &format!("refused, {error}"));
            return;
        }
    };
    tracing::debug!("{peer}: connected");
    let client = Client {
        databases: engine.databases.clone(),
        session,
        charge: Charge::new(engine.requests.clone()),
        waiting: HashMap::new(),
        waiting_bytes: 0,
        held: Held::default(),
        monitors: HashMap::new(),
        next_monitor: 0,
        out: Vec::new(),
    };
    let end = client.run(&mut io, probe).await;
    if let Some(error) = end.told() {
        let bytes = jsonrpc::error_response(&Value::Null, &error);
        stranger::farewell(&mut io, &bytes).await;
    }
    match end {
        end @ (End::Closed | End::Stopped) => tracing::debug!("{peer}: {end}"),
        end @ End::Io(_) => grumble::inform(&peer, &end),
        end => grumble::warn(&peer, &end),
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
    kind: Kind,
}

/// What becomes of an answer.
#[derive(Debug)]
pub enum Kind {
    /// It is passed on.
    Plain,
    /// It begins a monitor.
    Monitor(MonitorId),
    /// It gives a monitor another name.
    Rename(MonitorId, Value),
    /// It ends a monitor.
    CancelMonitor(MonitorId),
}

#[derive(Debug)]
struct Monitor {
    name: Value,
    database: DatabaseId,
    spec: MonitorSpec,
    /// The client asked for its end: its name is free again.
    ending: bool,
}

#[derive(Debug)]
struct Client {
    databases: Arc<Databases>,
    session: Session,
    /// For what it has sent, and is not done with.
    charge: Charge,
    waiting: HashMap<RequestId, Waiting>,
    /// The bytes of all requests without an answer, those that are held among them.
    waiting_bytes: usize,
    held: Held,
    monitors: HashMap<MonitorId, Monitor>,
    next_monitor: u64,
    /// Bytes to be written.
    out: Vec<u8>,
}

impl Client {
    async fn run(mut self, io: &mut Box<dyn Io>, probe: Option<Duration>) -> End {
        let mut framer = Framer::new(FrameLimits::SERVER);
        let mut heard = Instant::now();
        let mut probed = false;
        let mut is_first = true;
        // Since when the message that is coming in has been coming in.
        let mut begun: Option<Instant> = None;
        loop {
            let full = self.waiting_bytes >= MAX_OUTSTANDING_BYTES;
            let silent_at = probe.map(|probe| heard + probe);
            let unfinished_at = begun.filter(|_| !full).map(|begun| begun + MESSAGE_TIMEOUT);
            let held_until = self.held.until();
            let due = [silent_at, unfinished_at, held_until];
            let due = due.into_iter().flatten().min();
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                read = read_some(io, &mut framer), if !full => match read {
                    Ok(Read { count: 0, .. }) => return End::Closed,
                    Ok(Read { first, .. }) => {
                        (heard, probed) = (Instant::now(), false);
                        let was = framer.messages();
                        let framed = self.frames(&mut framer).await;
                        if std::mem::take(&mut is_first)
                            && let Some(what) = stranger::not_ovsdb(&first)
                        {
                            return End::Stranger(what);
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
                output = self.session.outputs.recv() => {
                    let Some(output) = output else {
                        return if self.session.outputs.is_cut_off() {
                            End::CutOff
                        } else {
                            End::Stopped
                        };
                    };
                    if let Err(end) = self.outputs(output, io, probe).await {
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
                    if held_until.is_some_and(|until| until <= now)
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
        }
    }

    /// Accounts for what was sent and is not done with.
    fn charge(&mut self, pending: usize) -> Result<(), Exhausted> {
        self.charge.set(pending + self.waiting_bytes)
    }

    /// Takes what the core says, and all that it says right after.
    async fn outputs(
        &mut self,
        first: Output,
        io: &mut Box<dyn Io>,
        probe: Option<Duration>,
    ) -> Result<(), End> {
        let mut next = Some(first);
        while let Some(output) = next {
            let update = matches!(output, Output::Updated { .. });
            if self.held.is_answered_by(&output) {
                self.release().await?;
            }
            self.output(output);
            if self.out.len() >= GATHER_BYTES {
                self.flush(io, probe).await?;
            }
            if update {
                self.session.written().await?;
            }
            next = self.session.outputs.try_recv();
        }
        Ok(())
    }

    async fn flush(&mut self, io: &mut Box<dyn Io>, probe: Option<Duration>) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        let mut left = self.out.as_slice();
        while !left.is_empty() {
            let write = io.write(left);
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
        }
        io.flush().await?;
        if self.out.capacity() > 4 * GATHER_BYTES {
            self.out = Vec::new();
        } else {
            self.out.clear();
        }
        Ok(())
    }

    async fn frames(&mut self, framer: &mut Framer) -> Result<(), End> {
        while let Some(frame) = framer.next_frame().map_err(End::Frame)? {
            match Message::parse(frame).map_err(End::Message)? {
                Message::Request { id, method, params } => {
                    self.call(id, &method, params).await?;
                }
                Message::Notification { method, params } => {
                    if let Ok(Call::Cancel { id }) = Call::parse(&method, params) {
                        self.cancel(&id).await?;
                    }
                }
                // Only the answers to probes come here.
                Message::Response { .. } => {}
            }
        }
        Ok(())
    }

    async fn cancel(&mut self, id: &Value) -> Result<(), End> {
        let mut waiting = self.waiting.iter();
        if let Some((target, _)) = waiting.find(|(_, waiting)| waiting.id == *id) {
            let target = *target;
            self.session.request(Request::Cancel { target }).await?;
        }
        Ok(())
    }

    /// Answers a request, or passes it on to the core.
    async fn call(&mut self, id: Value, method: &str, params: &RawValue) -> Result<(), End> {
        if self.waiting.len() + self.held.len() >= MAX_OUTSTANDING {
            let error = Error::new(
                ErrorKind::ResourcesExhausted,
                format!("More than {MAX_OUTSTANDING} requests of this session are unanswered."),
            );
            self.out.extend(jsonrpc::error_response(&id, &error));
            return Ok(());
        }
        let call = Call::parse(method, params).and_then(|call| self.prepare(call));
        match call {
            Ok(Prepared::Answer(result)) => self.answer(&id, result.get().as_bytes()),
            Ok(Prepared::Request(request, kind)) => {
                let bytes = params.get().len();
                self.waiting_bytes += bytes;
                let call = HeldCall {
                    id,
                    bytes,
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
    async fn pass_on(&mut self, call: HeldCall) -> Result<(), Stopped> {
        if self.is_about_server(&call.request) {
            match &mut self.held {
                Held::Released => {}
                Held::Waiting { calls, .. } => {
                    calls.push(call);
                    return Ok(());
                }
                Held::Unasked => {
                    let read = Held::read(self.session.id);
                    let read = self.session.request(read).await?;
                    self.held = Held::wait(read, call);
                    return Ok(());
                }
            }
        }
        self.ask(call).await
    }

    async fn ask(&mut self, call: HeldCall) -> Result<(), Stopped> {
        let HeldCall {
            id,
            bytes,
            request,
            kind,
        } = call;
        let request = self.session.request(request).await?;
        self.waiting.insert(request, Waiting { id, bytes, kind });
        Ok(())
    }

    /// Asks what was held.
    async fn release(&mut self) -> Result<(), Stopped> {
        for call in self.held.release() {
            self.ask(call).await?;
        }
        Ok(())
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

    fn prepare(&mut self, call: Call<'_>) -> Result<Prepared, Error> {
        let plain = |request| Ok(Prepared::Request(request, Kind::Plain));
        match call {
            Call::ListDbs => Ok(Prepared::answer(&json!(self.databases.names()))),
            Call::GetSchema { database } => {
                let schema = &self.database(&database)?.schema_json;
                let text = std::str::from_utf8(schema).expect("JSON is UTF-8");
                let raw = RawValue::from_string(text.to_owned()).expect("it is JSON");
                Ok(Prepared::Answer(raw))
            }
            Call::Transact {
                database,
                operations,
            } => {
                let served = self.database(&database)?;
                let transaction = Transaction::read(&served.schema, &operations, &mut Uuid::new_v4);
                plain(Request::Transact {
                    database: served.id,
                    transaction,
                    name: None,
                    lock_holders: vec![self.session.id],
                    consistency: Consistency::default(),
                })
            }
            Call::Monitor {
                version,
                database,
                monitor,
                tables,
                last_transaction,
            } => self.prepare_monitor(version, &database, monitor, &tables, last_transaction),
            Call::MonitorCondChange {
                monitor,
                renamed,
                tables,
            } => {
                let unknown = |_| Error::syntax("unknown monitor session").at(&monitor);
                let id = self.monitor(&monitor).map_err(unknown)?;
                if renamed != monitor && self.monitor(&renamed).is_ok() {
                    return Err(duplicate(&renamed));
                }
                let Monitor { spec, database, .. } = &self.monitors[&id];
                let schema = &self.databases.get(*database).schema;
                let request = Request::ChangeConditions {
                    monitor: id,
                    conditions: spec.condition_changes(schema, &tables)?,
                };
                Ok(Prepared::Request(request, Kind::Rename(id, renamed)))
            }
            Call::MonitorCancel { monitor } => {
                let monitor = self.monitor(&monitor)?;
                if let Some(monitor) = self.monitors.get_mut(&monitor) {
                    monitor.ending = true;
                }
                let request = Request::CancelMonitor { monitor };
                Ok(Prepared::Request(request, Kind::CancelMonitor(monitor)))
            }
            Call::Lock { lock } => plain(Request::Lock {
                name: lock.into(),
                steal: false,
            }),
            Call::Steal { lock } => plain(Request::Lock {
                name: lock.into(),
                steal: true,
            }),
            Call::Unlock { lock } => plain(Request::Unlock { name: lock.into() }),
            Call::Echo { params } => Ok(Prepared::answer(&params)),
            Call::SetDbChangeAware { .. } => Ok(Prepared::answer(&json!({}))),
            Call::GetServerId => Ok(Prepared::answer(&json!(self.databases.process))),
            Call::Cancel { .. } => Err(Error::syntax("cancel should be a notification.")),
            Call::Convert { database, schema } => self.convert(&database, &schema),
        }
    }

    /// The schema comes with the server, so that there is nothing to convert; to the version that it
    /// has, that is done already.
    fn convert(&self, database: &str, schema: &Value) -> Result<Prepared, Error> {
        let served = self.database(database)?;
        let (name, version) = (&schema["name"], &schema["version"]);
        if name.as_str() != Some(&*served.schema.name) {
            return Err(Error::syntax(format!(
                "This is a schema of {name}, not of {database}."
            )));
        }
        if version.as_str() == Some(&*served.schema.version) {
            return Ok(Prepared::answer(&json!({})));
        }
        Err(Error::new(
            ErrorKind::NotSupported,
            format!(
                "The schema comes with the server, and is of version {}. For version {version}, run \
                 the servers of a version of Weft that has it, one after the other; for a database \
                 file with an older schema, export with --schema.",
                served.schema.version
            ),
        ))
    }

    fn prepare_monitor(
        &mut self,
        version: MonitorVersion,
        database: &str,
        name: Value,
        tables: &Value,
        since: Option<Uuid>,
    ) -> Result<Prepared, Error> {
        let served = self.database(database)?;
        let (database, spec) = (
            served.id,
            MonitorSpec::from_json(version, &served.schema, tables)?,
        );
        if self.monitor(&name).is_ok() {
            return Err(duplicate(&name));
        }
        self.next_monitor += 1;
        let monitor = MonitorId(self.next_monitor);
        let request = Request::Monitor {
            database,
            monitor,
            view: View::from(spec.clone()),
            since: since.filter(|since| !since.is_nil()),
        };
        self.monitors.insert(
            monitor,
            Monitor {
                name,
                database,
                spec,
                ending: false,
            },
        );
        Ok(Prepared::Request(request, Kind::Monitor(monitor)))
    }

    fn database(&self, name: &str) -> Result<&Served, Error> {
        self.databases.find(name).ok_or_else(|| {
            Error::new(
                ErrorKind::UnknownDatabase,
                format!("get_schema, transact and monitor know no database {name}."),
            )
        })
    }

    fn monitor(&self, name: &Value) -> Result<MonitorId, Error> {
        let mut monitors = self.monitors.iter();
        monitors
            .find(|(_, monitor)| monitor.name == *name && !monitor.ending)
            .map(|(id, _)| *id)
            .ok_or_else(|| Error::new(ErrorKind::UnknownMonitor, format!("No monitor {name}.")))
    }

    /// Writes down what the core says.
    fn output(&mut self, output: Output) {
        let waiting = output
            .answers()
            .and_then(|request| self.waiting.remove(&request));
        if let Some(waiting) = &waiting {
            self.waiting_bytes -= waiting.bytes;
        }
        match (output, waiting) {
            (
                Output::Updated {
                    monitor,
                    state,
                    update,
                },
                _,
            ) => self.update(monitor, state, &update),
            (Output::ConditionsChange { request }, _) => {
                if let Some(Waiting {
                    kind: Kind::Rename(monitor, name),
                    ..
                }) = self.waiting.get_mut(&request)
                    && let Some(monitor) = self.monitors.get_mut(monitor)
                {
                    monitor.name = name.take();
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
                self.monitor_started(&waiting, resumed, state, &update);
            }
            (Output::Transacted { asked, outcome, .. }, Some(waiting)) => {
                let results = results(asked, &outcome);
                jsonrpc::write_response(&mut self.out, &waiting.id, &results);
            }
            (Output::Repeated { results, .. }, Some(waiting)) => self.answer(&waiting.id, &results),
            (Output::Canceled { .. }, Some(waiting)) => {
                let error = Error::new(ErrorKind::Canceled, "The client canceled it.");
                self.out
                    .extend(jsonrpc::error_response(&waiting.id, &error));
            }
            (Output::Lock { owned, .. }, Some(waiting)) => {
                let result = json!({ "locked": owned });
                self.out.extend(jsonrpc::response(&waiting.id, &result));
            }
            (Output::Done { .. }, Some(waiting)) => {
                if let Kind::CancelMonitor(monitor) = waiting.kind {
                    self.monitors.remove(&monitor);
                }
                self.out.extend(jsonrpc::response(&waiting.id, &json!({})));
            }
            (Output::Refused { error, .. }, Some(waiting)) => {
                if let Kind::Monitor(monitor) = waiting.kind {
                    self.monitors.remove(&monitor);
                }
                self.out
                    .extend(jsonrpc::error_response(&waiting.id, &error));
            }
            // This door asks for no status, and knows all of its requests.
            (Output::Status { .. }, _) | (_, None) => {}
        }
    }

    fn monitor_started(&mut self, waiting: &Waiting, resumed: bool, state: Uuid, update: &Update) {
        let Kind::Monitor(id) = waiting.kind else {
            return;
        };
        let Some(monitor) = self.monitors.get(&id) else {
            return;
        };
        let version = monitor.spec.version;
        let schema = &self.databases.get(monitor.database).schema;
        let body = update.to_json(schema, version);
        if version == MonitorVersion::V3 {
            let mut result = format!("[{resumed},\"{state}\",").into_bytes();
            result.extend_from_slice(&body);
            result.push(b']');
            self.answer(&waiting.id, &result);
        } else {
            self.answer(&waiting.id, &body);
        }
    }

    fn update(&mut self, id: MonitorId, state: Uuid, update: &Update) {
        let Some(monitor) = self.monitors.get(&id) else {
            return;
        };
        let version = monitor.spec.version;
        let schema = &self.databases.get(monitor.database).schema;
        let method = version.update();
        let head = format!(
            "{{\"id\":null,\"method\":\"{method}\",\"params\":[{},",
            monitor.name
        );
        self.out.extend_from_slice(head.as_bytes());
        if version == MonitorVersion::V3 {
            self.out
                .extend_from_slice(format!("\"{state}\",").as_bytes());
        }
        self.out.extend_from_slice(&update.to_json(schema, version));
        self.out.extend_from_slice(b"]}");
    }

    /// A successful answer whose result is JSON already.
    fn answer(&mut self, id: &Value, result: &[u8]) {
        self.out
            .extend_from_slice(format!("{{\"id\":{id},\"result\":").as_bytes());
        self.out.extend_from_slice(result);
        self.out.extend_from_slice(b",\"error\":null}");
    }
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
    Request(Request, Kind),
}

impl Prepared {
    fn answer(result: &Value) -> Self {
        let raw = serde_json::value::to_raw_value(result);
        Self::Answer(raw.expect("a value is JSON"))
    }
}

fn duplicate(name: &Value) -> Error {
    Error::new(
        ErrorKind::DuplicateMonitor,
        format!("There is a monitor {name} in this session already."),
    )
}
