//! Backends that are probed: who does not answer leaves, and comes back when it answers again.
//!
//! Of a virtual address with a row of `Load_Balancer_Health_Check`, every backend that `ip_port_mappings` gives a port and a
//! source address is a row of `Service_Monitor` southbound. The chassis of the port probes, and says `online` or `offline`.
//!
//! Probes come from a MAC that nobody has (`NB_Global.options:svc_monitor_mac`), whose address is answered for in the backend's
//! switch; or, if the source is the address of a router's port on that switch, from there. What comes back to a probe goes to
//! the chassis, past rules and connection tracking.
//!
//! Left out, and told: SCTP, which chassis do not probe; backends in other zones (`ip_port_mappings` with a third part); and sources
//! that a router translates to or balances, for what comes back there is not for the chassis.

use std::net::IpAddr;
use std::sync::Arc;

use addr::Mac;
use lflow::action::Function;
use lflow::{Expr, Int, Symbol, a, m};
use nb_db::tables::{LoadBalancer, LoadBalancerHealthCheck};
use ovsdb::typed::TableDefinition;
use ovsdb::{Atom, Datum};
use relations::{Handle, Relation, Small};
use sb_db::tables::{Chassis, PortBinding, ServiceMonitor};
use uuid::Uuid;

use super::endpoint::{self, Endpoint, Protocol};
use super::model::{BALANCER, Balancer};
use super::settings::SETTINGS;
use super::{PROBE_IN, PROBE_LATER, PROBE_OUT, PROBED, UNTRACKED_IN, UNTRACKED_OUT};
use crate::compiler::feature::{Index, Kind, Over, Owned};
use crate::compiler::identity;
use crate::compiler::problem::Complaints;
use crate::compiler::unit::Unit;
use crate::features::router::links::{PEER, Peer};
use crate::features::router::own::{BALANCED, TRANSLATED};
use crate::features::router::ports::{HOLDERS, PORT as ROUTER_PORT};
use crate::features::switch::DATAPATH;
use crate::features::{acl, matches, ports, segments};

/// Load balancers with those backends that are not known to be down.
pub(super) static LIVE: Relation<Handle, Arc<Balancer>> = Relation::new("live load balancer");

pub(super) const BY_PORT: Index =
    Index::south::<ServiceMonitor>(ServiceMonitor::COLUMN.logical_port.index);

pub(super) static ROWS: Owned = Owned::south::<ServiceMonitor>(&[
    ServiceMonitor::COLUMN.r#type.index,
    ServiceMonitor::COLUMN.ip.index,
    ServiceMonitor::COLUMN.protocol.index,
    ServiceMonitor::COLUMN.port.index,
    ServiceMonitor::COLUMN.logical_port.index,
    ServiceMonitor::COLUMN.src_mac.index,
    ServiceMonitor::COLUMN.src_ip.index,
    ServiceMonitor::COLUMN.chassis_name.index,
    ServiceMonitor::COLUMN.options.index,
]);

/// A backend that is probed.
struct Probe {
    /// The row of its port.
    row: Handle,
    port: Arc<str>,
    switch: Handle,
    backend: Endpoint,
    protocol: Protocol,
    source: IpAddr,
    mac: Mac,
    /// The source is a router's.
    is_router: bool,
}

pub(super) static HEALTH: Kind = Kind {
    name: "load-balancer/health",
    over: Over::Keys(&BALANCER),
    reads: &[
        &SETTINGS,
        &ports::PORT,
        &ports::BINDING,
        &DATAPATH,
        &HOLDERS,
        &ROUTER_PORT,
        &PEER,
        &TRANSLATED,
        &BALANCED,
    ],
    says: &[&LIVE],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(balancer), Some(columns)) = (unit.get(&BALANCER, row), unit.north(row)) else {
            return;
        };
        let checks: Vec<Uuid> = LoadBalancer::COLUMN.health_check.get(columns);
        if checks.is_empty() {
            unit.say(&LIVE, row, Arc::clone(balancer));
            return;
        }
        let mut complaints = unit.complaints::<LoadBalancer>(row, Arc::clone(&balancer.name));
        let mut live = Balancer::clone(balancer);
        for check in checks {
            if let Some(check) = unit.find_north::<LoadBalancerHealthCheck>(check) {
                watch(unit, check, balancer, &mut live, &mut complaints);
            }
        }
        unit.say(&LIVE, row, Arc::new(live));
        unit.problems(complaints.into_problems());
    },
};

/// Has the backends of a virtual address probed; those that are down leave.
fn watch(
    unit: &mut Unit<'_>,
    check: Handle,
    balancer: &Balancer,
    live: &mut Balancer,
    complaints: &mut Complaints,
) {
    let Some(columns) = unit.north(check) else {
        return;
    };
    let column = LoadBalancerHealthCheck::COLUMN;
    let text: Arc<str> = column.vip.get(columns);
    let mut of_check = unit.complaints::<LoadBalancerHealthCheck>(check, "".into());
    let options = columns.get(column.options.index);
    read_options(options, &mut of_check);
    let meant = endpoint::parse(&text);
    let at = balancer.vips.iter().position(|vip| {
        let own = Endpoint {
            ip: vip.ip,
            port: vip.port,
        };
        Some(own) == meant
    });
    match at {
        None => {
            let why = "the load balancer has no such virtual address";
            let remedy = "nothing is probed: write one as the load balancer has it";
            of_check.text(column.vip.name, &text, 0, why, remedy);
        }
        Some(_) if balancer.protocol == Protocol::Sctp => {
            let why = "backends of SCTP cannot be probed";
            of_check.text(
                column.vip.name,
                &text,
                0,
                why,
                "they are taken to be up: remove it",
            );
        }
        Some(at) => {
            let backends = balancer.vips[at].backends.clone();
            for backend in backends {
                let probe = probe(unit, balancer, backend, complaints);
                if probe.is_some_and(|probe| !is_up(unit, &probe, options)) {
                    live.vips[at].backends.retain(|known| *known != backend);
                }
            }
        }
    }
    unit.problems(of_check.into_problems());
}

/// Tells of numbers that are none; chassis take their own in their place.
fn read_options(options: &Datum, complaints: &mut Complaints) {
    let column = LoadBalancerHealthCheck::COLUMN.options.name;
    for key in ["interval", "timeout", "success_count", "failure_count"] {
        if let Some(text) = options.get_str(key)
            && !text.parse::<u32>().is_ok_and(|number| number > 0)
        {
            let why = format!("{key} is not a number from 1 on");
            complaints.text(column, text, 0, why, "the default is used: write one");
        }
    }
}

/// What is to be probed of a backend, if it can be.
fn probe(
    unit: &Unit<'_>,
    balancer: &Balancer,
    backend: Endpoint,
    complaints: &mut Complaints,
) -> Option<Probe> {
    let column = LoadBalancer::COLUMN.ip_port_mappings.name;
    let remedy = "the backend is taken to be up: correct it, or remove the health check";
    let Some(mapping) = balancer.mappings.get(&backend.ip) else {
        let why = format!(
            "there is no entry for the backend {}, which is to be probed",
            backend.ip
        );
        complaints.column(column, why, remedy);
        return None;
    };
    if backend.port.is_none() {
        let why = format!("the backend {backend} is to be probed and has no port");
        complaints.column(LoadBalancer::COLUMN.vips.name, why, remedy);
        return None;
    }
    let rows = unit.having(matches::PORTS, &Atom::String(Arc::clone(&mapping.port)));
    let place = rows.iter().find_map(|row| {
        unit.get(&ports::PORT, *row)?;
        Some((*row, ports::owner(unit, *row)?))
    });
    let Some((row, switch)) = place else {
        let why = "there is no port of this name in a switch";
        complaints.text(column, &mapping.port, 0, why, remedy);
        return None;
    };
    let router = unit.members(&HOLDERS, mapping.source).iter();
    let router = router.copied().find_map(|(router, port)| {
        let is_here =
            matches!(unit.get(&PEER, port), Some(Peer::Switch { switch: of, .. }) if *of == switch);
        let of = unit.get(&ROUTER_PORT, port).filter(|_| is_here)?;
        Some((router, of))
    });
    // What comes back to such an address may be part of a connection: it must not be taken for an answer to a probe.
    let translates = router.is_some_and(|(router, _)| {
        let key = (router, mapping.source);
        !unit.members(&TRANSLATED, key).is_empty() || !unit.members(&BALANCED, key).is_empty()
    });
    if translates {
        let why = format!(
            "the source {} is a router's, which translates to or balances it",
            mapping.source
        );
        complaints.text(column, &mapping.port, 0, why, remedy);
        return None;
    }
    let own = unit.get(&SETTINGS, ())?.service_mac;
    Some(Probe {
        row,
        port: Arc::clone(&mapping.port),
        switch,
        backend,
        protocol: balancer.protocol,
        source: mapping.source,
        mac: router.map_or(own, |(_, port)| port.mac),
        is_router: router.is_some(),
    })
}

/// Says the row and the flows of a probe, and returns whether the backend is not known to be down.
fn is_up(unit: &mut Unit<'_>, probe: &Probe, options: &Datum) -> bool {
    let column = ServiceMonitor::COLUMN;
    let port = i64::from(probe.backend.port.unwrap_or_default());
    let (ip, protocol) = (probe.backend.ip.to_string(), probe.protocol.name());
    let uuid = identity_of(unit, probe);
    let chassis = chassis_of(unit, probe.row).unwrap_or_default();
    let columns = [
        (column.r#type.index, Datum::from("load-balancer")),
        (column.ip.index, Datum::from(ip)),
        (column.protocol.index, Datum::from(protocol)),
        column.port.to(&port),
        (
            column.logical_port.index,
            Datum::One(Atom::String(Arc::clone(&probe.port))),
        ),
        (column.src_mac.index, Datum::from(probe.mac.to_string())),
        (column.src_ip.index, Datum::from(probe.source.to_string())),
        (column.chassis_name.index, Datum::One(Atom::String(chassis))),
        (column.options.index, options.clone()),
    ];
    unit.row::<ServiceMonitor>(uuid, columns);
    flows(unit, probe);
    let row = unit.find_south::<ServiceMonitor>(uuid);
    let status = row.and_then(|row| unit.south(row));
    let status: Option<Arc<str>> = status.and_then(|row| column.status.get(row));
    !matches!(status.as_deref(), Some("offline" | "error"))
}

/// The row of a probe: one that is there, or the next. Load balancers that share a backend share it.
fn identity_of(unit: &Unit<'_>, probe: &Probe) -> Uuid {
    let column = ServiceMonitor::COLUMN;
    let port = i64::from(probe.backend.port.unwrap_or_default());
    let (ip, protocol) = (probe.backend.ip.to_string(), probe.protocol.name());
    let name = Atom::String(Arc::clone(&probe.port));
    let mut known = unit.recorded(BY_PORT, &name).filter(|(_, row)| {
        let of: Option<Arc<str>> = column.protocol.get(row);
        let known: Arc<str> = column.ip.get(row);
        *known == *ip && of.as_deref() == Some(protocol) && column.port.get(row) == port
    });
    let recorded = known.next().map(|(uuid, _)| uuid);
    recorded.unwrap_or_else(|| {
        let name = format!("{} {ip} {port} {protocol}", probe.port);
        identity::named(ServiceMonitor::NAME, Uuid::nil(), &name)
    })
}

/// The chassis that has a port.
fn chassis_of(unit: &Unit<'_>, port: Handle) -> Option<Arc<str>> {
    let binding = unit.get(&ports::BINDING, port)?;
    let binding = unit.south(unit.find_south::<PortBinding>(binding.uuid)?)?;
    let chassis: Uuid = PortBinding::COLUMN.chassis.get(binding)?;
    let chassis = unit.south(unit.find_south::<Chassis>(chassis)?)?;
    Some(Chassis::COLUMN.name.get(chassis))
}

/// What comes back to a probe goes to the chassis; requests for its source are answered.
fn flows(unit: &mut Unit<'_>, probe: &Probe) {
    let Some(datapath) = unit.get(&DATAPATH, probe.switch) else {
        return;
    };
    let back = back(probe);
    let out = m::eth_src(probe.mac) & m::ip_src(probe.source) & m::ip_dst(probe.backend.ip);
    let check = [a::call(Function::HandleSvcCheck, [Symbol::Inport])];
    let mut flows = unit.flows(datapath.uuid, None);
    flows.add_common(UNTRACKED_IN, &back, [a::next()]);
    flows.add_common(PROBE_IN, &back, acl::pass_answer());
    flows.add_common(PROBE_LATER, &back, acl::pass_answer());
    flows.add_common(PROBED, &back, check);
    flows.add_common(UNTRACKED_OUT, &out, [a::next()]);
    flows.add_common(PROBE_OUT, &out, acl::pass_answer());
    if !probe.is_router {
        let asked = segments::is_asked(datapath.key, probe.source);
        flows.add_common(segments::KNOWN, &asked, segments::answer(probe.mac, false));
    }
}

/// An answer to a probe: of the service, or an error about the probe.
fn back(probe: &Probe) -> Expr {
    let (port, error) = match (probe.protocol, probe.source) {
        (Protocol::Udp, IpAddr::V4(_)) => (Symbol::UdpSrc, Some((Symbol::Icmp4Type, 3))),
        (Protocol::Udp, IpAddr::V6(_)) => (Symbol::UdpSrc, Some((Symbol::Icmp6Type, 1))),
        _ => (Symbol::TcpSrc, None),
    };
    let service = probe.backend.port.map(|number| m::eq(port, number));
    let error = error.map(|(kind, number)| m::eq(kind, Int::new(number)));
    let is_answer = Expr::any(service.into_iter().chain(error));
    m::inport(Arc::clone(&probe.port))
        & m::eth_dst(probe.mac)
        & m::ip_src(probe.backend.ip)
        & m::ip_dst(probe.source)
        & is_answer
}
