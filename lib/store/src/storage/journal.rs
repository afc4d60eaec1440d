//! The journal: where the newest entries of the log become durable with one small write.
//!
//! It lies before the database in the same file, and has a fixed size, so that writing it changes
//! nothing else about the file:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0 to 4095 | [`MAGIC`], then zeros |
//! | 4096 to 266239 | records, one after the other, each beginning at a multiple of 16 |
//!
//! A record holds what one batch brought. Numbers are little-endian.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0 to 3 | [`RECORD`] |
//! | 4 to 7 | the length of the payload, u32 |
//! | 8 to 15 | the generation, u64: that of the database when it was written |
//! | 16 to 23 | the number of the record in its generation, u64, from 0 |
//! | 24 to 31 | the first 8 bytes of the SHA-1 digest of bytes 4 to 23 and the payload |
//! | 32 on | the payload: `has hard state: u8`, the hard state if so, then the entries: `index: u64`, `length: u32`, and the entry as in the table `log` |
//!
//! When the database takes over what the journal has, it counts the generation up in the same
//! transaction: with that the records are void, and the next one is written over the first.
//!
//! A crash can tear the record that was being written, which nobody was told of; what is before it
//! has been flushed. So the first record that is not whole is the end. If a whole one of the same
//! generation comes after it, something else has happened to the file, and that is an error.

use std::io;
use std::ops::Bound;
use std::sync::Arc;

use ::redb::{BackendError, StorageBackend};
use sha1_smol::Sha1;

use super::encoding::{Reader, decode_entry, decode_hard_state, encode_entry, encode_hard_state};
use super::{Batch, LogEntry, StorageError};

/// How a file begins.
const MAGIC: &[u8; 8] = b"weft-db\n";
/// How a record begins.
const RECORD: &[u8; 4] = b"jrnl";
/// Where the records begin.
const FIRST: usize = 4096;
/// Where the journal ends, and the database begins.
const BYTES: usize = FIRST + (256 << 10);
/// Where records may begin.
const ALIGNMENT: usize = 16;
/// How long a record is without its payload.
const HEAD_BYTES: usize = 32;
/// A batch with more bytes of entries goes to the database.
const MAX_BATCH_BYTES: usize = 32 << 10;

/// What is wrong with the journal.
#[derive(Debug)]
pub(super) enum JournalError {
    /// The operating system refused.
    Io(&'static str, io::Error),
    /// The file is none of ours.
    Foreign(&'static str),
    /// Something cannot be.
    Damaged(String),
}

impl JournalError {
    /// The same about a file.
    pub(super) fn into_storage(self, path: &str) -> StorageError {
        let path = path.to_owned();
        match self {
            Self::Io(action, error) => StorageError::Io {
                path,
                action,
                reason: error.to_string(),
            },
            Self::Foreign(reason) => StorageError::Foreign {
                path,
                reason: reason.to_owned(),
            },
            Self::Damaged(what) => StorageError::Damaged { path, what },
        }
    }
}

fn reading(error: io::Error) -> JournalError {
    JournalError::Io("read the journal", error)
}

fn writing(error: io::Error) -> JournalError {
    JournalError::Io("write the journal", error)
}

/// Looks at how a file begins. True if it is a new one, or one whose making was cut short.
pub(super) fn examine(medium: &dyn StorageBackend) -> Result<bool, JournalError> {
    let length = medium.len().map_err(reading)?;
    if length == 0 {
        return Ok(true);
    }
    let mut head = vec![0; FIRST.min(usize::try_from(length).unwrap_or(FIRST))];
    medium.read(0, &mut head).map_err(reading)?;
    let is_long = length > BYTES as u64;
    if head.starts_with(MAGIC) {
        return match is_long {
            true => Ok(false),
            false => Err(JournalError::Damaged("it is cut short".to_owned())),
        };
    }
    if head.starts_with(b"redb") {
        return Err(JournalError::Foreign(
            "written by a version of Weft before the first release, which this server cannot read",
        ));
    }
    match head.iter().all(|byte| *byte == 0) {
        true => Ok(true),
        false => Err(JournalError::Foreign("not a database file of Weft")),
    }
}

/// The journal of an open file.
#[derive(Debug)]
pub(super) struct Journal {
    medium: Arc<dyn StorageBackend>,
    generation: u64,
    /// Whether the database says that records of this generation count.
    open: bool,
    /// The number of the next record, and where it goes.
    number: u64,
    place: usize,
    /// What the records say together, and the database does not have.
    news: Batch,
}

impl Journal {
    /// On a medium, about which nothing is known yet.
    pub(super) fn new(medium: Arc<dyn StorageBackend>) -> Self {
        Self {
            medium,
            generation: 0,
            open: false,
            number: 0,
            place: FIRST,
            news: Batch::default(),
        }
    }

    /// Makes room for it in a file whose database is made. What is written here later finds its
    /// blocks on the disk.
    pub(super) fn format(&mut self) -> Result<(), JournalError> {
        let mut bytes = vec![0; BYTES];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        self.medium.write(0, &bytes).map_err(writing)?;
        self.medium.sync_data().map_err(writing)
    }

    /// The database knows of this generation. If it is open, reads its records.
    pub(super) fn found(&mut self, generation: u64, open: bool) -> Result<(), JournalError> {
        self.generation = generation;
        if !open {
            return Ok(());
        }
        let mut bytes = vec![0; BYTES];
        self.medium.read(0, &mut bytes).map_err(reading)?;
        let mut place = FIRST;
        let mut number = 0;
        while let Some((record, end)) = record_at(&bytes, place, generation)
            && record.number == number
        {
            let batch = decode(record.payload).ok_or_else(|| {
                JournalError::Damaged(format!("record {number} of the journal makes no sense"))
            })?;
            self.add(&batch);
            (place, number) = (end, number + 1);
        }
        let mut later = (place..BYTES).step_by(ALIGNMENT);
        let lost = later.find_map(|place| record_at(&bytes, place, generation));
        match lost {
            Some((record, _)) => Err(JournalError::Damaged(format!(
                "record {number} of the journal is not as it was written, and record {} comes \
                 after it",
                record.number
            ))),
            None => Ok(()),
        }
    }

    /// The generation that the database knows of.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the database says that its records count.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// What the database does not have: entries and a hard state at most.
    pub(super) fn news(&self) -> &Batch {
        &self.news
    }

    /// Whether the database does not have everything.
    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Whether a batch can go here: it has nothing but some of the log, and there is room.
    pub(super) fn takes(&self, batch: &Batch) -> bool {
        let is_small = !batch.clear
            && batch.membership.is_none()
            && batch.applied.is_none()
            && batch.rows.is_empty()
            && batch.names.1.is_empty()
            && batch.truncate.is_none();
        if !self.open || !is_small {
            return false;
        }
        let entries = batch.entries.iter();
        let bytes: usize = entries
            .map(|entry| entry.context.len() + entry.data.len() + 32)
            .sum();
        bytes <= MAX_BATCH_BYTES && self.place + HEAD_BYTES + bytes + 64 <= BYTES
    }

    /// Makes a batch durable that [`Self::takes`].
    pub(super) fn append(&mut self, batch: &Batch) -> Result<(), JournalError> {
        let record = encode(batch, self.generation, self.number);
        let written = self.medium.write(self.place as u64, &record);
        let written = written.and_then(|()| self.medium.sync_data());
        if let Err(error) = written {
            self.fail();
            return Err(writing(error));
        }
        self.place += record.len();
        self.number += 1;
        self.add(batch);
        Ok(())
    }

    /// The database has everything, and knows of this generation.
    pub(super) fn begin(&mut self, generation: u64, open: bool) {
        self.generation = generation;
        self.open = open;
        self.number = 0;
        self.place = FIRST;
        self.news = Batch::default();
    }

    /// Nothing more can be written: what is there must stay as it is.
    pub(super) fn fail(&mut self) {
        self.open = false;
    }

    fn add(&mut self, batch: &Batch) {
        let news = &mut self.news;
        if let Some(first) = batch.entries.first() {
            let first = first.position.index;
            let kept = |entry: &LogEntry| entry.position.index < first;
            if news.entries.last().is_some_and(|last| !kept(last)) {
                news.entries.retain(kept);
            }
            news.entries.extend_from_slice(&batch.entries);
        }
        news.hard_state = batch.hard_state.or(news.hard_state);
    }
}

/// A whole record.
struct Record<'a> {
    number: u64,
    payload: &'a [u8],
}

/// The record of a generation that begins at a place, if there is a whole one, and where the next
/// may begin.
fn record_at(bytes: &[u8], place: usize, generation: u64) -> Option<(Record<'_>, usize)> {
    let bytes = bytes.get(place..)?;
    let mut reader = Reader(bytes.strip_prefix(RECORD)?);
    let length = reader.u32()? as usize;
    if reader.u64()? != generation {
        return None;
    }
    let number = reader.u64()?;
    let expected = reader.array::<8>()?;
    let payload = reader.take(length)?;
    let head = bytes.get(4..24)?;
    let end = place + (HEAD_BYTES + length).next_multiple_of(ALIGNMENT);
    (digest(head, payload) == expected).then_some((Record { number, payload }, end))
}

fn digest(head: &[u8], payload: &[u8]) -> [u8; 8] {
    let mut digest = Sha1::new();
    digest.update(head);
    digest.update(payload);
    let [a, b, c, d, e, f, g, h, ..] = digest.digest().bytes();
    [a, b, c, d, e, f, g, h]
}

fn encode(batch: &Batch, generation: u64, number: u64) -> Vec<u8> {
    let mut record = vec![0; HEAD_BYTES];
    record.push(u8::from(batch.hard_state.is_some()));
    if let Some(state) = batch.hard_state {
        record.extend_from_slice(&encode_hard_state(state));
    }
    let mut bytes = Vec::new();
    for entry in &batch.entries {
        encode_entry(entry, &mut bytes);
        let length = u32::try_from(bytes.len()).expect("what goes here is small");
        record.extend_from_slice(&entry.position.index.to_le_bytes());
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(&bytes);
    }
    let length = u32::try_from(record.len() - HEAD_BYTES).expect("what goes here is small");
    record[..4].copy_from_slice(RECORD);
    record[4..8].copy_from_slice(&length.to_le_bytes());
    record[8..16].copy_from_slice(&generation.to_le_bytes());
    record[16..24].copy_from_slice(&number.to_le_bytes());
    let digest = digest(&record[4..24], &record[HEAD_BYTES..]);
    record[24..32].copy_from_slice(&digest);
    record.resize(record.len().next_multiple_of(ALIGNMENT), 0);
    record
}

fn decode(payload: &[u8]) -> Option<Batch> {
    let mut reader = Reader(payload);
    let mut batch = Batch::default();
    if reader.u8()? != 0 {
        batch.hard_state = Some(decode_hard_state(reader.take(24)?)?);
    }
    while !reader.0.is_empty() {
        let index = reader.u64()?;
        let length = reader.u32()? as usize;
        batch
            .entries
            .push(decode_entry(index, reader.take(length)?)?);
    }
    Some(batch)
}

/// The rest of a medium, for the database.
#[derive(Debug)]
pub(super) struct Rest(pub(super) Arc<dyn StorageBackend>);

impl StorageBackend for Rest {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len()?.saturating_sub(BYTES as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(shifted(offset)?, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(shifted(len)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(shifted(offset)?, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    // Locks are about who uses the file, not about places in it.

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}

fn shifted(offset: u64) -> io::Result<u64> {
    let shifted = offset.checked_add(BYTES as u64);
    shifted.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use ::redb::backends::InMemoryBackend;
    use bytes::Bytes;

    use super::*;
    use crate::storage::{EntryKind, HardState, LogPosition};

    const GENERATION: u64 = 7;

    fn medium() -> Arc<InMemoryBackend> {
        let medium = InMemoryBackend::new();
        medium.set_len(BYTES as u64).unwrap();
        Arc::new(medium)
    }

    fn batch(index: u64, entries: u64, size: usize) -> Batch {
        let entry = |index| LogEntry {
            position: LogPosition { index, term: 3 },
            kind: EntryKind::Normal,
            context: Bytes::from_static(b"mark"),
            data: vec![index as u8; size].into(),
        };
        Batch {
            entries: (index..index + entries).map(entry).collect(),
            hard_state: index.is_multiple_of(2).then_some(HardState {
                term: 3,
                vote: 1,
                commit: index,
            }),
            ..Batch::default()
        }
    }

    /// Batches of which one takes back what others brought.
    fn batches() -> [Batch; 5] {
        [
            batch(1, 3, 10),
            batch(4, 1, 700),
            batch(3, 2, 0),
            batch(5, 0, 0),
            batch(6, 4, 33),
        ]
    }

    /// A medium with these batches in its journal, where each of their records begins, and what
    /// they say together after each.
    fn written(batches: &[Batch]) -> (Vec<u8>, Vec<usize>, Vec<Batch>) {
        let medium = medium();
        let mut journal = Journal::new(medium.clone());
        journal.format().unwrap();
        journal.begin(GENERATION, true);
        let (mut places, mut said) = (Vec::new(), vec![Batch::default()]);
        for batch in batches {
            places.push(journal.place);
            assert!(journal.takes(batch));
            journal.append(batch).unwrap();
            said.push(journal.news().clone());
        }
        places.push(journal.place);
        let mut bytes = vec![0; BYTES];
        medium.read(0, &mut bytes).unwrap();
        (bytes, places, said)
    }

    fn found(bytes: &[u8], generation: u64) -> Result<Batch, JournalError> {
        let medium = medium();
        medium.write(0, bytes).unwrap();
        let mut journal = Journal::new(medium);
        journal.found(generation, true)?;
        Ok(journal.news().clone())
    }

    #[test]
    fn what_was_written_is_found_in_its_generation_only() {
        let (bytes, _, said) = written(&batches());
        assert_eq!(found(&bytes, GENERATION).unwrap(), said[5]);
        assert_eq!(said[5].entries.len(), 8);
        assert_eq!(said[5].hard_state.unwrap().commit, 6);
        for other in [GENERATION - 1, GENERATION + 1] {
            assert_eq!(found(&bytes, other).unwrap(), Batch::default());
        }
    }

    #[test]
    fn a_torn_record_is_the_end_and_a_damaged_one_is_an_error() {
        let (bytes, places, said) = written(&batches());
        for (record, range) in places.windows(2).enumerate() {
            for place in range[0]..range[1] {
                // The write of this record got as far as here, and there is none after it.
                let mut torn = bytes.clone();
                torn[place..].fill(0);
                let news = found(&torn, GENERATION).unwrap();
                assert!(news == said[record] || news == said[record + 1], "{place}");

                let mut flipped = bytes.clone();
                flipped[place] ^= 1 << (place % 8);
                match found(&flipped, GENERATION) {
                    Ok(news) if record == 4 => assert!(news == said[4] || news == said[5]),
                    // What only fills up to where the next may begin means nothing.
                    Ok(news) => assert_eq!(news, said[5], "{place}"),
                    Err(JournalError::Damaged(what)) => {
                        assert!(what.contains(&format!("record {record} of")), "{what}");
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
    }

    #[test]
    fn what_is_no_small_piece_of_the_log_goes_elsewhere() {
        let mut journal = Journal::new(medium());
        journal.format().unwrap();
        assert!(
            !journal.takes(&batch(1, 1, 1)),
            "the database does not know of it"
        );
        journal.begin(GENERATION, true);
        let applied = Batch {
            applied: Some(LogPosition { index: 1, term: 1 }),
            ..batch(1, 1, 1)
        };
        assert!(!journal.takes(&applied));
        assert!(!journal.takes(&batch(1, 1, MAX_BATCH_BYTES)));
        let mut records = 0;
        while journal.takes(&batch(records, 1, 20_000)) {
            journal.append(&batch(records, 1, 20_000)).unwrap();
            records += 1;
        }
        assert!(records > 10 && journal.place <= BYTES, "{records} records");
    }

    #[test]
    fn a_file_is_told_by_how_it_begins() {
        let examined = |head: &[u8], length: u64| {
            let medium = InMemoryBackend::new();
            medium.set_len(length).unwrap();
            medium
                .write(0, &head[..head.len().min(length as usize)])
                .unwrap();
            match examine(&medium) {
                Ok(is_new) => is_new.to_string(),
                Err(error) => error.into_storage("F").to_string(),
            }
        };
        let long = BYTES as u64 + 4096;
        for (head, length, expected) in [
            (&b""[..], 0, "true"),
            (&[0; 16], 100, "true"),
            (&[0; 16], long, "true"),
            (MAGIC, long, "false"),
            (MAGIC, BYTES as u64, "F: damaged: it is cut short"),
            (
                b"redb\x1a\x0a\xa9\x0d\x0a",
                long,
                "before the first release",
            ),
            (b"this is no database", 19, "F: not a database file of Weft"),
        ] {
            let found = examined(head, length);
            assert!(found.contains(expected), "{head:?}, {length}: {found}");
        }
    }
}
