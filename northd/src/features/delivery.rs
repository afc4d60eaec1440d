//! Delivery: the egress pipeline, before the port gets the packet.
//!
//! Arrives: a packet with its port in `outport`, once for every port of a group. Guarantees that a disabled port gets nothing,
//! also of learned addresses, and that a port gets unicast packets only for addresses that its `port_security` names
//! (`check_out_port_sec()`, answered by the controller). Group traffic is for everybody.

use lflow::Symbol;
use lflow::action::Bare;
use lflow::{Int, a, m};

use super::ports;
use super::switch::{SWITCHES, SWITCHES_NAME};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};

const DROP: Bits = Bits::bit(
    "port security forbids what is to be delivered",
    Symbol::Reg0,
    15,
    Stage::OutCheckPortSec,
    Stage::OutApplyPortSec,
);

const CLOSED: Rule = Rule::new(Stage::OutCheckPortSec, 150, "to a disabled port: drop");
const GROUP: Rule = Rule::new(
    Stage::OutCheckPortSec,
    100,
    "a group address: next, unchecked",
);
const CHECK: Rule = Rule::new(
    Stage::OutCheckPortSec,
    0,
    "the rest: ask whether port security allows it",
);
const APPLY: Rule = Rule::new(Stage::OutApplyPortSec, 50, "port security forbids it: drop");
const DELIVER: Rule = Rule::new(Stage::OutApplyPortSec, 0, "the rest: deliver");

/// The feature.
pub static FEATURE: Feature = Feature {
    kinds: &[&SHARED, &OF_PORT],
    rules: &[CLOSED, GROUP, CHECK, APPLY, DELIVER],
    bits: &[DROP],
    ..Feature::new("delivery")
};

static SHARED: Kind = Kind {
    name: "switches",
    over: Over::Shared(&SWITCHES),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&SWITCHES, (), SWITCHES_NAME, None);
        let unchecked = [a::set(DROP.field(), Int::new(0)), a::next()];
        flows.add(GROUP, &m::eth_mcast(), unchecked);
        let check = [a::ask(DROP.field(), Bare::CheckOutPortSec), a::next()];
        flows.add(CHECK, &m::any(), check);
        flows.add(APPLY, &DROP.is_set(), [a::drop()]);
        flows.add(DELIVER, &m::any(), [a::output()]);
    },
};

static OF_PORT: Kind = ports::kind!([], [], |unit, view| {
    if !view.port.is_enabled {
        let mut flows = view.flows(unit);
        flows.add(CLOSED, &m::outport(view.port.name.clone()), [a::drop()]);
    }
});
