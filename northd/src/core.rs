//! The whole program on one screen: an event and the time in, effects out.
//!
//! ```text
//! both databases read, lock held, not paused ──▶ active: compile, write, report
//! anything missing                           ──▶ standby: keep the rows, nothing else
//! ```
//!
//! A standby keeps no compiler. What it would hand out (keys, tags) the active one may hand out otherwise; so a compiler is
//! made when its time has come, and starts from what the southbound database then says.
//!
//! At most one transaction is under way for each database. Changes that come meanwhile are compiled at once and written
//! together with the next. A transaction that is refused is tried again in smaller parts, until a single row is found that
//! the database will not take; that row is set aside, with a warning, and the rest goes on.

use incr::Engine;
use nb_db::tables::{LogicalSwitchPort, NbGlobal, WeftProblem};
use ovsdb::RowChange;
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use rustc_hash::FxHashSet;
use sb_db::tables::{ChassisPrivate, SbGlobal};
use uuid::Uuid;

use crate::compiler::Compiler;
pub use crate::database::{Columns, Side};
use crate::database::{Database, MAX_OPERATIONS, MAX_REPLACEMENT};
use crate::output::northbound::{self, PortState, Progress, Reached};
use crate::output::rows::OutTable;
use crate::output::{dictionaries, identity, rbac};
use crate::status::Report;

/// Units that run before the event loop looks at other events.
const STEP_UNITS: usize = 2000;
/// After a refused transaction, the next is tried this much later.
const RETRY_MS: i64 = 1000;

/// Everything that can happen.
#[derive(Debug)]
pub enum Event {
    /// What is known of a database is forgotten: its rows will be told anew.
    Forgotten(Side),
    /// A database is reached, and which of our columns it has.
    Connected(Side, Columns),
    /// It is lost; what was under way may or may not have been done.
    Disconnected(Side),
    /// Rows came, changed or went.
    Changes(Side, Vec<RowChange>),
    /// The rows told so far are all there are.
    Synced(Side),
    /// The lock in the southbound is held, or not any more.
    Lock(bool),
    /// The transaction under way was committed, or refused for this reason.
    Answered(Side, Result<(), Refusal>),
    /// Time has passed, or there was more to do than one step may.
    Wake,
}

/// Why a transaction was not committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// In the database's words.
    pub reason: String,
    /// Whether it is for what was written, so that parts of it may do better; else it is for other reasons, such as who
    /// wrote it, and the same may do better later.
    pub is_about_rows: bool,
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Effects {
    /// Operations for the northbound, one transaction.
    pub north: Vec<Operation>,
    /// Operations for the southbound, one transaction.
    pub south: Vec<Operation>,
    /// There is more to do at once.
    pub more: bool,
    /// Wake again at this time.
    pub wake_at_ms: Option<i64>,
}

/// What only the active northd has.
struct Active {
    compiler: Compiler,
    engine: Engine<Compiler>,
    /// Ports whose northbound rows may have to be written.
    ports: FxHashSet<Uuid>,
    report: Report,
    /// Whether the northbound's table of problems may be out of date.
    tells_problems: bool,
    /// Whether learned addresses of ports that are gone have yet to be looked for.
    sweeps: bool,
}

/// northd.
pub struct Core {
    version: String,
    north: Database,
    south: Database,
    has_lock: bool,
    is_paused: bool,
    active: Option<Box<Active>>,
    progress: Progress,
}

impl Core {
    /// A northd that has reached nothing yet.
    pub fn new(version: &str, is_paused: bool) -> Self {
        Self {
            version: version.to_owned(),
            north: Database::new(Side::North),
            south: Database::new(Side::South),
            has_lock: false,
            is_paused,
            active: None,
            progress: Progress::default(),
        }
    }

    /// Where this northd stands: `active`, `standby` or `paused`.
    pub fn status(&self) -> &'static str {
        match (self.is_paused, &self.active) {
            (true, _) => "paused",
            (false, Some(_)) => "active",
            (false, None) => "standby",
        }
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Stops or goes on. A paused northd has no compiler and writes nothing.
    pub fn set_paused(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// The engine's counters, while active.
    pub fn stats(&self) -> Option<&incr::Stats> {
        self.active.as_ref().map(|active| active.engine.stats())
    }

    /// Sets the engine's counters to zero.
    pub fn clear_stats(&mut self) {
        if let Some(active) = &mut self.active {
            active.engine.stats_mut().clear();
        }
    }

    /// Takes up an event and does what can be done now.
    pub fn step(&mut self, now_ms: i64, event: Event) -> Effects {
        self.take(now_ms, event);
        self.work(now_ms)
    }

    /// Compiles everything anew, compares, and takes the new result if it differs. Says what differed, in short.
    ///
    /// # Errors
    /// When this northd is not active, or has work to do: then there is nothing to compare.
    pub fn recompute(&mut self) -> Result<Vec<String>, &'static str> {
        let Some(active) = &self.active else {
            return Err("not active: there is nothing to recompute");
        };
        if active.engine.is_dirty() || self.south.is_busy || !active.compiler.output.is_settled() {
            return Err("changes are just being compiled or written: try again");
        }
        let mut fresh = self.compile();
        while !fresh.engine.step(&mut fresh.compiler, STEP_UNITS).done {}
        let differences = active.compiler.differences(&fresh.compiler);
        if !differences.is_empty() {
            // The new compiler has marked every row, and compares them when it writes.
            self.active = Some(Box::new(fresh));
        }
        Ok(differences)
    }

    fn take(&mut self, now_ms: i64, event: Event) {
        match event {
            Event::Forgotten(side) => {
                *self.database(side) = Database::new(side);
                self.has_lock &= side != Side::South;
                self.active = None;
            }
            Event::Connected(side, columns) => {
                let database = self.database(side);
                database.is_connected = true;
                database.columns = columns;
            }
            Event::Disconnected(side) => {
                let database = self.database(side);
                let was_busy = std::mem::take(&mut database.is_busy);
                database.is_connected = false;
                database.is_synced = false;
                if side == Side::South {
                    self.has_lock = false;
                }
                if was_busy {
                    self.write_again(side, false);
                }
            }
            Event::Changes(side, changes) => {
                for change in &changes {
                    self.change(now_ms, side, change);
                }
            }
            Event::Synced(side) => self.database(side).is_synced = true,
            Event::Lock(held) => self.has_lock = held,
            Event::Answered(side, outcome) => self.answered(now_ms, side, outcome),
            Event::Wake => {}
        }
    }

    fn work(&mut self, now_ms: i64) -> Effects {
        let mut effects = Effects::default();
        if !self.may_be_active() {
            self.deactivate();
            return effects;
        }
        if self.active.is_none() {
            self.activate();
        }
        let Some(active) = &mut self.active else {
            return effects;
        };
        let progress = active.engine.step(&mut active.compiler, STEP_UNITS);
        effects.more = !progress.done;
        active.ports.extend(active.compiler.take_changed_ports());
        if progress.done {
            active.tells_problems |= active.report.problems(&mut active.compiler);
        }
        effects.south = self.write_south(now_ms, progress.done);
        if progress.done {
            effects.north = self.write_north(now_ms);
        }
        for database in [&self.north, &self.south] {
            if database.retry_at_ms > now_ms {
                let earliest = effects
                    .wake_at_ms
                    .unwrap_or(i64::MAX)
                    .min(database.retry_at_ms);
                effects.wake_at_ms = Some(earliest);
            }
        }
        effects
    }

    /// The next transaction for the southbound.
    ///
    /// What is only added goes in parts, the first ones before everything is compiled: the database works while the compiler
    /// does. What replaces or deletes something goes when all is compiled, and as one transaction, so that chassis never see
    /// half of it.
    fn write_south(&mut self, now_ms: i64, is_compiled: bool) -> Vec<Operation> {
        let Some(active) = &mut self.active else {
            return Vec::new();
        };
        let database = &mut self.south;
        let output = &mut active.compiler.output;
        let may_start =
            is_compiled || (!output.has_deletions() && output.marked() >= database.limit);
        if !database.may_write(now_ms) || !may_start {
            return Vec::new();
        }
        let is_narrowed = database.limit < MAX_OPERATIONS;
        let limit = if output.has_deletions() && !is_narrowed {
            MAX_REPLACEMENT
        } else {
            database.limit
        };
        let mut operations = output.take(limit);
        active.sweeps |= active.compiler.output.take_moves();
        if is_compiled && operations.is_empty() && std::mem::take(&mut active.sweeps) {
            operations.extend(active.compiler.output.stale_fdb());
        }
        if is_compiled && active.compiler.output.is_settled() {
            operations.extend(global_operation(&self.north, database, &self.version));
        }
        database.sends(operations.len());
        operations
    }

    fn write_north(&mut self, now_ms: i64) -> Vec<Operation> {
        let Some(active) = &mut self.active else {
            return Vec::new();
        };
        let database = &mut self.north;
        if !database.may_write(now_ms) {
            return Vec::new();
        }
        let mut operations = Vec::new();
        let limit = database.limit;
        while operations.len() < limit
            && let Some(port) = active.ports.iter().next().copied()
        {
            active.ports.remove(&port);
            if let Some(row) = database.rows.get(&(LogicalSwitchPort::INDEX, port)) {
                let tag = active
                    .compiler
                    .tag(port)
                    .map(Some)
                    .or_else(|| northbound::tag_of_untagged(row));
                let state = PortState {
                    up: active.compiler.is_up(port),
                    tag,
                };
                operations.extend(northbound::port(port, row, state));
            }
        }
        if active.tells_problems && database.columns.has(WeftProblem::INDEX, 0) {
            let told = database.problems.iter().copied();
            operations.extend(northbound::problems(active.compiler.problems(), told));
        }
        active.tells_problems = false;
        if active.ports.is_empty() {
            match database.global_row() {
                Some((uuid, row)) => {
                    operations.extend(northbound::progress(uuid, row, &self.progress));
                }
                None => operations.push(northbound::create_global()),
            }
        }
        database.sends(operations.len());
        operations
    }

    fn change(&mut self, now_ms: i64, side: Side, change: &RowChange) {
        let database = match side {
            Side::North => &mut self.north,
            Side::South => &mut self.south,
        };
        let is_kept_by_compiler =
            side == Side::South && self.active.is_some() && OutTable::is_written(change.table);
        if !is_kept_by_compiler {
            database.change(change);
        }
        match side {
            Side::North => database.problem_change(change),
            Side::South => database.chassis_change(change),
        }
        if let Some(active) = &mut self.active {
            active
                .engine
                .input(&mut active.compiler, |compiler, changes| match side {
                    Side::North => compiler.northbound(change, changes),
                    Side::South => compiler.southbound(change, changes),
                });
            if side == Side::North
                && change.table == LogicalSwitchPort::INDEX
                && change.new.is_some()
            {
                active.ports.insert(change.uuid);
            }
        }
        let matters = match side {
            Side::North => change.table == NbGlobal::INDEX,
            Side::South => change.table == SbGlobal::INDEX || change.table == ChassisPrivate::INDEX,
        };
        if matters {
            self.update_progress(now_ms);
        }
    }

    fn answered(&mut self, now_ms: i64, side: Side, outcome: Result<(), Refusal>) {
        let database = self.database(side);
        database.is_busy = false;
        match outcome {
            Ok(()) => {
                database.limit = (database.limit * 2).min(MAX_OPERATIONS);
                if let (Side::South, Some(active)) = (side, &mut self.active) {
                    active.compiler.output.committed();
                }
            }
            Err(refusal) => {
                tracing::warn!(
                    target: "northd",
                    "the {side:?}bound database refused {} operations: {}",
                    database.sent,
                    refusal.reason
                );
                let is_narrowed = refusal.is_about_rows && database.sent == 1;
                if refusal.is_about_rows && database.limit > 1 {
                    database.limit = (database.sent.min(database.limit) / 8).max(1);
                } else if !is_narrowed {
                    database.retry_at_ms = now_ms + RETRY_MS;
                }
                self.write_again(side, is_narrowed);
            }
        }
    }

    /// What was being written may not have been.
    fn write_again(&mut self, side: Side, is_narrowed: bool) {
        let Some(active) = &mut self.active else {
            return;
        };
        match side {
            Side::South => active.compiler.output.refused(is_narrowed),
            Side::North => {
                let ports = self
                    .north
                    .rows
                    .keys()
                    .filter(|(table, _)| *table == LogicalSwitchPort::INDEX);
                active.ports.extend(ports.map(|(_, uuid)| *uuid));
                active.tells_problems = true;
            }
        }
    }

    fn may_be_active(&self) -> bool {
        // A database that is away for a moment is no reason to compile everything again.
        let was_active = self.active.is_some();
        let is_known = |database: &Database| database.is_synced || was_active;
        let holds = self.has_lock || (!self.south.is_connected && self.active.is_some());
        holds && !self.is_paused && is_known(&self.north) && is_known(&self.south)
    }

    fn activate(&mut self) {
        let active = self.compile();
        tracing::info!(
            target: "northd",
            "active: {} northbound and {} southbound rows",
            self.north.rows.len(),
            self.south.rows.len()
        );
        // The compiler keeps the rows of its tables: once is enough.
        self.south
            .rows
            .retain(|(table, _), _| !OutTable::is_written(*table));
        self.south.rows.shrink_to_fit();
        self.active = Some(Box::new(active));
    }

    fn deactivate(&mut self) {
        let Some(active) = self.active.take() else {
            return;
        };
        tracing::info!(target: "northd", "no longer active");
        for change in active.compiler.output.actual_rows() {
            self.south.change(&change);
        }
    }

    /// A new compiler that has been told everything.
    fn compile(&self) -> Active {
        let has_column = |table: usize, column: usize| self.south.columns.has(table, column);
        let mut compiler = Compiler::new(has_column);
        let mut engine = Engine::new();
        engine.input(&mut compiler, |compiler, changes| {
            let kept = self
                .active
                .iter()
                .flat_map(|active| active.compiler.output.actual_rows());
            for change in self.south.all_rows().chain(kept) {
                compiler.southbound(&change, changes);
            }
            let schema = sb_db::schema();
            rbac::install(&mut compiler.output, |table| {
                schema
                    .table_index(table)
                    .is_some_and(|index| has_column(index, 0))
            });
            dictionaries::install(&mut compiler.output, |value| {
                self.south.columns.has_value(value)
            });
            for change in self.north.all_rows() {
                compiler.northbound(&change, changes);
            }
        });
        let ports = self
            .north
            .rows
            .keys()
            .filter(|(table, _)| *table == LogicalSwitchPort::INDEX);
        Active {
            compiler,
            engine,
            ports: ports.map(|(_, uuid)| *uuid).collect(),
            report: Report::default(),
            tells_problems: true,
            sweeps: true,
        }
    }

    fn update_progress(&mut self, now_ms: i64) {
        let north = self.north.global_row().map(|(_, row)| row);
        let south = self.south.global_row().map(|(_, row)| row);
        let column = NbGlobal::COLUMN;
        let progress = &mut self.progress;
        if let Some(row) = north {
            let seen = Reached {
                cfg: column.nb_cfg.get(row),
                at_ms: now_ms,
            };
            if progress.northbound.cfg != seen.cfg || progress.northbound.at_ms == 0 {
                progress.northbound = seen;
            }
        }
        if let Some(row) = south {
            let committed = Reached {
                cfg: SbGlobal::COLUMN.nb_cfg.get(row),
                at_ms: now_ms,
            };
            if progress.southbound.cfg != committed.cfg || progress.southbound.at_ms == 0 {
                progress.southbound = committed;
            }
        }
        // The last of those who have come least far. Without a chassis there is nobody to wait for.
        let slowest = self
            .south
            .chassis
            .values()
            .min_by_key(|reached| (reached.cfg, -reached.at_ms));
        progress.chassis = slowest.copied().unwrap_or(progress.southbound);
    }

    fn database(&mut self, side: Side) -> &mut Database {
        match side {
            Side::North => &mut self.north,
            Side::South => &mut self.south,
        }
    }
}

/// The operation that makes `SB_Global` say what `NB_Global` says; nothing if it does.
fn global_operation(north: &Database, south: &Database, version: &str) -> Option<Operation> {
    let (_, nb_global) = north.global_row()?;
    let columns = northbound::southbound_global(nb_global, version);
    let Some((uuid, row)) = south.global_row() else {
        let uuid = identity::named("SB_Global", Uuid::nil(), "");
        return Some(Operation::Insert {
            table: SbGlobal::INDEX,
            uuid,
            row: columns,
        });
    };
    let changed: Vec<_> = columns
        .into_iter()
        .filter(|(column, datum)| row.get(*column) != datum)
        .collect();
    (!changed.is_empty()).then(|| Operation::update_row(SbGlobal::INDEX, uuid, changed))
}
