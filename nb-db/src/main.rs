//! `weft-nb`: the server of the northbound database.

use std::process::ExitCode;

use clap::Parser;
use daemon::CommonArgs;
use serve::Database;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves the northbound database, in which operators describe their networks
#[derive(Debug, Parser)]
#[command(name = "weft-nb", version, disable_version_flag = true)]
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
        program: "weft-nb",
        schema: nb_db::schema(),
        data_dir: "/var/lib/weft/nb",
        socket: "ovnnb_db.sock",
        grpc_socket: "weft-nb-grpc.sock",
    };
    serve::main(&database, &args.flags)
}
