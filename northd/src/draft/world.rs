//! A northd and its two databases, in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ovsdb::operation::{Operation, Transaction};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Row, RowChange};
use table::{Context, Database, Execution};
use uuid::Uuid;

use super::{MAX_STEPS, Rows};
use crate::core::{Columns, Core, Effects, Event, Now, Refusal, Side};
use crate::error::DraftError;

/// Northd waits so long before it tries again what was refused; waiting for anything longer is not for a draft.
const PATIENCE: Duration = Duration::from_millis(1500);
/// So much later than elsewhere it may be here.
const AHEAD: Duration = Duration::from_secs(10);

/// A northd and its two databases.
pub(super) struct World {
    north: Database,
    south: Database,
    core: Core,
    now: Now,
    /// What has changed on each side since somebody asked: how the row was, and how it is.
    changed: [Changed; 2],
    /// Whether northd takes the databases for lost, and so writes nothing.
    is_away: bool,
    /// What northd wants written, and whether somebody is writing.
    unwritten: VecDeque<(Side, Vec<Operation>)>,
    is_performing: bool,
}

type Changed = BTreeMap<(usize, Uuid), (Option<Arc<Row>>, Option<Arc<Row>>)>;

const SIDES: [Side; 2] = [Side::North, Side::South];

fn filled(schema: &Arc<DatabaseSchema>, rows: Rows) -> Result<Database, DraftError> {
    let mut database = Database::new(Arc::clone(schema));
    let filled = database.load(rows);
    filled.map_err(|error| DraftError::Copy(Arc::clone(&schema.name), error.to_string()))?;
    Ok(database)
}

/// What is not as it was.
fn changes(changed: Changed) -> Vec<RowChange> {
    let changes = changed.into_iter().filter(|(_, (old, new))| old != new);
    let changes = changes.map(|((table, uuid), (old, new))| RowChange {
        table,
        uuid,
        old,
        new,
    });
    changes.collect()
}

fn execute(database: &mut Database, transaction: &Transaction) -> Result<Vec<RowChange>, String> {
    match database.execute(transaction, &Context::default()) {
        Execution::Done(done) => match done.outcome {
            Ok(_) => Ok(done.delta),
            Err(failure) => Err(failure.error.to_string()),
        },
        Execution::Blocked { .. } => Err("what it relies on is not so".to_owned()),
    }
}

impl World {
    /// A northd that has been told these rows, and has done nothing yet.
    pub(super) fn new(
        version: &str,
        now: Now,
        north: Rows,
        south: Rows,
    ) -> Result<Self, DraftError> {
        let mut world = Self {
            north: filled(nb_db::schema(), north)?,
            south: filled(sb_db::schema(), south)?,
            core: Core::new(version, false),
            now,
            changed: Default::default(),
            is_away: false,
            unwritten: VecDeque::new(),
            is_performing: false,
        };
        for side in SIDES {
            let rows = all_rows(world.database(side));
            world.feed(Event::Connected(side, Columns::all()));
            world.feed(Event::Changes(side, rows));
            world.feed(Event::Synced(side));
        }
        world.feed(Event::Lock(true));
        Ok(world)
    }

    fn database(&mut self, side: Side) -> &mut Database {
        match side {
            Side::North => &mut self.north,
            Side::South => &mut self.south,
        }
    }

    /// It is so late, or later: what northd waited for while it drafted has passed. Says whether that is little; else what is
    /// over for this northd may not be over for the one at work.
    pub(super) fn read_clock(&mut self, now: Now) -> bool {
        let ahead = self.now.at.saturating_duration_since(now.at);
        if ahead.is_zero() {
            self.now = now;
        }
        ahead < AHEAD
    }

    /// What has changed on each side since this was asked last.
    pub(super) fn take_changes(&mut self) -> [Vec<RowChange>; 2] {
        std::mem::take(&mut self.changed).map(changes)
    }

    /// Lets northd work until it has nothing more to do.
    pub(super) fn settle(&mut self) -> Result<(), DraftError> {
        for event in self.back() {
            self.feed(event);
        }
        for _ in 0..MAX_STEPS {
            let effects = self.step(Event::Wake);
            if !effects.more && !effects.writes() {
                let wait = effects
                    .wake_at
                    .map(|at| at.saturating_duration_since(self.now.at));
                match wait.filter(|wait| *wait < PATIENCE) {
                    Some(wait) => self.pass(wait),
                    None => return Ok(()),
                }
            }
            self.perform(effects);
        }
        Err(DraftError::Restless(MAX_STEPS))
    }

    /// Executes a transaction on the copy of the northbound.
    pub(super) fn change(&mut self, transaction: &Transaction) -> Result<(), DraftError> {
        let delta = execute(&mut self.north, transaction).map_err(DraftError::Refused)?;
        self.take(Side::North, delta);
        Ok(())
    }

    /// Takes back what has changed. Says whether northd then wants nothing: if it does, something was left behind.
    pub(super) fn take_back(
        &mut self,
        north: &[RowChange],
        south: &[RowChange],
    ) -> Result<bool, DraftError> {
        for (side, changes) in [(Side::North, north), (Side::South, south)] {
            let back: Vec<RowChange> = changes.iter().map(RowChange::reversed).collect();
            self.follow(side, &back)?;
        }
        self.is_at_rest()
    }

    /// Takes note of what others have done to a database. What northd wants to do about it is not done.
    pub(super) fn follow(&mut self, side: Side, delta: &[RowChange]) -> Result<(), DraftError> {
        if delta.is_empty() {
            return Ok(());
        }
        let database = self.database(side);
        let name = Arc::clone(&database.schema().name);
        let applied = database.apply(delta);
        applied.map_err(|error| DraftError::Copy(name, error.to_string()))?;
        self.go_away();
        let _ = self.step(Event::Changes(side, delta.to_vec()));
        self.compile().map(drop)
    }

    /// Whether northd has nothing to do, now that it has been told everything.
    pub(super) fn is_at_rest(&mut self) -> Result<bool, DraftError> {
        let mut wants = false;
        for event in self.back() {
            wants |= self.step(event).writes();
        }
        wants |= self.compile()?;
        if wants {
            // What it wants is not done: it compares again when they are back.
            self.go_away();
        }
        Ok(!wants)
    }

    /// The databases are lost, for northd: it goes on compiling, and compares when they are back.
    fn go_away(&mut self) {
        if !std::mem::replace(&mut self.is_away, true) {
            for side in SIDES {
                let _ = self.step(Event::Disconnected(side));
            }
        }
    }

    /// What says that they are back, if they were away.
    fn back(&mut self) -> Vec<Event> {
        if !std::mem::take(&mut self.is_away) {
            return Vec::new();
        }
        let events = SIDES
            .into_iter()
            .flat_map(|side| [Event::Connected(side, Columns::all()), Event::Synced(side)]);
        events.chain([Event::Lock(true)]).collect()
    }

    /// Lets northd compile, but not write. Says whether it wants to.
    fn compile(&mut self) -> Result<bool, DraftError> {
        let mut wants = false;
        for _ in 0..MAX_STEPS {
            let effects = self.step(Event::Wake);
            wants |= effects.writes();
            if !effects.more {
                return Ok(wants);
            }
        }
        Err(DraftError::Restless(MAX_STEPS))
    }

    fn pass(&mut self, time: Duration) {
        self.now.at += time;
        self.now.unix_ms += i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2);
    }

    fn step(&mut self, event: Event) -> Effects {
        self.pass(Duration::from_millis(1));
        self.core.step(self.now, event)
    }

    fn feed(&mut self, event: Event) {
        let effects = self.step(event);
        self.perform(effects);
    }

    /// Does to the copies what northd wants, and tells it.
    fn perform(&mut self, effects: Effects) {
        let sides = [(Side::South, effects.south), (Side::North, effects.north)];
        let wanted = sides
            .into_iter()
            .filter(|(_, operations)| !operations.is_empty());
        self.unwritten.extend(wanted);
        // They are answered in their order: whoever is answering already goes on with these.
        if std::mem::replace(&mut self.is_performing, true) {
            return;
        }
        while let Some((side, operations)) = self.unwritten.pop_front() {
            let answer = match execute(self.database(side), &transaction(operations)) {
                Ok(delta) => {
                    self.take(side, delta);
                    Ok(())
                }
                Err(reason) => Err(Refusal {
                    reason,
                    is_about_rows: true,
                }),
            };
            self.feed(Event::Answered(side, answer));
        }
        self.is_performing = false;
    }

    /// Takes note of changes, and tells northd.
    fn take(&mut self, side: Side, delta: Vec<RowChange>) {
        let changed = &mut self.changed[usize::from(side == Side::South)];
        for change in &delta {
            let entry = changed
                .entry((change.table, change.uuid))
                .or_insert_with(|| (change.old.clone(), None));
            entry.1.clone_from(&change.new);
        }
        self.feed(Event::Changes(side, delta));
    }
}

fn transaction(operations: Vec<Operation>) -> Transaction {
    Transaction {
        asked: operations.len(),
        operations,
        error: None,
    }
}

fn all_rows(database: &Database) -> Vec<RowChange> {
    let tables = 0..database.schema().tables.len();
    let rows = tables.flat_map(|table| {
        let rows = database.rows(table);
        rows.map(move |(uuid, row)| RowChange {
            table,
            uuid,
            old: None,
            new: Some(Arc::clone(row)),
        })
    });
    rows.collect()
}
