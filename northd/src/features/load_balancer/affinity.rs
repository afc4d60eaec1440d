//! A client keeps its backend (`options:affinity_timeout`): chassis learn who has which, and forget it when no new connection
//! has come for so long.
//!
//! Before a backend is chosen, the chassis is asked whether it knows the client of the virtual address. If so, it puts the
//! backend into registers, and the flow of that backend comes before the one that chooses; if not, the registers have the
//! virtual address still, and behind, what was chosen is learned.
//!
//! Where chassis put an IPv6 address depends on their version: routers' in `xxreg1`, switches' in `xxreg0`, which holds other things
//! there. On switches it is taken from there at once, and what was there is put back.

use std::net::IpAddr;
use std::sync::Arc;

use lflow::action::{Action, Affinity, Bare};
use lflow::{Expr, Field, Int, Symbol, a, m};
use relations::Handle;
use uuid::Uuid;

use super::carriers::{self, HAS, Place};
use super::endpoint::Endpoint;
use super::model::{Balancer, Vip};
use super::spread::{Source, spread};
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;

pub(super) const CHECK: Rule = Rule::new(
    Stage::InAffinity,
    100,
    "a new connection to a virtual address with affinity: does the chassis know the client? Also in routers",
);
pub(super) const KEPT: Rule = Rule::new(
    Stage::InBalance,
    150,
    "it does, and this is the backend: that one again; also in routers",
);
pub(super) const LEARN: Rule = Rule::new(
    Stage::InLearnAffinity,
    100,
    "it did not, and this backend was chosen: learn that; also in routers",
);

pub(super) const IS_KNOWN: Bits = known(Stage::InAffinity, Stage::InLearnAffinity);
pub(super) const ROUTER_IS_KNOWN: Bits =
    known(Stage::RouterInAffinity, Stage::RouterInLearnAffinity);
pub(super) const END_4: Bits = end_4(Stage::InAffinity, Stage::InLearnAffinity);
pub(super) const ROUTER_END_4: Bits = end_4(Stage::RouterInAffinity, Stage::RouterInLearnAffinity);
pub(super) const END_6: Bits = end_6(Stage::InAffinity, Stage::InLearnAffinity);
pub(super) const ROUTER_END_6: Bits = end_6(Stage::RouterInAffinity, Stage::RouterInLearnAffinity);
pub(super) const VIP_PORT: Bits = vip_port(Stage::InAffinity, Stage::InLearnAffinity);
pub(super) const ROUTER_VIP_PORT: Bits =
    vip_port(Stage::RouterInAffinity, Stage::RouterInLearnAffinity);
pub(super) const BACKEND_PORT: Bits = backend_port(Stage::InAffinity, Stage::InBalance);
pub(super) const ROUTER_BACKEND_PORT: Bits =
    backend_port(Stage::RouterInAffinity, Stage::RouterInDnat);
pub(super) const LOADED_6: Bits = Bits::wide(
    "where chassis put the backend of IPv6 in switches",
    Symbol::Xxreg0,
    Stage::InAffinity,
    Stage::InAffinity,
)
.put_back();

const fn known(from: Stage, to: Stage) -> Bits {
    Bits::bit("the client has a backend", Symbol::Reg9, 6, from, to)
}

const fn end_4(from: Stage, to: Stage) -> Bits {
    let name = "the backend of a known client, else the virtual address; of IPv4";
    Bits::whole(name, Symbol::Reg4, from, to)
}

const fn end_6(from: Stage, to: Stage) -> Bits {
    let name = "the backend of a known client, else the virtual address; of IPv6";
    Bits::wide(name, Symbol::Xxreg1, from, to)
}

const fn vip_port(from: Stage, to: Stage) -> Bits {
    Bits::some(
        "the port of the virtual address",
        Symbol::Reg2,
        (0, 16),
        from,
        to,
    )
}

const fn backend_port(from: Stage, to: Stage) -> Bits {
    let name = "the port of the backend of a known client";
    Bits::some(name, Symbol::Reg8, (0, 16), from, to)
}

/// The flows of a virtual address at a place.
pub(super) fn say(
    unit: &mut Unit<'_>,
    carrier: Handle,
    (balancer, vip, timeout): (&Balancer, &Vip, u16),
    (place, source): (Place, Source),
    hint: Uuid,
) {
    check(unit, carrier, (balancer, vip), place, hint);
    let mut flows = carriers::flows(unit, carrier, place, Some(hint));
    let begins = || m::is(Symbol::CtNew) & vip.is_meant(balancer.protocol);
    for backend in &vip.backends {
        let port = vip.port_of(*backend);
        let mut kept = IS_KNOWN.is_set() & begins() & m::eq(end(vip.ip), backend.ip);
        if let Some(port) = port {
            kept = kept & m::eq(BACKEND_PORT.field(), port);
        }
        if let Some(place) = balancer.place_of(backend.ip) {
            // A backend that has moved to another chassis is nobody's here any more.
            kept = kept & m::resident(Arc::clone(place));
        }
        flows.add(KEPT, &kept, spread(balancer, (&[*backend], None), source));
        let learn = Action::CommitAffinity(Box::new(Affinity {
            vip: (vip.ip, vip.port),
            backend: (backend.ip, port),
            proto: vip.port.map(|_| balancer.protocol.name().into()),
            timeout,
        }));
        flows.add(LEARN, &chosen(balancer, vip, *backend), [learn, a::next()]);
    }
}

/// The backend was chosen for a client that was not known.
fn chosen(balancer: &Balancer, vip: &Vip, backend: Endpoint) -> Expr {
    let mut chosen = IS_KNOWN.is_clear() & m::is(Symbol::CtNew) & m::eq(end(vip.ip), vip.ip);
    if let Some(port) = vip.port {
        chosen = chosen & m::eq(VIP_PORT.field(), port);
    }
    chosen = chosen & m::ip_dst(backend.ip);
    match vip.port_of(backend) {
        Some(port) => chosen & m::eq(balancer.protocol.dst(), port),
        None => chosen,
    }
}

/// Asks the chassis.
fn check(
    unit: &mut Unit<'_>,
    carrier: Handle,
    (balancer, vip): (&Balancer, &Vip),
    place: Place,
    hint: Uuid,
) {
    let begins = m::is(Symbol::CtNew) & !m::is(Symbol::CtRel) & vip.is_meant(balancer.protocol);
    let port = vip
        .port
        .map(|port| a::set(VIP_PORT.field(), Int::new(port.into())));
    let ask = || a::ask(IS_KNOWN.field(), Bare::ChkLbAff);
    let in_place = || [a::set(end(vip.ip), vip.ip), ask(), a::next()];
    // Routers, and for IPv4 switches, too, have the answer where it stays.
    let kinds = match (vip.ip, place) {
        (IpAddr::V4(_), _) => vec![(place, in_place().to_vec())],
        (IpAddr::V6(_), Place::Both) => vec![
            (Place::Switches, by_loan(vip.ip)),
            (Place::Routers, in_place().to_vec()),
        ],
        (IpAddr::V6(_), Place::Switches) => vec![(place, by_loan(vip.ip))],
        (IpAddr::V6(_), _) => vec![(place, in_place().to_vec())],
    };
    for (place, then) in kinds {
        if unit.get(&HAS, (carrier, place as u32)).is_some() {
            let then: Vec<Action> = port.iter().cloned().chain(then).collect();
            carriers::flows(unit, carrier, place, Some(hint)).add(CHECK, &begins, then);
        }
    }
}

/// On switches: what `xxreg0` holds is put aside, and back.
fn by_loan(vip: IpAddr) -> Vec<Action> {
    let loan = LOADED_6.field();
    vec![
        Action::Push(loan),
        a::set(loan, vip),
        a::ask(IS_KNOWN.field(), Bare::ChkLbAff),
        a::copy(END_6.field(), loan),
        Action::Pop(loan),
        a::next(),
    ]
}

fn end(ip: IpAddr) -> Field {
    match ip {
        IpAddr::V4(_) => END_4.field(),
        IpAddr::V6(_) => END_6.field(),
    }
}
