//! The process of a database server: `weft-nb` and `weft-sb` say which database, and this does the rest.

mod daemon;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use ::daemon::CommonArgs;
use ::daemon::args::NO_EFFECT;
use ovsdb::schema::DatabaseSchema;
use store::server::ServerArgs;

/// What tells the servers apart.
#[derive(Clone, Copy, Debug)]
pub struct Database {
    /// The name of the program.
    pub program: &'static str,
    /// What the database consists of.
    pub schema: &'static Arc<DatabaseSchema>,
    /// Where its files are if nothing else is said.
    pub data_dir: &'static str,
    /// The socket in the run directory that the server listens on if nothing else is said: OVN's.
    pub socket: &'static str,
    /// The same for gRPC.
    pub grpc_socket: &'static str,
}

/// The flags of the servers.
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// The flags of all database servers
    #[command(flatten)]
    pub server: ServerArgs,

    /// Rows are kept as they are, changes as what changed
    #[arg(long, help_heading = NO_EFFECT)]
    disable_file_column_diff: bool,

    /// A certificate that any client could give is not taken over: give --ca-cert
    #[arg(long, value_name = "FILE", help_heading = NO_EFFECT)]
    bootstrap_ca_cert: Option<PathBuf>,

    /// The flags of all daemons
    #[command(flatten)]
    pub common: CommonArgs,
}

/// The program: runs until it is asked to end.
pub fn main(database: &Database, flags: &Flags) -> ExitCode {
    match daemon::run(database, flags) {
        Ok(code) => code,
        Err(error) => {
            // The log may be a file, and whoever started the server wants to know too.
            tracing::error!("{error}");
            eprintln!("{}: {error}", database.program);
            ExitCode::FAILURE
        }
    }
}
