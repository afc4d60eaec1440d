//! `weft detrace`, `weft debug` and `weft why` as programs: they connect, read what they need once, and print.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use daemon::args::TlsArgs;
use daemon::place;
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Atom, Remote, Row, Table, Uuid};
use replica::{Client, Spec, TableSpec, Tables, fetch_schema};
use sb_db::tables::LogicalFlow;
use tokio::runtime::{Builder, Runtime};

use super::drops;
use super::intent::{self, Intents};
use super::records::{self, Record, Records};
use super::why::explain;
use crate::error::{CommandError, Outcome, fail};
use crate::report::Reporter;
use crate::tool::Tool;
use crate::tools::{NB, SB};
use crate::trace;
use crate::trace::daemon::{TraceArgs, load};
use crate::trace::request::with_room;
use crate::trace::stage::Stages;
use crate::trace::walk::Manner;

/// How long a silent database is trusted.
const PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// So long `weft why` waits for the northbound, without which it can answer, too.
const NORTHBOUND: Duration = Duration::from_secs(5);

/// The longest line that is read: what the switch prints of a packet is far shorter.
const MOST_BYTES: u64 = 16 << 20;

/// Says what the flows of ofproto/trace are there for: reads its output, and prints it with rows behind the cookies
#[derive(Debug, Parser)]
#[command(name = "weft detrace", bin_name = "weft detrace", version)]
struct Detrace {
    #[command(flatten)]
    databases: DatabaseArgs,
    /// Name the interfaces behind OpenFlow ports, too, as the switch's database has them
    #[arg(long)]
    ovs: bool,
    /// The switch's database; by default the one on this machine
    #[arg(long, value_name = "REMOTE", help_heading = "Databases")]
    ovsdb: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
}

/// Translates between stages, tables and cookies
#[derive(Debug, Parser)]
#[command(name = "weft debug", bin_name = "weft debug", version)]
struct Debug {
    #[command(subcommand)]
    command: DebugCommand,
    #[command(flatten)]
    databases: DatabaseArgs,
    #[command(flatten)]
    tls: TlsArgs,
}

#[derive(Debug, Subcommand)]
enum DebugCommand {
    /// Print the table of a pipeline that a stage is, as the southbound's flows have it
    LflowStageToLtable {
        /// Its name, such as ls_in_l2_lkup
        stage: String,
    },
    /// Print the OpenFlow table that a stage is on chassis of Weft and of OVN 26.03
    LflowStageToOftable {
        /// Its name, such as ls_in_l2_lkup
        stage: String,
    },
    /// Print the cookie of the OpenFlow flows that are made of a southbound row
    UuidToCookie {
        /// The row's UUID
        uuid: Uuid,
    },
}

/// Says which rule decides about a packet: its table, its flow, and the northbound row that it is there for
#[derive(Debug, Parser)]
#[command(
    name = "weft why",
    bin_name = "weft why",
    version,
    override_usage = "weft why [OPTIONS] [DATAPATH] MICROFLOW\n       weft why drops [OPTIONS]"
)]
struct Why {
    /// The datapath, if not that of the input port; and the packet, as a match that leaves nothing open. Or `drops`: what
    /// the flows of this machine's switch have dropped
    #[arg(value_name = "[DATAPATH] MICROFLOW", num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// With drops: only on the datapath of this port, and first what names it
    #[arg(long, value_name = "PORT", help_heading = "Drops")]
    port: Option<String>,
    /// With drops: only what is dropped within so many seconds from now; without, since the flows were made
    #[arg(long, value_name = "SECONDS", help_heading = "Drops")]
    within: Option<u64>,
    /// With drops: the switch to ask, as ovs-ofctl calls it; by default the br-int of this machine
    #[arg(long, value_name = "SWITCH", help_heading = "Drops")]
    switch: Option<String>,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    databases: DatabaseArgs,
    #[command(flatten)]
    tls: TlsArgs,
}

#[derive(Args, Clone, Debug)]
struct DatabaseArgs {
    /// The southbound database; by default that of OVN_SB_DB, else the one on this machine
    #[arg(
        long,
        visible_alias = "db",
        global = true,
        value_name = "REMOTE",
        help_heading = "Databases"
    )]
    ovnsb: Option<String>,
    /// The northbound database; by default that of OVN_NB_DB, else the one on this machine
    #[arg(long, global = true, value_name = "REMOTE", help_heading = "Databases")]
    ovnnb: Option<String>,
    /// Accept any member of a cluster
    #[arg(long, global = true, help_heading = "Databases")]
    no_leader_only: bool,
    /// Give up after this time
    #[arg(
        short,
        long,
        global = true,
        value_name = "SECONDS",
        help_heading = "Databases"
    )]
    timeout: Option<u64>,
}

/// A program of this file: its name as a subcommand, and what it does with arguments.
pub type Program = (&'static str, fn(Vec<String>) -> ExitCode);

/// The programs of this file.
pub const PROGRAMS: [Program; 3] = [("detrace", detrace), ("debug", debug), ("why", why)];

fn detrace(arguments: Vec<String>) -> ExitCode {
    run("weft detrace", arguments, Detrace::run)
}

fn debug(arguments: Vec<String>) -> ExitCode {
    run("weft debug", arguments, Debug::run)
}

fn why(arguments: Vec<String>) -> ExitCode {
    run("weft why", arguments, Why::run)
}

fn run<P: Parser>(
    name: &str,
    arguments: Vec<String>,
    work: fn(P, &Reporter) -> Outcome,
) -> ExitCode {
    let words = std::iter::once(name.to_owned()).chain(arguments);
    let program = P::try_parse_from(words).unwrap_or_else(|error| error.exit());
    let reporter = Reporter {
        name: name.to_owned(),
        logs: false,
    };
    match work(program, &reporter) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            reporter.error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// The reference page, in Markdown.
pub fn reference_page() -> String {
    let mut text = "# weft detrace, weft debug, weft why\n".to_owned();
    for command in [Detrace::command(), Debug::command(), Why::command()] {
        let mut command = command.term_width(100);
        let name = command.get_name().to_owned();
        text.push_str(&format!(
            "\n## {name}\n\n```text\n{}```\n",
            command.render_help()
        ));
    }
    // Trailing blanks would be lost in editing.
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// The options and subcommands, for completion: of each program.
pub fn words() -> Vec<(&'static str, Vec<String>)> {
    let of = |command: clap::Command| {
        let options = command
            .get_arguments()
            .filter_map(|option| Some(format!("--{}", option.get_long()?)));
        let subcommands = command
            .get_subcommands()
            .map(|sub| sub.get_name().to_owned());
        options.chain(subcommands).collect()
    };
    vec![
        ("detrace", of(Detrace::command())),
        ("debug", of(Debug::command())),
        ("why", of(Why::command())),
    ]
}

fn wrong(error: &dyn std::fmt::Display) -> CommandError {
    CommandError::Failed(error.to_string())
}

/// What reads databases.
pub(crate) struct Reader {
    runtime: Runtime,
    tls: Option<replica::Tls>,
    leader_only: bool,
    timeout: Option<Duration>,
}

impl Reader {
    /// One that connects with these files, and gives up after this time.
    pub(crate) fn new(
        tls: &TlsArgs,
        leader_only: bool,
        timeout: Option<Duration>,
    ) -> Outcome<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Self {
            runtime: runtime.map_err(|error| wrong(&error))?,
            tls: tls.files().map_err(|error| wrong(&error))?,
            leader_only,
            timeout,
        })
    }

    /// The rows of some tables of a tool's database.
    pub(crate) fn read(
        &self,
        tool: &Tool,
        given: Option<&String>,
        tables: &[usize],
    ) -> Outcome<Client> {
        let of_variable = || std::env::var(tool.remote_variable).ok();
        let default = || {
            let socket: PathBuf = place::run_dir().join(tool.socket);
            format!("unix:{}", socket.display())
        };
        let remote = given.cloned().or_else(of_variable).unwrap_or_else(default);
        self.connect(Arc::clone((tool.schema)()), &remote, tables)
    }

    /// The outcome, if it comes in time.
    fn in_time<T>(&self, work: impl Future<Output = T>) -> Outcome<T> {
        let Some(limit) = self.timeout else {
            return Ok(self.runtime.block_on(work));
        };
        let timed = async { tokio::time::timeout(limit, work).await };
        let timed = self.runtime.block_on(timed);
        timed.map_err(|_| wrong(&"timed out after waiting for the database"))
    }

    fn connect(
        &self,
        schema: Arc<DatabaseSchema>,
        remote: &str,
        tables: &[usize],
    ) -> Outcome<Client> {
        let remotes = Remote::parse_list(remote).map_err(|error| wrong(&error))?;
        let spec = Spec {
            tables: tables.iter().copied().map(TableSpec::all).collect(),
            leader_only: self.leader_only,
            probe_interval: PROBE_INTERVAL,
            tls: self.tls.clone(),
            ..Spec::new(schema, remotes)
        };
        let client = self
            .runtime
            .block_on(Client::connect(spec, self.timeout, false));
        client.map_err(|error| wrong(&error))
    }
}

impl DatabaseArgs {
    fn reader(&self, tls: &TlsArgs) -> Outcome<Reader> {
        let limit = self.timeout.filter(|seconds| *seconds > 0);
        Reader::new(tls, !self.no_leader_only, limit.map(Duration::from_secs))
    }
}

/// What is told behind lines of a trace.
struct Annotator<'a> {
    south: &'a Tables,
    records: Records,
    north: &'a Tables,
    intents: Intents,
    /// By OpenFlow port: name and `iface-id`.
    interfaces: HashMap<u64, (String, String)>,
}

/// What a line names.
enum Named {
    Cookie(u64),
    Port(u64),
}

impl Detrace {
    fn run(self, _: &Reporter) -> Outcome {
        let reader = self.databases.reader(&self.tls)?;
        let south = reader.read(&SB, self.databases.ovnsb.as_ref(), &records::TABLES)?;
        let north = reader.read(&NB, self.databases.ovnnb.as_ref(), &intent::TABLES)?;
        let interfaces = match self.ovs {
            true => interfaces(&reader, self.ovsdb.as_deref())?,
            false => HashMap::new(),
        };
        let annotator = Annotator {
            south: south.tables(),
            records: Records::new(south.tables()),
            north: north.tables(),
            intents: Intents::new(north.tables()),
            interfaces,
        };
        let input = std::io::stdin().lock();
        let output = std::io::stdout().lock();
        match annotator.filter(input, output) {
            // Who has closed the output does not want more of it.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            done => done.map_err(|error| wrong(&error)),
        }
    }
}

impl Annotator<'_> {
    /// Passes lines on; behind each block of a table, what its cookies and ports are.
    fn filter(&self, mut input: impl BufRead, mut output: impl Write) -> std::io::Result<()> {
        let mut named = Vec::new();
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let count =
                std::io::Read::take(&mut input, MOST_BYTES).read_until(b'\n', &mut bytes)?;
            let line = String::from_utf8_lossy(&bytes);
            let line = line.trim();
            if line.is_empty() || begins_block(line) {
                for name in named.drain(..) {
                    self.print(&name, &mut output)?;
                }
            }
            writeln!(output, "{line}")?;
            if count == 0 {
                return Ok(());
            }
            let has_ports = !self.interfaces.is_empty();
            named.extend(number_behind(line, "cookie 0x", 16).map(Named::Cookie));
            let outport = line.strip_prefix("output:").filter(|_| has_ports);
            named.extend(outport.and_then(|rest| leading(rest, 10)).map(Named::Port));
            let inport = behind_number(line).and_then(|rest| rest.strip_prefix("in_port="));
            let inport = inport.filter(|_| has_ports);
            named.extend(inport.and_then(|rest| leading(rest, 10)).map(Named::Port));
        }
    }

    fn print(&self, named: &Named, output: &mut impl Write) -> std::io::Result<()> {
        match named {
            Named::Port(port) => match self.interfaces.get(port) {
                Some((name, id)) => writeln!(output, "  * OVS Interface: {name} ({id})"),
                None => Ok(()),
            },
            Named::Cookie(cookie) => {
                let mut before: Option<Record> = None;
                for record in self.records.find(self.south, *cookie) {
                    if before
                        .as_ref()
                        .is_some_and(|before| before.is_like(&record))
                    {
                        writeln!(output, "   * [Duplicate uuid cookie]")?;
                    }
                    for line in &record.lines {
                        writeln!(output, "  * {line}")?;
                    }
                    let hint = record.hint.as_deref();
                    let intents = hint.map(|hint| self.intents.find(self.north, hint));
                    for intent in intents.into_iter().flatten() {
                        writeln!(output, "   * {}", intent.text)?;
                    }
                    before = Some(record);
                }
                Ok(())
            }
        }
    }
}

/// Whether a line of ofproto/trace begins with a table's number: `12. …`.
fn begins_block(line: &str) -> bool {
    behind_number(line).is_some()
}

/// What is behind `12. `.
fn behind_number(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = rest.strip_prefix('.').filter(|_| rest.len() < line.len())?;
    Some(rest.trim_start())
}

/// The number behind the last `mark` of a line.
fn number_behind(line: &str, mark: &str, base: u32) -> Option<u64> {
    leading(&line[line.rfind(mark)? + mark.len()..], base)
}

/// The number that a text begins with.
fn leading(text: &str, base: u32) -> Option<u64> {
    let end = text.find(|c: char| !c.is_digit(base)).unwrap_or(text.len());
    u64::from_str_radix(&text[..end], base).ok()
}

/// The interfaces on the integration bridge by their OpenFlow ports.
fn interfaces(reader: &Reader, given: Option<&str>) -> Outcome<HashMap<u64, (String, String)>> {
    let default = || {
        let socket = place::switch_run_dir().join("db.sock");
        format!("unix:{}", socket.display())
    };
    let remote = given.map_or_else(default, str::to_owned);
    let remotes = Remote::parse_list(&remote).map_err(|error| wrong(&error))?;
    let schema = fetch_schema(&remotes, reader.tls.as_ref(), "Open_vSwitch");
    let schema = reader.in_time(schema)?;
    let schema = Arc::new(schema.map_err(|error| wrong(&error))?);
    let names = ["Open_vSwitch", "Bridge", "Port", "Interface"];
    let indexes: Option<Vec<usize>> = names
        .map(|name| schema.table_index(name))
        .into_iter()
        .collect();
    let Some(indexes) = indexes else {
        return fail(format!("{remote}: this is no database of a switch"));
    };
    let client = reader.connect(Arc::clone(&schema), &remote, &indexes)?;
    let tables = client.tables();
    let column = |table: usize, row: &Row, name: &str| {
        let index = schema.tables[table].column_index(name);
        index.map_or_else(ovsdb::Datum::empty_set, |index| row.get(index).clone())
    };
    let [vswitch, bridge, port, interface] = [indexes[0], indexes[1], indexes[2], indexes[3]];
    let of_switch = tables.table(vswitch).iter().next();
    let integration = of_switch.and_then(|(_, row)| {
        let ids = column(vswitch, row, "external_ids");
        ids.get_str("ovn-bridge").map(str::to_owned)
    });
    let integration = integration.unwrap_or_else(|| "br-int".to_owned());
    let named = |row: &Row| {
        let name = column(bridge, row, "name");
        name.scalar()
            .and_then(|name| name.as_str().map(str::to_owned))
    };
    let mut bridges = tables.table(bridge).iter();
    let Some((_, found)) = bridges.find(|(_, row)| named(row).as_deref() == Some(&integration))
    else {
        return fail(format!("{remote}: there is no bridge {integration}"));
    };
    let mut by_port = HashMap::new();
    for port_uuid in uuids(&column(bridge, found, "ports")) {
        let Some(row) = tables.get(port, port_uuid) else {
            continue;
        };
        for uuid in uuids(&column(port, row, "interfaces")) {
            let Some(row) = tables.get(interface, uuid) else {
                continue;
            };
            let number = column(interface, row, "ofport");
            let number = number.scalar().and_then(Atom::as_integer);
            let name = column(interface, row, "name");
            let name = name
                .scalar()
                .and_then(|name| name.as_str().map(str::to_owned));
            let ids = column(interface, row, "external_ids");
            let id = ids.get_str("iface-id").unwrap_or("None").to_owned();
            if let (Some(number), Some(name)) = (number.and_then(|n| u64::try_from(n).ok()), name) {
                by_port.insert(number, (name, id));
            }
        }
    }
    Ok(by_port)
}

fn print(text: &str) {
    // Who has closed the output does not want more of it.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// The flows of a switch, as ovs-ofctl prints them.
fn dump_flows(switch: &str) -> Outcome<String> {
    let output = Command::new("ovs-ofctl")
        .args(["-O", "OpenFlow15", "--no-names", "dump-flows", switch])
        .output()
        .map_err(|error| CommandError::Failed(format!("ovs-ofctl: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return fail(format!(
            "{switch}: the flows cannot be read: {}",
            said.trim()
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The references of a column.
fn uuids(datum: &ovsdb::Datum) -> Vec<Uuid> {
    let elements = datum.pairs().iter().map(|(key, _)| key);
    elements
        .filter_map(|atom| match atom {
            Atom::Uuid(uuid) => Some(*uuid),
            _ => None,
        })
        .collect()
}

impl Debug {
    fn run(self, _: &Reporter) -> Outcome {
        /// The first OpenFlow tables of the logical pipelines.
        const INGRESS: i64 = 8;
        const EGRESS: i64 = 48;
        let text = match &self.command {
            DebugCommand::UuidToCookie { uuid } => format!("0x{:x}", uuid.as_fields().0),
            DebugCommand::LflowStageToLtable { stage } => self.table(stage)?.1.to_string(),
            DebugCommand::LflowStageToOftable { stage } => {
                let (is_egress, table) = self.table(stage)?;
                let first = if is_egress { EGRESS } else { INGRESS };
                (first + table).to_string()
            }
        };
        print(&format!("{text}\n"));
        Ok(())
    }

    /// The pipeline and the table of a stage: of the first flow there is.
    fn table(&self, stage: &str) -> Outcome<(bool, i64)> {
        let reader = self.databases.reader(&self.tls)?;
        let client = reader.read(&SB, self.databases.ovnsb.as_ref(), &[LogicalFlow::INDEX])?;
        let mut flows = client.tables().iter_as::<LogicalFlow>();
        let found = flows.find(|flow| {
            let name = flow.external_ids.get("stage-name");
            name.is_some_and(|name| **name == *stage)
        });
        match found {
            Some(flow) => Ok((&*flow.pipeline == "egress", flow.table_id)),
            None => fail(format!(
                "{stage}: no logical flow is in a stage of this name"
            )),
        }
    }
}

impl Why {
    /// What the flows of a switch have dropped.
    fn drops(&self, south: &Client, north: Option<&Client>) -> Outcome {
        let default = || {
            let socket = place::switch_run_dir().join("br-int.mgmt");
            format!("unix:{}", socket.display())
        };
        let switch = self.switch.clone().unwrap_or_else(default);
        let read = || dump_flows(&switch).map(|text| drops::counted(&text));
        let mut counts = read()?;
        if let Some(seconds) = self.within {
            let before = counts;
            std::thread::sleep(Duration::from_secs(seconds));
            counts = drops::since(&before, &read()?);
        }
        let north = north.map(Client::tables);
        let known = north.map(Intents::new).unwrap_or_default();
        let intents = |hint: &str| {
            let found = north.map(|north| known.find(north, hint));
            found.unwrap_or_default()
        };
        let told = drops::tell(south.tables(), &counts, self.port.as_deref(), &intents);
        print(&told.map_err(CommandError::Failed)?);
        Ok(())
    }
    fn run(self, reporter: &Reporter) -> Outcome {
        let reader = self.databases.reader(&self.tls)?;
        let south = reader.read(&SB, self.databases.ovnsb.as_ref(), &trace::world::TABLES)?;
        // It may be away, and the answer does not wait for it.
        let is_limited = self.databases.timeout.is_some();
        let brief = match is_limited {
            true => self.databases.reader(&self.tls)?,
            false => Reader::new(&self.tls, !self.databases.no_leader_only, Some(NORTHBOUND))?,
        };
        let north = brief.read(&NB, self.databases.ovnnb.as_ref(), &intent::TABLES);
        let north = match north {
            Ok(north) => Some(north),
            Err(error) => {
                reporter.warn(&format!("without northbound rows: {error}"));
                None
            }
        };
        if self.words == ["drops"] {
            return self.drops(&south, north.as_ref());
        }
        let of_drops = [
            ("--port", self.port.is_some()),
            ("--within", self.within.is_some()),
            ("--switch", self.switch.is_some()),
        ];
        if let Some((option, _)) = of_drops.iter().find(|(_, is_given)| *is_given) {
            return fail(format!("{option} is for `weft why drops`"));
        }
        let (datapath, microflow) = match &self.words[..] {
            [datapath, microflow] => (Some(datapath.clone()), microflow.clone()),
            words => (None, words.concat()),
        };
        let mut request = self.trace.request(true, Manner::Chassis);
        (request.datapath, request.microflow) = (datapath, microflow);
        let told = with_room(|| {
            let world = load(south.tables());
            let followed = request.follow(&world, &Stages::default())?;
            let north = north.as_ref().map(Client::tables);
            let known = north.map(Intents::new).unwrap_or_default();
            let intents = |hint: &str| {
                let found = north.map(|north| known.find(north, hint));
                found.unwrap_or_default()
            };
            Ok::<_, String>((
                explain(&world, &followed.endings, &intents),
                followed.warnings,
            ))
        });
        let told = told.and_then(|told| told).map_err(CommandError::Failed)?;
        for warning in &told.1 {
            reporter.warn(warning);
        }
        print(&told.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_are_well_formed() {
        Detrace::command().debug_assert();
        Debug::command().debug_assert();
        Why::command().debug_assert();
    }

    #[test]
    fn lines_of_a_trace() {
        assert_eq!(
            number_behind(
                "8. metadata=0x1, priority 100, cookie 0x2ab3",
                "cookie 0x",
                16
            ),
            Some(0x2ab3)
        );
        assert!(begins_block("12. reg15=0x1, priority 1"));
        assert!(!begins_block("resubmit(,8)") && !begins_block(". x") && !begins_block(""));
        assert_eq!(
            behind_number("0. in_port=12, priority"),
            Some("in_port=12, priority")
        );
        assert_eq!(leading("12, x", 10), Some(12));
        assert_eq!(leading("x", 10), None);
    }
}
