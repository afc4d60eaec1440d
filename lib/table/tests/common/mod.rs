//! What the tests share: a schema with one of everything, and a database that speaks JSON.

use std::sync::Arc;

use ovsdb::operation::{Failure, Transaction, outcome_to_json};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{RowChange, Uuid};
use serde_json::{Value, json};
use table::{Context, Database, Execution};

/// A schema with every kind of column, reference, index and limit.
pub fn schema_json() -> Value {
    let strong = |table: &str, min: u32, max: Value| json!({"type": {"key": {"type": "uuid", "refTable": table}, "min": min, "max": max}});
    let weak = |table: &str, min: u32, max: Value| json!({"type": {"key": {"type": "uuid", "refTable": table, "refType": "weak"}, "min": min, "max": max}});
    json!({
        "name": "Test", "version": "1.0.0",
        "tables": {
            "Root": {
                "isRoot": true, "maxRows": 12, "indexes": [["name"], ["x", "y"]],
                "columns": {
                    "name": {"type": "string"},
                    "x": {"type": "integer"},
                    "y": {"type": {"key": "integer", "min": 0, "max": 1}},
                    "kids": strong("Kid", 0, json!("unlimited")),
                    "friends": weak("Kid", 0, json!("unlimited")),
                    "level": {"type": {"key": {"type": "integer", "minInteger": 0, "maxInteger": 20}}},
                    "kind": {"type": {"key": {"type": "string", "enum": ["set", ["a", "b", "c"]]}, "min": 0, "max": 1}},
                    "ratio": {"type": "real"},
                    "up": {"type": "boolean"},
                    "options": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
                    "numbers": {"type": {"key": "integer", "min": 0, "max": 4}},
                    "born": {"type": "integer", "mutable": false}
                }
            },
            "Kid": {
                "indexes": [["tag"]],
                "columns": {
                    "tag": {"type": "integer"},
                    "toys": {"type": {"key": "integer", "value": {"type": "uuid", "refTable": "Toy"}, "min": 0, "max": "unlimited"}},
                    "twin": strong("Kid", 0, json!(1)),
                    "hero": weak("Root", 0, json!(1))
                }
            },
            "Toy": {
                "columns": {
                    "colour": {"type": "string"},
                    "owner": weak("Kid", 0, json!(1)),
                    "lent": {"type": {"key": {"type": "uuid", "refTable": "Kid", "refType": "weak"}, "value": {"type": "uuid", "refTable": "Toy"}, "min": 0, "max": "unlimited"}}
                }
            },
            "Fan": {
                "isRoot": true,
                "columns": {
                    "tag": {"type": "integer"},
                    "idol": weak("Root", 1, json!(1)),
                    "idols": weak("Root", 1, json!(3))
                }
            }
        }
    })
}

pub fn schema() -> Arc<DatabaseSchema> {
    Arc::new(DatabaseSchema::from_json(&schema_json()).expect("a valid schema"))
}

/// A database that takes operations as JSON.
pub struct Engine {
    pub database: Database,
    /// The delta of the newest transaction.
    pub delta: Vec<RowChange>,
    next: u128,
}

impl Engine {
    pub fn new() -> Self {
        Self {
            database: Database::new(schema()),
            delta: Vec::new(),
            next: 0,
        }
    }

    /// What `transact` answers to these operations, or "blocked".
    pub fn transact(&mut self, operations: &Value) -> Value {
        self.transact_in(operations, &Context::default())
    }

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
                if let Err(Failure { .. }) = &done.outcome {
                    assert!(self.delta.is_empty(), "a failure changes nothing");
                }
                outcome_to_json(operations.len(), &done.outcome)
            }
        }
    }
}
