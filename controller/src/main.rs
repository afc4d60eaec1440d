//! `weft-controller`: the chassis agent.

mod daemon;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Binds logical ports to this chassis and makes Open vSwitch forward as the logical network says
#[derive(Debug, Parser)]
#[command(name = "weft-controller", version)]
struct Args {
    /// The local switch's database; by default the usual Open vSwitch socket
    #[arg(value_name = "REMOTE")]
    remote: Option<String>,

    /// The flags of all daemons
    #[command(flatten)]
    common: ::daemon::CommonArgs,
}

fn main() -> ExitCode {
    let args = Args::parse_from(::daemon::args::arguments());
    match daemon::run(&args) {
        Ok(code) => code,
        Err(error) => {
            // The log may be a file, and whoever started the daemon wants to know too.
            tracing::error!("{error}");
            eprintln!("weft-controller: {error}");
            ExitCode::FAILURE
        }
    }
}
