//! `weft`, the command line.

use std::process::ExitCode;

use ctl::explain::programs::PROGRAMS;
use ctl::program::run_tool;
use ctl::report::Reporter;
use ctl::suggest::nearest;
use ctl::tool::Tool;
use ctl::tools::TOOLS;
use ctl::trace::walk::Manner;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    if program == "ovn-trace" {
        let reporter = Reporter {
            name: program,
            logs: true,
        };
        return ctl::trace::daemon::run(&reporter, Manner::OvnTrace, arguments);
    }
    let as_ovns = |name: &str| program == format!("ovn-{name}");
    if let Some((_, run)) = PROGRAMS.iter().find(|(name, _)| as_ovns(name)) {
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
    if first == "trace" {
        let reporter = Reporter {
            name: "weft trace".to_owned(),
            logs: false,
        };
        return ctl::trace::daemon::run(&reporter, Manner::Chassis, arguments);
    }
    if ctl::objects::COMMANDS.contains(&first.as_str()) {
        arguments.insert(0, first);
        return ctl::objects::run(arguments);
    }
    if let Some((_, run)) = PROGRAMS.iter().find(|(name, _)| *name == first) {
        return run(arguments);
    }
    if first == "top" {
        return ctl::top::run(arguments);
    }
    if first == "plan" {
        return ctl::plan::run(arguments);
    }
    if first == "diff" {
        return ctl::diff::run(arguments);
    }
    if first == "token" {
        return ctl::token::run(arguments);
    }
    if first == "pki" {
        return ctl::pki::run(arguments);
    }
    if first == "cluster" {
        return ctl::cluster::run(arguments);
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
    let programs = PROGRAMS.iter().map(|(name, _)| *name);
    let others = [
        "trace",
        "top",
        "plan",
        "diff",
        "cluster",
        "token",
        "pki",
        "completion",
    ];
    let objects = ctl::objects::COMMANDS.into_iter();
    tools.chain(programs).chain(others).chain(objects)
}

fn usage() -> String {
    let mut text = "usage: weft SUBCOMMAND [ARGUMENT]...\n\n".to_owned();
    for tool in TOOLS {
        text.push_str(&format!(
            "  weft {:<16} {} (as {} does)\n",
            tool.name, tool.about, tool.ovn_name
        ));
    }
    text.push_str(
        "  weft trace            say what would become of a packet (as ovn-trace does)\n",
    );
    text.push_str("  weft why              say which rule decides about a packet\n");
    text.push_str("  weft detrace          say what the flows of ofproto/trace are there for (as ovn-detrace does)\n");
    text.push_str("  weft debug            translate between stages, tables and cookies (as ovn-debug does)\n");
    text.push_str(
        "  weft top              show who has the traffic of this machine: ports, rules, load balancers, chassis\n",
    );
    text.push_str("  weft cluster          administer the cluster of a database: members, backups, data directories\n");
    text.push_str("  weft apply            make the network be what files declare\n");
    text.push_str(
        "  weft get              print objects of the network; describe, delete: one of them\n",
    );
    text.push_str("  weft plan             say what a change would do, before it is made\n");
    text.push_str(
        "  weft diff             say in what two databases, or a file and a database, differ\n",
    );
    text.push_str("  weft pki              make certificates for TLS\n");
    text.push_str("  weft token            make, list and revoke bearer tokens for weft-api\n");
    text.push_str("  weft completion SHELL  print a completion script for bash, zsh or fish\n");
    text
}
