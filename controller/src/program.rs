//! The units as a program for the engine: what each runs, and what becomes of what it says.

use incr::{Life, Program, UnitId};
use ovsdb::typed::TableDefinition as _;
use sb_db::tables::LogicalFlow;

use crate::network::{Cell, Changes, Fact, Key, Network, Reads, Unit};
use crate::{logical, physical};

impl Program for Network {
    type Cell = Cell;
    type Unit = Unit;
    type Fact = Fact;
    type Key = Key;
    type Said = Box<[Key]>;

    const LAYERS: usize = 3;

    fn layer(unit: Unit) -> usize {
        match unit {
            Unit::Binding(_) => 0,
            Unit::Uses(_) => 1,
            _ => 2,
        }
    }

    fn kind(unit: Unit) -> &'static str {
        match unit {
            Unit::Binding(_) => "binding",
            Unit::Port(_) => "port",
            Unit::PortSecurity(_) => "port-security",
            Unit::Group(_) => "multicast-group",
            Unit::Uses(_) => "uses",
            Unit::Flow(_) => "logical-flow",
            Unit::Stage(..) => "stage",
            Unit::PortBits => "port-bits",
            Unit::Fdb(_) => "fdb",
            Unit::MacBinding(_) => "mac-binding",
            Unit::StaticMacBinding(_) => "static-mac-binding",
            Unit::Tunnel(_) => "tunnel",
            Unit::ChassisMacs(_) => "chassis-macs",
            Unit::Constant => "constant",
            Unit::Vip(_) => "vip",
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
            Unit::Uses(uuid) => self.flows.get(reads, uuid).map(|row| {
                logical::uses(self, reads, &LogicalFlow::from_row(uuid, row), facts);
            }),
            Unit::Stage(egress, table) => self
                .stage_lookups
                .get(reads, (egress, table))
                .map(|_| physical::members::stage(egress, table, facts)),
            Unit::PortBits => self
                .group_bits
                .get(reads, ())
                .map(|_| physical::members::no_port_bits(facts)),
            Unit::Flow(uuid) => self.flows.get(reads, uuid).map(|row| {
                logical::flows(self, reads, &LogicalFlow::from_row(uuid, row), facts);
            }),
            Unit::Fdb(uuid) => self
                .fdb
                .get(reads, uuid)
                .map(|row| physical::learned::fdb_flows(self, reads, row, facts)),
            Unit::MacBinding(uuid) => self
                .mac_bindings
                .get(reads, uuid)
                .map(|row| physical::learned::neighbour_flows(self, reads, row, facts)),
            Unit::StaticMacBinding(uuid) => self
                .static_mac_bindings
                .get(reads, uuid)
                .map(|row| physical::learned::static_neighbour_flows(self, reads, row, facts)),
            Unit::Tunnel(ofport) => self
                .tunnel_ports
                .get(reads, ofport)
                .map(|tunnel| physical::tunnel::flows(self, reads, *tunnel, facts)),
            Unit::Vip(id) => self
                .vips
                .get(reads, id)
                .map(|part| physical::hairpin::flows(self, reads, part, facts)),
            Unit::ChassisMacs(uuid) => self
                .chassis
                .get(reads, uuid)
                .map(|chassis| physical::chassis_mac::known(self, reads, (uuid, chassis), facts)),
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
            Fact::Use(what, _) => Key::Use(*what),
            Fact::Flow(flow) => Key::Flow(flow.digest),
            Fact::Problem(uuid, _) => Key::Problem(*uuid),
        }
    }

    fn is_whole(key: Key) -> bool {
        matches!(key, Key::Flow(_) | Key::Use(_))
    }

    fn assert(&mut self, _: UnitId, fact: Fact, changes: &mut Changes) {
        match fact {
            Fact::Binding(uuid, binding) => self.attached(uuid, binding, changes),
            Fact::Use(what, name) => self.members.used(what, &name),
            Fact::Flow(flow) => self.desired.add(flow),
            Fact::Problem(uuid, text) => {
                if self.problems.get(&uuid) != Some(&text) {
                    tracing::warn!(target: "lflow", "{text}");
                    self.problems.insert(uuid, text);
                    self.problems_version += 1;
                }
            }
        }
    }

    fn retract(&mut self, _: UnitId, key: Key, changes: &mut Changes) {
        match key {
            Key::Binding(uuid) => self.detached(uuid, changes),
            Key::Use(what) => self.members.unused(what),
            Key::Flow(digest) => self.desired.remove(digest),
            Key::Problem(uuid) => {
                self.problems.remove(&uuid);
                self.problems_version += 1;
            }
        }
    }

    fn settle(&mut self, layer: usize, changes: &mut Changes) {
        match layer {
            0 => {
                self.settle_locality(changes);
                self.settle_sharing(changes);
            }
            1 => self.settle_members(changes),
            _ => {}
        }
    }
}
