//! A client that wants a result rather than a stream of events: for command-line tools and tests.

use std::time::Duration;

use ovsdb::RowChange;
use ovsdb::operation::{OpResult, Operation};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Handle, spawn};
use crate::core;
use crate::error::TransactError;
use crate::event::Event;
use crate::spec::Spec;
use crate::tables::Tables;

/// Few: a client that does not look at its rows does not need them.
const QUEUE: usize = 16;

/// So long a client without a time limit waits for a cluster to elect a leader.
const ELECTION: Duration = Duration::from_secs(20);

/// A replica with its rows, driven by its owner.
#[derive(Debug)]
pub struct Client {
    handle: Handle,
    events: mpsc::Receiver<Event>,
    tables: Tables,
    deadline: Option<Instant>,
    synced: bool,
    owns_lock: bool,
    next_id: u64,
}

/// Why a client cannot go on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// No remote could be connected to.
    #[error("{remote}: database connection failed ({reason})")]
    Connect {
        /// The last one tried.
        remote: String,
        /// Why.
        reason: String,
    },
    /// The time is over.
    #[error("timed out after waiting for the database")]
    Timeout,
    /// The transaction has no results.
    #[error(transparent)]
    Transact(#[from] TransactError),
}

impl Client {
    /// Connects and waits for the contents. With a `timeout`, everything that this client ever does has to be done
    /// within it. Without `retry`, each remote is tried once; but as long as one of them belongs to a cluster that is
    /// about to elect a leader, they are tried again for a while.
    pub async fn connect(
        spec: Spec,
        timeout: Option<Duration>,
        retry: bool,
    ) -> Result<Self, ClientError> {
        let (sender, events) = mpsc::channel(QUEUE);
        let attempts = spec.remotes.len();
        let tables = Tables::new(&spec.schema);
        let mut client = Self {
            handle: spawn(spec, sender, |event| event),
            events,
            tables,
            deadline: timeout.map(|timeout| Instant::now() + timeout),
            synced: false,
            owns_lock: false,
            next_id: 0,
        };
        let mut failures = 0;
        let patience = client.deadline.unwrap_or(Instant::now() + ELECTION);
        let mut elects = false;
        while !client.synced {
            if let Event::Disconnected { remote, reason } = client.next().await? {
                failures += 1;
                // Who is the only one that is asked, and does not lead, never will at once.
                elects |= core::elects(&reason) && attempts > 1;
                let waits = elects && Instant::now() < patience;
                if !retry && failures >= attempts && !waits {
                    return Err(ClientError::Connect {
                        remote: remote.to_string(),
                        reason,
                    });
                }
            }
        }
        Ok(client)
    }

    /// The rows.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Whether the lock of the [`Spec`] is ours.
    pub fn owns_lock(&self) -> bool {
        self.owns_lock
    }

    /// The replica behind it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Executes operations as one transaction. What it changed is in [`Client::tables`] afterwards, as far as the
    /// [`Spec`] has it in view.
    pub async fn transact(
        &mut self,
        operations: Vec<Operation>,
    ) -> Result<Vec<OpResult>, ClientError> {
        let ours = self.next_id;
        self.next_id += 1;
        self.handle.transact(ours, operations)?;
        loop {
            if let Event::TransactReply { id, result } = self.next().await?
                && id == ours
            {
                return Ok(result?);
            }
        }
    }

    /// Waits for rows to change.
    pub async fn changed(&mut self) -> Result<Vec<RowChange>, ClientError> {
        loop {
            if let Event::Changes(changes) = self.next().await? {
                return Ok(changes);
            }
        }
    }

    /// Whether the contents are there, and are kept up to date.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Waits for the contents, if the connection was lost.
    pub async fn synced(&mut self) -> Result<(), ClientError> {
        while !self.synced {
            self.next().await?;
        }
        Ok(())
    }

    /// Waits for the next event; its effect on [`Client::tables`] has taken place.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        let received = match self.deadline {
            None => self.events.recv().await,
            Some(deadline) => tokio::time::timeout_at(deadline, self.events.recv())
                .await
                .map_err(|_| ClientError::Timeout)?,
        };
        // The task behind the channel ends only after its owner.
        let event = received.ok_or(ClientError::Timeout)?;
        match &event {
            Event::Changes(changes) => changes.iter().for_each(|change| self.tables.apply(change)),
            Event::Synced => self.synced = true,
            Event::Disconnected { .. } => self.synced = false,
            Event::Lock(owned) => self.owns_lock = *owned,
            Event::Connected { .. }
            | Event::ConditionsInEffect(_)
            | Event::TransactReply { .. } => {}
        }
        Ok(event)
    }
}
