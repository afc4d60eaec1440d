//! What clients do: registers that are read, written, added to and swapped, and a trace of every write.
//!
//! A register is a row of `BFD`, its value that row's `min_tx`; these columns are integers that nothing interprets
//! here. Whoever writes one inserts in the same transaction a row into `DNS`, which has no index, with the number of the
//! operation: so that it shows whether, and how often, it was applied. One register is the epoch, on which every write
//! depends: what an earlier round has left on its way fails.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use sim::linearizable::Operation;
use sim::random::Random;

use super::check::{Rows, value};
use super::door::{Answer, Door, Grpc, Ovsdb};
use super::watcher::Place;

/// How many registers there are.
pub const REGISTERS: usize = 8;
/// The name of the register that is the epoch.
pub const EPOCH: &str = "epoch";
/// The longest pause of a client between two operations: as much history as can be checked.
const LONGEST_PAUSE_MS: u64 = 12;
/// How long a client that may repeat itself does so, once the others have ended.
const LAST_PATIENCE: Duration = Duration::from_secs(30);

/// Numbers of operations; those of a process are unique.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// What is to be done to a register.
#[derive(Clone, Copy, Debug)]
pub enum Wish {
    /// Its value is wanted.
    Read,
    /// It is to be overwritten.
    Write(i64),
    /// One is to be added.
    Add,
    /// If it has the first value, it is to be given the second.
    Swap(i64, i64),
}

/// What a client did, and what it was told.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Of the operation.
    pub number: u64,
    /// On which register.
    pub register: usize,
    /// What was asked for.
    pub wish: Wish,
    /// When it was asked for, in microseconds of the round.
    pub asked: u64,
    /// When it was answered, and what that says. Without an answer it may have happened or not.
    pub answer: Option<(u64, Operation)>,
}

/// What all threads of a round share.
#[derive(Debug)]
pub struct Load {
    epoch: i64,
    began: Instant,
    answers: Vec<AtomicU64>,
    /// The clients are to end.
    pub work_is_over: AtomicBool,
    /// Whoever watches is to end when it has these rows; at once, if there are none.
    pub show_is_over: Mutex<Option<Option<Rows>>>,
}

impl Load {
    /// For so many clients.
    pub fn new(epoch: i64, clients: usize) -> Self {
        Self {
            epoch,
            began: Instant::now(),
            answers: (0..clients).map(|_| AtomicU64::new(0)).collect(),
            work_is_over: AtomicBool::new(false),
            show_is_over: Mutex::new(None),
        }
    }

    /// How many operations of each client were answered.
    pub fn answers(&self) -> Vec<u64> {
        self.answers
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect()
    }

    /// Adds to a register through the member with that socket, once.
    pub fn add_once(&self, socket: &Path) -> Record {
        let mut record = self.begin(0, Wish::Add);
        if let Ok(mut door) = Ovsdb::open(socket) {
            let answer = door.transact(record.number, &self.operations(&record));
            self.note(&mut record, answer);
        }
        record
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    fn begin(&self, register: usize, wish: Wish) -> Record {
        Record {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            register,
            wish,
            asked: self.now(),
            answer: None,
        }
    }

    /// Keeps what an answer says; whether it says anything.
    fn note(&self, record: &mut Record, answer: Answer) -> bool {
        let operation = match answer {
            Answer::Results(results) => record.understand(&results),
            Answer::Unknown => None,
        };
        record.answer = operation.map(|operation| (self.now(), operation));
        record.answer.is_some()
    }

    fn operations(&self, record: &Record) -> Vec<Value> {
        let named = json!([["logical_port", "==", register(record.register)]]);
        let wait = |row: &Value, value: i64| {
            json!({"op": "wait", "table": "BFD", "where": row, "columns": ["min_tx"], "timeout": 0,
                "until": "==", "rows": [{"min_tx": value}]})
        };
        let select = json!({"op": "select", "table": "BFD", "where": named, "columns": ["logical_port", "min_tx"]});
        let update = |value: i64| json!({"op": "update", "table": "BFD", "where": named, "row": {"min_tx": value}});
        let change = match record.wish {
            Wish::Read => return vec![select],
            Wish::Write(new) => vec![update(new)],
            Wish::Add => {
                vec![
                    json!({"op": "mutate", "table": "BFD", "where": named, "mutations": [["min_tx", "+=", 1]]}),
                ]
            }
            Wish::Swap(old, new) => vec![wait(&named, old), update(new)],
        };
        let mut operations = vec![wait(&json!([["logical_port", "==", EPOCH]]), self.epoch)];
        operations.extend(change);
        operations.push(select);
        let ids = json!(["map", [["operation", record.number.to_string()]]]);
        operations.push(json!({"op": "insert", "table": "DNS", "row": {"external_ids": ids}}));
        operations
    }
}

impl Record {
    /// What the results of its transaction say has happened, if they say it.
    fn understand(&self, results: &[Value]) -> Option<Operation> {
        let failed = results
            .iter()
            .position(|result| result["error"].is_string());
        if let Some(at) = failed {
            // The first wait is for the epoch, the second for the old value.
            return match self.wish {
                Wish::Swap(old, _) if at == 1 && results[at]["error"] == "timed out" => {
                    Some(Operation::NoSwap(old))
                }
                _ => None,
            };
        }
        let seen = results
            .iter()
            .find_map(|result| value(&result["rows"], &register(self.register)));
        match self.wish {
            Wish::Read => seen.map(Operation::Read),
            Wish::Write(new) => Some(Operation::Write(new)),
            Wish::Add => Some(Operation::Add(seen)),
            Wish::Swap(old, new) => Some(Operation::Swap(old, new)),
        }
    }
}

/// A client that works until it is told to stop.
#[derive(Debug)]
pub struct Worker<'a> {
    number: usize,
    random: Random,
    places: &'a [Place],
    load: &'a Load,
    /// What each register was when this client saw it last.
    seen: [i64; REGISTERS],
    door: Option<Box<dyn Door>>,
}

impl<'a> Worker<'a> {
    /// Those with even numbers come through OVSDB, the others through gRPC.
    pub fn new(number: usize, random: Random, places: &'a [Place], load: &'a Load) -> Self {
        Self {
            number,
            random,
            places,
            load,
            seen: [1; REGISTERS],
            door: None,
        }
    }

    /// Works: what it did.
    pub fn run(&mut self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        while !self.load.work_is_over.load(Ordering::Relaxed) {
            let record = self.work()?;
            if record.answer.is_some() {
                self.load.answers[self.number].fetch_add(1, Ordering::Relaxed);
            }
            records.push(record);
            std::thread::sleep(Duration::from_millis(
                self.random.range(0..LONGEST_PAUSE_MS),
            ));
        }
        Ok(records)
    }

    fn work(&mut self) -> Result<Record> {
        let register = self.random.range(0..REGISTERS as u64) as usize;
        let wish = self.wish(register);
        let mut record = self.load.begin(register, wish);
        let operations = self.load.operations(&record);
        let mut patience = None;
        loop {
            let answered = match self.door() {
                Some(door) => {
                    let answer = door.transact(record.number, &operations);
                    self.load.note(&mut record, answer)
                }
                None => false,
            };
            if answered {
                break;
            }
            // Another member may know more. Without a name, the operation may have happened, and is not repeated.
            self.door = None;
            if !self.has_names() {
                break;
            }
            if self.load.work_is_over.load(Ordering::Relaxed) {
                let until = *patience.get_or_insert_with(|| Instant::now() + LAST_PATIENCE);
                if Instant::now() > until {
                    bail!(
                        "operation {} has a name, and nobody answers it: {operations:?}",
                        record.number
                    );
                }
            }
        }
        if let Some((_, Operation::Read(seen) | Operation::Add(Some(seen)))) = record.answer {
            self.seen[register] = seen;
        }
        Ok(record)
    }

    fn wish(&mut self, register: usize) -> Wish {
        // Values that nobody else writes, with room between them for what is added.
        let unique = || NUMBERS.fetch_add(1, Ordering::Relaxed) as i64 * 1000;
        match self.random.range(0..10) {
            0..4 => Wish::Read,
            4..7 => Wish::Add,
            7..9 => Wish::Swap(self.seen[register], unique()),
            _ => Wish::Write(unique()),
        }
    }

    fn has_names(&self) -> bool {
        self.number % 2 == 1
    }

    /// The connection, or a new one to any member.
    fn door(&mut self) -> Option<&mut Box<dyn Door>> {
        if self.door.is_none() {
            let place = &self.places[self.random.range(0..self.places.len() as u64) as usize];
            self.door = match self.has_names() {
                true => Grpc::open(&place.grpc)
                    .ok()
                    .map(|door| Box::new(door) as Box<dyn Door>),
                false => Ovsdb::open(&place.ovsdb)
                    .ok()
                    .map(|door| Box::new(door) as Box<dyn Door>),
            };
        }
        self.door.as_mut()
    }
}

/// The name of a register.
pub fn register(at: usize) -> String {
    format!("register-{at}")
}

/// The operation that makes a register.
pub fn new_register(name: &str, value: i64) -> Value {
    json!({"op": "insert", "table": "BFD",
        "row": {"logical_port": name, "dst_ip": "192.0.2.1", "min_tx": value}})
}

/// Forgets the trace and begins a new epoch; the last result has all registers.
pub fn next_epoch(epoch: i64) -> Vec<Value> {
    vec![
        json!({"op": "update", "table": "BFD", "where": [["logical_port", "==", EPOCH]], "row": {"min_tx": epoch}}),
        json!({"op": "delete", "table": "DNS", "where": []}),
        json!({"op": "select", "table": "BFD", "where": [], "columns": ["logical_port", "min_tx"]}),
    ]
}
