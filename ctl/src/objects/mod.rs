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

/// Runs one of [`COMMANDS`] with these arguments, its name the first of them.
pub fn run(arguments: Vec<String>) -> ExitCode {
    let name = arguments.first().cloned().unwrap_or_default();
    let words = std::iter::once("weft".to_owned()).chain(arguments);
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

/// The commands, for the manual page.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// The subcommands' options, for completion.
pub fn words() -> Vec<String> {
    let command = Arguments::command();
    let options = command
        .get_subcommands()
        .chain([&command])
        .flat_map(clap::Command::get_arguments);
    let mut words: Vec<String> = options
        .filter_map(|option| Some(format!("--{}", option.get_long()?)))
        .collect();
    let kinds = catalog().kinds().iter();
    words.extend(kinds.map(|kind| kind.definition.plural.to_owned()));
    words
}

/// The reference page, in Markdown.
pub fn reference_page() -> String {
    let mut text = "# weft apply, get, describe, delete\n".to_owned();
    let mut command = Arguments::command().term_width(100);
    command.build();
    for subcommand in command.get_subcommands_mut() {
        let help = subcommand.render_long_help();
        text.push_str(&format!(
            "\n## weft {}\n\n```text\n{}\n```\n",
            subcommand.get_name(),
            help.to_string().trim_end()
        ));
    }
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
