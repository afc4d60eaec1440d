//! What happens to the agent, and what it does.

use std::path::PathBuf;
use std::time::Instant;

use daemon::unixctl::Request;
use ovsdb::{Condition, Operation, Remote};
use replica::{TableSpec, Tls};

/// Every cause of change.
#[derive(Debug)]
pub enum Event {
    /// From the local database's replica.
    Local(replica::Event),
    /// From the southbound's replica that was made with this number: [`SouthConnection::epoch`].
    South(u64, replica::Event),
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
    /// It does not keep up with what is to be written: nothing more should be, until [`SwitchEvent::Drained`].
    Full,
    /// It has kept up again.
    Drained,
}

/// The southbound to be connected to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SouthTarget {
    /// The members of the cluster.
    pub remotes: Vec<Remote>,
    /// The keys for TLS.
    pub tls: Option<Tls>,
}

/// A replica of the southbound to be made, instead of one that there may be.
#[derive(Clone, Debug)]
pub struct SouthConnection {
    /// By what its events are told from those of earlier replicas. Each has a higher number.
    pub epoch: u64,
    /// From where.
    pub target: SouthTarget,
    /// What to ask for.
    pub tables: Vec<TableSpec>,
}

/// What is to be done.
#[derive(Debug, Default)]
#[must_use = "the agent counts on its effects being done"]
pub struct Effects {
    /// Transactions for the local database.
    pub local: Vec<(u64, Vec<Operation>)>,
    /// Transactions for the southbound.
    pub south: Vec<(u64, Vec<Operation>)>,
    /// Make a replica of the southbound, instead of the one that there is. To be done before all else that is about the
    /// southbound.
    pub connect_south: Option<SouthConnection>,
    /// The southbound has these members instead of others.
    pub south_remotes: Option<Vec<Remote>>,
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
