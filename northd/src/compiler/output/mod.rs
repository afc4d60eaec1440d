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

mod aside;
mod difference;
mod expired;
mod followers;
mod marked;
mod transaction;
mod ways;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::Now;
use incr::UnitId;
use ovsdb::operation::Operation;
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Datum, Row, RowChange};
use relations::Cell;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::{SmallVec, smallvec};
use uuid::Uuid;

use super::fact::{RowId, TableId, Wanted};
use super::feature::{Follower, Foreign, Side};
use super::flow::{GROUPS, SHARED_FLOWS, group_of};
use super::sets::{Set, Sets};
use super::world::World;
use aside::Aside;
use expired::Expired;
use followers::Followers;
use marked::Marked;
use ways::Ways;

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
    pub foreign: &'static [Foreign],
    /// Map columns to which only these keys are added.
    pub keys: &'static [(usize, &'static [&'static str])],
    /// Of those, the ones whose values are replaced.
    pub sure: &'static [&'static str],
    /// What a row has in columns that others write from then on.
    pub initial: Vec<(usize, Datum)>,
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

/// What is known of why a transaction was not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it may do better later.
    Unknown,
    /// Some of its rows cannot be taken.
    OfRows,
    /// The last of its rows cannot.
    OfTheLast,
}

/// After a refusal of what deletes followers, which nobody waits for.
const SWEEP_AGAIN: Duration = Duration::from_secs(60);

/// One database's side of the compiler.
pub struct Output {
    side: Side,
    tables: Tables,
    rows: FxHashMap<RowId, Desired>,
    flows: FxHashMap<RowId, DesiredFlow>,
    /// The groups of flows, the set of datapaths that each is, and how many flows there are.
    groups: FxHashMap<Uuid, (Cell, Arc<Row>, usize)>,
    followers: Vec<Followers>,
    /// Rows of others that have had their time.
    pub(super) expired: Expired,
    /// Strong references of tables that are not written: table, column, and the table that is referred to.
    strong: Vec<(usize, relations::IndexId, usize)>,
    /// Marked rows that are desired, and marked rows that are not.
    to_write: Marked,
    to_delete: Marked,
    /// Rows in the transaction in the making, and in those under way, the oldest first.
    taken: Vec<RowId>,
    under_way: VecDeque<UnderWay>,
    /// While one is made beside others: their rows; and marked rows among them, which wait for those to be answered.
    busy: FxHashSet<RowId>,
    waiting: Vec<RowId>,
    /// Rows that the database would not take, what may let them pass, whether the transaction under way tries some again,
    /// and whether the last one did.
    aside: Aside,
    ways: Ways,
    is_trying: bool,
    has_tried: bool,
    /// When followers are looked for again whose deletion the database refused.
    sweep_at: Option<Instant>,
}

/// What a transaction under way writes.
struct UnderWay {
    rows: Vec<RowId>,
    /// The groups that it makes.
    groups: FxHashSet<Uuid>,
}

/// The tables of one side.
struct Tables {
    list: Vec<Table>,
    /// Where each stands in the list, by its number.
    places: Box<[u8; 256]>,
    /// The places of those whose changes matter, by the index of the table in the schema.
    of_schema: Vec<SmallVec<[u8; 4]>>,
    /// Of each in the list, the columns that refer to rows which live by such references alone, and the number of their table.
    companions: Vec<Vec<(usize, TableId)>>,
}

impl Tables {
    fn new(list: Vec<Table>, schema: &DatabaseSchema) -> Self {
        let mut places = Box::new([u8::MAX; 256]);
        let mut of_schema: Vec<SmallVec<[u8; 4]>> = Vec::new();
        for (place, table) in (0..).zip(&list) {
            places[usize::from(table.id)] = place;
            let length = of_schema.len().max(table.table + 1);
            of_schema.resize_with(length, SmallVec::new);
            if table.whole || table.keeps {
                of_schema[table.table].push(place);
            }
        }
        let companions = list.iter().map(|table| companions(table, &list, schema));
        Self {
            companions: companions.collect(),
            list,
            places,
            of_schema,
        }
    }

    /// The table with this number, if the server has it.
    fn get(&self, id: TableId) -> Option<&Table> {
        self.list.get(usize::from(self.places[usize::from(id)]))
    }

    /// The columns of a table by which rows of others live, and the numbers of those tables.
    fn companions(&self, id: TableId) -> &[(usize, TableId)] {
        let place = usize::from(self.places[usize::from(id)]);
        self.companions.get(place).map_or(&[], Vec::as_slice)
    }
}

fn companions(table: &Table, list: &[Table], schema: &DatabaseSchema) -> Vec<(usize, TableId)> {
    let columns = table.columns.iter().filter_map(|column| {
        let ty = &schema.tables[table.table].columns[*column].ty;
        let (name, _) = ty.value.as_ref().unwrap_or(&ty.key).reference()?;
        let target = schema.table_index(name)?;
        let lives_so = |of: &&Table| {
            of.table == target && of.whole && !of.is_root && of.id < super::flow::FLOWS
        };
        Some((*column, list.iter().find(lives_so)?.id))
    });
    columns.collect()
}

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
        let schema = match side {
            Side::North => nb_db::schema(),
            Side::South => sb_db::schema(),
        };
        Self {
            side,
            tables: Tables::new(tables, schema),
            rows: FxHashMap::default(),
            flows: FxHashMap::default(),
            groups: FxHashMap::default(),
            followers: followers.into_iter().map(Followers::new).collect(),
            expired: Expired::default(),
            strong,
            to_write: Marked::default(),
            to_delete: Marked::default(),
            taken: Vec::new(),
            under_way: VecDeque::new(),
            busy: FxHashSet::default(),
            waiting: Vec::new(),
            aside: Aside::default(),
            ways: Ways::new(schema),
            is_trying: false,
            has_tried: false,
            sweep_at: None,
        }
    }

    /// `unit` says a row, for the first time or anew.
    pub fn say(&mut self, unit: UnitId, id: RowId, wanted: Wanted, sets: &mut Sets) {
        let Some(table) = self.tables.get(id.table) else {
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

    /// A row of the database has changed, or is met for the first time.
    pub fn observe(&mut self, change: &RowChange, sets: &mut Sets) {
        for followers in &mut self.followers {
            followers.observe(change);
        }
        if !self.aside.is_empty() && self.lets_pass(change) {
            self.aside.stir();
        }
        let known = self.tables.of_schema.get(change.table);
        for place in known.cloned().into_iter().flatten() {
            self.observe_in(place, change, sets);
        }
    }

    /// Whether a row that was set aside may be taken now.
    fn lets_pass(&self, change: &RowChange) -> bool {
        self.ways.opened(change).any(|table| {
            let known = self.tables.of_schema.get(table).into_iter().flatten();
            let mut ids = known.map(|place| self.tables.list[usize::from(*place)].id);
            ids.any(|id| self.aside.has_other(id, change.uuid))
        })
    }

    /// A row has changed that is one of this table's here.
    fn observe_in(&mut self, place: u8, change: &RowChange, sets: &mut Sets) {
        let table = &self.tables.list[usize::from(place)];
        let id = RowId {
            table: table.id,
            uuid: change.uuid,
        };
        // A flow of a group and one of a datapath are different tables here and one there.
        let is_here = |row: &Arc<Row>| match id.table {
            super::flow::FLOWS => group_of(row).is_none(),
            SHARED_FLOWS => group_of(row).is_some(),
            _ => true,
        };
        let (old, new) = (
            change.old.as_ref().filter(|row| is_here(row)),
            change.new.as_ref().filter(|row| is_here(row)),
        );
        // One that is wanted here is looked at, though its row says that it is of the other table.
        if old.is_none() && new.is_none() && !self.flows.contains_key(&id) {
            return;
        }
        if let Some(flow) = self.flows.get_mut(&id) {
            // Nearly always this is what has just been written.
            match new {
                Some(new) if difference::is_equal(table, &flow.row, new, &[]) => {
                    flow.row = Arc::clone(new);
                    self.to_write.remove(id);
                    self.accept(id);
                }
                _ => self.mark_observed(id),
            }
            return;
        }
        let is_desired = self.is_desired(id);
        // Of columns in rows of others, only the wanted ones matter.
        if !is_desired && table.keeps {
            return;
        }
        for (column, cell) in self.set_columns(id) {
            if let Some(set) = sets.get_mut(cell) {
                observe_members(set, id, (old, new), column);
            }
        }
        match (is_desired, new) {
            (false, None) => {
                self.to_delete.remove(id);
                self.accept(id);
            }
            (true, Some(actual)) if self.compare(id, table, Some(actual), sets).is_empty() => {
                let is_whole = table.whole;
                self.settle(id, is_whole, actual, sets);
            }
            _ => self.mark_observed(id),
        }
    }

    /// Whether nothing is marked.
    pub fn is_settled(&self) -> bool {
        self.to_write.is_empty() && self.to_delete.is_empty() && self.waiting.is_empty()
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

    /// The oldest transaction under way was committed.
    pub fn committed(&mut self) {
        self.under_way.pop_front();
        self.mark_waiting();
        if std::mem::take(&mut self.is_trying) {
            self.aside.taken();
        }
    }

    /// Whether the transaction under way tries again what the database would not take, and nothing else.
    pub fn is_trying(&self) -> bool {
        self.is_trying
    }

    /// The oldest transaction under way was refused, or nobody knows: its rows are tried again. If it is known that the fault is
    /// a single row's, that one is set aside, and returned.
    pub fn refused(&mut self, now: Now, fault: Fault) -> Option<RowId> {
        let refused = self.under_way.pop_front();
        let mut taken = refused.map(|of| of.rows).unwrap_or_default();
        self.mark_waiting();
        if std::mem::take(&mut self.is_trying) {
            match fault {
                Fault::Unknown => self.aside.again(&taken),
                Fault::OfRows | Fault::OfTheLast => self.aside.refused(&taken),
            }
            return None;
        }
        let is_narrowed = fault == Fault::OfTheLast;
        if taken.is_empty() {
            // It was about followers alone.
            if is_narrowed {
                self.sweep_at = Some(now.at + SWEEP_AGAIN);
            } else {
                self.look_for_stale_followers();
            }
        }
        let at_fault = if is_narrowed { taken.pop() } else { None };
        for id in taken {
            if !self.is_desired(id) {
                // Whose followers were deleted with it, and now are not.
                self.look_for_stale_followers();
            }
            self.mark(id);
        }
        let id = at_fault?;
        if self.aside.add(id, now.at) {
            let name = self.name(id);
            tracing::warn!(target: "northd", "row {} of table {name} is set aside", id.uuid);
        }
        Some(id)
    }

    fn mark_waiting(&mut self) {
        for id in std::mem::take(&mut self.waiting) {
            self.mark(id);
        }
    }

    /// Tries what was set aside again, if its time has come: what was in the way may be gone.
    pub fn retry(&mut self, now: Now) {
        self.aside.begin(now.at);
        self.expired.elapse(now.at);
        if self.sweep_at.is_some_and(|at| at <= now.at) {
            self.sweep_at = None;
            self.look_for_stale_followers();
        }
    }

    fn look_for_stale_followers(&mut self) {
        for of in &mut self.followers {
            of.may_be_stale = true;
        }
    }

    /// When what was set aside is tried again.
    pub fn retry_at(&self) -> Option<Instant> {
        [self.aside.due_at(), self.sweep_at, self.expired.due_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Rows that the database would not take since the last call (`true`), and those that it has taken after all or that
    /// nobody wants any more.
    pub fn take_news(&mut self) -> Vec<(RowId, bool)> {
        self.aside.take_news()
    }

    /// A row is as it should be: if it was set aside, it is not any longer.
    fn accept(&mut self, id: RowId) {
        self.aside.remove(id);
    }

    /// The name of a row's table.
    pub fn name(&self, id: RowId) -> &'static str {
        let table = self.tables.get(id.table);
        table.map_or("", |table| table.name)
    }

    /// What another output desires otherwise of this row, in short. Each may have sets of its own.
    pub fn difference(
        &self,
        id: RowId,
        sets: &Sets,
        other: &Self,
        other_sets: &Sets,
    ) -> Option<String> {
        let tell = |what: &str| format!("{what} {} row {}", self.name(id), id.uuid);
        let (a, b) = match (self.target(id), other.target(id)) {
            (Some(a), Some(b)) => (a, b),
            (Some(_), None) => return Some(tell("stale")),
            (None, Some(_)) => return Some(tell("missing")),
            (None, None) => return None,
        };
        let table = self.tables.get(id.table)?;
        let members = |target: &Target<'_>, sets: &Sets| -> Vec<_> {
            let columns = target.sets.iter();
            columns
                .map(|(column, cell)| (*column, sets.datum(*cell)))
                .collect()
        };
        let is_equal = difference::is_equal(table, a.row, b.row, &a.sets)
            && members(&a, sets) == members(&b, other_sets);
        (!is_equal).then(|| tell("wrong"))
    }

    /// Rows that another output desires and this one does not, some of them.
    pub fn lacks<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = RowId> + 'a {
        // Looking costs nothing where nobody is missing.
        let are_as_many = self.len() == other.len();
        let ids = other.ids().filter(|id| !self.is_desired(*id));
        ids.take(if are_as_many { 0 } else { usize::MAX })
    }

    /// Takes up that another output for the same database has set rows aside.
    pub fn set_aside_as(&mut self, other: &Self) {
        self.aside = other.aside.anew();
        for id in self.aside.rows() {
            self.to_write.remove(id);
            self.to_delete.remove(id);
        }
    }

    /// The rows that are desired, in no order.
    pub fn ids(&self) -> impl Iterator<Item = RowId> + '_ {
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

    /// What makes the actual row, or none, the desired one.
    fn compare(
        &self,
        id: RowId,
        table: &Table,
        actual: Option<&Arc<Row>>,
        sets: &Sets,
    ) -> Vec<Operation> {
        let Some(target) = self.target(id) else {
            return Vec::new();
        };
        if actual.is_none() && !table.whole {
            return Vec::new();
        }
        difference::operations(table, id.uuid, target.row, (&target.sets, sets), actual)
    }

    /// The row as the database has it.
    fn actual<'w>(&self, id: RowId, table: &Table, world: &'w World) -> Option<&'w Arc<Row>> {
        let rows = world.rows(self.side);
        rows.peek(rows.peek_find(table.table, id.uuid)?)
    }

    fn target(&self, id: RowId) -> Option<Target<'_>> {
        match id.table {
            super::flow::FLOWS | SHARED_FLOWS => {
                let row = &self.flows.get(&id)?.row;
                let sets = SmallVec::new();
                Some(Target { row, sets })
            }
            GROUPS => {
                let (cell, row, _) = self.groups.get(&id.uuid)?;
                let column = sb_db::tables::LogicalDpGroup::COLUMN.datapaths.index;
                let sets = smallvec![(column, *cell)];
                Some(Target { row, sets })
            }
            _ => {
                let desired = self.rows.get(&id)?;
                let wanted = &desired.said[desired.counts].1;
                let sets = SmallVec::from_slice(&wanted.sets);
                let row = &wanted.row;
                Some(Target { row, sets })
            }
        }
    }

    fn set_columns(&self, id: RowId) -> SmallVec<[(usize, Cell); 1]> {
        self.target(id)
            .map_or_else(SmallVec::new, |target| target.sets)
    }

    fn is_desired(&self, id: RowId) -> bool {
        match id.table {
            super::flow::FLOWS | SHARED_FLOWS => self.flows.contains_key(&id),
            GROUPS => self.groups.contains_key(&id.uuid),
            _ => self.rows.contains_key(&id),
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

    /// A row is to be compared: it is said otherwise than before, or is to be tried again.
    fn mark(&mut self, id: RowId) {
        if !self.is_desired(id) {
            self.to_write.remove(id);
            self.to_delete.insert(id);
            return;
        }
        self.to_delete.remove(id);
        if self.aside.contains(id) {
            // Such rows are tried apart from the rest: perhaps it is taken as it is now.
            self.to_write.remove(id);
            self.aside.stir();
        } else {
            self.to_write.insert(id);
        }
    }

    /// The same for a row that has changed in the database.
    fn mark_observed(&mut self, id: RowId) {
        if !self.aside.contains(id) {
            self.mark(id);
        }
    }

    /// Unmarks a row that is what it should be, and lets the desired row be the actual one.
    fn settle(&mut self, id: RowId, is_whole: bool, actual: &Arc<Row>, sets: &mut Sets) {
        self.settle_sets(id, sets);
        self.accept(id);
        self.to_write.remove(id);
        // In northd's columns they are equal; the others are never looked at.
        if is_whole
            && let Some(desired) = self.rows.get_mut(&id)
            && let [(_, wanted)] = desired.said.as_mut_slice()
            && wanted.sets.is_empty()
        {
            wanted.row = Arc::clone(actual);
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

/// The members of a set that a row has in a column are others in the database. A set that is in one row alone is compared as a whole
/// no more than once after the row is known, however much comes while it is written.
fn observe_members(
    set: &mut Set,
    id: RowId,
    (old, new): (Option<&Arc<Row>>, Option<&Arc<Row>>),
    column: usize,
) {
    let datum = |row: Option<&Arc<Row>>| row.map(|row| row.get(column).clone());
    let (old, new) = (datum(old), datum(new));
    if !set.is_stale {
        relations::difference(old.as_ref(), new.as_ref(), |atom, comes| {
            set.observe(atom, comes);
        });
    } else if let Some(new) = &new
        && set.rows.as_slice() == [id]
    {
        set.take_up(new);
    }
}
