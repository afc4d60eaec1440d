//! The other members: streams to them, and streams from them.
//!
//! ```text
//!   core ──▶ outbox ──▶ link to 2 ──▶ stream ──▶ ┐ another member
//!    ▲             └──▶ link to 3 …              │
//!    └──── service ◀──────────── stream ◀────────┘
//! ```
//!
//! There is one ordered stream per peer and direction, from whoever has something to say. When it
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

use self::link::Link;
use super::engine::keepalive::{self, Keepalive};
use super::engine::{Engine, Outgoing};
use crate::storage::{Identity, Membership};

/// So many messages wait for one peer at most, and so many bytes, but one message always; what
/// comes then is dropped.
const MAX_QUEUED: usize = 8192;
const MAX_QUEUED_BYTES: usize = 64 << 20;
/// The most bytes of one message: an entry of the largest size, and more.
const MAX_FRAME_BYTES: usize = 192 << 20;
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
    /// Wakes the links that rest after a failure.
    wakers: Mutex<HashMap<u64, Arc<Notify>>>,
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
        if let Some(waker) = self.wakers().get(&member) {
            waker.notify_one();
        }
    }

    fn wakers(&self) -> MutexGuard<'_, HashMap<u64, Arc<Notify>>> {
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
                        && !link.send(&message)
                    {
                        // The core hears of it when it is done; nobody waits for that here.
                        let engine = local.engine.clone();
                        tokio::spawn(async move { engine.lost(member).await });
                    }
                }
                continue;
            }
        };
        match outgoing {
            Outgoing::Message(member, message) => {
                keepalive.note(member, &message);
                if let Some(link) = links.get_mut(&member)
                    && !link.send(&message)
                {
                    local.engine.lost(member).await;
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
    let wanted: HashMap<u64, &String> = addresses
        .filter(|(member, _)| *member != own)
        .map(|(member, address)| (*member, address))
        .collect();
    links.retain(|member, link| {
        let stays = wanted.get(member) == Some(&&link.address);
        if !stays {
            tracing::info!("{}: no longer a member there", link.name());
        }
        stays
    });
    for (member, address) in wanted {
        links
            .entry(member)
            .or_insert_with(|| Link::open(local.clone(), member, address.clone()));
    }
    let open = |member: &u64, _: &mut Arc<Notify>| links.contains_key(member);
    local.wakers().retain(open);
}
