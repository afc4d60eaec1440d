//! What other members send.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rpc::v1;
use rpc::v1::change_request::Change as Wanted;
use rpc::v1::raft_server::{Raft, RaftServer};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::cluster::{Change, ChangeError, Cluster};
use super::describe::describe;
use super::hello::{self, Refusal};
use super::transport::{CONNECTION_WINDOW, SILENCE, STREAM_WINDOW};
use super::{Bootstrap, Complaints, Local, MAX_FRAME_BYTES, Transport, wire};
use crate::peer::Purpose;
use crate::sender::Sender;
use crate::server::limits::log_limit;
use crate::server::net::listen::{Connection, Listener};
use crate::server::net::tonic_io::TonicIo;
use crate::storage::Membership;

/// So many connections of members, and of those who would like to be, are open at a time.
const MAX_CONNECTIONS: usize = 64;
/// So many calls one connection may have at a time.
const MAX_CALLS: u32 = 64;
/// So often it is logged how much of a snapshot has arrived.
const PROGRESS: Duration = Duration::from_secs(5);

/// Serves other members until the process ends.
pub async fn serve(service: Service, transport: Arc<Transport>, listener: Listener) {
    let (connections, incoming) = mpsc::channel(MAX_CONNECTIONS);
    let incoming = ReceiverStream::new(incoming);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let door = move |connection: Connection| {
        if let Err(reason) = transport.check(&connection.subject) {
            log_limit::warn(&connection.peer, &format!("refused as a member: {reason}"));
            return;
        }
        // Each has a place among so many; and nobody takes them any more when the process ends.
        drop(connections.try_send(connection));
    };
    tokio::spawn(listener.accept(places, door));
    let service = RaftServer::new(service).max_decoding_message_size(MAX_FRAME_BYTES);
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(SILENCE))
        .http2_keepalive_timeout(Some(SILENCE))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_CALLS)
        .add_service(service)
        .serve_with_incoming(
            incoming.map(|connection| Ok::<_, std::io::Error>(TonicIo::new(connection, ()))),
        )
        .await;
    if let Err(error) = served {
        tracing::error!("other members: {error}");
    }
}

/// The service: at first of an initial member, if the cluster is new, and then of a member.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// The bootstrap, if this member took part in one.
    pub bootstrap: Option<Arc<Bootstrap>>,
    /// The member, as soon as it runs.
    pub running: Arc<OnceLock<(Arc<Local>, Arc<Cluster>)>>,
    /// Counts each member's streams: only the newest is listened to.
    streams: Arc<Mutex<HashMap<(u64, Purpose), u64>>>,
    complaints: Arc<Complaints>,
}

impl Service {
    fn running(&self) -> Result<&(Arc<Local>, Arc<Cluster>), Status> {
        let text = "this member is about to start, and does not know the others yet";
        self.running.get().ok_or_else(|| Status::unavailable(text))
    }

    fn local(&self) -> Result<&Arc<Local>, Status> {
        self.running().map(|(local, _)| local)
    }

    fn begin_stream(&self, member: (u64, Purpose)) -> u64 {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = streams.entry(member).or_default();
        *newest += 1;
        *newest
    }

    fn is_newest(&self, member: (u64, Purpose), number: u64) -> bool {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.get(&member) == Some(&number)
    }

    fn admit(&self, local: &Local, hello: &v1::RaftHello) -> Result<Sender, Status> {
        let admitted = hello::admit(&local.identity, &local.members(), hello);
        admitted.map_err(|refusal| self.refused(hello.from, &refusal))
    }

    /// Tells who is refused, and the log, but the log once.
    fn refused(&self, from: u64, refusal: &Refusal) -> Status {
        let text = refusal.to_string();
        if self.complaints.is_news(&from.to_string(), &text) {
            tracing::warn!("refused somebody who speaks as member {from}: {text}");
        }
        Status::permission_denied(format!("refused: {text}"))
    }

    /// Reads a stream, and says why it ended.
    async fn read(
        &self,
        local: &Local,
        (hello, sender, purpose): (&v1::RaftHello, Sender, Purpose),
        members: &mut watch::Receiver<Membership>,
        frames: &mut Streaming<v1::RaftFrame>,
    ) -> Result<(), Status> {
        let member = sender.member;
        let number = self.begin_stream((member, purpose));
        loop {
            let frame = tokio::select! {
                biased;
                Ok(()) = members.changed() => {
                    // It may have been removed; if so, it is told, for it may have nothing to say.
                    self.admit(local, hello)?;
                    continue;
                }
                frame = frames.message() => frame,
            };
            if !self.is_newest((member, purpose), number) {
                return Err(Status::aborted("a newer stream has taken its place"));
            }
            let Ok(Some(frame)) = frame else {
                if purpose == Purpose::Raft {
                    local.engine.gone(member).await;
                }
                return frame.map(drop);
            };
            let message = match wire::is_large(&frame) {
                // Nothing else of this process should wait for that, heartbeats least of all.
                true => tokio::task::block_in_place(|| wire::from_frame(&local.schema, frame)),
                false => wire::from_frame(&local.schema, frame),
            };
            let message = message.map_err(|error| {
                tracing::warn!("member {member}: {error}");
                Status::invalid_argument(error.to_string())
            })?;
            // Members of an earlier version have one stream for both.
            if purpose == Purpose::Forwards && message.purpose() != purpose {
                let text = "this stream is for forwards, and the message is not one";
                return Err(Status::invalid_argument(text));
            }
            local.engine.peer(sender, message).await;
        }
    }

    /// Admits a stream, and lets it be read until it ends.
    async fn begin(
        &self,
        request: Request<Streaming<v1::RaftFrame>>,
        purpose: Purpose,
    ) -> Result<Response<StreamEnd>, Status> {
        let mut frames = request.into_inner();
        let local = self.local()?.clone();
        let first = frames.message().await?.and_then(|frame| frame.kind);
        let Some(v1::raft_frame::Kind::Hello(hello)) = first else {
            return Err(Status::invalid_argument("a stream begins with a greeting"));
        };
        let mut members = local.members.subscribe();
        let sender = self.admit(&local, &hello)?;
        self.complaints.settle(&sender.member.to_string());
        local.wake(sender.member);
        let (end, answer) = mpsc::channel(1);
        let service = self.clone();
        tokio::spawn(async move {
            if let Err(status) = service
                .read(&local, (&hello, sender, purpose), &mut members, &mut frames)
                .await
            {
                // The connection may be gone.
                let _ = end.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(answer)))
    }
}

/// The answer to a stream: nothing, and then why it ended.
type StreamEnd = ReceiverStream<Result<v1::RaftStreamEnd, Status>>;

#[tonic::async_trait]
impl Raft for Service {
    type StreamStream = StreamEnd;

    async fn stream(
        &self,
        request: Request<Streaming<v1::RaftFrame>>,
    ) -> Result<Response<StreamEnd>, Status> {
        self.begin(request, Purpose::Raft).await
    }

    type ForwardsStream = StreamEnd;

    async fn forwards(
        &self,
        request: Request<Streaming<v1::RaftFrame>>,
    ) -> Result<Response<StreamEnd>, Status> {
        self.begin(request, Purpose::Forwards).await
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<v1::SnapshotFrame>>,
    ) -> Result<Response<v1::RaftStreamEnd>, Status> {
        let mut frames = request.into_inner();
        let local = self.local()?;
        let wrong = |error: wire::FrameError| Status::invalid_argument(error.to_string());
        let first = frames.message().await?.and_then(|frame| frame.kind);
        let Some(v1::snapshot_frame::Kind::Head(head)) = first else {
            return Err(Status::invalid_argument("a snapshot begins with its head"));
        };
        let hello = head.hello.clone().unwrap_or_default();
        let member = self.admit(local, &hello)?.member;
        let mut assembly = wire::Assembly::begin(head, member).map_err(wrong)?;
        tracing::info!("member {member} sends the whole database");
        let mut told = Instant::now();
        while let Some(frame) = frames.message().await? {
            if assembly.add(&local.schema, frame).map_err(wrong)? {
                let snapshot = assembly.finish();
                local.engine.snapshot_arrived(snapshot).await;
                return Ok(Response::new(v1::RaftStreamEnd {}));
            }
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                tracing::info!("member {member} has sent {} rows so far", assembly.rows());
            }
        }
        Err(Status::data_loss("the snapshot ended before its end"))
    }

    async fn greet(
        &self,
        request: Request<v1::GreetRequest>,
    ) -> Result<Response<v1::GreetResponse>, Status> {
        let hello = request.into_inner().hello.unwrap_or_default();
        let server = match (self.running.get(), &self.bootstrap) {
            (Some((local, _)), _) => {
                let identity = &local.identity;
                greet_member(identity.member, &local.members(), &hello)
                    .map(|()| identity.server)
                    .map_err(|refusal| self.refused(hello.from, &refusal))?
            }
            (None, Some(bootstrap)) => bootstrap.greeted(&hello)?,
            (None, None) => return Err(Status::unavailable("this member is about to start")),
        };
        Ok(Response::new(v1::GreetResponse {
            server_id: wire::bytes_of(server),
        }))
    }

    async fn status(
        &self,
        _request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let local = self.local()?;
        let status = local.engine.status().await;
        let status = status.map_err(|stopped| Status::unavailable(stopped.to_string()))?;
        Ok(Response::new(describe(&local.engine, &status)))
    }

    async fn change(
        &self,
        request: Request<v1::ChangeRequest>,
    ) -> Result<Response<v1::ChangeResponse>, Status> {
        let request = request.into_inner();
        let (local, cluster) = self.running()?;
        let identity = &local.identity;
        let hello = request.hello.clone().unwrap_or_default();
        if request.passed_on {
            // It is for a leader, and nobody knows of newer members than it.
            let strictly = v1::RaftHello {
                members_since: 0,
                ..hello
            };
            self.admit(local, &strictly)?;
        } else {
            check_joining(&hello, request.change.as_ref())
                .map_err(|refusal| self.refused(hello.from, &refusal))?;
        }
        if request.database != identity.database {
            return Err(Status::failed_precondition(format!(
                "this is a member for the database {}, not for {}",
                identity.database, request.database
            )));
        }
        if !request.cluster_id.is_empty() && request.cluster_id != identity.cluster.as_bytes() {
            return Err(Status::failed_precondition(format!(
                "this is a member of cluster {}, and you belong to another one",
                identity.cluster
            )));
        }
        if let Some(wanted) = request.change {
            let change = change_from_wire(wanted);
            let change = change.map_err(|error| Status::invalid_argument(error.to_string()))?;
            let changed = match request.passed_on {
                true => cluster.change_here(&change).await,
                false => cluster.change(&change).await,
            };
            changed.map_err(|error| match error {
                ChangeError::Refused(_) => Status::failed_precondition(error.to_string()),
                // Nothing was done.
                ChangeError::NotLeader { .. } | ChangeError::Busy(_) => {
                    Status::aborted(error.to_string())
                }
                error => Status::unavailable(error.to_string()),
            })?;
        }
        let status = local.engine.status().await;
        let status = status.map_err(|stopped| Status::unavailable(stopped.to_string()))?;
        Ok(Response::new(v1::ChangeResponse {
            cluster_id: wire::bytes_of(identity.cluster),
            members: wire::members_to_wire(&status.raft.membership),
        }))
    }
}

/// An initial member greets somebody who is a member already: it must be the one that the members know.
fn greet_member(own: u64, members: &Membership, hello: &v1::RaftHello) -> Result<(), Refusal> {
    let (from, server) = hello::sender(own, hello)?;
    match members.server(from) {
        Some(known) if known == server => Ok(()),
        Some(known) => Err(Refusal::OtherServer {
            from,
            known,
            server,
        }),
        None => Err(Refusal::NoMember { from }),
    }
}

/// Somebody who is no member yet may ask who the members are, and to become one, as the server that it is.
fn check_joining(hello: &v1::RaftHello, wanted: Option<&Wanted>) -> Result<(), Refusal> {
    let from = hello.from;
    if from == 0 || hello.server_id.len() != 16 {
        return Err(Refusal::Malformed);
    }
    match wanted {
        None => Ok(()),
        Some(Wanted::Add(of)) if of.member == from && of.server_id == hello.server_id => Ok(()),
        Some(_) => Err(Refusal::NotItself { from }),
    }
}

fn change_from_wire(wanted: Wanted) -> Result<Change, wire::FrameError> {
    Ok(match wanted {
        Wanted::Add(of) => Change::Add {
            member: of.member,
            server: wire::server_from_wire(&of.server_id)?,
            address: of.address,
        },
        Wanted::Remove(member) => Change::Remove { member },
        Wanted::Move(of) => Change::Move {
            member: of.member,
            server: wire::server_from_wire(&of.server_id)?
                .ok_or(wire::FrameError::Field("server_id"))?,
            address: of.address,
        },
        Wanted::Transfer(to) => Change::Transfer {
            to: Some(to).filter(|to| *to != 0),
        },
    })
}
