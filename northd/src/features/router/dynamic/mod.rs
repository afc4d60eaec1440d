//! Dynamic routing: routes that a router exchanges with routing daemons on its chassis (`options:dynamic-routing`).
//!
//! ```text
//!   options of router and port ── DYNAMIC, PORTS      what is told, and whether anything is learned
//!                                     │
//!              ┌──────────────────────┼──────────────────────┐
//!          `advertised`           `learned`              keys for chassis
//!        Advertised_Route       Learned_Route         Datapath_Binding, Port_Binding
//! ```
//!
//! Guarantees that what `dynamic-routing-redistribute` names is in `Advertised_Route`: `connected` networks, or with
//! `connected-as-host` each address in them by itself, `static` routes that are followed, and of the router and of those next to it
//! by the port the outside addresses of NAT rules (`nat`) and the virtual ones of load balancers (`lb`); and that routes which chassis
//! have put into `Learned_Route` are followed where nothing better is: a port says so for itself, else its router does. Chassis are told
//! the rest by the keys that they read.

mod advertised;
mod learned;
mod neighbours;

use std::net::IpAddr;
use std::sync::Arc;

use nb_db::tables::{LogicalRouter, LogicalRouterPort, LogicalSwitchPort};
use relations::{Bucket, Handle, Relation, Small};
use sb_db::tables::{AdvertisedRoute, LearnedRoute, PortBinding};

pub use self::advertised::{ADDRESSES, tell};
pub use self::neighbours::{BALANCED_TO, TRANSLATED_TO};
use super::ports::{self, EXCHANGE as BY_PORT, PORT};
use super::{EXCHANGE, ROUTER};
use crate::compiler::feature::{Feature, Kind, Over, Owned, Source};
use crate::compiler::options::Options;
use crate::compiler::problem::Complaints;
#[cfg(test)]
use crate::testing::{Change, routers};

/// Routers that exchange routes.
static DYNAMIC: Relation<Handle, Arc<Dynamic>> = Relation::new("dynamic router");
/// Their ports.
static PORTS: Relation<Handle, Exchange> = Relation::new("dynamic port");
/// The ports on a switch that tell each address there.
static TELLERS: Bucket<Handle, Handle> = Bucket::new("who tells a switch's addresses");

static ROWS: Owned = Owned::south::<AdvertisedRoute>(&[
    AdvertisedRoute::COLUMN.datapath.index,
    AdvertisedRoute::COLUMN.logical_port.index,
    AdvertisedRoute::COLUMN.ip_prefix.index,
    AdvertisedRoute::COLUMN.tracked_port.index,
]);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<LogicalRouter>(&[]).keys(&[(
            LogicalRouter::COLUMN.options.index,
            &[
                "dynamic-routing",
                "dynamic-routing-no-learning",
                "dynamic-routing-redistribute",
                "dynamic-routing-redistribute-local-only",
                "dynamic-routing-v4-prefix-nexthop",
                "dynamic-routing-v6-prefix-nexthop",
                "dynamic-routing-vrf-id",
                "dynamic-routing-vrf-name",
            ],
        )]),
        Source::north::<LogicalRouterPort>(&[]).keys(&[(
            LogicalRouterPort::COLUMN.options.index,
            &[
                "dynamic-routing-maintain-vrf",
                "dynamic-routing-no-learning",
                "dynamic-routing-port-name",
                "dynamic-routing-redistribute",
                "dynamic-routing-redistribute-local-only",
            ],
        )]),
        Source::north::<LogicalSwitchPort>(&[LogicalSwitchPort::COLUMN.name.index]),
        Source::south::<PortBinding>(&[
            PortBinding::COLUMN.logical_port.index,
            PortBinding::COLUMN.virtual_parent.index,
        ]),
        Source::south::<LearnedRoute>(&[
            LearnedRoute::COLUMN.datapath.index,
            LearnedRoute::COLUMN.logical_port.index,
            LearnedRoute::COLUMN.ip_prefix.index,
            LearnedRoute::COLUMN.nexthop.index,
        ]),
    ],
    owns: &[&ROWS],
    relations: &[
        &DYNAMIC,
        &PORTS,
        &TELLERS,
        &learned::WAY,
        &learned::SAME,
        &neighbours::ASKERS,
        &neighbours::ANYBODY,
        &neighbours::ON_SWITCH,
        &TRANSLATED_TO,
        &BALANCED_TO,
        &ADDRESSES,
    ],
    kinds: &[
        &OF_ROUTER,
        &OF_PORT,
        &neighbours::ASK,
        &neighbours::ANY,
        &neighbours::STAND,
        &neighbours::TELL,
        &advertised::CONNECTED,
        &advertised::STATIC,
        &advertised::HOSTS,
        &advertised::TRANSLATED,
        &learned::RESOLVE,
        &learned::GROUP,
    ],
    rules: &[learned::LEARNED],
    #[cfg(test)]
    operator: &[
        Change {
            weight: 4,
            run: routers::dynamic,
        },
        Change {
            weight: 4,
            run: routers::learned_route,
        },
    ],
    ..Feature::new("dynamic routing")
};

/// What a router says for those of its ports that say nothing themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dynamic {
    exchange: Exchange,
    local_only: bool,
    /// `dynamic-routing-vrf-name`.
    vrf_name: Option<Arc<str>>,
}

/// What a port exchanges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exchange {
    /// What is told.
    tells: Told,
    /// Whether anything is learned.
    learns: bool,
}

/// What is told (`dynamic-routing-redistribute`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Told {
    /// Networks of ports.
    connected: bool,
    /// Addresses in these networks, each by itself, and not the networks.
    hosts: bool,
    /// Static routes.
    statics: bool,
    /// Outside addresses of NAT rules.
    translated: bool,
    /// Virtual addresses of load balancers.
    balanced: bool,
}

impl Told {
    fn parse(column: &'static str, text: &str, complaints: &mut Complaints) -> Self {
        let mut told = Self::default();
        let mut at = 0;
        for word in text.split(',') {
            let remedy =
                "it is left out: write connected, connected-as-host, static, nat, lb, with commas";
            match word.trim() {
                "" => {}
                "connected" => told.connected = true,
                "connected-as-host" => told.hosts = true,
                "static" => told.statics = true,
                "nat" => told.translated = true,
                "lb" => told.balanced = true,
                other => {
                    let why = format!("dynamic-routing-redistribute: {other:?} is nothing to tell");
                    complaints.text(column, text, at, why, remedy);
                }
            }
            at += word.len() + 1;
        }
        told
    }
}

static OF_ROUTER: Kind = Kind {
    name: "model/dynamic-router",
    over: Over::Keys(&ROUTER),
    reads: &[],
    says: &[&DYNAMIC, &EXCHANGE],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(router), Some(columns)) = (unit.get(&ROUTER, row), unit.north(row)) else {
            return;
        };
        let column = LogicalRouter::COLUMN.options;
        let options = Options::read(column.name, columns.get(column.index));
        let mut complaints = unit.complaints::<LogicalRouter>(row, Arc::clone(&router.name));
        if options.truth("dynamic-routing", false, &mut complaints) {
            let told = options
                .text("dynamic-routing-redistribute")
                .unwrap_or_default();
            let no_learning = options.truth("dynamic-routing-no-learning", false, &mut complaints);
            let local_only = "dynamic-routing-redistribute-local-only";
            let dynamic = Dynamic {
                exchange: Exchange {
                    tells: Told::parse(column.name, told, &mut complaints),
                    learns: !no_learning,
                },
                local_only: options.truth(local_only, false, &mut complaints),
                vrf_name: options.text("dynamic-routing-vrf-name").map(Arc::from),
            };
            unit.say(&DYNAMIC, row, Arc::new(dynamic));
            unit.say(&EXCHANGE, row, of_chassis(&options, &mut complaints));
        }
        unit.problems(complaints.into_problems());
    },
};

/// What chassis are told of the router.
fn of_chassis(options: &Options<'_>, complaints: &mut Complaints) -> Vec<(&'static str, Arc<str>)> {
    let column = LogicalRouter::COLUMN.options.name;
    let mut said = Vec::new();
    let key = "dynamic-routing-vrf-id";
    if let Some(id) = options.number(key, 1..=u32::MAX, complaints) {
        said.push((key, Arc::from(id.to_string())));
    }
    for (key, is_ip4) in [
        ("dynamic-routing-v4-prefix-nexthop", true),
        ("dynamic-routing-v6-prefix-nexthop", false),
    ] {
        let Some(text) = options.text(key) else {
            continue;
        };
        // An IPv4 prefix may have a next hop of IPv6 (RFC 5549).
        match text.parse::<IpAddr>() {
            Ok(ip) if is_ip4 || ip.is_ipv6() => said.push((key, Arc::from(text))),
            _ => {
                let why = format!("{key} is no address that can be a next hop of such prefixes");
                complaints.text(column, text, 0, why, "it is left out: write one address");
            }
        }
    }
    said
}

static OF_PORT: Kind = Kind {
    name: "model/dynamic-port",
    over: Over::Keys(&PORT),
    reads: &[&ROUTER, &DYNAMIC],
    says: &[&PORTS, &BY_PORT],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(port), Some(columns)) = (unit.get(&PORT, row), unit.north(row)) else {
            return;
        };
        let column = LogicalRouterPort::COLUMN.options;
        let options = Options::read(column.name, columns.get(column.index));
        let mut complaints = unit.complaints::<LogicalRouterPort>(row, Arc::clone(&port.name));
        let told = options.text("dynamic-routing-redistribute");
        let told = told.map(|text| Told::parse(column.name, text, &mut complaints));
        let mut truth = |key, default| options.truth(key, default, &mut complaints);
        let maintains = truth("dynamic-routing-maintain-vrf", false);
        let dynamic = ports::owner(unit, row).and_then(|router| unit.get(&DYNAMIC, router));
        let of = dynamic.map(|dynamic| dynamic.exchange);
        let no_learning = truth(
            "dynamic-routing-no-learning",
            of.is_some_and(|of| !of.learns),
        );
        let local_only = truth(
            "dynamic-routing-redistribute-local-only",
            dynamic.is_some_and(|of| of.local_only),
        );
        if let Some(dynamic) = dynamic {
            let exchange = Exchange {
                tells: told.unwrap_or(dynamic.exchange.tells),
                learns: !no_learning,
            };
            unit.say(&PORTS, row, exchange);
            let flags = [
                ("dynamic-routing", true),
                ("dynamic-routing-maintain-vrf", maintains),
                ("dynamic-routing-no-learning", no_learning),
                ("dynamic-routing-redistribute-local-only", local_only),
            ];
            let flags = flags.into_iter().filter(|(_, is)| *is);
            let mut said: Vec<_> = flags.map(|(key, _)| (key, Arc::from("true"))).collect();
            if let Some(name) = &dynamic.vrf_name {
                said.push(("dynamic-routing-vrf-name", Arc::clone(name)));
            }
            if let Some(name) = options.text("dynamic-routing-port-name") {
                said.push(("dynamic-routing-port-name", Arc::from(name)));
            }
            unit.say(&BY_PORT, row, said);
        }
        unit.problems(complaints.into_problems());
    },
};

#[cfg(test)]
mod tests;
