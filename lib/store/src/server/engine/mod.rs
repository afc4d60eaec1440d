//! What carries the store: a task for the core, a thread for the disk.
//!
//! The core is a task among those of the sessions and of the streams to other members, not a thread
//! of its own: what one of them tells it is done, as a rule, on the thread that read it, and so is
//! the answer. Waking another thread takes longer than most steps. A step that may take long says so
//! to the runtime, which then carries on with the other tasks elsewhere.
//!
//! Sessions send events over a bounded channel, which slows them down when the core is busy. The
//! core never waits for anybody. Where it speaks, the queue has an end all the same: a session that
//! does not read is cut off; messages for a peer that does not take them are lost, as on a network;
//! and a disk that is as far behind as no refused client could have brought it ends the process.

mod delivery;
mod disk;
#[cfg(test)]
pub mod fake;
pub mod keepalive;
pub mod outputs;
mod runner;

pub use self::runner::is_large;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use ovsdb::Uuid;
use ovsdb::schema::DatabaseSchema;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use self::disk::Disk;
use self::keepalive::Busy;
use self::outputs::{OutputSender, Outputs};
use self::runner::{Ends, Runner};
use super::databases::Databases;
use super::limits::Stopped;
use super::limits::budget::Budget;
use super::limits::workers::Workers;
use crate::caller::Caller;
use crate::core::{Core, Process};
use crate::event::{Event, Output, Request, Status};
use crate::load::{self, LoadError};
use crate::metrics::{Metrics, Seen};
use crate::peer::{Call, PeerMessage, Purpose, Snapshot};
use crate::raft::NodeError;
use crate::sender::Sender;
use crate::session::{Backlog, RequestId, SessionId};
use crate::storage::{Identity, Membership, Storage};
use crate::writer::Writer;

/// So many events wait for the core at most; sessions wait then.
const MAX_EVENTS: usize = 4096;
/// So many sessions there may be: connections, and calls of those that speak gRPC.
pub const MAX_SESSIONS: usize = 65_536;
/// So many messages may wait to be given to the links to other members.
const MAX_OUTGOING: usize = 16_384;
/// So many failures are told: each thread has one.
const MAX_FAILURES: usize = 4;

/// What the core wants to be sent to other members.
#[derive(Debug)]
pub enum Outgoing {
    /// A message, and to whom.
    Message(u64, PeerMessage),
    /// A snapshot.
    Snapshot(Snapshot),
    /// Who the members are from now on.
    Members(Membership),
}

/// Why the store does not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// What is on disk.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What Raft makes of it.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The operating system.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The store ended before it served.
    #[error("{0}")]
    Failed(String),
}

/// The running store.
#[derive(Debug)]
pub struct Engine {
    events: mpsc::Sender<Message>,
    next_session: AtomicU64,
    sessions: Arc<AtomicUsize>,
    /// The bytes of requests that clients may have here.
    pub requests: Arc<Budget>,
    /// Where what is large is done.
    pub workers: Workers,
    /// What the services know about the databases.
    pub databases: Arc<Databases>,
    /// Who this member is.
    pub identity: Identity,
    /// The members of the cluster when the process started.
    pub membership: Membership,
    /// Figures about its work.
    pub metrics: Arc<Metrics>,
    /// Whether a leader is known: whether reads and writes can be served.
    pub ready: watch::Receiver<bool>,
    /// Whether the core works on something.
    pub busy: Arc<Busy>,
    file: Option<PathBuf>,
    started: Instant,
    /// The disk's thread, which ends after the core.
    disk: Mutex<Option<JoinHandle<()>>>,
}

/// What reaches the core.
#[derive(Debug)]
enum Message {
    /// A new session, whose it is, and where its outputs go.
    Open(SessionId, Arc<Backlog>, Caller, OutputSender),
    /// Everything else.
    Event(Event),
    /// The end: answer nothing more, write everything.
    Stop,
}

/// A client's conversation with the core. Dropping it ends the conversation.
#[derive(Debug)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// What the core says.
    pub outputs: Outputs,
    backlog: Arc<Backlog>,
    events: mpsc::Sender<Message>,
    requests: u64,
    /// How many sessions there are.
    count: Arc<AtomicUsize>,
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The process is about to end.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// There are too many.
    #[error("{MAX_SESSIONS} sessions are open already: connections and gRPC calls")]
    TooMany,
}

/// The channel on which the engine tells that it cannot go on.
pub fn failures() -> (mpsc::Sender<String>, mpsc::Receiver<String>) {
    mpsc::channel(MAX_FAILURES)
}

/// The channel for what goes to other members.
pub fn outbox() -> (mpsc::Sender<Outgoing>, mpsc::Receiver<Outgoing>) {
    mpsc::channel(MAX_OUTGOING)
}

impl From<ConnectError> for Stopped {
    /// For those who do not tell the two apart.
    fn from(_: ConnectError) -> Self {
        Self
    }
}

impl Engine {
    /// Loads what is on disk and starts the core and the disk's thread, in a runtime with several
    /// threads ([`runtime`](super::runtime)). Returns when the store serves. A failure later on is
    /// sent to `failures`.
    /// What is for other members goes to `outbox`. A member of several serves when the others
    /// do; whoever starts it does not wait for that.
    pub async fn start(
        mut storage: Box<dyn Storage>,
        schema: Arc<DatabaseSchema>,
        outbox: mpsc::Sender<Outgoing>,
        failures: mpsc::Sender<String>,
    ) -> Result<Self, EngineError> {
        let mut loaded = load::load(&mut *storage, &schema, Uuid::new_v4(), Uuid::new_v4())?;
        let identity = loaded.state.identity.clone();
        let membership = loaded.state.membership.clone();
        let (number, _) = Uuid::new_v4().as_u64_pair();
        let process = Process {
            number,
            secret: Uuid::new_v4(),
        };
        // Every client may know this one, so that nothing must follow from it.
        let server = Uuid::new_v4();
        let names = crate::codec::Names::new(loaded.state.names.iter().cloned());
        let job = std::mem::take(&mut loaded.job);
        let core = Core::new(loaded, process)?;
        let mut writer = Writer::new(schema.clone(), names);
        writer.push(job);

        let (events, inbox) = mpsc::channel(MAX_EVENTS);
        let (serving, served) = oneshot::channel();
        let (ready, readiness) = watch::channel(false);
        let metrics = Arc::new(Metrics::default());
        let busy = Arc::new(Busy::default());
        let file = storage.file();
        let sender = events.clone();
        let persisted = move |flush| {
            let persisted = Message::Event(Event::Persisted { flush });
            if sender.blocking_send(persisted).is_err() {
                tracing::debug!("the core is gone");
            }
        };
        let (disk, thread) = Disk::start(
            storage,
            writer,
            metrics.clone(),
            failures.clone(),
            persisted,
        )?;
        let workers = Workers::start()?;
        let ends = Ends {
            workers: workers.clone(),
            metrics: metrics.clone(),
            ready,
            busy: busy.clone(),
            outbox,
            failures,
            serving: Some(serving),
        };
        let runner = Runner::new(core, disk, ends);
        tokio::spawn(runner.run(inbox));
        let engine = Self {
            events,
            next_session: AtomicU64::new(1),
            sessions: Arc::default(),
            requests: Budget::of_server(),
            workers,
            databases: Arc::new(Databases::new(&schema, server)),
            identity,
            membership,
            metrics,
            ready: readiness,
            busy,
            file,
            started: Instant::now(),
            disk: Mutex::new(Some(thread)),
        };
        if engine.membership.voters != [engine.identity.member] {
            return Ok(engine);
        }
        match served.await {
            Ok(()) => Ok(engine),
            Err(_) => Err(EngineError::Failed(
                "the store ended before it served".to_owned(),
            )),
        }
    }

    /// A new session of somebody.
    pub async fn connect(&self, caller: Caller) -> Result<Session, ConnectError> {
        let room = |count: usize| (count < MAX_SESSIONS).then_some(count + 1);
        let counted = self
            .sessions
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, room);
        counted.map_err(|_| ConnectError::TooMany)?;
        let id = SessionId(self.next_session.fetch_add(1, Ordering::Relaxed));
        let backlog = Arc::new(Backlog::default());
        let (speaker, outputs) = outputs::queue(&backlog);
        let open = Message::Open(id, backlog.clone(), caller, speaker);
        let session = Session {
            id,
            outputs,
            backlog,
            events: self.events.clone(),
            requests: 0,
            count: self.sessions.clone(),
        };
        self.events.send(open).await.map_err(|_| Stopped)?;
        Ok(session)
    }

    /// What this member knows about itself and the cluster.
    pub async fn status(&self) -> Result<Status, Stopped> {
        let mut session = self.connect(Caller::unrestricted()).await?;
        session.request(Request::Status).await?;
        match session.outputs.recv().await {
            Some(Output::Status { status, .. }) => Ok(*status),
            _ => Err(Stopped),
        }
    }

    /// The size of the database's file, in bytes, if it has one.
    pub fn file_bytes(&self) -> Option<u64> {
        let metadata = std::fs::metadata(self.file.as_ref()?);
        metadata.ok().map(|metadata| metadata.len())
    }

    /// All figures, as OpenMetrics text.
    pub async fn render_metrics(&self) -> Result<String, Stopped> {
        let status = self.status().await?;
        Ok(self.metrics.render(&Seen {
            status: &status,
            events: self.events.max_capacity() - self.events.capacity(),
            file_bytes: self.file_bytes(),
            uptime: self.started.elapsed(),
            version: env!("CARGO_PKG_VERSION"),
        }))
    }

    /// Another member said something.
    pub async fn peer(&self, sender: Sender, message: PeerMessage) {
        self.tell(Event::Peer { sender, message }).await;
    }

    /// What was on its way to another member may be lost.
    pub async fn lost(&self, member: u64, purpose: Purpose) {
        self.tell(Event::PeerLost { member, purpose }).await;
    }

    /// A transaction has more bytes than may go to another member.
    pub async fn too_large(&self, call: Call, bytes: usize, limit: usize) {
        self.tell(Event::ForwardTooLarge { call, bytes, limit })
            .await;
    }

    /// The process of another member has ended, probably.
    pub async fn gone(&self, member: u64) {
        self.tell(Event::PeerGone { member }).await;
    }

    /// A snapshot of another member is here.
    pub async fn snapshot_arrived(&self, snapshot: Snapshot) {
        self.tell(Event::SnapshotArrived(Box::new(snapshot))).await;
    }

    /// A snapshot arrived at another member, or did not.
    pub async fn snapshot_sent(&self, member: u64, arrived: bool) {
        self.tell(Event::SnapshotSent { member, arrived }).await;
    }

    async fn tell(&self, event: Event) {
        // When the core is gone, the process is about to end.
        let _ = self.events.send(Message::Event(event)).await;
    }

    /// Ends the core and the disk's thread, after everything that was answered is on disk. Blocks
    /// until they have ended.
    pub fn stop(&self) {
        // Nobody listens any more if the core has failed, and a full queue is read to its end.
        let _ = self.events.blocking_send(Message::Stop);
        // It holds on until the core, which gives it work, is gone.
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        if disk.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the disk's thread panicked");
        }
    }
}

impl Session {
    /// Sends a request; its number comes back with the answer.
    pub async fn request(&mut self, body: Request) -> Result<RequestId, Stopped> {
        self.requests += 1;
        let request = RequestId(self.requests);
        let event = Event::Request {
            session: self.id,
            request,
            body,
        };
        self.send(event).await?;
        Ok(request)
    }

    /// An [`Output::Updated`] was written to the client.
    pub async fn written(&mut self) -> Result<(), Stopped> {
        if self.backlog.remove() {
            self.send(Event::Drained { session: self.id }).await?;
        }
        Ok(())
    }

    async fn send(&self, event: Event) -> Result<(), Stopped> {
        let sent = self.events.send(Message::Event(event)).await;
        sent.map_err(|_| Stopped)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
        let message = Message::Event(Event::Disconnected { session: self.id });
        // The core may be busy, and a destructor cannot wait.
        if let Err(mpsc::error::TrySendError::Full(message)) = self.events.try_send(message)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let events = self.events.clone();
            runtime.spawn(async move { events.send(message).await });
        }
    }
}
