//! The gRPC door for administrators: `weft.db.v1.Cluster`.

use std::sync::Arc;

use rpc::v1;
use rpc::v1::cluster_server::Cluster;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::backup;
use super::engine::{ConnectError, Engine, Stopped};
use super::grpc::caller;
use super::peers::{self, Change, ChangeError};
use crate::access::{Caller, Role as Rights};
use crate::event::{self, Output};
use crate::raft::Role;

/// The service.
#[derive(Clone, Debug)]
pub struct Office {
    engine: Arc<Engine>,
    cluster: Arc<peers::Cluster>,
}

impl Office {
    /// For the member that the engine runs.
    pub fn new(engine: Arc<Engine>, cluster: Arc<peers::Cluster>) -> Self {
        Self { engine, cluster }
    }

    /// The status, if the caller may know it.
    async fn ask(&self, caller: &Caller) -> Result<event::Status, Status> {
        let mut session = self
            .engine
            .connect(caller.clone())
            .await
            .map_err(turned_away)?;
        let request = event::Request::Status;
        session.request(request).await.map_err(stopped)?;
        match session.outputs.recv().await {
            Some(Output::Status { status, .. }) => Ok(*status),
            Some(Output::Refused { error, .. }) => {
                Err(Status::permission_denied(error.to_string()))
            }
            _ => Err(stopped(Stopped)),
        }
    }

    async fn change(&self, change: Change) -> Result<(), Status> {
        let changed = self.cluster.change(&change).await;
        changed.map_err(|error| refused(&error))
    }
}

#[tonic::async_trait]
impl Cluster for Office {
    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let caller = caller(&request)?;
        let status = self.ask(&caller).await?;
        let mut response = describe(&self.engine, &status);
        if request.into_inner().all_members && caller.role == Rights::Admin {
            response.others = self.cluster.survey(&status).await;
        }
        Ok(Response::new(response))
    }

    async fn add_member(
        &self,
        request: Request<v1::AddMemberRequest>,
    ) -> Result<Response<v1::AddMemberResponse>, Status> {
        administrator(&request)?;
        let v1::AddMemberRequest { member, address } = request.into_inner();
        let server = None;
        let change = Change::Add {
            member,
            address,
            server,
        };
        self.change(change).await?;
        Ok(Response::new(v1::AddMemberResponse {}))
    }

    async fn remove_member(
        &self,
        request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::RemoveMemberResponse>, Status> {
        administrator(&request)?;
        let member = request.into_inner().member;
        let status = self.engine.status().await.map_err(stopped)?;
        if status.raft.membership.voters == [member] {
            return Err(Status::failed_precondition(format!(
                "member {member} is the last one that votes, and the database goes with it; add \
                 another member first, or stop the server to end the cluster"
            )));
        }
        self.change(Change::Remove { member }).await?;
        Ok(Response::new(v1::RemoveMemberResponse {}))
    }

    async fn transfer_leadership(
        &self,
        request: Request<v1::TransferLeadershipRequest>,
    ) -> Result<Response<v1::TransferLeadershipResponse>, Status> {
        administrator(&request)?;
        let to = Some(request.into_inner().member).filter(|member| *member != 0);
        self.change(Change::Transfer { to }).await?;
        Ok(Response::new(v1::TransferLeadershipResponse {}))
    }

    type BackupStream = ReceiverStream<Result<v1::BackupResponse, Status>>;

    async fn backup(
        &self,
        request: Request<v1::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        administrator(&request)?;
        let parts = backup::start(&self.engine).await.map_err(turned_away)?;
        Ok(Response::new(ReceiverStream::new(parts)))
    }
}

/// Refuses whoever is not to administer the cluster.
fn administrator<T>(request: &Request<T>) -> Result<(), Status> {
    match caller(request)?.role {
        Rights::Admin => Ok(()),
        role => Err(Status::permission_denied(format!(
            "administering the cluster takes the role admin, and yours is {}",
            role.name()
        ))),
    }
}

/// What a member says of itself.
pub fn describe(engine: &Engine, status: &event::Status) -> v1::StatusResponse {
    let raft = &status.raft;
    let role = match raft.role {
        Role::Leader => v1::Role::Leader,
        Role::Follower => v1::Role::Follower,
        Role::Candidate => v1::Role::Candidate,
    };
    let membership = &raft.membership;
    let member = |member: u64, votes: bool| {
        let peer = raft.peers.iter().find(|(peer, ..)| *peer == member);
        let leads = raft.role == Role::Leader && member == raft.member;
        let own = leads.then_some((raft.last, true));
        let known = peer.map(|(_, matched, active)| (*matched, *active)).or(own);
        v1::Member {
            member,
            address: membership.address(member).unwrap_or_default().to_owned(),
            server_id: membership.server(member).map(bytes).unwrap_or_default(),
            votes,
            matched_index: known.map(|(matched, _)| matched),
            active: known.map(|(_, active)| active),
        }
    };
    let voters = membership.voters.iter().map(|voter| member(*voter, true));
    let learners = membership
        .learners
        .iter()
        .map(|learner| member(*learner, false));
    v1::StatusResponse {
        database: status.identity.database.clone(),
        cluster_id: bytes(status.identity.cluster),
        server_id: bytes(status.identity.server),
        member: raft.member,
        role: role.into(),
        term: raft.term,
        leader: raft.leader,
        commit_index: raft.commit,
        applied_index: raft.applied,
        first_index: raft.first,
        last_index: raft.last,
        voters: membership.voters.clone(),
        learners: membership.learners.clone(),
        members: voters.chain(learners).collect(),
        rows: status.rows.iter().map(|(_, rows)| *rows as u64).sum(),
        file_bytes: engine.file_bytes().unwrap_or_default(),
        sessions: status.sessions as u64,
        monitors: status.monitors as u64,
        pending: status.pending as u64,
        blocked: status.blocked as u64,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        others: Vec::new(),
    }
}

fn bytes(uuid: ovsdb::Uuid) -> Vec<u8> {
    uuid.as_bytes().to_vec()
}

fn stopped(stopped: Stopped) -> Status {
    Status::unavailable(stopped.to_string())
}

fn turned_away(error: ConnectError) -> Status {
    match error {
        ConnectError::Stopped(error) => stopped(error),
        ConnectError::TooMany => Status::resource_exhausted(error.to_string()),
    }
}

fn refused(error: &ChangeError) -> Status {
    let text = error.to_string();
    match error {
        ChangeError::Refused(_) => Status::failed_precondition(text),
        ChangeError::Unknown(_) => Status::deadline_exceeded(text),
        ChangeError::NotLeader { .. } | ChangeError::Busy(_) | ChangeError::Stopped => {
            Status::unavailable(text)
        }
    }
}
