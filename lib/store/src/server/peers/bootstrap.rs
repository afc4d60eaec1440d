//! The first start of a new cluster.
//!
//! Its members are started with the same list of all of them. Each makes itself a server identity,
//! writes it down, and greets the others; whoever is greeted writes down who greeted. An initial member
//! takes part in Raft only when it knows the servers of *all* others. From these and the list
//! follows the identity of the cluster.
//!
//! That is what makes it safe to start from a list: an initial member that lost its disk and starts again
//! is another server, and somebody knows the one before; two lists that differ make two clusters,
//! none of which gets complete; and a cluster that is made anew from the same list is another one.
//! After the first start, a majority of the members is enough.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ovsdb::Uuid;
use rpc::v1;
use tokio::sync::Notify;
use tonic::{Code, Status};

use super::config::{ClusterError, Config};
use super::hello::Refusal;
use super::{Complaints, Transport, wire};
use crate::storage::{Batch, Identity, Membership, RedbStorage, Storage, StorageError};

/// Between two rounds to those that are not known yet: at first, and at most. A greeting from one
/// ends the pause.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// So long one member is given for its answer.
const ANSWER: Duration = Duration::from_secs(5);

/// An initial member, until it knows the others.
#[derive(Debug)]
pub struct Bootstrap {
    config: Config,
    identity: Identity,
    id: Uuid,
    known: Mutex<Known>,
    /// Somebody became known.
    news: Notify,
    complaints: Complaints,
}

#[derive(Debug)]
struct Known {
    /// Taken away at the end.
    storage: Option<RedbStorage>,
    members: Membership,
    /// Why others are not known.
    missing: BTreeMap<u64, String>,
}

impl Bootstrap {
    /// Begins, or goes on after a restart.
    pub fn new(
        config: &Config,
        database: &str,
        mut storage: RedbStorage,
    ) -> Result<Self, ClusterError> {
        let id = config.bootstrap_id(database);
        let (identity, members) = match storage.load()? {
            Some(state) => (state.identity, state.membership),
            None => {
                let identity = Identity {
                    database: database.to_owned(),
                    cluster: id,
                    server: Uuid::new_v4(),
                    member: config.member,
                };
                let peers = config.peers.iter();
                let members = Membership {
                    voters: peers.clone().map(|(member, _)| *member).collect(),
                    addresses: peers
                        .map(|(member, address)| (*member, address.to_string()))
                        .collect(),
                    servers: vec![(identity.member, identity.server)],
                    ..Membership::default()
                };
                storage.create(&identity, &members)?;
                (identity, members)
            }
        };
        Ok(Self {
            config: config.clone(),
            // What was written down at the first start holds.
            id: identity.cluster,
            identity,
            known: Mutex::new(Known {
                storage: Some(storage),
                members,
                missing: BTreeMap::new(),
            }),
            news: Notify::new(),
            complaints: Complaints::default(),
        })
    }

    /// What it waits for, in a line.
    pub fn summary(&self) -> String {
        let known = self.known();
        let missing: Vec<String> = known
            .members
            .addresses
            .iter()
            .filter(|(member, _)| known.members.server(*member).is_none())
            .map(|(member, address)| match known.missing.get(member) {
                Some(reason) => format!("member {member} at {address} ({reason})"),
                None => format!("member {member} at {address}"),
            })
            .collect();
        format!(
            "initial member {} waits for {}; all members of a new cluster must be started once",
            self.config.member,
            missing.join(", ")
        )
    }

    /// Another initial member says who it is; the answer is who this one is.
    pub fn greeted(&self, hello: &v1::RaftHello) -> Result<Uuid, Status> {
        let own = self.identity.member;
        let (from, server) = super::hello::sender(own, hello)
            .map_err(|refusal| Status::invalid_argument(refusal.to_string()))?;
        if hello.cluster_id != self.id.as_bytes() || hello.to != own {
            let text = format!(
                "this is initial member {own} for --peers={}, and yours is another list",
                self.list()
            );
            if self.complaints.is_news(&from.to_string(), &text) {
                tracing::warn!("refused somebody who greets as member {from}: {text}");
            }
            return Err(Status::unavailable(text));
        }
        self.learn(from, server)?;
        self.news.notify_one();
        Ok(self.identity.server)
    }

    fn list(&self) -> String {
        let known = self.known();
        let addresses = known.members.addresses.iter();
        let list: Vec<String> = addresses
            .map(|(member, address)| format!("{member}={address}"))
            .collect();
        list.join(",")
    }

    /// Writes down which server a member is; refuses another one.
    fn learn(&self, member: u64, server: Uuid) -> Result<(), Status> {
        let mut known = self.known();
        match known.members.server(member) {
            Some(same) if same == server => return Ok(()),
            Some(other) => {
                let refusal = Refusal::OtherServer {
                    from: member,
                    known: other,
                    server,
                };
                return Err(Status::failed_precondition(refusal.to_string()));
            }
            None if !known.members.voters.contains(&member) => {
                let refusal = Refusal::NoMember { from: member };
                return Err(Status::failed_precondition(refusal.to_string()));
            }
            None => {}
        }
        known.members.servers.push((member, server));
        known.members.servers.sort_unstable();
        known.missing.remove(&member);
        let membership = Some(known.members.clone());
        let batch = Batch {
            membership,
            ..Batch::default()
        };
        let storage = known.storage.as_mut();
        let storage =
            storage.ok_or_else(|| Status::unavailable("this member is about to start"))?;
        let written = storage.write(&batch);
        written.map_err(|error| Status::unavailable(error.to_string()))?;
        tracing::info!("initial member {member} is there: server {server}");
        Ok(())
    }

    /// Greets the others until all are known. Gives the storage of a member that can start.
    pub async fn complete(&self, transport: &Transport) -> Result<RedbStorage, ClusterError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let members = self.known().members.clone();
            let unknown = members.addresses.iter();
            let unknown: Vec<&(u64, String)> = unknown
                .filter(|(member, _)| members.server(*member).is_none())
                .collect();
            if unknown.is_empty() {
                return Ok(self.finish()?);
            }
            for (member, address) in unknown {
                let reason = match self.greet(transport, *member, address).await {
                    Ok(()) => continue,
                    Err(status) if status.code() == Code::FailedPrecondition => {
                        return Err(ClusterError::Bootstrap(status.message().to_owned()));
                    }
                    Err(status) if status.code() == Code::PermissionDenied => {
                        return Err(ClusterError::Bootstrap(status.message().to_owned()));
                    }
                    Err(status) => status.message().to_owned(),
                };
                let name = format!("initial member {member} at {address}");
                if self.complaints.is_news(&name, &reason) {
                    tracing::warn!("waiting for {name}: {reason}");
                }
                self.known().missing.insert(*member, reason);
            }
            // Whoever greeted meanwhile left a permit.
            pause = match tokio::time::timeout(pause, self.news.notified()).await {
                Ok(()) => FIRST_PAUSE,
                Err(_) => LONGEST_PAUSE.min(pause * 2),
            };
        }
    }

    async fn greet(&self, transport: &Transport, member: u64, address: &str) -> Result<(), Status> {
        let client = transport.connect(address).await;
        let mut client = client.map_err(Status::unavailable)?;
        let hello = v1::RaftHello {
            cluster_id: wire::bytes_of(self.id),
            from: self.identity.member,
            to: member,
            server_id: wire::bytes_of(self.identity.server),
            members_since: 0,
            to_server_id: Vec::new(),
        };
        let greeting = client.greet(v1::GreetRequest { hello: Some(hello) });
        let answer = tokio::time::timeout(ANSWER, greeting).await;
        let answer = answer.map_err(|_| Status::unavailable("no answer"))??;
        let server = wire::server_from_wire(&answer.into_inner().server_id);
        let server = server.ok().flatten();
        let server = server.ok_or_else(|| Status::unavailable("an answer without a server"))?;
        self.learn(member, server)
    }

    /// Gives the cluster its identity.
    fn finish(&self) -> Result<RedbStorage, StorageError> {
        let mut known = self.known();
        let mut servers = known.members.servers.clone();
        servers.sort_unstable();
        let servers: Vec<u8> = servers
            .iter()
            .flat_map(|(member, server)| [&member.to_le_bytes()[..], server.as_bytes()].concat())
            .collect();
        let identity = Identity {
            cluster: Uuid::new_v5(&self.id, &servers),
            ..self.identity.clone()
        };
        let mut storage = known.storage.take().expect("the bootstrap ends once");
        storage.create(&identity, &known.members)?;
        tracing::info!(
            "all initial members know each other: cluster {}",
            identity.cluster
        );
        Ok(storage)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
