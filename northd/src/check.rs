//! Compiling everything anew beside what there is, to compare: a check of the engine's promise while it works.
//!
//! ```text
//! tell it all rows ──▶ compile ──▶ compare row by row ──▶ compare problems, and which rows there are
//! ```
//!
//! All of it goes in portions, with everything else between them. What changes meanwhile is told to both; but numbers are
//! handed out in the order of arrival, and those that are in use stay, so that a difference counts only if nothing has
//! changed since the beginning. It ends: after [`LIMIT`] at the latest, whatever goes on.

use std::time::{Duration, Instant};

use daemon::Now;
use ovsdb::RowChange;
use uuid::Uuid;

use crate::active::Active;
use crate::compiler::fact::RowId;
use crate::compiler::feature::Side;
use crate::database::Database;

/// Units that run before the event loop looks at other events.
pub(crate) const STEP_UNITS: usize = 2000;
/// Rows that are told or compared in one step.
const STEP_ROWS: usize = 5000;
/// The longest that it may take.
const LIMIT: Duration = Duration::from_secs(600);
/// Its progress is told so often.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// More differences than these are not listed.
const MAX_FOUND: usize = 1000;

/// A compiler that is told what the active one was told.
pub(crate) struct Check {
    fresh: Box<Active>,
    stage: Stage,
    began: Instant,
    told: Instant,
    /// Whether rows have changed since it began.
    is_late: bool,
    found: Vec<String>,
}

/// How far it is.
enum Stage {
    /// It is told the rows of a side: those that the active compiler does not keep, then those in its places.
    Telling(Side, Vec<(usize, Uuid)>, usize),
    Compiling,
    /// These are still to be compared.
    Comparing(Vec<RowId>),
}

/// What has come of it.
pub(crate) enum Outcome {
    /// These differ; the fresh compiler is right.
    Found(Vec<String>, Box<Active>),
    /// Nothing differs.
    Same,
    /// There is no saying.
    Void(String),
}

impl Check {
    /// Begins, with a compiler that knows nothing yet.
    pub(crate) fn new(now: Now, fresh: Active, south: &Database) -> Self {
        tracing::info!(target: "northd", "compiling everything anew, to compare");
        Self {
            fresh: Box::new(fresh),
            // What is recorded southbound comes first: it says who had which number.
            stage: Stage::Telling(Side::South, south.rows.keys().copied().collect(), 0),
            began: now.at,
            told: now.at,
            is_late: false,
            found: Vec::new(),
        }
    }

    /// Rows have changed.
    pub(crate) fn change(&mut self, now: Now, side: Side, changes: &[RowChange]) {
        self.is_late |= !changes.is_empty();
        // A row that it has not been told of yet will be told again as it then is.
        self.fresh
            .change(now.unix_ms, side, changes.iter().cloned());
    }

    /// Goes on, no further than one step may. `active` is the other compiler, at rest or not; `is_written` tells whether
    /// nothing is under way to a database.
    pub(crate) fn step(
        mut self: Box<Self>,
        now: Now,
        active: &Active,
        (north, south): (&Database, &Database),
        is_written: bool,
    ) -> Result<Outcome, Box<Self>> {
        if now.at.duration_since(self.began) > LIMIT {
            let seconds = LIMIT.as_secs();
            let why = format!("not done after {seconds} seconds: nothing was compared");
            return Ok(Outcome::Void(why));
        }
        self.tell_progress(now);
        match &mut self.stage {
            Stage::Telling(side, others, place) => {
                let side = *side;
                let database = if side == Side::North { north } else { south };
                let end = others.len().saturating_sub(STEP_ROWS);
                let mut portion: Vec<RowChange> = others
                    .drain(end..)
                    .filter_map(|key| database.row(key))
                    .collect();
                let rows = &active.compiler;
                let next = *place + STEP_ROWS.saturating_sub(portion.len());
                portion.extend(rows.portion(side, *place..next));
                *place = next;
                let is_told = others.is_empty() && next >= rows.world.rows(side).places();
                self.fresh.change(now.unix_ms, side, portion);
                if is_told && side == Side::South {
                    let others = north.rows.keys().copied().collect();
                    self.stage = Stage::Telling(Side::North, others, 0);
                } else if is_told {
                    self.fresh.begin();
                    self.stage = Stage::Compiling;
                }
            }
            Stage::Compiling => {
                if self.compile() && !active.engine.is_dirty() {
                    self.stage = Stage::Comparing(active.compiler.ids());
                }
            }
            Stage::Comparing(_) => {
                if self.compile() && !active.engine.is_dirty() && self.compare(active) {
                    return Ok(self.end(active, is_written));
                }
            }
        }
        Err(self)
    }

    fn tell_progress(&mut self, now: Now) {
        if now.at.duration_since(self.told) < TOLD_EVERY {
            return;
        }
        self.told = now.at;
        let doing = match &self.stage {
            Stage::Telling(Side::South, ..) => "taking up southbound rows".to_owned(),
            Stage::Telling(Side::North, ..) => "taking up northbound rows".to_owned(),
            Stage::Compiling => format!("{} units compiled", self.fresh.engine.unit_count()),
            Stage::Comparing(ids) => format!("{} rows still to be compared", ids.len()),
        };
        tracing::info!(target: "northd", "compiling everything anew: {doing}");
    }

    fn compile(&mut self) -> bool {
        let fresh = &mut *self.fresh;
        fresh.engine.step(&mut fresh.compiler, STEP_UNITS).done
    }

    /// Compares the next rows; returns whether these were the last.
    fn compare(&mut self, active: &Active) -> bool {
        let Stage::Comparing(ids) = &mut self.stage else {
            return false;
        };
        let end = ids.len().saturating_sub(STEP_ROWS);
        let of = &active.compiler;
        for id in ids.drain(end..) {
            if self.found.len() < MAX_FOUND {
                self.found.extend(of.difference(&self.fresh.compiler, id));
            }
        }
        ids.is_empty()
    }

    fn end(mut self, active: &Active, is_written: bool) -> Outcome {
        let others = active.compiler.other_differences(&mut self.fresh.compiler);
        self.found.extend(others);
        self.found.truncate(MAX_FOUND);
        if self.found.is_empty() {
            tracing::info!(target: "northd", "compiled everything anew: nothing differs");
            return Outcome::Same;
        }
        if self.is_late || !is_written {
            let why = "the network changed while it was compiled anew: try again";
            return Outcome::Void(why.to_owned());
        }
        // The new compiler has marked every row, and compares them when it writes.
        Outcome::Found(self.found, self.fresh)
    }
}
