//! The next transaction: what is marked, in an order that a database takes, and no more than it takes at once.
//!
//! Deletions come first, so that names and keys are free for those who get them next; rows that others refer to are deleted
//! after and written before these. A group of datapaths lives by the flows that refer to it: it goes with one of them, the
//! others may follow later. What tells that the rest is done goes when nothing else is left.
//!
//! What the database would not take before goes in transactions of its own, by turns with the rest.

use std::collections::BTreeSet;

use ovsdb::operation::Operation;
use ovsdb::{Atom, Datum};
use relations::Handle;
use rustc_hash::{FxHashMap, FxHashSet};
use uuid::Uuid;

use super::{GROUPS, Output, RowId, SHARED_FLOWS, UnderWay, difference, group_of};
use crate::compiler::flow::{FLOWS, GROUP_TABLE};
use crate::compiler::sets::Sets;
use crate::compiler::world::World;

/// No more text than this in one transaction: servers take messages of 64 MiB.
const MAX_BYTES: usize = 32 << 20;

/// So many bytes of an operation are the names of tables, columns and members of a JSON object, and UUIDs in brackets.
const NAMES: usize = 160;
/// And so many of each column.
const NAME: usize = 32;

/// A transaction in the making.
struct Draft {
    operations: Vec<Operation>,
    limit: usize,
    /// No less than the text is long.
    bytes: usize,
    /// Whether it was found out how long it is.
    is_counted: bool,
    /// The groups that it makes.
    groups: FxHashSet<Uuid>,
}

impl Draft {
    fn new(limit: usize) -> Self {
        Self {
            operations: Vec::new(),
            limit,
            bytes: 0,
            is_counted: false,
            groups: FxHashSet::default(),
        }
    }

    fn is_full(&self) -> bool {
        self.operations.len() >= self.limit || self.bytes >= MAX_BYTES
    }

    fn extend(&mut self, operations: Vec<Operation>) {
        let quotes = match self.is_counted {
            true => Quotes::Counted,
            false => Quotes::Everywhere,
        };
        let sizes = operations.iter().map(|operation| size(operation, quotes));
        self.bytes += sizes.sum::<usize>();
        self.operations.extend(operations);
        if self.bytes >= MAX_BYTES && !self.is_counted {
            // Perhaps it only might have been as long.
            let sizes = self.operations.iter();
            self.bytes = sizes
                .map(|operation| size(operation, Quotes::Counted))
                .sum();
            self.is_counted = true;
        }
    }
}

impl Output {
    /// Takes the next operations, about `limit` at most. Nothing that waits for the rest goes before `is_compiled`. Beside
    /// transactions under way there is none of their rows.
    pub fn take(
        &mut self,
        limit: usize,
        is_compiled: bool,
        world: &World,
        sets: &mut Sets,
    ) -> Vec<Operation> {
        self.remember_rows_under_way();
        let draft = self.draft(limit, is_compiled, world, sets);
        let rows = std::mem::take(&mut self.taken);
        if !draft.operations.is_empty() {
            let groups = draft.groups;
            self.under_way.push_back(UnderWay { rows, groups });
        }
        draft.operations
    }

    fn remember_rows_under_way(&mut self) {
        self.busy.clear();
        let under_way = self.under_way.iter().flat_map(|of| {
            let groups = of.groups.iter().map(|uuid| RowId {
                table: GROUPS,
                uuid: *uuid,
            });
            of.rows.iter().copied().chain(groups)
        });
        self.busy.extend(under_way);
    }

    fn draft(&mut self, limit: usize, is_compiled: bool, world: &World, sets: &mut Sets) -> Draft {
        let may_try = is_compiled && self.aside.is_trying();
        if may_try && !self.has_tried {
            let draft = self.take_aside(world, sets);
            if !draft.operations.is_empty() {
                return draft;
            }
        }
        self.has_tried = false;
        let mut draft = Draft::new(limit);
        let is_done = self.take_deletions(&mut draft, world);
        if !is_done {
            self.take_writes(&mut draft, is_compiled, world, sets);
        }
        if is_compiled && draft.operations.is_empty() {
            draft.operations = self.stale_followers(limit, world);
        }
        if is_compiled && draft.operations.is_empty() {
            draft.operations = self.expired.take(limit);
        }
        if may_try && draft.operations.is_empty() {
            return self.take_aside(world, sets);
        }
        draft
    }

    /// Takes the next of what the database would not take before.
    fn take_aside(&mut self, world: &World, sets: &mut Sets) -> Draft {
        let mut draft = Draft::new(usize::MAX);
        while !draft.is_full()
            && let Some(id) = self.aside.next(self.taken.len())
        {
            if self.is_desired(id) {
                self.take_write(id, &mut draft, world, sets);
            } else {
                self.take_deletion(id, &mut draft, world);
            }
        }
        self.is_trying = !draft.operations.is_empty();
        self.has_tried = self.is_trying;
        draft
    }

    /// Returns whether that is all of this transaction: a single row is to be tried alone.
    fn take_deletions(&mut self, draft: &mut Draft, world: &World) -> bool {
        // More than one transaction holds: new flows come before old ones go, so that no chassis is ever without. Their
        // names are their contents, so they are in nobody's way.
        let is_large = draft.limit > crate::compiler::MAX_PART;
        let writes_first = is_large && self.overflows(draft.limit);
        while !draft.is_full()
            && let Some(id) = self.to_delete.last()
        {
            if writes_first && (FLOWS..=SHARED_FLOWS).contains(&id.table) {
                break;
            }
            self.take_deletion(id, draft, world);
            if draft.limit == 1 && !self.taken.is_empty() {
                return true;
            }
        }
        false
    }

    /// Whether what is marked, with something to write among it, is more than a transaction takes.
    fn overflows(&self, limit: usize) -> bool {
        if self.to_write.is_empty() || self.to_delete.is_empty() {
            return false;
        }
        if self.marked() > limit {
            return true;
        }
        let written = [FLOWS, SHARED_FLOWS]
            .into_iter()
            .flat_map(|table| self.to_write.of_table(table));
        let mut left = MAX_BYTES.saturating_sub(NAMES * self.to_delete.len());
        written.filter_map(|id| self.flows.get(&id)).any(|flow| {
            let columns = flow.row.columns().iter();
            let sizes = columns.map(|datum| NAME + datum_size(datum, Quotes::Counted));
            let bytes = NAMES + sizes.sum::<usize>();
            left = left.saturating_sub(bytes);
            left == 0
        })
    }

    fn take_writes(
        &mut self,
        draft: &mut Draft,
        is_compiled: bool,
        world: &World,
        sets: &mut Sets,
    ) {
        let mut first_flows = None;
        while !draft.is_full()
            && let Some(id) = self.to_write.first()
        {
            if self.tables.get(id.table).is_some_and(|table| table.last) && !is_compiled {
                return;
            }
            if self.busy.contains(&id) {
                self.to_write.remove(id);
                self.waiting.push(id);
            } else if id.table == GROUPS && !self.has_group(id.uuid, world) {
                // Whose flows are all set aside comes with the first that is taken.
                self.to_write.remove(id);
                self.accept(id);
                let flows = first_flows.get_or_insert_with(|| self.first_flows());
                if let Some(flow) = flows.get(&id.uuid) {
                    self.take_write(*flow, draft, world, sets);
                }
            } else {
                self.take_write(id, draft, world, sets);
            }
            if draft.limit == 1 && !draft.operations.is_empty() {
                return;
            }
        }
    }

    /// Writes a row, if it is not what it should be: a flow with its group, if that is not there yet; a row that moves
    /// without what belongs to where it was.
    fn take_write(&mut self, id: RowId, draft: &mut Draft, world: &World, sets: &mut Sets) {
        self.to_write.remove(id);
        let Some(table) = self.tables.get(id.table) else {
            return;
        };
        let actual = self.actual(id, table, world);
        let found = self.compare(id, table, actual, sets);
        if found.is_empty() {
            self.settle_sets(id, sets);
            self.accept(id);
            return;
        }
        if let (true, Some(old), Some(target)) = (table.whole, actual, self.target(id)) {
            for followers in &self.followers {
                draft.extend(followers.left_by(world, table.table, old, target.row));
            }
        }
        let group = (self.flows.get(&id)).and_then(|flow| group_of(&flow.row));
        if let Some(uuid) = group.filter(|uuid| !self.has_group(*uuid, world))
            && draft.groups.insert(uuid)
            && let Some(table) = self.tables.get(GROUPS)
        {
            let group = RowId {
                table: GROUPS,
                uuid,
            };
            draft.extend(self.compare(group, table, None, sets));
            self.to_write.remove(group);
        }
        let companions = self.companions(id, world, sets);
        draft.extend(found);
        for (id, found) in companions {
            self.to_write.remove(id);
            draft.extend(found);
            self.taken.push(id);
        }
        self.taken.push(id);
    }

    /// Whether a group is in the database, or on its way there.
    fn has_group(&self, uuid: Uuid, world: &World) -> bool {
        let rows = world.rows(self.side);
        let id = RowId {
            table: GROUPS,
            uuid,
        };
        rows.peek_find(GROUP_TABLE, uuid).is_some() || self.busy.contains(&id)
    }

    /// The rows that a row refers to, that are not there, and that live by such references alone: a database forgets at once
    /// what nobody refers to, so they are written with it.
    fn companions(&self, id: RowId, world: &World, sets: &Sets) -> Vec<(RowId, Vec<Operation>)> {
        let columns = self.tables.companions(id.table);
        if columns.is_empty() {
            return Vec::new();
        }
        let Some(desired) = self.rows.get(&id) else {
            return Vec::new();
        };
        let row = &desired.said[desired.counts].1.row;
        let columns = columns.iter().flat_map(|(column, table)| {
            let atoms = row.get(*column).atoms().iter();
            let uuids = atoms.filter_map(Atom::as_uuid);
            uuids.map(|uuid| RowId {
                table: *table,
                uuid,
            })
        });
        // Two columns may refer to one row.
        let wanted: BTreeSet<RowId> = columns.collect();
        let missing = wanted.into_iter().filter_map(|id| {
            let table = self.tables.get(id.table)?;
            let is_there = self.actual(id, table, world).is_some()
                || self.taken.contains(&id)
                || self.busy.contains(&id);
            (!is_there).then(|| (id, self.compare(id, table, None, sets)))
        });
        missing.collect()
    }

    /// Of each group, a marked flow.
    fn first_flows(&self) -> FxHashMap<Uuid, RowId> {
        let flows = self.to_write.of_table(SHARED_FLOWS);
        flows
            .filter_map(|id| Some((group_of(&self.flows.get(&id)?.row)?, id)))
            .collect()
    }

    /// Deletes a row. One that is not there is as it should be.
    fn take_deletion(&mut self, id: RowId, draft: &mut Draft, world: &World) {
        self.to_delete.remove(id);
        let operations = self.delete(id, world);
        if operations.is_empty() {
            self.accept(id);
        }
        draft.extend(operations);
    }

    /// The deletion of a row, with what strongly refers to it and what follows it.
    fn delete(&mut self, id: RowId, world: &World) -> Vec<Operation> {
        let mut operations = Vec::new();
        let Some(table) = self.tables.get(id.table) else {
            return operations;
        };
        // Rows that others keep alive go by themselves when nobody refers to them.
        if table.keeps || !table.whole || !table.is_root {
            return operations;
        }
        let rows = world.rows(self.side);
        let Some(handle) = rows.peek_find(table.table, id.uuid) else {
            return operations;
        };
        operations.push(Operation::delete_row(table.table, id.uuid));
        for (referrer, index, to) in &self.strong {
            if *to == table.table {
                let column = rows.column(*index);
                for row in rows.peek_referrers(*index, handle) {
                    let place = (*referrer, column, *row);
                    operations.push(self.release(id, place, world));
                }
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
        self.taken.push(id);
        operations
    }

    /// What becomes of a row of others that refers to one that is deleted: a set loses this member, and with its last one
    /// the row goes.
    fn release(
        &self,
        gone: RowId,
        (table, column, row): (usize, usize, Handle),
        world: &World,
    ) -> Operation {
        let rows = world.rows(self.side);
        let uuid = rows.uuid(row);
        let is_going = |atom: &Atom| {
            let target = atom.as_uuid().map(|uuid| RowId { uuid, ..gone });
            target.is_none_or(|target| target == gone || self.taken.contains(&target))
        };
        let members = rows.peek(row).map(|row| row.get(column));
        let serves_others =
            members.is_some_and(|members| members.atoms().iter().any(|atom| !is_going(atom)));
        if serves_others {
            return difference::removal(table, uuid, column, Atom::Uuid(gone.uuid));
        }
        Operation::delete_row(table, uuid)
    }

    /// Deletions of followers at places that nobody has, `limit` at most: the rest comes with the next transaction.
    fn stale_followers(&mut self, limit: usize, world: &World) -> Vec<Operation> {
        let mut operations = Vec::new();
        for place in 0..self.followers.len() {
            if operations.len() >= limit {
                break;
            }
            let may_be_stale = std::mem::take(&mut self.followers[place].may_be_stale);
            let followers = &self.followers[place];
            if !may_be_stale || followers.is_empty() {
                continue;
            }
            let owned = self.rows.iter().filter(|(id, _)| {
                let table = self.tables.get(id.table);
                table.is_some_and(|table| table.table == followers.of.of && table.whole)
            });
            let places: FxHashSet<_> = owned
                .filter_map(|(_, desired)| {
                    followers.place_of(world, &desired.said[desired.counts].1.row)
                })
                .collect();
            operations.extend(followers.outside(&places));
            if operations.len() > limit {
                operations.truncate(limit);
                self.followers[place].may_be_stale = true;
            }
        }
        operations
    }
}

/// Characters of a text that are written as two.
#[derive(Clone, Copy)]
enum Quotes {
    /// They are looked for.
    Counted,
    /// All may be.
    Everywhere,
}

/// About how long the text of an operation is, or longer.
fn size(operation: &Operation, quotes: Quotes) -> usize {
    let row = |row: &[(usize, Datum)]| -> usize {
        row.iter()
            .map(|(_, datum)| NAME + datum_size(datum, quotes))
            .sum()
    };
    NAMES
        + match operation {
            Operation::Insert { row: columns, .. } | Operation::Update { row: columns, .. } => {
                row(columns)
            }
            Operation::Mutate { mutations, .. } => mutations
                .iter()
                .map(|mutation| NAME + datum_size(&mutation.arg, quotes))
                .sum(),
            _ => 0,
        }
}

fn datum_size(datum: &Datum, quotes: Quotes) -> usize {
    let doubled = |text: &str| match quotes {
        Quotes::Everywhere => text.len(),
        Quotes::Counted => {
            let bytes = text.bytes();
            bytes.filter(|byte| matches!(byte, b'"' | b'\\')).count()
        }
    };
    let atom = |atom: &Atom| match atom {
        Atom::String(text) => text.len() + doubled(text) + 3,
        Atom::Uuid(_) => 50,
        _ => 22,
    };
    let content: usize = match datum {
        Datum::One(one) => atom(one),
        Datum::Set(atoms) => atoms.iter().map(atom).sum(),
        Datum::Map(pairs) => {
            let pairs = pairs.iter();
            pairs.map(|(key, value)| atom(key) + atom(value) + 3).sum()
        }
    };
    content + 10
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use daemon::Now;
    use incr::{Engine, Program, UnitId};
    use lflow::{a, m};
    use ovsdb::RowChange;
    use relations::Set;

    use super::*;
    use crate::compiler::fact::Fact;
    use crate::compiler::feature::Side;
    use crate::compiler::flow::{Flows, Owner};
    use crate::compiler::output::Fault;
    use crate::compiler::plan::Plan;
    use crate::compiler::stage::{Rule, Stage};
    use crate::compiler::{Compiler, Missing};

    #[test]
    fn operations_are_no_longer_than_they_are_said_to_be() {
        use ovsdb::typed::Table;
        use sb_db::tables::{AddressSet, LogicalFlow};
        let schema = sb_db::schema();
        let uuid = Uuid::from_u128(7);
        let flow = LogicalFlow::COLUMN;
        let flow = Operation::Insert {
            table: LogicalFlow::INDEX,
            uuid,
            row: vec![
                (flow.logical_datapath.index, Datum::from(uuid)),
                (
                    flow.r#match.index,
                    Datum::from("inport == \"a\\\\b\" && eth.src == 02:00:00:00:00:01"),
                ),
                (
                    flow.external_ids.index,
                    Datum::map([(Atom::from("stage-name"), Atom::from("\"\"\""))]),
                ),
                (flow.priority.index, Datum::from(i64::MIN)),
            ],
        };
        let many = (0..1000).map(|number| Atom::from(format!("10.0.0.{number}")));
        let column = AddressSet::COLUMN.addresses.index;
        let mutation = difference::removal(AddressSet::INDEX, uuid, column, Atom::from("\\"));
        let update = vec![(column, Datum::set(many))];
        let update = Operation::update_row(AddressSet::INDEX, uuid, update);
        let delete = Operation::delete_row(AddressSet::INDEX, uuid);
        for operation in [flow, mutation, update, delete] {
            let text = serde_json::to_string(&operation.with(schema)).unwrap();
            let size = size(&operation, Quotes::Counted);
            assert!(
                text.len() <= size && size < 2 * text.len() + 300,
                "{size}: {text}"
            );
        }
    }

    /// A compiler to which somebody has said some flows of a group.
    fn with_shared_flows(count: u16) -> (Engine<Compiler>, Compiler) {
        static GROUP: Set<()> = Set::new("a group");
        let plan: &'static Plan = Box::leak(Box::new(Plan::new(crate::features::ALL).unwrap()));
        let missing = [(), ()].map(|()| -> Missing { Arc::new(|_| false) });
        let mut compiler = Compiler::new(plan, "test", missing);
        let mut facts = vec![Fact::Member(GROUP.cell(()), Atom::Uuid(Uuid::from_u128(1)))];
        let owner = Owner::set(GROUP.cell(()), "a group");
        let mut flows = Flows::new(&compiler.world, owner, None, &mut facts);
        for priority in 0..count {
            let rule = Rule::new(Stage::InNeighbours, priority, "one of many");
            flows.add(rule, &m::any(), [a::next()]);
        }
        let mut engine = Engine::new();
        engine.input(&mut compiler, |compiler, changes| {
            for fact in facts {
                compiler.assert(UnitId::MAX, fact, changes);
            }
        });
        (engine, compiler)
    }

    /// How many rows of groups and of flows are written.
    fn written(operations: &[Operation]) -> (usize, usize) {
        let of = |table: usize| {
            let inserts = operations.iter();
            inserts
                .filter(|operation| operation.table() == Some(table))
                .count()
        };
        let flows = <sb_db::tables::LogicalFlow as ovsdb::typed::Table>::INDEX;
        (of(GROUP_TABLE), of(flows))
    }

    /// What the insertions make is told.
    fn tell(engine: &mut Engine<Compiler>, compiler: &mut Compiler, operations: &[Operation]) {
        let rows = operations.iter().filter_map(|operation| match operation {
            Operation::Insert { table, uuid, row } => {
                let row = compiler.world.row(Side::South, *table, row.iter().cloned());
                Some(RowChange {
                    table: *table,
                    uuid: *uuid,
                    old: None,
                    new: Some(row),
                })
            }
            _ => None,
        });
        let rows: Vec<RowChange> = rows.collect();
        engine.input(compiler, |compiler, changes| {
            for change in rows {
                compiler.change(Side::South, &change, changes);
            }
        });
    }

    #[test]
    fn a_group_of_more_flows_than_one_transaction_holds_comes_with_one_of_them() {
        let (mut engine, mut compiler) = with_shared_flows(5000);
        let mut sum = 0;
        for place in 0.. {
            let operations = compiler.take(Side::South, 2000, true);
            if operations.is_empty() {
                break;
            }
            assert!(operations.len() <= 2001);
            let (groups, flows) = written(&operations);
            assert_eq!(groups, usize::from(place == 0));
            assert!(flows > 0, "a group lives by its flows");
            sum += flows;
            tell(&mut engine, &mut compiler, &operations);
            compiler.south.committed();
        }
        assert_eq!(sum, 5000);
    }

    #[test]
    fn a_group_comes_with_the_first_of_its_flows_that_is_taken() {
        let (mut engine, mut compiler) = with_shared_flows(1);
        let start = std::time::Instant::now();
        let mut now = Now {
            at: start,
            unix_ms: 0,
        };
        let operations = compiler.take(Side::South, 1, true);
        assert_eq!(written(&operations), (1, 1));
        let id = compiler.south.refused(now, Fault::OfTheLast);
        assert_eq!(id.map(|id| id.table), Some(SHARED_FLOWS));
        assert_eq!(
            compiler.take(Side::South, 1, true),
            [],
            "no group without flows"
        );
        now.at += std::time::Duration::from_secs(2);
        compiler.south.retry(now);
        let operations = compiler.take(Side::South, 2000, true);
        assert_eq!(written(&operations), (1, 1), "both are tried again");
        assert!(compiler.south.is_trying());
        assert_eq!(compiler.south.refused(now, Fault::OfRows), None);
        assert!(compiler.south.is_settled());
        now.at += std::time::Duration::from_secs(60);
        compiler.south.retry(now);
        let operations = compiler.take(Side::South, 2000, true);
        assert_eq!(written(&operations), (1, 1));
        tell(&mut engine, &mut compiler, &operations);
        compiler.south.committed();
        assert_eq!(compiler.take(Side::South, 2000, true), []);
        let news: Vec<bool> = compiler
            .south
            .take_news()
            .iter()
            .map(|(_, is)| *is)
            .collect();
        assert_eq!(news, [true, false]);
    }
}
