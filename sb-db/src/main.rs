//! `weft-sb`: the server of the southbound database.

use std::process::ExitCode;

use clap::Parser;
use serve::Database;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves the southbound database, from which every chassis learns its flows
#[derive(Debug, Parser)]
#[command(name = "weft-sb", version)]
struct Args {
    #[command(flatten)]
    flags: serve::Flags,
}

fn main() -> ExitCode {
    let args = Args::parse_from(daemon::args::arguments());
    let database = Database {
        program: "weft-sb",
        schema: sb_db::schema(),
        data_dir: "/var/lib/weft/sb",
        socket: "ovnsb_db.sock",
        grpc_socket: "weft-sb-grpc.sock",
    };
    serve::main(&database, &args.flags)
}
