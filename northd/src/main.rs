//! `weft-northd`: arguments become a configuration, and the daemon runs.

use std::process::ExitCode;

use clap::Parser;
use daemon::{CommonArgs, Process};
use northd::daemon::{Config, run};
use northd::error::Error;
use ovsdb::Remote;
use replica::Tls;

/// Compiles the northbound database into the southbound one.
#[derive(Debug, Parser)]
#[command(name = "weft-northd", version, disable_version_flag = true)]
struct Args {
    /// The northbound database: remotes, comma-separated
    #[arg(
        long = "nb",
        alias = "ovnnb-db",
        env = "OVN_NB_DB",
        value_name = "REMOTE",
        default_value = "unix:/var/run/ovn/ovnnb_db.sock"
    )]
    north: String,

    /// The southbound database: remotes, comma-separated
    #[arg(
        long = "sb",
        alias = "ovnsb-db",
        env = "OVN_SB_DB",
        value_name = "REMOTE",
        default_value = "unix:/var/run/ovn/ovnsb_db.sock"
    )]
    south: String,

    /// Start paused: watch both databases and write to neither
    #[arg(long)]
    dry_run: bool,

    /// The private key for TLS, PEM
    #[arg(short = 'p', long, value_name = "FILE", help_heading = "TLS")]
    private_key: Option<std::path::PathBuf>,

    /// The certificate for TLS, PEM
    #[arg(short = 'c', long, value_name = "FILE", help_heading = "TLS")]
    certificate: Option<std::path::PathBuf>,

    /// The certificate of the authority that signs the databases', PEM
    #[arg(short = 'C', long, value_name = "FILE", help_heading = "TLS")]
    ca_cert: Option<std::path::PathBuf>,

    /// Accepted for compatibility: compiling takes one thread
    #[arg(long, value_name = "N", hide = true)]
    n_threads: Option<u32>,

    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,

    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> ExitCode {
    let args = Args::parse_from(daemon::args::arguments());
    match start(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weft-northd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<ExitCode, Error> {
    let config = config(args)?;
    let process = match Process::start(&args.common, "weft-northd", &["northd", "replica"])? {
        Ok(process) => process,
        Err(code) => return Ok(code),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::System {
            what: "a runtime",
            error,
        })?;
    runtime.block_on(run(config, &process))?;
    Ok(ExitCode::SUCCESS)
}

fn config(args: &Args) -> Result<Config, Error> {
    let remotes = |flag: &'static str, text: &str| {
        Remote::parse_list(text).map_err(|error| Error::Remote { flag, error })
    };
    let tls = match (&args.private_key, &args.certificate, &args.ca_cert) {
        (None, None, None) => None,
        (Some(private_key), Some(certificate), Some(ca)) => Some(Tls {
            certificate: certificate.clone(),
            private_key: private_key.clone(),
            ca: ca.clone(),
        }),
        _ => return Err(Error::Tls),
    };
    Ok(Config {
        north: remotes("--nb", &args.north)?,
        south: remotes("--sb", &args.south)?,
        tls,
        is_paused: args.dry_run,
    })
}
