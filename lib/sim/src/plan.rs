//! What a run is like.

use crate::random::Random;

/// A mistake of those around the core that a run can be told to make, to see that it is noticed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bug {
    /// Disks say that they have written before they have.
    LyingDisk,
    /// A full disk is taken for one that has written.
    IgnoredFullDisk,
    /// Clients try again without the name of their transaction.
    ForgottenName,
    /// Reads are answered from what any member has.
    LocalReads,
    /// Readers see what is not committed.
    UncommittedReads,
    /// Readers take members for equally new.
    RoamingReads,
    /// Readers expect of each member what they have written at another one.
    RoamingWriters,
    /// Keepers count with a lock that another one owns.
    SharedLock,
    /// Watchers miss an update.
    SkippedUpdate,
    /// A member applies what it was not told to.
    Divergence,
    /// A member applies the first half of a large transaction.
    HalfApplied,
}

/// What a run is like.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything follows from it.
    pub seed: u64,
    /// How many members the cluster begins with.
    pub members: u64,
    /// How many clients work.
    pub clients: usize,
    /// How long faults happen.
    pub faults_ms: u64,
    /// Between two faults there are so many milliseconds.
    pub pause_ms: std::ops::Range<u64>,
    /// What goes wrong lasts at most so many milliseconds.
    pub lasts_ms: u64,
    /// The log is truncated when it has so many entries.
    pub log_entries: usize,
    /// So many bytes go into one entry of the log.
    pub part_bytes: usize,
    /// So many rows of a snapshot are gathered in one step.
    pub rows_per_step: usize,
    /// So many values are compared in one step of a transaction that only reads.
    pub slice_steps: usize,
    /// Whether members come and go.
    pub membership: bool,
    /// Whether disks are files in which writes can tear, which is slower.
    pub files: bool,
    /// Whether disks fail once, and work again.
    pub failing_disks: bool,
    /// So many values may be compared for waits in one step.
    pub wait_steps: usize,
    /// Whether the number of a member that is gone is given to another server.
    pub reuses_numbers: bool,
    /// The most bytes of a frame between members; whoever gets a larger one ends the stream.
    pub frame_bytes: usize,
    /// The most bytes of an answer between members.
    pub answer_bytes: usize,
    /// So many bytes go through a stream in a millisecond.
    pub bytes_per_ms: u64,
    /// So many snapshots are lost on their way before one arrives.
    pub snapshots_lost: u64,
    /// Who has sent a snapshot knows so many milliseconds after its arrival that it has arrived.
    pub report_ms: std::ops::Range<u64>,
    /// A mistake to make.
    pub bug: Option<Bug>,
}

impl Plan {
    /// The run of a seed: the seed says how everything is, too.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5eed);
        let storm = random.percent(60);
        let members = [3, 3, 3, 3, 3, 5, 5, 1][random.range(0..8) as usize];
        Self {
            seed,
            members,
            clients: random.range(4..8) as usize,
            faults_ms: 20_000,
            pause_ms: if storm { 10..120 } else { 50..2500 },
            lasts_ms: if storm { 1200 } else { 4000 },
            log_entries: [12, 40, 400][random.range(0..3) as usize],
            part_bytes: [60, 150, 1 << 20][random.range(0..3) as usize],
            rows_per_step: [1, 10, 1000][random.range(0..3) as usize],
            membership: members > 1 && random.percent(30),
            files: random.percent(10),
            slice_steps: [1, 8, 2048][random.range(0..3) as usize],
            snapshots_lost: 0,
            report_ms: 0..[1, 10, 200][random.range(0..3) as usize],
            failing_disks: random.percent(50),
            reuses_numbers: random.percent(50),
            wait_steps: [1, 20, 1000][random.range(0..3) as usize],
            frame_bytes: 1 << 20,
            answer_bytes: 1 << 19,
            bytes_per_ms: 1 << 20,
            bug: None,
        }
    }

    /// A run in which nothing happens by itself: a script says what does.
    pub fn quiet(seed: u64, members: u64) -> Self {
        Self {
            members,
            clients: 2,
            log_entries: 40,
            part_bytes: 1 << 20,
            membership: false,
            files: false,
            slice_steps: 2048,
            report_ms: 0..1,
            ..Self::of(seed)
        }
    }
}
