//! The process of a database server: `weft-nb` and `weft-sb` say which database, and this does the rest.

mod daemon;

use std::process::ExitCode;
use std::sync::Arc;

use ::daemon::CommonArgs;
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
