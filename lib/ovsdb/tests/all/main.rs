//! The data model and the protocol against files, garbage and ovsdb-server, in one program.

mod files;
mod garbage;
mod ovsdb_server;
