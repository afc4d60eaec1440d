//! `weft-northd`: arguments become a configuration, and the daemon runs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use daemon::args::{NO_EFFECT, TlsArgs};
use daemon::metrics::MetricsArgs;
use daemon::{CommonArgs, Process, Recording};
use northd::daemon::{Config, run};
use northd::draft::daemon as draft;
use northd::error::Error;
use northd::record::{self, ReplayError};
use ovsdb::Remote;

/// Compiles the northbound database into the southbound one.
#[derive(Debug, Parser)]
#[command(name = "weft-northd", version, disable_version_flag = true)]
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

    /// The southbound database: remotes, comma-separated
    #[arg(
        short = 'd',
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

    /// Read the operations of a transaction on the northbound from the input, JSON as in RFC 7047, print what it would change
    /// in both databases, and end; with =lines, stay, and read a transaction a line. Neither database is written to; `weft
    /// plan` asks for it
    #[arg(long, value_name = "once|lines", num_args = 0..=1, require_equals = true, default_missing_value = "once", hide_possible_values = true)]
    draft: Option<Manner>,

    /// Print how changes pass through the compiler, as a graph in DOT, and end
    #[arg(long, value_name = "NODE", num_args = 0..=1, require_equals = true)]
    dump_inc_proc_graph: Option<Option<String>>,

    /// Compiling takes one thread
    #[arg(long, value_name = "N", help_heading = NO_EFFECT)]
    n_threads: Option<u32>,

    /// OVN's compiler in Datalog recorded itself there; this one has nothing to record
    #[arg(long, value_name = "FILE", help_heading = NO_EFFECT)]
    ddlog_record: Option<PathBuf>,

    #[command(flatten)]
    metrics: MetricsArgs,

    #[command(flatten)]
    tls: TlsArgs,

    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,

    /// Record everything that happens in a new file, for --replay-events; at most 1 GiB
    #[arg(long, value_name = "FILE", help_heading = "Debugging")]
    record_events: Option<PathBuf>,

    /// Let happen again what was recorded, without databases, say where that leads, and end
    #[arg(long, value_name = "FILE", help_heading = "Debugging")]
    replay_events: Option<PathBuf>,

    #[command(flatten)]
    common: CommonArgs,
}

/// How drafts are made.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Manner {
    Once,
    Lines,
}

/// How changes pass through the compiler. There are no nodes to choose from: units come and go with what they compile.
const GRAPH: &str = "digraph \"Incremental-Processing-Engine\" {
\trankdir=LR;
\tnorthbound -> model;
\tsouthbound -> model;
\tmodel -> alloc;
\talloc -> derive;
\tderive -> pipeline;
\tpipeline -> output;
}
";

impl AsMut<CommonArgs> for Args {
    fn as_mut(&mut self) -> &mut CommonArgs {
        &mut self.common
    }
}

fn main() -> ExitCode {
    let args: Args = daemon::args::parse();
    if args.dump_inc_proc_graph.is_some() {
        print!("{GRAPH}");
        return ExitCode::SUCCESS;
    }
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
    let process = match Process::start(
        &args.common,
        "weft-northd",
        &["northd", "inc_engine", "replica"],
    )? {
        Ok(process) => process,
        Err(code) => return Ok(code),
    };
    if let Some(path) = &args.replay_events {
        let recording = Recording::open(path).map_err(ReplayError::File)?;
        print!("{}", record::replay(recording)?);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(manner) = args.draft {
        match manner {
            Manner::Once => draft::once(&config)?,
            Manner::Lines => draft::lines(&config)?,
        }
        return Ok(ExitCode::SUCCESS);
    }
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
    Ok(Config {
        north: remotes("--nb", &args.north)?,
        south: remotes("--sb", &args.south)?,
        tls: args.common.asking_for_name(args.tls.files()?),
        metrics: args.metrics.clone(),
        is_paused: args.dry_run,
        record_events: args.record_events.clone(),
    })
}
