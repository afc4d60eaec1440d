//! `weft complete`: the names in a database that may stand where a command line is being written.
//!
//! What may stand there, the command's arguments say: `SWITCH` is the name of a switch, `RECORD` that of a row of the
//! `TABLE` before it. Completion scripts ask for it; whatever goes wrong, there is nothing to complete.

use std::time::Duration;

use northbound::Rows as _;
use ovsdb::schema::DatabaseSchema;
use replica::TableSpec;

use crate::arguments::parse_options;
use crate::command::{Command, split_option};
use crate::options::RunOptions;
use crate::run::connection::Connection;
use crate::run::database::Database as _;
use crate::tool::Tool;
use crate::tools::TOOLS;

/// Who waits for a completion does not wait long.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most names that are offered.
const MOST: usize = 10_000;

/// By argument: the tables whose rows it names.
const NAMED: [(&str, &[&str]); 21] = [
    ("SWITCH", &["Logical_Switch"]),
    ("ROUTER", &["Logical_Router"]),
    (
        "PORT",
        &["Logical_Switch_Port", "Logical_Router_Port", "Port_Binding"],
    ),
    ("ROUTERPORT", &["Logical_Router_Port"]),
    ("INPORT", &["Logical_Switch_Port"]),
    ("OUTPORT", &["Logical_Switch_Port", "Logical_Router_Port"]),
    ("GATEWAYPORT", &["Logical_Router_Port"]),
    ("PARENT", &["Logical_Switch_Port"]),
    ("PEER", &["Logical_Router_Port"]),
    ("ENTITY", &["Logical_Switch", "Port_Group"]),
    ("PG", &["Port_Group"]),
    ("LB", &["Load_Balancer"]),
    ("MIRROR", &["Mirror"]),
    ("METER", &["Meter"]),
    ("NF", &["Network_Function"]),
    ("NFGROUP", &["Network_Function_Group"]),
    ("GROUP", &["HA_Chassis_Group", "Forwarding_Group"]),
    ("COPP", &["Copp"]),
    ("CHASSIS", &["Chassis"]),
    ("DATAPATH", &["Datapath_Binding"]),
    ("SET", &["Address_Set"]),
];

/// What may stand where a word is being written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// One of these words.
    Words(Vec<String>),
    /// The name of a row of one of these tables.
    Names(Vec<usize>),
}

/// The candidates for the last of these words of a line of a tool, in order.
pub fn candidates(tool: &'static Tool, words: &[String]) -> Vec<String> {
    let Some((last, before)) = words.split_last() else {
        return Vec::new();
    };
    let found = match wanted(tool, before, last) {
        Wanted::Words(words) => words,
        Wanted::Names(tables) => names(tool, before, &tables),
    };
    let mut found: Vec<String> = found
        .into_iter()
        .filter(|word| word.starts_with(last.as_str()))
        .collect();
    found.sort_unstable();
    found.dedup();
    found.truncate(MOST);
    found
}

fn wanted(tool: &Tool, before: &[String], last: &str) -> Wanted {
    let start = before.iter().rposition(|word| word == "--");
    let group = &before[start.map_or(0, |at| at + 1)..];
    let at = group
        .iter()
        .position(|word| tool.commands().any(|command| command.name == word));
    let Some(at) = at else {
        let names = tool.commands().map(|command| command.name.to_owned());
        let own = tool.options().map(|option| option.long.to_owned());
        let of_commands = tool.commands().flat_map(|command| command.options);
        let of_commands = of_commands.map(|option| split_option(option).0.to_owned());
        let words: Vec<String> = match last.starts_with('-') {
            true => own.chain(of_commands).collect(),
            false => names.collect(),
        };
        return Wanted::Words(words);
    };
    let command = tool.commands().find(|command| command.name == group[at]);
    match command {
        Some(command) => argument(tool, command, &group[at + 1..]),
        None => Wanted::Words(Vec::new()),
    }
}

/// What may be the next argument of a command.
fn argument(tool: &Tool, command: &Command, given: &[String]) -> Wanted {
    let nothing = || Wanted::Words(Vec::new());
    let mut words = command.arguments.split_whitespace();
    let repeats = command.arguments.contains("...");
    let word = words.nth(given.len()).or_else(|| {
        command
            .arguments
            .split_whitespace()
            .last()
            .filter(|_| repeats)
    });
    let Some(word) = word else {
        return nothing();
    };
    let name: String = word
        .trim_start_matches('[')
        .chars()
        .take_while(char::is_ascii_uppercase)
        .collect();
    let schema = (tool.schema)();
    let table_at = command
        .arguments
        .split_whitespace()
        .position(|word| word == "TABLE");
    let table = table_at
        .and_then(|at| given.get(at))
        .and_then(|name| table_named(schema, name));
    match (name.as_str(), table) {
        ("TABLE", _) => {
            let tables = schema.tables.iter();
            Wanted::Words(tables.map(|table| table.name.to_string()).collect())
        }
        ("RECORD", Some(table)) => Wanted::Names(vec![table]),
        ("COLUMN", Some(table)) => {
            let columns = schema.tables[table].columns.iter();
            Wanted::Words(columns.map(|column| column.name.to_string()).collect())
        }
        (name, _) => {
            let known = NAMED.iter().find(|(known, _)| *known == name);
            let tables = known.map_or(&[][..], |(_, tables)| tables);
            let indexes = tables.iter().filter_map(|name| schema.table_index(name));
            Wanted::Names(indexes.collect())
        }
    }
}

fn table_named(schema: &DatabaseSchema, text: &str) -> Option<usize> {
    let is_it = |name: &str| name.eq_ignore_ascii_case(text);
    schema.tables.iter().position(|table| is_it(&table.name))
}

/// The names of the rows of some tables, out of the database that the line is for.
fn names(tool: &'static Tool, before: &[String], tables: &[usize]) -> Vec<String> {
    let schema = (tool.schema)();
    let column = |table: usize| {
        let columns = ["name", "logical_port"].into_iter();
        columns
            .filter_map(|name| schema.tables[table].column_index(name))
            .next()
    };
    let specs: Vec<TableSpec> = tables
        .iter()
        .filter_map(|table| Some(TableSpec::all(*table).columns([column(*table)?])))
        .collect();
    if specs.is_empty() {
        return Vec::new();
    }
    let Ok(line) = parse_options(tool, before.to_vec()) else {
        return Vec::new();
    };
    let variable = |name: &str| std::env::var(name).ok();
    let Ok(mut options) = RunOptions::read(tool, &line.options, &variable) else {
        return Vec::new();
    };
    options.timeout = Some(PATIENCE);
    let Ok(connection) = Connection::open(&options, schema, specs) else {
        return Vec::new();
    };
    let snapshot = connection.snapshot();
    let named = tables.iter().flat_map(|table| {
        let column = column(*table);
        let rows = snapshot.has_table(*table).then(|| snapshot.table(*table));
        let rows = rows.into_iter().flat_map(|rows| rows.values());
        rows.filter_map(move |row| {
            let name = row.get(column?).scalar()?.as_str()?;
            (!name.is_empty()).then(|| name.to_owned())
        })
    });
    named.collect()
}

/// Prints the candidates, a line each. The first word is the tool's name, its own or OVN's.
pub fn print(words: &[String]) {
    let Some((name, words)) = words.split_first() else {
        return;
    };
    let tool = TOOLS
        .iter()
        .find(|tool| tool.name == name || tool.ovn_name == name);
    for candidate in tool.map_or_else(Vec::new, |tool| candidates(tool, words)) {
        println!("{candidate}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::NB;

    #[test]
    fn what_may_stand_where() {
        let wants = |line: &str| {
            let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let last = words.pop().unwrap_or_default();
            wanted(&NB, &words, &last)
        };
        let table = |name: &str| (NB.schema)().table_index(name).expect("a table");
        let names = |names: &[&str]| Wanted::Names(names.iter().map(|n| table(n)).collect());
        let has = |wanted: Wanted, word: &str| match wanted {
            Wanted::Words(words) => words.iter().any(|known| known == word),
            Wanted::Names(_) => false,
        };
        assert!(has(wants("ls-"), "ls-add"));
        assert!(has(wants("--may"), "--may-exist"));
        assert!(has(wants("ls-add a -- lsp"), "lsp-add"));
        assert!(has(wants("set "), "Logical_Switch"));
        assert!(has(wants("get Logical_Switch dmz "), "ports"));
        assert_eq!(wants("ls-del "), names(&["Logical_Switch"]));
        assert_eq!(wants("--if-exists ls-del d"), names(&["Logical_Switch"]));
        assert_eq!(wants("lsp-add "), names(&["Logical_Switch"]));
        assert_eq!(wants("get logical_switch d"), names(&["Logical_Switch"]));
        assert_eq!(
            wants("lsp-set-addresses "),
            names(&["Logical_Switch_Port", "Logical_Router_Port"])
        );
        assert_eq!(wants("show-nothing "), wants(""));
    }
}
