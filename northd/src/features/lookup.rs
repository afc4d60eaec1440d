//! Where a packet goes: by its destination's MAC.
//!
//! Arrives: admitted packets that nobody has answered. Guarantees that a packet for a group goes to every enabled port, one
//! for a declared address to the port that has it and to nobody else, and that every other packet has its learned port, or
//! none, in `outport` when it reaches `unknown`.
//!
//! Requests for addresses of routers that nobody has answered, such as those from a physical network, are steered: they go to
//! the router, and to no other one. A router's own requests go to no other router; those know their addresses from each other.
//!
//! What is for an external port goes where its MAC was learned, and else to the physical network, as if nobody had declared it.
//!
//! What is for a port with `options:pkt_clone_type` goes to all ports with `unknown` addresses as well.
//!
//! A disabled port still has its addresses: what is sent there is dropped, not flooded. A port whose addresses move
//! (`options:force_fdb_lookup`) gets what was learned to be there, and what nobody knows.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use addr::Mac;
use lflow::action::Action;
use lflow::{Expr, Symbol, a, m};
use nb_db::tables::LogicalSwitchPort;
use relations::{Handle, Small};

use super::multicast::{EXISTS, Group};
use super::ports::{
    self, ASSIGNED, BINDING, COPIED, ENTRANCE, IPS, LINK, MACS, PORT, PortKind, PortView, is_first,
};
use super::switch::{DATAPATH, SWITCH, SWITCHES, SWITCHES_NAME};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;

/// Also by MACs that a router has outside for its guests.
pub const BY_ROUTER: Rule = Rule::new(
    Stage::InLookup,
    75,
    "a request of a router: to all enabled ports that lead to no router",
);
/// Also for addresses that a router translates.
pub const TO_ROUTER: Rule = Rule::new(
    Stage::InLookup,
    80,
    "a request for an address of a router, or one that it translates: to its port, and to no other router",
);
const REQUEST: Rule = Rule::new(
    Stage::InLookup,
    74,
    "a request for an address of nobody, on a switch that does not ask routers: to all enabled ports that lead to none",
);
const GROUP: Rule = Rule::new(Stage::InLookup, 70, "a group address: to all enabled ports");
/// Also such MACs.
pub const KNOWN: Rule = Rule::new(
    Stage::InLookup,
    50,
    "the address of a port: to that port, and perhaps to all unknown ones, or drop if it is disabled",
);
const LEARNED: Rule = Rule::new(Stage::InLookup, 0, "the rest: look among learned addresses");

/// The feature.
pub static FEATURE: Feature = Feature {
    kinds: &[&SHARED, &OF_SWITCH, &OF_PORT, &OF_COPIED],
    rules: &[TO_ROUTER, BY_ROUTER, REQUEST, GROUP, KNOWN, LEARNED],
    ..Feature::new("lookup")
};

static SHARED: Kind = Kind {
    name: "switches",
    over: Over::Shared(&SWITCHES),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&SWITCHES, (), SWITCHES_NAME, None);
        let flood = [a::set_outport(Group::Flood.name()), a::output()];
        flows.add(GROUP, &m::eth_mcast(), flood);
        flows.add(LEARNED, &m::any(), [a::get_fdb(Symbol::EthDst), a::next()]);
    },
};

static OF_SWITCH: Kind = Kind {
    name: "switch",
    over: Over::Keys(&SWITCH),
    reads: &[&DATAPATH],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(switch), Some(datapath)) = (unit.get(&SWITCH, row), unit.get(&DATAPATH, row))
        else {
            return;
        };
        if !switch.asks_routers {
            let hint = unit.uuid(row);
            let request = m::eth_mcast() & (m::arp_op(1) | m::nd_ns());
            let flood = [a::set_outport(Group::FloodL2.name()), a::output()];
            unit.flows(datapath.uuid, Some(hint))
                .add(REQUEST, &request, flood);
        }
    },
};

static OF_PORT: Kind = ports::kind!([&MACS, &IPS, &ENTRANCE], [], |unit, view| {
    let port = view.port;
    let mut complaints = unit.complaints::<LogicalSwitchPort>(view.row, port.name.clone());
    let mut macs = Vec::new();
    for entry in view.addresses() {
        let claims = unit.members(&MACS, (view.switch, entry.mac));
        if is_first(unit, view, claims, &entry.mac, &mut complaints) && !macs.contains(&entry.mac) {
            macs.push(entry.mac);
        }
    }
    unit.problems(complaints.into_problems());
    let to_router = to_router(unit, view);
    let entrance = unit.get(&ENTRANCE, view.row);
    let way = entrance.map_or(&port.name, |entrance| &entrance.name);
    let mut flows = view.flows(unit);
    if matches!(port.kind, PortKind::Router { .. }) && port.is_enabled {
        let request = router_request();
        for mac in &macs {
            let flood = [a::set_outport(Group::FloodL2.name()), a::output()];
            flows.add(BY_ROUTER, &(m::eth_src(*mac) & request.clone()), flood);
        }
    }
    if let Some(to_router) = to_router {
        flows.add(TO_ROUTER, &to_router, steer(way));
    }
    let is_outside = matches!(port.kind, PortKind::External { .. });
    if is_outside || (port.is_looked_up || port.is_copied) && port.is_enabled {
        // They are behind a physical network, or may be behind another port by now; or see `OF_COPIED`.
        return;
    }
    for mac in macs {
        let here = m::eth_dst(mac);
        if port.is_enabled {
            // A MAC that one chassis alone works for is elsewhere for all others: behind a physical network, or, where none
            // is, by the way that leads there.
            let residence = view.link.and_then(|link| link.residence.clone());
            let residence = residence.filter(|_| entrance.is_none());
            let here = match residence {
                Some(residence) => here & m::resident(residence),
                None => here,
            };
            let deliver = [a::set_outport(way.clone()), a::output()];
            flows.add(KNOWN, &here, deliver);
        } else {
            flows.add(KNOWN, &here, [a::drop()]);
        }
    }
});

/// What is for some ports goes to all unknown ones, too, if there are any. One that is unknown itself is among them.
static OF_COPIED: Kind = Kind {
    name: "copied-port",
    over: Over::Keys(&COPIED),
    reads: &[&PORT, &BINDING, &LINK, &ASSIGNED, &DATAPATH, &MACS, &EXISTS],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let Some(view) = ports::view(unit, key) else {
            return;
        };
        let port = view.port;
        let is_first = |mac: &Mac| {
            let first = unit.members(&MACS, (view.switch, *mac)).first();
            first.is_some_and(|(_, port)| *port == view.row)
        };
        let macs = view.addresses().map(|entry| entry.mac);
        let macs: BTreeSet<Mac> = macs.filter(is_first).collect();
        if !port.is_enabled || port.is_looked_up {
            return;
        }
        let unknown = Group::Unknown.of_datapath(view.switch);
        let is_copied = unit.get(&EXISTS, unknown).is_some();
        let own = [a::set_outport(port.name.clone()), a::output()];
        let others = [a::set_outport(Group::Unknown.name()), a::output()];
        let deliver = match (is_copied, port.is_unknown) {
            (false, _) => own.to_vec(),
            (true, true) => others.to_vec(),
            (true, false) => [vec![a::clone(own)], others.to_vec()].concat(),
        };
        let mut flows = view.flows(unit);
        for mac in macs {
            flows.add(KNOWN, &m::eth_dst(mac), deliver.clone());
        }
    },
};

/// What a router asks everybody.
pub fn router_request() -> Expr {
    let request = m::arp_op(1) | m::eq(Symbol::RarpOp, 3u16) | m::nd_ns();
    m::eth_mcast() & request
}

/// To the router's port, and to everybody else but other routers: who asks may announce that it has the address itself.
pub fn steer(port: &Arc<str>) -> [Action; 3] {
    [
        a::clone([a::set_outport(port.clone()), a::output()]),
        a::set_outport(Group::FloodL2.name()),
        a::output(),
    ]
}

/// A request, to everybody, for an address of the router that an enabled port leads to.
fn to_router(unit: &Unit<'_>, view: &PortView<'_>) -> Option<Expr> {
    if !matches!(view.port.kind, PortKind::Router { .. }) || !view.port.is_enabled {
        return None;
    }
    let ips = view.neighbours().map(|(_, ip)| ip.addr());
    let own = ips.filter(|ip| {
        let first = unit.members(&IPS, (view.switch, *ip)).first();
        first.is_some_and(|(_, port)| *port == view.row)
    });
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = own.partition(IpAddr::is_ipv4);
    let mut requests = Vec::new();
    if !v4.is_empty() {
        requests.push(m::eth_bcast() & m::arp_op(1) & m::one_of(Symbol::ArpTpa, v4));
    }
    if !v6.is_empty() {
        requests.push(m::eth_mcast() & m::nd_ns() & m::one_of(Symbol::NdTarget, v6));
    }
    requests.into_iter().reduce(|some, other| some | other)
}
