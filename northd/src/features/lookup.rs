//! Where a packet goes: by its destination's MAC.
//!
//! Arrives: admitted packets that nobody has answered. Guarantees that a packet for a group goes to every enabled port, one
//! for a declared address to the port that has it and to nobody else, and that every other packet has its learned port, or
//! none, in `outport` when it reaches `unknown`.
//!
//! A disabled port still has its addresses: what is sent there is dropped, not flooded.

use lflow::Symbol;
use lflow::{a, m};
use nb_db::tables::LogicalSwitchPort;

use super::multicast::Group;
use super::ports::{self, MACS, is_first};
use super::switch::{SWITCHES, SWITCHES_NAME};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::stage::{Rule, Stage};

const GROUP: Rule = Rule::new(Stage::InLookup, 70, "a group address: to all enabled ports");
const KNOWN: Rule = Rule::new(
    Stage::InLookup,
    50,
    "the address of a port: to that port, or drop if it is disabled",
);
const LEARNED: Rule = Rule::new(Stage::InLookup, 0, "the rest: look among learned addresses");

/// The feature.
pub static FEATURE: Feature = Feature {
    kinds: &[&SHARED, &OF_PORT],
    rules: &[GROUP, KNOWN, LEARNED],
    ..Feature::new("lookup")
};

static SHARED: Kind = Kind {
    name: "switches",
    over: Over::Shared(&SWITCHES),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&SWITCHES, (), SWITCHES_NAME, None);
        let flood = [a::set_outport(Group::Flood.name()), a::output()];
        flows.add(GROUP, &m::eth_mcast(), flood);
        flows.add(LEARNED, &m::any(), [a::get_fdb(Symbol::EthDst), a::next()]);
    },
};

static OF_PORT: Kind = ports::kind!([&MACS], [], |unit, view| {
    let port = view.port;
    let mut complaints = unit.complaints::<LogicalSwitchPort>(view.row, port.name.clone());
    let mut macs = Vec::with_capacity(port.addresses.len());
    for entry in &port.addresses {
        let claims = unit.members(&MACS, (view.switch, entry.mac));
        if is_first(unit, view, claims, &entry.mac, &mut complaints) && !macs.contains(&entry.mac) {
            macs.push(entry.mac);
        }
    }
    unit.problems(complaints.into_problems());
    let mut flows = view.flows(unit);
    for mac in macs {
        let here = m::eth_dst(mac);
        if port.is_enabled {
            let deliver = [a::set_outport(port.name.clone()), a::output()];
            flows.add(KNOWN, &here, deliver);
        } else {
            flows.add(KNOWN, &here, [a::drop()]);
        }
    }
});
