//! What the commands of `weft cluster` have in common.

use std::path::PathBuf;

use clap::Args;

use crate::error::{CommandError, Outcome};
use crate::tool::Tool;
use crate::tools::TOOLS;

/// How to reach a member.
#[derive(Args, Clone, Debug)]
pub struct Connect {
    /// The members to ask, one after the other until one answers: nb or sb for the one on this machine, or its gRPC
    /// remotes (grpc+unix:PATH, grpcs:HOST:PORT, grpc:HOST:PORT, comma-separated)
    #[arg(
        long,
        global = true,
        value_name = "nb|sb|REMOTE,...",
        default_value = "nb"
    )]
    pub db: String,

    /// PEM file with the key to identify with
    #[arg(
        short = 'p',
        long,
        global = true,
        value_name = "FILE",
        help_heading = "TLS"
    )]
    pub private_key: Option<PathBuf>,

    /// PEM file with the certificate for it
    #[arg(
        short = 'c',
        long,
        global = true,
        value_name = "FILE",
        help_heading = "TLS"
    )]
    pub certificate: Option<PathBuf>,

    /// PEM file with the CA that the member is checked against
    #[arg(
        short = 'C',
        long,
        global = true,
        value_name = "FILE",
        help_heading = "TLS"
    )]
    pub ca_cert: Option<PathBuf>,

    /// Give up waiting after this time
    #[arg(
        short,
        long,
        global = true,
        value_name = "SECONDS",
        default_value_t = 300
    )]
    pub timeout: u64,
}

/// The tool for a database.
pub fn tool_for(database: &str) -> Outcome<&'static Tool> {
    let mut tools = TOOLS.into_iter();
    let found = tools.find(|tool| tool.database == database || tool.name == database);
    found.ok_or_else(|| {
        CommandError::Failed(format!(
            "{database}: not a database of Weft's; there are nb and sb"
        ))
    })
}

/// A file size for people.
pub fn size(bytes: u64) -> String {
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
    fn sizes_are_for_people() {
        assert_eq!(
            [size(7), size(1536), size(5 << 30)],
            ["7 B", "1.5 KiB", "5.0 GiB"]
        );
    }
}
