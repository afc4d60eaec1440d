//! The flows of a rule in a router.

use std::net::IpAddr;
use std::sync::Arc;

use lflow::action::{Action, NatKind, Pipeline};
use lflow::{Constant, Expr, Int, Symbol, a, m};
use nb_db::tables::{AddressSet, Nat};
use relations::Handle;
use uuid::Uuid;

use super::model::Translation;
use super::site::{AtGateway, Site};
use super::{
    ADMIT, ANSWERED, ANSWERED_BY_GUEST, ANSWERED_NOT, BY_GUEST, BY_GUEST_NOT, DNAT, DNAT_EXEMPTED,
    LOOP, NOWHERE, SNAT, SNAT_EXEMPTED, UNDNAT_AT_GATEWAY, UNSNAT,
};
use crate::compiler::flow::Flows;
use crate::compiler::problem::Complaints;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::router::admission::{self, AGAIN, MAC};
use crate::features::router::force_snat;
use crate::features::router::gateways::GATEWAY;
use crate::features::router::own::{ASKED, TO_ME};
use crate::features::router::routes::{ASKER_4, ASKER_6};

/// A rule, with the names of the address sets that it refers to.
struct Full<'a> {
    rule: &'a Translation,
    allowed: Option<Arc<str>>,
    exempted: Option<Arc<str>>,
}

/// Says the flows of a rule where it has its effect.
pub fn say(
    unit: &mut Unit<'_>,
    row: Handle,
    rule: &Translation,
    site: &Site,
    complaints: &mut Complaints,
) {
    let column = Nat::COLUMN;
    let full = Full {
        rule,
        allowed: set_name(unit, rule.allowed, column.allowed_ext_ips.name, complaints),
        exempted: set_name(
            unit,
            rule.exempted,
            column.exempted_ext_ips.name,
            complaints,
        ),
    };
    let redirect = site.gateway.as_ref().and_then(|at| {
        let gateway = unit.get(&GATEWAY, at.row)?;
        Some(Arc::clone(&gateway.redirect))
    });
    let forced = unit.get(&force_snat::FORCED, site.router);
    let hint = unit.uuid(row);
    let mut flows = unit.flows(site.datapath, Some(hint));
    answer(&mut flows, rule, site);
    let forced = force_snat::remember(forced);
    arrive(&mut flows, &full, site, forced);
    leave(&mut flows, &full, site);
    if let Some(at) = &site.gateway {
        come_back(&mut flows, rule, site);
        if let (Some(mac), Some(redirect)) = (at.mac, redirect) {
            leave_by_guest(&mut flows, &full, at, mac, &redirect);
        }
    }
}

/// Requests for the outside address. Rules may share one; what they say of it alone is one flow.
fn answer(flows: &mut Flows<'_>, rule: &Translation, site: &Site) {
    let asked = request(rule.external);
    let mark = || {
        vec![
            a::set(TO_ME.field(), Int::new(1)),
            a::set(ASKED.field(), Int::new(1)),
            a::next(),
        ]
    };
    flows.add_common(ANSWERED, &asked, mark());
    let Some(at) = &site.gateway else {
        return;
    };
    // By the gateway port, for a guest with a MAC of its own outside, the guest's chassis alone answers.
    let Some(mac) = at.mac else {
        return;
    };
    let asked = asked & m::inport(at.port.name.clone());
    flows.add_common(ANSWERED_NOT, &asked, [a::next()]);
    let mut answer = mark();
    answer.insert(0, a::set(MAC.field(), mac));
    flows.add_common(ANSWERED_BY_GUEST, &at.is_here(asked), answer);
    let here = at.is_here(m::inport(at.port.name.clone()) & m::eth_dst(mac));
    flows.add_common(ADMIT, &here, admission::remember(&at.port));
}

/// Packets to the outside address.
fn arrive(flows: &mut Flows<'_>, full: &Full<'_>, site: &Site, forced: Option<Action>) {
    let rule = full.rule;
    let to_outside = site.arrives(m::ip_dst(rule.external));
    if rule.is_snat && !rule.is_stateless {
        let back = translate(NatKind::Snat, None);
        flows.add_common(UNSNAT, &to_outside, [back]);
    }
    let stays = match &site.gateway {
        Some(at) => {
            let name = &at.port.name;
            m::inport(name.clone()) & m::outport(name.clone()) & m::ip_dst(rule.external)
        }
        None => m::ip_dst(rule.external),
    };
    flows.add_common(NOWHERE, &stays, [a::drop()]);
    if !rule.is_dnat {
        return;
    }
    let outside = m::ip_src_field(rule.external);
    let when = full.only(to_outside);
    full.leave_alone(flows, DNAT_EXEMPTED.at(full.rank(100) + 1), &when, outside);
    let when = full.for_allowed(when, outside);
    let inside = rule.logical.addr();
    let to = match rule.is_stateless {
        true => vec![a::set_ip_dst(inside), a::next()],
        false => {
            let kind = NatKind::Dnat;
            let (ip, ports) = (Some(inside), rule.ports.filter(|_| !rule.is_snat));
            vec![Action::Nat { kind, ip, ports }]
        }
    };
    // Where routes lead, a packet may go back by the port that it came by.
    let loopback = site.gateway.is_none().then(a::loopback);
    let then: Vec<Action> = loopback.into_iter().chain(forced).chain(to).collect();
    flows.add(DNAT.at(full.rank(100)), &when, then);
}

/// Packets from the inside address.
fn leave(flows: &mut Flows<'_>, full: &Full<'_>, site: &Site) {
    let rule = full.rule;
    let from_inside = m::ip_src_in(rule.logical);
    if site.gateway.is_some() && rule.is_dnat && !rule.is_stateless {
        let back = translate(NatKind::Dnat, None);
        let replies = site.leaves(from_inside.clone());
        flows.add_common(UNDNAT_AT_GATEWAY, &replies, [back]);
    }
    if !rule.is_snat {
        return;
    }
    let outside = m::ip_dst_field(rule.external);
    let length = u16::from(rule.logical.prefix_len()) * 2 + 2;
    let mut when = full.only(site.leaves(from_inside));
    if !rule.is_stateless {
        when = when & is_no_reply();
    }
    full.leave_alone(
        flows,
        SNAT_EXEMPTED.at(full.rank(length) + 1),
        &when,
        outside,
    );
    let when = full.for_allowed(when, outside);
    let then = match rule.is_stateless {
        true => vec![a::set_ip_src(rule.external), a::next()],
        false => {
            let kind = NatKind::Snat;
            let (ip, ports) = (Some(rule.external), rule.ports);
            vec![Action::Nat { kind, ip, ports }]
        }
    };
    flows.add(SNAT.at(full.rank(length)), &when, then);
}

/// What would leave for the outside address comes in by the same port instead.
fn come_back(flows: &mut Flows<'_>, rule: &Translation, site: &Site) {
    let leaves = site.leaves(m::ip_dst(rule.external));
    let mut again = vec![
        a::ct_clear(),
        a::copy(Symbol::Inport, Symbol::Outport),
        a::set_outport(""),
        a::exchange(Symbol::EthDst, Symbol::EthSrc),
        a::set(Symbol::Flags, Int::new(0)),
        a::loopback(),
    ];
    for register in [Symbol::Xxreg0, Symbol::Xxreg1, Symbol::Reg8, Symbol::Reg9] {
        again.push(a::set(register, Int::new(0)));
    }
    again.push(a::set(AGAIN.field(), Int::new(1)));
    let admission = Stage::RouterInAdmission.table();
    again.push(a::next_in(Pipeline::Ingress, admission));
    flows.add_common(LOOP, &leaves, [a::clone(again)]);
}

/// What a guest with an outside address of its own sends leaves where the guest is.
fn leave_by_guest(
    flows: &mut Flows<'_>,
    full: &Full<'_>,
    at: &AtGateway,
    mac: addr::Mac,
    redirect: &Arc<str>,
) {
    let external = full.rule.external;
    let leaves = m::ip_src_in(full.rule.logical) & m::outport(at.port.name.clone());
    let leaves = full.only(at.is_here(leaves));
    let outside = m::ip_dst_field(external);
    if let Some(name) = &full.exempted {
        let alone = leaves.clone() & in_set(outside, name);
        let centrally = [a::set_outport(Arc::clone(redirect)), a::next()];
        flows.add(BY_GUEST_NOT, &alone, centrally);
    }
    let asker = match external {
        IpAddr::V4(_) => ASKER_4.field(),
        IpAddr::V6(_) => ASKER_6.field(),
    };
    let then = [
        a::set(Symbol::EthSrc, mac),
        a::set(asker, external),
        a::next(),
    ];
    flows.add(BY_GUEST, &full.for_allowed(leaves, outside), then);
}

impl Full<'_> {
    /// The packets that the rule is for.
    fn only(&self, when: Expr) -> Expr {
        match &self.rule.only {
            Some((_, only)) => when & only.clone(),
            None => when,
        }
    }

    /// The priority of the rule: above all plain ones, if it has a match.
    fn rank(&self, plain: u16) -> u16 {
        let only = self.rule.only.as_ref();
        only.map_or(plain, |(rank, _)| 300 + rank)
    }

    /// Hosts outside that the rule leaves alone.
    fn leave_alone(&self, flows: &mut Flows<'_>, rule: Rule, when: &Expr, outside: Symbol) {
        if let Some(name) = &self.exempted {
            let alone = when.clone() & in_set(outside, name);
            flows.add(rule, &alone, [a::next()]);
        }
    }

    /// Only hosts outside that the rule is for.
    fn for_allowed(&self, when: Expr, outside: Symbol) -> Expr {
        match &self.allowed {
            Some(name) => when & in_set(outside, name),
            None => when,
        }
    }
}

fn in_set(field: Symbol, name: &Arc<str>) -> Expr {
    m::eq(field, Constant::AddressSet(Arc::clone(name)))
}

/// The name of an address set, which the rule's hosts outside are in.
fn set_name(
    unit: &Unit<'_>,
    uuid: Option<Uuid>,
    column: &'static str,
    complaints: &mut Complaints,
) -> Option<Arc<str>> {
    let row = unit.find_north::<AddressSet>(uuid?);
    let found = row.and_then(|row| unit.north(row));
    if found.is_none() {
        complaints.column(column, "the address set is gone", "name another one");
    }
    found.map(|row| AddressSet::COLUMN.name.get(row))
}

/// A request for an address, by whichever port.
pub fn request(ip: IpAddr) -> Expr {
    match ip {
        IpAddr::V4(ip) => m::arp_op(1) & m::arp_tpa(ip),
        IpAddr::V6(ip) => m::nd_ns() & m::nd_target(ip),
    }
}

/// The packet is not of a connection that came from the other side.
fn is_no_reply() -> Expr {
    !m::is(Symbol::CtTrk) | !m::is(Symbol::CtRpl)
}

/// Translates back what is a reply.
pub fn translate(kind: NatKind, ip: Option<IpAddr>) -> Action {
    let ports = None;
    Action::Nat { kind, ip, ports }
}
