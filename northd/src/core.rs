//! The whole program on one screen: an event and the time in, effects out.
//!
//! ```text
//! both databases read, lock held, not paused ──▶ active: compile, write, report
//! anything missing                           ──▶ standby: keep the rows, nothing else
//! ```
//!
//! A standby keeps no compiler. What it would hand out (keys, tags) the active one may hand out otherwise; so a compiler is
//! made when its time has come, and starts from what the southbound database then says. An active northd that loses a
//! connection keeps its compiler and goes on compiling: when the database is back, what is there meets what should be there,
//! and the difference is written, unless another one has the lock by then.
//!
//! One transaction is under way for each database, or a second one while much is only added to the southbound: none has
//! rows of the other. Changes that come meanwhile are compiled at once and written together with the next. A transaction
//! that is refused is tried again in smaller parts, until a single row is found that the database will not take; that row
//! is set aside, with a problem, and the rest goes on.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub use daemon::Now;
use ovsdb::RowChange;
use ovsdb::operation::Operation;

use crate::active::Active;
use crate::check::{Check, Outcome, STEP_UNITS};
pub use crate::compiler::feature::Side;
use crate::compiler::output::Fault;
use crate::compiler::plan::Plan;
pub use crate::database::Columns;
use crate::database::{Database, MAX_REPLACEMENT};
use crate::features;
use crate::status;

/// After a refused transaction, the next is tried this much later.
const RETRY: Duration = Duration::from_secs(1);

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
    /// The lock in the southbound is held, or somebody else has it.
    Lock(bool),
    /// The transaction under way was committed, or refused for this reason.
    Answered(Side, Result<(), Refusal>),
    /// Somebody asks something.
    Request(Request),
    /// Time has passed, or there was more to do than one step may.
    Wake,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To stop or to go on.
    Pause(bool),
    /// Whether it is paused.
    IsPaused,
    /// Where it stands.
    Status,
    /// To compile everything anew and compare.
    Recompute,
    /// The engine's counters, of one kind of units, of one counter.
    Stats(Option<String>, Option<String>),
    /// To set the engine's counters to zero.
    ClearStats,
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
#[must_use = "operations that are not sent are waited for in vain"]
pub struct Effects {
    /// Operations for the northbound, one transaction.
    pub north: Vec<Operation>,
    /// Operations for the southbound, one transaction.
    pub south: Vec<Operation>,
    /// The answer to the request, if the event was one that is answered at once.
    pub answer: Option<Result<String, String>>,
    /// The answer to a request to recompute, which takes several steps.
    pub recomputed: Option<Result<String, String>>,
    /// The southbound lock is to be asked for, or given up.
    pub wants_lock: Option<bool>,
    /// There is more to do at once.
    pub more: bool,
    /// Wake again at this time.
    pub wake_at: Option<Instant>,
}

impl Effects {
    /// Whether something is to be written.
    pub fn writes(&self) -> bool {
        !self.north.is_empty() || !self.south.is_empty()
    }
}

/// Who has the lock in the southbound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    /// This northd.
    Held,
    /// Somebody else.
    Others,
    /// Nobody has said so yet, since the database was reached.
    Unknown,
}

/// northd.
pub struct Core {
    plan: &'static Plan,
    version: String,
    north: Database,
    south: Database,
    lock: Lock,
    is_paused: bool,
    active: Option<Box<Active>>,
    /// A compilation of everything anew beside it, which somebody has asked for.
    check: Option<Box<Check>>,
    /// One was asked for that begins when what is changing is compiled and written, if that is before this.
    check_due: Option<Instant>,
    /// Whether there was one and what it was to be compared with is gone.
    is_check_void: bool,
}

/// How long a recomputation that is asked for waits for what is changing.
const REST_WITHIN: Duration = Duration::from_secs(10);
/// Why none began in that time.
const BUSY: &str = "changes are just being compiled or written: try again";

impl Core {
    /// A northd that has reached nothing yet.
    pub fn new(version: &str, is_paused: bool) -> Self {
        static PLAN: OnceLock<Plan> = OnceLock::new();
        let plan = PLAN.get_or_init(|| {
            Plan::new(features::ALL).expect("the features make a plan: a test says so")
        });
        Self::with(plan, version, is_paused)
    }

    /// The same with another plan.
    pub fn with(plan: &'static Plan, version: &str, is_paused: bool) -> Self {
        Self {
            plan,
            version: version.to_owned(),
            north: Database::new(),
            south: Database::new(),
            lock: Lock::Unknown,
            is_paused,
            active: None,
            check: None,
            check_due: None,
            is_check_void: false,
        }
    }

    /// Takes up an event and does what can be done now.
    pub fn step(&mut self, now: Now, event: Event) -> Effects {
        let mut effects = Effects::default();
        let is_asked = matches!(event, Event::Request(Request::Recompute));
        self.take(now, event, &mut effects);
        self.work(now, &mut effects);
        if is_asked {
            // The answer comes with a later step, however little there is to do.
            effects.more |= self.check.is_some();
        } else {
            self.go_on_checking(now, &mut effects);
        }
        effects.wake_at = effects.wake_at.into_iter().chain(self.check_due).min();
        effects
    }

    /// Where this northd stands: `active`, `standby` or `paused`.
    pub fn status(&self) -> &'static str {
        match (self.is_paused, &self.active) {
            (true, _) => "paused",
            (false, Some(_)) => "active",
            (false, None) => "standby",
        }
    }

    /// How many units have run, while active.
    pub fn units_run(&self) -> Option<u64> {
        let stats = self.active.as_ref()?.engine.stats();
        Some(stats.kinds().map(|(_, of)| of.runs).sum())
    }

    /// Writes to the southbound in parts of so many operations.
    #[cfg(test)]
    pub fn write_in_parts(&mut self, part: usize) {
        (self.south.part, self.south.limit) = (part, part);
    }

    /// The plan that it works by.
    pub fn plan(&self) -> &'static Plan {
        self.plan
    }

    /// Compiles everything anew, compares, and takes the new result if it differs. Says what differed, in short.
    ///
    /// # Errors
    /// When this northd is not active, or has work to do: then there is nothing to compare.
    #[cfg(test)]
    pub fn recompute(&mut self, now: Now) -> Result<Vec<String>, String> {
        self.begin_check(now)?;
        if self.check_due.take().is_some() {
            return Err(BUSY.to_owned());
        }
        loop {
            if let Some(outcome) = self.check(now) {
                return outcome;
            }
        }
    }

    /// Begins to compile everything anew beside what there is, or will when that is compiled and written. [`Core::check`] goes
    /// on with it.
    fn begin_check(&mut self, now: Now) -> Result<(), &'static str> {
        if self.check.is_some() || self.check_due.is_some() {
            return Err("everything is just being compiled anew: wait for that");
        }
        if self.active.is_none() {
            return Err("not active: there is nothing to recompute");
        }
        if !self.is_at_rest() {
            self.check_due = Some(now.at + REST_WITHIN);
            return Ok(());
        }
        let fresh = Active::new(self.plan, &self.version, [&self.north, &self.south]);
        self.check = Some(Box::new(Check::new(now, fresh, &self.south)));
        if let Some(active) = &mut self.active {
            active.engine.stats_mut().recompute();
        }
        Ok(())
    }

    /// Whether what is compiled is what the databases say, and is written.
    fn is_at_rest(&self) -> bool {
        let active = self.active.as_ref();
        let is_done = active
            .is_some_and(|active| !active.engine.is_dirty() && active.compiler.south.is_settled());
        is_done && !self.south.is_busy() && !self.north.is_busy()
    }

    /// Goes on compiling anew, no more than one step may; takes the new result if it differs.
    fn check(&mut self, now: Now) -> Option<Result<Vec<String>, String>> {
        let is_written = self.is_at_rest();
        let (check, active) = (self.check.take()?, self.active.as_ref()?);
        match check.step(now, active, (&self.north, &self.south), is_written) {
            Err(check) => {
                self.check = Some(check);
                None
            }
            Ok(Outcome::Same) => Some(Ok(Vec::new())),
            Ok(Outcome::Void(why)) => Some(Err(why)),
            Ok(Outcome::Found(differences, mut fresh)) => {
                if let Some(active) = &mut self.active {
                    *fresh.engine.stats_mut() = std::mem::take(active.engine.stats_mut());
                }
                self.active = Some(fresh);
                Some(Ok(differences))
            }
        }
    }

    /// What has become of a recomputation that was asked for.
    fn go_on_checking(&mut self, now: Now, effects: &mut Effects) {
        if std::mem::take(&mut self.is_check_void) {
            effects.recomputed = Some(Err("no longer active: nothing was compared".to_owned()));
        }
        let is_due = self.check_due.is_some_and(|before| now.at >= before);
        if self.check_due.is_some() && self.is_at_rest() {
            self.check_due = None;
            // Asked for once, and this northd is active: else it would be void.
            if let Err(why) = self.begin_check(now) {
                effects.recomputed = Some(Err(why.to_owned()));
            }
            effects.more |= self.check.is_some();
        } else if is_due {
            self.check_due = None;
            effects.recomputed = Some(Err(BUSY.to_owned()));
        } else if self.check.is_some() {
            let outcome = self.check(now);
            effects.recomputed =
                outcome.map(|outcome| outcome.map(|found| status::differences(&found)));
            effects.more = true;
        }
    }

    fn take(&mut self, now: Now, event: Event, effects: &mut Effects) {
        match event {
            Event::Forgotten(side) => {
                self.deactivate();
                *self.database(side) = Database::new();
                if side == Side::South {
                    self.lock = Lock::Unknown;
                }
            }
            Event::Connected(side, columns) => {
                let is_other = self.database(side).columns != columns;
                if is_other {
                    // Another server, with another schema: what is written depends on it.
                    self.deactivate();
                }
                let database = self.database(side);
                database.is_connected = true;
                database.columns = columns;
                database.retry_at = None;
            }
            Event::Disconnected(side) => {
                let database = self.database(side);
                let under_way = std::mem::take(&mut database.under_way);
                database.is_connected = false;
                database.is_synced = false;
                if side == Side::South {
                    self.lock = Lock::Unknown;
                }
                for _ in under_way.iter().filter(|sent| !sent.is_forgotten) {
                    self.write_again(now, side, Fault::Unknown);
                }
            }
            Event::Changes(side, changes) => self.change(now, side, &changes),
            Event::Synced(side) => self.database(side).is_synced = true,
            Event::Lock(true) => self.lock = Lock::Held,
            Event::Lock(false) => self.lock = Lock::Others,
            Event::Answered(side, outcome) => self.answered(now, side, outcome),
            Event::Request(Request::Recompute) => {
                if let Err(why) = self.begin_check(now) {
                    effects.answer = Some(Err(why.to_owned()));
                }
            }
            Event::Request(request) => effects.answer = Some(self.answer(request, effects)),
            Event::Wake => {}
        }
    }

    fn work(&mut self, now: Now, effects: &mut Effects) {
        if !self.may_be_active() {
            self.deactivate();
            return;
        }
        if self.active.is_none() {
            self.activate(now);
        }
        let Some(active) = &mut self.active else {
            return;
        };
        for unit in active.compiler.due(now.unix_ms) {
            active.engine.wake_again(unit);
        }
        for side in [Side::North, Side::South] {
            active.compiler.output(side).retry(now);
        }
        let progress = active.engine.step(&mut active.compiler, STEP_UNITS);
        effects.more = !progress.done;
        if progress.done {
            active.compiler.rest();
            status::problems(&mut active.compiler);
            effects.wake_at = active.compiler.next_deadline().map(|at_ms| {
                let wait_ms = u64::try_from(at_ms - now.unix_ms).unwrap_or(0);
                now.at + Duration::from_millis(wait_ms)
            });
        }
        effects.south = self.write(now, Side::South, progress.done);
        if progress.done {
            effects.north = self.write(now, Side::North, true);
        }
        let retries = [&self.north, &self.south].into_iter();
        let mut times: Vec<Instant> = retries
            .filter_map(|database| database.retry_at)
            .filter(|at| *at > now.at)
            .collect();
        if let Some(active) = &self.active {
            times.extend(
                [&active.compiler.north, &active.compiler.south]
                    .iter()
                    .filter_map(|output| output.retry_at()),
            );
        }
        times.extend(effects.wake_at);
        effects.wake_at = times.into_iter().min();
    }

    /// The next transaction for a database.
    ///
    /// What is only added goes in parts, the first ones before everything is compiled: the database works while the compiler
    /// does. What replaces or deletes something goes when all is compiled, and as one transaction, so that chassis never see
    /// half of it.
    fn write(&mut self, now: Now, side: Side, is_compiled: bool) -> Vec<Operation> {
        let lock = self.lock;
        let (Some(active), database) = (
            &mut self.active,
            match side {
                Side::North => &mut self.north,
                Side::South => &mut self.south,
            },
        ) else {
            return Vec::new();
        };
        let output = active.compiler.output(side);
        let is_busy = database.is_busy();
        let adds_much = !output.has_deletions() && output.marked() >= database.limit;
        let may_start = match is_busy {
            true => adds_much && side == Side::South && database.may_overlap(),
            false => is_compiled || adds_much,
        };
        // Without the lock, another northd may be writing.
        if lock != Lock::Held || !database.may_write(now.at) || !may_start {
            return Vec::new();
        }
        let is_narrowed = database.limit < database.part;
        let limit = if side == Side::South && output.has_deletions() && !is_narrowed {
            MAX_REPLACEMENT
        } else {
            database.limit
        };
        // What waits for the rest waits for what is under way, too.
        let operations = active.compiler.take(side, limit, is_compiled && !is_busy);
        database.sends(operations.len());
        operations
    }

    fn change(&mut self, now: Now, side: Side, changes: &[RowChange]) {
        let Some(active) = &mut self.active else {
            let database = self.database(side);
            changes.iter().for_each(|change| database.change(change));
            return;
        };
        let database = match side {
            Side::North => &mut self.north,
            Side::South => &mut self.south,
        };
        active.compiler.world.now_ms = now.unix_ms;
        active.engine.input(&mut active.compiler, |compiler, told| {
            for change in changes {
                if !compiler.world.rows(side).is_kept(change.table) {
                    database.change(change);
                }
                compiler.change(side, change, told);
            }
        });
        if let Some(check) = &mut self.check {
            check.change(now, side, changes);
        }
    }

    fn answered(&mut self, now: Now, side: Side, outcome: Result<(), Refusal>) {
        let active = self.active.as_mut();
        let output = active.map(|active| active.compiler.output(side));
        let database = match side {
            Side::North => &mut self.north,
            Side::South => &mut self.south,
        };
        let Some(sent) = database.answered(outcome.is_err()) else {
            return;
        };
        let output = output.filter(|_| !sent.is_forgotten);
        let Err(refusal) = outcome else {
            database.limit = (database.limit * 2).min(database.part);
            if let Some(output) = output {
                output.committed();
            }
            return;
        };
        let (is_forgotten, follows_refused) = (sent.is_forgotten, sent.follows_refused);
        let (sent, reason) = (sent.operations, &refusal.reason);
        let fault = match (refusal.is_about_rows, database.limit) {
            _ if refusal.is_about_rows && output.is_some_and(|output| output.is_trying()) => {
                // It has been told before, and is nothing to the rest.
                tracing::debug!(target: "northd", "rows that were set aside are still refused: {reason}");
                return self.write_again(now, side, Fault::OfRows);
            }
            (false, _) => {
                database.retry_at = Some(now.at + RETRY);
                Fault::Unknown
            }
            (true, _) if follows_refused => Fault::OfRows,
            // As small as it gets: whatever of it is refused, it is one row's fault.
            (true, 1) => Fault::OfTheLast,
            (true, limit) => {
                database.limit = (sent.min(limit) / 8).max(1);
                Fault::OfRows
            }
        };
        tracing::warn!(
            target: "northd",
            "the {side:?}bound database refused {sent} operations: {reason}"
        );
        if !is_forgotten {
            self.write_again(now, side, fault);
        }
    }

    /// What was being written may not have been.
    fn write_again(&mut self, now: Now, side: Side, fault: Fault) {
        let Some(active) = &mut self.active else {
            return;
        };
        if let Some(id) = active.compiler.output(side).refused(now, fault) {
            let units = active.compiler.output(side).sayers(id);
            let rows = units
                .into_iter()
                .filter_map(|unit| active.engine.unit(unit)?.row());
            let row = rows.min_by_key(|row| active.compiler.world.north.uuid(*row));
            active.compiler.set_aside(id, row);
        }
    }

    fn answer(&mut self, request: Request, effects: &mut Effects) -> Result<String, String> {
        match request {
            Request::Pause(is_paused) => {
                if is_paused != self.is_paused {
                    tracing::info!(target: "northd", "{}", if is_paused { "paused" } else { "resumed" });
                    self.is_paused = is_paused;
                    // Pausing gives the lock up, so that another northd can take over.
                    effects.wants_lock = Some(!is_paused);
                }
            }
            Request::IsPaused => return Ok(format!("{}\n", self.is_paused)),
            Request::Status => return Ok(format!("Status: {}\n", self.status())),
            // Takes several steps: see `take`.
            Request::Recompute => {}
            Request::Stats(node, counter) => {
                let Some(active) = &self.active else {
                    return Ok(String::new());
                };
                let stats = active.engine.stats();
                return Ok(stats.show(node.as_deref(), counter.as_deref()));
            }
            Request::ClearStats => {
                if let Some(active) = &mut self.active {
                    active.engine.stats_mut().clear();
                }
            }
        }
        Ok(String::new())
    }

    fn may_be_active(&self) -> bool {
        // A database that is away for a moment is no reason to compile everything again.
        let was_active = self.active.is_some();
        let is_known = |database: &Database| database.is_synced || was_active;
        let holds = match self.lock {
            Lock::Held => true,
            Lock::Others => false,
            Lock::Unknown => was_active,
        };
        holds && !self.is_paused && is_known(&self.north) && is_known(&self.south)
    }

    fn activate(&mut self, now: Now) {
        let active = self.compile(now.unix_ms);
        tracing::info!(
            target: "northd",
            "active: {} northbound and {} southbound rows",
            self.north.rows.len(),
            self.south.rows.len()
        );
        // The compiler keeps the rows of its tables: once is enough.
        for (side, database) in [
            (Side::North, &mut self.north),
            (Side::South, &mut self.south),
        ] {
            let kept = active.compiler.world.rows(side);
            database.rows.retain(|(table, _), _| !kept.is_kept(*table));
            database.rows.shrink_to_fit();
        }
        self.active = Some(Box::new(active));
    }

    fn deactivate(&mut self) {
        let Some(active) = self.active.take() else {
            return;
        };
        let is_due = self.check_due.take().is_some();
        self.is_check_void |= self.check.take().is_some() || is_due;
        tracing::info!(target: "northd", "no longer active");
        for (side, database) in [
            (Side::North, &mut self.north),
            (Side::South, &mut self.south),
        ] {
            database.forget_sender();
            for change in active.compiler.rows(side) {
                database.change(&change);
            }
        }
    }

    /// A new compiler that has been told everything.
    fn compile(&self, now_ms: i64) -> Active {
        let mut active = Active::new(self.plan, &self.version, [&self.north, &self.south]);
        // What is recorded southbound comes first: it says who had which number.
        active.change(now_ms, Side::South, self.south.all_rows());
        active.change(now_ms, Side::North, self.north.all_rows());
        active.begin();
        active
    }

    fn database(&mut self, side: Side) -> &mut Database {
        match side {
            Side::North => &mut self.north,
            Side::South => &mut self.south,
        }
    }
}
