//! A running unit: what it may read, and how it says what it concludes.

use std::ops::RangeInclusive;
use std::sync::Arc;

use incr::Reads;
use lflow::action::CoppProtocol;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Atom, Datum, Row};
use relations::{Bucket, Cell, Declared, Handle, Key, Relation, Set, Small, Value};
use uuid::Uuid;

use super::fact::{Fact, Reserve, RowId, Stale, Want, Wanted};
use super::flow::{Flows, Owner};
use super::pool::Pool;
use super::problem::{Complaints, Problem};
use super::source::{Index, Owned, Side};
use super::world::World;

/// The relations that a kind of units has declared, to be held to.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The kind, for messages.
    pub kind: &'static str,
    /// The relations that it reads.
    pub reads: Vec<u16>,
    /// The relations, sets and pools' relations that it says.
    pub says: Vec<u16>,
    /// The northbound tables that its feature reads.
    pub north: Vec<usize>,
    /// The southbound tables that its feature reads or owns.
    pub south: Vec<usize>,
}

/// A running unit.
pub struct Unit<'a> {
    world: &'a World,
    access: &'a Access,
    reads: &'a Reads<Cell>,
    facts: &'a mut Vec<Fact>,
}

impl<'a> Unit<'a> {
    /// A unit of a kind with this access.
    pub fn new(
        world: &'a World,
        access: &'a Access,
        reads: &'a Reads<Cell>,
        facts: &'a mut Vec<Fact>,
    ) -> Self {
        Self {
            world,
            access,
            reads,
            facts,
        }
    }

    /// The value of a relation.
    pub fn get<K: Small, V: Value>(&self, of: &'static Relation<K, V>, key: K) -> Option<&'a V> {
        self.may_read(of);
        self.world.values.get(self.reads, of, key)
    }

    /// The members of a bucket, in ascending order.
    pub fn members<K: Small, M: Small>(&self, of: &'static Bucket<K, M>, key: K) -> &'a [M] {
        self.may_read(of);
        self.world.values.members(self.reads, of, key)
    }

    /// A northbound row.
    pub fn north(&self, row: Handle) -> Option<&'a Arc<Row>> {
        debug_assert!(
            self.access.north.contains(&self.world.north.table(row)),
            "{}: undeclared read of northbound table {}",
            self.access.kind,
            self.world.north.table(row)
        );
        self.world.north.get(self.reads, row)
    }

    /// A southbound row.
    pub fn south(&self, row: Handle) -> Option<&'a Arc<Row>> {
        debug_assert!(
            self.access.south.contains(&self.world.south.table(row)),
            "{}: undeclared read of southbound table {}",
            self.access.kind,
            self.world.south.table(row)
        );
        self.world.south.get(self.reads, row)
    }

    /// The northbound row of table `T` with this UUID, if it is there.
    pub fn find_north<T: Table>(&self, uuid: Uuid) -> Option<Handle> {
        self.world.north.find(self.reads, T::INDEX, uuid)
    }

    /// The southbound row of table `T` with this UUID, if it is there.
    pub fn find_south<T: Table>(&self, uuid: Uuid) -> Option<Handle> {
        self.world.south.find(self.reads, T::INDEX, uuid)
    }

    /// The rows whose column refers to `row`, in the order of their UUIDs.
    pub fn referrers(&self, index: Index, row: Handle) -> &'a [Handle] {
        let id = self.world.index(index);
        self.world.rows(index.side).referrers(self.reads, id, row)
    }

    /// The rows whose column has this value, in the order of their UUIDs.
    pub fn having(&self, index: Index, value: &Atom) -> &'a [Handle] {
        let id = self.world.index(index);
        self.world.rows(index.side).having(self.reads, id, value)
    }

    /// A northbound row's UUID.
    pub fn uuid(&self, row: Handle) -> Uuid {
        self.world.north.uuid(row)
    }

    /// A southbound row's UUID.
    pub fn south_uuid(&self, row: Handle) -> Uuid {
        self.world.south.uuid(row)
    }

    /// The southbound rows that have this value, without taking note: for the identity of rows that are northd's own, which
    /// stays the same while they are.
    pub fn recorded(&self, index: Index, value: &Atom) -> impl Iterator<Item = (Uuid, &'a Row)> {
        let south = &self.world.south;
        south
            .peek_having(self.world.index(index), value)
            .iter()
            .filter_map(|row| Some((south.uuid(*row), south.peek(*row)?.as_ref())))
    }

    /// The southbound row of table `T` with this UUID, without taking note.
    pub fn recorded_row<T: Table>(&self, uuid: Uuid) -> Option<&'a Row> {
        let south = &self.world.south;
        let row = south.peek(south.peek_find(T::INDEX, uuid)?)?;
        Some(row.as_ref())
    }

    /// The same for references.
    pub fn recorded_referrers(
        &self,
        index: Index,
        table: usize,
        to: Uuid,
    ) -> impl Iterator<Item = (Uuid, &'a Row)> {
        let south = &self.world.south;
        let to = south.peek_find(table, to);
        let rows = to.map_or(&[][..], |to| {
            south.peek_referrers(self.world.index(index), to)
        });
        rows.iter()
            .filter_map(|row| Some((south.uuid(*row), south.peek(*row)?.as_ref())))
    }

    /// The time, in milliseconds since 1970. Not tracked: who depends on time sets a [`Unit::deadline`].
    pub fn now_ms(&self) -> i64 {
        self.world.now_ms
    }

    /// This northd's version.
    pub fn version(&self) -> &'a str {
        &self.world.version
    }

    /// Whether the southbound server lacks a table, a column (`TABLE.COLUMN`) or a value (`TABLE.COLUMN=VALUE`).
    pub fn lacks(&self, what: &str) -> bool {
        (self.world.missing)(what)
    }

    /// Says a value.
    pub fn say<K: Small, V: Value>(&mut self, of: &'static Relation<K, V>, key: K, value: V) {
        self.may_say(of);
        self.facts.push(Fact::Value(of.cell(key), Box::new(value)));
    }

    /// Says that a bucket has a member. No other unit may say the same of the same key.
    pub fn join<K: Small, M: Small>(&mut self, of: &'static Bucket<K, M>, key: K, member: M) {
        self.may_say(of);
        self.facts.push(Fact::Join(of.cell(key), member.pack()));
    }

    /// Says that a set has a member.
    pub fn member<K: Small>(&mut self, of: &'static Set<K>, key: K, member: impl Into<Atom>) {
        self.may_say(of);
        self.facts.push(Fact::Member(of.cell(key), member.into()));
    }

    /// Says that a set has the members of a northbound row's column, whatever they are and become.
    pub fn mirror<K: Small>(&mut self, of: &'static Set<K>, key: K, row: Handle, column: usize) {
        self.may_say(of);
        self.facts.push(Fact::Mirror(of.cell(key), row, column));
    }

    /// Says a row of a table of the feature's own.
    pub fn row<T: Table>(&mut self, uuid: Uuid, columns: impl IntoIterator<Item = (usize, Datum)>) {
        self.row_of_sets::<T>(uuid, columns, Box::default());
    }

    /// Says a row, some of whose columns have the members of sets.
    pub fn row_of_sets<T: Table>(
        &mut self,
        uuid: Uuid,
        columns: impl IntoIterator<Item = (usize, Datum)>,
        sets: Box<[(usize, Cell)]>,
    ) {
        debug_assert!(
            self.access.south.contains(&T::INDEX),
            "{}: a row of a table that is not its feature's",
            self.access.kind
        );
        let Some(table) = self.world.tables[T::INDEX] else {
            return;
        };
        let row = self.world.row(Side::South, T::INDEX, columns);
        self.facts
            .push(Fact::Row(RowId { table, uuid }, Wanted { row, sets }));
    }

    /// Says columns of a row that others make.
    pub fn columns<T: Table>(
        &mut self,
        owned: &'static Owned,
        row: Handle,
        columns: impl IntoIterator<Item = (usize, Datum)>,
    ) {
        let uuid = self.world.rows(owned.side).uuid(row);
        self.north_row::<T>(owned, uuid, columns);
    }

    /// Says a northbound row, or what the feature owns of one.
    pub fn north_row<T: Table>(
        &mut self,
        owned: &'static Owned,
        uuid: Uuid,
        columns: impl IntoIterator<Item = (usize, Datum)>,
    ) {
        let Some(table) = self.world.columns_table(owned) else {
            return;
        };
        let row = self
            .world
            .shared_row(owned.side, (T::INDEX, table), columns);
        let sets = Box::default();
        self.facts
            .push(Fact::Row(RowId { table, uuid }, Wanted { row, sets }));
    }

    /// Where flows of one datapath go.
    pub fn flows(&mut self, datapath: Uuid, hint: Option<Uuid>) -> Flows<'_> {
        Flows::new(self.world, Owner::Datapath(datapath), hint, self.facts)
    }

    /// Where flows of all datapaths of a set go. The name identifies the set.
    pub fn shared_flows<K: Small>(
        &mut self,
        of: &'static Set<K>,
        key: K,
        name: &str,
        hint: Option<Uuid>,
    ) -> Flows<'_> {
        let owner = Owner::set(of.cell(key), name);
        Flows::new(self.world, owner, hint, self.facts)
    }

    /// Says that a datapath has this meter for what it sends of a protocol to the controllers.
    pub fn limit(&mut self, datapath: Uuid, protocol: CoppProtocol, meter: Arc<str>) {
        self.facts.push(Fact::Limit(datapath, protocol, meter));
    }

    /// Wants a number.
    pub fn want(&mut self, want: Want) {
        self.may_say(want.pool.given);
        self.facts.push(Fact::Want(Box::new(want)));
    }

    /// Says that nobody is to be given these numbers of a pool, among those with this key.
    pub fn reserve(&mut self, pool: &'static Pool, among: Key, range: RangeInclusive<u32>) {
        self.may_say(pool.given);
        self.facts.push(Fact::Reserve(Reserve {
            pool: pool.space(),
            among,
            from: *range.start(),
            to: *range.end(),
        }));
    }

    /// Wants to run again at a time.
    pub fn deadline(&mut self, at_ms: i64) {
        self.facts.push(Fact::Deadline(at_ms));
    }

    /// Says that a southbound row that others have written has had its time; if that is by the value of a column, it is deleted
    /// unless it has another value by then. Of those that are said with a limit above 0, so many are deleted at once, and the others some
    /// seconds later.
    pub fn expired<T: Table>(&mut self, row: Handle, by: Option<(usize, i64)>, limit: u32) {
        let number = |of: usize| u16::try_from(of).expect("a schema has few tables and columns");
        self.facts.push(Fact::Expired(Stale {
            table: number(T::INDEX),
            row: self.world.south.uuid(row),
            limit,
            by: by.map(|(column, value)| (number(column), value)),
        }));
    }

    /// Complaints about a northbound row.
    pub fn complaints<T: TableDefinition>(&self, row: Handle, name: Arc<str>) -> Complaints {
        Complaints::about(T::NAME, self.uuid(row), name)
    }

    /// Says problems.
    pub fn problems(&mut self, problems: impl IntoIterator<Item = Problem>) {
        let problems = problems.into_iter().map(Box::new);
        self.facts.extend(problems.map(Fact::Problem));
    }

    fn may_read(&self, relation: &dyn Declared) {
        debug_assert!(
            self.access.reads.contains(&relation.id()),
            "{}: undeclared read of {}",
            self.access.kind,
            relation.name()
        );
    }

    fn may_say(&self, relation: &dyn Declared) {
        debug_assert!(
            self.access.says.contains(&relation.id()),
            "{}: undeclared saying of {}",
            self.access.kind,
            relation.name()
        );
    }
}
