//! Two databases in memory with every constraint checked, and a northd between them: no sockets, no clock.

pub mod addresses;
mod aside;
mod balancing;
mod book;
mod careless;
mod chassis;
mod connections;
mod crossing;
mod cyclonus;
pub mod doors;
mod drafts;
mod flows;
pub mod gateways;
pub mod multicast;
mod naive;
pub mod names;
mod overlap;
mod packet;
mod policy;
mod properties;
mod protection;
pub mod random;
mod refusal;
mod restart;
mod rooms;
pub mod routers;
mod translations;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::{Columns, Core, Effects, Event, Now, Refusal, Side};
use ovsdb::operation::{Operation, Transaction};
use ovsdb::typed::Table;
use ovsdb::{Row, RowChange, Uuid};
use table::{Context, Database, Execution};

/// What a careless operator may do with a feature: how often, against the others, and how. It says what it did.
pub struct Change {
    pub weight: usize,
    pub run: fn(&mut World, &mut random::Rng) -> String,
}

/// Longer than any pause between two batches of one work.
const LONGER_THAN_PAUSES_MS: i64 = 6_000;

/// The world of one northd.
pub struct World {
    pub north: Database,
    pub south: Database,
    pub core: Core,
    pub now_ms: i64,
    /// The time of the steady clock when that was 0.
    started: Instant,
    /// How many transactions northd has made in each database.
    pub written: (usize, usize),
    /// Whether northd's transactions may be refused; else it is a failure of the test.
    pub allows_refusals: bool,
    /// Rows that the southbound database will have nothing done to: by UUID, or by any text that an operation has.
    pub refuses: Vec<String>,
    /// How often it has refused something.
    pub refused: usize,
    /// How many operations a part of what is written to the southbound has, if not as usual.
    pub part: Option<usize>,
    /// What northd wants written, and whether somebody is writing.
    unwritten: VecDeque<(Side, Vec<Operation>)>,
    is_performing: bool,
    /// How many transactions on the southbound were under way at once at most.
    pub most_under_way: usize,
    /// What clients have done to the northbound, if somebody wants to know.
    pub made: Option<Vec<drafts::Made>>,
}

impl World {
    /// Empty databases with an active northd.
    pub fn new() -> Self {
        let north = Database::new(Arc::clone(nb_db::schema()));
        let south = Database::new(Arc::clone(sb_db::schema()));
        let mut world = Self {
            north,
            south,
            core: Core::new("test", false),
            now_ms: 1_000_000,
            started: Instant::now(),
            written: (0, 0),
            allows_refusals: false,
            refuses: Vec::new(),
            refused: 0,
            part: None,
            unwritten: VecDeque::new(),
            is_performing: false,
            most_under_way: 0,
            made: None,
        };
        world.connect();
        world.settle();
        world
    }

    /// Northd writes to the southbound in parts of so many operations, now and after a restart.
    pub fn write_in_parts(&mut self, part: usize) {
        self.part = Some(part);
        self.core.write_in_parts(part);
    }

    /// A new northd takes the place of the present one, and reads both databases.
    pub fn restart(&mut self) {
        self.core = Core::new("test", false);
        if let Some(part) = self.part {
            self.core.write_in_parts(part);
        }
        self.connect();
        self.settle();
    }

    fn connect(&mut self) {
        for side in [Side::North, Side::South] {
            let database = if side == Side::North {
                &self.north
            } else {
                &self.south
            };
            let changes = all_rows(database);
            self.feed(Event::Connected(side, Columns::all()));
            self.feed(Event::Changes(side, changes));
            self.feed(Event::Synced(side));
        }
        self.feed(Event::Lock(true));
    }

    /// Executes operations of a client in the northbound; northd hears of it and does what it will.
    pub fn north(&mut self, operations: Vec<Operation>) {
        self.make(operations, |world, operations| {
            let delta = execute(&mut world.north, operations);
            let delta = delta.expect("a client's transaction is well-made");
            world.feed(Event::Changes(Side::North, delta));
            world.settle();
        });
    }

    /// The same in the southbound.
    pub fn south(&mut self, operations: Vec<Operation>) {
        let delta =
            execute(&mut self.south, operations).expect("a client's transaction is well-made");
        self.feed(Event::Changes(Side::South, delta));
        self.settle();
    }

    /// Executes operations of a client in the northbound while northd is away: it finds them after [`World::restart`].
    pub fn north_quietly(&mut self, operations: Vec<Operation>) {
        execute(&mut self.north, operations).expect("a client's transaction is well-made");
    }

    /// The same in the southbound.
    pub fn south_quietly(&mut self, operations: Vec<Operation>) {
        execute(&mut self.south, operations).expect("a client's transaction is well-made");
    }

    /// Lets northd work until it has nothing more to do.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            self.now_ms += 1;
            let now = self.now();
            let effects = self.core.step(now, Event::Wake);
            if !effects.more && effects.north.is_empty() && effects.south.is_empty() {
                // What is refused is tried again for ever, after longer and longer pauses.
                let wait = effects.wake_at.map(|at| at - now.at);
                match wait.and_then(|wait| i64::try_from(wait.as_millis()).ok()) {
                    Some(wait_ms) if wait_ms < 1500 => self.now_ms += wait_ms,
                    _ => return,
                }
            }
            self.perform(effects);
        }
        panic!("northd does not come to rest");
    }

    /// Lets time pass until northd writes nothing more by itself: it forgets neighbours in batches, with pauses between them.
    pub fn rest(&mut self) {
        loop {
            let before = self.written;
            self.now_ms += LONGER_THAN_PAUSES_MS;
            self.settle();
            if self.written == before {
                return;
            }
        }
    }

    /// Compiles everything anew, and compares.
    pub fn recompute(&mut self) -> Result<Vec<String>, String> {
        self.core.recompute(self.now())
    }

    /// The southbound goes away and comes back; the lock is this northd's again, or not.
    pub fn reconnect(&mut self, has_lock: bool) {
        self.feed(Event::Disconnected(Side::South));
        self.feed(Event::Connected(Side::South, Columns::all()));
        self.feed(Event::Synced(Side::South));
        self.feed(Event::Lock(has_lock));
        self.settle();
    }

    /// What the clocks say.
    pub fn now(&self) -> Now {
        let since = u64::try_from(self.now_ms).expect("time goes forward");
        Now {
            at: self.started + Duration::from_millis(since),
            unix_ms: self.now_ms,
        }
    }

    fn feed(&mut self, event: Event) {
        self.now_ms += 1;
        let effects = self.core.step(self.now(), event);
        self.perform(effects);
    }

    /// Takes note of what northd wants written; whoever does that already goes on with it. Each is executed when northd has
    /// had an opportunity to write more beside it.
    fn perform(&mut self, effects: Effects) {
        self.note(effects);
        if std::mem::replace(&mut self.is_performing, true) {
            return;
        }
        while !self.unwritten.is_empty() {
            self.now_ms += 1;
            let effects = self.core.step(self.now(), Event::Wake);
            self.note(effects);
            let southbound = self
                .unwritten
                .iter()
                .filter(|(side, _)| *side == Side::South);
            self.most_under_way = self.most_under_way.max(southbound.count());
            self.perform_next();
        }
        self.is_performing = false;
    }

    fn note(&mut self, effects: Effects) {
        let sides = [(Side::South, effects.south), (Side::North, effects.north)];
        let wanted = sides
            .into_iter()
            .filter(|(_, operations)| !operations.is_empty());
        self.unwritten.extend(wanted);
    }

    fn perform_next(&mut self) {
        if let Some((side, operations)) = self.unwritten.pop_front() {
            let database = match side {
                Side::North => &mut self.north,
                Side::South => &mut self.south,
            };
            let text = if self.refuses.is_empty() {
                String::new()
            } else {
                format!("{operations:?}")
            };
            let refused = self.refuses.iter().find(|what| text.contains(*what));
            let outcome = match refused {
                Some(what) if side == Side::South => {
                    self.refused += 1;
                    Err(format!("{what} is untouchable"))
                }
                _ => execute(database, operations),
            };
            let (delta, answer) = match outcome {
                Ok(delta) => (delta, Ok(())),
                Err(reason) if self.allows_refusals => {
                    let is_about_rows = true;
                    (
                        Vec::new(),
                        Err(Refusal {
                            reason,
                            is_about_rows,
                        }),
                    )
                }
                Err(reason) => panic!("{side:?}: northd's transaction is refused: {reason}"),
            };
            match side {
                Side::North => self.written.0 += 1,
                Side::South => self.written.1 += 1,
            }
            self.feed(Event::Changes(side, delta));
            self.feed(Event::Answered(side, answer));
        }
    }

    /// The typed rows of a northbound table.
    pub fn nb<T: Table>(&self) -> Vec<(Uuid, T)> {
        self.north
            .rows(T::INDEX)
            .map(|(uuid, row)| (uuid, T::from_row(uuid, row)))
            .collect()
    }

    /// The typed rows of a southbound table.
    pub fn sb<T: Table>(&self) -> Vec<(Uuid, T)> {
        self.south
            .rows(T::INDEX)
            .map(|(uuid, row)| (uuid, T::from_row(uuid, row)))
            .collect()
    }
}

/// A number that the environment gives.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

/// Every row of a database, as news.
pub fn all_rows(database: &Database) -> Vec<RowChange> {
    let tables = database.schema().tables.len();
    let rows = (0..tables).flat_map(|table| {
        database
            .rows(table)
            .map(move |(uuid, row)| (table, uuid, row))
    });
    rows.map(|(table, uuid, row)| RowChange {
        table,
        uuid,
        old: None,
        new: Some(Arc::clone(row)),
    })
    .collect()
}

/// An insertion of a row.
pub fn insert<T: Table>(uuid: Uuid, row: &T) -> Operation {
    let row: Row = row.to_row();
    let columns = row.columns().iter().cloned().enumerate().collect();
    Operation::Insert {
        table: T::INDEX,
        uuid,
        row: columns,
    }
}

fn execute(database: &mut Database, operations: Vec<Operation>) -> Result<Vec<RowChange>, String> {
    let transaction = Transaction {
        asked: operations.len(),
        operations,
        error: None,
    };
    match database.execute(&transaction, &Context::default()) {
        Execution::Done(done) => match done.outcome {
            Ok(_) => Ok(done.delta),
            Err(failure) => Err(failure.error.to_string()),
        },
        Execution::Blocked { .. } => Err("a wait was not fulfilled".to_owned()),
    }
}
