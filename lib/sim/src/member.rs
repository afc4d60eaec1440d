//! A member: its core while its process lives, and its disk, which outlives it.

use ovsdb::Uuid;
use store::codec::Names;
use store::core::Core;
use store::load;
use store::storage::{Batch, Identity, Membership, Storage};
use store::writer::Writer;

use crate::disk::Disk;
use crate::plan::Plan;
use crate::random::Random;
use crate::schema;

/// So many rows are written at a time.
const PORTION: usize = 10;
/// The cluster's identity.
const CLUSTER: u128 = 0xc1 << 64;

/// A member.
#[derive(Debug)]
pub struct Member {
    /// What survives.
    pub disk: Disk,
    /// What does not.
    pub process: Option<Process>,
    /// How many milliseconds a flush takes.
    pub flush_ms: u64,
    /// The disk is full.
    pub full: bool,
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
        let mut disk = Disk::new(file);
        let identity = Identity {
            database: schema().name.to_string(),
            cluster: Uuid::from_u128(CLUSTER),
            server: Uuid::from_u128(u128::from(member)),
            member,
        };
        let membership = Membership {
            voters: voters.to_vec(),
            ..Membership::default()
        };
        disk.open()
            .and_then(|()| disk.create(&identity, &membership))
            .expect("a new disk does not fail");
        Self {
            disk,
            process: None,
            flush_ms: 1,
            full: false,
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
        let core = Core::new(loaded, seed).map_err(|error| error.to_string())?;
        let mut process = Process {
            number,
            core,
            writer: Writer::with_portion(schema().clone(), names, PORTION),
            writing: None,
            tick_ms: 100,
            stopped: false,
            compared: None,
        };
        process.writer.push(job);
        process.core.set_log_limits(plan.log_entries, 1 << 30);
        process.core.set_part_bytes(plan.part_bytes);
        process.core.set_rows_per_step(plan.rows_per_step);
        process.core.set_slice_steps(plan.slice_steps);
        self.process = Some(process);
        Ok(())
    }

    /// The process dies. What is being written may have reached the disk, or not.
    pub fn crash(&mut self, random: &mut Random) {
        if let Some(process) = self.process.take() {
            let writing = process.writing.map(|(batch, _)| batch);
            self.disk.crash(writing.as_ref(), random);
        }
    }
}
