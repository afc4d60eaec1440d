//! A small schema that has every kind of column and reference, and a database with some rows.

use std::sync::{Arc, LazyLock};

use ovsdb::operation::Operations;
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Transaction, Uuid};
use serde_json::{Value, json};
use table::{Context, Database, Execution};

static SCHEMA: LazyLock<Arc<DatabaseSchema>> = LazyLock::new(|| {
    let schema = DatabaseSchema::from_json(&json!({"name": "T", "version": "1.0.0", "tables": {
        "A": {"isRoot": true, "maxRows": 9, "indexes": [["name"], ["level", "flag"]], "columns": {
            "bs": {"type": {"key": {"type": "uuid", "refTable": "B"}, "min": 0, "max": "unlimited"}},
            "weak": {"type": {"key": {"type": "uuid", "refTable": "B", "refType": "weak"},
                "min": 0, "max": 3}},
            "held": {"type": {"key": "string", "value": {"type": "uuid", "refTable": "A",
                "refType": "weak"}, "min": 0, "max": "unlimited"}},
            "level": {"type": {"key": {"type": "integer", "minInteger": -9, "maxInteger": 99}}},
            "flag": {"type": "boolean"},
            "share": {"type": {"key": {"type": "real", "minReal": 0.0, "maxReal": 1.0}, "min": 0}},
            "map": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
            "name": {"type": {"key": {"type": "string", "maxLength": 5}}, "mutable": false},
            "kind": {"type": {"key": {"type": "string", "enum": ["set", ["a", "b"]]}, "min": 0}}}},
        "B": {"columns": {
            "n": {"type": {"key": "integer", "min": 0, "max": 4}},
            "back": {"type": {"key": {"type": "uuid", "refTable": "A", "refType": "weak"},
                "min": 0}},
            "next": {"type": {"key": {"type": "uuid", "refTable": "B"}, "min": 0}}}}}}));
    Arc::new(schema.expect("the schema is right"))
});

/// The schema.
pub fn schema() -> &'static Arc<DatabaseSchema> {
    &SCHEMA
}

/// A fresh database with a few rows, which refer to each other.
pub fn database() -> Database {
    let mut database = Database::new(schema().clone());
    let uuid = |n: u128| json!(["uuid", Uuid::from_u128(n)]);
    let operations = [
        json!({"op": "insert", "table": "A", "uuid": Uuid::from_u128(1), "row": {"name": "one",
            "bs": ["set", [uuid(3), uuid(4)]], "weak": uuid(3), "level": 1, "flag": true,
            "held": ["map", [["x", uuid(2)]]], "map": ["map", [["k", "v"], ["l", ""]]]}}),
        json!({"op": "insert", "table": "A", "uuid": Uuid::from_u128(2), "row": {"name": "two",
            "level": 2, "share": 0.5, "kind": "a"}}),
        json!({"op": "insert", "table": "B", "uuid": Uuid::from_u128(3), "row": {
            "n": ["set", [1, 2]], "back": uuid(1), "next": uuid(4)}}),
        json!({"op": "insert", "table": "B", "uuid": Uuid::from_u128(4), "row": {}}),
    ];
    let delta = execute(&mut database, &read(&operations));
    assert_eq!(delta.map(|delta| delta.len()), Some(4));
    database
}

/// Operations as the OVSDB door reads them; identities are given in order.
pub fn read_text(operations: &Operations<'_>) -> Transaction {
    Transaction::read(schema(), operations, &mut identities())
}

/// The same of trees.
pub fn read(operations: &[Value]) -> Transaction {
    Transaction::from_json(schema(), operations, &mut identities())
}

fn identities() -> impl FnMut() -> Uuid {
    let mut next = 1000;
    move || {
        next += 1;
        Uuid::from_u128(next)
    }
}

/// Executes a transaction and checks the database: the delta, if it succeeded.
pub fn execute(
    database: &mut Database,
    transaction: &Transaction,
) -> Option<Vec<ovsdb::RowChange>> {
    let execution = database.execute(transaction, &Context::default());
    database
        .check_invariants()
        .expect("a transaction leaves a sound database");
    match execution {
        Execution::Done(done) => done.outcome.is_ok().then_some(done.delta),
        Execution::Blocked { .. } => None,
    }
}

/// All rows, for comparisons.
pub fn rows(database: &Database) -> Vec<(usize, Uuid, Arc<ovsdb::Row>)> {
    let tables = 0..schema().tables.len();
    let of_table = |table| {
        let rows = database.rows(table);
        rows.map(move |(uuid, row)| (table, uuid, row.clone()))
    };
    tables.flat_map(of_table).collect()
}
