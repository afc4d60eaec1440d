//! The stream to one other member.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use prost::Message as _;
use rpc::v1;
use rpc::v1::raft_client::RaftClient;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::{Local, MAX_QUEUED, MAX_QUEUED_BYTES, wire};
use crate::peer::{PeerMessage, Snapshot};

/// Between two attempts: at first, and at most. A sign of life from the member ends the pause.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// A stream that has lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(10);
/// So many frames are on their way into the connection.
const QUEUED_FRAMES: usize = 16;

/// A stream, kept up as long as this lives.
#[derive(Debug)]
pub struct Link {
    /// Where it goes.
    pub address: String,
    local: Arc<Local>,
    member: u64,
    queue: mpsc::Sender<v1::RaftFrame>,
    state: Arc<State>,
    /// The last message was dropped because too many waited.
    overflowing: bool,
    task: AbortHandle,
}

/// What both ends of the queue know.
#[derive(Debug, Default)]
struct State {
    /// Whether there is a stream.
    up: AtomicBool,
    /// Whether something was dropped because there was none.
    missed: AtomicBool,
    /// How many bytes wait.
    bytes: AtomicUsize,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Opens a link.
    pub fn open(local: Arc<Local>, member: u64, address: String) -> Self {
        let (queue, frames) = mpsc::channel(MAX_QUEUED);
        let state = Arc::new(State::default());
        let waker = local.wakers().entry(member).or_default().clone();
        let other_end = OtherEnd {
            local: local.clone(),
            member,
            address: address.clone(),
            frames,
            state: state.clone(),
            waker,
        };
        Self {
            address,
            local,
            member,
            queue,
            state,
            overflowing: false,
            task: tokio::spawn(other_end.keep_up()).abort_handle(),
        }
    }

    /// For messages.
    pub fn name(&self) -> String {
        name(self.member, &self.address)
    }

    /// Sends a message. False if it was dropped and the core does not know yet that messages are
    /// lost.
    pub fn send(&mut self, message: &PeerMessage) -> bool {
        if !self.state.up.load(Ordering::Acquire) {
            // The core was told when the stream broke, and is told again when there is one.
            self.state.missed.store(true, Ordering::Release);
            return true;
        }
        let frame = wire::to_frame(&self.local.schema, message);
        let bytes = frame.encoded_len();
        let waiting = self.state.bytes.fetch_add(bytes, Ordering::AcqRel);
        let fits = waiting == 0 || waiting + bytes <= MAX_QUEUED_BYTES;
        if fits && self.queue.try_send(frame).is_ok() {
            self.overflowing = false;
            return true;
        }
        self.state.bytes.fetch_sub(bytes, Ordering::AcqRel);
        if !self.overflowing {
            let name = self.name();
            tracing::warn!("{name}: does not keep up, {waiting} bytes wait for it; dropping more");
        }
        std::mem::replace(&mut self.overflowing, true)
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

/// The end of the queue at the stream.
struct OtherEnd {
    local: Arc<Local>,
    member: u64,
    address: String,
    frames: mpsc::Receiver<v1::RaftFrame>,
    state: Arc<State>,
    waker: Arc<Notify>,
}

impl OtherEnd {
    async fn keep_up(mut self) {
        let name = name(self.member, &self.address);
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            let reason = match self.local.transport.connect(&self.address).await {
                Ok(client) => self.stream(client, &name).await,
                Err(reason) => format!("cannot connect: {reason}"),
            };
            self.state.up.store(false, Ordering::Release);
            while let Ok(frame) = self.frames.try_recv() {
                self.forget(&frame);
            }
            self.local.engine.lost(self.member).await;
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

    fn forget(&self, frame: &v1::RaftFrame) {
        let bytes = frame.encoded_len();
        self.state.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Sends messages until the stream ends, and says why it did.
    async fn stream(&mut self, mut client: RaftClient<Channel>, name: &str) -> String {
        let (outgoing, frames) = mpsc::channel(QUEUED_FRAMES);
        let hello = v1::raft_frame::Kind::Hello(self.local.hello(self.member));
        let hello = v1::RaftFrame { kind: Some(hello) };
        if outgoing.send(hello).await.is_err() {
            return "the stream did not start".to_owned();
        }
        let mut answer = match client.stream(ReceiverStream::new(frames)).await {
            Ok(response) => response.into_inner(),
            Err(status) => return status.message().to_owned(),
        };
        self.local.complaints.settle(name);
        tracing::info!("{name}: connected");
        self.state.up.store(true, Ordering::Release);
        if self.state.missed.swap(false, Ordering::AcqRel) {
            self.local.engine.lost(self.member).await;
        }
        let ended = async {
            match answer.message().await {
                Ok(_) => "the stream ended".to_owned(),
                Err(status) => format!("the stream broke: {}", status.message()),
            }
        };
        tokio::pin!(ended);
        loop {
            let frame = tokio::select! {
                reason = &mut ended => return reason,
                frame = self.frames.recv() => frame,
            };
            let Some(frame) = frame else {
                return "no longer a member".to_owned();
            };
            self.forget(&frame);
            tokio::select! {
                reason = &mut ended => return reason,
                sent = outgoing.send(frame) => if sent.is_err() {
                    return ended.await;
                },
            }
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
