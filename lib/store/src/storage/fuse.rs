//! The end of a storage with its first failure.
//!
//! What a failed write was to bring is nowhere: it is gone from the writer, and not on the disk. Whatever were written
//! after it would stand on nothing, such as rows of entries that the file does not call committed, and the file could
//! never be opened again. So a disk that fails once, and works again, is not trusted: nothing goes to it any more, and
//! the member ends. What it has said by then is on disk, and it starts again from there.

use super::{Batch, Storage, StorageError};

/// Whether a storage has failed. Every write of a running member goes through this.
#[derive(Debug, Default)]
pub struct Fuse {
    /// Why, in words.
    failure: Option<String>,
}

impl Fuse {
    /// Writes a batch, if no write has failed before.
    ///
    /// # Errors
    /// The storage's, or that of the earlier failure.
    pub fn write(&mut self, storage: &mut dyn Storage, batch: &Batch) -> Result<(), StorageError> {
        if let Some(failure) = &self.failure {
            return Err(StorageError::Failed(failure.clone()));
        }
        let written = storage.write(batch);
        if let Err(error) = &written {
            self.failure = Some(error.to_string());
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HardState, Identity, Membership, MemoryStorage};
    use super::*;

    #[test]
    fn nothing_is_written_after_a_failure() {
        let mut disk = MemoryStorage::default();
        let identity = Identity {
            database: "T".to_owned(),
            cluster: uuid::Uuid::nil(),
            server: uuid::Uuid::nil(),
            member: 1,
        };
        disk.create(&identity, &Membership::default())
            .expect("there is room");
        let mut fuse = Fuse::default();
        let mut write = |commit| {
            let hard_state = HardState {
                commit,
                ..HardState::default()
            };
            let batch = Batch {
                hard_state: Some(hard_state),
                ..Batch::default()
            };
            fuse.write(&mut disk.clone(), &batch)
        };
        write(1).expect("there is room");
        disk.fail_after(0);
        write(2).expect_err("there is none");
        disk.heal();
        let error = write(3).expect_err("one has failed");
        assert!(error.to_string().contains("the test said so"), "{error}");
        assert_eq!(disk.writes(), 1);
    }
}
