//! What the flags say about the cluster, and a member's first start.

use std::time::Duration;

use ovsdb::Uuid;
use rpc::v1;
use rpc::v1::raft_client::RaftClient;
use tonic::transport::Endpoint;

use super::wire;
use crate::server::args::ServerArgs;
use crate::storage::{Identity, Membership, Storage, StorageError};

/// A new member goes round those that it knows for so long.
const JOIN_PATIENCE: Duration = Duration::from_secs(60);
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(500);
/// What names of clusters are derived from.
const NAMESPACE: Uuid = Uuid::from_u128(0x1f0e_6a52_7a3c_4c55_9a0e_5d1b_7c0f_e2d4);

/// A cluster that takes a new member in: its identity, and where its members are.
type Found = (Uuid, Vec<(u64, String)>);

/// A member of a cluster of several.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its number.
    pub member: u64,
    /// Where it listens for other members.
    pub listen: String,
    /// The members of a new cluster.
    peers: Vec<(u64, String)>,
    /// Members of the cluster to join.
    join: Vec<String>,
}

/// Why a member does not start.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The flags do not fit together.
    #[error("{0}")]
    Flags(String),
    /// The data directory is another member's.
    #[error("the data directory belongs to member {found}, but --id says {asked}")]
    OtherMember {
        /// Whose it is.
        found: u64,
        /// Who asks.
        asked: u64,
    },
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Nobody took it in.
    #[error("cannot join the cluster: {0}")]
    Join(String),
}

impl Config {
    /// What the flags say; nothing if they speak of no cluster.
    pub fn new(args: &ServerArgs) -> Result<Option<Self>, ClusterError> {
        if args.cluster_flag().is_none() {
            return Ok(None);
        }
        let flags = |text: &str| Err(ClusterError::Flags(text.to_owned()));
        let (Some(member), Some(listen)) = (args.id, &args.peer_listen) else {
            return flags("a member of a cluster needs both --id and --peer-listen");
        };
        if member == 0 {
            return flags("--id: members are numbered from 1");
        }
        if !args.plaintext {
            return flags(
                "members talk to each other without TLS in this version, so that everybody on \
                 the network can read and change the database; give --plaintext if the network \
                 between them is safe",
            );
        }
        if args.peers.is_some() && args.join.is_some() {
            return flags("--peers is for a new cluster and --join for one that exists: give one");
        }
        let mut peers = Vec::new();
        for part in args.peers.iter().flat_map(|peers| peers.split(',')) {
            let peer = part.split_once('=').and_then(|(number, address)| {
                let number = number.trim().parse().ok().filter(|number| *number > 0)?;
                Some((number, address.trim().to_owned()))
            });
            match peer {
                Some(peer) if !peer.1.is_empty() => peers.push(peer),
                _ => {
                    return Err(ClusterError::Flags(format!(
                        "--peers: {part:?} is not of the form NUMBER=HOST:PORT"
                    )));
                }
            }
        }
        peers.sort();
        if peers.windows(2).any(|two| two[0].0 == two[1].0) {
            return flags("--peers: two members have one number");
        }
        if !peers.is_empty() && !peers.iter().any(|(number, _)| *number == member) {
            return flags("--peers: the member of --id is not among them");
        }
        let join = args.join.iter().flat_map(|join| join.split(','));
        Ok(Some(Self {
            member,
            listen: listen.clone(),
            peers,
            join: join.map(|address| address.trim().to_owned()).collect(),
        }))
    }

    /// Refuses a storage that is a member's of several, when the flags speak of no cluster.
    pub fn check_alone(storage: &dyn Storage) -> Result<(), ClusterError> {
        let Some(state) = storage.load()? else {
            return Ok(());
        };
        if state.membership.voters == [state.identity.member] {
            return Ok(());
        }
        Err(ClusterError::Flags(format!(
            "the data directory is that of member {0} of a cluster of several; give --id {0} and \
             --peer-listen",
            state.identity.member
        )))
    }

    /// Sees to it that the storage holds a member; at the first start, a new one.
    pub async fn prepare(
        &self,
        storage: &mut dyn Storage,
        database: &str,
    ) -> Result<(), ClusterError> {
        if let Some(state) = storage.load()? {
            let found = state.identity.member;
            return match found == self.member {
                true => Ok(()),
                false => Err(ClusterError::OtherMember {
                    found,
                    asked: self.member,
                }),
            };
        }
        let (cluster, membership) = if self.join.is_empty() {
            if self.peers.is_empty() {
                let text = "the first start of a member needs --peers (a new cluster) or --join";
                return Err(ClusterError::Flags(text.to_owned()));
            }
            let peers = self.peers.iter();
            let peers: Vec<String> = peers.map(|(m, address)| format!("{m}={address}")).collect();
            let name = format!("{database} {}", peers.join(","));
            let membership = Membership {
                voters: self.peers.iter().map(|(member, _)| *member).collect(),
                addresses: self.peers.clone(),
                ..Membership::default()
            };
            (Uuid::new_v5(&NAMESPACE, name.as_bytes()), membership)
        } else {
            let (cluster, addresses) = self.ask_to_join(database).await?;
            let membership = Membership {
                addresses,
                ..Membership::default()
            };
            (cluster, membership)
        };
        let identity = Identity {
            database: database.to_owned(),
            cluster,
            server: Uuid::new_v4(),
            member: self.member,
        };
        storage.create(&identity, &membership)?;
        Ok(())
    }

    async fn ask_to_join(&self, database: &str) -> Result<Found, ClusterError> {
        let end = tokio::time::Instant::now() + JOIN_PATIENCE;
        loop {
            let mut reasons = Vec::new();
            for address in &self.join {
                match self.ask(address, database).await {
                    Ok(found) => return Ok(found),
                    Err(reason) => reasons.push(format!("{address}: {reason}")),
                }
            }
            if tokio::time::Instant::now() >= end {
                return Err(ClusterError::Join(reasons.join("; ")));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn ask(&self, address: &str, database: &str) -> Result<Found, String> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        let endpoint = endpoint.map_err(|error| error.to_string())?;
        let endpoint = endpoint.connect_timeout(Duration::from_secs(2));
        let channel = endpoint.connect().await;
        let channel = channel.map_err(|error| error.to_string())?;
        let request = v1::JoinRequest {
            database: database.to_owned(),
            member: self.member,
            address: self.listen.clone(),
        };
        let response = RaftClient::new(channel).join(request).await;
        let response = response.map_err(|status| status.message().to_owned())?;
        let response = response.into_inner();
        let cluster = Uuid::from_slice(&response.cluster_id).map_err(|error| error.to_string())?;
        Ok((cluster, wire::addresses_from_wire(response.addresses)))
    }
}
