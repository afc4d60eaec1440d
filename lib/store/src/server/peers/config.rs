//! What the flags say about the cluster.

use ovsdb::Uuid;

use super::address::{Address, AddressError};
use crate::server::args::ServerArgs;
use crate::server::net::tls::TlsError;
use crate::storage::{State, StorageError};

/// A member of a cluster that has, or may get, several.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its number.
    pub member: u64,
    /// Where it listens for other members.
    pub listen: Address,
    /// Where others reach it, if that was said.
    pub reached: Option<Address>,
    /// The members of a new cluster.
    pub peers: Vec<(u64, Address)>,
    /// Members of the cluster to join.
    pub join: Vec<Address>,
}

/// What is to be done before the member can start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Start {
    /// Nothing: it is a member, as this server.
    Member,
    /// Find the others of a new cluster.
    Bootstrap,
    /// Ask to be added to a cluster.
    Join,
}

/// Why a member does not start.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The flags do not fit together.
    #[error("{0}")]
    Flags(String),
    /// An address.
    #[error("{flag}: {error}")]
    Address {
        /// Where it was given.
        flag: &'static str,
        /// What is wrong with it.
        error: AddressError,
    },
    /// The address for other members.
    #[error("--peer-listen {address}: {reason}")]
    Listen {
        /// What was asked for.
        address: String,
        /// Why it cannot be.
        reason: String,
    },
    /// The certificates.
    #[error("connections between members: {0}")]
    Tls(TlsError),
    /// The data directory is another member's.
    #[error(
        "the data directory belongs to member {found}, but --id says {asked}; correct --id, or \
         give this member a --data-dir of its own"
    )]
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
    /// Other members know another server under its number.
    #[error("cannot start as an initial member: {0}")]
    Bootstrap(String),
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
        if args.peers.is_some() && args.join.is_some() {
            return flags("--peers is for a new cluster and --join for one that exists: give one");
        }
        let listen = address("--peer-listen", listen)?;
        let reached = args.peer_address.as_ref();
        let mut reached = reached
            .map(|text| address("--peer-address", text))
            .transpose()?;
        let mut peers = Vec::new();
        for part in args.peers.iter().flat_map(|peers| peers.split(',')) {
            let peer = part.split_once('=').and_then(|(number, address)| {
                let number: Option<u64> = number.trim().parse().ok();
                Some((number.filter(|number| *number > 0)?, address))
            });
            let Some((number, text)) = peer else {
                return Err(ClusterError::Flags(format!(
                    "--peers: {part:?} is not of the form NUMBER=HOST:PORT"
                )));
            };
            peers.push((number, address("--peers", text)?));
        }
        peers.sort_by_key(|(number, _)| *number);
        if peers.windows(2).any(|two| two[0].0 == two[1].0) {
            return flags("--peers: two members have one number");
        }
        let own = peers.iter().find(|(number, _)| *number == member);
        match own {
            None if !peers.is_empty() => {
                return flags("--peers: the member of --id is not among them");
            }
            Some((_, address)) if reached.is_none() => reached = Some(address.clone()),
            _ => {}
        }
        let join = args.join.iter().flat_map(|join| join.split(','));
        Ok(Some(Self {
            member,
            reached: reached
                .or_else(|| Some(listen.clone()).filter(|listen| !listen.is_wildcard())),
            listen,
            peers,
            join: join
                .map(|text| address("--join", text))
                .collect::<Result<_, _>>()?,
        }))
    }

    /// Refuses a storage that is a member's of several, when the flags speak of no cluster.
    pub fn check_alone(found: Option<&State>) -> Result<(), ClusterError> {
        let alone = |state: &State| {
            let members = &state.membership;
            members.voters == [state.identity.member]
                && members.learners.is_empty()
                && members.voters_outgoing.is_empty()
        };
        match found {
            Some(state) if !alone(state) => Err(ClusterError::Flags(format!(
                "the data directory is that of member {0} of a cluster of several; give --id {0} \
                 and --peer-listen",
                state.identity.member
            ))),
            _ => Ok(()),
        }
    }

    /// What is to be done first, with what was found in the storage.
    pub fn start(&self, found: Option<&State>) -> Result<Start, ClusterError> {
        let Some(state) = found else {
            return match (self.peers.is_empty(), self.join.is_empty()) {
                (true, true) => Err(ClusterError::Flags(
                    "the first start of a member needs --peers (a new cluster, of one member at \
                     least) or --join"
                        .to_owned(),
                )),
                (false, _) => Ok(Start::Bootstrap),
                (true, false) => Ok(Start::Join),
            };
        };
        let (found, asked) = (state.identity.member, self.member);
        if found != asked {
            return Err(ClusterError::OtherMember { found, asked });
        }
        let members = &state.membership;
        if members.since > 0 || state.hard_state.term > 0 {
            return Ok(Start::Member);
        }
        let known = |voter: &u64| members.server(*voter).is_some();
        Ok(match members.voters.is_empty() {
            true => Start::Join,
            false if members.voters.iter().all(known) => Start::Member,
            false => Start::Bootstrap,
        })
    }

    /// Where others reach this member.
    pub fn reached(&self) -> Result<String, ClusterError> {
        let reached = self.reached.as_ref().map(Address::to_string);
        reached.ok_or_else(|| {
            ClusterError::Flags(format!(
                "--peer-listen {} is for all addresses of this machine; say with --peer-address \
                 at which one other members reach it",
                self.listen
            ))
        })
    }

    /// What initial members of one cluster have in common, before they know each other.
    pub fn bootstrap_id(&self, database: &str) -> Uuid {
        /// What it is derived in.
        const NAMESPACE: Uuid = Uuid::from_u128(0x1f0e_6a52_7a3c_4c55_9a0e_5d1b_7c0f_e2d4);
        let peers = self.peers.iter();
        let peers: Vec<String> = peers
            .map(|(member, address)| format!("{member}={address}"))
            .collect();
        let name = format!("{database} {}", peers.join(","));
        Uuid::new_v5(&NAMESPACE, name.as_bytes())
    }
}

fn address(flag: &'static str, text: &str) -> Result<Address, ClusterError> {
    let address = text.trim().parse();
    address.map_err(|error| ClusterError::Address { flag, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(flags: &[(&str, &str)]) -> Result<Option<Config>, ClusterError> {
        let mut args = ServerArgs::default();
        for (flag, value) in flags {
            let value = (*value).to_owned();
            match *flag {
                "id" => args.id = value.parse().ok(),
                "peer-listen" => args.peer_listen = Some(value),
                "peer-address" => args.peer_address = Some(value),
                "peers" => args.peers = Some(value),
                _ => args.join = Some(value),
            }
        }
        Config::new(&args)
    }

    #[test]
    fn flags_that_do_not_fit_together_are_named() {
        assert!(config(&[]).unwrap().is_none());
        let listen = ("peer-listen", "[::]:1");
        for (flags, expected) in [
            (&[("id", "1")][..], "--peer-listen"),
            (&[("id", "0"), listen], "numbered from 1"),
            (
                &[("id", "1"), listen, ("peers", "1=a:1"), ("join", "b:1")],
                "give one",
            ),
            (
                &[("id", "1"), listen, ("peers", "1=a:1,x")],
                "NUMBER=HOST:PORT",
            ),
            (
                &[("id", "1"), listen, ("peers", "1=a:1,1=b:1")],
                "one number",
            ),
            (&[("id", "1"), listen, ("peers", "2=a:1")], "not among them"),
            (&[("id", "1"), listen, ("join", "a")], "HOST:PORT"),
        ] {
            let error = config(flags).unwrap_err().to_string();
            assert!(error.contains(expected), "{flags:?}: {error}");
        }
    }

    #[test]
    fn a_wildcard_is_no_address_for_others() {
        let listen = ("peer-listen", "0.0.0.0:1");
        let reached = |flags: &[_]| config(flags).unwrap().unwrap().reached();
        let join = ("join", "b:1");
        assert!(reached(&[("id", "1"), listen, join]).is_err());
        let said = reached(&[("id", "1"), listen, join, ("peer-address", "a:2")]);
        assert_eq!(said.unwrap(), "a:2");
        let listed = reached(&[("id", "1"), listen, ("peers", "1=c:3")]);
        assert_eq!(listed.unwrap(), "c:3");
    }

    #[test]
    fn initial_members_agree_whatever_the_order() {
        let listen = ("peer-listen", "a:1");
        let id = |peers| {
            let config = config(&[("id", "1"), listen, ("peers", peers)]);
            config.unwrap().unwrap().bootstrap_id("D")
        };
        assert_eq!(id("1=a:1,2=b:1"), id("2=b:1,1=a:1"));
        assert_ne!(id("1=a:1,2=b:1"), id("1=a:1,2=b:2"));
    }
}
