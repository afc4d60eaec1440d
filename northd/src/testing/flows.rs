//! Flow tests: rows in, flows out, as data.
//!
//! A file `NAME.flows` beside a feature has sections. Each begins with `# what it shows`; then come northbound rows, one a
//! line, as `TABLE NAME COLUMN=VALUE ...`, and after a line `--` the flows that the feature's stages then have: datapaths,
//! stage, priority, match, actions. Before the rows, `stages STAGE ...` says which stages are looked at. `BLESS=1` writes
//! what is there.
//!
//! Values are as in `ovn-nbctl`: sets and maps with commas and `key:value`, either in double quotes where it has those itself; a row is referred to by its NAME.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use ovsdb::operation::Operation;
use ovsdb::schema::{BaseType, ColumnType};
use ovsdb::{Atom, AtomicType, Datum, Uuid};
use sb_db::tables as sb;

use super::World;
use crate::compiler::MISTAKE;

const FEATURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/features");

#[test]
fn features_make_the_flows_that_their_files_say() {
    let mut files = Vec::new();
    find(Path::new(FEATURES), &mut files);
    assert!(!files.is_empty(), "there are flow tests");
    for file in files {
        let before = std::fs::read_to_string(&file).expect("readable");
        let after: String = before.split_inclusive("\n\n").map(section).collect();
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&file, &after).expect("writable");
        } else {
            assert_eq!(after, before, "{}: BLESS=1 writes it anew", file.display());
        }
    }
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find(&path, files);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "flows")
        {
            files.push(path);
        }
    }
    files.sort();
}

/// A section with the flows that there are.
fn section(text: &str) -> String {
    let (given, _) = text.split_once("--\n").expect("a section has a line `--`");
    let mut stages = Vec::new();
    let mut rows = Vec::new();
    for line in given.lines().filter(|line| !line.starts_with('#')) {
        match words(line).as_slice() {
            [] => {}
            [first, names @ ..] if first == "stages" => stages.extend(names.to_vec()),
            [table, name, columns @ ..] => {
                rows.push((table.clone(), name.clone(), columns.to_vec()));
            }
            [word] => panic!("{word}: a row has a table and a name"),
        }
    }
    let names: BTreeMap<String, Uuid> = rows
        .iter()
        .enumerate()
        .map(|(place, (_, name, _))| (name.clone(), Uuid::from_u128(1 + place as u128)))
        .collect();
    let operations = rows
        .iter()
        .map(|(table, name, columns)| insertion(table, name, columns, &names));
    let mut world = World::new();
    let operations = operations.map(|operation| of_the_only_row(&world, operation));
    let operations = operations.collect();
    world.north(operations);
    let mut flows: Vec<String> = flows(&world, &stages);
    flows.sort();
    let problems = world.nb::<nb_db::tables::WeftProblem>();
    let broken = problems
        .iter()
        .find(|(_, problem)| problem.why.contains(MISTAKE));
    assert_eq!(broken, None, "not to be blessed");
    let mut problems: Vec<String> = problems
        .into_iter()
        .map(|(_, problem)| {
            let offset = problem
                .offset
                .map_or(String::new(), |at| format!(" {:?} at {at}", problem.text));
            format!(
                "problem: {} {}{offset}: {}",
                problem.table, problem.column, problem.why
            )
        })
        .collect();
    problems.sort();
    let mut after = format!("{given}--\n");
    for line in flows.iter().chain(&problems) {
        writeln!(after, "{line}").expect("a string");
    }
    if text.ends_with("\n\n") {
        after.push('\n');
    }
    after
}

fn flows(world: &World, stages: &[String]) -> Vec<String> {
    let datapaths: BTreeMap<Uuid, String> = world
        .sb::<sb::DatapathBinding>()
        .into_iter()
        .map(|(uuid, row)| (uuid, row.external_ids["name"].to_string()))
        .collect();
    let groups: BTreeMap<Uuid, Vec<Uuid>> = world
        .sb::<sb::LogicalDpGroup>()
        .into_iter()
        .map(|(uuid, row)| (uuid, row.datapaths))
        .collect();
    let rows = world.sb::<sb::LogicalFlow>().into_iter();
    rows.filter_map(|(_, flow)| {
        let stage = flow.external_ids["stage-name"].to_string();
        if !stages.contains(&stage) {
            return None;
        }
        let of_group = flow.logical_dp_group.map(|group| groups[&group].clone());
        let of = flow
            .logical_datapath
            .into_iter()
            .chain(of_group.into_iter().flatten());
        let mut names: Vec<&str> = of.map(|datapath| datapaths[&datapath].as_str()).collect();
        names.sort_unstable();
        let tags = flow.tags.keys().map(|tag| format!(" [{tag}]"));
        Some(format!(
            "{} {stage} {:05} {} => {}{}",
            names.join(","),
            flow.priority,
            flow.r#match,
            flow.actions,
            tags.collect::<String>()
        ))
    })
    .collect()
}

/// An insertion into a table that can only have one row, and has it, says what is in that row.
fn of_the_only_row(world: &World, operation: Operation) -> Operation {
    let Operation::Insert { table, row, .. } = &operation else {
        return operation;
    };
    let known = world.north.rows(*table).next().map(|(uuid, _)| uuid);
    match known {
        Some(uuid) => Operation::update_row(*table, uuid, row.clone().into_iter().collect()),
        None => operation,
    }
}

/// The words of a line; quotes hold a word together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            c => words.last_mut().expect("never empty").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn insertion(
    table: &str,
    name: &str,
    columns: &[String],
    names: &BTreeMap<String, Uuid>,
) -> Operation {
    let schema = nb_db::schema();
    let index = schema
        .table_index(table)
        .unwrap_or_else(|| panic!("no table {table}"));
    let row = columns.iter().map(|text| {
        let (column, value) = text.split_once('=').expect("COLUMN=VALUE");
        let table = &schema.tables[index];
        let column = table
            .column_index(column)
            .unwrap_or_else(|| panic!("no column {column}"));
        (column, datum(&table.columns[column].ty, value, names))
    });
    Operation::Insert {
        table: index,
        uuid: names[name],
        row: row.collect(),
    }
}

fn datum(ty: &ColumnType, text: &str, names: &BTreeMap<String, Uuid>) -> Datum {
    match &ty.value {
        Some(value) => Datum::map(split(text, ',').into_iter().map(|pair| {
            let key = split(pair, ':')[0];
            let of = pair[key.len()..].strip_prefix(':').expect("KEY:VALUE");
            let unquoted = |text: &str| text.trim_matches('"').to_owned();
            (
                atom(&ty.key, &unquoted(key), names),
                atom(value, &unquoted(of), names),
            )
        })),
        None if ty.max == 1 => Datum::One(atom(&ty.key, text, names)),
        None => Datum::set(text.split(',').map(|word| atom(&ty.key, word, names))),
    }
}

/// The parts of a text between separators; double quotes hold a part together.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut is_quoted = false;
    text.split(|c| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    })
    .collect()
}

fn atom(ty: &BaseType, text: &str, names: &BTreeMap<String, Uuid>) -> Atom {
    match ty.atomic {
        AtomicType::Uuid => Atom::Uuid(names[text]),
        AtomicType::Integer => Atom::Integer(text.parse().expect("a number")),
        AtomicType::Boolean => Atom::Boolean(text == "true"),
        AtomicType::Real => Atom::from(text.parse::<f64>().expect("a number")),
        AtomicType::String => Atom::from(text),
    }
}
