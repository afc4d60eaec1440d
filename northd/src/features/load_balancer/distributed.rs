//! Distributed load balancers (`options:distributed`) at gateway ports: a chassis with a backend takes and answers what is for its
//! backends itself, past the chassis that has the gateway port.
//!
//! Everywhere else, that each chassis chooses among its own backends is all (`spread`). Here, packets to a virtual address may come from
//! the physical network to any chassis that has a backend, if the network spreads them over those chassis (routes of equal cost to
//! the address, for instance). Such a chassis answers requests for the address, takes packets to it by the gateway port's MAC, and has
//! replies leave where the backend is. It has to learn who is outside, too: what it asked for comes back to it. A chassis without a
//! backend does not answer, the one that has the gateway port included, and none announces the address. What is for the gateway port's
//! own addresses stays with the chassis that has it.

use std::net::IpAddr;
use std::sync::Arc;

use lflow::{Expr, Symbol, a, m};
use relations::{Handle, Small};

use super::ANSWERED;
use super::carriers::{GROUPS_OF, ROUTERS_OF, ROUTERS_WITH};
use super::flows::{by_version, look_up};
use super::health::LIVE;
use super::model::{BALANCER, Balancer, Responder};
use super::neighbours::{leads_outside, mark};
use super::stateless_nat::is_from;
use crate::compiler::feature::{Kind, Over};
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::ports::LOCALNETS;
use crate::features::router::gateways::{GATEWAYS, GUESTS};
use crate::features::router::links::{PEER, Peer};
use crate::features::router::ports::{self, IPS, LANS, LENGTHS, PORT, RouterPort};
use crate::features::router::{admission, nat};
use crate::features::switch::DATAPATH;

pub(super) const FROM_OUTSIDE: Rule = Rule::new(
    Stage::InLookup,
    51,
    "to a virtual address that is distributed, or a neighbour's answer, by a gateway port's MAC, on a chassis with a backend: to that port",
);
pub(super) const ADMIT: Rule = Rule::new(
    Stage::RouterInAdmission,
    51,
    "to a virtual address that is distributed, or a neighbour's answer, by a gateway port, on a chassis with a backend: as on the one that has the port",
);
pub(super) const UNANSWERED: Rule = Rule::new(
    Stage::RouterInOwn,
    41,
    "a request by a gateway port for a virtual address that is distributed, on a chassis without a backend: not answered",
);
pub(super) const ASKED: Rule = Rule::new(
    Stage::RouterInOwn,
    42,
    "a request by a gateway port for a virtual address that is distributed, on a chassis with a backend: mark",
);
pub(super) const DEFRAG: Rule = Rule::new(
    Stage::RouterInDefrag,
    101,
    "to a virtual address that is distributed, by a gateway port, on a chassis with a backend: look the connection up, and translate",
);
pub(super) const STAYS: Rule = Rule::new(
    Stage::RouterInRedirect,
    200,
    "from a backend of a distributed load balancer, by a gateway port: out here",
);
pub(super) const TRANSLATE_BACK: Rule = Rule::new(
    Stage::RouterOutUndnat,
    125,
    "from a backend of a distributed load balancer, by a gateway port: translate back what is a reply",
);

pub(super) static FLOWS: Kind = Kind {
    name: "load-balancer/distributed",
    over: Over::Keys(&LIVE),
    reads: &[
        &BALANCER, &DATAPATH, &GATEWAYS, &PORT, &PEER, &LOCALNETS, &IPS, &LANS, &LENGTHS,
    ],
    says: &[&GUESTS],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(live), Some(written)) = (unit.get(&LIVE, row), unit.get(&BALANCER, row)) else {
            return;
        };
        if !live.is_distributed {
            return;
        }
        let mut routers = unit.referrers(ROUTERS_OF, row).to_vec();
        for group in unit.referrers(GROUPS_OF, row) {
            routers.extend(unit.referrers(ROUTERS_WITH, *group));
        }
        routers.sort_unstable();
        routers.dedup();
        for router in routers {
            let gateways = outer_gateways(unit, router);
            answer_elsewhere(unit, written, router, &gateways);
            for (gateway, port) in gateways {
                say(unit, row, (live, written), (router, gateway, port));
            }
        }
    },
};

/// The gateway ports of a router that lead to a physical network. Without one, who is outside reaches the gateway's chassis alone.
fn outer_gateways<'a>(unit: &Unit<'a>, router: Handle) -> Vec<(Handle, &'a Arc<RouterPort>)> {
    let gateways = unit.members(&GATEWAYS, router).iter();
    let gateways = gateways.filter(|gateway| leads_outside(unit, **gateway));
    gateways
        .filter_map(|gateway| Some((*gateway, unit.get(&PORT, *gateway)?)))
        .collect()
}

/// By all other ports of a router, requests are answered as for any load balancer.
fn answer_elsewhere(
    unit: &mut Unit<'_>,
    written: &Balancer,
    router: Handle,
    gateways: &[(Handle, &Arc<RouterPort>)],
) {
    let Some(datapath) = unit.get(&DATAPATH, router).map(|of| of.uuid) else {
        return;
    };
    let mut names: Vec<Arc<str>> = gateways
        .iter()
        .map(|(_, port)| Arc::clone(&port.name))
        .collect();
    // In an order that does not depend on what was before.
    names.sort_unstable();
    for ip in written.ips() {
        let is_answered = match written.responder {
            Responder::All => true,
            Responder::Nobody => false,
            Responder::Reachable => {
                let mut lans = ports::in_whose_network(unit, ip).into_iter();
                let is_own = !unit.members(&IPS, (router, ip)).is_empty();
                !is_own && lans.any(|(of, _)| of == router)
            }
        };
        if is_answered {
            let asked = nat::request(ip);
            let mut flows = unit.flows(datapath, None);
            flows.add_common(ANSWERED, &asked, mark());
            if !names.is_empty() {
                let by_gateway = m::inports(names.clone()) & asked;
                flows.add_common(UNANSWERED, &by_gateway, [a::next()]);
            }
        }
    }
}

/// The flows at a gateway port.
fn say(
    unit: &mut Unit<'_>,
    row: Handle,
    (live, written): (&Balancer, &Balancer),
    (router, gateway, port): (Handle, Handle, &RouterPort),
) {
    let Some(datapath) = unit.get(&DATAPATH, router).map(|of| of.uuid) else {
        return;
    };
    let hint = unit.uuid(row);
    // Other chassis have to know what is beyond the port.
    unit.join(&GUESTS, gateway, hint);
    let comes = m::inport(Arc::clone(&port.name));
    let to_mac = m::eth_dst(port.mac);
    for vips in by_version(&live.ips()) {
        let to = m::one_of(m::ip_dst_field(vips[0]), vips.clone());
        let has_backend = has_backend(live, vips[0].is_ipv4());
        if has_backend == Expr::FALSE {
            continue;
        }
        let answer = match vips[0] {
            IpAddr::V4(_) => m::arp_op(2),
            IpAddr::V6(_) => m::is(Symbol::NdNa),
        };
        let taken = to_mac.clone() & (to.clone() | answer) & has_backend.clone();
        let here = to & has_backend.clone();
        let mut flows = unit.flows(datapath, Some(hint));
        let admitted = comes.clone() & taken.clone();
        flows.add(ADMIT, &admitted, admission::remember(port));
        flows.add(DEFRAG, &(m::ip() & comes.clone() & here), [look_up()]);
        for vip in vips {
            let answers = match live.responder {
                Responder::All => true,
                Responder::Reachable => port.networks.iter().any(|of| of.contains(vip)),
                Responder::Nobody => false,
            };
            if answers {
                let asked = comes.clone() & nat::request(vip) & has_backend.clone();
                flows.add(ASKED, &asked, mark());
            }
        }
        if let Some(Peer::Switch { name, switch, .. }) = unit.get(&PEER, gateway)
            && let Some(beyond) = unit.get(&DATAPATH, *switch).map(|of| of.uuid)
        {
            let deliver = [a::set_outport(Arc::clone(name)), a::output()];
            let mut flows = unit.flows(beyond, Some(hint));
            flows.add(FROM_OUTSIDE, &taken, deliver);
        }
    }
    for vip in &written.vips {
        for backend in &vip.backends {
            let Some(place) = written.place_of(backend.ip) else {
                continue;
            };
            let leaves = is_from(vip.speaker(*backend), written.protocol);
            let leaves = leaves & m::outport(Arc::clone(&port.name));
            let leaves = leaves & m::resident(Arc::clone(place));
            let mut flows = unit.flows(datapath, None);
            flows.add_common(STAYS, &leaves, [a::next()]);
            flows.add_common(TRANSLATE_BACK, &leaves, [look_up()]);
        }
    }
}

/// A backend of a family is on the chassis.
fn has_backend(balancer: &Balancer, is_ip4: bool) -> Expr {
    let ips = balancer.backend_ips().into_iter();
    let ips = ips.filter(|ip| ip.is_ipv4() == is_ip4);
    let mut places: Vec<Arc<str>> = ips
        .filter_map(|ip| balancer.place_of(ip).cloned())
        .collect();
    places.sort_unstable();
    places.dedup();
    Expr::any(places.into_iter().map(m::resident))
}
