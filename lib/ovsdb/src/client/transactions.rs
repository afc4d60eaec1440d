//! Transactions between sending and answer.

use serde_json::Value;
use serde_json::value::RawValue;

use uuid::Uuid;

use super::Event;
use super::own::OwnRows;
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
    pub(super) fn give_rows(&mut self, own: &mut OwnRows) {
        self.sent
            .iter_mut()
            .for_each(|operation| own.sent(operation));
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

/// The results of a transaction that did what it should and selected nothing, as servers write them: nearly all are like this, and
/// there is nothing to be taken apart. `None` if there is more to it.
fn simple_results(operations: &[Operation], text: &str) -> Option<Vec<OpResult>> {
    let mut results = Vec::with_capacity(operations.len());
    let mut rest = text.strip_prefix('[')?;
    for (place, operation) in operations.iter().enumerate() {
        if place > 0 {
            rest = rest.strip_prefix(',')?;
        }
        match operation {
            Operation::Insert { .. } => {
                let inserted = rest.strip_prefix(r#"{"uuid":["uuid",""#)?;
                let (uuid, behind) = inserted.split_at_checked(36)?;
                results.push(OpResult::Inserted(Uuid::try_parse(uuid).ok()?));
                rest = behind.strip_prefix(r#""]}"#)?;
            }
            Operation::Update { .. } | Operation::Mutate { .. } | Operation::Delete { .. } => {
                let counted = rest.strip_prefix(r#"{"count":"#)?;
                let (count, behind) = counted.split_once('}')?;
                results.push(OpResult::Count(count.parse().ok()?));
                rest = behind;
            }
            Operation::Select { .. } => return None,
            _ => {
                results.push(OpResult::Empty);
                rest = rest.strip_prefix("{}")?;
            }
        }
    }
    (rest == "]").then_some(results)
}
