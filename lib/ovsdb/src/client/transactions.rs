//! Transactions between sending and answer.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use uuid::Uuid;

use super::Event;
use crate::adapt::Adaptation;
use crate::error::Error;
use crate::operation::{Failure, OpResult, Operation, outcome_from_json};
use crate::schema::DatabaseSchema;

/// A transaction that was sent.
#[derive(Debug)]
pub(super) struct SentTransaction {
    id: u64,
    /// What the server was asked to do.
    sent: Vec<Operation>,
    /// For every operation that the owner asked for, its result if the server was not asked.
    without_effect: Vec<Option<OpResult>>,
}

impl SentTransaction {
    /// The transaction as the server can execute it.
    pub(super) fn new(
        id: u64,
        operations: Vec<Operation>,
        adaptation: &Adaptation,
        schema: &DatabaseSchema,
    ) -> Self {
        let (sent, without_effect) = adaptation.operations(schema, operations);
        Self {
            id,
            sent,
            without_effect,
        }
    }

    /// What to send.
    pub(super) fn operations(&self) -> &[Operation] {
        &self.sent
    }

    /// The operations are on their way: what was to be written is not needed to read the answer.
    pub(super) fn forget_rows(&mut self) {
        for operation in &mut self.sent {
            if let Operation::Insert { row, .. } = operation {
                *row = Vec::new();
            }
        }
    }

    /// What the owner is told, given the server's answer.
    pub(super) fn reply(
        self,
        schema: &DatabaseSchema,
        answer: Result<&RawValue, Error>,
    ) -> Result<Event, Error> {
        let id = self.id;
        let json = match answer {
            Ok(json) => json,
            Err(error) => {
                let result = Err(error);
                return Ok(Event::Reply { id, result });
            }
        };
        if let Some(done) = simple_results(&self.sent, json.get()) {
            let result = Ok(Ok(Adaptation::weave(self.without_effect, done)));
            return Ok(Event::Reply { id, result });
        }
        let json: Value =
            serde_json::from_str(json.get()).map_err(|error| Error::syntax(error.to_string()))?;
        let outcome = outcome_from_json(schema, &self.sent, &json)?;
        let result = Ok(match outcome {
            Ok(done) => Ok(Adaptation::weave(self.without_effect, done)),
            Err(Failure { done, error }) => Err(Failure {
                done: Adaptation::weave(self.without_effect, done),
                error,
            }),
        });
        Ok(Event::Reply { id, result })
    }
}

/// The results of a transaction that did what it should and selected nothing, which are nearly all, without a tree of
/// values in between.
fn simple_results(operations: &[Operation], text: &str) -> Option<Vec<OpResult>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Simple<'a> {
        #[serde(borrow)]
        uuid: Option<(&'a str, &'a str)>,
        count: Option<u64>,
    }
    let results: Vec<Simple<'_>> = serde_json::from_str(text).ok()?;
    if results.len() != operations.len() {
        return None;
    }
    let results = operations.iter().zip(results);
    let read = results.map(|(operation, result)| match (operation, result) {
        (
            Operation::Insert { .. },
            Simple {
                uuid: Some(("uuid", uuid)),
                ..
            },
        ) => Uuid::try_parse(uuid).ok().map(OpResult::Inserted),
        (
            Operation::Update { .. } | Operation::Mutate { .. } | Operation::Delete { .. },
            Simple {
                count: Some(count), ..
            },
        ) => Some(OpResult::Count(count)),
        (
            Operation::Insert { .. }
            | Operation::Update { .. }
            | Operation::Mutate { .. }
            | Operation::Delete { .. }
            | Operation::Select { .. },
            _,
        ) => None,
        _ => Some(OpResult::Empty),
    });
    read.collect()
}
