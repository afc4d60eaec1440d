//! The stream to one other member.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use ovsdb::Uuid;
use prost::Message as _;
use rpc::v1;
use rpc::v1::raft_client::RaftClient;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::{Local, MAX_FORWARD_BYTES, MAX_QUEUED, MAX_QUEUED_BYTES, wire};
use crate::peer::{PeerMessage, Purpose, Snapshot};
use crate::server::engine::is_large;

/// Between two attempts: at first, and at most. A sign of life from the member ends the pause.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// A stream that has lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(10);
/// So many frames of a snapshot are on their way into the connection.
const QUEUED_FRAMES: usize = 16;

/// A stream, kept up as long as this lives.
#[derive(Debug)]
pub struct Link {
    /// Where it goes.
    pub address: String,
    /// Which server is meant, if that is known.
    pub server: Option<Uuid>,
    local: Arc<Local>,
    member: u64,
    raft: Way,
    forwards: Way,
}

/// One of the streams.
#[derive(Debug)]
struct Way {
    state: Arc<State>,
    /// The last message was dropped because too many waited.
    overflowing: bool,
    task: AbortHandle,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    /// It is on its way, or the core knows that messages are lost.
    Taken,
    /// It was dropped, and the core does not know yet that messages are lost.
    Dropped,
    /// It has so many bytes, and is not sent, now or ever.
    TooLarge(usize),
}

/// What those who send and those who keep up the stream both know.
#[derive(Debug, Default)]
struct State {
    /// The way into the stream, while there is one.
    inlet: Mutex<Option<Inlet>>,
    /// Whether something was dropped because there was none.
    missed: AtomicBool,
}

impl State {
    fn inlet(&self) -> MutexGuard<'_, Option<Inlet>> {
        self.inlet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way into a stream: what is put here, the connection takes.
#[derive(Debug)]
struct Inlet {
    queue: mpsc::Sender<v1::RaftFrame>,
    /// How many bytes wait.
    bytes: Arc<AtomicUsize>,
}

/// The frames of a stream, as the connection takes them.
struct Frames {
    queue: mpsc::Receiver<v1::RaftFrame>,
    bytes: Arc<AtomicUsize>,
}

impl Stream for Frames {
    type Item = v1::RaftFrame;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let taken = self.queue.poll_recv(context);
        if let Poll::Ready(Some(frame)) = &taken {
            self.bytes.fetch_sub(frame.encoded_len(), Ordering::AcqRel);
        }
        taken
    }
}

fn queue() -> (Inlet, Frames) {
    let (sender, receiver) = mpsc::channel(MAX_QUEUED);
    let bytes = Arc::new(AtomicUsize::new(0));
    let inlet = Inlet {
        queue: sender,
        bytes: bytes.clone(),
    };
    let frames = Frames {
        queue: receiver,
        bytes,
    };
    (inlet, frames)
}

impl Inlet {
    /// Puts a frame in; if it does not fit, says how many bytes wait.
    fn put(&self, frame: v1::RaftFrame) -> Result<(), usize> {
        let bytes = frame.encoded_len();
        let waiting = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        let fits = waiting == 0 || waiting + bytes <= MAX_QUEUED_BYTES;
        if fits && self.queue.try_send(frame).is_ok() {
            return Ok(());
        }
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        Err(waiting)
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Way {
    fn open(local: &Arc<Local>, member: u64, address: &str, purpose: Purpose) -> Self {
        let state = Arc::new(State::default());
        let wakers = local.wakers().entry(member).or_default().clone();
        let keeper = Keeper {
            local: local.clone(),
            member,
            purpose,
            address: address.to_owned(),
            state: state.clone(),
            waker: wakers[usize::from(purpose == Purpose::Forwards)].clone(),
        };
        Self {
            state,
            overflowing: false,
            task: tokio::spawn(keeper.keep_up()).abort_handle(),
        }
    }
}

impl Link {
    /// Opens a link.
    pub fn open(local: Arc<Local>, member: u64, address: String, server: Option<Uuid>) -> Self {
        Self {
            server,
            raft: Way::open(&local, member, &address, Purpose::Raft),
            forwards: Way::open(&local, member, &address, Purpose::Forwards),
            address,
            local,
            member,
        }
    }

    /// For messages.
    pub fn name(&self) -> String {
        name(self.member, &self.address)
    }

    /// Sends a message.
    pub fn send(&mut self, message: &PeerMessage) -> Sent {
        let way = match message.purpose() {
            Purpose::Raft => &mut self.raft,
            Purpose::Forwards => &mut self.forwards,
        };
        let inlet = way.state.inlet();
        let Some(inlet) = &*inlet else {
            // The core was told when the stream broke, and is told again when there is one.
            way.state.missed.store(true, Ordering::Release);
            return Sent::Taken;
        };
        let schema = &self.local.schema;
        let frame = match is_large(message) {
            // Nothing else of this process should wait for that.
            true => tokio::task::block_in_place(|| wire::to_frame(schema, message)),
            false => wire::to_frame(schema, message),
        };
        let bytes = frame.encoded_len();
        if bytes > MAX_FORWARD_BYTES && matches!(message, PeerMessage::Forward(_)) {
            return Sent::TooLarge(bytes);
        }
        let Err(waiting) = inlet.put(frame) else {
            way.overflowing = false;
            return Sent::Taken;
        };
        if !way.overflowing {
            let name = name(self.member, &self.address);
            tracing::warn!("{name}: does not keep up, {waiting} bytes wait for it; dropping more");
        }
        match std::mem::replace(&mut way.overflowing, true) {
            true => Sent::Taken,
            false => Sent::Dropped,
        }
    }

    /// Sends a snapshot, and tells the core what became of it.
    pub fn send_snapshot(&self, snapshot: Snapshot) {
        let (local, member, address) = (self.local.clone(), self.member, self.address.clone());
        tokio::spawn(async move {
            let name = name(member, &address);
            let position = snapshot.content.position.index;
            tracing::info!(
                "{name}: needs a snapshot; sending {} rows as of log entry {position}",
                snapshot.content.rows.len()
            );
            let sent = send_snapshot(&local, member, &address, snapshot).await;
            match &sent {
                Ok(()) => tracing::info!("{name}: has the snapshot of log entry {position}"),
                Err(error) => tracing::warn!("{name}: the snapshot did not arrive: {error}"),
            }
            local.engine.snapshot_sent(member, sent.is_ok()).await;
        });
    }
}

fn name(member: u64, address: &str) -> String {
    format!("member {member} at {address}")
}

/// Makes a stream again whenever it ends.
struct Keeper {
    local: Arc<Local>,
    member: u64,
    purpose: Purpose,
    address: String,
    state: Arc<State>,
    waker: Arc<Notify>,
}

impl Keeper {
    async fn keep_up(self) {
        let mut name = name(self.member, &self.address);
        if self.purpose == Purpose::Forwards {
            name += ", for forwards";
        }
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            let reason = match self.local.transport.connect(&self.address).await {
                Ok(client) => self.stream(client, &name).await,
                Err(reason) => format!("cannot connect: {reason}"),
            };
            // What waits in it goes with it.
            *self.state.inlet() = None;
            self.local.engine.lost(self.member, self.purpose).await;
            if self.local.complaints.is_news(&name, &reason) {
                tracing::warn!("{name}: {reason}");
            }
            if begun.elapsed() > GOOD {
                pause = FIRST_PAUSE;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = LONGEST_PAUSE.min(pause * 2),
                () = self.waker.notified() => pause = FIRST_PAUSE,
            }
        }
    }

    /// Lets messages go through a stream until it ends, and says why it did.
    async fn stream(&self, mut client: RaftClient<Channel>, name: &str) -> String {
        let (inlet, frames) = queue();
        let hello = v1::raft_frame::Kind::Hello(self.local.hello(self.member));
        let hello = v1::RaftFrame { kind: Some(hello) };
        if inlet.put(hello).is_err() {
            return "the stream did not start".to_owned();
        }
        let answered = match self.purpose {
            Purpose::Raft => client.stream(frames).await,
            Purpose::Forwards => client.forwards(frames).await,
        };
        let mut answer = match answered {
            Ok(response) => response.into_inner(),
            Err(status) => return status.message().to_owned(),
        };
        self.local.complaints.settle(name);
        tracing::info!("{name}: connected");
        *self.state.inlet() = Some(inlet);
        if self.state.missed.swap(false, Ordering::AcqRel) {
            self.local.engine.lost(self.member, self.purpose).await;
        }
        match answer.message().await {
            Ok(_) => "the stream ended".to_owned(),
            Err(status) => format!("the stream broke: {}", status.message()),
        }
    }
}

async fn send_snapshot(
    local: &Local,
    member: u64,
    address: &str,
    snapshot: Snapshot,
) -> Result<(), String> {
    let mut client = local.transport.connect(address).await?;
    let (frames, outgoing) = mpsc::channel(QUEUED_FRAMES);
    let (hello, schema) = (local.hello(member), local.schema.clone());
    tokio::task::spawn_blocking(move || {
        // Whoever does not want the rest has ended the call, and says why.
        let _ = wire::snapshot_frames(hello, &schema, &snapshot, &mut |frame| {
            frames.blocking_send(frame).map_err(drop)
        });
    });
    let sent = client.snapshot(ReceiverStream::new(outgoing)).await;
    sent.map(drop).map_err(|status| status.message().to_owned())
}
