//! Transactions and what they answer, one after the other on the same database.

use std::sync::Arc;

use crate::Engine;
use ovsdb::schema::DatabaseSchema;
use serde_json::{Value, json};
use table::{ApplyError, Context, Database, Limits};

/// A schema with every kind of column, reference, index and limit.
fn schema_json() -> Value {
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

fn schema() -> Arc<DatabaseSchema> {
    Arc::new(DatabaseSchema::from_json(&schema_json()).expect("a valid schema"))
}

fn engine() -> Engine {
    Engine::with(Database::new(schema()))
}

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
fn check(engine: &mut Engine, operations: &Value, expected: &Value) {
    let answer = engine.transact(operations);
    assert_eq!(&brief(&answer), expected, "{operations:#}");
    engine.database.check_invariants().expect("sound");
}

#[test]
fn operations_answer_as_the_rfc_says() {
    let e = &mut engine();
    let uuid = |u: &str| json!({"uuid": ["uuid", u]});
    check(e, &json!([]), &json!([]));
    check(
        e,
        &json!([
            {"op": "insert", "table": "Root", "uuid": R1, "row": {"name": "one", "x": 1, "born": 7}},
            {"op": "insert", "table": "Root", "uuid": R2, "row": {"name": "two", "x": 2, "options": ["map", [["k", "v"]]]}},
            {"op": "comment", "comment": "hello"}, {"op": "commit", "durable": true},
            {"op": "select", "table": "Root", "where": [["name", "==", "two"]], "columns": ["_uuid", "x", "y"]},
            {"op": "select", "table": "Root", "where": [], "columns": ["level"]}
        ]),
        &json!([uuid(R1), uuid(R2), {}, {},
            {"rows": [{"_uuid": ["uuid", R2], "x": 2, "y": ["set", []]}]}, {"rows": [{"level": 0}]}]),
    );
    // Names of two rows change places: only the end counts.
    check(
        e,
        &json!([
            {"op": "update", "table": "Root", "where": [["_uuid", "==", ["uuid", R1]]], "row": {"name": "two"}},
            {"op": "update", "table": "Root", "where": [["_uuid", "==", ["uuid", R2]]], "row": {"name": "one"}}
        ]),
        &json!([{"count": 1}, {"count": 1}]),
    );
    assert_eq!(e.delta.len(), 2);
    check(
        e,
        &json!([
            {"op": "update", "table": "Root", "where": [], "row": {"level": 5}},
            {"op": "update", "table": "Root", "where": [], "row": {"level": 0}},
            {"op": "insert", "table": "Toy", "row": {}}
        ]),
        &json!([{"count": 2}, {"count": 2}, uuid("eeee0000-0000-0000-0000-000000000001")]),
    );
    assert!(e.delta.is_empty(), "changed and changed back, and garbage");
    check(
        e,
        &json!([
            {"op": "mutate", "table": "Root", "where": [["x", "==", 1]], "mutations": [["level", "+=", 15], ["numbers", "insert", ["set", [1, 2]]], ["numbers", "*=", 2]]},
            {"op": "mutate", "table": "Root", "where": [["x", "==", 1]], "mutations": [["level", "+=", 6]]},
            {"op": "abort"}
        ]),
        &json!([{"count": 1}, ["constraint violation", "column level: 21 is not in the range 0 to 20"], null]),
    );
    check(
        e,
        &json!([{"op": "mutate", "table": "Root", "where": [], "mutations": [["x", "/=", 0]]}]),
        &json!([["domain error", "column x: Division by zero."]]),
    );
    check(
        e,
        &json!([{"op": "update", "table": "Root", "where": [], "row": {"born": 1}}]),
        &json!([[
            "constraint violation",
            "Cannot update immutable column born in table Root."
        ]]),
    );
    check(
        e,
        &json!([{"op": "insert", "table": "Root", "uuid": R1, "row": {"name": "again"}}]),
        &json!([[
            "duplicate uuid",
            format!(
                "Table Root has a row {R1} already, or had it before this transaction deleted it."
            )
        ]]),
    );
    check(
        e,
        &json!([
            {"op": "update", "table": "Root", "where": [["name", "==", "one"]], "row": {"name": "three"}},
            {"op": "insert", "table": "Root", "uuid": K1, "row": {"name": "three", "x": 3}}
        ]),
        &json!([{"count": 1}, uuid(K1), ["constraint violation", format!(
            "Transaction causes multiple rows in \"Root\" table to have identical values (\"three\") for index on \
             column \"name\".  First row, with UUID {R2}, existed in the database before this transaction, which \
             modified some of the row's columns.  Second row, with UUID {K1}, was inserted by this transaction.")]]),
    );
    check(
        e,
        &json!([{"op": "assert", "lock": "l"}, {"op": "comment", "comment": ""}]),
        &json!([["not owner", "Asserted lock l not held."], null]),
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
    let e = &mut engine();
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
    let e = &mut engine();
    let ok = |e: &mut Engine, operations: &Value| {
        let answer = e.transact(operations);
        assert!(!answer.to_string().contains("error"), "{answer:#}");
        e.database.check_invariants().expect("sound");
    };
    ok(
        e,
        &json!([
            {"op": "insert", "table": "Root", "uuid": R1, "row": {"name": "one", "x": 1, "kids": ["named-uuid", "kid"], "friends": ["named-uuid", "kid"]}},
            {"op": "insert", "table": "Kid", "uuid": K1, "uuid-name": "kid", "row": {"tag": 1, "toys": ["map", [[1, ["named-uuid", "toy"]]]]}},
            {"op": "insert", "table": "Toy", "uuid": T1, "uuid-name": "toy", "row": {"owner": ["named-uuid", "kid"]}},
            {"op": "insert", "table": "Fan", "uuid": F1, "row": {"idol": ["uuid", R1], "idols": ["uuid", R1]}}
        ]),
    );
    check(
        e,
        &json!([{"op": "delete", "table": "Kid", "where": []}]),
        &json!([{"count": 1}, ["referential integrity violation",
            format!("cannot delete Kid row {K1} because of 1 remaining reference(s)")]]),
    );
    check(
        e,
        &json!([{"op": "update", "table": "Root", "where": [], "row": {"kids": ["uuid", R2]}}]),
        &json!([{"count": 1}, ["referential integrity violation",
            format!("Table Root column kids row {R1} references nonexistent row {R2} in table Kid.")]]),
    );
    check(
        e,
        &json!([{"op": "delete", "table": "Root", "where": []}]),
        &json!([{"count": 1}, ["constraint violation", format!(
            "Deletion of 1 weak reference(s) to deleted (or never-existing) rows from column \"idol\" in \"Fan\" row \
             {F1} (existed in the database before this transaction and was not modified by the transaction) caused \
             this column to become empty, but constraints on this column disallow an empty column.")]]),
    );
    // The kid goes, its toy with it; the friend forgets.
    ok(
        e,
        &json!([{"op": "update", "table": "Root", "where": [], "row": {"kids": ["set", []]}}]),
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

#[test]
fn a_pair_with_a_weak_key_takes_its_strong_value_along() {
    let e = &mut engine();
    let answer = e.transact(&json!([
        {"op": "insert", "table": "Root", "uuid": R1, "row": {"name": "one", "kids": ["set", [["named-uuid", "a"], ["named-uuid", "b"]]]}},
        {"op": "insert", "table": "Kid", "uuid-name": "a", "row": {"tag": 1, "toys": ["map", [[1, ["named-uuid", "big"]]]]}},
        {"op": "insert", "table": "Kid", "uuid-name": "b", "row": {"tag": 2}},
        {"op": "insert", "table": "Toy", "uuid-name": "big", "row": {"lent": ["map", [[["named-uuid", "b"], ["named-uuid", "small"]]]]}},
        {"op": "insert", "table": "Toy", "uuid-name": "small", "row": {"colour": "red"}}
    ]));
    assert!(!answer.to_string().contains("error"), "{answer:#}");
    let toys = e.database.schema().table_index("Toy").expect("a table");
    assert_eq!(e.database.row_count(toys), 2);
    let kid = answer[2]["uuid"].clone();
    let answer = e.transact(&json!([{"op": "mutate", "table": "Root", "where": [], "mutations": [["kids", "delete", kid]]}]));
    assert_eq!(answer, json!([{"count": 1}]));
    assert_eq!(e.database.row_count(toys), 1);
    e.database.check_invariants().expect("sound");
}

#[test]
fn what_is_selected_is_weighed_before_it_is_written_down() {
    let limits = Limits {
        selected_bytes: 10_000,
        ..Limits::default()
    };
    let e = &mut Engine::with(Database::with_limits(schema(), limits));
    let name = "n".repeat(3_000);
    let answer = e.transact(&json!([{"op": "insert", "table": "Root", "row": {"name": name}}]));
    assert!(!answer.to_string().contains("error"), "{answer:#}");
    let select =
        json!({"op": "select", "table": "Root", "where": [], "columns": ["_uuid", "name"]});
    let answer = e.transact(&json!([select, select, select]));
    assert!(!answer.to_string().contains("error"), "{answer:#}");
    let limit = "The transaction selects rows of more bytes than the limit of 10000. Ask for fewer rows or columns at \
                 a time.";
    let insert = json!({"op": "insert", "table": "Root", "row": {"name": "m"}});
    let answer = e.transact(&json!([insert, select, select, select, select]));
    assert_eq!(answer[4]["details"], limit, "{answer:#}");
}

#[test]
fn limits_are_named() {
    let limits = Limits {
        operations: 3,
        selected_rows: 2,
        selected_bytes: usize::MAX,
        steps: 12,
    };
    let e = &mut Engine::with(Database::with_limits(schema(), limits));
    let insert =
        |n: i64| json!({"op": "insert", "table": "Root", "row": {"name": n.to_string(), "x": n}});
    let answer = e.transact(&json!([insert(1), insert(2), insert(3)]));
    assert!(!answer.to_string().contains("error"), "{answer:#}");
    check(
        e,
        &json!([{"op": "select", "table": "Root", "where": []}]),
        &json!([[
            "resources exhausted",
            "The transaction selects more rows than the limit of 2. Ask for fewer at a time."
        ]]),
    );
    let comment = json!({"op": "comment", "comment": ""});
    check(
        e,
        &json!([comment, comment, comment, comment]),
        &json!([
            [
                "resources exhausted",
                "The transaction has 4 operations, more than the limit of 3."
            ],
            null,
            null,
            null
        ]),
    );
    let steps = json!([
        "resources exhausted",
        "The transaction compares or copies more than the limit of 12 values. Name rows by their UUIDs, or do it in \
         several transactions."
    ]);
    let scan = json!({"op": "delete", "table": "Root", "where": [["x", "<", 0], ["x", "<", 0]]});
    let none = json!({"count": 0});
    check(e, &json!([scan, scan]), &json!([none, none]));
    check(e, &json!([scan, scan, scan]), &json!([none, none, steps]));
    let rewrite = json!({"op": "update", "table": "Root", "where": [], "row": {"level": 7}});
    check(e, &json!([rewrite]), &json!([{"count": 3}]));
    check(e, &json!([rewrite, scan]), &json!([{"count": 3}, steps]));
}

#[test]
fn a_delta_that_does_not_fit_is_refused_as_a_whole() {
    let e = &mut engine();
    e.transact(&json!([
        {"op": "insert", "table": "Root", "uuid": R1, "row": {"name": "one", "kids": ["uuid", K1]}},
        {"op": "insert", "table": "Kid", "uuid": K1, "row": {}}
    ]));
    let delta = e.delta.clone();
    assert!(matches!(
        e.database.apply(&delta),
        Err(ApplyError::Row { .. })
    ));
    let without_kid = &delta[1..];
    assert_eq!(delta.len(), 2);
    let mut copy = Database::new(schema());
    assert!(matches!(
        copy.apply(without_kid),
        Err(ApplyError::References { .. })
    ));
    copy.check_invariants().expect("nothing was applied");
    copy.apply(&delta).expect("fits an empty database");
    copy.check_invariants().expect("sound");
    let rows = |d: &Database| -> Vec<_> {
        (0..4)
            .flat_map(|t| {
                d.rows(t)
                    .map(|(u, r)| (t, u, r.clone()))
                    .collect::<Vec<_>>()
            })
            .collect()
    };
    assert_eq!(rows(&copy), rows(&e.database));
    let mut loaded = Database::new(schema());
    loaded.load(rows(&copy)).expect("loads in any order");
    loaded.check_invariants().expect("sound");
    assert_eq!(rows(&loaded), rows(&copy));
    let whole = rows(&copy);
    let load = |rows: Vec<_>| Database::new(schema()).load(rows).unwrap_err();
    let twice = load([&whole[..], &whole[..1]].concat());
    assert!(matches!(twice, ApplyError::Row { .. }), "{twice}");
    let without_kid = whole.iter().filter(|(_, uuid, _)| uuid.to_string() != K1);
    let dangling = load(without_kid.cloned().collect());
    assert!(
        matches!(dangling, ApplyError::References { .. }),
        "{dangling}"
    );
}
