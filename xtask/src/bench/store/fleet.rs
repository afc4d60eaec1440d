//! OVSDB clients by the hundred in one thread: what the databases are put under load with.
//!
//! Messages are sent as they were prepared, and answers are cut off the stream and looked at only as far as a
//! measurement needs them, so that on a machine of few cores the clients do not measure themselves.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ovsdb::framing::{FrameLimits, Framer};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use serde_json::Value;

/// How long an answer may take: the largest transactions and the first content of a monitor.
const LIMIT: Duration = Duration::from_secs(300);

/// Connections to one server.
pub struct Fleet {
    poller: OwnedFd,
    ready: Vec<epoll::Event>,
    sessions: Vec<Session>,
    chunk: Vec<u8>,
}

struct Session {
    stream: UnixStream,
    framer: Framer,
    received: u64,
    /// When something was last read.
    at: Instant,
}

/// A message that came.
pub struct Arrival {
    /// To which session.
    pub session: usize,
    /// When it was read.
    pub at: Instant,
    /// The message.
    pub frame: Vec<u8>,
}

impl Arrival {
    /// Whether it is an answer, as opposed to an update.
    pub fn is_answer(&self) -> bool {
        !contains(&self.frame, b"\"method\":\"")
    }

    /// An error if it is an answer that says that something failed.
    pub fn check(&self) -> Result<()> {
        let failed =
            contains(&self.frame, b"\"error\":\"") || contains(&self.frame, b"\"error\":{");
        ensure!(!failed, "{}", String::from_utf8_lossy(&self.frame));
        Ok(())
    }
}

impl Fleet {
    /// Connects so many times.
    pub fn connect(socket: &Path, sessions: usize) -> Result<Self> {
        let poller = epoll::create(CreateFlags::CLOEXEC)?;
        let mut fleet = Self {
            poller,
            ready: Vec::with_capacity(1024),
            sessions: Vec::new(),
            chunk: vec![0; 1 << 18],
        };
        for number in 0..sessions {
            let stream = UnixStream::connect(socket)
                .with_context(|| format!("cannot reach {}", socket.display()))?;
            let data = EventData::new_u64(number as u64);
            epoll::add(&fleet.poller, &stream, data, EventFlags::IN)?;
            fleet.sessions.push(Session {
                stream,
                framer: Framer::new(FrameLimits::CLIENT),
                received: 0,
                at: Instant::now(),
            });
        }
        Ok(fleet)
    }

    /// How many bytes a session has ever received.
    pub fn received(&self, session: usize) -> u64 {
        self.sessions[session].received
    }

    /// Sends a message.
    pub fn send(&mut self, session: usize, message: &[u8]) -> Result<()> {
        // Blocking: servers read what they are sent, and a large transaction has nothing to overtake.
        self.sessions[session]
            .stream
            .write_all(message)
            .context("the server does not read")
    }

    /// Waits for messages, at most so long, and gives all that there are.
    pub fn receive(&mut self, limit: Duration) -> Result<Vec<Arrival>> {
        let mut readable = Vec::new();
        self.read(limit, &mut readable)?;
        self.arrivals(&readable)
    }

    /// The same; but as long as messages keep coming, they are read and not looked at: for the time at which the last
    /// of many comes.
    pub fn receive_many(&mut self, limit: Duration) -> Result<Vec<Arrival>> {
        let mut readable = Vec::new();
        self.read(limit, &mut readable)?;
        while readable.len() < self.sessions.len() && self.read(Duration::ZERO, &mut readable)? {}
        self.arrivals(&readable)
    }

    /// Waits until something can be read, at most so long, and reads from each session once. False if there was nothing.
    fn read(&mut self, limit: Duration, readable: &mut Vec<usize>) -> Result<bool> {
        let limit = Timespec::try_from(limit)?;
        self.ready.clear();
        match epoll::wait(&self.poller, spare_capacity(&mut self.ready), Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &self.ready {
            let number = usize::try_from(event.data.u64())?;
            let session = &mut self.sessions[number];
            let count = match session.stream.read(&mut self.chunk) {
                Ok(0) => bail!("the server has closed a connection"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("the server has broken a connection"),
            };
            session.at = Instant::now();
            session.received += count as u64;
            session.framer.push(&self.chunk[..count]);
            readable.push(number);
        }
        Ok(!self.ready.is_empty())
    }

    /// The messages that these sessions have read.
    fn arrivals(&mut self, readable: &[usize]) -> Result<Vec<Arrival>> {
        let mut arrivals = Vec::new();
        for &number in readable {
            let session = &mut self.sessions[number];
            while let Some(frame) = session.framer.next_frame()? {
                arrivals.push(Arrival {
                    session: number,
                    at: session.at,
                    frame: frame.to_vec(),
                });
            }
        }
        Ok(arrivals)
    }

    /// Sends a request and waits for its answer, which must not be an error; updates on the way are passed over.
    pub fn ask(&mut self, session: usize, message: &[u8]) -> Result<Arrival> {
        self.send(session, message)?;
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            for arrival in self.receive(Duration::from_secs(1))? {
                if arrival.session == session && arrival.is_answer() {
                    arrival.check()?;
                    return Ok(arrival);
                }
            }
        }
        bail!("no answer within {} s", LIMIT.as_secs())
    }

    /// [`Fleet::ask`], for the result.
    pub fn ask_value(&mut self, session: usize, message: &[u8]) -> Result<Value> {
        let mut answer: Value = serde_json::from_slice(&self.ask(session, message)?.frame)?;
        Ok(answer["result"].take())
    }
}

/// A request that carries out operations, given as the elements of a JSON array, and is on disk when it is answered.
pub fn transact(database: &str, operations: &str) -> String {
    format!(
        r#"{{"id":1,"method":"transact","params":["{database}",{operations},{{"op":"commit","durable":true}}]}}"#
    )
}

fn contains(frame: &[u8], wanted: &[u8]) -> bool {
    let (first, rest) = (wanted[0], &wanted[1..]);
    let mut left = frame;
    while let Some(place) = left.iter().position(|byte| *byte == first) {
        left = &left[place + 1..];
        if left.starts_with(rest) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_updates_and_failures_are_told_apart() {
        for (frame, is_answer, is_good) in [
            (
                r#"{"error":null,"id":1,"result":[{"uuid":["uuid","x"]},{}]}"#,
                true,
                true,
            ),
            (
                r#"{"id":1,"error":null,"result":[{"error":"timed out"}]}"#,
                true,
                false,
            ),
            (
                r#"{"id":1,"error":{"error":"x"},"result":null}"#,
                true,
                false,
            ),
            (r#"{"id":null,"method":"update3","params":[]}"#, false, true),
        ] {
            let frame = frame.as_bytes().to_vec();
            let arrival = Arrival {
                session: 0,
                at: Instant::now(),
                frame,
            };
            assert_eq!(
                (arrival.is_answer(), arrival.check().is_ok()),
                (is_answer, is_good)
            );
        }
    }
}
