//! Admission: who may enter a switch.
//!
//! Arrives: every packet that a port sends. Guarantees to all later stages that the packet has no VLAN tag (unless the switch
//! is transparent to tags), an individual source address, comes from an enabled port, and keeps to `port_security`.
//!
//! What comes from a port with rates gets the number of its queue (`ports/queues.rs`).
//!
//! What comes from a switch in hardware (`vtep`) has passed its rules there and goes straight to where destinations are looked up.
//!
//! What `port_security` allows is not spelled out here: controllers know it from `Port_Binding.port_security` and answer
//! `check_in_port_sec()`. That keeps the rules of a port on the chassis that has the port.

use std::iter;

use lflow::Symbol;
use lflow::action::{Bare, Pipeline};
use lflow::{a, m};
use relations::{Handle, Small};

use super::ports::{self, PortKind, QUEUE, Security};
use super::switch::{DATAPATH, SWITCH, SWITCHES, SWITCHES_NAME};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};

const DROP: Bits = Bits::bit(
    "port security forbids what was sent",
    Symbol::Reg0,
    15,
    Stage::InCheckPortSec,
    Stage::InApplyPortSec,
);

const CLOSED: Rule = Rule::new(
    Stage::InCheckPortSec,
    120,
    "a port that is disabled or has no readable security: drop",
);
const GROUP_SOURCE: Rule = Rule::new(
    Stage::InCheckPortSec,
    110,
    "a source that is a group address: drop",
);
const TAGGED_PASSES: Rule = Rule::new(
    Stage::InCheckPortSec,
    105,
    "on a transparent switch, a VLAN tag: as without",
);
const QUEUED_TAGGED: Rule = Rule::new(
    Stage::InCheckPortSec,
    106,
    "on a transparent switch, from a port with rates, a VLAN tag: its queue, then as without",
);
const QUEUED: Rule = Rule::new(
    Stage::InCheckPortSec,
    70,
    "from a port with rates: its queue, then as without",
);
const HARDWARE_TAGGED: Rule = Rule::new(
    Stage::InCheckPortSec,
    107,
    "on a transparent switch, from a switch in hardware, a VLAN tag: to the lookup",
);
const HARDWARE: Rule = Rule::new(
    Stage::InCheckPortSec,
    71,
    "from a switch in hardware: to the lookup",
);
const TAGGED: Rule = Rule::new(Stage::InCheckPortSec, 100, "a VLAN tag: drop");
const CHECK: Rule = Rule::new(
    Stage::InCheckPortSec,
    50,
    "the rest: ask whether port security allows it",
);
const APPLY: Rule = Rule::new(Stage::InApplyPortSec, 50, "port security forbids it: drop");
const PASS: Rule = Rule::new(Stage::InApplyPortSec, 0, "the rest: next");

/// The feature.
pub static FEATURE: Feature = Feature {
    kinds: &[&SHARED, &OF_SWITCH, &OF_PORT],
    rules: &[
        CLOSED,
        GROUP_SOURCE,
        HARDWARE_TAGGED,
        QUEUED_TAGGED,
        TAGGED_PASSES,
        TAGGED,
        HARDWARE,
        QUEUED,
        CHECK,
        APPLY,
        PASS,
    ],
    bits: &[DROP],
    ..Feature::new("admission")
};

static SHARED: Kind = Kind {
    name: "switches",
    over: Over::Shared(&SWITCHES),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&SWITCHES, (), SWITCHES_NAME, None);
        flows.add(GROUP_SOURCE, &m::bit(Symbol::EthSrc, 40), [a::drop()]);
        flows.add(TAGGED, &m::vlan_present(), [a::drop()]);
        flows.add(CHECK, &m::any(), check());
        flows.add(APPLY, &DROP.is_set(), [a::drop()]);
        flows.add(PASS, &m::any(), [a::next()]);
    },
};

static OF_SWITCH: Kind = Kind {
    name: "switch",
    over: Over::Keys(&SWITCH),
    reads: &[&DATAPATH],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        if let (Some(switch), Some(datapath)) = (unit.get(&SWITCH, row), unit.get(&DATAPATH, row))
            && switch.is_vlan_transparent
        {
            let hint = unit.uuid(row);
            let mut flows = unit.flows(datapath.uuid, Some(hint));
            flows.add(TAGGED_PASSES, &m::vlan_present(), check());
        }
    },
};

static OF_PORT: Kind = ports::kind!([&QUEUE, &SWITCH], [], |unit, view| {
    let port = view.port;
    if matches!(port.kind, PortKind::Vtep) {
        let switch = unit.get(&SWITCH, view.switch);
        let mut flows = view.flows(unit);
        let from = m::inport(port.name.clone());
        let to_lookup = || [a::next_in(Pipeline::Ingress, Stage::InLookup.table())];
        flows.add(HARDWARE, &from, to_lookup());
        if switch.is_some_and(|switch| switch.is_vlan_transparent) {
            flows.add(HARDWARE_TAGGED, &(from & m::vlan_present()), to_lookup());
        }
    }
    if let Some(queue) = unit.get(&QUEUE, view.row) {
        let switch = unit.get(&SWITCH, view.switch);
        let mut flows = view.flows(unit);
        let queued = || iter::once(a::set_queue(queue.key)).chain(check());
        let from = m::inport(port.name.clone());
        flows.add(QUEUED, &from, queued().collect::<Vec<_>>());
        if switch.is_some_and(|switch| switch.is_vlan_transparent) {
            let tagged = from & m::vlan_present();
            flows.add(QUEUED_TAGGED, &tagged, queued().collect::<Vec<_>>());
        }
    }
    if !port.is_enabled || port.security == Security::Closed {
        let mut flows = view.flows(unit);
        flows.add(CLOSED, &m::inport(port.name.clone()), [a::drop()]);
    }
});

fn check() -> [lflow::Action; 2] {
    [a::ask(DROP.field(), Bare::CheckInPortSec), a::next()]
}
