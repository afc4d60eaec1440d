//! One member's part in Raft.
//!
//! raft-rs hands out its work as a `Ready`, with rules about order: messages that promise
//! something go out only after what they promise is on disk; a leader's may go before. Writes are
//! asynchronous here: a `Ready` is acknowledged to raft-rs at once, its entries wait in the
//! memory log, and [`Node::persisted`] tells later that the disk has them. While the disk works,
//! further proposals gather, and the next flush takes them all: that is the group commit.
//!
//! raft-rs draws its election time-outs from a generator that cannot be seeded. A node overwrites
//! them with numbers that follow from its member, its process and the term, so that a simulated
//! cluster behaves the same each time.
//!
//! Every proposal carries a [`Mark`]. An entry that commits without this node's mark was proposed
//! by another leader, or by this member in an earlier life.

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, Entry, Message, MessageType};
use raft::{Config, ProgressState, RawNode, SnapshotStatus, StateRole};
use rpc::v1::RaftConfChange;

use super::convert::{
    entry_from_raft, entry_to_raft, hard_state_from_raft, hard_state_to_raft, kind_from_raft,
    members_from_raft, members_to_raft,
};
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
/// So many entries a learner may be behind when it becomes a voter.
const MAX_LEARNER_LAG: u64 = 1024;
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
    /// What a leader knows of the others' logs: member, newest index that it has, and whether it
    /// was heard of lately. Empty on others than the leader.
    pub peers: Vec<(u64, u64, bool)>,
}

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
    /// All rows are to be replaced by those of the snapshot that stands here.
    pub snapshot: Option<(LogPosition, Membership)>,
    /// Contexts of [`Node::read_index`] for which this member still led afterwards.
    pub reads: Vec<u64>,
    /// The role, if it, or the leader, changed.
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
    /// The leader knows that this member had more than it has.
    #[error(
        "this member had the log up to entry {had} and has it up to {has} only: its disk has lost \
         what was on it; remove the member from the cluster and add a new one in its place"
    )]
    Lost {
        /// What it acknowledged.
        had: u64,
        /// What it has.
        has: u64,
    },
}

/// One raft-rs node.
pub struct Node {
    raw: RawNode<Log>,
    member: u64,
    process: u64,
    proposals: u64,
    flushing: u64,
    flushed: u64,
    /// A snapshot that waits for the disk: the flush, and its place.
    restoring: Option<(u64, LogPosition)>,
    /// Where members are reached, and the log index since when they are the members.
    addresses: Vec<(u64, String)>,
    since: u64,
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
            members_to_raft(&state.membership),
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
        let mut node = Self {
            raw,
            member,
            process,
            proposals: 0,
            flushing: 0,
            flushed: 0,
            restoring: None,
            addresses: state.membership.addresses.clone(),
            since: state.membership.since,
        };
        node.draw_timeout();
        node.forget_first();
        Ok(node)
    }

    /// Who was a member at the very beginning does not stand in the log, so nobody may learn the
    /// log from there: a new member begins with a snapshot.
    fn forget_first(&mut self) {
        let log = self.raw.mut_store();
        if log.truncated().index == 0 && log.applied().index > 0 {
            log.truncate(1);
        }
    }

    /// One tick of the clock has passed.
    pub fn tick(&mut self) {
        let raft = &self.raw.raft;
        let alone = raft.prs().is_singleton() && raft.promotable();
        if alone && raft.state != StateRole::Leader && self.flushed != self.flushing {
            // It would elect itself at once, and raft-rs forbids that with writes under way.
            return;
        }
        self.raw.tick();
        self.draw_timeout();
    }

    fn draw_timeout(&mut self) {
        let raft = &mut self.raw.raft;
        let seed = mix(self.process ^ mix(self.member ^ mix(raft.term)));
        let ticks = ELECTION_TICKS + (seed % ELECTION_TICKS as u64) as usize;
        raft.set_randomized_election_timeout(ticks);
    }

    /// Proposes an entry and says by what to recognise it, and at which index of the log it
    /// stands. Only a leader may.
    pub fn propose(&mut self, data: Vec<u8>) -> Result<(Mark, u64), NodeError> {
        let mark = self.next_mark()?;
        match self.raw.propose(mark.encode(), data) {
            Ok(()) => Ok((mark, self.raw.raft.raft_log.last_index())),
            Err(error) => Err(NodeError::Refused(error.to_string())),
        }
    }

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

    fn next_mark(&mut self) -> Result<Mark, NodeError> {
        if self.raw.raft.state != StateRole::Leader {
            return Err(NodeError::Refused("not the leader".to_owned()));
        }
        self.proposals += 1;
        Ok(Mark {
            member: self.member,
            process: self.process,
            sequence: self.proposals,
        })
    }

    /// Asks whether this member still leads; if so, the context comes back in [`Work::reads`].
    /// If not, or if messages are lost, it does not.
    pub fn read_index(&mut self, context: u64) {
        let context = [self.process, context].map(u64::to_le_bytes).concat();
        self.raw.read_index(context);
    }

    /// A message of a peer has arrived.
    pub fn receive(&mut self, message: Message) -> Result<(), NodeError> {
        let (had, has) = (message.commit, self.raw.raft.raft_log.last_index());
        if message.get_msg_type() == MessageType::MsgHeartbeat
            && message.term >= self.raw.raft.term
            && had > has
        {
            return Err(NodeError::Lost { had, has });
        }
        let stepped = self.raw.step(message);
        self.draw_timeout();
        stepped.map_err(|error| NodeError::Raft(error.to_string()))
    }

    /// Messages to a peer were lost.
    pub fn unreachable(&mut self, member: u64) {
        self.raw.report_unreachable(member);
    }

    /// A snapshot was streamed to a peer, or was not.
    pub fn snapshot_sent(&mut self, member: u64, arrived: bool) {
        let status = match arrived {
            true => SnapshotStatus::Finish,
            false => SnapshotStatus::Failure,
        };
        self.raw.report_snapshot(member, status);
    }

    /// Hands leadership to another voter.
    pub fn transfer(&mut self, member: u64) {
        self.raw.transfer_leader(member);
    }

    /// The other voter whose log is the most complete, of those heard of lately.
    pub fn heir(&self) -> Option<u64> {
        let raft = &self.raw.raft;
        let voters = raft.prs().conf().voters();
        let peers = raft.prs().iter().filter(|(member, progress)| {
            **member != self.member && progress.recent_active && voters.contains(**member)
        });
        let heir = peers.max_by_key(|(member, progress)| (progress.matched, **member));
        heir.map(|(member, _)| *member)
    }

    /// A learner that has caught up with the log so far that it can vote.
    pub fn grown_up(&self) -> Option<u64> {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader || raft.has_pending_conf() {
            return None;
        }
        let learners = self.raw.store().conf_state().learners.iter();
        let mut grown = learners.copied().filter(|member| {
            raft.prs().get(*member).is_some_and(|progress| {
                progress.state == ProgressState::Replicate
                    && progress.recent_active
                    && progress.matched + MAX_LEARNER_LAG >= raft.raft_log.committed
            })
        });
        grown.next()
    }

    /// The oldest index at which a peer stands that is being sent a snapshot.
    pub fn snapshot_under_way(&self) -> Option<u64> {
        let peers = self.raw.raft.prs().iter();
        peers
            .filter(|(_, progress)| progress.state == ProgressState::Snapshot)
            .map(|(_, progress)| progress.pending_snapshot)
            .min()
    }

    /// Everything up to this [`Work::flush`] is on disk.
    pub fn persisted(&mut self, flush: u64) {
        self.flushed = flush;
        self.raw.on_persist_ready(flush);
        if let Some((_, position)) = self.restoring.take_if(|(at, _)| *at <= flush) {
            self.raw.advance_apply_to(position.index);
        }
        self.draw_timeout();
    }

    /// Entries up to here, and with them these members, are part of the tables.
    pub fn applied(&mut self, position: LogPosition) {
        self.raw.mut_store().set_applied(position);
        self.forget_first();
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
        let reads = ready.take_read_states().into_iter();
        work.reads = reads
            .filter_map(|read| match read.request_ctx.as_chunks::<8>() {
                ([process, context], []) if u64::from_le_bytes(*process) == self.process => {
                    Some(u64::from_le_bytes(*context))
                }
                _ => None,
            })
            .collect();
        let entries = ready.take_entries();
        let metadata = ready.snapshot().get_metadata();
        if metadata.index > 0 {
            let position = LogPosition {
                index: metadata.index,
                term: metadata.term,
            };
            let conf_state = metadata.get_conf_state().clone();
            work.snapshot = Some((position, members_from_raft(&conf_state)));
            self.restoring = Some((ready.number(), position));
            self.raw.mut_store().restore(position, conf_state);
        }
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

    /// Whether this member leads and has applied an entry of its own term: only then is its head
    /// state the one that the next proposal builds on.
    pub fn leads(&self) -> bool {
        let raft = &self.raw.raft;
        raft.state == StateRole::Leader && self.raw.store().applied().term == raft.term
    }

    /// Who leads, and in which term; nobody is 0.
    pub fn leader(&self) -> (u64, u64) {
        (self.raw.raft.leader_id, self.raw.raft.term)
    }

    /// This member's number.
    pub fn member(&self) -> u64 {
        self.member
    }

    /// The random number of this process.
    pub fn process(&self) -> u64 {
        self.process
    }

    /// How far the log is applied.
    pub fn applied_position(&self) -> LogPosition {
        self.raw.store().applied()
    }

    /// The members, as of what is applied.
    pub fn membership(&self) -> Membership {
        Membership {
            addresses: self.addresses.clone(),
            since: self.since,
            ..members_from_raft(self.raw.store().conf_state())
        }
    }

    /// What Raft does not know of the members of a snapshot.
    pub fn know_members(&mut self, membership: &Membership) {
        self.addresses.clone_from(&membership.addresses);
        self.since = membership.since;
    }

    /// What this member knows.
    pub fn status(&self) -> Status {
        let raft = &self.raw.raft;
        let log = self.raw.store();
        let peers = raft
            .prs()
            .iter()
            .filter(|_| raft.state == StateRole::Leader);
        let mut peers: Vec<_> = peers
            .map(|(member, progress)| (*member, progress.matched, progress.recent_active))
            .filter(|(member, ..)| *member != self.member)
            .collect();
        peers.sort_unstable();
        Status {
            member: self.member,
            role: role(raft.state),
            term: raft.term,
            leader: raft.leader_id,
            commit: raft.raft_log.committed,
            applied: log.applied().index,
            first: log.truncated().index + 1,
            last: log.last(),
            membership: self.membership(),
            peers,
        }
    }
}

/// Spreads the bits of a number (the finaliser of SplitMix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
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
