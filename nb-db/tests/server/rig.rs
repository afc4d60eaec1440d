//! A server in a directory of its own, and a client that speaks JSON-RPC by hand.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

pub const DATABASE: &str = "OVN_Northbound";

/// A running server; dropping it kills it.
pub struct Server {
    pub directory: TempDir,
    pub pid: u32,
}

/// The command that starts a server in a directory.
pub fn command(directory: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft-nb"));
    command
        .env("OVN_RUNDIR", directory)
        .env("OVN_LOGDIR", directory)
        .arg("--data-dir")
        .arg(directory.join("data"))
        .arg(format!("--listen=punix:{}", socket(directory).display()))
        .args(["--detach", "--pidfile", "--log-file"])
        .args(flags);
    command
}

pub fn socket(directory: &Path) -> PathBuf {
    directory.join("nb.sock")
}

impl Server {
    pub fn start() -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), &[])
    }

    /// Returns when the server serves.
    pub fn start_with(directory: TempDir, flags: &[&str]) -> Self {
        let output = command(directory.path(), flags).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let pid = read_pid(directory.path());
        Self { directory, pid }
    }

    /// Ends the process without any warning, and starts another one on what it left.
    pub fn crash_and_restart(&mut self) {
        self.crash_and_restart_with(&[]);
    }

    /// The same, with flags.
    pub fn crash_and_restart_with(&mut self, flags: &[&str]) {
        kill(self.pid);
        let output = command(self.directory.path(), flags).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        self.pid = read_pid(self.directory.path());
    }

    pub fn remote(&self) -> String {
        format!("unix:{}", socket(self.directory.path()).display())
    }

    pub fn connect(&self) -> Client {
        self.try_connect().unwrap()
    }

    /// `None` if the server does not listen.
    pub fn try_connect(&self) -> Option<Client> {
        let stream = UnixStream::connect(socket(self.directory.path())).ok()?;
        Some(Client::new(stream))
    }

    /// Ends the process without any warning; what it leaves.
    pub fn crash(mut self) -> TempDir {
        kill(self.pid);
        self.pid = 0;
        std::mem::replace(&mut self.directory, TempDir::new().unwrap())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("weft-nb.log")).unwrap()
    }

    /// Runs a client program against the server; it must succeed.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        let output = self.try_run(program, args);
        assert!(
            output.status.success(),
            "{program} {args:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    pub fn try_run(&self, program: &str, args: &[&str]) -> Output {
        Command::new(program)
            .env("OVN_NB_DB", self.remote())
            .env("OVN_RUNDIR", self.directory.path())
            .arg("--timeout=20")
            .args(args)
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}: is it installed?"))
    }

    pub fn control(&self, args: &[&str]) -> String {
        let socket = format!("weft-nb.{}.ctl", self.pid);
        let target = self.directory.path().join(socket);
        let output = Command::new("ovs-appctl")
            .arg("-t")
            .arg(target)
            .args(args)
            .output()
            .unwrap();
        text(&output.stdout) + &text(&output.stderr)
    }

    /// How much memory the process uses, in bytes.
    pub fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<usize>().unwrap() * 1024
    }

    /// Waits until the log says something.
    pub fn wait_for_log(&self, wanted: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let log = self.log();
            if log.contains(wanted) {
                return;
            }
            assert!(
                Instant::now() < end,
                "the log does not say {wanted:?}:\n{log}"
            );
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.pid != 0 {
            kill(self.pid);
        }
    }
}

fn read_pid(directory: &Path) -> u32 {
    let pid = std::fs::read_to_string(directory.join("weft-nb.pid")).unwrap();
    pid.trim().parse().unwrap()
}

fn kill(pid: u32) {
    // It may be gone already.
    let _ = Command::new("kill")
        .args(["-9", &pid.to_string()])
        .stderr(std::process::Stdio::null())
        .status();
    while !is_gone(pid) {
        std::thread::yield_now();
    }
}

/// Whether nothing of the process is left but an entry that nobody has collected. While other
/// threads than the first still end, its files may be open.
fn is_gone(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    stat.contains(") Z ") && threads.map_or(true, |threads| threads.count() <= 1)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A connection.
pub struct Client {
    pub stream: UnixStream,
    next_id: u64,
    buffer: Vec<u8>,
}

impl Client {
    pub fn new(stream: UnixStream) -> Self {
        let patience = Duration::from_secs(60);
        stream.set_read_timeout(Some(patience)).unwrap();
        Self {
            stream,
            next_id: 0,
            buffer: Vec::new(),
        }
    }

    /// Sends a request and waits for its answer; notifications in between are dropped. `None`
    /// when the connection ends first.
    pub fn call(&mut self, method: &str, params: &Value) -> Option<Value> {
        self.next_id += 1;
        let request = json!({"id": self.next_id, "method": method, "params": params});
        self.stream.write_all(request.to_string().as_bytes()).ok()?;
        loop {
            let message = self.receive()?;
            if message["id"] == json!(self.next_id) {
                return Some(message);
            }
        }
    }

    /// The next message.
    pub fn receive(&mut self) -> Option<Value> {
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter();
            if let Some(Ok(value)) = values.next() {
                let used = values.byte_offset();
                self.buffer.drain(..used);
                return Some(value);
            }
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
            }
        }
    }

    /// Executes operations; their results.
    pub fn transact(&mut self, operations: &[Value]) -> Option<Value> {
        let mut params = vec![json!(DATABASE)];
        params.extend_from_slice(operations);
        let mut answer = self.call("transact", &Value::Array(params))?;
        assert_eq!(answer["error"], Value::Null);
        Some(answer["result"].take())
    }
}

/// The operation that adds a switch.
pub fn insert_switch(name: &str) -> Value {
    json!({"op": "insert", "table": "Logical_Switch", "row": {"name": name}})
}

/// The names of all switches.
pub fn switches(client: &mut Client) -> std::collections::BTreeSet<String> {
    let select = json!({"op": "select", "table": "Logical_Switch", "where": [],
        "columns": ["name"]});
    let results = client.transact(&[select]).unwrap();
    let rows = results[0]["rows"].as_array().unwrap();
    let name = |row: &Value| row["name"].as_str().unwrap().to_owned();
    rows.iter().map(name).collect()
}
