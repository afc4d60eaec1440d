//! The cluster: what other members say, and who they are.
//!
//! A new member learns before it votes: [`MemberChange::Add`] makes a learner, and the leader
//! makes it a voter when it has caught up with the log.

use ovsdb::{Error, ErrorKind, Uuid};

use super::Core;
use crate::event::{Effects, Output};
use crate::peer::{PeerMessage, Purpose};
use crate::raft::{Mark, MemberChange, NodeError};
use crate::sender::{Sender, Standing};
use crate::session::{RequestId, SessionId};
use crate::storage::Membership;

/// So many members a cluster may have, learners included.
const MAX_MEMBERS: usize = 7;

/// The longest address of a member.
const MAX_ADDRESS: usize = 256;

/// Whether a change of the members changes anything.
enum Need {
    Change,
    Nothing,
}

/// A new member's number must be free, and so must be its server.
fn check_addition(
    membership: &Membership,
    member: u64,
    server: Option<Uuid>,
) -> Result<Need, String> {
    if member == 0 {
        return Err("members are numbered from 1".to_owned());
    }
    let mut servers = membership.servers.iter();
    let same = servers.find(|(_, known)| Some(*known) == server);
    match (same, membership.server(member)) {
        (Some((of, _)), _) if *of == member => return Ok(Need::Nothing),
        (Some((of, _)), _) => return Err(format!("this server is member {of} already")),
        (None, Some(other)) => {
            return Err(format!(
                "member {member} is server {other}; if that one is lost, remove member {member} \
                 first, or take another number"
            ));
        }
        (None, None) => {}
    }
    if membership.voters.contains(&member) {
        return Err(format!("{member}: the number of a member already"));
    }
    let size = membership.voters.len() + membership.learners.len();
    if size >= MAX_MEMBERS && !membership.contains(member) {
        return Err(format!("the cluster has {MAX_MEMBERS} members already"));
    }
    Ok(Need::Change)
}

impl Core {
    /// Another member said something.
    pub(super) fn hear(
        &mut self,
        now_ms: u64,
        sender: Sender,
        message: PeerMessage,
        effects: &mut Effects,
    ) {
        let member = sender.member;
        // What is here now may have been on its way since before the members changed.
        let sender = match &message {
            // What a leader is asked: nobody knows of newer members than it.
            PeerMessage::Forward(_) | PeerMessage::Cancel(_) => sender.strictly(),
            PeerMessage::Raft(_) | PeerMessage::Answer(_) => sender,
        };
        if self.node.standing(&sender) != Standing::Member {
            tracing::debug!(
                "a message of server {}, which is not member {member}",
                sender.server
            );
            return;
        }
        match message {
            PeerMessage::Raft(message) => {
                if message.from != member || message.to != self.node.member() {
                    tracing::warn!("member {member} sent a message of {}", message.from);
                    return;
                }
                match self.node.receive(message) {
                    Err(error @ NodeError::Lost { .. }) => {
                        effects.failure = Some(error.to_string());
                    }
                    Err(error) => tracing::debug!("member {member}: {error}"),
                    Ok(()) => {}
                }
            }
            PeerMessage::Forward(forward) => self.forwarded(now_ms, member, *forward, effects),
            PeerMessage::Cancel(call) => self.forward_canceled(member, call, effects),
            PeerMessage::Answer(answer) => self.answered(answer, effects),
        }
    }

    /// A stream to another member broke.
    pub(super) fn peer_lost(&mut self, member: u64, purpose: Purpose) {
        if purpose == Purpose::Raft {
            return self.node.unreachable(member);
        }
        if self.node.leader().0 == member {
            self.forwards.resend();
        }
        // It sends again what it forwarded, if it lives.
        self.waits.forget_member(member);
    }

    /// Proposes a change of the members. The answer is true if nothing has to change.
    pub(super) fn change_members(
        &mut self,
        change: &MemberChange,
        waiter: (SessionId, RequestId),
    ) -> Result<bool, Error> {
        let refused = |details: String| Err(Error::new(ErrorKind::NotAllowed, details));
        if !self.serves() {
            return Err(self.not_leader());
        }
        match self.check_change(change) {
            Ok(Need::Change) => {}
            Ok(Need::Nothing) => return Ok(true),
            Err(reason) => return refused(reason),
        }
        match self.node.propose_change(change) {
            Ok(mark) => self.changes.push((mark, waiter)),
            Err(error) => {
                let kind = ErrorKind::ResourcesExhausted;
                return Err(Error::new(kind, error.to_string()));
            }
        }
        Ok(false)
    }

    /// Whether a change of the members makes sense; if not, why.
    fn check_change(&self, change: &MemberChange) -> Result<Need, String> {
        let membership = self.node.membership();
        let is_address = |address: &str| {
            (3..=MAX_ADDRESS).contains(&address.len())
                && address.contains(':')
                && !address.contains(char::is_whitespace)
        };
        match change {
            MemberChange::Add { address, .. } | MemberChange::Move { address, .. }
                if !is_address(address) =>
            {
                Err(format!("{address:?}: not an address (HOST:PORT)"))
            }
            MemberChange::Add { member, server, .. } => {
                check_addition(&membership, *member, *server)
            }
            MemberChange::Move { member, .. } | MemberChange::Remove { member }
                if !membership.contains(*member) =>
            {
                Err(format!("{member}: not a member"))
            }
            MemberChange::Move {
                member,
                address,
                server,
            } => {
                let place = (membership.address(*member), membership.server(*member));
                match place {
                    (_, Some(other)) if other != *server => {
                        Err(format!("member {member} is server {other}, not {server}"))
                    }
                    (Some(known), Some(_)) if known == address => Ok(Need::Nothing),
                    _ => Ok(Need::Change),
                }
            }
            MemberChange::Promote { member } if !membership.learners.contains(member) => {
                Err(format!("{member}: not a learner"))
            }
            MemberChange::Remove { member } if *member == self.node.member() => Err(format!(
                "{member} leads; transfer the leadership first, then remove it"
            )),
            MemberChange::Remove { member } => self.check_removal(&membership, *member),
            MemberChange::Promote { .. } => Ok(Need::Change),
        }
    }

    /// The members that stay must be able to go on.
    fn check_removal(&self, membership: &Membership, member: u64) -> Result<Need, String> {
        let voters = membership.voters.iter().filter(|voter| **voter != member);
        let voters: Vec<u64> = voters.copied().collect();
        let own = self.node.member();
        let peers = self.node.status().peers;
        let is_active = |voter: &u64| {
            let mut peers = peers.iter();
            *voter == own || peers.any(|(peer, _, active)| peer == voter && *active)
        };
        let (_, lost): (Vec<u64>, Vec<u64>) = voters.iter().partition(|voter| is_active(voter));
        if lost.len() * 2 >= voters.len() {
            return Err(format!(
                "without member {member} the cluster would stand still, because {lost:?} of its \
                 voters {voters:?} cannot be reached; remove those first, or bring them back"
            ));
        }
        Ok(Need::Change)
    }

    fn not_leader(&self) -> Error {
        let details = match self.node.leader().0 {
            0 => "nobody is known to lead".to_owned(),
            leader if leader == self.node.member() => {
                format!("member {leader} was elected and does not serve yet")
            }
            leader => format!("member {leader} leads"),
        };
        Error::new(ErrorKind::NotLeader, details)
    }

    /// A change of the members holds.
    pub(super) fn members_changed(&mut self, mark: Option<Mark>, effects: &mut Effects) {
        let done = |change: &mut (Mark, _)| Some(change.0) == mark;
        let waiters: Vec<_> = self.changes.extract_if(.., done).collect();
        for (_, (session, request)) in waiters {
            effects.outputs.push((session, Output::Done { request }));
        }
    }

    /// The leadership was lost: nobody knows what becomes of the proposed changes.
    pub(super) fn unknown_changes(&mut self, effects: &mut Effects) {
        for (_, (session, request)) in std::mem::take(&mut self.changes) {
            let details = "The leader changed meanwhile; look at the status whether it was done.";
            let error = Error::new(ErrorKind::IoError, details);
            let output = Output::Refused { request, error };
            effects.outputs.push((session, output));
        }
    }

    /// Lets a learner vote that has caught up.
    pub(super) fn promote(&mut self) {
        if let Some(member) = self.node.grown_up().filter(|_| self.serves()) {
            let change = MemberChange::Promote { member };
            match self.node.propose_change(&change) {
                Ok(_) => tracing::info!("member {member} has caught up and becomes a voter"),
                Err(error) => tracing::debug!("member {member} cannot become a voter: {error}"),
            }
        }
    }

    /// Passes the leadership to a voter.
    pub(super) fn transfer(&mut self, member: u64) -> Result<(), Error> {
        let refused = |details: String| Err(Error::new(ErrorKind::NotAllowed, details));
        if !self.serves() {
            return Err(self.not_leader());
        }
        if !self.node.membership().voters.contains(&member) {
            return refused(format!("{member}: not a voter"));
        }
        self.node.transfer(member);
        Ok(())
    }

    /// Whether this member leads and another one could.
    pub fn has_heir(&self) -> bool {
        self.serves() && self.node.heir().is_some()
    }

    /// The process is about to end.
    pub(super) fn retire(&mut self) {
        if self.serves()
            && let Some(heir) = self.node.heir()
        {
            tracing::info!("passing the leadership to member {heir}");
            self.node.transfer(heir);
        }
    }
}
