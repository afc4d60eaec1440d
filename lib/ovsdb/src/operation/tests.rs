//! Operations and their outcomes, to and from JSON.

use serde_json::{Value, json};

use super::*;
use crate::error::{Error, ErrorKind};

fn schema() -> DatabaseSchema {
    DatabaseSchema::from_json(&json!({"name": "T", "version": "1.0.0", "tables": {
        "A": {"isRoot": true, "columns": {
            "name": {"type": "string"},
            "level": {"type": {"key": {"type": "integer", "minInteger": 0, "maxInteger": 7}}},
            "bs": {"type": {"key": {"type": "uuid", "refTable": "B"}, "min": 0, "max": "unlimited"}}}},
        "B": {"columns": {"kind": {"type": "string"}}}}}))
    .unwrap()
}

#[track_caller]
fn read(operations: &Value) -> Transaction {
    let mut next = 0;
    Transaction::from_json(&schema(), operations.as_array().unwrap(), &mut || {
        next += 1;
        Uuid::from_u128(next)
    })
}

/// Operations read from text, and from the tree of the same text.
#[track_caller]
fn read_both(operations: &str) -> Transaction {
    let params = format!("[\"T\"{operations}]");
    let (database, text) = Operations::of_transact(&params).unwrap().unwrap();
    assert_eq!(database, "T");
    let tree: Vec<Value> = serde_json::from_str(&params).unwrap();
    let mut next = 0;
    let from_text = Transaction::read(&schema(), &text, &mut || {
        next += 1;
        Uuid::from_u128(next)
    });
    assert_eq!(from_text, read(&json!(tree[1..])));
    from_text
}

#[test]
fn operations_are_read_from_text_as_from_a_tree() {
    let uuid = "00000000-0000-0000-0000-0000000000aa";
    let refers = r#"{"op":"insert","table":"A","row":{"bs":["named-uuid","b"]}}"#;
    let row = r#""table":"B","row":{}"#;
    for (definition, expected) in [
        (format!(r#"{{"op":"insert","uuid-name":"b",{row}}}"#), 3),
        // Of members that come twice, the last counts.
        (
            format!(
                r#"{{"uuid-name":3,"op":"abort","uuid":7,"op":"insert","uuid-name":"b","uuid":"{uuid}",{row}}}"#
            ),
            3,
        ),
        (
            format!(r#"{{"op":"insert","uuid-name":"b",{row},"uuid-name":3}}"#),
            0,
        ),
        (
            format!(r#"{{"op":"insert","uuid-name":"b",{row},"op":"abort"}}"#),
            0,
        ),
        // However it is written.
        (
            format!(r#" {{ "\u006fp" : "ins\u0065rt", "uuid\u002dname":"\u0062",{row}}} "#),
            3,
        ),
        // The second insert of that name is one too many.
        (
            format!(
                r#"{{"op":"insert","uuid-name":"b","uuid":"{uuid}",{row}}},{{"op":"insert","uuid-name":"b",{row}}}"#
            ),
            2,
        ),
        // These name nothing.
        (format!(r#"{{"op":"insert","uuid-name":null,{row}}}"#), 0),
        (format!(r#"{{"op":["insert"],"uuid-name":"b",{row}}}"#), 0),
        (format!(r#"[{{"op":"insert","uuid-name":"b",{row}}}]"#), 0),
        (
            r#""insert",{"op":{"op":"insert","uuid-name":"b"}}"#.to_owned(),
            0,
        ),
        ("{},null,true,-1,2.5e3,[[]]".to_owned(), 0),
        // The name is known though its insert is not reached.
        (
            format!(r#"{{"op":"foo"}},{{"op":"insert","uuid-name":"b",{row}}}"#),
            1,
        ),
    ] {
        let read = read_both(&format!(",{refers},{definition},{refers}"));
        assert_eq!(
            read.operations.len(),
            expected,
            "{definition}: {:?}",
            read.error
        );
        assert_eq!(read.error.is_none(), expected == 3, "{definition}");
    }
}

#[test]
fn what_is_no_tree_when_it_is_read_ends_the_reading() {
    // The parser keeps this member's name for itself, and reads what is in it when it makes a tree.
    let params = r#"["T",{"op":"abort"},{"$serde_json::private::RawValue":"{"},{"op":"abort"}]"#;
    let (_, operations) = Operations::of_transact(params).unwrap().unwrap();
    let read = Transaction::read(&schema(), &operations, &mut Uuid::nil);
    assert_eq!((read.operations.len(), read.asked), (1, 3));
    assert_eq!(read.error.unwrap().kind, ErrorKind::SyntaxError);
}

#[test]
fn text_that_makes_no_tree_is_refused_before_anything_is_read() {
    let deep = format!("{}{}", "[".repeat(130), "]".repeat(130));
    for (element, expected) in [
        (r#"{"op":"\ud800"}"#, "hex escape"),
        (r#"{"\ud800":1}"#, "hex escape"),
        ("1e999", "number out of range"),
        (&deep, "recursion limit exceeded"),
        ("{\"a\":[1,]}", "trailing comma"),
        ("1]2", "trailing characters"),
    ] {
        let params = format!(r#"["T",{{"op":"abort"}},{element}]"#);
        let tree = serde_json::from_str::<Vec<Value>>(&params).unwrap_err();
        assert!(tree.to_string().contains(expected), "{tree}");
        assert_eq!(
            Operations::of_transact(&params).unwrap_err().to_string(),
            format!("syntax error: transact request params: {tree}")
        );
    }
}

#[test]
fn too_many_operations_are_counted_and_not_read() {
    let transact = |first: &str, count: usize| {
        let params = format!("[{first}{}]", ",{}".repeat(count));
        Operations::of_transact(&params).map(|read| read.map(|(_, operations)| operations.len()))
    };
    assert_eq!(transact("\"T\"", MAX_OPERATIONS), Ok(Some(MAX_OPERATIONS)));
    for first in ["\"T\"", "3"] {
        let error = transact(first, MAX_OPERATIONS + 1).unwrap_err();
        assert_eq!(error.kind, ErrorKind::ResourcesExhausted);
        assert!(error.to_string().contains("1000001 operations"), "{error}");
    }
    assert_eq!(transact("3", 1), Ok(None));
    assert_eq!(transact("", 0), Ok(None));
}

#[test]
fn operations_survive_their_json_form() {
    let uuid = "00000000-0000-0000-0000-0000000000aa";
    let json = json!([
        {"op": "insert", "table": "A", "uuid": uuid, "row": {"level": 3, "name": "n"}},
        {"op": "select", "table": "A", "where": [["name", "==", "n"]], "columns": ["_uuid", "level"]},
        {"op": "update", "table": "A", "where": [], "row": {"bs": ["set", []]}},
        {"op": "mutate", "table": "A", "where": [true], "mutations": [["level", "+=", 1]]},
        {"op": "delete", "table": "A", "where": [["_uuid", "==", ["uuid", uuid]]]},
        {"op": "wait", "table": "A", "where": [], "columns": ["name"], "until": "!=", "rows": [{"name": "x"}], "timeout": 5},
        {"op": "commit", "durable": true},
        {"op": "comment", "comment": "why"},
        {"op": "assert", "lock": "l"},
        {"op": "abort"}
    ]);
    let transaction = read(&json);
    assert_eq!(transaction.error, None);
    let schema = schema();
    let printed: Vec<_> = transaction
        .operations
        .iter()
        .map(|op| op.with(&schema))
        .collect();
    assert_eq!(
        operations_to_text(&schema, &transaction.operations),
        serde_json::to_vec(&printed).unwrap()
    );
    let mut request = Vec::new();
    write_transact(&mut request, 7, &schema, &transaction.operations);
    let request: Value = serde_json::from_slice(&request).unwrap();
    let mut params = vec![json!(&*schema.name)];
    params.extend(json.as_array().unwrap().iter().cloned());
    assert_eq!(
        request,
        json!({"id": 7, "method": "transact", "params": params})
    );
    assert_eq!(serde_json::to_value(printed).unwrap(), json);
}

#[test]
fn names_may_be_used_before_they_are_defined() {
    let transaction = read(&json!([
        {"op": "insert", "table": "A", "row": {"bs": ["named-uuid", "b"]}},
        {"op": "insert", "table": "B", "uuid-name": "b", "row": {}},
    ]));
    let [
        Operation::Insert { row, .. },
        Operation::Insert { uuid, .. },
    ] = transaction.operations.as_slice()
    else {
        panic!("{transaction:?}");
    };
    assert_eq!(row[0].1, Datum::from(*uuid));
}

#[test]
fn the_first_wrong_operation_ends_the_reading() {
    for (wrong, expected) in [
        (json!({"op": "foo"}), "syntax error: No operation \"foo\""),
        (
            json!({"op": "insert", "table": "Z", "row": {}}),
            "syntax error: No table named Z.",
        ),
        (
            json!({"op": "insert", "table": "A"}),
            "syntax error: Required 'row' member is missing.",
        ),
        (
            json!({"op": "insert", "table": "A", "row": {}, "x": 1}),
            "syntax error: Member 'x' is present but not allowed here.",
        ),
        (
            json!({"op": "insert", "table": "A", "row": {"zz": 1}}),
            "unknown column: No column zz in table A.",
        ),
        (
            json!({"op": "insert", "table": "A", "row": {"level": 9}}),
            "constraint violation: column level: 9 is not in the range 0 to 7",
        ),
        (
            json!({"op": "insert", "table": "A", "row": {"bs": ["named-uuid", "q"]}}),
            "syntax error: column bs: named-uuid \"q\" is not defined by any insert",
        ),
        (
            json!({"op": "insert", "table": "A", "uuid-name": "a b", "row": {}}),
            "syntax error: Type mismatch for member 'uuid-name'.",
        ),
        (
            json!({"op": "insert", "table": "A", "uuid": "a b", "row": {}}),
            "syntax error: bad uuid",
        ),
        (
            json!({"op": "insert", "table": "B", "uuid-name": "first", "row": {}}),
            "duplicate uuid-name: This \"uuid-name\" appeared on an earlier \"insert\" operation.",
        ),
        (
            json!({"op": "update", "table": "A", "where": [], "row": {"_version": ["uuid", "x"]}}),
            "constraint violation: Cannot update immutable column _version in table A.",
        ),
        (
            json!({"op": "wait", "table": "A", "where": [], "until": "<", "rows": []}),
            "syntax error: Type mismatch for member 'until'.",
        ),
        (json!(3), "syntax error: An operation should be an object."),
    ] {
        let first = json!({"op": "insert", "table": "A", "uuid-name": "first", "row": {}});
        let transaction = read(&json!([first, wrong, {"op": "abort"}]));
        let error = Error {
            syntax: None,
            ..transaction.error.unwrap()
        };
        assert_eq!(error.to_string(), expected);
        assert_eq!((transaction.operations.len(), transaction.asked), (1, 3));
    }
}

#[test]
fn outcomes_survive_their_json_form() {
    let schema = schema();
    let uuid = Uuid::from_u128(7);
    let operations = read(&json!([
        {"op": "insert", "table": "A", "row": {}},
        {"op": "select", "table": "A", "where": [], "columns": ["name"]},
        {"op": "delete", "table": "A", "where": []},
        {"op": "comment", "comment": ""},
    ]))
    .operations;
    let done = vec![
        OpResult::Inserted(uuid),
        OpResult::Rows(vec![vec![("name".into(), "x".into())]]),
        OpResult::Count(2),
        OpResult::Empty,
    ];
    let error = Error::new(ErrorKind::Aborted, "");
    let failure = |count: usize| {
        Err(Failure {
            done: done[..count].to_vec(),
            error: error.clone(),
        })
    };
    for (outcome, length) in [(Ok(done.clone()), 4), (failure(1), 4), (failure(4), 5)] {
        let json = outcome_to_json(4, &outcome);
        assert_eq!(json.as_array().unwrap().len(), length);
        let text: Value = serde_json::from_slice(&outcome_to_text(4, &outcome)).unwrap();
        assert_eq!(text, json);
        assert_eq!(
            outcome_from_json(&schema, &operations, &json).unwrap(),
            outcome
        );
    }
    assert_eq!(outcome_to_json(4, &failure(1))[2], Value::Null);
    assert!(outcome_from_json(&schema, &operations, &json!([])).is_err());
}
