//! Sockets: listeners, TLS, and what speaks over them.

pub mod listen;
pub mod protocol;
pub mod tls;
pub mod tonic_io;
mod unix;
