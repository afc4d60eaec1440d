//! `weft-controller`: the chassis agent.

mod daemon;

use std::path::PathBuf;
use std::process::ExitCode;

use ::daemon::CommonArgs;
use ::daemon::args::{NO_EFFECT, TlsArgs};
use ::daemon::metrics::MetricsArgs;
use clap::Parser;

/// Binds logical ports to this chassis and makes Open vSwitch forward as the logical network says
#[derive(Debug, Parser)]
#[command(name = "weft-controller", version, disable_version_flag = true)]
struct Args {
    /// The local switch's database; by default the usual Open vSwitch socket
    #[arg(value_name = "REMOTE")]
    remote: Option<String>,

    /// The name of this chassis, instead of external_ids:system-id of the switch's database
    #[arg(short = 'n', long, value_name = "NAME")]
    chassis: Option<String>,

    /// Print how changes pass through the agent, as a graph in DOT, and end
    #[arg(long, value_name = "NODE", num_args = 0..=1, require_equals = true)]
    dump_inc_proc_graph: Option<Option<String>>,

    /// There is no provider that would plug interfaces
    #[arg(long, help_heading = NO_EFFECT)]
    enable_dummy_vif_plug: bool,

    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,

    /// Where metrics are told
    #[command(flatten)]
    metrics: MetricsArgs,

    /// The files for TLS, where the switch's database has none in its table SSL
    #[command(flatten)]
    tls: TlsArgs,

    /// Record everything that happens in a new file, for --replay-events; at most 1 GiB
    #[arg(long, value_name = "FILE", help_heading = "Debugging")]
    record_events: Option<PathBuf>,

    /// Let happen again what was recorded, without a switch or databases, say where that leads, and end
    #[arg(long, value_name = "FILE", help_heading = "Debugging")]
    replay_events: Option<PathBuf>,

    /// The flags of all daemons
    #[command(flatten)]
    common: CommonArgs,
}

/// How changes pass through the agent. There are no nodes to choose from: units come and go with what they compute.
const GRAPH: &str = "digraph \"Incremental-Processing-Engine\" {
\trankdir=LR;
\tsouthbound -> network;
\tswitch -> network;
\tnetwork -> locality;
\tlocality -> flows;
\tflows -> desired;
}
";

impl AsMut<CommonArgs> for Args {
    fn as_mut(&mut self) -> &mut CommonArgs {
        &mut self.common
    }
}

fn main() -> ExitCode {
    let args: Args = ::daemon::args::parse();
    if args.dump_inc_proc_graph.is_some() {
        print!("{GRAPH}");
        return ExitCode::SUCCESS;
    }
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
