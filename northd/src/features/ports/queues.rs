//! Rates of ports: what a guest sends to a physical network waits in a queue of its own.
//!
//! A port with `options:qos_min_rate`, `qos_max_rate` or `qos_burst` (bit/s, and bits) has the number of a queue, which it keeps
//! for life. Its binding says number, rates and physical network: the chassis that has the port makes the queue at the interface
//! to that network. Packets get the number as they enter (`admission`), and once more as they leave by a localnet port, maybe of
//! another chassis (`delivery`). A localnet port with rates has a queue for what comes from ports without.

use std::sync::Arc;

use nb_db::tables::LogicalSwitchPort;
use ovsdb::Atom;
use ovsdb::typed::TableDefinition;
use relations::{Handle, Key, Relation, Small};
use sb_db::tables::PortBinding;
use uuid::Uuid;

use super::announce::LOCALNETS;
use super::model::{Port, PortKind};
use super::recorded::recorded;
use super::{PORT, owner};
use crate::compiler::fact::{Identity, Want};
use crate::compiler::feature::{Conflict, Kind, Over, Pool};
use crate::compiler::options::Options;
use crate::compiler::problem::Complaints;
use crate::compiler::unit::Unit;

/// The queue of each port that has rates.
pub static QUEUE: Relation<Handle, Identity> = Relation::new("queue");

/// Numbers of queues: those of Open vSwitch (`set_queue`).
pub(super) static QUEUES: Pool = Pool::new(
    &QUEUE,
    (
        LogicalSwitchPort::NAME,
        LogicalSwitchPort::COLUMN.options.name,
        "queue number",
    ),
    Conflict::Another,
);

/// In `Port_Binding.options`: the number.
const NUMBER: &str = "qdisc_queue_id";
/// In `Port_Binding.options`: where the queue is.
const NETWORK: &str = "qos_physical_network";
const MAX_QUEUE: u32 = 61_440;

pub(super) static WISH: Kind = Kind {
    name: "alloc/port",
    over: Over::Keys(&PORT),
    reads: &[&LOCALNETS],
    says: &[],
    wants: &[&QUEUES],
    run: wish,
};

fn wish(unit: &mut Unit<'_>, key: Key) {
    let row = Handle::unpack(key);
    let (Some(port), Some(switch)) = (unit.get(&PORT, row), owner(unit, row)) else {
        return;
    };
    let mut complaints = unit.complaints::<LogicalSwitchPort>(row, Arc::clone(&port.name));
    let is_limited = is_limited(port, &mut complaints);
    if is_limited && unit.members(&LOCALNETS, switch).is_empty() {
        let remedy = "nothing is limited here: use a QoS rule with bandwidth";
        let why = "rates of ports are kept on the way to a physical network, and the switch leads to none";
        complaints.warning(
            LogicalSwitchPort::COLUMN.options.name,
            "qos",
            0,
            why,
            remedy,
        );
    }
    unit.problems(complaints.into_problems());
    if !is_limited {
        return;
    }
    let options = PortBinding::COLUMN.options.index;
    let number = |row: &ovsdb::Row| row.get(options).get_str(NUMBER)?.parse().ok();
    unit.want(Want {
        pool: &QUEUES,
        owner: row.pack(),
        row: unit.uuid(row),
        about: None,
        name: Arc::clone(&port.name),
        place: None,
        among: Key::default(),
        identity: Uuid::nil(),
        derived: Uuid::nil(),
        recorded: recorded(unit, &port.name).and_then(|(_, row)| number(row)),
        requested: None,
        preferred: None,
        max: (MAX_QUEUE, MAX_QUEUE),
    });
}

/// Whether a port has a rate that can be kept.
fn is_limited(port: &Port, complaints: &mut Complaints) -> bool {
    let column = LogicalSwitchPort::COLUMN.options.name;
    let options = Options::read(column, &port.verbatim.options);
    let keys = ["qos_min_rate", "qos_max_rate", "qos_burst"];
    let link = match port.kind {
        PortKind::Router { .. } => Some("router"),
        PortKind::Switch { .. } => Some("switch"),
        _ => None,
    };
    if let Some(link) = link {
        if let Some(key) = keys.into_iter().find(|key| options.text(key).is_some()) {
            let why = format!("a port of type {link} has no rate");
            complaints.text(column, key, 0, why, "set it on the guests' ports");
        }
        return false;
    }
    let [min, max, burst] = keys.map(|key| options.number(key, 1..=u64::MAX, complaints));
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        let why = format!("qos_min_rate {min} is more than qos_max_rate {max}");
        complaints.text(
            column,
            "qos_min_rate",
            0,
            why,
            "the port gets at most qos_max_rate",
        );
    }
    min.or(max).or(burst).is_some()
}

/// What the binding of a port says of its queue.
pub(super) fn options(unit: &Unit<'_>, row: Handle, switch: Handle) -> Vec<(Atom, Atom)> {
    let Some(queue) = unit.get(&QUEUE, row) else {
        return Vec::new();
    };
    let number = Atom::from(queue.key.to_string());
    let mut options = vec![(Atom::from(NUMBER), number)];
    let network_of = |port: Handle| match &unit.get(&PORT, port)?.kind {
        PortKind::Localnet { network, .. } => Some(Arc::clone(network)),
        _ => None,
    };
    // A door's queue is at its own network; of several, the guests' are at that with the least name.
    let doors = unit.members(&LOCALNETS, switch).iter();
    let network = network_of(row).or_else(|| doors.filter_map(|(_, door)| network_of(*door)).min());
    if let Some(network) = network {
        options.push((Atom::from(NETWORK), Atom::String(network)));
    }
    options
}
