//! `weft diff`: in what two databases differ, or what a file declares and a database has.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`side`] | the rows of one side, and how they are told apart without UUIDs |
//! | [`compare`] | which rows belong together, and what differs |

mod compare;
mod side;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, ValueEnum};
use northbound::Draft;
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Row, RowChange, Uuid};
use replica::{Client, Tables};

use self::side::Side;
use crate::error::{CommandError, Outcome, fail};
use crate::explain::connection::Reader;
use crate::objects::apply::Declaration;
use crate::objects::connect::Connect;
use crate::plan::rows::called;
use crate::plan::section;
use crate::tool::Tool;
use crate::tools::{NB, SB};

/// Says in what two databases differ, or what files declare and a database has
///
/// Rows are told apart by their names and contents, for their UUIDs are others in each database. What daemons write, such as
/// whether a port is up, is left out. The exit status is 0 if there is no difference, 1 if there is one, and 2 if it cannot be
/// said.
#[derive(Debug, Parser)]
#[command(
    name = "weft diff",
    bin_name = "weft diff",
    version,
    override_usage = "weft diff [OPTIONS] REMOTE [REMOTE]\n       weft diff [OPTIONS] -f FILE..."
)]
struct Arguments {
    /// The databases, as remotes: what would have to change in the first to be as the second; the second is by default that of
    /// --db
    #[arg(value_name = "REMOTE", num_args = 0..=2)]
    remotes: Vec<String>,

    #[command(flatten)]
    declaration: Declaration,

    /// Which databases the remotes are
    #[arg(long, value_enum, default_value = "nb")]
    database: Which,

    /// Compare what daemons write, too, and list everything, not only the first of each sort
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    connect: Connect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Northbound databases
    Nb,
    /// Southbound databases
    Sb,
}

/// There is a difference.
const DIFFERENT: u8 = 1;
/// It cannot be said.
const TROUBLE: u8 = 2;
/// So many of a sort are listed, if not all are asked for.
const LISTED: usize = 50;
/// So much of a value is shown, if not all is asked for.
const SHOWN: usize = 200;

/// Runs the program.
pub fn run(arguments: Vec<String>) -> ExitCode {
    let words = std::iter::once("weft diff".to_owned()).chain(arguments);
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and versions come this way too. Who has closed the output does not want them.
            let _ = error.print();
            let is_wrong = error.use_stderr();
            return ExitCode::from(if is_wrong { TROUBLE } else { 0 });
        }
    };
    match arguments.execute() {
        Ok(text) if text.is_empty() => ExitCode::SUCCESS,
        Ok(text) => {
            // Who has closed the output does not want more of it.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::from(DIFFERENT)
        }
        Err(CommandError::Failed(text)) => {
            eprintln!("weft diff: {text}");
            ExitCode::from(TROUBLE)
        }
        Err(CommandError::NotYet) => ExitCode::from(TROUBLE),
    }
}

impl Arguments {
    /// The differences in words; nothing if there is none.
    fn execute(&self) -> Outcome<String> {
        match (&self.remotes[..], self.declaration.is_empty()) {
            ([], false) => self.declared(),
            ([_, ..], false) => fail(
                "give remotes or files, not both; --db is the database that files are compared with",
            ),
            ([], true) => {
                fail("nothing to compare is given; give a remote or two, or files with -f")
            }
            ([left], true) => self.databases(left, &self.other()),
            ([left, right, ..], true) => self.databases(left, right),
        }
    }

    fn tool(&self) -> &'static Tool {
        match self.database {
            Which::Nb => &NB,
            Which::Sb => &SB,
        }
    }

    /// The database that is compared with, if only one is given.
    fn other(&self) -> String {
        match self.database {
            Which::Nb => self.connect.remote(),
            Which::Sb => {
                let of_variable = std::env::var(SB.remote_variable).ok();
                of_variable.unwrap_or_else(|| {
                    let socket = daemon::place::run_dir().join(SB.socket);
                    format!("unix:{}", socket.display())
                })
            }
        }
    }

    fn databases(&self, left: &str, right: &str) -> Outcome<String> {
        let tool = self.tool();
        let reader = Reader::new(&self.connect.tls(), true, self.connect.limit())?;
        let schema = (tool.schema)();
        let tables: Vec<usize> = (0..schema.tables.len()).collect();
        let read = |remote: &str| -> Outcome<Client> {
            let client = reader.read(tool, Some(&remote.to_owned()), &tables);
            client.map_err(|error| CommandError::Failed(format!("{remote}: {error}")))
        };
        let (left, right) = (read(left)?, read(right)?);
        let side = |tables| Side::new(schema, self.all, move |table| rows_of(tables, table));
        let (left, right) = (side(left.tables()), side(right.tables()));
        let changes = compare::changes(schema, &left, &right);
        Ok(self.told(schema, &changes, &left, &right))
    }

    /// What the database would have to change to be as files declare it.
    fn declared(&self) -> Outcome<String> {
        if self.database == Which::Sb {
            return fail("files declare what is in the northbound; leave --database out");
        }
        let read = self.declaration.read()?;
        let northbound = self.connect.open(None)?;
        let mut draft = Draft::new(northbound.snapshot());
        read.apply(&mut draft)?;
        let schema = nb_db::schema();
        // Both have the same UUIDs.
        let rows = |table: usize| -> Vec<(Uuid, Arc<Row>)> {
            let rows = draft.rows(table);
            rows.map(|(uuid, row)| (uuid, Arc::new(row.clone())))
                .collect()
        };
        let after: Vec<Vec<(Uuid, Arc<Row>)>> = (0..schema.tables.len()).map(rows).collect();
        let snapshot = northbound.snapshot();
        let left = Side::new(schema, true, |table| {
            snapshot.table(table).iter().map(|(uuid, row)| (*uuid, row))
        });
        let right = Side::new(schema, true, |table| {
            after[table].iter().map(|(uuid, row)| (*uuid, row))
        });
        let mut changes = Vec::new();
        for table in 0..schema.tables.len() {
            let uuids = left.rows(table).keys().chain(right.rows(table).keys());
            let mut uuids: Vec<Uuid> = uuids.copied().collect();
            uuids.sort_unstable();
            uuids.dedup();
            for uuid in uuids {
                let row = |side: &Side<'_>| side.rows(table).get(&uuid).copied().cloned();
                let (old, new) = (row(&left), row(&right));
                if old != new {
                    changes.push(RowChange {
                        table,
                        uuid,
                        old,
                        new,
                    });
                }
            }
        }
        Ok(self.told(schema, &changes, &left, &right))
    }

    /// Rows that would come, change and go, with what changes in them.
    fn told(
        &self,
        schema: &DatabaseSchema,
        changes: &[RowChange],
        left: &Side<'_>,
        right: &Side<'_>,
    ) -> String {
        if changes.is_empty() {
            return String::new();
        }
        let (mut lines, mut counts) = (Vec::new(), [0; 3]);
        // What a row is called from elsewhere.
        let new: std::collections::HashMap<Uuid, &RowChange> =
            changes.iter().map(|change| (change.uuid, change)).collect();
        let named = |uuid: Uuid| {
            let of_change = new.get(&uuid).and_then(|change| {
                let row = change.new.as_ref().or(change.old.as_ref())?;
                Some((change.table, row))
            });
            let found = left.find(uuid).or_else(|| right.find(uuid)).or(of_change);
            let name = found.and_then(|(table, row)| called(&schema.tables[table], row));
            name.unwrap_or_else(|| uuid.to_string())
        };
        for change in changes {
            let table = &schema.tables[change.table];
            let (which, mark, row) = match (&change.old, &change.new) {
                (None, Some(new)) => (0, '+', new),
                (Some(_), Some(new)) => (1, '~', new),
                (Some(old), None) => (2, '-', old),
                (None, None) => continue,
            };
            counts[which] += 1;
            let name = called(table, row).unwrap_or_else(|| change.uuid.to_string());
            let mut line = format!("{mark} {} {name}", table.name);
            if let (Some(old), Some(new)) = (&change.old, &change.new) {
                for column in change.changed_columns() {
                    let said = |row: &Row| self.shortened(left.said(row.get(column), &named));
                    line.push_str(&format!(
                        "\n      {}: {} -> {}",
                        table.columns[column].name,
                        said(old),
                        said(new)
                    ));
                }
            }
            lines.push(line);
        }
        let [added, changed, gone] = counts;
        let database = match self.database {
            Which::Nb => "northbound",
            Which::Sb => "southbound",
        };
        let noun = if added == 1 { "row" } else { "rows" };
        let heading =
            format!("{database}: {added} {noun} added, {changed} changed, {gone} removed");
        let limit = if self.all { usize::MAX } else { LISTED };
        section(&heading, &lines, limit)
    }

    fn shortened(&self, mut text: String) -> String {
        if !self.all
            && let Some((end, _)) = text.char_indices().nth(SHOWN)
        {
            text.truncate(end);
            text.push('…');
        }
        text
    }
}

fn rows_of(tables: &Tables, table: usize) -> impl Iterator<Item = (Uuid, &Arc<Row>)> {
    tables.table(table).iter()
}

/// Its arguments, for completion and the book.
pub fn command() -> clap::Command {
    Arguments::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_well_formed() {
        Arguments::command().debug_assert();
        let words = ["weft diff", "unix:/a", "unix:/b", "--all"];
        let read = Arguments::try_parse_from(words).expect("they are understood");
        assert_eq!(read.remotes, ["unix:/a", "unix:/b"]);
        let both = Arguments::try_parse_from(["weft diff", "unix:/a", "-f", "x.yaml"]);
        let both = both.expect("they are understood").execute();
        assert!(both.is_err_and(|error| error.to_string().contains("not both")));
    }
}
