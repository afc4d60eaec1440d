//! Disks: what a member has written, and what of it is there after its end.
//!
//! Most are in memory, and a batch that is being written at the end is there as a whole or not at
//! all. Some are files as the server has them, on a medium of which every write can tear: when the
//! power goes, an arbitrary part of what was not flushed is there.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;
use store::storage::{
    Batch, Identity, Membership, MemoryStorage, RedbStorage, RowVisitor, State, Storage,
    StorageError,
};

use crate::random::Random;

/// A member's disk.
#[derive(Debug)]
pub enum Disk {
    /// In memory.
    Memory(MemoryStorage),
    /// A file, and the server's hold of it.
    File(Medium, Option<Box<RedbStorage>>),
}

impl Disk {
    /// An empty disk.
    pub fn new(file: bool) -> Self {
        match file {
            true => Self::File(Medium::default(), None),
            false => Self::Memory(MemoryStorage::default()),
        }
    }

    /// A process takes hold of it.
    pub fn open(&mut self) -> Result<(), StorageError> {
        if let Self::File(medium, storage) = self {
            *storage = None;
            let opened = RedbStorage::with_backend("the disk", medium.clone())?;
            *storage = Some(Box::new(opened));
        }
        Ok(())
    }

    /// What it has at the moment; `None` of a file.
    pub fn copy(&self) -> Option<Self> {
        match self {
            Self::Memory(memory) => Some(Self::Memory(memory.frozen())),
            Self::File(..) => None,
        }
    }

    /// Nothing more can be written, or everything again.
    pub fn fill(&mut self, full: bool) {
        match (self, full) {
            (Self::Memory(memory), true) => memory.fail_after(0),
            (Self::Memory(memory), false) => memory.heal(),
            (Self::File(medium, _), true) => medium.platters().left = Some(0),
            (Self::File(medium, _), false) => medium.platters().left = None,
        }
    }

    /// The process ends while this is being written.
    pub fn crash(&mut self, writing: Option<&Batch>, random: &mut Random) {
        match self {
            Self::Memory(memory) => {
                if let Some(batch) = writing
                    && random.percent(50)
                {
                    // A full disk has not written it.
                    let _ = memory.write(batch);
                }
            }
            Self::File(medium, storage) => {
                let full = medium.platters().left;
                if let (Some(batch), Some(storage)) = (writing, storage.as_mut()) {
                    let operations = random.range(0..12);
                    medium.platters().left.get_or_insert(operations);
                    // It may not get to the end.
                    let _ = storage.write(batch);
                }
                medium.platters().left = Some(0);
                *storage = None;
                let mut platters = medium.platters();
                platters.left = full;
                if random.percent(50) {
                    platters.lose_power(random);
                }
            }
        }
    }

    fn storage(&self) -> &dyn Storage {
        match self {
            Self::Memory(memory) => memory,
            Self::File(_, storage) => storage.as_deref().expect("opened before it is used"),
        }
    }

    fn storage_mut(&mut self) -> &mut dyn Storage {
        match self {
            Self::Memory(memory) => memory,
            Self::File(_, storage) => storage.as_deref_mut().expect("opened before it is used"),
        }
    }
}

impl Storage for Disk {
    fn load(&self) -> Result<Option<State>, StorageError> {
        self.storage().load()
    }

    fn create(&mut self, identity: &Identity, membership: &Membership) -> Result<(), StorageError> {
        self.storage_mut().create(identity, membership)
    }

    fn rows(&self, visit: &mut RowVisitor<'_>) -> Result<(), StorageError> {
        self.storage().rows(visit)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.storage_mut().write(batch)
    }
}

/// What a file lies on. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Medium(Arc<Mutex<Platters>>);

#[derive(Debug, Default)]
struct Platters {
    flushed: Vec<u8>,
    current: Vec<u8>,
    /// Where something was written since the last flush, and how many bytes.
    unflushed: Vec<(usize, usize)>,
    /// So many operations go well from now on.
    left: Option<u64>,
}

impl Platters {
    fn operate(&mut self) -> io::Result<()> {
        match &mut self.left {
            None => Ok(()),
            Some(0) => Err(io::ErrorKind::StorageFull.into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// Of each write that was not flushed, all is there, or a part, or nothing.
    fn lose_power(&mut self, random: &mut Random) {
        // Growing a file is flushed at once.
        self.flushed.resize(self.current.len(), 0);
        for (offset, length) in std::mem::take(&mut self.unflushed) {
            let kept = match random.range(0..3) {
                0 => 0,
                1 => length,
                _ => random.range(0..length as u64 + 1) as usize,
            };
            let range = offset..offset + kept;
            self.flushed[range.clone()].copy_from_slice(&self.current[range]);
        }
        self.current.clone_from(&self.flushed);
    }
}

impl Medium {
    fn platters(&self) -> MutexGuard<'_, Platters> {
        self.0.lock().expect("nobody panics holding the platters")
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.platters().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platters = self.platters();
        let offset = offset as usize;
        let data = platters.current.get(offset..offset + out.len());
        out.copy_from_slice(data.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platters = self.platters();
        platters.operate()?;
        platters.current.resize(len as usize, 0);
        platters
            .unflushed
            .retain(|(offset, length)| (offset + length) as u64 <= len);
        platters.flushed.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platters = self.platters();
        platters.operate()?;
        let Platters {
            flushed,
            current,
            unflushed,
            ..
        } = &mut *platters;
        for (offset, length) in unflushed.drain(..) {
            let range = offset..offset + length;
            flushed[range.clone()].copy_from_slice(&current[range]);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platters = self.platters();
        platters.operate()?;
        let offset = offset as usize;
        let end = offset + data.len();
        if platters.current.len() < end {
            platters.current.resize(end, 0);
            platters.flushed.resize(end, 0);
        }
        platters.current[offset..end].copy_from_slice(data);
        platters.unflushed.push((offset, data.len()));
        Ok(())
    }
}
