//! The task that keeps a replica connected: the only part of this crate that does I/O.

pub(crate) mod client;
mod grpc_session;
mod mailbox;
mod ovsdb_session;
pub(crate) mod schema;
mod stream;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ovsdb::adapt::Missing;
use ovsdb::operation::Operation;
use ovsdb::remote::Protocol;
use ovsdb::{Condition, Remote};
use tokio::sync::mpsc;

use self::mailbox::{Inbox, Mailbox};
use crate::core::{Command, Core};
use crate::error::TransactError;
use crate::event::Event;
use crate::spec::Spec;

/// Starts a replica. Its events go to `sender`, each as `wrap` makes of it, so that several replicas can share a
/// channel. It ends when the handle is dropped or the channel's other end is.
///
/// Must be called within a tokio runtime.
pub fn spawn<E, W>(spec: Spec, sender: mpsc::Sender<E>, wrap: W) -> Handle
where
    E: Send + 'static,
    W: Fn(Event) -> E + Send + 'static,
{
    let (mailbox, inbox) = mailbox::mailbox();
    let status = Arc::new(Mutex::new(Status::default()));
    let mut link = Link {
        core: Core::new(spec),
        commands: inbox,
        status: status.clone(),
        out: Out { sender, wrap },
    };
    tokio::spawn(async move {
        let Closed = link.run().await;
    });
    Handle { mailbox, status }
}

/// What the owner of a replica asks of it.
///
/// Nothing here waits, and nothing grows without end: of conditions and remotes, the last ones count, and of transactions
/// only so many may wait.
#[derive(Clone, Debug)]
pub struct Handle {
    mailbox: Mailbox,
    status: Arc<Mutex<Status>>,
}

/// Where a replica stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// How far the connection is.
    pub state: State,
    /// Where the connection is or will be.
    pub remote: Option<Remote>,
    /// Why the last connection or attempt ended.
    pub last_error: Option<String>,
    /// How many connections were made.
    pub connections: u64,
    /// What the schema of the server, if its contents have come, lacks of ours.
    pub missing: Missing,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// There is none; the next attempt comes after a pause.
    #[default]
    Waiting,
    /// There will be one soon.
    Connecting,
    /// There is one, and the contents are on their way.
    Loading,
    /// The owner is told of changes as they come.
    Live,
}

impl State {
    /// As in the `connection-status` of daemons: `connected` or `not connected`.
    pub fn is_connected(self) -> bool {
        matches!(self, Self::Loading | Self::Live)
    }
}

impl Handle {
    /// Executes operations as one transaction. [`Event::TransactReply`] with the same `id` comes exactly once.
    ///
    /// # Errors
    /// When too many transactions wait to be sent. Then nothing happens, and no event comes.
    pub fn transact(&self, id: u64, operations: Vec<Operation>) -> Result<(), TransactError> {
        self.mailbox.transact(id, operations)
    }

    /// Changes which rows of a table are told of. [`Event::ConditionsInEffect`] comes with the number returned, or a
    /// later one, when this is in effect.
    pub fn set_condition(&self, table: usize, condition: Condition) -> u64 {
        self.set_conditions([(table, condition)])
    }

    /// Changes which rows of several tables are told of, at once; else as [`Handle::set_condition`].
    pub fn set_conditions(&self, conditions: impl IntoIterator<Item = (usize, Condition)>) -> u64 {
        self.mailbox.set_conditions(conditions)
    }

    /// Takes another list of remotes. A connection to one that is in it stays.
    pub fn set_remotes(&self, remotes: Vec<Remote>) {
        self.mailbox.set_remotes(remotes);
    }

    /// Gives up the connection and makes a new one at once.
    pub fn force_reconnect(&self) {
        self.mailbox.reconnect();
    }

    /// Where the replica stands.
    pub fn status(&self) -> Status {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The owner is gone.
struct Closed;

/// The owner's channel.
struct Out<E, W> {
    sender: mpsc::Sender<E>,
    wrap: W,
}

/// Everything that outlives a connection.
struct Link<E, W> {
    core: Core,
    commands: Inbox,
    status: Arc<Mutex<Status>>,
    out: Out<E, W>,
}

/// Why a connection ended.
enum End {
    Closed,
    Lost {
        reason: String,
        conditions_in_effect: bool,
    },
}

/// Why a conversation ended.
enum Reason {
    Closed,
    Lost(String),
}

impl From<Closed> for End {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl<E, W> Link<E, W>
where
    E: Send + 'static,
    W: Fn(Event) -> E + Send + 'static,
{
    /// One attempt after the other.
    async fn run(&mut self) -> Closed {
        loop {
            let remote = match self.pause().await {
                Ok(remote) => remote,
                Err(closed) => return closed,
            };
            match self.attempt(&remote).await {
                End::Closed => return Closed,
                End::Lost {
                    reason,
                    conditions_in_effect,
                } => {
                    tracing::info!("{remote}: {reason}");
                    self.set_status(|status| {
                        status.state = State::Waiting;
                        status.last_error = Some(reason.clone());
                    });
                    self.core
                        .disconnected(Instant::now(), &remote, reason, conditions_in_effect);
                }
            }
        }
    }

    /// Waits until the next attempt is due.
    async fn pause(&mut self) -> Result<Remote, Closed> {
        loop {
            let attempt = self.core.next_attempt();
            self.set_status(|status| {
                status.remote = attempt.as_ref().map(|(remote, _)| remote.clone());
            });
            let at = match attempt {
                Some((remote, at))
                    if !self.core.has_events() && at.is_none_or(|at| at <= Instant::now()) =>
                {
                    return Ok(remote);
                }
                Some((_, at)) => at,
                None => None,
            };
            let due = async {
                match at {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due, if !self.core.has_events() => {}
                told = self.out.reserve(), if self.core.has_events() => self.tell(told?),
                command = self.commands.next(), if self.core.has_room() => self.offline_command(command)?,
                () = self.out.sender.closed() => return Err(Closed),
            }
        }
    }

    async fn attempt(&mut self, remote: &Remote) -> End {
        tracing::info!("{remote}: connecting...");
        self.set_status(|status| status.state = State::Connecting);
        let tls = self.core.spec().tls.clone();
        let connecting = stream::connect(remote, tls.as_ref());
        tokio::pin!(connecting);
        let stream = loop {
            tokio::select! {
                result = &mut connecting => match result {
                    Ok(stream) => break stream,
                    Err(error) => return End::Lost {
                        reason: format!("connection attempt failed ({error})"),
                        conditions_in_effect: true,
                    },
                },
                command = self.commands.next(), if self.core.has_room() => {
                    let changed = self.core.spec().remotes.clone();
                    if self.offline_command(command).is_err() {
                        return End::Closed;
                    }
                    if self.core.spec().remotes != changed {
                        return End::Lost {
                            reason: "the remotes were changed".to_owned(),
                            conditions_in_effect: true,
                        };
                    }
                }
                () = self.out.sender.closed() => return End::Closed,
            }
        };
        tracing::info!("{remote}: connected");
        self.set_status(|status| {
            status.state = State::Loading;
            status.connections += 1;
        });
        self.core.connected(remote);
        match remote.protocol() {
            Protocol::Ovsdb => self.converse_in_ovsdb(remote, stream).await,
            Protocol::Grpc => self.converse_in_grpc(remote, stream).await,
        }
    }

    /// A command while there is no session.
    fn offline_command(&mut self, command: Option<Command>) -> Result<(), Closed> {
        match command.ok_or(Closed)? {
            Command::Transact { id, .. } => {
                self.core
                    .transaction_sent(id, Err(TransactError::NotConnected), None);
            }
            Command::SetConditions(number, conditions) => {
                self.core.set_conditions(number, conditions, false);
            }
            Command::SetRemotes(remotes) => {
                self.core.set_remotes(remotes, None);
            }
            Command::Reconnect => self.core.hurry(),
        }
        Ok(())
    }

    /// Hands the next event to the owner.
    fn tell(&mut self, permit: mpsc::OwnedPermit<E>) {
        if let Some(event) = self.core.next_event() {
            if event == Event::Synced {
                let missing = self.core.missing().clone();
                self.set_status(|status| {
                    status.state = State::Live;
                    status.missing = missing;
                });
            }
            permit.send((self.out.wrap)(event));
        }
    }

    fn set_status(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl<E: Send + 'static, W> Out<E, W> {
    /// Waits for room in the owner's channel.
    fn reserve(
        &self,
    ) -> impl Future<Output = Result<mpsc::OwnedPermit<E>, Closed>> + Send + use<E, W> {
        let sender = self.sender.clone();
        async move { sender.reserve_owned().await.map_err(|_| Closed) }
    }
}
