//! What a change would do, before it is made: a northd between copies of both databases in memory.
//!
//! ```text
//! copies of both ──▶ compile, until there is nothing to write ──▶ the change ──▶ compile again ──▶ what has changed since
//! ```
//!
//! Neither database hears of it. Where the southbound is not yet what the northbound says, or OVN's northd has written it,
//! the first compilation brings the copy there, so that only what the change does is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ovsdb::operation::{Operation, Transaction};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Row, RowChange};
use table::{Context, Database, Execution};
use uuid::Uuid;

use crate::core::{Columns, Core, Effects, Event, Now, Refusal, Side};

/// Steps after which a compilation is given up: the largest networks need some hundreds.
const MAX_STEPS: usize = 1_000_000;
/// Northd waits so long before it tries again what was refused; waiting for anything longer is not for a draft.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The rows of a database: table, identity, row.
pub type Rows = Vec<(usize, Uuid, Arc<Row>)>;

/// What a change would do.
#[derive(Debug)]
pub struct Drafted {
    /// To rows of the northbound: the change itself, and what northd writes there, `Weft_Problem` among it.
    pub north: Vec<RowChange>,
    /// To rows of the southbound.
    pub south: Vec<RowChange>,
    /// How many rows of the southbound differed from what the northbound says before the change.
    pub unsettled: usize,
}

/// Why there is no saying.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The rows of a database do not fit together.
    #[error("the copy of {0} does not fit together: {1}")]
    Copy(Arc<str>, String),
    /// The database would refuse the change.
    #[error("the database would refuse the change: {0}")]
    Refused(String),
    /// The compiler does not come to rest.
    #[error("the compiler did not come to rest after {MAX_STEPS} steps")]
    Restless,
}

/// A northd and its two databases.
struct World {
    north: Database,
    south: Database,
    core: Core,
    now: Now,
    /// What has changed on each side since somebody asked: how the row was, and how it is.
    changed: [Changed; 2],
    /// What northd wants written, and whether somebody is writing.
    unwritten: VecDeque<(Side, Vec<Operation>)>,
    is_performing: bool,
}

type Changed = BTreeMap<(usize, Uuid), (Option<Arc<Row>>, Option<Arc<Row>>)>;

/// What a transaction on the northbound would do to both databases.
///
/// # Errors
/// When the copies cannot be used, the transaction would be refused, or the compiler does not come to rest.
pub fn draft(
    version: &str,
    now: Now,
    north: Rows,
    south: Rows,
    transaction: &Transaction,
) -> Result<Drafted, DraftError> {
    let mut world = World {
        north: filled(nb_db::schema(), north)?,
        south: filled(sb_db::schema(), south)?,
        core: Core::new(version, false),
        now,
        changed: Default::default(),
        unwritten: VecDeque::new(),
        is_performing: false,
    };
    world.connect();
    world.settle()?;
    let unsettled = changes(std::mem::take(&mut world.changed[1])).len();
    world.changed[0].clear();
    let delta = execute(&mut world.north, transaction).map_err(DraftError::Refused)?;
    world.take(Side::North, delta);
    world.settle()?;
    let [north, south] = world.changed;
    Ok(Drafted {
        north: changes(north),
        south: changes(south),
        unsettled,
    })
}

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
    fn connect(&mut self) {
        for side in [Side::North, Side::South] {
            let rows = all_rows(self.database(side));
            self.feed(Event::Connected(side, Columns::all()));
            self.feed(Event::Changes(side, rows));
            self.feed(Event::Synced(side));
        }
        self.feed(Event::Lock(true));
    }

    fn database(&mut self, side: Side) -> &mut Database {
        match side {
            Side::North => &mut self.north,
            Side::South => &mut self.south,
        }
    }

    /// Lets northd work until it has nothing more to do.
    fn settle(&mut self) -> Result<(), DraftError> {
        for _ in 0..MAX_STEPS {
            let effects = self.step(Event::Wake);
            if !effects.more && effects.north.is_empty() && effects.south.is_empty() {
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
        Err(DraftError::Restless)
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
