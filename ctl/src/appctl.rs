//! The control sockets of daemons, asked as `ovs-appctl` asks them: a command with its words, and the text that it prints.

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// No answer is longer.
const MOST_BYTES: usize = 1 << 30;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "{socket}: could not connect to {tool} daemon ({error}); unset {variable} to avoid using daemon"
    )]
    Connect {
        /// The control socket.
        socket: String,
        /// The tool.
        tool: &'static str,
        /// The environment variable that may have named the socket.
        variable: &'static str,
        /// Why.
        error: String,
    },
    /// The connection broke, or what came over it makes no sense.
    #[error("{socket}: {tool} daemon: {error}")]
    Broken {
        /// The control socket.
        socket: String,
        /// The tool.
        tool: &'static str,
        /// Why.
        error: String,
    },
    /// The line failed, in the daemon's words.
    #[error("{0}")]
    Failed(String),
    /// The time that the user gave is over.
    #[error("the time given with --timeout is over")]
    Timeout,
}

/// Which daemon: its socket, and for messages the tool and the variable that may have named the socket.
#[derive(Clone, Debug)]
pub struct Target {
    /// The control socket.
    pub socket: String,
    /// The tool.
    pub tool: &'static str,
    /// The environment variable.
    pub variable: &'static str,
}

impl Target {
    /// Has a daemon run these words, and gives what they print.
    ///
    /// # Errors
    /// When the daemon cannot be reached, the line fails, or the time is over.
    pub fn run(&self, words: &[String], timeout: Option<Duration>) -> Result<String, ClientError> {
        self.ask("run", words, timeout)
    }

    /// Gives a daemon a command of its control socket, and gives what it answers.
    ///
    /// # Errors
    /// When the daemon cannot be reached, the command fails, or the time is over.
    pub fn ask(
        &self,
        command: &str,
        words: &[String],
        timeout: Option<Duration>,
    ) -> Result<String, ClientError> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut stream =
            socket::connect_now(Path::new(&self.socket)).map_err(|error| ClientError::Connect {
                socket: self.socket.clone(),
                tool: self.tool,
                variable: self.variable,
                error: bare(&error),
            })?;
        let request = json!({"id": 0, "method": command, "params": words});
        let broken = |error: String| ClientError::Broken {
            socket: self.socket.clone(),
            tool: self.tool,
            error,
        };
        stream
            .write_all(request.to_string().as_bytes())
            .map_err(|error| broken(bare(&error)))?;
        let mut reply = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(ClientError::Timeout);
                }
                stream
                    .set_read_timeout(Some(left))
                    .map_err(|error| broken(bare(&error)))?;
            }
            match stream.read(&mut buffer) {
                Ok(0) => return Err(broken("it closed the connection".to_owned())),
                Ok(count) => reply.extend_from_slice(&buffer[..count]),
                Err(error) if is_timeout(&error) => return Err(ClientError::Timeout),
                Err(error) => return Err(broken(bare(&error))),
            }
            if reply.len() > MOST_BYTES {
                return Err(broken(format!(
                    "its answer has more than {MOST_BYTES} bytes"
                )));
            }
            // A reply ends with a brace; parsing what cannot be complete would cost its length each time.
            if reply.ends_with(b"}")
                && let Ok(reply) = serde_json::from_slice::<Value>(&reply)
            {
                return match (&reply["result"], &reply["error"]) {
                    (_, Value::String(error)) => {
                        Err(ClientError::Failed(error.trim_end_matches('\n').to_owned()))
                    }
                    (Value::String(text), _) => Ok(text.clone()),
                    _ => Ok(String::new()),
                };
            }
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error.kind(), TimedOut | WouldBlock)
}

/// The reason without the number that Rust adds to it.
fn bare(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_listens() {
        let target = Target {
            socket: "/nowhere.ctl".to_owned(),
            tool: "ovn-nbctl",
            variable: "OVN_NB_DAEMON",
        };
        let error = target.run(&[], None).expect_err("there is no such socket");
        assert_eq!(
            error.to_string(),
            "/nowhere.ctl: could not connect to ovn-nbctl daemon (No such file or directory); unset OVN_NB_DAEMON to \
             avoid using daemon"
        );
    }
}
