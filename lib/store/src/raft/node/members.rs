//! Who belongs to the cluster, and how that changes.

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2};
use rpc::v1::RaftConfChange;

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
            MemberChange::Add { member, address } => {
                (ConfChangeType::AddLearnerNode, *member, address.as_str())
            }
            MemberChange::Promote { member } => (ConfChangeType::AddNode, *member, ""),
            MemberChange::Remove { member } => (ConfChangeType::RemoveNode, *member, ""),
        };
        let mut single = ConfChangeSingle {
            node_id: member,
            ..Default::default()
        };
        single.set_change_type(kind);
        let mut proposal = ConfChangeV2 {
            context: Bytes::copy_from_slice(context.as_bytes()),
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
            change.mut_changes().push(raft_single);
            self.addresses.retain(|(member, _)| {
                *member != single.node_id || single.change_type == 0 || !read.context.is_empty()
            });
            if single.change_type == 2 && !read.context.is_empty() {
                self.addresses
                    .retain(|(member, _)| *member != single.node_id);
                let address = String::from_utf8_lossy(&read.context).into_owned();
                self.addresses.push((single.node_id, address));
            }
        }
        let conf_state = self.raw.apply_conf_change(&change);
        let conf_state = conf_state.map_err(|error| raft_error(&error))?;
        self.raw.mut_store().set_conf_state(conf_state);
        self.since = index;
        self.draw_timeout();
        Ok(self.membership())
    }

    /// What Raft does not know of the members of a snapshot.
    pub fn know_members(&mut self, membership: &Membership) {
        self.addresses.clone_from(&membership.addresses);
        self.since = membership.since;
    }
}
