//! `import` and `export`: a whole database from and to Open vSwitch's files and servers.
//!
//! ```text
//!   file, or server ──▶ Contents ──▶ fit (another schema) ──▶ file, server, or data directory
//! ```
//!
//! Adoption is `import` of what OVN's `ovsdb-server` has; the way back is `export` to a file that it opens. Rows keep
//! their UUIDs in both directions, so that whoever refers to them from outside still finds them. What does not fit into
//! the other schema is named, and nothing is lost in silence.

mod fit;
mod offline;
mod portions;
mod server;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ovsdb::Remote;
use ovsdb::file::{self, Contents};
use ovsdb::schema::DatabaseSchema;

pub use self::fit::fit;

use crate::command::{Command, Context, Family, Invocation, Tables};
use crate::error::{CommandError, Outcome, fail};
use crate::options::RunOptions;
use crate::progress::Progress;
use crate::tool::Tool;

/// The commands.
pub static FAMILY: Family = Family {
    title: "Adoption commands (alone on their line)",
    commands: &[
        Command {
            name: "import",
            arguments: "SOURCE",
            options: &["--replace", "--skip-unknown", "--data-dir="],
            help: "take over the whole database from SOURCE, a file of ovsdb-server (standalone or of a cluster's member) \
                   or a server (unix:PATH, tcp:HOST:PORT, ssl:HOST:PORT), rows with their UUIDs; into the server of \
                   --db, whose database should be empty unless --replace is given, or into the new data directory of \
                   --data-dir; with --skip-unknown, leave out tables and columns that the schema lacks",
            tables: Tables::Fixed(&[]),
            run: alone,
        },
        Command {
            name: "export",
            arguments: "FILE",
            options: &["--schema=", "--skip-unknown", "--data-dir=", "--force"],
            help: "write the whole database of --db, or of the data directory of --data-dir, into FILE, as a database \
                   file that ovsdb-server opens; with --schema, in the schema of an .ovsschema file, such as an older \
                   OVN's; with --force, in place of a file that is there",
            tables: Tables::Fixed(&[]),
            run: alone,
        },
    ],
};

/// What was done.
#[derive(Debug, Default)]
pub struct Transferred {
    /// For the output.
    pub text: String,
    /// What somebody should know.
    pub warnings: Vec<String>,
}

/// A transfer: the function of a command of this family.
pub type Transfer = fn(&Tool, &RunOptions, &Invocation) -> Outcome<Transferred>;

/// The transfer that a command asks for, if it is one.
pub fn find(invocation: &Invocation) -> Option<Transfer> {
    match invocation.command.name {
        "import" => Some(import),
        "export" => Some(export),
        _ => None,
    }
}

fn alone(context: &mut Context<'_, '_>) -> Outcome {
    let name = context.invocation.command.name;
    fail(format!("{name}: give this command a line of its own"))
}

fn import(tool: &Tool, options: &RunOptions, invocation: &Invocation) -> Outcome<Transferred> {
    let source = &invocation.arguments[0];
    let has = |option: &str| invocation.options.contains_key(option);
    let contents = match Remote::parse_list(source) {
        Ok(remotes) => {
            let options = RunOptions {
                remotes,
                ..options.clone()
            };
            server::read(tool, &options)?
        }
        Err(_) => read_file(source)?,
    };
    expect_database(tool, source, &contents.schema)?;
    let (text, warnings) = match value(invocation, "--data-dir") {
        Some(_) if has("--replace") => {
            return fail("--replace is for servers; a data directory has to be new");
        }
        Some(directory) => {
            let fitted = fit(contents, (tool.schema)(), has("--skip-unknown"))?;
            let text = offline::create(tool, Path::new(directory), &fitted)?;
            (text, fitted.warnings)
        }
        None => server::write(
            tool,
            options,
            contents,
            has("--replace"),
            has("--skip-unknown"),
        )?,
    };
    Ok(Transferred { text, warnings })
}

fn export(tool: &Tool, options: &RunOptions, invocation: &Invocation) -> Outcome<Transferred> {
    let path = PathBuf::from(&invocation.arguments[0]);
    if path.exists() && !invocation.options.contains_key("--force") {
        return fail(format!(
            "{}: there is such a file already; --force replaces it",
            path.display()
        ));
    }
    let contents = match value(invocation, "--data-dir") {
        Some(directory) => offline::read(tool, Path::new(directory))?,
        None => server::read(tool, options)?,
    };
    let contents = match value(invocation, "--schema") {
        None => without_additions(contents, tool.additions),
        Some(path) => {
            let schema = read_schema(path)?;
            expect_database(tool, path, &schema)?;
            let contents = without_additions(contents, tool.additions);
            let skip = invocation.options.contains_key("--skip-unknown");
            fit(contents, &schema, skip)?
        }
    };
    write_file(tool, &contents, &path)?;
    Ok(Transferred {
        text: format!(
            "{} rows written to {}, schema version {}\n",
            contents.row_count(),
            path.display(),
            contents.schema.version
        ),
        warnings: contents.warnings,
    })
}

/// Reads a database file of Open vSwitch's.
pub fn read_file(path: impl AsRef<Path>) -> Outcome<Contents> {
    let path = path.as_ref();
    let wrong = |error: &dyn std::fmt::Display| {
        CommandError::Failed(format!("{}: {error}", path.display()))
    };
    let bytes = std::fs::read(path).map_err(|error| wrong(&error))?;
    let progress = Progress::bytes("reading", bytes.len() as u64);
    file::read(&bytes, &mut |done| progress.set(done as u64)).map_err(|error| wrong(&error))
}

fn read_schema(path: &str) -> Outcome<DatabaseSchema> {
    let wrong = |error: &dyn std::fmt::Display| CommandError::Failed(format!("{path}: {error}"));
    let text = std::fs::read(path).map_err(|error| wrong(&error))?;
    let json = serde_json::from_slice(&text).map_err(|error| wrong(&error))?;
    DatabaseSchema::from_json(&json).map_err(|error| wrong(&error))
}

/// Writes the file beside its place first: a file by this name is whole.
fn write_file(tool: &Tool, contents: &Contents, path: &Path) -> Outcome {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let out = BufWriter::new(File::create(&part)?);
        let comment = format!("exported by weft {} export", tool.name);
        let mut out = file::write(contents, now_ms(), &comment, out)?;
        out.flush()?;
        out.get_ref().sync_all()?;
        std::fs::rename(&part, path)
    };
    write().map_err(|error| {
        // What is left of it is of no use.
        let _ = std::fs::remove_file(&part);
        CommandError::Failed(format!("{}: {error}", path.display()))
    })
}

/// Our own tables are reports of Weft's daemons, which other daemons would not understand.
fn without_additions(contents: Contents, additions: &[&str]) -> Contents {
    let mut kept = Contents::empty(DatabaseSchema {
        tables: Vec::new(),
        ..contents.schema.clone()
    });
    kept.warnings = contents.warnings;
    for (table, rows) in contents.schema.tables.into_iter().zip(contents.tables) {
        if !additions.contains(&&*table.name) {
            kept.schema.tables.push(table);
            kept.tables.push(rows);
        }
    }
    kept
}

fn expect_database(tool: &Tool, place: &str, schema: &DatabaseSchema) -> Outcome {
    if *schema.name != *tool.database {
        return fail(format!(
            "{place}: this is {}, where {} is wanted",
            schema.name, tool.database
        ));
    }
    Ok(())
}

fn value<'i>(invocation: &'i Invocation, option: &str) -> Option<&'i str> {
    invocation.options.get(option)?.as_deref()
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
