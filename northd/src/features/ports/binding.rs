//! The southbound row of a port.
//!
//! Only what will be written gets an identity: one that is not on record would be another after a restart. A container
//! without a tag is not written; the pool has said why it has none.

use std::sync::Arc;

use addr::PortKey;
use nb_db::tables::{LogicalSwitchPort, Mirror};
use ovsdb::typed::{ColumnValue, TableDefinition};
use ovsdb::{Atom, Datum};
use relations::{Handle, Key, Small};
use sb_db::tables::PortBinding;
use uuid::Uuid;

use super::announce::{ANNOUNCED, LOCALNETS};
use super::containers::{BY_NAME, TAG};
use super::model::{Port, PortKind};
use super::queues::{self, QUEUE};
use super::recorded::recorded;
use super::{BINDING, CHASSIS_GROUP, MIRROR, OWNERS, PORT, PortView, kind, owner};
use crate::compiler::fact::{Identity, Want};
use crate::compiler::feature::{Conflict, Foreign, Kind, Over, Owned, Pool};
use crate::compiler::identity;
use crate::compiler::unit::Unit;
use crate::features::chassis;
use crate::features::switch::{DATAPATH, SWITCH};

/// The keys of a switch's ports.
pub static KEYS: Pool = Pool::new(
    &BINDING,
    (
        LogicalSwitchPort::NAME,
        LogicalSwitchPort::COLUMN.options.name,
        Pool::TUNNEL_KEY,
    ),
    Conflict::Another,
);

pub(super) static ROWS: Owned = Owned {
    foreign: &[
        Foreign {
            column: PortBinding::COLUMN.options.index,
            keys: &["vport-last-claim", "vport-backoff", "is-remote-nb-bound"],
            lives_by: None,
        },
        // Where a guest has spoken counts for one migration, and not every controller takes it back.
        Foreign {
            column: PortBinding::COLUMN.options.index,
            keys: &["additional-chassis-activated"],
            lives_by: Some(PortBinding::COLUMN.requested_additional_chassis.index),
        },
    ],
    // OVN's controllers tell whether a port is up only where this says that it is not.
    initial: &[(
        PortBinding::COLUMN.up.index,
        Datum::One(Atom::Boolean(false)),
    )],
    ..Owned::south::<PortBinding>(&[
        PortBinding::COLUMN.logical_port.index,
        PortBinding::COLUMN.r#type.index,
        PortBinding::COLUMN.options.index,
        PortBinding::COLUMN.datapath.index,
        PortBinding::COLUMN.tunnel_key.index,
        PortBinding::COLUMN.parent_port.index,
        PortBinding::COLUMN.tag.index,
        PortBinding::COLUMN.mac.index,
        PortBinding::COLUMN.mirror_rules.index,
        PortBinding::COLUMN.mirror_port.index,
        PortBinding::COLUMN.port_security.index,
        PortBinding::COLUMN.external_ids.index,
        PortBinding::COLUMN.ha_chassis_group.index,
        PortBinding::COLUMN.nat_addresses.index,
        PortBinding::COLUMN.requested_chassis.index,
        PortBinding::COLUMN.requested_additional_chassis.index,
    ])
};

pub(super) static WISH: Kind = Kind {
    name: "alloc/port",
    over: Over::Keys(&PORT),
    reads: &[&TAG, &DATAPATH, &chassis::IS_VXLAN],
    says: &[],
    wants: &[&KEYS],
    run: wish,
};

pub(super) static ROW: Kind = kind!(
    [
        &TAG,
        &SWITCH,
        &QUEUE,
        &LOCALNETS,
        &MIRROR,
        &PORT,
        &CHASSIS_GROUP
    ],
    [],
    |unit, view| {
        check_owners(unit, view);
        check_acls(unit, view);
        let peer = peer(unit, view);
        let tag = match view.port.kind {
            PortKind::Localnet { tag, .. } | PortKind::L2Gateway { tag } => tag.map(i64::from),
            PortKind::Vif { nested: Some(_) } => {
                unit.get(&TAG, view.row).map(|tag| i64::from(tag.key))
            }
            _ => None,
        };
        let columns = columns(unit, view, tag, peer);
        match view.port.kind {
            PortKind::Router { .. } => {
                let announced = PortBinding::COLUMN.nat_addresses.index;
                let sets = Box::new([(announced, ANNOUNCED.cell(view.row))]);
                unit.row_of_sets::<PortBinding>(view.binding.uuid, columns, sets);
            }
            _ => unit.row::<PortBinding>(view.binding.uuid, columns),
        }
    }
);

fn wish(unit: &mut Unit<'_>, key: Key) {
    let row = Handle::unpack(key);
    let (Some(port), Some(switch)) = (unit.get(&PORT, row), owner(unit, row)) else {
        return;
    };
    let is_bindable = port.nested().is_none() || unit.get(&TAG, row).is_some();
    let Some(datapath) = unit.get(&DATAPATH, switch).filter(|_| is_bindable) else {
        return;
    };
    let requested = port.requested_key.map(u32::from);
    unit.want(wanted(
        unit,
        (row, switch),
        &port.name,
        *datapath,
        requested,
    ));
}

/// The wish for a key and a binding of this name, in a switch. The owner is a port's row.
pub fn wanted(
    unit: &Unit<'_>,
    (row, switch): (Handle, Handle),
    name: &Arc<str>,
    datapath: Identity,
    requested: Option<u32>,
) -> Want {
    let column = PortBinding::COLUMN;
    let recorded =
        recorded(unit, name).filter(|(_, row)| column.datapath.get(row) == datapath.uuid);
    let max = match unit.get(&chassis::IS_VXLAN, ()) {
        Some(()) => PortKey::MAX_VXLAN_PORT,
        None => PortKey::MAX_PORT,
    };
    let uuid = unit.uuid(row);
    let derived = identity::binding(datapath.uuid, uuid);
    Want {
        pool: &KEYS,
        owner: row.pack(),
        row: uuid,
        about: None,
        name: Arc::clone(name),
        place: None,
        among: switch.pack(),
        derived,
        identity: recorded.map_or(derived, |(known, _)| known),
        recorded: recorded.and_then(|(_, row)| u32::try_from(column.tunnel_key.get(row)).ok()),
        requested,
        preferred: None,
        max: (max.into(), max.into()),
    }
}

fn check_owners(unit: &mut Unit<'_>, view: &PortView<'_>) {
    if let [first, second, ..] = unit.referrers(OWNERS, view.row) {
        let (first, second) = (unit.uuid(*first), unit.uuid(*second));
        let why = format!("the port is in two switches, {first} and {second}");
        let remedy = "it is taken to be in the first: remove it from the other";
        let name = Arc::clone(&view.port.name);
        let mut complaints = unit.complaints::<LogicalSwitchPort>(view.row, name);
        complaints.column("_uuid", why, remedy);
        unit.problems(complaints.into_problems());
    }
}

fn check_acls(unit: &mut Unit<'_>, view: &PortView<'_>) {
    let asks = matches!(view.port.kind, PortKind::Router { has_acls: true, .. });
    if asks && view.link.is_some() && !view.has_acls() {
        let name = Arc::clone(&view.port.name);
        let mut complaints = unit.complaints::<LogicalSwitchPort>(view.row, name);
        let why = "the port leads to no gateway port of a distributed router";
        let remedy = "connections are not tracked here: elsewhere both directions may pass different chassis";
        let column = LogicalSwitchPort::COLUMN.options.name;
        complaints.text(column, "enable_router_port_acl", 0, why, remedy);
        unit.problems(complaints.into_problems());
    }
}

fn columns(
    unit: &Unit<'_>,
    view: &PortView<'_>,
    tag: Option<i64>,
    peer: Option<Arc<str>>,
) -> Vec<(usize, Datum)> {
    let column = PortBinding::COLUMN;
    let port: &Port = view.port;
    let kind = match port.kind {
        PortKind::Vif { .. } => "",
        PortKind::Localnet { .. } => "localnet",
        PortKind::Localport => "localport",
        PortKind::Router { .. } if view.link.is_some_and(|link| link.chassis.is_some()) => {
            "l3gateway"
        }
        PortKind::Router { .. } | PortKind::Switch { .. } => "patch",
        PortKind::L2Gateway { .. } => "l2gateway",
        PortKind::External { .. } => "external",
        PortKind::Virtual { .. } => "virtual",
        PortKind::Remote => "remote",
        PortKind::Vtep => "vtep",
    };
    let options = match port.kind {
        PortKind::Switch { .. } => {
            let pair = |peer| (Atom::from("peer"), Atom::String(peer));
            Datum::map(peer.map(pair))
        }
        _ => options(unit, view),
    };
    let verbatim = &port.verbatim;
    let mut columns = vec![
        (
            column.logical_port.index,
            Datum::One(Atom::String(Arc::clone(&port.name))),
        ),
        (column.r#type.index, Datum::from(kind)),
        (column.options.index, options),
        (
            column.datapath.index,
            Datum::One(Atom::Uuid(view.datapath.uuid)),
        ),
        column.tunnel_key.to(&i64::from(view.binding.key)),
        (column.tag.index, tag.to_datum()),
        (column.mac.index, macs(view)),
        (column.port_security.index, verbatim.port_security.clone()),
        (
            column.external_ids.index,
            external_ids(&verbatim.external_ids),
        ),
    ];
    let mirrors = port.mirrors.iter();
    let mirrors = mirrors.filter_map(|mirror| {
        let row = unit.find_north::<Mirror>(*mirror)?;
        Some(Atom::Uuid(*unit.get(&MIRROR, row)?))
    });
    columns.push((column.mirror_rules.index, Datum::set(mirrors)));
    if let Some(group) = unit.get(&CHASSIS_GROUP, view.row) {
        columns.push(column.ha_chassis_group.to(&Some(*group)));
    }
    if let Some(nested) = port.nested() {
        let parent = Atom::String(Arc::clone(&nested.parent));
        columns.push((column.parent_port.index, Datum::One(parent)));
    }
    let mut requested = port
        .requested_chassis
        .iter()
        .map(|name| chassis::named(unit, name));
    if let Some(main) = requested.next() {
        columns.push((column.requested_chassis.index, main.to_datum()));
        let others: Vec<Uuid> = requested.flatten().collect();
        columns.push((column.requested_additional_chassis.index, others.to_datum()));
    }
    columns
}

/// The port of another switch that a port of type switch leads to. Both have to name each other.
fn peer(unit: &mut Unit<'_>, view: &PortView<'_>) -> Option<Arc<str>> {
    let PortKind::Switch { peer: Some(peer) } = &view.port.kind else {
        return None;
    };
    let named = unit.having(BY_NAME, &Atom::String(Arc::clone(peer)));
    let other = named.iter().find_map(|row| unit.get(&PORT, *row));
    let (why, remedy) = match other.map(|other| &other.kind) {
        None => (
            "there is no such port that makes sense",
            "add it, or correct the name",
        ),
        Some(PortKind::Switch { peer: Some(back) })
            if *back == view.port.name && *peer != view.port.name =>
        {
            return Some(Arc::clone(peer));
        }
        Some(PortKind::Switch { .. }) => (
            "that port does not name this one as its peer",
            "set the peer there, too: both ends have to agree",
        ),
        Some(_) => (
            "that port is not of type switch",
            "give it the type, or correct the name",
        ),
    };
    let column = LogicalSwitchPort::COLUMN.peer.name;
    let name = Arc::clone(&view.port.name);
    let mut complaints = unit.complaints::<LogicalSwitchPort>(view.row, name);
    complaints.text(column, peer, 0, why, remedy);
    unit.problems(complaints.into_problems());
    None
}

/// The northbound's, with what the port has been given.
fn macs(view: &PortView<'_>) -> Datum {
    let written = &view.port.verbatim.mac;
    let Some(assigned) = view.assigned else {
        return written.clone();
    };
    let assigned = Atom::from(assigned.to_string());
    Datum::set(written.atoms().iter().cloned().chain([assigned]))
}

/// The northbound's; of a port with rates, its queue; and of a door to a physical network, whether frames with VLAN tags pass
/// there. Of a link to a router, where it leads.
fn options(unit: &Unit<'_>, view: &PortView<'_>) -> Datum {
    if matches!(view.port.kind, PortKind::Router { .. }) {
        // Only a link that both ends agree on: packets follow what is written here.
        let chassis = view.link.and_then(|link| link.chassis.as_ref());
        let pair = |(key, value): (&str, &Arc<str>)| (Atom::from(key), Atom::String(value.clone()));
        let peer = view.link.map(|link| ("peer", &link.peer));
        let chassis = chassis.map(|chassis| ("l3gateway-chassis", chassis));
        let zone = view
            .has_acls()
            .then(|| (Atom::from("enable_router_port_acl"), Atom::from("true")));
        return Datum::map(peer.into_iter().chain(chassis).map(pair).chain(zone));
    }
    let options = view.port.verbatim.options.clone();
    let switch = unit.get(&SWITCH, view.switch);
    let is_door = matches!(view.port.kind, PortKind::Localnet { .. });
    let passes_tags = is_door && switch.is_some_and(|switch| switch.is_vlan_transparent);
    let passes = (Atom::from("vlan-passthru"), Atom::from("true"));
    let mut more = queues::options(unit, view.row, view.switch);
    more.extend(passes_tags.then_some(passes));
    if more.is_empty() {
        return options;
    }
    let is_ours = |(key, _): &&(Atom, Atom)| !more.iter().any(|(ours, _)| ours == key);
    let theirs: Vec<(Atom, Atom)> = options.pairs().iter().filter(is_ours).cloned().collect();
    Datum::map(theirs.into_iter().chain(more))
}

/// The northbound's, with the name for people under the key at which tools look for it.
fn external_ids(northbound: &Datum) -> Datum {
    let Some(name) = northbound.get_str("neutron:port_name") else {
        return northbound.clone();
    };
    let named = (Atom::from("name"), Atom::from(name));
    let others = northbound
        .pairs()
        .iter()
        .filter(|(key, _)| key.as_str() != Some("name"))
        .cloned();
    Datum::map(others.chain([named]))
}
