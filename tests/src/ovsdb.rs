//! A small OVSDB client (RFC 7047) for measuring and for bad input: what the command-line tools cannot do, because
//! they start, ask and end, or because they are too polite.

use std::io::ErrorKind::{TimedOut, WouldBlock};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(120);

/// A connection to an OVSDB server.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    /// Read, and not yet understood.
    pending: Vec<u8>,
    /// Updates that came while something else was awaited.
    updates: Vec<Value>,
    requests: u64,
}

impl Client {
    /// Connects to a Unix socket.
    pub fn connect(socket: &Path) -> Result<Self> {
        Self::connect_within(socket, LIMIT)
    }

    /// The same, with so long a patience for every answer.
    pub fn connect_within(socket: &Path, limit: Duration) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("cannot reach {}", socket.display()))?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        Ok(Self {
            stream,
            pending: Vec::new(),
            updates: Vec::new(),
            requests: 0,
        })
    }

    /// Waits so long for what comes from now on.
    pub fn set_patience(&mut self, limit: Duration) -> Result<()> {
        Ok(self.stream.set_read_timeout(Some(limit))?)
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Sends a request without waiting for its answer.
    pub fn send(&mut self, method: &str, params: &Value) -> Result<u64> {
        self.requests += 1;
        let request = json!({"id": self.requests, "method": method, "params": params});
        self.send_raw(&serde_json::to_vec(&request)?)?;
        Ok(self.requests)
    }

    /// Sends a request and gives its result, or its error as an error.
    pub fn request(&mut self, method: &str, params: &Value) -> Result<Value> {
        let id = self.send(method, params)?;
        loop {
            let message = self.receive()?;
            if message["method"] == "update" {
                self.updates.push(message["params"][1].clone());
            } else if message["id"] == id {
                ensure!(
                    message["error"].is_null(),
                    "{method} was refused: {}",
                    message["error"]
                );
                return Ok(message["result"].clone());
            }
        }
    }

    /// Carries out operations on a database in one transaction: the result of each.
    pub fn transact(&mut self, database: &str, operations: Vec<Value>) -> Result<Vec<Value>> {
        let mut params = vec![Value::from(database)];
        params.extend(operations);
        let Value::Array(results) = self.request("transact", &Value::Array(params))? else {
            bail!("transact gives an array");
        };
        match results.iter().find(|result| result["error"].is_string()) {
            Some(error) => bail!("the transaction failed: {error}"),
            None => Ok(results),
        }
    }

    /// Begins to monitor columns of a table: its content.
    pub fn monitor(&mut self, database: &str, table: &str, columns: &[&str]) -> Result<Value> {
        self.request(
            "monitor",
            &json!([database, table, {table: {"columns": columns}}]),
        )
    }

    /// Waits for an update in which `condition` sees what it looks for.
    pub fn wait_for_update<T>(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&Value) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let update = match self.updates.is_empty() {
                false => self.updates.remove(0),
                true => match self.receive()? {
                    message if message["method"] == "update" => message["params"][1].clone(),
                    _ => continue,
                },
            };
            if let Some(seen) = condition(&update) {
                return Ok(seen);
            }
            ensure!(
                Instant::now() < deadline,
                "waited {} s for {what}",
                LIMIT.as_secs()
            );
        }
    }

    /// The next message; answers the server's own echoes on the way.
    pub fn receive(&mut self) -> Result<Value> {
        self.poll()?.context("the server does not answer")
    }

    /// The next message, if it comes in time.
    pub fn poll(&mut self) -> Result<Option<Value>> {
        loop {
            let Some(message) = self.next_value()? else {
                return Ok(None);
            };
            if message["method"] != "echo" {
                return Ok(Some(message));
            }
            let answer = json!({"id": message["id"], "result": message["params"], "error": null});
            self.send_raw(&serde_json::to_vec(&answer)?)?;
        }
    }

    fn next_value(&mut self) -> Result<Option<Value>> {
        let mut chunk = vec![0; 1 << 16];
        loop {
            let mut values =
                serde_json::Deserializer::from_slice(&self.pending).into_iter::<Value>();
            match values.next() {
                Some(Ok(value)) => {
                    let used = values.byte_offset();
                    self.pending.drain(..used);
                    return Ok(Some(value));
                }
                Some(Err(error)) if !error.is_eof() => {
                    return Err(error).context("the server sent broken JSON");
                }
                _ => {
                    let count = match self.stream.read(&mut chunk) {
                        Ok(count) => count,
                        // The system says the one or the other when time runs out.
                        Err(error) if matches!(error.kind(), WouldBlock | TimedOut) => {
                            return Ok(None);
                        }
                        Err(error) => {
                            return Err(error).context("the connection to the server broke");
                        }
                    };
                    ensure!(count > 0, "the server has closed the connection");
                    self.pending.extend_from_slice(&chunk[..count]);
                }
            }
        }
    }
}
