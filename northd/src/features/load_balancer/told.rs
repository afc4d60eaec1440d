//! Virtual addresses that ports tell to routing daemons (`dynamic-routing-redistribute=lb`), each where connections to it are balanced.

use relations::{Handle, Small};
use uuid::Uuid;

use super::carriers::{GROUPS_OF, ROUTERS_OF, ROUTERS_WITH};
use super::model::BALANCER;
use crate::compiler::feature::{Kind, Over};
use crate::compiler::unit::Unit;
use crate::features::router::ROUTER;
use crate::features::router::dynamic::{ADDRESSES, BALANCED_TO, tell};
use crate::features::router::gateways::{GATEWAYS, REDIRECT};

pub(super) static TELL: Kind = Kind {
    name: "load-balancer/told",
    over: Over::Keys(&BALANCER),
    reads: &[&BALANCED_TO, &ROUTER, &GATEWAYS, &REDIRECT],
    says: &[&ADDRESSES],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(balancer) = unit.get(&BALANCER, row) else {
            return;
        };
        let mut routers: Vec<Handle> = unit.referrers(ROUTERS_OF, row).to_vec();
        for group in unit.referrers(GROUPS_OF, row) {
            routers.extend(unit.referrers(ROUTERS_WITH, *group));
        }
        routers.sort_unstable();
        routers.dedup();
        for router in routers {
            for port in unit.members(&BALANCED_TO, router) {
                let place = place(unit, router, *port);
                for ip in balancer.ips() {
                    tell(unit, row, *port, ip, place);
                }
            }
        }
    },
};

/// The binding of the port that is where a router balances what comes in by a port, if that is not on all chassis, or where the router
/// is: the gateway port that tells, else the first.
fn place(unit: &Unit<'_>, router: Handle, port: Handle) -> Option<Uuid> {
    let of = unit.get(&ROUTER, router)?;
    let gateways = unit.members(&GATEWAYS, router);
    let first = gateways.iter().copied().min_by_key(|row| unit.uuid(*row));
    let own = gateways.contains(&port).then_some(port);
    let gateway = own.or(first).filter(|_| of.chassis.is_none())?;
    unit.get(&REDIRECT, gateway).map(|binding| binding.uuid)
}
