//! Virtual addresses that other routers reach without a route of their own (`options:add_route`).
//!
//! Arrives: the routers that a load balancer acts on. Guarantees that on the switches by which the outside comes to such a router (those
//! of all ports, if it is on one chassis, else those of its gateway ports) each other router sends packets for a virtual address there,
//! and knows the router's MAC for it, as with `NAT.options:add_route`. One with `dynamic_neigh_routers` asks who has the address.
//!
//! Of several load balancers with one address on a switch, that with the lowest UUID says where it is, and so does of several of its
//! routers the port with the lowest.

use std::net::IpAddr;
use std::sync::Arc;

use lflow::{a, m};
use nb_db::tables::{LoadBalancer, LogicalRouter, LogicalRouterPort};
use relations::{Bucket, Handle, Small};
use uuid::Uuid;

use super::NOBODYS;
use super::carriers::{GROUPS_OF, ROUTERS_OF, ROUTERS_WITH};
use super::model::{BALANCER, Balancer};
use crate::compiler::feature::{Kind, Over};
use crate::compiler::unit::Unit;
use crate::features::router::ROUTER;
use crate::features::router::gateways::GATEWAYS;
use crate::features::router::links::{PEER, Peer};
use crate::features::router::neighbour_routes::{self, ROUTED};
use crate::features::router::ports::{IPS, PORT};
use crate::features::segments;
use crate::features::switch::DATAPATH;

/// The load balancers of which an address is reached in a switch.
pub(super) static CLAIMANTS: Bucket<(Handle, IpAddr), Uuid> =
    Bucket::new("routed virtual addresses");

pub(super) static CLAIM: Kind = Kind {
    name: "load-balancer/route-claims",
    over: Over::Keys(&BALANCER),
    reads: &[&ROUTER, &GATEWAYS, &PEER, &PORT],
    says: &[&CLAIMANTS, &ROUTED],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(balancer) = routed(unit, row) else {
            return;
        };
        let uuid = unit.uuid(row);
        for end in ends(unit, row) {
            unit.join(&ROUTED, end.switch, uuid);
            for ip in balancer.ips() {
                unit.join(&CLAIMANTS, (end.switch, ip), uuid);
            }
        }
    },
};

pub(super) static ROUTES: Kind = Kind {
    name: "load-balancer/routes",
    over: Over::Keys(&BALANCER),
    reads: &[
        &ROUTER, &GATEWAYS, &PEER, &PORT, &IPS, &DATAPATH, &CLAIMANTS,
    ],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(balancer) = routed(unit, row) else {
            return;
        };
        let uuid = unit.uuid(row);
        let ends = ends(unit, row);
        if ends.is_empty() {
            tell_that_nobody_routes(unit, row, balancer);
        }
        for end in ends {
            for ip in balancer.ips() {
                if unit.members(&CLAIMANTS, (end.switch, ip)).first() == Some(&uuid) {
                    say(unit, &end, ip);
                }
            }
        }
    },
};

/// A load balancer that wants routes.
fn routed<'a>(unit: &Unit<'a>, row: Handle) -> Option<&'a Arc<Balancer>> {
    let balancer = unit.get(&BALANCER, row);
    balancer.filter(|balancer| balancer.adds_routes)
}

/// Where the outside comes to a router: its port, and the switch behind with its key.
struct End {
    router: Handle,
    port: Handle,
    switch: Handle,
    segment: u32,
}

/// The ends of all routers of a load balancer, one for each switch.
fn ends(unit: &Unit<'_>, row: Handle) -> Vec<End> {
    let groups = unit.referrers(GROUPS_OF, row).iter();
    let by_group = groups.flat_map(|group| unit.referrers(ROUTERS_WITH, *group));
    let routers = unit.referrers(ROUTERS_OF, row).iter().chain(by_group);
    let mut ends: Vec<End> = routers
        .flat_map(|router| of_router(unit, *router))
        .collect();
    ends.sort_by_key(|end| (unit.uuid(end.switch), unit.uuid(end.port)));
    ends.dedup_by_key(|end| end.switch);
    ends
}

fn of_router(unit: &Unit<'_>, router: Handle) -> Vec<End> {
    let Some(of) = unit.get(&ROUTER, router) else {
        return Vec::new();
    };
    let ports: Vec<Handle> = match (&of.chassis, unit.north(router)) {
        (Some(_), Some(columns)) => {
            let all: Vec<Uuid> = LogicalRouter::COLUMN.ports.get(columns);
            let rows = all.into_iter();
            rows.filter_map(|port| unit.find_north::<LogicalRouterPort>(port))
                .collect()
        }
        _ => unit.members(&GATEWAYS, router).to_vec(),
    };
    let ends = ports.into_iter().filter_map(|port| {
        unit.get(&PORT, port).filter(|port| port.is_enabled)?;
        let Peer::Switch {
            switch, segment, ..
        } = unit.get(&PEER, port)?
        else {
            return None;
        };
        Some(End {
            router,
            port,
            switch: *switch,
            segment: *segment,
        })
    });
    ends.collect()
}

/// The route to an address at an end, and the MAC to which other routers send.
fn say(unit: &mut Unit<'_>, end: &End, ip: IpAddr) {
    let (Some(port), Some(datapath)) = (unit.get(&PORT, end.port), unit.get(&DATAPATH, end.router))
    else {
        return;
    };
    let mac = port.mac;
    neighbour_routes::say(unit, (end.switch, end.segment), end.port, ip);
    // The router itself has the route, too: turned round by the port, what is nobody's connection would run in circles.
    let name = || Arc::clone(&port.name);
    let stays = m::inport(name()) & m::outport(name()) & m::ip_dst(ip);
    let mut flows = unit.flows(datapath.uuid, None);
    flows.add_common(NOBODYS, &stays, [a::drop()]);
    // An address of a router's port is known as that.
    if unit.members(&IPS, (end.router, ip)).is_empty() {
        let known = segments::is_asked(end.segment, ip);
        let mut flows = segments::router_flows(unit, end.switch, end.port);
        flows.add_common(segments::KNOWN, &known, segments::answer(mac, true));
    }
}

fn tell_that_nobody_routes(unit: &mut Unit<'_>, row: Handle, balancer: &Balancer) {
    let mut complaints = unit.complaints::<LoadBalancer>(row, Arc::clone(&balancer.name));
    let why = "no router with this load balancer is on one chassis or has a gateway port, with a switch there";
    let remedy = "add_route has no effect: other routers need a route of their own";
    let column = LoadBalancer::COLUMN.options.name;
    complaints.warning(column, "add_route", 0, why, remedy);
    unit.problems(complaints.into_problems());
}
