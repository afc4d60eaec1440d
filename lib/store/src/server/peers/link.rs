//! The stream to one other member.

use std::sync::Arc;
use std::time::Duration;

use rpc::v1;
use rpc::v1::raft_client::RaftClient;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use super::{Local, MAX_QUEUED, wire};
use crate::peer::{PeerMessage, Snapshot};

/// So long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection on which nothing is heard for so long is given up.
const SILENCE: Duration = Duration::from_secs(3);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// So many frames are on their way into the connection.
const QUEUED_FRAMES: usize = 16;

/// A stream, kept up as long as this lives.
#[derive(Debug)]
pub struct Link {
    /// Where it goes.
    pub address: String,
    local: Arc<Local>,
    member: u64,
    queue: mpsc::Sender<PeerMessage>,
    task: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Opens a link.
    pub fn open(local: Arc<Local>, member: u64, address: String) -> Self {
        let (queue, messages) = mpsc::channel(MAX_QUEUED);
        let run = keep_up(local.clone(), member, address.clone(), messages);
        Self {
            address,
            local,
            member,
            queue,
            task: tokio::spawn(run).abort_handle(),
        }
    }

    /// Sends a message, or drops it: then the answer is false.
    pub fn send(&mut self, message: PeerMessage) -> bool {
        self.queue.try_send(message).is_ok()
    }

    /// Sends a snapshot, and tells the core what became of it.
    pub fn send_snapshot(&self, snapshot: Snapshot) {
        let (local, member, address) = (self.local.clone(), self.member, self.address.clone());
        tokio::spawn(async move {
            let sent = send_snapshot(&local, &address, snapshot).await;
            if let Err(error) = &sent {
                tracing::warn!("member {member} at {address}: a snapshot did not arrive: {error}");
            }
            local.engine.snapshot_sent(member, sent.is_ok()).await;
        });
    }
}

async fn connect(address: &str) -> Result<RaftClient<Channel>, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(SILENCE)
        .keep_alive_timeout(SILENCE)
        .keep_alive_while_idle(true);
    Ok(RaftClient::new(endpoint.connect().await?))
}

async fn keep_up(
    local: Arc<Local>,
    member: u64,
    address: String,
    mut messages: mpsc::Receiver<PeerMessage>,
) {
    let mut complained = false;
    loop {
        match connect(&address).await {
            Ok(client) => {
                tracing::info!("member {member} at {address}: connected");
                complained = false;
                let end = stream(&local, member, client, &mut messages).await;
                tracing::info!("member {member} at {address}: {end}");
            }
            Err(error) if !complained => {
                tracing::info!("member {member} at {address}: cannot connect: {error}");
                complained = true;
            }
            Err(_) => {}
        }
        local.engine.lost(member).await;
        tokio::time::sleep(PAUSE).await;
        while messages.try_recv().is_ok() {}
        if messages.is_closed() {
            return;
        }
    }
}

/// Sends messages until the stream ends, and says why it did.
async fn stream(
    local: &Local,
    member: u64,
    mut client: RaftClient<Channel>,
    messages: &mut mpsc::Receiver<PeerMessage>,
) -> String {
    let (frames, outgoing) = mpsc::channel(QUEUED_FRAMES);
    let hello = v1::raft_frame::Kind::Hello(wire::hello(&local.identity, member));
    let hello = v1::RaftFrame { kind: Some(hello) };
    if frames.send(hello).await.is_err() {
        return "the stream did not start".to_owned();
    }
    let call = client.stream(ReceiverStream::new(outgoing));
    tokio::pin!(call);
    loop {
        let message = tokio::select! {
            ended = &mut call => return match ended {
                Ok(_) => "the stream ended".to_owned(),
                Err(status) => status.message().to_owned(),
            },
            message = messages.recv() => message,
        };
        let Some(message) = message else {
            return "no longer a member".to_owned();
        };
        let frame = wire::to_frame(&local.schema, &message);
        tokio::select! {
            ended = &mut call => return match ended {
                Ok(_) => "the stream ended".to_owned(),
                Err(status) => status.message().to_owned(),
            },
            sent = frames.send(frame) => if sent.is_err() {
                return "the connection broke".to_owned();
            },
        }
    }
}

async fn send_snapshot(
    local: &Local,
    address: &str,
    snapshot: Snapshot,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut client = connect(address).await?;
    let (frames, outgoing) = mpsc::channel(QUEUED_FRAMES);
    let (identity, schema) = (local.identity.clone(), local.schema.clone());
    tokio::task::spawn_blocking(move || {
        // Whoever does not want the rest has ended the call, and says why.
        let _ = wire::snapshot_frames(&identity, &schema, &snapshot, &mut |frame| {
            frames.blocking_send(frame).map_err(drop)
        });
    });
    client.snapshot(ReceiverStream::new(outgoing)).await?;
    Ok(())
}
