//! Flows around the bits that tell of address sets and port groups ([`crate::network`], members).
//!
//! | table | priority | match | does |
//! | --- | --- | --- | --- |
//! | of a stage that asks for address sets | 100 | a place that asks | looks addresses up, then its flows |
//! | of a stage that asks for address sets | 0 | | its flows |
//! | 94, 96 | 0 | | no bits: the port that a flow has written is in no group (for others: [`super::port`]) |

use openflow::{Action, Match, Subfield};

use super::Flows;
use crate::layout;
use crate::network::Fact;

/// The actions that look up what a stage asks for (1: sources, 2: destinations) and go on to its flows.
pub fn look_up(egress: bool, table: u8, lookups: u8) -> Vec<Action> {
    let clear = layout::ADDRESS_SET_REGISTERS.map(|field| {
        let bits = Subfield {
            field,
            offset: 16,
            width: 16,
        };
        Action::load(bits, 0u8)
    });
    let first = layout::ADDRESS_SETS + 2 * u8::from(egress);
    let calls = (0..2).filter(|n| lookups >> n & 1 == 1);
    let calls = calls.map(|n| Action::resubmit(first + n));
    let (_, asking) = layout::stage(egress, table);
    let on = Action::resubmit(asking);
    clear.into_iter().chain(calls).chain([on]).collect()
}

/// The flow of a stage that asks for address sets, for packets of datapaths that do not.
pub fn stage(egress: bool, table: u8, facts: &mut Vec<Fact>) {
    let (usual, asking) = layout::stage(egress, table);
    let on = vec![Action::resubmit(asking)];
    Flows::of_nothing(facts).add(usual, 0, Match::new(), on);
}

/// The flows for a port that a flow has written, and that is in no port group with a bit.
pub fn no_port_bits(facts: &mut Vec<Fact>) {
    let mut out = Flows::of_nothing(facts);
    for table in [layout::IN_PORT_BITS, layout::OUT_PORT_BITS] {
        out.add(table, 0, Match::new(), vec![load(0)]);
    }
}

/// Loads the bits that tell in which port groups the port on the pipeline's own side is.
pub fn load(bits: u64) -> Action {
    Action::set_masked(layout::DATAPATH, bits, layout::IN_PORT_GROUPS)
}
