//! Clients that mean no good, and what others notice of them.
//!
//! Sixteen good clients make small durable transactions at fixed times, whether the server has answered the earlier
//! ones or not, and each is measured from the time at which it was due: first alone, then beside somebody hostile.
//! What the hostile client got for it is printed below the table.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rig::implementation::{Implementation, Side};

use super::Run;
use super::fleet::{Fleet, transact};
use super::servers::{Medium, Servers};
use super::table::Table;
use crate::bench::report::{Number, at_rank};

/// How many good clients there are.
const GOOD: usize = 16;
/// How many transactions they make in a second, together.
const RATE: u32 = 400;
/// For how long they are measured alone, and at least so long beside the hostile.
const TIME: Duration = Duration::from_secs(5);
/// A server that answers nothing for so long has stopped.
const STANDSTILL: Duration = Duration::from_secs(60);
/// The most operations that one transaction of ours may have, one being that which asks for durability.
const OPERATIONS: usize = 1_000_000;
/// What a client that never reads asks for: so many rows, of so many bytes.
const ROWS: (usize, usize) = (2000, 1000);
/// How many clients are idle.
const IDLE: usize = 10_000;
/// So long a hostile client tries to write or read before it looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(200);

/// Who is hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hostile {
    Inserts,
    TooMany,
    Selects,
    NeverReads,
    Idle,
    Endless,
    Deep,
    Invalid,
}

impl Hostile {
    const ALL: [Self; 8] = [
        Self::Inserts,
        Self::TooMany,
        Self::Selects,
        Self::NeverReads,
        Self::Idle,
        Self::Endless,
        Self::Deep,
        Self::Invalid,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Inserts => "a transaction of a million inserts",
            Self::TooMany => "a transaction of two million operations",
            Self::Selects => "a transaction of a million selects",
            Self::NeverReads => "a client that never reads",
            Self::Idle => "10,000 idle connections",
            Self::Endless => "messages without end",
            Self::Deep => "messages that are too deep",
            Self::Invalid => "messages that are no JSON",
        }
    }
}

/// Measures one server with each, and three members with the largest transaction.
pub fn run(run: &Run<'_>) -> Result<()> {
    let mut told = String::new();
    let mut table = Table::new(&format!(
        "Somebody hostile: {RATE} durable transactions/s of {GOOD} good clients, alone and beside, from when each was due, on disk"
    ));
    let cases = Hostile::ALL.map(|hostile| (hostile, 1));
    for (hostile, members) in cases.into_iter().chain([(Hostile::Inserts, 3)]) {
        for implementation in run.implementations() {
            // Whoever is brought to a standstill is not spared the rest.
            let got = measure(implementation, members, hostile, &mut table)
                .unwrap_or_else(|error| format!("measurement failed: {error:#}"));
            let name = name(hostile, members);
            writeln!(told, "* {implementation:?}, {name}: {got}")?;
        }
    }
    table.print();
    println!("\nWhat they got:\n\n{told}");
    Ok(())
}

fn name(hostile: Hostile, members: usize) -> String {
    match members {
        1 => hostile.name().to_owned(),
        _ => format!("three members, {}", hostile.name()),
    }
}

fn measure(
    implementation: Implementation,
    members: usize,
    hostile: Hostile,
    table: &mut Table,
) -> Result<String> {
    let servers = Servers::start(implementation, Side::Northbound, members, Medium::Disk)?;
    let leader = servers.wait_for_leader()?;
    let mut good = Good::prepare(&servers)?;
    let mut enemy = Enemy {
        hostile,
        socket: servers.socket(leader).to_owned(),
        messages: Vec::new(),
    };
    enemy.prepare(&servers, &good.rows[0])?;
    let before = servers.term(leader)?;
    let alone = good.work(|elapsed| elapsed >= TIME)?;
    let (stop, over) = (&AtomicBool::new(false), &AtomicBool::new(false));
    let (beside, got) = std::thread::scope(|scope| {
        let enemy = scope.spawn(move || {
            let got = enemy.attack(stop);
            over.store(true, Ordering::Release);
            got
        });
        // A hostile client that goes on for ever is stopped; what comes to an end is waited for.
        let beside = good.work(|elapsed| {
            let ends = !matches!(
                hostile,
                Hostile::Inserts | Hostile::TooMany | Hostile::Selects
            );
            elapsed >= TIME && (ends || over.load(Ordering::Acquire))
        });
        stop.store(true, Ordering::Release);
        let got = enemy.join().expect("an enemy does not panic");
        beside.map(|beside| (beside, got))
    })?;
    let got = got.unwrap_or_else(|error| format!("{error:#}"));
    let name = name(hostile, members);
    let mut put =
        |what: &str, number| table.put(&format!("{name}: {what}"), implementation, number);
    for (rank, share) in [("p50", 0.5), ("p99", 0.99), ("longest", 1.0)] {
        put(
            &format!("{rank} alone"),
            Number::Time(at_rank(&alone, share)),
        );
        put(
            &format!("{rank} beside"),
            Number::Time(at_rank(&beside, share)),
        );
    }
    put(
        "most memory",
        Number::Memory(servers.members[leader].peak_memory()?),
    );
    if members > 1 {
        let terms = servers.term(leader)? - before;
        put("elections", Number::Count(usize::try_from(terms)?));
    }
    Ok(got)
}

/// Clients who each change a row of their own.
struct Good {
    schema: &'static str,
    fleet: Fleet,
    rows: Vec<String>,
}

impl Good {
    fn prepare(servers: &Servers) -> Result<Self> {
        let schema = servers.schema();
        let mut fleet = servers.clients(GOOD)?;
        let mut rows = Vec::new();
        for client in 0..GOOD {
            let insert = format!(
                r#"{{"op":"insert","table":"Logical_Switch","row":{{"name":"good {client}"}}}}"#
            );
            let result = fleet.ask_value(client, transact(schema, &insert).as_bytes())?;
            let row = result[0]["uuid"][1].as_str();
            rows.push(row.context("an insert is answered with a UUID")?.to_owned());
        }
        Ok(Self {
            schema,
            fleet,
            rows,
        })
    }

    /// Works until it is over: how long each transaction took, sorted.
    fn work(&mut self, over: impl Fn(Duration) -> bool) -> Result<Vec<Duration>> {
        let mut idle: Vec<usize> = (0..GOOD).collect();
        let mut due_of = vec![Instant::now(); GOOD];
        let (mut times, mut sent) = (Vec::new(), 0);
        let began = Instant::now();
        let (mut heard, mut end) = (began, None);
        while end.is_none_or(|end| due(began, sent) < end) || idle.len() < GOOD {
            if end.is_none() && over(began.elapsed()) {
                end = Some(Instant::now());
            }
            while due(began, sent) <= end.unwrap_or_else(Instant::now)
                && let Some(client) = idle.pop()
            {
                let update = format!(
                    r#"{{"op":"update","table":"Logical_Switch","where":[["_uuid","==",["uuid","{}"]]],"row":{{"external_ids":["map",[["number","{sent}"]]]}}}}"#,
                    self.rows[client]
                );
                due_of[client] = due(began, sent);
                self.fleet
                    .send(client, transact(self.schema, &update).as_bytes())?;
                sent += 1;
            }
            let next = due(began, sent).saturating_duration_since(Instant::now());
            let limit = if idle.is_empty() { GLANCE } else { next };
            for arrival in self.fleet.receive(limit)? {
                arrival.check()?;
                heard = arrival.at;
                times.push(arrival.at - due_of[arrival.session]);
                idle.push(arrival.session);
            }
            ensure!(
                idle.len() == GOOD || heard.elapsed() < STANDSTILL,
                "no answer within {} s",
                STANDSTILL.as_secs()
            );
        }
        times.sort_unstable();
        Ok(times)
    }
}

fn due(began: Instant, number: u32) -> Instant {
    began + Duration::from_secs(1) * number / RATE
}

/// One of the hostile, with what it is going to send.
struct Enemy {
    hostile: Hostile,
    socket: PathBuf,
    messages: Vec<u8>,
}

impl Enemy {
    /// Everything that is not to be measured.
    fn prepare(&mut self, servers: &Servers, row: &str) -> Result<()> {
        let schema = servers.schema();
        match self.hostile {
            Hostile::Inserts => {
                let operations = (1..OPERATIONS).map(|number| {
                    format!(
                        r#"{{"op":"insert","table":"Logical_Switch","row":{{"name":"h{number}"}}}}"#
                    )
                });
                self.messages = transact(schema, &joined(operations)).into_bytes();
            }
            Hostile::TooMany | Hostile::Selects => {
                let count = match self.hostile {
                    Hostile::TooMany => 2 * OPERATIONS,
                    _ => OPERATIONS - 1,
                };
                let select = format!(
                    r#"{{"op":"select","table":"Logical_Switch","where":[["_uuid","==",["uuid","{row}"]]],"columns":["name"]}}"#
                );
                let operations = joined(std::iter::repeat_n(select, count));
                self.messages = transact(schema, &operations).into_bytes();
            }
            Hostile::NeverReads => {
                let padding = "x".repeat(ROWS.1);
                let operations = (0..ROWS.0).map(|number| {
                    format!(
                        r#"{{"op":"insert","table":"Logical_Switch","row":{{"name":"h{number}{padding}"}}}}"#
                    )
                });
                let insert = transact(schema, &joined(operations));
                servers.clients(1)?.ask(0, insert.as_bytes())?;
                let select = r#"{"op":"select","table":"Logical_Switch","where":[]}"#;
                self.messages = transact(schema, select).into_bytes();
            }
            Hostile::Idle | Hostile::Endless => {}
            Hostile::Deep => {
                self.messages = format!("{{\"a\":{}", "[".repeat(100_000)).into_bytes();
            }
            Hostile::Invalid => self.messages = b"{\"id\":1,]}\xff".to_vec(),
        }
        Ok(())
    }

    /// Does it: what came of it.
    fn attack(&self, stop: &AtomicBool) -> Result<String> {
        match self.hostile {
            Hostile::Inserts | Hostile::TooMany | Hostile::Selects => self.ask_once(),
            Hostile::NeverReads => self.never_read(stop),
            Hostile::Idle => self.idle(stop),
            Hostile::Endless => self.repeat(stop, |stream| {
                stream.write_all(b"{\"id\":\"")?;
                let piece = [b'x'; 1 << 20];
                while !stop.load(Ordering::Acquire) {
                    stream.write_all(&piece)?;
                }
                Ok(())
            }),
            Hostile::Deep | Hostile::Invalid => {
                self.repeat(stop, |stream| stream.write_all(&self.messages))
            }
        }
    }

    /// Sends one large transaction and waits for its answer.
    fn ask_once(&self) -> Result<String> {
        let mut fleet = Fleet::connect(&self.socket, 1)?;
        let began = Instant::now();
        fleet.send(0, &self.messages)?;
        let sent = began.elapsed();
        while began.elapsed() < STANDSTILL {
            if let Some(answer) = fleet.receive(Duration::from_secs(1))?.first() {
                let took = began.elapsed();
                let said = match answer.check() {
                    Ok(()) => "carried out".to_owned(),
                    Err(_) => complaint(&answer.frame),
                };
                return Ok(format!(
                    "{} MB, sent in {:.2} s, answered after {:.2} s: {said}",
                    self.messages.len() >> 20,
                    sent.as_secs_f64(),
                    took.as_secs_f64(),
                ));
            }
        }
        bail!("no answer")
    }

    /// Asks and asks, and reads nothing until it is over.
    fn never_read(&self, stop: &AtomicBool) -> Result<String> {
        let mut stream = self.connect()?;
        let mut left: &[u8] = &[];
        let mut asked = 0;
        while !stop.load(Ordering::Acquire) {
            if left.is_empty() {
                left = &self.messages;
                asked += 1;
            }
            match stream.write(left) {
                Ok(count) => left = &left[count..],
                Err(error) if is_timeout(&error) => {}
                Err(error) => {
                    return Ok(format!("after {asked} requests: {error}"));
                }
            }
        }
        let mut read = 0;
        let mut end = Vec::new();
        let mut chunk = vec![0; 1 << 20];
        while let Ok(count @ 1..) = stream.read(&mut chunk) {
            read += count;
            end = chunk[..count].to_vec();
        }
        Ok(format!(
            "{asked} requests taken; {} MB to read at the end, of which the last is {}",
            read >> 20,
            tail(&end)
        ))
    }

    fn idle(&self, stop: &AtomicBool) -> Result<String> {
        let mut streams = Vec::new();
        let mut said = String::new();
        for _ in 0..IDLE {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => streams.push(stream),
                Err(error) => {
                    said = error.to_string();
                    break;
                }
            }
        }
        while !stop.load(Ordering::Acquire) {
            std::thread::sleep(GLANCE);
        }
        Ok(format!("{} connected {said}", streams.len()))
    }

    /// Connects and sends again and again.
    fn repeat(
        &self,
        stop: &AtomicBool,
        send: impl Fn(&mut UnixStream) -> std::io::Result<()>,
    ) -> Result<String> {
        let (mut times, mut said) = (0, String::new());
        while !stop.load(Ordering::Acquire) {
            let mut stream = self.connect()?;
            // The server may close while we still write.
            let _broken = send(&mut stream);
            let mut answer = Vec::new();
            let _broken = stream.read_to_end(&mut answer);
            times += 1;
            if !answer.is_empty() {
                said = tail(&answer);
            }
        }
        Ok(format!("{times} times: {said}"))
    }

    fn connect(&self) -> Result<UnixStream> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(GLANCE))?;
        stream.set_write_timeout(Some(GLANCE))?;
        Ok(stream)
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}

fn joined(operations: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    for operation in operations {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&operation);
    }
    text
}

/// The error in an answer that may have as many results as there were operations.
fn complaint(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let from = text.find(r#"{"details""#).unwrap_or_default();
    let error = text[from..].split_inclusive('}').next();
    error.unwrap_or_default().to_owned()
}

/// The end of what a server said, on one line.
fn tail(said: &[u8]) -> String {
    const LONGEST: usize = 300;
    let from = said.len().saturating_sub(LONGEST);
    String::from_utf8_lossy(&said[from..]).replace('\n', " ")
}
