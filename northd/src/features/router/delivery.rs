//! Delivery: the egress pipeline of a router.
//!
//! Arrives: packets with their port. Guarantees that a disabled port gets nothing.

use lflow::{a, m};

use super::ports;
use super::{ROUTERS, ROUTERS_NAME};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::stage::{Rule, Stage};

const CLOSED: Rule = Rule::new(Stage::RouterOutDelivery, 150, "by a disabled port: drop");
const DELIVER: Rule = Rule::new(Stage::RouterOutDelivery, 0, "the rest: deliver");

/// The feature.
pub static FEATURE: Feature = Feature {
    kinds: &[&SHARED, &OF_PORT],
    rules: &[CLOSED, DELIVER],
    ..Feature::new("router delivery")
};

static SHARED: Kind = Kind {
    name: "routers",
    over: Over::Shared(&ROUTERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&ROUTERS, (), ROUTERS_NAME, None);
        flows.add(DELIVER, &m::any(), [a::output()]);
    },
};

static OF_PORT: Kind = ports::kind!([], [], |unit, view| {
    if !view.port.is_enabled {
        let closed = m::outport(view.port.name.clone());
        view.flows(unit).add(CLOSED, &closed, [a::drop()]);
    }
});
