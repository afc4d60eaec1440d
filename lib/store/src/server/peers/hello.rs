//! Who speaks, and whether it may.
//!
//! Every stream begins with a greeting. Three things must fit: the cluster, the addressee, and the
//! *server* behind the member's number. The last is what keeps a member that has lost its disk from
//! speaking for the one that it was: it would vote a second time, and what was acknowledged could
//! be lost. Which server each member is stands in the replicated list of the members.
//!
//! A member that lags behind has an old list. So it listens to whoever knows of a newer one; it
//! learns the list from there.

use ovsdb::Uuid;
use rpc::v1;

use super::wire;
use crate::sender::{Sender, Standing};
use crate::storage::{Identity, Membership};

/// Why a greeting is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Somebody of another cluster.
    #[error(
        "this is member {own} of cluster {cluster} ({database}), and you belong to another cluster; \
         correct the addresses of the members, or remove the data directory and join this cluster"
    )]
    OtherCluster {
        /// Who is asked.
        own: u64,
        /// Its cluster.
        cluster: Uuid,
        /// Its database.
        database: String,
    },
    /// Somebody who took this member for another one.
    #[error("this is member {own}, and not member {meant}; correct the address of member {meant}")]
    OtherMember {
        /// Who is asked.
        own: u64,
        /// Who was meant.
        meant: u64,
    },
    /// Somebody who took this server for the one that had its number before.
    #[error("the server that was member {own} is gone; this one has its number now")]
    MeantFormer {
        /// Who is asked.
        own: u64,
    },
    /// Somebody who is no member, or not any more.
    #[error(
        "member {from} does not belong to this cluster, or was removed from it; to add it, empty \
         its data directory and start it with --join"
    )]
    NoMember {
        /// Who asks.
        from: u64,
    },
    /// Somebody under the number of another one.
    #[error(
        "member {from} of this cluster is server {known}, and you are server {server}: a member \
         whose data directory was lost or replaced must not speak for the one that it was; remove \
         member {from} from the cluster, and let this server join it with --join"
    )]
    OtherServer {
        /// Who asks.
        from: u64,
        /// Who has that number.
        known: Uuid,
        /// Who asks, truly.
        server: Uuid,
    },
    /// Somebody who joins, and asks for more than that.
    #[error("member {from} may ask to be added itself, and for nothing else before it is a member")]
    NotItself {
        /// Who asks.
        from: u64,
    },
    /// A greeting with something missing.
    #[error("the greeting makes no sense")]
    Malformed,
}

/// A greeting.
pub fn hello(identity: &Identity, members: &Membership, to: u64) -> v1::RaftHello {
    v1::RaftHello {
        cluster_id: wire::bytes_of(identity.cluster),
        from: identity.member,
        to,
        server_id: wire::bytes_of(identity.server),
        members_since: members.since,
        to_server_id: members.server(to).map_or(Vec::new(), wire::bytes_of),
    }
}

/// Who speaks, if it may.
pub fn admit(
    identity: &Identity,
    members: &Membership,
    hello: &v1::RaftHello,
) -> Result<Sender, Refusal> {
    let own = identity.member;
    if hello.cluster_id != identity.cluster.as_bytes() {
        return Err(Refusal::OtherCluster {
            own,
            cluster: identity.cluster,
            database: identity.database.clone(),
        });
    }
    if hello.to != own {
        let meant = hello.to;
        return Err(Refusal::OtherMember { own, meant });
    }
    if !hello.to_server_id.is_empty() && hello.to_server_id != identity.server.as_bytes() {
        return Err(Refusal::MeantFormer { own });
    }
    let (from, server) = sender(own, hello)?;
    let sender = Sender {
        member: from,
        server,
        members_since: hello.members_since,
    };
    let is_voter = members.voters.contains(&from);
    match sender.standing(members.since, members.server(from), is_voter) {
        Standing::Member => Ok(sender),
        Standing::Other(known) => Err(Refusal::OtherServer {
            from,
            known,
            server,
        }),
        Standing::Unknown => Err(Refusal::NoMember { from }),
    }
}

/// Who says that it speaks, and which server it is.
pub fn sender(own: u64, hello: &v1::RaftHello) -> Result<(u64, Uuid), Refusal> {
    let server = Uuid::from_slice(&hello.server_id).map_err(|_| Refusal::Malformed)?;
    if hello.from == 0 || hello.from == own {
        return Err(Refusal::Malformed);
    }
    Ok((hello.from, server))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(member: u64) -> Uuid {
        Uuid::from_u64_pair(7, member)
    }

    fn identity(member: u64) -> Identity {
        Identity {
            database: "D".to_owned(),
            cluster: Uuid::from_u128(1),
            server: server(member),
            member,
        }
    }

    fn members(since: u64, of: &[u64]) -> Membership {
        Membership {
            voters: of.to_vec(),
            servers: of.iter().map(|member| (*member, server(*member))).collect(),
            since,
            ..Membership::default()
        }
    }

    #[test]
    fn only_members_with_their_own_disks_are_admitted() {
        let (two, three) = (identity(2), identity(3));
        let now = members(10, &[1, 2, 3]);
        let said = hello(&three, &now, 2);
        assert_eq!(admit(&two, &now, &said).map(|sender| sender.member), Ok(3));
        assert_eq!(
            admit(&identity(1), &now, &said),
            Err(Refusal::OtherMember { own: 1, meant: 2 })
        );

        let outsider = Identity {
            cluster: Uuid::from_u128(2),
            ..three.clone()
        };
        let refused = admit(&two, &now, &hello(&outsider, &now, 2));
        assert!(matches!(refused, Err(Refusal::OtherCluster { .. })));

        let wiped = Identity {
            server: Uuid::from_u128(9),
            ..three.clone()
        };
        let refused = admit(&two, &now, &hello(&wiped, &members(0, &[]), 2));
        assert!(matches!(refused, Err(Refusal::OtherServer { from: 3, .. })));

        let removed = hello(&three, &now, 2);
        let later = members(11, &[1, 2]);
        assert_eq!(
            admit(&two, &later, &removed),
            Err(Refusal::NoMember { from: 3 })
        );
        // Whoever knows of later members than this one is listened to.
        let leader = hello(&identity(4), &members(12, &[1, 2, 4]), 2);
        assert_eq!(
            admit(&two, &now, &leader).map(|sender| sender.member),
            Ok(4)
        );
    }

    #[test]
    fn what_is_meant_for_a_former_server_is_refused() {
        let now = members(10, &[1, 2, 3]);
        let said = hello(&identity(3), &now, 2);
        let again = Identity {
            server: Uuid::from_u128(9),
            ..identity(2)
        };
        let refused = admit(&again, &now, &said);
        assert_eq!(refused, Err(Refusal::MeantFormer { own: 2 }));
    }

    #[test]
    fn a_learner_joins_before_it_speaks() {
        let mut announced = members(5, &[1, 2]);
        announced.learners = vec![3];
        let said = hello(&identity(3), &Membership::default(), 2);
        assert_eq!(
            admit(&identity(2), &announced, &said),
            Err(Refusal::NoMember { from: 3 })
        );
        announced.servers.push((3, server(3)));
        assert_eq!(
            admit(&identity(2), &announced, &said).map(|sender| sender.member),
            Ok(3)
        );
    }
}
