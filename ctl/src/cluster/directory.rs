//! `init`, `join`, `check` and `force-new`: data directories of servers that do not run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use store::offline::{self, Findings, NewMember};

use super::common::tool_for;
use crate::error::{CommandError, Outcome, fail};
use crate::progress::Progress;
use crate::tool::Tool;
use crate::transfer::read_file;

#[derive(Args, Debug)]
pub(super) struct Init {
    /// The database: nb or sb
    #[arg(value_name = "nb|sb")]
    database: String,

    /// The data directory, which is created
    directory: PathBuf,

    /// The member's number
    #[arg(long, value_name = "N", default_value_t = 1)]
    id: u64,

    /// Where other members will reach it
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct Join {
    /// The database: nb or sb
    #[arg(value_name = "nb|sb")]
    database: String,

    /// The data directory, which the server will create
    directory: PathBuf,

    /// The members of the cluster to join, or some of them
    #[arg(value_name = "HOST:PORT,...")]
    members: String,

    /// The new member's number, which no member has or had
    #[arg(long, value_name = "N")]
    id: u64,

    /// Where other members will reach it
    #[arg(long, value_name = "HOST:PORT")]
    address: String,
}

#[derive(Args, Debug)]
pub(super) struct ForceNew {
    /// The data directory of the survivor, whose server is stopped
    directory: PathBuf,

    /// Where other members will reach it, if not where they did
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,

    /// Do it
    #[arg(long)]
    yes: bool,
}

#[derive(Args, Debug)]
pub(super) struct Check {
    /// A data directory whose server is stopped, or a backup
    place: PathBuf,
}

impl Init {
    pub(super) fn run(self) -> Outcome {
        let tool = tool_for(&self.database)?;
        let member = NewMember {
            member: self.id,
            address: self.address.clone(),
        };
        let schema = (tool.schema)();
        let created = offline::create(&self.directory, schema, &[], &member, &mut |_| ());
        let identity = created.map_err(|error| failed(&error))?;
        println!(
            "{} is for member {} of the new cluster {}; start it with\n\n  {}\n",
            self.directory.display(),
            identity.member,
            identity.cluster,
            start_command(tool, &self.directory, &member)
        );
        match &self.address {
            Some(address) => println!(
                "and others, one after the other, with\n\n  {} --data-dir=DIR --id=N --peer-listen=HOST:PORT --join={address}",
                tool.server
            ),
            None => {
                println!("Others can join a member that has an address; give --address for that.");
            }
        }
        Ok(())
    }
}

impl Join {
    pub(super) fn run(self) -> Outcome {
        let tool = tool_for(&self.database)?;
        if self.directory.join(store::storage::FILE_NAME).exists() {
            return fail(format!(
                "{}: there is a database in this directory already; a member that joins needs a new one",
                self.directory.display()
            ));
        }
        println!(
            "start it with\n\n  {} --data-dir={} --id={} --peer-listen={} --join={}\n\nIt asks to be added, learns, and votes \
             when it has caught up: see weft cluster status.",
            tool.server,
            self.directory.display(),
            self.id,
            self.address,
            self.members
        );
        Ok(())
    }
}

impl ForceNew {
    pub(super) fn run(self) -> Outcome {
        let tool = tool_in(&self.directory)?;
        if !self.yes {
            return fail(format!(
                "this makes the member in {} a new cluster of one. The other members of its old cluster must never be \
                 started again with their data directories: they would go on as the old cluster, and the two would \
                 drift apart. What only they knew is lost. If a majority of them can be started, do that instead. \
                 If not: --yes",
                self.directory.display()
            ));
        }
        let progress = Progress::new("writing", 1);
        let forced =
            offline::force_new(&self.directory, (tool.schema)(), self.address, &mut |_| ());
        let forced = forced.map_err(|error| failed(&error))?;
        drop(progress);
        let member = NewMember {
            member: forced.identity.member,
            address: forced.address,
        };
        println!(
            "member {} of cluster {} is now the only member of cluster {}, with {} rows. What was there stays in {}. \
             Start it with\n\n  {}\n\nand let others join it with new data directories.",
            forced.old.member,
            forced.old.cluster,
            forced.identity.cluster,
            forced.rows,
            forced.replaced.display(),
            start_command(tool, &self.directory, &member)
        );
        Ok(())
    }
}

impl Check {
    pub(super) fn run(self) -> Outcome {
        let findings = if self.place.is_dir() {
            let tool = tool_in(&self.place)?;
            offline::check(&self.place, (tool.schema)()).map_err(|error| failed(&error))?
        } else {
            check_file(&self.place)?
        };
        for fact in &findings.facts {
            println!("{fact}");
        }
        if findings.problems.is_empty() {
            println!("{}: nothing is wrong", self.place.display());
            return Ok(());
        }
        fail(format!(
            "{}:\n{}",
            self.place.display(),
            findings.problems.join("\n")
        ))
    }
}

fn check_file(path: &Path) -> Outcome<Findings> {
    let contents = read_file(path)?;
    let schema = Arc::new(contents.schema);
    let tables = contents.tables.into_iter().enumerate();
    let rows = tables.flat_map(|(table, rows)| {
        let row = move |(uuid, row)| (table, uuid, Arc::new(row));
        rows.into_iter().map(row)
    });
    let mut findings = offline::check_rows(&schema, rows.collect());
    let name = format!(
        "file: database {}, schema version {}",
        schema.name, schema.version
    );
    findings.facts.insert(0, name);
    findings
        .facts
        .insert(1, "file: all checksums are right".to_owned());
    findings.problems.extend(contents.warnings);
    Ok(findings)
}

fn tool_in(directory: &Path) -> Outcome<&'static Tool> {
    let name = offline::database_name(directory).map_err(|error| failed(&error))?;
    tool_for(&name)
}

fn failed(error: &dyn std::fmt::Display) -> CommandError {
    CommandError::Failed(error.to_string())
}

/// How to start a member from its data directory.
pub(super) fn start_command(tool: &Tool, directory: &Path, member: &NewMember) -> String {
    let mut command = format!("{} --data-dir={}", tool.server, directory.display());
    if let Some(address) = &member.address {
        command.push_str(&format!(" --id={} --peer-listen={address}", member.member));
    }
    command
}
