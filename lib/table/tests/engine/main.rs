//! Tests of the engine, and what they share: a database that speaks JSON.

mod against_ovsdb_server;
mod random;
mod reading;
mod transactions;

use ovsdb::operation::{Transaction, outcome_to_json};
use ovsdb::{RowChange, Uuid};
use serde_json::{Value, json};
use table::{Context, Database, Execution};

/// A database that takes operations as JSON.
pub struct Engine {
    /// The database.
    pub database: Database,
    /// The delta of the newest transaction.
    pub delta: Vec<RowChange>,
    next: u128,
}

impl Engine {
    /// A driver of this database.
    pub fn with(database: Database) -> Self {
        Self {
            database,
            delta: Vec::new(),
            next: 0,
        }
    }

    /// What `transact` answers to these operations, or "blocked".
    pub fn transact(&mut self, operations: &Value) -> Value {
        self.transact_in(operations, &Context::default())
    }

    /// The same for a session with locks, or for a transaction that has waited.
    pub fn transact_in(&mut self, operations: &Value, context: &Context<'_>) -> Value {
        let operations = operations.as_array().expect("an array of operations");
        let schema = self.database.schema().clone();
        let next = &mut self.next;
        let transaction = Transaction::from_json(&schema, operations, &mut || {
            *next += 1;
            Uuid::from_u128(0xeeee_0000_0000_0000_0000_0000_0000_0000 + *next)
        });
        match self.database.execute(&transaction, context) {
            Execution::Blocked { .. } => json!("blocked"),
            Execution::Done(done) => {
                self.delta = done.delta;
                assert!(
                    done.outcome.is_ok() || self.delta.is_empty(),
                    "a failure changes nothing"
                );
                outcome_to_json(operations.len(), &done.outcome)
            }
        }
    }
}
