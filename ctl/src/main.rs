//! `weft`, the command line.
//!
//! It has the system's allocator, other than the daemons: most commands are over before one for large heaps is ready.

use std::process::ExitCode;

use ctl::program::run_tool;
use ctl::programs::{PROGRAMS, Program};
use ctl::report::Reporter;
use ctl::suggest::nearest;
use ctl::tool::Tool;
use ctl::tools::TOOLS;

fn main() -> ExitCode {
    let program = daemon::place::program_name("weft");
    let mut arguments = match utf8_arguments() {
        Ok(arguments) => arguments,
        Err(argument) => {
            eprintln!("{program}: {argument}: arguments should be UTF-8");
            return ExitCode::FAILURE;
        }
    };
    if let Some(tool) = TOOLS.iter().find(|tool| tool.ovn_name == program) {
        let reporter = Reporter {
            name: program,
            logs: true,
        };
        return run_tool(tool, &reporter, arguments);
    }
    let by_ovns_name = PROGRAMS.iter().filter_map(|program| program.as_ovn);
    if let Some((_, run)) = by_ovns_name.into_iter().find(|(name, _)| program == *name) {
        return run(arguments);
    }
    let first = if arguments.is_empty() {
        String::new()
    } else {
        arguments.remove(0)
    };
    if let Some(tool) = TOOLS.iter().find(|tool| tool.name == first) {
        return run_as_subcommand(tool, arguments);
    }
    let named = |candidate: &&Program| candidate.names.contains(&&*first);
    if let Some(candidate) = PROGRAMS.iter().find(named) {
        return (candidate.run)(&first, arguments);
    }
    match (first.as_str(), arguments.first()) {
        ("completion", Some(shell)) => match ctl::help::completion(shell) {
            Ok(script) => {
                print!("{script}");
                ExitCode::SUCCESS
            }
            Err(error) => usage_error(&error.to_string()),
        },
        ("completion", None) => usage_error("completion: the shell is missing, bash, zsh or fish"),
        ("complete", _) => {
            ctl::complete::print(&arguments);
            ExitCode::SUCCESS
        }
        ("--help" | "-h" | "help", _) => {
            print!("{}", usage());
            ExitCode::SUCCESS
        }
        ("--version" | "-V", _) => {
            println!("weft {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        ("", _) => usage_error("a subcommand is missing; weft --help lists them"),
        (other, _) => usage_error(&format!(
            "{other}: no such subcommand; {}weft --help lists them",
            match nearest(other, subcommands()) {
                Some(meant) => format!("did you mean {meant}? "),
                None => String::new(),
            }
        )),
    }
}

/// The arguments without the program's name, or the one that is not UTF-8.
fn utf8_arguments() -> Result<Vec<String>, String> {
    std::env::args_os()
        .skip(1)
        .map(|argument| {
            argument
                .into_string()
                .map_err(|wrong| wrong.to_string_lossy().into_owned())
        })
        .collect()
}

fn run_as_subcommand(tool: &'static Tool, mut arguments: Vec<String>) -> ExitCode {
    let reporter = Reporter {
        name: format!("weft {}", tool.name),
        logs: false,
    };
    // `weft nb COMMAND --help` asks for the help of the command.
    if let [.., command, help] = arguments.as_slice()
        && help == "--help"
        && tool.commands().any(|candidate| candidate.name == command)
    {
        arguments = vec![format!("--help={command}")];
    }
    run_tool(tool, &reporter, arguments)
}

fn usage_error(text: &str) -> ExitCode {
    eprintln!("weft: {text}");
    ExitCode::FAILURE
}

fn subcommands() -> impl Iterator<Item = &'static str> {
    let tools = TOOLS.iter().map(|tool| tool.name);
    let programs = PROGRAMS.iter().flat_map(|program| program.names);
    tools.chain(programs.copied()).chain(["completion"])
}

fn usage() -> String {
    let mut text = "usage: weft SUBCOMMAND [ARGUMENT]...\n\n".to_owned();
    for tool in TOOLS {
        text.push_str(&format!(
            "  weft {:<16} {} (as {} does)\n",
            tool.name, tool.about, tool.ovn_name
        ));
    }
    for program in &PROGRAMS {
        text.push_str(&format!(
            "  weft {:<16} {}\n",
            program.names[0], program.about
        ));
    }
    text.push_str("  weft completion SHELL print a completion script for bash, zsh or fish\n");
    text
}
