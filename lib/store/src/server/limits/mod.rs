//! How much the clients of a server may take of it.

pub mod answer_size;
pub mod budget;
pub mod cost;
pub mod log_limit;
pub mod workers;

/// The core, or the threads that work for it, are gone; so the process is about to end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the server is shutting down")]
pub struct Stopped;
