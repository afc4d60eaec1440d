//! Where load balancers act: on the switches and routers that name them, or that name a group that they are in.
//!
//! What names a load balancer is its *carrier*: a group, or, for those that name it directly, the load balancer itself. A
//! carrier has sets of datapaths, and the flows of a load balancer are for its carriers' sets. So a datapath that takes a group
//! costs a member of a few sets, whatever is in the group, and a load balancer that comes into a group costs its own flows,
//! wherever the group acts.
//!
//! | place | its datapaths |
//! | --- | --- |
//! | `BOTH` | switches, and routers that force no client's address |
//! | `FORCED` | routers that do (`options:lb_force_snat_ip`) |
//! | `SWITCHES`, `ROUTERS` | all of them |
//! | `EVERYWHERE` | routers without a gateway port: they look connections up on all chassis |
//! | `GATEWAYS` | routers with one: they do on the chassis that has it |
//! | `UNTRACKING` | switches whose rules allow-stateless leave load balancers their packets (`untracking`) |

use nb_db::tables::{LoadBalancerGroup, LogicalRouter, LogicalSwitch};
use relations::{Bucket, Handle, Key, Relation, Set, Small};
use uuid::Uuid;

use super::model::BALANCER;
use super::settings::SETTINGS;
use crate::compiler::feature::{Index, Kind, Over};
use crate::compiler::flow::Flows;
use crate::compiler::options::Options;
use crate::compiler::unit::Unit;
use crate::features::acl;
use crate::features::router::ROUTER;
use crate::features::router::force_snat::FORCED as FORCED_ROUTER;
use crate::features::router::gateways::GATEWAYS as GATEWAY_PORTS;
use crate::features::router::links::{PEER, Peer};
use crate::features::router::own::TRANSLATORS;
use crate::features::router::ports as router_ports;
use crate::features::switch::{DATAPATH, SWITCH};

/// The groups that a load balancer is in.
pub(super) const GROUPS_OF: Index =
    Index::north::<LoadBalancerGroup>(LoadBalancerGroup::COLUMN.load_balancer.index);
/// The switches that name a load balancer.
pub(super) const SWITCHES_OF: Index =
    Index::north::<LogicalSwitch>(LogicalSwitch::COLUMN.load_balancer.index);
/// The routers that do.
pub(super) const ROUTERS_OF: Index =
    Index::north::<LogicalRouter>(LogicalRouter::COLUMN.load_balancer.index);

/// Datapaths of a carrier; see above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Both,
    Forced,
    Switches,
    Routers,
    Everywhere,
    Gateways,
    Untracking,
}

/// The switches that name a group.
pub(super) const SWITCHES_WITH: Index =
    Index::north::<LogicalSwitch>(LogicalSwitch::COLUMN.load_balancer_group.index);
/// The routers that do.
pub(super) const ROUTERS_WITH: Index =
    Index::north::<LogicalRouter>(LogicalRouter::COLUMN.load_balancer_group.index);

/// The groups that a switch or a router names, if any.
pub(super) static NAMED: Relation<Handle, Vec<Uuid>> = Relation::new("load balancer groups");
/// There is a value for each switch with `other_config:enable-stateless-acl-with-lb`.
pub(super) static UNTRACKING: Relation<Handle, ()> =
    Relation::new("switch with stateless acls and load balancers");
/// The switches that have what their router has: the switch, and the router's port.
pub(super) static FOLLOWERS: Bucket<Handle, (Handle, Handle)> =
    Bucket::new("switches that follow a router");
/// The datapaths of each carrier, by place.
pub(super) static PLACES: Set<(Handle, u32)> = Set::new("datapaths of load balancers");
/// There is a value for each of them that has datapaths.
pub(super) static HAS: Relation<(Handle, u32), ()> = Relation::new("has load balancers");
/// There is a value for each carrier and router of it.
pub(super) static ACTS_ON: Relation<(Handle, Handle), ()> =
    Relation::new("load balancers of a router");

/// The virtual addresses of each group, by the version of IP.
pub(super) static VIPS: Set<(Handle, u32)> = Set::new("virtual addresses of a group");
/// There is a value for each group that has some.
pub(super) static HAS_VIPS: Relation<(Handle, u32), ()> = Relation::new("has virtual addresses");

/// The datapaths of switches with load balancers.
pub(super) static BALANCING_SWITCHES: Set<()> = Set::new("switches with load balancers");
/// The datapaths of routers with load balancers.
pub(super) static BALANCING_ROUTERS: Set<()> = Set::new("routers with load balancers");

/// In [`VIPS`], in the place of a version: the load balancers whose addresses chassis have.
pub(super) const VARIABLE: u32 = 0;
/// The versions of IP.
pub(super) const VERSIONS: [u32; 2] = [4, 6];

/// Where the flows of a place go.
pub(super) fn flows<'u>(
    unit: &'u mut Unit<'_>,
    carrier: Handle,
    place: Place,
    hint: Option<Uuid>,
) -> Flows<'u> {
    let name = format!("load balancers of {}: {place:?}", unit.uuid(carrier));
    unit.shared_flows(&PLACES, (carrier, place as u32), &name, hint)
}

/// The carriers of a load balancer that have datapaths at a place.
pub(super) fn carriers_at(unit: &Unit<'_>, balancer: Handle, place: Place) -> Vec<Handle> {
    let groups = unit.referrers(GROUPS_OF, balancer).iter().copied();
    let carriers = std::iter::once(balancer).chain(groups);
    let has = |carrier: &Handle| unit.get(&HAS, (*carrier, place as u32)).is_some();
    carriers.filter(has).collect()
}

/// Whether a load balancer acts on a router.
pub(super) fn acts_on(unit: &Unit<'_>, balancer: Handle, router: Handle) -> bool {
    let groups = unit.referrers(GROUPS_OF, balancer).iter().copied();
    let mut carriers = std::iter::once(balancer).chain(groups);
    carriers.any(|carrier| unit.get(&ACTS_ON, (carrier, router)).is_some())
}

pub(super) static IS_THERE: Kind = Kind {
    name: "load-balancer/place",
    over: Over::Keys(&PLACES),
    reads: &[],
    says: &[&HAS],
    wants: &[],
    run: |unit, key| unit.say(&HAS, <(Handle, u32)>::unpack(key), ()),
};

/// What a load balancer says of its own to the groups that it is in.
pub(super) static IN_GROUPS: Kind = Kind {
    name: "load-balancer/groups",
    over: Over::Keys(&BALANCER),
    reads: &[],
    says: &[&VIPS],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(balancer) = unit.get(&BALANCER, row) else {
            return;
        };
        for group in unit.referrers(GROUPS_OF, row) {
            for ip in balancer.ips() {
                let version = if ip.is_ipv4() { 4 } else { 6 };
                unit.member(&VIPS, (*group, version), ip.to_string());
            }
            if !balancer.templates.is_empty() {
                let uuid = unit.uuid(row);
                unit.member(&VIPS, (*group, VARIABLE), uuid.to_string());
            }
        }
    },
};

/// The groups that a switch names.
pub(super) static OF_SWITCHES: Kind = Kind {
    name: "load-balancer/names-of-switch",
    over: Over::Keys(&SWITCH),
    reads: &[],
    says: &[&NAMED, &UNTRACKING],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let column = LogicalSwitch::COLUMN;
        let name_of = column.name.get(columns);
        let mut complaints = unit.complaints::<LogicalSwitch>(row, name_of);
        let settings = columns.get(column.other_config.index);
        let settings = Options::read(column.other_config.name, settings);
        if settings.truth("enable-stateless-acl-with-lb", false, &mut complaints) {
            unit.say(&UNTRACKING, row, ());
        }
        unit.problems(complaints.into_problems());
        name(unit, row, Some(column.load_balancer_group.get(columns)));
    },
};

/// The groups that a router names.
pub(super) static OF_ROUTERS: Kind = Kind {
    name: "load-balancer/names-of-router",
    over: Over::Keys(&ROUTER),
    reads: &[],
    says: &[&NAMED],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let groups = unit.north(row);
        let groups = groups.map(|row| LogicalRouter::COLUMN.load_balancer_group.get(row));
        name(unit, row, groups);
    },
};

fn name(unit: &mut Unit<'_>, row: Handle, groups: Option<Vec<Uuid>>) {
    if let Some(groups) = groups.filter(|groups| !groups.is_empty()) {
        unit.say(&NAMED, row, groups);
    }
}

/// The groups of a switch or a router.
pub(super) static GROUPS: Kind = Kind {
    name: "load-balancer/groups-of",
    over: Over::Keys(&NAMED),
    reads: &[
        &DATAPATH,
        &HAS_VIPS,
        &NAMED,
        &ROUTER,
        &FORCED_ROUTER,
        &GATEWAY_PORTS,
        &FOLLOWERS,
        &UNTRACKING,
    ],
    says: SAYS,
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        for group in groups_of(unit, row) {
            on(unit, group, row);
        }
    },
};

/// The switches and routers that name a load balancer directly.
pub(super) static DIRECT: Kind = Kind {
    name: "load-balancer/direct",
    over: Over::Keys(&BALANCER),
    reads: &[
        &DATAPATH,
        &ROUTER,
        &FORCED_ROUTER,
        &GATEWAY_PORTS,
        &FOLLOWERS,
        &UNTRACKING,
    ],
    says: SAYS,
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        for index in [SWITCHES_OF, ROUTERS_OF] {
            for datapath in unit.referrers(index, row) {
                on(unit, row, *datapath);
            }
        }
    },
};

/// With `NB_Global.options:install_ls_lb_from_router`, the switches of a router have its load balancers, too.
pub(super) static FOLLOW: Kind = Kind {
    name: "load-balancer/router-port",
    over: Over::Keys(&router_ports::PORT),
    reads: &[&ROUTER, &PEER, &SETTINGS],
    says: &[&FOLLOWERS],
    wants: &[],
    run: |unit, key| {
        let port = Handle::unpack(key);
        let follows = unit.get(&SETTINGS, ()).is_some_and(|of| of.follows_routers);
        let (true, Some(router)) = (follows, router_ports::owner(unit, port)) else {
            return;
        };
        if let Some(Peer::Switch { switch, .. }) = unit.get(&PEER, port) {
            unit.join(&FOLLOWERS, router, (*switch, port));
        }
    },
};

/// What places are said with.
const SAYS: &[&dyn relations::Declared] = &[
    &PLACES,
    &BALANCING_SWITCHES,
    &BALANCING_ROUTERS,
    &TRANSLATORS,
    &ACTS_ON,
    acl::TRACKED_SETS[0],
    acl::TRACKED_SETS[1],
];

/// A carrier acts on a switch, or on a router and the switches that follow it.
fn on(unit: &mut Unit<'_>, carrier: Handle, row: Handle) {
    if unit.get(&ROUTER, row).is_none() {
        return on_switch(unit, carrier, row);
    }
    on_router(unit, carrier, row);
    for (switch, _) in unit.members(&FOLLOWERS, row) {
        on_switch(unit, carrier, *switch);
    }
}

fn on_switch(unit: &mut Unit<'_>, carrier: Handle, switch: Handle) {
    let Some(datapath) = unit.get(&DATAPATH, switch).map(|of| of.uuid) else {
        return;
    };
    let is_untracking = unit.get(&UNTRACKING, switch).is_some();
    let untracking = is_untracking.then_some(Place::Untracking);
    for place in [Place::Both, Place::Switches].into_iter().chain(untracking) {
        unit.member(&PLACES, (carrier, place as u32), datapath);
    }
    unit.member(&BALANCING_SWITCHES, (), datapath);
    acl::track(unit, switch, datapath);
}

fn on_router(unit: &mut Unit<'_>, carrier: Handle, router: Handle) {
    let (Some(of), Some(datapath)) = (unit.get(&ROUTER, router), unit.get(&DATAPATH, router))
    else {
        return;
    };
    let forces = unit.get(&FORCED_ROUTER, router);
    let forces = forces.is_some_and(|forced| forced.balanced.is_some());
    let style = if forces { Place::Forced } else { Place::Both };
    let lookup = match unit.members(&GATEWAY_PORTS, router).is_empty() {
        true => Place::Everywhere,
        false => Place::Gateways,
    };
    for place in [Place::Routers, style, lookup] {
        unit.member(&PLACES, (carrier, place as u32), datapath.uuid);
    }
    unit.member(&BALANCING_ROUTERS, (), datapath.uuid);
    if of.chassis.is_some() {
        unit.member(&TRANSLATORS, (), datapath.uuid);
    }
    unit.say(&ACTS_ON, (carrier, router), ());
}

/// The groups of a switch or a router that have virtual addresses.
pub(super) fn groups_of(unit: &Unit<'_>, row: Handle) -> Vec<Handle> {
    let named = unit.get(&NAMED, row).map_or(&[][..], Vec::as_slice);
    let rows = named.iter();
    let rows = rows.filter_map(|uuid| unit.find_north::<LoadBalancerGroup>(*uuid));
    let has = |group: &Handle, version| unit.get(&HAS_VIPS, (*group, version)).is_some();
    let kinds = || VERSIONS.into_iter().chain([VARIABLE]);
    rows.filter(|group| kinds().any(|kind| has(group, kind)))
        .collect()
}

/// The datapaths of all carriers of a load balancer, switches and routers.
pub(super) fn datapaths(unit: &Unit<'_>, balancer: Handle) -> [Vec<Uuid>; 2] {
    let groups = unit.referrers(GROUPS_OF, balancer).iter();
    let by_group = groups.flat_map(|group| {
        let switches = unit.referrers(SWITCHES_WITH, *group).iter();
        switches.chain(unit.referrers(ROUTERS_WITH, *group))
    });
    let direct = unit.referrers(SWITCHES_OF, balancer).iter();
    let direct = direct.chain(unit.referrers(ROUTERS_OF, balancer));
    let [mut switches, mut routers] = [Vec::new(), Vec::new()];
    for row in direct.chain(by_group) {
        let datapath = |row| unit.get(&DATAPATH, row).map(|of| of.uuid);
        if unit.get(&ROUTER, *row).is_none() {
            switches.extend(datapath(*row));
            continue;
        }
        routers.extend(datapath(*row));
        let followers = unit.members(&FOLLOWERS, *row).iter();
        switches.extend(followers.filter_map(|(switch, _)| datapath(*switch)));
    }
    [switches, routers]
}

/// The key of a set of addresses of a group.
pub(super) fn group_of(key: Key) -> (Handle, u32) {
    <(Handle, u32)>::unpack(key)
}
