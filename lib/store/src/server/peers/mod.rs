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
//! send again what matters. Snapshots have calls of their own.

mod config;
mod link;
mod service;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;

use ovsdb::schema::DatabaseSchema;
use tokio::sync::mpsc;

pub use self::config::{ClusterError, Config};
pub use self::service::serve;

use self::link::Link;
use super::engine::Engine;
use crate::peer::{PeerMessage, Snapshot};
use crate::storage::{Identity, Membership};

/// So many messages wait for one peer at most; what comes then is dropped.
const MAX_QUEUED: usize = 8192;
/// The most bytes of one message: an entry of the largest size, and more.
const MAX_FRAME_BYTES: usize = 192 << 20;

/// What the core wants to be sent.
#[derive(Debug)]
pub enum Outgoing {
    /// A message, and to whom.
    Message(u64, PeerMessage),
    /// A snapshot.
    Snapshot(Snapshot),
    /// Who the members are from now on.
    Members(Membership),
}

/// What links need to know.
#[derive(Debug)]
pub struct Local {
    /// Who this member is.
    pub identity: Identity,
    /// The database's schema.
    pub schema: Arc<DatabaseSchema>,
    /// The core.
    pub engine: Arc<Engine>,
}

/// Distributes what the core sends, until the core is gone.
pub async fn distribute(
    local: Arc<Local>,
    membership: Membership,
    mut outbox: mpsc::UnboundedReceiver<Outgoing>,
) {
    let mut links: HashMap<u64, Link> = HashMap::new();
    update(&local, &mut links, &membership);
    while let Some(outgoing) = outbox.recv().await {
        match outgoing {
            Outgoing::Message(member, message) => {
                if let Some(link) = links.get_mut(&member)
                    && !link.send(message)
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
            Outgoing::Members(membership) => update(&local, &mut links, &membership),
        }
    }
}

/// Opens links to new members and closes those to members that are gone.
fn update(local: &Arc<Local>, links: &mut HashMap<u64, Link>, membership: &Membership) {
    let own = local.identity.member;
    let addresses = membership.addresses.iter();
    let wanted: HashMap<u64, &String> = addresses
        .filter(|(member, _)| *member != own)
        .map(|(member, address)| (*member, address))
        .collect();
    links.retain(|member, link| wanted.get(member) == Some(&&link.address));
    for (member, address) in wanted {
        links
            .entry(member)
            .or_insert_with(|| Link::open(local.clone(), member, address.clone()));
    }
}
