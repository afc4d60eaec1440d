//! The rows of one database: by handle, by UUID, by what they refer to, and by the values of a column.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;
use incr::{Changes, Reads};
use ovsdb::schema::{ColumnType, DatabaseSchema};
use ovsdb::{Atom, Datum, Row, RowChange};
use smallvec::SmallVec;
use uuid::Uuid;

use crate::values::FIRST_OF_ROWS;
use crate::{Cell, Handle, Small};

/// An index over a column, as [`Rows::index`] has made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexId(u16);

/// What a change of a row came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The row.
    pub handle: Handle,
    /// Whether it was not there before.
    pub came: bool,
}

/// The rows of one database's tables, as far as they are kept.
pub struct Rows {
    schema: Arc<DatabaseSchema>,
    /// The number of the first relation: two for each table (rows, UUIDs), then one for each index.
    first: u16,
    tables: Vec<TableRows>,
    indexes: Vec<Index>,
    slots: Vec<Slot>,
    handles: HashMap<(u16, Uuid), Handle>,
    free: Vec<Handle>,
    /// Handles that are free as soon as the engine is at rest.
    resting: Vec<Handle>,
    /// Hashes names for cells.
    hasher: RandomState,
}

#[derive(Default)]
struct TableRows {
    is_kept: bool,
    /// Whether no unit reads its rows.
    is_unread: bool,
    /// Columns that nobody reads in a row.
    unread: Vec<usize>,
    indexes: Vec<IndexId>,
    count: usize,
}

struct Slot {
    uuid: Uuid,
    table: u16,
    row: Option<Arc<Row>>,
    /// How many members of indexes refer to it.
    mentions: u32,
}

struct Index {
    column: usize,
    by: By,
}

enum By {
    /// The rows that refer to a row of this table.
    Reference {
        target: u16,
        referrers: HashMap<Handle, Members>,
    },
    /// The rows that have a value.
    Value(HashMap<Atom, Members>),
}

/// In the order of the rows' UUIDs.
type Members = SmallVec<[Handle; 2]>;

impl Rows {
    /// No rows yet, of a database with this schema. `number` tells several databases of one program apart (0, 1, …).
    pub fn new(schema: &Arc<DatabaseSchema>, number: u16) -> Self {
        Self {
            schema: Arc::clone(schema),
            first: FIRST_OF_ROWS * (number + 1),
            tables: schema.tables.iter().map(|_| TableRows::default()).collect(),
            indexes: Vec::new(),
            slots: Vec::new(),
            handles: HashMap::new(),
            free: Vec::new(),
            resting: Vec::new(),
            hasher: RandomState::new(),
        }
    }

    /// Keeps the rows of a table. Changes of other tables are ignored.
    pub fn keep(&mut self, table: usize) {
        self.tables[table].is_kept = true;
    }

    /// Nobody reads these columns of a table in a row: when nothing else of a row changes, it is the same to units.
    pub fn leave_unread(&mut self, table: usize, columns: &[usize]) {
        self.tables[table].unread.extend(columns);
    }

    /// No unit reads rows of this table: nothing is told of them but what its indexes have.
    pub fn leave_rows_unread(&mut self, table: usize) {
        self.tables[table].is_unread = true;
    }

    /// Whether the rows of a table are kept.
    pub fn is_kept(&self, table: usize) -> bool {
        self.tables[table].is_kept
    }

    /// Indexes a column of a table that is kept: the same column twice is one index. A column of references is looked up by
    /// [`Rows::referrers`], any other by [`Rows::having`]. Of a map, the keys are not indexed and the values are.
    pub fn index(&mut self, table: usize, column: usize) -> IndexId {
        self.keep(table);
        let known = self.tables[table]
            .indexes
            .iter()
            .find(|id| self.indexes[usize::from(id.0)].column == column);
        if let Some(known) = known {
            return *known;
        }
        let ty = &self.schema.tables[table].columns[column].ty;
        let by = match target(&self.schema, ty) {
            Some(target) => By::Reference {
                target,
                referrers: HashMap::new(),
            },
            None => By::Value(HashMap::new()),
        };
        let id = u16::try_from(self.indexes.len()).expect("there are few indexes");
        self.indexes.push(Index { column, by });
        self.tables[table].indexes.push(IndexId(id));
        IndexId(id)
    }

    /// Takes up a change of a row. Nothing comes of one whose table is not kept.
    ///
    /// # Panics
    /// When there are more than 2^31 rows.
    pub fn apply<C: From<Cell>, U>(
        &mut self,
        changes: &mut Changes<C, U>,
        change: &RowChange,
    ) -> Option<Applied> {
        if !self.tables[change.table].is_kept {
            return None;
        }
        let table = number(change.table);
        let handle = self.intern(table, change.uuid);
        // What was told before counts, whatever the change says of it.
        let old = self.slots[handle.index()].row.take();
        let came = old.is_none() && change.new.is_some();
        let went = old.is_some() && change.new.is_none();
        if old.is_none() && change.new.is_none() {
            self.retire(handle);
            return None;
        }
        self.slots[handle.index()].row.clone_from(&change.new);
        for place in 0..self.tables[change.table].indexes.len() {
            let id = self.tables[change.table].indexes[place];
            self.reindex(changes, id, handle, old.as_deref(), change.new.as_deref());
        }
        let is_unread = self.tables[change.table].is_unread;
        let are_same = match (&old, &change.new) {
            _ if is_unread => true,
            (Some(old), Some(new)) => {
                let unread = &self.tables[change.table].unread;
                Arc::ptr_eq(old, new) || are_alike(old, new, unread)
            }
            _ => false,
        };
        if !are_same {
            changes.cell(self.row_cell(table, handle).into());
        }
        if (came || went) && !is_unread {
            changes.cell(self.uuid_cell(table, change.uuid).into());
        }
        self.tables[change.table].count += usize::from(came);
        self.tables[change.table].count -= usize::from(went);
        if went {
            self.retire(handle);
        }
        Some(Applied { handle, came })
    }

    /// The row, as a unit reads it.
    pub fn get<C: From<Cell> + Copy>(&self, reads: &Reads<C>, row: Handle) -> Option<&Arc<Row>> {
        let slot = self.slots.get(row.index())?;
        debug_assert!(
            !self.tables[usize::from(slot.table)].is_unread,
            "a row is read of a table that is said to be unread"
        );
        reads.note(self.row_cell(slot.table, row).into());
        slot.row.as_ref()
    }

    /// The row, for code that is no unit.
    pub fn peek(&self, row: Handle) -> Option<&Arc<Row>> {
        self.slots.get(row.index())?.row.as_ref()
    }

    /// The row's UUID, also when the row is only referred to.
    pub fn uuid(&self, row: Handle) -> Uuid {
        self.slots
            .get(row.index())
            .map_or(Uuid::nil(), |slot| slot.uuid)
    }

    /// The row's table.
    pub fn table(&self, row: Handle) -> usize {
        self.slots
            .get(row.index())
            .map_or(0, |slot| usize::from(slot.table))
    }

    /// The row of a table with this UUID, if it is there, as a unit asks.
    pub fn find<C: From<Cell> + Copy>(
        &self,
        reads: &Reads<C>,
        table: usize,
        uuid: Uuid,
    ) -> Option<Handle> {
        debug_assert!(
            !self.tables[table].is_unread,
            "a row is looked for in a table that is said to be unread"
        );
        reads.note(self.uuid_cell(number(table), uuid).into());
        self.peek_find(table, uuid)
    }

    /// The row of a table with this UUID, if it is there, for code that is no unit.
    pub fn peek_find(&self, table: usize, uuid: Uuid) -> Option<Handle> {
        let handle = *self.handles.get(&(number(table), uuid))?;
        self.slots[handle.index()].row.as_ref().map(|_| handle)
    }

    /// The rows whose indexed column refers to `row`, in the order of their UUIDs, as a unit reads them.
    pub fn referrers<C: From<Cell> + Copy>(
        &self,
        reads: &Reads<C>,
        index: IndexId,
        row: Handle,
    ) -> &[Handle] {
        reads.note(self.referrers_cell(index, row).into());
        self.peek_referrers(index, row)
    }

    /// The column that an index is over.
    pub fn column(&self, index: IndexId) -> usize {
        self.indexes[usize::from(index.0)].column
    }

    /// The same for code that is no unit.
    pub fn peek_referrers(&self, index: IndexId, row: Handle) -> &[Handle] {
        match &self.indexes[usize::from(index.0)].by {
            By::Reference { referrers, .. } => referrers.get(&row).map_or(&[], SmallVec::as_slice),
            By::Value(_) => &[],
        }
    }

    /// The rows whose indexed column has this value, in the order of their UUIDs, as a unit reads them.
    pub fn having<C: From<Cell> + Copy>(
        &self,
        reads: &Reads<C>,
        index: IndexId,
        value: &Atom,
    ) -> &[Handle] {
        reads.note(self.value_cell(index, value).into());
        self.peek_having(index, value)
    }

    /// The same for code that is no unit.
    pub fn peek_having(&self, index: IndexId, value: &Atom) -> &[Handle] {
        match &self.indexes[usize::from(index.0)].by {
            By::Value(rows) => rows.get(value).map_or(&[], SmallVec::as_slice),
            By::Reference { .. } => &[],
        }
    }

    /// The rows of a table, in no particular order.
    pub fn rows(&self, table: usize) -> impl Iterator<Item = (Handle, &Arc<Row>)> {
        let table = number(table);
        let slots = (0..).zip(&self.slots);
        slots
            .filter(move |(_, slot)| slot.table == table)
            .filter_map(|(index, slot)| Some((Handle::new(index), slot.row.as_ref()?)))
    }

    /// The rows in these places, of all tables. A row keeps its place while it is there; there are [`Rows::places`].
    pub fn portion(&self, places: Range<usize>) -> impl Iterator<Item = (Handle, &Arc<Row>)> {
        let slots = (0..).zip(&self.slots);
        let slots = slots.skip(places.start).take(places.len());
        slots.filter_map(|(index, slot)| Some((Handle::new(index), slot.row.as_ref()?)))
    }

    /// How many places there are, taken or not.
    pub fn places(&self) -> usize {
        self.slots.len()
    }

    /// How many rows of a table there are.
    pub fn count(&self, table: usize) -> usize {
        self.tables[table].count
    }

    /// Lets the handles of rows that went be used again. To be called when the engine has nothing left to run: until then,
    /// units know them.
    pub fn recycle(&mut self) {
        for handle in std::mem::take(&mut self.resting) {
            let slot = &self.slots[handle.index()];
            let is_used = slot.row.is_some() || slot.mentions > 0;
            if !is_used && self.handles.get(&(slot.table, slot.uuid)) == Some(&handle) {
                self.handles.remove(&(slot.table, slot.uuid));
                self.free.push(handle);
            }
        }
    }

    /// The relation of the rows of a table, for declarations of what units read.
    pub fn row_relation(&self, table: usize) -> u16 {
        self.first + 2 * number(table)
    }

    fn row_cell(&self, table: u16, row: Handle) -> Cell {
        Cell {
            relation: self.first + 2 * table,
            key: row.pack(),
        }
    }

    fn uuid_cell(&self, table: u16, uuid: Uuid) -> Cell {
        Cell {
            relation: self.first + 2 * table + 1,
            key: uuid.pack(),
        }
    }

    fn index_relation(&self, index: IndexId) -> u16 {
        self.first + 2 * number(self.tables.len()) + index.0
    }

    fn referrers_cell(&self, index: IndexId, row: Handle) -> Cell {
        Cell {
            relation: self.index_relation(index),
            key: row.pack(),
        }
    }

    fn value_cell(&self, index: IndexId, value: &Atom) -> Cell {
        Cell {
            relation: self.index_relation(index),
            key: self.hasher.hash_one(value).pack(),
        }
    }

    fn intern(&mut self, table: u16, uuid: Uuid) -> Handle {
        if let Some(handle) = self.handles.get(&(table, uuid)) {
            return *handle;
        }
        let slot = Slot {
            uuid,
            table,
            row: None,
            mentions: 0,
        };
        let handle = if let Some(handle) = self.free.pop() {
            self.slots[handle.index()] = slot;
            handle
        } else {
            let index = u32::try_from(self.slots.len())
                .ok()
                .filter(|index| *index <= Handle::MAX)
                .expect("fewer than 2^31 rows fit in memory");
            self.slots.push(slot);
            Handle::new(index)
        };
        self.handles.insert((table, uuid), handle);
        handle
    }

    fn retire(&mut self, handle: Handle) {
        let slot = &self.slots[handle.index()];
        if slot.row.is_none() && slot.mentions == 0 {
            self.resting.push(handle);
        }
    }

    /// `row` has the values of `new` in the indexed column instead of those of `old`.
    fn reindex<C: From<Cell>, U>(
        &mut self,
        changes: &mut Changes<C, U>,
        id: IndexId,
        row: Handle,
        old: Option<&Row>,
        new: Option<&Row>,
    ) {
        let column = self.indexes[usize::from(id.0)].column;
        let (old, new) = (
            old.map(|row| row.get(column)),
            new.map(|row| row.get(column)),
        );
        if old == new {
            return;
        }
        difference(old, new, |atom, comes| {
            let cell = self.change_member(id, row, atom, comes);
            if let Some(cell) = cell {
                changes.cell(cell.into());
            }
        });
    }

    /// Adds or removes one member; returns the cell that changed.
    fn change_member(
        &mut self,
        id: IndexId,
        row: Handle,
        atom: &Atom,
        comes: bool,
    ) -> Option<Cell> {
        let uuid = self.uuid(row);
        let place = usize::from(id.0);
        if let By::Reference { target, .. } = self.indexes[place].by {
            let target = self.intern(target, atom.as_uuid()?);
            let By::Reference { referrers, .. } = &mut self.indexes[place].by else {
                return None;
            };
            let members = referrers.entry(target).or_default();
            let has_changed = change_members(members, &self.slots, row, uuid, comes);
            if members.is_empty() {
                referrers.remove(&target);
            }
            if has_changed {
                let slot = &mut self.slots[target.index()];
                slot.mentions = if comes {
                    slot.mentions + 1
                } else {
                    slot.mentions - 1
                };
            }
            self.retire(target);
            return has_changed.then(|| self.referrers_cell(id, target));
        }
        let By::Value(rows) = &mut self.indexes[place].by else {
            return None;
        };
        let members = rows.entry(atom.clone()).or_default();
        let has_changed = change_members(members, &self.slots, row, uuid, comes);
        if members.is_empty() {
            rows.remove(atom);
        }
        has_changed.then(|| self.value_cell(id, atom))
    }
}

/// Whether two rows are equal but for these columns.
fn are_alike(one: &Row, other: &Row, but: &[usize]) -> bool {
    let mut pairs = one.columns().iter().zip(other.columns()).enumerate();
    pairs.all(|(column, (one, other))| one == other || but.contains(&column))
}

fn change_members(
    members: &mut Members,
    slots: &[Slot],
    row: Handle,
    uuid: Uuid,
    comes: bool,
) -> bool {
    let place = members.binary_search_by_key(&uuid, |member| slots[member.index()].uuid);
    match place {
        Err(place) if comes => members.insert(place, row),
        Ok(place) if !comes => drop(members.remove(place)),
        _ => return false,
    }
    true
}

/// Calls `visit` for each atom that is in one datum only: with `true` if it is in `new`. Of a map, the values count.
/// What two sets share, as one that was made of the other does, is not looked at.
pub fn difference(old: Option<&Datum>, new: Option<&Datum>, visit: impl FnMut(&Atom, bool)) {
    let (of_old, of_new) = (old.and_then(values), new.and_then(values));
    let nothing = Datum::empty_set();
    let atoms = |values: &'_ Option<Datum>, datum: Option<&'_ Datum>| -> Datum {
        let atoms = values.as_ref().or(datum);
        atoms.unwrap_or(&nothing).clone()
    };
    let (old, new) = (atoms(&of_old, old), atoms(&of_new, new));
    ovsdb::difference(old.atoms(), new.atoms(), visit);
}

/// The values of a map as a set.
fn values(datum: &Datum) -> Option<Datum> {
    let is_map = matches!(datum, Datum::Map(_));
    is_map.then(|| Datum::set(datum.pairs().iter().map(|(_, value)| value.clone())))
}

fn target(schema: &DatabaseSchema, ty: &ColumnType) -> Option<u16> {
    let base = ty.value.as_ref().unwrap_or(&ty.key);
    let (table, _) = base.reference()?;
    schema.table_index(table).map(number)
}

fn number(table: usize) -> u16 {
    u16::try_from(table).expect("a schema has few tables")
}
