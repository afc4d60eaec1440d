//! What commands do that OVN's tool of this machine does not know yet, and so cannot be compared with: each line of
//! `commands.txt` given to an empty database and its successors, with what it prints. `BLESS=1` writes the file anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use ctl::arguments::{parse_commands, parse_options};
use ctl::options::Wait;
use ctl::output::{Style, render};
use ctl::run::line::execute;
use ctl::tools::NB;
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
