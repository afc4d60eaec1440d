//! `weft-api`: arguments become a configuration, and the daemon runs.

use std::process::ExitCode;

use api::daemon::{Config, run};
use api::error::Error;
use clap::Parser;
use daemon::args::TlsArgs;
use daemon::{CommonArgs, Process, place};
use ovsdb::remote::Protocol;
use ovsdb::{Listen, Remote};
use store::access::rule::ListenerConfig;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves the network as objects to programs, over gRPC and REST
#[derive(Debug, Parser)]
#[command(name = "weft-api", version, disable_version_flag = true)]
struct Args {
    /// The northbound database: remotes, comma-separated
    #[arg(
        short = 'D',
        long = "nb",
        alias = "ovnnb-db",
        env = "OVN_NB_DB",
        value_name = "REMOTE",
        default_value = "unix:/var/run/ovn/ovnnb_db.sock"
    )]
    north: String,

    /// Speak gRPC here: pgrpc+unix:PATH, pgrpc:PORT[:IP] or pgrpcs:PORT[:IP], by default weft-api-grpc.sock in the run
    /// directory; repeatable. "role=ROLE REMOTE" gives its clients a role: admin, writer, reader, or certificate for that
    /// of each client's certificate
    #[arg(long, value_name = "REMOTE")]
    listen: Vec<ListenerConfig>,

    /// Speak REST here: punix:PATH, ptcp:PORT[:IP] or pssl:PORT[:IP], with roles as above; repeatable
    #[arg(long, value_name = "REMOTE")]
    rest_listen: Vec<ListenerConfig>,

    /// Allow TCP without TLS
    #[arg(long)]
    plaintext: bool,

    /// Print the description of the REST interface, OpenAPI 3.1, and end
    #[arg(long)]
    print_openapi: bool,

    #[command(flatten)]
    tls: TlsArgs,

    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,

    #[command(flatten)]
    common: CommonArgs,
}

impl AsMut<CommonArgs> for Args {
    fn as_mut(&mut self) -> &mut CommonArgs {
        &mut self.common
    }
}

fn main() -> ExitCode {
    let args: Args = daemon::args::parse();
    if args.print_openapi {
        println!("{:#}", api::openapi::document());
        return ExitCode::SUCCESS;
    }
    match start(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weft-api: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<ExitCode, Error> {
    let config = config(args)?;
    let process = match Process::start(&args.common, "weft-api", &["api", "replica"])? {
        Ok(process) => process,
        Err(code) => return Ok(code),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::System {
            what: "a runtime",
            error,
        })?;
    runtime.block_on(run(config, &process))?;
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

fn config(args: &Args) -> Result<Config, Error> {
    let mut listen = args.listen.clone();
    if listen.is_empty() {
        listen.push(ListenerConfig::open(Listen::Unix {
            protocol: Protocol::Grpc,
            path: place::run_dir().join("weft-api-grpc.sock"),
        }));
    }
    for (listeners, protocol, why) in [
        (
            &listen,
            Protocol::Grpc,
            "--listen is for gRPC: pgrpc+unix:, pgrpc: or pgrpcs:",
        ),
        (
            &args.rest_listen,
            Protocol::Ovsdb,
            "--rest-listen takes punix:, ptcp: or pssl:",
        ),
    ] {
        let other = listeners
            .iter()
            .find(|config| config.listen.protocol() != protocol);
        if let Some(config) = other {
            return Err(Error::Listen {
                listen: config.listen.clone(),
                why: why.to_owned(),
            });
        }
    }
    Ok(Config {
        north: Remote::parse_list(&args.north)?,
        tls: args.common.asking_for_name(args.tls.files()?),
        listen,
        rest_listen: args.rest_listen.clone(),
        plaintext: args.plaintext,
    })
}
