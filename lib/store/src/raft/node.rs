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

mod mark;
mod members;
mod status;
mod work;

use std::collections::BTreeMap;

use raft::eraftpb::{Message, MessageType};
use raft::{Config, RawNode, SnapshotStatus, StateRole};
use uuid::Uuid;

pub use self::mark::Mark;
pub use self::members::MemberChange;
pub use self::status::{Role, Status};
pub use self::work::{Committed, Work};
use super::convert::{entry_to_raft, hard_state_to_raft, members_to_raft};
use super::{drain, log::Log};
use crate::storage::{self, LogPosition};

/// Ticks without a heartbeat before a follower asks for an election.
const ELECTION_TICKS: usize = 10;
/// Ticks between heartbeats.
const HEARTBEAT_TICKS: usize = 1;
/// The most bytes of entries in one message to a peer.
const MAX_MESSAGE_BYTES: u64 = 1 << 20;
/// The most messages with entries on their way to one peer. Heartbeats stand behind them: a slow
/// network takes them all well within an election time-out.
const MAX_INFLIGHT_MESSAGES: usize = 32;
/// The most bytes proposed and not yet committed; beyond, proposals are refused. More than the core
/// lets wait: no part of a transaction is refused.
const MAX_UNCOMMITTED_BYTES: u64 = 384 << 20;
/// The most bytes of committed entries handed out at once.
const MAX_COMMITTED_BYTES: u64 = 16 << 20;

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
    /// The flush that brings the present term to the disk.
    term_flush: u64,
    /// A snapshot that waits for the disk: the flush, and its place.
    restoring: Option<(u64, LogPosition)>,
    /// Where members are reached, which servers they are, and the log index since when they are
    /// the members.
    addresses: Vec<(u64, String)>,
    servers: Vec<(u64, Uuid)>,
    since: u64,
    ticks: u64,
    /// When each peer was last heard of, in ticks.
    heard: BTreeMap<u64, u64>,
    /// Up to where each peer was told that the log is committed.
    told: BTreeMap<u64, u64>,
    gone: Option<Gone>,
}

/// The leader of a term seems to be gone.
#[derive(Clone, Copy, Debug)]
struct Gone {
    leader: u64,
    term: u64,
    /// So many ticks pass before this member asks for an election, and before it asks again.
    first: usize,
    again: usize,
    /// From this tick on, ordinary time-outs hold again.
    until: u64,
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
    /// A node with the state that was found on disk, whose rows stand at `settled`. `process` is a
    /// random number. The only voter of a cluster does not wait for an election.
    pub fn new(
        state: &storage::State,
        settled: LogPosition,
        process: u64,
    ) -> Result<Self, NodeError> {
        let member = state.identity.member;
        let log = Log::new(
            hard_state_to_raft(state.hard_state),
            members_to_raft(&state.membership),
            state.truncated,
            (state.applied, settled),
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
            // Said with what comes next, see `owes_news`.
            skip_bcast_commit: true,
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
            term_flush: 0,
            restoring: None,
            addresses: state.membership.addresses.clone(),
            servers: state.membership.servers.clone(),
            since: state.membership.since,
            ticks: 0,
            heard: BTreeMap::new(),
            told: BTreeMap::new(),
            gone: None,
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
        self.ticks += 1;
        if self.restoring.is_some() {
            // It must not ask for an election: raft-rs would look for entries that the snapshot has
            // taken the place of, and panic.
            return;
        }
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
        if let Some(gone) = self.gone {
            let wait = match (raft.state, raft.leader_id) {
                (StateRole::Follower, leader) if leader == gone.leader => Some(gone.first),
                // Others did not say yes, at once or not yet.
                (StateRole::Follower | StateRole::PreCandidate, 0) => Some(gone.again),
                _ => None,
            };
            match wait.filter(|_| gone.term == raft.term && self.ticks < gone.until) {
                Some(wait) => {
                    raft.election_elapsed = raft.election_elapsed.max(ELECTION_TICKS);
                    return raft.set_randomized_election_timeout(ELECTION_TICKS + wait);
                }
                None => self.gone = None,
            }
        }
        let seed = mix(self.process ^ mix(self.member ^ mix(raft.term)));
        let ticks = ELECTION_TICKS + (seed % ELECTION_TICKS as u64) as usize;
        raft.set_randomized_election_timeout(ticks);
    }

    /// A peer's process has ended, probably. If it led, this member does not wait until it has
    /// missed the leader for long: it asks for an election after a few ticks, the members in turn.
    /// Who has not heard yet that the leader is gone does not answer, so it asks again, each time
    /// in its turn, until everybody must have missed the leader.
    /// If the leader lives all the same, the others say no, and the leader's next word ends this.
    pub fn peer_gone(&mut self, member: u64) {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Follower || raft.leader_id != member {
            return;
        }
        let voters = &self.raw.store().conf_state().voters;
        let others = voters.iter().filter(|voter| **voter != member);
        let turn = others.clone().filter(|voter| **voter < self.member).count();
        self.gone = Some(Gone {
            leader: member,
            term: raft.term,
            first: (1 + 2 * turn).min(ELECTION_TICKS - 1),
            again: (2 * others.count()).clamp(1, ELECTION_TICKS - 1),
            until: self.ticks + 2 * ELECTION_TICKS as u64,
        });
        self.draw_timeout();
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

    /// Asks whether the leader still leads; if so, the context comes back in [`Work::reads`].
    /// If not, or if messages are lost, it does not.
    pub fn read_index(&mut self, context: u64) {
        let context = [self.process, context].map(u64::to_le_bytes).concat();
        self.raw.read_index(context);
    }

    /// Whether there is a peer that has entries of which it does not know that they are committed.
    /// A leader says so with the next entries that it sends: whoever waits a moment before
    /// [`Self::tell_news`] saves a message to each peer, and its answer.
    pub fn owes_news(&self) -> bool {
        let raft = &self.raw.raft;
        let mut peers = raft.prs().iter().filter(|(peer, _)| **peer != self.member);
        raft.state == StateRole::Leader
            && peers.any(|(peer, progress)| {
                let told = self.told.get(peer).copied().unwrap_or(0);
                progress.matched.min(raft.raft_log.committed) > told
            })
    }

    /// Tells the peers up to where the log is committed.
    pub fn tell_news(&mut self) {
        self.raw.ping();
    }

    /// A message of a peer has arrived.
    pub fn receive(&mut self, message: Message) -> Result<(), NodeError> {
        self.heard.insert(message.from, self.ticks);
        self.gone
            .take_if(|gone| gone.leader == message.from && is_of_leader(&message));
        let (had, has) = (message.commit, self.raw.raft.raft_log.last_index());
        if message.get_msg_type() == MessageType::MsgHeartbeat
            && message.term >= self.raw.raft.term
            && had > has
        {
            return Err(NodeError::Lost { had, has });
        }
        let is_early_call =
            message.get_msg_type() == MessageType::MsgTimeoutNow && self.restoring.is_some();
        if is_early_call || is_stale_grant(&message, &self.raw.raft) {
            return Ok(());
        }
        let stepped = self.raw.step(message);
        self.draw_timeout();
        stepped.map_err(|error| NodeError::Raft(error.to_string()))
    }

    /// Lets so many bytes of entries go into one message, unless one entry is larger.
    pub fn set_message_bytes(&mut self, bytes: u64) {
        self.raw.raft.max_msg_size = bytes;
    }

    /// Messages to a peer were lost.
    pub fn unreachable(&mut self, member: u64) {
        self.told.remove(&member);
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

    /// Everything up to this [`Work::flush`] is on disk.
    pub fn persisted(&mut self, flush: u64) {
        self.flushed = flush;
        self.raw.on_persist_ready(flush);
        if let Some((_, position)) = self.restoring.take_if(|(at, _)| *at <= flush) {
            self.raw.advance_apply_to(position.index);
        }
        self.draw_timeout();
    }

    /// Entries up to here are applied, and those up to `settled` show in the rows.
    pub fn applied(&mut self, position: LogPosition, settled: LogPosition) {
        self.raw.mut_store().set_applied(position, settled);
        self.forget_first();
        self.raw.advance_apply_to(position.index);
    }

    /// Forgets the log up to and including an index; answers up to where it is forgotten now.
    pub fn truncate(&mut self, index: u64) -> LogPosition {
        self.raw.mut_store().truncate(index)
    }
}

/// Whether only a leader sends such a message. Of a leader that was gone and has started again,
/// others come.
fn is_of_leader(message: &Message) -> bool {
    matches!(
        message.get_msg_type(),
        MessageType::MsgHeartbeat | MessageType::MsgAppend | MessageType::MsgSnapshot
    )
}

/// Whether somebody grants a pre-vote that was asked for in an earlier term: raft-rs would count it
/// in the present one. A grant has the term that was asked for, which is the next; a refusal has
/// the term of who refuses.
fn is_stale_grant(message: &Message, raft: &raft::Raft<Log>) -> bool {
    message.get_msg_type() == MessageType::MsgRequestPreVoteResponse
        && !message.reject
        && message.term != raft.term + 1
}

/// Spreads the bits of a number (the finaliser of SplitMix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{HardState, Identity, Membership, State};

    fn state(member: u64) -> State {
        State {
            identity: Identity {
                database: "D".to_owned(),
                cluster: Uuid::nil(),
                server: Uuid::from_u128(u128::from(member)),
                member,
            },
            hard_state: HardState::default(),
            membership: Membership {
                voters: vec![1, 2, 3],
                ..Membership::default()
            },
            applied: LogPosition::default(),
            truncated: LogPosition::default(),
            entries: Vec::new(),
            names: Vec::new(),
        }
    }

    /// One of three, whom member 2 leads.
    fn follower(member: u64) -> Node {
        let mut node = Node::new(&state(member), LogPosition::default(), 7).unwrap();
        heartbeat(&mut node);
        assert_eq!(node.leader(), (2, 1));
        node
    }

    fn heartbeat(node: &mut Node) {
        hear(node, 2, MessageType::MsgHeartbeat, false);
    }

    fn hear(node: &mut Node, from: u64, kind: MessageType, reject: bool) {
        let mut message = Message {
            from,
            to: node.member(),
            term: 1,
            reject,
            ..Message::default()
        };
        message.set_msg_type(kind);
        node.receive(message).unwrap();
    }

    /// How many signs of life go at once, how many wait for the disk, and for which flush.
    fn signs(node: &mut Node) -> (usize, usize, Option<u64>) {
        let count = |messages: &[Message]| {
            let mut kinds = messages.iter().map(Message::get_msg_type);
            kinds
                .by_ref()
                .filter(|kind| *kind == MessageType::MsgHeartbeatResponse)
                .count()
        };
        let work: Vec<Work> = std::iter::from_fn(|| node.take_work()).collect();
        (
            work.iter().map(|work| count(&work.messages)).sum(),
            work.iter()
                .map(|work| count(&work.messages_after_flush))
                .sum(),
            work.iter().filter_map(|work| work.flush).max(),
        )
    }

    #[test]
    fn a_sign_of_life_waits_for_the_disk_in_a_new_term_only() {
        let mut node = follower(1);
        let (0, 1, Some(_)) = signs(&mut node) else {
            panic!("the term is new");
        };
        heartbeat(&mut node);
        let (0, 1, Some(flush)) = signs(&mut node) else {
            panic!("the term is not on disk yet");
        };
        node.persisted(flush);
        heartbeat(&mut node);
        assert_eq!(signs(&mut node), (1, 0, None));
        // Whatever the disk has to do.
        let mut append = Message {
            from: 2,
            to: 1,
            term: 1,
            entries: vec![raft::eraftpb::Entry {
                index: 1,
                term: 1,
                ..Default::default()
            }]
            .into(),
            ..Message::default()
        };
        append.set_msg_type(MessageType::MsgAppend);
        node.receive(append).unwrap();
        heartbeat(&mut node);
        let (1, 0, Some(_)) = signs(&mut node) else {
            panic!("the entry waits, the sign does not");
        };
        heartbeat(&mut node);
        assert_eq!(signs(&mut node), (1, 0, None));
    }

    /// After how many ticks it asks whether it would be elected.
    fn ticks_to_election(node: &mut Node) -> usize {
        (1..100)
            .find(|_| {
                node.tick();
                let work = std::iter::from_fn(|| node.take_work());
                let mut messages =
                    work.flat_map(|work| [work.messages, work.messages_after_flush].concat());
                messages.any(|message| message.get_msg_type() == MessageType::MsgRequestPreVote)
            })
            .unwrap()
    }

    #[test]
    fn a_leader_whose_process_ended_is_replaced_at_once_and_in_turn() {
        for (member, expected) in [(1, 1), (3, 3)] {
            let mut node = follower(member);
            node.peer_gone(if member == 1 { 3 } else { 1 });
            assert!(ticks_to_election(&mut node) >= ELECTION_TICKS);

            let mut node = follower(member);
            node.peer_gone(2);
            assert_eq!(ticks_to_election(&mut node), expected, "member {member}");
        }
    }

    #[test]
    fn who_gets_no_answer_asks_again_soon_but_not_for_ever() {
        for refused in [false, true] {
            for (member, first) in [(1, 1), (3, 3)] {
                let mut node = follower(member);
                node.peer_gone(2);
                let mut asked = Vec::new();
                let mut ticks = 0;
                while ticks < 5 * ELECTION_TICKS {
                    ticks += ticks_to_election(&mut node);
                    asked.push(ticks);
                    if refused {
                        let kind = MessageType::MsgRequestPreVoteResponse;
                        hear(&mut node, 4 - member, kind, true);
                        hear(&mut node, 2, kind, true);
                        assert_eq!(node.raw.raft.state, StateRole::Follower);
                    }
                }
                let soon = (first..2 * ELECTION_TICKS).step_by(4).collect::<Vec<_>>();
                assert_eq!(asked[..soon.len()], soon, "member {member}");
                let later = asked[soon.len()..].windows(2);
                let pauses = later.map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
                assert!(!pauses.is_empty());
                assert!(
                    pauses.iter().all(|pause| *pause >= ELECTION_TICKS),
                    "member {member} asked at {asked:?}"
                );
            }
        }
    }

    #[test]
    fn another_leader_or_term_ends_the_haste() {
        let leads = |node: &mut Node| hear(node, 3, MessageType::MsgHeartbeat, false);
        let term = |node: &mut Node| {
            let mut message = Message {
                from: 3,
                to: node.member(),
                term: 2,
                ..Message::default()
            };
            message.set_msg_type(MessageType::MsgRequestVote);
            node.receive(message).unwrap();
            assert_eq!(node.leader(), (0, 2));
        };
        let ends: [&dyn Fn(&mut Node); 2] = [&leads, &term];
        for (number, end) in ends.into_iter().enumerate() {
            let mut node = follower(1);
            node.peer_gone(2);
            assert_eq!(ticks_to_election(&mut node), 1);
            end(&mut node);
            assert!(ticks_to_election(&mut node) >= ELECTION_TICKS, "{number}");
        }
    }

    #[test]
    fn a_leader_that_has_started_again_does_not_lead() {
        let mut node = follower(3);
        node.peer_gone(2);
        hear(&mut node, 2, MessageType::MsgRequestPreVote, false);
        assert_eq!(ticks_to_election(&mut node), 3);
    }

    #[test]
    fn any_number_of_voters_takes_turns() {
        for last in [2, 3, 5, 7, 40] {
            let mut state = state(last);
            state.membership.voters = (1..=last).collect();
            let mut node = Node::new(&state, LogPosition::default(), 7).unwrap();
            let mut message = Message {
                from: 41,
                to: last,
                term: 9,
                ..Message::default()
            };
            message.set_msg_type(MessageType::MsgHeartbeat);
            node.receive(message).unwrap();
            node.peer_gone(41);
            assert!(
                ticks_to_election(&mut node) < ELECTION_TICKS,
                "{last} voters"
            );
        }
    }

    #[test]
    fn a_leader_that_lives_after_all_stays() {
        for ticks in 1..8 {
            let mut node = follower(1);
            node.peer_gone(2);
            (0..ticks).for_each(|_| node.tick());
            heartbeat(&mut node);
            while node.take_work().is_some() {}
            assert_eq!(node.leader(), (2, 1));
            assert!(
                ticks_to_election(&mut node) >= ELECTION_TICKS,
                "{ticks} ticks"
            );
        }
    }

    /// It was elected before it applied that it is removed, and its disk is at work meanwhile.
    #[test]
    fn a_leader_that_is_removed_leads_no_more() {
        let mut node = Node::new(&state(1), LogPosition::default(), 7).unwrap();
        node.raw.raft.become_candidate();
        node.raw.raft.become_leader();
        node.propose(b"entry".to_vec()).unwrap();
        let work = node.take_work().unwrap();
        let removal = rpc::v1::RaftConfChange {
            changes: vec![rpc::v1::RaftConfChangeSingle {
                change_type: 1,
                node_id: 1,
            }],
            ..Default::default()
        };
        let data = prost::Message::encode_to_vec(&removal);
        let members = node.apply_change(1, &data).unwrap();
        assert_eq!(members.voters, [2, 3]);
        node.persisted(work.flush.unwrap());
        assert!(!node.is_leader());
    }
}
