//! The port `cr-NAME` of a gateway port: where it is, packets pass.
//!
//! Guarantees a binding for it, with a key of the router's, and that what is to leave by the gateway port leaves by this one:
//! the packet goes through a tunnel to the chassis that has it, and there out by the gateway port.

use std::sync::Arc;

use lflow::{Symbol, a, m};
use nb_db::tables::LogicalRouterPort;
use ovsdb::typed::ColumnValue;
use ovsdb::{Atom, Datum};
use relations::{Handle, Key, Relation, Small};
use sb_db::tables::{Chassis, PortBinding};

use super::{GATEWAY, GROUP, GUESTS, Gateway};
use crate::compiler::fact::{Identity, Want};
use crate::compiler::feature::{Kind, Over, Owned, Pool};
use crate::compiler::identity;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::chassis;
use crate::features::router::ports::{self, EXCHANGE, PORT, RouterPort};
use crate::features::router::{ROUTERS, ROUTERS_NAME};
use crate::features::switch::DATAPATH;

/// The binding of the port that is where packets pass.
pub static REDIRECT: Relation<Handle, Identity> = Relation::new("redirect port binding");

pub(super) static KEYS: Pool = Pool::second(&REDIRECT, &ports::KEYS);

pub(super) static STATUS: Owned =
    Owned::north_columns::<LogicalRouterPort>(&[LogicalRouterPort::COLUMN.status.index]);

pub(super) const TO_GATEWAY: Rule = Rule::new(
    Stage::RouterInRedirect,
    50,
    "by a gateway port: by the port that is where packets pass",
);
pub(super) const BY_NETWORK: Rule = Rule::new(
    Stage::RouterInRedirect,
    60,
    "by a gateway port with redirect-type=bridged, on a chassis that does not have it: the same, to the MAC of the gateway port",
);
pub(super) const ASKED_ELSEWHERE: Rule = Rule::new(
    Stage::RouterInOwn,
    41,
    "a request by a gateway port, on a chassis that does not have it: next",
);
pub(super) const HERE: Rule = Rule::new(Stage::RouterInRedirect, 0, "the rest: next");

pub(super) static WISH: Kind = Kind {
    name: "alloc/redirect-port",
    over: Over::Keys(&GATEWAY),
    reads: &[&DATAPATH, &PORT, &chassis::IS_VXLAN],
    says: &[],
    wants: &[&KEYS],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(gateway), Some(port)) = (unit.get(&GATEWAY, row), unit.get(&PORT, row)) else {
            return;
        };
        let Some(datapath) = unit.get(&DATAPATH, gateway.router) else {
            return;
        };
        let name = &gateway.redirect;
        let want = ports::wanted(unit, (row, gateway.router), name, *datapath, None);
        let derived = identity::derive(&[b"redirect", want.derived.as_bytes()]);
        let is_recorded = want.identity != want.derived;
        unit.want(Want {
            pool: &KEYS,
            name: Arc::clone(&port.name),
            derived,
            identity: if is_recorded { want.identity } else { derived },
            ..want
        });
    },
};

pub(super) static ROW: Kind = Kind {
    name: "redirect-port",
    over: Over::Keys(&GATEWAY),
    reads: &[&REDIRECT, &DATAPATH, &PORT, &GROUP, &GUESTS, &EXCHANGE],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(gateway), Some(port)) = (unit.get(&GATEWAY, row), unit.get(&PORT, row)) else {
            return;
        };
        let (Some(datapath), Some(binding)) = (
            unit.get(&DATAPATH, gateway.router),
            unit.get(&REDIRECT, row),
        ) else {
            return;
        };
        let group = unit.get(&GROUP, gateway.group).copied();
        let column = PortBinding::COLUMN;
        let is_for_all = unit.members(&GUESTS, row).is_empty();
        let dynamic = unit.get(&EXCHANGE, row).map_or(&[][..], Vec::as_slice);
        let mut columns = columns(gateway, port, is_for_all, dynamic);
        columns.extend([
            column.datapath.to(&datapath.uuid),
            column.tunnel_key.to(&i64::from(binding.key)),
            (column.ha_chassis_group.index, group.to_datum()),
        ]);
        unit.row::<PortBinding>(binding.uuid, columns);
    },
};

/// Its columns; where everything passes by it, no other chassis needs to know what is beyond.
fn columns(
    gateway: &Gateway,
    port: &RouterPort,
    is_for_all: bool,
    dynamic: &[(&'static str, Arc<str>)],
) -> Vec<(usize, Datum)> {
    let column = PortBinding::COLUMN;
    let of = (
        Atom::from("distributed-port"),
        Atom::String(port.name.clone()),
    );
    // By the physical network, other chassis have to be on it themselves.
    let is_for_all = is_for_all && !gateway.is_bridged;
    let bridged = gateway
        .is_bridged
        .then(|| (Atom::from("redirect-type"), Atom::from("bridged")));
    let always = is_for_all.then(|| (Atom::from("always-redirect"), Atom::from("true")));
    let dynamic = dynamic.iter();
    let dynamic = dynamic.map(|(key, value)| (Atom::from(*key), Atom::String(value.clone())));
    let options = [of].into_iter().chain(always).chain(bridged);
    let options = Datum::map(options.chain(dynamic));
    vec![
        (
            column.logical_port.index,
            Datum::One(Atom::String(Arc::clone(&gateway.redirect))),
        ),
        (column.r#type.index, Datum::from("chassisredirect")),
        (column.options.index, options),
        (column.mac.index, Datum::One(Atom::from(port.mac_text()))),
        (column.external_ids.index, port.external_ids.clone()),
    ]
}

/// Which chassis has it, for the northbound. Of other ports that is empty.
pub(super) static HOSTING: Kind = Kind {
    name: "router-port/status",
    over: Over::Keys(&PORT),
    reads: &[&REDIRECT],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let host = host(unit, row).map(|name| (Atom::from("hosting-chassis"), Atom::String(name)));
        let status = (LogicalRouterPort::COLUMN.status.index, Datum::map(host));
        unit.columns::<LogicalRouterPort>(&STATUS, row, [status]);
    },
};

/// The name of the chassis that has it.
pub fn host(unit: &Unit<'_>, row: Handle) -> Option<Arc<str>> {
    let binding = unit.get(&REDIRECT, row)?;
    let binding = unit.south(unit.find_south::<PortBinding>(binding.uuid)?)?;
    let chassis = PortBinding::COLUMN.chassis.get(binding)?;
    let chassis = unit.south(unit.find_south::<Chassis>(chassis)?)?;
    Some(Chassis::COLUMN.name.get(chassis))
}

pub(super) static SHARED: Kind = Kind {
    name: "routers",
    over: Over::Shared(&ROUTERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _: Key| {
        let mut flows = unit.shared_flows(&ROUTERS, (), ROUTERS_NAME, None);
        flows.add(HERE, &m::any(), [a::next()]);
    },
};

pub(super) static FLOWS: Kind = ports::kind!([&GATEWAY], [], |unit, view| {
    if let Some(gateway) = unit.get(&GATEWAY, view.row) {
        let leaves = m::outport(view.port.name.clone());
        let elsewhere = || !m::resident(Arc::clone(&gateway.redirect));
        let by_network = gateway.is_bridged.then(|| leaves.clone() & elsewhere());
        let instead = a::set_outport(Arc::clone(&gateway.redirect));
        // Addresses of NAT rules are answered for by whichever port they are asked for, but here by one chassis.
        let asked = m::inport(view.port.name.clone()) & (m::arp_op(1) | m::nd_ns());
        let asked_elsewhere = asked & elsewhere();
        let mut flows = view.flows(unit);
        if let Some(by_network) = by_network {
            let to = a::set(Symbol::EthDst, view.port.mac);
            flows.add(BY_NETWORK, &by_network, [to, instead.clone(), a::next()]);
        }
        flows.add(TO_GATEWAY, &leaves, [instead, a::next()]);
        flows.add(ASKED_ELSEWHERE, &asked_elsewhere, [a::next()]);
    }
});
