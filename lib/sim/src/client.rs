//! Clients that work on registers, remember what they were told, and try again.
//!
//! Most clients name their transactions and send them to one member after the other until they
//! get an answer. Some do neither: what they are not told, they never learn; the trace that each
//! transaction leaves in the database tells afterwards.

use ovsdb::operation::outcome_to_json;
use ovsdb::{ErrorKind, Uuid};
use serde_json::{Value, json};
use store::event::Output;
use store::session::{RequestId, SessionId};

use crate::linearizable::Operation;
use crate::random::Random;

/// So many pieces a large transaction has.
pub const LARGE: u64 = 8;
/// The lock that guarded transactions want.
pub const LOCK: &str = "guard";

/// So many registers there are.
pub const REGISTERS: u64 = 4;

/// A client.
#[derive(Debug)]
pub struct Client {
    /// Whether it names its transactions and tries again.
    pub persistent: bool,
    /// What it wants at the moment, and since when.
    pub wish: Option<Wish>,
    /// Its session, and the member that has it.
    pub session: Option<(SessionId, u64)>,
    /// Its requests are numbered.
    pub requests: u64,
    /// Counts what it has tried; a time-out of an earlier try is of no interest.
    pub tries: u64,
}

/// What a client wants.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Its number among those of all clients; also the name of its transaction.
    pub number: u64,
    /// On which register.
    pub register: u64,
    /// What.
    pub kind: Kind,
    /// When it was first asked for.
    pub asked: u64,
    /// The request that asks.
    pub request: Option<RequestId>,
}

/// Something to do with a register.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Create it.
    Create,
    /// Read it.
    Read,
    /// Overwrite it with the wish's number.
    Write,
    /// The same, in a transaction that is large.
    Large,
    /// The same, for the owner of a lock only.
    Guarded,
    /// Add one.
    Add,
    /// Give it the wish's number if it has this value, or has it within so many milliseconds.
    Swap(i64, u64),
}

/// What became of a wish.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// What was wanted.
    pub wish: Wish,
    /// When it was answered, and with what; or never.
    pub answer: Option<(u64, Operation)>,
}

/// What an answer means.
#[derive(Debug)]
pub enum Meaning {
    /// It was done.
    Done(Operation),
    /// It was certainly not done; ask again.
    NotDone,
    /// Nobody knows.
    Unknown,
}

impl Client {
    /// A client without a wish.
    pub fn new(persistent: bool) -> Self {
        Self {
            persistent,
            wish: None,
            session: None,
            requests: 0,
            tries: 0,
        }
    }

    /// A new wish.
    pub fn wish(number: u64, now: u64, last_seen: i64, random: &mut Random) -> Wish {
        let kind = match random.range(0..20) {
            0..5 => Kind::Read,
            5..8 => Kind::Write,
            8..11 => Kind::Large,
            11..12 => Kind::Guarded,
            12..16 => Kind::Add,
            16..18 => Kind::Swap(last_seen, 0),
            _ => Kind::Swap(last_seen, random.range(1..1000)),
        };
        Wish {
            number,
            register: random.range(0..REGISTERS),
            kind,
            asked: now,
            request: None,
        }
    }
}

/// The name of the transaction of the wish with this number.
pub fn name_of(wish: u64) -> Uuid {
    Uuid::from_u64_pair(0xabcd, wish)
}

impl Wish {
    /// The name of its transaction.
    pub fn name(&self) -> Uuid {
        name_of(self.number)
    }

    /// Its operations.
    pub fn operations(&self) -> Value {
        let of_register = json!([["name", "==", self.register]]);
        let trace = json!({"op": "insert", "table": "Trace", "row": {"operation": self.number}});
        let select = json!({"op": "select", "table": "Register", "where": of_register,
            "columns": ["value"]});
        let set = json!({"op": "update", "table": "Register", "where": of_register,
            "row": {"value": self.number}});
        match self.kind {
            Kind::Create => json!([{"op": "insert", "table": "Register",
                "row": {"name": self.register, "value": 0}}]),
            Kind::Read => json!([select]),
            Kind::Write => json!([set, trace]),
            Kind::Add => json!([{"op": "mutate", "table": "Register", "where": of_register,
                "mutations": [["value", "+=", 1]]}, select, trace]),
            Kind::Large => {
                let piece = |number| {
                    json!({"op": "insert", "table": "Piece",
                        "row": {"number": number, "operation": self.number}})
                };
                let pieces = (0..LARGE).map(piece);
                Value::Array([set, trace].into_iter().chain(pieces).collect())
            }
            Kind::Guarded => json!([{"op": "assert", "lock": LOCK}, set, trace]),
            Kind::Swap(old, timeout) => {
                json!([{"op": "wait", "table": "Register", "where": of_register,
                "columns": ["value"], "until": "==", "rows": [{"value": old}], "timeout": timeout},
                set, trace])
            }
        }
    }

    /// What the core says about it.
    pub fn meaning(&self, output: &Output) -> Meaning {
        let results = match output {
            Output::Transacted { asked, outcome, .. } => outcome_to_json(*asked, outcome),
            Output::Repeated { results, .. } => {
                serde_json::from_slice(results).unwrap_or(Value::Null)
            }
            Output::Refused { error, .. } => {
                return match error.kind {
                    ErrorKind::Canceled => Meaning::Done(Operation::Nothing),
                    ErrorKind::NotAllowed | ErrorKind::ResourcesExhausted => Meaning::NotDone,
                    _ => Meaning::Unknown,
                };
            }
            Output::Canceled { .. } => return Meaning::Done(Operation::Nothing),
            _ => return Meaning::Unknown,
        };
        let value = |at: usize| results[at]["rows"][0]["value"].as_i64();
        let number = i64::try_from(self.number).unwrap_or(i64::MAX);
        match self.kind {
            Kind::Create => Meaning::Done(Operation::Write(0)),
            Kind::Read => value(0).map_or(Meaning::Unknown, |v| Meaning::Done(Operation::Read(v))),
            Kind::Guarded if results[0]["error"] == "not owner" => {
                Meaning::Done(Operation::Nothing)
            }
            Kind::Write | Kind::Large | Kind::Guarded => Meaning::Done(Operation::Write(number)),
            Kind::Add => Meaning::Done(Operation::Add(value(1))),
            Kind::Swap(old, _) if results[0]["error"] == "timed out" => {
                Meaning::Done(Operation::NoSwap(old))
            }
            Kind::Swap(old, _) => Meaning::Done(Operation::Swap(old, number)),
        }
    }

    /// What it did if its transaction is known to have been applied.
    pub fn effect(&self) -> Option<Operation> {
        let number = i64::try_from(self.number).unwrap_or(i64::MAX);
        match self.kind {
            Kind::Create | Kind::Read => None,
            Kind::Write | Kind::Large | Kind::Guarded => Some(Operation::Write(number)),
            Kind::Add => Some(Operation::Add(None)),
            Kind::Swap(old, _) => Some(Operation::Swap(old, number)),
        }
    }
}
