//! The incremental compiler from the northbound database to southbound logical flows.
//!
//! ```text
//! northbound rows ──▶ model ──▶ alloc ──▶ pipeline ──▶ output ──▶ southbound rows
//!                     valid      keys      flows       differences
//! ```
//!
//! [`core::Core`] is the program: events in, effects out, no sockets and no clock. [`compiler`] is what it keeps: units on
//! the incremental engine, which run again only when something that they read has changed. `daemon.rs` connects the core to
//! two databases and a control socket.

pub mod alloc;
pub mod compiler;
pub mod core;
pub mod daemon;
mod database;
pub mod error;
pub mod model;
pub mod output;
pub mod pipeline;
pub mod status;
