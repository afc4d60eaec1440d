//! `Learned_Route`: what chassis have heard of the routing daemons.
//!
//! A route is followed in the main table, by the port that it was heard at, below a static route to the same prefix; several share
//! the load. A row of a port that learns nothing (any more) is deleted. One that makes no sense is not followed: its chassis has
//! written it, and nobody northbound can correct it.

use std::net::IpAddr;
use std::sync::Arc;

use addr::Cidr;
use lflow::action::Action;
use lflow::{Int, m};
use ovsdb::typed::Table;
use relations::{Bucket, Handle, Key, Relation, Small};
use sb_db::tables::{LearnedRoute, PortBinding};
use uuid::Uuid;

use super::PORTS;
use crate::compiler::feature::{Kind, Over};
use crate::compiler::identity;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::router::ROUTER;
use crate::features::router::links::{PEER, Peer};
use crate::features::router::ports::{self, PORT};
use crate::features::router::routes::{self, Next, TABLE};
use crate::features::router::static_routes::follow;
use crate::features::switch::DATAPATH;

/// Where each leads: by its row.
pub(super) static WAY: Relation<Uuid, Way> = Relation::new("way of a learned route");
/// Those of a router to one prefix: their rows.
pub(super) static SAME: Bucket<Uuid, Uuid> = Bucket::new("learned routes to a prefix");

pub(super) const LEARNED: Rule = Rule::new(
    Stage::RouterInRouting,
    128 * 8 + 2,
    "a route that a chassis has learned, at 8 × prefix + 2: to its next hop; one of several is chosen",
);

/// Where a route leads in its router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    datapath: Uuid,
    prefix: Cidr,
    hop: IpAddr,
    towards: Vec<Action>,
}

pub(super) static RESOLVE: Kind = Kind {
    name: "learned-route",
    over: Over::South(LearnedRoute::INDEX),
    reads: &[&PORTS, &PORT, &ROUTER, &DATAPATH, &PEER],
    says: &[&WAY, &SAME],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let column = LearnedRoute::COLUMN;
        let Some(columns) = unit.south(row) else {
            return;
        };
        let datapath = column.datapath.get(columns);
        let binding = unit.find_south::<PortBinding>(column.logical_port.get(columns));
        let binding = binding.and_then(|binding| unit.south(binding));
        let name: Option<Arc<str>> = binding.map(|row| PortBinding::COLUMN.logical_port.get(row));
        let place = name.and_then(|name| ports::named(unit, &name));
        let place = place.filter(|(port, router)| {
            let is_here = unit.get(&DATAPATH, *router).map(|of| of.uuid) == Some(datapath);
            is_here && unit.get(&PORTS, *port).is_some_and(|port| port.learns)
        });
        let Some((port, _)) = place else {
            return unit.expired::<LearnedRoute>(row, None, 0);
        };
        let (prefix, hop): (Arc<str>, Arc<str>) =
            (column.ip_prefix.get(columns), column.nexthop.get(columns));
        let (Ok(prefix), Ok(hop)) = (prefix.parse::<Cidr>(), hop.parse::<IpAddr>()) else {
            return;
        };
        let Some(of) = unit.get(&PORT, port).filter(|port| port.is_enabled) else {
            return;
        };
        let segment = unit.get(&PEER, port).map_or(0, Peer::segment);
        let Some(source) = of.source_towards(hop) else {
            return;
        };
        let uuid = unit.south_uuid(row);
        let way = Way {
            datapath,
            prefix: prefix.network(),
            hop,
            towards: routes::towards(of, segment, Next::Hop(hop), source),
        };
        let prefix = way.prefix.to_string();
        let same = identity::derive(&[b"learned", datapath.as_bytes(), prefix.as_bytes()]);
        unit.say(&WAY, uuid, way);
        unit.join(&SAME, same, uuid);
    },
};

pub(super) static GROUP: Kind = Kind {
    name: "learned-routes",
    over: Over::Shared(&SAME),
    reads: &[&SAME, &WAY],
    says: &[],
    wants: &[],
    run: group,
};

fn group(unit: &mut Unit<'_>, key: Key) {
    let members = unit.members(&SAME, Uuid::unpack(key)).iter();
    let ways: Vec<&Way> = members.filter_map(|row| unit.get(&WAY, *row)).collect();
    let Some(first) = ways.first() else {
        return;
    };
    let rule = LEARNED.at(u16::from(first.prefix.prefix_len()) * 8 + 2);
    let when = m::eq(TABLE.field(), Int::new(0)) & m::ip_dst_in(first.prefix);
    let mut flows = unit.flows(first.datapath, None);
    for way in &ways {
        routes::ask(&mut flows, way.hop);
    }
    // Two chassis may have learned the same.
    let mut several: Vec<&Vec<Action>> = Vec::new();
    for way in &ways {
        if !several.contains(&&way.towards) {
            several.push(&way.towards);
        }
    }
    follow(&mut flows, &when, rule, &several, None);
}
