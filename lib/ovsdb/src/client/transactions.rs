//! Transactions between sending and answer.

use serde_json::Value;
use serde_json::value::RawValue;

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
        operations: &[Operation],
        adaptation: &Adaptation,
        schema: &DatabaseSchema,
    ) -> Self {
        let mut sent = Vec::with_capacity(operations.len());
        let mut without_effect = Vec::with_capacity(operations.len());
        for operation in operations {
            match adaptation.operation(schema, operation) {
                Some(adapted) => {
                    sent.push(adapted);
                    without_effect.push(None);
                }
                None => without_effect.push(Some(Adaptation::result_without_effect(operation))),
            }
        }
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
        let json: Value =
            serde_json::from_str(json.get()).map_err(|error| Error::syntax(error.to_string()))?;
        let outcome = outcome_from_json(schema, &self.sent, &json)?;
        let result = Ok(match outcome {
            Ok(done) => Ok(weave(self.without_effect, done)),
            Err(Failure { done, error }) => Err(Failure {
                done: weave(self.without_effect, done),
                error,
            }),
        });
        Ok(Event::Reply { id, result })
    }
}

/// The results in the order in which the owner asked, up to the last that the server gave.
fn weave(without_effect: Vec<Option<OpResult>>, done: Vec<OpResult>) -> Vec<OpResult> {
    let mut done = done.into_iter();
    without_effect
        .into_iter()
        .map_while(|result| result.or_else(|| done.next()))
        .collect()
}
