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
            Ok(done) => Ok(Adaptation::weave(self.without_effect, done)),
            Err(Failure { done, error }) => Err(Failure {
                done: Adaptation::weave(self.without_effect, done),
                error,
            }),
        });
        Ok(Event::Reply { id, result })
    }
}
