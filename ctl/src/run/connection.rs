//! A database behind a connection: [`replica::Client`], driven from code that does one thing after the other.

use std::sync::Arc;
use std::time::Duration;

use ovsdb::operation::{Failure, Outcome};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Operation, RowChange};
use replica::{Client, ClientError};
use replica::{Event, Spec, TableSpec, TransactError};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::database::{Database, DatabaseError};
use crate::options::RunOptions;
use northbound::Snapshot;

/// How long a silent server is trusted. A person who waits has other means to give up.
const PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// A connection to one member of a cluster.
#[derive(Debug)]
pub struct Connection {
    runtime: Runtime,
    client: Client,
    snapshot: Snapshot,
    /// Whether the snapshot has changed since somebody waited for that.
    changed: bool,
    next_id: u64,
    /// When whoever waits gives up.
    deadline: Option<Instant>,
}

impl Connection {
    /// Connects to the first remote that will do, and reads this of the tables.
    pub fn open(
        options: &RunOptions,
        schema: &Arc<DatabaseSchema>,
        tables: Vec<TableSpec>,
    ) -> Result<Self, DatabaseError> {
        Self::new(options, schema, tables, false)
    }

    /// The same for long: it is made again when it is lost, tables have indexes, and time is given to each line.
    pub fn keep_open(
        options: &RunOptions,
        schema: &Arc<DatabaseSchema>,
        tables: Vec<TableSpec>,
    ) -> Result<Self, DatabaseError> {
        let without_limit = RunOptions {
            timeout: None,
            ..options.clone()
        };
        Self::new(&without_limit, schema, tables, true)
    }

    fn new(
        options: &RunOptions,
        schema: &Arc<DatabaseSchema>,
        tables: Vec<TableSpec>,
        is_kept: bool,
    ) -> Result<Self, DatabaseError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| DatabaseError::Connection(error.to_string()))?;
        let indexes: Vec<usize> = tables.iter().map(|spec| spec.table).collect();
        let spec = Spec {
            tables,
            leader_only: options.leader_only,
            resend: true,
            probe_interval: PROBE_INTERVAL,
            tls: options.tls.clone(),
            ..Spec::new(Arc::clone(schema), options.remotes.clone())
        };
        let client = runtime.block_on(Client::connect(spec, options.timeout, is_kept))?;
        let mut snapshot = match is_kept && schema.name == nb_db::schema().name {
            true => northbound::indexes::indexed_snapshot(),
            false => Snapshot::empty(Arc::clone(schema)),
        };
        let missing = client.handle().status().missing;
        snapshot.set_missing(missing.tables.into_iter().chain(missing.columns));
        for table in indexes {
            for (uuid, row) in client.tables().table(table).iter() {
                snapshot.apply(RowChange {
                    table,
                    uuid,
                    old: None,
                    new: Some(Arc::clone(row)),
                });
            }
        }
        Ok(Self {
            runtime,
            client,
            snapshot,
            changed: false,
            next_id: 0,
            deadline: None,
        })
    }

    /// Gives whoever waits so much time from now on; without, all the time in the world.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.deadline = timeout.map(|timeout| Instant::now() + timeout);
    }

    /// The next of what comes over a channel; nothing when nobody sends any more. Until then, the database is followed.
    pub fn next_of<T>(&mut self, waiting: &mut mpsc::Receiver<T>) -> Option<T> {
        let (client, snapshot) = (&mut self.client, &mut self.snapshot);
        self.runtime.block_on(async {
            loop {
                tokio::select! {
                    biased;
                    // What has come of the database is seen by the line that comes after it.
                    event = client.next() => match event {
                        Ok(Event::Changes(changes)) => {
                            changes.into_iter().for_each(|change| snapshot.apply(change));
                        }
                        Ok(_) => {}
                        // Without a time limit, there is always a next event.
                        Err(_) => return None,
                    },
                    next = waiting.recv() => return next,
                }
            }
        })
    }

    /// The state, for those who want other indexes of it.
    pub fn snapshot_mut(&mut self) -> &mut Snapshot {
        &mut self.snapshot
    }

    /// Waits for the next event and takes over what it tells of rows.
    fn next(&mut self) -> Result<Event, DatabaseError> {
        let (client, deadline) = (&mut self.client, self.deadline);
        let mut event = self.runtime.block_on(async {
            match deadline {
                None => Ok(client.next().await?),
                Some(deadline) => match tokio::time::timeout_at(deadline, client.next()).await {
                    Ok(event) => Ok(event?),
                    Err(_) => Err(DatabaseError::Timeout),
                },
            }
        })?;
        if let Event::Changes(changes) = &mut event {
            for change in changes.drain(..) {
                self.snapshot.apply(change);
            }
            self.changed = true;
        }
        Ok(event)
    }
}

impl Database for Connection {
    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn wait_for_change(&mut self) -> Result<(), DatabaseError> {
        // A lost connection is made again, and what was missed comes as a change.
        while !self.changed {
            self.next()?;
        }
        self.changed = false;
        Ok(())
    }

    fn transact(&mut self, operations: &[Operation]) -> Result<Outcome, DatabaseError> {
        loop {
            match self.transact_once(operations) {
                // Nothing happened. The operations themselves check what they rely upon.
                Err(Lost::Before) => {
                    while !self.client.is_synced() {
                        self.next()?;
                    }
                }
                Err(Lost::After(error)) => return Err(error),
                Ok(outcome) => return Ok(outcome),
            }
        }
    }
}

/// A connection was lost.
enum Lost {
    /// Before the transaction was sent.
    Before,
    /// After, or it was something else.
    After(DatabaseError),
}

impl From<DatabaseError> for Lost {
    fn from(error: DatabaseError) -> Self {
        Self::After(error)
    }
}

impl Connection {
    fn transact_once(&mut self, operations: &[Operation]) -> Result<Outcome, Lost> {
        let ours = self.next_id;
        self.next_id += 1;
        // What has changed up to here, the commands have seen.
        self.changed = false;
        let sent = self.client.handle().transact(ours, operations.to_vec());
        let mut refused = sent.err().map(Err);
        loop {
            let result = match refused.take() {
                Some(result) => Some(result),
                None => match self.next()? {
                    Event::TransactReply { id, result } => Some(result).filter(|_| id == ours),
                    _ => None,
                },
            };
            if let Some(result) = result {
                return match result {
                    Ok(results) => Ok(Ok(results)),
                    Err(TransactError::Failed(failure)) => Ok(Err(failure)),
                    Err(TransactError::Refused(error)) => Ok(Err(Failure {
                        done: Vec::new(),
                        error,
                    })),
                    Err(TransactError::NotConnected) => Err(Lost::Before),
                    Err(error @ TransactError::Disconnected) => {
                        Err(Lost::After(DatabaseError::Connection(error.to_string())))
                    }
                };
            }
        }
    }
}

impl From<ClientError> for DatabaseError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Timeout => Self::Timeout,
            ClientError::Connect { remote, reason } => {
                // The bare reason, as OVN's tools give it.
                let bare = reason
                    .strip_prefix("connection attempt failed (")
                    .and_then(|reason| reason.strip_suffix(')'))
                    .unwrap_or(&reason);
                Self::Connection(format!("{remote}: database connection failed ({bare})"))
            }
            error @ ClientError::Transact(_) => Self::Connection(error.to_string()),
        }
    }
}
