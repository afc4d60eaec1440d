//! Admission: who may enter a switch.
//!
//! Arrives: every packet that a port sends. Guarantees to all later stages that the packet has no VLAN tag (unless the switch
//! is transparent to tags), an individual source address, comes from an enabled port, and keeps to `port_security`.
//!
//! What `port_security` allows is not spelled out here: controllers know it from `Port_Binding.port_security` and answer
//! `check_in_port_sec()`. That keeps the rules of a port on the chassis that has the port.

use lflow::Symbol;
use lflow::action::Bare;
use lflow::{a, m};

use super::{PortView, SwitchView};
use crate::model::Security;
use crate::pipeline::{Flows, Rule, Stage};

/// Set when the packet has to be dropped for `port_security`'s sake.
pub const DROP_BIT: u8 = 15;

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
const TAGGED: Rule = Rule::new(Stage::InCheckPortSec, 100, "a VLAN tag: drop");
const CHECK: Rule = Rule::new(
    Stage::InCheckPortSec,
    50,
    "the rest: ask whether port security allows it",
);
const APPLY: Rule = Rule::new(Stage::InApplyPortSec, 50, "port security forbids it: drop");
const PASS: Rule = Rule::new(Stage::InApplyPortSec, 0, "the rest: next");

/// The kinds of flows of this feature.
pub const RULES: &[Rule] = &[
    CLOSED,
    GROUP_SOURCE,
    TAGGED_PASSES,
    TAGGED,
    CHECK,
    APPLY,
    PASS,
];

/// The flows of all switches.
pub fn shared(flows: &mut Flows<'_>) {
    flows.add(GROUP_SOURCE, &m::bit(Symbol::EthSrc, 40), [a::drop()]);
    flows.add(TAGGED, &m::vlan_present(), [a::drop()]);
    flows.add(CHECK, &m::any(), check());
    flows.add(APPLY, &m::bit(Symbol::Reg0, DROP_BIT), [a::drop()]);
    flows.add(PASS, &m::any(), [a::next()]);
}

/// The flows of one switch.
pub fn switch(view: &SwitchView<'_>, flows: &mut Flows<'_>) {
    if view.switch.is_vlan_transparent {
        flows.add(TAGGED_PASSES, &m::vlan_present(), check());
    }
}

/// The flows of one port.
pub fn port(view: &PortView<'_>, flows: &mut Flows<'_>) {
    if !view.port.is_enabled || view.port.security == Security::Closed {
        flows.add(CLOSED, &m::inport(view.port.name.clone()), [a::drop()]);
    }
}

fn check() -> [lflow::Action; 2] {
    [
        a::ask(Symbol::Reg0.bit(DROP_BIT), Bare::CheckInPortSec),
        a::next(),
    ]
}
