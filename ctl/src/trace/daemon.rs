//! The program: connects to the southbound, traces one packet, or as a daemon all that it is asked for.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser};
use daemon::args::{CommonArgs, TlsArgs, parse_words};
use daemon::unixctl::{Command, Surface};
use daemon::{Process, place};
use ovsdb::Remote;
use replica::{Client, Event, Spec, TableSpec};
use tokio::runtime::{Builder, Runtime};

use super::known::{Known, load};
use super::request::{Request, answers, backend, ct_state, from_words, select_id, with_room};
use super::stage::Stages;
use super::tree::Forms;
use super::walk::{Manner, Settings};
use super::world::TABLES;
use crate::error::{CommandError, Outcome, fail};
use crate::page;
use crate::report::Reporter;
use crate::tools::SB;

/// What the control socket of a daemon answers to.
const COMMANDS: &[Command] = &[
    Command::plain("exit"),
    Command {
        name: "trace",
        usage: "[OPTIONS] [DATAPATH] MICROFLOW",
        min_args: 1,
        max_args: usize::MAX,
    },
];

/// How long a silent database is trusted.
const PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// Says what would become of a packet in the logical network
#[derive(Debug, Parser)]
#[command(
    name = "weft trace",
    bin_name = "weft trace",
    version,
    override_usage = "weft trace [OPTIONS] [DATAPATH] MICROFLOW\n       weft trace [OPTIONS] --detach"
)]
struct Arguments {
    /// The datapath, if not that of the input port; and the packet, as a match that leaves nothing open
    #[arg(value_name = "[DATAPATH] MICROFLOW")]
    words: Vec<String>,
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Args, Clone, Copy, Debug)]
struct FormArgs {
    /// Print table by table (the default)
    #[arg(long, help_heading = "Output")]
    detailed: bool,
    /// Print pipelines and actions
    #[arg(long, help_heading = "Output")]
    summary: bool,
    /// Print what can be seen from outside
    #[arg(long, help_heading = "Output")]
    minimal: bool,
    /// Print all three forms
    #[arg(long, help_heading = "Output")]
    all: bool,
    /// Print the friendlier of two names that a port or datapath has, and UUIDs cut (the default)
    #[arg(long, overrides_with = "no_friendly_names", help_heading = "Output")]
    friendly_names: bool,
    /// Print names as they are
    #[arg(long, help_heading = "Output")]
    no_friendly_names: bool,
}

/// What a trace is made with.
#[derive(Args, Clone, Debug)]
pub struct TraceArgs {
    /// What conntrack finds, such as trk,new; repeatable, one for each time the packet is tracked; default trk,est
    #[arg(long, value_name = "FLAGS", help_heading = "Trace")]
    ct: Vec<String>,
    /// The backend that a load balancer chooses
    #[arg(long, value_name = "IP[:PORT]", help_heading = "Trace")]
    lb_dst: Option<String>,
    /// The member that a select action chooses
    #[arg(long, value_name = "ID", help_heading = "Trace")]
    select_id: Option<String>,
    /// Show the OpenFlow flows of each logical flow, as this switch has them; by default br-int of this machine
    #[arg(long, value_name = "REMOTE", num_args = 0..=1, require_equals = true, help_heading = "Trace")]
    ovs: Option<Option<String>>,
}

#[derive(Args, Clone, Debug)]
struct DatabaseArgs {
    /// The southbound database; by default that of OVN_SB_DB, else the one on this machine
    #[arg(long, value_name = "REMOTE", help_heading = "Database")]
    db: Option<String>,
    /// Insist on the cluster's leader (the default)
    #[arg(long, overrides_with = "no_leader_only", help_heading = "Database")]
    leader_only: bool,
    /// Accept any member of the cluster
    #[arg(long, help_heading = "Database")]
    no_leader_only: bool,
}

impl TraceArgs {
    /// A request that these make, without a packet.
    ///
    /// # Errors
    /// When a value is none, as ovn-trace says it.
    pub fn request(&self, friendly: bool, manner: Manner) -> Outcome<Request> {
        let states = self.ct.iter().map(|text| ct_state(text));
        let states: Result<Vec<u128>, String> = states.collect();
        let chosen = self.lb_dst.as_deref().map(backend).transpose();
        let selected = self.select_id.as_deref().map(select_id).transpose();
        let wrong = CommandError::Failed;
        let (states, chosen) = (states.map_err(wrong)?, chosen.map_err(wrong)?);
        let selected = selected.map_err(wrong)?.flatten();
        let default = || {
            let socket = place::switch_run_dir().join("br-int.mgmt");
            format!("unix:{}", socket.display())
        };
        let switch = self.ovs.clone();
        Ok(Request {
            settings: Settings {
                answers: answers(states, chosen),
                selected,
                friendly,
                manner,
            },
            switch: switch.map(|given| given.unwrap_or_else(default)),
            ..Request::default()
        })
    }
}

/// Its arguments, for completion and the book.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// The reference page, in Markdown.
pub fn reference_page() -> String {
    let command = Arguments::command();
    let about = command.get_about().map(ToString::to_string);
    format!(
        "# weft trace\n\n`weft trace`, also as `ovn-trace`: {}.\n\n{}",
        about.unwrap_or_default(),
        page::help(command)
    )
}

impl AsMut<CommonArgs> for Arguments {
    fn as_mut(&mut self) -> &mut CommonArgs {
        &mut self.common
    }
}

/// Runs the program with these arguments.
pub fn run(reporter: &Reporter, manner: Manner, arguments: Vec<String>) -> ExitCode {
    let words: Vec<String> = std::iter::once(reporter.name.clone())
        .chain(arguments)
        .collect();
    if manner == Manner::OvnTrace
        && let Some(code) = answer_as_ovn(reporter, &words)
    {
        return code;
    }
    let arguments: Arguments = parse_words(words.into_iter().map(OsString::from));
    match arguments.execute(reporter, manner) {
        Ok(code) => code,
        Err(CommandError::Failed(text)) => {
            reporter.error(&text);
            ExitCode::FAILURE
        }
        Err(CommandError::NotYet) => ExitCode::FAILURE,
    }
}

/// Says what is wrong with a command line, or which version this is, as OVN's tools do; nothing if neither is asked.
fn answer_as_ovn(reporter: &Reporter, words: &[String]) -> Option<ExitCode> {
    // Logging is read elsewhere.
    let words = words.iter().filter(|word| !word.starts_with("-v"));
    let error = Arguments::command().try_get_matches_from(words.clone());
    let error = error.err()?;
    if error.kind() == ErrorKind::DisplayVersion {
        let (name, version) = (&reporter.name, env!("CARGO_PKG_VERSION"));
        print(&format!(
            "{name} {version}\nDB Schema {}\n",
            (SB.schema)().version
        ));
        return Some(ExitCode::SUCCESS);
    }
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let option = given.split([' ', '=']).next().unwrap_or_default();
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => value.as_str(),
        _ => "",
    };
    let text = match (error.kind(), option.strip_prefix("--")) {
        (ErrorKind::UnknownArgument, Some(_)) => {
            let mut words = words.filter(|word| word.starts_with(option));
            let word = words.next().map_or(option, String::as_str);
            format!("unrecognized option '{word}'")
        }
        (ErrorKind::UnknownArgument, None) => {
            format!("invalid option -- '{}'", option.trim_start_matches('-'))
        }
        (ErrorKind::TooManyValues, _) => format!("option '{option}' doesn't allow an argument"),
        (ErrorKind::InvalidValue, _) if value.is_empty() => {
            format!("option '{option}' requires an argument")
        }
        _ => return None,
    };
    reporter.error(&text);
    Some(ExitCode::FAILURE)
}

impl Arguments {
    fn execute(mut self, reporter: &Reporter, manner: Manner) -> Outcome<ExitCode> {
        let words = std::mem::take(&mut self.words);
        if self.common.detach {
            if !words.is_empty() {
                return fail(
                    "non-option arguments not supported with --detach (use --help for help)",
                );
            }
            let given = [
                ("--ct", !self.trace.ct.is_empty()),
                ("--lb-dst", self.trace.lb_dst.is_some()),
                ("--select-id", self.trace.select_id.is_some()),
                ("--ovs", self.trace.ovs.is_some()),
            ];
            if let Some((option, _)) = given.iter().find(|(_, is_given)| *is_given) {
                return fail(format!(
                    "{option} is not available in daemon mode (use --help for help)"
                ));
            }
            return self.serve(manner);
        }
        let (datapath, microflow) = match &words[..] {
            [microflow] => (None, microflow.clone()),
            [datapath, microflow] => (Some(datapath.clone()), microflow.clone()),
            _ => {
                return fail("one or two non-option arguments are required (use --help for help)");
            }
        };
        let request = self.request(datapath, microflow, manner)?;
        let runtime = runtime()?;
        let client = runtime.block_on(self.connect())?;
        let traced = with_room(|| {
            let world = load(client.tables());
            request.run(&world, &Stages::default())
        });
        match traced.map_err(CommandError::Failed)? {
            Ok(traced) => {
                for warning in &traced.warnings {
                    reporter.warn_of("ovntrace", warning);
                }
                print(&traced.text);
            }
            // As ovn-trace has it, what is wrong with a description is the answer.
            Err(text) => print(&format!("{text}\n")),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn request(
        &self,
        datapath: Option<String>,
        microflow: String,
        manner: Manner,
    ) -> Outcome<Request> {
        let forms = match self.form.all {
            true => Forms::ALL,
            false => Forms {
                detailed: self.form.detailed,
                summary: self.form.summary,
                minimal: self.form.minimal,
            },
        };
        let friendly = !self.form.no_friendly_names;
        Ok(Request {
            forms: forms.or_detailed(),
            datapath,
            microflow,
            ..self.trace.request(friendly, manner)?
        })
    }

    async fn connect(&self) -> Outcome<Client> {
        let default = || {
            let socket: PathBuf = place::run_dir().join(SB.socket);
            format!("unix:{}", socket.display())
        };
        let of_variable = || std::env::var(SB.remote_variable).ok();
        let remote = self.database.db.clone().or_else(of_variable);
        let remotes = Remote::parse_list(&remote.unwrap_or_else(default));
        let remotes = remotes.map_err(|error| CommandError::Failed(error.to_string()))?;
        let tls = self
            .tls
            .files()
            .map_err(|error| CommandError::Failed(error.to_string()))?;
        let spec = Spec {
            tables: TABLES.map(TableSpec::all).to_vec(),
            leader_only: !self.database.no_leader_only,
            probe_interval: PROBE_INTERVAL,
            tls: self.common.asking_for_name(tls),
            ..Spec::new(Arc::clone((SB.schema)()), remotes)
        };
        let client = Client::connect(spec, None, false).await;
        client.map_err(|error| CommandError::Failed(error.to_string()))
    }

    /// Runs as a daemon until it is told to end.
    fn serve(self, manner: Manner) -> Outcome<ExitCode> {
        let wrong = |error: &dyn std::fmt::Display| CommandError::Failed(error.to_string());
        let started = Process::start(&self.common, "ovn-trace", &["ovntrace", "unixctl"]);
        let process = match started.map_err(|error| wrong(&error))? {
            Ok(process) => process,
            Err(code) => return Ok(code),
        };
        let friendly = !self.form.no_friendly_names;
        let served = with_room(|| {
            runtime()?.block_on(async {
                let client = self.connect().await?;
                let control = process
                    .listen(env!("CARGO_PKG_VERSION"), Surface::of(COMMANDS))
                    .map_err(|error| wrong(&error))?;
                process.ready().map_err(|error| wrong(&error))?;
                answer_requests(client, control, friendly, manner).await
            })
        });
        served.map_err(CommandError::Failed)??;
        Ok(ExitCode::SUCCESS)
    }
}

fn runtime() -> Outcome<Runtime> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| CommandError::Failed(error.to_string()))
}

/// One request after the other, and changes of the database in between.
async fn answer_requests(
    mut client: Client,
    mut control: daemon::unixctl::Control,
    friendly: bool,
    manner: Manner,
) -> Outcome {
    let mut known = Known::new(client.tables());
    loop {
        tokio::select! {
            request = control.next() => {
                if request.command == "exit" {
                    request.succeed("");
                    control.finish().await;
                    return Ok(());
                }
                match from_words(&request.args, friendly, manner) {
                    Err(text) => request.fail(text),
                    Ok(wanted) => {
                        let traced = wanted.run(&known.world, &known.stages);
                        match traced {
                            Ok(traced) => request.succeed(traced.text),
                            Err(text) => request.succeed(format!("{text}\n")),
                        }
                    }
                }
            }
            event = client.next() => match event {
                Ok(Event::Changes(changes)) => known.apply(&changes),
                Ok(_) => {}
                Err(error) => return fail(error.to_string()),
            }
        }
    }
}

fn print(text: &str) {
    use std::io::Write as _;
    // Who has closed the output does not want more of it.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
