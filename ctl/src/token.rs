//! `weft token`: bearer tokens for programs that come to `weft-api` without a certificate.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use nb_db::tables::NbGlobal;
use northbound::Rows as _;
use objects::tokens;
use ovsdb::Table;

use crate::error::{CommandError, Outcome};
use crate::objects::connect::Connect;
use crate::options::Wait;

/// Makes, lists and revokes bearer tokens for weft-api
#[derive(Debug, Parser)]
#[command(
    name = "weft token",
    bin_name = "weft token",
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
    /// Make a token, and print it: it is told this once, and only its hash is kept
    Create {
        /// What the token is called: letters, digits, - and _
        name: String,
        /// What it allows
        #[arg(long, value_name = "ROLE", default_value = "reader")]
        role: Role,
        /// Whose objects it is for; repeatable. Without, everybody's
        #[arg(long, value_name = "NAME")]
        owner: Vec<String>,
        /// For how long it is good, such as 30days or 12h; without, for ever
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires_in: Option<Duration>,
    },
    /// Print the tokens there are, without their secrets
    List,
    /// Take tokens back: they are refused from then on
    Revoke {
        /// What they are called
        #[arg(required = true)]
        names: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// To read
    Reader,
    /// To read and to change
    Writer,
}

/// Runs the program.
pub fn run(arguments: Vec<String>) -> ExitCode {
    let words = std::iter::once("weft token".to_owned()).chain(arguments);
    let arguments = Arguments::try_parse_from(words).unwrap_or_else(|error| error.exit());
    match arguments.execute() {
        Ok(text) => {
            // Who has closed the output does not want more of it.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("weft token: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn execute(&self) -> Outcome<String> {
        let mut northbound = self.connect.open(None)?;
        match &self.command {
            Command::List => {
                let tokens = tokens::list(northbound.snapshot());
                let unreadable = tokens::unreadable(northbound.snapshot());
                let mut text = table(&tokens);
                for name in unreadable {
                    text.push_str(&format!(
                        "{name:<24} unreadable: it lets nobody in; revoke it\n"
                    ));
                }
                Ok(text)
            }
            Command::Create {
                name,
                role,
                owner,
                expires_in,
            } => {
                let has_row = northbound.snapshot().rows(NbGlobal::INDEX).next().is_some();
                if !has_row {
                    let text = "the database is not initialised; `weft nb init` does that";
                    return Err(CommandError::Failed(text.to_owned()));
                }
                let owners: BTreeSet<String> = owner.iter().cloned().collect();
                let writes = matches!(role, Role::Writer);
                let expires = expires_in.map(in_future).transpose()?;
                let remark = format!("weft token: create {name}");
                let made = northbound.change(Wait::None, &remark, |draft| {
                    tokens::create(draft, name, writes, &owners, expires)
                })?;
                Ok(format!("{made}\n"))
            }
            Command::Revoke { names } => {
                let remark = format!("weft token: revoke {}", names.join(" "));
                northbound.change(Wait::None, &remark, |draft| {
                    names
                        .iter()
                        .try_for_each(|name| tokens::revoke(draft, name))
                })?;
                Ok(String::new())
            }
        }
    }
}

/// The time after so long, in seconds since the epoch.
fn in_future(time: Duration) -> Outcome<i64> {
    let far = || CommandError::Failed("--expires-in: that is too far away".to_owned());
    let at = SystemTime::now().checked_add(time).ok_or_else(far)?;
    let since = at.duration_since(UNIX_EPOCH).map_err(|_| far())?;
    // Year 9999: what comes later cannot be told.
    let seconds = i64::try_from(since.as_secs()).map_err(|_| far())?;
    match seconds < 253_402_300_800 {
        true => Ok(seconds),
        false => Err(far()),
    }
}

fn table(found: &[tokens::Token]) -> String {
    let mut text = format!("{:<24} {:<8} {:<22} OWNERS\n", "NAME", "ROLE", "EXPIRES");
    for token in found {
        let expires = match token.expires.and_then(|at| u64::try_from(at).ok()) {
            Some(at) => {
                humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(at)).to_string()
            }
            None => "never".to_owned(),
        };
        let owners: Vec<&str> = token.owners.iter().map(String::as_str).collect();
        let owners = match owners.is_empty() {
            true => "everybody's".to_owned(),
            false => owners.join(", "),
        };
        text.push_str(&format!(
            "{:<24} {:<8} {expires:<22} {owners}\n",
            token.name,
            token.role()
        ));
    }
    text
}

/// Its arguments, for completion and the book.
pub fn command() -> clap::Command {
    Arguments::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_too_far_away_are_refused() {
        Arguments::command().debug_assert();
        assert!(in_future(Duration::from_secs(60)).is_ok());
        assert!(in_future(Duration::from_secs(1 << 40)).is_err());
        assert!(in_future(Duration::MAX).is_err());
    }
}
