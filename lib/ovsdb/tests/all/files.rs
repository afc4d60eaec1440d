//! Files of Open vSwitch's own server, standalone and of a cluster, against what that server says is in them; and our
//! files, opened by its tools.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ovsdb::file::{self, Contents};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Datum, Row, Uuid};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A table with columns of every type and number, and two that refer to it.
fn schema() -> Value {
    let mut columns = serde_json::Map::new();
    for atomic in ["integer", "real", "boolean", "string", "uuid"] {
        let unlimited = "unlimited";
        columns.insert(format!("{atomic}_one"), json!({"type": atomic}));
        columns.insert(
            format!("{atomic}_optional"),
            json!({"type": {"key": atomic, "min": 0}}),
        );
        let any = json!({"type": {"key": atomic, "min": 0, "max": unlimited}});
        columns.insert(format!("{atomic}_any"), any);
        let some = json!({"type": {"key": atomic, "min": 1, "max": unlimited}});
        columns.insert(format!("{atomic}_some"), some);
        let map = json!({"type": {"key": "string", "value": atomic, "min": 0, "max": unlimited}});
        columns.insert(format!("{atomic}_map"), map);
        let keys = json!({"type": {"key": atomic, "value": "string", "min": 0, "max": unlimited}});
        columns.insert(format!("{atomic}_keys"), keys);
    }
    columns.insert(
        "gone".to_owned(),
        json!({"type": "string", "ephemeral": true}),
    );
    let kind = json!({"type": {"key": {"type": "string", "enum": ["set", ["a", "b"]]}}});
    columns.insert("kind".to_owned(), kind);
    let strong = json!({"type": {"key": {"type": "uuid", "refTable": "Child"}, "min": 0, "max": "unlimited"}});
    columns.insert("child".to_owned(), strong);
    json!({"name": "T", "version": "1.2.3", "tables": {
        "All": {"isRoot": true, "columns": columns},
        "Child": {"columns": {"name": {"type": "string"}}}}})
}

struct Server {
    child: Child,
    file: PathBuf,
    remote: String,
}

impl Server {
    fn start(directory: &Path, name: &str) -> Self {
        let file = directory.join(name);
        let socket = directory.join(format!("{name}.sock"));
        let child = Command::new("ovsdb-server")
            .arg(format!("--remote=punix:{}", socket.display()))
            .arg(format!(
                "--unixctl={}",
                directory.join(format!("{name}.ctl")).display()
            ))
            .arg("-vconsole:off")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let remote = format!("unix:{}", socket.display());
        run(
            "ovsdb-client",
            &["--timeout=60", "wait", &remote, "T", "connected"],
        );
        Self {
            child,
            file,
            remote,
        }
    }

    fn transact(&self, operations: &[Value]) -> Vec<Value> {
        let mut params = vec![json!("T")];
        params.extend_from_slice(operations);
        let text = Value::from(params).to_string();
        let answer = run("ovsdb-client", &["transact", &self.remote, &text]);
        let answer: Vec<Value> = serde_json::from_str(&answer).unwrap();
        assert!(
            answer.iter().all(|result| result.get("error").is_none()),
            "{answer:?}"
        );
        answer
    }

    /// What the server says is there; ephemeral columns as a file has them. A cluster has none of these: its server
    /// makes them persistent.
    fn contents(&self) -> Contents {
        let schema = run("ovsdb-client", &["get-schema", &self.remote, "T"]);
        let schema = DatabaseSchema::from_json(&serde_json::from_str(&schema).unwrap()).unwrap();
        let mut contents = Contents::empty(schema.clone());
        for (index, table) in schema.tables.iter().enumerate() {
            let select = json!({"op": "select", "table": &*table.name, "where": []});
            for found in self.transact(&[select])[0]["rows"].as_array().unwrap() {
                let mut row = Row::default_for(table);
                for (column, described) in table.columns.iter().enumerate() {
                    let value = &found[&*described.name];
                    if !described.ephemeral {
                        let datum = Datum::from_json(&described.ty, value, &mut |_| None);
                        row.set(column, datum.unwrap());
                    }
                }
                let uuid = Uuid::try_parse(found["_uuid"][1].as_str().unwrap()).unwrap();
                contents.tables[index].insert(uuid, row);
            }
        }
        contents
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What sort of server one is.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Standalone,
    Clustered,
}

/// Rows that come, change in every column and by one element, and go.
fn exercise(server: &Server, kind: Kind) {
    let uuid = |number: u128| json!(["uuid", Uuid::from_u128(number).to_string()]);
    let atoms = |atomic: &str| match atomic {
        "integer" => [json!(-7), json!(0), json!(i64::MAX)],
        "real" => [json!(-0.5), json!(1e300), json!(3.0)],
        "boolean" => [json!(true), json!(false), json!(true)],
        "string" => [json!("a \"b\"\n\u{20ac}"), json!(""), json!("z")],
        _ => [uuid(1), uuid(2), uuid(3)],
    };
    let row = |first: usize| {
        let mut row = serde_json::Map::new();
        for atomic in ["integer", "real", "boolean", "string", "uuid"] {
            let atoms = atoms(atomic);
            let [a, b] = [&atoms[first], &atoms[first + 1]];
            row.insert(format!("{atomic}_one"), a.clone());
            row.insert(format!("{atomic}_optional"), a.clone());
            row.insert(format!("{atomic}_any"), json!(["set", [a, b]]));
            row.insert(format!("{atomic}_some"), json!(["set", [a, b]]));
            row.insert(
                format!("{atomic}_map"),
                json!(["map", [["x", a], [format!("{first}"), b]]]),
            );
            row.insert(
                format!("{atomic}_keys"),
                json!(["map", [[a, "x"], [b, format!("{first}")]]]),
            );
        }
        row.insert("kind".to_owned(), json!("b"));
        row.insert("gone".to_owned(), json!("not in the file"));
        Value::Object(row)
    };
    let child = json!({"op": "insert", "table": "Child", "row": {"name": "c"}, "uuid-name": "c"});
    let mut first = row(0);
    first["child"] = json!(["named-uuid", "c"]);
    let defaults = json!({"kind": "a"});
    server.transact(&[
        child,
        json!({"op": "insert", "table": "All", "row": first}),
        json!({"op": "insert", "table": "All", "row": defaults}),
        json!({"op": "insert", "table": "All", "row": {"kind": "a", "integer_one": 99}}),
    ]);
    let where_default = json!([["integer_one", "==", 0]]);
    server.transact(&[
        json!({"op": "update", "table": "All", "where": [["integer_one", "==", -7]], "row": row(1)}),
        json!({"op": "comment", "comment": "a remark"}),
    ]);
    let mut mutations = vec![
        json!(["string_any", "insert", "new"]),
        json!(["integer_map", "insert", ["map", [["k", 1]]]]),
        json!(["integer_some", "delete", i64::MAX]),
    ];
    if kind == Kind::Standalone {
        // The server of a cluster reads its own log: there the new value takes the place of the default.
        mutations.push(json!(["string_some", "insert", "new"]));
    }
    server.transact(&[json!(
        {"op": "mutate", "table": "All", "where": where_default, "mutations": mutations}
    )]);
    server.transact(&[
        json!({"op": "update", "table": "All", "where": where_default, "row":
        {"string_any": ["set", []], "integer_map": ["map", []], "string_optional": ["set", []]}}),
    ]);
    server
        .transact(&[json!({"op": "delete", "table": "All", "where": [["integer_one", "==", 99]]})]);
}

#[test]
fn a_file_comes_to_what_the_server_says() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("schema"), schema().to_string()).unwrap();
    run("ovsdb-tool", &["create", &path("db"), &path("schema")]);
    run(
        "ovsdb-tool",
        &[
            "create-cluster",
            &path("raft"),
            &path("schema"),
            &format!("unix:{}", path("peers")),
        ],
    );
    for (name, kind) in [("db", Kind::Standalone), ("raft", Kind::Clustered)] {
        let server = Server::start(directory.path(), name);
        exercise(&server, kind);
        let expected = server.contents();
        assert_eq!(expected.row_count(), 3);
        let bytes = std::fs::read(&server.file).unwrap();
        let mut read = file::read(&bytes, &mut |_| ()).unwrap();
        // The server writes what it knows to be committed at some time later.
        read.warnings.clear();
        assert_eq!(read, expected, "{name}");
    }
}

#[test]
fn the_server_opens_what_we_write() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("schema"), schema().to_string()).unwrap();
    run("ovsdb-tool", &["create", &path("db"), &path("schema")]);
    let first = Server::start(directory.path(), "db");
    exercise(&first, Kind::Standalone);
    let contents = first.contents();
    let ours = file::write(
        &contents,
        1_700_000_000_000,
        "a remark",
        Cursor::new(Vec::new()),
    );
    std::fs::write(path("ours"), ours.unwrap().into_inner()).unwrap();
    assert!(run("ovsdb-tool", &["show-log", &path("ours")]).contains("\"a remark\""));
    assert_eq!(run("ovsdb-tool", &["db-version", &path("ours")]), "1.2.3\n");
    let second = Server::start(directory.path(), "ours");
    assert_eq!(second.contents(), contents);
    second.transact(&[json!({"op": "delete", "table": "All", "where": []})]);
    assert_eq!(second.contents().row_count(), 0);
}
