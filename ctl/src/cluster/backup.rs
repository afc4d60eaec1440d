//! `backup` and `restore`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use ovsdb::file::{Recorder, write_schema};
use ovsdb::schema::DatabaseSchema;
use rpc::v1;
use rpc::v1::backup_response::Part;
use store::offline::{self, NewMember};
use tonic::Streaming;

use super::common::{Connect, size, tool_for};
use super::connection::{Member, describe};
use crate::error::{CommandError, Outcome, fail};
use crate::progress::Progress;
use crate::transfer::{fit, read_file};

/// The version of the form of backups that is known here.
const FORMAT: u32 = 1;

#[derive(Args, Debug)]
pub(super) struct Backup {
    /// The file, which is created
    file: PathBuf,

    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

#[derive(Args, Debug)]
pub(super) struct Restore {
    /// A backup, or any database file of ovsdb-server
    file: PathBuf,

    /// The data directory, which is created
    directory: PathBuf,

    /// The member's number
    #[arg(long, value_name = "N", default_value_t = 1)]
    id: u64,

    /// Where other members will reach it
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,

    /// Leave out tables and columns that this version does not have
    #[arg(long)]
    skip_unknown: bool,
}

impl Backup {
    pub(super) fn run(self, connect: &Connect) -> Outcome {
        if self.file.exists() && !self.force {
            return fail(format!(
                "{}: there is such a file already; --force replaces it",
                self.file.display()
            ));
        }
        let mut member = Member::connect(connect)?;
        let request = v1::BackupRequest {};
        let parts = member.call(|mut client| async move { client.backup(request).await })?;
        let mut name = self.file.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = self.file.with_file_name(name);
        let received = member.wait(receive(parts, &part));
        let moved = received.and_then(|head| {
            std::fs::rename(&part, &self.file).map_err(|error| io(&self.file, &error))?;
            Ok(head)
        });
        let (head, bytes) = moved.inspect_err(|_| {
            // What has come of it is of no use.
            let _ = std::fs::remove_file(&part);
        })?;
        println!(
            "{} rows of {}, {}, written to {}",
            head.rows,
            head.database,
            size(bytes),
            self.file.display()
        );
        Ok(())
    }
}

/// Receives a backup into a file, and compares it with the checksum that the member gives at its end.
async fn receive(
    mut parts: Streaming<v1::BackupResponse>,
    path: &Path,
) -> Outcome<(v1::BackupHead, u64)> {
    let damaged = |what: &str| CommandError::Failed(format!("the member has sent {what}"));
    let Some(Part::Head(head)) = next(&mut parts).await? else {
        return Err(damaged("no head of the backup"));
    };
    if head.format != FORMAT {
        return fail(format!(
            "the member makes backups of format {}, and this program knows format {FORMAT}; use the weft of its version",
            head.format
        ));
    }
    let schema = serde_json::from_str(&head.schema_json);
    let schema = schema.map_err(|error| damaged(&format!("no schema: {error}")))?;
    let schema = DatabaseSchema::from_json(&schema)
        .map_err(|error| CommandError::Failed(error.to_string()))?;
    let file = File::create(path).map_err(|error| io(path, &error))?;
    let out = write_schema(&schema, BufWriter::new(file)).map_err(|error| io(path, &error))?;
    let mut recorder = Recorder::begin(out).map_err(|error| io(path, &error))?;
    let progress = Progress::unknown("receiving");
    loop {
        match next(&mut parts).await? {
            Some(Part::Body(bytes)) => {
                recorder
                    .write_all(&bytes)
                    .map_err(|error| io(path, &error))?;
                progress.set(recorder.written().0);
            }
            Some(Part::End(end)) => {
                let (bytes, sha1) = recorder.written();
                if (end.bytes, &*end.sha1) != (bytes, &sha1[..]) {
                    return Err(damaged("a backup that does not fit its checksum"));
                }
                let out = recorder.finish().map_err(|error| io(path, &error))?;
                let file = out.into_inner().map_err(|error| io(path, error.error()))?;
                file.sync_all().map_err(|error| io(path, &error))?;
                return Ok((head, bytes));
            }
            Some(Part::Head(_)) | None => return Err(damaged("a backup without an end")),
        }
    }
}

async fn next(parts: &mut Streaming<v1::BackupResponse>) -> Outcome<Option<Part>> {
    let part = parts.message().await;
    let part = part.map_err(|status| CommandError::Failed(describe(&status)))?;
    Ok(part.and_then(|response| response.part))
}

fn io(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::Failed(format!("{}: {error}", path.display()))
}

impl Restore {
    pub(super) fn run(self) -> Outcome {
        let contents = read_file(&self.file)?;
        let tool = tool_for(&contents.schema.name)?;
        let contents = fit(contents, (tool.schema)(), self.skip_unknown)?;
        for warning in &contents.warnings {
            eprintln!("weft cluster: warning: {warning}");
        }
        let total = contents.row_count();
        let tables = contents.tables.into_iter().enumerate();
        let rows = tables.flat_map(|(table, rows)| {
            let row = move |(uuid, row)| (table, uuid, Arc::new(row));
            rows.into_iter().map(row)
        });
        let member = NewMember {
            member: self.id,
            address: self.address.clone(),
        };
        let progress = Progress::new("writing", total as u64);
        let identity = offline::create(
            &self.directory,
            (tool.schema)(),
            &rows.collect::<Vec<_>>(),
            &member,
            &mut |done| progress.set(done as u64),
        );
        let identity = identity.map_err(|error| CommandError::Failed(error.to_string()))?;
        drop(progress);
        println!(
            "{total} rows written to {}, for member {} of the new cluster {}; start it with\n\n  {}",
            self.directory.display(),
            identity.member,
            identity.cluster,
            super::directory::start_command(tool, &self.directory, &member)
        );
        Ok(())
    }
}
