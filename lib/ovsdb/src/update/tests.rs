//! Updates to and from JSON, and differences.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::atom::Atom;

fn schema(json: &Value) -> DatabaseSchema {
    DatabaseSchema::from_json(&json!({"name": "T", "tables": {"A": {"columns": json}}})).unwrap()
}

fn any_map() -> impl Strategy<Value = Datum> {
    proptest::collection::btree_map(0i64..6, 0i64..3, 0..6).prop_map(|pairs| {
        Datum::map(
            pairs
                .into_iter()
                .map(|(k, v)| (Atom::from(k), Atom::from(v))),
        )
    })
}

fn any_set() -> impl Strategy<Value = Datum> {
    proptest::collection::btree_set(0i64..8, 0..8)
        .prop_map(|atoms| Datum::set(atoms.into_iter().map(Atom::from)))
}

proptest! {
    #[test]
    fn a_difference_applied_gives_the_new_value((old, new) in
        prop_oneof![(any_map(), any_map()), (any_set(), any_set())]) {
        let ty = json!({"key": "integer", "min": 0, "max": "unlimited"});
        let ty = ColumnType::from_json(&ty).unwrap();
        prop_assert_eq!(Delta::between(&ty, &old, &new).apply(&old), new.clone());
        let single = ColumnType { max: 1, ..ty };
        prop_assert_eq!(Delta::between(&single, &old, &new).apply(&old), new);
    }
}

#[test]
fn updates_survive_their_json_form() {
    let schema = schema(&json!({
        "name": {"type": "string"},
        "tags": {"type": {"key": "integer", "min": 0, "max": "unlimited"}},
        "opt": {"type": {"key": "integer", "min": 0}},
    }));
    let json = json!({"A": {
        "00000000-0000-0000-0000-000000000001": {"initial": {"name": "a"}},
        "00000000-0000-0000-0000-000000000002": {"insert": {"tags": ["set", [1, 2]]}},
        "00000000-0000-0000-0000-000000000003": {"delete": null},
        "00000000-0000-0000-0000-000000000004": {"modify": {"tags": 3, "opt": 4}},
        "00000000-0000-0000-0000-000000000005": {"old": {"opt": 3}},
        "00000000-0000-0000-0000-000000000006": {"new": {"opt": 3}},
        "00000000-0000-0000-0000-000000000007": {"new": {"opt": 3}, "old": {"opt": ["set", []]}},
    }});
    let raw: Box<RawValue> = serde_json::from_value(json.clone()).unwrap();
    let updates = TableUpdates::from_json(&ReadPlan::between(&schema, &schema), &raw).unwrap();
    assert_eq!(updates.len(), 7);
    assert_eq!(serde_json::to_value(updates.with(&schema)).unwrap(), json);
}

#[test]
fn columns_of_another_schema_find_their_places() {
    let ours = schema(&json!({
        "b": {"type": "string"},
        "kind": {"type": {"key": "string", "min": 0}},
        "new": {"type": "integer"},
        "set": {"type": {"key": "integer", "min": 0, "max": "unlimited"}},
    }));
    let theirs = schema(&json!({
        "a": {"type": "string"}, "b": {"type": "string"}, "kind": {"type": "integer"},
        "set": {"type": {"key": "integer", "min": 0, "max": 1}},
    }));
    let plan = ReadPlan::between(&ours, &theirs);
    let table = &ours.tables[0];
    let has: Vec<bool> = ["b", "kind", "new", "set"]
        .map(|name| plan.has_column(table, name))
        .into();
    assert_eq!(has, [true, false, false, true]);
    let uuid = Uuid::from_u128(1);
    let read = |text: String| {
        let raw: Box<RawValue> = RawValue::from_string(text).unwrap();
        TableUpdates::from_json(&plan, &raw)
    };
    let insert = read(format!(
        "{{\"A\":{{\"{uuid}\":{{\"insert\":{{\"a\":\"x\",\"b\":\"y\",\"kind\":3,\"set\":1}}}}}},\"Z\":{{}}}}"
    ))
    .unwrap();
    let (_, update) = &insert.tables[0].1[0];
    let defaults = Row::default_for(table);
    let row = update.apply(&defaults, None).unwrap();
    assert_eq!(row.get(0), &Datum::from("y"));
    assert_eq!(
        (row.get(1), row.get(2)),
        (&Datum::empty_set(), &Datum::from(0))
    );
    // The server's column holds one element at most, so its difference is the new value; ours would be a toggle.
    let modify = read(format!(
        "{{\"A\":{{\"{uuid}\":{{\"modify\":{{\"set\":2}}}}}}}}"
    ))
    .unwrap();
    let row = modify.tables[0].1[0]
        .1
        .apply(&defaults, Some(&row))
        .unwrap();
    assert_eq!(row.get(3), &Datum::from(2));
    for wrong in [
        "[]",
        "{\"A\":[]}",
        "{\"A\":{\"x\":{}}}",
        "{\"A\":{\"00000000-0000-0000-0000-000000000001\":{}}}",
    ] {
        assert!(read(wrong.to_owned()).is_err(), "{wrong}");
    }
}
