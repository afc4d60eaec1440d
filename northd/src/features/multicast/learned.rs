//! Groups that somebody has joined: rows of `IGMP_Group`, which controllers write.
//!
//! ```text
//! IGMP_Group (group, chassis) ─┐
//! IGMP_Group (group, chassis) ─┴→ JOINED (switch, group) ─→ key ─→ Multicast_Group, one flow
//!                                        └ for routers that relay: see `router/multicast.rs`
//! ```
//!
//! Guarantees that what is sent to such a group goes to the ports that have joined it, and to multicast routers and to ports
//! that get everything; these are not members of the group. Rows of chassis or datapaths that are gone, and such with an
//! address that is none, are deleted.
//!
//! Rows whose address is `mrouters` tell behind which ports multicast routers have been heard.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use addr::PortKey;
use lflow::{a, m};
use nb_db::tables::LogicalSwitch;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Atom, Datum, Row};
use relations::{Bucket, Handle, Key, Relation, Set, Small};
use sb_db::tables::{DatapathBinding, IgmpGroup, MulticastGroup, PortBinding};
use uuid::Uuid;

use super::snooping::{SNOOPING, copies};
use super::{EXISTS, Group, MEMBERS, RELAYED_BY, floods};
use crate::compiler::fact::{Identity, Want};
use crate::compiler::feature::{Conflict, Kind, Over, Pool};
use crate::compiler::identity;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::switch::{DATAPATH, SWITCH};
use crate::features::{chassis, matches, ports};

/// The address of rows that tell where multicast routers are.
const ROUTERS: &str = "mrouters";
/// The largest key of a group when any chassis speaks VXLAN: 11 bits.
const MAX_VXLAN_GROUP: u16 = PortKey::MIN_GROUP + PortKey::MAX_VXLAN_PORT;

/// The ports that have joined a group of a switch.
pub static JOINED: Set<(Handle, IpAddr)> = Set::new("joined multicast group");
/// The row of each group of a switch or router, and its number behind the keys that are fixed.
pub static GIVEN: Relation<(Handle, IpAddr), Identity> = Relation::new("multicast group key");

/// The numbers of groups.
pub static KEYS: Pool = Pool::new(
    &GIVEN,
    (
        LogicalSwitch::NAME,
        LogicalSwitch::COLUMN.other_config.name,
        "multicast group",
    ),
    Conflict::Another,
);

pub(super) const GROUP_OF: Rule = Rule::new(
    Stage::InLookup,
    90,
    "a group that somebody has joined: to them, to multicast routers, and to ports that get everything",
);

/// The ports behind which multicast routers have been heard, each with the rows that say so.
pub(super) static ROUTER_AT: Bucket<Handle, Uuid> = Bucket::new("multicast router at a port");

/// Multicast routers get all groups; who gets them anyway is none.
pub(super) static HEAR: Kind = Kind {
    name: "learned-multicast-router",
    over: Over::South(IgmpGroup::INDEX),
    reads: &[&SWITCH, &SNOOPING, &ports::PORT],
    says: &[&ROUTER_AT, &MEMBERS],
    wants: &[],
    run: |unit, key| {
        let row = unit.south(Handle::unpack(key));
        let Some(columns) = row.filter(|row| address(row) == Some(None)) else {
            return;
        };
        let uuid = unit.south_uuid(Handle::unpack(key));
        for (switch, port, binding) in ports_of(unit, columns) {
            if !floods(unit, port) {
                unit.member(&MEMBERS, Group::Routers.of_datapath(switch), binding);
                unit.join(&ROUTER_AT, port, uuid);
            }
        }
    },
};

pub(super) static LEARN: Kind = Kind {
    name: "learned-multicast",
    over: Over::South(IgmpGroup::INDEX),
    reads: &[&SWITCH, &SNOOPING, &ports::PORT, &RELAYED_BY, &ROUTER_AT],
    says: &[&JOINED],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.south(row) else {
            return;
        };
        let Some(address) = address(columns) else {
            return unit.expired::<IgmpGroup>(row, None, 0);
        };
        let Some(ip) = address.filter(|ip| !is_never_filtered(*ip)) else {
            return;
        };
        for (switch, port, binding) in ports_of(unit, columns) {
            let is_served = floods(unit, port)
                || unit.get(&RELAYED_BY, port).is_some()
                || !unit.members(&ROUTER_AT, port).is_empty();
            if !is_served {
                unit.member(&JOINED, (switch, ip), binding);
            }
        }
    },
};

/// The ports in a row, each with its switch, if that snoops, and its binding.
fn ports_of(unit: &Unit<'_>, row: &Row) -> Vec<(Handle, Handle, Uuid)> {
    let switch = switch_of(unit, row).filter(|switch| unit.get(&SNOOPING, *switch).is_some());
    let Some(switch) = switch else {
        return Vec::new();
    };
    let bindings: Vec<Uuid> = IgmpGroup::COLUMN.ports.get(row);
    let ports = bindings.into_iter().filter_map(|binding| {
        let port = port_of(unit, binding, switch)?;
        Some((switch, port, binding))
    });
    ports.collect()
}

/// The switch of a row.
fn switch_of(unit: &Unit<'_>, row: &Row) -> Option<Handle> {
    let datapath: Uuid = IgmpGroup::COLUMN.datapath.get(row)?;
    let datapath = unit.south(unit.find_south::<DatapathBinding>(datapath)?)?;
    let column = DatapathBinding::COLUMN;
    let uuid: Option<Uuid> = column.nb_uuid.get(datapath);
    // Older southbounds tell it there alone.
    let told = || {
        let text = datapath.get(column.external_ids.index);
        text.get_str("logical-switch")?.parse().ok()
    };
    let switch = unit.find_north::<LogicalSwitch>(uuid.or_else(told)?)?;
    unit.get(&SWITCH, switch).map(|_| switch)
}

/// The group of a row; no group is multicast routers. Nothing if the row is of no chassis or datapath any more, or its address is
/// none.
#[expect(
    clippy::option_option,
    reason = "a stale row, routers, and a group are three answers"
)]
fn address(row: &Row) -> Option<Option<IpAddr>> {
    let column = IgmpGroup::COLUMN;
    let _: Uuid = column.chassis.get(row)?;
    let _: Uuid = column.datapath.get(row)?;
    let address: Arc<str> = column.address.get(row);
    if &*address == ROUTERS {
        return Some(None);
    }
    let ip: IpAddr = address.parse().ok()?;
    ip.is_multicast().then_some(Some(ip))
}

/// The enabled port of a switch that a binding is of.
fn port_of(unit: &Unit<'_>, binding: Uuid, switch: Handle) -> Option<Handle> {
    let row = unit.south(unit.find_south::<PortBinding>(binding)?)?;
    let name: Arc<str> = PortBinding::COLUMN.logical_port.get(row);
    let named = unit.having(matches::PORTS, &Atom::String(name));
    named.iter().copied().find(|port| {
        let is_enabled = unit
            .get(&ports::PORT, *port)
            .is_some_and(|port| port.is_enabled);
        is_enabled && ports::owner(unit, *port) == Some(switch)
    })
}

/// Groups for which [`LOCAL`](super::snooping::LOCAL) is.
fn is_never_filtered(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => {
            let segments = ip.segments();
            let is_reserved = segments[0] & 0xfff0 == 0xff00 && segments[1..7] == [0; 6];
            let well_known = [
                Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 2),
                Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2),
                Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 2),
            ];
            let is_solicited = segments[..6] == [0xff02, 0, 0, 0, 0, 1] && segments[6] >> 8 == 0xff;
            (is_reserved && segments[7] == 0) || well_known.contains(&ip) || is_solicited
        }
    }
}

pub(super) static WISH: Kind = Kind {
    name: "alloc/multicast-group",
    over: Over::Keys(&JOINED),
    reads: &[&SNOOPING, &SWITCH, &DATAPATH, &chassis::IS_VXLAN],
    says: &[],
    wants: &[&KEYS],
    run: |unit, key| {
        let (switch, _) = <(Handle, IpAddr)>::unpack(key);
        let (Some(snooping), Some(of)) = (unit.get(&SNOOPING, switch), unit.get(&SWITCH, switch))
        else {
            return;
        };
        want(unit, key, &of.name, None, snooping.table_size);
    },
};

/// Wants a row and a number for a group of a switch or router.
pub fn want(
    unit: &mut Unit<'_>,
    key: Key,
    name: &Arc<str>,
    place: Option<(&'static str, &'static str)>,
    most: u32,
) {
    let (owner, group) = <(Handle, IpAddr)>::unpack(key);
    let Some(datapath) = unit.get(&DATAPATH, owner) else {
        return;
    };
    let uuid = identity::named(MulticastGroup::NAME, datapath.uuid, &group.to_string());
    let recorded = unit.recorded_row::<MulticastGroup>(uuid);
    let recorded = recorded.map(|row| MulticastGroup::COLUMN.tunnel_key.get(row));
    let last = match unit.get(&chassis::IS_VXLAN, ()) {
        Some(()) => MAX_VXLAN_GROUP,
        None => u16::MAX,
    };
    let max = most.min(u32::from(last) - FIXED);
    unit.want(Want {
        pool: &KEYS,
        owner: key,
        row: uuid,
        about: Some(unit.uuid(owner)),
        name: Arc::clone(name),
        place,
        among: owner.pack(),
        derived: uuid,
        identity: uuid,
        recorded: recorded.and_then(|key| u32::try_from(key).ok()?.checked_sub(FIXED)),
        requested: None,
        preferred: None,
        max: (max, max),
    });
}

/// The largest of the keys of groups that are fixed.
const FIXED: u32 = PortKey::FLOOD_L2.get() as u32;

pub(super) static GROUP: Kind = Kind {
    name: "learned-multicast-group",
    over: Over::Keys(&JOINED),
    reads: &[&DATAPATH, &GIVEN, &EXISTS],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let (switch, group) = <(Handle, IpAddr)>::unpack(key);
        let Some(datapath) = row(unit, key, &JOINED) else {
            return;
        };
        let is_there = |of: Group| unit.get(&EXISTS, of.of_datapath(switch)).is_some();
        let mut then = copies(is_there(Group::Routers), is_there(Group::Static));
        then.extend([a::set_outport(group.to_string()), a::output()]);
        let mut flows = unit.flows(datapath.uuid, None);
        flows.add(GROUP_OF, &(m::eth_mcast() & m::ip_dst(group)), then);
    },
};

/// Says the row of a group that has got its number, and returns the datapath.
pub fn row(unit: &mut Unit<'_>, key: Key, members: &Set<(Handle, IpAddr)>) -> Option<Identity> {
    let (owner, group) = <(Handle, IpAddr)>::unpack(key);
    let datapath = *unit.get(&DATAPATH, owner)?;
    let given = unit.get(&GIVEN, (owner, group))?;
    let column = MulticastGroup::COLUMN;
    let columns = [
        column.datapath.to(&datapath.uuid),
        (column.name.index, Datum::from(group.to_string())),
        column.tunnel_key.to(&i64::from(given.key + FIXED)),
    ];
    let sets = Box::new([(column.ports.index, members.cell((owner, group)))]);
    unit.row_of_sets::<MulticastGroup>(given.uuid, columns, sets);
    Some(datapath)
}

#[cfg(test)]
mod tests;
