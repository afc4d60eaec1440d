//! The core's task: it takes events off the channel, lets the core make a step with each, and does
//! what the core wants done.
//!
//! ```text
//!   sessions, streams, disk ──▶ inbox ──▶ Core::step ──▶ outputs ──▶ sessions
//!                      tick, timer ──▶        │     ├──▶ messages ─▶ links to other members
//!                                             │     └──▶ jobs ─────▶ disk
//!                                             └─ more to do: a timer, at once if it goes on in pieces
//! ```

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ovsdb::Transaction;
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::delivery::{Delivery, PART};
use super::disk::{Disk, DiskError};
use super::keepalive::Busy;
use super::outputs::{OutputSender, Overflow};
use super::{Message, Outgoing};
use crate::core::{Core, TICK_MS};
use crate::event::{Effects, Event, Output, Request};
use crate::metrics::Metrics;
use crate::peer::{PeerMessage, Purpose, Snapshot};
use crate::server::limits::workers::Workers;
use crate::session::{RequestId, SessionId};
use crate::storage::Membership;
use crate::writer::Job;

/// So many events are taken off the channel at once.
const EVENTS_AT_ONCE: usize = 256;
/// So long a leader that is to end waits for another one.
const RETIREMENT: Duration = Duration::from_secs(2);
/// So many updates at once are delivered without waking the sessions that they are for.
const MANY: usize = 8;
/// After so many turns with one event each, few clients are busy.
const CALM: u32 = 4;
/// A transaction of so many operations, and a message of so many bytes, may take long.
const LARGE_OPERATIONS: usize = 1000;
const LARGE_BYTES: usize = 256 << 10;

/// What the links to other members had no room for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Lost {
    Message(Purpose),
    Snapshot,
}

/// A session, as the core's task sees it.
struct Client {
    sender: OutputSender,
    /// Its transactions without an answer, and when they came.
    asked: FxHashMap<RequestId, Instant>,
}

/// Where what the core's task says goes.
pub(super) struct Ends {
    pub(super) metrics: Arc<Metrics>,
    pub(super) ready: watch::Sender<bool>,
    pub(super) busy: Arc<Busy>,
    pub(super) outbox: mpsc::Sender<Outgoing>,
    pub(super) failures: mpsc::Sender<String>,
    /// Where what is large is dropped.
    pub(super) workers: Workers,
    /// Is told once that the store serves.
    pub(super) serving: Option<oneshot::Sender<()>>,
}

/// The core's task.
pub(super) struct Runner {
    core: Core,
    ends: Ends,
    sessions: FxHashMap<SessionId, Client>,
    /// Sessions that did not read, about to be forgotten.
    cut_off: Vec<SessionId>,
    /// To whom something did not even reach the link, for the core to know.
    lost: BTreeSet<(u64, Lost)>,
    /// The members, as long as the links have no room to hear of them.
    members: Option<Membership>,
    /// Writes that somebody waits for, and when they were given to the disk.
    flushes: VecDeque<(u64, Instant)>,
    disk: Disk,
    delivery: Delivery,
    /// So many turns in a row had one event only.
    calm: u32,
    /// Nothing else than the present event is known to have happened, and that is usual.
    alone: bool,
    /// Somebody waits for what the disk keeps, and the thread does not have it.
    held: bool,
    start: Instant,
    wake_at: Option<u64>,
    /// The process is to end, at the latest then: it waits for another member to lead.
    stop_at: Option<Instant>,
}

impl Runner {
    /// The task of this core.
    pub(super) fn new(core: Core, disk: Disk, ends: Ends) -> Self {
        Self {
            core,
            ends,
            sessions: FxHashMap::default(),
            cut_off: Vec::new(),
            lost: BTreeSet::new(),
            members: None,
            flushes: VecDeque::new(),
            disk,
            delivery: Delivery::new(),
            calm: 0,
            alone: false,
            held: false,
            stop_at: None,
            start: Instant::now(),
            wake_at: None,
        }
    }

    /// Does everything until the end.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
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
                            sender: outputs,
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
                Lost::Message(purpose) => Event::PeerLost { member, purpose },
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
        for (member, message) in messages {
            let purpose = message.purpose();
            if full(
                self.ends
                    .outbox
                    .try_send(Outgoing::Message(member, message)),
            ) {
                self.lost.insert((member, Lost::Message(purpose)));
            }
        }
        // Afterwards: what was said before the members changed is for those who they were.
        if let Some(members) = &self.members
            && !full(
                self.ends
                    .outbox
                    .try_send(Outgoing::Members(members.clone())),
            )
        {
            self.members = None;
        }
        for snapshot in snapshots {
            let member = snapshot.message.to;
            if full(self.ends.outbox.try_send(Outgoing::Snapshot(snapshot))) {
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
                let _ = self.ends.failures.try_send(error.to_string());
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
                    self.ends.metrics.flush.observe(since.elapsed());
                }
            }
            _ => {}
        }
    }

    /// Hands outputs to their sessions.
    fn deliver_all(&mut self, outputs: Vec<(SessionId, Output)>) {
        if outputs.len() < MANY {
            for (session, output) in outputs {
                self.deliver(session, output, OutputSender::say);
            }
            return;
        }
        let mut lent = Vec::with_capacity(PART);
        for (session, output) in outputs {
            lent.extend(self.deliver(session, output, OutputSender::lend).flatten());
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
        tell: impl Fn(&OutputSender, Output) -> Result<T, Overflow>,
    ) -> Option<T> {
        // A session that is just ending has nobody to tell.
        let client = self.sessions.get_mut(&session)?;
        if let Output::Updated { .. } = &output {
            self.ends.metrics.updated();
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
            self.ends.metrics.transacted(since.elapsed(), failed);
        }
        let told = tell(&client.sender, output);
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
        self.ends.busy.begin(began, core.serves());
        let effects = if may_take_long(&event, core.unsettled_bytes()) {
            tokio::task::block_in_place(|| core.step(now_ms, event))
        } else {
            core.step(now_ms, event)
        };
        self.ends.busy.end();
        let Effects {
            outputs,
            jobs,
            messages,
            snapshots,
            members,
            discarded,
            wake_at,
            failure,
        } = effects;
        self.ends.metrics.step.observe(began.elapsed());
        self.wake_at = wake_at;
        self.deliver_all(outputs);
        if !discarded.is_empty() {
            self.ends.workers.discard(discarded);
        }
        self.ends.metrics.snapshots_sent(snapshots.len());
        let due = jobs.iter().filter_map(|job| job.flush);
        self.flushes.extend(due.map(|flush| (flush, began)));
        let ready = self.core.knows_leader();
        self.ends
            .ready
            .send_if_modified(|before| std::mem::replace(before, ready) != ready);
        self.members = members.or(self.members.take());
        self.send_out(messages, snapshots);
        let written = self.write(jobs);
        if self.core.serves()
            && let Some(serving) = self.ends.serving.take()
        {
            // Whoever started the store may have given up.
            let _ = serving.send(());
        }
        if let Some(failure) = failure {
            let _ = self.ends.failures.try_send(failure);
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
