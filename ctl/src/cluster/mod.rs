//! `weft cluster`: the members of a database's cluster, its backups, and its data directories.
//!
//! | file | commands |
//! | --- | --- |
//! | [`members`] | `status`, `add`, `remove`, `transfer`: a running cluster, asked through any of its members |
//! | [`backup`] | `backup` of a running cluster, `restore` into a new data directory |
//! | [`directory`] | `init`, `join`, `check`, `force-new`: data directories of servers that do not run |

mod backup;
mod connection;
mod directory;
mod members;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::error::{CommandError, Outcome};
use crate::tool::{TOOLS, Tool};

/// Administers the cluster of a database
#[derive(Debug, Parser)]
#[command(name = "weft cluster", bin_name = "weft cluster", version)]
struct Arguments {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    command: Command,
}

/// How to reach a member.
#[derive(Args, Clone, Debug)]
struct Connect {
    /// The members to ask, one after the other until one answers: nb or sb for the one on this machine, or its gRPC
    /// remotes (grpc+unix:PATH, grpcs:HOST:PORT, grpc:HOST:PORT, comma-separated)
    #[arg(
        long,
        global = true,
        value_name = "nb|sb|REMOTE,...",
        default_value = "nb"
    )]
    db: String,

    /// PEM file with the key to identify with
    #[arg(
        short = 'p',
        long,
        global = true,
        value_name = "FILE",
        help_heading = "TLS"
    )]
    private_key: Option<PathBuf>,

    /// PEM file with the certificate for it
    #[arg(
        short = 'c',
        long,
        global = true,
        value_name = "FILE",
        help_heading = "TLS"
    )]
    certificate: Option<PathBuf>,

    /// PEM file with the CA that the member is checked against
    #[arg(
        short = 'C',
        long,
        global = true,
        value_name = "FILE",
        help_heading = "TLS"
    )]
    ca_cert: Option<PathBuf>,

    /// Give up waiting after this time
    #[arg(
        short,
        long,
        global = true,
        value_name = "SECONDS",
        default_value_t = 300
    )]
    timeout: u64,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the data directory of the first member of a new cluster
    Init(directory::Init),
    /// Say how to start a server that joins a cluster
    Join(directory::Join),
    /// Print the members, who leads, and how far each has come
    Status(members::Status),
    /// Announce a new member, and wait until it votes
    Add(members::Add),
    /// Remove a member for good
    Remove(members::Remove),
    /// Pass the leadership to another member
    Transfer(members::Transfer),
    /// Make the last survivor of a cluster a new cluster of its own
    ForceNew(directory::ForceNew),
    /// Copy the database of a running cluster into a file
    Backup(backup::Backup),
    /// Make a data directory of a backup, for the first member of a new cluster
    Restore(backup::Restore),
    /// Look for what is wrong with a data directory or a backup
    Check(directory::Check),
}

/// Runs `weft cluster` with these arguments.
pub fn run(arguments: Vec<String>) -> ExitCode {
    let words = std::iter::once("weft cluster".to_owned()).chain(arguments);
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and versions come this way too. Who has closed the output does not want them.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    match arguments.execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weft cluster: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn execute(self) -> Outcome {
        let connect = &self.connect;
        match self.command {
            Command::Init(command) => command.run(),
            Command::Join(command) => command.run(),
            Command::Status(command) => command.run(connect),
            Command::Add(command) => command.run(connect),
            Command::Remove(command) => command.run(connect),
            Command::Transfer(command) => command.run(connect),
            Command::ForceNew(command) => command.run(),
            Command::Backup(command) => command.run(connect),
            Command::Restore(command) => command.run(),
            Command::Check(command) => command.run(),
        }
    }
}

/// The subcommands and options, for completion.
pub fn words() -> Vec<String> {
    let command = Arguments::command();
    let subcommands = || command.get_subcommands();
    let mut words: Vec<String> = subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let options = subcommands()
        .chain([&command])
        .flat_map(clap::Command::get_arguments);
    words.extend(options.filter_map(|option| Some(format!("--{}", option.get_long()?))));
    words
}

/// The reference page, in Markdown.
pub fn reference_page() -> String {
    let mut command = Arguments::command().term_width(100);
    let mut text = format!(
        "# weft cluster\n\n{}.\n\n```text\n{}```\n",
        command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default(),
        command.render_long_help()
    );
    command.build();
    for sub in command
        .get_subcommands_mut()
        .filter(|sub| sub.get_name() != "help")
    {
        let name = sub.get_name().to_owned();
        let mut sub = sub
            .clone()
            .term_width(100)
            .bin_name(format!("weft cluster {name}"));
        text.push_str(&format!(
            "\n## {name}\n\n```text\n{}```\n",
            sub.render_long_help()
        ));
    }
    // Trailing blanks would be lost in editing.
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// The tool for a database.
fn tool_for(database: &str) -> Outcome<&'static Tool> {
    let mut tools = TOOLS.into_iter();
    let found = tools.find(|tool| tool.database == database || tool.name == database);
    found.ok_or_else(|| {
        CommandError::Failed(format!(
            "{database}: not a database of Weft's; there are nb and sb"
        ))
    })
}

/// A file size for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Arguments::command().debug_assert();
        assert!(words().contains(&"force-new".to_owned()));
        assert!(words().contains(&"--db".to_owned()));
    }

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(
            [size(7), size(1536), size(5 << 30)],
            ["7 B", "1.5 KiB", "5.0 GiB"]
        );
    }
}
