//! Who may do what: every role, table, column, operation and door; certificates, listeners and chassis as they are used.
//!
//! The stories need Open vSwitch and OVN's tools, and Weft's binaries; the matrix needs nothing.

#![allow(
    clippy::unwrap_used,
    reason = "a panic is the message of a failed test"
)]

mod chassis;
mod doors;
mod listeners;
mod matrix;
mod oracle;
mod rig;
