//! Between raft-rs's types and ours, or those that travel between members.
//!
//! raft-rs's own codec is not made for bytes of untrusted peers, so messages travel as the protobuf
//! messages of `weft.db.v1`, converted field by field.

use raft::eraftpb::{self as eraft, ConfState, Entry, EntryType, Message, MessageType};
use rpc::v1;

use crate::storage::{EntryKind, HardState, LogEntry, LogPosition, Membership};

/// Why a peer's message makes no sense.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the field {0} of a raft message makes no sense")]
pub struct WireError(&'static str);

/// The members as raft-rs has them; it knows neither their addresses nor since when.
pub fn members_from_raft(state: &ConfState) -> Membership {
    Membership {
        voters: state.voters.clone(),
        learners: state.learners.clone(),
        voters_outgoing: state.voters_outgoing.clone(),
        learners_next: state.learners_next.clone(),
        auto_leave: state.auto_leave,
        ..Membership::default()
    }
}

/// The members for raft-rs.
pub fn members_to_raft(membership: &Membership) -> ConfState {
    ConfState {
        voters: membership.voters.clone(),
        learners: membership.learners.clone(),
        voters_outgoing: membership.voters_outgoing.clone(),
        learners_next: membership.learners_next.clone(),
        auto_leave: membership.auto_leave,
        ..Default::default()
    }
}

/// An entry for the disk.
pub(super) fn entry_from_raft(entry: &Entry) -> LogEntry {
    LogEntry {
        position: LogPosition {
            index: entry.index,
            term: entry.term,
        },
        kind: kind_from_raft(entry.get_entry_type()),
        context: entry.context.clone(),
        data: entry.data.clone(),
    }
}

/// An entry from the disk.
pub(super) fn entry_to_raft(entry: &LogEntry) -> Entry {
    let mut raft_entry = Entry {
        index: entry.position.index,
        term: entry.position.term,
        context: entry.context.clone(),
        data: entry.data.clone(),
        ..Default::default()
    };
    raft_entry.set_entry_type(match entry.kind {
        EntryKind::Normal => EntryType::EntryNormal,
        EntryKind::ConfChange => EntryType::EntryConfChange,
        EntryKind::ConfChangeV2 => EntryType::EntryConfChangeV2,
    });
    raft_entry
}

/// What an entry is.
pub(super) fn kind_from_raft(kind: EntryType) -> EntryKind {
    match kind {
        EntryType::EntryNormal => EntryKind::Normal,
        EntryType::EntryConfChange => EntryKind::ConfChange,
        EntryType::EntryConfChangeV2 => EntryKind::ConfChangeV2,
    }
}

/// Raft's variables for the disk.
pub(super) fn hard_state_from_raft(state: &eraft::HardState) -> HardState {
    HardState {
        term: state.term,
        vote: state.vote,
        commit: state.commit,
    }
}

/// Raft's variables from the disk.
pub(super) fn hard_state_to_raft(state: HardState) -> eraft::HardState {
    eraft::HardState {
        term: state.term,
        vote: state.vote,
        commit: state.commit,
        ..Default::default()
    }
}

/// A message for the wire.
pub fn to_wire(message: &Message) -> v1::RaftMessage {
    let metadata = message.get_snapshot().get_metadata();
    let snapshot = (metadata.index > 0).then(|| {
        let members = metadata.get_conf_state();
        v1::RaftSnapshot {
            index: metadata.index,
            term: metadata.term,
            conf_state: Some(v1::RaftConfState {
                voters: members.voters.clone(),
                learners: members.learners.clone(),
                voters_outgoing: members.voters_outgoing.clone(),
                learners_next: members.learners_next.clone(),
                auto_leave: members.auto_leave,
            }),
        }
    });
    v1::RaftMessage {
        message_type: message.get_msg_type() as u32,
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: message.entries.iter().map(entry_to_wire).collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        snapshot,
        request_snapshot: message.request_snapshot,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context.to_vec(),
        priority: message.priority,
    }
}

fn entry_to_wire(entry: &Entry) -> v1::RaftEntry {
    v1::RaftEntry {
        entry_type: entry.get_entry_type() as u32,
        term: entry.term,
        index: entry.index,
        data: entry.data.clone(),
        context: entry.context.clone(),
    }
}

/// A message from the wire.
pub fn from_wire(wire: v1::RaftMessage) -> Result<Message, WireError> {
    let mut message = Message {
        to: wire.to,
        from: wire.from,
        term: wire.term,
        log_term: wire.log_term,
        index: wire.index,
        commit: wire.commit,
        commit_term: wire.commit_term,
        request_snapshot: wire.request_snapshot,
        reject: wire.reject,
        reject_hint: wire.reject_hint,
        context: wire.context.into(),
        priority: wire.priority,
        ..Default::default()
    };
    let kind = TYPES.iter().find(|kind| **kind as u32 == wire.message_type);
    message.set_msg_type(*kind.ok_or(WireError("message_type"))?);
    for entry in wire.entries {
        message.mut_entries().push(entry_from_wire(entry)?);
    }
    if let Some(snapshot) = wire.snapshot {
        // The log begins at 1: of nothing there is no snapshot.
        if snapshot.index == 0 {
            return Err(WireError("snapshot"));
        }
        let members = snapshot.conf_state.ok_or(WireError("conf_state"))?;
        let metadata = message.mut_snapshot().mut_metadata();
        metadata.index = snapshot.index;
        metadata.term = snapshot.term;
        metadata.set_conf_state(ConfState {
            voters: members.voters,
            learners: members.learners,
            voters_outgoing: members.voters_outgoing,
            learners_next: members.learners_next,
            auto_leave: members.auto_leave,
            ..Default::default()
        });
    } else if message.get_msg_type() == MessageType::MsgSnapshot {
        return Err(WireError("snapshot"));
    }
    Ok(message)
}

fn entry_from_wire(wire: v1::RaftEntry) -> Result<Entry, WireError> {
    let mut entry = Entry {
        term: wire.term,
        index: wire.index,
        data: wire.data,
        context: wire.context,
        ..Default::default()
    };
    entry.set_entry_type(match wire.entry_type {
        0 => EntryType::EntryNormal,
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        _ => return Err(WireError("entry_type")),
    });
    Ok(entry)
}

/// The messages that one member sends to another; the others are a member's own affair.
const TYPES: [MessageType; 13] = [
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgSnapshot,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgTransferLeader,
    MessageType::MsgTimeoutNow,
    MessageType::MsgReadIndex,
    MessageType::MsgReadIndexResp,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
];
