//! What a client asks `_Server` first waits until it is certain who leads.
//!
//! Clients that want the leader ask every member in turn whether it leads, and tools that are run
//! once (`ovn-nbctl`, `ovsdb-client`) ask each member once: during an election they would hear
//! "no" from everybody, and fail. A member that takes a dead leader for the leader would say "no"
//! as well. So the first question of a connection goes behind a read that is linearizable: when
//! that is answered, somebody led after the client had asked, and this member knows whether it is
//! the one. If nobody is found in time, the client is told how things stand.
//!
//! Only what is about `_Server` waits, in its order; the connection goes on with everything else.

use std::time::Duration;

use ovsdb::{Transaction, Uuid};
use tokio::time::Instant;

use super::call::QueuedCall;
use crate::event::{Output, Request};
use crate::session::{Consistency, DatabaseId, RequestId, SessionId};

/// So long a leader is awaited. An election takes a second or two; a member that has lost the
/// others should not keep its clients from them for much longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first questions of a connection about `_Server`.
#[derive(Debug, Default)]
pub enum LeaderGate {
    /// Nothing was asked yet.
    #[default]
    Unasked,
    /// A read is under way that tells that there is a leader.
    Waiting {
        /// The read.
        read: RequestId,
        /// When it is given up.
        until: Instant,
        /// What waits for it.
        calls: Vec<QueuedCall>,
    },
    /// It was certain once; from then on, the client is told of changes.
    Released,
}

impl LeaderGate {
    /// The read that has to be asked for.
    pub fn read(session: SessionId) -> Request {
        Request::Transact {
            database: DatabaseId::Main,
            transaction: Transaction {
                operations: Vec::new(),
                error: None,
                asked: 0,
            },
            name: None::<Uuid>,
            lock_holders: vec![session],
            consistency: Consistency::Linearizable,
        }
    }

    /// The read was asked for, under this number; this call is the first that waits.
    pub fn wait(read: RequestId, first: QueuedCall) -> Self {
        Self::Waiting {
            read,
            until: Instant::now() + PATIENCE,
            calls: vec![first],
        }
    }

    /// How many calls wait.
    pub fn len(&self) -> usize {
        match self {
            Self::Waiting { calls, .. } => calls.len(),
            Self::Unasked | Self::Released => 0,
        }
    }

    /// Until when at most.
    pub fn until(&self) -> Option<Instant> {
        match self {
            Self::Waiting { until, .. } => Some(*until),
            Self::Unasked | Self::Released => None,
        }
    }

    /// Whether this is the answer to the read, whatever it says.
    pub fn is_answered_by(&self, output: &Output) -> bool {
        matches!(self, Self::Waiting { read, .. } if output.answers() == Some(*read))
    }

    /// What has waited.
    pub fn release(&mut self) -> Vec<QueuedCall> {
        match std::mem::replace(self, Self::Released) {
            Self::Waiting { calls, .. } => calls,
            Self::Unasked | Self::Released => Vec::new(),
        }
    }
}
