//! The incremental compiler from the northbound database to southbound logical flows.
//!
//! ```text
//!            features/: what is compiled                          one file a feature, one list of all
//!                 │ declare
//!                 ▼
//! rows ──▶ compiler/: units, relations, numbers, output ──▶ rows  machinery that knows no feature
//! ```
//!
//! [`core::Core`] is the program: events in, effects out, no sockets and no clock. [`compiler`] is what it keeps: units on
//! the incremental engine, which run again only when something that they read has changed. `daemon.rs` connects the core to
//! two databases and a control socket; [`draft`] puts a core between copies of them, to say what a change would do.

mod active;
mod check;
pub mod compiler;
pub mod core;
pub mod daemon;
mod database;
pub mod draft;
pub mod error;
pub mod features;
pub mod record;
pub mod status;
#[cfg(test)]
mod testing;
