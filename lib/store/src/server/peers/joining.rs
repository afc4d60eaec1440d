//! The first start of a member that joins a cluster.
//!
//! It asks a member for the cluster's identity, writes down who it is, and only then asks to be
//! added, as that server: asked twice, it is added once. It learns from the leader then, and votes
//! when it has caught up.

use std::time::Duration;

use ovsdb::Uuid;
use rpc::v1;
use rpc::v1::change_request::Change as Wanted;
use tokio::time::Instant;

use super::cluster::{ChangeError, ask};
use super::config::{ClusterError, Config};
use super::{Complaints, Transport, wire};
use crate::storage::{Identity, Membership, Storage};

/// A new member goes round those that it knows for so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(500);

/// Makes the storage that of a member which was added to the cluster of [`Config::join`].
pub async fn join(
    config: &Config,
    transport: &Transport,
    storage: &mut dyn Storage,
    database: &str,
) -> Result<(), ClusterError> {
    let address = config.reached()?;
    let joining = Joining {
        transport,
        end: Instant::now() + PATIENCE,
        complaints: Complaints::default(),
    };
    let mut places: Vec<String> = config.join.iter().map(ToString::to_string).collect();
    let state = storage.load()?;
    let server = state.as_ref().map(|state| state.identity.server);
    let server = server.unwrap_or_else(Uuid::new_v4);
    let hello = v1::RaftHello {
        from: config.member,
        server_id: wire::bytes_of(server),
        ..v1::RaftHello::default()
    };
    let mut request = v1::ChangeRequest {
        database: database.to_owned(),
        hello: Some(hello),
        ..v1::ChangeRequest::default()
    };
    let identity = match state {
        Some(state) => {
            let known = state.membership.addresses.into_iter();
            places.extend(known.map(|(_, address)| address));
            state.identity
        }
        None => {
            let (cluster, members) = joining.ask(&places, &request).await?;
            let identity = Identity {
                database: database.to_owned(),
                cluster,
                server,
                member: config.member,
            };
            storage.create(&identity, &members)?;
            places.extend(members.addresses.into_iter().map(|(_, address)| address));
            identity
        }
    };
    request.cluster_id = wire::bytes_of(identity.cluster);
    request.change = Some(Wanted::Add(v1::MemberAddress {
        member: identity.member,
        address,
        server_id: wire::bytes_of(identity.server),
    }));
    places.dedup();
    let (_, members) = joining.ask(&places, &request).await?;
    storage.create(&identity, &members)?;
    tracing::info!(
        "joined cluster {} as member {}; its leader sends the database now, and lets this member \
         vote when it has caught up",
        identity.cluster,
        identity.member
    );
    Ok(())
}

struct Joining<'a> {
    transport: &'a Transport,
    end: Instant,
    complaints: Complaints,
}

impl Joining<'_> {
    /// Asks one member after the other until one agrees or refuses: which cluster it is, and who
    /// the members are.
    async fn ask(
        &self,
        places: &[String],
        request: &v1::ChangeRequest,
    ) -> Result<(Uuid, Membership), ClusterError> {
        loop {
            let mut reasons = Vec::new();
            for place in places {
                let reason = match ask(self.transport, place, request.clone()).await {
                    Ok(answer) => match read(answer) {
                        Ok(found) => return Ok(found),
                        Err(error) => format!("{place}: {error}"),
                    },
                    Err(ChangeError::Refused(reason)) => {
                        return Err(ClusterError::Join(format!("{place} refuses: {reason}")));
                    }
                    Err(ChangeError::Unknown(reason) | ChangeError::Busy(reason)) => reason,
                    Err(error) => format!("{place}: {error}"),
                };
                if self.complaints.is_news(place, &reason) {
                    tracing::warn!("joining: {reason}");
                }
                reasons.push(reason);
            }
            if Instant::now() >= self.end {
                let seconds = PATIENCE.as_secs();
                let reasons = reasons.join("; ");
                return Err(ClusterError::Join(format!(
                    "no member agreed within {seconds} seconds: {reasons}; --join wants addresses \
                     of members that are running, a majority of them, and have the same --ca-cert"
                )));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn read(answer: v1::ChangeResponse) -> Result<(Uuid, Membership), wire::FrameError> {
    let cluster = Uuid::from_slice(&answer.cluster_id);
    let cluster = cluster.map_err(|_| wire::FrameError::Field("cluster_id"))?;
    Ok((cluster, wire::members_from_wire(answer.members)?))
}
