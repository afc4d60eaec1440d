//! What goes out as messages comes back as it was.

use bytes::Bytes;
use ovsdb::monitor::TableMonitor;
use ovsdb::operation::{Failure, OpResult};
use ovsdb::schema::DatabaseSchema;
use ovsdb::update::RowUpdate;
use ovsdb::{Clause, ColumnRef, Condition, Datum, Error, ErrorKind, Row, Transaction};
use proptest::prelude::*;
use prost::Message;
use serde_json::json;

use super::*;
use crate::shared::{TableUpdate, encode_operation, encode_row};
use crate::v1;

fn schema() -> DatabaseSchema {
    let columns = json!({
        "flag": {"type": "boolean"},
        "map": {"type": {"key": "string", "value": "integer", "min": 0, "max": "unlimited"}},
        "name": {"type": "string"},
        "ratio": {"type": "real"},
        "refs": {"type": {"key": {"type": "uuid", "refTable": "A"}, "min": 0, "max": "unlimited"}}});
    DatabaseSchema::from_json(&json!({"name": "T", "tables": {"A": {"columns": columns}}})).unwrap()
}

fn uuid() -> Uuid {
    Uuid::from_u128(0xa)
}

#[test]
fn operations_come_back_as_they_were() {
    let schema = schema();
    let id = uuid().to_string();
    let json = json!([
        {"op": "insert", "table": "A", "uuid": id, "row": {
            "flag": true, "map": ["map", [["k", 3], ["l", -4]]], "name": "é", "ratio": 1.5,
            "refs": ["set", [["uuid", id], ["uuid", Uuid::nil()]]]}},
        {"op": "select", "table": "A", "where": [["_uuid", "==", ["uuid", id]], true], "columns": ["name", "_version"]},
        {"op": "update", "table": "A", "where": [["map", "excludes", ["map", [["k", 3]]]]], "row": {"refs": ["set", []]}},
        {"op": "mutate", "table": "A", "where": [["ratio", ">=", 2.5]],
         "mutations": [["ratio", "*=", 2.5], ["map", "delete", ["set", ["k", "l"]]]]},
        {"op": "delete", "table": "A", "where": []},
        {"op": "wait", "table": "A", "where": [], "columns": ["name"], "until": "!=", "rows": [{"name": "x"}], "timeout": 0},
        {"op": "commit", "durable": true}, {"op": "abort"}, {"op": "comment", "comment": "c"},
        {"op": "assert", "lock": "l"},
    ]);
    let read = Transaction::from_json(&schema, json.as_array().unwrap(), &mut uuid);
    assert_eq!(read.error, None);
    let messages = operations_to_proto(&schema, &read.operations);
    assert_eq!(transaction_from_proto(&schema, messages, &mut uuid), read);
}

#[test]
fn names_of_new_rows_are_resolved() {
    use v1::{atom::Value, datum::Kind, operation};
    let reference = v1::Atom {
        value: Some(Value::NamedUuid("n".to_owned())),
    };
    let refs = v1::Datum {
        kind: Some(Kind::Scalar(reference)),
    };
    let insert = v1::Insert {
        table: "A".to_owned(),
        row: Some(v1::Row {
            columns: [("refs".to_owned(), refs)].into(),
        }),
        uuid_name: "n".to_owned(),
        uuid: Vec::new(),
    };
    let message = encode_operation(&v1::Operation {
        kind: Some(operation::Kind::Insert(insert)),
    });
    // One from a later version, with a field that is not known here.
    let newer = [&*message, &[0x78, 0]].concat().into();
    for message in [message, newer] {
        let read = transaction_from_proto(&schema(), vec![message], &mut uuid);
        let [ovsdb::Operation::Insert { row, .. }] = read.operations.as_slice() else {
            panic!("{read:?}");
        };
        assert_eq!(row[0].1, Datum::from(uuid()));
    }
}

#[test]
fn wrong_operations_name_the_field() {
    use v1::operation::Kind;
    let schema = schema();
    for (kind, expected) in [
        (None, "syntax error: operations[0].kind: missing"),
        (
            Some(Kind::Insert(v1::Insert {
                table: "A".to_owned(),
                uuid: vec![1],
                ..Default::default()
            })),
            "syntax error: operations[0].uuid: 1 bytes are not a UUID",
        ),
        (
            Some(Kind::Insert(v1::Insert {
                table: "A".to_owned(),
                row: Some(v1::Row {
                    columns: [("name".to_owned(), v1::Datum::default())].into(),
                }),
                ..Default::default()
            })),
            "syntax error: operations[0].name: no value",
        ),
        (
            Some(Kind::Delete(v1::Delete {
                table: "A".to_owned(),
                r#where: vec![v1::Clause { kind: None }],
            })),
            "syntax error: operations[0].where.kind: missing",
        ),
    ] {
        let read = transaction_from_proto(
            &schema,
            vec![encode_operation(&v1::Operation { kind })],
            &mut uuid,
        );
        assert_eq!(read.error.unwrap().to_string(), expected);
        assert_eq!((read.operations.len(), read.asked), (0, 1));
    }
}

#[test]
fn outcomes_come_back_as_they_were() {
    let schema = schema();
    let operations = json!([
        {"op": "insert", "table": "A", "row": {}},
        {"op": "select", "table": "A", "where": [], "columns": ["map", "name"]},
        {"op": "delete", "table": "A", "where": []},
        {"op": "comment", "comment": ""}]);
    let operations =
        Transaction::from_json(&schema, operations.as_array().unwrap(), &mut uuid).operations;
    let map = Datum::map([("k".into(), 3.into())]);
    let done = vec![
        OpResult::Inserted(uuid()),
        OpResult::Rows(vec![vec![("map".into(), map), ("name".into(), "x".into())]]),
        OpResult::Count(2),
        OpResult::Empty,
    ];
    let failed = |count: usize| {
        let error = Error::new(ErrorKind::TimedOut, "why");
        Err(Failure {
            done: done[..count].to_vec(),
            error,
        })
    };
    for outcome in [Ok(done.clone()), failed(0), failed(2), failed(4)] {
        let messages = outcome_to_proto(4, &outcome);
        assert_eq!(
            outcome_from_proto(&schema, &operations, messages).unwrap(),
            outcome
        );
    }
}

#[test]
fn monitors_come_back_as_they_were() {
    let schema = schema();
    let condition = Condition::any([Clause::equals(2, "x"), Clause::is_row(uuid())]);
    let monitor = TableMonitor::new(
        0,
        [ColumnRef::Column(1), ColumnRef::Column(2)],
        condition.clone(),
    );
    let messages = monitor_to_proto(&schema, [&monitor]);
    let spec = monitor_from_proto(&schema, messages.clone()).unwrap();
    assert_eq!(spec.tables, [monitor]);
    let twice = messages
        .iter()
        .cloned()
        .chain(messages.iter().cloned())
        .collect();
    let error = monitor_from_proto(&schema, twice).unwrap_err();
    assert_eq!(
        error.to_string(),
        "syntax error: tables: A stands here twice"
    );
    let conditions = conditions_to_proto(&schema, [(0, &condition)]);
    assert_eq!(
        conditions_from_proto(&schema, &spec, conditions).unwrap(),
        [(0, condition)]
    );
}

#[test]
fn updates_are_read_with_new_values() {
    use v1::row_update::Change;
    let schema = schema();
    let row = |name: &str, value: i64| {
        let map = Datum::map([("k".into(), value.into())]);
        let refs = Datum::empty_set();
        Row::new(vec![false.into(), map, name.into(), 0.0.into(), refs])
    };
    let (old, new) = (row("x", 1), row("y", 2));
    let columns = |columns: &[(&str, &Datum)]| v1::Row {
        columns: columns
            .iter()
            .map(|(name, datum)| ((*name).to_owned(), datum_to_proto(datum)))
            .collect(),
    };
    let update = |id: u128, change| v1::RowUpdate {
        uuid: Uuid::from_u128(id).as_bytes().to_vec(),
        change,
    };
    let changed = columns(&[
        ("map", new.get(1)),
        ("name", new.get(2)),
        ("newer", &"z".into()),
    ]);
    let rows = vec![
        update(1, Some(Change::Inserted(changed.clone()))),
        update(2, Some(Change::Modified(changed))),
        update(3, Some(Change::Deleted(v1::Done {}))),
    ];
    let table = |name: &str, rows: Vec<v1::RowUpdate>| TableUpdate {
        table: name.to_owned(),
        rows: rows.iter().map(encode_row).collect(),
    };
    let messages = vec![table("A", rows.clone()), table("Newer", rows)];
    let read = updates_from_proto(&schema, messages.clone()).unwrap();
    assert_eq!(read.tables.len(), 1);
    let rows = &read.tables[0].1;
    let defaults = Row::default_for(&schema.tables[0]);
    assert_eq!(rows[0].1.apply(&defaults, None).as_ref(), Some(&new));
    assert_eq!(rows[1].1.apply(&defaults, Some(&old)).as_ref(), Some(&new));
    assert_eq!(rows[2].1, RowUpdate::Delete);
    let read = |row: v1::RowUpdate| {
        let error = updates_from_proto(&schema, vec![table("A", vec![row])]).unwrap_err();
        error.to_string()
    };
    assert_eq!(read(update(2, None)), "A.change: missing");
    let cut = TableUpdate {
        rows: vec![Bytes::from_static(&[0x0a, 16, 0])],
        ..table("A", vec![])
    };
    let error = updates_from_proto(&schema, vec![cut]).unwrap_err();
    assert!(error.to_string().starts_with("A.rows: "), "{error}");
    let wrong = Change::Modified(columns(&[("name", &3.into())]));
    assert_eq!(
        read(update(2, Some(wrong))),
        "A.name.value: not of type string"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever bytes make a message, it is read or refused.
    #[test]
    fn garbage_is_read_or_refused(
        place in any::<prop::sample::Index>(),
        bytes in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        let schema = schema();
        let operations = json!([
            {"op": "insert", "table": "A", "row": {"map": ["map", [["k", 3]]], "refs": ["uuid", uuid()]}},
            {"op": "mutate", "table": "A", "where": [["ratio", ">=", 2.5]], "mutations": [["ratio", "*=", 2.5]]},
            {"op": "wait", "table": "A", "where": [], "columns": ["name"], "until": "!=", "rows": [{"name": "x"}]},
        ]);
        let read = Transaction::from_json(&schema, operations.as_array().unwrap(), &mut uuid);
        let request = crate::shared::TransactRequest {
            operations: operations_to_proto(&schema, &read.operations),
            ..Default::default()
        };
        let mut encoded = request.encode_to_vec();
        let at = place.index(encoded.len());
        encoded.splice(at..(at + bytes.len()).min(encoded.len()), bytes);
        if let Ok(request) = crate::shared::TransactRequest::decode(encoded.as_slice()) {
            let asked = request.operations.len();
            let read = transaction_from_proto(&schema, request.operations, &mut uuid);
            prop_assert_eq!(read.error.is_none(), read.operations.len() == asked);
        }
        if let Ok(response) = v1::MonitorResponse::decode(encoded.as_slice()) {
            let _ = updates_from_proto(&schema, response.tables);
        }
        if let Ok(response) = v1::TransactResponse::decode(encoded.as_slice()) {
            let _ = outcome_from_proto(&schema, &read.operations, response.results);
        }
    }
}
