//! An ovsdb-server of Open vSwitch's to talk to, in a directory of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ovsdb::schema::DatabaseSchema;
use ovsdb::{Remote, Uuid};
use replica::{Client, Spec};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server process with one database.
pub struct Server {
    pub directory: TempDir,
    child: Option<Child>,
    remotes: Vec<String>,
    extra: Vec<String>,
}

impl Server {
    /// Starts a server of a fresh database with this schema.
    pub fn start(schema: &Value) -> Self {
        let mut server = Self::with_database(schema, |database, schema| {
            run("ovsdb-tool", &["create", text(database), text(schema)]);
        });
        server.run();
        server
    }

    /// A server whose database file `make` creates from the schema's file.
    fn with_database(schema: &Value, make: impl FnOnce(&Path, &Path)) -> Self {
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("db.sock");
        let server = Self {
            remotes: vec![format!("punix:{}", socket.display())],
            directory,
            child: None,
            extra: Vec::new(),
        };
        let file = server.path("db.ovsschema");
        std::fs::write(&file, schema.to_string()).unwrap();
        make(&server.path("db"), &file);
        server
    }

    /// Serves TLS on a port of its choice too, and gives the port.
    pub fn listen_tls(&mut self, key: &Path, certificate: &Path, ca: &Path) -> u16 {
        self.kill();
        self.remotes.push("pssl:0:127.0.0.1".to_owned());
        self.extra = vec![
            format!("--private-key={}", key.display()),
            format!("--certificate={}", certificate.display()),
            format!("--ca-cert={}", ca.display()),
        ];
        self.run();
        let log = std::fs::read_to_string(self.path("log")).unwrap();
        let line = log
            .lines()
            .rfind(|line| line.contains("listening on port"))
            .unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn remote(&self) -> Remote {
        format!("unix:{}", self.path("db.sock").display())
            .parse()
            .unwrap()
    }

    /// Starts the process and waits until it serves.
    pub fn run(&mut self) {
        let mut command = Command::new("ovsdb-server");
        for remote in &self.remotes {
            command.arg(format!("--remote={remote}"));
        }
        command
            .args(&self.extra)
            .arg(format!("--unixctl={}", self.path("ctl").display()))
            .arg(format!("--log-file={}", self.path("log").display()))
            .arg("-vconsole:off")
            .arg(self.path("db"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        run(
            "ovsdb-client",
            &["wait", &self.remote().to_string(), "T", "connected"],
        );
    }

    /// Ends the process at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let _ = std::fs::remove_file(self.path("db.sock"));
    }

    /// Executes operations through Open vSwitch's own client.
    pub fn transact(&self, operations: &[Value]) -> Value {
        let mut params = vec![json!("T")];
        params.extend_from_slice(operations);
        let text = Value::Array(params).to_string();
        let output = run(
            "ovsdb-client",
            &["transact", &self.remote().to_string(), &text],
        );
        serde_json::from_str(&output).unwrap()
    }

    pub fn insert(&self, table: &str, row: &Value) -> Uuid {
        let result = self.transact(&[json!({"op": "insert", "table": table, "row": row})]);
        result[0]["uuid"][1].as_str().unwrap().parse().unwrap()
    }

    /// A connected client of all tables.
    pub async fn client(&self, schema: &Value) -> Client {
        Client::connect(self.spec(schema), Some(PATIENCE), true)
            .await
            .unwrap()
    }

    pub fn spec(&self, schema: &Value) -> Spec {
        Spec::new(parsed(schema), vec![self.remote()])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A cluster of three.
pub fn cluster(schema: &Value) -> Vec<Server> {
    let mut members: Vec<Server> = Vec::new();
    let raft = |server: &Path| format!("unix:{}", server.with_file_name("raft.sock").display());
    for _ in 0..3 {
        let first = members.first().map(|first| raft(&first.path("db")));
        let mut member = Server::with_database(schema, |database, schema| {
            let own = raft(database);
            match &first {
                None => run(
                    "ovsdb-tool",
                    &["create-cluster", text(database), text(schema), &own],
                ),
                Some(first) => run(
                    "ovsdb-tool",
                    &["join-cluster", text(database), "T", &own, first],
                ),
            };
        });
        member.run();
        members.push(member);
    }
    members
}

pub fn parsed(schema: &Value) -> Arc<DatabaseSchema> {
    Arc::new(DatabaseSchema::from_json(schema).unwrap())
}

/// The schema of most tests.
pub fn schema() -> Value {
    json!({"name": "T", "version": "1.0.0", "tables": {
        "A": {"isRoot": true, "indexes": [["name"]], "columns": {
            "bs": {"type": {"key": {"type": "uuid", "refTable": "B"}, "min": 0, "max": "unlimited"}},
            "level": {"type": "integer"},
            "map": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
            "name": {"type": "string"},
            "opt": {"type": {"key": "integer", "min": 0}},
            "set": {"type": {"key": "integer", "min": 0, "max": "unlimited"}}}},
        "B": {"columns": {"kind": {"type": {"key": {"type": "string", "enum": ["set", ["x", "y"]]}}}}}}})
}

pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
