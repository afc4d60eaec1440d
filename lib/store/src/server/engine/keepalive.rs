//! Signs of life while the core is busy.
//!
//! The core does one thing at a time, and a transaction of hundreds of thousands of operations takes it seconds, on the
//! leader to execute and on the others to apply. Meanwhile it neither sends heartbeats nor answers them; after a second
//! the others would elect another leader, who is sent the same transaction, and so on; or a leader whose followers are
//! silent would step down. So what the core said last is said again for it: the leader's heartbeats, the others' answers
//! to them. To Raft that is a network that delivers a message more than once, which changes nothing but that nobody
//! takes the member for dead. A core that is busy for too long is given up all the same.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::peer::PeerMessage;
use crate::raft::{Message, MessageType};

/// How often it is looked whether the core is busy.
pub const PERIOD: Duration = Duration::from_millis(100);
/// A core that works on one thing for longer than this is not spoken for any more.
const LONGEST: Duration = Duration::from_secs(60);

/// Whether the core works on something, told by its task.
#[derive(Debug)]
pub struct Busy {
    epoch: Instant,
    /// When it began, in milliseconds, times two, and one more if the member leads; 0 if it is idle.
    since: AtomicU64,
}

impl Default for Busy {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            since: AtomicU64::new(0),
        }
    }
}

impl Busy {
    /// The core begins to work on something.
    pub fn begin(&self, now: Instant, leads: bool) {
        let now = now.duration_since(self.epoch).as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX / 4);
        let since = 2 * (now + 1) + u64::from(leads);
        self.since.store(since, Ordering::Relaxed);
    }

    /// It is done.
    pub fn end(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    /// For how long it has worked, and whether the member led when it began.
    fn state(&self, now: Instant) -> Option<(Duration, bool)> {
        let since = self.since.load(Ordering::Relaxed);
        let began = Duration::from_millis((since / 2).checked_sub(1)?);
        let now = now.duration_since(self.epoch);
        Some((now.saturating_sub(began), since % 2 == 1))
    }
}

/// What was said last, to each member, that is a sign of life.
#[derive(Debug, Default)]
pub struct Keepalive {
    term: u64,
    last: HashMap<u64, Message>,
}

impl Keepalive {
    /// The core says something.
    pub fn note(&mut self, member: u64, message: &PeerMessage) {
        let PeerMessage::Raft(message) = message else {
            return;
        };
        if message.term > self.term {
            self.term = message.term;
            self.last.clear();
        }
        if message.term == self.term && (is(message, true) || is(message, false)) {
            self.last.insert(member, message.clone());
        }
    }

    /// What is to be said again now.
    pub fn again(&self, now: Instant, busy: &Busy) -> Vec<(u64, PeerMessage)> {
        match busy.state(now) {
            Some((time, leads)) if (PERIOD..LONGEST).contains(&time) => self.of(leads),
            _ => Vec::new(),
        }
    }

    fn of(&self, leads: bool) -> Vec<(u64, PeerMessage)> {
        let last = self.last.iter().filter(|(_, message)| is(message, leads));
        last.map(|(member, message)| (*member, PeerMessage::Raft(message.clone())))
            .collect()
    }
}

/// Whether this is a sign of life of a leader, or of another member.
fn is(message: &Message, leads: bool) -> bool {
    message.get_msg_type()
        == match leads {
            true => MessageType::MsgHeartbeat,
            false => MessageType::MsgHeartbeatResponse,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: MessageType, term: u64, to: u64) -> PeerMessage {
        let mut message = Message {
            term,
            to,
            ..Message::default()
        };
        message.set_msg_type(kind);
        PeerMessage::Raft(message)
    }

    fn said(keepalive: &Keepalive, leads: bool) -> Vec<(u64, u64)> {
        let said = keepalive.of(leads).into_iter();
        let mut said: Vec<_> = said
            .filter_map(|(member, message)| match message {
                PeerMessage::Raft(message) => Some((member, message.term)),
                _ => None,
            })
            .collect();
        said.sort_unstable();
        said
    }

    #[test]
    fn only_signs_of_life_of_the_last_term_are_said_again() {
        let mut keepalive = Keepalive::default();
        let mut note = |kind, term, to| keepalive.note(to, &message(kind, term, to));
        note(MessageType::MsgHeartbeat, 3, 1);
        note(MessageType::MsgHeartbeat, 3, 2);
        note(MessageType::MsgAppend, 3, 2);
        note(MessageType::MsgHeartbeatResponse, 2, 1);
        assert_eq!(said(&keepalive, true), [(1, 3), (2, 3)]);
        assert_eq!(said(&keepalive, false), []);
        // Another leads.
        keepalive.note(2, &message(MessageType::MsgAppendResponse, 4, 2));
        assert_eq!(said(&keepalive, true), []);
        keepalive.note(2, &message(MessageType::MsgHeartbeatResponse, 4, 2));
        assert_eq!(said(&keepalive, false), [(2, 4)]);
        assert_eq!(said(&keepalive, true), []);
    }

    #[test]
    fn they_are_said_while_the_core_is_busy_and_not_for_ever() {
        let (busy, mut keepalive) = (Busy::default(), Keepalive::default());
        keepalive.note(2, &message(MessageType::MsgHeartbeat, 1, 2));
        let began = Instant::now();
        let count = |later: Duration| keepalive.again(began + later, &busy).len();
        assert_eq!(count(PERIOD), 0, "it is idle");
        busy.begin(began, true);
        assert_eq!(count(Duration::ZERO), 0);
        assert_eq!(count(2 * PERIOD), 1);
        assert_eq!(count(2 * LONGEST), 0);
        busy.begin(began, false);
        assert_eq!(count(2 * PERIOD), 0, "it has answered nobody");
        busy.begin(began, true);
        busy.end();
        assert_eq!(count(2 * PERIOD), 0);
    }
}
