//! The compiler: a program for the incremental engine, made of what features declare. It knows no feature.
//!
//! ```text
//! rows ──▶ units, layer by layer ──▶ relations, sets, numbers ──▶ … ──▶ rows and flows for both databases
//! ```
//!
//! The words are few. A *cell* is a relation and a key. A *unit* is a kind and a key: a pure function of the cells that it
//! reads. What it says are *facts*: a value of a relation, a member of a bucket or of a set, a row for a side, a flow, a
//! wish for a number, a deadline, a problem. [`Plan`] has what follows from the declarations, among it the layers.

pub mod alloc;
pub mod book;
pub mod drops;
pub mod fact;
pub mod feature;
pub mod flow;
pub mod identity;
mod known;
pub mod ledger;
mod metering;
mod numbers;
pub mod options;
pub mod output;
pub mod plan;
pub mod pool;
pub mod problem;
pub mod register;
mod reserved;
mod sets;
pub mod source;
pub mod stage;
pub mod unit;
mod unread;
pub mod world;

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use incr::{Changes, Life, Program, Reads, UnitId};
use ovsdb::{Atom, Datum, RowChange};
use relations::{Cell, Changed, Handle, Key, Small};
use rustc_hash::FxHashMap;
use uuid::Uuid;

use alloc::Alloc;
use drops::Drops;
use fact::{Fact, FactKey, RowId};
use feature::{Over, Side};
use ledger::{Ledger, News};
use metering::Metering;
use output::{Output, Table};
use plan::{Part, Plan};
use problem::{Problem, Rank};
use sets::{Sets, Step};
use unit::Unit;
use unread::Unread;
use world::World;

/// What a server lacks of our schema.
pub type Missing = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// A unit of compilation: a part of the plan, and a key.
#[derive(Clone, Copy)]
pub struct UnitName {
    part: &'static Part,
    key: Key,
}

impl PartialEq for UnitName {
    fn eq(&self, other: &Self) -> bool {
        self.part.id == other.part.id && self.key == other.key
    }
}

impl Eq for UnitName {}

impl Hash for UnitName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.part.id.hash(state);
        self.key.hash(state);
    }
}

impl std::fmt::Debug for UnitName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.part.name, self.key)
    }
}

impl UnitName {
    /// The kind's name.
    pub fn kind(self) -> &'static str {
        self.part.name
    }

    /// The northbound row that it is about, if it is about one.
    pub fn row(self) -> Option<Handle> {
        self.part.about_row.then(|| Handle::unpack(self.key))
    }
}

/// Everything that the compiler knows: inputs, what has been derived of them, output.
pub struct Compiler {
    plan: &'static Plan,
    /// What units read.
    pub world: World,
    sets: Sets,
    metering: Metering,
    drops: Drops,
    alloc: Alloc,
    /// The northbound side.
    pub north: Output,
    /// The southbound side.
    pub south: Output,
    unread: Unread,
    ledger: Ledger,
    /// Sets that have the members of columns: by set, and by row.
    mirrors: FxHashMap<Cell, (Handle, usize, Option<Datum>)>,
    mirrored: FxHashMap<Handle, Vec<Cell>>,
    /// Rows that the databases would not take.
    refused: FxHashMap<RowId, Refused>,
    /// Who says a value of which there is one: of two rows of a table that should have one, the other's end is not this
    /// one's.
    singles: FxHashMap<Cell, UnitId>,
    /// Who says what only one unit may say at a time.
    #[cfg(test)]
    sayers: FxHashMap<FactKey, UnitId>,
    /// Units that want to run at a time.
    deadlines: BTreeSet<(i64, UnitId)>,
}

/// Parts of a compilation that are only added have no more operations than these.
pub const MAX_PART: usize = 2000;
/// What the problem of a unit that broke down says.
pub const MISTAKE: &str = "a mistake of northd's";

/// A row that the database would not take.
#[derive(Clone, Default)]
struct Refused {
    /// The northbound row that it is for: table and UUID.
    row: Option<(usize, Uuid)>,
    /// The problem that was made of it.
    problem: Option<Uuid>,
}

impl Compiler {
    /// A compiler that knows no rows yet. `missing` says what each server lacks.
    pub fn new(plan: &'static Plan, version: &str, missing: [Missing; 2]) -> Self {
        let [north_missing, south_missing] = missing;
        let mut tables = vec![None; sb_db::schema().tables.len()];
        let mut columns = Vec::new();
        for (_, table) in &plan.tables {
            let place = world::place(table.side, table.table, &table.columns, table.keys);
            columns.extend(place.map(|place| (place, table.id)));
            if table.side == Side::South && tables[table.table].is_none() {
                tables[table.table] = Some(table.id);
            }
        }
        let mut world = World::new(version, tables, columns, Arc::clone(&south_missing));
        for side in [Side::North, Side::South] {
            for table in plan.kept(side).into_keys() {
                world.rows_mut(side).keep(table);
            }
        }
        for index in &plan.indexes {
            world.declare(*index);
        }
        // Flows are compared where they are written, and nowhere else.
        world.south.leave_rows_unread(flow::TABLE);
        let owned = plan.features.iter().flat_map(|feature| feature.owns);
        for owned in owned.filter(|owned| owned.is_unread) {
            let rows = world.rows_mut(owned.side);
            rows.leave_unread(owned.table, owned.columns);
        }
        for relation in plan.features.iter().flat_map(|feature| feature.relations) {
            world.values.declare(*relation);
        }
        let strong = plan
            .strong()
            .into_iter()
            .map(|(table, column, target)| (table, world.south.index(table, column), target));
        let strong = strong.collect();
        let followers = plan
            .features
            .iter()
            .flat_map(|feature| feature.followers.iter().copied());
        let north = available(plan, Side::North, &north_missing);
        let south = available(plan, Side::South, &south_missing);
        Self {
            plan,
            world,
            sets: Sets::default(),
            metering: Metering::default(),
            drops: Drops::default(),
            alloc: Alloc::new(plan.pools.iter().map(|(pool, layer)| (pool.id(), *layer))),
            north: Output::new(Side::North, north, [], Vec::new()),
            south: Output::new(Side::South, south, followers, strong),
            unread: Unread::new(&plan.features),
            ledger: Ledger::default(),
            mirrors: FxHashMap::default(),
            mirrored: FxHashMap::default(),
            refused: FxHashMap::default(),
            singles: FxHashMap::default(),
            #[cfg(test)]
            sayers: FxHashMap::default(),
            deadlines: BTreeSet::new(),
        }
    }

    /// Wakes what is there from the beginning.
    pub fn begin(&mut self, changes: &mut Changes<Cell, UnitName>) {
        self.wake(self.plan.once(), Key::default(), changes);
    }

    /// Takes up a change of a row.
    pub fn change(
        &mut self,
        side: Side,
        change: &RowChange,
        changes: &mut Changes<Cell, UnitName>,
    ) {
        if side == Side::North {
            self.unread.observe(change);
        }
        if let Some(applied) = self.world.rows_mut(side).apply(changes, change) {
            if applied.came {
                let parts = self.plan.over_rows(side, change.table);
                self.wake(parts, applied.handle.pack(), changes);
            }
            if side == Side::North {
                self.follow_mirrors(applied.handle, changes);
            }
        }
        let output = match side {
            Side::North => &mut self.north,
            Side::South => &mut self.south,
        };
        output.observe(change, &mut self.sets);
    }

    /// Units whose time has come.
    pub fn due(&mut self, now_ms: i64) -> Vec<UnitId> {
        self.world.now_ms = now_ms;
        let later = self.deadlines.split_off(&(now_ms, UnitId::MAX));
        let due = std::mem::replace(&mut self.deadlines, later);
        due.into_iter().map(|(_, unit)| unit).collect()
    }

    /// When the next unit's time comes.
    pub fn next_deadline(&self) -> Option<i64> {
        self.deadlines.first().map(|(at_ms, _)| *at_ms)
    }

    /// The next operations for a side.
    pub fn take(
        &mut self,
        side: Side,
        limit: usize,
        is_compiled: bool,
    ) -> Vec<ovsdb::operation::Operation> {
        let output = match side {
            Side::North => &mut self.north,
            Side::South => &mut self.south,
        };
        output.take(limit, is_compiled, &self.world, &mut self.sets)
    }

    /// The output of a side.
    pub fn output(&mut self, side: Side) -> &mut Output {
        match side {
            Side::North => &mut self.north,
            Side::South => &mut self.south,
        }
    }

    /// All problems that there were when [`Compiler::tell_problems`] was called.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.ledger.iter()
    }

    /// What has come and gone of them since the last call.
    pub fn take_problem_news(&mut self) -> impl Iterator<Item = (News, Problem)> + use<> {
        self.ledger.take_news()
    }

    /// The database would not take a row, which is for this northbound row: that is a problem, too.
    pub fn set_aside(&mut self, id: RowId, row: Option<Handle>) {
        let north = &self.world.north;
        let row = row.map(|row| (north.table(row), north.uuid(row)));
        self.refused.entry(id).or_default().row = row;
    }

    /// The rows of a side's tables that are kept here, as news.
    pub fn rows(&self, side: Side) -> impl Iterator<Item = RowChange> + '_ {
        self.portion(side, 0..usize::MAX)
    }

    /// Those of them in these places: nobody changes its place.
    pub fn portion(
        &self,
        side: Side,
        places: Range<usize>,
    ) -> impl Iterator<Item = RowChange> + '_ {
        let rows = self.world.rows(side);
        rows.portion(places).map(move |(handle, row)| RowChange {
            table: rows.table(handle),
            uuid: rows.uuid(handle),
            old: None,
            new: Some(Arc::clone(row)),
        })
    }

    /// The rows that are desired, of both sides; but for what is told of problems.
    pub fn ids(&self) -> Vec<RowId> {
        let ids = self.south.ids().chain(self.north.ids());
        ids.filter(|id| id.table != plan::PROBLEMS).collect()
    }

    /// What another compiler with the same inputs says otherwise of a row.
    pub fn difference(&self, other: &Self, id: RowId) -> Option<String> {
        let (mine, others) = if is_north(id) {
            (&self.north, &other.north)
        } else {
            (&self.south, &other.south)
        };
        mine.difference(id, &self.sets, others, &other.sets)
    }

    /// What another one says otherwise beside the rows that are desired here. It takes up first which rows were set aside.
    pub fn other_differences(&self, other: &mut Self) -> Vec<String> {
        other.south.set_aside_as(&self.south);
        other.north.set_aside_as(&self.north);
        let rows = self.refused.iter();
        let rows = rows.map(|(id, Refused { row, .. })| {
            let (row, problem) = (*row, None);
            (*id, Refused { row, problem })
        });
        other.refused = rows.collect();
        other.tell_problems();
        let mut found = self.ledger.differences(&other.ledger);
        let missing = self.south.lacks(&other.south);
        let missing = missing.chain(self.north.lacks(&other.north));
        found.extend(missing.filter_map(|id| self.difference(other, id)));
        found
    }

    /// The engine is at rest: what is gone is forgotten.
    pub fn rest(&mut self) {
        self.world.north.recycle();
        self.world.south.recycle();
    }

    fn wake(&self, parts: &[u16], key: Key, changes: &mut Changes<Cell, UnitName>) {
        for part in parts {
            let part: &'static Part = &self.plan.parts[usize::from(*part)];
            changes.wake(UnitName { part, key });
        }
    }

    fn changed(&self, cell: Cell, changed: Changed, changes: &mut Changes<Cell, UnitName>) {
        if changed == Changed::Came {
            self.wake(self.plan.over_keys(cell.relation), cell.key, changes);
        }
    }

    fn set_changed(&mut self, cell: Cell, step: Step, changes: &mut Changes<Cell, UnitName>) {
        if step == Step::None {
            return;
        }
        if step == Step::Existence {
            changes.cell(cell);
            if self.sets.exists(cell) {
                self.wake(self.plan.over_keys(cell.relation), cell.key, changes);
            }
        }
        if let Some(set) = self.sets.get(cell) {
            set.rows.iter().for_each(|row| self.south.touch(*row));
        }
    }

    /// The members of sets that mirror a column of this row are what the column has now.
    fn follow_mirrors(&mut self, row: Handle, changes: &mut Changes<Cell, UnitName>) {
        let Some(cells) = self.mirrored.get(&row).cloned() else {
            return;
        };
        for cell in cells {
            self.mirror(cell, changes);
        }
    }

    fn mirror(&mut self, cell: Cell, changes: &mut Changes<Cell, UnitName>) {
        let Some((row, column, before)) = self.mirrors.get_mut(&cell) else {
            return;
        };
        let now = self
            .world
            .north
            .peek(*row)
            .map(|row| row.get(*column).clone());
        let before = std::mem::replace(before, now.clone());
        self.members_changed(cell, before.as_ref(), now.as_ref(), changes);
    }

    fn members_changed(
        &mut self,
        cell: Cell,
        before: Option<&Datum>,
        now: Option<&Datum>,
        changes: &mut Changes<Cell, UnitName>,
    ) {
        let mut steps = Vec::new();
        relations::difference(before, now, |atom, comes| {
            let key = fact::member_key(atom);
            steps.push(if comes {
                self.join(cell, key, atom.clone())
            } else {
                self.leave(cell, key)
            });
        });
        for step in [Step::Members, Step::Existence] {
            if steps.contains(&step) {
                self.set_changed(cell, step, changes);
            }
        }
    }

    /// The problem of a southbound row that the database would not take: of the northbound row that it is for, else of the
    /// whole.
    fn refused(&self, id: RowId) -> Option<Problem> {
        let output = if is_north(id) {
            &self.north
        } else {
            &self.south
        };
        let table = output.name(id);
        let row = self.refused.get(&id).and_then(|refused| refused.row);
        let global = <nb_db::tables::NbGlobal as ovsdb::typed::Table>::INDEX;
        let north = &self.world.north;
        let found = row.and_then(|(table, uuid)| north.peek_find(table, uuid));
        let row = found.or_else(|| north.rows(global).next().map(|(row, _)| row))?;
        Some(Problem {
            rank: Rank::Invalid,
            table: &nb_db::schema().tables[north.table(row)].name,
            row: north.uuid(row),
            name: Arc::from(""),
            column: "_uuid",
            place: None,
            why: format!("the database refuses row {} of {table}", id.uuid),
            remedy: "it is tried again from time to time; northd's log has the reason".to_owned(),
        })
    }

    /// Makes the first problems, in the order of their UUIDs, rows of the northbound. Costs what has changed.
    pub fn tell_problems(&mut self) {
        let news = self.alloc.take_problem_news().into_iter();
        for (problem, is_there) in news.chain(self.unread.take_problem_news()) {
            if is_there {
                self.ledger.add(problem);
            } else {
                self.ledger.remove(problem.uuid());
            }
        }
        let news = self.south.take_news().into_iter();
        for (id, is_aside) in news.chain(self.north.take_news()) {
            if is_aside {
                let problem = self.refused(id);
                let uuid = problem.as_ref().map(Problem::uuid);
                self.refused.entry(id).or_default().problem = uuid;
                problem
                    .into_iter()
                    .for_each(|problem| self.ledger.add(problem));
            } else if let Some(uuid) = self.refused.remove(&id).and_then(|of| of.problem) {
                self.ledger.remove(uuid);
            }
        }
        let table = plan::PROBLEMS;
        for (uuid, problem) in self.ledger.take_rows() {
            let id = RowId { table, uuid };
            let Some(problem) = problem else {
                self.north.unsay(UnitId::MAX, id, &mut self.sets);
                continue;
            };
            let row = self
                .world
                .row(Side::North, problem::TABLE, problem.columns());
            let sets = Box::default();
            self.north
                .say(UnitId::MAX, id, fact::Wanted { row, sets }, &mut self.sets);
        }
    }

    fn is_there(&self, unit: UnitName, reads: &Reads<Cell>) -> bool {
        match unit.part.over {
            Over::North(_) => self
                .world
                .north
                .get(reads, Handle::unpack(unit.key))
                .is_some(),
            Over::South(_) => self
                .world
                .south
                .get(reads, Handle::unpack(unit.key))
                .is_some(),
            Over::Keys(relation) | Over::Shared(relation) => {
                let cell = Cell {
                    relation: relation.id(),
                    key: unit.key,
                };
                reads.note(cell);
                self.world.values.holds(cell) || self.sets.exists(cell)
            }
            Over::Once => true,
        }
    }

    /// The problem of a unit that broke down: a mistake of northd's, and no reason to stop.
    fn broken(&self, unit: UnitName) -> Problem {
        let row = unit.row();
        let (table, uuid) = match row {
            Some(row) => (
                &*nb_db::schema().tables[self.world.north.table(row)].name,
                self.world.north.uuid(row),
            ),
            None => ("NB_Global", Uuid::nil()),
        };
        Problem {
            rank: Rank::Invalid,
            table,
            row: uuid,
            name: Arc::from(""),
            column: "_uuid",
            place: None,
            why: format!("northd fails at it ({}): {MISTAKE}", unit.part.name),
            remedy: "the row is left out; please report it with the row's contents".to_owned(),
        }
    }
}

/// The tables of a side that the server has, with the columns that it has.
fn available(plan: &Plan, side: Side, missing: &Missing) -> Vec<Table> {
    let tables = plan.tables.iter().filter(|(_, table)| table.side == side);
    let schema = match side {
        Side::North => nb_db::schema(),
        Side::South => sb_db::schema(),
    };
    let tables = tables.filter(|(_, table)| !missing(table.name));
    tables
        .map(|(_, table)| {
            let mut table = table.clone();
            let columns = &schema.tables[table.table].columns;
            let name = table.name;
            let has = |column: usize| !missing(&format!("{name}.{}", columns[column].name));
            table.columns.retain(|column| has(*column));
            table.initial.retain(|(column, _)| has(*column));
            table
        })
        .collect()
}

impl Program for Compiler {
    type Cell = Cell;
    type Unit = UnitName;
    type Fact = Fact;
    type Key = FactKey;
    type Said = fact::Said;
    const LAYERS: usize = plan::MAX_LAYERS;

    fn layer(unit: UnitName) -> usize {
        unit.part.layer
    }

    fn kind(unit: UnitName) -> &'static str {
        unit.part.name
    }

    fn run(&self, name: UnitName, reads: &Reads<Cell>, facts: &mut Vec<Fact>) -> Life {
        if !self.is_there(name, reads) {
            return Life::Gone;
        }
        for (kind, access) in &name.part.kinds {
            let mut unit = Unit::new(&self.world, access, reads, facts);
            let outcome = catch_unwind(AssertUnwindSafe(|| (kind.run)(&mut unit, name.key)));
            if outcome.is_err() {
                // Half of what a row means may open a door that the other half would have closed.
                facts.clear();
                facts.push(Fact::Problem(Box::new(self.broken(name))));
                break;
            }
        }
        Life::Alive
    }

    fn key(fact: &Fact) -> FactKey {
        fact.key()
    }

    fn is_whole(key: FactKey) -> bool {
        key.is_whole()
    }

    fn assert(&mut self, unit: UnitId, fact: Fact, changes: &mut Changes<Cell, UnitName>) {
        #[cfg(test)]
        self.begins_to_say(unit, fact.key());
        match fact {
            Fact::Value(cell, value) => {
                if cell.key == Key::default() {
                    self.singles.insert(cell, unit);
                }
                let changed = self.world.values.set(changes, cell, value);
                self.changed(cell, changed, changes);
                self.sample_drops(cell);
            }
            Fact::Join(cell, member) => {
                let changed = self.world.values.join(changes, cell, member);
                self.changed(cell, changed, changes);
            }
            Fact::Member(cell, atom) => {
                let step = self.join(cell, fact::member_key(&atom), atom);
                self.set_changed(cell, step, changes);
            }
            Fact::Mirror(cell, row, column) => {
                // Said again because something else of the row has changed: the members follow by themselves.
                let known = self.mirrors.get(&cell);
                if known.is_some_and(|(of, at, _)| (*of, *at) == (row, column)) {
                    return;
                }
                self.unmirror(cell, changes);
                self.mirrors.insert(cell, (row, column, None));
                self.mirrored.entry(row).or_default().push(cell);
                self.mirror(cell, changes);
            }
            Fact::Row(id, wanted) => {
                let output = if is_north(id) {
                    &mut self.north
                } else {
                    &mut self.south
                };
                output.say(unit, id, wanted, &mut self.sets);
            }
            Fact::Flow(id, cell, row, Some(protocol)) => {
                let (metering, mut target) = self.metering();
                metering.say(unit, id, (protocol, cell, row), &mut target);
            }
            Fact::Limit(datapath, protocol, meter) => {
                let (metering, mut target) = self.metering();
                metering.limit(datapath, protocol, Some(&meter), &mut target);
            }
            Fact::Flow(id, cell, row, None) if drops::is_drop(&row) => {
                let (drops, mut target) = self.drops();
                drops.say(unit, id, (cell, row), &mut target);
            }
            Fact::Flow(id, cell, row, None) => {
                let world = &self.world;
                let group = || world.row(Side::South, flow::GROUP_TABLE, []);
                self.south
                    .say_flow(unit, id, cell, row, group, &mut self.sets);
            }
            Fact::Want(want) => self.alloc.want(*want, &mut self.world.values, changes),
            Fact::Reserve(reserve) => {
                self.alloc.reserve(reserve, &mut self.world.values, changes);
            }
            Fact::Deadline(at_ms) => {
                self.deadlines.insert((at_ms, unit));
            }
            Fact::Expired(stale) => self.south.expired.add(stale),
            Fact::Problem(problem) => self.ledger.add(*problem),
        }
    }

    fn retract(&mut self, unit: UnitId, key: FactKey, changes: &mut Changes<Cell, UnitName>) {
        #[cfg(test)]
        self.sayers.remove(&key);
        match key {
            FactKey::Value(cell) => {
                let is_others = self.singles.get(&cell).is_some_and(|sayer| *sayer != unit);
                if !is_others {
                    self.singles.remove(&cell);
                    self.world.values.remove(changes, cell);
                    self.sample_drops(cell);
                }
            }
            FactKey::Join(cell, member) => {
                self.world.values.leave(changes, cell, member);
            }
            FactKey::Member(cell, member) => {
                let step = self.leave(cell, member);
                self.set_changed(cell, step, changes);
            }
            FactKey::Mirror(cell) => self.unmirror(cell, changes),
            FactKey::Row(id) => {
                let output = if is_north(id) {
                    &mut self.north
                } else {
                    &mut self.south
                };
                output.unsay(unit, id, &mut self.sets);
            }
            FactKey::Flow(id) => {
                let (metering, mut target) = self.metering();
                if metering.unsay(unit, id, &mut target) {
                    return;
                }
                let (drops, mut target) = self.drops();
                if !drops.unsay(unit, id, &mut target) {
                    self.south.unsay_flow(unit, id, &mut self.sets);
                }
            }
            FactKey::Limit(datapath, protocol) => {
                let (metering, mut target) = self.metering();
                metering.limit(datapath, protocol, None, &mut target);
            }
            FactKey::Want(pool, owner) => {
                self.alloc
                    .unwant(pool, owner, &mut self.world.values, changes);
            }
            FactKey::Reserve(reserve) => self.alloc.unreserve(reserve),
            FactKey::Deadline(at_ms) => {
                self.deadlines.remove(&(at_ms, unit));
            }
            FactKey::Expired(stale) => self.south.expired.remove(stale),
            FactKey::Problem(uuid) => self.ledger.remove(uuid),
        }
    }

    fn settle(&mut self, layer: usize, changes: &mut Changes<Cell, UnitName>) {
        if self.plan.pools.iter().any(|(_, of)| *of == layer) {
            let given = self.alloc.settle(layer, &mut self.world.values, changes);
            for (cell, changed) in given {
                self.changed(cell, changed, changes);
            }
        }
    }
}

impl Compiler {
    /// Which flows have which meter, and where that is written.
    fn metering(&mut self) -> (&mut Metering, metering::Target<'_>) {
        let target = metering::Target {
            world: &self.world,
            south: &mut self.south,
            sets: &mut self.sets,
        };
        (&mut self.metering, target)
    }

    /// The flows that drop, and where they are written.
    fn drops(&mut self) -> (&mut Drops, metering::Target<'_>) {
        let target = metering::Target {
            world: &self.world,
            south: &mut self.south,
            sets: &mut self.sets,
        };
        (&mut self.drops, target)
    }

    /// If it is this cell that says what those flows do, they do what it says now.
    fn sample_drops(&mut self, cell: Cell) {
        if cell == drops::SAMPLE.cell(()) {
            let actions = self.world.values.peek(&drops::SAMPLE, ()).cloned();
            let (drops, mut target) = self.drops();
            drops.set(actions, &mut target);
        }
    }

    fn join(&mut self, cell: Cell, key: Key, atom: Atom) -> Step {
        let followed = self.metering.follows(cell).then(|| atom.clone());
        let step = self.sets.join(cell, key, atom);
        if step != Step::None
            && let Some(atom) = followed
        {
            let (metering, mut target) = self.metering();
            metering.joined(cell, &atom, &mut target);
        }
        step
    }

    fn leave(&mut self, cell: Cell, key: Key) -> Step {
        let followed = self.metering.follows(cell);
        let atom = followed.then(|| self.sets.get(cell)?.atom(key)).flatten();
        let step = self.sets.leave(cell, key);
        if step != Step::None
            && let Some(atom) = atom
        {
            let (metering, mut target) = self.metering();
            metering.left(cell, &atom, &mut target);
        }
        step
    }

    /// Units run in any order: where one begins to say what another has yet to take back, that one would take away what
    /// this one says.
    #[cfg(test)]
    fn begins_to_say(&mut self, unit: UnitId, key: FactKey) {
        let has_one = match key {
            FactKey::Value(cell) => cell.key != Key::default(),
            FactKey::Join(..) | FactKey::Mirror(_) | FactKey::Want(..) => true,
            _ => false,
        };
        if has_one {
            let other = self.sayers.insert(key, unit).filter(|other| *other != unit);
            assert!(
                other.is_none(),
                "{unit:?} says {key:?}, which {other:?} says, too: a key moves from one to the other"
            );
        }
    }

    fn unmirror(&mut self, cell: Cell, changes: &mut Changes<Cell, UnitName>) {
        let Some((row, _, before)) = self.mirrors.remove(&cell) else {
            return;
        };
        if let Some(cells) = self.mirrored.get_mut(&row) {
            cells.retain(|known| *known != cell);
            if cells.is_empty() {
                self.mirrored.remove(&row);
            }
        }
        self.members_changed(cell, before.as_ref(), None, changes);
    }
}

fn is_north(id: RowId) -> bool {
    (plan::PROBLEMS..plan::FIRST_LAST).contains(&id.table)
}
