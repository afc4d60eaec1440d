//! The gRPC service for administrators: `weft.db.v1.Cluster`.

use std::sync::Arc;

use rpc::v1;
use rpc::v1::cluster_server::Cluster;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{backup, caller};
use crate::caller::{Caller, Role as Rights};
use crate::event::{self, Output};
use crate::server::engine::{ConnectError, Engine};
use crate::server::limits::Stopped;
use crate::server::peers::{self, Change, ChangeError};

/// The service.
#[derive(Clone, Debug)]
pub struct ClusterService {
    engine: Arc<Engine>,
    cluster: Arc<peers::Cluster>,
}

impl ClusterService {
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
impl Cluster for ClusterService {
    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let caller = caller(&request)?;
        let status = self.ask(&caller).await?;
        let mut response = peers::describe(&self.engine, &status);
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
