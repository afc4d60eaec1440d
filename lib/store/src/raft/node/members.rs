//! Who belongs to the cluster, and how that changes.

use prost::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2};
use raft::{INVALID_ID, StateRole};
use rpc::v1::RaftConfChange;
use uuid::Uuid;

use super::{Mark, Node, NodeError};
use crate::raft::convert::members_from_raft;
use crate::storage::Membership;

/// A change of who belongs to the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MemberChange {
    /// A new member, which learns before it votes.
    Add {
        /// Its number, never used before.
        member: u64,
        /// Where other members reach it, as `HOST:PORT`.
        address: String,
        /// Which server it is; nobody can speak for the member before that is known.
        server: Option<Uuid>,
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
    /// A learner that has caught up votes from now on.
    Promote {
        /// Its number.
        member: u64,
    },
    /// A member goes for good.
    Remove {
        /// Its number.
        member: u64,
    },
}

impl Node {
    /// Proposes a change of the members. One at a time, and only a leader may.
    pub fn propose_change(&mut self, change: &MemberChange) -> Result<Mark, NodeError> {
        let mark = self.next_mark()?;
        let raft = &self.raw.raft;
        let members = members_from_raft(self.raw.store().conf_state());
        if raft.has_pending_conf() || !members.voters_outgoing.is_empty() {
            let text = "another change of the members is under way; try again when it is done";
            return Err(NodeError::Refused(text.to_owned()));
        }
        let (kind, member, context) = match change {
            MemberChange::Add {
                member,
                address,
                server,
            } => {
                let server = server.map(|server| format!(" {server}"));
                let context = address.clone() + &server.unwrap_or_default();
                (ConfChangeType::AddLearnerNode, *member, context)
            }
            MemberChange::Move {
                member,
                address,
                server,
            } => {
                let kind = match members.learners.contains(member) {
                    true => ConfChangeType::AddLearnerNode,
                    false => ConfChangeType::AddNode,
                };
                (kind, *member, format!("{address} {server}"))
            }
            MemberChange::Promote { member } => (ConfChangeType::AddNode, *member, String::new()),
            MemberChange::Remove { member } => (ConfChangeType::RemoveNode, *member, String::new()),
        };
        let mut single = ConfChangeSingle {
            node_id: member,
            ..Default::default()
        };
        single.set_change_type(kind);
        let mut proposal = ConfChangeV2 {
            context: context.into(),
            ..Default::default()
        };
        proposal.mut_changes().push(single);
        match self.raw.propose_conf_change(mark.encode(), proposal) {
            Ok(()) => Ok(mark),
            Err(error) => Err(NodeError::Refused(error.to_string())),
        }
    }

    /// Applies a committed change of the members, which stands at this index. The answer goes to
    /// the disk.
    pub fn apply_change(&mut self, index: u64, data: &[u8]) -> Result<Membership, NodeError> {
        let raft_error = |error: &dyn std::fmt::Display| NodeError::Raft(error.to_string());
        let read = RaftConfChange::decode(data).map_err(|error| raft_error(&error))?;
        let mut change = ConfChangeV2::default();
        for single in &read.changes {
            let mut raft_single = ConfChangeSingle {
                node_id: single.node_id,
                ..Default::default()
            };
            raft_single.set_change_type(match single.change_type {
                0 => ConfChangeType::AddNode,
                1 => ConfChangeType::RemoveNode,
                2 => ConfChangeType::AddLearnerNode,
                other => return Err(raft_error(&format!("no kind of change has number {other}"))),
            });
            let member = single.node_id;
            let gone = raft_single.get_change_type() == ConfChangeType::RemoveNode;
            let context = String::from_utf8_lossy(&read.context);
            let mut context = context.split(' ').filter(|part| !part.is_empty());
            let address = context.next();
            let server = context.next().and_then(|server| server.parse().ok());
            if gone || address.is_some() {
                self.addresses.retain(|(of, _)| *of != member);
                let address = address.map(|address| (member, address.to_owned()));
                self.addresses.extend(address);
            }
            if gone || server.is_some() {
                self.servers.retain(|(of, _)| *of != member);
                self.servers.extend(server.map(|server| (member, server)));
            }
            change.mut_changes().push(raft_single);
        }
        let conf_state = self.raw.apply_conf_change(&change);
        let conf_state = conf_state.map_err(|error| raft_error(&error))?;
        self.raw.mut_store().set_conf_state(conf_state);
        self.since = index;
        let raft = &mut self.raw.raft;
        if raft.state == StateRole::Leader && raft.prs().get(self.member).is_none() {
            // raft-rs lets it lead on, and panics when something of its own is on disk.
            raft.become_follower(raft.term, INVALID_ID);
        }
        self.draw_timeout();
        Ok(self.membership())
    }

    /// What Raft does not know of the members of a snapshot.
    pub fn know_members(&mut self, membership: &Membership) {
        self.addresses.clone_from(&membership.addresses);
        self.servers.clone_from(&membership.servers);
        self.since = membership.since;
    }
}
