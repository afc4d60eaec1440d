//! The disk: a thread that writes what the core wants written, and a short cut past it.
//!
//! Work goes to the thread over a queue, and what gathers there while the disk is busy is written
//! with one flush. When the core has one thing to write and nothing else to do, and the disk has
//! been quick of late, the core writes it itself ([`Disk::write_now`]): to wake a sleeping thread,
//! and to be woken by it, takes about as long as a flush. A disk that is slow once is left to the
//! thread for a while.
//!
//! What nobody waits for is kept, and goes along with the next that somebody waits for, or at the
//! next tick of the core's clock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::metrics::Metrics;
use crate::storage::{Fuse, Storage, StorageError};
use crate::writer::{Job, Writer};

/// So many jobs may wait for the disk. Clients are refused long before, see `MAX_PENDING` of the
/// core, and a leader sends no more to a follower whose disk does not answer.
const MAX_JOBS: usize = 1 << 18;
/// So many jobs that nobody waits for are kept.
const MAX_KEPT: usize = 256;
/// After so long without work, the thread writes the rows that it holds.
const IDLE: Duration = Duration::from_millis(200);
/// A write that takes no longer is quick.
const QUICK: Duration = Duration::from_millis(1);
/// After so many quick writes in a row, the core writes by itself.
const QUICK_WRITES: u32 = 32;

/// Why there is no more writing.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The disk does not come after.
    #[error("{MAX_JOBS} pieces of work wait for the disk")]
    Behind,
    /// The thread has ended, and has said why.
    #[error("the disk's thread has ended")]
    Ended,
    /// A write failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The core's access to the disk.
#[derive(Debug)]
pub struct Disk {
    /// Dropped before the queue: so it is the thread, for whose end others wait, that closes it.
    medium: Arc<Mutex<Medium>>,
    queue: blocking::Sender<Vec<Job>>,
    /// How many pieces of work wait in the queue.
    behind: Arc<AtomicUsize>,
    /// Jobs that nobody waits for.
    kept: Vec<Job>,
    /// The core has written by itself since the thread was last woken.
    unseen: bool,
    /// The last flush that somebody waits for: of what is here, of what the thread was given, and
    /// of what the core knows to be written.
    asked: u64,
    given: u64,
    done: u64,
}

/// The disk itself.
#[derive(Debug)]
struct Medium {
    metrics: Arc<Metrics>,
    storage: Box<dyn Storage>,
    fuse: Fuse,
    writer: Writer,
    /// How many of the last writes were quick, without one that was not.
    quick: u32,
}

impl Medium {
    /// Writes what is due. The number of the flush that somebody waits for.
    fn write(&mut self, idle: bool) -> Result<Option<u64>, StorageError> {
        let (batch, flush) = self.writer.take(idle);
        let began = Instant::now();
        self.fuse.write(&mut *self.storage, &batch)?;
        let took = began.elapsed();
        self.metrics.disk_write.observe(took);
        self.quick = match took <= QUICK {
            true => self.quick.saturating_add(1),
            false => 0,
        };
        Ok(flush)
    }
}

impl Disk {
    /// Starts the thread. It calls `persisted` with the number of each flush that somebody waits
    /// for, and sends what has failed to `failures`; it ends when this is dropped, after
    /// everything is written.
    pub fn start(
        storage: Box<dyn Storage>,
        writer: Writer,
        metrics: Arc<Metrics>,
        failures: mpsc::Sender<String>,
        persisted: impl Fn(u64) + Send + 'static,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (queue, work) = blocking::channel();
        let behind = Arc::new(AtomicUsize::new(0));
        let medium = Arc::new(Mutex::new(Medium {
            metrics,
            storage,
            fuse: Fuse::default(),
            writer,
            quick: 0,
        }));
        let thread = Thread {
            work,
            behind: behind.clone(),
            medium: medium.clone(),
        };
        let run = move || {
            if let Err(error) = thread.run(persisted) {
                // The main task hears of it, or is gone itself.
                let _ = failures.try_send(error.to_string());
            }
        };
        let handle = std::thread::Builder::new()
            .name("disk".to_owned())
            .spawn(run)?;
        let disk = Self {
            medium,
            queue,
            behind,
            kept: Vec::new(),
            unseen: false,
            asked: 0,
            given: 0,
            done: 0,
        };
        Ok((disk, handle))
    }

    /// Takes work; answers whether somebody waits for it. Without [`Self::send`] or
    /// [`Self::write_now`] it stays here.
    pub fn keep(&mut self, jobs: Vec<Job>) -> Result<bool, DiskError> {
        let flush = jobs.iter().filter_map(|job| job.flush).max();
        let waits = flush.is_some();
        self.asked = self.asked.max(flush.unwrap_or(0));
        self.kept.extend(jobs);
        if !waits && self.kept.len() >= MAX_KEPT {
            self.send()?;
        }
        Ok(waits)
    }

    /// Gives the thread what is here.
    pub fn send(&mut self) -> Result<(), DiskError> {
        if self.kept.is_empty() && !self.unseen {
            return Ok(());
        }
        if self.behind.fetch_add(1, Ordering::AcqRel) >= MAX_JOBS {
            return Err(DiskError::Behind);
        }
        self.unseen = false;
        self.given = self.asked;
        let jobs = std::mem::take(&mut self.kept);
        self.queue.send(jobs).map_err(|_| DiskError::Ended)
    }

    /// The core knows that a flush is done.
    pub fn persisted(&mut self, flush: u64) {
        self.done = self.done.max(flush);
    }

    /// Writes what is here, if that is sure to be quick as far as one can know: the thread has
    /// nothing to do, there are no rows to write, and the last writes were quick. The number of
    /// the flush that somebody waits for; nothing if nothing was written.
    pub fn write_now(&mut self) -> Result<Option<u64>, DiskError> {
        // The core hears of flushes in their order.
        if self.done < self.given || self.behind.load(Ordering::Acquire) > 0 {
            return Ok(None);
        }
        let mut medium = match self.medium.try_lock() {
            Ok(medium) => medium,
            Err(TryLockError::WouldBlock) => return Ok(None),
            // The thread has panicked; it is found to be gone.
            Err(TryLockError::Poisoned(_)) => return Err(DiskError::Ended),
        };
        if medium.quick < QUICK_WRITES {
            return Ok(None);
        }
        for job in self.kept.drain(..) {
            medium.writer.push(job);
        }
        self.unseen = true;
        if !medium.writer.is_light() {
            return Ok(None);
        }
        Ok(medium.write(false)?)
    }
}

/// The thread.
struct Thread {
    work: blocking::Receiver<Vec<Job>>,
    behind: Arc<AtomicUsize>,
    medium: Arc<Mutex<Medium>>,
}

impl Thread {
    fn run(self, persisted: impl Fn(u64)) -> Result<(), StorageError> {
        // What was to be written at the start.
        let mut wait = Some(Duration::ZERO);
        loop {
            let first = match wait {
                None => {
                    let received = self.work.recv();
                    received.map_err(|_| blocking::RecvTimeoutError::Disconnected)
                }
                Some(wait) => self.work.recv_timeout(wait),
            };
            let mut medium = self.medium.lock().unwrap_or_else(PoisonError::into_inner);
            let (idle, ended) = match first {
                Ok(jobs) => {
                    self.take(jobs, &mut medium.writer);
                    while let Ok(jobs) = self.work.try_recv() {
                        self.take(jobs, &mut medium.writer);
                    }
                    (false, false)
                }
                Err(error) => (true, error == blocking::RecvTimeoutError::Disconnected),
            };
            let due = (idle && !medium.writer.is_idle()) || medium.writer.must_flush();
            let flushed = match due {
                true => medium.write(idle)?,
                false => None,
            };
            let is_idle = medium.writer.is_idle();
            wait = match medium.writer.in_round() {
                _ if is_idle => None,
                true => Some(Duration::ZERO),
                false => Some(IDLE),
            };
            drop(medium);
            if let Some(flush) = flushed {
                persisted(flush);
            }
            if ended && is_idle {
                return Ok(());
            }
        }
    }

    fn take(&self, jobs: Vec<Job>, writer: &mut Writer) {
        jobs.into_iter().for_each(|job| writer.push(job));
        self.behind.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender};

    use bytes::Bytes;
    use ovsdb::schema::DatabaseSchema;
    use serde_json::json;

    use super::*;
    use crate::codec::Names;
    use crate::storage::{
        Batch, EntryKind, Identity, LogEntry, LogPosition, Membership, RowVisitor, State,
    };

    /// A storage that tells which entries each write brings, and waits to be let on, or to fail.
    #[derive(Debug)]
    struct Gate {
        writes: Sender<Vec<u64>>,
        open: Receiver<bool>,
    }

    impl Storage for Gate {
        fn load(&self) -> Result<Option<State>, StorageError> {
            Ok(None)
        }

        fn create(&mut self, _: &Identity, _: &Membership) -> Result<(), StorageError> {
            Ok(())
        }

        fn rows(&self, _: &mut RowVisitor<'_>) -> Result<(), StorageError> {
            Ok(())
        }

        fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
            let entries = batch.entries.iter();
            let entries = entries.map(|entry| entry.position.index).collect();
            self.writes.send(entries).unwrap();
            match self.open.recv().unwrap() {
                true => Ok(()),
                false => Err(StorageError::Failed("as the test wants it".to_owned())),
            }
        }
    }

    struct Scene {
        disk: Disk,
        thread: JoinHandle<()>,
        writes: Receiver<Vec<u64>>,
        open: Sender<bool>,
        persisted: Receiver<u64>,
    }

    fn scene() -> Scene {
        let json = json!({"name": "T", "tables": {"A": {"columns": {"a": {"type": "integer"}}}}});
        let schema = Arc::new(DatabaseSchema::from_json(&json).unwrap());
        let (written, writes) = blocking::channel();
        let (open, opened) = blocking::channel();
        let (told, persisted) = blocking::channel();
        let gate = Gate {
            writes: written,
            open: opened,
        };
        let (failures, _) = mpsc::channel(1);
        let tell = move |flush| told.send(flush).unwrap();
        let writer = Writer::new(schema, Names::default());
        let (disk, thread) =
            Disk::start(Box::new(gate), writer, Arc::default(), failures, tell).unwrap();
        Scene {
            disk,
            thread,
            writes,
            open,
            persisted,
        }
    }

    impl Scene {
        /// As after many quick writes.
        fn trust(&self) {
            self.disk.medium.lock().unwrap().quick = QUICK_WRITES;
        }

        /// The entries that are being written, which then go on.
        fn let_write(&self) -> Vec<u64> {
            let entries = self.writes.recv().unwrap();
            self.open.send(true).unwrap();
            entries
        }
    }

    fn job(index: u64, flush: Option<u64>) -> Vec<Job> {
        let entry = LogEntry {
            position: LogPosition { index, term: 1 },
            kind: EntryKind::Normal,
            context: Bytes::new(),
            data: Bytes::new(),
        };
        vec![Job {
            entries: vec![entry],
            flush,
            ..Job::default()
        }]
    }

    #[test]
    fn what_nobody_waits_for_goes_along_with_what_somebody_waits_for() {
        let mut scene = scene();
        assert!(!scene.disk.keep(job(1, None)).unwrap());
        assert!(scene.disk.keep(job(2, Some(7))).unwrap());
        scene.disk.send().unwrap();
        assert_eq!(scene.let_write(), [1, 2]);
        assert_eq!(scene.persisted.recv().unwrap(), 7);
        for index in 3..3 + MAX_KEPT as u64 {
            assert!(!scene.disk.keep(job(index, None)).unwrap());
        }
        // So many are not kept; they are written when the disk is idle, or at the end.
        drop(scene.disk);
        let entries = scene.writes.recv().unwrap();
        assert_eq!(entries.len(), MAX_KEPT);
        scene.open.send(true).unwrap();
        scene.thread.join().unwrap();
    }

    #[test]
    fn the_core_writes_by_itself_only_to_a_quick_disk_that_owes_it_nothing() {
        let mut scene = scene();
        scene.disk.keep(job(1, Some(1))).unwrap();
        assert_eq!(
            scene.disk.write_now().unwrap(),
            None,
            "not known to be quick"
        );
        scene.disk.send().unwrap();
        assert_eq!(scene.let_write(), [1]);
        assert_eq!(scene.persisted.recv().unwrap(), 1);

        scene.trust();
        scene.disk.keep(job(2, Some(2))).unwrap();
        assert_eq!(
            scene.disk.write_now().unwrap(),
            None,
            "1 is not known to be done"
        );
        scene.disk.persisted(1);
        scene.open.send(true).unwrap();
        assert_eq!(scene.disk.write_now().unwrap(), Some(2));
        assert_eq!(scene.writes.recv().unwrap(), [2]);
        scene.disk.persisted(2);

        // What is too much for it is left to the thread, which finds it there.
        scene.trust();
        let mut large = job(3, Some(3));
        large[0].entries[0].data = vec![0; 1 << 20].into();
        scene.disk.keep(large).unwrap();
        assert_eq!(scene.disk.write_now().unwrap(), None);
        scene.disk.send().unwrap();
        assert_eq!(scene.let_write(), [3]);
        assert_eq!(scene.persisted.recv().unwrap(), 3);
        drop(scene.disk);
        scene.thread.join().unwrap();
    }

    #[test]
    fn nothing_is_written_after_a_write_that_failed() {
        let mut scene = scene();
        scene.disk.keep(job(1, Some(1))).unwrap();
        scene.disk.send().unwrap();
        scene.writes.recv().unwrap();
        scene.open.send(false).unwrap();
        scene.thread.join().unwrap();
        // The disk works again, and was always quick.
        scene.disk.medium.lock().unwrap().quick = QUICK_WRITES;
        scene.disk.persisted(1);
        scene.open.send(true).unwrap();
        scene.disk.keep(job(2, Some(2))).unwrap();
        scene.disk.write_now().unwrap_err();
        scene.disk.send().unwrap_err();
        assert!(scene.writes.try_recv().is_err(), "it was written");
    }
}
