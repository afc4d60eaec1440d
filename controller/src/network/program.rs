//! The units as a program for the engine.

use incr::{Life, Program, UnitId};
use ovsdb::Uuid;
use ovsdb::typed::TableDefinition as _;
use sb_db::tables::LogicalFlow;

use super::binding::Binding;
use super::{Cell, Network, Unit};
use crate::flow::{Digest, Flow};
use crate::{logical, physical};

/// What a running unit reads.
pub type Reads = incr::Reads<Cell>;
/// What has changed.
pub type Changes = incr::Changes<Cell, Unit>;
/// The engine.
pub type Engine = incr::Engine<Network>;

/// What a unit says.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A logical port is attached.
    Binding(Uuid, Binding),
    /// The switch should have a flow.
    Flow(Flow),
    /// Something is wrong with a row.
    Problem(Uuid, String),
}

/// What identifies a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The port.
    Binding(Uuid),
    /// The flow's content.
    Flow(Digest),
    /// The row.
    Problem(Uuid),
}

impl Program for Network {
    type Cell = Cell;
    type Unit = Unit;
    type Fact = Fact;
    type Key = Key;

    const LAYERS: usize = 2;

    fn layer(unit: Unit) -> usize {
        usize::from(!matches!(unit, Unit::Binding(_)))
    }

    fn kind(unit: Unit) -> &'static str {
        match unit {
            Unit::Binding(_) => "binding",
            Unit::Port(_) => "port",
            Unit::PortSecurity(_) => "port-security",
            Unit::Group(_) => "multicast-group",
            Unit::Flow(_) => "logical-flow",
            Unit::Fdb(_) => "fdb",
            Unit::MacBinding(_) => "mac-binding",
            Unit::Tunnel(_) => "tunnel",
            Unit::Constant => "constant",
        }
    }

    fn run(&self, unit: Unit, reads: &Reads, facts: &mut Vec<Fact>) -> Life {
        let said = match unit {
            Unit::Binding(uuid) => self.ports.get(reads, uuid).map(|port| {
                facts.extend(
                    self.bind(reads, port)
                        .map(|binding| Fact::Binding(uuid, binding)),
                );
            }),
            Unit::Port(uuid) => self
                .ports
                .get(reads, uuid)
                .map(|port| physical::port::flows(self, reads, port, facts)),
            Unit::PortSecurity(uuid) => self
                .ports
                .get(reads, uuid)
                .map(|port| physical::port_security::flows(self, reads, port, facts)),
            Unit::Group(uuid) => self
                .groups
                .get(reads, uuid)
                .map(|group| physical::multicast::flows(self, reads, group, facts)),
            Unit::Flow(uuid) => self
                .flows
                .get(reads, uuid)
                .map(|row| logical::flows(self, reads, &LogicalFlow::from_row(uuid, row), facts)),
            Unit::Fdb(uuid) => self
                .fdb
                .get(reads, uuid)
                .map(|row| physical::learned::fdb_flows(self, reads, row, facts)),
            Unit::MacBinding(uuid) => self
                .mac_bindings
                .get(reads, uuid)
                .map(|row| physical::learned::neighbour_flows(self, reads, row, facts)),
            Unit::Tunnel(ofport) => self
                .tunnel_ports
                .get(reads, ofport)
                .map(|tunnel| physical::tunnel::flows(self, reads, *tunnel, facts)),
            Unit::Constant => {
                physical::constant::flows(facts);
                Some(())
            }
        };
        if said.is_some() {
            Life::Alive
        } else {
            Life::Gone
        }
    }

    fn key(fact: &Fact) -> Key {
        match fact {
            Fact::Binding(uuid, _) => Key::Binding(*uuid),
            Fact::Flow(flow) => Key::Flow(flow.digest),
            Fact::Problem(uuid, _) => Key::Problem(*uuid),
        }
    }

    fn is_whole(key: Key) -> bool {
        matches!(key, Key::Flow(_))
    }

    fn assert(&mut self, _: UnitId, fact: Fact, changes: &mut Changes) {
        match fact {
            Fact::Binding(uuid, binding) => self.attached(uuid, binding, changes),
            Fact::Flow(flow) => self.desired.add(flow),
            Fact::Problem(uuid, text) => {
                if self.problems.get(&uuid) != Some(&text) {
                    tracing::warn!(target: "lflow", "{text}");
                    self.problems.insert(uuid, text);
                }
            }
        }
    }

    fn retract(&mut self, _: UnitId, key: Key, changes: &mut Changes) {
        match key {
            Key::Binding(uuid) => self.detached(uuid, changes),
            Key::Flow(digest) => self.desired.remove(digest),
            Key::Problem(uuid) => {
                self.problems.remove(&uuid);
            }
        }
    }

    fn settle(&mut self, layer: usize, changes: &mut Changes) {
        if layer == 0 {
            self.settle_locality(changes);
            self.settle_sharing(changes);
        }
    }
}
