//! Queues in which packets to physical networks wait, each with the rates of the port that they come from.
//!
//! They are at the interface by which the network's bridge leads there: that with `external_ids:ovn-egress-iface`, else the first
//! that is a device of its own. `QoS.external_ids:ovn_qos` marks what is ours or OVN's, and `Queue.external_ids:ovn_port` says for
//! whom a queue is; a `QoS` of somebody else's is left alone, and without queues then.
//!
//! Several controllers of a host may have queues at one interface, in one `QoS`: each knows its own by
//! `Queue.external_ids:weft-chassis`, and the last one takes the `QoS` away. Numbers do not collide: northd gives each port one of its
//! own. Queues without that mark are of OVN's controller that was here before, and those with a name for which the database has no settings
//! of this controller under its former name. A controller whose name (`-n NAME`) no setting tells says in its bridge that it is here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ovsdb::mutation::{Mutation, Mutator};
use ovsdb::operation::Operation;
use ovsdb::typed::{ColumnValue, Table};
use ovsdb::{Atom, Datum, Row, RowChange, Uuid};

use super::Local;
use super::operations::{Strings, differs, insert, keys_differ, truth};
use crate::vswitch::{Bridge, Interface, OpenVSwitch, Port, Qos, Queue};

/// Marks a `QoS` as a controller's.
const OWNED_KEY: &str = "ovn_qos";
/// On a queue: its logical port.
const PORT_KEY: &str = "ovn_port";
/// On a queue: the chassis whose controller has made it.
const CHASSIS_KEY: &str = "weft-chassis";
/// On an integration bridge: the chassis whose controller has it, if that goes by a name of its own.
pub(super) const NAME_KEY: &str = "weft-chassis";
/// On an interface: it leads to a physical network.
const EGRESS_KEY: &str = "ovn-egress-iface";
const DISCIPLINE: &str = "linux-htb";
/// More than any interface's rate, in bit/s: the most that the kernel takes (32 bits of bytes a second). Without, the switch goes by
/// the speed that the interface tells of itself, which virtual ones do not know.
const MAX_RATE: &str = "34359738360";

/// Whether a change may be about where queues are, or about these themselves.
pub(super) fn is_concerned(change: &RowChange, is_integration: bool) -> bool {
    let (ids, kind) = (
        Interface::COLUMN.external_ids.index,
        Interface::COLUMN.r#type.index,
    );
    match change.table {
        Bridge::INDEX => !is_integration && differs(change, &[Bridge::COLUMN.ports.index]),
        Interface::INDEX => {
            let rows = [&change.old, &change.new].into_iter().flatten();
            let mut rows = rows.map(|row| row.get(ids).get_str("iface-id").is_some());
            // Guests' interfaces lead nowhere else.
            !rows.all(|is_guests| is_guests)
                && (differs(change, &[kind]) || keys_differ(change, ids, &[EGRESS_KEY, "iface-id"]))
        }
        Port::INDEX => {
            let qos =
                |row: &Option<Arc<Row>>| row.as_ref().and_then(|row| Port::COLUMN.qos.get(row));
            qos(&change.old) != qos(&change.new)
        }
        Qos::INDEX | Queue::INDEX => true,
        _ => false,
    }
}

/// A queue as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedQueue {
    /// The logical port.
    pub port: Arc<str>,
    /// The physical network's bridge.
    pub bridge: Arc<str>,
    /// The number that packets carry.
    pub number: u32,
    /// In bit/s; 0 is none.
    pub min_rate: u64,
    /// In bit/s; 0 is none.
    pub max_rate: u64,
    /// In bits; 0 is the switch's own choice.
    pub burst: u64,
}

impl WantedQueue {
    fn row(&self, chassis: &Arc<str>) -> Queue {
        let config = [
            ("min-rate", self.min_rate),
            ("max-rate", self.max_rate),
            ("burst", self.burst),
        ];
        let config = config.map(|(key, value)| (key.into(), value.to_string().into()));
        Queue {
            other_config: config.into(),
            external_ids: [
                (PORT_KEY.into(), self.port.clone()),
                (CHASSIS_KEY.into(), chassis.clone()),
            ]
            .into(),
            ..Queue::default()
        }
    }
}

impl Local {
    /// Makes the queues of a chassis what is wanted.
    pub(super) fn reconcile_queues(
        &self,
        chassis: &Arc<str>,
        wanted: &[WantedQueue],
        operations: &mut Vec<Operation>,
    ) {
        let mut doors = BTreeMap::<&str, Option<Uuid>>::new();
        // By row of `Port`.
        let mut missing = BTreeMap::<Uuid, Vec<&WantedQueue>>::new();
        for queue in wanted {
            let door = doors
                .entry(&queue.bridge)
                .or_insert_with(|| self.way_out(&queue.bridge));
            if let Some(port) = *door {
                missing.entry(port).or_default().push(queue);
            }
        }
        for qos in self.tables.iter_as::<Qos>() {
            if !truth(&qos.external_ids, OWNED_KEY) {
                continue;
            }
            let port = self.index.port_with(qos.uuid);
            let wanted = port.and_then(|port| missing.remove(&port));
            let mut queues = qos.queues.values();
            let is_others = queues.any(|queue| self.is_of_another(*queue, chassis));
            match wanted {
                None if !is_others || port.is_none() => {
                    self.remove_queues(&qos, port, operations);
                }
                wanted => {
                    let wanted = wanted.unwrap_or_default();
                    self.correct_queues(&qos, chassis, &wanted, operations);
                }
            }
        }
        for (port, wanted) in missing {
            let row = self.tables.get(Port::INDEX, port);
            if row.is_some_and(|row| Port::COLUMN.qos.get(row).is_none()) {
                create_queues(port, chassis, &wanted, operations);
            }
        }
        self.remove_strays(chassis, operations);
    }

    /// Takes away the queues of a chassis that are in no `QoS`: another controller has taken that away at the same time.
    fn remove_strays(&self, chassis: &Arc<str>, operations: &mut Vec<Operation>) {
        let mut strays: BTreeSet<Uuid> = self
            .tables
            .iter_as::<Queue>()
            .filter(|queue| queue.external_ids.get(CHASSIS_KEY) == Some(chassis))
            .map(|queue| queue.uuid)
            .collect();
        if strays.is_empty() {
            return;
        }
        for qos in self.tables.iter_as::<Qos>() {
            for queue in qos.queues.values() {
                strays.remove(queue);
            }
        }
        let strays = strays.into_iter();
        operations.extend(strays.map(|uuid| Operation::delete_row(Queue::INDEX, uuid)));
    }

    /// Whether the controller of another chassis has made a queue.
    fn is_of_another(&self, queue: Uuid, chassis: &Arc<str>) -> bool {
        let queue = self.tables.get_as::<Queue>(queue);
        let by = queue.and_then(|queue| queue.external_ids.get(CHASSIS_KEY).cloned());
        by.is_some_and(|by| by != *chassis && self.is_chassis_here(&by))
    }

    /// Whether the switch's database is set for a chassis of this name, as for each of several controllers: it has keys of its own
    /// (`ovn-bridge-NAME`), or is the one that the others are beside; or a bridge says that it is here. A name of nobody is one that a
    /// chassis had before.
    fn is_chassis_here(&self, name: &str) -> bool {
        let mut bridges = self.tables.iter_as::<Bridge>();
        if bridges.any(|bridge| {
            bridge
                .external_ids
                .get(NAME_KEY)
                .is_some_and(|of| **of == *name)
        }) {
            return true;
        }
        let mut rows = self.tables.iter_as::<OpenVSwitch>();
        let Some(row) = rows.next() else {
            return false;
        };
        let mut keys = row.external_ids.keys();
        let is_named = |key: &Arc<str>| {
            let rest = key.strip_suffix(name);
            rest.is_some_and(|rest| rest.len() > 1 && rest.ends_with('-'))
        };
        let main = row.external_ids.get("system-id");
        main.is_some_and(|main| **main == *name) || keys.any(is_named)
    }

    /// The port by which a bridge leads to its physical network.
    fn way_out(&self, bridge: &str) -> Option<Uuid> {
        let row = self.tables.get(Bridge::INDEX, self.index.bridge(bridge)?)?;
        let ports = Bridge::COLUMN.ports.get(row).into_iter();
        let candidates = ports.filter_map(|port| {
            let row = self.tables.get(Port::INDEX, port)?;
            let interfaces = Port::COLUMN.interfaces.get(row).into_iter();
            let interfaces = interfaces.filter_map(|uuid| self.tables.get_as::<Interface>(uuid));
            let outside = interfaces.filter(|of| !of.external_ids.contains_key("iface-id"));
            let ranks = outside.filter_map(|of| match truth(&of.external_ids, EGRESS_KEY) {
                true => Some((0, of.name)),
                false => of.r#type.is_empty().then_some((1, of.name)),
            });
            Some((ranks.min()?, port))
        });
        candidates.min().map(|(_, port)| port)
    }

    fn correct_queues(
        &self,
        qos: &Qos,
        chassis: &Arc<str>,
        wanted: &[&WantedQueue],
        operations: &mut Vec<Operation>,
    ) {
        let mut missing: BTreeMap<i64, &WantedQueue> = wanted
            .iter()
            .map(|queue| (i64::from(queue.number), *queue))
            .collect();
        let mut gone = Vec::new();
        for (number, uuid) in &qos.queues {
            let Some(present) = self.tables.get_as::<Queue>(*uuid) else {
                continue;
            };
            let Some(port) = present.external_ids.get(PORT_KEY) else {
                // Somebody else's, also with a number of ours.
                missing.remove(number);
                continue;
            };
            let same = missing.get(number).filter(|queue| queue.port == *port);
            let Some(row) = same.map(|queue| queue.row(chassis)) else {
                if !self.is_of_another(*uuid, chassis) {
                    gone.push((*number, *uuid));
                } else if let Some(queue) = missing.remove(number) {
                    let name = &queue.port;
                    tracing::warn!(
                        "port {name} has no queue: number {number} is that of {port}, by another controller of this host"
                    );
                }
                continue;
            };
            missing.remove(number);
            let column = Queue::COLUMN;
            let mut update = Vec::new();
            if present.other_config != row.other_config {
                update.push(column.other_config.to(&row.other_config));
            }
            if present.external_ids != row.external_ids {
                // It was another chassis', or is OVN's.
                update.push(column.external_ids.to(&row.external_ids));
            }
            if !update.is_empty() {
                operations.push(Operation::update_row(Queue::INDEX, *uuid, update));
            }
        }
        let queues = Qos::COLUMN.queues.index;
        let mut mutations = Vec::new();
        if !gone.is_empty() {
            let keys = Datum::set(gone.iter().map(|(number, _)| Atom::Integer(*number)));
            mutations.push(Mutation::new(queues, Mutator::Delete, keys));
        }
        let new = insert_queues(missing.into_values(), chassis, operations);
        if !new.is_empty() {
            mutations.push(Mutation::new(queues, Mutator::Insert, new.to_datum()));
        }
        if !mutations.is_empty() {
            operations.push(Operation::mutate_row(Qos::INDEX, qos.uuid, mutations));
        }
        let gone = gone.into_iter();
        operations.extend(gone.map(|(_, uuid)| Operation::delete_row(Queue::INDEX, uuid)));
    }

    fn remove_queues(&self, qos: &Qos, port: Option<Uuid>, operations: &mut Vec<Operation>) {
        if let Some(port) = port {
            let none = vec![Port::COLUMN.qos.to(&None)];
            operations.push(Operation::update_row(Port::INDEX, port, none));
        }
        operations.push(Operation::delete_row(Qos::INDEX, qos.uuid));
        for uuid in qos.queues.values() {
            let queue = self.tables.get_as::<Queue>(*uuid);
            if queue.is_some_and(|queue| queue.external_ids.contains_key(PORT_KEY)) {
                operations.push(Operation::delete_row(Queue::INDEX, *uuid));
            }
        }
    }
}

fn create_queues(
    port: Uuid,
    chassis: &Arc<str>,
    wanted: &[&WantedQueue],
    operations: &mut Vec<Operation>,
) {
    let queues = insert_queues(wanted.iter().copied(), chassis, operations);
    let strings = |key: &str, value: &str| -> Strings { [(key.into(), value.into())].into() };
    let qos = Qos {
        r#type: DISCIPLINE.into(),
        queues,
        other_config: strings("max-rate", MAX_RATE),
        external_ids: strings(OWNED_KEY, "true"),
        ..Qos::default()
    };
    let qos = insert(operations, &qos);
    let update = vec![Port::COLUMN.qos.to(&Some(qos))];
    operations.push(Operation::update_row(Port::INDEX, port, update));
}

fn insert_queues<'a>(
    queues: impl Iterator<Item = &'a WantedQueue>,
    chassis: &Arc<str>,
    operations: &mut Vec<Operation>,
) -> BTreeMap<i64, Uuid> {
    queues
        .map(|queue| (queue.number.into(), insert(operations, &queue.row(chassis))))
        .collect()
}
