//! `Advertised_Route`: what chassis are to tell the routing daemons.
//!
//! A row says the prefix, the port by which it is told, and perhaps a port that is where the prefix is: a chassis that has this one
//! tells the prefix with more weight. Each row is said by the unit of what is told: a network by its port, an address by the switch's
//! port that has it, a route by the route, an outside or virtual address by its NAT rule or load balancer.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ovsdb::Atom;
use ovsdb::typed::ColumnValue;
use relations::{Bucket, Handle, Key, Small};
use sb_db::tables::{AdvertisedRoute, PortBinding};
use uuid::Uuid;

use super::{PORTS, TELLERS};
use crate::compiler::feature::{Kind, Over};
use crate::compiler::identity;
use crate::compiler::unit::Unit;
use crate::features::matches::PORTS as BY_NAME;
use crate::features::ports::{self as switch_ports, PortKind, PortView};
use crate::features::router::ROUTER;
use crate::features::router::links::{PEER, Peer};
use crate::features::router::ports::{
    self, BINDING, IPS, NETWORKS, PORT, RESIDENCE, View, has_network, is_link_local,
};
use crate::features::router::static_routes::LED;
use crate::features::switch::DATAPATH;

/// Networks of a port, or who is to tell the addresses in them.
pub(super) static CONNECTED: Kind = Kind {
    name: "router-port/told",
    ..ports::kind!(
        [&PORT, &PORTS, &PEER, &IPS, &NETWORKS],
        [&TELLERS],
        |unit, view| {
            let told = unit.get(&PORTS, view.row).map(|exchange| exchange.tells);
            let Some(told) = told.filter(|_| view.port.is_enabled) else {
                return;
            };
            if !told.hosts {
                if told.connected {
                    networks(unit, view);
                }
                return;
            }
            match unit.get(&PEER, view.row) {
                Some(Peer::Switch { switch, .. }) => unit.join(&TELLERS, *switch, view.row),
                Some(Peer::Router { name, ips, .. }) => {
                    let there = ports::named(unit, name).map(|(port, _)| port);
                    let there = there.and_then(|port| unit.get(&BINDING, port));
                    let there = there.map(|binding| binding.uuid);
                    for ip in ips.iter().map(|ip| ip.addr()) {
                        host(unit, view, ip, there);
                    }
                }
                None => {}
            }
        }
    )
};

fn networks(unit: &mut Unit<'_>, view: &View<'_>) {
    let mut told = Vec::new();
    for cidr in &view.port.networks {
        let network = cidr.network();
        let is_new = !told.contains(&network) && !is_link_local(network.addr());
        if is_new && has_network(unit, view, *cidr) {
            told.push(network);
        }
    }
    for network in told {
        say(unit, view, &network.to_string(), None);
    }
}

/// Static routes that are followed.
pub(super) static STATIC: Kind = Kind {
    name: "static-route/told",
    over: Over::Keys(&LED),
    reads: &[
        &LED, &PORTS, &PORT, &BINDING, &RESIDENCE, &ROUTER, &DATAPATH,
    ],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let Some(led) = unit.get(&LED, <(Handle, Handle)>::unpack(key)).copied() else {
            return;
        };
        let tells = unit
            .get(&PORTS, led.port)
            .is_some_and(|exchange| exchange.tells.statics);
        let view = ports::view_of(unit, led.port);
        let network = led.prefix.network();
        let tells = tells && !is_link_local(network.addr());
        if let Some(view) = view.filter(|view| tells && view.port.is_enabled) {
            say(unit, &view, &network.to_string(), None);
        }
    },
};

/// The addresses of a switch's port, by each router's port there that tells them.
pub(super) static HOSTS: Kind = Kind {
    name: "port/told",
    ..switch_ports::kind!(
        [
            &TELLERS,
            &switch_ports::PORT,
            &PORT,
            &BINDING,
            &RESIDENCE,
            &ROUTER
        ],
        [],
        |unit, view| {
            let tellers = unit.members(&TELLERS, view.switch);
            if tellers.is_empty() || !view.port.is_enabled {
                return;
            }
            let Some(place) = place(unit, view) else {
                return;
            };
            for teller in tellers {
                let Some(by) = ports::view_of(unit, *teller) else {
                    continue;
                };
                for (_, ip) in view.neighbours() {
                    host(unit, &by, ip.addr(), Some(place));
                }
            }
        }
    )
};

/// The binding of the port that is where a switch's port is; of a virtual one that is the guest's which has it now, if any.
fn place(unit: &Unit<'_>, view: &PortView<'_>) -> Option<Uuid> {
    if let Some(link) = view.link {
        let (router_end, _) = ports::named(unit, &link.peer)?;
        return Some(unit.get(&BINDING, router_end)?.uuid);
    }
    if !matches!(view.port.kind, PortKind::Virtual { .. }) {
        return Some(view.binding.uuid);
    }
    let row = unit.find_south::<PortBinding>(view.binding.uuid)?;
    let parent = PortBinding::COLUMN.virtual_parent.get(unit.south(row)?)?;
    let named = unit.having(BY_NAME, &Atom::String(parent));
    let parent = named
        .iter()
        .copied()
        .find(|row| unit.get(&switch_ports::PORT, *row).is_some())?;
    Some(unit.get(&switch_ports::BINDING, parent)?.uuid)
}

/// Who has an address told, the row of a NAT rule or a load balancer, and the binding of the port that is where it is; nil if
/// that is nowhere in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Told {
    by: Handle,
    place: Uuid,
}

impl Small for Told {
    // A handle and 128 bits, which is what a handle and an address are, too.
    fn pack(self) -> Key {
        let bits = Ipv6Addr::from_bits(self.place.as_u128());
        (self.by, IpAddr::V6(bits)).pack()
    }

    fn unpack(key: Key) -> Self {
        let (by, bits) = <(Handle, IpAddr)>::unpack(key);
        let place = match bits {
            IpAddr::V6(bits) => Uuid::from_u128(bits.to_bits()),
            IpAddr::V4(_) => Uuid::nil(),
        };
        Self { by, place }
    }
}

/// The addresses that a port tells of routers. Several may have the same one told. Said by the features `nat` and `load balancers`.
pub static ADDRESSES: Bucket<(Handle, IpAddr), Told> = Bucket::new("told address of a router");

/// Has a port of a router tell an address, which is where the port with this binding is. `by` is the row that says so.
pub fn tell(unit: &mut Unit<'_>, by: Handle, port: Handle, ip: IpAddr, place: Option<Uuid>) {
    let place = place.unwrap_or_default();
    unit.join(&ADDRESSES, (port, ip), Told { by, place });
}

/// Outside and virtual addresses.
pub(super) static TRANSLATED: Kind = Kind {
    name: "router-address/told",
    over: Over::Keys(&ADDRESSES),
    reads: &[&PORT, &BINDING, &RESIDENCE, &ROUTER, &DATAPATH],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let (port, ip) = <(Handle, IpAddr)>::unpack(key);
        let by = ports::view_of(unit, port);
        let Some(by) = by.filter(|by| by.port.is_enabled) else {
            return;
        };
        let told = unit.members(&ADDRESSES, (port, ip)).iter();
        let places: BTreeSet<Uuid> = told.map(|told| told.place).collect();
        for place in places {
            host(unit, &by, ip, Some(place).filter(|place| !place.is_nil()));
        }
    },
};

fn host(unit: &mut Unit<'_>, by: &View<'_>, ip: IpAddr, place: Option<Uuid>) {
    if !is_link_local(ip) {
        say(unit, by, &ip.to_string(), place);
    }
}

fn say(unit: &mut Unit<'_>, by: &View<'_>, prefix: &str, place: Option<Uuid>) {
    let column = AdvertisedRoute::COLUMN;
    let uuid = identity::derive(&[
        b"advertised route",
        by.binding.uuid.as_bytes(),
        prefix.as_bytes(),
        place.unwrap_or_default().as_bytes(),
    ]);
    let text: Arc<str> = prefix.into();
    let columns = [
        column.datapath.to(&by.datapath.uuid),
        column.logical_port.to(&by.binding.uuid),
        column.ip_prefix.to(&text),
        (column.tracked_port.index, place.to_datum()),
    ];
    unit.row::<AdvertisedRoute>(uuid, columns);
}
