//! What we say of changes, against what Open vSwitch's own server says of the same changes.
//!
//! The test makes random transactions. From the server's `update` notifications it knows the rows before and after;
//! from these our monitors make all three kinds of updates, under conditions and choices of events. The server is asked
//! for the same, and every notification must be equal, as JSON.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ovsdb::framing::{FrameLimits, Framer};
use ovsdb::jsonrpc::{self, Message};
use ovsdb::monitor::{MonitorSpec, MonitorVersion};
use ovsdb::schema::DatabaseSchema;
use ovsdb::update::{ReadPlan, TableUpdates};
use ovsdb::{Row, RowChange, Uuid};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tempfile::TempDir;

struct Server {
    child: Child,
    directory: TempDir,
}

impl Server {
    fn start(schema: &Value) -> Self {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("schema"), schema.to_string()).unwrap();
        let created = Command::new("ovsdb-tool")
            .arg("create")
            .arg(path("db"))
            .arg(path("schema"))
            .status();
        assert!(created.unwrap().success());
        let child = Command::new("ovsdb-server")
            .arg(format!("--remote=punix:{}", path("sock").display()))
            .arg(format!("--unixctl={}", path("ctl").display()))
            .arg("-vconsole:off")
            .arg(path("db"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let remote = format!("unix:{}", path("sock").display());
        let waited = Command::new("ovsdb-client")
            .args(["wait", &remote, "T", "connected"])
            .status();
        assert!(waited.unwrap().success());
        Self { child, directory }
    }

    fn connect(&self) -> Peer {
        let stream = UnixStream::connect(self.directory.path().join("sock")).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        Peer {
            stream,
            framer: Framer::new(FrameLimits::CLIENT),
            received: VecDeque::new(),
            next_id: 0,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection.
struct Peer {
    stream: UnixStream,
    framer: Framer,
    /// Notifications: method and parameters.
    received: VecDeque<(String, Vec<Value>)>,
    next_id: u64,
}

impl Peer {
    /// The result of a request; notifications that come before it are kept.
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.next_id += 1;
        self.stream
            .write_all(&jsonrpc::request(&json!(self.next_id), method, params))
            .unwrap();
        loop {
            while let Some(frame) = self.framer.next_frame().unwrap() {
                match Message::parse(frame).unwrap() {
                    Message::Notification { method, params } => {
                        let params = serde_json::from_str(params.get()).unwrap();
                        self.received.push_back((method.into_owned(), params));
                    }
                    Message::Response { id, result } if id == self.next_id => {
                        return serde_json::from_str(result.unwrap().get()).unwrap();
                    }
                    other => panic!("{other:?}"),
                }
            }
            let mut buffer = [0; 4096];
            let count = self.stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the server closed the connection");
            self.framer.push(&buffer[..count]);
        }
    }
}

/// A small generator of random numbers, so that a seed tells the whole run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn set(&mut self) -> Value {
        let elements: Vec<u64> = (0..5).filter(|_| self.below(3) == 0).collect();
        json!(["set", elements])
    }

    fn row(&mut self) -> Value {
        let mut row = json!({});
        if self.below(2) == 0 {
            row["level"] = json!(self.below(6));
        }
        if self.below(2) == 0 {
            row["name"] = json!(["", "a", "b\"\\\u{e9}"][self.below(3) as usize]);
        }
        if self.below(2) == 0 {
            row["opt"] = if self.below(3) == 0 {
                json!(["set", []])
            } else {
                json!(self.below(3))
            };
        }
        if self.below(2) == 0 {
            row["set"] = self.set();
        }
        if self.below(2) == 0 {
            let pairs: Vec<Value> = (0..4)
                .filter(|_| self.below(2) == 0)
                .collect::<Vec<u64>>()
                .into_iter()
                .map(|key| json!([format!("k{key}"), self.below(2) == 0]))
                .collect();
            row["map"] = json!(["map", pairs]);
        }
        if self.below(3) == 0 {
            row["ratio"] = json!(self.below(4) as f64 / 2.0);
        }
        row
    }

    fn operation(&mut self) -> Value {
        let table = ["A", "B"][self.below(2) as usize];
        let condition = json!([["level", "==", self.below(6)]]);
        match self.below(4) {
            0 | 1 => json!({"op": "insert", "table": table, "row": self.row()}),
            2 => json!({"op": "update", "table": table, "where": condition, "row": self.row()}),
            _ => json!({"op": "delete", "table": table, "where": condition}),
        }
    }
}

fn schema() -> Value {
    let columns = json!({
        "level": {"type": "integer"},
        "map": {"type": {"key": "string", "value": "boolean", "min": 0, "max": "unlimited"}},
        "name": {"type": "string"},
        "opt": {"type": {"key": "integer", "min": 0}},
        "ratio": {"type": "real"},
        "set": {"type": {"key": "integer", "min": 0, "max": "unlimited"}}});
    json!({"name": "T", "version": "1.0.0", "tables": {"A": {"columns": columns}, "B": {"columns": columns}}})
}

/// A monitor that the server has, and what we would make of the same changes.
struct Watched {
    name: String,
    spec: MonitorSpec,
}

#[test]
fn our_updates_are_the_servers() {
    use MonitorVersion::{V1, V2, V3};
    let json = schema();
    let schema = Arc::new(DatabaseSchema::from_json(&json).unwrap());
    let server = Server::start(&json);
    let mut peer = server.connect();
    let all = ["level", "map", "name", "opt", "ratio", "set"];
    let above = json!([["level", ">", 2]]);
    let either = json!([
        ["opt", "==", 1],
        ["set", "includes", 3],
        ["map", "includes", ["map", [["k1", true]]]]
    ]);
    let quiet = json!({"initial": false, "insert": false});
    let requests = [
        (
            V1,
            json!({"A": [{"columns": all}], "B": [{"columns": all}]}),
        ),
        (
            V1,
            json!({"A": [{"columns": ["name"], "select": {"modify": false}},
                          {"columns": ["opt", "set"], "select": quiet}]}),
        ),
        (
            V1,
            json!({"B": [{"columns": ["level"], "select": {"delete": false}}]}),
        ),
        (
            V2,
            json!({"A": [{"columns": all}], "B": [{"columns": all}]}),
        ),
        (
            V2,
            json!({"A": [{"columns": ["name", "set"], "where": above}], "B": [{"columns": ["map"], "where": either}]}),
        ),
        (
            V3,
            json!({"A": [{"columns": all, "where": either}], "B": [{"columns": ["opt"], "where": [false]}]}),
        ),
        (
            V3,
            json!({"A": [{"columns": ["ratio", "map"], "where": above, "select": {"modify": false}}]}),
        ),
    ];
    let mut random = Random(20261120);
    for _ in 0..10 {
        let operations: Vec<Value> = (0..3).map(|_| random.operation()).collect();
        transact(&mut peer, operations);
    }
    let mut watched = Vec::new();
    for (index, (version, tables)) in requests.into_iter().enumerate() {
        let name = format!("m{index}");
        let spec = MonitorSpec::from_json(version, &schema, &tables).unwrap();
        let mut params = vec![json!("T"), json!(name), tables];
        params.extend((version == V3).then(|| json!(Uuid::nil())));
        let mut initial = peer.call(version.request(), &Value::Array(params));
        if version == V3 {
            initial = initial[2].take();
        }
        watched.push((Watched { name, spec }, initial));
    }
    // The first monitor sees everything, so it tells what the rows are.
    let mut rows: BTreeMap<(usize, Uuid), Arc<Row>> = BTreeMap::new();
    follow(&schema, &mut rows, &watched[0].1);
    for (monitor, initial) in &watched {
        let ours = monitor.spec.initial(&schema, |table| {
            let rows = rows.iter().filter(|((other, _), _)| *other == table.table);
            rows.map(|((_, uuid), row)| (*uuid, &**row))
                .collect::<Vec<_>>()
        });
        assert_eq!(
            &serde_json::to_value(ours.with(&schema)).unwrap(),
            initial,
            "{}",
            monitor.name
        );
    }
    for round in 0..2000 {
        let count = random.below(4) + 1;
        let operations: Vec<Value> = (0..count).map(|_| random.operation()).collect();
        transact(&mut peer, operations.clone());
        let mut told: BTreeMap<String, (String, Value)> = BTreeMap::new();
        for (method, mut params) in peer.received.drain(..) {
            let mut updates = params.pop().unwrap();
            drop_empty(&mut updates);
            told.insert(params[0].as_str().unwrap().to_owned(), (method, updates));
        }
        let everything = told
            .get("m0")
            .map_or(json!({}), |(_, updates)| updates.clone());
        let changes = follow(&schema, &mut rows, &everything);
        told.retain(|_, (_, updates)| *updates != json!({}));
        for (monitor, _) in &watched {
            let ours = monitor.spec.updates(&schema, &changes);
            let ours =
                (!ours.is_empty()).then(|| serde_json::to_value(ours.with(&schema)).unwrap());
            let place = format!("round {round}, {}: {operations:?}", monitor.name);
            match (ours, told.remove(&monitor.name)) {
                (None, None) => {}
                (Some(ours), Some((method, theirs))) => {
                    assert_eq!(method, monitor.spec.version.update(), "{place}");
                    assert_eq!(ours, theirs, "{place}");
                }
                (ours, theirs) => panic!("{place}: we say {ours:?}, the server says {theirs:?}"),
            }
        }
    }
    assert!(rows.len() > 3, "the run should leave something to compare");
}

/// Drops what tells nothing. Of a row that changed in columns of which the monitor does not want to know changes, the
/// server says that it changed, with no column.
fn drop_empty(updates: &mut Value) {
    let tables = updates.as_object_mut().unwrap();
    tables.retain(|_, rows| {
        let rows = rows.as_object_mut().unwrap();
        rows.retain(|_, update| {
            let changed = update.get("old").is_some() && update.get("new").is_some();
            !(changed && update["old"] == json!({}) || update.get("modify") == Some(&json!({})))
        });
        !rows.is_empty()
    });
}

fn transact(peer: &mut Peer, operations: Vec<Value>) {
    let mut params = vec![json!("T")];
    params.extend(operations);
    let results = peer.call("transact", &Value::Array(params));
    assert!(!results.to_string().contains("\"error\""), "{results}");
}

/// Applies what a monitor of everything is told, and gives it as changes.
fn follow(
    schema: &DatabaseSchema,
    rows: &mut BTreeMap<(usize, Uuid), Arc<Row>>,
    updates: &Value,
) -> Vec<RowChange> {
    let plan = ReadPlan::between(schema, schema);
    let updates = TableUpdates::from_json(&plan, &to_raw_value(updates).unwrap()).unwrap();
    let mut changes = Vec::new();
    for (table, updates) in updates.tables {
        let defaults = Row::default_for(&schema.tables[table]);
        for (uuid, update) in updates {
            let old = rows.remove(&(table, uuid));
            let new = update.apply(&defaults, old.as_deref()).map(Arc::new);
            if let Some(new) = &new {
                rows.insert((table, uuid), new.clone());
            }
            changes.push(RowChange {
                table,
                uuid,
                old,
                new,
            });
        }
    }
    changes
}
