//! Transactions and what they answer, one after the other on the same database.

mod common;

use common::Engine;
use serde_json::{Value, json};
use table::Context;

/// Each operation's error, or its result, in short.
fn brief(answer: &Value) -> Value {
    let Some(elements) = answer.as_array() else {
        return answer.clone();
    };
    let one = |element: &Value| match element.get("error") {
        Some(error) => json!([error, element["details"]]),
        None => element.clone(),
    };
    elements.iter().map(one).collect()
}

const R1: &str = "00000000-0000-0000-0000-000000000001";
const R2: &str = "00000000-0000-0000-0000-000000000002";
const K1: &str = "00000000-0000-0000-0000-000000000011";
const T1: &str = "00000000-0000-0000-0000-000000000021";
const F1: &str = "00000000-0000-0000-0000-000000000031";

#[track_caller]
fn check(engine: &mut Engine, operations: Value, expected: Value) {
    let answer = engine.transact(&operations);
    assert_eq!(brief(&answer), expected, "{operations:#}");
    engine.database.check_invariants().unwrap();
}

#[test]
fn operations_answer_as_the_rfc_says() {
    let e = &mut Engine::new();
    let uuid = |u: &str| json!({"uuid": ["uuid", u]});
    check(e, json!([]), json!([]));
    check(
        e,
        json!([
            {"op": "insert", "table": "Root", "uuid": R1, "row": {"name": "one", "x": 1, "born": 7}},
            {"op": "insert", "table": "Root", "uuid": R2, "row": {"name": "two", "x": 2, "options": ["map", [["k", "v"]]]}},
            {"op": "comment", "comment": "hello"}, {"op": "commit", "durable": true},
            {"op": "select", "table": "Root", "where": [["name", "==", "two"]], "columns": ["_uuid", "x", "y"]},
            {"op": "select", "table": "Root", "where": [], "columns": ["level"]}
        ]),
        json!([uuid(R1), uuid(R2), {}, {},
            {"rows": [{"_uuid": ["uuid", R2], "x": 2, "y": ["set", []]}]}, {"rows": [{"level": 0}]}]),
    );
    // Names of two rows change places: only the end counts.
    check(
        e,
        json!([
            {"op": "update", "table": "Root", "where": [["_uuid", "==", ["uuid", R1]]], "row": {"name": "two"}},
            {"op": "update", "table": "Root", "where": [["_uuid", "==", ["uuid", R2]]], "row": {"name": "one"}}
        ]),
        json!([{"count": 1}, {"count": 1}]),
    );
    assert_eq!(e.delta.len(), 2);
    check(
        e,
        json!([
            {"op": "update", "table": "Root", "where": [], "row": {"level": 5}},
            {"op": "update", "table": "Root", "where": [], "row": {"level": 0}},
            {"op": "insert", "table": "Toy", "row": {}}
        ]),
        json!([{"count": 2}, {"count": 2}, uuid("eeee0000-0000-0000-0000-000000000001")]),
    );
    assert!(e.delta.is_empty(), "changed and changed back, and garbage");
    check(
        e,
        json!([
            {"op": "mutate", "table": "Root", "where": [["x", "==", 1]], "mutations": [["level", "+=", 15], ["numbers", "insert", ["set", [1, 2]]], ["numbers", "*=", 2]]},
            {"op": "mutate", "table": "Root", "where": [["x", "==", 1]], "mutations": [["level", "+=", 6]]},
            {"op": "abort"}
        ]),
        json!([{"count": 1}, ["constraint violation", "column level: 21 is not in the range 0 to 20"], null]),
    );
    check(
        e,
        json!([{"op": "mutate", "table": "Root", "where": [], "mutations": [["x", "/=", 0]]}]),
        json!([["domain error", "column x: Division by zero."]]),
    );
    check(
        e,
        json!([{"op": "update", "table": "Root", "where": [], "row": {"born": 1}}]),
        json!([[
            "constraint violation",
            "Cannot update immutable column born in table Root."
        ]]),
    );
    check(
        e,
        json!([{"op": "insert", "table": "Root", "uuid": R1, "row": {"name": "again"}}]),
        json!([[
            "duplicate uuid",
            format!(
                "Table Root has a row {R1} already, or had it before this transaction deleted it."
            )
        ]]),
    );
    check(
        e,
        json!([
            {"op": "update", "table": "Root", "where": [["name", "==", "one"]], "row": {"name": "three"}},
            {"op": "insert", "table": "Root", "uuid": K1, "row": {"name": "three", "x": 3}}
        ]),
        json!([{"count": 1}, uuid(K1), ["constraint violation", format!(
            "Transaction causes multiple rows in \"Root\" table to have identical values (\"three\") for index on \
             column \"name\".  First row, with UUID {R2}, existed in the database before this transaction, which \
             modified some of the row's columns.  Second row, with UUID {K1}, was inserted by this transaction.")]]),
    );
    check(
        e,
        json!([{"op": "assert", "lock": "l"}, {"op": "comment", "comment": ""}]),
        json!([["not owner", "Asserted lock l not held."], null]),
    );
    let owner = Context {
        owns_lock: &|lock| lock == "l",
        ..Context::default()
    };
    let answer = e.transact_in(&json!([{"op": "assert", "lock": "l"}]), &owner);
    assert_eq!(answer, json!([{}]));
}

#[test]
fn a_wait_blocks_until_its_time_is_over() {
    let e = &mut Engine::new();
    let wait = |timeout: Value| {
        let mut wait = json!({"op": "wait", "table": "Root", "where": [], "columns": ["name", "level"], "until": "==",
            "rows": [{"name": "one"}]});
        if !timeout.is_null() {
            wait["timeout"] = timeout;
        }
        json!([{"op": "insert", "table": "Fan", "row": {}}, wait])
    };
    assert_eq!(e.transact(&wait(Value::Null)), json!("blocked"));
    assert_eq!(e.transact(&wait(json!(10))), json!("blocked"));
    assert_eq!(
        e.database.row_count(0),
        0,
        "a blocked transaction leaves no trace"
    );
    let late = Context {
        waited_ms: 10,
        ..Context::default()
    };
    let answer = brief(&e.transact_in(&wait(json!(10)), &late));
    assert_eq!(
        answer[1],
        json!(["timed out", "\"wait\" timed out after 10 ms"])
    );
    let answer = brief(&e.transact(&wait(json!(0))));
    assert_eq!(
        answer[1],
        json!(["timed out", "\"where\" clause test failed"])
    );
    let answer = e.transact(&json!([
        {"op": "insert", "table": "Root", "row": {"name": "one"}},
        wait(json!(0))[1]
    ]));
    assert_eq!(answer[1], json!({}));
}

#[test]
fn references_hold_and_let_go() {
    let e = &mut Engine::new();
    let ok = |e: &mut Engine, operations: Value| {
        let answer = e.transact(&operations);
        assert!(!answer.to_string().contains("error"), "{answer:#}");
        e.database.check_invariants().unwrap();
    };
    ok(
        e,
        json!([
            {"op": "insert", "table": "Root", "uuid": R1, "row": {"name": "one", "x": 1, "kids": ["named-uuid", "kid"], "friends": ["named-uuid", "kid"]}},
            {"op": "insert", "table": "Kid", "uuid": K1, "uuid-name": "kid", "row": {"tag": 1, "toys": ["map", [[1, ["named-uuid", "toy"]]]]}},
            {"op": "insert", "table": "Toy", "uuid": T1, "uuid-name": "toy", "row": {"owner": ["named-uuid", "kid"]}},
            {"op": "insert", "table": "Fan", "uuid": F1, "row": {"idol": ["uuid", R1], "idols": ["uuid", R1]}}
        ]),
    );
    check(
        e,
        json!([{"op": "delete", "table": "Kid", "where": []}]),
        json!([{"count": 1}, ["referential integrity violation",
            format!("cannot delete Kid row {K1} because of 1 remaining reference(s)")]]),
    );
    check(
        e,
        json!([{"op": "update", "table": "Root", "where": [], "row": {"kids": ["uuid", R2]}}]),
        json!([{"count": 1}, ["referential integrity violation",
            format!("Table Root column kids row {R1} references nonexistent row {R2} in table Kid.")]]),
    );
    check(
        e,
        json!([{"op": "delete", "table": "Root", "where": []}]),
        json!([{"count": 1}, ["constraint violation", format!(
            "Deletion of 1 weak reference(s) to deleted (or never-existing) rows from column \"idol\" in \"Fan\" row \
             {F1} (existed in the database before this transaction and was not modified by the transaction) caused \
             this column to become empty, but constraints on this column disallow an empty column.")]]),
    );
    // The kid goes, its toy with it; the friend forgets.
    ok(
        e,
        json!([{"op": "update", "table": "Root", "where": [], "row": {"kids": ["set", []]}}]),
    );
    assert_eq!(e.delta.len(), 3);
    let friends = e.transact(
        &json!([{"op": "select", "table": "Root", "where": [], "columns": ["friends", "kids"]}]),
    );
    assert_eq!(
        friends[0]["rows"],
        json!([{"friends": ["set", []], "kids": ["set", []]}])
    );
}
