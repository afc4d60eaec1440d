//! The in-memory relational engine over the OVSDB data model: constraints, references, indexes, transactions as deltas.
//!
//! A [`Database`] holds the rows of a schema. [`Database::execute`] runs the operations of RFC 7047 and yields their
//! results and a delta: which rows were there before, and which are there now. [`Database::apply`] does to a copy what
//! the delta says, and [`Database::undo`] takes it back, so that a leader may execute ahead of what the cluster has
//! agreed on. Nothing here knows of time, sockets, disks or randomness.
//!
//! ```text
//!  execute ─ operations, one by one (execute, query)
//!     └──── at the end: references, garbage, limits, weak references, indexes (commit)
//!              └──── delta ──► apply │ undo (database): rows, indexes, counts of strong and reverse of weak references
//! ```
//!
//! Costs: an operation costs the rows that it is about (see `query` for how they are found), the end of a transaction
//! what it changed and what refers weakly to rows that go. A [`Reading`] is a transaction that only reads, executed a little
//! at a time. Nothing scans a table to keep the database consistent.

mod commit;
mod database;
mod delta;
mod execute;
mod facts;
mod index;
mod invariants;
mod query;
mod reading;
mod selection;
mod transaction;
mod weak;

pub use database::{Database, Limits};
pub use delta::{ApplyError, reversed};
pub use execute::{Context, Cost, Done, Execution, Permission};
pub use reading::Reading;
