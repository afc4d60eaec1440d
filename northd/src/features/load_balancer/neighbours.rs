//! Virtual addresses in the networks of routers: who asks for one gets the router's MAC.
//!
//! A virtual address is not a port's. The router in whose network it is answers for it (`options:neighbor_responder`; with
//! `all`, every router that has the load balancer answers for it everywhere, and with `none`, none does). Where the port leads
//! to a switch, requests are steered to it, the other routers there know its MAC, and the chassis that has the port announces
//! the address if the switch's port says so. An address of a router's port is known as that. Which chassis answer for a load balancer
//! that is distributed is a matter of its own (`distributed`).

use std::net::IpAddr;
use std::sync::Arc;

use lflow::action::Action;
use lflow::{Int, a, m};
use nb_db::tables::LoadBalancer;
use relations::{Handle, Small};

use super::carriers::{self, ACTS_ON, HAS, Place, acts_on, carriers_at};
use super::model::{BALANCER, Balancer, Responder};
use super::{ANSWERED, NOBODYS};
use crate::compiler::feature::{Kind, Over};
use crate::compiler::unit::Unit;
use crate::features::lookup::{TO_ROUTER, steer};
use crate::features::ports::{self as switch_ports, ANNOUNCED, ENTRANCE, LOCALNETS, PortKind};
use crate::features::router::ROUTER;
use crate::features::router::gateways::GATEWAYS;
use crate::features::router::links::{FACING, PEER, Peer};
use crate::features::router::nat;
use crate::features::router::own::{ASKED, BALANCED, TO_ME};
use crate::features::router::ports::{self, HOLDERS, IPS, LANS, LENGTHS, PORT, RESIDENCE};
use crate::features::segments;
use crate::features::switch::DATAPATH;

/// The addresses of routers that are virtual ones, too.
pub(super) static CLAIMS: Kind = Kind {
    name: "load-balancer/claims",
    over: Over::Keys(&BALANCER),
    reads: &[&ACTS_ON, &HOLDERS],
    says: &[&BALANCED],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(balancer) = unit.get(&BALANCER, row) else {
            return;
        };
        let uuid = unit.uuid(row);
        let mut complaints = unit.complaints::<LoadBalancer>(row, Arc::clone(&balancer.name));
        for ip in balancer.ips() {
            let mut routers: Vec<Handle> = Vec::new();
            for (router, _) in unit.members(&HOLDERS, ip) {
                if !routers.contains(router) && acts_on(unit, row, *router) {
                    routers.push(*router);
                }
            }
            let mut vips = balancer.vips.iter();
            let whole = vips.find(|vip| vip.ip == ip && vip.port.is_none());
            if let Some(vip) = whole.filter(|_| !routers.is_empty()) {
                let why = format!("{ip} is an address of a router with this load balancer");
                let remedy = "what is for the router itself, such as pings, comes to no backend: write a port, or another address";
                complaints.warning(LoadBalancer::COLUMN.vips.name, &vip.text, 0, why, remedy);
            }
            for router in routers {
                unit.join(&BALANCED, (router, ip), uuid);
            }
        }
        unit.problems(complaints.into_problems());
    },
};

pub(super) static NEIGHBOURS: Kind = Kind {
    name: "load-balancer/neighbours",
    over: Over::Keys(&BALANCER),
    reads: &[
        &HAS,
        &ACTS_ON,
        &LANS,
        &LENGTHS,
        &IPS,
        &ROUTER,
        &DATAPATH,
        &PORT,
        &PEER,
        &FACING,
        &RESIDENCE,
        &switch_ports::PORT,
        &ENTRANCE,
        &LOCALNETS,
        &GATEWAYS,
    ],
    says: &[&ANNOUNCED],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(balancer) = unit.get(&BALANCER, row) else {
            return;
        };
        if balancer.responder == Responder::Nobody {
            return;
        }
        let mut everywhere = carriers_at(unit, row, Place::Routers);
        if everywhere.is_empty() {
            return;
        }
        if balancer.responder != Responder::All || balancer.is_distributed {
            everywhere.clear();
        }
        for ip in balancer.ips() {
            for carrier in &everywhere {
                let mut flows = carriers::flows(unit, *carrier, Place::Routers, None);
                flows.add(ANSWERED, &nat::request(ip), mark());
            }
            for (router, port) in ports::in_whose_network(unit, ip) {
                let is_own = !unit.members(&IPS, (router, ip)).is_empty();
                if !is_own && acts_on(unit, row, router) {
                    answer(unit, balancer, (router, port), ip);
                }
            }
        }
    },
};

/// The packet is a request for the router.
pub(super) fn mark() -> [Action; 3] {
    [
        a::set(TO_ME.field(), Int::new(1)),
        a::set(ASKED.field(), Int::new(1)),
        a::next(),
    ]
}

/// By a port in whose network the address is.
fn answer(unit: &mut Unit<'_>, balancer: &Balancer, (router, port): (Handle, Handle), ip: IpAddr) {
    let (Some(datapath), Some(end)) = (unit.get(&DATAPATH, router), unit.get(&PORT, port)) else {
        return;
    };
    let mut flows = unit.flows(datapath.uuid, None);
    if !balancer.is_distributed {
        flows.add_common(ANSWERED, &nat::request(ip), mark());
    }
    // Turned round by the port, it would run in circles.
    let name = &end.name;
    let stays = m::inport(Arc::clone(name)) & m::outport(Arc::clone(name)) & m::ip_dst(ip);
    flows.add_common(NOBODYS, &stays, [a::drop()]);
    let Some(Peer::Switch {
        name,
        switch,
        segment,
    }) = unit.get(&PEER, port)
    else {
        return;
    };
    let Some(beyond) = unit.get(&DATAPATH, *switch) else {
        return;
    };
    let asked = m::eth_mcast() & nat::request(ip);
    let entrance = nat::facing(unit, port).and_then(|facing| unit.get(&ENTRANCE, facing));
    let way = entrance.map_or(name, |entrance| &entrance.name);
    let mut flows = unit.flows(beyond.uuid, None);
    flows.add_common(TO_ROUTER, &asked, steer(way));
    let known = segments::is_asked(*segment, ip);
    let mut flows = segments::router_flows(unit, *switch, port);
    flows.add_common(segments::KNOWN, &known, segments::answer(end.mac, true));
    let residence = unit.get(&RESIDENCE, port);
    let is_on_one = unit
        .get(&ROUTER, router)
        .is_some_and(|of| of.chassis.is_some());
    let is_gateway = unit.members(&GATEWAYS, router).contains(&port);
    let is_spread = balancer.is_distributed && is_gateway && leads_outside(unit, port);
    if (is_on_one || residence.is_some()) && !is_spread && !leaves_out(unit, port) {
        nat::announce(unit, port, (end.mac, ip), residence);
    }
}

/// Whether a port leads to a physical network.
pub(super) fn leads_outside(unit: &Unit<'_>, port: Handle) -> bool {
    match unit.get(&PEER, port) {
        Some(Peer::Switch { switch, .. }) => !unit.members(&LOCALNETS, *switch).is_empty(),
        _ => false,
    }
}

/// Whether the switch's port leaves virtual addresses out of what is announced (`options:exclude-lb-vips-from-garp`).
fn leaves_out(unit: &Unit<'_>, port: Handle) -> bool {
    let facing = nat::facing(unit, port).and_then(|row| unit.get(&switch_ports::PORT, row));
    facing.is_some_and(|facing| {
        matches!(
            facing.kind,
            PortKind::Router {
                announces_vips: false,
                ..
            }
        )
    })
}
