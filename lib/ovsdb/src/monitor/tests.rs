//! What monitors are told, and how they are asked for.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::error::Error;
use crate::schema::DatabaseSchema;

fn schema() -> DatabaseSchema {
    DatabaseSchema::from_json(&json!({"name": "T", "tables": {
        "A": {"columns": {
            "level": {"type": "integer"},
            "name": {"type": "string"},
            "tags": {"type": {"key": "integer", "min": 0, "max": "unlimited"}}}},
        "B": {"columns": {"x": {"type": "integer"}}}}}))
    .unwrap()
}

fn row(level: i64, name: &str, tags: &[i64]) -> Arc<Row> {
    let tags = Datum::set(tags.iter().map(|&tag| tag.into()));
    Arc::new(Row::new(vec![level.into(), name.into(), tags]))
}

#[track_caller]
fn check(
    request: &Value,
    version: MonitorVersion,
    old: Option<Arc<Row>>,
    new: Option<Arc<Row>>,
    expected: &Value,
) {
    let schema = schema();
    let spec = MonitorSpec::from_json(version, &schema, &json!({"A": request})).unwrap();
    let uuid = Uuid::from_u128(1);
    let change = RowChange {
        table: 0,
        uuid,
        old,
        new,
    };
    let updates = spec.updates(&schema, [&change]);
    let json = serde_json::to_value(updates.with(&schema)).unwrap();
    let shown = json["A"].get(uuid.to_string()).cloned().unwrap_or_default();
    assert_eq!(&shown, expected);
}

#[test]
fn changes_are_told_in_each_protocol() {
    use MonitorVersion::{V1, V2};
    let all = json!([{"columns": ["level", "name", "tags"]}]);
    let (a, b) = (row(1, "a", &[1, 2]), row(1, "b", &[2, 3]));
    check(
        &all,
        V1,
        None,
        Some(a.clone()),
        &json!({"new": {"level": 1, "name": "a", "tags": ["set", [1, 2]]}}),
    );
    check(
        &all,
        V1,
        Some(a.clone()),
        None,
        &json!({"old": {"level": 1, "name": "a", "tags": ["set", [1, 2]]}}),
    );
    check(
        &all,
        V1,
        Some(a.clone()),
        Some(b.clone()),
        &json!({
        "old": {"name": "a", "tags": ["set", [1, 2]]},
        "new": {"level": 1, "name": "b", "tags": ["set", [2, 3]]}}),
    );
    check(
        &all,
        V2,
        None,
        Some(row(0, "a", &[])),
        &json!({"insert": {"name": "a"}}),
    );
    check(&all, V2, Some(a.clone()), None, &json!({"delete": null}));
    check(
        &all,
        V2,
        Some(a.clone()),
        Some(b.clone()),
        &json!({"modify": {"name": "b", "tags": ["set", [1, 3]]}}),
    );
    let level = json!({"columns": ["level"]});
    check(&level, V1, Some(a.clone()), Some(b.clone()), &Value::Null);
    check(&level, V2, Some(a.clone()), Some(b.clone()), &Value::Null);
    let quiet = json!([{"columns": ["name"], "select": {"modify": false}},
                       {"columns": ["tags"], "select": {"delete": false, "insert": false}}]);
    check(
        &quiet,
        V1,
        Some(a.clone()),
        Some(b.clone()),
        &json!({
        "old": {"tags": ["set", [1, 2]]}, "new": {"tags": ["set", [2, 3]]}}),
    );
    let rows_only = json!([{"columns": []}]);
    check(
        &rows_only,
        V1,
        Some(a.clone()),
        Some(b.clone()),
        &Value::Null,
    );
    check(
        &rows_only,
        V2,
        None,
        Some(b.clone()),
        &json!({"insert": {}}),
    );
    check(
        &rows_only,
        V2,
        Some(b.clone()),
        None,
        &json!({"delete": null}),
    );
    check(&quiet, V1, Some(a), None, &json!({"old": {"name": "a"}}));
    check(&quiet, V2, None, Some(b), &json!({"insert": {"name": "b"}}));
}

#[test]
fn rows_come_and_go_with_the_condition() {
    use MonitorVersion::V3;
    let high = json!([{"columns": ["name"], "where": [["level", ">", 5], ["name", "==", "x"]]}]);
    let (low, up) = (row(1, "a", &[]), row(6, "a", &[]));
    check(
        &high,
        V3,
        Some(low.clone()),
        Some(up.clone()),
        &json!({"insert": {"name": "a"}}),
    );
    check(
        &high,
        V3,
        Some(up.clone()),
        Some(low.clone()),
        &json!({"delete": null}),
    );
    check(
        &high,
        V3,
        Some(up.clone()),
        Some(row(7, "b", &[])),
        &json!({"modify": {"name": "b"}}),
    );
    check(&high, V3, Some(up), Some(row(7, "a", &[])), &Value::Null);
    check(&high, V3, Some(low.clone()), None, &Value::Null);
    check(
        &high,
        V3,
        Some(low),
        Some(row(1, "x", &[])),
        &json!({"insert": {"name": "x"}}),
    );
}

#[test]
fn requests_survive_their_json_form() {
    let schema = schema();
    let json = json!({
        "A": [{"columns": ["level"], "where": [["level", ">", 5]]},
              {"columns": ["name"], "select": {"initial": false, "insert": true, "delete": true, "modify": true},
               "where": [["level", ">", 5]]}],
        "B": [{"columns": ["x"]}]});
    let spec = MonitorSpec::from_json(MonitorVersion::V2, &schema, &json).unwrap();
    let again = serde_json::to_value(spec.with(&schema)).unwrap();
    let reread = MonitorSpec::from_json(MonitorVersion::V2, &schema, &again).unwrap();
    assert_eq!(again["B"], json["B"]);
    assert_eq!(again["A"][1]["select"], json["A"][1]["select"]);
    assert_eq!(reread.tables[1], spec.tables[1]);
    assert!(
        spec.condition_changes(&schema, &json!({"A": [{"where": [["level", "<", 1]]}]}))
            .is_ok()
    );
}

#[test]
fn wrong_requests_are_refused() {
    let schema = schema();
    for (json, expected) in [
        (
            json!([]),
            "syntax error: monitor requests should be an object of tables",
        ),
        (json!({"Q": []}), "syntax error: no table named Q"),
        (
            json!({"A": [{"columns": ["q"]}]}),
            "syntax error: q is not a valid column name",
        ),
        (
            json!({"A": [{"columns": ["name"]}, {"columns": ["name"]}]}),
            "syntax error: column name mentioned more than once",
        ),
        (
            json!({"A": [{"columns": ["name"], "where": []}]}),
            "syntax error: Member 'where' is present but not allowed here.",
        ),
        (
            json!({"A": [{"select": {"insert": 1}}]}),
            "syntax error: \"insert\" in \"select\" should be a boolean.",
        ),
        (
            json!({"A": 3}),
            "syntax error: A monitor request should be an object.",
        ),
    ] {
        let error = MonitorSpec::from_json(MonitorVersion::V1, &schema, &json).unwrap_err();
        let error = Error {
            syntax: None,
            ..error
        };
        assert_eq!(error.to_string(), expected);
    }
}
