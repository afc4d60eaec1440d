//! `weft pki`: a certificate authority, and certificates for members, chassis and clients.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`authority`] | makes the CA, and certificates that it signs |
//! | [`show`] | says what is in a file of certificates |
//!
//! The files have the form and the subjects that Open vSwitch's tools want: `NAME-key.pem` (`--private-key`, `-p`),
//! `NAME-cert.pem` (`--certificate`, `-c`), `ca.pem` (`--ca-cert`, `-C`), and the common name is `NAME`. The
//! organisational unit is the role, by which a listener with `role=certificate` tells clients apart.

mod authority;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use self::authority::{Authority, Wanted};
use crate::error::Outcome;

/// Where the files are if nothing else is said.
const DIRECTORY: &str = "/etc/weft/pki";

/// Makes certificates for TLS
#[derive(Debug, Parser)]
#[command(name = "weft pki", bin_name = "weft pki", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a certificate authority: ca.pem, which everybody gets, and ca-key.pem, which nobody gets
    Init(Init),
    /// Make certificates for members of database clusters
    Member(Member),
    /// Make certificates for chassis, each named by its system-id; its role is ovn-controller
    Chassis(Names),
    /// Make certificates for clients: northd, orchestrators, people
    Client(Client),
    /// Print what is in files of certificates
    Show(Show),
}

#[derive(Args, Debug)]
struct Init {
    /// The name of the authority
    #[arg(long, value_name = "NAME", default_value = "Weft CA")]
    name: String,
    #[command(flatten)]
    directory: Directory,
    /// How long the authority is valid
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

#[derive(Args, Debug)]
struct Member {
    #[command(flatten)]
    names: Names,
    /// A host name or address under which the member is reached, beside its name; repeatable
    #[arg(long, value_name = "HOST")]
    address: Vec<String>,
}

#[derive(Args, Debug)]
struct Client {
    #[command(flatten)]
    names: Names,
    /// What the client may do: admin, writer, reader, or northd
    #[arg(long, default_value = "reader", value_parser = ["admin", "writer", "reader", "northd"])]
    role: String,
}

#[derive(Args, Debug)]
struct Names {
    /// Whom the certificates are for
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    directory: Directory,
    /// How long the certificates are valid
    #[arg(long, value_name = "DAYS", default_value_t = 1095, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

#[derive(Args, Debug)]
struct Directory {
    /// The directory of the files
    #[arg(long = "dir", value_name = "DIR", default_value = DIRECTORY, env = "WEFT_PKI")]
    path: PathBuf,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
}

#[derive(Args, Debug)]
struct Show {
    /// Files of certificates, in PEM form
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Runs `weft pki` with these arguments.
pub fn run(arguments: Vec<String>) -> ExitCode {
    let words = std::iter::once("weft pki".to_owned()).chain(arguments);
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and versions come this way too. Who has closed the output does not want them.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    match arguments.command.execute() {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("weft pki: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Command {
    /// What it prints.
    fn execute(&self) -> Outcome<String> {
        match self {
            Self::Init(Init {
                name,
                directory,
                days,
            }) => authority::create(&directory.path, name, *days, directory.force),
            Self::Member(Member { names, address }) => names.issue("member", address),
            Self::Chassis(names) => names.issue("ovn-controller", &[]),
            Self::Client(Client { names, role }) => names.issue(role, &[]),
            Self::Show(Show { files }) => files.iter().map(|file| show::show(file)).collect(),
        }
    }
}

impl Names {
    fn issue(&self, role: &str, addresses: &[String]) -> Outcome<String> {
        let authority = Authority::open(&self.directory.path)?;
        let issue = |name: &String| {
            authority.issue(&Wanted {
                name,
                role,
                addresses,
                days: self.days,
                replace: self.directory.force,
            })
        };
        self.names.iter().map(issue).collect()
    }
}

/// Its arguments, for completion and the book.
pub fn command() -> clap::Command {
    Arguments::command()
}

#[cfg(test)]
mod tests;
