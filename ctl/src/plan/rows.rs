//! Rows, logical flows and problems that come, change and go, in words.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use nb_db::tables::WeftProblem;
use ovsdb::schema::TableSchema;
use ovsdb::{Atom, Row, RowChange, Table, TableDefinition, Uuid};
use replica::Tables;
use sb_db::tables as sb;

use super::draft::Drafted;
use super::{counted, section};

/// What rows are called by, if they have no name: the first of these columns that say something.
const TELLING: [&str; 16] = [
    "name",
    "logical_port",
    "direction",
    "policy",
    "type",
    "priority",
    "match",
    "action",
    "ip_prefix",
    "nexthop",
    "external_ip",
    "logical_ip",
    "cidr",
    "ip",
    "mac",
    "chassis_name",
];
/// So much of it is shown.
const SHOWN: usize = 120;

/// Tables that only count what others do.
const COUNTERS: [&str; 2] = ["NB_Global", "SB_Global"];

/// The rows of both databases, and the logical flows.
pub fn tell(south: &Tables, drafted: &Drafted, limit: usize) -> String {
    let mut text = String::new();
    if drafted.unsettled > 0 {
        text.push_str(&format!(
            "note: {} of the southbound are not yet what the northbound says; that is not counted below\n",
            counted(drafted.unsettled as usize, "row")
        ));
    }
    let is_told = |change: &&RowChange, told_apart: &[usize]| !told_apart.contains(&change.table);
    let problems = [WeftProblem::INDEX];
    let north = drafted.north.iter();
    let north = north.filter(|change| is_told(change, &problems));
    text.push_str(&rows("northbound", &nb_db::schema().tables, north, limit));
    let flows = [sb::LogicalFlow::INDEX, sb::LogicalDpGroup::INDEX];
    let others = drafted.south.iter();
    let others = others.filter(|change| is_told(change, &flows));
    text.push_str(&rows("southbound", &sb_db::schema().tables, others, limit));
    text.push_str(&logical_flows(south, &drafted.south, limit));
    text
}

fn rows<'c>(
    database: &str,
    tables: &[TableSchema],
    changes: impl Iterator<Item = &'c RowChange>,
    limit: usize,
) -> String {
    let mut lines = Vec::new();
    let mut counts = [0; 3];
    for change in changes {
        let table = &tables[change.table];
        if COUNTERS.contains(&&*table.name) {
            continue;
        }
        let (which, mark, row) = match (&change.old, &change.new) {
            (None, Some(new)) => (0, '+', new),
            (Some(_), Some(new)) => (1, '~', new),
            (Some(old), None) => (2, '-', old),
            (None, None) => continue,
        };
        counts[which] += 1;
        let columns = match (&change.old, &change.new) {
            (Some(old), Some(new)) => {
                let columns = table.columns.iter().enumerate();
                let changed = columns.filter(|(index, _)| old.get(*index) != new.get(*index));
                let names: Vec<&str> = changed.map(|(_, column)| &*column.name).collect();
                format!(": {}", names.join(", "))
            }
            _ => String::new(),
        };
        let name = called(table, row).unwrap_or_else(|| change.uuid.to_string());
        lines.push(format!("{mark} {} {name}{columns}", table.name));
    }
    let [added, changed, gone] = counts;
    let added = counted(added, "row");
    let heading = format!("{database}: {added} added, {changed} changed, {gone} removed");
    section(&heading, &lines, limit)
}

/// What a row is called, or what tells it from others.
pub fn called(table: &TableSchema, row: &Row) -> Option<String> {
    let mut said = Vec::new();
    for name in TELLING {
        let Some(index) = table.column_index(name) else {
            continue;
        };
        let text = match row.get(index).scalar() {
            Some(atom) => atom
                .as_str()
                .map_or_else(|| atom.to_string(), str::to_owned),
            None => continue,
        };
        if text.is_empty() {
            continue;
        }
        said.push(text);
        if matches!(name, "name" | "logical_port") {
            break;
        }
    }
    let mut text = said.join(" ");
    if let Some((end, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(end);
        text.push('…');
    }
    (!text.is_empty()).then_some(text)
}

/// What a flow is, whichever row it stands in.
fn flow_text(of: &str, flow: &sb::LogicalFlow) -> String {
    let stage = flow.external_ids.get("stage-name");
    let stage = stage.map_or_else(String::new, |stage| format!(" ({stage})"));
    format!(
        "{} table {}{stage} of {of}, priority {}: match ({}), actions ({})",
        flow.pipeline, flow.table_id, flow.priority, flow.r#match, flow.actions
    )
}

/// Datapaths by their names, as they are before or after.
pub struct Datapaths(HashMap<Uuid, String>);

impl Datapaths {
    /// Those that are there now or would be.
    pub fn new(south: &Tables, changes: &[RowChange]) -> Self {
        let now = south.iter_as::<sb::DatapathBinding>();
        let come = typed::<sb::DatapathBinding>(changes);
        let come = come.filter_map(|(old, new)| new.or(old));
        let named = now.chain(come).map(|datapath| {
            let name = datapath.external_ids.get("name");
            let name = name.map_or_else(|| datapath.uuid.to_string(), ToString::to_string);
            (datapath.uuid, name)
        });
        Self(named.collect())
    }

    /// `"name"`.
    pub fn quoted(&self, uuid: Uuid) -> String {
        match self.0.get(&uuid) {
            Some(name) => format!("{name:?}"),
            None => format!("\"{uuid}\""),
        }
    }
}

/// Changes of a table, as structs.
pub fn typed<T: TableDefinition + Table>(
    changes: &[RowChange],
) -> impl Iterator<Item = (Option<T>, Option<T>)> + '_ {
    let of_table = changes.iter().filter(|change| change.table == T::INDEX);
    of_table.map(|change| {
        let read = |row: &Option<Arc<Row>>| row.as_ref().map(|row| T::from_row(change.uuid, row));
        (read(&change.old), read(&change.new))
    })
}

/// A group's members, as they are or would be.
fn group_text(members: &[Uuid], datapaths: &Datapaths) -> String {
    let mut names: Vec<String> = members.iter().map(|uuid| datapaths.quoted(*uuid)).collect();
    names.sort_unstable();
    match names.len() {
        0..=3 => names.join(", "),
        count => format!("{} and {} others", names[0], count - 1),
    }
}

fn logical_flows(south: &Tables, changes: &[RowChange], limit: usize) -> String {
    let datapaths = Datapaths::new(south, changes);
    let groups = changes
        .iter()
        .filter(|change| change.table == sb::LogicalDpGroup::INDEX);
    let groups: HashMap<Uuid, &RowChange> = groups.map(|change| (change.uuid, change)).collect();
    let group_of = |uuid: Uuid, is_new: bool| match groups.get(&uuid) {
        Some(change) => {
            let row = if is_new { &change.new } else { &change.old };
            let row = row.as_ref()?;
            Some(sb::LogicalDpGroup::from_row(uuid, row))
        }
        None => south.get_as::<sb::LogicalDpGroup>(uuid),
    };
    let of = |flow: &sb::LogicalFlow, is_new: bool| match flow.logical_datapath {
        Some(datapath) => datapaths.quoted(datapath),
        None => {
            let group = flow
                .logical_dp_group
                .and_then(|group| group_of(group, is_new));
            group.map_or_else(String::new, |group| {
                group_text(&group.datapaths, &datapaths)
            })
        }
    };
    let mut lines = Vec::new();
    let (mut added, mut removed) = (0, 0);
    // One that goes and comes again in another row is as it was.
    let mut by_text: BTreeMap<String, isize> = BTreeMap::new();
    for (old, new) in typed::<sb::LogicalFlow>(changes) {
        for (flow, is_new) in [(old, false), (new, true)] {
            if let Some(flow) = flow {
                let text = flow_text(&of(&flow, is_new), &flow);
                *by_text.entry(text).or_default() += if is_new { 1 } else { -1 };
            }
        }
    }
    for (text, balance) in by_text {
        for _ in 0..balance.unsigned_abs() {
            match balance > 0 {
                true => added += 1,
                false => removed += 1,
            }
            lines.push(format!("{} {text}", if balance > 0 { '+' } else { '-' }));
        }
    }
    let regrouped = typed::<sb::LogicalDpGroup>(changes);
    let regrouped = regrouped.filter_map(|(old, new)| Some((old?, new?)));
    let sizes = match groups.is_empty() {
        true => HashMap::new(),
        false => sizes(south),
    };
    for (old, new) in regrouped {
        let count = counted(sizes.get(&new.uuid).copied().unwrap_or_default(), "flow");
        let missing = |from: &[Uuid], of: &[Uuid]| -> Vec<Uuid> {
            of.iter()
                .filter(|uuid| !from.contains(uuid))
                .copied()
                .collect()
        };
        for (members, how) in [
            (missing(&old.datapaths, &new.datapaths), "also apply to"),
            (
                missing(&new.datapaths, &old.datapaths),
                "no longer apply to",
            ),
        ] {
            if !members.is_empty() {
                lines.push(format!(
                    "~ {count} {how} {}",
                    group_text(&members, &datapaths)
                ));
            }
        }
    }
    section(
        &format!("logical flows: {added} added, {removed} removed"),
        &lines,
        limit,
    )
}

/// How many flows each group of datapaths has.
fn sizes(south: &Tables) -> HashMap<Uuid, usize> {
    let column = sb::LogicalFlow::COLUMN.logical_dp_group.index;
    let mut sizes = HashMap::new();
    for (_, flow) in south.table(sb::LogicalFlow::INDEX).iter() {
        if let Some(group) = flow.get(column).scalar().and_then(Atom::as_uuid) {
            *sizes.entry(group).or_default() += 1;
        }
    }
    sizes
}

/// The problems that would appear, and those that would go.
pub fn problems(north: &[RowChange], limit: usize) -> String {
    let mut lines = Vec::new();
    let (mut come, mut gone) = (0, 0);
    for (old, new) in typed::<WeftProblem>(north) {
        for (problem, mark) in [(old, '-'), (new, '+')] {
            let Some(problem) = problem else { continue };
            match mark {
                '+' => come += 1,
                _ => gone += 1,
            }
            let name = match problem.name.is_empty() {
                true => problem.row.to_string(),
                false => problem.name.to_string(),
            };
            let mut place = format!("{} {name}, {}", problem.table, problem.column);
            if !problem.text.is_empty() {
                place.push_str(&format!(" {:?}", &*problem.text));
            }
            lines.push(format!(
                "{mark} {place}: {}; {}",
                problem.why, problem.remedy
            ));
        }
    }
    section(
        &format!("problems: {come} would appear, {gone} would go"),
        &lines,
        limit,
    )
}
