//! Address management: ports whose `addresses` say `dynamic` are given a MAC and IP addresses.
//!
//! What there is to give is in `Logical_Switch.other_config` (`config.rs`): the addresses of `subnet` without the first,
//! which is for the router, and without `exclude_ips`; the address that follows from a port's MAC in `ipv6_prefix`; a MAC
//! alone with `mac_only`. MACs begin with the network's prefix (`prefix.rs`) and end as the IPv4 address does, if that is
//! free.
//!
//! Guarantees that nobody is given an address that another port of the switch, or the port of a router that leads there,
//! has of its own, nor a MAC that any port has; that the lowest free address is given; and that what was given stays, also
//! over restarts and moves within a switch. It is written to `dynamic_addresses`, which is also where it is remembered. A
//! port that takes an address for its own has it: who was given it is given another one.
//!
//! Everything is a number of a pool: an IPv4 address by its distance from the subnet's, a MAC by its last three bytes.
//! Other features see what was given by [`PortView::addresses`](super::ports::PortView::addresses).

mod config;
mod prefix;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use addr::{Cidr, Mac, MacAndIps};
use nb_db::tables::{LogicalRouterPort, LogicalSwitch, LogicalSwitchPort, NbGlobal};
use ovsdb::Datum;
use ovsdb::typed::{ColumnValue, TableDefinition};
use relations::{Handle, Key, Relation, Small};
use uuid::Uuid;

use super::ports::{self, ASSIGNED, DYNAMIC, Dynamic, PORT, PortKind};
use super::router::ROUTER;
use super::router::ports as router_ports;
use crate::compiler::fact::{Identity, Want};
use crate::compiler::feature::{Feature, Kind, Over, Owned, Pool, Source};
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::{Change, addresses};
use config::{IPAM, Ipam, Subnet};
use prefix::PREFIX;

/// The IPv4 address of each port that was given one, as a number in its subnet.
static IP: Relation<Handle, Identity> = Relation::new("dynamic IPv4 address");
/// The MAC of each port that was given one: its last three bytes.
static MAC: Relation<Handle, Identity> = Relation::new("dynamic MAC");

static IPS: Pool = Pool::lowest(
    &IP,
    (
        LogicalSwitchPort::NAME,
        LogicalSwitchPort::COLUMN.addresses.name,
        "IPv4 addresse",
    ),
);
static MACS: Pool = Pool::lowest(
    &MAC,
    (
        LogicalSwitchPort::NAME,
        LogicalSwitchPort::COLUMN.addresses.name,
        "MAC",
    ),
);

static COLUMNS: Owned =
    Owned::north_columns::<LogicalSwitchPort>(&[LogicalSwitchPort::COLUMN.dynamic_addresses.index]);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<LogicalSwitch>(&[LogicalSwitch::COLUMN.name.index]).keys(&[(
            LogicalSwitch::COLUMN.other_config.index,
            &["subnet", "exclude_ips", "ipv6_prefix", "mac_only"],
        )]),
        Source::north::<LogicalSwitchPort>(&[
            LogicalSwitchPort::COLUMN.addresses.index,
            LogicalSwitchPort::COLUMN.dynamic_addresses.index,
        ]),
        Source::north::<LogicalRouterPort>(&[LogicalRouterPort::COLUMN.name.index]),
        Source::north::<NbGlobal>(&[]).keys(&[(NbGlobal::COLUMN.options.index, &["mac_prefix"])]),
    ],
    owns: &[&COLUMNS, &prefix::COLUMNS],
    relations: &[&IPAM, &PREFIX, &IP, &MAC, &ASSIGNED],
    pools: &[&IPS, &MACS],
    kinds: &[
        &prefix::MODEL,
        &config::MODEL,
        &RESERVE,
        &RESERVE_OF_ROUTER,
        &WANT_IP,
        &WANT_MAC,
        &ASSIGN,
        &CLEAR,
    ],
    #[cfg(test)]
    operator: &[Change {
        weight: 6,
        run: addresses::change,
    }],
    ..Feature::new("address management")
};

/// The last three bytes of MACs that are given, without the first and the last two.
const MAX_SUFFIX: u32 = 0xff_fffe;

/// What ports have of their own is given to nobody.
static RESERVE: Kind = Kind {
    name: "alloc/port",
    over: Over::Keys(&PORT),
    reads: &[&IPAM, &router_ports::PORT, &ROUTER],
    says: &[],
    wants: &[&IPS, &MACS],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(port) = unit.get(&PORT, row) else {
            return;
        };
        let dynamic = port.dynamic.as_ref();
        let fixed = port.addresses.iter();
        for mac in fixed
            .map(|entry| entry.mac)
            .chain(dynamic.and_then(|of| of.mac))
        {
            reserve_mac(unit, mac);
        }
        let Some((switch, subnet)) = subnet_of(unit, row) else {
            return;
        };
        let peer = match &port.kind {
            PortKind::Router {
                peer: Some(peer), ..
            } => router_ports::named(unit, peer),
            _ => None,
        };
        let peer = peer.and_then(|(peer, _)| unit.get(&router_ports::PORT, peer));
        let fixed = port.addresses.iter().flat_map(|entry| &entry.ips);
        let ips = fixed.map(|ip| ip.addr());
        let ips = ips.chain(dynamic.and_then(|of| of.ips.ip4).map(IpAddr::V4));
        let ips = ips.chain(peer.into_iter().flat_map(|peer| peer.ips()));
        let moving = match &port.kind {
            PortKind::Virtual { ip, .. } => *ip,
            _ => None,
        };
        let ips = ips.chain(moving);
        let mut numbers: Vec<u32> = ips.filter_map(|ip| subnet.number(ip)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            unit.reserve(&IPS, subnet.among(switch), number..=number);
        }
    },
};

static RESERVE_OF_ROUTER: Kind = Kind {
    name: "alloc/router-port",
    over: Over::Keys(&router_ports::PORT),
    reads: &[],
    says: &[],
    wants: &[&MACS],
    run: |unit, key| {
        if let Some(port) = unit.get(&router_ports::PORT, Handle::unpack(key)) {
            reserve_mac(unit, port.mac);
        }
    },
};

fn reserve_mac(unit: &mut Unit<'_>, mac: Mac) {
    let (prefix, number) = prefix::split(mac);
    if number > 0 {
        unit.reserve(&MACS, prefix::among(prefix), number..=number);
    }
}

static WANT_IP: Kind = Kind {
    name: "alloc/dynamic-ip",
    over: Over::Keys(&DYNAMIC),
    reads: &[&IPAM, &PREFIX],
    says: &[],
    wants: &[&IPS],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(port) = unit.get(&DYNAMIC, row) else {
            return;
        };
        let Some((switch, subnet)) = subnet_of(unit, row) else {
            return;
        };
        if port.ips.ip4.is_some() {
            return;
        }
        // Who can have no MAC is given nothing, which would not be remembered.
        if port.mac.is_none() && prefix_of(unit, row).is_none() {
            return;
        }
        let recorded = recorded(unit, row).and_then(|recorded| {
            let mut ips = recorded.ips.into_iter();
            ips.find_map(|ip| subnet.number(ip.addr()))
        });
        let max = subnet.max();
        unit.want(Want {
            recorded: recorded.filter(|number| *number <= max),
            preferred: None,
            max: (max, max),
            ..want(unit, &IPS, row, port, subnet.among(switch))
        });
    },
};

static WANT_MAC: Kind = Kind {
    name: "alloc/dynamic-mac",
    over: Over::Keys(&DYNAMIC),
    reads: &[&IPAM, &PREFIX, &IP],
    says: &[],
    wants: &[&MACS],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(port) = unit.get(&DYNAMIC, row) else {
            return;
        };
        let (Some(ipam), Some(prefix)) = (ipam_of(unit, row), prefix_of(unit, row)) else {
            return;
        };
        if port.mac.is_some() {
            return;
        }
        let recorded = recorded(unit, row).map(|known| prefix::split(known.mac));
        let recorded = recorded.filter(|(of, _)| *of == prefix);
        let recorded = recorded.map(|(_, number)| number);
        let ip = ip4(unit, row, port, ipam);
        unit.want(Want {
            recorded: recorded.filter(|number| (1..=MAX_SUFFIX).contains(number)),
            preferred: ip.map(|ip| (ip.to_bits() & 0xff_ffff) % MAX_SUFFIX + 1),
            max: (MAX_SUFFIX, MAX_SUFFIX),
            ..want(unit, &MACS, row, port, prefix::among(prefix))
        });
    },
};

static ASSIGN: Kind = Kind {
    name: "port/dynamic",
    over: Over::Keys(&DYNAMIC),
    reads: &[&IPAM, &PREFIX, &IP, &MAC],
    says: &[&ASSIGNED],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(port) = unit.get(&DYNAMIC, row) else {
            return;
        };
        let assigned = assigned(unit, row, port);
        let text = assigned
            .as_ref()
            .map(|assigned| Arc::from(assigned.to_string()));
        tell(unit, row, text.as_ref());
        match assigned {
            Some(assigned) => unit.say(&ASSIGNED, row, Arc::new(assigned)),
            None if ports::owner(unit, row).is_some() && ipam_of(unit, row).is_none() => {
                let why = "the switch has no addresses to give";
                let remedy = "set its other_config:subnet, ipv6_prefix or mac_only";
                let name = Arc::clone(&port.name);
                let mut complaints = unit.complaints::<LogicalSwitchPort>(row, name);
                let column = LogicalSwitchPort::COLUMN.addresses.name;
                complaints.text(column, "dynamic", 0, why, remedy);
                unit.problems(complaints.into_problems());
            }
            None => {}
        }
    },
};

/// What a port was given is forgotten when it does not ask for it any more.
static CLEAR: Kind = Kind {
    name: "port/told",
    over: Over::Keys(&ports::TOLD),
    reads: &[&DYNAMIC],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let given = columns.get(LogicalSwitchPort::COLUMN.dynamic_addresses.index);
        if !given.is_empty() && unit.get(&DYNAMIC, row).is_none() {
            tell(unit, row, None);
        }
    },
};

fn tell(unit: &mut Unit<'_>, row: Handle, text: Option<&Arc<str>>) {
    let column = LogicalSwitchPort::COLUMN.dynamic_addresses.index;
    let given: Datum = text.cloned().to_datum();
    unit.columns::<LogicalSwitchPort>(&COLUMNS, row, [(column, given)]);
}

/// All that a port has been given, with what it asks for by itself.
fn assigned(unit: &Unit<'_>, row: Handle, port: &Dynamic) -> Option<MacAndIps> {
    let ipam = ipam_of(unit, row)?;
    let given = || Some(prefix::mac(prefix_of(unit, row)?, unit.get(&MAC, row)?.key));
    let mac = port.mac.or_else(given)?;
    let ip4 = ip4(unit, row, port, ipam).map(IpAddr::V4);
    let ip6 = port.ips.ip6.or_else(|| ipam.ip6(mac)).map(IpAddr::V6);
    let ips = ip4.into_iter().chain(ip6).map(Cidr::host).collect();
    Some(MacAndIps { mac, ips })
}

/// With what the port's MAC begins: as somebody has chosen, else as the MAC that it has.
fn prefix_of(unit: &Unit<'_>, row: Handle) -> Option<u32> {
    let prefix = unit.get(&PREFIX, ()).copied();
    if let Some(chosen) = prefix.filter(|prefix| prefix.is_chosen) {
        return Some(chosen.bytes);
    }
    let known = recorded(unit, row).filter(|known| !known.mac.is_multicast());
    let known = known.map(|known| prefix::split(known.mac).0);
    known.or(prefix.map(|prefix| prefix.bytes))
}

/// The IPv4 address that the port asks for, or the one that it has been given.
fn ip4(unit: &Unit<'_>, row: Handle, port: &Dynamic, ipam: &Ipam) -> Option<Ipv4Addr> {
    let given = || Some(ipam.subnet?.ip(unit.get(&IP, row)?.key));
    port.ips.ip4.or_else(given)
}

/// What the port's switch has to give.
fn ipam_of<'a>(unit: &Unit<'a>, row: Handle) -> Option<&'a Ipam> {
    unit.get(&IPAM, ports::owner(unit, row)?)
}

fn subnet_of(unit: &Unit<'_>, row: Handle) -> Option<(Handle, Subnet)> {
    let switch = ports::owner(unit, row)?;
    Some((switch, unit.get(&IPAM, switch)?.subnet?))
}

/// What the northbound records of an earlier life.
fn recorded(unit: &Unit<'_>, row: Handle) -> Option<MacAndIps> {
    let column = LogicalSwitchPort::COLUMN.dynamic_addresses;
    let text: Option<Arc<str>> = column.get(unit.north(row)?);
    text?.parse().ok()
}

fn want(unit: &Unit<'_>, pool: &'static Pool, row: Handle, port: &Dynamic, among: Key) -> Want {
    Want {
        pool,
        owner: row.pack(),
        row: unit.uuid(row),
        about: None,
        name: Arc::clone(&port.name),
        place: None,
        among,
        identity: Uuid::nil(),
        derived: Uuid::nil(),
        recorded: None,
        requested: None,
        preferred: None,
        max: (0, 0),
    }
}
