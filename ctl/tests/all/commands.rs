//! What commands do that OVN's tool of this machine does not know yet, and so cannot be compared with: each line of
//! `commands.txt` given to an empty database and its successors, with what it prints. `BLESS=1` writes the file anew.
//! And that no command, and no option of one, stands in neither that file nor the script for both tools.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use ctl::arguments::{parse_commands, parse_options};
use ctl::command::split_option;
use ctl::options::Wait;
use ctl::output::{Style, render};
use ctl::run::line::execute;
use ctl::tool::Tool;
use ctl::tools::{NB, SB};
use ctl::transfer;
use northbound::Snapshot;
use ovsdb::{RowChange, Transaction, Uuid};
use table::{Context, Database, Execution};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/commands.txt");

/// The database, of which each line sees a copy.
struct Network(Database);

impl Network {
    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::empty(Arc::clone(self.0.schema()));
        for table in 0..self.0.schema().tables.len() {
            for (uuid, row) in self.0.rows(table) {
                snapshot.apply(RowChange {
                    table,
                    uuid,
                    old: None,
                    new: Some(Arc::clone(row)),
                });
            }
        }
        snapshot
    }

    /// What the line prints, or `! ` and why it fails; warnings with `? ` in front.
    fn run(&mut self, line: &str) -> String {
        match self.try_run(line) {
            Ok(text) => text,
            Err(text) => format!("! {}\n", without_uuids(&text)),
        }
    }

    fn try_run(&mut self, line: &str) -> Result<String, String> {
        let line = parse_options(&NB, words(line)).map_err(|error| error.to_string())?;
        let commands = parse_commands(&NB, line).map_err(|error| error.to_string())?;
        let snapshot = self.snapshot();
        let executed = execute(&NB, &snapshot, &commands, Wait::None);
        let executed = executed.map_err(|error| error.to_string())?;
        if !executed.operations.is_empty() {
            let transaction = Transaction {
                asked: executed.operations.len(),
                operations: executed.operations,
                error: None,
            };
            match self.0.execute(&transaction, &Context::default()) {
                Execution::Blocked { .. } => return Err("blocked".to_owned()),
                Execution::Done(done) => {
                    done.outcome.map_err(|failure| failure.error.to_string())?;
                }
            }
        }
        let mut text: String = executed
            .warnings
            .iter()
            .map(|warning| format!("? {warning}\n"))
            .collect();
        text.push_str(&render(&executed.outputs, &Style::default()));
        Ok(without_uuids(&text))
    }
}

/// The words of a line; one in `'` may have blanks.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// The text with `UUID` in place of every UUID.
fn without_uuids(text: &str) -> String {
    const LENGTH: usize = 36;
    let mut out = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let start = rest.get(..LENGTH);
        if start.is_some_and(|start| Uuid::try_parse(start).is_ok()) {
            out.push_str("UUID");
            rest = &rest[LENGTH..];
        } else {
            out.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    out
}

#[test]
fn lines_print_what_the_file_says() {
    let file = std::fs::read_to_string(FILE).unwrap();
    let mut network = Network(Database::new(Arc::clone(nb_db::schema())));
    let mut actual = String::new();
    for line in file.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            let printed = network.run(command);
            writeln!(actual, "{line}").unwrap();
            for line in printed.lines() {
                writeln!(actual, "{}", format!("> {line}").trim_end()).unwrap();
            }
        } else if line.is_empty() || line.starts_with('#') {
            writeln!(actual, "{line}").unwrap();
        }
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(Path::new(FILE), &actual).unwrap();
        return;
    }
    assert_eq!(file, actual, "{FILE} is stale: BLESS=1 writes it anew");
}

/// The lines of `script.txt`, which both tools are given.
const SCRIPT: &str = include_str!("../script.txt");

/// OVN's commands, each with its options.
const INVENTORY: &str = include_str!("../inventory.txt");

#[test]
fn every_command_and_option_of_ovn_is_there() {
    let mut count = 0;
    for line in INVENTORY.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let tool = match words.next() {
            Some("nb") => &NB,
            Some("sb") => &SB,
            other => panic!("{line}: {other:?}"),
        };
        let name = words.next().unwrap();
        let command = tool.commands().find(|command| command.name == name);
        let command = command.unwrap_or_else(|| panic!("{line}: there is no such command"));
        for option in words {
            let mut options = command.options.iter();
            let is_there = options.any(|declared| split_option(declared).0 == option);
            assert!(is_there, "{line}: there is no {option}");
        }
        count += 1;
    }
    assert_eq!(count, 121 + 16 + 2 * 11);
}

/// What lines try: names of commands, and each with each of its options.
fn tried<'l>(tool: &Tool, lines: impl Iterator<Item = &'l str>) -> BTreeSet<String> {
    let mut tried = BTreeSet::new();
    for line in lines {
        let words = super::against_ovn::words(line);
        let mut options: Vec<&str> = Vec::new();
        let mut is_named = false;
        for word in &words {
            let is_command = || tool.commands().any(|command| command.name == word);
            if word == "--" {
                // Options before the first command may be on either side of `--`.
                if std::mem::take(&mut is_named) {
                    options.clear();
                }
            } else if is_named {
                continue;
            } else if is_command() {
                is_named = true;
                tried.insert(word.clone());
                for option in &options {
                    let name = option.split('=').next().unwrap_or(option);
                    tried.insert(format!("{name} {word}"));
                }
            } else {
                options.push(word);
            }
        }
    }
    tried
}

#[test]
fn every_command_and_option_is_tried() {
    let file = std::fs::read_to_string(FILE).unwrap();
    for tool in [&NB, &SB] {
        let mark = format!("{} ", tool.name);
        let both = SCRIPT.lines().filter_map(|line| {
            let line = line.strip_prefix("~ ").unwrap_or(line);
            line.strip_prefix(&mark)
        });
        let mut tried = tried(tool, both);
        if tool.name == NB.name {
            let alone = file.lines().filter_map(|line| line.strip_prefix("$ "));
            tried.extend(self::tried(tool, alone));
        }
        // Those two have a test of their own, `transfer.rs`.
        let is_alone = |name: &str| transfer::FAMILY.commands.iter().any(|c| c.name == name);
        let commands = tool.commands().filter(|command| !is_alone(command.name));
        let wanted = commands.flat_map(|command| {
            let options = command.options.iter();
            let options =
                options.map(|option| format!("{} {}", split_option(option).0, command.name));
            options.chain([command.name.to_owned()])
        });
        let missing: Vec<String> = wanted.filter(|what| !tried.contains(what)).collect();
        assert!(missing.is_empty(), "{}: {missing:?}", tool.name);
    }
}
