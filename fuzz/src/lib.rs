//! Fuzz targets for whatever reads bytes from outside: both doors, the log, the database file, packets of guests,
//! declarations of networks.
//!
//! A target is a function of bytes that must come back whatever they are, and that panics where
//! what it was told does not hold: what can be read can be written and read again, what is executed
//! leaves a sound database that can be taken back, and a damaged file is found out.
//!
//! `cargo xtask fuzz` runs them under libFuzzer. What it finds goes into `corpus/TARGET`, from where
//! the tests of this crate run it ever after, beside the seeds with which a run begins.

mod doors;
mod file;
mod log;
mod network;
mod packets;
mod requests;
mod sample;

pub use self::doors::{grpc_requests, ovsdb_frames, ovsdb_operations, raft_frames};
pub use self::file::database_file;
pub use self::log::log_entries;
pub use self::network::{network_documents, network_requests};
pub use self::packets::membership_reports;
pub use self::requests::{dhcp_requests, dns_questions};

/// A target.
pub type Target = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("ovsdb_frames", ovsdb_frames),
    ("ovsdb_operations", ovsdb_operations),
    ("grpc_requests", grpc_requests),
    ("raft_frames", raft_frames),
    ("log_entries", log_entries),
    ("database_file", database_file),
    ("membership_reports", membership_reports),
    ("dhcp_requests", dhcp_requests),
    ("dns_questions", dns_questions),
    ("network_documents", network_documents),
    ("network_requests", network_requests),
];
