//! What ports need in a switch with rules.

use lflow::action::Action;
use lflow::{a, m};

use super::flows::verdict;
use super::owners::IS_TRACKED;
use super::{ALLOW, IN, OUT};
use crate::compiler::feature::{Kind, Over};
use crate::compiler::stage::{Rule, Stage};
use crate::features::ports::{self, PortKind};

/// What the network itself answers to guests passes rules `to-lport`. Said by those who answer.
pub const ANSWER: Rule = Rule::new(
    Stage::OutAclEval,
    34_000,
    "an answer of the network itself, such as a DHCP reply: allow",
);

/// The name of the parts of ports that depend on the rules of their switch.
pub const PART: &str = "port/acls";

/// What such an answer does.
pub fn pass_answer() -> [Action; 2] {
    [verdict(ALLOW), a::next()]
}

pub(super) static OF_PORT: Kind = Kind {
    name: PART,
    over: Over::Keys(&ports::PAST_RULES),
    ..ports::kind!([&IS_TRACKED, &ports::PORT], [], |unit, view| {
        let is_door = match view.port.kind {
            PortKind::Router { .. } => !view.has_acls(),
            PortKind::Localnet { .. } | PortKind::Switch { .. } => true,
            _ => false,
        };
        if is_door && unit.get(&IS_TRACKED, view.switch).is_some() {
            let mut flows = view.flows(unit);
            let name = &view.port.name;
            let enters = m::ip() & m::inport(name.clone());
            let leaves = m::ip() & m::outport(name.clone());
            flows.add(IN.untracked, &enters, [a::next()]);
            flows.add(OUT.untracked, &leaves, [a::next()]);
        }
    })
};
