//! Distributed gateway ports: ports of a router that is on all chassis, through which packets pass on one.
//!
//! ```text
//!   gateway_chassis, ha_chassis_group          the chassis that may have the port, northbound
//!        │
//!      GATEWAY ── groups     their southbound group, and who uses it
//!        │
//!        ├─────── redirect   the port `cr-NAME`, which is on the chassis that has it, and what is sent there
//!        ├─────── entrance   the port `cr-NAME` of the switch's end, if no physical network leads to the chassis
//!        └─────── RESIDENCE  the name that has to be here for a port's own flows
//! ```
//!
//! Guarantees that a port with chassis of its own (`gateway_chassis`, `ha_chassis_group`) has a binding of type
//! `chassisredirect` beside its own, with a key of the router's that it keeps, and a group of chassis. Controllers decide which
//! chassis of the group has it; the northbound is told (`status:hosting-chassis`).
//!
//! Where a physical network leads to the switch, the gateway's MAC is found there on all other chassis. Where none does, the
//! switch's end has a binding of type `chassisredirect`, too, and packets for the gateway go to its chassis by that.
//!
//! With `options:redirect-type=bridged` of the gateway port, the other chassis do not send to it through tunnels, but into that
//! physical network, to the gateway's MAC.
//!
//! A router that is on one chassis (`options:chassis`) has no such ports: what is said there is a problem and has no effect.

mod entrance;
mod externals;
mod groups;
mod redirect;
mod users;

use std::sync::Arc;

use nb_db::tables::{GatewayChassis, HaChassis, HaChassisGroup, LogicalRouterPort};
use relations::{Bucket, Handle, Key, Relation, Small};
use sb_db::tables::{Chassis, PortBinding};
use uuid::Uuid;

use super::ROUTER;
use super::links::{PEER, Peer};
use super::ports::{self, PORT, RESIDENCE};
use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::unit::Unit;
use crate::features::ports::LOCALNETS;
#[cfg(test)]
use crate::testing::{Change, gateways};

pub use groups::{GROUP, GroupKey};
pub use redirect::{REDIRECT, host};

/// The router ports through which packets pass on one chassis.
pub static GATEWAY: Relation<Handle, Arc<Gateway>> = Relation::new("gateway port");
/// Those of each router.
pub static GATEWAYS: Bucket<Handle, Handle> = Bucket::new("gateway ports of a router");
/// The NAT rules of guests that leave by a gateway port from their own chassis, and the load balancers of backends that do. Said by
/// those features.
pub static GUESTS: Bucket<Handle, Uuid> = Bucket::new("guests of a gateway port");

/// A distributed gateway port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// The router.
    pub router: Handle,
    /// The group of the chassis that may have it.
    pub group: GroupKey,
    /// The name of the port that is where packets pass.
    pub redirect: Arc<str>,
    /// Other chassis send to it by a physical network (`redirect-type=bridged`).
    pub is_bridged: bool,
}

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<LogicalRouterPort>(&[
            LogicalRouterPort::COLUMN.gateway_chassis.index,
            LogicalRouterPort::COLUMN.ha_chassis_group.index,
            LogicalRouterPort::COLUMN.status.index,
        ]),
        Source::north::<GatewayChassis>(&[
            GatewayChassis::COLUMN.name.index,
            GatewayChassis::COLUMN.chassis_name.index,
            GatewayChassis::COLUMN.priority.index,
        ]),
        Source::north::<HaChassisGroup>(&[
            HaChassisGroup::COLUMN.name.index,
            HaChassisGroup::COLUMN.ha_chassis.index,
        ]),
        Source::north::<HaChassis>(&[
            HaChassis::COLUMN.chassis_name.index,
            HaChassis::COLUMN.priority.index,
        ]),
        Source::south::<PortBinding>(&[
            PortBinding::COLUMN.logical_port.index,
            PortBinding::COLUMN.chassis.index,
        ]),
        Source::south::<Chassis>(&[Chassis::COLUMN.name.index]),
    ],
    indexes: &[groups::NORTH_BY_NAME, groups::SOUTH_BY_NAME],
    owns: &[&groups::GROUP_ROWS, &groups::MEMBER_ROWS, &redirect::STATUS],
    relations: &[
        &GATEWAY,
        &GATEWAYS,
        &GUESTS,
        &REDIRECT,
        &entrance::BINDING,
        &GROUP,
        &groups::ANSWERS,
        &users::OF_ROUTER,
        &users::SWITCH_1,
        &users::ROUTER_1,
        &users::SWITCH_2,
        &users::ROUTER_2,
        &users::SWITCH_3,
    ],
    pools: &[&redirect::KEYS, &entrance::KEYS],
    kinds: &[
        &MODEL,
        &RESIDES,
        &externals::USE,
        &groups::ROWS,
        &externals::TELL,
        &redirect::WISH,
        &redirect::ROW,
        &redirect::HOSTING,
        &redirect::SHARED,
        &redirect::FLOWS,
        &entrance::SAY,
        &entrance::WISH,
        &entrance::ROW,
        &users::OUT_1,
        &users::BEYOND,
        &users::INTO_1,
        &users::OUT_2,
        &users::INTO_2,
        &users::OUT_3,
        &users::CHASSIS,
    ],
    rules: &[
        redirect::TO_GATEWAY,
        redirect::BY_NETWORK,
        redirect::ASKED_ELSEWHERE,
        redirect::HERE,
    ],
    #[cfg(test)]
    operator: &[Change {
        weight: 6,
        run: gateways::chassis_of_port,
    }],
    ..Feature::new("gateway ports")
};

static MODEL: Kind = Kind {
    name: "router-port/gateway",
    over: Over::Keys(&PORT),
    reads: &[&ROUTER, &PEER, &LOCALNETS],
    says: &[&GATEWAY, &GATEWAYS, &groups::USES, &users::OF_ROUTER],
    wants: &[],
    run: model,
};

static RESIDES: Kind = Kind {
    name: "router-port/residence",
    over: Over::Keys(&PORT),
    reads: &[&ROUTER, &GATEWAY, &GATEWAYS, &PEER, &LOCALNETS],
    says: &[&RESIDENCE],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        if let Some(residence) = residence(unit, row) {
            unit.say(&RESIDENCE, row, residence);
        }
    },
};

fn model(unit: &mut Unit<'_>, key: Key) {
    let row = Handle::unpack(key);
    let (Some(port), Some(columns)) = (unit.get(&PORT, row), unit.north(row)) else {
        return;
    };
    let column = LogicalRouterPort::COLUMN;
    let own = !columns.get(column.gateway_chassis.index).is_empty();
    let shared: Option<Uuid> = column.ha_chassis_group.get(columns);
    if !own && shared.is_none() {
        if port.is_bridged {
            let mut complaints = unit.complaints::<LogicalRouterPort>(row, Arc::clone(&port.name));
            let why = "redirect-type is for gateway ports, and the port has no chassis of its own";
            let remedy = "it has no effect: give the port chassis, or remove it";
            complaints.column(column.options.name, why, remedy);
            unit.problems(complaints.into_problems());
        }
        return;
    }
    let Some(router) = ports::owner(unit, row) else {
        return;
    };
    let mut complaints = unit.complaints::<LogicalRouterPort>(row, Arc::clone(&port.name));
    let place = match shared {
        Some(_) => column.ha_chassis_group.name,
        None => column.gateway_chassis.name,
    };
    let is_elsewhere = unit
        .get(&ROUTER, router)
        .is_some_and(|router| router.chassis.is_some());
    if is_elsewhere {
        let why = "the router is on one chassis as a whole, by its options:chassis";
        let remedy = "the chassis of the port are ignored: remove them, or the router's chassis";
        complaints.column(place, why, remedy);
        unit.problems(complaints.into_problems());
        return;
    }
    if own && shared.is_some() {
        let why = "the port has an HA_Chassis_Group as well";
        let remedy = "the group counts, and these are ignored: remove one of both";
        complaints.column(column.gateway_chassis.name, why, remedy);
    }
    let leads_outside = match unit.get(&PEER, row) {
        Some(Peer::Switch { switch, .. }) => !unit.members(&LOCALNETS, *switch).is_empty(),
        _ => false,
    };
    if port.is_bridged && !leads_outside {
        let why =
            "no physical network leads to the port's switch, by which redirect-type=bridged sends";
        let remedy = "packets go through tunnels: add a localnet port there, or remove it";
        complaints.column(column.options.name, why, remedy);
    }
    let group = match shared.map(|group| unit.find_north::<HaChassisGroup>(group)) {
        Some(Some(group)) => Some(GroupKey::shared(group)),
        Some(None) => None,
        None => groups::own(unit, row, &port.name, &mut complaints),
    };
    unit.problems(complaints.into_problems());
    let Some(group) = group else {
        return;
    };
    let redirect: Arc<str> = format!("cr-{}", port.name).into();
    let gateway = Gateway {
        router,
        group,
        redirect,
        is_bridged: port.is_bridged && leads_outside,
    };
    let uuid = unit.uuid(row);
    unit.member(&groups::USES, group, uuid);
    unit.join(&GATEWAYS, router, row);
    unit.join(&users::OF_ROUTER, router, users::By::own(group, row));
    unit.say(&GATEWAY, row, Arc::new(gateway));
}

/// Of a gateway port, its own chassis; of a port with `reside-on-redirect-chassis`, that of the router's only gateway port, if
/// a physical network leads there: without one, all chassis work for it.
fn residence(unit: &mut Unit<'_>, row: Handle) -> Option<Arc<str>> {
    if let Some(gateway) = unit.get(&GATEWAY, row) {
        return Some(Arc::clone(&gateway.redirect));
    }
    let port = unit.get(&PORT, row)?;
    if !port.resides_on_redirect {
        return None;
    }
    if let Some(Peer::Switch { switch, .. }) = unit.get(&PEER, row)
        && unit.members(&LOCALNETS, *switch).is_empty()
    {
        return None;
    }
    let router = ports::owner(unit, row)?;
    if let [only] = unit.members(&GATEWAYS, router) {
        return Some(Arc::clone(&unit.get(&GATEWAY, *only)?.redirect));
    }
    let mut complaints = unit.complaints::<LogicalRouterPort>(row, Arc::clone(&port.name));
    let why = "reside-on-redirect-chassis needs exactly one gateway port in the router";
    let remedy =
        "the port stays on all chassis: give one port of the router a chassis, or remove it";
    complaints.column(LogicalRouterPort::COLUMN.options.name, why, remedy);
    unit.problems(complaints.into_problems());
    None
}
