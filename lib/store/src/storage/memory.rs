//! The durable state in memory: a disk for tests that want to be fast, and that decide themselves
//! what survives.
//!
//! Clones share one disk. A simulated crash is dropping the store and opening another one on a
//! clone; what [`MemoryStorage::fail_after`] cut off is then missing, as it would be on a disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Batch, Identity, Membership, RowKey, RowVisitor, State, Storage, StorageError};

/// [`Storage`] in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug, Default)]
struct Disk {
    state: Option<State>,
    rows: BTreeMap<RowKey, Vec<u8>>,
    writes: u64,
    writes_until_failure: Option<u64>,
}

impl MemoryStorage {
    /// Lets that many more writes succeed; all later ones fail and leave no trace.
    pub fn fail_after(&self, writes: u64) {
        self.disk().writes_until_failure = Some(writes);
    }

    /// Lets writes succeed again.
    pub fn heal(&self) {
        self.disk().writes_until_failure = None;
    }

    /// How many batches were written.
    pub fn writes(&self) -> u64 {
        self.disk().writes
    }

    /// A copy that later writes do not reach: what a disk holds when the power goes.
    pub fn frozen(&self) -> Self {
        let disk = self.disk();
        let copy = Disk {
            state: disk.state.clone(),
            rows: disk.rows.clone(),
            writes: disk.writes,
            writes_until_failure: None,
        };
        Self {
            disk: Arc::new(Mutex::new(copy)),
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("no thread panics holding the disk")
    }
}

impl Storage for MemoryStorage {
    fn load(&self) -> Result<Option<State>, StorageError> {
        let state = self.disk().state.clone();
        match state.as_ref().and_then(State::contradiction) {
            Some(what) => Err(StorageError::Damaged {
                path: "memory".to_owned(),
                what,
            }),
            None => Ok(state),
        }
    }

    fn create(&mut self, identity: &Identity, membership: &Membership) -> Result<(), StorageError> {
        self.disk().state = Some(State {
            identity: identity.clone(),
            hard_state: Default::default(),
            membership: membership.clone(),
            applied: Default::default(),
            truncated: Default::default(),
            entries: Vec::new(),
            names: Vec::new(),
        });
        Ok(())
    }

    fn rows(&self, visit: &mut RowVisitor<'_>) -> Result<(), StorageError> {
        for (key, value) in &self.disk().rows {
            visit(*key, value).map_err(|what| StorageError::Damaged {
                path: "memory".to_owned(),
                what,
            })?;
        }
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        let mut disk = self.disk();
        if let Some(left) = disk.writes_until_failure {
            if left == 0 {
                return Err(StorageError::Io {
                    path: "memory".to_owned(),
                    action: "write to the database",
                    reason: "the test said so".to_owned(),
                });
            }
            disk.writes_until_failure = Some(left - 1);
        }
        disk.writes += 1;
        disk.apply(batch);
        Ok(())
    }
}

impl Disk {
    fn apply(&mut self, batch: &Batch) {
        let state = self.state.as_mut().expect("created before it is written");
        if batch.clear {
            state.entries.clear();
            self.rows.clear();
        }
        if let Some(first) = batch.entries.first() {
            state
                .entries
                .retain(|entry| entry.position.index < first.position.index);
            state.entries.extend_from_slice(&batch.entries);
        }
        if let Some(hard_state) = batch.hard_state {
            state.hard_state = hard_state;
        }
        if let Some(membership) = &batch.membership {
            state.membership = membership.clone();
        }
        if let Some(applied) = batch.applied {
            state.applied = applied;
        }
        if let Some(truncated) = batch.truncate {
            state.truncated = truncated;
            state
                .entries
                .retain(|entry| entry.position.index > truncated.index);
        }
        state.names.extend_from_slice(&batch.names.1);
        for (key, value) in &batch.rows {
            match value {
                Some(value) => drop(self.rows.insert(*key, value.clone())),
                None => drop(self.rows.remove(key)),
            }
        }
    }
}
