//! Figures about a running store, for those who watch over it.
//!
//! Some are added to where things happen ([`Metrics`]); the rest is what the core says of itself ([`Status`]) when
//! somebody asks. All of it is bounded: there are labels for tables and members, and for nothing that clients choose.

pub mod histogram;
pub mod text;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::histogram::Histogram;
use self::text::{Kind, Text};
use crate::event::Status;

/// What is counted as it happens.
#[derive(Debug, Default)]
pub struct Metrics {
    /// From a client's transaction to its answer.
    pub transaction: Histogram,
    /// From a write's arrival in the disk's queue until it is on disk, for writes that somebody waits for.
    pub flush: Histogram,
    /// One write to the disk with its flush.
    pub disk_write: Histogram,
    /// One step of the core: so long everybody else waits.
    pub step: Histogram,
    failed: AtomicU64,
    updates: AtomicU64,
    snapshots: AtomicU64,
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
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A monitor was told something.
    pub fn updated(&self) {
        self.updates.fetch_add(1, Ordering::Relaxed);
    }

    /// So many snapshots were sent to other members.
    pub fn snapshots_sent(&self, count: usize) {
        self.snapshots.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// All figures, as OpenMetrics text.
    pub fn render(&self, seen: &Seen<'_>) -> String {
        let mut text = Text::default();
        self.process(&mut text, seen);
        self.work(&mut text);
        queues(&mut text, seen);
        cluster(&mut text, seen.status);
        contents(&mut text, seen);
        text.end()
    }

    fn process(&self, text: &mut Text, seen: &Seen<'_>) {
        let identity = &seen.status.identity;
        text.family("weft_db", Kind::Info, "The server and its database.");
        let labels = [
            ("version", seen.version),
            ("database", &identity.database),
            ("cluster", &identity.cluster.to_string()),
            ("server", &identity.server.to_string()),
            ("member", &identity.member.to_string()),
        ];
        text.sample("weft_db_info", &labels, 1);
        let uptime = seen.uptime.as_secs_f64();
        text.gauge(
            "weft_db_uptime_seconds",
            "How long the server has run.",
            uptime,
        );
    }

    fn work(&self, text: &mut Text) {
        text.histogram(
            "weft_db_transaction_seconds",
            "From a client's transaction to its answer, waiting for conditions included.",
            &self.transaction,
        );
        text.histogram(
            "weft_db_flush_seconds",
            "From a write's arrival in the queue of the disk until it is on disk.",
            &self.flush,
        );
        text.histogram(
            "weft_db_disk_write_seconds",
            "One write to the disk with its flush.",
            &self.disk_write,
        );
        text.histogram(
            "weft_db_step_seconds",
            "One step of the core, in which nothing else is served.",
            &self.step,
        );
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let help = "Transactions that were answered with an error.";
        text.counter("weft_db_transactions_failed", help, count(&self.failed));
        let help = "Updates that were put into the queues of monitors.";
        text.counter("weft_db_updates", help, count(&self.updates));
        let help = "Snapshots that were sent to other members.";
        text.counter("weft_db_snapshots_sent", help, count(&self.snapshots));
    }
}

fn queues(text: &mut Text, seen: &Seen<'_>) {
    let status = seen.status;
    text.gauge(
        "weft_db_events_waiting",
        "Events that wait for the core.",
        seen.events,
    );
    let help = "Transactions that wait for the log.";
    text.gauge("weft_db_transactions_pending", help, status.pending);
    let help = "Transactions that wait for a condition.";
    text.gauge("weft_db_transactions_blocked", help, status.blocked);
    text.gauge("weft_db_sessions", "Sessions of clients.", status.sessions);
    text.gauge("weft_db_monitors", "Monitors of clients.", status.monitors);
}

fn cluster(text: &mut Text, status: &Status) {
    let raft = &status.raft;
    text.gauge("weft_db_term", "The term of the cluster.", raft.term);
    let help = "The number of the member that leads, or 0 if nobody is known to.";
    text.gauge("weft_db_leader", help, raft.leader);
    let is_leader = u8::from(raft.leader == raft.member);
    text.gauge("weft_db_is_leader", "1 if this member leads.", is_leader);
    text.gauge(
        "weft_db_log_first_index",
        "The oldest entry of the log.",
        raft.first,
    );
    text.gauge(
        "weft_db_log_last_index",
        "The newest entry of the log.",
        raft.last,
    );
    text.gauge(
        "weft_db_log_committed_index",
        "The newest committed entry.",
        raft.commit,
    );
    text.gauge(
        "weft_db_log_applied_index",
        "The newest applied entry.",
        raft.applied,
    );
    let members = &raft.membership;
    text.family(
        "weft_db_member",
        Kind::Gauge,
        "The members: 1 votes, 0 learns.",
    );
    for (list, votes) in [(&members.voters, 1), (&members.learners, 0)] {
        for member in list {
            let labels = [("member", &*member.to_string())];
            text.sample("weft_db_member", &labels, votes);
        }
    }
    if raft.peers.is_empty() {
        return;
    }
    let help =
        "How many entries of the leader's log a member does not have yet. Told by the leader only.";
    text.family("weft_db_member_lag_entries", Kind::Gauge, help);
    for (member, matched, _) in &raft.peers {
        let labels = [("member", &*member.to_string())];
        let lag = raft.last.saturating_sub(*matched);
        text.sample("weft_db_member_lag_entries", &labels, lag);
    }
    let help = "1 if the leader has heard of a member lately. Told by the leader only.";
    text.family("weft_db_member_active", Kind::Gauge, help);
    for (member, _, active) in &raft.peers {
        let labels = [("member", &*member.to_string())];
        text.sample("weft_db_member_active", &labels, u8::from(*active));
    }
}

fn contents(text: &mut Text, seen: &Seen<'_>) {
    text.family("weft_db_rows", Kind::Gauge, "The rows of each table.");
    for (table, rows) in &seen.status.rows {
        text.sample("weft_db_rows", &[("table", table)], rows);
    }
    if let Some(bytes) = seen.file_bytes {
        let help = "The size of the database's file.";
        text.gauge("weft_db_file_bytes", help, bytes);
    }
}
