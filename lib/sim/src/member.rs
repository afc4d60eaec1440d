//! A member: its core while its process lives, and its disk, which outlives it.

use ovsdb::Uuid;
use store::codec::Names;
use store::core::Core;
use store::load;
use store::storage::{Batch, Fuse, Identity, Membership, Storage, StorageError};
use store::writer::Writer;

use crate::disk::Disk;
use crate::plan::Plan;
use crate::random::Random;
use crate::schema;

/// So many rows are written at a time.
const PORTION: usize = 10;
/// The cluster's identity.
const CLUSTER: u128 = 0xc1 << 64;

/// The server that a member is, unless its number is used again.
pub fn server_of(member: u64) -> Uuid {
    Uuid::from_u128(u128::from(member))
}

/// A member.
#[derive(Debug)]
pub struct Member {
    /// What survives.
    pub disk: Disk,
    /// Which server it is.
    pub server: Uuid,
    /// What does not.
    pub process: Option<Process>,
    /// How many milliseconds a flush takes.
    pub flush_ms: u64,
    /// The disk is full.
    pub full: bool,
    /// The next write fails, and no other.
    pub fails_once: bool,
    /// It left the cluster for good.
    pub gone: bool,
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    /// Counts the processes of all members.
    pub number: u64,
    /// The core.
    pub core: Core,
    /// What waits for the disk.
    pub writer: Writer,
    /// Whether a write has failed.
    pub fuse: Fuse,
    /// The same, for the end of the process: what is being written then is not.
    pub failed: bool,
    /// What the disk is writing, and the flush to report.
    pub writing: Option<(Batch, Option<u64>)>,
    /// How many milliseconds there are between ticks.
    pub tick_ms: u64,
    /// It is stopped, and hears nothing.
    pub stopped: bool,
    /// The log entry at which its rows were last compared with others'.
    pub compared: Option<u64>,
}

impl Member {
    /// A new member, of a new cluster or of none yet.
    pub fn new(member: u64, voters: &[u64], file: bool) -> Self {
        Self::of_server((member, server_of(member)), voters, file)
    }

    /// A new member that this server is.
    pub fn of_server((member, server): (u64, Uuid), voters: &[u64], file: bool) -> Self {
        let mut disk = Disk::new(file);
        let identity = Identity {
            database: schema().name.to_string(),
            cluster: Uuid::from_u128(CLUSTER),
            server,
            member,
        };
        let membership = Membership {
            voters: voters.to_vec(),
            servers: voters
                .iter()
                .map(|voter| (*voter, server_of(*voter)))
                .collect(),
            ..Membership::default()
        };
        disk.open()
            .and_then(|()| disk.create(&identity, &membership))
            .expect("a new disk does not fail");
        Self {
            disk,
            server,
            process: None,
            flush_ms: 1,
            full: false,
            fails_once: false,
            gone: false,
        }
    }

    /// Starts a process on what the disk has.
    pub fn start(&mut self, number: u64, seed: u64, plan: &Plan) -> Result<(), String> {
        self.disk.open().map_err(|error| error.to_string())?;
        let unused = Uuid::nil();
        let loaded = load::load(&mut self.disk, schema(), unused, unused);
        let mut loaded = loaded.map_err(|error| format!("cannot start again: {error}"))?;
        let names = Names::new(loaded.state.names.iter().cloned());
        let job = std::mem::take(&mut loaded.job);
        let process = store::core::Process {
            number: seed,
            secret: Uuid::from_u64_pair(seed, 0x5ec2e7),
        };
        let core = Core::new(loaded, process).map_err(|error| error.to_string())?;
        let mut process = Process {
            number,
            core,
            writer: Writer::with_portion(schema().clone(), names, PORTION),
            fuse: Fuse::default(),
            failed: false,
            writing: None,
            tick_ms: 100,
            stopped: false,
            compared: None,
        };
        process.writer.push(job);
        process.core.set_log_limits(plan.log_entries, 1 << 30);
        process.core.set_part_bytes(plan.part_bytes);
        process.core.set_rows_per_step(plan.rows_per_step);
        process.core.set_wait_steps(plan.wait_steps);
        process.core.set_answer_bytes(plan.answer_bytes);
        process.core.set_slice_steps(plan.slice_steps);
        self.process = Some(process);
        Ok(())
    }

    /// The process writes to its disk.
    pub fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let fails = std::mem::take(&mut self.fails_once) && !self.full;
        if fails {
            self.disk.fill(true);
        }
        let written = process.fuse.write(&mut self.disk, batch);
        process.failed |= written.is_err();
        if fails {
            self.disk.fill(false);
        }
        written
    }

    /// The process dies. What is being written may have reached the disk, or not.
    pub fn crash(&mut self, random: &mut Random) {
        if let Some(process) = self.process.take() {
            let writing = process.writing.filter(|_| !process.failed);
            let writing = writing.map(|(batch, _)| batch);
            self.disk.crash(writing.as_ref(), random);
        }
    }
}
