//! Writing operations as the JSON of a request.

use std::io::Write;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Operation, Until};
use crate::condition::{Clause, ColumnRef, Named};
use crate::datum::Datum;
use crate::json;
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

/// Writes a `transact` request (RFC 7047, section 4.1.3) behind what is there.
pub(crate) fn write_transact(
    out: &mut Vec<u8>,
    id: u64,
    schema: &DatabaseSchema,
    operations: &[Operation],
) {
    write!(out, r#"{{"id":{id},"method":"transact","params":["#).expect(TAKES_ALL);
    json::string(out, &schema.name);
    for operation in operations {
        out.push(b',');
        write(out, schema, operation);
    }
    out.extend_from_slice(b"]}");
}

/// The operations alone, as a JSON array.
pub fn operations_to_text(schema: &DatabaseSchema, operations: &[Operation]) -> Vec<u8> {
    let mut out = Vec::new();
    json::list(&mut out, operations.iter(), |out, operation| {
        write(out, schema, operation);
    });
    out
}

const TAKES_ALL: &str = "a buffer takes everything";

/// Writes an operation as its `Serialize` does. New rows are nearly all that there is.
fn write(out: &mut Vec<u8>, schema: &DatabaseSchema, operation: &Operation) {
    let Operation::Insert { table, uuid, row } = operation else {
        let operation = operation.with(schema);
        serde_json::to_writer(out, &operation)
            .expect("operations have string keys and no failing parts");
        return;
    };
    let table = &schema.tables[*table];
    out.extend_from_slice(br#"{"op":"insert","table":"#);
    json::string(out, &table.name);
    out.extend_from_slice(br#","uuid":"#);
    json::uuid(out, *uuid);
    out.extend_from_slice(br#","row":{"#);
    for (place, (column, datum)) in row.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        json::string(out, &table.columns[*column].name);
        out.push(b':');
        json::datum(out, datum);
    }
    out.extend_from_slice(b"}}");
}
