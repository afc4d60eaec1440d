//! A replica of a store and of an ovsdb-server, in one program.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod common;
mod ovsdb_server;
mod store;
