//! Delivery: the egress pipeline, before the port gets the packet.
//!
//! Arrives: a packet with its port in `outport`, once for every port of a group. Guarantees that a disabled port gets nothing,
//! also of learned addresses, and that a port gets unicast packets only for addresses that its `port_security` names
//! (`check_out_port_sec()`, answered by the controller). Group traffic is for everybody.

use lflow::Symbol;
use lflow::action::Bare;
use lflow::{Int, a, m};

use super::ports::{self, LOCALNETS, PORT, PortKind, PortView, QUEUE};
use super::switch::{SWITCHES, SWITCHES_NAME};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;

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
const QUEUED: Rule = Rule::new(
    Stage::OutApplyPortSec,
    40,
    "from a port with rates, by a localnet port: the port's queue, then deliver",
);
const QUEUED_BY_DEFAULT: Rule = Rule::new(
    Stage::OutApplyPortSec,
    30,
    "by a localnet port with rates: its queue, then deliver",
);
const DELIVER: Rule = Rule::new(Stage::OutApplyPortSec, 0, "the rest: deliver");

/// The feature.
pub static FEATURE: Feature = Feature {
    kinds: &[&SHARED, &OF_PORT],
    rules: &[
        CLOSED,
        GROUP,
        CHECK,
        APPLY,
        QUEUED,
        QUEUED_BY_DEFAULT,
        DELIVER,
    ],
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

static OF_PORT: Kind = ports::kind!([&QUEUE, &LOCALNETS, &PORT], [], |unit, view| {
    queue(unit, view);
    if !view.port.is_enabled {
        let mut flows = view.flows(unit);
        flows.add(CLOSED, &m::outport(view.port.name.clone()), [a::drop()]);
    }
});

/// What leaves by a localnet port waits in the queue of the port that has sent it, or in the localnet port's.
fn queue(unit: &mut Unit<'_>, view: &PortView<'_>) {
    let Some(queue) = unit.get(&QUEUE, view.row) else {
        return;
    };
    let then = || [a::set_queue(queue.key), a::output()];
    let name = &view.port.name;
    if matches!(view.port.kind, PortKind::Localnet { .. }) {
        let mut flows = view.flows(unit);
        flows.add(QUEUED_BY_DEFAULT, &m::outport(name.clone()), then());
        return;
    }
    for (_, door) in unit.members(&LOCALNETS, view.switch) {
        if let Some(door) = unit.get(&PORT, *door) {
            let through = m::outport(door.name.clone()) & m::inport(name.clone());
            view.flows(unit).add(QUEUED, &through, then());
        }
    }
}
