//! One flow of the switch, as content: equal flows are one flow, whoever wants them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use openflow::{Action, Match};

/// What identifies a flow within a switch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// The table.
    pub table: u8,
    /// The priority.
    pub priority: u16,
    /// The match.
    pub matches: Match,
}

/// A flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// What identifies it.
    pub key: Arc<FlowKey>,
    /// What it does; nothing drops.
    pub actions: Arc<[Action]>,
    /// For people: the start of the logical flow's or other row's identity.
    pub cookie: u64,
    /// The digest of all of it.
    pub digest: Digest,
}

/// A flow's content as a number. Two flows with equal digests are taken for equal; at 128 bits the chance of an error is less
/// than that of one in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub u128);

impl Flow {
    /// A flow.
    pub fn new(
        table: u8,
        priority: u16,
        matches: Match,
        actions: Vec<Action>,
        cookie: u64,
    ) -> Self {
        let key = FlowKey {
            table,
            priority,
            matches,
        };
        let digest = digest(&(&key, &actions, cookie));
        Flow {
            key: Arc::new(key),
            actions: actions.into(),
            cookie,
            digest,
        }
    }

    /// The digest of what can change while the key stays.
    pub fn effect(&self) -> Digest {
        effect(&self.actions, self.cookie)
    }
}

/// The digest of a flow's actions and cookie.
pub fn effect(actions: &[Action], cookie: u64) -> Digest {
    digest(&(actions, cookie))
}

fn digest(content: &impl Hash) -> Digest {
    let half = |seed: u8| {
        // The keys of this hasher are fixed, so a digest means the same in every run.
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(seed);
        content.hash(&mut hasher);
        hasher.finish()
    };
    Digest(u128::from(half(0)) << 64 | u128::from(half(1)))
}
