//! The replicated store: raft-rs over the table engine, storage, monitors, server shell.
//!
//! ```text
//!  clients ── server/ ── Event ──▶ core ── Effects ──▶ server/ ── clients
//!                                  │ ▲
//!                     raft/ (order)│ │Persisted
//!                                  ▼ │
//!                                disk thread ── storage/
//! ```

pub mod access;
pub mod caller;
pub mod codec;
pub mod core;
pub mod entry;
pub mod event;
pub mod history;
pub mod load;
pub mod locks;
pub mod matcher;
pub mod metrics;
pub mod monitor;
pub mod offline;
pub mod parts;
pub mod peer;
pub mod raft;
pub mod retries;
pub mod sender;
pub mod server;
pub mod server_database;
pub mod session;
pub mod storage;
pub mod writer;
