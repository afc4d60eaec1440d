//! From a command line to its effect.
//!
//! [`line`] runs the commands of a line over a snapshot, without I/O. [`commit`] does the rest against a
//! [`database::Database`]: it commits what the commands want, runs them again when somebody else was faster, and waits
//! where that was asked for. [`connection`] is a database behind a socket.

pub mod commit;
pub mod connection;
pub mod database;
pub mod line;
