//! Which switches snoop: `Logical_Switch.other_config:mcast_snoop`.
//!
//! Guarantees that each switch has a row of `IP_Multicast`, by which controllers know whether it snoops, what to do with reports and whether
//! to ask for them; that its IGMP and MLD packets go to the controller and nowhere else (which passes them on, RFC 4541, section
//! 2.1.1); and that IP multicast that nobody has joined goes to everybody (`mcast_flood_unregistered`), or to the ports that
//! want it all and to multicast routers, or nowhere.
//!
//! Never filtered are 224.0.0.0/24 (RFC 4541, section 2.1.2), which goes to all that is no router, and the reserved groups of
//! IPv6 and those of neighbour discovery (RFC 4291, section 2.7.1), which go to everybody; but solicitations of and for routers go
//! where they go on every switch (`lookup`), whose rules for them are above these.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use addr::{Cidr, Mac};
use lflow::action::{Action, Plain};
use lflow::{Expr, Symbol, a, m};
use nb_db::tables::LogicalSwitch;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Datum, Row};
use relations::{Handle, Relation, Set, Small};
use sb_db::tables::{DatapathBinding, IpMulticast};

use super::{EXISTS, Group};
use crate::compiler::feature::{Index, Kind, Over, Owned};
use crate::compiler::identity;
use crate::compiler::options::Options;
use crate::compiler::problem::Complaints;
use crate::compiler::stage::{Rule, Stage};
use crate::features::switch::DATAPATH;

/// Switches that snoop, and how.
pub(super) static SNOOPING: Relation<Handle, Snooping> = Relation::new("snooping");
/// Their datapaths.
static SNOOPERS: Set<()> = Set::new("switches that snoop");
/// The datapaths of those that filter, by whether there are multicast routers (1) and ports that get everything (2).
static FILTERING: Set<u32> = Set::new("switches that filter multicast");

/// The keys of `other_config`.
pub(super) const KEYS: &[&str] = &[
    "mcast_snoop",
    "mcast_querier",
    "mcast_flood_unregistered",
    "mcast_table_size",
    "mcast_idle_timeout",
    "mcast_query_interval",
    "mcast_query_max_response",
    "mcast_eth_src",
    "mcast_ip4_src",
    "mcast_ip6_src",
];

pub(super) const OF_DATAPATH: Index =
    Index::south::<IpMulticast>(IpMulticast::COLUMN.datapath.index);

pub(super) static ROWS: Owned = Owned::south::<IpMulticast>(&[
    IpMulticast::COLUMN.datapath.index,
    IpMulticast::COLUMN.enabled.index,
    IpMulticast::COLUMN.querier.index,
    IpMulticast::COLUMN.eth_src.index,
    IpMulticast::COLUMN.ip4_src.index,
    IpMulticast::COLUMN.ip6_src.index,
    IpMulticast::COLUMN.table_size.index,
    IpMulticast::COLUMN.idle_timeout.index,
    IpMulticast::COLUMN.query_interval.index,
    IpMulticast::COLUMN.query_max_resp.index,
]);

pub(super) const PUNT: Rule = Rule::new(
    Stage::InLookup,
    100,
    "IGMP or MLD, on a switch that snoops: to the controller",
);
pub(super) const LOCAL: Rule = Rule::new(
    Stage::InLookup,
    73,
    "a group that is never filtered, on a switch that snoops: to all enabled ports, of 224.0.0.0/24 that lead to no router",
);
pub(super) const UNREGISTERED: Rule = Rule::new(
    Stage::InLookup,
    72,
    "a group that nobody has joined, on a switch that filters: to multicast routers and ports that get everything",
);

/// How a switch snoops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snooping {
    /// Whether groups that nobody has joined are for everybody.
    floods_unregistered: bool,
    querier: bool,
    eth_src: Option<Mac>,
    ip4_src: Option<Ipv4Addr>,
    ip6_src: Option<Ipv6Addr>,
    /// How many groups there may be.
    pub(super) table_size: u32,
    idle_timeout_s: i64,
    query_interval_s: i64,
    query_max_response_s: i64,
}

/// What is told of a switch that does not: nothing of it has an effect.
static IDLE: Snooping = Snooping {
    floods_unregistered: false,
    querier: true,
    eth_src: None,
    ip4_src: None,
    ip6_src: None,
    table_size: 2_048,
    idle_timeout_s: 300,
    query_interval_s: 150,
    query_max_response_s: 1,
};

pub(super) static MODEL: Kind = Kind {
    name: "model/snooping",
    over: Over::North(LogicalSwitch::INDEX),
    reads: &[],
    says: &[&SNOOPING],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let name: Arc<str> = LogicalSwitch::COLUMN.name.get(columns);
        let mut complaints = unit.complaints::<LogicalSwitch>(row, name);
        if let Some(snooping) = Snooping::parse(columns, &mut complaints) {
            unit.say(&SNOOPING, row, snooping);
        }
        unit.problems(complaints.into_problems());
    },
};

pub(super) static SWITCH: Kind = Kind {
    name: "snooping",
    over: Over::Keys(&DATAPATH),
    reads: &[&SNOOPING, &EXISTS],
    says: &[&SNOOPERS, &FILTERING],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(datapath) = unit.get(&DATAPATH, row) else {
            return;
        };
        let snooping = unit.get(&SNOOPING, row);
        if let Some(snooping) = snooping {
            unit.member(&SNOOPERS, (), datapath.uuid);
            if !snooping.floods_unregistered {
                let is_there = |group: Group| unit.get(&EXISTS, group.of_datapath(row)).is_some();
                let routers = u32::from(is_there(Group::Routers));
                let statics = u32::from(is_there(Group::Static)) * 2;
                unit.member(&FILTERING, routers | statics, datapath.uuid);
            }
        }
        let recorded = unit
            .recorded_referrers(OF_DATAPATH, DatapathBinding::INDEX, datapath.uuid)
            .next();
        let uuid = recorded.map_or_else(
            || identity::named(IpMulticast::NAME, datapath.uuid, ""),
            |(uuid, _)| uuid,
        );
        let columns = snooping
            .unwrap_or(&IDLE)
            .columns(datapath.uuid, snooping.is_some());
        unit.row::<IpMulticast>(uuid, columns);
    },
};

pub(super) static SHARED: Kind = Kind {
    name: "snooping/flows",
    over: Over::Shared(&SNOOPERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&SNOOPERS, (), "switches that snoop", None);
        let punt = || [a::plain(Plain::Igmp)];
        flows.add(PUNT, &m::is(Symbol::Igmp), punt());
        let mld = m::is(Symbol::Mldv1) | m::is(Symbol::Mldv2);
        flows.add(PUNT, &mld, punt());
        let local: Cidr = "224.0.0.0/24".parse().expect("a network");
        let local = m::is(Symbol::Ip4Mcast) & m::ip_dst_in(local);
        flows.add(LOCAL, &local, to(Group::FloodL2));
        flows.add(LOCAL, &m::is(Symbol::Ip6McastFlood), to(Group::Flood));
    },
};

pub(super) static UNREGISTERED_FLOWS: Kind = Kind {
    name: "snooping/unregistered",
    over: Over::Shared(&FILTERING),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let groups = u32::unpack(key);
        let mut then = copies(groups & 1 != 0, groups & 2 != 0);
        if then.is_empty() {
            then.push(a::drop());
        }
        let name = format!("switches that filter multicast {groups}");
        let mut flows = unit.shared_flows(&FILTERING, groups, &name, None);
        flows.add(UNREGISTERED, &any_group(), then);
    },
};

/// To a group, and nowhere else.
pub(super) fn to(group: Group) -> [Action; 2] {
    [a::set_outport(group.name()), a::output()]
}

/// Copies to multicast routers and to ports that get everything.
pub(super) fn copies(routers: bool, statics: bool) -> Vec<Action> {
    let groups = [(routers, Group::Routers), (statics, Group::Static)];
    let groups = groups.into_iter().filter(|(is_there, _)| *is_there);
    groups.map(|(_, group)| a::clone(to(group))).collect()
}

/// Any IP multicast.
pub fn any_group() -> Expr {
    m::is(Symbol::Ip4Mcast) | m::is(Symbol::Ip6Mcast)
}

impl Snooping {
    /// How a switch snoops, if it does. What is said of it otherwise has no meaning, and is not looked at.
    fn parse(row: &Row, complaints: &mut Complaints) -> Option<Self> {
        let column = LogicalSwitch::COLUMN.other_config;
        let options = Options::read(column.name, row.get(column.index));
        if !options.truth("mcast_snoop", false, complaints) {
            return None;
        }
        let idle_timeout_s = options.number("mcast_idle_timeout", 15..=3_600, complaints);
        let idle_timeout_s = idle_timeout_s.unwrap_or(300);
        let query_interval_s = options.number("mcast_query_interval", 1..=3_600, complaints);
        let max_response_s = options.number("mcast_query_max_response", 1..=10, complaints);
        let table_size = options.number("mcast_table_size", 1..=32_766, complaints);
        let snooping = Self {
            floods_unregistered: options.truth("mcast_flood_unregistered", false, complaints),
            querier: options.truth("mcast_querier", true, complaints),
            eth_src: source(&options, "mcast_eth_src", is_unicast, complaints),
            ip4_src: source(&options, "mcast_ip4_src", is_host, complaints),
            ip6_src: source(
                &options,
                "mcast_ip6_src",
                Ipv6Addr::is_unicast_link_local,
                complaints,
            ),
            table_size: table_size.unwrap_or(2_048),
            idle_timeout_s,
            query_interval_s: query_interval_s.unwrap_or(idle_timeout_s / 2),
            query_max_response_s: max_response_s.unwrap_or(1),
        };
        let is_asked_to = snooping.querier && options.text("mcast_querier").is_some();
        let has_ip = snooping.ip4_src.is_some() || snooping.ip6_src.is_some();
        if is_asked_to && (snooping.eth_src.is_none() || !has_ip) {
            let why = "mcast_querier needs an address to ask from";
            let remedy = "nobody asks: set mcast_eth_src, and mcast_ip4_src or mcast_ip6_src";
            complaints.column(column.name, why, remedy);
        }
        Some(snooping)
    }

    fn columns(&self, datapath: uuid::Uuid, is_enabled: bool) -> [(usize, Datum); 10] {
        let column = IpMulticast::COLUMN;
        let text = |address: Option<String>| Datum::from(address.unwrap_or_default());
        [
            column.datapath.to(&datapath),
            column.enabled.to(&Some(is_enabled)),
            column.querier.to(&Some(self.querier)),
            (
                column.eth_src.index,
                text(self.eth_src.map(|mac| mac.to_string())),
            ),
            (
                column.ip4_src.index,
                text(self.ip4_src.map(|ip| ip.to_string())),
            ),
            (
                column.ip6_src.index,
                text(self.ip6_src.map(|ip| ip.to_string())),
            ),
            column.table_size.to(&Some(i64::from(self.table_size))),
            column.idle_timeout.to(&Some(self.idle_timeout_s)),
            column.query_interval.to(&Some(self.query_interval_s)),
            column.query_max_resp.to(&Some(self.query_max_response_s)),
        ]
    }
}

fn is_unicast(mac: &Mac) -> bool {
    !(mac.is_multicast() || mac.is_zero())
}

fn is_host(ip: &Ipv4Addr) -> bool {
    !(ip.is_multicast() || ip.is_unspecified() || ip.is_broadcast() || ip.is_loopback())
}

/// An address to ask from.
fn source<T: std::str::FromStr>(
    options: &Options<'_>,
    key: &str,
    is_good: impl FnOnce(&T) -> bool,
    complaints: &mut Complaints,
) -> Option<T> {
    let text = options.text(key).filter(|text| !text.is_empty())?;
    let address = text.parse::<T>().ok().filter(|address| is_good(address));
    if address.is_none() {
        let what = match key {
            "mcast_eth_src" => "a unicast MAC",
            "mcast_ip4_src" => "a host's IPv4 address",
            _ => "a link-local IPv6 address",
        };
        let why = format!("{key} is not {what}");
        let column = LogicalSwitch::COLUMN.other_config.name;
        complaints.text(column, text, 0, why, "nobody asks with it: write one");
    }
    address
}
