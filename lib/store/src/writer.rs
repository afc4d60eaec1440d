//! What waits for the disk.
//!
//! The core gives its writes as [`Job`]s; a [`Writer`] turns as many as there are into one
//! [`Batch`]. Log entries go out with the next flush. Applied rows may lag behind, because the log
//! has them: they gather here, newest value per row, and go to disk when there are many, when the
//! log is to be truncated beyond them, or when the disk has nothing else to do. A row that changes often is
//! then written once.
//!
//! Rows go out in *rounds*. A round is all that has gathered up to some entry of the log; it goes
//! to disk in portions, since each row makes a page of the file dirty somewhere else, and whoever
//! waits for the flush waits for these pages too. Portions are of [`PORTION`] rows, larger when more
//! gathers behind the round than they take away. Only the last portion
//! moves `applied`. In between, some rows on disk are newer than `applied` says. That is
//! no harm: whoever loads them goes over the log after `applied` again (see [`crate::load`]), and
//! the log reaches beyond the newest of them. Changes of the members do not wait for a round.
//!
//! A snapshot goes to disk as a whole, in place of all that was there.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Row, RowChange, Uuid};
use rustc_hash::FxBuildHasher;

use crate::codec::Names;
use crate::entry;
use crate::peer::Content;
use crate::retries::{self, Stored};
use crate::storage::{Batch, HardState, LogEntry, LogPosition, Membership, RowKey};

/// So many rows wait at most before they are written with the next flushes.
const MAX_WAITING_ROWS: usize = 4096;
/// So many rows are written with one flush, unless many more wait.
pub const PORTION: usize = 64;
/// A portion may be so many times as large while no more than [`TOO_MANY_PORTIONS`] wait.
const LARGEST: usize = 8;
/// When more portions than this gather behind a round, what waits is growing faster than it goes:
/// portions then grow with it, without end.
const TOO_MANY_PORTIONS: usize = 128;
/// A portion ends when it has so many bytes for each row that it may have.
const ROW_BYTES: usize = 4096;

/// A batch with so much of the log is light.
const LIGHT_BYTES: usize = 64 << 10;

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
    pub names: Vec<Stored>,
    /// New members.
    pub membership: Option<Membership>,
    /// Forget the log up to here.
    pub truncate: Option<LogPosition>,
    /// Forget everything before this job; these are the rows.
    pub snapshot: Option<Arc<Content>>,
}

/// Gathers jobs into batches.
#[derive(Debug)]
pub struct Writer {
    schema: Arc<DatabaseSchema>,
    names: Names,
    portion: usize,
    log: Batch,
    flush: Option<u64>,
    /// What gathers for the next round.
    next: Gathered,
    /// What is left of the present round.
    round: Vec<(Item, Value)>,
    /// What the last portion of the present round brings.
    end_of_round: Option<LogPosition>,
    truncate: Option<LogPosition>,
    /// How far the rows on disk contain the log, as far as this writer has brought them.
    applied: LogPosition,
}

#[derive(Debug, Default)]
struct Gathered {
    items: HashMap<Item, Value, FxBuildHasher>,
    applied: Option<LogPosition>,
}

/// Something that lies among the rows on disk.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Item {
    Row(usize, Uuid),
    /// The name of a transaction.
    Name(Uuid),
}

#[derive(Debug)]
enum Value {
    Gone,
    Row(Arc<Row>),
    Answer(u64, Bytes),
}

impl Writer {
    /// A writer for a file with this dictionary.
    pub fn new(schema: Arc<DatabaseSchema>, names: Names) -> Self {
        Self::with_portion(schema, names, PORTION)
    }

    /// A writer with portions of another size than [`PORTION`], at least, for tests.
    pub fn with_portion(schema: Arc<DatabaseSchema>, names: Names, portion: usize) -> Self {
        Self {
            schema,
            names,
            portion,
            log: Batch::default(),
            flush: None,
            next: Gathered::default(),
            round: Vec::new(),
            end_of_round: None,
            truncate: None,
            applied: LogPosition::default(),
        }
    }

    /// Adds a job.
    pub fn push(&mut self, job: Job) {
        if let Some(content) = &job.snapshot {
            self.restore(content);
        }
        if let Some(first) = job.entries.first() {
            self.log
                .entries
                .retain(|entry| entry.position.index < first.position.index);
            self.log.entries.extend(job.entries);
        }
        self.log.hard_state = job.hard_state.or(self.log.hard_state);
        self.flush = job.flush.or(self.flush);
        self.truncate = job.truncate.or(self.truncate);
        for (position, changes) in job.applied {
            self.next.items.reserve(changes.len());
            for change in changes.iter() {
                let value = change.new.clone().map_or(Value::Gone, Value::Row);
                let item = Item::Row(change.table, change.uuid);
                self.next.items.insert(item, value);
            }
            self.next.applied = Some(position);
        }
        for (name, answer) in job.names {
            let value = answer.map_or(Value::Gone, |(index, results)| {
                Value::Answer(index, results)
            });
            self.next.items.insert(Item::Name(name), value);
        }
        self.log.membership = job.membership.or(self.log.membership.take());
    }

    fn restore(&mut self, content: &Content) {
        self.log = Batch {
            clear: true,
            hard_state: self.log.hard_state,
            membership: Some(content.membership.clone()),
            ..Batch::default()
        };
        self.next = Gathered::default();
        self.round.clear();
        self.truncate = Some(content.position);
        for (table, uuid, row) in &content.rows {
            let item = Item::Row(*table, *uuid);
            self.round.push((item, Value::Row(row.clone())));
        }
        for (index, named) in &content.names {
            let value = Value::Answer(*index, named.results.clone());
            self.round.push((Item::Name(named.name), value));
        }
        self.end_of_round = Some(content.position);
    }

    /// Whether somebody waits for the disk.
    pub fn must_flush(&self) -> bool {
        self.flush.is_some()
    }

    /// Whether a round has begun and not ended.
    pub fn in_round(&self) -> bool {
        self.end_of_round.is_some()
    }

    /// Whether the next batch has nothing but some of the log: no rows, and nothing to forget.
    pub fn is_light(&self) -> bool {
        let bytes = self.log.entries.iter().map(|entry| entry.data.len());
        !self.in_round()
            && self.next.items.len() < MAX_WAITING_ROWS
            && self.truncate.is_none()
            && bytes.sum::<usize>() <= LIGHT_BYTES
    }

    /// Whether nothing waits.
    pub fn is_idle(&self) -> bool {
        !self.must_flush() && !self.in_round() && self.next.applied.is_none() && self.log.is_empty()
    }

    /// Everything that should be written now, and the number to report when it is. `idle` says
    /// that the disk has nothing better to do than to write rows.
    pub fn take(&mut self, idle: bool) -> (Batch, Option<u64>) {
        let mut batch = std::mem::take(&mut self.log);
        let many = self.next.items.len() >= MAX_WAITING_ROWS;
        let needed = self.truncate.is_some_and(|to| self.applied < to);
        if !self.in_round() && (idle || many || needed) {
            self.begin_round();
        }
        if self.in_round() {
            self.take_portion(&mut batch);
        }
        let applied = self.applied;
        batch.truncate = self.truncate.take_if(|to| applied >= *to);
        (batch, self.flush.take())
    }

    fn begin_round(&mut self) {
        let Gathered { items, applied } = std::mem::take(&mut self.next);
        self.round = items.into_iter().collect();
        // Portions are taken from the end; neighbours in the file should go together.
        self.round.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        self.end_of_round = applied;
    }

    /// How many rows the next portion has at most. A round of rows that came one by one is written
    /// while few others gather; the more do, the larger the portions.
    fn portion(&self) -> usize {
        let behind = self.next.items.len();
        let usual = (behind / LARGEST).clamp(self.portion, self.portion * LARGEST);
        usual.max(behind / TOO_MANY_PORTIONS)
    }

    fn take_portion(&mut self, batch: &mut Batch) {
        let first_new_name = self.names.next();
        let (rows, bytes) = match batch.clear {
            true => (self.round.len(), usize::MAX),
            false => (self.portion(), self.portion() * ROW_BYTES),
        };
        let mut taken = 0;
        while batch.rows.len() < rows
            && taken < bytes
            && let Some((item, value)) = self.round.pop()
        {
            let row = self.encode(item, value);
            taken += row.1.as_ref().map_or(0, Vec::len);
            batch.rows.push(row);
        }
        batch.rows.sort_unstable_by_key(|(key, _)| *key);
        let new_names = self.names.since(first_new_name);
        batch.names = (
            first_new_name,
            new_names.iter().map(ToString::to_string).collect(),
        );
        if self.round.is_empty() {
            batch.applied = self.end_of_round.take();
            self.applied = batch.applied.unwrap_or(self.applied);
        }
    }

    fn encode(&mut self, item: Item, value: Value) -> (RowKey, Option<Vec<u8>>) {
        let (table, uuid) = match item {
            Item::Row(table, uuid) => (&self.schema.tables[table].name, uuid),
            Item::Name(name) => (&Arc::from(retries::TABLE), name),
        };
        let key = RowKey {
            table: self.names.number(table),
            uuid,
        };
        let value = match (item, value) {
            (Item::Row(table, _), Value::Row(row)) => {
                let table = &self.schema.tables[table];
                Some(entry::encode_row(&mut self.names, table, &row))
            }
            (_, Value::Answer(index, results)) => Some(retries::encode(index, &results)),
            (_, Value::Gone | Value::Row(_)) => None,
        };
        (key, value)
    }
}

#[cfg(test)]
mod tests {
    use ovsdb::Datum;
    use serde_json::json;

    use super::*;

    fn job(index: u64, rows: std::ops::Range<u128>, value: Option<i64>) -> Job {
        let change = |uuid| RowChange {
            table: 0,
            uuid: Uuid::from_u128(uuid),
            old: None,
            new: value.map(|value| Arc::new(Row::new(vec![Datum::from(value)]))),
        };
        Job {
            applied: vec![(LogPosition { index, term: 1 }, rows.map(change).collect())],
            ..Job::default()
        }
    }

    fn writer() -> Writer {
        let json = json!({"name": "T", "tables": {"A": {"columns": {"a": {"type": "integer"}}}}});
        let schema = DatabaseSchema::from_json(&json).unwrap();
        Writer::new(Arc::new(schema), Names::default())
    }

    #[test]
    fn a_round_goes_out_in_portions_and_ends_with_its_position() {
        let mut writer = writer();
        let rows = PORTION as u128 * 2 + 10;
        writer.push(job(5, 0..rows, Some(1)));
        writer.push(Job {
            truncate: Some(LogPosition { index: 4, term: 1 }),
            ..Job::default()
        });
        let mut sizes = Vec::new();
        loop {
            let (batch, flush) = writer.take(true);
            assert_eq!(flush, None);
            sizes.push(batch.rows.len());
            // What comes in the middle of a round waits for the next.
            writer.push(job(6, 0..1, Some(2)));
            if let Some(applied) = batch.applied {
                assert_eq!(applied.index, 5);
                assert_eq!(batch.truncate.map(|to| to.index), Some(4));
                break;
            }
            assert_eq!(batch.truncate, None);
        }
        assert_eq!(sizes, [PORTION, PORTION, 10]);
        let (batch, _) = writer.take(true);
        assert_eq!(
            (batch.rows.len(), batch.applied.map(|at| at.index)),
            (1, Some(6))
        );
        assert!(writer.is_idle());
        // What is on disk already need not be written for the log's sake.
        writer.push(job(7, 0..1, Some(3)));
        writer.push(Job {
            truncate: Some(LogPosition { index: 6, term: 1 }),
            ..Job::default()
        });
        let (batch, _) = writer.take(false);
        assert_eq!(
            (batch.rows.len(), batch.truncate.map(|to| to.index)),
            (0, Some(6))
        );
    }

    #[test]
    fn portions_grow_with_what_gathers_behind_the_round() {
        let portion_with = |behind: usize| {
            let mut writer = writer();
            writer.push(job(1, 0..100_000, Some(1)));
            let (first, _) = writer.take(true);
            assert_eq!(first.rows.len(), PORTION);
            writer.push(job(2, 0..behind as u128, Some(2)));
            let (second, _) = writer.take(false);
            second.rows.len()
        };
        let largest = PORTION * LARGEST;
        for (behind, expected) in [
            (0, PORTION),
            (PORTION * LARGEST, PORTION),
            (PORTION * LARGEST * 2, PORTION * 2),
            (largest * LARGEST, largest),
            (largest * TOO_MANY_PORTIONS, largest),
            (largest * TOO_MANY_PORTIONS * 2, largest * 2),
        ] {
            assert_eq!(portion_with(behind), expected, "{behind} rows behind");
        }
    }

    #[test]
    fn a_portion_of_large_rows_has_fewer() {
        let json = json!({"name": "T", "tables": {"A": {"columns": {"a": {"type": "string"}}}}});
        let schema = DatabaseSchema::from_json(&json).unwrap();
        let mut writer = Writer::new(Arc::new(schema), Names::default());
        let row = Arc::new(Row::new(vec![Datum::from(
            "x".repeat(ROW_BYTES * 10).as_str(),
        )]));
        let change = |uuid| RowChange {
            table: 0,
            uuid: Uuid::from_u128(uuid),
            old: None,
            new: Some(row.clone()),
        };
        let position = LogPosition { index: 1, term: 1 };
        writer.push(Job {
            applied: vec![(position, (0..20).map(change).collect())],
            ..Job::default()
        });
        let sizes =
            std::iter::from_fn(|| (!writer.is_idle()).then(|| writer.take(true).0.rows.len()));
        assert_eq!(sizes.collect::<Vec<_>>(), [7, 7, 6]);
    }

    #[test]
    fn rows_wait_while_others_wait_for_the_disk() {
        let mut writer = writer();
        writer.push(Job {
            flush: Some(7),
            ..job(1, 0..3, Some(1))
        });
        let (batch, flush) = writer.take(false);
        assert_eq!((batch.rows.len(), flush), (0, Some(7)));
        writer.push(job(2, 0..1, None));
        let (batch, _) = writer.take(true);
        assert_eq!(batch.rows.len(), 3);
        assert_eq!(
            batch.rows.iter().filter(|(_, row)| row.is_none()).count(),
            1
        );
    }
}
