//! What operations and transactions give: RFC 7047, section 4.1.3.

use std::borrow::Cow;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;
use uuid::Uuid;

use super::Operation;
use crate::condition::ColumnRef;
use crate::datum::Datum;
use crate::error::Error;
use crate::row::Row;
use crate::schema::DatabaseSchema;

/// What one operation gave.
#[derive(Clone, Debug, PartialEq)]
pub enum OpResult {
    /// Nothing but success: `wait`, `commit`, `comment`, `assert`.
    Empty,
    /// `insert`: the new row's identity.
    Inserted(Uuid),
    /// `update`, `mutate`, `delete`: how many rows the condition met.
    Count(u64),
    /// `select`, as a client reads it: the rows, each with its columns in the order asked for.
    Rows(Vec<Vec<(Arc<str>, Datum)>>),
    /// `select`, as a server executes it.
    Selected(Box<Selected>),
}

/// Rows that a `select` found, shared with the database: to give them costs the same however large they are.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The schema that has the table.
    pub schema: Arc<DatabaseSchema>,
    /// The table's index in it.
    pub table: usize,
    /// The columns that were asked for, in that order.
    pub columns: Arc<[ColumnRef]>,
    /// The rows, of which only these columns are shown.
    pub rows: Vec<(Uuid, Arc<Row>)>,
}

impl PartialEq for Selected {
    fn eq(&self, other: &Self) -> bool {
        let of = |selected: &Self| (selected.table, selected.columns.clone());
        of(self) == of(other) && self.rows == other.rows
    }
}

impl Selected {
    /// The names of the columns that are shown.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        let table = &self.schema.tables[self.table];
        self.columns.iter().map(|column| column.name(table))
    }

    /// A row's columns that are shown, with their names.
    fn shown<'a>(
        &'a self,
        uuid: Uuid,
        row: &'a Row,
    ) -> impl Iterator<Item = (&'a str, Cow<'a, Datum>)> {
        let columns = self.columns.iter().map(move |column| match column {
            ColumnRef::Column(index) => Cow::Borrowed(row.get(*index)),
            ColumnRef::Uuid | ColumnRef::Version => Cow::Owned(column.of(uuid, row)),
        });
        self.names().zip(columns)
    }

    /// What is shown of each row.
    pub fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = (&str, Cow<'_, Datum>)>> {
        self.rows.iter().map(|(uuid, row)| self.shown(*uuid, row))
    }
}

impl Serialize for Selected {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Shown<'a>(&'a Selected, Uuid, &'a Row);
        impl Serialize for Shown<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.shown(self.1, self.2))
            }
        }
        let rows = self.rows.iter();
        serializer.collect_seq(rows.map(|(uuid, row)| Shown(self, *uuid, row)))
    }
}

impl OpResult {
    /// Reads the result of `operation`.
    pub fn from_json(
        schema: &DatabaseSchema,
        operation: &Operation,
        json: &Value,
    ) -> Result<Self, Error> {
        let wrong =
            || Error::syntax(format!("This is not the result of {}.", operation.name())).at(json);
        match operation {
            Operation::Insert { .. } => match json["uuid"].as_array().map(Vec::as_slice) {
                Some([Value::String(tag), Value::String(uuid)]) if tag == "uuid" => {
                    Uuid::try_parse(uuid)
                        .map(Self::Inserted)
                        .map_err(|_| wrong())
                }
                _ => Err(wrong()),
            },
            Operation::Update { .. } | Operation::Mutate { .. } | Operation::Delete { .. } => {
                json["count"].as_u64().map(Self::Count).ok_or_else(wrong)
            }
            Operation::Select { table, columns, .. } => {
                let table = &schema.tables[*table];
                let rows = json["rows"].as_array().ok_or_else(wrong)?;
                let row = |row: &Value| {
                    columns
                        .iter()
                        .map(|column| {
                            let name = column.shared_name(table);
                            let ty = column.column_type(table);
                            let value = row.get(&*name).ok_or_else(wrong)?;
                            let datum = Datum::from_json_unbounded(&ty, value, &mut |_| None)?;
                            Ok((name, datum))
                        })
                        .collect::<Result<Vec<_>, Error>>()
                };
                Ok(Self::Rows(rows.iter().map(row).collect::<Result<_, _>>()?))
            }
            _ => Ok(Self::Empty),
        }
    }
}

impl Serialize for OpResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Rows<'a>(&'a [Vec<(Arc<str>, Datum)>]);
        impl Serialize for Rows<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut sequence = serializer.serialize_seq(Some(self.0.len()))?;
                for row in self.0 {
                    sequence.serialize_element(&NamedRow(row))?;
                }
                sequence.end()
            }
        }
        struct NamedRow<'a>(&'a [(Arc<str>, Datum)]);
        impl Serialize for NamedRow<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(name, datum)| (&**name, datum)))
            }
        }
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Empty => {}
            Self::Inserted(uuid) => {
                map.serialize_entry("uuid", &crate::Atom::Uuid(*uuid))?;
            }
            Self::Count(count) => map.serialize_entry("count", count)?,
            Self::Rows(rows) => map.serialize_entry("rows", &Rows(rows))?,
            Self::Selected(selected) => map.serialize_entry("rows", selected)?,
        }
        map.end()
    }
}

/// Where and why a transaction failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The results of the operations before the one that failed; of all operations if it was the commit.
    pub done: Vec<OpResult>,
    /// What went wrong.
    pub error: Error,
}

/// What a transaction gave: a result an operation, or the failure that undid it.
pub type Outcome = Result<Vec<OpResult>, Failure>;

/// The `result` member of the answer to a `transact` of `operations` operations (RFC 7047, section 4.1.3): a result
/// an operation; where one failed, its error and then nulls; where the commit failed, the error as one element more.
///
/// It is written as text straight away: a tree of the results of a million operations is ten times as large.
pub fn results(operations: usize, outcome: &Outcome) -> impl Serialize + '_ {
    Results {
        operations,
        outcome,
    }
}

struct Results<'a> {
    operations: usize,
    outcome: &'a Outcome,
}

impl Serialize for Results<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (done, error) = match self.outcome {
            Ok(done) => (done, None),
            Err(failure) => (&failure.done, Some(&failure.error)),
        };
        let told = done.len() + usize::from(error.is_some());
        let mut sequence = serializer.serialize_seq(Some(told.max(self.operations)))?;
        for result in done {
            sequence.serialize_element(result)?;
        }
        if let Some(error) = error {
            sequence.serialize_element(&error.to_json())?;
        }
        for _ in told..self.operations {
            sequence.serialize_element(&Value::Null)?;
        }
        sequence.end()
    }
}

/// The [`results`] as text.
pub fn outcome_to_text(operations: usize, outcome: &Outcome) -> Vec<u8> {
    serde_json::to_vec(&results(operations, outcome)).expect("results have no failing parts")
}

/// The [`results`] as a tree, to look at.
pub fn outcome_to_json(operations: usize, outcome: &Outcome) -> Value {
    serde_json::to_value(results(operations, outcome)).expect("results have no failing parts")
}

/// Reads the `result` member of the answer to a `transact` of these operations. The outer error means that the answer
/// makes no sense.
pub fn outcome_from_json(
    schema: &DatabaseSchema,
    operations: &[Operation],
    json: &Value,
) -> Result<Outcome, Error> {
    let elements = json
        .as_array()
        .ok_or_else(|| Error::syntax("The result of transact should be an array.").at(json))?;
    let mut done = Vec::with_capacity(operations.len());
    for (index, element) in elements.iter().enumerate() {
        if element.get("error").is_some() {
            let error = Error::from_json(element);
            return Ok(Err(Failure { done, error }));
        }
        let operation = operations
            .get(index)
            .ok_or_else(|| Error::syntax("transact has more results than operations.").at(json))?;
        done.push(OpResult::from_json(schema, operation, element)?);
    }
    if done.len() < operations.len() {
        return Err(Error::syntax("transact has fewer results than operations.").at(json));
    }
    Ok(Ok(done))
}
