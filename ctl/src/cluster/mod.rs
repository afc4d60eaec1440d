//! `weft cluster`: the members of a database's cluster, its backups, and its data directories.
//!
//! | file | commands |
//! | --- | --- |
//! | [`members`] | `status`, `add`, `remove`, `transfer`: a running cluster, asked through any of its members |
//! | [`backup`] | `backup` of a running cluster, `restore` into a new data directory |
//! | [`directory`] | `init`, `join`, `check`, `force-new`: data directories of servers that do not run |

mod backup;
mod common;
mod connection;
mod directory;
mod members;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use self::common::Connect;
use crate::error::Outcome;

/// Administers the cluster of a database
#[derive(Debug, Parser)]
#[command(name = "weft cluster", bin_name = "weft cluster", version)]
struct Arguments {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    command: Command,
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

/// Its arguments, for completion and the book.
pub fn command() -> clap::Command {
    Arguments::command()
}
