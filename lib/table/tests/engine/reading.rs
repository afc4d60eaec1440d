//! Transactions that only read, piece by piece, while others change everything: the answer is that of the beginning.

use std::sync::Arc;

use ovsdb::operation::outcome_to_json;
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Transaction, Uuid};
use serde_json::{Value, json};
use table::{Context, Database, Execution, Limits, Reading};

use crate::Engine;
use crate::random::{self, Random};

const SEEDS: u64 = 400;

fn transaction(schema: &DatabaseSchema, operations: &Value) -> Transaction {
    let operations = operations.as_array().expect("an array");
    Transaction::from_json(schema, operations, &mut Uuid::nil)
}

/// Rows are in the order of their identities, unless rows that are equal in what is shown are one.
fn in_order(operations: &Value, mut answer: Value) -> Value {
    for (operation, result) in operations.as_array().into_iter().flatten().zip(0_usize..) {
        let columns = operation["columns"].as_array();
        if columns.is_some_and(|columns| !columns.contains(&json!("_uuid")))
            && let Some(rows) = answer[result]["rows"].as_array_mut()
        {
            rows.sort_by_key(Value::to_string);
        }
    }
    answer
}

/// Executes it at once.
fn at_once(engine: &mut Engine, operations: &Value) -> Value {
    let transaction = transaction(&engine.database.schema().clone(), operations);
    let done = engine.database.execute(&transaction, &Context::default());
    match done {
        Execution::Done(done) => outcome_to_json(transaction.asked, &done.outcome),
        Execution::Blocked { .. } => json!("blocked"),
    }
}

#[test]
fn whatever_happens_in_between_the_answer_is_that_of_the_beginning() {
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let schema = random::schema(&mut random);
        let schema = Arc::new(DatabaseSchema::from_json(&schema).expect("a schema"));
        let mut engine = Engine::with(Database::new(schema.clone()));
        for _ in 0..40 {
            engine.transact(&random::operations(&mut random, &schema));
        }
        let operations = random::selects(&mut random, &schema);
        let expected = at_once(&mut engine, &operations);
        let transaction = transaction(&schema, &operations);
        let reading = Reading::begin(&engine.database, &transaction);
        let mut reading = reading.expect("it only reads");
        let done = loop {
            let steps = 1 + random.below(8);
            let done =
                reading.advance(&mut engine.database, &transaction, None, &mut steps.clone());
            if let Some(done) = done {
                break done;
            }
            if random.one_in(2) {
                engine.delta.clear();
                engine.transact(&random::operations(&mut random, &schema));
                reading.note(&engine.delta);
                if random.one_in(4) {
                    let undone = engine.database.undo(&engine.delta);
                    undone.expect("the newest can be undone");
                }
            }
        };
        let answer = outcome_to_json(transaction.asked, &done.outcome);
        assert_eq!(
            in_order(&operations, answer),
            in_order(&operations, expected),
            "seed {seed}: {operations}"
        );
        assert!(done.delta.is_empty());
    }
}

#[test]
fn only_what_reads_is_a_reading() {
    let mut random = Random::new(1);
    let schema = random::schema(&mut random);
    let schema = Arc::new(DatabaseSchema::from_json(&schema).expect("a schema"));
    let database = Database::new(schema.clone());
    let is_one = |operations| {
        let transaction = transaction(&schema, &operations);
        Reading::begin(&database, &transaction).is_some()
    };
    let select = json!({"op": "select", "table": "A", "where": []});
    assert!(is_one(json!([])));
    assert!(is_one(json!([select, {"op": "comment", "comment": "x"}])));
    assert!(is_one(json!([select, {"op": "commit", "durable": true}])));
    for other in [
        json!({"op": "insert", "table": "A", "row": {}}),
        json!({"op": "delete", "table": "A", "where": []}),
        json!({"op": "wait", "table": "A", "where": [], "columns": ["c0"], "until": "==", "rows": [], "timeout": 0}),
        json!({"op": "assert", "lock": "x"}),
        json!({"op": "abort"}),
    ] {
        assert!(!is_one(json!([select, other])), "{other}");
    }
}

/// The limits are the same as for what is executed at once, and so are the answers to what cannot be read.
#[test]
fn what_is_refused_is_refused_alike() {
    let schema = json!({"name": "Test", "tables": {
        "A": {"columns": {"c0": {"type": "integer"}}, "isRoot": true}}});
    let schema = Arc::new(DatabaseSchema::from_json(&schema).expect("a schema"));
    let cases = [
        (
            Limits {
                selected_rows: 2,
                ..Limits::default()
            },
            "where",
            json!([]),
        ),
        (
            Limits {
                steps: 2,
                ..Limits::default()
            },
            "where",
            json!([]),
        ),
        (
            Limits {
                operations: 1,
                ..Limits::default()
            },
            "where",
            json!([]),
        ),
        (Limits::default(), "columns", json!(["nothing"])),
    ];
    for (limits, member, value) in cases {
        let mut engine = Engine::with(Database::with_limits(schema.clone(), limits));
        for number in 0..4 {
            let insert = json!({"op": "insert", "table": "A", "row": {"c0": number}});
            engine.transact(&json!([insert]));
        }
        assert_eq!(engine.database.row_count(0), 4);
        let mut select = json!({"op": "select", "table": "A", "where": []});
        select[member] = value;
        let operations = json!([{"op": "comment", "comment": "x"}, select]);
        let expected = at_once(&mut engine, &operations);
        let transaction = transaction(&schema, &operations);
        let mut reading = Reading::begin(&engine.database, &transaction).expect("it only reads");
        let done = loop {
            let done = reading.advance(&mut engine.database, &transaction, None, &mut 3);
            if let Some(done) = done {
                break done;
            }
        };
        assert!(done.outcome.is_err(), "{limits:?}");
        assert_eq!(outcome_to_json(transaction.asked, &done.outcome), expected);
    }
}
