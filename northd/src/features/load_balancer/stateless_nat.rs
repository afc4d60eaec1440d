//! Load balancers of routers with several gateway ports that translate each packet by itself (`options:use_stateless_nat`).
//!
//! Where a connection comes in by one gateway port and goes out by another, two chassis see half of it each, and neither can track it.
//! With this option neither has to: which backend a packet goes to follows from its addresses and ports alone, and what a backend
//! sends by any gateway port is from the virtual address. A backend that comes or goes moves only connections that get it or had it;
//! those are cut, for nobody remembers them.
//!
//! So a backend and port belongs to one virtual address of a router: of several, replies come from the first, of the load balancer with
//! the lowest UUID, and the others have a problem.
//!
//! The price is what ICMP errors say: they are not translated. What comes by other ports than gateway ports is tracked as ever.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use lflow::action::{Action, Query, Select};
use lflow::{Expr, Int, Symbol, a, m};
use nb_db::tables::LoadBalancer;
use relations::{Bucket, Handle, Small};
use uuid::Uuid;

use super::carriers::{GROUPS_OF, ROUTERS_OF, ROUTERS_WITH};
use super::endpoint::{Endpoint, Protocol};
use super::health::LIVE;
use super::model::{Balancer, Vip};
use crate::compiler::feature::{Kind, Over};
use crate::compiler::problem::Complaints;
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::router::gateways::{GATEWAY, GATEWAYS};
use crate::features::router::ports::PORT;
use crate::features::switch::DATAPATH;

pub(super) const UNTRACKED: Rule = Rule::new(
    Stage::RouterInDefrag,
    110,
    "with use_stateless_nat, to a virtual address by one of several gateway ports: next",
);
pub(super) const CHOOSE: Rule = Rule::new(
    Stage::RouterInAffinity,
    110,
    "with use_stateless_nat, to a virtual address with several backends, at 109 without a port: one of them, by the packet's addresses and ports",
);
pub(super) const TO_BACKEND: Rule = Rule::new(
    Stage::RouterInDnat,
    160,
    "with use_stateless_nat, to a virtual address, at 159 without a port: to that backend",
);
pub(super) const FROM_BACKEND: Rule = Rule::new(
    Stage::RouterOutUndnat,
    130,
    "with use_stateless_nat, from a backend, at 129 without a port, by one of several gateway ports: from the virtual address",
);
pub(super) const CHOSEN: Bits = Bits::some(
    "the number of the backend that was chosen without a connection",
    Symbol::Reg8,
    (16, 16),
    Stage::RouterInAffinity,
    Stage::RouterInDnat,
);

/// The load balancers with a backend of this address, of a router with several gateway ports: their rows.
pub(super) static SPEAKERS: Bucket<(Handle, IpAddr), Uuid> =
    Bucket::new("stateless load balancers of a backend");

pub(super) static FLOWS: Kind = Kind {
    name: "load-balancer/stateless",
    over: Over::Keys(&LIVE),
    reads: &[&DATAPATH, &GATEWAYS, &GATEWAY, &PORT],
    says: &[&SPEAKERS],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(balancer) = unit.get(&LIVE, row).filter(|of| of.is_stateless) else {
            return;
        };
        let mut routers = unit.referrers(ROUTERS_OF, row).to_vec();
        for group in unit.referrers(GROUPS_OF, row) {
            routers.extend(unit.referrers(ROUTERS_WITH, *group));
        }
        routers.sort_unstable();
        routers.dedup();
        for router in routers {
            if unit.members(&GATEWAYS, router).len() > 1 {
                arrive(unit, row, balancer, router);
            }
        }
    },
};

/// What comes to a load balancer of a router.
fn arrive(unit: &mut Unit<'_>, row: Handle, balancer: &Balancer, router: Handle) {
    let hint = unit.uuid(row);
    let Some(datapath) = unit.get(&DATAPATH, router).map(|of| of.uuid) else {
        return;
    };
    for ip in balancer.backend_ips() {
        unit.join(&SPEAKERS, (router, ip), hint);
    }
    let gateways = gateways(unit, router);
    let mut flows = unit.flows(datapath, Some(hint));
    for vip in balancer.vips.iter().filter(|vip| !vip.backends.is_empty()) {
        let comes = m::inports(gateways.clone()) & vip.is_meant(balancer.protocol);
        flows.add(UNTRACKED, &comes, [a::next()]);
        let backends = numbered(&vip.backends);
        if backends.len() > 1 {
            let rule = CHOOSE.at(if vip.port.is_some() { 110 } else { 109 });
            flows.add(rule, &comes, [choose(balancer, vip, &backends)]);
        }
        for (number, backend) in &backends {
            let is_chosen = match backends.len() {
                1 => m::any(),
                _ => m::eq(CHOSEN.field(), Int::new((*number).into())),
            };
            let port = vip.port_of(*backend);
            let to = translate(balancer.protocol.dst(), port, a::set_ip_dst(backend.ip));
            let rule = TO_BACKEND.at(if vip.port.is_some() { 160 } else { 159 });
            flows.add(rule, &(comes.clone() & is_chosen), to);
        }
    }
}

/// The names of a router's gateway ports, in an order that does not depend on what was before.
fn gateways(unit: &Unit<'_>, router: Handle) -> Vec<Arc<str>> {
    let gateways = unit.members(&GATEWAYS, router).iter();
    let gateways = gateways.filter_map(|gateway| unit.get(&PORT, *gateway));
    let mut gateways: Vec<Arc<str>> = gateways.map(|port| Arc::clone(&port.name)).collect();
    gateways.sort_unstable();
    gateways
}

/// Who has a backend first: the load balancer's row, itself, and the virtual address.
type First<'a> = (Handle, &'a Balancer, &'a Vip);

/// What leaves the backends of one address.
pub(super) static REPLIES: Kind = Kind {
    name: "load-balancer/stateless-replies",
    over: Over::Keys(&SPEAKERS),
    reads: &[&SPEAKERS, &LIVE, &DATAPATH, &GATEWAYS, &PORT],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let (router, ip) = <(Handle, IpAddr)>::unpack(key);
        let Some(datapath) = unit.get(&DATAPATH, router).map(|of| of.uuid) else {
            return;
        };
        let rows = unit.members(&SPEAKERS, (router, ip)).iter();
        let balancers: Vec<(Handle, &Arc<Balancer>)> = rows
            .filter_map(|uuid| unit.find_north::<LoadBalancer>(*uuid))
            .filter_map(|row| Some((row, unit.get(&LIVE, row)?)))
            .collect();
        let leaves = m::outports(gateways(unit, router));
        // By port and protocol, if there is a port: who has it.
        let mut first: BTreeMap<Option<(u16, &str)>, First<'_>> = BTreeMap::new();
        for (row, balancer) in balancers {
            let mut complaints = unit.complaints::<LoadBalancer>(row, Arc::clone(&balancer.name));
            for vip in &balancer.vips {
                let backends = vip.backends.iter().filter(|backend| backend.ip == ip);
                for backend in backends {
                    let speaks = vip.speaker(*backend);
                    let by = speaks.port.map(|port| (port, balancer.protocol.name()));
                    if let Some(other) = first.get(&by) {
                        tell(&mut complaints, (vip, speaks), (row, *other));
                        continue;
                    }
                    first.insert(by, (row, balancer, vip));
                    let rule = FROM_BACKEND.at(if speaks.port.is_some() { 130 } else { 129 });
                    let replies = leaves.clone() & is_from(speaks, balancer.protocol);
                    let from = translate(balancer.protocol.src(), vip.port, a::set_ip_src(vip.ip));
                    let hint = unit.uuid(row);
                    unit.flows(datapath, Some(hint)).add(rule, &replies, from);
                }
            }
            unit.problems(complaints.into_problems());
        }
    },
};

/// Tells that replies of a backend come from the virtual address that has it first.
fn tell(
    complaints: &mut Complaints,
    (vip, speaks): (&Vip, Endpoint),
    (row, (other, balancer, first)): (Handle, First<'_>),
) {
    let of = match other == row {
        true => String::new(),
        false => format!(" of load balancer {}", balancer.name),
    };
    let why = format!(
        "with use_stateless_nat, the backend {speaks} belongs to {}{of}",
        first.text
    );
    let remedy =
        "its replies come from there: give each virtual address backends or ports of its own";
    complaints.text(LoadBalancer::COLUMN.vips.name, &vip.text, 0, why, remedy);
}

/// From this address, and this port if there is one.
pub(super) fn is_from(backend: Endpoint, protocol: Protocol) -> Expr {
    match backend.port {
        Some(port) => m::ip_src(backend.ip) & m::eq(protocol.src(), port),
        None => m::ip_src(backend.ip),
    }
}

fn translate(field: Symbol, port: Option<u16>, address: Action) -> Vec<Action> {
    let port = port.map(|port| a::set(field, Int::new(port.into())));
    let port = port.into_iter();
    [address]
        .into_iter()
        .chain(port)
        .chain([a::next()])
        .collect()
}

/// One of the backends, always the same for the packets of a connection.
fn choose(balancer: &Balancer, vip: &Vip, backends: &[(u16, Endpoint)]) -> Action {
    let values = backends.iter();
    let values = values.map(|(number, _)| (*number, Select::DEFAULT_WEIGHT));
    let usual = || {
        let version = if vip.ip.is_ipv4() { "ip" } else { "ipv6" };
        let protocol = balancer.protocol.name();
        let ports = match vip.port {
            Some(_) => format!(",{protocol}_src,{protocol}_dst"),
            None => String::new(),
        };
        Arc::from(format!("{version}_src,{version}_dst{ports}"))
    };
    let select = Select {
        values: values.collect(),
        hash_fields: Some(balancer.hash_fields.clone().unwrap_or_else(usual)),
    };
    Action::Query(CHOSEN.field(), Query::Select(select))
}

/// The backends with numbers that they keep while others come and go: hashes (FNV-1a) of what they are.
fn numbered(backends: &[Endpoint]) -> Vec<(u16, Endpoint)> {
    let mut sorted = backends.to_vec();
    sorted.sort_unstable();
    let mut numbered: Vec<(u16, Endpoint)> = Vec::with_capacity(sorted.len());
    for backend in sorted {
        let text = backend.to_string();
        let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let [a, b, c, d] = hash.to_be_bytes();
        let mut number = u16::from_be_bytes([a ^ c, b ^ d]);
        while number == 0 || numbered.iter().any(|(taken, _)| *taken == number) {
            number = number.wrapping_add(1);
        }
        numbered.push((number, backend));
    }
    numbered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::load_balancer::endpoint::parse;

    #[test]
    fn backends_keep_their_numbers() {
        let backends: Vec<Endpoint> = (1..=200)
            .filter_map(|number| parse(&format!("10.0.0.{number}:80")))
            .collect();
        let all = numbered(&backends);
        let mut numbers: Vec<u16> = all.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!((numbers.len(), numbers[0] > 0), (200, true));
        let fewer = numbered(&backends[..150]);
        let same = fewer.iter().filter(|known| all.contains(known));
        assert!(same.count() > 140, "few numbers are taken");
    }
}
