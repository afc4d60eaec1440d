//! The OVSDB data model and the RFC 7047 wire protocol, client and server side, without I/O.
//!
//! The data model comes first: an [`Atom`] is a scalar, a [`Datum`] is what one column of one row holds, a [`Row`]
//! is the columns of a row in the order of its [`schema::TableSchema`], and a [`RowChange`] is how one row came to
//! be, changed or went. Everything else in this crate turns those into JSON and back.
//!
//! Our own databases declare their tables with [`table!`], which gives each row a Rust struct too: see [`typed`].
//!
//! ```
//! use ovsdb::schema::DatabaseSchema;
//! use ovsdb::{Transaction, Uuid};
//! use serde_json::json;
//!
//! let schema = DatabaseSchema::from_json(&json!({
//!     "name": "Pets", "version": "1.0.0",
//!     "tables": {"Pet": {"isRoot": true, "columns": {"name": {"type": "string"}}}},
//! }))?;
//! // What stands in the place of `params` of a "transact", without the database's name.
//! let operations = [
//!     json!({"op": "insert", "table": "Pet", "row": {"name": "Rex"}}),
//!     json!({"op": "insert", "table": "Pet", "row": {"colour": "black"}}),
//! ];
//! let transaction = Transaction::from_json(&schema, &operations, &mut Uuid::new_v4);
//! // It is read up to the first operation that is wrong, which says why.
//! assert_eq!(transaction.operations.len(), 1);
//! println!("{}", transaction.error.expect("a pet has no colour"));
//! # Ok::<(), ovsdb::schema::SchemaError>(())
//! ```

pub mod adapt;
pub mod atom;
pub mod client;
pub mod condition;
pub mod datum;
mod decode;
pub mod describe;
pub mod error;
pub mod file;
pub mod framing;
mod intern;
mod json;
pub mod jsonrpc;
pub mod monitor;
pub mod mutation;
pub mod operation;
pub mod remote;
pub mod request;
pub mod row;
pub mod schema;
pub mod server_db;
mod set;
pub mod table_macro;
mod truth;
pub mod typed;
mod types;
pub mod update;

pub use atom::{Atom, AtomicType, Real};
pub use condition::{Clause, ColumnRef, Condition, Function};
pub use datum::Datum;
pub use error::{Error, ErrorKind};
pub use mutation::{Mutation, Mutator};
pub use operation::{OpResult, Operation, Transaction};
pub use remote::{Listen, Remote};
pub use row::{Row, RowChange};
pub use set::{AtomSet, Atoms, difference};
pub use truth::truth;
pub use typed::{Column, Table, TableDefinition};
pub use uuid::Uuid;
