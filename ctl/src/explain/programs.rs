//! `weft detrace`, `weft debug` and `weft why` as programs: they connect, read what they need once, and print.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use super::debug::Debug;
use super::detrace::Detrace;
use super::why_program::Why;
use crate::error::Outcome;
use crate::page;
use crate::report::Reporter;

/// A program of this file: its name as a subcommand, and what it does with arguments.
pub type Program = (&'static str, fn(Vec<String>) -> ExitCode);

/// The programs of this file.
pub const PROGRAMS: [Program; 3] = [("detrace", detrace), ("debug", debug), ("why", why)];

fn detrace(arguments: Vec<String>) -> ExitCode {
    run("weft detrace", arguments, Detrace::run)
}

fn debug(arguments: Vec<String>) -> ExitCode {
    run("weft debug", arguments, Debug::run)
}

fn why(arguments: Vec<String>) -> ExitCode {
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

/// The options and subcommands, for completion: of each program.
pub fn words() -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("detrace", page::words(&Detrace::command())),
        ("debug", page::words(&Debug::command())),
        ("why", page::words(&Why::command())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_are_well_formed() {
        Detrace::command().debug_assert();
        Debug::command().debug_assert();
        Why::command().debug_assert();
    }
}
