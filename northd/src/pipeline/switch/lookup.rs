//! Where a packet goes: by its destination's MAC.
//!
//! Arrives: admitted packets that nobody has answered. Guarantees that a packet for a group goes to every enabled port, one
//! for a declared address to the port that has it and to nobody else, and that every other packet has its learned port, or
//! none, in `outport` when it reaches `unknown`.
//!
//! A disabled port still has its addresses: what is sent there is dropped, not flooded.

use lflow::Symbol;
use lflow::{a, m};

use super::PortView;
use crate::output::Multicast;
use crate::pipeline::{Flows, Rule, Stage};

const GROUP: Rule = Rule::new(Stage::InLookup, 70, "a group address: to all enabled ports");
const KNOWN: Rule = Rule::new(
    Stage::InLookup,
    50,
    "the address of a port: to that port, or drop if it is disabled",
);
const LEARNED: Rule = Rule::new(Stage::InLookup, 0, "the rest: look among learned addresses");

/// The kinds of flows of this feature.
pub const RULES: &[Rule] = &[GROUP, KNOWN, LEARNED];

/// The flows of all switches.
pub fn shared(flows: &mut Flows<'_>) {
    flows.add(
        GROUP,
        &m::eth_mcast(),
        [a::set_outport(Multicast::Flood.name()), a::output()],
    );
    flows.add(LEARNED, &m::any(), [a::get_fdb(Symbol::EthDst), a::next()]);
}

/// The flows of one port.
pub fn port(view: &PortView<'_>, flows: &mut Flows<'_>) {
    for mac in &view.macs {
        let here = m::eth_dst(*mac);
        if view.port.is_enabled {
            flows.add(
                KNOWN,
                &here,
                [a::set_outport(view.port.name.clone()), a::output()],
            );
        } else {
            flows.add(KNOWN, &here, [a::drop()]);
        }
    }
}
