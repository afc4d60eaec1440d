//! `weft-sb`: the server of the southbound database.

use std::process::ExitCode;

use clap::Parser;
use daemon::CommonArgs;
use serve::Database;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves the southbound database, from which every chassis learns its flows
#[derive(Debug, Parser)]
#[command(name = "weft-sb", version, disable_version_flag = true)]
struct Args {
    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,

    #[command(flatten)]
    flags: serve::Flags,
}

impl AsMut<CommonArgs> for Args {
    fn as_mut(&mut self) -> &mut CommonArgs {
        &mut self.flags.common
    }
}

fn main() -> ExitCode {
    let args: Args = daemon::args::parse();
    let database = Database {
        program: "weft-sb",
        schema: sb_db::schema(),
        data_dir: "/var/lib/weft/sb",
        socket: "ovnsb_db.sock",
        grpc_socket: "weft-sb-grpc.sock",
    };
    serve::main(&database, &args.flags)
}
