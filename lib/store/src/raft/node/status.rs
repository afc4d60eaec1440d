//! What a member is, and what it knows of the others.

use raft::{ProgressState, StateRole};

use super::{ELECTION_TICKS, Node};
use crate::raft::convert::members_from_raft;
use crate::sender::{Sender, Standing};
use crate::storage::{LogPosition, Membership};

/// So many entries a learner may be behind when it becomes a voter.
const MAX_LEARNER_LAG: u64 = 1024;

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

impl Node {
    /// Whether a peer was heard of lately. (raft-rs has a mark for that too, but takes it off
    /// everybody once in a while.)
    fn is_active(&self, member: u64) -> bool {
        let heard = self.heard.get(&member);
        heard.is_some_and(|heard| heard + ELECTION_TICKS as u64 >= self.ticks)
    }

    /// The other voter whose log is the most complete, of those heard of lately.
    pub fn heir(&self) -> Option<u64> {
        let raft = &self.raw.raft;
        let voters = raft.prs().conf().voters();
        let peers = raft.prs().iter().filter(|(member, _)| {
            **member != self.member && self.is_active(**member) && voters.contains(**member)
        });
        let heir = peers.max_by_key(|(member, progress)| (progress.matched, **member));
        heir.map(|(member, _)| *member)
    }

    /// A learner that has caught up with the log so far that it can vote. What it is known to have
    /// counts, not how entries are sent to it: raft-rs is not sure of a member whose snapshot was
    /// the newest, and says nothing more to it, until there is another entry.
    pub fn grown_up(&self) -> Option<u64> {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader || raft.has_pending_conf() {
            return None;
        }
        let learners = self.raw.store().conf_state().learners.iter();
        let mut grown = learners.copied().filter(|member| {
            raft.prs().get(*member).is_some_and(|progress| {
                progress.state != ProgressState::Snapshot
                    && progress.recent_active
                    && progress.matched > 0
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

    /// How many entries the log in memory has, and how many bytes.
    pub fn log_size(&self) -> (usize, usize) {
        let log = self.raw.store();
        (log.len(), log.bytes())
    }

    /// How many of these bytes do not show in the rows yet.
    pub fn unsettled_bytes(&self) -> usize {
        self.raw.store().unsettled_bytes()
    }

    /// Whether this member leads and has applied an entry of its own term: only then is its head
    /// state the one that the next proposal builds on.
    pub fn leads(&self) -> bool {
        let raft = &self.raw.raft;
        raft.state == StateRole::Leader && self.raw.store().applied().term == raft.term
    }

    /// Whether this member leads and is passing that on: it proposes nothing until somebody else
    /// leads, or until it has waited too long for that.
    pub fn hands_over(&self) -> bool {
        self.raw.raft.lead_transferee.is_some()
    }

    /// Whether this member leads, be it with an entry of its own term applied or not.
    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
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

    /// Up to where the log shows in the rows.
    pub fn settled_position(&self) -> LogPosition {
        self.raw.store().settled()
    }

    /// Whether the members, as of what is applied, listen to somebody.
    pub fn standing(&self, sender: &Sender) -> Standing {
        let mut servers = self.servers.iter();
        let known = servers.find(|(of, _)| *of == sender.member);
        let known = known.map(|(_, server)| *server);
        let voters = &self.raw.store().conf_state().voters;
        sender.standing(self.since, known, voters.contains(&sender.member))
    }

    /// The members, as of what is applied.
    pub fn membership(&self) -> Membership {
        Membership {
            addresses: self.addresses.clone(),
            servers: self.servers.clone(),
            since: self.since,
            ..members_from_raft(self.raw.store().conf_state())
        }
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
            .map(|(member, progress)| (*member, progress.matched, self.is_active(*member)))
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

pub(super) fn role(state: StateRole) -> Role {
    match state {
        StateRole::Leader => Role::Leader,
        StateRole::Follower => Role::Follower,
        StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
    }
}
