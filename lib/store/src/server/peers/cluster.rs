//! What administrators want of the cluster: who belongs to it, and who leads.
//!
//! Any member can be asked. Changes are the leader's affair; who does not lead passes them on, and
//! asks again when the leader changes meanwhile.

use std::sync::Arc;
use std::time::Duration;

use ovsdb::{ErrorKind, Uuid};
use rpc::v1;
use rpc::v1::change_request::Change as Wanted;
use tokio::time::Instant;
use tonic::Code;

use super::{Transport, hello, wire};
use crate::caller::Caller;
use crate::event::{Output, Request, Status};
use crate::raft::MemberChange;
use crate::server::engine::Engine;
use crate::server::limits::Stopped;
use crate::storage::Membership;

/// So long it is tried to have a change made.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two attempts to tell where this member is reached.
const ANNOUNCE_PAUSE: Duration = Duration::from_secs(1);
/// So long one member is given for its answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The cluster, for its administration.
#[derive(Debug)]
pub struct Cluster {
    engine: Arc<Engine>,
    /// Nothing, if this member has been started without an address for others.
    pub(super) transport: Option<Arc<Transport>>,
}

/// A change that an administrator may want.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// A new member: it learns, and votes when it has caught up. Without its server, it is
    /// announced only; its server becomes known when it joins.
    Add {
        /// Its number, which no other member has.
        member: u64,
        /// Where other members reach it, as `HOST:PORT`.
        address: String,
        /// Which server it is.
        server: Option<Uuid>,
    },
    /// A member goes for good. If it leads, the leadership is passed on first.
    Remove {
        /// Its number.
        member: u64,
    },
    /// A member is reached elsewhere from now on.
    Move {
        /// Its number.
        member: u64,
        /// Where other members reach it, as `HOST:PORT`.
        address: String,
        /// Which server it is.
        server: Uuid,
    },
    /// Another voter leads.
    Transfer {
        /// Which; or else the one with the most complete log.
        to: Option<u64>,
    },
}

/// Why a change was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ChangeError {
    /// It makes no sense, or would do harm.
    #[error("{0}")]
    Refused(String),
    /// Who was asked does not lead.
    #[error("{}", leads(*.leader))]
    NotLeader {
        /// Who does; 0 if nobody is known to.
        leader: u64,
    },
    /// Not now; try again.
    #[error("{0}")]
    Busy(String),
    /// There was no answer in time; look at the status whether it was made.
    #[error("it is not known whether the change was made: {0}; look at the cluster's status")]
    Unknown(String),
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Stopped,
}

fn leads(leader: u64) -> String {
    match leader {
        0 => "no member is known to lead; is a majority of the members running?".to_owned(),
        leader => format!("this member does not lead; member {leader} does"),
    }
}

impl From<Stopped> for ChangeError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl Cluster {
    /// The cluster of the member that the engine runs. Without a transport, there are no others.
    pub fn new(engine: Arc<Engine>, transport: Option<Arc<Transport>>) -> Self {
        Self { engine, transport }
    }

    /// What this member knows of the cluster; of the others' progress, only the leader knows.
    pub async fn status(&self) -> Result<Status, Stopped> {
        self.engine.status().await
    }

    /// Has a change made, by this member or by the one that leads. Returns when it holds: an added
    /// member learns then, and votes later.
    pub async fn change(&self, change: &Change) -> Result<(), ChangeError> {
        let end = Instant::now() + PATIENCE;
        let mut unknown_outcome = None;
        loop {
            let error = match self.attempt(change).await {
                Ok(()) => return Ok(()),
                // It was made by an attempt whose answer was lost.
                Err(ChangeError::Refused(_))
                    if unknown_outcome.is_some() && self.holds(change).await? =>
                {
                    return Ok(());
                }
                Err(error @ (ChangeError::Refused(_) | ChangeError::Stopped)) => return Err(error),
                Err(error) => error,
            };
            if let ChangeError::Unknown(reason) = &error {
                unknown_outcome = Some(reason.clone());
            }
            if Instant::now() >= end {
                return Err(unknown_outcome.map_or(error, ChangeError::Unknown));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sees to it that the members know where this one is reached: if they do not know it, or if it
    /// was said explicitly. Returns when they do.
    pub async fn announce(&self, reached: Option<String>, explicit: bool) {
        let mut last = String::new();
        while let Ok(status) = self.status().await {
            let (own, server) = (status.identity.member, status.identity.server);
            let members = &status.raft.membership;
            let known = members.address(own);
            let right = known.is_some() && (!explicit || known == reached.as_deref());
            if right && members.server(own).is_some() {
                return;
            }
            let Some(address) = reached.clone() else {
                tracing::warn!(
                    "nobody can join: --peer-listen is for all addresses of this machine; say \
                     with --peer-address at which one other members reach it"
                );
                return;
            };
            let change = Change::Move {
                member: own,
                address: address.clone(),
                server,
            };
            // A new member is not told of itself before it has the snapshot.
            if members.contains(own) {
                match self.change(&change).await {
                    Ok(()) => tracing::info!("other members reach this one at {address}"),
                    Err(error) if error.to_string() != last => {
                        last = error.to_string();
                        tracing::warn!(
                            "cannot tell the members that this one is at {address}: {last}"
                        );
                    }
                    Err(_) => {}
                }
            }
            tokio::time::sleep(ANNOUNCE_PAUSE).await;
        }
    }

    async fn attempt(&self, change: &Change) -> Result<(), ChangeError> {
        let status = self.status().await?;
        let (own, leader) = (status.identity.member, status.raft.leader);
        if leader == own {
            return self.change_here(change).await;
        }
        let members = &status.raft.membership;
        let (Some(transport), Some(address)) = (&self.transport, members.address(leader)) else {
            return Err(ChangeError::NotLeader { leader });
        };
        let asked = v1::ChangeRequest {
            hello: Some(hello::hello(&status.identity, members, leader)),
            database: status.identity.database.clone(),
            cluster_id: wire::bytes_of(status.identity.cluster),
            passed_on: true,
            change: Some(change_to_wire(change)),
        };
        ask(transport, address, asked).await.map(drop)
    }

    /// Makes a change if this member leads.
    pub(super) async fn change_here(&self, change: &Change) -> Result<(), ChangeError> {
        let status = self.status().await?;
        let own = status.identity.member;
        let member_change = match change {
            Change::Transfer { to } => return self.transfer(&status, *to).await,
            Change::Remove { member } if *member == own => {
                self.transfer(&status, None).await?;
                let leader = self.status().await?.raft.leader;
                return Err(ChangeError::NotLeader { leader });
            }
            Change::Remove { member } => MemberChange::Remove { member: *member },
            Change::Add {
                member,
                address,
                server,
            } => MemberChange::Add {
                member: *member,
                address: address.clone(),
                server: *server,
            },
            Change::Move {
                member,
                address,
                server,
            } => MemberChange::Move {
                member: *member,
                address: address.clone(),
                server: *server,
            },
        };
        self.ask_core(Request::ChangeMembers(member_change)).await
    }

    async fn ask_core(&self, request: Request) -> Result<(), ChangeError> {
        let session = self.engine.connect(Caller::unrestricted()).await;
        let mut session = session.map_err(Stopped::from)?;
        session.request(request).await?;
        let answer = tokio::time::timeout(ANSWER, session.outputs.recv()).await;
        let unknown = |text: &str| Err(ChangeError::Unknown(text.to_owned()));
        let Ok(answer) = answer else {
            return unknown("a majority of the members did not agree in time");
        };
        match answer.ok_or(Stopped)? {
            Output::Refused { error, .. } if error.kind == ErrorKind::IoError => {
                unknown("the leader changed meanwhile")
            }
            Output::Refused { error, .. } => Err(match error.kind {
                // Who is being elected will lead in a moment.
                ErrorKind::NotLeader | ErrorKind::ResourcesExhausted => {
                    ChangeError::Busy(error.details)
                }
                _ => ChangeError::Refused(error.details),
            }),
            _ => Ok(()),
        }
    }

    /// Passes the leadership on, and waits until it is gone.
    async fn transfer(&self, status: &Status, to: Option<u64>) -> Result<(), ChangeError> {
        let own = status.identity.member;
        if to == Some(own) {
            return Ok(());
        }
        let voters = &status.raft.membership.voters;
        let peers = status.raft.peers.iter();
        let heirs = peers.filter(|(member, _, active)| *active && voters.contains(member));
        let heir = heirs.max_by_key(|(_, matched, _)| *matched);
        let heir = heir.map(|(member, ..)| *member);
        let Some(member) = to.or(heir) else {
            let alone = *voters == [own];
            return Err(match alone {
                true => ChangeError::Refused("there is no other voter".to_owned()),
                // A leader that has just begun hears of the others in a moment.
                false => ChangeError::Busy(
                    "no other voter has been heard of lately; are they running?".to_owned(),
                ),
            });
        };
        self.ask_core(Request::Transfer { member }).await?;
        let end = Instant::now() + ANSWER;
        while Instant::now() < end {
            let leader = self.status().await?.raft.leader;
            if leader != own && leader != 0 {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(ChangeError::Refused(format!(
            "member {member} did not take over within {} seconds; is it running?",
            ANSWER.as_secs()
        )))
    }

    /// Whether things are as a change wants them.
    async fn holds(&self, change: &Change) -> Result<bool, ChangeError> {
        let status = self.status().await?;
        let members: &Membership = &status.raft.membership;
        Ok(match change {
            Change::Add { member, server, .. } => {
                members.contains(*member) && members.server(*member) == *server
            }
            Change::Remove { member } => !members.contains(*member),
            Change::Move {
                member, address, ..
            } => members.address(*member) == Some(address),
            Change::Transfer { to } => to.is_some_and(|to| to == status.raft.leader),
        })
    }
}

/// Asks a member for a change, or for nothing.
pub(super) async fn ask(
    transport: &Transport,
    address: &str,
    request: v1::ChangeRequest,
) -> Result<v1::ChangeResponse, ChangeError> {
    let unknown = |reason: String| ChangeError::Unknown(format!("{address}: {reason}"));
    let connected = transport.connect(address).await;
    // Nothing was asked yet.
    let mut client =
        connected.map_err(|reason| ChangeError::Busy(format!("{address}: {reason}")))?;
    let answer = tokio::time::timeout(PATIENCE, client.change(request)).await;
    let answer = answer.map_err(|_| unknown("no answer in time".to_owned()))?;
    match answer {
        Ok(response) => Ok(response.into_inner()),
        Err(status)
            if matches!(
                status.code(),
                Code::FailedPrecondition | Code::PermissionDenied
            ) =>
        {
            Err(ChangeError::Refused(status.message().to_owned()))
        }
        Err(status) if status.code() == Code::Aborted => {
            Err(ChangeError::Busy(status.message().to_owned()))
        }
        Err(status) => Err(unknown(status.message().to_owned())),
    }
}

fn change_to_wire(change: &Change) -> Wanted {
    let of = |member: u64, address: &str, server: Option<Uuid>| v1::MemberAddress {
        member,
        address: address.to_owned(),
        server_id: server.map_or(Vec::new(), wire::bytes_of),
    };
    match change {
        Change::Add {
            member,
            address,
            server,
        } => Wanted::Add(of(*member, address, *server)),
        Change::Remove { member } => Wanted::Remove(*member),
        Change::Move {
            member,
            address,
            server,
        } => Wanted::Move(of(*member, address, Some(*server))),
        Change::Transfer { to } => Wanted::Transfer(to.unwrap_or(0)),
    }
}
