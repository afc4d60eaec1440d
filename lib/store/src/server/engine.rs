//! The threads that carry the store: one for the core, one for the disk.
//!
//! Sessions send events over a bounded channel, which slows them down when the core is busy. The
//! core never waits for anybody. Where it speaks, the queue has an end all the same: a session that
//! does not read is cut off; messages for a peer that does not take them are lost, as on a network;
//! and a disk that is as far behind as no refused client could have brought it ends the process.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ovsdb::Uuid;
use ovsdb::schema::DatabaseSchema;
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::Databases;
use super::budget::Budget;
use super::outputs::{self, Outputs, Overflow, Speaker};
use super::peers::Outgoing;
use crate::access::Caller;
use crate::core::{Core, TICK_MS};
use crate::event::{Backlog, Effects, Event, Output, Request, RequestId, SessionId, Status};
use crate::load::{self, LoadError};
use crate::metrics::{Metrics, Seen};
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
/// So many sessions there may be: connections, and calls of those that speak gRPC.
pub const MAX_SESSIONS: usize = 65_536;
/// So many jobs may wait for the disk. Clients are refused long before, see `MAX_PENDING` of the
/// core, and a leader sends no more to a follower whose disk does not answer.
const MAX_JOBS: usize = 1 << 18;
/// So many messages may wait to be given to the links to other members.
const MAX_OUTGOING: usize = 16_384;
/// So many failures are told: each thread has one.
const MAX_FAILURES: usize = 4;
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
    next_session: AtomicU64,
    sessions: Arc<AtomicUsize>,
    /// The bytes of requests that clients may have here.
    pub requests: Arc<Budget>,
    /// What the doors know about the databases.
    pub databases: Arc<Databases>,
    /// Who this member is.
    pub identity: Identity,
    /// The members of the cluster when the process started.
    pub membership: Membership,
    /// Figures about its work.
    pub metrics: Arc<Metrics>,
    /// Whether a leader is known: whether reads and writes can be served.
    pub ready: watch::Receiver<bool>,
    file: Option<PathBuf>,
    started: Instant,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What reaches the core's thread.
#[derive(Debug)]
enum Message {
    /// A new session, whose it is, and where its outputs go.
    Open(SessionId, Arc<Backlog>, Caller, Speaker),
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

/// The core is gone; so the process is about to end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the server is shutting down")]
pub struct Stopped;

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
    /// Loads what is on disk and starts the threads. Returns when the store serves. A failure
    /// later on is sent to `failures`.
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
        let process = Uuid::new_v4();
        let names = crate::codec::Names::new(loaded.state.names.iter().cloned());
        let job = std::mem::take(&mut loaded.job);
        let core = Core::new(loaded, process.as_u64_pair().0)?;
        let mut writer = Writer::new(schema.clone(), names);
        writer.push(job);

        let (events, inbox) = mpsc::channel(MAX_EVENTS);
        let (jobs, queue) = blocking::channel();
        let behind = Arc::new(AtomicUsize::new(0));
        let (serving, served) = oneshot::channel();
        let (ready, readiness) = watch::channel(false);
        let metrics = Arc::new(Metrics::default());
        let file = storage.file();
        let disk = Disk {
            metrics: metrics.clone(),
            storage,
            writer,
            queue,
            behind: behind.clone(),
            events: events.clone(),
            failures: failures.clone(),
        };
        let disk = std::thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || disk.run())?;
        let runner = Runner {
            core,
            sessions: HashMap::new(),
            cut_off: Vec::new(),
            lost: BTreeSet::new(),
            members: None,
            metrics: metrics.clone(),
            flushes: VecDeque::new(),
            ready,
            jobs,
            behind,
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
            next_session: AtomicU64::new(1),
            sessions: Arc::default(),
            requests: Budget::of_server(),
            databases: Arc::new(Databases::new(&schema, process)),
            identity,
            membership,
            metrics,
            ready: readiness,
            file,
            started: Instant::now(),
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
    pub async fn peer(&self, member: u64, message: PeerMessage) {
        self.tell(Event::Peer { member, message }).await;
    }

    /// What was on its way to another member may be lost.
    pub async fn lost(&self, member: u64) {
        self.tell(Event::PeerLost { member }).await;
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

/// What the links to other members had no room for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Lost {
    Message,
    Snapshot,
}

/// A session, as the core's thread sees it.
struct Client {
    speaker: Speaker,
    /// Its transactions without an answer, and when they came.
    asked: FxHashMap<RequestId, Instant>,
}

/// The core's thread.
struct Runner {
    core: Core,
    sessions: HashMap<SessionId, Client>,
    /// Sessions that did not read, about to be forgotten.
    cut_off: Vec<SessionId>,
    /// To whom something did not even reach the link, for the core to know.
    lost: BTreeSet<(u64, Lost)>,
    /// The members, as long as the links have no room to hear of them.
    members: Option<Membership>,
    metrics: Arc<Metrics>,
    /// Writes that somebody waits for, and when they were given to the disk.
    flushes: VecDeque<(u64, Instant)>,
    ready: watch::Sender<bool>,
    jobs: blocking::Sender<Vec<Job>>,
    /// How many jobs wait for the disk.
    behind: Arc<AtomicUsize>,
    outbox: mpsc::Sender<Outgoing>,
    failures: mpsc::Sender<String>,
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
                        let client = Client {
                            speaker: outputs,
                            asked: FxHashMap::default(),
                        };
                        self.sessions.insert(session, client);
                        Event::Connected {
                            session,
                            backlog,
                            caller,
                        }
                    }
                };
                self.note(&event);
                if !self.step(event) || !self.clean_up() {
                    return;
                }
            }
            let retired = |at| !self.core.serves() || Instant::now() >= at;
            if self.stop_at.is_some_and(retired) {
                return;
            }
        }
    }

    /// Tells the core what the last steps made known. False when the store cannot go on.
    fn clean_up(&mut self) -> bool {
        while let Some(session) = self.cut_off.pop() {
            // It may have been cut off more than once in a step.
            if self.sessions.remove(&session).is_some()
                && !self.step(Event::Disconnected { session })
            {
                return false;
            }
        }
        // What is lost again while this is told waits for the next turn.
        let lost = std::mem::take(&mut self.lost);
        lost.into_iter().all(|(member, what)| {
            self.step(match what {
                Lost::Message => Event::PeerLost { member },
                Lost::Snapshot => Event::SnapshotSent {
                    member,
                    arrived: false,
                },
            })
        })
    }

    /// Hands things to the links to other members, as far as they have room.
    fn send_out(&mut self, messages: Vec<(u64, PeerMessage)>, snapshots: Vec<Snapshot>) {
        // A member on its own has nobody to talk to, and nobody receives.
        let full = |sent| matches!(sent, Err(mpsc::error::TrySendError::Full(_)));
        if let Some(members) = &self.members
            && !full(self.outbox.try_send(Outgoing::Members(members.clone())))
        {
            self.members = None;
        }
        for (member, message) in messages {
            if full(self.outbox.try_send(Outgoing::Message(member, message))) {
                self.lost.insert((member, Lost::Message));
            }
        }
        for snapshot in snapshots {
            let member = snapshot.message.to;
            if full(self.outbox.try_send(Outgoing::Snapshot(snapshot))) {
                self.lost.insert((member, Lost::Snapshot));
            }
        }
    }

    /// False when the disk is gone, or does not come after.
    fn write(&mut self, jobs: Vec<Job>) -> bool {
        if jobs.is_empty() {
            return true;
        }
        if self.behind.fetch_add(1, Ordering::AcqRel) >= MAX_JOBS {
            let failure = format!("{MAX_JOBS} pieces of work wait for the disk");
            let _ = self.failures.try_send(failure);
            return false;
        }
        self.jobs.send(jobs).is_ok()
    }

    /// Keeps the books of who waits for what.
    fn note(&mut self, event: &Event) {
        match event {
            Event::Disconnected { session } => {
                self.sessions.remove(session);
            }
            Event::Request {
                session,
                request,
                body: Request::Transact { .. },
            } => {
                if let Some(client) = self.sessions.get_mut(session) {
                    client.asked.insert(*request, Instant::now());
                }
            }
            Event::Persisted { flush } => {
                while let Some((_, since)) = self.flushes.pop_front_if(|(due, _)| *due <= *flush) {
                    self.metrics.flush.observe(since.elapsed());
                }
            }
            _ => {}
        }
    }

    /// Hands an output to its session.
    fn deliver(&mut self, session: SessionId, output: Output) {
        // A session that is just ending has nobody to tell.
        let Some(client) = self.sessions.get_mut(&session) else {
            return;
        };
        if let Output::Updated { .. } = &output {
            self.metrics.updated();
        }
        if let Some(since) = output
            .answers()
            .and_then(|request| client.asked.remove(&request))
        {
            let failed = match &output {
                Output::Transacted { outcome, .. } => outcome.is_err(),
                Output::Repeated { .. } => false,
                _ => true,
            };
            self.metrics.transacted(since.elapsed(), failed);
        }
        if let Err(Overflow) = client.speaker.say(output) {
            self.cut_off.push(session);
        }
    }

    /// False when the store cannot go on.
    fn step(&mut self, event: Event) -> bool {
        let began = Instant::now();
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
        self.metrics.step.observe(began.elapsed());
        self.wake_at = wake_at;
        for (session, output) in outputs {
            self.deliver(session, output);
        }
        self.metrics.snapshots_sent(snapshots.len());
        let due = jobs.iter().filter_map(|job| job.flush);
        self.flushes.extend(due.map(|flush| (flush, began)));
        let ready = self.core.knows_leader();
        self.ready
            .send_if_modified(|before| std::mem::replace(before, ready) != ready);
        self.members = members.or(self.members.take());
        self.send_out(messages, snapshots);
        let written = self.write(jobs);
        if self.core.serves()
            && let Some(serving) = self.serving.take()
        {
            // Whoever started the store may have given up.
            let _ = serving.send(());
        }
        if let Some(failure) = failure {
            let _ = self.failures.try_send(failure);
            return false;
        }
        written
    }
}

/// The disk's thread.
struct Disk {
    metrics: Arc<Metrics>,
    storage: Box<dyn Storage>,
    writer: Writer,
    queue: blocking::Receiver<Vec<Job>>,
    behind: Arc<AtomicUsize>,
    events: mpsc::Sender<Message>,
    failures: mpsc::Sender<String>,
}

impl Disk {
    fn run(mut self) {
        loop {
            let (idle, ended) = self.gather();
            let due = (idle && !self.writer.is_idle()) || self.writer.must_flush();
            if due && let Err(error) = self.write(idle) {
                // The main task hears of it, or is gone itself.
                let _ = self.failures.try_send(error.to_string());
                return;
            }
            if ended && self.writer.is_idle() {
                return;
            }
        }
    }

    fn write(&mut self, idle: bool) -> Result<(), StorageError> {
        let (batch, flush) = self.writer.take(idle);
        let began = Instant::now();
        self.storage.write(&batch)?;
        self.metrics.disk_write.observe(began.elapsed());
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
            Ok(jobs) => self.take(jobs),
            Err(error) => return (true, error == blocking::RecvTimeoutError::Disconnected),
        }
        while let Ok(jobs) = self.queue.try_recv() {
            self.take(jobs);
        }
        (false, false)
    }

    fn take(&mut self, jobs: Vec<Job>) {
        self.behind.fetch_sub(1, Ordering::AcqRel);
        jobs.into_iter().for_each(|job| self.writer.push(job));
    }
}
