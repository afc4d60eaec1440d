//! A draft as the operations of a transaction.
//!
//! First come the conditions, then deletions, changes and insertions. A row that is changed is also asked to be there,
//! so that a change of a row that somebody else has just deleted is not lost in silence.

use ovsdb::operation::Until;
use ovsdb::schema::RefKind;
use ovsdb::{Atom, Clause, ColumnRef, Datum, Mutation, Mutator, Operation, Uuid};

use super::changes::{Draft, RowDraft};

impl Draft<'_> {
    /// The operations; none if nothing is to be done.
    pub fn operations(&self) -> Vec<Operation> {
        if self.is_unchanged() {
            return Vec::new();
        }
        let mut operations = Vec::new();
        self.push_conditions(&mut operations);
        for (&(table, uuid), draft) in &self.rows {
            if draft.existed && draft.row.is_none() {
                operations.push(Operation::delete_row(table, uuid));
            }
        }
        for (&(table, uuid), draft) in &self.rows {
            if draft.existed {
                push_changes(&mut operations, table, uuid, draft);
            }
        }
        for &(table, uuid) in &self.inserted {
            operations.extend(self.insertion(table, uuid));
        }
        if let Some((table, uuid, column)) = self.counter {
            let add = Mutation::new(column, Mutator::Add, Datum::from(1_i64));
            operations.push(Operation::mutate_row(table, uuid, vec![add]));
            operations.push(Operation::Select {
                table,
                condition: vec![Clause::is_row(uuid)],
                columns: [ColumnRef::Column(column)].into(),
            });
        }
        operations
    }

    fn push_conditions(&self, operations: &mut Vec<Operation>) {
        for (&(table, uuid), draft) in &self.rows {
            let Some(before) = self.before().row(table, uuid) else {
                continue;
            };
            let verified = &draft.verified;
            if !verified.is_empty() {
                let columns = verified
                    .iter()
                    .map(|&column| (column, before.get(column).clone()));
                operations.push(Operation::verify_row(table, uuid, columns.collect()));
            } else if draft.row.is_some() && !draft.is_unchanged() {
                operations.push(expect_rows(table, vec![Clause::is_row(uuid)], vec![uuid]));
            }
        }
        for (table, column, datum) in &self.unique {
            let condition = vec![Clause::equals(*column, datum.clone())];
            let known = self.rows_before_with(*table, *column, datum);
            operations.push(expect_rows(*table, condition, known));
        }
        for &table in &self.singles {
            operations.push(expect_rows(table, Vec::new(), Vec::new()));
        }
    }

    fn insertion(&self, table: usize, uuid: Uuid) -> Option<Operation> {
        let row = self.rows.get(&(table, uuid))?.row.as_ref()?;
        let columns = self.table_schema(table).columns.iter().enumerate();
        let given = columns
            .map(|(index, column)| (index, Datum::default_for(&column.ty)))
            .filter(|(index, default)| row.get(*index) != default)
            .map(|(index, _)| (index, row.get(index).clone()));
        Some(Operation::Insert {
            table,
            uuid,
            row: given.collect(),
        })
    }

    /// How the draft's changed and new rows refer to the row: strongly, only weakly, or not at all.
    pub fn strongest_reference(&self, uuid: Uuid) -> Option<RefKind> {
        let mut weak = None;
        for (&(table, _), draft) in &self.rows {
            let Some(row) = &draft.row else {
                continue;
            };
            for (column, datum) in self.table_schema(table).columns.iter().zip(row.columns()) {
                let keys = (column.ty.key.reference(), refers(datum, uuid, false));
                let values = (
                    column.ty.value.as_ref().and_then(|value| value.reference()),
                    refers(datum, uuid, true),
                );
                for (reference, found) in [keys, values] {
                    match reference {
                        Some((_, RefKind::Strong)) if found => return Some(RefKind::Strong),
                        Some((_, RefKind::Weak)) if found => weak = Some(RefKind::Weak),
                        _ => {}
                    }
                }
            }
        }
        weak
    }
}

fn refers(datum: &Datum, uuid: Uuid, in_values: bool) -> bool {
    let atom = Atom::Uuid(uuid);
    if in_values {
        datum.pairs().iter().any(|(_, value)| *value == atom)
    } else {
        datum.contains(&atom)
    }
}

fn push_changes(operations: &mut Vec<Operation>, table: usize, uuid: Uuid, draft: &RowDraft) {
    let Some(row) = &draft.row else {
        return;
    };
    if !draft.written.is_empty() {
        let columns = draft
            .written
            .iter()
            .map(|&column| (column, row.get(column).clone()));
        operations.push(Operation::update_row(table, uuid, columns.collect()));
    }
    if !draft.mutations.is_empty() {
        operations.push(Operation::mutate_row(table, uuid, draft.mutations.clone()));
    }
}

/// Fails unless the rows that meet the condition are these.
fn expect_rows(table: usize, condition: Vec<Clause>, uuids: Vec<Uuid>) -> Operation {
    let row = |uuid| vec![(ColumnRef::Uuid, Datum::One(Atom::Uuid(uuid)))];
    Operation::Wait {
        table,
        condition,
        columns: vec![ColumnRef::Uuid],
        until: Until::Equal,
        rows: uuids.into_iter().map(row).collect(),
        timeout_ms: Some(0),
    }
}
