//! A disk that loses power.
//!
//! The backend below remembers which writes were synced. A crash keeps all of those, and of the
//! others an arbitrary part, each possibly torn. Whatever is kept, the file must open again and
//! show the state after the last batch that was acknowledged, or after the one in flight; the
//! in-memory storage says what that state is.

#![allow(
    clippy::unwrap_used,
    reason = "a panic is the message of a failed test"
)]

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;
use redb::StorageBackend;
use store::storage::{
    Batch, EntryKind, HardState, Identity, LogEntry, LogPosition, Membership, MemoryStorage,
    RedbStorage, RowKey, State, Storage,
};
use uuid::Uuid;

/// A medium of which clones share the contents.
#[derive(Clone, Debug, Default)]
struct Medium(Arc<Mutex<Platters>>);

#[derive(Clone, Debug, Default)]
struct Platters {
    synced: Vec<u8>,
    current: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
    operations_left: Option<u64>,
}

impl Platters {
    fn operate(&mut self) -> io::Result<()> {
        match &mut self.operations_left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl Medium {
    /// What is there after a power failure; `luck` decides about each write that was not synced.
    fn crash(&self, mut luck: impl FnMut() -> u64) -> Self {
        let platters = self.0.lock().unwrap();
        let mut image = platters.synced.clone();
        for (offset, data) in &platters.unsynced {
            let kept = match luck() % 3 {
                0 => 0,
                1 => data.len(),
                _ => luck() as usize % (data.len() + 1),
            };
            if image.len() < offset + kept {
                image.resize(offset + kept, 0);
            }
            image[*offset..offset + kept].copy_from_slice(&data[..kept]);
        }
        // Growing the file is done in steps that are synced at once; a crash keeps its length.
        image.resize(platters.current.len().max(image.len()), 0);
        Self(Arc::new(Mutex::new(Platters {
            synced: image.clone(),
            current: image,
            ..Platters::default()
        })))
    }

    fn fail_after(&self, operations: u64) {
        self.0.lock().unwrap().operations_left = Some(operations);
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platters = self.0.lock().unwrap();
        let offset = offset as usize;
        match platters.current.get(offset..offset + out.len()) {
            Some(data) => out.copy_from_slice(data),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platters = self.0.lock().unwrap();
        platters.operate()?;
        platters.current.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platters = self.0.lock().unwrap();
        platters.operate()?;
        platters.synced = platters.current.clone();
        platters.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platters = self.0.lock().unwrap();
        platters.operate()?;
        let offset = offset as usize;
        let end = offset + data.len();
        if platters.current.len() < end {
            platters.current.resize(end, 0);
        }
        platters.current[offset..end].copy_from_slice(data);
        platters.unsynced.push((offset, data.to_vec()));
        Ok(())
    }
}

fn identity() -> Identity {
    Identity {
        database: "OVN_Northbound".to_owned(),
        cluster: Uuid::from_u128(1),
        server: Uuid::from_u128(2),
        member: 1,
    }
}

fn membership() -> Membership {
    Membership {
        voters: vec![1],
        ..Membership::default()
    }
}

/// Everything that a storage has.
type Contents = (State, Vec<(RowKey, Vec<u8>)>);

fn contents(storage: &dyn Storage) -> Contents {
    let mut rows = Vec::new();
    storage
        .rows(&mut |key, value| {
            rows.push((key, value.to_vec()));
            Ok(())
        })
        .unwrap();
    (storage.load().unwrap().unwrap(), rows)
}

/// What a random step does with the log; rows and truncation follow.
#[derive(Clone, Debug)]
struct Step {
    entries: u8,
    size: u16,
    overwrite: bool,
    rows: Vec<(u8, bool)>,
    apply: bool,
    truncate: bool,
}

fn any_step() -> impl Strategy<Value = Step> {
    (
        0u8..5,
        0u16..3000,
        any::<bool>(),
        proptest::collection::vec((0u8..20, any::<bool>()), 0..6),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(entries, size, overwrite, rows, apply, truncate)| Step {
            entries,
            size,
            overwrite,
            rows,
            apply,
            truncate,
        })
}

/// The batch of a step, valid after what the state holds.
fn batch(step: &Step, term: u64, state: &State) -> Batch {
    let mut last = state.truncated.index + state.entries.len() as u64;
    if step.overwrite && step.entries > 0 && last > state.hard_state.commit {
        last -= 1;
    }
    let entries: Vec<LogEntry> = (1..=u64::from(step.entries))
        .map(|n| LogEntry {
            position: LogPosition {
                index: last + n,
                term,
            },
            kind: EntryKind::Normal,
            context: Bytes::from_static(b"mark"),
            data: vec![term as u8; usize::from(step.size)].into(),
        })
        .collect();
    let mut batch = Batch {
        hard_state: Some(HardState {
            term,
            vote: 1,
            commit: (last + u64::from(step.entries)).max(state.hard_state.commit),
        }),
        entries,
        ..Batch::default()
    };
    if step.apply {
        let commit = state.hard_state.commit;
        let term = state
            .entries
            .iter()
            .find(|entry| entry.position.index == commit)
            .map_or(state.applied.term, |entry| entry.position.term);
        batch.applied = Some(LogPosition {
            index: commit,
            term,
        });
        let mut rows = std::collections::BTreeMap::new();
        for (row, present) in &step.rows {
            let key = RowKey {
                table: u32::from(*row % 2),
                uuid: Uuid::from_u128(u128::from(*row)),
            };
            rows.insert(key, present.then(|| vec![term as u8; 40]));
        }
        batch.rows = rows.into_iter().collect();
        let first = u32::try_from(state.names.len()).unwrap();
        batch.names = (first, vec![format!("name-{first}")]);
        if step.truncate {
            batch.truncate = batch.applied;
        }
    }
    batch
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_loses_nothing_acknowledged(
        steps in proptest::collection::vec(any_step(), 1..12),
        operations in 0u64..200,
        seed: u64,
    ) {
        let medium = Medium::default();
        let mut disk = RedbStorage::with_backend("medium", medium.clone()).unwrap();
        let mut oracle = MemoryStorage::default();
        disk.create(&identity(), &membership()).unwrap();
        oracle.create(&identity(), &membership()).unwrap();

        medium.fail_after(operations);
        let mut before = contents(&oracle);
        let mut term = 0;
        for step in &steps {
            term += 1;
            let batch = batch(step, term, &before.0);
            let written = disk.write(&batch);
            if written.is_err() {
                oracle.write(&batch).unwrap();
                break;
            }
            oracle.write(&batch).unwrap();
            before = contents(&oracle);
        }
        let after = contents(&oracle);

        let mut state = seed | 1;
        let luck = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 11
        };
        let image = medium.crash(luck);
        drop(disk);
        let reopened = RedbStorage::with_backend("medium", image).unwrap();
        let found = contents(&reopened);
        prop_assert!(found == before || found == after, "neither the old state nor the new one");
    }
}

#[test]
fn a_fresh_directory_is_empty_and_a_second_server_is_turned_away() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = RedbStorage::open(directory.path()).unwrap();
    assert_eq!(first.load().unwrap(), None);
    first.create(&identity(), &membership()).unwrap();
    let error = RedbStorage::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("in use by another process"), "{error}");
    drop(first);
    let again = RedbStorage::open(directory.path()).unwrap();
    assert_eq!(again.load().unwrap().unwrap().identity, identity());
}

#[test]
fn an_empty_file_is_no_new_database() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(store::storage::FILE_NAME), b"").unwrap();
    let error = RedbStorage::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("it is empty"), "{error}");
}

#[test]
fn a_file_of_another_kind_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(store::storage::FILE_NAME);
    std::fs::write(&path, b"this is no database").unwrap();
    let error = RedbStorage::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
    assert!(error.contains("not a database file"), "{error}");
}

/// A storage after some batches of which each changes rows and log, the medium that it is on, and its contents before and
/// after the last batch.
fn written(steps: u64) -> (RedbStorage, Medium, [Contents; 2]) {
    let medium = Medium::default();
    let mut disk = RedbStorage::with_backend("medium", medium.clone()).unwrap();
    disk.create(&identity(), &membership()).unwrap();
    let mut before = contents(&disk);
    for term in 1..=steps {
        before = contents(&disk);
        let step = Step {
            entries: 2,
            size: 200,
            overwrite: term % 5 == 0,
            rows: vec![(term as u8 % 20, term % 7 != 0), (7, true)],
            apply: true,
            truncate: term % 4 == 0,
        };
        disk.write(&batch(&step, term, &before.0)).unwrap();
    }
    let after = contents(&disk);
    (disk, medium, [before, after])
}

/// A medium with these bytes.
fn medium(bytes: Vec<u8>) -> Medium {
    Medium(Arc::new(Mutex::new(Platters {
        synced: bytes.clone(),
        current: bytes,
        ..Platters::default()
    })))
}

/// Opens what is on a medium: its contents, or why not.
fn reopened(bytes: Vec<u8>) -> Result<Contents, String> {
    let storage = RedbStorage::with_backend("medium", medium(bytes));
    let storage = storage.map_err(|error| error.to_string())?;
    Ok(contents(&storage))
}

/// Every so many bytes, one bit of a byte that was ever written.
fn flips(bytes: &[u8], stride: usize) -> impl Iterator<Item = Vec<u8>> {
    let written = (0..bytes.len()).filter(|place| bytes[*place] != 0);
    written.step_by(stride).enumerate().map(|(number, place)| {
        let mut flipped = bytes.to_vec();
        flipped[place] ^= 1 << (number % 8);
        flipped
    })
}

#[test]
fn a_flipped_bit_is_noticed_or_does_no_harm() {
    let (disk, medium, [before, after]) = written(30);
    let crashed = medium.0.lock().unwrap().synced.clone();
    drop(disk);
    let closed = medium.0.lock().unwrap().synced.clone();
    assert_eq!(reopened(closed.clone()).as_ref(), Ok(&after));
    assert_eq!(reopened(crashed.clone()).as_ref(), Ok(&after));
    let mut noticed = 0;
    for flipped in flips(&closed, 41) {
        match reopened(flipped) {
            Ok(found) => assert!(found == after, "a bit has changed what was stored"),
            Err(error) => {
                assert!(error.contains("medium: "), "{error}");
                noticed += 1;
            }
        }
    }
    assert!(noticed > 0, "no flip hit anything");
    // After a crash, the last batch may be torn, and nobody can tell that from a flipped bit.
    for flipped in flips(&crashed, 41) {
        if let Ok(found) = reopened(flipped) {
            assert!(
                found == after || found == before,
                "a bit has changed what was stored"
            );
        }
    }
}

#[test]
fn a_file_cut_short_is_noticed() {
    let (disk, medium, [_, after]) = written(30);
    drop(disk);
    let closed = medium.0.lock().unwrap().synced.clone();
    for length in (1..closed.len()).step_by(closed.len() / 60) {
        match reopened(closed[..length].to_vec()) {
            Ok(found) => assert!(found == after, "{length} bytes show something else"),
            Err(error) => assert!(error.contains("medium: "), "{error}"),
        }
    }
}
