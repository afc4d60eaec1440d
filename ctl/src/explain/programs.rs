//! `weft detrace`, `weft debug` and `weft why` as programs: they connect, read what they need once, and print.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use super::debug::Debug;
use super::detrace::Detrace;
use super::why_program::Why;
use crate::error::Outcome;
use crate::page;
use crate::report::Reporter;

/// Runs `weft detrace`.
pub fn detrace(arguments: Vec<String>) -> ExitCode {
    run("weft detrace", arguments, Detrace::run)
}

/// Runs `weft debug`.
pub fn debug(arguments: Vec<String>) -> ExitCode {
    run("weft debug", arguments, Debug::run)
}

/// Runs `weft why`.
pub fn why(arguments: Vec<String>) -> ExitCode {
    run("weft why", arguments, Why::run)
}

fn run<P: Parser>(
    name: &str,
    arguments: Vec<String>,
    work: fn(P, &Reporter) -> Outcome,
) -> ExitCode {
    let words = std::iter::once(name.to_owned()).chain(arguments);
    let program = P::try_parse_from(words).unwrap_or_else(|error| error.exit());
    let reporter = Reporter {
        name: name.to_owned(),
        logs: false,
    };
    match work(program, &reporter) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            reporter.error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// The reference page, in Markdown.
pub fn reference_page() -> String {
    let mut text = "# weft detrace, weft debug, weft why\n".to_owned();
    for command in [Detrace::command(), Debug::command(), Why::command()] {
        let name = command.get_name().to_owned();
        text.push_str(&format!("\n## {name}\n\n{}", page::help(command)));
    }
    text
}

/// The arguments of `weft detrace`.
pub fn detrace_command() -> clap::Command {
    Detrace::command()
}

/// The arguments of `weft debug`.
pub fn debug_command() -> clap::Command {
    Debug::command()
}

/// The arguments of `weft why`.
pub fn why_command() -> clap::Command {
    Why::command()
}
