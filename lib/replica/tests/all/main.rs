//! A replica of a store and of an ovsdb-server, in one program.

mod common;
mod ovsdb_server;
mod store;
