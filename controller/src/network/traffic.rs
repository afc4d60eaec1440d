//! What is asked for with the packets of ports that are attached here, beside flows: that they wait in queues, and are copied.
//! The switch's database does both.
//!
//! | a port has | asks for |
//! | --- | --- |
//! | `options:qdisc_queue_id`, `qos_physical_network` and a rate | a queue at the interface to that network |
//! | `mirror_rules` | copies for each of these mirrors, but for those of type `lport`: they are flows |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ovsdb::Uuid;
use rustc_hash::FxHashMap;
use sb_db::tables::{Mirror, PortBinding};

use super::{Network, PortKind};

/// A queue for what a port sends to a physical network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The logical port.
    pub port: Arc<str>,
    /// The physical network.
    pub network: Arc<str>,
    /// The number that its packets carry.
    pub number: u32,
    /// In bit/s; 0 is none.
    pub min_rate: u64,
    /// In bit/s; 0 is none.
    pub max_rate: u64,
    /// In bits; 0 is the switch's own choice.
    pub burst: u64,
}

impl Queue {
    /// The queue that a port asks for.
    fn of(port: &PortBinding) -> Option<Queue> {
        let option = |key: &str| port.options.get(key);
        let number = |key| option(key).and_then(|text| text.parse().ok()).unwrap_or(0);
        let (min_rate, max_rate, burst): (u64, u64, u64) = (
            number("qos_min_rate"),
            number("qos_max_rate"),
            number("qos_burst"),
        );
        ((min_rate, max_rate, burst) != (0, 0, 0)).then_some(())?;
        Some(Queue {
            port: port.logical_port.clone(),
            network: option("qos_physical_network")?.clone(),
            number: option("qdisc_queue_id")?.parse().ok()?,
            // The switch would raise the one to the other.
            min_rate: match max_rate {
                0 => min_rate,
                max_rate => min_rate.min(max_rate),
            },
            max_rate,
            burst,
        })
    }
}

/// What is asked for.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    queues: BTreeMap<Uuid, Queue>,
    /// The interfaces of attached ports that are mirrored, with the mirrors.
    mirrored: BTreeMap<Uuid, (Uuid, Vec<Uuid>)>,
    mirrors: FxHashMap<Uuid, Arc<Mirror>>,
    /// Counts the changes.
    pub(crate) version: u64,
}

impl Traffic {
    /// The queues, in the order of their ports' rows.
    pub(crate) fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.queues.values()
    }

    /// The mirrors that attached ports ask for, each with the interfaces.
    pub(crate) fn mirrors(&self) -> impl Iterator<Item = (&Arc<Mirror>, BTreeSet<Uuid>)> {
        let mut by_mirror: BTreeMap<Uuid, BTreeSet<Uuid>> = BTreeMap::new();
        for (interface, mirrors) in self.mirrored.values() {
            for mirror in mirrors {
                by_mirror.entry(*mirror).or_default().insert(*interface);
            }
        }
        by_mirror.into_iter().filter_map(|(mirror, interfaces)| {
            let mirror = self.mirrors.get(&mirror)?;
            (&*mirror.r#type != "lport").then_some((mirror, interfaces))
        })
    }

    /// A row of `Mirror` changed.
    pub(super) fn apply_mirror(&mut self, uuid: Uuid, mirror: Option<Mirror>) {
        match mirror {
            Some(mirror) => drop(self.mirrors.insert(uuid, Arc::new(mirror))),
            None => drop(self.mirrors.remove(&uuid)),
        }
        self.version += 1;
    }
}

impl Network {
    /// Brings up to date what a port asks for, when its row or its attachment may have changed.
    pub(super) fn settle_traffic(&mut self, uuid: Uuid) {
        let (port, binding) = (self.ports.peek(uuid), self.bindings.peek(uuid));
        let attached = port.zip(binding);
        let queue = attached.and_then(|(port, _)| Queue::of(port));
        let mirrored = attached.and_then(|(port, binding)| {
            // The interface of a container is that of its guest, whose packets are not the container's.
            let has_own = matches!(binding.kind, PortKind::Guest | PortKind::Localport);
            let interface = binding.at.interface.filter(|_| has_own)?;
            (!port.mirror_rules.is_empty()).then(|| (interface, port.mirror_rules.clone()))
        });
        let traffic = &mut self.traffic;
        let has_changed = set(&mut traffic.queues, uuid, queue);
        let has_changed = set(&mut traffic.mirrored, uuid, mirrored) || has_changed;
        traffic.version += u64::from(has_changed);
    }
}

/// Sets or removes a value. True if it was another.
fn set<V: PartialEq>(map: &mut BTreeMap<Uuid, V>, key: Uuid, value: Option<V>) -> bool {
    if map.get(&key) == value.as_ref() {
        return false;
    }
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
    true
}
