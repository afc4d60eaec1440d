//! The gRPC service: `weft.db.v1`, with health and reflection beside it.
//!
//! Each call is a session of its own: when the client drops the call, or its connection breaks,
//! whatever waits for it in the core goes with the session. A lock lives as long as its call; the
//! token that the call hands out lets transactions rely on it.

mod backup;
mod charge;
mod cluster;
mod turns;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ovsdb::monitor::MonitorSpec;
use ovsdb::operation::{Outcome, outcome_from_json};
use ovsdb::{Error, ErrorKind, Uuid};
use rpc::convert::{self, ConvertError};
use rpc::shared::TableUpdate;
use rpc::v1;
use rpc::v1::cluster_server::ClusterServer;
use rpc::v1::database_server::{Database, DatabaseServer};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::server::NamedService;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

pub use self::cluster::ClusterService;

use self::turns::Turns;
use super::databases::{Databases, Served};
use super::engine::{ConnectError, Engine, Session};
use super::limits::answer_size::is_large;
use super::limits::budget::Budget;
use super::limits::cost::Cost;
use super::limits::{Stopped, log_limit};
use super::net::listen::{Connection, MAX_CONNECTIONS};
use super::net::protocol;
use super::net::tonic_io::TonicIo;
use crate::caller::Caller;
use crate::event::{self, Output};
use crate::monitor::{Update, View};
use crate::session::{Consistency, DatabaseId, MonitorId, RequestId, SessionId};

/// So many calls one connection may have at a time.
const MAX_CALLS_PER_CONNECTION: u32 = 1024;
/// A connection on which nothing comes is asked so often whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// Rows of so many bytes are told in one message; larger updates go out in several. gRPC clients
/// accept messages of 4 MiB if nothing else is said.
const MAX_PART_BYTES: usize = 2 << 20;
/// So many messages of a stream wait for the network.
const QUEUED_MESSAGES: usize = 4;
/// A monitor's call has one monitor.
const MONITOR: MonitorId = MonitorId(1);

/// The most bytes of a call's headers.
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// So many calls may be reset before they were served; a client that goes on is disconnected.
const MAX_RESETS: usize = 64;

/// Starts the services. What is given to the answer is served.
pub fn start(
    engine: Arc<Engine>,
    cluster: ClusterService,
) -> impl Fn(Connection) + Clone + Send + 'static {
    // Each has a place among so many.
    let (connections, incoming) = mpsc::channel(MAX_CONNECTIONS);
    tokio::spawn(async move {
        if let Err(error) = serve(engine, cluster, incoming).await {
            tracing::error!("gRPC: {error}");
        }
    });
    move |connection| {
        tokio::spawn(welcome(connection, connections.clone()));
    }
}

/// Lets those in who speak HTTP/2.
async fn welcome(mut connection: Connection, connections: mpsc::Sender<Connection>) {
    match protocol::expect_http2(connection.io).await {
        Ok(io) => {
            connection.io = io;
            // Nobody takes connections any more when the process ends.
            let _ = connections.send(connection).await;
        }
        Err(error) => log_limit::warn(&connection.peer, &error),
    }
}

async fn serve(
    engine: Arc<Engine>,
    cluster: ClusterService,
    incoming: mpsc::Receiver<Connection>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (health, health_service) = tonic_health::server::health_reporter();
    // Whoever can be asked for the status of the cluster serves it.
    health.set_serving::<ClusterServer<ClusterService>>().await;
    let mut ready = engine.ready.clone();
    let now = *ready.borrow_and_update();
    tell_health(&health, now).await;
    tokio::spawn(async move {
        while ready.changed().await.is_ok() {
            let now = *ready.borrow_and_update();
            tell_health(&health, now).await;
        }
    });
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(rpc::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let requests = engine.requests.clone();
    let service = DatabaseService {
        engine,
        locks: Arc::default(),
    };
    let incoming = ReceiverStream::new(incoming);
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .max_concurrent_streams(MAX_CALLS_PER_CONNECTION)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS))
        .layer(charge::Layer)
        .add_service(DatabaseServer::new(service).max_decoding_message_size(rpc::MAX_MESSAGE_BYTES))
        .add_service(ClusterServer::new(cluster))
        .add_service(health_service)
        .add_service(reflection)
        .serve_with_incoming(incoming.map(move |connection| {
            let guest = Guest {
                caller: connection.caller.clone(),
                requests: Budget::of_connection(&requests),
                turns: Turns::new(),
            };
            Ok::<_, std::io::Error>(TonicIo::new(connection, guest))
        }))
        .await?;
    Ok(())
}

/// Says of the database, and of the server as a whole, whether it can serve: whether a leader is
/// known, which it is not for long without a majority.
async fn tell_health(health: &HealthReporter, ready: bool) {
    let status = match ready {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    };
    let database = <DatabaseServer<DatabaseService> as NamedService>::NAME;
    health.set_service_status(database, status).await;
    health.set_service_status("", status).await;
}

/// Who calls. Each call finds it among its extensions.
#[derive(Clone, Debug)]
pub struct Guest {
    caller: Caller,
    requests: Arc<Budget>,
    turns: Turns,
}

/// The services.
#[derive(Clone, Debug)]
struct DatabaseService {
    engine: Arc<Engine>,
    /// The sessions that hold or want locks, by the tokens of their calls.
    locks: Arc<Mutex<HashMap<Uuid, SessionId>>>,
}

impl DatabaseService {
    async fn connect(&self, caller: Caller) -> Result<Session, Status> {
        self.engine
            .connect(caller)
            .await
            .map_err(|error| match error {
                ConnectError::Stopped(error) => stopped(error),
                ConnectError::TooMany => Status::resource_exhausted(error.to_string()),
            })
    }

    /// Asks the core one thing in a session of its own.
    async fn ask(&self, caller: Caller, request: event::Request) -> Result<Output, Status> {
        let mut session = self.connect(caller).await?;
        session.request(request).await.map_err(stopped)?;
        match session.outputs.recv().await {
            Some(Output::Refused { error, .. }) => Err(refused(&error)),
            Some(output) => Ok(output),
            None => Err(ended(&session)),
        }
    }

    fn locks(&self) -> MutexGuard<'_, HashMap<Uuid, SessionId>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_holders(&self, tokens: &[v1::LockToken]) -> Result<Vec<SessionId>, Status> {
        let locks = self.locks();
        let holder = |token: &v1::LockToken| {
            let token = convert::uuid_from_bytes("locks.token", &token.token)?;
            Ok(locks.get(&token).copied())
        };
        // A token of a call that has ended is no error: `assert` will say that the lock is lost.
        let holders = tokens.iter().filter_map(|token| holder(token).transpose());
        holders
            .collect::<Result<_, _>>()
            .map_err(|error| invalid(&error))
    }
}

#[tonic::async_trait]
impl Database for DatabaseService {
    async fn get_schema(
        &self,
        request: Request<v1::GetSchemaRequest>,
    ) -> Result<Response<v1::GetSchemaResponse>, Status> {
        let served = find(&self.engine.databases, &request.get_ref().database)?;
        let schema_json = String::from_utf8_lossy(&served.schema_json).into_owned();
        Ok(Response::new(v1::GetSchemaResponse { schema_json }))
    }

    async fn transact(
        &self,
        request: Request<rpc::shared::TransactRequest>,
    ) -> Result<Response<v1::TransactResponse>, Status> {
        let Guest { caller, turns, .. } = guest(&request)?.clone();
        let charge = charge::of_request(&request)?;
        let large = charge.as_ref().is_some_and(|charge| !charge.is_free());
        let request = request.into_inner();
        let served = find(&self.engine.databases, &request.database)?;
        let name = optional_uuid("name", &request.name)?;
        let consistency = match v1::Consistency::try_from(request.consistency) {
            Ok(v1::Consistency::Linearizable) => Consistency::Linearizable,
            Ok(v1::Consistency::Local) => Consistency::Local,
            Err(_) => return Err(Status::invalid_argument("consistency: not known")),
        };
        let (database, schema) = (served.id, served.schema.clone());
        let (operations, lock_holders) = (request.operations, self.lock_holders(&request.locks)?);
        let read = move || {
            let transaction =
                convert::transaction_from_proto(&schema, operations, &mut Uuid::new_v4);
            // Only the answer to a repeated transaction is read with the operations beside it.
            let repeatable = name.map(|_| transaction.operations.clone());
            let request = event::Request::Transact {
                database,
                transaction,
                name,
                lock_holders,
                consistency,
            };
            (Cost::of(&request), request, repeatable)
        };
        let workers = &self.engine.workers;
        let (cost, request, repeatable) = workers.run_if(large, read).await.map_err(stopped)?;
        let turn = turns.take(cost, consistency).await;
        let output = self.ask(caller, request).await?;
        drop(turn);
        let large = is_large(&output);
        let response = match output {
            Output::Transacted {
                asked,
                outcome,
                state,
                ..
            } => {
                let write = move || convert::outcome_to_proto(asked, &outcome);
                v1::TransactResponse {
                    results: workers.run_if(large, write).await.map_err(stopped)?,
                    transaction_id: state.map(bytes).unwrap_or_default(),
                }
            }
            Output::Repeated { results, state, .. } => {
                let results: Value = serde_json::from_slice(&results).unwrap_or_default();
                let operations = repeatable.unwrap_or_default();
                let outcome: Outcome = outcome_from_json(&served.schema, &operations, &results)
                    .map_err(|_| {
                        Status::invalid_argument("name: another transaction had this name")
                    })?;
                v1::TransactResponse {
                    results: convert::outcome_to_proto(operations.len(), &outcome),
                    transaction_id: bytes(state),
                }
            }
            _ => return Err(Status::internal("an answer to another question")),
        };
        drop(charge);
        Ok(Response::new(response))
    }

    type MonitorStream = ReceiverStream<Result<v1::MonitorResponse, Status>>;

    async fn monitor(
        &self,
        request: Request<Streaming<v1::MonitorRequest>>,
    ) -> Result<Response<Self::MonitorStream>, Status> {
        let Guest { caller, turns, .. } = guest(&request)?.clone();
        let mut requests = request.into_inner();
        let Some(v1::MonitorRequest {
            kind: Some(v1::monitor_request::Kind::Open(open)),
        }) = requests.message().await?
        else {
            return Err(Status::invalid_argument(
                "the first request should be `open`",
            ));
        };
        let served = find(&self.engine.databases, &open.database)?;
        let spec = convert::monitor_from_proto(&served.schema, open.tables);
        let spec = spec.map_err(|error| refused(&error))?;
        let since = optional_uuid("since", &open.since)?;
        let turn = turns.take(Cost::Read, Consistency::Linearizable).await;
        let mut session = self.connect(caller).await?;
        let body = event::Request::Monitor {
            database: served.id,
            monitor: MONITOR,
            view: View::from(spec.clone()),
            since,
        };
        session.request(body).await.map_err(stopped)?;
        let (responses, stream) = mpsc::channel(QUEUED_MESSAGES);
        let watch = Watch {
            session,
            engine: self.engine.clone(),
            turn,
            database: served.id,
            spec,
            differences: open.differences,
            tags: HashMap::new(),
            tag: 0,
            state: Uuid::nil(),
            responses,
        };
        tokio::spawn(watch.run(requests));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    type LockStream = ReceiverStream<Result<v1::LockResponse, Status>>;

    async fn lock(
        &self,
        request: Request<v1::LockRequest>,
    ) -> Result<Response<Self::LockStream>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        find(&self.engine.databases, &request.database)?;
        let mut session = self.connect(caller).await?;
        let name = request.name;
        let body = event::Request::Lock {
            name: name.as_str().into(),
            steal: request.steal,
        };
        session.request(body).await.map_err(stopped)?;
        let token = Uuid::new_v4();
        self.locks().insert(token, session.id);
        let (responses, stream) = mpsc::channel(QUEUED_MESSAGES);
        let service = self.clone();
        tokio::spawn(async move {
            loop {
                let output = tokio::select! {
                    output = session.outputs.recv() => output,
                    () = responses.closed() => break,
                };
                let response = match output {
                    Some(Output::Lock { owned, .. } | Output::LockChanged { owned, .. }) => {
                        Ok(v1::LockResponse {
                            owned,
                            token: owned.then(|| v1::LockToken {
                                name: name.clone(),
                                token: bytes(token),
                            }),
                        })
                    }
                    Some(Output::Refused { error, .. }) => Err(refused(&error)),
                    Some(_) => continue,
                    None => Err(ended(&session)),
                };
                let last = response.is_err();
                if responses.send(response).await.is_err() || last {
                    break;
                }
            }
            service.locks().remove(&token);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// A monitor's call.
struct Watch {
    session: Session,
    engine: Arc<Engine>,
    /// Until it has begun.
    turn: Option<OwnedSemaphorePermit>,
    database: DatabaseId,
    spec: MonitorSpec,
    /// Whether the client wants differences of columns.
    differences: bool,
    /// The tags of condition changes that the core has not taken up yet.
    tags: HashMap<RequestId, u64>,
    /// The tag of the last one that it has.
    tag: u64,
    /// The state that the client has.
    state: Uuid,
    responses: mpsc::Sender<Result<v1::MonitorResponse, Status>>,
}

impl Watch {
    async fn run(mut self, mut requests: Streaming<v1::MonitorRequest>) {
        let mut more_requests = true;
        let end = loop {
            let step = tokio::select! {
                output = self.session.outputs.recv() => self.output(output).await,
                request = requests.message(), if more_requests => match request {
                    Ok(Some(request)) => self.change(request).await,
                    // The client has no more changes to make, and goes on listening.
                    Ok(None) => {
                        more_requests = false;
                        Ok(())
                    }
                    Err(status) => Err(status),
                },
                () = self.responses.closed() => return,
            };
            if let Err(status) = step {
                break status;
            }
        };
        // The client may have gone already.
        let _ = self.responses.send(Err(end)).await;
    }

    async fn change(&mut self, request: v1::MonitorRequest) -> Result<(), Status> {
        let Some(v1::monitor_request::Kind::Change(change)) = request.kind else {
            return Err(Status::invalid_argument(
                "a request after the first should be `change`",
            ));
        };
        let schema = &self.engine.databases.get(self.database).schema;
        let conditions = convert::conditions_from_proto(schema, &self.spec, change.tables);
        let body = event::Request::ChangeConditions {
            monitor: MONITOR,
            conditions: conditions.map_err(|error| refused(&error))?,
        };
        let request = self.session.request(body).await.map_err(stopped)?;
        self.tags.insert(request, change.tag);
        Ok(())
    }

    async fn output(&mut self, output: Option<Output>) -> Result<(), Status> {
        let large = output.as_ref().is_some_and(is_large);
        match output {
            None => Err(ended(&self.session)),
            Some(Output::Refused { error, .. }) => Err(refused(&error)),
            Some(Output::MonitorStarted {
                resumed,
                state,
                update,
                ..
            }) => {
                self.turn = None;
                self.send(!resumed, state, update, large).await
            }
            Some(Output::Updated { state, update, .. }) => {
                self.send(false, state, update, large).await?;
                self.session.written().await.map_err(stopped)
            }
            Some(Output::ConditionsChange { request }) => {
                self.tag = self.tags.remove(&request).unwrap_or(self.tag);
                Ok(())
            }
            // The end of a change of conditions: said even if no row came or went.
            Some(Output::Done { .. }) => self.send_response(v1::MonitorResponse::default()).await,
            Some(_) => Ok(()),
        }
    }

    async fn send(
        &mut self,
        reset: bool,
        state: Uuid,
        update: Arc<Update>,
        large: bool,
    ) -> Result<(), Status> {
        let schema = self.engine.databases.get(self.database).schema.clone();
        let differences = self.differences;
        let write = move || messages(&schema, &update, differences);
        let written = self.engine.workers.run_if(large, write).await;
        let mut messages = written.map_err(stopped)?;
        let last = messages.len() - 1;
        for (index, message) in messages.iter_mut().enumerate() {
            message.reset = reset && index == 0;
            message.more = index < last;
        }
        self.state = state;
        for message in messages {
            self.send_response(message).await?;
        }
        Ok(())
    }

    async fn send_response(&self, mut response: v1::MonitorResponse) -> Result<(), Status> {
        response.tag = self.tag;
        if !response.more {
            response.transaction_id = bytes(self.state);
        }
        let sent = self.responses.send(Ok(response)).await;
        sent.map_err(|_| Status::cancelled("the client went"))
    }
}

/// An update as messages of bounded size, at least one.
fn messages(
    schema: &ovsdb::schema::DatabaseSchema,
    update: &Update,
    differences: bool,
) -> Vec<v1::MonitorResponse> {
    let mut messages = vec![v1::MonitorResponse::default()];
    let mut size = 0;
    for (view, fragments) in &update.tables {
        let table = &schema.tables[view.table];
        let mut begun = false;
        for fragment in fragments {
            let row = fragment.to_message(table, view, differences);
            let row_size = row.len();
            if size > 0 && size + row_size > MAX_PART_BYTES {
                messages.push(v1::MonitorResponse::default());
                (size, begun) = (0, false);
            }
            size += row_size;
            let message = messages.last_mut().expect("it starts with one");
            if !begun {
                begun = true;
                message.tables.push(TableUpdate {
                    table: table.name.to_string(),
                    rows: Vec::new(),
                });
            }
            let part = message.tables.last_mut().expect("begun above");
            part.rows.push(row.clone());
        }
    }
    messages
}

fn find<'a>(databases: &'a Databases, name: &str) -> Result<&'a Served, Status> {
    databases.find(name).ok_or_else(|| {
        let names = databases.names().join(" and ");
        Status::not_found(format!("database: no {name:?} here; there are {names}"))
    })
}

/// Who makes a call: whoever its connection is.
pub fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    Ok(guest(request)?.caller.clone())
}

fn guest<T>(request: &Request<T>) -> Result<&Guest, Status> {
    let guest = request.extensions().get::<Guest>();
    guest.ok_or_else(|| Status::unauthenticated("a call without a connection"))
}

/// 16 bytes, or none for nothing.
fn optional_uuid(field: &str, bytes: &[u8]) -> Result<Option<Uuid>, Status> {
    let uuid = convert::optional_uuid_from_bytes(field, bytes).map_err(|error| invalid(&error))?;
    Ok(Some(uuid).filter(|uuid| !uuid.is_nil()))
}

fn bytes(uuid: Uuid) -> Vec<u8> {
    uuid.as_bytes().to_vec()
}

fn invalid(error: &ConvertError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn stopped(stopped: Stopped) -> Status {
    Status::unavailable(stopped.to_string())
}

/// Why there is no more from the core.
fn ended(session: &Session) -> Status {
    if session.outputs.is_cut_off() {
        return Status::resource_exhausted("the client does not read what it asked for");
    }
    stopped(Stopped)
}

fn refused(error: &Error) -> Status {
    let text = error.to_string();
    match error.kind {
        ErrorKind::PermissionError => Status::permission_denied(text),
        ErrorKind::NotAllowed => Status::failed_precondition(text),
        ErrorKind::ResourcesExhausted => Status::resource_exhausted(text),
        // It may have been done, or was.
        ErrorKind::IoError => Status::unknown(text),
        _ => Status::invalid_argument(text),
    }
}
