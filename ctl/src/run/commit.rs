//! A line against a database: commands, commit, again if need be, and waiting.

use std::sync::Arc;

use ovsdb::operation::OpResult;
use ovsdb::{ErrorKind, Operation};

use super::line::execute;
use super::{Database, DatabaseError, RunOptions, Wait};
use crate::arguments::Invocation;
use crate::error::CommandError;
use crate::output::Output;
use crate::tool::Tool;

/// Why a line failed.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// A command cannot be done.
    #[error("{0}")]
    Command(String),
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The database refused what the commands wanted.
    #[error("transaction error: {0}")]
    Refused(String),
}

/// What a line did.
#[derive(Debug, Default)]
pub struct Done {
    /// What its commands print.
    pub outputs: Vec<Output>,
    /// What somebody should know.
    pub warnings: Vec<String>,
    /// How long the waiting took, in words, if that was asked for.
    pub wait_time: String,
}

/// Runs a line. `remark` is what the database's log says of it; `now_ms` is the time of day, in milliseconds since the
/// epoch.
pub fn run_line(
    tool: &Tool,
    database: &mut dyn Database,
    line: &[Invocation],
    options: &RunOptions,
    remark: &str,
    now_ms: &dyn Fn() -> i64,
) -> Result<Done, LineError> {
    loop {
        let executed = match execute(tool, database.snapshot(), line, options.wait) {
            Ok(executed) => executed,
            Err(CommandError::NotYet) => {
                database.wait_for_change()?;
                continue;
            }
            Err(CommandError::Failed(text)) => return Err(LineError::Command(text)),
        };
        let mut done = Done {
            outputs: executed.outputs,
            warnings: executed.warnings,
            wait_time: String::new(),
        };
        if executed.operations.is_empty() || options.dry_run {
            return Ok(done);
        }
        let started_ms = now_ms();
        let operations = with_remark(executed.operations, remark);
        match database.transact(&operations)? {
            Ok(results) => {
                let goal = executed.increments.then(|| counter(&results)).flatten();
                if let Some(goal) = goal {
                    let times = wait_until(tool, database, goal, options.wait)?;
                    if options.print_wait_time {
                        done.wait_time = wait_time(goal, started_ms, times, options.wait);
                    }
                }
                return Ok(done);
            }
            // Something that a command has relied upon is not so any more.
            Err(failure) if failure.error.kind == ErrorKind::TimedOut => {
                database.wait_for_change()?;
            }
            Err(failure) => return Err(LineError::Refused(failure.error.to_json().to_string())),
        }
    }
}

fn with_remark(mut operations: Vec<Operation>, remark: &str) -> Vec<Operation> {
    let comment = Arc::from(remark);
    operations.insert(0, Operation::Comment { comment });
    operations
}

/// The value that the last operation read.
fn counter(results: &[OpResult]) -> Option<i64> {
    match results.last()? {
        OpResult::Rows(rows) => rows.first()?.first()?.1.scalar()?.as_integer(),
        _ => None,
    }
}

/// When northd saw the change, when it was done, and when the last chassis was, in milliseconds since the epoch.
type Times = [i64; 3];

fn wait_until(
    tool: &Tool,
    database: &mut dyn Database,
    goal: i64,
    wait: Wait,
) -> Result<Times, DatabaseError> {
    loop {
        let integer = |column: &str| {
            let snapshot = database.snapshot();
            let table = snapshot.schema().table_index(tool.global_table)?;
            let column = snapshot.schema().tables[table].column_index(column)?;
            let row = snapshot.table(table).values().next()?;
            row.get(column).scalar()?.as_integer()
        };
        let reached = if wait == Wait::Chassis {
            integer("hv_cfg").min(integer("sb_cfg"))
        } else {
            integer("sb_cfg")
        };
        if reached.is_some_and(|reached| reached >= goal) {
            let time = |column| integer(column).unwrap_or_default();
            return Ok([
                time("nb_cfg_timestamp"),
                time("sb_cfg_timestamp"),
                time("hv_cfg_timestamp"),
            ]);
        }
        database.wait_for_change()?;
    }
}

fn wait_time(goal: i64, started_ms: i64, times: Times, wait: Wait) -> String {
    let [seen, southbound, chassis] = times.map(|time| (time - started_ms).max(0));
    let mut text = format!(
        "Time spent on processing nb_cfg {goal}:\n\tovn-northd delay before processing:\t{seen}ms\n\
         \tovn-northd completion:\t\t\t{southbound}ms\n"
    );
    if wait == Wait::Chassis {
        text.push_str(&format!("\tovn-controller(s) completion:\t\t{chassis}ms\n"));
    }
    text
}
