//! Talking to a server whose schema is not ours: an older one lacks tables and columns, a newer one has more.
//!
//! The rule is: what the server lacks reads as its default and is left out of what is written. So a condition on a
//! missing column becomes the constant that the default makes of it, a write to a missing column is dropped, and so is
//! an operation on a missing table, with the result that it would have in an empty table. What the server has besides
//! is never asked for.

use std::fmt;

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::condition::{Clause, ColumnRef, Condition, Function};
use crate::datum::Datum;
use crate::error::Error;
use crate::monitor::TableMonitor;
use crate::operation::{OpResult, Operation};
use crate::schema::{BaseType, DatabaseSchema, TableSchema};
use crate::update::{ReadPlan, TableUpdates};

/// How to talk to a server with one schema about rows of another.
#[derive(Debug, Default)]
pub struct Adaptation {
    plan: ReadPlan,
    missing: Missing,
    /// For each table of ours, if it is there, whether each column is.
    present: Vec<Option<Box<[bool]>>>,
}

/// What a server lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Names of tables.
    pub tables: Vec<String>,
    /// Names of columns of tables that are there: `TABLE.COLUMN`.
    pub columns: Vec<String>,
    /// Values of enumerations of columns that are there: `TABLE.COLUMN=VALUE`. A row with one cannot be written.
    pub values: Vec<String>,
}

impl Missing {
    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.columns.is_empty() && self.values.is_empty()
    }
}

/// For the log: `tables A, B; columns C.d, E.f`.
impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.tables.is_empty() {
            write!(f, "tables {}", self.tables.join(", "))?;
        }
        if !self.columns.is_empty() {
            let separator = if self.tables.is_empty() { "" } else { "; " };
            write!(f, "{separator}columns {}", self.columns.join(", "))?;
        }
        if !self.values.is_empty() {
            let is_first = self.tables.is_empty() && self.columns.is_empty();
            write!(
                f,
                "{}values {}",
                if is_first { "" } else { "; " },
                self.values.join(", ")
            )?;
        }
        Ok(())
    }
}

impl Adaptation {
    /// For our schema and the server's.
    pub fn new(ours: &DatabaseSchema, theirs: &DatabaseSchema) -> Self {
        let plan = ReadPlan::between(ours, theirs);
        let mut missing = Missing::default();
        for table in &ours.tables {
            if !plan.has_table(table) {
                missing.tables.push(table.name.to_string());
                continue;
            }
            let lacks = table
                .columns
                .iter()
                .filter(|column| !plan.has_column(table, &column.name));
            missing
                .columns
                .extend(lacks.map(|column| format!("{}.{}", table.name, column.name)));
            if let Some(server_table) = theirs.table(&table.name) {
                missing.values.extend(missing_values(table, server_table));
            }
        }
        let columns = |table: &TableSchema| {
            let columns = table.columns.iter();
            columns
                .map(|column| plan.has_column(table, &column.name))
                .collect()
        };
        let tables = ours.tables.iter();
        let present = tables.map(|table| plan.has_table(table).then(|| columns(table)));
        Self {
            present: present.collect(),
            plan,
            missing,
        }
    }

    /// What the server lacks.
    pub fn missing(&self) -> &Missing {
        &self.missing
    }

    /// Whether the server has this table of ours.
    pub fn has_table(&self, table: &TableSchema) -> bool {
        self.plan.has_table(table)
    }

    /// Reads updates from the server into rows of our schema.
    pub fn updates(&self, json: &RawValue) -> Result<TableUpdates, Error> {
        TableUpdates::from_json(&self.plan, json)
    }

    /// The same straight from a frame that tells a monitor of them, with the last transaction in it; `None` if the frame is better
    /// read by its envelope.
    pub(crate) fn told(&self, monitor: &str, frame: &[u8]) -> Option<(Uuid, TableUpdates)> {
        crate::update::told(&self.plan, monitor, frame)
    }

    /// The part of a monitor that the server can serve; `None` if it lacks the table.
    pub fn monitor(&self, ours: &DatabaseSchema, monitor: &TableMonitor) -> Option<TableMonitor> {
        let table = &ours.tables[monitor.table];
        if !self.plan.has_table(table) {
            return None;
        }
        Some(TableMonitor {
            table: monitor.table,
            columns: monitor
                .columns
                .iter()
                .filter(|monitored| self.has(table, monitored.column))
                .copied()
                .collect(),
            select: monitor.select,
            condition: self.condition(table, &monitor.condition),
        })
    }

    /// The condition as the server can evaluate it.
    pub fn condition(&self, table: &TableSchema, condition: &Condition) -> Condition {
        Condition::any(self.clauses(table, condition.clauses()))
    }

    /// The operation as the server can execute it; `None` if it has no effect there.
    pub fn operation(&self, ours: &DatabaseSchema, mut operation: Operation) -> Option<Operation> {
        let Some(index) = operation.table() else {
            return Some(operation);
        };
        let table = &ours.tables[index];
        let present = self.present.get(index)?.as_ref()?;
        let is_present = |column: usize| present.get(column) == Some(&true);
        match &mut operation {
            Operation::Insert { row, .. } => row.retain(|(column, _)| is_present(*column)),
            Operation::Select {
                condition, columns, ..
            } => {
                *condition = self.clauses(table, condition);
                let kept = columns.iter().copied();
                *columns = kept.filter(|column| self.has(table, *column)).collect();
            }
            Operation::Update { condition, row, .. } => {
                *condition = self.clauses(table, condition);
                row.retain(|(column, _)| is_present(*column));
                if row.is_empty() {
                    return None;
                }
            }
            Operation::Mutate {
                condition,
                mutations,
                ..
            } => {
                *condition = self.clauses(table, condition);
                mutations.retain(|mutation| is_present(mutation.column));
                if mutations.is_empty() {
                    return None;
                }
            }
            Operation::Delete { condition, .. } => *condition = self.clauses(table, condition),
            Operation::Wait {
                condition,
                columns,
                rows,
                ..
            } => {
                *condition = self.clauses(table, condition);
                columns.retain(|column| self.has(table, *column));
                for row in rows {
                    row.retain(|(column, _)| self.has(table, *column));
                }
            }
            Operation::Commit { .. }
            | Operation::Abort
            | Operation::Comment { .. }
            | Operation::Assert { .. } => {}
        }
        Some(operation)
    }

    /// The operations that the server can execute, and for each that was asked for, its result if the server is not
    /// asked; what the server answers is put in between by [`Adaptation::weave`].
    pub fn operations(
        &self,
        ours: &DatabaseSchema,
        operations: Vec<Operation>,
    ) -> (Vec<Operation>, Vec<Option<OpResult>>) {
        let mut adapted = Vec::with_capacity(operations.len());
        let mut without_effect = Vec::with_capacity(operations.len());
        for operation in operations {
            let otherwise = Self::result_without_effect(&operation);
            let sent = self.operation(ours, operation);
            without_effect.push(sent.is_none().then_some(otherwise));
            adapted.extend(sent);
        }
        (adapted, without_effect)
    }

    /// The results in the order in which the operations were asked for, up to the last that the server gave.
    pub fn weave(without_effect: Vec<Option<OpResult>>, done: Vec<OpResult>) -> Vec<OpResult> {
        let mut done = done.into_iter();
        without_effect
            .into_iter()
            .map_while(|result| result.or_else(|| done.next()))
            .collect()
    }

    fn result_without_effect(operation: &Operation) -> OpResult {
        match operation {
            Operation::Insert { uuid, .. } => OpResult::Inserted(*uuid),
            Operation::Update { .. } | Operation::Mutate { .. } | Operation::Delete { .. } => {
                OpResult::Count(0)
            }
            Operation::Select { .. } => OpResult::Rows(Vec::new()),
            _ => OpResult::Empty,
        }
    }

    fn clauses(&self, table: &TableSchema, clauses: &[Clause]) -> Vec<Clause> {
        let adapt = |clause: &Clause| {
            self.constant(table, clause)
                .map_or_else(|| clause.clone(), Clause::Always)
        };
        clauses.iter().map(adapt).collect()
    }

    /// What the clause comes to for every row of the server's, if that is known.
    fn constant(&self, table: &TableSchema, clause: &Clause) -> Option<bool> {
        let Clause::Compare {
            column: ColumnRef::Column(column),
            function,
            arg,
        } = clause
        else {
            return None;
        };
        let column = &table.columns[*column];
        let Some(theirs) = self.plan.column_type(table, &column.name) else {
            return Some(function.holds(&Datum::default_for(&column.ty), arg));
        };
        // A server refuses to compare with what its column cannot hold, such as a newer value of an enumeration.
        let holdable = |base: &BaseType, atom| base.check(atom).is_ok();
        let possible = arg.atoms().iter().all(|atom| holdable(&theirs.key, atom))
            && arg.pairs().iter().all(|(key, value)| {
                let value_type = theirs.value.as_ref();
                holdable(&theirs.key, key) && value_type.is_none_or(|ty| holdable(ty, value))
            });
        match function {
            Function::Equal | Function::Includes if !possible => Some(false),
            Function::NotEqual if !possible => Some(true),
            Function::Excludes if !possible && arg.len() == 1 => Some(true),
            _ => None,
        }
    }

    fn has(&self, table: &TableSchema, column: ColumnRef) -> bool {
        match column {
            ColumnRef::Column(column) => self.has_index(table, column),
            ColumnRef::Uuid | ColumnRef::Version => true,
        }
    }

    fn has_index(&self, table: &TableSchema, column: usize) -> bool {
        self.plan.has_column(table, &table.columns[column].name)
    }
}

/// The values of our enumerations that the server's do not have.
fn missing_values(ours: &TableSchema, theirs: &TableSchema) -> Vec<String> {
    let mut missing = Vec::new();
    for column in &ours.columns {
        let Some(server_column) = theirs.column(&column.name) else {
            continue;
        };
        if let (Some(known), Some(allowed)) = (
            &column.ty.key.enumeration,
            &server_column.ty.key.enumeration,
        ) {
            let lacks = known.iter().filter(|value| !allowed.contains(value));
            let lacks = lacks.filter_map(|value| value.as_str());
            missing.extend(lacks.map(|value| format!("{}.{}={value}", ours.name, column.name)));
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::operation::Transaction;

    fn schemas() -> (DatabaseSchema, DatabaseSchema) {
        let schema =
            |json: Value| DatabaseSchema::from_json(&json!({"name": "T", "tables": json})).unwrap();
        let ours = schema(json!({
            "A": {"columns": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
            "Z": {"columns": {"a": {"type": "integer"}}}}));
        let theirs =
            schema(json!({"A": {"columns": {"a": {"type": "integer"}, "q": {"type": "integer"}}}}));
        (ours, theirs)
    }

    #[test]
    fn what_the_server_lacks_is_left_out() {
        let (ours, theirs) = schemas();
        let adaptation = Adaptation::new(&ours, &theirs);
        assert_eq!(adaptation.missing().to_string(), "tables Z; columns A.b");
        let uuid = Uuid::from_u128(9);
        for (operation, expected) in [
            (
                json!({"op": "insert", "table": "A", "uuid": uuid, "row": {"a": 1, "b": 2}}),
                json!({"op": "insert", "table": "A", "uuid": uuid, "row": {"a": 1}}),
            ),
            (
                json!({"op": "insert", "table": "Z", "row": {}}),
                Value::Null,
            ),
            (
                json!({"op": "update", "table": "A", "where": [], "row": {"b": 1}}),
                Value::Null,
            ),
            (
                json!({"op": "delete", "table": "A", "where": [["b", "==", 0], ["a", "<", 3]]}),
                json!({"op": "delete", "table": "A", "where": [true, ["a", "<", 3]]}),
            ),
            (
                json!({"op": "mutate", "table": "A", "where": [["b", ">", 0]],
                       "mutations": [["b", "+=", 1], ["a", "+=", 1]]}),
                json!({"op": "mutate", "table": "A", "where": [false], "mutations": [["a", "+=", 1]]}),
            ),
            (
                json!({"op": "wait", "table": "A", "where": [], "columns": ["a", "b"], "until": "==",
                       "rows": [{"a": 1, "b": 2}]}),
                json!({"op": "wait", "table": "A", "where": [], "columns": ["a"], "until": "==", "rows": [{"a": 1}]}),
            ),
            (
                json!({"op": "comment", "comment": "x"}),
                json!({"op": "comment", "comment": "x"}),
            ),
        ] {
            let read = Transaction::from_json(&ours, &[operation], &mut Uuid::nil);
            assert_eq!(read.error, None);
            let adapted = adaptation
                .operation(&ours, read.operations[0].clone())
                .map_or(Value::Null, |op| {
                    serde_json::to_value(op.with(&ours)).unwrap()
                });
            assert_eq!(adapted, expected);
        }
    }

    #[test]
    fn conditions_the_server_would_refuse_become_constants() {
        let schema = |values: Value| {
            let kind = json!({"type": {"key": {"type": "string", "enum": ["set", values]}}});
            let json = json!({"name": "T", "tables": {"A": {"columns": {"kind": kind}}}});
            DatabaseSchema::from_json(&json).unwrap()
        };
        let (ours, theirs) = (schema(json!(["old", "new"])), schema(json!(["old"])));
        let adaptation = Adaptation::new(&ours, &theirs);
        let check = |function, value: &str, expected: Option<bool>| {
            let clause = Clause::compare(0, function, value);
            assert_eq!(adaptation.constant(&ours.tables[0], &clause), expected);
        };
        check(Function::Equal, "old", None);
        check(Function::Equal, "new", Some(false));
        check(Function::NotEqual, "new", Some(true));
        check(Function::Includes, "new", Some(false));
        check(Function::Excludes, "new", Some(true));
    }

    #[test]
    fn monitors_ask_only_for_what_is_there() {
        let (ours, theirs) = schemas();
        let adaptation = Adaptation::new(&ours, &theirs);
        let columns = || (0..2).map(ColumnRef::Column);
        let condition = Condition::any([Clause::equals(1, 0)]);
        let monitor = TableMonitor::new(0, columns(), condition);
        let adapted = adaptation.monitor(&ours, &monitor).unwrap();
        assert_eq!(adapted.columns.len(), 1);
        assert!(adapted.condition.is_everything());
        let gone = TableMonitor::new(1, [ColumnRef::Column(0)], Condition::everything());
        assert_eq!(adaptation.monitor(&ours, &gone), None);
    }
}
