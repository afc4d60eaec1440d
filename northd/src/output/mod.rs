//! What the southbound database should be, what it is, and the operations that make the one the other.
//!
//! Every row has a UUID from the start ([`identity`]), so that desired and actual rows meet by UUID alone. Whatever touches
//! a row on either side, a unit that says something else or a change that arrives from the database, marks it; taking the
//! next transaction compares marked rows and writes what differs, column by column. So a restart with nothing changed writes
//! nothing, a row that somebody else altered is mended, and a row that nobody wants is deleted.
//!
//! A desired row that has been written is the database's own row, shared: it costs no memory twice.

pub mod dictionaries;
mod difference;
mod fdb;
pub mod groups;
pub mod identity;
pub mod northbound;
pub mod rbac;
pub mod rows;

use std::collections::BTreeSet;
use std::sync::Arc;

use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use ovsdb::{Row, RowChange};
use rustc_hash::{FxHashMap, FxHashSet};
use sb_db::tables::{DatapathBinding, PortBinding};
use uuid::Uuid;

use fdb::Fdb;
pub use groups::{GroupId, Multicast, Scope};
use rows::{NaturalKey, OutTable, RowId, Templates};

use crate::alloc::{Identity, Memory};

/// A row as it should be.
enum Desired {
    Row(Arc<Row>),
    Group(Box<Group>),
}

struct Group {
    id: GroupId,
    /// In ascending order.
    members: Vec<Uuid>,
}

/// The southbound side of the compiler.
pub struct Output {
    templates: Templates,
    /// By table: the columns that northd writes and the server has.
    columns: FxHashMap<OutTable, Vec<usize>>,
    desired: FxHashMap<RowId, Desired>,
    actual: FxHashMap<RowId, Arc<Row>>,
    natural: FxHashMap<NaturalKey, Uuid>,
    group_rows: FxHashMap<GroupId, Uuid>,
    fdb: Fdb,
    /// Whether a datapath or a binding has another key than before.
    has_moved: bool,
    /// Marked rows that are desired, and marked rows that are not.
    to_write: BTreeSet<RowId>,
    to_delete: BTreeSet<RowId>,
    /// Rows in the transaction under way.
    taken: Vec<RowId>,
    /// Rows that the database would not take, until something about them changes.
    set_aside: FxHashSet<RowId>,
}

impl Output {
    /// Nothing desired, nothing there. `has_column` tells which columns the server's schema has, by the indexes of ours.
    pub fn new(has_column: impl Fn(usize, usize) -> bool) -> Self {
        let columns = OutTable::ALL
            .into_iter()
            .map(|table| {
                let mut columns = table.columns();
                columns.retain(|column| has_column(table.index(), *column));
                (table, columns)
            })
            .collect();
        Self {
            templates: Templates::default(),
            columns,
            desired: FxHashMap::default(),
            actual: FxHashMap::default(),
            natural: FxHashMap::default(),
            group_rows: FxHashMap::default(),
            fdb: Fdb::default(),
            has_moved: false,
            to_write: BTreeSet::new(),
            to_delete: BTreeSet::new(),
            taken: Vec::new(),
            set_aside: FxHashSet::default(),
        }
    }

    /// Rows with defaults.
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// The rows of northd's tables that are there, as news.
    pub fn actual_rows(&self) -> impl Iterator<Item = RowChange> + '_ {
        self.actual.iter().map(|(id, row)| RowChange {
            table: id.table.index(),
            uuid: id.uuid,
            old: None,
            new: Some(Arc::clone(row)),
        })
    }

    /// Whether keys have changed since the last call: then learned addresses may be stale.
    pub fn take_moves(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    /// Deletions of learned addresses at ports that nobody has.
    pub fn stale_fdb(&self) -> Vec<Operation> {
        let places: FxHashSet<fdb::Place> = self
            .desired
            .keys()
            .filter(|id| id.table == OutTable::Binding)
            .filter_map(|id| self.place(self.desired_row(*id)?.as_ref()))
            .collect();
        self.fdb.outside(&places)
    }

    /// Deletions of what was learned at a binding that goes.
    fn learned_at(&self, id: RowId) -> Vec<Operation> {
        if id.table != OutTable::Binding {
            return Vec::new();
        }
        let place = self.actual.get(&id).and_then(|binding| self.place(binding));
        place.map_or_else(Vec::new, |place| self.fdb.at(place))
    }

    /// Where packets of a binding come from, in the terms of learned addresses.
    fn place(&self, binding: &Row) -> Option<fdb::Place> {
        let column = PortBinding::COLUMN;
        let uuid = column.datapath.get(binding);
        let id = RowId {
            table: OutTable::Datapath,
            uuid,
        };
        let datapath = self
            .actual
            .get(&id)
            .cloned()
            .or_else(|| self.desired_row(id))?;
        Some((
            DatapathBinding::COLUMN.tunnel_key.get(&datapath),
            column.tunnel_key.get(binding),
        ))
    }

    /// The UUID of the row with this natural key, if the database has one.
    pub fn known(&self, key: NaturalKey) -> Option<Uuid> {
        self.natural.get(&key).copied()
    }

    /// The row should be this.
    pub fn set(&mut self, id: RowId, row: Arc<Row>) {
        if let Some(Desired::Row(old)) = self.desired.get(&id)
            && difference::operation(id, &self.columns[&id.table], &row, Some(old)).is_none()
        {
            return;
        }
        self.desired.insert(id, Desired::Row(row));
        self.mark(id);
    }

    /// The row should not be.
    pub fn unset(&mut self, id: RowId) {
        self.desired.remove(&id);
        self.mark(id);
    }

    /// The group should have this member. Returns whether it had none before.
    pub fn join(&mut self, group: GroupId, member: Uuid) -> bool {
        let uuid = self.group_row(group);
        let id = RowId {
            table: group.table(),
            uuid,
        };
        let desired = self.desired.entry(id).or_insert_with(|| {
            Desired::Group(Box::new(Group {
                id: group,
                members: Vec::new(),
            }))
        });
        let Desired::Group(group) = desired else {
            return false;
        };
        let members = &mut group.members;
        let was_empty = members.is_empty();
        if let Err(place) = members.binary_search(&member) {
            members.insert(place, member);
        }
        self.mark(id);
        was_empty
    }

    /// The group should not have this member. Returns whether it has none now.
    pub fn leave(&mut self, group: GroupId, member: Uuid) -> bool {
        let id = RowId {
            table: group.table(),
            uuid: self.group_row(group),
        };
        let Some(Desired::Group(desired)) = self.desired.get_mut(&id) else {
            return false;
        };
        let members = &mut desired.members;
        if let Ok(place) = members.binary_search(&member) {
            members.remove(place);
        }
        let is_empty = members.is_empty();
        if is_empty {
            self.desired.remove(&id);
            self.group_rows.remove(&group);
        }
        self.mark(id);
        is_empty
    }

    /// Whether the group has members.
    pub fn has_members(&self, group: GroupId) -> bool {
        self.group_rows.contains_key(&group)
    }

    /// A row of the database has changed, or is met for the first time.
    pub fn observe(&mut self, change: &RowChange) {
        self.fdb.observe(change);
        self.has_moved |= has_moved(change);
        if let Some(old) = &change.old
            && let Some(table) = OutTable::of(change.table, old)
        {
            let id = RowId {
                table,
                uuid: change.uuid,
            };
            self.actual.remove(&id);
            if let Some(key) = table.natural_key(old)
                && self.natural.get(&key) == Some(&change.uuid)
            {
                self.natural.remove(&key);
            }
            self.mark(id);
        }
        if let Some(new) = &change.new
            && let Some(table) = OutTable::of(change.table, new)
        {
            let id = RowId {
                table,
                uuid: change.uuid,
            };
            if let Some(key) = table.natural_key(new) {
                self.natural.insert(key, change.uuid);
            }
            self.actual.insert(id, Arc::clone(new));
            self.mark(id);
            self.settle_if_right(id);
        }
    }

    /// Whether something is marked.
    pub fn is_settled(&self) -> bool {
        self.to_write.is_empty() && self.to_delete.is_empty()
    }

    /// How many rows are desired.
    pub fn len(&self) -> usize {
        self.desired.len()
    }

    /// Whether nothing is desired.
    pub fn is_empty(&self) -> bool {
        self.desired.is_empty()
    }

    /// How many rows the database would not take.
    pub fn set_aside(&self) -> usize {
        self.set_aside.len()
    }

    /// Whether rows are marked that are not desired; while not everything is compiled, they may yet be.
    pub fn has_deletions(&self) -> bool {
        !self.to_delete.is_empty()
    }

    /// How many rows are marked.
    pub fn marked(&self) -> usize {
        self.to_write.len() + self.to_delete.len()
    }

    /// Takes the next operations, about `limit` at most. Deletions come first, so that names and keys are free for those
    /// who get them next; rows that others refer to are deleted after and written before these. Groups of datapaths and
    /// their flows keep each other alive and are never parted.
    pub fn take(&mut self, limit: usize) -> Vec<Operation> {
        let mut operations = Vec::new();
        self.taken.clear();
        while operations.len() < limit
            && let Some(id) = self.to_delete.pop_last()
        {
            // Groups of datapaths go by themselves when no flow refers to them.
            if self.actual.contains_key(&id) && id.table != OutTable::DatapathGroup {
                operations.push(Operation::delete_row(id.table.index(), id.uuid));
                operations.extend(self.learned_at(id));
                self.taken.push(id);
            }
        }
        while let Some(id) = self.to_write.first().copied()
            && (operations.len() < limit || id.table == OutTable::SharedFlow)
        {
            self.to_write.remove(&id);
            let Some(desired) = self.desired_row(id) else {
                continue;
            };
            if let Some(operation) =
                difference::operation(id, &self.columns[&id.table], &desired, self.actual.get(&id))
            {
                operations.push(operation);
                self.taken.push(id);
            }
        }
        operations
    }

    /// The transaction under way was committed.
    pub fn committed(&mut self) {
        self.taken.clear();
    }

    /// The transaction under way was refused, or nobody knows: its rows are tried again. If it is known that the fault is
    /// a single row's, that one is set aside.
    pub fn refused(&mut self, is_narrowed: bool) {
        let taken = std::mem::take(&mut self.taken);
        if is_narrowed && let [id] = taken.as_slice() {
            tracing::warn!(target: "northd", "{:?} row {} is set aside until something about it changes", id.table, id.uuid);
            self.set_aside.insert(*id);
            return;
        }
        for id in taken {
            self.mark(id);
        }
    }

    /// Marks everything, so that the next transactions compare all rows.
    pub fn mark_all(&mut self) {
        let ids: Vec<RowId> = self
            .desired
            .keys()
            .chain(self.actual.keys())
            .copied()
            .collect();
        for id in ids {
            self.mark(id);
        }
    }

    /// The rows that should be, for comparison with another compiler's.
    pub fn desired_rows(&self) -> impl Iterator<Item = (RowId, Arc<Row>)> + '_ {
        self.desired
            .keys()
            .filter_map(|id| Some((*id, self.desired_row(*id)?)))
    }

    /// The rows that another output desires otherwise.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for id in self
            .desired
            .keys()
            .filter(|id| !other.desired.contains_key(id))
        {
            found.push(format!("stale {:?} row {}", id.table, id.uuid));
        }
        for (id, row) in other.desired_rows() {
            let Some(mine) = self.desired_row(id) else {
                found.push(format!("missing {:?} row {}", id.table, id.uuid));
                continue;
            };
            if difference::operation(id, &self.columns[&id.table], &row, Some(&mine)).is_some() {
                found.push(format!("wrong {:?} row {}", id.table, id.uuid));
            }
        }
        found
    }

    /// The row that should be at `id`.
    pub fn desired_row(&self, id: RowId) -> Option<Arc<Row>> {
        Some(match self.desired.get(&id)? {
            Desired::Row(row) => Arc::clone(row),
            Desired::Group(group) => self
                .templates
                .row(id.table, group.id.columns(&group.members)),
        })
    }

    /// The columns of `table` that northd writes and the server has.
    pub fn columns(&self, table: OutTable) -> &[usize] {
        &self.columns[&table]
    }

    fn mark(&mut self, id: RowId) {
        self.set_aside.remove(&id);
        if self.desired.contains_key(&id) {
            self.to_delete.remove(&id);
            self.to_write.insert(id);
        } else {
            self.to_write.remove(&id);
            self.to_delete.insert(id);
        }
    }

    /// Unmarks a row that is what it should be, and lets the desired row be the actual one.
    fn settle_if_right(&mut self, id: RowId) {
        let Some(desired) = self.desired_row(id) else {
            return;
        };
        let Some(actual) = self.actual.get(&id) else {
            return;
        };
        if difference::operation(id, &self.columns[&id.table], &desired, Some(actual)).is_some() {
            return;
        }
        self.to_write.remove(&id);
        // In northd's columns they are equal; the others are never looked at.
        if let Some(Desired::Row(row)) = self.desired.get_mut(&id) {
            *row = Arc::clone(actual);
        }
    }

    fn group_row(&mut self, group: GroupId) -> Uuid {
        if let Some(uuid) = self.group_rows.get(&group) {
            return *uuid;
        }
        let known = group.natural_key().and_then(|key| self.known(key));
        let uuid = known.unwrap_or_else(|| group.uuid());
        self.group_rows.insert(group, uuid);
        uuid
    }
}

/// Whether a row changed its tunnel key, or its datapath.
fn has_moved(change: &RowChange) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else {
        return false;
    };
    let columns = match change.table {
        DatapathBinding::INDEX => vec![DatapathBinding::COLUMN.tunnel_key.index],
        PortBinding::INDEX => {
            let column = PortBinding::COLUMN;
            vec![column.tunnel_key.index, column.datapath.index]
        }
        _ => return false,
    };
    columns
        .into_iter()
        .any(|column| old.get(column) != new.get(column))
}

impl Memory for Output {
    fn datapath(&self, switch: Uuid) -> Option<Identity> {
        let uuid = self.known(NaturalKey {
            table: OutTable::Datapath,
            scope: switch,
            name: 0,
        })?;
        let row = self.actual.get(&RowId {
            table: OutTable::Datapath,
            uuid,
        })?;
        let key = u32::try_from(DatapathBinding::COLUMN.tunnel_key.get(row)).ok()?;
        Some(Identity { uuid, key })
    }

    fn binding(&self, datapath: Uuid, logical_port: &str) -> Option<Identity> {
        let (uuid, row) = self.binding_row(logical_port)?;
        let column = PortBinding::COLUMN;
        if column.datapath.get(row) != datapath {
            return None;
        }
        let key = u32::try_from(column.tunnel_key.get(row)).ok()?;
        Some(Identity { uuid, key })
    }

    fn tag(&self, logical_port: &str, parent: &str) -> Option<u16> {
        let (_, row) = self.binding_row(logical_port)?;
        let column = PortBinding::COLUMN;
        if column.parent_port.get(row).as_deref() != Some(parent) {
            return None;
        }
        column.tag.get(row).and_then(|tag| u16::try_from(tag).ok())
    }
}

impl Output {
    fn binding_row(&self, logical_port: &str) -> Option<(Uuid, &Arc<Row>)> {
        let name = crate::compiler::digest(logical_port);
        let uuid = self.known(NaturalKey {
            table: OutTable::Binding,
            scope: Uuid::nil(),
            name,
        })?;
        let row = self.actual.get(&RowId {
            table: OutTable::Binding,
            uuid,
        })?;
        Some((uuid, row))
    }
}
