//! Which ports tell what a router translates and balances: its own, and those of the routers next to it.
//!
//! A router is next to a port if it is on the switch that the port leads to, or at the other end of it. Who is on a switch is only kept
//! while somebody asks.

use std::sync::Arc;

use relations::{Bucket, Handle, Relation, Small};

use super::PORTS;
use crate::compiler::feature::{Kind, Over};
use crate::features::router::ROUTER;
use crate::features::router::links::{PEER, Peer};
use crate::features::router::ports::{self, PORT};

/// The ports that tell the outside addresses of a router's NAT rules.
pub static TRANSLATED_TO: Bucket<Handle, Handle> = Bucket::new("who tells translated addresses");
/// The ports that tell the virtual addresses of a router's load balancers.
pub static BALANCED_TO: Bucket<Handle, Handle> = Bucket::new("who tells balanced addresses");

/// The ports that tell either.
pub(super) static ASKERS: Bucket<(), Handle> = Bucket::new("who tells addresses of routers");
/// There are some.
pub(super) static ANYBODY: Relation<(), ()> = Relation::new("addresses of routers are told");
/// The routers on a switch, each by its ports there.
pub(super) static ON_SWITCH: Bucket<Handle, (Handle, Handle)> = Bucket::new("routers on a switch");

pub(super) static ASK: Kind = Kind {
    name: "dynamic-port/asks",
    over: Over::Keys(&PORTS),
    reads: &[&PORTS],
    says: &[&ASKERS],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let tells = unit.get(&PORTS, row).map(|exchange| exchange.tells);
        if tells.is_some_and(|tells| tells.translated || tells.balanced) {
            unit.join(&ASKERS, (), row);
        }
    },
};

pub(super) static ANY: Kind = Kind {
    name: "dynamic-ports/ask",
    over: Over::Keys(&ASKERS),
    reads: &[],
    says: &[&ANYBODY],
    wants: &[],
    run: |unit, _| unit.say(&ANYBODY, (), ()),
};

pub(super) static STAND: Kind = Kind {
    name: "router-port/on-switch",
    ..ports::kind!([&PORT, &PEER, &ANYBODY], [&ON_SWITCH], |unit, view| {
        if unit.get(&ANYBODY, ()).is_none() {
            return;
        }
        if let Some(Peer::Switch { switch, .. }) = unit.get(&PEER, view.row) {
            unit.join(&ON_SWITCH, *switch, (view.router, view.row));
        }
    })
};

pub(super) static TELL: Kind = Kind {
    name: "dynamic-port/tells",
    over: Over::Keys(&PORTS),
    reads: &[&PORTS, &PORT, &ROUTER, &PEER, &ON_SWITCH],
    says: &[&TRANSLATED_TO, &BALANCED_TO],
    wants: &[],
    run: |unit, key| {
        let port = Handle::unpack(key);
        let Some(tells) = unit.get(&PORTS, port).map(|exchange| exchange.tells) else {
            return;
        };
        if !(tells.translated || tells.balanced) {
            return;
        }
        let mut routers: Vec<Handle> = ports::owner(unit, port).into_iter().collect();
        match unit.get(&PEER, port) {
            Some(Peer::Switch { switch, .. }) => {
                let there = unit.members(&ON_SWITCH, *switch).iter();
                routers.extend(there.map(|(router, _)| *router));
            }
            Some(Peer::Router { name, .. }) => {
                let there = ports::named(unit, &Arc::clone(name));
                routers.extend(there.map(|(_, router)| router));
            }
            None => {}
        }
        routers.sort_unstable();
        routers.dedup();
        for router in routers {
            if tells.translated {
                unit.join(&TRANSLATED_TO, router, port);
            }
            if tells.balanced {
                unit.join(&BALANCED_TO, router, port);
            }
        }
    },
};
