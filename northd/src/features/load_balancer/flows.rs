//! The flows of one load balancer.
//!
//! | flow | where |
//! | --- | --- |
//! | a new connection to a virtual address: one of its backends | switches and routers alike, one flow |
//! | the same, with what routers have to do with the client's address later | routers that force it, or are to leave it alone |
//! | a virtual address without backends: drop, reject, or an event | where the others would be |
//! | to a virtual address: look the connection up | routers; of the addresses of a group, one flow for all |
//! | from a backend, by a gateway port: translate back | routers with gateway ports |

use std::net::IpAddr;
use std::sync::Arc;

use lflow::action::{Action, EmptyBackends, NatKind, Pipeline, Transform};
use lflow::{Constant, Expr, Symbol, a, m};
use relations::{Handle, Relation, Set, Small};

use super::affinity;
use super::carriers::{
    self, GROUPS_OF, HAS, HAS_VIPS, NAMED, Place, ROUTERS_OF, ROUTERS_WITH, VARIABLE, VERSIONS,
    VIPS, carriers_at, group_of, groups_of,
};
use super::health::LIVE;
use super::model::{BALANCER, Balancer};
use super::settings::SETTINGS;
use super::spread::{Source, spread};
use super::{BALANCE, DEFRAG, EMPTY, TRANSLATE_BACK};
use crate::compiler::feature::{Kind, Over};
use crate::compiler::stage::Stage;
use crate::compiler::unit::Unit;
use crate::features::address_sets;
use crate::features::router::ROUTER;
use crate::features::router::gateways::{GATEWAY, GATEWAYS};
use crate::features::router::ports::PORT;
use crate::features::switch::DATAPATH;

/// The backends of each group that acts on a router with a gateway port, by the version of IP.
pub(super) static BACKENDS: Set<(Handle, u32)> = Set::new("backends of a group");
/// There is a value for each group that has some.
pub(super) static HAS_BACKENDS: Relation<(Handle, u32), ()> = Relation::new("has backends");

pub(super) static FLOWS: Kind = Kind {
    name: "load-balancer",
    over: Over::Keys(&LIVE),
    reads: &[&HAS, &BALANCER, &SETTINGS],
    says: &[&BACKENDS],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(balancer), Some(written)) = (unit.get(&LIVE, row), unit.get(&BALANCER, row))
        else {
            return;
        };
        for (place, source) in sources(balancer) {
            for carrier in carriers_at(unit, row, place) {
                say(unit, row, balancer, carrier, (place, source));
            }
        }
        let carriers = carriers_at(unit, row, Place::Everywhere);
        for carrier in &carriers {
            let hint = unit.uuid(row);
            let mut flows = carriers::flows(unit, *carrier, Place::Everywhere, Some(hint));
            for template in &balancer.templates {
                let lookup = m::ip() & template.is_address();
                flows.add(DEFRAG, &lookup, [look_up()]);
            }
        }
        if carriers.contains(&row) {
            let hint = unit.uuid(row);
            let to = balancer.ips();
            let mut flows = carriers::flows(unit, row, Place::Everywhere, Some(hint));
            for to in by_version(&to) {
                let lookup = m::ip() & m::one_of(m::ip_dst_field(to[0]), to);
                flows.add(DEFRAG, &lookup, [look_up()]);
            }
        }
        for group in unit.referrers(GROUPS_OF, row) {
            if unit.get(&HAS, (*group, Place::Gateways as u32)).is_some() {
                // Those that are down still have connections.
                for ip in written.backend_ips() {
                    unit.member(&BACKENDS, (*group, version(ip)), ip.to_string());
                }
            }
        }
    },
};

/// The places where a load balancer has flows, and what becomes of the client's address there.
fn sources(balancer: &Balancer) -> [(Place, Source); 2] {
    match balancer.skips_snat {
        true => [
            (Place::Switches, Source::AsRulesSay),
            (Place::Routers, Source::Kept),
        ],
        false => [
            (Place::Both, Source::AsRulesSay),
            (Place::Forced, Source::Forced),
        ],
    }
}

fn say(
    unit: &mut Unit<'_>,
    row: Handle,
    balancer: &Balancer,
    carrier: Handle,
    (place, source): (Place, Source),
) {
    let hint = unit.uuid(row);
    for template in &balancer.templates {
        let begins = begins(template.is_meant(balancer.protocol));
        let rule = BALANCE.at(if template.port.is_some() { 120 } else { 110 });
        let backends = (&[][..], Some(Arc::clone(&template.backends)));
        let mut flows = carriers::flows(unit, carrier, place, Some(hint));
        flows.add(rule, &begins, spread(balancer, backends, source));
    }
    for vip in &balancer.vips {
        let begins = begins(vip.is_meant(balancer.protocol));
        let rule = BALANCE.at(if vip.port.is_some() { 120 } else { 110 });
        if !vip.backends.is_empty() {
            let mut flows = carriers::flows(unit, carrier, place, Some(hint));
            flows.add(
                rule,
                &begins,
                spread(balancer, (&vip.backends, None), source),
            );
            if let Some(timeout) = balancer.affinity {
                affinity::say(
                    unit,
                    carrier,
                    (balancer, vip, timeout),
                    (place, source),
                    hint,
                );
            }
            continue;
        }
        // Who is told by a reset needs no event (ovn-nb(5), `reject`).
        let tells = balancer.tells || unit.get(&SETTINGS, ()).is_some_and(|of| of.tells);
        if tells && !balancer.rejects && !vip.has_backends {
            let event = Action::Event(Box::new(EmptyBackends {
                vip: Arc::clone(&vip.text),
                protocol: balancer.protocol.name().into(),
                load_balancer: hint.hyphenated().to_string().into(),
                meter: "".into(),
            }));
            let mut flows = carriers::flows(unit, carrier, place, Some(hint));
            flows.add(EMPTY, &begins, [event]);
            continue;
        }
        if !balancer.rejects {
            let mut flows = carriers::flows(unit, carrier, place, Some(hint));
            flows.add(rule, &begins, [a::drop()]);
            continue;
        }
        // The rejection goes back past the rules of the other direction, which are elsewhere in a router.
        for (kind, stage) in [
            (Place::Switches, Stage::OutQos),
            (Place::Routers, Stage::RouterOutSnat),
        ] {
            if unit.get(&HAS, (carrier, kind as u32)).is_some() {
                let mut flows = carriers::flows(unit, carrier, kind, Some(hint));
                flows.add(rule, &begins, [reject(stage)]);
            }
        }
    }
}

/// A new connection.
fn begins(is_meant: Expr) -> Expr {
    m::is(Symbol::CtNew) & !m::is(Symbol::CtRel) & is_meant
}

fn reject(stage: Stage) -> Action {
    let back = [
        a::exchange(Symbol::Outport, Symbol::Inport),
        a::next_in(Pipeline::Egress, stage.table()),
    ];
    a::within(Transform::Reject, back)
}

/// The addresses of a group, as sets that matches name.
pub(super) static GROUP_VIPS: Kind = Kind {
    name: "load-balancer/group",
    over: Over::Keys(&VIPS),
    reads: &[],
    says: &[&HAS_VIPS],
    wants: &[],
    run: |unit, key| {
        let (_, version) = group_of(key);
        if version != VARIABLE {
            let name = set_name(unit, "vips", group_of(key));
            address_sets::say(unit, &name, VIPS.cell(group_of(key)));
        }
        unit.say(&HAS_VIPS, group_of(key), ());
    },
};

pub(super) static GROUP_BACKENDS: Kind = Kind {
    name: "load-balancer/group-backends",
    over: Over::Keys(&BACKENDS),
    reads: &[],
    says: &[&HAS_BACKENDS],
    wants: &[],
    run: |unit, key| {
        let name = set_name(unit, "backends", group_of(key));
        address_sets::say(unit, &name, BACKENDS.cell(group_of(key)));
        unit.say(&HAS_BACKENDS, group_of(key), ());
    },
};

/// On routers that do it on all chassis: look connections to the addresses of a group up.
pub(super) static GROUP_LOOKUP: Kind = Kind {
    name: "load-balancer/group-lookup",
    over: Over::Keys(&HAS_VIPS),
    reads: &[&HAS],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let (group, version) = group_of(key);
        let has = unit.get(&HAS, (group, Place::Everywhere as u32)).is_some();
        if !has || version == VARIABLE {
            return;
        }
        let name = set_name(unit, "vips", (group, version));
        let to = m::ip() & in_set(destination(version), &name);
        let mut flows = carriers::flows(unit, group, Place::Everywhere, None);
        flows.add(DEFRAG, &to, [look_up()]);
    },
};

/// On routers with gateway ports: the same for all that act there, on the chassis that has the port, and the way back.
pub(super) static AT_GATEWAYS: Kind = Kind {
    name: "load-balancer/gateways",
    over: Over::Keys(&ROUTER),
    reads: &[
        &DATAPATH,
        &GATEWAYS,
        &GATEWAY,
        &PORT,
        &HAS_VIPS,
        &HAS_BACKENDS,
        &NAMED,
    ],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let router = Handle::unpack(key);
        for group in groups_of(unit, router) {
            for version in VERSIONS {
                let name = |unit: &Unit<'_>, of| set_name(unit, of, (group, version));
                if unit.get(&HAS_VIPS, (group, version)).is_some() {
                    let to = in_set(destination(version), &name(unit, "vips"));
                    arrive(unit, router, &to);
                }
                if unit.get(&HAS_BACKENDS, (group, version)).is_some() {
                    let from = in_set(origin(version), &name(unit, "backends"));
                    leave(unit, router, &from);
                }
            }
        }
    },
};

/// The same for a load balancer that a router names directly.
pub(super) static AT_GATEWAYS_DIRECT: Kind = Kind {
    name: "load-balancer/gateways-direct",
    over: Over::Keys(&BALANCER),
    reads: &[&ROUTER, &DATAPATH, &GATEWAYS, &GATEWAY, &PORT],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(balancer) = unit.get(&BALANCER, row) else {
            return;
        };
        let (vips, backends) = (balancer.ips(), balancer.backend_ips());
        let routers = unit.referrers(ROUTERS_OF, row);
        let mut of_templates = routers.to_vec();
        for group in unit.referrers(GROUPS_OF, row) {
            of_templates.extend(unit.referrers(ROUTERS_WITH, *group));
        }
        // Which backends reply, their chassis know.
        for router in of_templates {
            for template in &balancer.templates {
                arrive(unit, router, &template.is_address());
                let family = if template.is_ip4 { m::ip4() } else { m::ip6() };
                leave(unit, router, &family);
            }
        }
        for router in routers {
            for to in by_version(&vips) {
                arrive(unit, *router, &m::one_of(m::ip_dst_field(to[0]), to));
            }
            for from in by_version(&backends) {
                leave(unit, *router, &m::one_of(m::ip_src_field(from[0]), from));
            }
        }
    },
};

/// Connections to these addresses are looked up where a gateway port is.
fn arrive(unit: &mut Unit<'_>, router: Handle, to: &Expr) {
    for gateway in unit.members(&GATEWAYS, router) {
        let (Some(gateway), Some(datapath)) =
            (unit.get(&GATEWAY, *gateway), unit.get(&DATAPATH, router))
        else {
            continue;
        };
        let here = m::ip() & to.clone() & m::resident(Arc::clone(&gateway.redirect));
        let mut flows = unit.flows(datapath.uuid, None);
        flows.add_common(DEFRAG, &here, [look_up()]);
    }
}

/// What leaves these backends by a gateway port may be a reply.
fn leave(unit: &mut Unit<'_>, router: Handle, from: &Expr) {
    for row in unit.members(&GATEWAYS, router) {
        let (Some(gateway), Some(port), Some(datapath)) = (
            unit.get(&GATEWAY, *row),
            unit.get(&PORT, *row),
            unit.get(&DATAPATH, router),
        ) else {
            continue;
        };
        let leaves = from.clone() & m::outport(Arc::clone(&port.name));
        let leaves = leaves & m::resident(Arc::clone(&gateway.redirect));
        let mut flows = unit.flows(datapath.uuid, None);
        flows.add_common(TRANSLATE_BACK, &leaves, [look_up()]);
    }
}

/// Looks a connection up, and translates what belongs to one that was balanced.
pub(super) fn look_up() -> Action {
    Action::Nat {
        kind: NatKind::Dnat,
        ip: None,
        ports: None,
    }
}

fn in_set(field: Symbol, name: &str) -> Expr {
    m::eq(field, Constant::AddressSet(name.into()))
}

/// No name that a user can write begins with an underscore and is that of a group's addresses.
fn set_name(unit: &Unit<'_>, of: &str, (group, version): (Handle, u32)) -> String {
    let group = unit.uuid(group).simple();
    format!("_lb_{of}_{group}_ip{version}")
}

fn destination(version: u32) -> Symbol {
    if version == 4 {
        Symbol::Ip4Dst
    } else {
        Symbol::Ip6Dst
    }
}

fn origin(version: u32) -> Symbol {
    if version == 4 {
        Symbol::Ip4Src
    } else {
        Symbol::Ip6Src
    }
}

fn version(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { 4 } else { 6 }
}

/// Those of IPv4 and those of IPv6, as far as there are any.
pub(super) fn by_version(ips: &[IpAddr]) -> Vec<Vec<IpAddr>> {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = ips.iter().partition(|ip| ip.is_ipv4());
    let mut lists = vec![v4, v6];
    lists.retain(|list| !list.is_empty());
    lists
}
