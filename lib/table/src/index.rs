//! An index of a table's rows by the contents of some columns.
//!
//! It keeps hashes of contents, not contents: 24 bytes a row whatever the columns hold. A lookup therefore yields
//! candidates, and the caller compares. Several rows may have equal contents, also for an index that the schema calls
//! unique: within a transaction that is allowed, and uniqueness is checked when it ends.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound::{Excluded, Included};

use ovsdb::{Datum, Row, Uuid};

/// An index over one or more columns.
#[derive(Debug)]
pub(crate) struct Index {
    columns: Box<[usize]>,
    entries: BTreeSet<(u64, Uuid)>,
}

impl Index {
    /// An empty index over these columns.
    pub(crate) fn new(columns: impl Into<Box<[usize]>>) -> Self {
        Self {
            columns: columns.into(),
            entries: BTreeSet::new(),
        }
    }

    /// The columns, in the order in which the schema names them.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Makes it anew, of these rows.
    pub(crate) fn fill<'r>(&mut self, rows: impl Iterator<Item = (Uuid, &'r Row)>) {
        let entries = rows.map(|(uuid, row)| (self.hash_of(row), uuid));
        self.entries = entries.collect();
    }

    /// Adds a row.
    pub(crate) fn insert(&mut self, uuid: Uuid, row: &Row) {
        self.entries.insert((self.hash_of(row), uuid));
    }

    /// Removes a row that was added with these contents.
    pub(crate) fn remove(&mut self, uuid: Uuid, row: &Row) {
        self.entries.remove(&(self.hash_of(row), uuid));
    }

    /// Rows that may have the contents of `row` in the index's columns, among them all that do.
    pub(crate) fn like(&self, row: &Row) -> impl Iterator<Item = Uuid> + '_ {
        self.with_hash(self.hash_of(row))
    }

    /// Rows that may have these contents in the index's columns, among them all that do.
    pub(crate) fn candidates<'d>(
        &self,
        contents: impl IntoIterator<Item = &'d Datum>,
    ) -> impl Iterator<Item = Uuid> + '_ {
        self.with_hash(hash(contents))
    }

    /// Whether two rows differ in a column of the index.
    pub(crate) fn differ(&self, a: &Row, b: &Row) -> bool {
        self.columns.iter().any(|&c| a.get(c) != b.get(c))
    }

    /// How many rows it has.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has the row with these contents.
    pub(crate) fn has(&self, uuid: Uuid, row: &Row) -> bool {
        self.entries.contains(&(self.hash_of(row), uuid))
    }

    /// The same, but for those up to `after`.
    pub(crate) fn candidates_after<'d>(
        &self,
        contents: impl IntoIterator<Item = &'d Datum>,
        after: Option<Uuid>,
    ) -> impl Iterator<Item = Uuid> + '_ {
        let hash = hash(contents);
        let start = match after {
            None => Included((hash, Uuid::nil())),
            Some(uuid) => Excluded((hash, uuid)),
        };
        let entries = self.entries.range((start, Included((hash, Uuid::max()))));
        entries.map(|&(_, uuid)| uuid)
    }

    fn with_hash(&self, hash: u64) -> impl Iterator<Item = Uuid> + '_ {
        self.entries
            .range((hash, Uuid::nil())..=(hash, Uuid::max()))
            .map(|&(_, uuid)| uuid)
    }

    fn hash_of(&self, row: &Row) -> u64 {
        hash(self.columns.iter().map(|&column| row.get(column)))
    }
}

/// An index that does not have all rows yet.
#[derive(Debug)]
pub(crate) struct Growing {
    pub(crate) index: Index,
    /// It has the rows up to this one.
    pub(crate) up_to: Option<Uuid>,
}

impl Growing {
    /// The index, if it has got as far as this row.
    pub(crate) fn covering(&mut self, uuid: Uuid) -> Option<&mut Index> {
        let covered = self.up_to.is_some_and(|up_to| uuid <= up_to);
        covered.then_some(&mut self.index)
    }
}

/// The same on every machine, and hard to steer: names come from users.
fn hash<'d>(contents: impl IntoIterator<Item = &'d Datum>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for datum in contents {
        datum.hash(&mut hasher);
    }
    hasher.finish()
}
