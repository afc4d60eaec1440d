//! The engine against Open vSwitch's own server: random schemas, random transactions, the same answers.
//!
//! Answers are compared up to the order of rows and the wording of errors, and after each transaction the whole
//! contents. Beside that, each transaction is undone and done again, and everything that the engine keeps besides rows
//! is recomputed. A failure names its seed.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Engine;
use crate::random::{self, Random};
use ovsdb::schema::DatabaseSchema;
use serde_json::{Value, json};
use table::Database;

/// How many random schemas a run tries; more with the environment variable `WEFT_SCHEMAS`.
const SCHEMAS: u64 = 40;
const TRANSACTIONS: usize = 60;

/// `ovsdb-server` with one database, in a directory of its own.
struct Server {
    process: Child,
    connection: UnixStream,
    /// Its files; they go with it.
    _directory: tempfile::TempDir,
}

impl Server {
    fn start(schema: &Value) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(at("schema"), schema.to_string()).expect("a file");
        run("ovsdb-tool", &["create", &at("db"), &at("schema")]);
        let process = Command::new("ovsdb-server")
            .args([
                &at("db"),
                &format!("--remote=punix:{}", at("socket")),
                &format!("--unixctl={}", at("ctl")),
            ])
            .args(["--no-chdir", "-vconsole:off", "-vsyslog:off"])
            .env("OVS_RUNDIR", directory.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("ovsdb-server starts: `cargo xtask setup` installs it");
        let connection = connect(&directory.path().join("socket"));
        Self {
            process,
            connection,
            _directory: directory,
        }
    }

    fn transact(&mut self, operations: &Value) -> Value {
        let mut params = vec![json!("Test")];
        params.extend(operations.as_array().expect("an array").iter().cloned());
        let request = json!({"method": "transact", "params": params, "id": 0});
        let connection = &mut self.connection;
        write!(connection, "{request}").expect("the server reads");
        let mut answers = serde_json::Deserializer::from_reader(connection).into_iter::<Value>();
        let answer = answers.next().expect("an answer").expect("JSON");
        assert_eq!(answer["error"], Value::Null, "{request}");
        answer["result"].clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended by itself, and then there is nothing to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect("installed: `cargo xtask setup`");
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
}

fn connect(socket: &Path) -> UnixStream {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match UnixStream::connect(socket) {
            Ok(connection) => return connection,
            Err(error) => assert!(Instant::now() < deadline, "ovsdb-server: {error}"),
        }
        std::thread::yield_now();
    }
}

/// The answer without what may differ: errors only by their names, rows and sets in order, numbers as numbers.
fn normal(answer: &Value) -> Value {
    match answer {
        Value::Number(number) => json!(number.as_f64()),
        Value::Object(fields) => match fields.get("error") {
            // Open vSwitch uses both names for a request that it cannot read.
            Some(error) if error == "unknown column" => json!({"error": "syntax error"}),
            Some(error) => json!({"error": error}),
            None => {
                let mut fields: serde_json::Map<String, Value> = fields
                    .iter()
                    .map(|(name, value)| (name.clone(), normal(value)))
                    .collect();
                if let Some(Value::Array(rows)) = fields.get_mut("rows") {
                    rows.sort_by_key(Value::to_string);
                }
                Value::Object(fields)
            }
        },
        Value::Array(elements) => {
            let mut elements: Vec<Value> = elements.iter().map(normal).collect();
            if let [Value::String(tag), Value::Array(contents)] = elements.as_mut_slice()
                && (tag == "set" || tag == "map")
            {
                contents.sort_by_key(Value::to_string);
            }
            Value::Array(elements)
        }
        other => other.clone(),
    }
}

/// The answer to these operations with one name for all that can be wrong with an operation by itself: one with two
/// faults may have either error, and Open vSwitch looks for them in another order than we.
fn reconciled(operations: &Value, answer: &Value) -> Value {
    const FAULTS: [&str; 3] = ["syntax error", "constraint violation", "duplicate uuid"];
    let mut answer = normal(answer);
    let count = operations.as_array().map_or(0, Vec::len);
    for element in answer.as_array_mut().into_iter().flatten().take(count) {
        if FAULTS.iter().any(|fault| element["error"] == *fault) {
            *element = json!({"error": "fault"});
        }
    }
    answer
}

/// Operations that read everything but versions.
fn dump(schema: &DatabaseSchema) -> Value {
    let table = |table: &ovsdb::schema::TableSchema| {
        let mut columns = vec!["_uuid"];
        columns.extend(table.columns.iter().map(|column| &*column.name));
        json!({"op": "select", "table": &*table.name, "where": [], "columns": columns})
    };
    schema.tables.iter().map(table).collect()
}

fn check_seed(seed: u64) -> usize {
    let random = &mut Random::new(seed);
    let schema_json = random::schema(random);
    let schema = Arc::new(DatabaseSchema::from_json(&schema_json).expect("a valid schema"));
    let dump = dump(&schema);
    let mut server = Server::start(&schema_json);
    let mut engine = Engine::with(Database::new(schema.clone()));
    let mut changed = 0;
    for number in 0..TRANSACTIONS {
        let operations = random::operations(random, &schema);
        let before = engine.transact(&dump);
        let theirs = server.transact(&operations);
        let ours = engine.transact(&operations);
        let context = || {
            format!(
                "seed {seed}, transaction {number}: {operations}\nschema {schema_json}\nbefore {before}\n\
                 ours {ours}\ntheirs {theirs}"
            )
        };
        assert_eq!(
            reconciled(&operations, &ours),
            reconciled(&operations, &theirs),
            "{}",
            context()
        );
        let delta = std::mem::take(&mut engine.delta);
        let after = engine.transact(&dump);
        assert_eq!(
            normal(&after),
            normal(&server.transact(&dump)),
            "{}",
            context()
        );
        engine
            .database
            .check_invariants()
            .unwrap_or_else(|error| panic!("{error}: {}", context()));
        engine
            .database
            .undo(&delta)
            .expect("the newest delta can be undone");
        assert_eq!(engine.transact(&dump), before, "{}", context());
        engine
            .database
            .check_invariants()
            .unwrap_or_else(|error| panic!("{error}: {}", context()));
        engine.database.apply(&delta).expect("and applied again");
        assert_eq!(engine.transact(&dump), after, "{}", context());
        engine
            .database
            .check_invariants()
            .unwrap_or_else(|error| panic!("{error}: {}", context()));
        changed += usize::from(!delta.is_empty());
    }
    changed
}

#[test]
fn answers_are_those_of_ovsdb_server() {
    let schemas = std::env::var("WEFT_SCHEMAS").ok();
    let schemas = schemas.map_or(SCHEMAS, |n| n.parse().expect("WEFT_SCHEMAS is a number"));
    let changed: usize = (0..schemas).map(check_seed).sum();
    // Transactions that fail compare little: enough of them must succeed and change something.
    assert!(
        changed > schemas as usize * TRANSACTIONS / 10,
        "only {changed} transactions changed anything"
    );
}
