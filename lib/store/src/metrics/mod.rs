//! Figures about a running store, for those who watch over it.
//!
//! Some are added to where things happen ([`Metrics`]); the rest is what the core says of itself ([`Status`]) when
//! somebody asks. All of it is bounded: there are labels for tables and members, and for nothing that clients choose.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::event::Status;

/// The media type of what [`Metrics::render`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The upper bounds of the buckets of durations, in seconds; there is one more without a bound.
const BOUNDS_SECONDS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
    2.0, 10.0,
];

/// How long things took: counts by duration, cheap to add to from any thread.
#[derive(Clone, Debug)]
pub struct Durations(Histogram);

impl Default for Durations {
    fn default() -> Self {
        Self(Histogram::new(BOUNDS_SECONDS))
    }
}

impl Durations {
    /// Adds a duration.
    pub fn observe(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }
}

/// What is counted as it happens.
#[derive(Debug, Default)]
pub struct Metrics {
    /// From a client's transaction to its answer.
    pub transaction: Durations,
    /// From a write's arrival in the disk's queue until it is on disk, for writes that somebody waits for.
    pub flush: Durations,
    /// One write to the disk with its flush.
    pub disk_write: Durations,
    /// One step of the core: so long everybody else waits.
    pub step: Durations,
    failed: Counter,
    updates: Counter,
    snapshots: Counter,
}

/// What is looked up when somebody asks.
#[derive(Clone, Debug)]
pub struct Seen<'s> {
    /// What the core says.
    pub status: &'s Status,
    /// How many events wait for the core.
    pub events: usize,
    /// The size of the database's file, if it has one.
    pub file_bytes: Option<u64>,
    /// How long the process has run.
    pub uptime: Duration,
    /// The version of the program.
    pub version: &'s str,
}

impl Metrics {
    /// A transaction was answered after so long; with an error, if `failed`.
    pub fn transacted(&self, duration: Duration, failed: bool) {
        self.transaction.observe(duration);
        if failed {
            self.failed.inc();
        }
    }

    /// A monitor was told something.
    pub fn updated(&self) {
        self.updates.inc();
    }

    /// So many snapshots were sent to other members.
    pub fn snapshots_sent(&self, count: usize) {
        self.snapshots.inc_by(count as u64);
    }

    /// All figures, as OpenMetrics text.
    pub fn render(&self, seen: &Seen<'_>) -> String {
        let mut registry = Registry::default();
        process(&mut registry, seen);
        self.work(&mut registry);
        queues(&mut registry, seen);
        cluster(&mut registry, seen.status);
        contents(&mut registry, seen);
        let mut text = String::new();
        encode(&mut text, &registry).expect("a string takes everything");
        text
    }

    fn work(&self, registry: &mut Registry) {
        for (name, help, durations) in [
            (
                "transaction",
                "From a client's transaction to its answer, waiting for conditions included",
                &self.transaction,
            ),
            (
                "flush",
                "From a write's arrival in the queue of the disk until it is on disk",
                &self.flush,
            ),
            (
                "disk_write",
                "One write to the disk with its flush",
                &self.disk_write,
            ),
            (
                "step",
                "One step of the core, in which nothing else is served",
                &self.step,
            ),
        ] {
            registry.register_with_unit(full(name), help, Unit::Seconds, durations.0.clone());
        }
        for (name, help, counter) in [
            (
                "transactions_failed",
                "Transactions that were answered with an error",
                &self.failed,
            ),
            (
                "updates",
                "Updates that were put into the queues of monitors",
                &self.updates,
            ),
            (
                "snapshots_sent",
                "Snapshots that were sent to other members",
                &self.snapshots,
            ),
        ] {
            registry.register(full(name), help, counter.clone());
        }
    }
}

/// A gauge of unsigned numbers.
type Count = Gauge<u64, AtomicU64>;
/// A gauge for each value of one label.
type Counts = Family<[(&'static str, String); 1], Count>;

fn full(name: &str) -> String {
    format!("weft_db_{name}")
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Count::default();
    gauge.set(value);
    registry.register(full(name), help, gauge);
}

fn gauges(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: impl IntoIterator<Item = (String, u64)>,
) {
    let family = Counts::default();
    for (value, count) in values {
        family.get_or_create(&[(label, value)]).set(count);
    }
    registry.register(full(name), help, family);
}

fn process(registry: &mut Registry, seen: &Seen<'_>) {
    let identity = &seen.status.identity;
    let who = Info::new([
        ("version", seen.version.to_owned()),
        ("database", identity.database.to_string()),
        ("cluster", identity.cluster.to_string()),
        ("server", identity.server.to_string()),
        ("member", identity.member.to_string()),
    ]);
    registry.register("weft_db", "The server and its database", who);
    let uptime = Gauge::<f64, AtomicU64>::default();
    uptime.set(seen.uptime.as_secs_f64());
    registry.register_with_unit(
        "weft_db_uptime",
        "How long the server has run",
        Unit::Seconds,
        uptime,
    );
}

fn queues(registry: &mut Registry, seen: &Seen<'_>) {
    let status = seen.status;
    for (name, help, value) in [
        (
            "events_waiting",
            "Events that wait for the core",
            seen.events,
        ),
        (
            "transactions_pending",
            "Transactions that wait for the log",
            status.pending,
        ),
        (
            "transactions_blocked",
            "Transactions that wait for a condition",
            status.blocked,
        ),
        ("sessions", "Sessions of clients", status.sessions),
        ("monitors", "Monitors of clients", status.monitors),
    ] {
        gauge(registry, name, help, value as u64);
    }
}

fn cluster(registry: &mut Registry, status: &Status) {
    let raft = &status.raft;
    for (name, help, value) in [
        ("term", "The term of the cluster", raft.term),
        (
            "leader",
            "The number of the member that leads, or 0 if nobody is known to",
            raft.leader,
        ),
        (
            "is_leader",
            "1 if this member leads",
            u64::from(raft.leader == raft.member),
        ),
        ("log_first_index", "The oldest entry of the log", raft.first),
        ("log_last_index", "The newest entry of the log", raft.last),
        (
            "log_committed_index",
            "The newest committed entry",
            raft.commit,
        ),
        (
            "log_applied_index",
            "The newest applied entry",
            raft.applied,
        ),
    ] {
        gauge(registry, name, help, value);
    }
    let members = &raft.membership;
    let voters = members.voters.iter().map(|member| (member, 1));
    let learners = members.learners.iter().map(|member| (member, 0));
    let members = voters.chain(learners);
    gauges(
        registry,
        "member",
        "The members: 1 votes, 0 learns",
        "member",
        members.map(|(member, votes)| (member.to_string(), votes)),
    );
    if raft.peers.is_empty() {
        return;
    }
    let lags = raft.peers.iter();
    gauges(
        registry,
        "member_lag_entries",
        "How many entries of the leader's log a member does not have yet, told by the leader only",
        "member",
        lags.map(|(member, matched, _)| (member.to_string(), raft.last.saturating_sub(*matched))),
    );
    let peers = raft.peers.iter();
    gauges(
        registry,
        "member_active",
        "1 if the leader has heard of a member lately, told by the leader only",
        "member",
        peers.map(|(member, _, active)| (member.to_string(), u64::from(*active))),
    );
}

fn contents(registry: &mut Registry, seen: &Seen<'_>) {
    let rows = seen.status.rows.iter();
    gauges(
        registry,
        "rows",
        "The rows of each table",
        "table",
        rows.map(|(table, rows)| (table.to_string(), *rows as u64)),
    );
    if let Some(bytes) = seen.file_bytes {
        let help = "The size of the database's file";
        gauge(registry, "file_bytes", help, bytes);
    }
}
