//! Writes the generated pages of the book, `docs/reference/`, and the manual pages, or checks that they are what the code says.
//!
//! The pages of the databases come from the declarations of their tables, the page of the daemons from what they say
//! when asked for help. Those of commands and of logical flows are written by the crates that declare them, in a test
//! `book` that fails if they are stale.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use clap::Args;
use ovsdb::schema::{
    BaseType, ColumnSchema, ColumnType, Constraint, DatabaseSchema, RefKind, TableSchema,
};
use ovsdb::typed::TableDoc;

use crate::man;
use crate::workspace::{Profile, build_binaries, cargo, output, root, succeed};

/// What is at the top of every page.
const NOTICE: &str = "<!-- Written by `cargo xtask docs` from the code: change it there. -->";

/// Write or check.
#[derive(Args)]
pub struct Options {
    /// Write nothing; fail if a page is not what the code says
    #[arg(long)]
    check: bool,
}

/// Writes the pages, or checks them.
pub fn run(options: &Options) -> Result<()> {
    if options.check {
        check()?;
        return succeed(&mut book_tests());
    }
    for (path, text) in pages()? {
        fs::create_dir_all(path.parent().expect("a page is in a folder"))?;
        fs::write(&path, text)?;
    }
    succeed(book_tests().env("BLESS", "1"))
}

/// The tests of other crates that check their pages or, blessed, write them. Of the whole workspace, so that the features of the
/// dependencies are those that everything else is built with, and nothing is built once more.
fn book_tests() -> Command {
    let mut command = cargo("test");
    command.args(["--quiet", "--workspace", "--lib", "--test", "all", "book"]);
    command
}

/// Fails if a page is not what the code says; those that other crates write are checked by their tests.
pub fn check() -> Result<()> {
    let stale = pages()?
        .into_iter()
        .filter(|(path, text)| fs::read_to_string(path).ok().as_ref() != Some(text));
    let names: Vec<String> = stale.map(|(path, _)| path.display().to_string()).collect();
    if !names.is_empty() {
        bail!(
            "not what the code says: {}; `cargo xtask docs` writes them anew",
            names.join(", ")
        );
    }
    Ok(())
}

/// Every generated page and what must be in it.
fn pages() -> Result<Vec<(PathBuf, String)>> {
    let folder = root().join("docs/reference");
    let northbound =
        "What operators describe: `weft nb` and `ovn-nbctl` write here, `weft-northd` reads.";
    let southbound =
        "What chassis need: `weft-northd` writes here, `weft-controller` reads and binds ports.";
    let binaries = build_binaries(Profile::Dev)?;
    let manual = root().join("docs/man");
    let manual = man::pages(&binaries)?
        .into_iter()
        .map(|(name, text)| (manual.join(name), text));
    let mut pages = vec![
        (
            folder.join("northbound.md"),
            database_page(
                "The northbound database",
                northbound,
                nb_db::schema(),
                &nb_db::table_docs(),
            ),
        ),
        (
            folder.join("southbound.md"),
            database_page(
                "The southbound database",
                southbound,
                sb_db::schema(),
                &sb_db::table_docs(),
            ),
        ),
        (folder.join("daemons.md"), daemons_page(&binaries)?),
    ];
    pages.extend(manual);
    Ok(pages)
}

const DAEMONS: &[&str] = &[
    "weft-nb",
    "weft-sb",
    "weft-northd",
    "weft-controller",
    "weft-api",
];

fn daemons_page(binaries: &Path) -> Result<String> {
    let mut page = format!("{NOTICE}\n\n# Daemons\n\nWhat each says with `--help`.\n");
    for name in DAEMONS {
        let mut help = Command::new(binaries.join(name));
        // Neither the width of a terminal nor anybody's settings are to show.
        help.arg("--help")
            .env_clear()
            .env("COLUMNS", "100")
            .stdin(Stdio::null());
        let help = output(&mut help)?;
        write!(page, "\n## {name}\n\n```text\n{}\n```\n", help.trim_end())?;
    }
    Ok(page)
}

fn database_page(title: &str, purpose: &str, schema: &DatabaseSchema, docs: &[TableDoc]) -> String {
    let mut page = format!(
        "{NOTICE}\n\n# {title}\n\n`{}`, version {}. {purpose}\n",
        schema.name, schema.version
    );
    for doc in docs {
        let table = schema
            .table(doc.name)
            .expect("a documented table is in the schema");
        write_table(&mut page, doc, table);
    }
    page
}

fn write_table(page: &mut String, doc: &TableDoc, table: &TableSchema) {
    let mut facts = Vec::new();
    if !table.is_root {
        facts.push("a row is deleted when nothing refers to it any more".to_owned());
    }
    if let Some(rows) = table.max_rows {
        facts.push(format!(
            "at most {rows} row{}",
            if rows == 1 { "" } else { "s" }
        ));
    }
    for index in &table.indexes {
        let columns: Vec<String> = index
            .iter()
            .map(|&column| format!("`{}`", table.columns[column].name))
            .collect();
        facts.push(format!(
            "no two rows have the same {}",
            columns.join(" and ")
        ));
    }
    let facts = match facts.is_empty() {
        true => String::new(),
        false => format!("\nOf this table: {}.\n", facts.join("; ")),
    };
    let text = format!(
        "\n## {}\n\n{}\n{facts}\n| column | holds | meaning |\n| --- | --- | --- |\n",
        doc.name,
        paragraphs(doc.doc)
    );
    page.push_str(&text);
    for (name, meaning) in doc.columns {
        let column = table
            .column(name)
            .expect("a documented column is in the schema");
        writeln!(
            page,
            "| `{name}` | {} | {} |",
            holds(column),
            one_line(meaning)
        )
        .expect("a String can be written to");
    }
}

fn holds(column: &ColumnSchema) -> String {
    let mut words = type_in_words(&column.ty);
    if column.ephemeral {
        words.push_str(", not kept over a restart");
    }
    if !column.mutable {
        words.push_str(", never changed");
    }
    words
}

fn type_in_words(ty: &ColumnType) -> String {
    let key = base_in_words(&ty.key);
    match &ty.value {
        Some(value) => format!("map of {key} to {}", base_in_words(value)),
        None if ty.is_scalar() => key,
        None if ty.is_optional_scalar() => format!("{key}, or nothing"),
        None if ty.max == usize::MAX => format!("set of {key}"),
        None => format!("set of up to {} {key}", ty.max),
    }
}

fn base_in_words(base: &BaseType) -> String {
    if let Some(values) = &base.enumeration {
        let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
        return values.join(" or ");
    }
    let name = base.atomic.to_string();
    match &base.constraint {
        Constraint::None => name,
        Constraint::Integer { min, max } => match (*min, *max) {
            (i64::MIN, max) => format!("{name} up to {max}"),
            (min, i64::MAX) => format!("{name} from {min}"),
            (min, max) => format!("{name} from {min} to {max}"),
        },
        Constraint::Real { min, max } => format!("{name} from {} to {}", min.0, max.0),
        Constraint::Length {
            max: usize::MAX,
            min,
        } => format!("{name} of at least {min} characters"),
        Constraint::Length { min: 0, max } => format!("{name} of up to {max} characters"),
        Constraint::Length { min, max } => format!("{name} of {min} to {max} characters"),
        Constraint::Reference {
            table,
            kind: RefKind::Strong,
        } => format!("{table} (strong)"),
        Constraint::Reference {
            table,
            kind: RefKind::Weak,
        } => format!("{table} (weak)"),
    }
}

/// A doc comment's lines begin with the space that follows its slashes.
fn paragraphs(doc: &str) -> String {
    let lines: Vec<&str> = doc.trim().lines().map(str::trim).collect();
    lines.join("\n")
}

/// Fit for a cell of a table.
fn one_line(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_in_words() {
        for (json, expected) in [
            (r#""string""#, "string"),
            (
                r#"{"key":{"type":"integer","minInteger":0,"maxInteger":7}}"#,
                "integer from 0 to 7",
            ),
            (r#"{"key":"string","min":0}"#, "string, or nothing"),
            (
                r#"{"key":"string","value":"string","min":0,"max":"unlimited"}"#,
                "map of string to string",
            ),
            (
                r#"{"key":{"type":"uuid","refTable":"ACL"},"min":0,"max":"unlimited"}"#,
                "set of ACL (strong)",
            ),
        ] {
            let ty = ColumnType::from_json(&serde_json::from_str(json).unwrap()).unwrap();
            assert_eq!(type_in_words(&ty), expected);
        }
    }
}
