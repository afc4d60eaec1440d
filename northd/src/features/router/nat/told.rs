//! Outside addresses that ports tell to routing daemons (`dynamic-routing-redistribute=nat`), each where it is translated.

use std::sync::Arc;

use nb_db::tables::Nat;
use ovsdb::Atom;
use relations::{Handle, Small};
use uuid::Uuid;

use super::site::{Site, sites};
use super::{OWNERS, RULE};
use crate::compiler::feature::{Kind, Over};
use crate::compiler::unit::Unit;
use crate::features::matches::PORTS as BY_NAME;
use crate::features::ports::{self as switch_ports, LOCALNETS};
use crate::features::router::ROUTER;
use crate::features::router::dynamic::{ADDRESSES, TRANSLATED_TO, tell};
use crate::features::router::gateways::{GATEWAY, GATEWAYS, REDIRECT};
use crate::features::router::links::PEER;
use crate::features::router::ports::{self, PORT};
use crate::features::switch::DATAPATH;

pub(super) static TELL: Kind = Kind {
    name: "nat/told",
    over: Over::Keys(&RULE),
    reads: &[
        &TRANSLATED_TO,
        &ROUTER,
        &DATAPATH,
        &PORT,
        &PEER,
        &GATEWAY,
        &GATEWAYS,
        &REDIRECT,
        &LOCALNETS,
        &ports::NETWORKS,
        &switch_ports::PORT,
        &switch_ports::BINDING,
    ],
    says: &[&ADDRESSES],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(rule) = unit.get(&RULE, row) else {
            return;
        };
        let mut owners = unit.referrers(OWNERS, row).iter();
        if owners.all(|router| unit.members(&TRANSLATED_TO, *router).is_empty()) {
            return;
        }
        // What is wrong with it is told with the flows.
        let mut complaints = unit.complaints::<Nat>(row, Arc::from(""));
        for site in sites(unit, row, rule, &mut complaints) {
            let place = place(unit, &site);
            for port in unit.members(&TRANSLATED_TO, site.router) {
                tell(unit, row, *port, rule.external, place);
            }
        }
    },
};

/// The binding of the port that is where packets are translated, if that is not where the router is.
fn place(unit: &Unit<'_>, site: &Site) -> Option<Uuid> {
    let at = site.gateway.as_ref()?;
    if at.mac.is_none() {
        return unit.get(&REDIRECT, at.row).map(|binding| binding.uuid);
    }
    let guest = Atom::String(Arc::clone(&at.residence));
    let named = unit.having(BY_NAME, &guest).iter().copied();
    let mut ports = named.filter(|row| unit.get(&switch_ports::PORT, *row).is_some());
    let guest = ports.next()?;
    Some(unit.get(&switch_ports::BINDING, guest)?.uuid)
}
