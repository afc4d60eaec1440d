//! The durable state in one file: a journal, and after it a redb database.
//!
//! What most flushes bring is a few entries of the log, and for those the journal is enough: one
//! page, where redb writes eight. Everything else goes to the database, with all that stands in the
//! journal before it, and the journal begins anew ([`super::journal`] says what it looks like).
//! After a crash, what stands in the journal is written to the database when the file is opened.
//!
//! The database has four tables. Numbers are little-endian unless said otherwise; a *string* is its UTF-8 bytes.
//!
//! | redb table | key | value |
//! | --- | --- | --- |
//! | `meta` | string | see below |
//! | `log` | index: u64 | `term: u64`, `kind: u8` (0 normal, 1 conf change, 2 conf change v2), `context length: u32`, context, payload |
//! | `names` | number: u32 | string: a table's or a column's name |
//! | `rows` | `name of the table: u32 big-endian`, 16 bytes of UUID | the row, encoded by [`crate::codec`] |
//!
//! | key in `meta` | value |
//! | --- | --- |
//! | `format` | u32: [`FORMAT`]; a file with another one is refused |
//! | `database` | string |
//! | `cluster` | 16 bytes of UUID |
//! | `server` | 16 bytes of UUID |
//! | `member` | u64 |
//! | `hard_state` | `term: u64`, `vote: u64`, `commit: u64` |
//! | `membership` | `auto leave: u8`, then voters, learners, outgoing voters, next learners, each `count: u32` and as many u64; then, unless the value ends here, `since: u64` and the addresses: `count: u32` and as many of `member: u64`, `length: u32`, string; then, unless the value ends here, the servers: `count: u32` and as many of `member: u64`, 16 bytes of UUID |
//! | `journal` | `generation: u64`, `open: u8`: records of this generation belong to the database if it is open |
//! | `applied` | `index: u64`, `term: u64` |
//! | `truncated` | `index: u64`, `term: u64` |
//!
//! A batch is one redb transaction, committed with `Durability::Immediate`: one flush, after
//! which the commit slot on disk points to the new trees. A crash at any moment leaves either the
//! old trees or the new ones; checksums tell a torn commit slot from a whole one.
//!
//! Every page is held against its checksum when the file is opened: after a crash by redb itself,
//! and else because we ask for it. So whatever has become of a file while nobody had it open is
//! noticed before anything is read from it. One thing cannot be: after a crash, a flipped bit in the
//! pages of the last batch looks like a batch that was not finished, and is taken back as one.

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fmt, fs};

use ::redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageBackend,
    TableDefinition, TableError, TransactionError, backends::FileBackend,
};
use uuid::Uuid;

use super::encoding::{
    ROW_KEY_BYTES, Reader, decode_entry, decode_hard_state, decode_membership, decode_row_key,
    encode_entry, encode_hard_state, encode_membership, encode_position, encode_row_key,
};
use super::journal::{self, Journal, JournalError};
use super::read_ahead::ReadAhead;
use super::{
    Batch, HardState, Identity, LogEntry, LogPosition, Membership, RowVisitor, State, Storage,
    StorageError,
};

/// The name of the file in a member's data directory.
pub const FILE_NAME: &str = "weft.redb";

/// What `force-new` leaves of the file that was there.
pub const REPLACED_NAME: &str = "weft.redb.replaced";

/// Where a directory is made before it is moved into its place.
pub const UNFINISHED_NAME: &str = "unfinished";

/// The version of the layout above.
const FORMAT: u32 = 2;

/// Memory for redb's page cache. The rows are also in memory, as the live database, so that only
/// the paths of the trees that change want to be here; what else is read is read once.
const CACHE_BYTES: usize = 8 << 20;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const NAMES: TableDefinition<'_, u32, &str> = TableDefinition::new("names");
const ROWS: TableDefinition<'_, &[u8; ROW_KEY_BYTES], &[u8]> = TableDefinition::new("rows");

/// [`Storage`] in a redb file.
pub struct RedbStorage {
    database: Database,
    journal: Journal,
    path: String,
}

impl fmt::Debug for RedbStorage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RedbStorage({})", self.path)
    }
}

impl RedbStorage {
    /// Opens the file in a data directory, creating both if they are missing. While it is open,
    /// no other process can open it.
    pub fn open(directory: &Path) -> Result<Self, StorageError> {
        let path = directory.join(FILE_NAME);
        fs::create_dir_all(directory).map_err(|error| StorageError::Io {
            path: directory.display().to_string(),
            action: "create the data directory",
            reason: error.to_string(),
        })?;
        if fs::metadata(&path).is_ok_and(|file| file.len() == 0) {
            return Err(StorageError::Damaged {
                path: path.display().to_string(),
                what: "it is empty, as no server leaves it (if none has ever served from here, \
                       delete it)"
                    .to_owned(),
            });
        }
        let is_new = !path.exists();
        if is_new
            && directory.join(REPLACED_NAME).exists()
            && directory.join(UNFINISHED_NAME).join(FILE_NAME).exists()
        {
            return Err(StorageError::Damaged {
                path: path.display().to_string(),
                what: format!(
                    "it is missing, and {REPLACED_NAME} and {UNFINISHED_NAME} are there: it was about to \
                     be replaced (to go on with the former one, give it its name back; to begin \
                     anew, delete both)"
                ),
            });
        }
        let _ahead = ReadAhead::of(&path);
        let file = fs::File::options();
        let file = file
            .clone()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let name = path.display().to_string();
        let opening = |reason: String| StorageError::Io {
            path: name.clone(),
            action: "open the database file",
            reason,
        };
        let file = file.map_err(|error| opening(error.to_string()))?;
        let backend = FileBackend::new(file).map_err(|error| opening(error.to_string()))?;
        let storage = Self::with_backend(&name, backend)?;
        if is_new {
            flush_entries(directory).map_err(|error| opening(error.to_string()))?;
        }
        Ok(storage)
    }

    /// Reads the whole file and compares it with its checksums. False if something had to be mended, as after a crash:
    /// what was committed is whole then.
    pub fn check_integrity(&mut self) -> Result<bool, StorageError> {
        let checked = self.database.check_integrity();
        checked.map_err(|error| match error {
            DatabaseError::Storage(::redb::StorageError::Corrupted(what)) => self.damaged(what),
            other => StorageError::Io {
                path: self.path.clone(),
                action: "check the database file",
                reason: other.to_string(),
            },
        })
    }

    /// Opens a storage on any medium. `name` stands for it in messages.
    pub fn with_backend(name: &str, backend: impl StorageBackend) -> Result<Self, StorageError> {
        let path = name.to_owned();
        let damaged = |what: &str| StorageError::Damaged {
            path: path.clone(),
            what: what.to_owned(),
        };
        let medium: Arc<dyn StorageBackend> = Arc::new(backend);
        let journal_error = |error: JournalError| error.into_storage(&path);
        let is_new = journal::examine(&*medium).map_err(journal_error)?;
        // redb trusts some of what it reads before it has checked it, and panics if that makes no
        // sense. Nothing of what it made by then is used.
        let rest = journal::Rest(medium.clone());
        let opened = panic::catch_unwind(AssertUnwindSafe(|| open_checked(rest)));
        let database = match opened {
            Ok(Ok(Some(database))) => database,
            Ok(Ok(None)) => return Err(damaged("its pages do not match their checksums")),
            Ok(Err(error)) => return Err(open_error(&path, &error)),
            Err(_) => return Err(damaged("its pages make no sense")),
        };
        let mut storage = Self {
            database,
            journal: Journal::new(medium),
            path: path.clone(),
        };
        let found = storage.journal_of_database()?;
        if is_new {
            if found.is_some() {
                return Err(storage.damaged("its first page is gone"));
            }
            storage.journal.format().map_err(journal_error)?;
        }
        let (generation, is_open) = found.unwrap_or_default();
        storage
            .journal
            .found(generation, is_open)
            .map_err(journal_error)?;
        if storage.journal.has_news() {
            storage.settle(None, false)?;
        }
        Ok(storage)
    }

    /// Which records of the journal belong to the database: their generation, and whether there
    /// may be any. Nothing if it has never been written.
    fn journal_of_database(&self) -> Result<Option<(u64, bool)>, StorageError> {
        let reading = |error: ::redb::Error| self.io("read the state", &error);
        let transaction = self.database.begin_read();
        let transaction = transaction.map_err(|e: TransactionError| reading(e.into()))?;
        let meta = match transaction.open_table(META) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(reading(error.into())),
        };
        let Some(value) = meta.get("journal").map_err(|e| reading(e.into()))? else {
            return Ok(Some((0, false)));
        };
        let mut reader = Reader(value.value());
        let found = (|| Some((reader.u64()?, reader.u8()? != 0)))();
        let found = found.ok_or_else(|| self.damaged("the field `journal` makes no sense"))?;
        Ok(Some(found))
    }

    /// Writes what the journal has, and a batch, to the database; the journal begins anew. `open`
    /// says whether records may follow.
    fn settle(&mut self, batch: Option<&Batch>, open: bool) -> Result<(), StorageError> {
        let generation = self.journal.generation() + 1;
        let news = self.journal.news();
        let written = self.transaction("write to the database", |transaction| {
            write_log(transaction, news)?;
            write_meta(transaction, news)?;
            if let Some(batch) = batch {
                if batch.clear {
                    transaction.delete_table(LOG)?;
                    transaction.delete_table(ROWS)?;
                    transaction.open_table(LOG)?;
                    transaction.open_table(ROWS)?;
                }
                write_log(transaction, batch)?;
                write_rows(transaction, batch)?;
                write_meta(transaction, batch)?;
            }
            let mut value = generation.to_le_bytes().to_vec();
            value.push(u8::from(open));
            let mut meta = transaction.open_table(META)?;
            meta.insert("journal", &value[..])?;
            Ok(())
        });
        match written {
            Ok(()) => self.journal.begin(generation, open),
            Err(_) => self.journal.fail(),
        }
        written
    }

    fn transaction<T>(
        &self,
        action: &'static str,
        body: impl FnOnce(&::redb::WriteTransaction) -> Result<T, ::redb::Error>,
    ) -> Result<T, StorageError> {
        let run = || -> Result<T, ::redb::Error> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            let value = body(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|error| self.io(action, &error))
    }

    fn io(&self, action: &'static str, error: &::redb::Error) -> StorageError {
        if let ::redb::Error::Corrupted(what) = error {
            return self.damaged(what.clone());
        }
        StorageError::Io {
            path: self.path.clone(),
            action,
            reason: error.to_string(),
        }
    }

    fn damaged(&self, what: impl Into<String>) -> StorageError {
        StorageError::Damaged {
            path: self.path.clone(),
            what: what.into(),
        }
    }

    fn load_log(
        &self,
        transaction: &::redb::ReadTransaction,
        truncated: LogPosition,
    ) -> Result<Vec<LogEntry>, StorageError> {
        let reading = |error: ::redb::Error| self.io("read the log", &error);
        let table = transaction.open_table(LOG).map_err(|e| reading(e.into()))?;
        let mut entries = Vec::new();
        for item in table.iter().map_err(|e| reading(e.into()))? {
            let (key, value) = item.map_err(|e| reading(e.into()))?;
            let index = key.value();
            if index != truncated.index + 1 + entries.len() as u64 {
                return Err(self.damaged(format!(
                    "the log after {} has a hole before entry {index}",
                    truncated.index
                )));
            }
            let entry = decode_entry(index, value.value())
                .ok_or_else(|| self.damaged(format!("log entry {index} is cut short")))?;
            entries.push(entry);
        }
        Ok(entries)
    }

    fn load_names(
        &self,
        transaction: &::redb::ReadTransaction,
    ) -> Result<Vec<String>, StorageError> {
        let reading = |error: ::redb::Error| self.io("read the names", &error);
        let table = transaction
            .open_table(NAMES)
            .map_err(|e| reading(e.into()))?;
        let mut names = Vec::new();
        for item in table.iter().map_err(|e| reading(e.into()))? {
            let (key, value) = item.map_err(|e| reading(e.into()))?;
            if key.value() as usize != names.len() {
                return Err(self.damaged(format!("name {} is missing", names.len())));
            }
            names.push(value.value().to_owned());
        }
        Ok(names)
    }
}

impl Storage for RedbStorage {
    fn load(&self) -> Result<Option<State>, StorageError> {
        let reading = |error: ::redb::Error| self.io("read the state", &error);
        let transaction = self
            .database
            .begin_read()
            .map_err(|e: TransactionError| reading(e.into()))?;
        let meta = match transaction.open_table(META) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(reading(error.into())),
        };
        let field = |key: &str| -> Result<Vec<u8>, StorageError> {
            match meta.get(key).map_err(|e| reading(e.into()))? {
                Some(value) => Ok(value.value().to_vec()),
                None => Err(self.damaged(format!("the field `{key}` is missing"))),
            }
        };
        let bad = |key: &str| self.damaged(format!("the field `{key}` makes no sense"));

        let format = field("format")?;
        let format = Reader(&format).u32().ok_or_else(|| bad("format"))?;
        if format != FORMAT {
            return Err(StorageError::Foreign {
                path: self.path.clone(),
                reason: format!(
                    "written in format {format}, but this server knows format {FORMAT} only"
                ),
            });
        }
        let uuid = |key: &str| -> Result<Uuid, StorageError> {
            Uuid::from_slice(&field(key)?).map_err(|_| bad(key))
        };
        let position = |key: &str| -> Result<LogPosition, StorageError> {
            Reader(&field(key)?).position().ok_or_else(|| bad(key))
        };
        let identity = Identity {
            database: String::from_utf8(field("database")?).map_err(|_| bad("database"))?,
            cluster: uuid("cluster")?,
            server: uuid("server")?,
            member: Reader(&field("member")?)
                .u64()
                .ok_or_else(|| bad("member"))?,
        };
        let truncated = position("truncated")?;
        let news = self.journal.news();
        let mut entries = self.load_log(&transaction, truncated)?;
        if let Some(first) = news.entries.first() {
            entries.retain(|entry| entry.position.index < first.position.index);
            entries.extend_from_slice(&news.entries);
        }
        let hard_state = decode_hard_state(&field("hard_state")?);
        let state = State {
            identity,
            hard_state: news
                .hard_state
                .or(hard_state)
                .ok_or_else(|| bad("hard_state"))?,
            membership: decode_membership(&field("membership")?)
                .ok_or_else(|| bad("membership"))?,
            applied: position("applied")?,
            truncated,
            entries,
            names: self.load_names(&transaction)?,
        };
        match state.contradiction() {
            Some(what) => Err(self.damaged(what)),
            None => Ok(Some(state)),
        }
    }

    fn create(&mut self, identity: &Identity, membership: &Membership) -> Result<(), StorageError> {
        self.transaction("create the database", |transaction| {
            let mut meta = transaction.open_table(META)?;
            let start = encode_position(LogPosition::default());
            meta.insert("format", &FORMAT.to_le_bytes()[..])?;
            meta.insert("database", identity.database.as_bytes())?;
            meta.insert("cluster", &identity.cluster.as_bytes()[..])?;
            meta.insert("server", &identity.server.as_bytes()[..])?;
            meta.insert("member", &identity.member.to_le_bytes()[..])?;
            meta.insert("hard_state", &encode_hard_state(HardState::default())[..])?;
            meta.insert("membership", &encode_membership(membership)[..])?;
            meta.insert("applied", &start[..])?;
            meta.insert("truncated", &start[..])?;
            transaction.open_table(LOG)?;
            transaction.open_table(NAMES)?;
            transaction.open_table(ROWS)?;
            Ok(())
        })
    }

    fn rows(&self, visit: &mut RowVisitor<'_>) -> Result<(), StorageError> {
        let reading = |error: ::redb::Error| self.io("read the rows", &error);
        let transaction = self
            .database
            .begin_read()
            .map_err(|e: TransactionError| reading(e.into()))?;
        let table = match transaction.open_table(ROWS) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            Err(error) => return Err(reading(error.into())),
        };
        for item in table.iter().map_err(|e| reading(e.into()))? {
            let (key, value) = item.map_err(|e| reading(e.into()))?;
            let key = decode_row_key(key.value());
            visit(key, value.value())
                .map_err(|error| self.damaged(format!("row {}: {error}", key.uuid)))?;
        }
        Ok(())
    }

    fn file(&self) -> Option<PathBuf> {
        Some(PathBuf::from(&self.path))
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        if self.journal.takes(batch) {
            let written = self.journal.append(batch);
            return written.map_err(|error| error.into_storage(&self.path));
        }
        self.settle(Some(batch), true)
    }
}

impl Drop for RedbStorage {
    fn drop(&mut self) {
        // If it fails, the journal is read at the next start, as after a crash.
        if self.journal.is_open() {
            let _ = self.settle(None, false);
        }
    }
}

/// Sees to it that a new file, and the directory that it is in, are found again after a crash.
fn flush_entries(directory: &Path) -> std::io::Result<()> {
    fs::File::open(directory)?.sync_all()?;
    let directory = directory.canonicalize()?;
    let above = directory
        .parent()
        .map_or(Ok(()), |above| fs::File::open(above)?.sync_all());
    match above {
        // Who may not read it has not made the directory.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        flushed => flushed,
    }
}

/// Opens a database and sees to it that all of it is checked; nothing, if it is not as it was left.
fn open_checked(backend: impl StorageBackend) -> Result<Option<Database>, DatabaseError> {
    let after_crash = Arc::new(AtomicBool::new(false));
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    let repaired = after_crash.clone();
    builder.set_repair_callback(move |_| repaired.store(true, Ordering::Relaxed));
    let mut database = builder.create_with_backend(backend)?;
    // A repair has gone over everything.
    let whole = after_crash.load(Ordering::Relaxed) || database.check_integrity()?;
    Ok(whole.then_some(database))
}

fn write_log(transaction: &::redb::WriteTransaction, batch: &Batch) -> Result<(), ::redb::Error> {
    if batch.entries.is_empty() && batch.truncate.is_none() {
        return Ok(());
    }
    let mut log = transaction.open_table(LOG)?;
    if let Some(first) = batch.entries.first() {
        let last = log.last()?.map_or(0, |(key, _)| key.value());
        if last >= first.position.index {
            log.retain_in(first.position.index.., |_, _| false)?;
        }
    }
    let mut bytes = Vec::new();
    for entry in &batch.entries {
        encode_entry(entry, &mut bytes);
        log.insert(entry.position.index, &bytes[..])?;
    }
    if let Some(position) = batch.truncate {
        log.retain_in(..=position.index, |_, _| false)?;
    }
    Ok(())
}

fn write_rows(transaction: &::redb::WriteTransaction, batch: &Batch) -> Result<(), ::redb::Error> {
    let (first, names) = &batch.names;
    if !names.is_empty() {
        let mut table = transaction.open_table(NAMES)?;
        for (number, name) in (*first..).zip(names) {
            table.insert(number, name.as_str())?;
        }
    }
    if !batch.rows.is_empty() {
        let mut table = transaction.open_table(ROWS)?;
        for (key, value) in &batch.rows {
            let key = encode_row_key(*key);
            match value {
                Some(value) => drop(table.insert(&key, &value[..])?),
                None => drop(table.remove(&key)?),
            }
        }
    }
    Ok(())
}

fn write_meta(transaction: &::redb::WriteTransaction, batch: &Batch) -> Result<(), ::redb::Error> {
    let mut meta = transaction.open_table(META)?;
    if let Some(hard_state) = batch.hard_state {
        meta.insert("hard_state", &encode_hard_state(hard_state)[..])?;
    }
    if let Some(membership) = &batch.membership {
        meta.insert("membership", &encode_membership(membership)[..])?;
    }
    if let Some(applied) = batch.applied {
        meta.insert("applied", &encode_position(applied)[..])?;
    }
    if let Some(truncated) = batch.truncate {
        meta.insert("truncated", &encode_position(truncated)[..])?;
    }
    Ok(())
}

fn open_error(path: &str, error: &DatabaseError) -> StorageError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => StorageError::InUse { path },
        DatabaseError::UpgradeRequired(version) => StorageError::Foreign {
            path,
            reason: format!("a redb file of version {version}, which this server cannot read"),
        },
        DatabaseError::Storage(::redb::StorageError::Corrupted(what)) => StorageError::Damaged {
            path,
            what: what.clone(),
        },
        DatabaseError::Storage(::redb::StorageError::Io(io))
            if io.kind() == std::io::ErrorKind::InvalidData =>
        {
            StorageError::Foreign {
                path,
                reason: format!("not a database file of Weft ({io})"),
            }
        }
        other => StorageError::Io {
            path,
            action: "open the database file",
            reason: other.to_string(),
        },
    }
}
