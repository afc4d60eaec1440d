//! Writing operations as the JSON of a request.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::{Operation, Until};
use crate::condition::{Clause, ColumnRef, Named};
use crate::datum::Datum;
use crate::schema::{DatabaseSchema, TableSchema};

pub(super) struct WithSchema<'a> {
    pub(super) schema: &'a DatabaseSchema,
    pub(super) operation: &'a Operation,
}

struct RowJson<'a, T>(&'a TableSchema, &'a [(T, Datum)]);

impl Serialize for RowJson<'_, usize> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.1
                .iter()
                .map(|(column, datum)| (&*self.0.columns[*column].name, datum)),
        )
    }
}

impl Serialize for RowJson<'_, ColumnRef> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.1
                .iter()
                .map(|(column, datum)| (column.name(self.0), datum)),
        )
    }
}

impl Serialize for WithSchema<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let operation = self.operation;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("op", operation.name())?;
        let table = operation.table().map(|table| &self.schema.tables[table]);
        if let Some(table) = table {
            map.serialize_entry("table", &table.name)?;
        }
        match (operation, table) {
            (Operation::Insert { uuid, row, .. }, Some(table)) => {
                map.serialize_entry("uuid", uuid)?;
                map.serialize_entry("row", &RowJson(table, row))?;
            }
            (
                Operation::Select {
                    condition, columns, ..
                },
                Some(table),
            ) => {
                where_entry(&mut map, table, condition)?;
                map.serialize_entry("columns", &column_names(table, columns))?;
            }
            (Operation::Update { condition, row, .. }, Some(table)) => {
                where_entry(&mut map, table, condition)?;
                map.serialize_entry("row", &RowJson(table, row))?;
            }
            (
                Operation::Mutate {
                    condition,
                    mutations,
                    ..
                },
                Some(table),
            ) => {
                where_entry(&mut map, table, condition)?;
                let mutations: Vec<_> = mutations
                    .iter()
                    .map(|inner| Named { table, inner })
                    .collect();
                map.serialize_entry("mutations", &mutations)?;
            }
            (Operation::Delete { condition, .. }, Some(table)) => {
                where_entry(&mut map, table, condition)?;
            }
            (
                Operation::Wait {
                    condition,
                    columns,
                    until,
                    rows,
                    timeout_ms,
                    ..
                },
                Some(table),
            ) => {
                where_entry(&mut map, table, condition)?;
                map.serialize_entry("columns", &column_names(table, columns))?;
                let until = if *until == Until::Equal { "==" } else { "!=" };
                map.serialize_entry("until", until)?;
                let rows: Vec<_> = rows.iter().map(|row| RowJson(table, row)).collect();
                map.serialize_entry("rows", &rows)?;
                if let Some(timeout) = timeout_ms {
                    map.serialize_entry("timeout", timeout)?;
                }
            }
            (Operation::Commit { durable }, _) => map.serialize_entry("durable", durable)?,
            (Operation::Comment { comment }, _) => map.serialize_entry("comment", comment)?,
            (Operation::Assert { lock }, _) => map.serialize_entry("lock", lock)?,
            _ => {}
        }
        map.end()
    }
}

fn where_entry<M: SerializeMap>(
    map: &mut M,
    table: &TableSchema,
    condition: &[Clause],
) -> Result<(), M::Error> {
    map.serialize_entry(
        "where",
        &Named {
            table,
            inner: condition,
        },
    )
}

fn column_names<'a>(table: &'a TableSchema, columns: &[ColumnRef]) -> Vec<&'a str> {
    columns.iter().map(|column| column.name(table)).collect()
}

/// The `params` of a `transact` request (RFC 7047, section 4.1.3).
pub fn transact_params<'a>(
    schema: &'a DatabaseSchema,
    operations: &'a [Operation],
) -> impl Serialize + 'a {
    Sequence {
        name: Some(&schema.name),
        schema,
        operations,
    }
}

/// The operations alone, as a JSON array.
pub fn operations_to_text(schema: &DatabaseSchema, operations: &[Operation]) -> Vec<u8> {
    let name = None;
    let sequence = Sequence {
        name,
        schema,
        operations,
    };
    serde_json::to_vec(&sequence).expect("operations have string keys and no failing parts")
}

struct Sequence<'a> {
    /// What comes first.
    name: Option<&'a str>,
    schema: &'a DatabaseSchema,
    operations: &'a [Operation],
}

impl Serialize for Sequence<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let length = usize::from(self.name.is_some()) + self.operations.len();
        let mut sequence = serializer.serialize_seq(Some(length))?;
        if let Some(name) = self.name {
            sequence.serialize_element(name)?;
        }
        for operation in self.operations {
            sequence.serialize_element(&operation.with(self.schema))?;
        }
        sequence.end()
    }
}
