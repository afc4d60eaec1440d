//! The objects of a logical network, as orchestrators and people declare them: what kinds there are, which column holds
//! which field, and what can be done with them.
//!
//! The messages of `proto/weft/northbound/v1` say what an object is and document it; from their descriptors come the
//! generated types, JSON and YAML, and the schemas of both. [`kinds`] says once for each kind which table it is in, where
//! its name is and what it belongs to; fields are columns of their name. So there is one converter for all kinds, and the
//! doors (gRPC, REST, command line) are faces of the same functions.
//!
//! Everything here is a function of a [`Draft`](northbound::Draft) or of the rows under it, without I/O.
//!
//! | room | what is there |
//! | --- | --- |
//! | [`v1`] | the generated messages, client and server |
//! | [`error`] | refusals: a code, and each field with what is wrong and what to do |
//! | [`kinds`] | the table of kinds |
//! | [`catalog`] | kinds and fields, put together with the descriptors and the schema |
//! | [`values`] | fields to columns and back |
//! | [`checks`] | what the database would take and nobody would understand |
//! | [`circles`] | names that lead back to where they come from |
//! | [`together`] | fields that only make sense together |
//! | [`find`] | rows by name, by parent, by owner; the indexes for that |
//! | [`read`] | rows as objects |
//! | [`declared`] | objects as somebody wants them |
//! | [`fences`] | names that lead to what is another's |
//! | [`write`] | creating, changing and deleting one object |
//! | [`apply`] | making what an owner has be what it declares |
//! | [`list`] | pages |
//! | [`document`] | JSON and YAML |
//! | [`tokens`] | bearer tokens |
//! | [`schema`] | the JSON schema |
#![forbid(unsafe_code)]

/// The generated messages, clients and servers of package `weft.northbound.v1`.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::semicolon_if_nothing_returned,
    reason = "generated from the .proto files, whose comments become the documentation"
)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/weft.northbound.v1.rs"));
}

pub mod apply;
pub mod catalog;
pub mod checks;
pub mod circles;
pub mod declared;
pub mod document;
pub mod error;
pub mod fences;
pub mod find;
pub mod kinds;
pub mod list;
pub mod read;
pub mod schema;
pub mod together;
pub mod tokens;
pub mod values;
pub mod write;

pub use catalog::{Catalog, Kind, catalog};
pub use declared::Declared;
pub use error::{Code, Refused, Violation};

/// The encoded descriptors of the messages and the service, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
