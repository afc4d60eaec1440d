//! A data directory of a server that does not run.

use std::path::Path;
use std::sync::Arc;

use ovsdb::file::Contents;
use ovsdb::schema::DatabaseSchema;
use store::offline::{self, NewMember};

use crate::error::{CommandError, Outcome};
use crate::progress::Progress;
use crate::tool::Tool;

/// Makes a new data directory with these rows, in the tool's own schema.
pub(super) fn create(tool: &Tool, directory: &Path, contents: &Contents) -> Outcome<String> {
    let rows = contents
        .tables
        .iter()
        .enumerate()
        .flat_map(|(table, rows)| {
            let row = move |(uuid, row): (&ovsdb::Uuid, &ovsdb::Row)| {
                (table, *uuid, Arc::new(row.clone()))
            };
            rows.iter().map(row)
        });
    let total = contents.row_count();
    let progress = Progress::new("writing", total as u64);
    let identity = offline::create(
        directory,
        (tool.schema)(),
        &rows.collect::<Vec<_>>(),
        &NewMember::default(),
        &mut |done| progress.set(done as u64),
    );
    let identity = identity.map_err(|error| CommandError::Failed(error.to_string()))?;
    Ok(format!(
        "{total} rows written to {}, cluster {}\n",
        directory.display(),
        identity.cluster
    ))
}

/// Reads the rows of a data directory.
pub(super) fn read(tool: &Tool, directory: &Path) -> Outcome<Contents> {
    let schema = (tool.schema)();
    let member = offline::open(directory, schema);
    let member = member.map_err(|error| CommandError::Failed(error.to_string()))?;
    let mut contents = Contents::empty(DatabaseSchema::clone(schema));
    for (table, rows) in contents.tables.iter_mut().enumerate() {
        let all = member.database.rows(table);
        rows.extend(all.map(|(uuid, row)| (uuid, ovsdb::Row::clone(row))));
    }
    Ok(contents)
}
