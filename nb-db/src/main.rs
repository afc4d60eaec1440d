//! `weft-nb`: the server of the northbound database.

mod daemon;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves the northbound database, in which operators describe their networks
#[derive(Debug, Parser)]
#[command(name = "weft-nb", version)]
struct Args {
    /// The flags of all database servers
    #[command(flatten)]
    pub server: store::server::ServerArgs,

    /// The flags of all daemons
    #[command(flatten)]
    pub common: ::daemon::CommonArgs,
}

fn main() -> ExitCode {
    let args = Args::parse_from(::daemon::args::arguments());
    match daemon::run(&args) {
        Ok(code) => code,
        Err(error) => {
            // The log may be a file, and whoever started the server wants to know too.
            tracing::error!("{error}");
            eprintln!("weft-nb: {error}");
            ExitCode::FAILURE
        }
    }
}
