//! Destinations that nobody has declared.
//!
//! Arrives: packets whose destination is no declared address; `outport` is the port where it was learned, or none. Guarantees
//! that the former go there and the latter to all enabled ports with `unknown` addresses; if there are none, nowhere.

use lflow::{a, m};
use relations::{Handle, Small};

use super::multicast::{Group, MEMBERS};
use super::switch::{DATAPATH, SWITCHES, SWITCHES_NAME};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::stage::{Rule, Stage};

/// The name that stands for no port in matches.
const NO_PORT: &str = "none";

const FLOOD: Rule = Rule::new(
    Stage::InUnknown,
    60,
    "nowhere, and the switch has unknown ports: to all of these",
);
const DROP: Rule = Rule::new(Stage::InUnknown, 50, "nowhere: drop");
const DELIVER: Rule = Rule::new(Stage::InUnknown, 0, "the rest: to where it was learned");

/// The feature.
pub static FEATURE: Feature = Feature {
    kinds: &[&SHARED, &OF_GROUP],
    rules: &[FLOOD, DROP, DELIVER],
    ..Feature::new("unknown")
};

static SHARED: Kind = Kind {
    name: "switches",
    over: Over::Shared(&SWITCHES),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let mut flows = unit.shared_flows(&SWITCHES, (), SWITCHES_NAME, None);
        flows.add(DROP, &m::outport(NO_PORT), [a::drop()]);
        flows.add(DELIVER, &m::any(), [a::output()]);
    },
};

static OF_GROUP: Kind = Kind {
    name: "multicast-group",
    over: Over::Keys(&MEMBERS),
    reads: &[&DATAPATH],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let (switch, group) = <(Handle, u32)>::unpack(key);
        let Some(datapath) = unit.get(&DATAPATH, switch) else {
            return;
        };
        if Group::of(group) == Some(Group::Unknown) {
            let mut flows = unit.flows(datapath.uuid, None);
            let flood = [a::set_outport(Group::Unknown.name()), a::output()];
            flows.add(FLOOD, &m::outport(NO_PORT), flood);
        }
    },
};
