//! A line against a database: commands, commit, again if need be, and waiting.

use std::sync::Arc;

use northbound::Rows as _;
use ovsdb::operation::OpResult;
use ovsdb::{ErrorKind, Operation};

use super::database::{Database, DatabaseError};
use super::line::execute;
use crate::command::Invocation;
use crate::error::CommandError;
use crate::options::{RunOptions, Wait};
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

pub(crate) fn with_remark(mut operations: Vec<Operation>, remark: &str) -> Vec<Operation> {
    let comment = Arc::from(remark);
    operations.insert(0, Operation::Comment { comment });
    operations
}

/// The value that the last operation read.
pub(crate) fn counter(results: &[OpResult]) -> Option<i64> {
    match results.last()? {
        OpResult::Rows(rows) => rows.first()?.first()?.1.scalar()?.as_integer(),
        _ => None,
    }
}

/// When northd saw the change, when it was done, and when the last chassis was, in milliseconds since the epoch.
pub(crate) type Times = [i64; 3];

pub(crate) fn wait_until(
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use nb_db::tables::{LogicalSwitch, LogicalSwitchPort, NbGlobal};
    use ovsdb::operation::{Failure, Outcome};
    use ovsdb::{Datum, Error, RowChange, Table, Uuid};

    use super::*;
    use crate::arguments::{parse_commands, parse_options};
    use crate::tools::NB;
    use northbound::Snapshot;

    /// A database that does what the test has written down.
    struct Scripted {
        snapshot: Snapshot,
        /// What each transaction gives, and what changes with it.
        answers: VecDeque<(Outcome, Vec<RowChange>)>,
        /// What changes each time somebody waits.
        changes: VecDeque<Vec<RowChange>>,
        /// The transactions, as JSON.
        transactions: Vec<Vec<String>>,
    }

    impl Scripted {
        fn new(rows: Vec<RowChange>) -> Self {
            let mut database = Self {
                snapshot: Snapshot::empty(Arc::clone(nb_db::schema())),
                answers: VecDeque::new(),
                changes: VecDeque::new(),
                transactions: Vec::new(),
            };
            database.apply(rows);
            database
        }

        fn apply(&mut self, changes: Vec<RowChange>) {
            for change in changes {
                self.snapshot.apply(change);
            }
        }
    }

    impl Database for Scripted {
        fn snapshot(&self) -> &Snapshot {
            &self.snapshot
        }

        fn wait_for_change(&mut self) -> Result<(), DatabaseError> {
            let changes = self.changes.pop_front().ok_or(DatabaseError::Timeout)?;
            self.apply(changes);
            Ok(())
        }

        fn transact(&mut self, operations: &[Operation]) -> Result<Outcome, DatabaseError> {
            let schema = nb_db::schema();
            let json = operations.iter().map(|operation| {
                serde_json::to_string(&operation.with(schema))
                    .expect("an operation has a JSON form")
            });
            self.transactions.push(json.collect());
            let (outcome, changes) = self.answers.pop_front().ok_or(DatabaseError::Timeout)?;
            self.apply(changes);
            Ok(outcome)
        }
    }

    fn row<T: Table>(number: u128, row: &T) -> RowChange {
        RowChange {
            table: T::INDEX,
            uuid: Uuid::from_u128(number),
            old: None,
            new: Some(Arc::new(row.to_row())),
        }
    }

    fn global(nb_cfg: i64, sb_cfg: i64) -> RowChange {
        let row_of = NbGlobal {
            nb_cfg,
            sb_cfg,
            nb_cfg_timestamp: 1_010,
            sb_cfg_timestamp: 1_020,
            ..NbGlobal::default()
        };
        row(1, &row_of)
    }

    fn switch(number: u128, name: &str, ports: &[u128]) -> RowChange {
        let ports = ports.iter().map(|port| Uuid::from_u128(*port)).collect();
        let switch = LogicalSwitch {
            name: name.into(),
            ports,
            ..LogicalSwitch::default()
        };
        row(number, &switch)
    }

    fn port(number: u128, name: &str) -> RowChange {
        let port = LogicalSwitchPort {
            name: name.into(),
            ..LogicalSwitchPort::default()
        };
        row(number, &port)
    }

    fn run(database: &mut Scripted, words: &str) -> Result<Done, LineError> {
        let words = words.split(' ').map(str::to_owned).collect();
        let line = parse_options(&NB, words).expect("the options are right");
        let options = RunOptions::read(&NB, &line.options, &|_| None).expect("they mean something");
        let commands = parse_commands(&NB, line).expect("the commands are right");
        run_line(&NB, database, &commands, &options, "test", &|| 1_000)
    }

    fn text(done: &Done) -> String {
        done.outputs
            .iter()
            .map(|output| output.text.as_str())
            .collect()
    }

    fn conflict() -> Outcome {
        Err(Failure {
            done: Vec::new(),
            error: Error::new(ErrorKind::TimedOut, ""),
        })
    }

    #[test]
    fn somebody_else_was_faster() {
        for (words, expected) in [
            (
                "ls-add a",
                Err("a: a switch with this name already exists".to_owned()),
            ),
            ("-- --may-exist ls-add a", Ok(String::new())),
        ] {
            let mut database = Scripted::new(vec![global(0, 0)]);
            database
                .answers
                .push_back((conflict(), vec![switch(2, "a", &[])]));
            database.changes.push_back(Vec::new());
            let outcome = run(&mut database, words);
            let outcome = outcome
                .map(|done| text(&done))
                .map_err(|error| error.to_string());
            assert_eq!(outcome, expected);
            assert_eq!(database.transactions.len(), 1);
        }
    }

    #[test]
    fn a_transaction_says_what_it_relies_on() {
        let mut database = Scripted::new(vec![global(0, 0), switch(2, "a", &[3]), port(3, "p")]);
        let written = Ok(vec![OpResult::Empty]);
        for (words, expected) in [
            (
                "lsp-del p",
                vec![
                    r#"{"op":"comment","comment":"test"}"#,
                    r#"{"op":"wait","table":"Logical_Switch","where":[["_uuid","==",["uuid","00000000-0000-0000-0000-000000000002"]]],"columns":["_uuid"],"until":"==","rows":[{"_uuid":["uuid","00000000-0000-0000-0000-000000000002"]}],"timeout":0}"#,
                    r#"{"op":"delete","table":"Logical_Switch_Port","where":[["_uuid","==",["uuid","00000000-0000-0000-0000-000000000003"]]]}"#,
                    r#"{"op":"mutate","table":"Logical_Switch","where":[["_uuid","==",["uuid","00000000-0000-0000-0000-000000000002"]]],"mutations":[["ports","delete",["uuid","00000000-0000-0000-0000-000000000003"]]]}"#,
                ],
            ),
            (
                "--id=00000000-0000-0000-0000-000000000009 create Logical_Switch name=b",
                vec![
                    r#"{"op":"comment","comment":"test"}"#,
                    r#"{"op":"insert","table":"Logical_Switch","row":{"name":"b"},"uuid":"00000000-0000-0000-0000-000000000009"}"#,
                ],
            ),
        ] {
            database.answers.push_back((written.clone(), Vec::new()));
            run(&mut database, words).expect("the transaction is done");
            let asked = database.transactions.pop().expect("there was one");
            let parsed = |json: &str| -> serde_json::Value {
                serde_json::from_str(json).expect("this is JSON")
            };
            let asked: Vec<serde_json::Value> = asked.iter().map(|json| parsed(json)).collect();
            let expected: Vec<serde_json::Value> = expected.into_iter().map(parsed).collect();
            assert_eq!(asked, expected, "{words}");
        }
    }

    #[test]
    fn a_line_that_changes_nothing_is_no_transaction() {
        let mut database = Scripted::new(vec![global(0, 0), switch(2, "a", &[])]);
        for words in [
            "ls-list",
            "set Logical_Switch a name=a",
            "--wait=sb show",
            "-- --if-exists ls-del b",
            "ls-add b -- ls-del b",
            "--dry-run ls-add b",
        ] {
            run(&mut database, words).expect("nothing is to be done");
            assert_eq!(database.transactions.len(), 0, "{words}");
        }
    }

    #[test]
    fn waiting_until_something_is_there() {
        let mut database = Scripted::new(vec![global(0, 0)]);
        database.changes.push_back(vec![switch(2, "b", &[])]);
        database.changes.push_back(vec![switch(3, "a", &[])]);
        let done = run(
            &mut database,
            "wait-until Logical_Switch a -- get Logical_Switch a name",
        );
        assert_eq!(text(&done.expect("it came")), "a\n");
        assert!(database.changes.is_empty());
    }

    #[test]
    fn waiting_for_the_southbound_database() {
        let mut database = Scripted::new(vec![global(4, 4)]);
        let name = Arc::from("nb_cfg");
        let results = vec![OpResult::Rows(vec![vec![(name, Datum::from(5_i64))]])];
        database
            .answers
            .push_back((Ok(results), vec![global(5, 4)]));
        database.changes.push_back(vec![global(5, 4)]);
        database.changes.push_back(vec![global(5, 5)]);
        let done = run(&mut database, "--wait=sb --print-wait-time ls-add a").expect("it came");
        assert!(database.changes.is_empty());
        assert_eq!(
            done.wait_time,
            "Time spent on processing nb_cfg 5:\n\tovn-northd delay before processing:\t10ms\n\
             \tovn-northd completion:\t\t\t20ms\n"
        );
    }

    #[test]
    fn the_overview_is_in_order() {
        let rows = vec![
            global(0, 0),
            switch(9, "a", &[3, 4]),
            switch(2, "b", &[]),
            port(4, "p1"),
            port(3, "p2"),
        ];
        let mut database = Scripted::new(rows);
        let done = run(&mut database, "show").expect("it can be shown");
        assert_eq!(
            text(&done),
            "switch 00000000-0000-0000-0000-000000000009 (a)\n    port p1\n    port p2\n\
             switch 00000000-0000-0000-0000-000000000002 (b)\n"
        );
    }

    #[test]
    fn an_empty_database_gets_its_global_row_once() {
        let mut database = Scripted::new(Vec::new());
        database.answers.push_back((conflict(), vec![global(0, 0)]));
        database.changes.push_back(Vec::new());
        run(&mut database, "init").expect("somebody else has done it");
        assert_eq!(database.transactions.len(), 1);
        assert!(database.transactions[0][1].contains(r#""until":"==","rows":[]"#));
    }
}
