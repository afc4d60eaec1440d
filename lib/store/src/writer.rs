//! What waits for the disk.
//!
//! The core gives its writes as [`Job`]s; a [`Writer`] turns as many as there are into one
//! [`Batch`]. Log entries go out with the next flush. Applied rows may lag behind: the log has
//! them, so they gather here, newest value per row, and go to disk when there are many, when the
//! log is to be truncated, or when the disk has nothing else to do. A row that changes often is
//! then written once.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Row, RowChange, Uuid};
use rustc_hash::FxBuildHasher;

use crate::codec::Names;
use crate::storage::{Batch, HardState, LogEntry, LogPosition, Membership, RowKey};
use crate::{entry, retries};

/// So many rows wait at most before they are written with the next flush.
const MAX_WAITING_ROWS: usize = 4096;

/// A part of what the core wants on disk.
#[derive(Debug, Default)]
pub struct Job {
    /// Entries for the log.
    pub entries: Vec<LogEntry>,
    /// Raft's variables.
    pub hard_state: Option<HardState>,
    /// The number to report when this is flushed; absent if nobody waits.
    pub flush: Option<u64>,
    /// Committed changes, and the entry that brought each.
    pub applied: Vec<(LogPosition, Arc<[RowChange]>)>,
    /// Names of transactions to remember, with the index and the answer of each, or to forget.
    pub names: Vec<(Uuid, Option<(u64, Bytes)>)>,
    /// New members, as of the last of `applied`.
    pub membership: Option<Membership>,
    /// Forget the log up to here.
    pub truncate: Option<LogPosition>,
}

/// Gathers jobs into batches.
#[derive(Debug)]
pub struct Writer {
    schema: Arc<DatabaseSchema>,
    names: Names,
    log: Batch,
    flush: Option<u64>,
    rows: HashMap<(usize, Uuid), Option<Arc<Row>>, FxBuildHasher>,
    retries: HashMap<Uuid, Option<(u64, Bytes)>, FxBuildHasher>,
    applied: Option<LogPosition>,
    membership: Option<Membership>,
}

impl Writer {
    /// A writer for a file with this dictionary.
    pub fn new(schema: Arc<DatabaseSchema>, names: Names) -> Self {
        Self {
            schema,
            names,
            log: Batch::default(),
            flush: None,
            rows: HashMap::default(),
            retries: HashMap::default(),
            applied: None,
            membership: None,
        }
    }

    /// Adds a job.
    pub fn push(&mut self, job: Job) {
        if let Some(first) = job.entries.first() {
            self.log
                .entries
                .retain(|entry| entry.position.index < first.position.index);
            self.log.entries.extend(job.entries);
        }
        self.log.hard_state = job.hard_state.or(self.log.hard_state);
        self.log.truncate = job.truncate.or(self.log.truncate);
        self.flush = job.flush.or(self.flush);
        for (position, changes) in job.applied {
            for change in changes.iter() {
                self.rows
                    .insert((change.table, change.uuid), change.new.clone());
            }
            self.applied = Some(position);
        }
        self.retries.extend(job.names);
        self.membership = job.membership.or(self.membership.take());
    }

    /// Whether somebody waits for the disk.
    pub fn must_flush(&self) -> bool {
        self.flush.is_some() || self.log.truncate.is_some()
    }

    /// Whether anything waits.
    pub fn is_idle(&self) -> bool {
        self.flush.is_none()
            && self.applied.is_none()
            && self.membership.is_none()
            && self.log.is_empty()
    }

    /// Everything that should be written now, and the number to report when it is. `idle` says
    /// that the disk has nothing better to do than to write the rows.
    pub fn take(&mut self, idle: bool) -> (Batch, Option<u64>) {
        let mut batch = std::mem::take(&mut self.log);
        if idle
            || batch.truncate.is_some()
            || self.rows.len() + self.retries.len() >= MAX_WAITING_ROWS
        {
            self.take_rows(&mut batch);
        }
        (batch, self.flush.take())
    }

    fn take_rows(&mut self, batch: &mut Batch) {
        let first_new_name = self.names.next();
        for ((table, uuid), row) in self.rows.drain() {
            let table = &self.schema.tables[table];
            let key = RowKey {
                table: self.names.number(&table.name),
                uuid,
            };
            let value = row.map(|row| entry::encode_row(&mut self.names, table, &row));
            batch.rows.push((key, value));
        }
        if !self.retries.is_empty() {
            let table = self.names.number(&retries::TABLE.into());
            for (uuid, answer) in self.retries.drain() {
                let value = answer.map(|(index, results)| retries::encode(index, &results));
                batch.rows.push((RowKey { table, uuid }, value));
            }
        }
        batch.rows.sort_unstable_by_key(|(key, _)| *key);
        let new_names = self.names.since(first_new_name);
        batch.names = (
            first_new_name,
            new_names.iter().map(ToString::to_string).collect(),
        );
        batch.applied = self.applied.take();
        batch.membership = self.membership.take();
    }
}
