//! The cluster: what other members say, and who they are.
//!
//! A new member learns before it votes: [`MemberChange::Add`] makes a learner, and the leader
//! makes it a voter when it has caught up with the log.

use ovsdb::{Error, ErrorKind};

use super::Core;
use super::transact::Origin;
use crate::event::{Effects, Output, RequestId, SessionId};
use crate::peer::PeerMessage;
use crate::raft::{Mark, MemberChange, NodeError};

/// So many members a cluster may have, learners included.
const MAX_MEMBERS: usize = 7;

impl Core {
    /// Another member said something.
    pub(super) fn hear(
        &mut self,
        now_ms: u64,
        member: u64,
        message: PeerMessage,
        effects: &mut Effects,
    ) {
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
            PeerMessage::Cancel(call) => self.forward_canceled(member, call),
            PeerMessage::Answer(answer) => self.answered(answer, effects),
        }
    }

    /// The stream to another member broke.
    pub(super) fn peer_lost(&mut self, member: u64) {
        self.node.unreachable(member);
        if self.node.leader().0 == member {
            self.forwards.resend();
        }
        // It sends again what it forwarded, if it lives.
        self.blocked.retain(
            |blocked| !matches!(blocked.attempt.origin, Origin::Member(of, _) if of == member),
        );
    }

    /// Proposes a change of the members.
    pub(super) fn change_members(
        &mut self,
        change: &MemberChange,
        waiter: (SessionId, RequestId),
    ) -> Result<(), Error> {
        let refused = |details: String| Err(Error::new(ErrorKind::NotAllowed, details));
        if !self.serves() {
            return refused(self.not_leader());
        }
        let membership = self.node.membership();
        let voter = |member: &u64| membership.voters.contains(member);
        let learner = |member: &u64| membership.learners.contains(member);
        match change {
            MemberChange::Add { member, address } => {
                if *member == 0 || voter(member) || learner(member) {
                    return refused(format!("{member}: the number of a member already, or 0"));
                }
                if membership.voters.len() + membership.learners.len() >= MAX_MEMBERS {
                    return refused(format!("the cluster has {MAX_MEMBERS} members already"));
                }
                if address.is_empty() || address.len() > 256 {
                    return refused(format!("{address:?}: not an address (HOST:PORT)"));
                }
            }
            MemberChange::Promote { member } if !learner(member) => {
                return refused(format!("{member}: not a learner"));
            }
            MemberChange::Remove { member } => {
                if !voter(member) && !learner(member) {
                    return refused(format!("{member}: not a member"));
                }
                if *member == self.node.member() {
                    return refused(format!(
                        "{member} leads; transfer the leadership first, then remove it"
                    ));
                }
            }
            MemberChange::Promote { .. } => {}
        }
        match self.node.propose_change(change) {
            Ok(mark) => self.changes.push((mark, waiter)),
            Err(error) => return refused(error.to_string()),
        }
        Ok(())
    }

    fn not_leader(&self) -> String {
        match self.node.leader().0 {
            0 => "not leader, and nobody is known to lead".to_owned(),
            leader => format!("not leader; member {leader} is"),
        }
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
    pub(super) fn doubt_changes(&mut self, effects: &mut Effects) {
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
            return refused(self.not_leader());
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
