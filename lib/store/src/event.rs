//! Everything that can happen to the core, and everything that it can want done.

use std::sync::Arc;

use ovsdb::operation::Outcome;
use ovsdb::{Condition, Error, Transaction, Uuid};

use crate::caller::Caller;
use crate::monitor::{Update, View};
use crate::peer::{Call, PeerMessage, Purpose, Snapshot};
use crate::raft::{self, MemberChange};
use crate::sender::Sender;
use crate::session::{Backlog, Consistency, DatabaseId, MonitorId, RequestId, SessionId};
use crate::storage::{Identity, Membership};
use crate::writer::Job;

/// Every cause of change.
#[derive(Debug)]
pub enum Event {
    /// The clock: a tick of Raft's, every [`crate::core::TICK_MS`] milliseconds.
    Tick,
    /// A wait may have ended, or there is more to do: the time that [`Effects::wake_at`] named has come.
    Timer,
    /// A client came.
    Connected {
        /// Its number, never used before.
        session: SessionId,
        /// Its queue.
        backlog: Arc<Backlog>,
        /// Who it is, and what it may do.
        caller: Caller,
    },
    /// A client went.
    Disconnected {
        /// Its number.
        session: SessionId,
    },
    /// A client's queue is empty, after the core asked to be told so.
    Drained {
        /// Its number.
        session: SessionId,
    },
    /// A client wants something.
    Request {
        /// Who.
        session: SessionId,
        /// Under which number the answer goes.
        request: RequestId,
        /// What.
        body: Request,
    },
    /// The disk has everything up to the job with this [`Job::flush`].
    Persisted {
        /// The number.
        flush: u64,
    },
    /// Another member said something.
    Peer {
        /// Who.
        sender: Sender,
        /// What.
        message: PeerMessage,
    },
    /// A snapshot of another member is here, as a whole.
    SnapshotArrived(Box<Snapshot>),
    /// A snapshot for another member was streamed, or was not.
    SnapshotSent {
        /// To whom.
        member: u64,
        /// Whether it arrived.
        arrived: bool,
    },
    /// A stream to another member broke; what was on its way may be lost.
    PeerLost {
        /// To whom.
        member: u64,
        /// Which of the streams.
        purpose: Purpose,
    },
    /// A transaction has so many bytes that it is not sent to another member.
    ForwardTooLarge {
        /// Which.
        call: Call,
        /// How many.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The stream from another member ended at its end: its process has ended, probably.
    PeerGone {
        /// From whom.
        member: u64,
    },
    /// The process is about to end: pass the leadership on.
    Retire,
}

impl Event {
    /// What it is called, in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tick => "tick",
            Self::Timer => "timer",
            Self::Connected { .. } => "connected",
            Self::Disconnected { .. } => "disconnected",
            Self::Drained { .. } => "drained",
            Self::Persisted { .. } => "persisted",
            Self::Peer { .. } => "message of another member",
            Self::SnapshotArrived(_) => "snapshot arrived",
            Self::SnapshotSent { .. } => "snapshot sent",
            Self::PeerLost { .. } => "stream lost",
            Self::ForwardTooLarge { .. } => "forward too large",
            Self::PeerGone { .. } => "member gone",
            Self::Retire => "retire",
            Self::Request { body, .. } => match body {
                Request::Transact { .. } => "transact",
                Request::Cancel { .. } => "cancel",
                Request::Monitor { .. } => "monitor",
                Request::ChangeConditions { .. } => "change of conditions",
                Request::CancelMonitor { .. } => "cancel of a monitor",
                Request::Lock { .. } => "lock",
                Request::Unlock { .. } => "unlock",
                Request::Status => "status",
                Request::ChangeMembers(_) => "change of members",
                Request::Transfer { .. } => "transfer",
            },
        }
    }
}

/// What a client may want.
#[derive(Debug)]
pub enum Request {
    /// Execute a transaction.
    Transact {
        /// On which database.
        database: DatabaseId,
        /// The operations.
        transaction: Transaction,
        /// The client's name for it, if it wants to be able to retry.
        name: Option<Uuid>,
        /// The sessions whose locks count for `assert`; mostly the same session.
        lock_holders: Vec<SessionId>,
        /// What it may be executed on.
        consistency: Consistency,
    },
    /// Give up waiting for a transaction of this session.
    Cancel {
        /// Which.
        target: RequestId,
    },
    /// Watch a database.
    Monitor {
        /// Which database.
        database: DatabaseId,
        /// The number of the new monitor.
        monitor: MonitorId,
        /// What of it.
        view: View,
        /// The state that the client already has.
        since: Option<Uuid>,
    },
    /// Change the conditions of a monitor.
    ChangeConditions {
        /// Which.
        monitor: MonitorId,
        /// The new conditions, by table; other tables keep theirs.
        conditions: Vec<(usize, Condition)>,
    },
    /// End a monitor.
    CancelMonitor {
        /// Which.
        monitor: MonitorId,
    },
    /// Queue up for a lock, or take it.
    Lock {
        /// Its name.
        name: Arc<str>,
        /// Whether to take it from its owner.
        steal: bool,
    },
    /// Give up a lock or the place in its queue.
    Unlock {
        /// Its name.
        name: Arc<str>,
    },
    /// Tell about the cluster.
    Status,
    /// Change who belongs to the cluster. The answer comes when the change holds.
    ChangeMembers(MemberChange),
    /// Pass the leadership on.
    Transfer {
        /// To whom.
        member: u64,
    },
}

impl Request {
    /// Whether there may be much to read in the answer.
    pub fn has_large_answer(&self) -> bool {
        matches!(
            self,
            Self::Transact { .. } | Self::Monitor { .. } | Self::ChangeConditions { .. }
        )
    }
}

impl Output {
    /// The request that it answers, if it does.
    pub fn answers(&self) -> Option<RequestId> {
        match self {
            Self::Transacted { request, .. }
            | Self::Repeated { request, .. }
            | Self::Canceled { request }
            | Self::MonitorStarted { request, .. }
            | Self::Lock { request, .. }
            | Self::Status { request, .. }
            | Self::Done { request }
            | Self::Refused { request, .. } => Some(*request),
            Self::ConditionsChange { .. } | Self::Updated { .. } | Self::LockChanged { .. } => None,
        }
    }
}

/// What a client is told.
#[derive(Clone, Debug)]
pub enum Output {
    /// The answer to [`Request::Transact`].
    Transacted {
        /// Which request.
        request: RequestId,
        /// How many operations it had.
        asked: usize,
        /// The results.
        outcome: Outcome,
        /// The state of the database after it, if it changed anything.
        state: Option<Uuid>,
    },
    /// The answer to a named [`Request::Transact`] that was applied before.
    Repeated {
        /// Which request.
        request: RequestId,
        /// The first answer, as the JSON array of results.
        results: bytes::Bytes,
        /// The state of the database after it.
        state: Uuid,
    },
    /// The answer to a [`Request::Transact`] that was cancelled.
    Canceled {
        /// Which request.
        request: RequestId,
    },
    /// The answer to [`Request::Monitor`].
    MonitorStarted {
        /// Which request.
        request: RequestId,
        /// Whether `update` only has what changed since the state that the client had.
        resumed: bool,
        /// The state that the client has with it.
        state: Uuid,
        /// The content.
        update: Arc<Update>,
    },
    /// From here on, the monitor of a [`Request::ChangeConditions`] has its new conditions: the
    /// rows that come and go with them follow, then [`Output::Done`].
    ConditionsChange {
        /// Which request.
        request: RequestId,
    },
    /// Something changed that a monitor watches.
    Updated {
        /// Which monitor.
        monitor: MonitorId,
        /// The state that the client has with it.
        state: Uuid,
        /// What changed.
        update: Arc<Update>,
    },
    /// The answer to [`Request::Lock`].
    Lock {
        /// Which request.
        request: RequestId,
        /// Whether the session owns the lock now; if not, it is in the queue.
        owned: bool,
    },
    /// The session owns a lock now for which it queued, or has lost one.
    LockChanged {
        /// Its name.
        name: Arc<str>,
        /// Whether the session owns it.
        owned: bool,
    },
    /// The answer to [`Request::Status`].
    Status {
        /// Which request.
        request: RequestId,
        /// What is known.
        status: Box<Status>,
    },
    /// The answer to requests that have nothing to tell but success.
    Done {
        /// Which request.
        request: RequestId,
    },
    /// The answer to a request that was not served.
    Refused {
        /// Which request.
        request: RequestId,
        /// Why.
        error: Error,
    },
}

/// What a member knows about itself.
#[derive(Clone, Debug)]
pub struct Status {
    /// Who it is.
    pub identity: Identity,
    /// Its place in the cluster.
    pub raft: raft::Status,
    /// How many sessions it has.
    pub sessions: usize,
    /// How many monitors they have.
    pub monitors: usize,
    /// How many transactions wait for the log.
    pub pending: usize,
    /// How many transactions wait for a condition.
    pub blocked: usize,
    /// How many rows each table has, by its name.
    pub rows: Vec<(Arc<str>, usize)>,
}

/// What the core wants done, in this order within each list.
#[derive(Debug, Default)]
pub struct Effects {
    /// For the sessions' queues.
    pub outputs: Vec<(SessionId, Output)>,
    /// For the disk.
    pub jobs: Vec<Job>,
    /// For the other members: to whom, and what.
    pub messages: Vec<(u64, PeerMessage)>,
    /// Snapshots to stream to other members; [`Event::SnapshotSent`] is due for each.
    pub snapshots: Vec<Snapshot>,
    /// Who belongs to the cluster from now on, if that changed.
    pub members: Option<Membership>,
    /// To be dropped where nobody waits for that: it is large.
    pub discarded: Vec<Transaction>,
    /// When, in milliseconds, [`Event::Timer`] is due at the latest.
    pub wake_at: Option<u64>,
    /// The store cannot go on.
    pub failure: Option<String>,
}
