//! The database file of a member, changed somewhere.

use std::io;
use std::sync::{Arc, LazyLock, Mutex, Once, PoisonError};

use redb::StorageBackend;
use store::codec::Names;
use store::entry;
use store::load;
use store::storage::{
    Batch, EntryKind, HardState, Identity, LogEntry, LogPosition, Membership, RedbStorage, RowKey,
    Storage,
};
use uuid::Uuid;

use crate::sample;

/// The name that messages should have.
const NAME: &str = "the file";

/// A member's file, as a clean end of the process leaves it.
static FILE: LazyLock<Vec<u8>> = LazyLock::new(write_file);

/// Changes of the file: the first byte is the kind of change, then come places and bytes. Opening
/// it finds everything as it was, or says what is wrong with which file.
pub fn database_file(input: &[u8]) {
    static QUIET: Once = Once::new();
    // The opener catches panics of redb, so libFuzzer must not end the process at the first word.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))));
    let mut bytes = FILE.clone();
    let Some((&kind, changes)) = input.split_first() else {
        return;
    };
    for change in changes.chunks_exact(5) {
        let place = u32::from_le_bytes([change[0], change[1], change[2], change[3]]) as usize;
        let place = place % bytes.len().max(1);
        match kind % 4 {
            // Bits are flipped.
            0 | 1 => bytes[place] ^= change[4],
            // A sector reads as zeros.
            2 => {
                let end = (place + 512).min(bytes.len());
                bytes[place..end].fill(0);
            }
            // The rest is missing.
            _ => bytes.truncate(place),
        }
        if bytes.is_empty() {
            return;
        }
    }
    let changed = bytes != *FILE;
    match open(bytes) {
        Ok(rows) => assert_eq!(rows, sample::rows(&sample::database())),
        Err(error) => {
            assert!(changed, "{error}");
            assert!(error.contains(NAME), "{error}");
        }
    }
}

type Rows = Vec<(usize, Uuid, Arc<ovsdb::Row>)>;

fn open(bytes: Vec<u8>) -> Result<Rows, String> {
    let medium = Medium(Arc::new(Mutex::new(bytes)));
    let mut storage = RedbStorage::with_backend(NAME, medium).map_err(|error| error.to_string())?;
    let loaded = load::load(&mut storage, sample::schema(), Uuid::nil(), Uuid::nil());
    let loaded = loaded.map_err(|error| error.to_string())?;
    let database = loaded.database;
    database
        .check_invariants()
        .expect("what is loaded is sound");
    Ok(sample::rows(&database))
}

fn write_file() -> Vec<u8> {
    let medium = Medium::default();
    let mut storage =
        RedbStorage::with_backend(NAME, medium.clone()).expect("memory can be written");
    let identity = Identity {
        database: sample::schema().name.to_string(),
        cluster: Uuid::from_u128(1),
        server: Uuid::from_u128(2),
        member: 1,
    };
    let membership = Membership {
        voters: vec![1],
        ..Membership::default()
    };
    let created = storage.create(&identity, &membership);
    created.expect("memory can be written");
    let mut names = Names::default();
    let rows = sample::rows(&sample::database());
    let rows = rows.into_iter().map(|(table, uuid, row)| {
        let schema = &sample::schema().tables[table];
        let table = names.number(&schema.name);
        let value = entry::encode_row(&mut names, schema, &row);
        (RowKey { table, uuid }, Some(value))
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|(key, _)| *key);
    let position = |index| LogPosition { index, term: 1 };
    let entries = (1..=3).map(|index| LogEntry {
        position: position(index),
        kind: EntryKind::Normal,
        context: Default::default(),
        data: Default::default(),
    });
    let names = names.since(0).iter().map(ToString::to_string).collect();
    let batch = Batch {
        entries: entries.collect(),
        hard_state: Some(HardState {
            term: 1,
            vote: 1,
            commit: 3,
        }),
        applied: Some(position(3)),
        rows,
        names: (0, names),
        ..Batch::default()
    };
    storage.write(&batch).expect("memory can be written");
    drop(storage);
    medium.bytes().clone()
}

/// Memory in the place of a file. Clones share it.
#[derive(Clone, Debug, Default)]
struct Medium(Arc<Mutex<Vec<u8>>>);

impl Medium {
    fn bytes(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(out.len());
        let piece = end.and_then(|end| bytes.get(start..end));
        out.copy_from_slice(piece.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        // A length that no file of this test can have is one that a damaged file asks for.
        if len > 64 << 20 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes().resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.bytes();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(data.len()).filter(|end| *end <= 64 << 20);
        let end = end.ok_or(io::ErrorKind::StorageFull)?;
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(data);
        Ok(())
    }
}
