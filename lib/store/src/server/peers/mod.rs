//! The other members: streams to them, and streams from them.
//!
//! ```text
//!   core ──▶ outbox ──▶ link to 2 ──▶ stream ──▶ ┐ another member
//!    ▲             └──▶ link to 3 …              │
//!    └──── service ◀──────────── stream ◀────────┘
//! ```
//!
//! There are two ordered streams per peer and direction, from whoever has something to say: one for
//! Raft, and one for transactions that are forwarded and their answers. When one
//! breaks, what was queued for it is dropped, and the core is told; Raft and those who forward
//! send again what matters. Snapshots have calls of their own, and so has what administrators want
//! ([`Cluster`]).
//!
//! While the core is busy, [`keepalive`](super::engine::keepalive) says again what keeps the others from taking this member for dead.
//!
//! A member's first start is told in `bootstrap` (a new cluster) and `joining`; whom a member
//! listens to at all, in `hello`.

mod address;
mod bootstrap;
mod cluster;
mod config;
mod describe;
mod hello;
mod joining;
mod link;
mod service;
mod survey;
mod transport;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ovsdb::Uuid;
use ovsdb::schema::DatabaseSchema;
use rpc::v1;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

pub use self::bootstrap::Bootstrap;
pub use self::cluster::{Change, ChangeError, Cluster};
pub use self::config::{ClusterError, Config, Start};
pub use self::describe::describe;
pub use self::joining::join;
pub use self::service::{Service, serve};
pub use self::transport::Transport;
pub use self::wire::{Assembly, FrameError, from_frame, to_frame};

use self::link::{Link, Sent};
use super::engine::keepalive::{self, Keepalive};
use super::engine::{Engine, Outgoing};
use crate::peer::{PeerMessage, Purpose};
use crate::storage::{Identity, Membership};

/// So many messages wait for one peer at most, and so many bytes, but one message always; what
/// comes then is dropped.
const MAX_QUEUED: usize = 8192;
const MAX_QUEUED_BYTES: usize = 64 << 20;
/// The most bytes of one message: an entry of the largest size, and more.
const MAX_FRAME_BYTES: usize = 192 << 20;
/// The most bytes of a transaction that is passed on to the leader. Answers are bounded by the core.
pub const MAX_FORWARD_BYTES: usize = 128 << 20;
/// So many callers' last complaints are remembered.
const MAX_COMPLAINTS: usize = 256;

/// What links and the service have in common.
#[derive(Debug)]
pub struct Local {
    /// Who this member is.
    identity: Identity,
    /// The database's schema.
    schema: Arc<DatabaseSchema>,
    /// The core.
    engine: Arc<Engine>,
    transport: Arc<Transport>,
    /// Who the members are, as far as this one has applied the log.
    members: watch::Sender<Membership>,
    /// Wakes the streams of links that rest after a failure.
    wakers: Mutex<HashMap<u64, [Arc<Notify>; 2]>>,
    complaints: Complaints,
}

impl Local {
    /// For the member that the engine runs.
    pub fn new(
        engine: Arc<Engine>,
        schema: Arc<DatabaseSchema>,
        transport: Arc<Transport>,
    ) -> Self {
        Self {
            identity: engine.identity.clone(),
            schema,
            members: watch::Sender::new(engine.membership.clone()),
            engine,
            transport,
            wakers: Mutex::default(),
            complaints: Complaints::default(),
        }
    }

    /// The members at the moment.
    fn members(&self) -> Membership {
        self.members.borrow().clone()
    }

    fn hello(&self, to: u64) -> v1::RaftHello {
        hello::hello(&self.identity, &self.members(), to)
    }

    /// A member was heard of: it can be reached, probably.
    fn wake(&self, member: u64) {
        for waker in self.wakers().get(&member).into_iter().flatten() {
            waker.notify_one();
        }
    }

    fn wakers(&self) -> MutexGuard<'_, HashMap<u64, [Arc<Notify>; 2]>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was complained of last, so that each thing is logged once and not with each attempt.
#[derive(Debug, Default)]
struct Complaints(Mutex<HashMap<String, String>>);

impl Complaints {
    /// Whether this is news about somebody.
    fn is_news(&self, of: &str, what: &str) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(of).is_some_and(|last| last == what) {
            return false;
        }
        if last.len() >= MAX_COMPLAINTS {
            last.clear();
        }
        last.insert(of.to_owned(), what.to_owned());
        true
    }

    /// Somebody gives no reason to complain any more.
    fn settle(&self, of: &str) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.remove(of);
    }
}

/// Distributes what the core sends, until the core is gone.
pub async fn distribute(local: Arc<Local>, mut outbox: mpsc::Receiver<Outgoing>) {
    let mut links: HashMap<u64, Link> = HashMap::new();
    update(&local, &mut links);
    let mut keepalive = Keepalive::default();
    let mut period = tokio::time::interval(keepalive::PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let outgoing = tokio::select! {
            biased;
            outgoing = outbox.recv() => match outgoing {
                Some(outgoing) => outgoing,
                None => return,
            },
            _ = period.tick() => {
                for (member, message) in keepalive.again(Instant::now(), &local.engine.busy) {
                    if let Some(link) = links.get_mut(&member)
                        && link.send(&message) == Sent::Dropped
                    {
                        // The core hears of it when it is done; nobody waits for that here.
                        let engine = local.engine.clone();
                        tokio::spawn(async move { engine.lost(member, Purpose::Raft).await });
                    }
                }
                continue;
            }
        };
        match outgoing {
            Outgoing::Message(member, message) => {
                keepalive.note(member, &message);
                let sent = links.get_mut(&member).map(|link| link.send(&message));
                match (sent, &message) {
                    (Some(Sent::Dropped), _) => local.engine.lost(member, message.purpose()).await,
                    (Some(Sent::TooLarge(bytes)), PeerMessage::Forward(forward)) => {
                        let limit = MAX_FORWARD_BYTES;
                        local.engine.too_large(forward.call, bytes, limit).await;
                    }
                    _ => {}
                }
            }
            Outgoing::Snapshot(snapshot) => {
                let member = snapshot.message.to;
                match links.get(&member) {
                    Some(link) => link.send_snapshot(snapshot),
                    None => local.engine.snapshot_sent(member, false).await,
                }
            }
            Outgoing::Members(membership) => {
                local.members.send_replace(membership);
                update(&local, &mut links);
            }
        }
    }
}

/// Opens links to new members and closes those to members that are gone.
fn update(local: &Arc<Local>, links: &mut HashMap<u64, Link>) {
    let own = local.identity.member;
    let members = local.members();
    let addresses = members.addresses.iter();
    let wanted: HashMap<u64, (&String, Option<Uuid>)> = addresses
        .filter(|(member, _)| *member != own)
        .map(|(member, address)| (*member, (address, members.server(*member))))
        .collect();
    links.retain(|member, link| {
        // What waits for the server that had the number before is not for the next one.
        let stays = wanted.get(member).is_some_and(|(address, server)| {
            link.address == **address && (link.server == *server || link.server.is_none())
        });
        if !stays {
            tracing::info!("{}: no longer a member there", link.name());
        }
        stays
    });
    for (member, (address, server)) in wanted {
        let open = || Link::open(local.clone(), member, address.clone(), server);
        links.entry(member).or_insert_with(open).server = server;
    }
    let open = |member: &u64, _: &mut [Arc<Notify>; 2]| links.contains_key(member);
    local.wakers().retain(open);
}
