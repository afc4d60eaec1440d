//! `weft plan`: what a change would do, before it is made.
//!
//! The change is commands of `weft nb`, or files of `weft apply`. What it would do to the northbound is known from the
//! copy that was read; what northd would make of it, northd says itself: `weft-northd --draft` compiles copies of both
//! databases, and then the change. Neither database is written to, and the northd at work hears nothing of it.
//!
//! A daemon (`weft plan --detach`) keeps a northd that has compiled copies already, and follows both databases.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`draft`] | asks `weft-northd --draft`, and reads its answer |
//! | [`daemon`] | the same for as long as somebody asks |
//! | [`rows`] | rows, logical flows and problems that come and go, in words |
//! | [`chassis`] | the chassis that have to do with it |
//! | [`packets`] | packets by example, whose fate is another afterwards |

mod chassis;
mod daemon;
mod draft;
mod packets;
pub(crate) mod rows;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use ::daemon::args::{CommonArgs, parse_words};
use ::daemon::place;
use clap::{CommandFactory, Parser};
use northbound::{Draft, Snapshot};
use ovsdb::{Operation, Table};
use replica::Tables;
use sb_db::tables::Chassis;

use self::draft::Drafted;
use crate::appctl::Target;
use crate::arguments::{parse_commands, parse_options};
use crate::error::{CommandError, Outcome, fail};
use crate::explain::connection::Reader;
use crate::objects::apply::{Declaration, told};
use crate::objects::connect::Connect;
use crate::options::{RunOptions, Wait};
use crate::run::connection::Connection;
use crate::run::database::Database as _;
use crate::run::line::{execute, needed_tables};
use crate::tools::{NB, SB};
use crate::trace::known::Known;
use crate::trace::request::with_room;
use crate::trace::world::TABLES;

/// Says what a change would do: to rows, logical flows, chassis and packets
#[derive(Debug, Parser)]
#[command(
    name = "weft plan",
    bin_name = "weft plan",
    version,
    override_usage = "weft plan [OPTIONS] -f FILE...\n       weft plan [OPTIONS] [--] COMMAND [ARGUMENT]... [-- COMMAND...]\n       weft plan [OPTIONS] --detach"
)]
struct Arguments {
    #[command(flatten)]
    connect: Connect,

    /// The southbound database: remotes, comma-separated; by default the one on this machine
    #[arg(long, value_name = "REMOTE", env = "OVN_SB_DB", hide_env_values = true)]
    sb: Option<String>,

    #[command(flatten)]
    declaration: Declaration,

    /// List everything, not only the first of each sort
    #[arg(long)]
    all: bool,

    /// The northd that is asked; by default the one beside this program, else that of the path
    #[arg(long, value_name = "PROGRAM")]
    northd: Option<PathBuf>,

    /// Ask the daemon with this control socket, which weft plan --detach has printed: it has compiled already
    #[arg(long, value_name = "SOCKET", env = DAEMON_VARIABLE, hide_env_values = true)]
    daemon: Option<String>,

    #[command(flatten)]
    common: CommonArgs,

    /// Commands of weft nb, with -- between them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    commands: Vec<String>,
}

/// It names the control socket of a daemon.
const DAEMON_VARIABLE: &str = "WEFT_PLAN_DAEMON";
/// A daemon takes no longer requests; what is longer is planned without it.
const MOST_ASKED_BYTES: usize = 1 << 19;

/// So many of a sort are listed, if not all are asked for.
const LISTED: usize = 20;

/// Runs the program.
pub fn run(arguments: Vec<String>) -> ExitCode {
    let words = std::iter::once("weft plan".to_owned()).chain(arguments);
    let mut arguments: Arguments = parse_words(words.map(OsString::from));
    let done = match arguments.common.detach {
        true => daemon::serve(&mut arguments).map(|socket| {
            socket.map_or_else(String::new, |socket| format!("{}\n", socket.display()))
        }),
        false => arguments.execute(),
    };
    match done {
        Ok(text) => {
            // Who has closed the output does not want more of it.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(CommandError::Failed(text)) => {
            eprintln!("weft plan: {text}");
            ExitCode::FAILURE
        }
        Err(CommandError::NotYet) => {
            eprintln!("weft plan: the change waits for something that is not there yet");
            ExitCode::FAILURE
        }
    }
}

impl AsMut<CommonArgs> for Arguments {
    fn as_mut(&mut self) -> &mut CommonArgs {
        &mut self.common
    }
}

impl Arguments {
    fn execute(&self) -> Outcome<String> {
        let (mut text, operations) = match (self.declaration.is_empty(), self.commands.is_empty()) {
            (false, true) => self.declared()?,
            (true, false) => self.commanded()?,
            (false, false) => return fail("give files or commands, not both"),
            (true, true) => {
                return fail("nothing is given; give files with -f, or commands of weft nb");
            }
        };
        if operations.is_empty() {
            text.push_str("nothing would change\n");
            return Ok(text);
        }
        if let Some(socket) = &self.daemon {
            let words = daemon::words(&operations, self.all)?;
            if words[0].len() <= MOST_ASKED_BYTES {
                let target = Target {
                    socket: socket.clone(),
                    tool: "weft plan",
                    variable: DAEMON_VARIABLE,
                };
                let told = target.ask(daemon::PLAN, &words, self.connect.limit());
                text.push_str(&told.map_err(|error| CommandError::Failed(error.to_string()))?);
                return Ok(text);
            }
            eprintln!(
                "weft plan: the change is too long for the daemon, and is planned without it"
            );
        }
        let southbound = self.southbound();
        let asked = draft::ask(
            self.northd.as_deref(),
            &self.connect,
            &southbound,
            &operations,
        )?;
        // Northd reads and compiles, and this program reads meanwhile.
        let reader = Reader::new(&self.connect.tls(), true, self.connect.limit())?;
        let mut tables = TABLES.to_vec();
        tables.push(Chassis::INDEX);
        let south = reader.read(&SB, Some(&southbound), &tables)?;
        let tables = south.tables();
        let told = with_room(|| {
            // Northd compiles meanwhile.
            let mut known = Known::new(tables);
            let drafted = asked.answer(self.connect.limit())?;
            let told = tell(tables, &mut known, &drafted, self.all);
            std::mem::forget(known);
            Ok::<_, CommandError>(told)
        });
        text.push_str(&told.map_err(CommandError::Failed)??);
        // The process ends: what is large is given back with it.
        std::mem::forget(south);
        Ok(text)
    }

    /// Where the southbound is.
    fn southbound(&self) -> String {
        self.sb.clone().unwrap_or_else(|| {
            let socket = place::run_dir().join(SB.socket);
            format!("unix:{}", socket.display())
        })
    }

    /// What files would do to objects, and the operations for it.
    fn declared(&self) -> Outcome<(String, Vec<Operation>)> {
        let read = self.declaration.read()?;
        let northbound = self.connect.open(None)?;
        let mut draft = Draft::new(northbound.snapshot());
        let plan = read.apply(&mut draft)?;
        Ok((told(&plan, true), draft.operations()))
    }

    /// The operations of commands.
    fn commanded(&self) -> Outcome<(String, Vec<Operation>)> {
        let line = parse_options(&NB, self.commands.clone())?;
        if let Some((option, _)) = line.options.first() {
            return fail(format!(
                "{option} is no option of a command; those of weft plan come before the commands"
            ));
        }
        let commands = parse_commands(&NB, line)?;
        let options: RunOptions = self.connect.options()?;
        let schema = Arc::clone((NB.schema)());
        let tables = needed_tables(&NB, &Snapshot::empty(Arc::clone(&schema)), &commands)?;
        let connection = Connection::open(&options, &schema, tables)?;
        let executed = execute(&NB, connection.snapshot(), &commands, Wait::None)?;
        let warnings = executed.warnings.iter();
        let text = warnings.map(|warning| format!("warning: {warning}\n"));
        Ok((text.collect(), executed.operations))
    }
}

/// What a change would do, in words. What is known is as before afterwards.
fn tell(south: &Tables, known: &mut Known, drafted: &Drafted, is_all: bool) -> String {
    let limit = if is_all { usize::MAX } else { LISTED };
    let mut told = rows::tell(south, drafted, limit);
    told.push_str(&chassis::tell(south, &drafted.south, limit));
    told.push_str(&packets::tell(south, known, &drafted.south, limit));
    told.push_str(&rows::problems(&drafted.north, limit));
    told
}

/// Its arguments, for completion and the book.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// A heading, and so many of the lines below it as may be listed.
pub(crate) fn section(heading: &str, lines: &[String], limit: usize) -> String {
    let mut text = format!("{heading}\n");
    for line in lines.iter().take(limit) {
        text.push_str(&format!("  {line}\n"));
    }
    if lines.len() > limit {
        let more = lines.len() - limit;
        text.push_str(&format!("  … and {more} more; --all lists them\n"));
    }
    text
}

/// `1 row`, `2 rows`.
fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_before_the_commands() {
        Arguments::command().debug_assert();
        let words = [
            "weft plan",
            "--all",
            "ls-add",
            "s",
            "--",
            "--may-exist",
            "ls-add",
            "t",
        ];
        let read = Arguments::try_parse_from(words).expect("they are understood");
        assert!(read.all);
        assert_eq!(
            read.commands,
            ["ls-add", "s", "--", "--may-exist", "ls-add", "t"]
        );
        let words = ["weft plan", "--", "--if-exists", "ls-del", "s"];
        let read = Arguments::try_parse_from(words).expect("they are understood");
        assert_eq!(read.commands, ["--if-exists", "ls-del", "s"]);
    }
}
