//! What happens to the agent, and what it does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use daemon::unixctl::Request;
use ovsdb::{Condition, Operation};
use replica::{TableSpec, Tls};

/// Every cause of change.
#[derive(Debug)]
pub enum Event {
    /// From the local database's replica.
    Local(replica::Event),
    /// From the southbound's replica.
    South(replica::Event),
    /// From the OpenFlow connection.
    Switch(SwitchEvent),
    /// From the control socket.
    Request(Request),
    /// Time has passed.
    Tick,
}

/// What happens to the OpenFlow connection.
#[derive(Debug)]
pub enum SwitchEvent {
    /// It stands.
    Connected,
    /// Bytes came.
    Data(Vec<u8>),
    /// It ended, or could not be made; there will be another attempt.
    Closed(String),
}

/// The southbound to be connected to.
#[derive(Clone, Debug, PartialEq)]
pub struct SouthTarget {
    /// The remotes, as written in the settings.
    pub remote: Arc<str>,
    /// The keys for TLS.
    pub tls: Option<Tls>,
    /// Our name, which decides what we want to know.
    pub name: Arc<str>,
}

/// What is to be done.
#[derive(Debug, Default)]
#[must_use = "the agent counts on its effects being done"]
pub struct Effects {
    /// Transactions for the local database.
    pub local: Vec<(u64, Vec<Operation>)>,
    /// Transactions for the southbound.
    pub south: Vec<(u64, Vec<Operation>)>,
    /// Connect to this southbound instead of another, and ask for these tables.
    pub connect_south: Option<(SouthTarget, Vec<TableSpec>)>,
    /// Ask the southbound for other rows.
    pub conditions: Vec<(usize, Condition)>,
    /// Connect to the switch at this socket instead of another.
    pub connect_switch: Option<PathBuf>,
    /// Drop the connection to the switch and make a new one.
    pub reconnect_switch: bool,
    /// Bytes for the switch.
    pub to_switch: Vec<u8>,
    /// When a tick is wanted.
    pub wake_at: Option<Instant>,
    /// A tick is wanted at once, after other events.
    pub again: bool,
    /// End.
    pub exit: bool,
}
