//! A client's conversation with the core: by what its parts are known, and what waits for it.
//!
//! A *session* is an OVSDB connection, or one call of the gRPC services. The shell numbers sessions,
//! and each session numbers its requests and monitors; the names that the protocols have for these
//! stay in the shell.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A client's conversation.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId(pub u64);

/// A request of a session.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestId(pub u64);

/// A monitor of a session.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MonitorId(pub u64);

/// Which of the two databases that a server shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DatabaseId {
    /// The one that is stored and replicated.
    Main,
    /// `_Server`: this server's own state, for clients who look for the leader.
    Server,
}

/// What a transaction that only reads may be executed on. Others change the newest state always.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Consistency {
    /// The newest state: all that was answered before the transaction was asked for.
    #[default]
    Linearizable,
    /// What is committed as far as this member knows. It may be old, and is there without a leader.
    Local,
}

/// What waits in a session's queue: counted up when the core says it, down when the shell takes it
/// or, with updates, has written it.
#[derive(Debug, Default)]
pub struct Backlog {
    queued: AtomicUsize,
    wanted: AtomicBool,
    held: AtomicUsize,
    cut_off: AtomicBool,
}

impl Backlog {
    /// An update was put into the queue.
    pub fn add(&self) {
        self.queued.fetch_add(1, Ordering::AcqRel);
    }

    /// An update was written. True if the core waits for the queue to be empty, and it is:
    /// [`Event::Drained`](crate::event::Event::Drained) is due.
    pub fn remove(&self) -> bool {
        let left = self.queued.fetch_sub(1, Ordering::AcqRel) - 1;
        left == 0 && self.wanted.swap(false, Ordering::AcqRel)
    }

    /// How many updates wait.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Acquire)
    }

    /// An answer of about so many bytes was put into the queue.
    pub fn hold(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::AcqRel);
    }

    /// An answer of so many bytes was taken.
    pub fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// About how many bytes of answers wait.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// The session does not read; it hears nothing more.
    pub fn cut_off(&self) {
        self.cut_off.store(true, Ordering::Release);
    }

    /// Whether it is so.
    pub fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Acquire)
    }

    /// Asks to be told when the queue is empty; false if it already is.
    pub fn want_drained(&self) -> bool {
        self.wanted.store(true, Ordering::Release);
        self.queued() > 0 || !self.wanted.swap(false, Ordering::AcqRel)
    }
}
