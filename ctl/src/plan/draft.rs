//! What northd would make of a change: `weft-northd --draft`, asked and understood.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use ovsdb::operation::operations_to_text;
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Operation, RowChange};
use replica::record::EventReader;
use serde_json::Value;

use crate::error::{CommandError, Outcome, fail};
use crate::objects::connect::Connect;
use crate::tools::NB;

/// The program that is asked.
const NORTHD: &str = "weft-northd";

/// What a change would do to rows.
#[derive(Debug)]
pub struct Drafted {
    /// To rows of the northbound.
    pub north: Vec<RowChange>,
    /// To rows of the southbound.
    pub south: Vec<RowChange>,
    /// How many rows of the southbound are not what the northbound says now.
    pub unsettled: u64,
}

/// A northd at work.
pub struct Asked {
    child: Running,
    /// It reads the operations when it can, which may be later than it begins to write.
    writer: JoinHandle<std::io::Result<()>>,
}

fn wrong(error: &dyn std::fmt::Display) -> CommandError {
    CommandError::Failed(format!("{NORTHD}: {error}"))
}

/// Starts a northd that says what these operations would do.
pub fn ask(
    program: Option<&Path>,
    connect: &Connect,
    southbound: &str,
    operations: &[Operation],
) -> Outcome<Asked> {
    let mut command = northd(program, connect, southbound, "--draft");
    command.stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| cannot(&command, &error))?;
    let mut child = Running(child);
    let text = operations_to_text((NB.schema)(), operations);
    let mut input = child.0.stdin.take();
    let writer = std::thread::spawn(move || match &mut input {
        Some(input) => input.write_all(&text),
        None => Ok(()),
    });
    Ok(Asked { child, writer })
}

/// Why a northd cannot be started.
pub fn cannot(command: &Command, error: &std::io::Error) -> CommandError {
    let program = Path::new(command.get_program()).display();
    CommandError::Failed(format!(
        "{program}: {error}; northd says what a change would do: install it, or name it with --northd"
    ))
}

/// How a northd is started that drafts in this manner. Its input and output are pipes.
pub fn northd(
    program: Option<&Path>,
    connect: &Connect,
    southbound: &str,
    manner: &str,
) -> Command {
    let program = program.map_or_else(beside, Path::to_owned);
    let mut command = Command::new(&program);
    command
        .args([manner, "--unixctl=none", "-vconsole:err", "--nb"])
        .arg(connect.remote())
        .args(["--sb", southbound]);
    for (option, file) in [
        ("--private-key", &connect.private_key),
        ("--certificate", &connect.certificate),
        ("--ca-cert", &connect.ca_cert),
    ] {
        if let Some(file) = file {
            command.arg(option).arg(file);
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// The northd beside this program, if there is one.
fn beside() -> PathBuf {
    let own = std::env::current_exe().ok();
    let found = own.map(|own| own.with_file_name(NORTHD));
    found
        .filter(|path| path.exists())
        .unwrap_or_else(|| NORTHD.into())
}

/// A program that does not outlive whoever asked it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, as it should.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Asked {
    /// Waits for what it says.
    ///
    /// # Errors
    /// When it fails, or says nothing within the time that there is.
    pub fn answer(mut self, limit: Option<Duration>) -> Outcome<Drafted> {
        let (sender, receiver) = mpsc::channel();
        let (output, errors) = (self.child.0.stdout.take(), self.child.0.stderr.take());
        // It ends with the program, which is ended if it takes too long.
        std::thread::spawn(move || {
            let mut texts = (String::new(), String::new());
            // What it says of errors is short, and cannot fill the pipe.
            let read = output.map_or(Ok(0), |mut output| output.read_to_string(&mut texts.0));
            let also = errors.map_or(Ok(0), |mut errors| errors.read_to_string(&mut texts.1));
            // Whoever waited may have given up.
            let _ = sender.send(read.and(also).map(|_| texts));
        });
        let told = match limit {
            Some(limit) => receiver.recv_timeout(limit).ok(),
            None => receiver.recv().ok(),
        };
        let Some(told) = told else {
            return fail(format!("{NORTHD} does not say in time what would happen"));
        };
        let (text, said) = told.map_err(|error| wrong(&error))?;
        let status = self.child.0.wait().map_err(|error| wrong(&error))?;
        if !status.success() {
            let said = said.trim().trim_start_matches("weft-northd: ");
            return fail(format!("{NORTHD} cannot say what would happen: {said}"));
        }
        match self.writer.join() {
            Ok(written) => written.map_err(|error| wrong(&error))?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        read(&serde_json::from_str(&text).map_err(|error| wrong(&error))?)
    }
}

/// Understands what a northd says.
pub fn read(told: &Value) -> Outcome<Drafted> {
    if let Some(error) = told["error"].as_str() {
        return fail(format!("{NORTHD} cannot say what would happen: {error}"));
    }
    Ok(Drafted {
        north: changes(nb_db::schema(), &told["north"])?,
        south: changes(sb_db::schema(), &told["south"])?,
        unsettled: told["unsettled"].as_u64().unwrap_or_default(),
    })
}

fn changes(schema: &Arc<DatabaseSchema>, told: &Value) -> Outcome<Vec<RowChange>> {
    let mut reader = EventReader::new(schema);
    let before = reader.changes(&told["before"]);
    before.map_err(|error| wrong(&error))?;
    reader
        .changes(&told["changes"])
        .map_err(|error| wrong(&error))
}
