//! A request of a client on its way to the core.

use serde_json::Value;

use crate::event::Request;
use crate::server::limits::cost::Cost;
use crate::session::MonitorId;

/// A request that the core does not have yet.
#[derive(Debug)]
pub struct QueuedCall {
    /// What the client calls it.
    pub id: Value,
    /// How large it was.
    pub bytes: usize,
    /// What it may cost.
    pub cost: Cost,
    /// What is asked of the core.
    pub request: Request,
    /// What becomes of the answer.
    pub kind: Kind,
}

/// What becomes of an answer.
#[derive(Debug)]
pub enum Kind {
    /// It is passed on.
    Plain,
    /// It begins a monitor.
    Monitor(MonitorId),
    /// It gives a monitor another name.
    Rename(MonitorId, Value),
    /// It ends a monitor.
    CancelMonitor(MonitorId),
}
