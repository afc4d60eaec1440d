//! What other members send.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rpc::v1;
use rpc::v1::raft_server::{Raft, RaftServer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Local, MAX_FRAME_BYTES, wire};
use crate::event;
use crate::event::Output;
use crate::raft::MemberChange;

/// A connection on which nothing comes is asked so often whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(3);
/// So long a new member waits to be added.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves other members until the process ends.
pub async fn serve(local: Arc<Local>, listener: TcpListener) {
    let service = Service {
        local,
        streams: Arc::default(),
    };
    let service = RaftServer::new(service).max_decoding_message_size(MAX_FRAME_BYTES);
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .tcp_nodelay(true)
        .add_service(service)
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await;
    if let Err(error) = served {
        tracing::error!("other members: {error}");
    }
}

struct Service {
    local: Arc<Local>,
    /// Counts each member's streams: only the newest is listened to.
    streams: Arc<Mutex<HashMap<u64, u64>>>,
}

impl Service {
    fn newest(&self, member: u64, begin: bool) -> u64 {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = streams.entry(member).or_default();
        *newest += u64::from(begin);
        *newest
    }
}

#[tonic::async_trait]
impl Raft for Service {
    async fn stream(
        &self,
        request: Request<Streaming<v1::RaftFrame>>,
    ) -> Result<Response<v1::RaftStreamEnd>, Status> {
        let mut frames = request.into_inner();
        let first = frames.message().await?.and_then(|frame| frame.kind);
        let Some(v1::raft_frame::Kind::Hello(hello)) = first else {
            return Err(Status::invalid_argument("a stream begins with a greeting"));
        };
        let identity = &self.local.identity;
        let member = wire::check_hello(identity, &hello).map_err(refused)?;
        let own = self.newest(member, true);
        while let Some(frame) = frames.message().await? {
            if self.newest(member, false) != own {
                return Err(Status::aborted("a newer stream has taken its place"));
            }
            let message = wire::from_frame(&self.local.schema, frame);
            let message = message.map_err(|error| refused(error.to_string()))?;
            self.local.engine.peer(member, message).await;
        }
        Ok(Response::new(v1::RaftStreamEnd {}))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<v1::SnapshotFrame>>,
    ) -> Result<Response<v1::RaftStreamEnd>, Status> {
        let mut frames = request.into_inner();
        let Some(head) = frames.message().await? else {
            return Err(Status::invalid_argument("a snapshot begins with its head"));
        };
        let begun = wire::Assembly::begin(&self.local.identity, head);
        let (mut assembly, member) = begun.map_err(refused)?;
        tracing::info!("member {member} sends a snapshot");
        while let Some(frame) = frames.message().await? {
            let added = assembly.add(&self.local.schema, frame);
            if added.map_err(|error| refused(error.to_string()))? {
                let snapshot = assembly.finish();
                self.local.engine.snapshot_arrived(snapshot).await;
                return Ok(Response::new(v1::RaftStreamEnd {}));
            }
        }
        Err(Status::data_loss("the snapshot ended before its end"))
    }

    async fn join(
        &self,
        request: Request<v1::JoinRequest>,
    ) -> Result<Response<v1::JoinResponse>, Status> {
        let request = request.into_inner();
        let identity = &self.local.identity;
        if request.database != identity.database {
            return Err(Status::failed_precondition(format!(
                "this is a member for the database {}, not for {}",
                identity.database, request.database
            )));
        }
        let (member, address) = (request.member, request.address);
        let joining = async {
            let session = self.local.engine.connect().await.ok()?;
            let mut session = session;
            let status = event::Request::Status;
            session.request(status).await.ok()?;
            let Output::Status { status, .. } = session.outputs.recv().await? else {
                return None;
            };
            let addresses = status.raft.membership.addresses;
            if addresses.contains(&(member, address.clone())) {
                return Some(Ok(addresses));
            }
            let change = MemberChange::Add { member, address };
            let change = event::Request::ChangeMembers(change);
            session.request(change).await.ok()?;
            match session.outputs.recv().await? {
                Output::Refused { error, .. } => Some(Err(error)),
                _ => Some(Ok(addresses)),
            }
        };
        match tokio::time::timeout(JOIN_TIMEOUT, joining).await {
            Ok(Some(Ok(addresses))) => Ok(Response::new(v1::JoinResponse {
                cluster_id: identity.cluster.as_bytes().to_vec(),
                addresses: wire::addresses_to_wire(&addresses),
            })),
            Ok(Some(Err(error))) => Err(Status::failed_precondition(error.to_string())),
            Ok(None) => Err(Status::unavailable("the server is shutting down")),
            Err(_) => Err(Status::deadline_exceeded(
                "the cluster did not agree in time",
            )),
        }
    }
}

fn refused(reason: String) -> Status {
    tracing::warn!("{reason}");
    Status::permission_denied(reason)
}
