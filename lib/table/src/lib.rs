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
//!
//! ```
//! use std::sync::Arc;
//!
//! use ovsdb::schema::DatabaseSchema;
//! use ovsdb::{Transaction, Uuid};
//! use serde_json::json;
//! use table::{Context, Database, Execution};
//!
//! let schema = Arc::new(DatabaseSchema::from_json(&json!({
//!     "name": "Pets", "version": "1.0.0",
//!     "tables": {"Pet": {"isRoot": true, "columns": {"name": {"type": "string"}}, "indexes": [["name"]]}},
//! }))?);
//! let (mut leader, mut copy) = (Database::new(schema.clone()), Database::new(schema.clone()));
//! let rex = json!({"op": "insert", "table": "Pet", "row": {"name": "Rex"}});
//! let transaction = Transaction::from_json(&schema, &[rex], &mut Uuid::new_v4);
//! let Execution::Done(done) = leader.execute(&transaction, &Context::default()) else { panic!("nothing to wait for") };
//! copy.apply(&done.delta).expect("a copy of the same state");
//! assert_eq!(copy.row_count(0), 1);
//! // A second Rex breaks the index, and changes nothing.
//! let Execution::Done(done) = leader.execute(&transaction, &Context::default()) else { panic!("nothing to wait for") };
//! assert!(done.outcome.is_err() && done.delta.is_empty());
//! # Ok::<(), ovsdb::schema::SchemaError>(())
//! ```

mod commit;
mod database;
mod delta;
mod execute;
mod facts;
mod index;
mod invariants;
mod lookup;
mod query;
mod reading;
mod selection;
mod transaction;
mod weak;

pub use database::{Database, Limits};
pub use delta::{ApplyError, reversed};
pub use execute::{Context, Cost, Done, Execution, Permission};
pub use reading::Reading;
