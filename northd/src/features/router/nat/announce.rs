//! Outside addresses in the switch outside.
//!
//! Requests for one go to the router's port there; the other routers there know its MAC; and where the switch's port says so
//! (`options:nat-addresses`), the chassis that translates announces it. An address of the router's port is known as that.

use std::net::IpAddr;

use addr::Mac;
use lflow::{Symbol, a, m};
use nb_db::tables::{LogicalSwitchPort, Nat};
use ovsdb::Atom;
use relations::Handle;
use std::sync::Arc;

use super::flows::request;
use super::model::Translation;
use super::site::Site;
use crate::compiler::problem::Complaints;
use crate::compiler::unit::Unit;
use crate::features::lookup::{BY_ROUTER, KNOWN, TO_ROUTER, router_request, steer};
use crate::features::multicast::Group;
use crate::features::ports::{self as switch_ports, ANNOUNCED, Announced, ENTRANCE, PortKind};
use crate::features::router::ROUTER;
use crate::features::router::links::{FACING, PEER, Peer};
use crate::features::router::neighbour_routes;
use crate::features::router::ports::{self, PORT, RouterPort};
use crate::features::segments;
use crate::features::switch::DATAPATH;

/// Where an outside address is known.
pub struct End<'a> {
    /// The router's port: its row.
    pub row: Handle,
    /// The port.
    pub port: &'a Arc<RouterPort>,
    /// The port of the switch outside that leads to it.
    pub name: &'a Arc<str>,
    /// That switch.
    pub switch: Handle,
    /// The key of that switch.
    pub segment: u32,
}

/// The switch outside of a rule.
pub fn end<'a>(unit: &Unit<'a>, rule: &Translation, site: &Site) -> Option<End<'a>> {
    let row = match &site.gateway {
        Some(at) => at.row,
        None => ports::facing(unit, site.router, rule.external)?,
    };
    match unit.get(&PEER, row)? {
        Peer::Switch {
            name,
            switch,
            segment,
        } => Some(End {
            row,
            port: unit.get(&PORT, row)?,
            name,
            switch: *switch,
            segment: *segment,
        }),
        Peer::Router { .. } => None,
    }
}

/// Says what the switch outside has to know of a rule.
pub fn say(unit: &mut Unit<'_>, rule: &Translation, site: &Site, complaints: &mut Complaints) {
    let external = rule.external;
    let Some(end) = end(unit, rule, site) else {
        if rule.adds_route {
            let why = "no port of the rule's router has the outside address on a switch";
            let remedy = "add_route has no effect: other routers need a route of their own";
            let column = Nat::COLUMN.options.name;
            complaints.warning(column, "add_route", 0, why, remedy);
        }
        return;
    };
    if rule.adds_route {
        neighbour_routes::say(unit, (end.switch, end.segment), end.row, external);
    }
    let mac = site.gateway.as_ref().and_then(|at| at.mac);
    if let (Some(mac), Some(at)) = (mac, &site.gateway) {
        let residence = &at.residence;
        guest(unit, end.switch, (end.name, mac), residence);
    }
    if !unit
        .members(&ports::IPS, (site.router, external))
        .is_empty()
    {
        return;
    }
    let mac = mac.unwrap_or(end.port.mac);
    let residence = site.gateway.as_ref().map(|at| &at.residence);
    announce(unit, end.row, (mac, external), residence);
    let Some(datapath) = unit.get(&DATAPATH, end.switch) else {
        return;
    };
    let asked = m::eth_mcast() & request(external);
    let entrance = facing(unit, end.row).and_then(|facing| unit.get(&ENTRANCE, facing));
    let way = entrance.map_or(end.name, |entrance| &entrance.name);
    let mut flows = unit.flows(datapath.uuid, None);
    flows.add(TO_ROUTER, &asked, steer(way));
    let known = segments::is_asked(end.segment, external);
    let answer = segments::answer(mac, true);
    let mut flows = segments::router_flows(unit, end.switch, end.row);
    flows.add_common(segments::KNOWN, &known, answer);
}

/// A guest's MAC outside: where the guest is, it is the router's.
fn guest(unit: &mut Unit<'_>, switch: Handle, (name, mac): (&Arc<str>, Mac), residence: &Arc<str>) {
    let Some(datapath) = unit.get(&DATAPATH, switch) else {
        return;
    };
    let mut flows = unit.flows(datapath.uuid, None);
    let here = m::eth_dst(mac) & m::resident(Arc::clone(residence));
    flows.add(KNOWN, &here, [a::set_outport(name.clone()), a::output()]);
    let asks = m::eq(Symbol::EthSrc, mac) & router_request();
    let flood = [a::set_outport(Group::FloodL2.name()), a::output()];
    flows.add(BY_ROUTER, &asks, flood);
}

/// The port of a switch at the other end of a router's.
pub fn facing(unit: &Unit<'_>, port: Handle) -> Option<Handle> {
    let facing = unit.members(&FACING, port).first()?;
    unit.find_north::<LogicalSwitchPort>(*facing)
}

/// Has the chassis where `residence` is announce an address at a router's port, if the switch's port says so.
pub fn announce(
    unit: &mut Unit<'_>,
    port: Handle,
    (mac, external): (Mac, IpAddr),
    residence: Option<&Arc<str>>,
) {
    let Some(facing) = facing(unit, port).filter(|_| external.is_ipv4()) else {
        return;
    };
    let router = ports::owner(unit, port).and_then(|router| unit.get(&ROUTER, router));
    if router.is_some_and(|router| router.is_quiet) {
        return;
    }
    let of = unit.get(&switch_ports::PORT, facing);
    let says_so = of.is_some_and(|of| {
        let announced = Announced::Router;
        matches!(&of.kind, PortKind::Router { announced: of, .. } if *of == announced)
    });
    if says_so {
        let text = switch_ports::announcement(mac, &[external], residence);
        unit.member(&ANNOUNCED, facing, Atom::from(text));
    }
}
