//! Which meter limits what a flow sends to the controllers (`Logical_Flow.controller_meter`).
//!
//! A flow that many datapaths share has one meter, but each datapath may have its own ([`Fact::Limit`](super::fact::Fact::Limit)). So the
//! members of a set whose flows send something of a protocol are *split*: those without a meter for that protocol stay together, those
//! with the same one are together, and each part has its group and its flows. Only sets with a member that has such a meter are split,
//! and only for the flows of that protocol. A datapath that gets, loses or changes a meter changes part, which costs one member of a
//! group for each set and protocol concerned.
//!
//! ```text
//! Flow(id, set, protocol) ──▶ split? ──no──▶ the flow as it was said
//!                               └─yes──▶ one for each part: its own group, its own meter
//! ```

use std::sync::Arc;

use incr::UnitId;
use lflow::action::CoppProtocol;
use ovsdb::{Atom, Datum, Row};
use relations::{Cell, Small};
use rustc_hash::{FxHashMap, FxHashSet};
use sb_db::tables::LogicalFlow;
use smallvec::SmallVec;
use uuid::Uuid;

use super::fact::{RowId, member_key};
use super::flow;
use super::identity;
use super::output::Output;
use super::sets::Sets;
use super::world::World;

/// The relation of the cells at which the parts of sets are; no relation of a feature has so high a number.
const PARTS: u16 = u16::MAX;

/// The flows that send something to the controllers, and the meters of datapaths.
#[derive(Default)]
pub struct Metering {
    limits: FxHashMap<CoppProtocol, FxHashMap<Uuid, Arc<str>>>,
    flows: FxHashMap<RowId, Said>,
    of_datapaths: FxHashMap<(Uuid, CoppProtocol), FxHashSet<RowId>>,
    of_sets: FxHashMap<Cell, SmallVec<[Split; 2]>>,
    /// Of those sets, the ones that a datapath is in.
    sets_with: FxHashMap<Uuid, FxHashSet<Cell>>,
    /// How many parts there have been.
    numbered: u32,
}

/// A flow as units say it.
struct Said {
    protocol: CoppProtocol,
    place: Place,
    row: Arc<Row>,
    by: SmallVec<[UnitId; 2]>,
}

/// Who has a flow.
#[derive(Clone, Copy)]
enum Place {
    Datapath(Uuid),
    Set(Cell),
}

/// The flows of a set that are about one protocol.
struct Split {
    protocol: CoppProtocol,
    flows: FxHashSet<RowId>,
    /// The members by meter. Nothing while no member has one.
    parts: Vec<PartOfSet>,
}

/// The members of a set that have the same meter.
#[derive(Clone)]
struct PartOfSet {
    meter: Option<Arc<str>>,
    cell: Cell,
    members: usize,
}

/// Where flows and sets are written.
pub struct Target<'a> {
    /// For rows of groups.
    pub world: &'a World,
    /// The southbound.
    pub south: &'a mut Output,
    /// The members of groups.
    pub sets: &'a mut Sets,
}

/// A flow as it is written: `(meter, part)` of [`PartOfSet`], or as it was said.
type Way = (Option<Arc<str>>, Option<Cell>);

impl Metering {
    /// `unit` says a flow of this protocol.
    pub fn say(
        &mut self,
        unit: UnitId,
        id: RowId,
        (protocol, cell, row): (CoppProtocol, Option<Cell>, Arc<Row>),
        target: &mut Target<'_>,
    ) {
        let place = match cell {
            Some(cell) => Place::Set(cell),
            None => match LogicalFlow::COLUMN.logical_datapath.get(&row) {
                Some(datapath) => Place::Datapath(datapath),
                None => return,
            },
        };
        let said = self.flows.entry(id).or_insert_with(|| Said {
            protocol,
            place,
            row,
            by: SmallVec::new(),
        });
        if said.by.contains(&unit) {
            return;
        }
        said.by.push(unit);
        match place {
            Place::Datapath(datapath) => {
                let flows = self.of_datapaths.entry((datapath, protocol)).or_default();
                flows.insert(id);
            }
            Place::Set(cell) => self.enter(id, cell, protocol, target),
        }
        for way in self.ways(place, protocol) {
            self.write(unit, id, &way, target);
        }
    }

    /// `unit` does not say the flow any more; `false` if it sends nothing to the controllers that meters know.
    pub fn unsay(&mut self, unit: UnitId, id: RowId, target: &mut Target<'_>) -> bool {
        let Some(said) = self.flows.get(&id) else {
            return false;
        };
        let (place, protocol) = (said.place, said.protocol);
        for way in self.ways(place, protocol) {
            self.unwrite(unit, id, &way, target);
        }
        let Some(said) = self.flows.get_mut(&id) else {
            return true;
        };
        said.by.retain(|known| *known != unit);
        if said.by.is_empty() {
            self.flows.remove(&id);
            self.forget(id, place, protocol, target);
        }
        true
    }

    /// A datapath has this meter for a protocol from now on, or none. Looks at the sets that it is in, not at their members.
    pub fn limit(
        &mut self,
        datapath: Uuid,
        protocol: CoppProtocol,
        meter: Option<&Arc<str>>,
        target: &mut Target<'_>,
    ) {
        if self.limit_of(datapath, protocol) == meter {
            return;
        }
        let place = Place::Datapath(datapath);
        let flows = self.of_datapaths.get(&(datapath, protocol));
        let flows: Vec<RowId> = flows.into_iter().flatten().copied().collect();
        self.rewrite(&flows, &self.ways(place, protocol), false, target);

        let atom = Atom::Uuid(datapath);
        let concerned = self.sets_with.get(&datapath).into_iter().flatten();
        let concerned = concerned.filter(|cell| self.split(**cell, protocol).is_some());
        let concerned: Vec<Cell> = concerned.copied().collect();
        let before = self.limit_of(datapath, protocol).cloned();
        let limits = self.limits.entry(protocol).or_default();
        match meter {
            Some(meter) => drop(limits.insert(datapath, Arc::clone(meter))),
            None => drop(limits.remove(&datapath)),
        }
        self.rewrite(&flows, &self.ways(place, protocol), true, target);
        for cell in concerned {
            if self
                .split(cell, protocol)
                .is_some_and(|split| split.parts.is_empty())
            {
                self.open(cell, protocol, target);
            } else {
                // It is never in no part: a set that empties in between would take flows away that stay.
                self.part_joined(cell, protocol, (meter.cloned(), &atom), target);
                self.part_left(cell, protocol, (before.clone(), &atom), target);
                self.close_if_alike(cell, protocol, target);
            }
        }
    }

    /// A set has a new member.
    pub fn joined(&mut self, cell: Cell, atom: &Atom, target: &mut Target<'_>) {
        self.note_member(cell, atom);
        for (protocol, is_open) in self.protocols(cell) {
            let meter = atom
                .as_uuid()
                .and_then(|datapath| self.limit_of(datapath, protocol));
            match (is_open, meter.cloned()) {
                (true, meter) => self.part_joined(cell, protocol, (meter, atom), target),
                (false, Some(_)) => self.open(cell, protocol, target),
                (false, None) => {}
            }
        }
    }

    /// A set has lost a member.
    pub fn left(&mut self, cell: Cell, atom: &Atom, target: &mut Target<'_>) {
        self.forget_member(cell, atom);
        for (protocol, is_open) in self.protocols(cell) {
            if is_open {
                let meter = atom
                    .as_uuid()
                    .and_then(|datapath| self.limit_of(datapath, protocol));
                self.part_left(cell, protocol, (meter.cloned(), atom), target);
                self.close_if_alike(cell, protocol, target);
            }
        }
    }

    /// Whether anybody cares for the members of a set.
    pub fn follows(&self, cell: Cell) -> bool {
        self.of_sets.contains_key(&cell)
    }

    fn note_member(&mut self, cell: Cell, atom: &Atom) {
        if let Some(datapath) = atom.as_uuid() {
            self.sets_with.entry(datapath).or_default().insert(cell);
        }
    }

    fn forget_member(&mut self, cell: Cell, atom: &Atom) {
        let Some(datapath) = atom.as_uuid() else {
            return;
        };
        if let Some(cells) = self.sets_with.get_mut(&datapath) {
            cells.remove(&cell);
            if cells.is_empty() {
                self.sets_with.remove(&datapath);
            }
        }
    }

    fn limit_of(&self, datapath: Uuid, protocol: CoppProtocol) -> Option<&Arc<str>> {
        self.limits.get(&protocol)?.get(&datapath)
    }

    fn protocols(&self, cell: Cell) -> SmallVec<[(CoppProtocol, bool); 8]> {
        let splits = self.of_sets.get(&cell).into_iter().flatten();
        splits
            .map(|split| (split.protocol, !split.parts.is_empty()))
            .collect()
    }

    fn split(&self, cell: Cell, protocol: CoppProtocol) -> Option<&Split> {
        let mut splits = self.of_sets.get(&cell)?.iter();
        splits.find(|split| split.protocol == protocol)
    }

    fn split_mut(&mut self, cell: Cell, protocol: CoppProtocol) -> Option<&mut Split> {
        let mut splits = self.of_sets.get_mut(&cell)?.iter_mut();
        splits.find(|split| split.protocol == protocol)
    }

    /// As what a flow is written.
    fn ways(&self, place: Place, protocol: CoppProtocol) -> SmallVec<[Way; 2]> {
        match place {
            Place::Datapath(datapath) => {
                let meter = self.limit_of(datapath, protocol).cloned();
                SmallVec::from_iter([(meter, None)])
            }
            Place::Set(cell) => match self.split(cell, protocol) {
                Some(split) if !split.parts.is_empty() => {
                    let parts = split.parts.iter();
                    parts
                        .map(|part| (part.meter.clone(), Some(part.cell)))
                        .collect()
                }
                _ => SmallVec::from_iter([(None, None)]),
            },
        }
    }

    /// A flow of a set joins those of its protocol.
    fn enter(&mut self, id: RowId, cell: Cell, protocol: CoppProtocol, target: &mut Target<'_>) {
        if let Some(split) = self.split_mut(cell, protocol) {
            split.flows.insert(id);
            return;
        }
        let split = Split {
            protocol,
            flows: FxHashSet::from_iter([id]),
            parts: Vec::new(),
        };
        let splits = self.of_sets.entry(cell).or_default();
        splits.push(split);
        let is_new = splits.len() == 1;
        let Some(set) = target.sets.get(cell) else {
            return;
        };
        if is_new {
            for atom in set.atoms() {
                self.note_member(cell, &atom);
            }
        }
        let mut limited = self.limits.get(&protocol).into_iter().flatten();
        if limited.any(|(datapath, _)| set.contains(&Atom::Uuid(*datapath))) {
            self.fill(cell, protocol, target);
        }
    }

    /// A flow is no more.
    fn forget(&mut self, id: RowId, place: Place, protocol: CoppProtocol, target: &mut Target<'_>) {
        match place {
            Place::Datapath(datapath) => {
                let key = (datapath, protocol);
                if let Some(flows) = self.of_datapaths.get_mut(&key) {
                    flows.remove(&id);
                    if flows.is_empty() {
                        self.of_datapaths.remove(&key);
                    }
                }
            }
            Place::Set(cell) => {
                let Some(split) = self.split_mut(cell, protocol) else {
                    return;
                };
                split.flows.remove(&id);
                if !split.flows.is_empty() {
                    return;
                }
                self.empty(cell, protocol, target);
                if let Some(splits) = self.of_sets.get_mut(&cell) {
                    splits.retain(|split| split.protocol != protocol);
                    if splits.is_empty() {
                        self.of_sets.remove(&cell);
                        let members = target.sets.get(cell).map(super::sets::Set::atoms);
                        for atom in members.unwrap_or_default() {
                            self.forget_member(cell, &atom);
                        }
                    }
                }
            }
        }
    }

    /// The first member with a meter: the flows of the whole set become those of its parts.
    fn open(&mut self, cell: Cell, protocol: CoppProtocol, target: &mut Target<'_>) {
        let flows = self.flows_of(cell, protocol);
        let whole = self.ways(Place::Set(cell), protocol);
        self.fill(cell, protocol, target);
        let parts = self.ways(Place::Set(cell), protocol);
        self.rewrite(&flows, &parts, true, target);
        self.rewrite(&flows, &whole, false, target);
    }

    /// No member has a meter any more: the flows are those of the whole set again.
    fn close_if_alike(&mut self, cell: Cell, protocol: CoppProtocol, target: &mut Target<'_>) {
        let Some(split) = self.split(cell, protocol) else {
            return;
        };
        if split.parts.iter().any(|part| part.meter.is_some()) {
            return;
        }
        let flows = self.flows_of(cell, protocol);
        let parts = self.ways(Place::Set(cell), protocol);
        if split.parts.is_empty() {
            // Its last member has left it: the flows have gone with the parts.
            self.rewrite(&flows, &parts, true, target);
            return;
        }
        self.rewrite(&flows, &[(None, None)], true, target);
        self.rewrite(&flows, &parts, false, target);
        self.empty(cell, protocol, target);
    }

    fn flows_of(&self, cell: Cell, protocol: CoppProtocol) -> Vec<RowId> {
        let split = self.split(cell, protocol);
        split
            .into_iter()
            .flat_map(|split| &split.flows)
            .copied()
            .collect()
    }

    /// Makes the parts of a set, all members at once.
    fn fill(&mut self, cell: Cell, protocol: CoppProtocol, target: &mut Target<'_>) {
        let members = target.sets.get(cell).map(super::sets::Set::atoms);
        for atom in members.unwrap_or_default() {
            let meter = atom
                .as_uuid()
                .and_then(|datapath| self.limit_of(datapath, protocol));
            let (of, _) = self.part(cell, protocol, meter.cloned());
            target.sets.join(of, member_key(&atom), atom);
        }
    }

    /// Takes the members out of all parts.
    fn empty(&mut self, cell: Cell, protocol: CoppProtocol, target: &mut Target<'_>) {
        let Some(split) = self.split_mut(cell, protocol) else {
            return;
        };
        for part in std::mem::take(&mut split.parts) {
            let members = target.sets.get(part.cell).map(super::sets::Set::atoms);
            for atom in members.unwrap_or_default() {
                target.sets.leave(part.cell, member_key(&atom));
            }
        }
    }

    /// The part of a set with this meter, with one member more, and whether it is new.
    fn part(
        &mut self,
        cell: Cell,
        protocol: CoppProtocol,
        meter: Option<Arc<str>>,
    ) -> (Cell, bool) {
        let next = Cell {
            relation: PARTS,
            key: self.numbered.pack(),
        };
        let Some(split) = self.split_mut(cell, protocol) else {
            return (next, false);
        };
        if let Some(part) = split.parts.iter_mut().find(|part| part.meter == meter) {
            part.members += 1;
            return (part.cell, false);
        }
        split.parts.push(PartOfSet {
            meter,
            cell: next,
            members: 1,
        });
        self.numbered = self.numbered.wrapping_add(1);
        (next, true)
    }

    fn part_joined(
        &mut self,
        cell: Cell,
        protocol: CoppProtocol,
        (meter, atom): (Option<Arc<str>>, &Atom),
        target: &mut Target<'_>,
    ) {
        let (of, is_new) = self.part(cell, protocol, meter.clone());
        target.sets.join(of, member_key(atom), atom.clone());
        target.touch(of);
        if is_new {
            let flows = self.flows_of(cell, protocol);
            self.rewrite(&flows, &[(meter, Some(of))], true, target);
        }
    }

    fn part_left(
        &mut self,
        cell: Cell,
        protocol: CoppProtocol,
        (meter, atom): (Option<Arc<str>>, &Atom),
        target: &mut Target<'_>,
    ) {
        let Some(split) = self.split_mut(cell, protocol) else {
            return;
        };
        let Some(place) = split.parts.iter().position(|part| part.meter == meter) else {
            return;
        };
        let part = &mut split.parts[place];
        part.members -= 1;
        let of = part.cell;
        if part.members == 0 {
            split.parts.remove(place);
            let flows = self.flows_of(cell, protocol);
            self.rewrite(&flows, &[(meter, Some(of))], false, target);
        }
        target.sets.leave(of, member_key(atom));
        target.touch(of);
    }

    /// Says or takes back flows, so written, for all units that say them.
    fn rewrite(&self, flows: &[RowId], ways: &[Way], says: bool, target: &mut Target<'_>) {
        for id in flows {
            let by = self.flows.get(id).map(|said| said.by.clone());
            for unit in by.into_iter().flatten() {
                for way in ways {
                    match says {
                        true => self.write(unit, *id, way, target),
                        false => self.unwrite(unit, *id, way, target),
                    }
                }
            }
        }
    }

    fn write(&self, unit: UnitId, id: RowId, way: &Way, target: &mut Target<'_>) {
        let Some(said) = self.flows.get(&id) else {
            return;
        };
        let cell = match said.place {
            Place::Datapath(_) => None,
            Place::Set(cell) => Some(way.1.unwrap_or(cell)),
        };
        let row = written(&said.row, said.protocol, way);
        let (id, world) = (written_id(id, way), target.world);
        let group = || world.row(super::source::Side::South, flow::GROUP_TABLE, []);
        target
            .south
            .say_flow(unit, id, cell, row, group, target.sets);
    }

    fn unwrite(&self, unit: UnitId, id: RowId, way: &Way, target: &mut Target<'_>) {
        let id = written_id(id, way);
        target.south.unsay_flow(unit, id, target.sets);
    }
}

impl Target<'_> {
    /// The members of a set are others.
    fn touch(&mut self, cell: Cell) {
        if let Some(set) = self.sets.get(cell) {
            set.rows.iter().for_each(|row| self.south.touch(*row));
        }
    }
}

/// The UUID of a flow as it is written.
fn written_id(id: RowId, way: &Way) -> RowId {
    let (meter, part) = way;
    if meter.is_none() && part.is_none() {
        return id;
    }
    let meter = meter.as_deref().unwrap_or_default();
    RowId {
        uuid: identity::derive(&[b"metered flow", id.uuid.as_bytes(), meter.as_bytes()]),
        ..id
    }
}

/// A flow as it is written.
fn written(row: &Arc<Row>, protocol: CoppProtocol, way: &Way) -> Arc<Row> {
    let (meter, part) = way;
    if meter.is_none() && part.is_none() {
        return Arc::clone(row);
    }
    let column = LogicalFlow::COLUMN;
    let mut row = Row::clone(row);
    if let (Some(group), Some(_)) = (flow::group_of(&row), part) {
        let name = meter.as_deref().unwrap_or_default();
        let parts: [&[u8]; 4] = [
            b"metered group",
            group.as_bytes(),
            protocol.name().as_bytes(),
            name.as_bytes(),
        ];
        let group = Atom::Uuid(identity::derive(&parts));
        row.set(column.logical_dp_group.index, Datum::One(group));
    }
    if let Some(meter) = meter {
        row.set(column.controller_meter.index, Datum::from(&**meter));
    }
    Arc::new(row)
}

#[cfg(test)]
mod tests {
    use relations::Key;

    use super::*;

    /// A part's cell is no relation's.
    #[test]
    fn parts_have_cells_of_their_own() {
        let key: Key = 7_u32.pack();
        let (a, b) = (
            Cell {
                relation: PARTS,
                key,
            },
            Cell { relation: 0, key },
        );
        assert_ne!(a, b);
    }
}
