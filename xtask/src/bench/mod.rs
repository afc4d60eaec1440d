//! Measures Weft with OVN's daemons beside it: same machine, same run, same input, same databases.
//!
//! | module | what it measures |
//! | --- | --- |
//! | [`northd`] | compiling networks of 1,000 to 25,000 ports, and one port more or less |
//! | [`chassis`] | a controller's start, a port plugged in, a remote port |
//! | [`datapath`] | what packets pay on their way through rules and load balancers |
//! | [`failover`] | a gateway that dies, returns, and is drained, under traffic |
//! | [`store`] | the databases: writes, subscribers, stalls, recovery, memory, hostile clients |
//! | [`tools`] | a command of the command line, the doors for programs, traces and plans |
//! | [`network`] | the networks that both are given |
//! | [`report`] | numbers, medians and the table with ratios |

mod chassis;
mod datapath;
mod failover;
mod network;
mod northd;
mod report;
mod store;
mod tools;

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use rig::implementation::Implementation;
use rig::process::Daemon;

use crate::setup;
use crate::workspace::{Profile, build_binaries};

/// What to measure.
#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    subject: Subject,

    /// Whom to measure
    #[arg(long, value_enum, default_value = "both", global = true)]
    whose: Whose,

    /// How often small changes are made
    #[arg(long, default_value_t = 20, global = true)]
    changes: usize,

    /// Everything is built: measure
    #[arg(long, hide = true, global = true)]
    built: bool,
}

#[derive(Subcommand)]
enum Subject {
    /// Full compile, one port added, one removed
    Northd {
        /// How many switches of 100 ports; several sizes, comma-separated
        #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 250])]
        switches: Vec<usize>,

        /// How they are connected; several, comma-separated
        #[arg(long, value_enum, value_delimiter = ',', default_value = "switches")]
        topology: Vec<Topology>,

        #[command(flatten)]
        burden: Burden,
    },
    /// Start, a local port plugged in, a remote port added
    Chassis {
        /// How many switches of 50 ports; the ports of one are local
        #[arg(long, default_value_t = 100)]
        switches: usize,

        /// How they are connected
        #[arg(long, value_enum, default_value = "switches")]
        topology: Topology,

        #[command(flatten)]
        burden: Burden,
    },
    /// TCP through rules and a load balancer: in bulk, and short connections
    Datapath {
        /// How many connections to each address
        #[arg(long, default_value_t = 25_000)]
        connections: usize,
    },
    /// A gateway that dies, returns, and is drained, under traffic
    Failover {
        /// How often
        #[arg(long, default_value_t = 20)]
        rounds: usize,
    },
    /// A command from start to exit; what is declared, followed, traced and planned
    Tools {
        /// How many switches of 100 ports the traced network has
        #[arg(long, default_value_t = 250)]
        switches: usize,
    },
    /// The databases: durable writes, subscribers, stalls, recovery, memory, hostile clients
    Store(store::Options),
}

/// What a network has beside switches, ports and routers.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Burden {
    /// How many load balancers, in one group on all switches and routers
    #[arg(long, default_value_t = 0)]
    load_balancers: usize,

    /// How many rules that track connections, on a port group of all ports
    #[arg(long, default_value_t = 0)]
    acls: usize,
}

/// How switches are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Topology {
    /// Not at all.
    Switches,
    /// By one router.
    Routed,
    /// By one router, and for each a gateway router with SNAT behind a join switch.
    K8s,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Whose {
    Both,
    Ovn,
    Weft,
}

impl Whose {
    fn includes(self, implementation: Implementation) -> bool {
        match self {
            Self::Both => true,
            Self::Ovn => implementation == Implementation::Ovn,
            Self::Weft => implementation == Implementation::Weft,
        }
    }
}

/// Measures.
pub fn run(options: &Options) -> Result<()> {
    if options.built {
        return match &options.subject {
            Subject::Northd {
                switches,
                topology,
                burden,
            } => {
                let of_each = (options.changes, options.whose);
                northd::run(switches, topology, *burden, of_each)
            }
            Subject::Chassis {
                switches,
                topology,
                burden,
            } => {
                let network = (*topology, *switches, *burden);
                chassis::run(network, options.changes, options.whose)
            }
            Subject::Datapath { connections } => datapath::run(*connections, options.whose),
            Subject::Failover { rounds } => failover::run(*rounds, options.whose),
            Subject::Tools { switches } => tools::run(*switches, options.changes, options.whose),
            Subject::Store(store) => store::run(store, options.whose),
        };
    }
    setup::run()?;
    // Measured is an optimised build; run again, so that the daemons are looked for there.
    let mut again = std::process::Command::new(std::env::current_exe()?);
    again.args(std::env::args_os().skip(1)).arg("--built");
    if options.whose.includes(Implementation::Weft) {
        again.env("WEFT_BIN_DIR", build_binaries(Profile::Release)?);
    }
    crate::workspace::succeed(&mut again)
}

/// The processor time of a daemon once it has nothing left to do.
fn settled_cpu_time(daemon: &Daemon) -> Result<Duration> {
    /// Less than this between two looks is idling.
    const IDLE: Duration = Duration::from_micros(100);
    let mut before = (daemon.cpu_time()?, Instant::now());
    rig::wait::wait_for("a daemon to settle", Duration::from_secs(60), || {
        if before.1.elapsed() < Duration::from_millis(100) {
            return Ok(None);
        }
        let now = daemon.cpu_time()?;
        let settled = now - before.0 < IDLE;
        before = (now, Instant::now());
        Ok(settled.then_some(now))
    })
}
