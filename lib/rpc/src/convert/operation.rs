//! Operations and their conditions.

use bytes::Bytes;
use ovsdb::operation::{TransactionReader, Until};
use ovsdb::schema::{DatabaseSchema, TableSchema};
use ovsdb::{
    Atom, Clause, ColumnRef, Datum, Function, Mutation, Mutator, Operation, Transaction, Uuid,
};
use prost::Message;
use serde_json::{Value, json};

use super::data::{datum_to_json, datum_to_proto, row_to_json};
use super::{ConvertError, uuid_from_bytes};
use crate::v1;
use crate::v1::operation::Kind;
use crate::wire::{read, write};

/// Operations as messages, encoded.
pub fn operations_to_proto(schema: &DatabaseSchema, operations: &[Operation]) -> Vec<Bytes> {
    let mut bytes = Vec::new();
    let encode = |operation: &Operation| {
        let begin = bytes.len();
        match operation {
            Operation::Insert { table, uuid, row } => {
                encode_insert(&schema.tables[*table], *uuid, row, &mut bytes);
            }
            _ => {
                let kind = Some(operation_to_proto(schema, operation));
                let encoded = v1::Operation { kind }.encode(&mut bytes);
                encoded.expect("a vector has room for everything");
            }
        }
        begin..bytes.len()
    };
    let places: Vec<_> = operations.iter().map(encode).collect();
    let bytes = Bytes::from(bytes);
    let slices = places.into_iter().map(|place| bytes.slice(place));
    slices.collect()
}

/// An `Operation` that inserts a row: of these there are so many that no message is made of them.
fn encode_insert(table: &TableSchema, uuid: Uuid, row: &[(usize, Datum)], out: &mut Vec<u8>) {
    let columns = || {
        row.iter()
            .map(|(column, datum)| (&*table.columns[*column].name, datum))
    };
    let length = write::row_len(columns());
    let name = table.name.as_bytes();
    let insert = write::field_len(name.len()) + write::field_len(length) + write::UUID_LEN;
    write::field(1, insert, out);
    write::bytes(1, name, out);
    write::field(2, length, out);
    write::row(columns(), out);
    write::uuid(4, uuid, out);
}

fn operation_to_proto(schema: &DatabaseSchema, operation: &Operation) -> Kind {
    let named = |table: &usize| {
        let table = &schema.tables[*table];
        (table, table.name.to_string())
    };
    match operation {
        Operation::Insert { table, uuid, row } => {
            let (schema, table) = named(table);
            Kind::Insert(v1::Insert {
                table,
                row: Some(row_to_proto(schema, row)),
                uuid_name: String::new(),
                uuid: uuid.as_bytes().to_vec(),
            })
        }
        Operation::Select {
            table,
            condition,
            columns,
        } => {
            let (schema, table) = named(table);
            Kind::Select(v1::Select {
                table,
                r#where: clauses_to_proto(schema, condition),
                columns: Some(columns_to_proto(schema, columns)),
            })
        }
        Operation::Update {
            table,
            condition,
            row,
        } => {
            let (schema, table) = named(table);
            Kind::Update(v1::Update {
                table,
                r#where: clauses_to_proto(schema, condition),
                row: Some(row_to_proto(schema, row)),
            })
        }
        Operation::Mutate {
            table,
            condition,
            mutations,
        } => {
            let (schema, table) = named(table);
            let mutation = |mutation: &Mutation| v1::Mutation {
                column: schema.columns[mutation.column].name.to_string(),
                mutator: mutator_to_proto(mutation.mutator).into(),
                value: Some(datum_to_proto(&mutation.arg)),
            };
            Kind::Mutate(v1::Mutate {
                table,
                r#where: clauses_to_proto(schema, condition),
                mutations: mutations.iter().map(mutation).collect(),
            })
        }
        Operation::Delete { table, condition } => {
            let (schema, table) = named(table);
            Kind::Delete(v1::Delete {
                table,
                r#where: clauses_to_proto(schema, condition),
            })
        }
        Operation::Wait {
            table,
            condition,
            columns,
            until,
            rows,
            timeout_ms,
        } => {
            let (schema, table) = named(table);
            let row = |row: &Vec<(ColumnRef, Datum)>| v1::Row {
                columns: row
                    .iter()
                    .map(|(column, datum)| (column.name(schema).to_owned(), datum_to_proto(datum)))
                    .collect(),
            };
            Kind::Wait(v1::Wait {
                table,
                r#where: clauses_to_proto(schema, condition),
                columns: Some(columns_to_proto(schema, columns)),
                until_not_equal: *until == Until::NotEqual,
                rows: rows.iter().map(row).collect(),
                timeout_ms: *timeout_ms,
            })
        }
        Operation::Commit { durable } => Kind::Commit(v1::Commit { durable: *durable }),
        Operation::Abort => Kind::Abort(v1::Abort {}),
        Operation::Comment { comment } => Kind::Comment(v1::Comment {
            comment: comment.to_string(),
        }),
        Operation::Assert { lock } => Kind::Assert(v1::Assert {
            lock: lock.to_string(),
        }),
    }
}

fn row_to_proto(table: &TableSchema, row: &[(usize, Datum)]) -> v1::Row {
    let column = |(column, datum): &(usize, Datum)| {
        let name = table.columns[*column].name.to_string();
        (name, datum_to_proto(datum))
    };
    v1::Row {
        columns: row.iter().map(column).collect(),
    }
}

fn columns_to_proto(table: &TableSchema, columns: &[ColumnRef]) -> v1::Columns {
    let name = |column: &ColumnRef| column.name(table).to_owned();
    v1::Columns {
        names: columns.iter().map(name).collect(),
    }
}

/// The clauses of a condition as messages.
pub(super) fn clauses_to_proto(table: &TableSchema, clauses: &[Clause]) -> Vec<v1::Clause> {
    let convert = |clause: &Clause| v1::Clause {
        kind: Some(match clause {
            Clause::Always(holds) => v1::clause::Kind::Constant(*holds),
            Clause::Compare {
                column,
                function,
                arg,
            } => v1::clause::Kind::Comparison(v1::Comparison {
                column: column.name(table).to_owned(),
                function: function_to_proto(*function).into(),
                value: Some(datum_to_proto(arg)),
            }),
        }),
    };
    clauses.iter().map(convert).collect()
}

fn function_to_proto(function: Function) -> v1::Function {
    match function {
        Function::Less => v1::Function::Less,
        Function::LessOrEqual => v1::Function::LessOrEqual,
        Function::Equal => v1::Function::Equal,
        Function::NotEqual => v1::Function::NotEqual,
        Function::GreaterOrEqual => v1::Function::GreaterOrEqual,
        Function::Greater => v1::Function::Greater,
        Function::Includes => v1::Function::Includes,
        Function::Excludes => v1::Function::Excludes,
    }
}

fn function_from_proto(function: i32) -> Result<Function, ConvertError> {
    Ok(match v1::Function::try_from(function) {
        Ok(v1::Function::Less) => Function::Less,
        Ok(v1::Function::LessOrEqual) => Function::LessOrEqual,
        Ok(v1::Function::Equal) => Function::Equal,
        Ok(v1::Function::NotEqual) => Function::NotEqual,
        Ok(v1::Function::GreaterOrEqual) => Function::GreaterOrEqual,
        Ok(v1::Function::Greater) => Function::Greater,
        Ok(v1::Function::Includes) => Function::Includes,
        Ok(v1::Function::Excludes) => Function::Excludes,
        Ok(v1::Function::Unspecified) | Err(_) => {
            return Err(ConvertError::new(
                "function",
                format!("{function} is not one"),
            ));
        }
    })
}

fn mutator_to_proto(mutator: Mutator) -> v1::Mutator {
    match mutator {
        Mutator::Add => v1::Mutator::Add,
        Mutator::Subtract => v1::Mutator::Subtract,
        Mutator::Multiply => v1::Mutator::Multiply,
        Mutator::Divide => v1::Mutator::Divide,
        Mutator::Remainder => v1::Mutator::Modulo,
        Mutator::Insert => v1::Mutator::Insert,
        Mutator::Delete => v1::Mutator::Delete,
    }
}

fn mutator_from_proto(mutator: i32) -> Result<Mutator, ConvertError> {
    Ok(match v1::Mutator::try_from(mutator) {
        Ok(v1::Mutator::Add) => Mutator::Add,
        Ok(v1::Mutator::Subtract) => Mutator::Subtract,
        Ok(v1::Mutator::Multiply) => Mutator::Multiply,
        Ok(v1::Mutator::Divide) => Mutator::Divide,
        Ok(v1::Mutator::Modulo) => Mutator::Remainder,
        Ok(v1::Mutator::Insert) => Mutator::Insert,
        Ok(v1::Mutator::Delete) => Mutator::Delete,
        Ok(v1::Mutator::Unspecified) | Err(_) => {
            return Err(ConvertError::new(
                "mutator",
                format!("{mutator} is not one"),
            ));
        }
    })
}

/// Reads operations one after the other; else as [`Transaction::from_json`].
pub fn transaction_from_proto(
    schema: &DatabaseSchema,
    operations: Vec<Bytes>,
    new_uuid: &mut dyn FnMut() -> Uuid,
) -> Transaction {
    let mut reader = TransactionReader::new(schema, operations.len(), new_uuid);
    for operation in &operations {
        if let Some((name, uuid)) = name_of(operation) {
            reader.name(name.into(), uuid);
        }
    }
    let mut error = None;
    for (index, operation) in operations.into_iter().enumerate() {
        if let Some(insert) = Insert::of(&operation).and_then(|insert| insert.read(schema)) {
            reader.take(insert);
            continue;
        }
        let read = v1::Operation::decode(operation)
            .map_err(|error| ConvertError::new("", error.to_string()))
            .and_then(operation_to_json)
            .map_err(|error| error.within(&format!("operations[{index}]")).into())
            .and_then(|json| reader.read(&json));
        if let Err(refused) = read {
            error = Some(refused);
            break;
        }
    }
    Transaction {
        error,
        ..reader.finish()
    }
}

/// The name that an operation gives to its new row, and the UUID that it asks for.
fn name_of(operation: &Bytes) -> Option<(String, Option<Uuid>)> {
    if let Some(insert) = Insert::of(operation) {
        let name = std::str::from_utf8(insert.name).ok()?;
        return (!name.is_empty()).then(|| (name.to_owned(), Uuid::from_slice(insert.uuid).ok()));
    }
    match v1::Operation::decode(operation.clone()).ok()?.kind? {
        Kind::Insert(insert) if !insert.uuid_name.is_empty() => {
            let uuid = Uuid::from_slice(&insert.uuid).ok();
            Some((insert.uuid_name, uuid))
        }
        _ => None,
    }
}

/// An `Operation` that inserts a row, as it is on the wire.
#[derive(Default)]
struct Insert<'a> {
    table: &'a [u8],
    row: &'a [u8],
    name: &'a [u8],
    uuid: &'a [u8],
}

impl<'a> Insert<'a> {
    /// What these bytes are, if they are that and nothing else.
    fn of(mut operation: &'a [u8]) -> Option<Self> {
        let (1, read::Value::Bytes(mut message)) = read::next(&mut operation)? else {
            return None;
        };
        let mut insert = Self::default();
        while !message.is_empty() {
            let (tag, read::Value::Bytes(bytes)) = read::next(&mut message)? else {
                return None;
            };
            let place = match tag {
                1 => &mut insert.table,
                2 => &mut insert.row,
                3 => &mut insert.name,
                4 => &mut insert.uuid,
                _ => return None,
            };
            if !place.is_empty() {
                return None;
            }
            *place = bytes;
        }
        operation.is_empty().then_some(insert)
    }

    /// The operation, if everything about it is in order and it needs nothing of others: it is as it would be read by way of
    /// JSON, which says what is wrong with all the rest.
    fn read(&self, schema: &DatabaseSchema) -> Option<Operation> {
        if !self.name.is_empty() {
            return None;
        }
        let index = schema.table_index(std::str::from_utf8(self.table).ok()?)?;
        let table = &schema.tables[index];
        let uuid = Uuid::from_slice(self.uuid).ok()?;
        let row = read::row(table, self.row, false)?;
        let is_right = |(column, datum, count): &(usize, Datum, usize)| {
            let strings = datum.pairs().iter().flat_map(|(key, value)| [key, value]);
            let mut strings = strings.chain(datum.atoms().iter()).filter_map(Atom::as_str);
            datum.len() == *count
                && datum.check(&table.columns[*column].ty).is_ok()
                && !strings.any(|text| text.contains('\0'))
        };
        row.iter().all(is_right).then(|| Operation::Insert {
            table: index,
            uuid,
            row: row
                .into_iter()
                .map(|(column, datum, _)| (column, datum))
                .collect(),
        })
    }
}

fn operation_to_json(operation: v1::Operation) -> Result<Value, ConvertError> {
    Ok(match operation.kind {
        Some(Kind::Insert(insert)) => {
            let row = row_to_json(insert.row.unwrap_or_default())?;
            let mut json = json!({"op": "insert", "table": insert.table, "row": row});
            if !insert.uuid_name.is_empty() {
                json["uuid-name"] = json!(insert.uuid_name);
            }
            if !insert.uuid.is_empty() {
                json["uuid"] = json!(uuid_from_bytes("uuid", &insert.uuid)?);
            }
            json
        }
        Some(Kind::Select(select)) => {
            let mut json = json!({
                "op": "select", "table": select.table, "where": clauses_to_json(select.r#where)?,
            });
            if let Some(columns) = select.columns {
                json["columns"] = json!(columns.names);
            }
            json
        }
        Some(Kind::Update(update)) => json!({
            "op": "update", "table": update.table, "where": clauses_to_json(update.r#where)?,
            "row": row_to_json(update.row.unwrap_or_default())?,
        }),
        Some(Kind::Mutate(mutate)) => {
            let mutation = |mutation: v1::Mutation| {
                let mutator = mutator_from_proto(mutation.mutator)?;
                let value = datum_to_json(mutation.value.unwrap_or_default());
                let value = value.map_err(|error| error.within(&mutation.column))?;
                Ok(json!([mutation.column, mutator.name(), value]))
            };
            let mutations: Result<Vec<Value>, ConvertError> =
                mutate.mutations.into_iter().map(mutation).collect();
            json!({
                "op": "mutate", "table": mutate.table, "where": clauses_to_json(mutate.r#where)?,
                "mutations": mutations?,
            })
        }
        Some(Kind::Delete(delete)) => json!({
            "op": "delete", "table": delete.table, "where": clauses_to_json(delete.r#where)?,
        }),
        Some(Kind::Wait(wait)) => {
            let rows: Result<Vec<Value>, _> = wait.rows.into_iter().map(row_to_json).collect();
            let mut json = json!({
                "op": "wait", "table": wait.table, "where": clauses_to_json(wait.r#where)?,
                "until": if wait.until_not_equal { "!=" } else { "==" }, "rows": rows?,
            });
            if let Some(columns) = wait.columns {
                json["columns"] = json!(columns.names);
            }
            if let Some(timeout) = wait.timeout_ms {
                json["timeout"] = json!(i64::try_from(timeout).unwrap_or(i64::MAX));
            }
            json
        }
        Some(Kind::Commit(commit)) => json!({"op": "commit", "durable": commit.durable}),
        Some(Kind::Abort(v1::Abort {})) => json!({"op": "abort"}),
        Some(Kind::Comment(comment)) => json!({"op": "comment", "comment": comment.comment}),
        Some(Kind::Assert(assert)) => json!({"op": "assert", "lock": assert.lock}),
        None => return Err(ConvertError::new("kind", "missing")),
    })
}

/// The JSON that RFC 7047 has for the clauses.
pub(super) fn clauses_to_json(clauses: Vec<v1::Clause>) -> Result<Value, ConvertError> {
    let clause = |clause: v1::Clause| match clause.kind {
        Some(v1::clause::Kind::Constant(holds)) => Ok(json!(holds)),
        Some(v1::clause::Kind::Comparison(comparison)) => {
            let function = function_from_proto(comparison.function)?;
            let value = datum_to_json(comparison.value.unwrap_or_default());
            let value = value.map_err(|error| error.within(&comparison.column))?;
            Ok(json!([comparison.column, function.name(), value]))
        }
        None => Err(ConvertError::new("kind", "missing")),
    };
    let clauses: Result<Vec<Value>, _> = clauses.into_iter().map(clause).collect();
    clauses
        .map(Value::Array)
        .map_err(|error| error.within("where"))
}
