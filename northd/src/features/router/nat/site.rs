//! Where a rule has its effect.
//!
//! On a router that is on one chassis: at all of its ports. On one that is on all chassis: at one gateway port, that which the
//! rule names (`gateway_port`), else the only one, else the one in whose network the outside address is; there, packets are
//! translated on the chassis that has the port, or, for a guest with an outside address and MAC of its own, on the guest's; the
//! latter only if a physical network leads to the port's switch.

use std::sync::Arc;

use addr::Mac;
use lflow::{Expr, m};
use nb_db::tables::{LogicalRouterPort, Nat};
use relations::Handle;
use uuid::Uuid;

use super::OWNERS;
use super::model::Translation;
use crate::compiler::problem::Complaints;
use crate::compiler::unit::Unit;
use crate::features::ports::LOCALNETS;
use crate::features::router::ROUTER;
use crate::features::router::gateways::{GATEWAY, GATEWAYS};
use crate::features::router::links::{PEER, Peer};
use crate::features::router::ports::{self, PORT, RouterPort};
use crate::features::switch::DATAPATH;

/// A router where a rule has its effect.
pub struct Site {
    /// The router.
    pub router: Handle,
    /// Its datapath.
    pub datapath: Uuid,
    /// The gateway port, if the router is on all chassis.
    pub gateway: Option<AtGateway>,
}

/// A gateway port where packets are translated.
pub struct AtGateway {
    /// Its row.
    pub row: Handle,
    /// The port.
    pub port: Arc<RouterPort>,
    /// The port that has to be on the chassis that translates: `cr-…`, or the guest's.
    pub residence: Arc<str>,
    /// For a guest with a MAC of its own outside, that.
    pub mac: Option<Mac>,
}

impl Site {
    /// Packets that come from outside.
    pub fn arrives(&self, when: Expr) -> Expr {
        match &self.gateway {
            Some(at) => at.is_here(when & m::inport(at.port.name.clone())),
            None => when,
        }
    }

    /// Packets that go outside.
    pub fn leaves(&self, when: Expr) -> Expr {
        match &self.gateway {
            Some(at) => at.is_here(when & m::outport(at.port.name.clone())),
            None => when,
        }
    }
}

impl AtGateway {
    /// The same, on the chassis that translates.
    pub fn is_here(&self, when: Expr) -> Expr {
        when & m::resident(Arc::clone(&self.residence))
    }
}

/// The routers where a rule has its effect, and what is wrong with it at others.
pub fn sites(
    unit: &Unit<'_>,
    row: Handle,
    rule: &Translation,
    complaints: &mut Complaints,
) -> Vec<Site> {
    let owners = unit.referrers(OWNERS, row).iter();
    let sites = owners.filter_map(|router| {
        let datapath = unit.get(&DATAPATH, *router)?.uuid;
        let of = unit.get(&ROUTER, *router)?;
        let gateway = match of.chassis {
            Some(_) => None,
            None => Some(gateway(unit, *router, rule, complaints)?),
        };
        let router = *router;
        Some(Site {
            router,
            datapath,
            gateway,
        })
    });
    sites.collect()
}

fn gateway(
    unit: &Unit<'_>,
    router: Handle,
    rule: &Translation,
    complaints: &mut Complaints,
) -> Option<AtGateway> {
    let row = gateway_port(unit, router, rule, complaints)?;
    let port = Arc::clone(unit.get(&PORT, row)?);
    let gateway = unit.get(&GATEWAY, row)?;
    // Without a physical network, who is outside reaches the gateway's chassis alone.
    let leads_outside = match unit.get(&PEER, row) {
        Some(Peer::Switch { switch, .. }) => !unit.members(&LOCALNETS, *switch).is_empty(),
        _ => true,
    };
    let (residence, mac) = match rule.guest.as_ref().filter(|_| leads_outside) {
        Some((guest, mac)) => (Arc::clone(guest), Some(*mac)),
        None => (Arc::clone(&gateway.redirect), None),
    };
    Some(AtGateway {
        row,
        port,
        residence,
        mac,
    })
}

fn gateway_port(
    unit: &Unit<'_>,
    router: Handle,
    rule: &Translation,
    complaints: &mut Complaints,
) -> Option<Handle> {
    let column = Nat::COLUMN;
    let gateways = unit.members(&GATEWAYS, router);
    if let Some(named) = rule.gateway_port {
        let named = unit.find_north::<LogicalRouterPort>(named);
        let found = named.filter(|named| gateways.contains(named));
        if found.is_none() {
            let why = "the port is no gateway port of the rule's router";
            let remedy = "the rule has no effect: name another one, or give the port chassis";
            complaints.column(column.gateway_port.name, why, remedy);
        }
        return found;
    }
    match gateways {
        [] => {
            let why = "the router is on all chassis, and no port of it is a gateway port";
            let remedy = "the rule has no effect: give one of its ports chassis, or the router";
            complaints.column(column.r#type.name, why, remedy);
            None
        }
        [only] => Some(*only),
        several => {
            let facing = ports::facing(unit, router, rule.external);
            let found = facing.filter(|port| several.contains(port));
            if found.is_none() {
                let why = "the router has several gateway ports, and none has the address in its networks";
                let remedy = "the rule has no effect: name its gateway_port";
                complaints.column(column.external_ip.name, why, remedy);
            }
            found
        }
    }
}
