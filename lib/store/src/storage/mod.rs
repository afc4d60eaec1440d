//! What a member keeps on disk: its identity, the Raft log and hard state, and the applied rows.
//!
//! The rest of the store sees the disk only through the trait [`Storage`], so that tests can put
//! a disk of their own underneath. There is one writer, and one verb, [`Storage::write`]: a
//! [`Batch`] becomes durable as a whole or not at all, and it is durable when the call returns.
//!
//! Invariants that hold in what [`Storage::load`] returns:
//!
//! * the log has no holes: it covers `(truncated, last]`, and `truncated ≤ applied ≤ commit ≤ last`;
//! * the rows contain the effect of the log up to `applied`, and `membership` that of the log up to
//!   its `since`, or more: the log is gone over from there.

mod encoding;
mod fuse;
mod journal;
mod memory;
mod read_ahead;
mod redb;

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;
use uuid::Uuid;

pub use self::fuse::Fuse;
pub use self::memory::MemoryStorage;
pub use self::redb::{FILE_NAME, REPLACED_NAME, RedbStorage, UNFINISHED_NAME};

/// One member's durable state.
pub trait Storage: Send + fmt::Debug {
    /// Reads everything but the rows; `None` if nothing was ever created here.
    fn load(&self) -> Result<Option<State>, StorageError>;

    /// Writes the state of a new member: an empty log and no rows.
    fn create(&mut self, identity: &Identity, membership: &Membership) -> Result<(), StorageError>;

    /// Visits every applied row, in the order of the keys. An error of the visitor ends the visit
    /// and is reported as damage of the row.
    fn rows(&self, visit: &mut RowVisitor<'_>) -> Result<(), StorageError>;

    /// Makes a batch durable.
    fn write(&mut self, batch: &Batch) -> Result<(), StorageError>;

    /// The file in which all of it is, if there is one.
    fn file(&self) -> Option<PathBuf> {
        None
    }
}

/// Receives one applied row: its key and its encoded value. The error says what is wrong with it.
pub type RowVisitor<'a> = dyn FnMut(RowKey, &[u8]) -> Result<(), String> + 'a;

/// Who a member is. Written once, never changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The name of the database, such as `OVN_Northbound`.
    pub database: String,
    /// The cluster; members of another are refused.
    pub cluster: Uuid,
    /// This member, unique among all that ever were.
    pub server: Uuid,
    /// This member's number in the cluster, from 1.
    pub member: u64,
}

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct LogPosition {
    /// The index of the entry; the first is 1, and 0 is before the first.
    pub index: u64,
    /// The term in which the entry was proposed.
    pub term: u64,
}

/// Raft's persistent variables.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HardState {
    /// The latest term that this member has seen.
    pub term: u64,
    /// The member that it voted for in this term; 0 means none.
    pub vote: u64,
    /// The newest index known to be committed.
    pub commit: u64,
}

/// The members of the cluster, in the form of joint consensus.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Membership {
    /// Members who vote.
    pub voters: Vec<u64>,
    /// Members who only follow.
    pub learners: Vec<u64>,
    /// While joint: the voters before the change.
    pub voters_outgoing: Vec<u64>,
    /// While joint: who becomes a learner when it ends.
    pub learners_next: Vec<u64>,
    /// Whether the joint phase ends by itself.
    pub auto_leave: bool,
    /// The log index of the change that made them the members; 0 for those of the beginning.
    pub since: u64,
    /// Where members are reached, as `HOST:PORT`, as far as it is known.
    pub addresses: Vec<(u64, String)>,
    /// Which server each member is ([`Identity::server`]), as far as it is known. A member that
    /// lost its disk is another server, and must not speak for the one that it was.
    pub servers: Vec<(u64, Uuid)>,
}

impl Membership {
    /// Whether a member votes or learns, now or at the end of a joint change.
    pub fn contains(&self, member: u64) -> bool {
        let lists = [
            &self.voters,
            &self.learners,
            &self.voters_outgoing,
            &self.learners_next,
        ];
        lists.into_iter().any(|list| list.contains(&member))
    }

    /// Where a member is reached.
    pub fn address(&self, member: u64) -> Option<&str> {
        let mut addresses = self.addresses.iter();
        let found = addresses.find(|(of, _)| *of == member);
        found.map(|(_, address)| address.as_str())
    }

    /// Which server a member is.
    pub fn server(&self, member: u64) -> Option<Uuid> {
        let mut servers = self.servers.iter();
        servers.find(|(of, _)| *of == member).map(|(_, uuid)| *uuid)
    }
}

/// What a log entry is to Raft.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EntryKind {
    /// A change of the data; without any bytes it only marks the start of a term.
    Normal,
    /// A change of one member.
    ConfChange,
    /// A joint change.
    ConfChangeV2,
}

/// One entry of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogEntry {
    /// Where it stands.
    pub position: LogPosition,
    /// What it is to Raft.
    pub kind: EntryKind,
    /// The proposer's mark, by which it recognises its own entries.
    pub context: Bytes,
    /// The payload.
    pub data: Bytes,
}

/// The key of an applied row: the number of its table's name in the dictionary, and its UUID.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RowKey {
    /// Index into [`State::names`].
    pub table: u32,
    /// The row.
    pub uuid: Uuid,
}

/// Everything durable, except for the rows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct State {
    /// Who this member is.
    pub identity: Identity,
    /// Raft's persistent variables.
    pub hard_state: HardState,
    /// The members as of their `since`.
    pub membership: Membership,
    /// Up to where the rows contain the log.
    pub applied: LogPosition,
    /// Up to where the log was forgotten.
    pub truncated: LogPosition,
    /// The log after `truncated`.
    pub entries: Vec<LogEntry>,
    /// The dictionary of table and column names that the rows use.
    pub names: Vec<String>,
}

impl State {
    /// What the parts of the state say that cannot be together, if they do.
    pub fn contradiction(&self) -> Option<String> {
        let truncated = self.truncated.index;
        let (applied, commit) = (self.applied.index, self.hard_state.commit);
        let last = truncated + self.entries.len() as u64;
        let positions = self.entries.iter().map(|entry| entry.position.index);
        let mut places = (truncated + 1..).zip(positions);
        if let Some((_, index)) = places.find(|(expected, index)| expected != index) {
            return Some(format!(
                "the log after {truncated} has a hole before entry {index}"
            ));
        }
        let fits = truncated <= applied && applied <= commit && commit <= last;
        (!fits).then(|| {
            format!(
                "the log covers {} to {last}, but {applied} is applied and {commit} committed",
                truncated + 1,
            )
        })
    }
}

/// A change that becomes durable as one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Batch {
    /// First of all, forget the log and all rows: a snapshot takes their place. `truncate` and
    /// `applied` say where it stands.
    pub clear: bool,
    /// Consecutive; they replace whatever the log has from the first one's index on.
    pub entries: Vec<LogEntry>,
    /// New values of Raft's variables.
    pub hard_state: Option<HardState>,
    /// New members; goes ahead of the rows, and not later than the commit index.
    pub membership: Option<Membership>,
    /// Up to where `rows` contains the log.
    pub applied: Option<LogPosition>,
    /// Rows to write, or to remove where there is no value. A key stands here at most once.
    pub rows: Vec<(RowKey, Option<Vec<u8>>)>,
    /// New names for the end of the dictionary: the number of the first, and the names.
    pub names: (u32, Vec<String>),
    /// Forget the log up to and including this place, which is applied.
    pub truncate: Option<LogPosition>,
}

impl Batch {
    /// Whether writing it would change nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why the disk did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another process has the file.
    #[error(
        "{path}: in use by another process; stop that server, or give this one a --data-dir of \
         its own"
    )]
    InUse {
        /// The file.
        path: String,
    },
    /// The file is there, but it is no file of ours, or of a format that we do not know.
    #[error("{path}: {reason}")]
    Foreign {
        /// The file.
        path: String,
        /// What it is instead.
        reason: String,
    },
    /// The operating system refused.
    #[error("{path}: {action}: {reason}")]
    Io {
        /// The file.
        path: String,
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        reason: String,
    },
    /// A write has failed, so that nothing more is written.
    #[error("nothing more is written after this failure: {0}")]
    Failed(String),
    /// Something in the file cannot be: a part of the disk was lost or changed.
    #[error("{path}: damaged: {what}; restore it from a backup or another member")]
    Damaged {
        /// The file.
        path: String,
        /// The place and what is wrong with it.
        what: String,
    },
}
