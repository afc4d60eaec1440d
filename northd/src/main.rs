//! `weft-northd`: arguments become a configuration, and the daemon runs.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use daemon::args::{NO_EFFECT, TlsArgs};
use daemon::metrics::MetricsArgs;
use daemon::{CommonArgs, Process, Recording};
use northd::core::Now;
use northd::daemon::{Config, run};
use northd::draft::draft;
use northd::error::Error;
use northd::record::{self, ReplayError};
use ovsdb::operation::Transaction;
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Remote, RowChange};
use replica::record::changes_to_json;
use replica::{Client, Spec, TableSpec};

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
    /// in both databases, and end. Neither is written to; `weft plan` asks for it
    #[arg(long)]
    draft: bool,

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

/// The longest transaction that is drafted: the longest message that databases take.
const MAX_DRAFT_BYTES: u64 = 64 << 20;

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
    if args.draft {
        print_draft(&config)?;
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

/// Prints what the transaction on the input would change: changes of rows, as they are recorded.
fn print_draft(config: &Config) -> Result<(), Error> {
    let mut input = String::new();
    let read = std::io::stdin()
        .lock()
        .take(MAX_DRAFT_BYTES + 1)
        .read_to_string(&mut input);
    let wrong = |why: &dyn std::fmt::Display| Error::Input(why.to_string());
    read.map_err(|error| wrong(&error))?;
    if input.len() as u64 > MAX_DRAFT_BYTES {
        return Err(wrong(&format!("it has more than {MAX_DRAFT_BYTES} bytes")));
    }
    let operations: Vec<serde_json::Value> =
        serde_json::from_str(&input).map_err(|error| wrong(&error))?;
    let mut new_uuid = uuid::Uuid::new_v4;
    let transaction = Transaction::from_json(nb_db::schema(), &operations, &mut new_uuid);
    if let Some(error) = &transaction.error {
        return Err(wrong(error));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::System {
            what: "a runtime",
            error,
        })?;
    let copies = [
        (nb_db::schema(), &config.north),
        (sb_db::schema(), &config.south),
    ];
    let mut copied = Vec::new();
    for (schema, remotes) in copies {
        let tables = 0..schema.tables.len();
        let spec = Spec {
            tables: tables.clone().map(TableSpec::all).collect(),
            leader_only: true,
            tls: config.tls.clone(),
            ..Spec::new(schema.clone(), remotes.clone())
        };
        let client = runtime.block_on(Client::connect(spec, None, false))?;
        let rows = tables.flat_map(|table| {
            let rows = client.tables().table(table).iter();
            rows.map(move |(uuid, row)| (table, uuid, row.clone()))
        });
        copied.push(rows.collect());
    }
    let (south, north) = (
        copied.pop().unwrap_or_default(),
        copied.pop().unwrap_or_default(),
    );
    let version = env!("CARGO_PKG_VERSION");
    let drafted = draft(version, Now::read(), north, south, &transaction)?;
    let told = serde_json::json!({
        "north": told(nb_db::schema(), &drafted.north),
        "south": told(sb_db::schema(), &drafted.south),
        "unsettled": drafted.unsettled,
    });
    println!("{told}");
    Ok(())
}

/// Rows as they were and as they would be.
fn told(schema: &DatabaseSchema, changes: &[RowChange]) -> serde_json::Value {
    let before = changes.iter().filter(|change| change.old.is_some());
    let before = before.map(|change| RowChange {
        new: change.old.clone(),
        ..change.clone()
    });
    let before: Vec<RowChange> = before.collect();
    serde_json::json!({
        "before": changes_to_json(schema, &before),
        "changes": changes_to_json(schema, changes),
    })
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
