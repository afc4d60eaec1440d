//! The threads that carry the store: one for the core, one for the disk.
//!
//! Sessions send events over a bounded channel, which slows them down when the core is busy. The
//! core never waits for anybody: to the disk and to the sessions it has unbounded channels, whose
//! length other limits bound (bytes that wait for the log; requests that a session may have
//! unanswered; updates that may wait in a session's queue).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ovsdb::Uuid;
use ovsdb::schema::DatabaseSchema;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use super::Databases;
use super::peers::Outgoing;
use crate::access::Caller;
use crate::core::{Core, TICK_MS};
use crate::event::{Backlog, Effects, Event, Output, Request, RequestId, SessionId, Status};
use crate::load::{self, LoadError};
use crate::peer::{PeerMessage, Snapshot};
use crate::raft::NodeError;
use crate::storage::{Identity, Membership, Storage, StorageError};
use crate::writer::{Job, Writer};

/// So many events wait for the core at most; sessions wait then.
const MAX_EVENTS: usize = 4096;
/// So many events are taken off the channel at once.
const EVENTS_AT_ONCE: usize = 256;
/// So long a leader that is to end waits for another one.
const RETIREMENT: Duration = Duration::from_secs(2);
/// After so long without work, the disk thread writes the rows that it holds.
const IDLE: Duration = Duration::from_millis(200);

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
    /// The threads ended before they served.
    #[error("{0}")]
    Failed(String),
}

/// The running store.
#[derive(Debug)]
pub struct Engine {
    events: mpsc::Sender<Message>,
    sessions: AtomicU64,
    /// What the doors know about the databases.
    pub databases: Arc<Databases>,
    /// Who this member is.
    pub identity: Identity,
    /// The members of the cluster when the process started.
    pub membership: Membership,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What reaches the core's thread.
#[derive(Debug)]
enum Message {
    /// A new session, whose it is, and where its outputs go.
    Open(
        SessionId,
        Arc<Backlog>,
        Caller,
        mpsc::UnboundedSender<Output>,
    ),
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
    pub outputs: mpsc::UnboundedReceiver<Output>,
    backlog: Arc<Backlog>,
    events: mpsc::Sender<Message>,
    requests: u64,
}

/// The core is gone; so the process is about to end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the server is shutting down")]
pub struct Stopped;

impl Engine {
    /// Loads what is on disk and starts the threads. Returns when the store serves. A failure
    /// later on is sent to `failures`.
    /// What is for other members goes to `outbox`. A member of several serves when the others
    /// do; whoever starts it does not wait for that.
    pub async fn start(
        mut storage: Box<dyn Storage>,
        schema: Arc<DatabaseSchema>,
        outbox: mpsc::UnboundedSender<Outgoing>,
        failures: mpsc::UnboundedSender<String>,
    ) -> Result<Self, EngineError> {
        let mut loaded = load::load(&mut *storage, &schema, Uuid::new_v4(), Uuid::new_v4())?;
        let identity = loaded.state.identity.clone();
        let membership = loaded.state.membership.clone();
        let process = Uuid::new_v4();
        let names = crate::codec::Names::new(loaded.state.names.iter().cloned());
        let job = std::mem::take(&mut loaded.job);
        let core = Core::new(loaded, process.as_u64_pair().0)?;
        let mut writer = Writer::new(schema.clone(), names);
        writer.push(job);

        let (events, inbox) = mpsc::channel(MAX_EVENTS);
        let (jobs, queue) = blocking::channel();
        let (serving, served) = oneshot::channel();
        let disk = Disk {
            storage,
            writer,
            queue,
            events: events.clone(),
            failures: failures.clone(),
        };
        let disk = std::thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || disk.run())?;
        let runner = Runner {
            core,
            sessions: HashMap::new(),
            jobs,
            outbox,
            failures,
            serving: Some(serving),
            stop_at: None,
            start: Instant::now(),
            wake_at: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let core = std::thread::Builder::new()
            .name("core".to_owned())
            .spawn(move || runtime.block_on(runner.run(inbox)))?;
        let engine = Self {
            events,
            sessions: AtomicU64::new(1),
            databases: Arc::new(Databases::new(&schema, process)),
            identity,
            membership,
            threads: Mutex::new(vec![core, disk]),
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
    pub async fn connect(&self, caller: Caller) -> Result<Session, Stopped> {
        let id = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        let backlog = Arc::new(Backlog::default());
        let (sender, outputs) = mpsc::unbounded_channel();
        let open = Message::Open(id, backlog.clone(), caller, sender);
        self.events.send(open).await.map_err(|_| Stopped)?;
        Ok(Session {
            id,
            outputs,
            backlog,
            events: self.events.clone(),
            requests: 0,
        })
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

    /// Another member said something.
    pub async fn peer(&self, member: u64, message: PeerMessage) {
        self.tell(Event::Peer { member, message }).await;
    }

    /// What was on its way to another member may be lost.
    pub async fn lost(&self, member: u64) {
        self.tell(Event::PeerLost { member }).await;
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

    /// Ends the threads, after everything that was answered is on disk. Blocks until they have
    /// ended.
    pub fn stop(&self) {
        // Nobody listens any more if the threads have failed, and a full queue is read to its end.
        let _ = self.events.blocking_send(Message::Stop);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
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

/// The core's thread.
struct Runner {
    core: Core,
    sessions: HashMap<SessionId, mpsc::UnboundedSender<Output>>,
    jobs: blocking::Sender<Vec<Job>>,
    outbox: mpsc::UnboundedSender<Outgoing>,
    failures: mpsc::UnboundedSender<String>,
    serving: Option<oneshot::Sender<()>>,
    start: Instant,
    wake_at: Option<u64>,
    /// The process is to end, at the latest then: it waits for another member to lead.
    stop_at: Option<Instant>,
}

impl Runner {
    async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut tick = tokio::time::interval(Duration::from_millis(TICK_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut messages = Vec::with_capacity(EVENTS_AT_ONCE);
        loop {
            let wake_at = self.wake_at.map(Duration::from_millis);
            let timer = async {
                match wake_at {
                    Some(at) => tokio::time::sleep_until(self.start + at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                count = inbox.recv_many(&mut messages, EVENTS_AT_ONCE) => if count == 0 { return },
                _ = tick.tick() => messages.push(Message::Event(Event::Tick)),
                () = timer => messages.push(Message::Event(Event::Timer)),
            }
            for message in messages.drain(..) {
                let event = match message {
                    Message::Stop if !self.core.has_heir() => return,
                    Message::Stop => {
                        self.stop_at = Some(Instant::now() + RETIREMENT);
                        Event::Retire
                    }
                    Message::Event(event) => event,
                    Message::Open(session, backlog, caller, outputs) => {
                        self.sessions.insert(session, outputs);
                        Event::Connected {
                            session,
                            backlog,
                            caller,
                        }
                    }
                };
                if let Event::Disconnected { session } = &event {
                    self.sessions.remove(session);
                }
                if !self.step(event) {
                    return;
                }
            }
            let retired = |at| !self.core.serves() || Instant::now() >= at;
            if self.stop_at.is_some_and(retired) {
                return;
            }
        }
    }

    /// False when the store cannot go on.
    fn step(&mut self, event: Event) -> bool {
        let now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Effects {
            outputs,
            jobs,
            messages,
            snapshots,
            members,
            wake_at,
            failure,
        } = self.core.step(now_ms, event);
        self.wake_at = wake_at;
        for (session, output) in outputs {
            if let Some(outputs) = self.sessions.get(&session) {
                // A session that is just ending has nobody to tell.
                let _ = outputs.send(output);
            }
        }
        let messages = messages.into_iter();
        let messages = messages.map(|(member, message)| Outgoing::Message(member, message));
        let outgoing = members.map(Outgoing::Members).into_iter();
        let outgoing = outgoing.chain(messages);
        for outgoing in outgoing.chain(snapshots.into_iter().map(Outgoing::Snapshot)) {
            // A member on its own has nobody to talk to.
            let _ = self.outbox.send(outgoing);
        }
        let written = jobs.is_empty() || self.jobs.send(jobs).is_ok();
        if self.core.serves()
            && let Some(serving) = self.serving.take()
        {
            // Whoever started the store may have given up.
            let _ = serving.send(());
        }
        if let Some(failure) = failure {
            let _ = self.failures.send(failure);
            return false;
        }
        written
    }
}

/// The disk's thread.
struct Disk {
    storage: Box<dyn Storage>,
    writer: Writer,
    queue: blocking::Receiver<Vec<Job>>,
    events: mpsc::Sender<Message>,
    failures: mpsc::UnboundedSender<String>,
}

impl Disk {
    fn run(mut self) {
        loop {
            let (idle, ended) = self.gather();
            let due = (idle && !self.writer.is_idle()) || self.writer.must_flush();
            if due && let Err(error) = self.write(idle) {
                // The main task hears of it, or is gone itself.
                let _ = self.failures.send(error.to_string());
                return;
            }
            if ended && self.writer.is_idle() {
                return;
            }
        }
    }

    fn write(&mut self, idle: bool) -> Result<(), StorageError> {
        let (batch, flush) = self.writer.take(idle);
        self.storage.write(&batch)?;
        if let Some(flush) = flush {
            let persisted = Message::Event(Event::Persisted { flush });
            if self.events.blocking_send(persisted).is_err() {
                tracing::debug!("the core is gone");
            }
        }
        Ok(())
    }

    /// Waits for jobs and takes all that there are. Answers whether there is nothing else to do,
    /// and whether there will be no more.
    fn gather(&mut self) -> (bool, bool) {
        let first = if self.writer.is_idle() {
            self.queue
                .recv()
                .map_err(|_| blocking::RecvTimeoutError::Disconnected)
        } else if self.writer.in_round() {
            self.queue.recv_timeout(Duration::ZERO)
        } else {
            self.queue.recv_timeout(IDLE)
        };
        match first {
            Ok(jobs) => jobs.into_iter().for_each(|job| self.writer.push(job)),
            Err(error) => return (true, error == blocking::RecvTimeoutError::Disconnected),
        }
        while let Ok(jobs) = self.queue.try_recv() {
            jobs.into_iter().for_each(|job| self.writer.push(job));
        }
        (false, false)
    }
}
