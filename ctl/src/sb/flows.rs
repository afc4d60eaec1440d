//! Logical flows: `lflow-list`, `dump-flows`, `count-flows`.

use std::collections::BTreeMap;

use ovsdb::Uuid;
use sb_db::tables::{
    Chassis, DatapathBinding, LogicalDpGroup, LogicalFlow, MacBinding, MulticastGroup, PortBinding,
};

use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};
use crate::lookup;
use crate::ofctl::{self, Flows};
use crate::text::quoted;
use northbound::Draft;

const TABLES: Tables = Tables::Fixed(&["Datapath_Binding", "Logical_DP_Group", "Logical_Flow"]);

const VFLOW_TABLES: Tables = Tables::Fixed(&[
    "Datapath_Binding",
    "Logical_DP_Group",
    "Logical_Flow",
    "Port_Binding",
    "MAC_Binding",
    "Multicast_Group",
    "Chassis",
]);

const OPTIONS: &[&str] = &["--uuid", "--ovs[=]", "--stats", "--vflows[=]"];

const LIST_HELP: &str =
    "print logical flows: of one datapath, or all; of the given UUIDs or starts of UUIDs, or all";

/// The commands.
pub static FAMILY: Family = Family {
    title: "Logical flow commands",
    commands: &[
        Command {
            name: "lflow-list",
            arguments: "[DATAPATH] [LFLOW]...",
            options: OPTIONS,
            help: LIST_HELP,
            tables: VFLOW_TABLES,
            run: list,
        },
        Command {
            name: "dump-flows",
            arguments: "[DATAPATH] [LFLOW]...",
            options: OPTIONS,
            help: LIST_HELP,
            tables: VFLOW_TABLES,
            run: list,
        },
        Command {
            name: "count-flows",
            arguments: "[DATAPATH]",
            options: &[],
            help: "print how many logical flows each table of each datapath has",
            tables: TABLES,
            run: count,
        },
    ],
};

/// The datapath that `text` means by UUID, by the start of one, or by a name. It is an error if there are several.
pub(super) fn datapath(draft: &Draft<'_>, text: &str) -> Outcome<Option<Uuid>> {
    let table = draft.table_of::<DatapathBinding>()?;
    lookup::row_if_any(draft, table, text)
}

/// A flow on one datapath, in the order in which flows are printed: by datapath, pipeline, table, falling priority,
/// match and actions.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Line<'f> {
    datapath: (String, Uuid),
    is_egress: bool,
    table: i64,
    falling_priority: std::cmp::Reverse<i64>,
    matches: &'f str,
    actions: &'f str,
    uuid: Uuid,
    stage: &'f str,
}

impl Line<'_> {
    fn pipeline(&self) -> &'static str {
        if self.is_egress { "egress" } else { "ingress" }
    }
}

/// All flows, once for each of their datapaths, of `only` one datapath if that is given.
fn lines<'f>(
    flows: &'f [LogicalFlow],
    groups: &BTreeMap<Uuid, LogicalDpGroup>,
    datapaths: &BTreeMap<Uuid, DatapathBinding>,
    only: Option<Uuid>,
) -> Vec<Line<'f>> {
    let mut lines = Vec::new();
    for flow in flows {
        let group = flow.logical_dp_group.and_then(|group| groups.get(&group));
        let of_group = group.map_or(&[][..], |group| &group.datapaths);
        let of_flow = of_group.iter().chain(&flow.logical_datapath);
        for datapath in of_flow.filter(|datapath| only.is_none_or(|only| only == **datapath)) {
            let Some(datapath) = datapaths.get(datapath) else {
                continue;
            };
            lines.push(Line {
                datapath: (datapath_name(datapath), datapath.uuid),
                is_egress: &*flow.pipeline == "egress",
                table: flow.table_id,
                falling_priority: std::cmp::Reverse(flow.priority),
                matches: &flow.r#match,
                actions: &flow.actions,
                uuid: flow.uuid,
                stage: flow.external_ids.get("stage-name").map_or("", |name| name),
            });
        }
    }
    lines.sort_unstable();
    lines
}

/// `"name" aka "other name"`, as headings have it.
fn datapath_name(datapath: &DatapathBinding) -> String {
    let name = |key| datapath.external_ids.get(key);
    let first = quoted(name("name").map_or("", |name| name));
    match name("name2") {
        Some(second) => format!("{first} aka {}", quoted(second)),
        None => first,
    }
}

fn all_by_uuid<T: ovsdb::TableDefinition>(
    draft: &Draft<'_>,
    uuid: impl Fn(&T) -> Uuid,
) -> BTreeMap<Uuid, T> {
    draft
        .all::<T>()
        .into_iter()
        .map(|row| (uuid(&row), row))
        .collect()
}

/// The starts of UUIDs that arguments ask for, in small letters and without `0x`.
fn wanted_flows(arguments: &[String]) -> Outcome<Vec<String>> {
    let read = |text: &String| {
        let prefix = text.strip_prefix("0x").unwrap_or(text);
        let is_start = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        if prefix.is_empty() || !prefix.bytes().all(is_start) {
            return fail(format!("{text} is not a UUID or the beginning of a UUID"));
        }
        Ok(prefix.to_ascii_lowercase())
    };
    arguments.iter().map(read).collect()
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    let mut arguments = context.args_from(0);
    let mut only = None;
    if let Some(first) = arguments.first() {
        only = datapath(context.draft, first)?;
        if only.is_some() {
            arguments = &arguments[1..];
        }
    }
    let wanted = wanted_flows(arguments)?;
    let is_wanted = |uuid: Uuid| {
        let text = uuid.hyphenated().to_string();
        wanted.is_empty() || wanted.iter().any(|start| text.starts_with(start))
    };
    let switch = openflow(context);
    let with_uuid = context.has("--uuid");
    let flows = context.draft.all::<LogicalFlow>();
    let groups = all_by_uuid(context.draft, |group: &LogicalDpGroup| group.uuid);
    let datapaths = all_by_uuid(context.draft, |datapath: &DatapathBinding| datapath.uuid);
    let mut heading = None;
    for line in lines(&flows, &groups, &datapaths, only) {
        if !is_wanted(line.uuid) {
            continue;
        }
        let (name, uuid) = &line.datapath;
        if heading != Some((*uuid, line.is_egress)) {
            heading = Some((*uuid, line.is_egress));
            context.print(format!(
                "Datapath: {name} ({uuid})  Pipeline: {}",
                line.pipeline()
            ));
        }
        let prefix = short_uuid(line.uuid, with_uuid);
        context.print(format!(
            "  {prefix}table={:<2}({:<19}), priority={:<5}, match=({}), action=({})",
            line.table, line.stage, line.falling_priority.0, line.matches, line.actions
        ));
        print_openflow(context, &switch, line.uuid);
    }
    if context.has("--vflows") {
        print_other_records(context, only, with_uuid, &switch);
    }
    Ok(())
}

/// The flows of the switch that `--ovs` asks for; none without it, or when there is no such switch, which is told.
fn openflow(context: &mut Context<'_, '_>) -> Flows {
    if !context.has("--ovs") {
        return Flows::default();
    }
    let switch = ofctl::target(context.option("--ovs"));
    match ofctl::ask("dump-flows", &switch) {
        Ok(dump) => Flows::read(&dump, context.has("--stats")),
        Err(why) => {
            // Why there is no connection is in brackets; all else is told as it is.
            let refused = why.split_once("failed to connect");
            let reason = refused.and_then(|(_, rest)| rest.rsplit_once('('));
            let reason = reason.map_or(&*why, |(_, reason)| reason.trim_end_matches(')'));
            let warning = format!("{switch}: connection failed ({reason})");
            context.warnings.push(warning);
            Flows::default()
        }
    }
}

/// What the switch has for a row.
fn print_openflow(context: &mut Context<'_, '_>, switch: &Flows, row: Uuid) {
    for flow in switch.of(row.as_fields().0) {
        context.print(format!("    {flow}"));
    }
}

/// `uuid=0x01234567, `, if that is asked for.
fn short_uuid(uuid: Uuid, wanted: bool) -> String {
    if wanted {
        format!("uuid=0x{:08x}, ", uuid.as_fields().0)
    } else {
        String::new()
    }
}

/// What else controllers make OpenFlow flows of.
fn print_other_records(
    context: &mut Context<'_, '_>,
    only: Option<Uuid>,
    with_uuid: bool,
    switch: &Flows,
) {
    let mut sections: Vec<(&str, Vec<(Uuid, String)>)> = Vec::new();
    let is_shown = |datapath: Uuid| only.is_none_or(|only| only == datapath);
    let datapaths = all_by_uuid(context.draft, |datapath: &DatapathBinding| datapath.uuid);
    // Where all are shown, each says whose it is.
    let of = |datapath: Uuid| match datapaths.get(&datapath).filter(|_| only.is_none()) {
        Some(datapath) => format!("datapath={}, ", datapath_name(datapath)),
        None => String::new(),
    };
    let mut ports = context.draft.all::<PortBinding>();
    ports.sort_by(|a, b| a.logical_port.cmp(&b.logical_port));
    let names: BTreeMap<Uuid, String> = ports
        .iter()
        .map(|port| (port.uuid, port.logical_port.to_string()))
        .collect();
    let shown = ports.iter().filter(|port| is_shown(port.datapath));
    let shown = shown.map(|port| {
        let prefix = short_uuid(port.uuid, with_uuid);
        let text = format!(
            "{prefix}{}logical_port={}, tunnel_key={:<5}",
            of(port.datapath),
            port.logical_port,
            port.tunnel_key
        );
        (port.uuid, text)
    });
    sections.push(("Port Bindings", shown.collect()));
    let mut neighbours = context.draft.all::<MacBinding>();
    neighbours.retain(|neighbour| is_shown(neighbour.datapath));
    neighbours.sort_by(|a, b| (&a.logical_port, &a.ip).cmp(&(&b.logical_port, &b.ip)));
    let shown = neighbours.iter().map(|neighbour| {
        let prefix = short_uuid(neighbour.uuid, with_uuid);
        let of = of(neighbour.datapath);
        let (port, ip, mac) = (&neighbour.logical_port, &neighbour.ip, &neighbour.mac);
        let text = format!("{prefix}{of}logical_port={port}, ip={ip}, mac={mac}");
        (neighbour.uuid, text)
    });
    sections.push(("MAC Bindings", shown.collect()));
    let mut groups = context.draft.all::<MulticastGroup>();
    groups.retain(|group| is_shown(group.datapath));
    groups.sort_by(|a, b| (&a.name, a.uuid).cmp(&(&b.name, b.uuid)));
    let shown = groups.iter().map(|group| {
        let prefix = short_uuid(group.uuid, with_uuid);
        let mut members: Vec<&str> = group
            .ports
            .iter()
            .filter_map(|port| Some(names.get(port)?.as_str()))
            .collect();
        members.sort_unstable();
        let members = members.join(", ");
        let text = format!(
            "{prefix}{}name={}, tunnel_key={:<5}, ports=({members})",
            of(group.datapath),
            group.name,
            group.tunnel_key
        );
        (group.uuid, text)
    });
    sections.push(("MC Groups", shown.collect()));
    let mut chassis = context.draft.all::<Chassis>();
    chassis.sort_by(|a, b| a.name.cmp(&b.name));
    let shown = chassis.iter().map(|chassis| {
        let prefix = short_uuid(chassis.uuid, with_uuid);
        (chassis.uuid, format!("{prefix}name={}", chassis.name))
    });
    sections.push(("Chassis", shown.collect()));
    for (title, records) in sections {
        if !records.is_empty() {
            context.print(format!("\n{title}:"));
        }
        for (uuid, record) in records {
            context.print(format!("  {record}"));
            print_openflow(context, switch, uuid);
        }
    }
}

fn count(context: &mut Context<'_, '_>) -> Outcome {
    let mut only = None;
    if let Some(name) = context.arg_if_any(0) {
        only = datapath(context.draft, name)?;
        if only.is_none() {
            context.print("Total number of logical flows = 0");
            return Ok(());
        }
    }
    let flows = context.draft.all::<LogicalFlow>();
    let groups = all_by_uuid(context.draft, |group: &LogicalDpGroup| group.uuid);
    let datapaths = all_by_uuid(context.draft, |datapath: &DatapathBinding| datapath.uuid);
    let lines = lines(&flows, &groups, &datapaths, only);
    let same_pipeline =
        |a: &Line<'_>, b: &Line<'_>| (a.datapath.1, a.is_egress) == (b.datapath.1, b.is_egress);
    for part in lines.chunk_by(same_pipeline) {
        let (name, uuid) = &part[0].datapath;
        let pipeline = part[0].pipeline();
        context.print(format!("Datapath: {name} ({uuid})  Pipeline: {pipeline}"));
        for table in part.chunk_by(|a, b| a.table == b.table) {
            let (number, stage, count) = (table[0].table, table[0].stage, table.len());
            context.print(format!("  table={number:<2}({stage:<19}) lflows={count}"));
        }
        context.print(format!(
            "Total number of logical flows in the datapath {name} ({uuid}) Pipeline: {pipeline} = {}\n",
            part.len()
        ));
    }
    context.print(format!("Total number of logical flows = {}", lines.len()));
    Ok(())
}
