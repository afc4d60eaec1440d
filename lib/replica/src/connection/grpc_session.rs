//! One connection that speaks gRPC.
//!
//! The calls of `weft.db.v1.Database` become the same events that an OVSDB session gives. Two things that one stream of
//! messages has by nature have to be made here:
//!
//! * **Order of transactions.** Calls may overtake each other, so the next transaction is sent when the one before is
//!   answered. Only those that may wait for long run beside the others.
//! * **Changes before the reply.** The answer to `Transact` may overtake the update that the transaction causes. So
//!   with each answer an empty change of conditions goes to the monitor, and the answer is told when the monitor has
//!   come as far as its tag.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use ovsdb::adapt::Adaptation;
use ovsdb::client::{Config, Event as SessionEvent, SessionError};
use ovsdb::operation::{Failure, OpResult, Operation, Outcome};
use ovsdb::schema::DatabaseSchema;
use ovsdb::update::TableUpdates;
use ovsdb::{Error, ErrorKind, Remote, Uuid};
use rpc::convert;
use rpc::v1;
use rpc::v1::cluster_client::ClusterClient;
use rpc::v1::database_client::DatabaseClient;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use super::stream::Stream;
use super::{End, Link, Reason};
use crate::core::{Again, Command, not_sent};
use crate::event::Event;

/// A server sends large updates in parts of so many rows, whatever the rows are.
const MAX_MESSAGE_BYTES: usize = 1 << 30;
/// How long it may take until the contents begin to come.
const OPENING_TIMEOUT: Duration = Duration::from_secs(60);
/// As many transactions may wait for an answer.
const MAX_OUTSTANDING: usize = 10_000;

impl<E, W> Link<E, W>
where
    E: Send + 'static,
    W: Fn(Event) -> E + Send + 'static,
{
    /// Talks until the connection ends.
    pub(super) async fn converse_in_grpc(
        &mut self,
        remote: &Remote,
        stream: Box<dyn Stream>,
    ) -> End {
        let mut conditions_in_effect = true;
        match self
            .talk_grpc(remote, stream, &mut conditions_in_effect)
            .await
        {
            Ok(never) => match never {},
            Err(Reason::Closed) => End::Closed,
            Err(Reason::Lost(reason)) => End::Lost {
                reason,
                conditions_in_effect,
            },
        }
    }

    async fn talk_grpc(
        &mut self,
        remote: &Remote,
        stream: Box<dyn Stream>,
        conditions_in_effect: &mut bool,
    ) -> Result<std::convert::Infallible, Reason> {
        let opening = open(self.core.session_config(), stream);
        let opening = tokio::time::timeout(OPENING_TIMEOUT, opening);
        tokio::pin!(opening);
        // What the owner asks for meanwhile stays in its channel.
        let mut session = loop {
            tokio::select! {
                session = &mut opening => {
                    let seconds = OPENING_TIMEOUT.as_secs();
                    let slow = |_| Reason::Lost(format!("no answer within {seconds} seconds"));
                    break session.map_err(slow)??;
                }
                told = self.out.reserve(), if self.core.has_events() => {
                    self.tell(told.map_err(|_| Reason::Closed)?);
                }
                () = self.out.sender.closed() => return Err(Reason::Closed),
            }
        };
        self.session_events(&mut session)?;
        let probe = self.core.spec().probe_interval;
        let watch_leader = self.core.spec().leader_only && !probe.is_zero();
        let mut watch = tokio::time::interval(if watch_leader {
            probe
        } else {
            Duration::MAX / 4
        });
        watch.reset();
        loop {
            let telling = self.core.has_events();
            tokio::select! {
                told = self.out.reserve(), if telling => {
                    self.tell(told.map_err(|_| Reason::Closed)?);
                }
                update = session.updates.message(), if !telling => {
                    let update = update.map_err(|status| lost(&status))?;
                    session.update(update.ok_or_else(closed)?)?;
                }
                owned = next_lock(&mut session.lock), if !telling => session.lock_changed(owned?),
                Some(answer) = session.running.join_next(), if !telling => {
                    let answer = answer.map_err(|error| Reason::Lost(error.to_string()))?;
                    session.answered(answer)?;
                }
                room = room(&session.changes), if session.change.is_some() => {
                    session.send_change(room?);
                }
                command = self.commands.next(), if self.core.has_room() => {
                    self.grpc_command(&mut session, remote, command.ok_or(Reason::Closed)?)?;
                }
                _ = watch.tick(), if watch_leader => check_leader(&mut session.cluster).await?,
                () = self.out.sender.closed() => return Err(Reason::Closed),
            }
            self.session_events(&mut session)?;
            *conditions_in_effect = session.conditions_in_effect();
            if session.is_live {
                for (id, again) in self.core.take_again(Instant::now(), true) {
                    self.send(&mut session, id, again);
                }
            }
        }
    }

    fn session_events(&mut self, session: &mut Session) -> Result<(), Reason> {
        let now = Instant::now();
        while let Some(event) = session.events.pop_front() {
            self.core
                .session_event(now, event, session.conditions_in_effect())
                .map_err(|error| Reason::Lost(error.to_string()))?;
        }
        Ok(())
    }

    /// Sends a transaction, for the first time or again.
    fn send(&mut self, session: &mut Session, id: u64, again: Again) {
        let kept = self.core.spec().resend.then(|| again.clone());
        let sent = session.transact(id, again.name, again.operations);
        self.core.transaction_sent(id, sent.map_err(not_sent), kept);
    }

    fn grpc_command(
        &mut self,
        session: &mut Session,
        remote: &Remote,
        command: Command,
    ) -> Result<(), Reason> {
        match command {
            Command::Transact { id, operations } => {
                let again = Again {
                    name: Uuid::new_v4(),
                    operations,
                    since: Instant::now(),
                };
                self.send(session, id, again);
            }
            Command::SetConditions(number, conditions) => {
                let changed = self.core.set_conditions(number, conditions, true);
                session.set_conditions(&changed);
                if session.is_live && session.conditions_in_effect() {
                    self.core.conditions_in_effect();
                }
            }
            Command::SetRemotes(remotes) => {
                if self.core.set_remotes(remotes, Some(remote)) {
                    return Err(Reason::Lost("the remotes were changed".to_owned()));
                }
            }
            Command::Reconnect => {
                self.core.hurry();
                return Err(Reason::Lost("reconnecting on request".to_owned()));
            }
        }
        Ok(())
    }
}

/// A conversation.
struct Session {
    schema: Arc<DatabaseSchema>,
    adaptation: Adaptation,
    database: DatabaseClient<Channel>,
    cluster: ClusterClient<Channel>,
    events: VecDeque<SessionEvent>,
    updates: Streaming<v1::MonitorResponse>,
    changes: mpsc::Sender<v1::MonitorRequest>,
    /// What is to be sent there when there is room: all changes since the last one sent, as one.
    change: Option<v1::MonitorChange>,
    /// The tags of the last change sent, of the last change of conditions, and of the last that the monitor has seen.
    tag: u64,
    conditions_tag: u64,
    seen_tag: u64,
    /// The parts that came of an update that comes in several.
    partial: Partial,
    /// The last transaction of which the updates came.
    last_transaction: Uuid,
    lock: Option<Streaming<v1::LockResponse>>,
    token: Option<v1::LockToken>,
    is_live: bool,
    /// Transactions that wait for the one before them.
    queue: VecDeque<Sent>,
    /// Whether a transaction runs for which others wait.
    is_busy: bool,
    running: JoinSet<Answer>,
    /// Answers that wait for the monitor to come as far as their tag.
    held_back: VecDeque<(u64, SessionEvent)>,
}

/// An update of which more is to come.
#[derive(Default)]
struct Partial {
    updates: TableUpdates,
    reset: bool,
}

/// A transaction on its way.
struct Sent {
    id: u64,
    name: Uuid,
    /// What the server is asked to do.
    operations: Vec<Operation>,
    /// The same, encoded, if it waits for its turn as the next; then `operations` have no columns of new rows.
    encoded: Option<Vec<Bytes>>,
    /// For every operation that the owner asked for, its result if the server is not asked.
    without_effect: Vec<Option<OpResult>>,
    in_turn: bool,
}

impl Sent {
    /// What goes out. The columns of new rows are not needed any more.
    fn encode(&mut self, schema: &DatabaseSchema) -> &mut Option<Vec<Bytes>> {
        if self.encoded.is_none() {
            self.encoded = Some(convert::operations_to_proto(schema, &self.operations));
            for operation in &mut self.operations {
                if let Operation::Insert { row, .. } = operation {
                    *row = Vec::new();
                }
            }
        }
        &mut self.encoded
    }
}

/// What came of a transaction.
struct Answer {
    sent: Sent,
    result: Result<v1::TransactResponse, Status>,
}

/// Asks for everything that a session begins with.
async fn open(config: Config, stream: Box<dyn Stream>) -> Result<Session, Reason> {
    let channel = channel(stream, config.probe_interval).await?;
    let mut database =
        DatabaseClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let mut cluster = ClusterClient::new(channel);
    if config.leader_only {
        check_leader(&mut cluster).await?;
    }
    let name = config.schema.name.to_string();
    let request = v1::GetSchemaRequest {
        database: name.clone(),
    };
    let answer = database
        .get_schema(request)
        .await
        .map_err(|status| lost(&status))?;
    let theirs = read_schema(&answer.into_inner().schema_json)?;
    let adaptation = Adaptation::new(&config.schema, &theirs);
    let missing = adaptation.missing().clone();
    let monitors: Vec<_> = config
        .tables
        .iter()
        .filter_map(|monitor| adaptation.monitor(&config.schema, monitor))
        .collect();
    let last = config.last_transaction;
    let opening = v1::MonitorOpen {
        database: name.clone(),
        tables: convert::monitor_to_proto(&config.schema, &monitors),
        since: if last.is_nil() {
            Vec::new()
        } else {
            last.as_bytes().to_vec()
        },
        differences: true,
    };
    let (changes, receiver) = mpsc::channel(1);
    let first = v1::MonitorRequest {
        kind: Some(v1::monitor_request::Kind::Open(opening)),
    };
    // The receiver is at hand and has room, so this cannot fail.
    let _ = changes.try_send(first);
    let updates = database
        .monitor(ReceiverStream::new(receiver))
        .await
        .map_err(|status| lost(&status))?
        .into_inner();
    let lock = match &config.lock {
        None => None,
        Some(lock) => {
            let request = v1::LockRequest {
                database: name,
                name: lock.to_string(),
                steal: false,
            };
            let answer = database
                .lock(request)
                .await
                .map_err(|status| lost(&status))?;
            Some(answer.into_inner())
        }
    };
    Ok(Session {
        schema: config.schema,
        adaptation,
        database,
        cluster,
        events: VecDeque::from([SessionEvent::Schema(missing)]),
        updates,
        changes,
        change: None,
        tag: 0,
        conditions_tag: 0,
        seen_tag: 0,
        partial: Partial::default(),
        last_transaction: last,
        lock,
        token: None,
        is_live: false,
        queue: VecDeque::new(),
        is_busy: false,
        running: JoinSet::new(),
        held_back: VecDeque::new(),
    })
}

/// A channel over one stream: when that breaks, so do all calls, and there is no other.
pub(super) async fn channel(
    stream: Box<dyn Stream>,
    probe_interval: Duration,
) -> Result<Channel, Reason> {
    let stream = Arc::new(Mutex::new(Some(stream)));
    let connector = tower::service_fn(move |_| {
        let taken = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        let taken = taken
            .map(TokioIo::new)
            .ok_or(std::io::ErrorKind::NotConnected);
        std::future::ready(taken.map_err(std::io::Error::from))
    });
    // The name is that of no host: the stream decides who is talked to.
    let mut endpoint = Endpoint::from_static("http://weft");
    if !probe_interval.is_zero() {
        endpoint = endpoint
            .http2_keep_alive_interval(probe_interval)
            .keep_alive_timeout(probe_interval)
            .keep_alive_while_idle(true);
    }
    let channel = endpoint.connect_with_connector(connector).await;
    channel.map_err(|error| Reason::Lost(error.to_string()))
}

fn read_schema(json: &str) -> Result<DatabaseSchema, Reason> {
    let wrong = |error: String| Reason::Lost(format!("the server sent a schema: {error}"));
    let json = serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
    DatabaseSchema::from_json(&json).map_err(|error| wrong(error.to_string()))
}

async fn check_leader(cluster: &mut ClusterClient<Channel>) -> Result<(), Reason> {
    let status = cluster
        .status(v1::StatusRequest::default())
        .await
        .map_err(|status| lost(&status))?;
    if status.into_inner().role() == v1::Role::Leader {
        Ok(())
    } else {
        Err(Reason::Lost(SessionError::NotLeader.to_string()))
    }
}

/// The next change of the lock; never, if there is none.
async fn next_lock(
    lock: &mut Option<Streaming<v1::LockResponse>>,
) -> Result<v1::LockResponse, Reason> {
    match lock {
        None => std::future::pending().await,
        Some(lock) => {
            let answer = lock.message().await.map_err(|status| lost(&status))?;
            answer.ok_or_else(closed)
        }
    }
}

/// Waits until the monitor's call takes another message.
fn room(
    changes: &mpsc::Sender<v1::MonitorRequest>,
) -> impl Future<Output = Result<mpsc::OwnedPermit<v1::MonitorRequest>, Reason>> + Send + use<> {
    let changes = changes.clone();
    async move { changes.reserve_owned().await.map_err(|_| closed()) }
}

impl Session {
    fn conditions_in_effect(&self) -> bool {
        self.seen_tag >= self.conditions_tag
    }

    fn update(&mut self, response: v1::MonitorResponse) -> Result<(), Reason> {
        let nonsense = |error: convert::ConvertError| {
            Reason::Lost(format!("the server sent an update: {error}"))
        };
        let updates =
            convert::updates_from_proto(&self.schema, response.tables).map_err(nonsense)?;
        for (table, rows) in updates.tables {
            for (uuid, update) in rows {
                self.partial.updates.push(table, uuid, update);
            }
        }
        self.partial.reset |= response.reset;
        if response.more {
            return Ok(());
        }
        let Partial { updates, reset } = std::mem::take(&mut self.partial);
        if !response.transaction_id.is_empty() {
            let id = &response.transaction_id;
            self.last_transaction =
                convert::uuid_from_bytes("transaction_id", id).map_err(nonsense)?;
        }
        let last_transaction = self.last_transaction;
        let conditions_were_in_effect = self.conditions_in_effect();
        self.seen_tag = self.seen_tag.max(response.tag);
        if !self.is_live || reset {
            self.is_live = true;
            let since_last = !reset;
            self.events.push_back(SessionEvent::Contents {
                since_last,
                updates,
                last_transaction,
            });
        } else if !updates.is_empty() {
            self.events.push_back(SessionEvent::Updates {
                updates,
                last_transaction,
            });
        }
        if !conditions_were_in_effect && self.conditions_in_effect() {
            self.events.push_back(SessionEvent::Conditions);
        }
        while let Some((tag, _)) = self.held_back.front()
            && *tag <= self.seen_tag
        {
            self.events
                .extend(self.held_back.pop_front().map(|(_, reply)| reply));
        }
        Ok(())
    }

    fn lock_changed(&mut self, lock: v1::LockResponse) {
        self.events.push_back(SessionEvent::Lock(lock.owned));
        self.token = lock.token.filter(|_| lock.owned);
    }

    /// Sends a change to the monitor; with no tables it only tells how far the monitor has come.
    fn change_monitor(&mut self, tables: Vec<v1::TableCondition>) {
        self.tag += 1;
        let change = self.change.get_or_insert_default();
        change.tag = self.tag;
        for table in tables {
            let said = change.tables.iter_mut();
            match said.into_iter().find(|said| said.table == table.table) {
                Some(said) => *said = table,
                None => change.tables.push(table),
            }
        }
    }

    /// Sends what [`Session::change_monitor`] left to be sent.
    fn send_change(&mut self, permit: mpsc::OwnedPermit<v1::MonitorRequest>) {
        let kind = self.change.take().map(v1::monitor_request::Kind::Change);
        permit.send(v1::MonitorRequest { kind });
    }

    fn set_conditions(&mut self, conditions: &[(usize, ovsdb::Condition)]) {
        let adapted: Vec<_> = conditions
            .iter()
            .map(|(table, condition)| {
                let schema = &self.schema.tables[*table];
                (*table, self.adaptation.condition(schema, condition))
            })
            .filter(|(table, _)| self.adaptation.has_table(&self.schema.tables[*table]))
            .collect();
        if adapted.is_empty() {
            return;
        }
        let pairs = adapted.iter().map(|(table, condition)| (*table, condition));
        let tables = convert::conditions_to_proto(&self.schema, pairs);
        self.change_monitor(tables);
        self.conditions_tag = self.tag;
    }

    fn transact(&mut self, id: u64, name: Uuid, operations: Vec<Operation>) -> Result<(), Error> {
        if !self.is_live {
            return Err(Error::new(
                ErrorKind::NotAllowed,
                "the connection to the database is not ready yet",
            ));
        }
        let outstanding = self.queue.len() + self.running.len() + self.held_back.len();
        if outstanding >= MAX_OUTSTANDING {
            return Err(Error::new(
                ErrorKind::ResourcesExhausted,
                format!("{MAX_OUTSTANDING} transactions wait for an answer"),
            ));
        }
        let (operations, without_effect) = self.adaptation.operations(&self.schema, operations);
        let may_wait = |operation: &Operation| matches!(operation, Operation::Wait { timeout_ms, .. } if *timeout_ms != Some(0));
        let in_turn = !operations.iter().any(may_wait);
        let mut sent = Sent {
            id,
            name,
            operations,
            encoded: None,
            without_effect,
            in_turn,
        };
        if self.queue.is_empty() {
            // While the one before is under way: then this one can follow at once.
            sent.encode(&self.schema);
        }
        self.queue.push_back(sent);
        self.send_next();
        Ok(())
    }

    /// Sends what need not wait.
    fn send_next(&mut self) {
        while !self.is_busy
            && let Some(mut sent) = self.queue.pop_front()
        {
            self.is_busy = sent.in_turn;
            let request = rpc::shared::TransactRequest {
                database: self.schema.name.to_string(),
                operations: sent.encode(&self.schema).take().unwrap_or_default(),
                name: sent.name.as_bytes().to_vec(),
                locks: self.token.iter().cloned().collect(),
                ..rpc::shared::TransactRequest::default()
            };
            let mut database = self.database.clone();
            self.running.spawn(async move {
                let result = database.transact(request).await;
                let result = result.map(tonic::Response::into_inner);
                Answer { sent, result }
            });
        }
    }

    fn answered(&mut self, Answer { sent, result }: Answer) -> Result<(), Reason> {
        if sent.in_turn {
            self.is_busy = false;
            self.send_next();
        }
        let id = sent.id;
        let result = match result {
            Ok(response) => {
                let outcome =
                    convert::outcome_from_proto(&self.schema, &sent.operations, response.results);
                let outcome = outcome.map_err(|error| {
                    Reason::Lost(format!(
                        "the server sent the results of a transaction: {error}"
                    ))
                })?;
                Ok(woven(sent.without_effect, outcome))
            }
            Err(status) => match status.code() {
                // It was looked at and not tried.
                Code::InvalidArgument
                | Code::NotFound
                | Code::OutOfRange
                | Code::PermissionDenied
                | Code::ResourceExhausted
                | Code::FailedPrecondition
                | Code::Unimplemented => Err(Error::new(error_kind(&status), status.message())),
                _ => return Err(lost(&status)),
            },
        };
        self.change_monitor(Vec::new());
        self.held_back
            .push_back((self.tag, SessionEvent::Reply { id, result }));
        Ok(())
    }
}

fn woven(without_effect: Vec<Option<OpResult>>, outcome: Outcome) -> Outcome {
    match outcome {
        Ok(done) => Ok(Adaptation::weave(without_effect, done)),
        Err(Failure { done, error }) => Err(Failure {
            done: Adaptation::weave(without_effect, done),
            error,
        }),
    }
}

fn error_kind(status: &Status) -> ErrorKind {
    match status.code() {
        Code::NotFound => ErrorKind::UnknownDatabase,
        Code::PermissionDenied => ErrorKind::PermissionError,
        Code::ResourceExhausted => ErrorKind::ResourcesExhausted,
        Code::Unimplemented => ErrorKind::NotSupported,
        // The server has no leader, or the database may not be changed now.
        Code::FailedPrecondition => ErrorKind::NotAllowed,
        _ => ErrorKind::SyntaxError,
    }
}

fn lost(status: &Status) -> Reason {
    if status.message().is_empty() {
        return Reason::Lost(status.code().to_string());
    }
    Reason::Lost(status.message().to_owned())
}

fn closed() -> Reason {
    Reason::Lost("the server ended the call".to_owned())
}
