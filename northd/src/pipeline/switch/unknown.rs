//! Destinations that nobody has declared.
//!
//! Arrives: packets whose destination is no declared address; `outport` is the port where it was learned, or none. Guarantees
//! that the former go there and the latter to all enabled ports with `unknown` addresses; if there are none, nowhere.

use lflow::{a, m};

use super::PortView;
use crate::output::Multicast;
use crate::pipeline::{Flows, Rule, Stage};

/// The name that stands for no port in matches.
const NO_PORT: &str = "none";

const FLOOD: Rule = Rule::new(
    Stage::InUnknown,
    60,
    "nowhere, and the switch has unknown ports: to all of these",
);
const DROP: Rule = Rule::new(Stage::InUnknown, 50, "nowhere: drop");
const DELIVER: Rule = Rule::new(Stage::InUnknown, 0, "the rest: to where it was learned");

/// The kinds of flows of this feature.
pub const RULES: &[Rule] = &[FLOOD, DROP, DELIVER];

/// The flows of all switches.
pub fn shared(flows: &mut Flows<'_>) {
    flows.add(DROP, &m::outport(NO_PORT), [a::drop()]);
    flows.add(DELIVER, &m::any(), [a::output()]);
}

/// The flows of one port.
pub fn port(view: &PortView<'_>, flows: &mut Flows<'_>) {
    if view.port.is_unknown && view.port.is_enabled {
        flows.add_common(
            FLOOD,
            &m::outport(NO_PORT),
            [a::set_outport(Multicast::Unknown.name()), a::output()],
        );
    }
}
