//! What transactions give.

use ovsdb::operation::{Failure, OpResult, Outcome, outcome_from_json};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Error, Operation, Uuid};
use serde_json::{Value, json};

use super::data::{datum_to_proto, row_to_json};
use super::{ConvertError, uuid_from_bytes};
use crate::v1;
use crate::v1::operation_result::Kind;

/// The results of a transaction of `operations` operations, as messages.
pub fn outcome_to_proto(operations: usize, outcome: &Outcome) -> Vec<v1::OperationResult> {
    let (done, error) = match outcome {
        Ok(done) => (done, None),
        Err(Failure { done, error }) => (done, Some(error)),
    };
    let mut kinds: Vec<Kind> = done.iter().map(result_to_proto).collect();
    kinds.extend(error.map(|error| {
        Kind::Error(v1::OperationError {
            error: error.kind.name().to_owned(),
            details: match &error.syntax {
                None => error.details.clone(),
                Some(syntax) => format!("{} (in {syntax})", error.details),
            },
        })
    }));
    while kinds.len() < operations {
        kinds.push(Kind::Skipped(v1::Done {}));
    }
    let result = |kind| v1::OperationResult { kind: Some(kind) };
    kinds.into_iter().map(result).collect()
}

fn result_to_proto(result: &OpResult) -> Kind {
    match result {
        OpResult::Empty => Kind::Done(v1::Done {}),
        OpResult::Inserted(uuid) => Kind::Inserted(uuid.as_bytes().to_vec()),
        OpResult::Count(count) => Kind::Count(*count),
        OpResult::Rows(rows) => {
            let row = |row: &Vec<(std::sync::Arc<str>, ovsdb::Datum)>| v1::Row {
                columns: row
                    .iter()
                    .map(|(name, datum)| (name.to_string(), datum_to_proto(datum)))
                    .collect(),
            };
            Kind::Rows(v1::Rows {
                rows: rows.iter().map(row).collect(),
            })
        }
        OpResult::Selected(selected) => {
            let rows = selected.rows().map(|row| v1::Row {
                columns: row
                    .map(|(name, datum)| (name.to_owned(), datum_to_proto(&datum)))
                    .collect(),
            });
            Kind::Rows(v1::Rows {
                rows: rows.collect(),
            })
        }
    }
}

/// Reads the results of these operations. The outer error means that the answer makes no sense.
pub fn outcome_from_proto(
    schema: &DatabaseSchema,
    operations: &[Operation],
    results: Vec<v1::OperationResult>,
) -> Result<Outcome, Error> {
    if let Some(done) = simple_results(operations, &results) {
        return Ok(Ok(done));
    }
    let results: Result<Vec<Value>, ConvertError> =
        results.into_iter().map(result_to_json).collect();
    outcome_from_json(schema, operations, &Value::Array(results?))
}

/// The results of a transaction that did what it should and selected nothing, which are nearly all.
fn simple_results(
    operations: &[Operation],
    results: &[v1::OperationResult],
) -> Option<Vec<OpResult>> {
    if operations.len() != results.len() {
        return None;
    }
    let read = |(operation, result): (&Operation, &v1::OperationResult)| match operation {
        Operation::Insert { .. } => match &result.kind {
            Some(Kind::Inserted(uuid)) => Uuid::from_slice(uuid).ok().map(OpResult::Inserted),
            _ => None,
        },
        Operation::Update { .. } | Operation::Mutate { .. } | Operation::Delete { .. } => {
            match result.kind {
                Some(Kind::Count(count)) => Some(OpResult::Count(count)),
                _ => None,
            }
        }
        Operation::Select { .. } => None,
        _ => matches!(result.kind, Some(Kind::Done(_))).then_some(OpResult::Empty),
    };
    operations.iter().zip(results).map(read).collect()
}

fn result_to_json(result: v1::OperationResult) -> Result<Value, ConvertError> {
    Ok(match result.kind {
        Some(Kind::Done(v1::Done {})) => json!({}),
        Some(Kind::Inserted(uuid)) => {
            json!({"uuid": ["uuid", uuid_from_bytes("inserted", &uuid)?]})
        }
        Some(Kind::Count(count)) => json!({"count": count}),
        Some(Kind::Rows(rows)) => {
            let rows: Result<Vec<Value>, _> = rows.rows.into_iter().map(row_to_json).collect();
            json!({"rows": rows?})
        }
        Some(Kind::Error(error)) => json!({"error": error.error, "details": error.details}),
        Some(Kind::Skipped(v1::Done {})) | None => Value::Null,
    })
}
