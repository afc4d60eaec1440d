//! Protobuf and tonic: the Database service and the Raft transport.
//!
//! The `.proto` files under `proto/` are the definition of package `weft.db.v1`; this crate
//! compiles them and holds the conversions between their messages and the OVSDB data model.
//! Messages from a peer are untrusted: every conversion into our own types is fallible, and its
//! error names the field.

/// The generated messages, clients and servers of package `weft.db.v1`.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::semicolon_if_nothing_returned,
    reason = "generated from the .proto files, whose comments become the documentation"
)]
pub mod v1 {
    tonic::include_proto!("weft.db.v1");
}

pub mod codec;
pub mod convert;
pub mod shared;
pub mod weight;
mod wire;

/// The encoded descriptor set of `weft.db.v1`, for the reflection service.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The largest gRPC message that either side accepts, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;
