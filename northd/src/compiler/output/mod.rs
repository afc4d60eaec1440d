//! What the two databases should be, what they are, and the operations that make the one the other.
//!
//! Every row has a UUID from the start ([`identity`](super::identity)), so that desired and actual rows meet by UUID alone.
//! Whatever touches a row on either side, a unit that says something else or a change that arrives from the database, marks
//! it; taking the next transaction compares marked rows and writes what differs, column by column, and of sets who came and
//! who went. So a restart with nothing changed writes nothing, a row that somebody else altered is mended, and a row that
//! nobody wants is deleted, with what strongly refers to it.
//!
//! A row is desired while a unit says it. If several say it differently, the first of the contents in their order counts,
//! whoever came first. A desired row that has been written is the database's own row, shared: it costs no memory twice.

mod difference;
mod followers;

use std::collections::BTreeSet;
use std::sync::Arc;

use incr::UnitId;
use ovsdb::operation::Operation;
use ovsdb::{Row, RowChange};
use relations::Cell;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::{SmallVec, smallvec};
use uuid::Uuid;

use super::fact::{RowId, TableId, Wanted};
use super::feature::{Follower, Side};
use super::flow::{GROUPS, SHARED_FLOWS, group_of};
use super::sets::Sets;
use super::world::World;
use followers::{Followers, Place};

/// A table, or columns of one, as they are written.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its place in the order of writing.
    pub id: TableId,
    /// Its database.
    pub side: Side,
    /// Its index in the schema.
    pub table: usize,
    /// Its name.
    pub name: &'static str,
    /// The columns that are written and that the server has.
    pub columns: Vec<usize>,
    /// Whether rows come and go as units say.
    pub whole: bool,
    /// Whether rows that nobody wants are kept.
    pub keeps: bool,
    /// Whether it is written after all others, when everything is compiled.
    pub last: bool,
    /// Whether rows stay when nobody refers to them.
    pub is_root: bool,
    /// Keys of map columns that others write.
    pub foreign: &'static [(usize, &'static [&'static str])],
}

/// A row that units say.
struct Desired {
    said: SmallVec<[(UnitId, Wanted); 1]>,
    /// Which of them counts.
    counts: usize,
}

/// A flow that units say, all alike.
struct DesiredFlow {
    row: Arc<Row>,
    /// In ascending order.
    by: SmallVec<[UnitId; 4]>,
}

/// One database's side of the compiler.
pub struct Output {
    side: Side,
    tables: Vec<Table>,
    rows: FxHashMap<RowId, Desired>,
    flows: FxHashMap<RowId, DesiredFlow>,
    /// The groups of flows, the set of datapaths that each is, and how many flows there are.
    groups: FxHashMap<Uuid, (Cell, Arc<Row>, usize)>,
    followers: Vec<Followers>,
    /// Strong references of tables that are not written: table, column, and the table that is referred to.
    strong: Vec<(usize, relations::IndexId, usize)>,
    /// Marked rows that are desired, and marked rows that are not.
    to_write: BTreeSet<RowId>,
    to_delete: BTreeSet<RowId>,
    /// Rows in the transaction under way.
    taken: Vec<RowId>,
    /// Rows that the database would not take. They are tried again, all together, after a growing pause.
    set_aside: BTreeSet<RowId>,
    retry_at_ms: Option<i64>,
    pause_ms: i64,
    /// Whether rows have been set aside, or taken after all.
    has_news: bool,
}

/// The first and the longest pause before rows that were set aside are tried again.
const PAUSES_MS: (i64, i64) = (1000, 60_000);

/// A desired row as it is compared.
struct Target<'a> {
    row: &'a Arc<Row>,
    sets: SmallVec<[(usize, Cell); 1]>,
}

impl Output {
    /// Nothing desired, nothing there.
    pub fn new(
        side: Side,
        tables: Vec<Table>,
        followers: impl IntoIterator<Item = &'static Follower>,
        strong: Vec<(usize, relations::IndexId, usize)>,
    ) -> Self {
        Self {
            side,
            tables,
            rows: FxHashMap::default(),
            flows: FxHashMap::default(),
            groups: FxHashMap::default(),
            followers: followers.into_iter().map(Followers::new).collect(),
            strong,
            to_write: BTreeSet::new(),
            to_delete: BTreeSet::new(),
            taken: Vec::new(),
            set_aside: BTreeSet::new(),
            retry_at_ms: None,
            pause_ms: PAUSES_MS.0,
            has_news: false,
        }
    }

    /// `unit` says a row, for the first time or anew.
    pub fn say(&mut self, unit: UnitId, id: RowId, wanted: Wanted, sets: &mut Sets) {
        let Some(table) = self.tables.iter().find(|table| table.id == id.table) else {
            return;
        };
        let Some(desired) = self.rows.get_mut(&id) else {
            wanted
                .sets
                .iter()
                .for_each(|(_, cell)| sets.attach(*cell, id));
            let said = smallvec![(unit, wanted)];
            self.rows.insert(id, Desired { said, counts: 0 });
            self.mark(id);
            return;
        };
        let before = desired.said[desired.counts].1.clone();
        match desired.said.iter_mut().find(|(known, _)| *known == unit) {
            Some((_, known)) => {
                let is_same = difference::is_equal(table, &wanted.row, &known.row, &wanted.sets);
                if is_same && known.sets == wanted.sets {
                    return;
                }
                *known = wanted;
            }
            None => desired.said.push((unit, wanted)),
        }
        self.recount(id, &before, sets);
    }

    /// `unit` does not say the row any more.
    pub fn unsay(&mut self, unit: UnitId, id: RowId, sets: &mut Sets) {
        let Some(desired) = self.rows.get_mut(&id) else {
            return;
        };
        let before = desired.said[desired.counts].1.clone();
        desired.said.retain(|(known, _)| *known != unit);
        if desired.said.is_empty() {
            self.rows.remove(&id);
            before
                .sets
                .iter()
                .for_each(|(_, cell)| sets.detach(*cell, id));
            self.mark(id);
            return;
        }
        self.recount(id, &before, sets);
    }

    /// `unit` says a flow that it did not say before.
    pub fn say_flow(
        &mut self,
        unit: UnitId,
        id: RowId,
        cell: Option<Cell>,
        row: Arc<Row>,
        group: impl FnOnce() -> Arc<Row>,
        sets: &mut Sets,
    ) {
        if let Some(flow) = self.flows.get_mut(&id) {
            if let Err(place) = flow.by.binary_search(&unit) {
                flow.by.insert(place, unit);
            }
            return;
        }
        if let (Some(cell), Some(uuid)) = (cell, group_of(&row)) {
            let id = RowId {
                table: GROUPS,
                uuid,
            };
            let (_, _, count) = self.groups.entry(uuid).or_insert_with(|| {
                sets.attach(cell, id);
                (cell, group(), 0)
            });
            *count += 1;
            if *count == 1 {
                self.mark(id);
            }
        }
        let by = smallvec![unit];
        self.flows.insert(id, DesiredFlow { row, by });
        self.mark(id);
    }

    /// `unit` does not say the flow any more.
    pub fn unsay_flow(&mut self, unit: UnitId, id: RowId, sets: &mut Sets) {
        let Some(flow) = self.flows.get_mut(&id) else {
            return;
        };
        flow.by.retain(|known| *known != unit);
        if !flow.by.is_empty() {
            return;
        }
        let flow = self.flows.remove(&id);
        if id.table == SHARED_FLOWS
            && let Some(uuid) = flow.and_then(|flow| group_of(&flow.row))
            && let Some((cell, _, count)) = self.groups.get_mut(&uuid)
        {
            *count -= 1;
            if *count == 0 {
                let id = RowId {
                    table: GROUPS,
                    uuid,
                };
                sets.detach(*cell, id);
                self.groups.remove(&uuid);
                self.mark(id);
            }
        }
        self.mark(id);
    }

    /// The members of a set are others.
    pub fn touch(&mut self, id: RowId) {
        self.mark(id);
    }

    /// The units that say a flow or a row.
    pub fn sayers(&self, id: RowId) -> Vec<UnitId> {
        match (self.flows.get(&id), self.rows.get(&id)) {
            (Some(flow), _) => flow.by.to_vec(),
            (None, Some(row)) => row.said.iter().map(|(unit, _)| *unit).collect(),
            (None, None) => Vec::new(),
        }
    }

    /// A row of the database has changed, or is met for the first time; `world` knows it already.
    pub fn observe(&mut self, change: &RowChange, world: &World, sets: &mut Sets) {
        for followers in &mut self.followers {
            followers.observe(change);
        }
        let tables = self.tables.iter();
        let ids: SmallVec<[TableId; 3]> = tables
            .filter(|table| table.table == change.table && table.whole != table.keeps)
            .map(|table| table.id)
            .collect();
        let of_columns = self.tables.iter();
        let of_columns = of_columns.filter(|table| table.table == change.table && table.keeps);
        let desired: SmallVec<[TableId; 3]> = of_columns
            .map(|table| table.id)
            .filter(|table| {
                self.is_desired(RowId {
                    table: *table,
                    uuid: change.uuid,
                })
            })
            .collect();
        for table in ids.into_iter().chain(desired) {
            let id = RowId {
                table,
                uuid: change.uuid,
            };
            // A flow of a group and one of a datapath are different tables here and one there.
            let is_flow = table == SHARED_FLOWS || table == super::flow::FLOWS;
            let is_here =
                |row: &Arc<Row>| !is_flow || (group_of(row).is_some()) == (table == SHARED_FLOWS);
            let (old, new) = (
                change.old.as_ref().filter(|row| is_here(row)),
                change.new.as_ref().filter(|row| is_here(row)),
            );
            if old.is_none() && new.is_none() && !self.is_desired(id) {
                continue;
            }
            for (column, cell) in self.set_columns(id) {
                if let Some(set) = sets.get_mut(cell)
                    && !set.is_stale
                {
                    let datum = |row: Option<&Arc<Row>>| row.map(|row| row.get(column).clone());
                    let (old, new) = (datum(old), datum(new));
                    relations::difference(old.as_ref(), new.as_ref(), |atom, comes| {
                        set.observe(atom, comes);
                    });
                }
            }
            self.mark(id);
            self.settle_if_right(id, world, sets);
        }
    }

    /// Whether nothing is marked.
    pub fn is_settled(&self) -> bool {
        self.to_write.is_empty() && self.to_delete.is_empty()
    }

    /// Whether rows are marked that are not desired; while not everything is compiled, they may yet be.
    pub fn has_deletions(&self) -> bool {
        !self.to_delete.is_empty()
    }

    /// How many rows are marked.
    pub fn marked(&self) -> usize {
        self.to_write.len() + self.to_delete.len()
    }

    /// How many rows are desired.
    pub fn len(&self) -> usize {
        self.rows.len() + self.flows.len() + self.groups.len()
    }

    /// Whether nothing is desired.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows that the database would not take: table and UUID.
    pub fn set_aside(&self) -> impl Iterator<Item = (&'static str, RowId)> + '_ {
        self.set_aside.iter().filter_map(|id| {
            let table = self.tables.iter().find(|table| table.id == id.table)?;
            Some((table.name, *id))
        })
    }

    /// Takes the next operations, about `limit` at most. Deletions come first, so that names and keys are free for those
    /// who get them next; rows that others refer to are deleted after and written before these. Groups of datapaths and
    /// their flows keep each other alive and are never parted. What tells that the rest is done goes when nothing else is
    /// left and `is_compiled`.
    pub fn take(
        &mut self,
        limit: usize,
        is_compiled: bool,
        world: &World,
        sets: &mut Sets,
    ) -> Vec<Operation> {
        let mut operations = Vec::new();
        self.taken.clear();
        // More than one transaction holds: new flows come before old ones go, so that no chassis is ever without. Their
        // names are their contents, so they are in nobody's way.
        let writes_first =
            self.marked() > limit && limit > crate::compiler::MAX_PART && !self.to_write.is_empty();
        while operations.len() < limit
            && let Some(id) = self.to_delete.pop_last()
        {
            if writes_first && id.table >= super::flow::FLOWS && id.table <= SHARED_FLOWS {
                self.to_delete.insert(id);
                break;
            }
            self.delete(id, world, &mut operations);
            if limit == 1 && !self.taken.is_empty() {
                return operations;
            }
        }
        while let Some(id) = self.to_write.first().copied()
            && (operations.len() < limit || (id.table == SHARED_FLOWS && limit > 1))
        {
            let Some(table) = self.tables.iter().find(|table| table.id == id.table) else {
                self.to_write.remove(&id);
                continue;
            };
            if table.last && !is_compiled {
                break;
            }
            self.to_write.remove(&id);
            let found = self.compare(id, table, world, sets);
            if found.is_empty() {
                self.settle_sets(id, sets);
                self.accept(id);
                continue;
            }
            operations.extend(found);
            self.taken.push(id);
            if limit == 1 {
                // A group lives by its flows: one of them goes with it.
                if id.table == GROUPS
                    && let Some(flow) = self.flow_of(id.uuid)
                    && let Some(table) = self.tables.iter().find(|table| table.id == flow.table)
                {
                    self.to_write.remove(&flow);
                    operations.extend(self.compare(flow, table, world, sets));
                    self.taken.push(flow);
                }
                return operations;
            }
        }
        if is_compiled && operations.is_empty() {
            operations = self.stale_followers(world);
        }
        operations
    }

    /// The transaction under way was committed.
    pub fn committed(&mut self) {
        self.taken.clear();
    }

    /// The transaction under way was refused, or nobody knows: its rows are tried again. If it is known that the fault is
    /// a single row's, that one is set aside, and returned.
    pub fn refused(&mut self, now_ms: i64, is_narrowed: bool) -> Option<RowId> {
        let taken = std::mem::take(&mut self.taken);
        if is_narrowed && let [others @ .., id] = taken.as_slice() {
            others.iter().for_each(|other| self.mark(*other));
            self.has_news |= self.set_aside.insert(*id);
            let at_ms = now_ms + self.pause_ms;
            if self.retry_at_ms.is_none() {
                self.retry_at_ms = Some(at_ms);
                tracing::warn!(target: "northd", "row {} of table {} is set aside, and tried again in {} s", id.uuid, self.name(*id), self.pause_ms / 1000);
            }
            return Some(*id);
        }
        for id in taken {
            self.mark(id);
        }
        for followers in &mut self.followers {
            followers.may_be_stale = true;
        }
        None
    }

    /// Tries what was set aside again, if its time has come: what was in the way may be gone.
    pub fn retry(&mut self, now_ms: i64) {
        if self.retry_at_ms.is_none_or(|at_ms| at_ms > now_ms) {
            return;
        }
        self.retry_at_ms = None;
        self.pause_ms = (self.pause_ms * 2).min(PAUSES_MS.1);
        let ids: Vec<RowId> = self.set_aside.iter().copied().collect();
        ids.into_iter().for_each(|id| self.mark(id));
    }

    /// When what was set aside is tried again.
    pub fn retry_at_ms(&self) -> Option<i64> {
        self.retry_at_ms
    }

    /// Whether rows have been set aside or taken after all since the last call.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// A row is as it should be: if it was set aside, it is not any longer.
    fn accept(&mut self, id: RowId) {
        if self.set_aside.remove(&id) {
            self.has_news = true;
            if self.set_aside.is_empty() {
                self.retry_at_ms = None;
                self.pause_ms = PAUSES_MS.0;
            }
        }
    }

    /// A marked flow of a group.
    fn flow_of(&self, group: Uuid) -> Option<RowId> {
        let from = RowId {
            table: SHARED_FLOWS,
            uuid: Uuid::nil(),
        };
        let marked = self.to_write.range(from..);
        let mut flows = marked.take_while(|id| id.table == SHARED_FLOWS);
        flows
            .find(|id| {
                let flow = self.flows.get(id);
                flow.and_then(|flow| group_of(&flow.row)) == Some(group)
            })
            .copied()
    }

    /// The name of a row's table.
    pub fn name(&self, id: RowId) -> &'static str {
        let table = self.tables.iter().find(|table| table.id == id.table);
        table.map_or("", |table| table.name)
    }

    /// The rows that another output desires otherwise. Each may have sets of its own.
    pub fn differences(&self, sets: &Sets, other: &Self, other_sets: &Sets) -> Vec<String> {
        let mut found = Vec::new();
        let mine: BTreeSet<RowId> = self.ids().collect();
        let others: BTreeSet<RowId> = other.ids().collect();
        for id in mine.difference(&others) {
            found.push(format!("stale {} row {}", self.name(*id), id.uuid));
        }
        for id in others {
            let (Some(a), Some(b)) = (self.target(id), other.target(id)) else {
                found.push(format!("missing {} row {}", self.name(id), id.uuid));
                continue;
            };
            let Some(table) = self.tables.iter().find(|table| table.id == id.table) else {
                continue;
            };
            let members = |target: &Target<'_>, sets: &Sets| -> Vec<_> {
                let columns = target.sets.iter();
                columns
                    .map(|(column, cell)| (*column, sets.datum(*cell)))
                    .collect()
            };
            if !difference::is_equal(table, a.row, b.row, &a.sets)
                || members(&a, sets) != members(&b, other_sets)
            {
                found.push(format!("wrong {} row {}", self.name(id), id.uuid));
            }
        }
        found
    }

    fn ids(&self) -> impl Iterator<Item = RowId> + '_ {
        let groups = self.groups.keys();
        let groups = groups.map(|uuid| RowId {
            table: GROUPS,
            uuid: *uuid,
        });
        self.rows
            .keys()
            .copied()
            .chain(self.flows.keys().copied())
            .chain(groups)
    }

    fn delete(&mut self, id: RowId, world: &World, operations: &mut Vec<Operation>) {
        let Some(table) = self.tables.iter().find(|table| table.id == id.table) else {
            return;
        };
        // Rows that others keep alive go by themselves when nobody refers to them.
        if table.keeps || !table.whole || !table.is_root {
            return;
        }
        let rows = world.rows(self.side);
        let Some(handle) = rows.peek_find(table.table, id.uuid) else {
            return;
        };
        let before = operations.len();
        operations.push(Operation::delete_row(table.table, id.uuid));
        for (referrer, index, to) in &self.strong {
            if *to == table.table {
                let referrers = rows.peek_referrers(*index, handle).iter();
                operations
                    .extend(referrers.map(|row| Operation::delete_row(*referrer, rows.uuid(*row))));
            }
        }
        if let Some(row) = rows.peek(handle) {
            for followers in &self.followers {
                if followers.of.of == table.table
                    && let Some(place) = followers.place_of(world, row)
                {
                    operations.extend(followers.at(place));
                }
            }
        }
        debug_assert!(operations.len() > before, "the row itself is deleted");
        self.taken.push(id);
    }

    /// Deletions of followers at places that nobody has.
    fn stale_followers(&mut self, world: &World) -> Vec<Operation> {
        let mut operations = Vec::new();
        for place in 0..self.followers.len() {
            if !std::mem::take(&mut self.followers[place].may_be_stale) {
                continue;
            }
            let followers = &self.followers[place];
            let places: FxHashSet<Place> = self
                .rows
                .iter()
                .filter(|(id, _)| {
                    let table = self.tables.iter().find(|table| table.id == id.table);
                    table.is_some_and(|table| table.table == followers.of.of && table.whole)
                })
                .filter_map(|(_, desired)| {
                    followers.place_of(world, &desired.said[desired.counts].1.row)
                })
                .collect();
            operations.extend(followers.outside(&places));
        }
        operations
    }

    fn compare(&self, id: RowId, table: &Table, world: &World, sets: &Sets) -> Vec<Operation> {
        let Some(target) = self.target(id) else {
            return Vec::new();
        };
        let rows = world.rows(self.side);
        let handle = rows.peek_find(table.table, id.uuid);
        let actual = handle.and_then(|handle| rows.peek(handle));
        if actual.is_none() && !table.whole {
            return Vec::new();
        }
        difference::operations(table, id.uuid, target.row, (&target.sets, sets), actual)
    }

    fn target(&self, id: RowId) -> Option<Target<'_>> {
        if let Some(flow) = self.flows.get(&id) {
            let sets = SmallVec::new();
            return Some(Target {
                row: &flow.row,
                sets,
            });
        }
        if id.table == GROUPS {
            let (cell, row, _) = self.groups.get(&id.uuid)?;
            let column = sb_db::tables::LogicalDpGroup::COLUMN.datapaths.index;
            let sets = smallvec![(column, *cell)];
            return Some(Target { row, sets });
        }
        let desired = self.rows.get(&id)?;
        let wanted = &desired.said[desired.counts].1;
        Some(Target {
            row: &wanted.row,
            sets: SmallVec::from_slice(&wanted.sets),
        })
    }

    fn set_columns(&self, id: RowId) -> SmallVec<[(usize, Cell); 1]> {
        self.target(id)
            .map_or_else(SmallVec::new, |target| target.sets)
    }

    fn is_desired(&self, id: RowId) -> bool {
        match id.table {
            GROUPS => self.groups.contains_key(&id.uuid),
            _ => self.rows.contains_key(&id) || self.flows.contains_key(&id),
        }
    }

    /// Decides anew which of the contents counts.
    fn recount(&mut self, id: RowId, before: &Wanted, sets: &mut Sets) {
        let Some(desired) = self.rows.get_mut(&id) else {
            return;
        };
        let first = desired
            .said
            .iter()
            .enumerate()
            .min_by(|(_, (_, a)), (_, (_, b))| {
                let order = a.row.columns().cmp(b.row.columns());
                order.then_with(|| a.sets.cmp(&b.sets))
            });
        desired.counts = first.map_or(0, |(place, _)| place);
        let now = &desired.said[desired.counts].1;
        if now.sets != before.sets {
            before
                .sets
                .iter()
                .for_each(|(_, cell)| sets.detach(*cell, id));
            now.sets.iter().for_each(|(_, cell)| sets.attach(*cell, id));
        }
        self.mark(id);
    }

    fn mark(&mut self, id: RowId) {
        if self.is_desired(id) {
            self.to_delete.remove(&id);
            self.to_write.insert(id);
        } else {
            self.to_write.remove(&id);
            self.to_delete.insert(id);
        }
    }

    /// Unmarks a row that is what it should be, and lets the desired row be the actual one.
    fn settle_if_right(&mut self, id: RowId, world: &World, sets: &mut Sets) {
        let Some(table) = self.tables.iter().find(|table| table.id == id.table) else {
            return;
        };
        let rows = world.rows(self.side);
        let handle = rows.peek_find(table.table, id.uuid);
        let Some(actual) = handle.and_then(|handle| rows.peek(handle)) else {
            if !self.is_desired(id) {
                self.accept(id);
            }
            return;
        };
        if !self.is_desired(id) || !self.compare(id, table, world, sets).is_empty() {
            return;
        }
        let is_whole = table.whole;
        self.settle_sets(id, sets);
        self.accept(id);
        self.to_write.remove(&id);
        // In northd's columns they are equal; the others are never looked at.
        if !is_whole {
            return;
        }
        if let Some(flow) = self.flows.get_mut(&id) {
            flow.row = Arc::clone(actual);
        } else if let Some(desired) = self.rows.get_mut(&id)
            && desired.said.len() == 1
            && desired.said[0].1.sets.is_empty()
        {
            desired.said[0].1.row = Arc::clone(actual);
        }
    }

    fn settle_sets(&self, id: RowId, sets: &mut Sets) {
        for (_, cell) in self.set_columns(id) {
            if let Some(set) = sets.get_mut(cell)
                && set.rows.as_slice() == [id]
            {
                set.settle();
            }
        }
    }
}
