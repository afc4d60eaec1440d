//! Forced source addresses: what a router has translated comes back to it, because the other side sees the router's address.
//!
//! Guarantees that on a router that is on one chassis, a connection whose destination was translated by a NAT rule
//! (`options:dnat_force_snat_ip`) or a load balancer (`options:lb_force_snat_ip`) leaves with the address that is set there, one
//! for each family; `router_ip` stands for the address of the port that it leaves by. Replies to these addresses are
//! translated back. Which packets that is, is said by who translates: in flags.

use std::net::IpAddr;
use std::sync::Arc;

use lflow::action::{Action, NatKind};
use lflow::{Expr, Int, Symbol, a, m};
use nb_db::tables::LogicalRouter;
use relations::{Handle, Relation, Small};

use super::ROUTER;
use super::own::{BALANCED, TRANSLATORS};
use super::ports::{self, is_link_local};
use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::options::Options;
use crate::compiler::problem::Complaints;
use crate::compiler::stage::{Rule, Stage};
use crate::features::switch::DATAPATH;

/// What routers that are on one chassis force.
pub static FORCED: Relation<Handle, Arc<Forced>> = Relation::new("forced source addresses");

/// What a router forces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forced {
    /// `lb_force_snat_ip`: for what a load balancer has translated.
    pub balanced: Option<Address>,
    /// `dnat_force_snat_ip`: for what a NAT rule has translated.
    pub translated: Option<Address>,
}

/// The source address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// One of each family, at most.
    These(Vec<IpAddr>),
    /// That of the port by which the packet leaves.
    OfPort,
}

const BACK: Rule = Rule::new(
    Stage::RouterInUnsnat,
    110,
    "to an address that the router forces: translate back what is a reply",
);
const FORCE: Rule = Rule::new(
    Stage::RouterOutSnat,
    280,
    "what the router has translated: from the address that it forces",
);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[Source::north::<LogicalRouter>(&[]).keys(&[(
        LogicalRouter::COLUMN.options.index,
        &["lb_force_snat_ip", "dnat_force_snat_ip"],
    )])],
    relations: &[&FORCED],
    kinds: &[&MODEL, &OF_ROUTER, &CLAIMS, &OF_PORT],
    rules: &[BACK, FORCE],
    ..Feature::new("forced source addresses")
};

static MODEL: Kind = Kind {
    name: "model/force-snat",
    over: Over::Keys(&ROUTER),
    reads: &[],
    says: &[&FORCED],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(router), Some(columns)) = (unit.get(&ROUTER, row), unit.north(row)) else {
            return;
        };
        let column = LogicalRouter::COLUMN.options;
        let options = Options::read(column.name, columns.get(column.index));
        let name = Arc::clone(&router.name);
        let mut complaints = unit.complaints::<LogicalRouter>(row, name);
        let mut read = |key, takes_port| {
            let text = options.text(key)?;
            if router.chassis.is_none() {
                let why = format!("{key} is for routers that are on one chassis");
                let remedy = "it has no effect: set options:chassis, or remove it";
                complaints.text(column.name, text, 0, why, remedy);
                return None;
            }
            parse(key, text, takes_port, &mut complaints)
        };
        let forced = Forced {
            balanced: read("lb_force_snat_ip", true),
            translated: read("dnat_force_snat_ip", false),
        };
        if forced.balanced.is_some() || forced.translated.is_some() {
            unit.say(&FORCED, row, Arc::new(forced));
        }
        unit.problems(complaints.into_problems());
    },
};

/// `router_ip`, or an address of each family.
fn parse(key: &str, text: &str, takes_port: bool, complaints: &mut Complaints) -> Option<Address> {
    let column = LogicalRouter::COLUMN.options.name;
    if takes_port && text == "router_ip" {
        return Some(Address::OfPort);
    }
    let mut ips: Vec<IpAddr> = Vec::new();
    for word in text.split_whitespace() {
        let at = text.find(word).unwrap_or_default();
        let remedy = "it is left out: write one address of each family at most";
        match word.parse::<IpAddr>() {
            Ok(ip) if ips.iter().any(|known| known.is_ipv4() == ip.is_ipv4()) => {
                let why = format!("{key} has another address of this family already");
                complaints.text(column, text, at, why, remedy);
            }
            Ok(ip) => ips.push(ip),
            Err(_) => {
                let why = format!("{key}: {word:?} is no IP address");
                complaints.text(column, text, at, why, remedy);
            }
        }
    }
    (!ips.is_empty()).then_some(Address::These(ips))
}

static OF_ROUTER: Kind = Kind {
    name: "force-snat",
    over: Over::Keys(&FORCED),
    reads: &[&DATAPATH],
    says: &[&TRANSLATORS],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(forced), Some(datapath)) = (unit.get(&FORCED, row), unit.get(&DATAPATH, row))
        else {
            return;
        };
        let hint = unit.uuid(row);
        unit.member(&TRANSLATORS, (), datapath.uuid);
        let mut flows = unit.flows(datapath.uuid, Some(hint));
        for (flag, address) in forced.flagged() {
            let Address::These(ips) = address else {
                continue;
            };
            for ip in ips {
                flows.add_common(BACK, &m::ip_dst(*ip), [snat(None)]);
                let flagged = is_flagged(flag) & m::family(*ip);
                flows.add(FORCE, &flagged, [snat(Some(*ip))]);
            }
        }
    },
};

static CLAIMS: Kind = Kind {
    name: "router-port/force-snat",
    ..ports::kind!([&FORCED], [&BALANCED], |unit, view| {
        let Some(forced) = unit.get(&FORCED, view.router) else {
            return;
        };
        let uuid = unit.uuid(view.row);
        let addresses: Vec<&Address> = forced.flagged().map(|(_, address)| address).collect();
        let mut ips: Vec<IpAddr> = view.port.ips().filter(|ip| !is_link_local(*ip)).collect();
        ips.sort_unstable();
        ips.dedup();
        for ip in ips {
            let is_forced = addresses.iter().any(|address| match address {
                Address::These(ips) => ips.contains(&ip),
                Address::OfPort => true,
            });
            if is_forced {
                unit.join(&BALANCED, (view.router, ip), uuid);
            }
        }
    })
};

static OF_PORT: Kind = ports::kind!([&FORCED], [], |unit, view| {
    let Some(forced) = unit.get(&FORCED, view.router) else {
        return;
    };
    if forced.balanced != Some(Address::OfPort) || !view.port.is_enabled {
        return;
    }
    let mut flows = view.flows(unit);
    for ip in [true, false]
        .into_iter()
        .filter_map(|is_ip4| view.port.source(is_ip4))
    {
        let name = &view.port.name;
        let back = m::inport(Arc::clone(name)) & m::ip_dst(ip);
        flows.add(BACK, &back, [snat(None)]);
        let leaves = is_flagged(Symbol::FlagsForceSnatForLb) & m::family(ip);
        let leaves = leaves & m::outport(Arc::clone(name));
        flows.add(FORCE.at(FORCE.priority + 1), &leaves, [snat(Some(ip))]);
    }
});

impl Forced {
    /// The flags of packets, and the addresses that they get.
    fn flagged(&self) -> impl Iterator<Item = (Symbol, &Address)> {
        let balanced = self.balanced.iter();
        let translated = self.translated.iter();
        let balanced = balanced.map(|address| (Symbol::FlagsForceSnatForLb, address));
        balanced.chain(translated.map(|address| (Symbol::FlagsForceSnatForDnat, address)))
    }
}

fn is_flagged(flag: Symbol) -> Expr {
    m::eq(flag, Int::new(1))
}

fn snat(ip: Option<IpAddr>) -> Action {
    let (kind, ports) = (NatKind::Snat, None);
    Action::Nat { kind, ip, ports }
}

/// A packet whose destination a NAT rule translates is to be forced later.
pub fn remember(forced: Option<&Arc<Forced>>) -> Option<Action> {
    let forces = forced.is_some_and(|forced| forced.translated.is_some());
    forces.then(|| a::set(Symbol::FlagsForceSnatForDnat, Int::new(1)))
}
