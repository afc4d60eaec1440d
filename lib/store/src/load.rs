//! From the disk into memory: a member's start.
//!
//! The rows on disk contain the log up to `applied`, and some of them more (see
//! [`crate::writer`]). So the committed part of the log after `applied` is gone over again, on
//! the bare rows; only then is the database made of them, and with it all that is derived. What
//! was gone over is handed to the writer once more, since the disk may not have it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ovsdb::schema::DatabaseSchema;
use ovsdb::{Row, Uuid};
use table::Database;

use crate::codec::Names;
use crate::entry::{self, EntryError, Turn};
use crate::parts::{self, PartError, Parts};
use crate::retries::{self, Retries};
use crate::storage::{EntryKind, Identity, Membership, State, Storage, StorageError};
use crate::writer::Job;

/// What was found on disk, ready to go on.
#[derive(Debug)]
pub struct Loaded {
    /// Everything but the rows.
    pub state: State,
    /// The rows as of [`State::applied`], which is where the log was committed.
    pub database: Database,
    /// The names of transactions that were applied.
    pub retries: Retries,
    /// The dictionary of the file.
    pub names: Names,
    /// The log index at which the rows last changed.
    pub data_index: u64,
    /// The beginning of a transaction that is committed in parts.
    pub parts: Parts,
    /// What the rows on disk may lack.
    pub job: Job,
}

/// Why a member cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file is another database's.
    #[error(
        "the data directory holds the database {found}, but this server is for {expected}; \
         give it a --data-dir of its own"
    )]
    OtherDatabase {
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// There is nothing.
    #[error("there is no database in the data directory")]
    Nothing,
    /// The rows contradict each other.
    #[error("the rows on disk contradict each other: {0}")]
    Inconsistent(#[from] table::ApplyError),
    /// The parts of a large transaction do not fit together.
    #[error("log entry {index}: {error}")]
    Part {
        /// The entry.
        index: u64,
        /// What is wrong with it.
        error: PartError,
    },
    /// The log cannot be gone over.
    #[error("log entry {index}: {error}")]
    Entry {
        /// The entry.
        index: u64,
        /// What is wrong with it.
        error: EntryError,
    },
}

/// Reads a member's state; a new one becomes the only member of a new cluster, with these
/// identities.
pub fn load(
    storage: &mut dyn Storage,
    schema: &Arc<DatabaseSchema>,
    new_cluster: Uuid,
    new_server: Uuid,
) -> Result<Loaded, LoadError> {
    let state = match storage.load()? {
        Some(state) => state,
        None => {
            let identity = Identity {
                database: schema.name.to_string(),
                cluster: new_cluster,
                server: new_server,
                member: 1,
            };
            let membership = Membership {
                voters: vec![1],
                servers: vec![(1, new_server)],
                ..Membership::default()
            };
            storage.create(&identity, &membership)?;
            State {
                identity,
                membership,
                hard_state: Default::default(),
                applied: Default::default(),
                truncated: Default::default(),
                entries: Vec::new(),
                names: Vec::new(),
            }
        }
    };
    finish(storage, schema, state, Until::Commit)
}

/// How far to go over the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Until {
    /// As far as it is known to be committed. Raft does the rest.
    Commit,
    /// To its end, and past changes of the members: there will be no Raft to do it.
    End,
}

/// Reads the state of a member that will never be one again: all of its log counts.
pub fn load_to_the_end(
    storage: &mut dyn Storage,
    schema: &Arc<DatabaseSchema>,
) -> Result<Loaded, LoadError> {
    let state = storage.load()?.ok_or(LoadError::Nothing)?;
    finish(storage, schema, state, Until::End)
}

fn finish(
    storage: &dyn Storage,
    schema: &Arc<DatabaseSchema>,
    mut state: State,
    until: Until,
) -> Result<Loaded, LoadError> {
    if *state.identity.database != *schema.name {
        return Err(LoadError::OtherDatabase {
            found: state.identity.database,
            expected: schema.name.to_string(),
        });
    }
    let names = Names::new(state.names.iter().cloned());
    let mut read: Vec<Vec<(Uuid, Arc<Row>)>> = schema.tables.iter().map(|_| Vec::new()).collect();
    let mut named = Vec::new();
    storage.rows(&mut |key, bytes| {
        let name = names.name(key.table).ok_or("its table has no name")?;
        if **name == *retries::TABLE {
            let answer = retries::decode(key.uuid, bytes);
            named.push(answer.map_err(|error| error.to_string())?);
            return Ok(());
        }
        let table = schema.table_index(name).ok_or_else(|| {
            format!("the schema has no table {name}; run a server of the version that wrote it")
        })?;
        let row = entry::decode_row(&names, &schema.tables[table], bytes);
        let row = row.map_err(|error| error.to_string())?;
        read[table].push((key.uuid, Arc::new(row)));
        Ok(())
    })?;
    let mut rows: Rows = read.into_iter().map(BTreeMap::from_iter).collect();
    let mut retries = Retries::load(named);
    let mut parts = Parts::default();
    let job = go_over(
        &mut state,
        schema,
        &mut rows,
        &mut retries,
        &mut parts,
        until,
    )?;
    let mut database = Database::new(schema.clone());
    let rows = rows.into_iter().enumerate();
    database.load(rows.flat_map(|(table, rows)| {
        let row = move |(uuid, row)| (table, uuid, row);
        rows.into_iter().map(row)
    }))?;
    let applied = state.applied.index;
    let changing = state.entries.iter().rev();
    let data_index = changing
        .filter(|entry| entry.position.index <= applied && entry.kind == EntryKind::Normal)
        .filter(|entry| parts::ends(&entry.data))
        .map(|entry| entry.position.index)
        .next()
        .unwrap_or(state.truncated.index);
    Ok(Loaded {
        database,
        retries,
        names,
        data_index,
        parts,
        job,
        state,
    })
}

/// Rows of each table, without anything derived from them.
type Rows = Vec<BTreeMap<Uuid, Arc<Row>>>;

/// Applies the log after `applied` to rows of which some contain it already.
fn go_over(
    state: &mut State,
    schema: &DatabaseSchema,
    rows: &mut [BTreeMap<Uuid, Arc<Row>>],
    retries: &mut Retries,
    parts: &mut Parts,
    until: Until,
) -> Result<Job, LoadError> {
    let mut job = Job::default();
    let applied = state.applied.index;
    let commit = match until {
        Until::Commit => state.hard_state.commit,
        Until::End => u64::MAX,
    };
    let entries = state.entries.iter();
    for log in entries.filter(|log| (applied + 1..=commit).contains(&log.position.index)) {
        let index = log.position.index;
        if log.kind != EntryKind::Normal {
            if index > state.membership.since && until == Until::Commit {
                // For Raft to apply, and what follows: no row on disk can be newer, because the
                // members would have been written before it.
                break;
            }
            parts.cancel();
            job.applied.push((log.position, Arc::new([])));
            state.applied = log.position;
            continue;
        }
        let taken = parts.take(state.applied, log.position, &log.data);
        let whole = taken.map_err(|error| LoadError::Part { index, error })?;
        state.applied = log.position;
        let Some(whole) = whole else {
            if parts.settled(log.position) == log.position {
                job.applied.push((log.position, Arc::new([])));
            }
            continue;
        };
        let old = |table: usize, uuid| rows[table].get(&uuid).cloned();
        let entry = entry::decode(schema, &whole.bytes(), Turn::Again, old);
        let entry = entry.map_err(|error| LoadError::Entry { index, error })?;
        for change in &entry.changes {
            let rows = &mut rows[change.table];
            match &change.new {
                Some(row) => drop(rows.insert(change.uuid, row.clone())),
                None => drop(rows.remove(&change.uuid)),
            }
        }
        if let Some(named) = entry.named {
            job.names.extend(retries.insert(index, &named));
        }
        job.applied.push((log.position, entry.changes.into()));
    }
    Ok(job)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::storage::MemoryStorage;

    fn schema(name: &str) -> Arc<DatabaseSchema> {
        let json = json!({"name": name, "tables": {"A": {"columns": {"a": {"type": "string"}}}}});
        Arc::new(DatabaseSchema::from_json(&json).unwrap())
    }

    #[test]
    fn identities_stay_and_another_database_is_refused() {
        let mut storage = MemoryStorage::default();
        let new = || (Uuid::new_v4(), Uuid::new_v4());
        let (cluster, server) = new();
        let first = load(&mut storage, &schema("One"), cluster, server).unwrap();
        let (other_cluster, other_server) = new();
        let again = load(&mut storage, &schema("One"), other_cluster, other_server).unwrap();
        assert_eq!(first.state.identity, again.state.identity);
        let error = load(&mut storage, &schema("Two"), cluster, server).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("One") && error.contains("Two"), "{error}");
    }
}
