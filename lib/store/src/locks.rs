//! Named locks (RFC 7047, section 4.1.8 to 4.1.10): a queue of sessions for each name, of which
//! the first owns the lock.
//!
//! Whoever steals a lock goes to the front; the robbed one is next in line. Locks live as long as
//! the sessions, and only the leader gives them out: on the other members, sessions queue up in
//! vain, and when a member becomes the leader or ceases to be, its sessions are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::session::SessionId;

/// So many locks a session may queue for.
const MAX_LOCKS_PER_SESSION: usize = 1024;
/// So many bytes the name of a lock may have.
const MAX_NAME_BYTES: usize = 1024;

/// All locks.
#[derive(Debug, Default)]
pub struct Locks {
    /// By the places of the sessions.
    queues: FxHashMap<Arc<str>, BTreeMap<i64, SessionId>>,
    /// For which each session queues, and its place there.
    of_session: FxHashMap<SessionId, BTreeMap<Arc<str>, i64>>,
    /// Whether this member gives out locks; if not, nobody owns anything. A member that has just
    /// started does not.
    active: bool,
}

/// A session's ownership of a lock has changed.
#[derive(Debug, Eq, PartialEq)]
pub struct Change {
    /// Whose.
    pub session: SessionId,
    /// Of which lock.
    pub name: Arc<str>,
    /// Whether the session owns it now.
    pub owned: bool,
}

/// Why a session does not get into the queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LockError {
    /// It asked twice.
    #[error("the session already asked for this lock; unlock it first")]
    Twice,
    /// It asks for too many.
    #[error("more than {MAX_LOCKS_PER_SESSION} locks in one session")]
    TooMany,
    /// Its name is too long.
    #[error("a name of more than {MAX_NAME_BYTES} bytes")]
    TooLong,
}

impl Locks {
    /// Queues up. Answers whether the session owns the lock now, and who was robbed of it.
    pub fn lock(
        &mut self,
        session: SessionId,
        name: &Arc<str>,
        steal: bool,
    ) -> Result<(bool, Option<Change>), LockError> {
        if name.len() > MAX_NAME_BYTES {
            return Err(LockError::TooLong);
        }
        let names = self.of_session.get(&session);
        if names.is_some_and(|names| names.contains_key(name)) {
            return Err(LockError::Twice);
        }
        if names.is_some_and(|names| names.len() >= MAX_LOCKS_PER_SESSION) {
            return Err(LockError::TooMany);
        }
        let queue = self.queues.entry(name.clone()).or_default();
        // The same string as the queue's own, not another one of the client's.
        let names = self.of_session.entry(session).or_default();
        let ends = queue.first_key_value().zip(queue.last_key_value());
        let place = match ends {
            None => 0,
            Some(((first, _), _)) if steal => first - 1,
            Some((_, (last, _))) => last + 1,
        };
        names.insert(name.clone(), place);
        if !steal {
            queue.insert(place, session);
            return Ok((queue.len() == 1 && self.active, None));
        }
        let owner = queue.values().next().filter(|_| self.active);
        let robbed = owner.map(|owner| Change {
            session: *owner,
            name: name.clone(),
            owned: false,
        });
        queue.insert(place, session);
        Ok((self.active, robbed))
    }

    /// Whether the session owns the lock or queues for it.
    pub fn is_queued(&self, session: SessionId, name: &str) -> bool {
        let names = self.of_session.get(&session);
        names.is_some_and(|names| names.contains_key(name))
    }

    /// Leaves the queue. Answers who owns the lock instead, if that changed.
    pub fn unlock(&mut self, session: SessionId, name: &Arc<str>) -> Option<Change> {
        let names = self.of_session.get_mut(&session)?;
        let place = names.remove(name)?;
        if names.is_empty() {
            self.of_session.remove(&session);
        }
        self.leave(session, name, place)
    }

    fn leave(&mut self, session: SessionId, name: &Arc<str>, place: i64) -> Option<Change> {
        let queue = self.queues.get_mut(name)?;
        let owned = queue.values().next() == Some(&session);
        queue.remove(&place);
        let next = queue.values().next().copied();
        if queue.is_empty() {
            self.queues.remove(name);
        }
        Some(Change {
            session: next.filter(|_| owned && self.active)?,
            name: name.clone(),
            owned: true,
        })
    }

    /// Leaves all queues. Answers who owns locks instead.
    pub fn disconnect(&mut self, session: SessionId) -> Vec<Change> {
        let names = self.of_session.remove(&session).unwrap_or_default();
        names
            .iter()
            .filter_map(|(name, place)| self.leave(session, name, *place))
            .collect()
    }

    /// Whether a session owns a lock.
    pub fn owns(&self, session: SessionId, name: &str) -> bool {
        self.queues
            .get(name)
            .is_some_and(|queue| queue.values().next() == Some(&session) && self.active)
    }

    /// Says whether this member gives out locks. Answers whose ownership changes with it.
    pub fn set_active(&mut self, active: bool) -> Vec<Change> {
        if active == self.active {
            return Vec::new();
        }
        self.active = active;
        let change = |(name, queue): (&Arc<str>, &BTreeMap<i64, SessionId>)| {
            Some(Change {
                session: *queue.values().next()?,
                name: name.clone(),
                owned: active,
            })
        };
        let mut changes: Vec<Change> = self.queues.iter().filter_map(change).collect();
        changes.sort_by(|a, b| a.name.cmp(&b.name));
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);

    fn change(session: SessionId, owned: bool) -> Change {
        Change {
            session,
            name: "northd".into(),
            owned,
        }
    }

    fn of_a_leader() -> (Locks, Arc<str>) {
        let mut locks = Locks::default();
        assert_eq!(locks.set_active(true), []);
        (locks, "northd".into())
    }

    #[test]
    fn a_lock_passes_on_when_its_owner_goes() {
        let (mut locks, name) = of_a_leader();
        assert_eq!(locks.lock(A, &name, false), Ok((true, None)));
        assert_eq!(locks.lock(B, &name, false), Ok((false, None)));
        assert_eq!(locks.lock(B, &name, false), Err(LockError::Twice));
        assert!(locks.owns(A, "northd") && !locks.owns(B, "northd"));
        assert_eq!(locks.disconnect(A), [change(B, true)]);
        assert!(locks.owns(B, "northd"));
        assert_eq!(locks.unlock(B, &name), None);
        assert!(!locks.owns(B, "northd"));
    }

    #[test]
    fn the_robbed_one_is_next() {
        let (mut locks, name) = of_a_leader();
        locks.lock(A, &name, false).unwrap();
        assert_eq!(
            locks.lock(B, &name, true),
            Ok((true, Some(change(A, false))))
        );
        assert_eq!(locks.unlock(B, &name), Some(change(A, true)));
    }

    #[test]
    fn only_a_leader_gives_out_locks() {
        let (mut locks, name) = (Locks::default(), Arc::from("northd"));
        assert_eq!(locks.lock(A, &name, false), Ok((false, None)));
        assert!(!locks.owns(A, "northd"));
        assert_eq!(locks.set_active(true), [change(A, true)]);
        assert_eq!(locks.set_active(true), []);
        assert_eq!(locks.set_active(false), [change(A, false)]);
        assert!(!locks.owns(A, "northd"));
        assert_eq!(locks.lock(B, &name, true), Ok((false, None)));
        assert_eq!(locks.set_active(true), [change(B, true)]);
        assert!(locks.owns(B, "northd"));
    }

    #[test]
    fn what_a_session_keeps_is_bounded() {
        let mut locks = Locks::default();
        let name = |number: usize| Arc::from(format!("lock {number}"));
        for number in 0..MAX_LOCKS_PER_SESSION {
            locks.lock(A, &name(number), false).unwrap();
        }
        let one_more = name(MAX_LOCKS_PER_SESSION);
        assert_eq!(locks.lock(A, &one_more, false), Err(LockError::TooMany));
        assert_eq!(locks.lock(B, &one_more, false), Ok((false, None)));
        let long = Arc::from("x".repeat(MAX_NAME_BYTES + 1));
        assert_eq!(locks.lock(B, &long, true), Err(LockError::TooLong));
        locks.disconnect(A);
        locks.disconnect(B);
        assert!(locks.queues.is_empty() && locks.of_session.is_empty());
    }

    #[test]
    fn leaving_the_queue_does_not_change_the_owner() {
        let (mut locks, name) = of_a_leader();
        locks.lock(A, &name, false).unwrap();
        locks.lock(B, &name, false).unwrap();
        assert_eq!(locks.unlock(B, &name), None);
        assert!(locks.owns(A, "northd"));
    }
}
