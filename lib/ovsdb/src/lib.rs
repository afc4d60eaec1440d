//! The OVSDB data model and the RFC 7047 wire protocol, client and server side, without I/O.
//!
//! The data model comes first: an [`Atom`] is a scalar, a [`Datum`] is what one column of one row holds, a [`Row`]
//! is the columns of a row in the order of its [`schema::TableSchema`], and a [`RowChange`] is how one row came to
//! be, changed or went. Everything else in this crate turns those into JSON and back.
//!
//! Our own databases declare their tables with [`table!`], which gives each row a Rust struct too: see [`typed`].

pub mod atom;
pub mod datum;
pub mod describe;
pub mod row;
pub mod schema;
pub mod table_macro;
pub mod typed;

pub use atom::{Atom, AtomicType, Real};
pub use datum::Datum;
pub use row::{Row, RowChange};
pub use typed::{Column, Table, TableDefinition};
pub use uuid::Uuid;
