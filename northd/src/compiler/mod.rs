//! The compiler: a program for the incremental engine.
//!
//! ```text
//!  0 model        row ──▶ Switch, Port, Dhcp4 (or Problems)
//!  1 datapaths    ──▶ wants of switches, and of containers for tags; when all have spoken, they are given (alloc/)
//!  2 bindings     ──▶ wants of ports that can be bound; likewise
//!  3 claims       ──▶ who has which address in which datapath
//!  4 switches     ──▶ Datapath_Binding, membership among all switches, the switch's flows
//!  5 ports        ──▶ Port_Binding, memberships in multicast groups, the port's flows, whether it is up
//!  6 shared       ──▶ the flows of a group of datapaths
//! ```
//!
//! A unit reads through the accessors of [`Compiler`] that take [`Reads`], and through nothing else.

pub mod cell;
mod inputs;
mod port;
mod sets;
mod shared;
mod switch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use addr::Mac;
use incr::{Changes, Counted, Index, Life, Program, Reads, Store, UnitId};
use ovsdb::Row;
use rustc_hash::{FxHashMap, FxHashSet};
use uuid::Uuid;

pub use cell::digest;
use cell::{Cell, Claim, Claimed, Fact, FactKey, Source, Unit};

use crate::alloc::{Alloc, Identity};
use crate::model::{Chassis, Dhcp4, Port, Problem, Switch};
use crate::output::rows::{OutTable, RowId};
use crate::output::{GroupId, Output};

/// Everything that the compiler knows: inputs, what has been derived of them, output.
pub struct Compiler {
    nb_rows: Store<Cell, (Source, Uuid), Arc<Row>>,
    sb_rows: Store<Cell, Uuid, Arc<Row>>,
    owners: Index<Cell, Uuid, Uuid>,
    port_names: Index<Cell, u64, Uuid>,
    set_names: Index<Cell, u64, Uuid>,
    chassis_names: Index<Cell, u64, Uuid>,
    switches: Store<Cell, Uuid, Switch>,
    ports: Store<Cell, Uuid, Arc<Port>>,
    dhcp4: Store<Cell, Uuid, Arc<Dhcp4>>,
    alloc: Alloc,
    mac_claims: Index<Cell, (u32, Mac), Claim>,
    ip_claims: Index<Cell, (u32, IpAddr), Claim>,
    /// Whether ports are up, as last said.
    up: BTreeMap<Uuid, bool>,
    changed_ups: FxHashSet<Uuid>,
    problems: BTreeMap<(Uuid, u64), Problem>,
    has_new_problems: bool,
    /// Rows that a second unit could say, too, and who said them last: the units take turns, in the order of layers.
    row_owners: FxHashMap<RowId, UnitId>,
    flows: Counted<RowId>,
    members: Counted<(GroupId, Uuid)>,
    /// The southbound side.
    pub output: Output,
}

impl Compiler {
    /// A compiler that knows nothing yet. `has_column` tells which southbound columns the server has.
    pub fn new(has_column: impl Fn(usize, usize) -> bool) -> Self {
        Self {
            nb_rows: Store::new(|(source, row)| Cell::NbRow(source, row)),
            sb_rows: Store::new(Cell::SbRow),
            owners: Index::new(Cell::Owners),
            port_names: Index::new(Cell::PortNamed),
            set_names: Index::new(Cell::SetNamed),
            chassis_names: Index::new(Cell::ChassisNamed),
            switches: Store::new(Cell::Switch),
            ports: Store::new(Cell::Port),
            dhcp4: Store::new(Cell::Dhcp4),
            alloc: Alloc::default(),
            mac_claims: Index::new(|(datapath, mac)| Cell::MacClaims(datapath, mac)),
            ip_claims: Index::new(|(datapath, ip)| Cell::IpClaims(datapath, ip)),
            up: BTreeMap::new(),
            changed_ups: FxHashSet::default(),
            problems: BTreeMap::new(),
            has_new_problems: false,
            row_owners: FxHashMap::default(),
            flows: Counted::default(),
            members: Counted::default(),
            output: Output::new(has_column),
        }
    }

    /// All problems that there are.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values().chain(self.alloc.problems())
    }

    /// Whether problems came or went since the last call.
    pub fn take_problem_changes(&mut self) -> bool {
        std::mem::take(&mut self.has_new_problems) | self.alloc.take_problem_changes()
    }

    /// Whether a port is up, as far as is known.
    pub fn is_up(&self, port: Uuid) -> Option<bool> {
        self.up.get(&port).copied()
    }

    /// The tag of a container.
    pub fn tag(&self, port: Uuid) -> Option<u16> {
        self.alloc.peek_tag(port)
    }

    /// The ports whose state or tag may have to be told northbound, since the last call.
    pub fn take_changed_ports(&mut self) -> FxHashSet<Uuid> {
        let mut changed = std::mem::take(&mut self.changed_ups);
        changed.extend(self.alloc.take_changed_tags());
        changed
    }

    /// What another compiler with the same inputs says otherwise. Empty, if the engine keeps its promise.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = self.output.differences(&other.output);
        let problems = |compiler: &Self| {
            compiler
                .problems()
                .map(ToString::to_string)
                .collect::<BTreeSet<_>>()
        };
        let (mine, others) = (problems(self), problems(other));
        found.extend(
            mine.difference(&others)
                .map(|text| format!("stale problem: {text}")),
        );
        found.extend(
            others
                .difference(&mine)
                .map(|text| format!("missing problem: {text}")),
        );
        if self.up != other.up {
            found.push("states of ports".to_owned());
        }
        if self.alloc != other.alloc {
            found.push("identities or tags".to_owned());
        }
        found
    }

    /// The units that say this flow, or a row that is no flow: none.
    pub fn producers(&self, id: RowId) -> &[UnitId] {
        self.flows.producers(id)
    }

    fn nb_row(&self, reads: &Reads<Cell>, source: Source, row: Uuid) -> Option<&Arc<Row>> {
        self.nb_rows.get(reads, (source, row))
    }

    /// The switch that a port belongs to. Of several that name it, the first has it.
    fn owner(&self, reads: &Reads<Cell>, port: Uuid) -> Option<Uuid> {
        self.owners.get(reads, port).first().copied()
    }

    fn port(&self, reads: &Reads<Cell>, port: Uuid) -> Option<&Arc<Port>> {
        self.ports.get(reads, port)
    }

    /// The port called `name`, if there is one that makes sense.
    fn port_named(&self, reads: &Reads<Cell>, name: &str) -> Option<&Arc<Port>> {
        let candidates = self.port_names.get(reads, digest(name));
        candidates
            .iter()
            .filter_map(|port| self.port(reads, *port))
            .find(|port| &*port.name == name)
    }

    /// The chassis with this name, else one with this host name.
    fn chassis_named(&self, reads: &Reads<Cell>, name: &str) -> Option<Uuid> {
        let candidates = self.chassis_names.get(reads, digest(name)).iter();
        let known: Vec<Chassis> = candidates
            .filter_map(|row| Some(Chassis::parse(*row, self.sb_rows.get(reads, *row)?)))
            .collect();
        let by_name = known.iter().find(|chassis| &*chassis.name == name);
        by_name
            .or_else(|| known.iter().find(|chassis| &*chassis.hostname == name))
            .map(|chassis| chassis.uuid)
    }

    /// A port's datapath and binding, when it has both.
    fn place(&self, reads: &Reads<Cell>, port: Uuid) -> Option<(Identity, Identity)> {
        let switch = self.owner(reads, port)?;
        Some((
            self.alloc.datapath(reads, switch)?,
            self.alloc.binding(reads, port)?,
        ))
    }

    fn parse(&self, source: Source, row: Uuid, reads: &Reads<Cell>, facts: &mut Vec<Fact>) -> Life {
        let Some(columns) = self.nb_row(reads, source, row) else {
            return Life::Gone;
        };
        let problems = match source {
            Source::Switch => {
                let (switch, problems) = Switch::parse(row, columns);
                facts.push(Fact::Switch(row, switch));
                problems
            }
            Source::Port => {
                let (port, problems) = Port::parse(row, columns);
                facts.extend(port.map(|port| Fact::Port(row, Arc::new(port))));
                problems
            }
            Source::Dhcp => {
                let (dhcp, problems) = Dhcp4::parse(row, columns);
                facts.extend(dhcp.map(|dhcp| Fact::Dhcp4(row, Arc::new(dhcp))));
                problems
            }
            // Copied by units of their own.
            Source::AddressSet | Source::PortGroup => Vec::new(),
        };
        facts.extend(problems.into_iter().map(Fact::Problem));
        Life::Alive
    }
}

impl Program for Compiler {
    type Cell = Cell;
    type Unit = Unit;
    type Fact = Fact;
    type Key = FactKey;
    const LAYERS: usize = Unit::LAYERS;

    fn layer(unit: Unit) -> usize {
        unit.layer()
    }

    fn kind(unit: Unit) -> &'static str {
        unit.kind()
    }

    fn run(&self, unit: Unit, reads: &Reads<Cell>, facts: &mut Vec<Fact>) -> Life {
        match unit {
            Unit::Parse(source, row) => self.parse(source, row, reads, facts),
            Unit::SwitchIdentity(row) => self.switch_identity(row, reads, facts),
            Unit::Tag(row) => self.tag_wanted(row, reads, facts),
            Unit::PortIdentity(row) => self.port_identity(row, reads, facts),
            Unit::Claims(row) => self.claims(row, reads, facts),
            Unit::Switch(row) => self.switch_output(row, reads, facts),
            Unit::Port(row) => self.port_output(row, reads, facts),
            Unit::PortUp(row) => self.port_up(row, reads, facts),
            Unit::AddressSet(row) => self.address_set(row, reads, facts),
            Unit::PortGroup(row) => self.port_group(row, reads, facts),
            Unit::Shared(group) => self.shared(group, reads, facts),
        }
    }

    fn key(fact: &Fact) -> FactKey {
        fact.key()
    }

    fn is_whole(key: FactKey) -> bool {
        key.is_whole()
    }

    fn assert(&mut self, unit: UnitId, fact: Fact, changes: &mut Changes<Cell, Unit>) {
        match fact {
            Fact::Switch(row, switch) => {
                self.switches.set(changes, row, switch);
                changes.wake(Unit::SwitchIdentity(row));
                changes.wake(Unit::Switch(row));
            }
            Fact::Port(row, port) => {
                let is_new = self.ports.peek(row).is_none();
                if port.nested().is_some() {
                    changes.wake(Unit::Tag(row));
                }
                self.ports.set(changes, row, port);
                if is_new {
                    for unit in [Unit::PortIdentity, Unit::Claims, Unit::Port, Unit::PortUp] {
                        changes.wake(unit(row));
                    }
                }
            }
            Fact::Dhcp4(row, dhcp) => {
                self.dhcp4.set(changes, row, dhcp);
            }
            Fact::Problem(problem) => {
                self.problems
                    .insert((problem.row, problem.digest()), problem);
                self.has_new_problems = true;
            }
            Fact::Want(want) => self.alloc.want(want, changes),
            Fact::Claim(Claimed::Mac(datapath, mac), claim) => {
                self.mac_claims.insert(changes, (datapath, mac), claim);
            }
            Fact::Claim(Claimed::Ip(datapath, ip), claim) => {
                self.ip_claims.insert(changes, (datapath, ip), claim);
            }
            Fact::Row(id, row) => {
                if id.table == OutTable::AddressSet {
                    self.row_owners.insert(id, unit);
                }
                self.output.set(id, row);
            }
            Fact::Flow(id, row) => {
                if self.flows.acquire(id, unit) {
                    self.output.set(id, row);
                }
            }
            Fact::Member(group, member) => {
                if self.members.acquire((group, member), unit) && self.output.join(group, member) {
                    changes.cell(Cell::Group(group));
                    if matches!(group, GroupId::Datapaths(_)) {
                        changes.wake(Unit::Shared(group));
                    }
                }
            }
            Fact::Up(port, is_up) => {
                if self.up.insert(port, is_up) != Some(is_up) {
                    self.changed_ups.insert(port);
                }
            }
        }
    }

    fn retract(&mut self, unit: UnitId, key: FactKey, changes: &mut Changes<Cell, Unit>) {
        match key {
            FactKey::Switch(row) => {
                self.switches.remove(changes, row);
            }
            FactKey::Port(row) => {
                self.ports.remove(changes, row);
            }
            FactKey::Dhcp4(row) => {
                self.dhcp4.remove(changes, row);
            }
            FactKey::Problem(row, digest) => {
                self.problems.remove(&(row, digest));
                self.has_new_problems = true;
            }
            FactKey::Want(want) => self.alloc.unwant(want, changes),
            FactKey::Claim(Claimed::Mac(datapath, mac), claim) => {
                self.mac_claims.remove(changes, (datapath, mac), claim);
            }
            FactKey::Claim(Claimed::Ip(datapath, ip), claim) => {
                self.ip_claims.remove(changes, (datapath, ip), claim);
            }
            FactKey::Row(id) => {
                let is_others = self.row_owners.get(&id).is_some_and(|owner| *owner != unit);
                if !is_others {
                    self.row_owners.remove(&id);
                    self.output.unset(id);
                }
            }
            FactKey::Flow(id) => {
                if self.flows.release(id, unit) {
                    self.output.unset(id);
                }
            }
            FactKey::Member(group, member) => {
                if self.members.release((group, member), unit) && self.output.leave(group, member) {
                    changes.cell(Cell::Group(group));
                }
            }
            FactKey::Up(port) => {
                self.up.remove(&port);
            }
        }
    }

    fn settle(&mut self, layer: usize, changes: &mut Changes<Cell, Unit>) {
        let wanting = [
            Unit::SwitchIdentity(Uuid::nil()).layer(),
            Unit::PortIdentity(Uuid::nil()).layer(),
        ];
        if wanting.contains(&layer) {
            self.alloc.settle(&self.output, changes);
        }
    }
}
