//! `weft-nb`: the server of the northbound database.

use std::process::ExitCode;

use clap::Parser;
use serve::Database;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves the northbound database, in which operators describe their networks
#[derive(Debug, Parser)]
#[command(name = "weft-nb", version)]
struct Args {
    #[command(flatten)]
    flags: serve::Flags,
}

fn main() -> ExitCode {
    let args = Args::parse_from(daemon::args::arguments());
    let database = Database {
        program: "weft-nb",
        schema: nb_db::schema(),
        data_dir: "/var/lib/weft/nb",
        socket: "ovnnb_db.sock",
        grpc_socket: "weft-nb-grpc.sock",
    };
    serve::main(&database, &args.flags)
}
