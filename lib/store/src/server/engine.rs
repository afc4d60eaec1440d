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

#[cfg(test)]
pub mod hollow;

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ovsdb::schema::DatabaseSchema;
use ovsdb::{Transaction, Uuid};
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::Databases;
use super::budget::Budget;
use super::delivery::{Delivery, PART};
use super::disk::{Disk, DiskError};
use super::lane::Lane;
use super::outputs::{self, Outputs, Overflow, Speaker};
use super::peers::Outgoing;
use super::peers::pulse::Busy;
use crate::access::Caller;
use crate::core::{Core, TICK_MS};
use crate::event::{Backlog, Effects, Event, Output, Request, RequestId, SessionId, Status};
use crate::load::{self, LoadError};
use crate::metrics::{Metrics, Seen};
use crate::peer::{PeerMessage, Snapshot};
use crate::raft::NodeError;
use crate::storage::{Identity, Membership, Storage};
use crate::writer::{Job, Writer};

/// So many events wait for the core at most; sessions wait then.
const MAX_EVENTS: usize = 4096;
/// So many events are taken off the channel at once.
const EVENTS_AT_ONCE: usize = 256;
/// So long a leader that is to end waits for another one.
const RETIREMENT: Duration = Duration::from_secs(2);
/// So many sessions there may be: connections, and calls of those that speak gRPC.
pub const MAX_SESSIONS: usize = 65_536;
/// So many messages may wait to be given to the links to other members.
const MAX_OUTGOING: usize = 16_384;
/// So many failures are told: each thread has one.
const MAX_FAILURES: usize = 4;
/// So many updates at once are delivered without waking the sessions that they are for.
const MANY: usize = 8;
/// After so many turns with one event each, few clients are busy.
const CALM: u32 = 4;
/// A transaction of so many operations, and a message of so many bytes, may take long.
const LARGE_OPERATIONS: usize = 1000;
const LARGE_BYTES: usize = 256 << 10;

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
    /// Where the doors do what is large.
    pub lane: Lane,
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
        let process = Uuid::new_v4();
        let names = crate::codec::Names::new(loaded.state.names.iter().cloned());
        let job = std::mem::take(&mut loaded.job);
        let core = Core::new(loaded, process.as_u64_pair().0)?;
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
        let runner = Runner {
            core,
            sessions: FxHashMap::default(),
            cut_off: Vec::new(),
            lost: BTreeSet::new(),
            members: None,
            metrics: metrics.clone(),
            flushes: VecDeque::new(),
            ready,
            busy: busy.clone(),
            disk,
            delivery: Delivery::new(),
            calm: 0,
            alone: false,
            held: false,
            outbox,
            failures,
            serving: Some(serving),
            stop_at: None,
            start: Instant::now(),
            wake_at: None,
        };
        tokio::spawn(runner.run(inbox));
        let engine = Self {
            events,
            next_session: AtomicU64::new(1),
            sessions: Arc::default(),
            requests: Budget::of_server(),
            lane: Lane::start()?,
            databases: Arc::new(Databases::new(&schema, process)),
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

/// What the links to other members had no room for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Lost {
    Message,
    Snapshot,
}

/// A session, as the core's task sees it.
struct Client {
    speaker: Speaker,
    /// Its transactions without an answer, and when they came.
    asked: FxHashMap<RequestId, Instant>,
}

/// The core's task.
struct Runner {
    core: Core,
    sessions: FxHashMap<SessionId, Client>,
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
    busy: Arc<Busy>,
    disk: Disk,
    delivery: Delivery,
    /// So many turns in a row had one event only.
    calm: u32,
    /// Nothing else than the present event is known to have happened, and that is usual.
    alone: bool,
    /// Somebody waits for what the disk keeps, and the thread does not have it.
    held: bool,
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
        self.serve(&mut inbox).await;
        // If the disk has failed, it has said so.
        let _ = self.disk.send();
    }

    /// Until the end, or until the store cannot go on.
    async fn serve(&mut self, inbox: &mut mpsc::Receiver<Message>) {
        let mut tick = tokio::time::interval(Duration::from_millis(TICK_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut messages = Vec::with_capacity(EVENTS_AT_ONCE);
        loop {
            let wake_at = self
                .wake_at
                .map(|at| self.start + Duration::from_millis(at));
            let timer = async {
                match wake_at {
                    // There is more to do, after what others have to do.
                    Some(at) if at <= Instant::now() => tokio::task::yield_now().await,
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                count = inbox.recv_many(&mut messages, EVENTS_AT_ONCE) => if count == 0 { return },
                _ = tick.tick() => {
                    messages.push(Message::Event(Event::Tick));
                    let sent = self.disk.send();
                    if self.succeeded(sent).is_none() {
                        return;
                    }
                }
                () = timer => messages.push(Message::Event(Event::Timer)),
            }
            let alone = messages.len() == 1 && inbox.is_empty();
            self.calm = if alone {
                self.calm.saturating_add(1)
            } else {
                0
            };
            self.alone = self.calm >= CALM;
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
            if self.alone && !self.write_alone(inbox) {
                return;
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
        let written = self.disk.keep(jobs).and_then(|waits| match waits {
            true if self.alone => {
                self.held = true;
                Ok(())
            }
            true => self.disk.send(),
            false => Ok(()),
        });
        self.succeeded(written).is_some()
    }

    /// What has come of dealing with the disk; nothing if it is gone.
    fn succeeded<T>(&self, result: Result<T, DiskError>) -> Option<T> {
        let told = |error: DiskError| {
            if !matches!(error, DiskError::Ended) {
                let _ = self.failures.try_send(error.to_string());
            }
        };
        result.map_err(told).ok()
    }

    /// Writes what the only event of a turn wants written, here if that is quick. False when the
    /// store cannot go on.
    fn write_alone(&mut self, inbox: &mpsc::Receiver<Message>) -> bool {
        while std::mem::take(&mut self.held) {
            // What a leader has sent to the others is on its way only when this task rests.
            let leads = self.core.serves() && self.core.has_heir();
            let written = match !leads && inbox.is_empty() {
                true => self.disk.write_now(),
                false => Ok(None),
            };
            let Some(written) = self.succeeded(written) else {
                return false;
            };
            let Some(flush) = written else {
                let sent = self.disk.send();
                return self.succeeded(sent).is_some();
            };
            let event = Event::Persisted { flush };
            self.note(&event);
            if !self.step(event) || !self.clean_up() {
                return false;
            }
        }
        true
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
                self.disk.persisted(*flush);
                while let Some((_, since)) = self.flushes.pop_front_if(|(due, _)| *due <= *flush) {
                    self.metrics.flush.observe(since.elapsed());
                }
            }
            _ => {}
        }
    }

    /// Hands outputs to their sessions.
    fn deliver_all(&mut self, outputs: Vec<(SessionId, Output)>) {
        if outputs.len() < MANY {
            for (session, output) in outputs {
                self.deliver(session, output, Speaker::say);
            }
            return;
        }
        let mut lent = Vec::with_capacity(PART);
        for (session, output) in outputs {
            lent.extend(self.deliver(session, output, Speaker::lend).flatten());
            if lent.len() == PART {
                let part = std::mem::replace(&mut lent, Vec::with_capacity(PART));
                self.delivery.take(part);
            }
        }
        self.delivery.take(lent);
    }

    /// Hands an output to its session in this way.
    fn deliver<T>(
        &mut self,
        session: SessionId,
        output: Output,
        tell: impl Fn(&Speaker, Output) -> Result<T, Overflow>,
    ) -> Option<T> {
        // A session that is just ending has nobody to tell.
        let client = self.sessions.get_mut(&session)?;
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
        let told = tell(&client.speaker, output);
        if told.is_err() {
            self.cut_off.push(session);
        }
        told.ok()
    }

    /// False when the store cannot go on.
    fn step(&mut self, event: Event) -> bool {
        let began = Instant::now();
        let now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let core = &mut self.core;
        self.busy.begin(began, core.serves());
        let effects = if may_take_long(&event, core.unsettled_bytes()) {
            tokio::task::block_in_place(|| core.step(now_ms, event))
        } else {
            core.step(now_ms, event)
        };
        self.busy.end();
        let Effects {
            outputs,
            jobs,
            messages,
            snapshots,
            members,
            wake_at,
            failure,
        } = effects;
        self.metrics.step.observe(began.elapsed());
        self.wake_at = wake_at;
        self.deliver_all(outputs);
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

/// Whether other tasks should not wait for the step of an event, while so many bytes of the log do not
/// show in the rows: whatever brings news of a commit may have all of them applied.
fn may_take_long(event: &Event, unsettled_bytes: usize) -> bool {
    let is_long = |transaction: &Transaction| transaction.operations.len() >= LARGE_OPERATIONS;
    match event {
        _ if unsettled_bytes >= LARGE_BYTES => true,
        Event::SnapshotArrived(_) => true,
        Event::Request { body, .. } => match body {
            Request::Transact { transaction, .. } => is_long(transaction),
            Request::Monitor { .. } | Request::ChangeConditions { .. } => true,
            _ => false,
        },
        Event::Peer { message, .. } => match message {
            PeerMessage::Raft(message) => {
                let bytes = message.entries.iter().map(|entry| entry.data.len());
                bytes.sum::<usize>() >= LARGE_BYTES
            }
            message => is_large(message),
        },
        _ => false,
    }
}

/// Whether a message takes long to be read, to be written down, and to be dealt with.
pub fn is_large(message: &PeerMessage) -> bool {
    matches!(message, PeerMessage::Forward(forward) if forward.transaction.operations.len() >= LARGE_OPERATIONS)
}
