//! `weft apply`, `get`, `describe` and `delete`: the network as objects in files.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`connect`] | reaches the northbound, commits, waits |
//! | [`apply`], [`delete`] | change it |
//! | [`get`] | tables, YAML and JSON of what there is |
//!
//! What the commands do to the network is in the crate `objects`; the database may be Weft's or OVN's.

pub(crate) mod apply;
pub(crate) mod connect;
mod delete;
mod get;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use objects::{Kind, Refused, catalog};

use self::connect::Connect;
use crate::error::{CommandError, Outcome, fail};
use crate::page;

/// The subcommands of `weft` that are here.
pub const COMMANDS: [&str; 4] = ["apply", "get", "describe", "delete"];

/// Describes the network as objects
#[derive(Debug, Parser)]
#[command(
    name = "weft",
    bin_name = "weft",
    version,
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make what an owner has be what files declare: create, change, and delete what they no longer declare
    Apply(apply::Apply),
    /// Print objects
    Get(get::Get),
    /// Print all that is known of an object
    Describe(get::Describe),
    /// Delete objects, and what belongs to them
    Delete(delete::Delete),
}

/// Runs one of [`COMMANDS`] with these arguments.
pub fn run(name: &str, arguments: Vec<String>) -> ExitCode {
    let words = ["weft", name]
        .map(str::to_owned)
        .into_iter()
        .chain(arguments);
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and versions come this way too. Who has closed the output does not want them.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    match arguments.execute() {
        Ok(text) => {
            // Who has closed the output does not want more of it.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(CommandError::Failed(text)) => {
            eprintln!("weft {name}: {text}");
            ExitCode::FAILURE
        }
        Err(CommandError::NotYet) => ExitCode::FAILURE,
    }
}

impl Arguments {
    /// What it prints.
    fn execute(&self) -> Outcome<String> {
        match &self.command {
            Command::Apply(command) => command.run(&self.connect),
            Command::Get(command) => command.run(&self.connect),
            Command::Describe(command) => command.run(&self.connect),
            Command::Delete(command) => command.run(&self.connect),
        }
    }
}

/// The kind that somebody calls so.
fn kind_called(text: &str) -> Outcome<&'static Kind> {
    match catalog().called(text) {
        Some(kind) => Ok(kind),
        None => {
            let kinds = catalog().kinds().iter();
            let names: Vec<&str> = kinds.map(|kind| kind.definition.plural).collect();
            fail(format!(
                "{text}: there is no such kind; there are {}",
                names.join(", ")
            ))
        }
    }
}

/// A refusal, each field of it on a line.
fn tell(refused: &Refused) -> CommandError {
    if refused.violations.len() < 2 {
        return CommandError::Failed(refused.message.clone());
    }
    let mut text = format!("{} things are wrong", refused.violations.len());
    for violation in &refused.violations {
        text.push_str(&format!("\n  {violation}"));
    }
    CommandError::Failed(text)
}

/// Its arguments, for completion and the book.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// What kinds of objects are called.
pub fn kinds() -> impl Iterator<Item = String> {
    let kinds = catalog().kinds().iter();
    kinds.map(|kind| kind.definition.plural.to_owned())
}

/// The reference page, in Markdown.
pub fn reference_page() -> String {
    let mut text = "# weft apply, get, describe, delete\n".to_owned();
    text.push_str(&page::parts(command()));
    text.push_str("\n## Kinds\n\n| kind | table | belongs to |\n| --- | --- | --- |\n");
    for kind in catalog().kinds() {
        let parents = kind.definition.parents.iter().map(|parent| parent.field);
        text.push_str(&format!(
            "| `{}`, in files `{}` | `{}` | {} |\n",
            kind.definition.plural,
            kind.label(),
            kind.definition.table,
            parents.collect::<Vec<_>>().join(", ")
        ));
    }
    text
}
