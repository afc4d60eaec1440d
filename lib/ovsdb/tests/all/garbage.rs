//! Messages that are nearly right: whatever one piece of them is replaced by, they are read or refused, and nothing
//! panics.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use ovsdb::client::{Config, Session};
use ovsdb::jsonrpc::Message;
use ovsdb::monitor::{MonitorSpec, MonitorVersion, TableMonitor};
use ovsdb::request::Request;
use ovsdb::schema::DatabaseSchema;
use ovsdb::{ColumnRef, Condition, Row, Transaction, Uuid};
use proptest::prelude::*;
use serde_json::{Value, json};

const UUID: &str = "00000000-0000-0000-0000-00000000000a";

fn schema() -> Value {
    json!({"name": "T", "version": "1.0.0", "tables": {
        "A": {"isRoot": true, "maxRows": 3, "indexes": [["name"]], "columns": {
            "bs": {"type": {"key": {"type": "uuid", "refTable": "B", "refType": "weak"}, "min": 0, "max": 2}},
            "level": {"type": {"key": {"type": "integer", "minInteger": 0, "maxInteger": 9}}},
            "map": {"type": {"key": "string", "value": "real", "min": 0, "max": "unlimited"}, "ephemeral": true},
            "name": {"type": {"key": {"type": "string", "maxLength": 3, "enum": ["set", ["a", "b"]]}}, "mutable": false}}},
        "B": {"columns": {"flag": {"type": "boolean"}}}}})
}

/// Correct messages of every kind.
fn messages() -> Vec<Value> {
    let call = |method: &str, params: Value| json!({"id": 1, "method": method, "params": params});
    let everything = json!([
        {"op": "insert", "table": "A", "uuid-name": "a", "uuid": UUID,
         "row": {"bs": ["set", [["named-uuid", "a"], ["uuid", UUID]]], "level": 3, "map": ["map", [["k", 1.5]]]}},
        {"op": "select", "table": "A", "where": [["level", "<", 3], true], "columns": ["_uuid", "name"]},
        {"op": "update", "table": "A", "where": [["map", "includes", ["map", [["k", 1.0]]]]], "row": {"name": "a"}},
        {"op": "mutate", "table": "A", "where": [["bs", "excludes", ["set", []]]],
         "mutations": [["level", "+=", 3], ["map", "delete", ["set", ["k"]]], ["bs", "insert", ["uuid", UUID]]]},
        {"op": "wait", "table": "A", "where": [], "columns": ["name"], "until": "==", "rows": [{"name": "a"}], "timeout": 3},
        {"op": "commit", "durable": true}, {"op": "comment", "comment": "x"}, {"op": "assert", "lock": "l"},
    ]);
    let mut transact = vec![json!("T")];
    transact.extend(everything.as_array().unwrap().iter().cloned());
    let part =
        json!([{"columns": ["name"], "where": [["level", "==", 3]], "select": {"initial": false}}]);
    let update = json!({"A": {
        UUID: {"insert": {"name": "a", "bs": ["set", [["uuid", UUID]]], "map": ["map", [["k", 2]]], "level": 4}},
        "00000000-0000-0000-0000-00000000000b": {"modify": {"map": ["map", [["k", 2]]]}},
        "00000000-0000-0000-0000-00000000000c": {"delete": null}}});
    let database =
        json!({"Database": {UUID: {"initial": {"name": "T", "connected": true, "leader": true}}}});
    vec![
        call("transact", Value::Array(transact)),
        call("monitor_cond_since", json!(["T", "m", {"A": part}, UUID])),
        call("monitor", json!(["T", "m", {"A": [{"columns": ["name"]}]}])),
        call(
            "monitor_cond_change",
            json!(["m", "n", {"A": [{"where": [["level", ">", 1]]}]}]),
        ),
        call("convert", json!(["T", schema()])),
        call("set_db_change_aware", json!([true])),
        call("echo", json!([])),
        json!({"id": 2, "result": database, "error": null}),
        json!({"id": 3, "result": schema(), "error": null}),
        json!({"id": 4, "result": [false, UUID, update], "error": null}),
        json!({"id": 5, "result": {"locked": true}, "error": null}),
        json!({"id": 6, "result": [{"count": 1}, {"uuid": ["uuid", UUID]}, {"rows": [{"level": 3}]}], "error": null}),
        json!({"id": null, "method": "update3", "params": ["weft", UUID, update]}),
        json!({"id": null, "method": "update2", "params": ["weft-server", database]}),
        json!({"id": null, "method": "locked", "params": ["l"]}),
        json!({"id": 1, "result": null, "error": {"error": "timed out", "details": "x"}}),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|real| json!(real)),
        "[a-z\u{0}\"\\\\é]{0,4}".prop_map(Value::from),
        prop_oneof![
            "set",
            "map",
            "uuid",
            "named-uuid",
            "==",
            "includes",
            "A",
            "name",
            "_uuid",
            "insert"
        ]
        .prop_map(Value::from),
        Just(json!(UUID)),
        Just(json!(["set", []])),
        Just(json!(["map", []])),
        Just(json!(["uuid", UUID])),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{0,5}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// How many pieces a message has.
fn pieces(json: &Value) -> usize {
    1 + match json {
        Value::Array(elements) => elements.iter().map(pieces).sum(),
        Value::Object(members) => members.values().map(pieces).sum(),
        _ => 0,
    }
}

/// Puts something else in the place of the piece with this number.
fn replace(json: &mut Value, at: &mut usize, with: &mut Option<Value>) {
    if *at == 0 {
        if let Some(with) = with.take() {
            *json = with;
        }
        return;
    }
    *at -= 1;
    match json {
        Value::Array(elements) => elements.iter_mut().for_each(|json| replace(json, at, with)),
        Value::Object(members) => members
            .values_mut()
            .for_each(|json| replace(json, at, with)),
        _ => {}
    }
}

/// Reads the message in every way in which one of this shape can be read.
fn read(schema: &DatabaseSchema, bytes: &[u8]) {
    if let Ok(json) = serde_json::from_slice::<Value>(bytes)
        && let Ok(other) = DatabaseSchema::from_json(&json["result"])
    {
        let again = DatabaseSchema::from_json(&other.to_json()).unwrap();
        assert_eq!(again.tables.len(), other.tables.len());
        other
            .tables
            .iter()
            .for_each(|table| drop(Row::default_for(table)));
    }
    let Ok(Message::Request { method, params, .. }) = Message::parse(bytes) else {
        return;
    };
    match Request::parse(&method, params) {
        Ok(Request::Transact { operations, .. }) => {
            let read = Transaction::read(schema, &operations, &mut Uuid::nil);
            let trees: Vec<Value> = serde_json::from_str(params.get()).unwrap();
            assert_eq!(
                read,
                Transaction::from_json(schema, &trees[1..], &mut Uuid::nil)
            );
            for operation in &read.operations {
                serde_json::to_string(&operation.with(schema)).unwrap();
            }
            assert_eq!(
                read.error.is_none(),
                read.operations.len() == operations.len()
            );
        }
        Ok(Request::Monitor {
            version, tables, ..
        }) => {
            if let Ok(spec) = MonitorSpec::from_json(version, schema, &tables) {
                let text = serde_json::to_value(spec.with(schema)).unwrap();
                assert!(MonitorSpec::from_json(version, schema, &text).is_ok());
            }
        }
        Ok(Request::MonitorCondChange { tables, .. }) => {
            let all = json!({"A": [{}]});
            let spec = MonitorSpec::from_json(MonitorVersion::V2, schema, &all).unwrap();
            let _ = spec.condition_changes(schema, &tables);
        }
        Ok(_) | Err(_) => {}
    }
}

/// A session that has said everything that a session says.
fn session(schema: &Arc<DatabaseSchema>) -> Session {
    let now = Instant::now();
    let columns = (0..4).map(ColumnRef::Column);
    Session::new(
        Config {
            schema: schema.clone(),
            tables: vec![TableMonitor::new(0, columns, Condition::everything())],
            leader_only: true,
            lock: Some("l".into()),
            own_inserts: Vec::new(),
            probe_interval: Duration::from_secs(5),
            last_transaction: Uuid::nil(),
        },
        now,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nearly_right_messages_are_read_or_refused(
        number in 0usize..16,
        place in any::<prop::sample::Index>(),
        with in any_json(),
        cut in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let schema = Arc::new(DatabaseSchema::from_json(&schema()).unwrap());
        let messages = messages();
        let mut message = messages[number].clone();
        replace(&mut message, &mut place.index(pieces(&messages[number])), &mut Some(with));
        let mut bytes = message.to_string().into_bytes();
        if let Some((at, byte)) = cut {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read(&schema, &bytes);
        // The same in the middle of a session that went well until then.
        let now = Instant::now();
        let mut session = session(&schema);
        for good in [7, 8, 9] {
            if good == number {
                break;
            }
            session.receive(now, messages[good].to_string().as_bytes()).unwrap();
        }
        let _ = session.receive(now, &bytes);
        while session.next_event().is_some() {}
        session.take_output();
    }
}
