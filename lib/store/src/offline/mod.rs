//! Data directories of servers that do not run: making one, reading one, and making the last survivor of a cluster a
//! cluster of its own.
//!
//! A directory that is made here begins its log behind the rows that it is given, as if it had taken a snapshot: so
//! members that join later get the rows as a snapshot too. It is written beside its place and moved there whole.

mod check;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ovsdb::operation::{Operation, Transaction};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Datum, Row, Uuid};
use table::{Context, Database, Execution, Limits};

pub use self::check::{Findings, check, check_rows};

use crate::codec::Names;
use crate::entry;
use crate::load::{self, LoadError, Loaded};
use crate::retries;
use crate::storage::{
    Batch, FILE_NAME, HardState, Identity, LogPosition, Membership, REPLACED_NAME, RedbStorage,
    RowKey, Storage, StorageError, UNFINISHED_NAME,
};

/// So long a server that is about to end is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two attempts to open its file.
const PAUSE: Duration = Duration::from_millis(100);
/// Rows are written so many at a time.
const BATCH: usize = 20_000;

/// A row with where it belongs: the index of the table, the UUID, the row.
pub type PlacedRow = (usize, Uuid, Arc<Row>);
/// Many of them.
pub type Rows = Vec<PlacedRow>;

/// What a new member of a new cluster is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewMember {
    /// Its number.
    pub member: u64,
    /// Where other members will reach it, as `HOST:PORT`, if there will be any.
    pub address: Option<String>,
}

impl Default for NewMember {
    fn default() -> Self {
        Self {
            member: 1,
            address: None,
        }
    }
}

/// What [`force_new`] has done.
#[derive(Clone, Debug)]
pub struct Forced {
    /// Who the member was.
    pub old: Identity,
    /// Who it is.
    pub identity: Identity,
    /// Where other members will reach it, as `HOST:PORT`, as far as it is known.
    pub address: Option<String>,
    /// How many rows it has.
    pub rows: usize,
    /// The file that was there before.
    pub replaced: PathBuf,
}

/// Why a data directory cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// There is a database already.
    #[error("{0}: there is a database in this directory already; take another one")]
    Exists(String),
    /// There is no database.
    #[error("{0}: there is no database in this directory")]
    Missing(String),
    /// The rows contradict the schema or each other.
    #[error("{0}")]
    Rows(String),
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What is there cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Makes a data directory with these rows, for the only member of a new cluster. All constraints of the schema are
/// checked first. `progress` is told how many rows are done.
pub fn create(
    directory: &Path,
    schema: &Arc<DatabaseSchema>,
    rows: &[PlacedRow],
    member: &NewMember,
    progress: &mut dyn FnMut(usize),
) -> Result<Identity, OfflineError> {
    refuse_existing(directory)?;
    let rows = execute(schema, rows)?;
    let identity = new_identity(&schema.name, member.member);
    let new = New {
        membership: alone(&identity, member.address.as_deref()),
        identity,
        position: LogPosition { index: 1, term: 1 },
        rows,
        names: Vec::new(),
    };
    write_new(directory, schema, &new, progress)?;
    Ok(new.identity)
}

/// Reads a data directory. While the answer of this call is not there, and a server runs, it fails.
pub fn open(directory: &Path, schema: &Arc<DatabaseSchema>) -> Result<Loaded, OfflineError> {
    let mut storage = open_storage(directory)?;
    Ok(load::load(&mut storage, schema, Uuid::nil(), Uuid::nil())?)
}

/// The name of the database in a data directory.
pub fn database_name(directory: &Path) -> Result<String, OfflineError> {
    let state = open_storage(directory)?.load()?;
    let state = state.ok_or_else(|| OfflineError::Missing(directory.display().to_string()))?;
    Ok(state.identity.database)
}

/// Makes the member in a data directory the only one of a new cluster. Everything in its log counts as committed: the
/// members that are gone may have answered for it. What was there before stays beside it.
pub fn force_new(
    directory: &Path,
    schema: &Arc<DatabaseSchema>,
    address: Option<String>,
    progress: &mut dyn FnMut(usize),
) -> Result<Forced, OfflineError> {
    let mut storage = open_storage(directory)?;
    let loaded = load::load_to_the_end(&mut storage, schema)?;
    drop(storage);
    let old = loaded.state.identity;
    let known = loaded.state.membership.address(old.member);
    let member = NewMember {
        member: old.member,
        address: address.or_else(|| known.map(str::to_owned)),
    };
    let tables = 0..schema.tables.len();
    let rows = tables.flat_map(|table| {
        let rows = loaded.database.rows(table);
        rows.map(move |(uuid, row)| (table, uuid, row.clone()))
    });
    let identity = new_identity(&schema.name, old.member);
    let new = New {
        membership: alone(&identity, member.address.as_deref()),
        identity,
        position: loaded.state.applied,
        rows: rows.collect(),
        names: loaded.retries.iter().collect(),
    };
    let aside = directory.join(REPLACED_NAME);
    write_unfinished(directory, schema, &new, progress)?;
    for step in REPLACEMENT {
        step(directory)?;
    }
    Ok(Forced {
        old,
        rows: new.rows.len(),
        identity: new.identity,
        address: member.address,
        replaced: aside,
    })
}

fn refuse_existing(directory: &Path) -> Result<(), OfflineError> {
    if directory.join(FILE_NAME).exists() {
        return Err(OfflineError::Exists(directory.display().to_string()));
    }
    Ok(())
}

/// Opens what is there, and creates nothing.
fn open_storage(directory: &Path) -> Result<RedbStorage, OfflineError> {
    let missing = || OfflineError::Missing(directory.display().to_string());
    if !directory.join(FILE_NAME).exists() {
        return Err(missing());
    }
    let end = Instant::now() + PATIENCE;
    let storage = loop {
        match RedbStorage::open(directory) {
            // A server that was just told to end may still be about it.
            Err(StorageError::InUse { .. }) if Instant::now() < end => {
                std::thread::sleep(PAUSE);
            }
            opened => break opened?,
        }
    };
    match storage.load()? {
        Some(_) => Ok(storage),
        None => Err(missing()),
    }
}

/// What the rows come to as one transaction: checked, and without references to nowhere.
fn execute(schema: &Arc<DatabaseSchema>, rows: &[PlacedRow]) -> Result<Rows, OfflineError> {
    let insert = |(table, uuid, row): &PlacedRow| {
        let columns = schema.tables[*table].columns.iter().enumerate();
        let given = columns.filter(|(index, column)| {
            !column.ephemeral && *row.get(*index) != Datum::default_for(&column.ty)
        });
        Operation::Insert {
            table: *table,
            uuid: *uuid,
            row: given
                .map(|(index, _)| (index, row.get(index).clone()))
                .collect(),
        }
    };
    let operations: Vec<Operation> = rows.iter().map(insert).collect();
    let limits = Limits {
        operations: usize::MAX,
        ..Limits::default()
    };
    let mut database = Database::with_limits(schema.clone(), limits);
    let transaction = Transaction {
        asked: operations.len(),
        operations,
        error: None,
    };
    let Execution::Done(done) = database.execute(&transaction, &Context::default()) else {
        return Err(OfflineError::Rows(
            "a transaction without waits waits".to_owned(),
        ));
    };
    if let Err(failure) = &done.outcome {
        let place = rows.get(failure.done.len()).map(|(table, uuid, _)| {
            format!("row {uuid} of table {}: ", schema.tables[*table].name)
        });
        let place = place.unwrap_or_default();
        return Err(OfflineError::Rows(format!("{place}{}", failure.error)));
    }
    let changes = done.delta.into_iter();
    Ok(changes
        .filter_map(|change| Some((change.table, change.uuid, change.new?)))
        .collect())
}

fn new_identity(database: &str, member: u64) -> Identity {
    Identity {
        database: database.to_owned(),
        cluster: Uuid::new_v4(),
        server: Uuid::new_v4(),
        member,
    }
}

fn alone(identity: &Identity, address: Option<&str>) -> Membership {
    let own = identity.member;
    Membership {
        voters: vec![own],
        addresses: address
            .map(|address| (own, address.to_owned()))
            .into_iter()
            .collect(),
        servers: vec![(own, identity.server)],
        ..Membership::default()
    }
}

/// All that a new data directory has.
struct New {
    identity: Identity,
    membership: Membership,
    position: LogPosition,
    rows: Rows,
    names: Vec<(u64, entry::NamedResult)>,
}

fn write_new(
    directory: &Path,
    schema: &DatabaseSchema,
    new: &New,
    progress: &mut dyn FnMut(usize),
) -> Result<(), OfflineError> {
    write_unfinished(directory, schema, new, progress)?;
    finish(directory)
}

fn write_unfinished(
    directory: &Path,
    schema: &DatabaseSchema,
    new: &New,
    progress: &mut dyn FnMut(usize),
) -> Result<(), OfflineError> {
    let unfinished = directory.join(UNFINISHED_NAME);
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).map_err(|error| io(&unfinished, "remove", &error))?;
    }
    let mut storage = RedbStorage::open(&unfinished)?;
    let membership = Membership {
        since: new.position.index,
        ..new.membership.clone()
    };
    storage.create(&new.identity, &membership)?;
    // The first batch moves the log, so that what follows lies behind it.
    storage.write(&Batch {
        hard_state: Some(HardState {
            term: new.position.term,
            vote: 0,
            commit: new.position.index,
        }),
        applied: Some(new.position),
        truncate: Some(new.position),
        ..Batch::default()
    })?;
    let mut names = Names::default();
    let answers = Arc::<str>::from(retries::TABLE);
    for (number, rows) in new.rows.chunks(BATCH).enumerate() {
        let first = names.next();
        let mut batch = Batch::default();
        for (table, uuid, row) in rows {
            let table = &schema.tables[*table];
            let key = RowKey {
                table: names.number(&table.name),
                uuid: *uuid,
            };
            let row = entry::encode_row(&mut names, table, row);
            batch.rows.push((key, Some(row)));
        }
        write_batch(&mut storage, batch, &names, first)?;
        progress((number * BATCH + rows.len()).min(new.rows.len()));
    }
    for answered in new.names.chunks(BATCH) {
        let first = names.next();
        let mut batch = Batch::default();
        for (index, named) in answered {
            let key = RowKey {
                table: names.number(&answers),
                uuid: named.name,
            };
            let value = retries::encode(*index, &named.results);
            batch.rows.push((key, Some(value)));
        }
        write_batch(&mut storage, batch, &names, first)?;
    }
    Ok(())
}

fn write_batch(
    storage: &mut RedbStorage,
    mut batch: Batch,
    names: &Names,
    first: u32,
) -> Result<(), StorageError> {
    batch.rows.sort_unstable_by_key(|(key, _)| *key);
    let new = names.since(first).iter();
    batch.names = (first, new.map(ToString::to_string).collect());
    storage.write(&batch)
}

/// A step of the replacement of a file in a directory.
type Step = fn(&Path) -> Result<(), OfflineError>;

/// How a file takes the place of another one, which stays beside it. Whatever ends this between two steps, or within
/// one: one of the two files is in the place.
const REPLACEMENT: [Step; 4] = [forget_former, keep_present, flush_directory, finish];

/// Removes what an earlier replacement has left.
fn forget_former(directory: &Path) -> Result<(), OfflineError> {
    let aside = directory.join(REPLACED_NAME);
    match std::fs::remove_file(&aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io(&aside, "remove", &error))
        }
        _ => Ok(()),
    }
}

/// Gives the file in the place a second name, under which it stays.
fn keep_present(directory: &Path) -> Result<(), OfflineError> {
    let (place, aside) = (directory.join(FILE_NAME), directory.join(REPLACED_NAME));
    std::fs::hard_link(&place, &aside).map_err(|error| io(&aside, "link", &error))
}

fn flush_directory(directory: &Path) -> Result<(), OfflineError> {
    let synced = std::fs::File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| io(directory, "flush", &error))
}

/// Moves what [`write_unfinished`] has written into its place.
fn finish(directory: &Path) -> Result<(), OfflineError> {
    let unfinished = directory.join(UNFINISHED_NAME);
    rename(&unfinished.join(FILE_NAME), &directory.join(FILE_NAME))?;
    // An empty directory that is left behind is no harm.
    let _ = std::fs::remove_dir(&unfinished);
    flush_directory(directory)
}

fn rename(from: &Path, to: &Path) -> Result<(), OfflineError> {
    std::fs::rename(from, to).map_err(|error| io(from, "rename", &error))
}

fn io(path: &Path, action: &'static str, error: &std::io::Error) -> OfflineError {
    StorageError::Io {
        path: path.display().to_string(),
        action,
        reason: error.to_string(),
    }
    .into()
}

#[cfg(test)]
mod tests;
