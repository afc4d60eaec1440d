//! One member's part in Raft.
//!
//! raft-rs hands out its work as a `Ready`, with rules about order: messages that promise
//! something go out only after what they promise is on disk; a leader's may go before. Writes are
//! asynchronous here: a `Ready` is acknowledged to raft-rs at once, its entries wait in the
//! memory log, and [`Node::persisted`] tells later that the disk has them. While the disk works,
//! further proposals gather, and the next flush takes them all: that is the group commit.
//!
//! Every proposal carries a [`Mark`]. An entry that commits without this node's mark was proposed
//! by another leader, or by this member in an earlier life.

use bytes::Bytes;
use raft::eraftpb::{ConfState, Entry, EntryType, HardState as RaftHardState, Message};
use raft::{Config, RawNode, StateRole};

use super::{drain, log::Log};
use crate::storage::{self, EntryKind, LogEntry, LogPosition, Membership};

/// Ticks without a heartbeat before a follower asks for an election.
const ELECTION_TICKS: usize = 10;
/// Ticks between heartbeats.
const HEARTBEAT_TICKS: usize = 1;
/// The most bytes of entries in one message to a peer.
const MAX_MESSAGE_BYTES: u64 = 1 << 20;
/// The most messages with entries on their way to one peer.
const MAX_INFLIGHT_MESSAGES: usize = 256;
/// The most bytes proposed and not yet committed; beyond, proposals are refused.
pub const MAX_UNCOMMITTED_BYTES: u64 = 256 << 20;
/// The most bytes of committed entries handed out at once.
const MAX_COMMITTED_BYTES: u64 = 16 << 20;

/// By what a member recognises its own proposals: 24 bytes in `Entry.context`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// The member that proposed.
    pub member: u64,
    /// A random number, chosen when its process started.
    pub process: u64,
    /// Counts the process's proposals.
    pub sequence: u64,
}

impl Mark {
    fn encode(self) -> Vec<u8> {
        [self.member, self.process, self.sequence]
            .map(u64::to_le_bytes)
            .concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        match (words, rest) {
            ([member, process, sequence], []) => Some(Self {
                member: u64::from_le_bytes(*member),
                process: u64::from_le_bytes(*process),
                sequence: u64::from_le_bytes(*sequence),
            }),
            _ => None,
        }
    }
}

/// What a member is at the moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// It orders the proposals.
    Leader,
    /// It follows.
    Follower,
    /// It asks for votes, or whether it should.
    Candidate,
}

impl Role {
    /// As `cluster/status` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
        }
    }
}

/// What a member knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// Its number.
    pub member: u64,
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// Who leads; 0 if nobody is known to.
    pub leader: u64,
    /// The newest committed index.
    pub commit: u64,
    /// The newest applied index.
    pub applied: u64,
    /// The oldest index in the log.
    pub first: u64,
    /// The newest index in the log.
    pub last: u64,
    /// Who belongs to the cluster.
    pub membership: Membership,
}

/// A committed entry, to be applied in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Committed {
    /// Where it stands.
    pub position: LogPosition,
    /// Who proposed it, if it says so.
    pub mark: Option<Mark>,
    /// What it is to Raft.
    pub kind: EntryKind,
    /// The payload.
    pub data: Bytes,
}

/// What a node wants done.
#[derive(Debug, Default)]
pub struct Work {
    /// Entries to append to the log on disk.
    pub entries: Vec<LogEntry>,
    /// Raft's variables to write with them.
    pub hard_state: Option<storage::HardState>,
    /// Set if something here must be flushed: the number to give to [`Node::persisted`] then.
    pub flush: Option<u64>,
    /// Messages for peers that may go at once.
    pub messages: Vec<Message>,
    /// Messages for peers that may go only after the flush.
    pub messages_after_flush: Vec<Message>,
    /// Entries to apply.
    pub committed: Vec<Committed>,
    /// The role, if it changed.
    pub role: Option<Role>,
}

/// Why the node did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Not the leader, or too much is uncommitted.
    #[error("the proposal was refused: {0}")]
    Refused(String),
    /// The state on disk does not fit together, or a message makes no sense.
    #[error("raft: {0}")]
    Raft(String),
}

/// One raft-rs node.
pub struct Node {
    raw: RawNode<Log>,
    member: u64,
    process: u64,
    proposals: u64,
    flushing: u64,
    flushed: u64,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Node")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Node {
    /// A node with the state that was found on disk. `process` is a random number. The only voter
    /// of a cluster does not wait for an election.
    pub fn new(state: &storage::State, process: u64) -> Result<Self, NodeError> {
        let member = state.identity.member;
        let log = Log::new(
            hard_state_to_raft(state.hard_state),
            membership_to_raft(&state.membership),
            state.truncated,
            state.applied,
            state.entries.iter().map(entry_to_raft).collect(),
        );
        let config = Config {
            id: member,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied: state.applied.index,
            max_size_per_msg: MAX_MESSAGE_BYTES,
            max_inflight_msgs: MAX_INFLIGHT_MESSAGES,
            check_quorum: true,
            pre_vote: true,
            batch_append: true,
            max_uncommitted_size: MAX_UNCOMMITTED_BYTES,
            max_committed_size_per_ready: MAX_COMMITTED_BYTES,
            ..Config::default()
        };
        let raft_error = |error: raft::Error| NodeError::Raft(error.to_string());
        let mut raw = RawNode::new(&config, log, &drain::logger()).map_err(raft_error)?;
        if state.membership.voters == [member] && state.membership.voters_outgoing.is_empty() {
            raw.campaign().map_err(raft_error)?;
        }
        Ok(Self {
            raw,
            member,
            process,
            proposals: 0,
            flushing: 0,
            flushed: 0,
        })
    }

    /// One tick of the clock has passed.
    pub fn tick(&mut self) {
        self.raw.tick();
    }

    /// Proposes an entry and says by what to recognise it. Only a leader may.
    pub fn propose(&mut self, data: Vec<u8>) -> Result<Mark, NodeError> {
        if self.raw.raft.state != StateRole::Leader {
            return Err(NodeError::Refused("not the leader".to_owned()));
        }
        self.proposals += 1;
        let mark = Mark {
            member: self.member,
            process: self.process,
            sequence: self.proposals,
        };
        match self.raw.propose(mark.encode(), data) {
            Ok(()) => Ok(mark),
            Err(error) => Err(NodeError::Refused(error.to_string())),
        }
    }

    /// A message of a peer has arrived.
    pub fn receive(&mut self, message: Message) -> Result<(), NodeError> {
        self.raw
            .step(message)
            .map_err(|error| NodeError::Raft(error.to_string()))
    }

    /// Everything up to this [`Work::flush`] is on disk.
    pub fn persisted(&mut self, flush: u64) {
        self.flushed = flush;
        self.raw.on_persist_ready(flush);
    }

    /// Entries up to here, and with them these members, are part of the tables.
    pub fn applied(&mut self, position: LogPosition) {
        self.raw.mut_store().set_applied(position);
        self.raw.advance_apply_to(position.index);
    }

    /// Takes the next portion of work, if there is any.
    pub fn take_work(&mut self) -> Option<Work> {
        if !self.raw.has_ready() {
            return None;
        }
        let mut ready = self.raw.ready();
        let mut work = Work {
            messages: ready.take_messages(),
            messages_after_flush: ready.take_persisted_messages(),
            committed: ready
                .take_committed_entries()
                .into_iter()
                .map(committed_from_raft)
                .collect(),
            role: ready.ss().map(|state| role(state.raft_state)),
            ..Work::default()
        };
        let entries = ready.take_entries();
        let log = self.raw.mut_store();
        log.append(&entries);
        if let Some(hard_state) = ready.hs() {
            log.set_hard_state(hard_state.clone());
            work.hard_state = Some(hard_state_from_raft(hard_state));
        }
        work.entries = entries.iter().map(entry_from_raft).collect();

        let number = ready.number();
        let flush = ready.must_sync() || !work.messages_after_flush.is_empty();
        self.raw.advance_append_async(ready);
        if flush {
            self.flushing = number;
            work.flush = Some(number);
        } else if self.flushing == self.flushed {
            // Nothing in it has to wait for the disk, and nothing before it does.
            self.flushing = number;
            self.persisted(number);
        }
        Some(work)
    }

    /// Forgets the log up to and including an index; answers up to where it is forgotten now.
    pub fn truncate(&mut self, index: u64) -> LogPosition {
        self.raw.mut_store().truncate(index)
    }

    /// How many entries the log in memory has, and how many bytes.
    pub fn log_size(&self) -> (usize, usize) {
        let log = self.raw.store();
        (log.len(), log.bytes())
    }

    /// Whether this member leads and its own term has begun: only then is its head state the one
    /// that the next proposal builds on.
    pub fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader && self.raw.raft.commit_to_current_term()
    }

    /// What this member knows.
    pub fn status(&self) -> Status {
        let raft = &self.raw.raft;
        let log = self.raw.store();
        Status {
            member: self.member,
            role: role(raft.state),
            term: raft.term,
            leader: raft.leader_id,
            commit: raft.raft_log.committed,
            applied: log.applied().index,
            first: log.truncated().index + 1,
            last: log.last(),
            membership: membership_from_raft(log.conf_state()),
        }
    }
}

fn role(state: StateRole) -> Role {
    match state {
        StateRole::Leader => Role::Leader,
        StateRole::Follower => Role::Follower,
        StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
    }
}

fn committed_from_raft(entry: Entry) -> Committed {
    Committed {
        position: LogPosition {
            index: entry.index,
            term: entry.term,
        },
        mark: Mark::decode(&entry.context),
        kind: kind_from_raft(entry.get_entry_type()),
        data: entry.data,
    }
}

fn entry_from_raft(entry: &Entry) -> LogEntry {
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

fn entry_to_raft(entry: &LogEntry) -> Entry {
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

fn kind_from_raft(kind: EntryType) -> EntryKind {
    match kind {
        EntryType::EntryNormal => EntryKind::Normal,
        EntryType::EntryConfChange => EntryKind::ConfChange,
        EntryType::EntryConfChangeV2 => EntryKind::ConfChangeV2,
    }
}

fn hard_state_from_raft(state: &RaftHardState) -> storage::HardState {
    storage::HardState {
        term: state.term,
        vote: state.vote,
        commit: state.commit,
    }
}

fn hard_state_to_raft(state: storage::HardState) -> RaftHardState {
    RaftHardState {
        term: state.term,
        vote: state.vote,
        commit: state.commit,
        ..Default::default()
    }
}

fn membership_from_raft(state: &ConfState) -> Membership {
    Membership {
        voters: state.voters.clone(),
        learners: state.learners.clone(),
        voters_outgoing: state.voters_outgoing.clone(),
        learners_next: state.learners_next.clone(),
        auto_leave: state.auto_leave,
    }
}

fn membership_to_raft(membership: &Membership) -> ConfState {
    ConfState {
        voters: membership.voters.clone(),
        learners: membership.learners.clone(),
        voters_outgoing: membership.voters_outgoing.clone(),
        learners_next: membership.learners_next.clone(),
        auto_leave: membership.auto_leave,
        ..Default::default()
    }
}
