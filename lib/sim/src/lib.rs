//! Whole clusters in virtual time: the cores of several members, their disks, the streams between
//! them, clients, and faults, all driven by one thread from one seed.
//!
//! ```text
//!   faults ─▶ world: a queue of what happens next, by virtual time
//!               │
//!      ┌────────┼────────────────┐
//!   members   streams         clients ─▶ history ─▶ check
//!   (core, disk)              watchers
//! ```
//!
//! Nothing here asks for the time or for randomness from outside, so a run is repeated exactly by
//! its seed. After a run, [`check`] holds what clients were told against what members have:
//! nothing acknowledged is lost, nothing is applied twice, each register behaves like one that
//! there is only one of ([`linearizable`]), whoever watches has missed nothing, whoever reads what
//! a member has sees no state that was not committed and none older than before, a lock has one
//! owner, members agree, and once the faults are over, everybody gets on.
//!
//! That these checks would notice is shown by [`plan::Bug`]: mistakes that a run can be told to
//! make.

pub mod check;
pub mod client;
pub mod disk;
pub mod linearizable;
pub mod member;
mod network;
pub mod plan;
pub mod random;
pub mod runs;
pub mod script;
mod watcher;
pub mod world;

use std::sync::{Arc, OnceLock};

use ovsdb::schema::DatabaseSchema;
use serde_json::json;

/// The schema of the simulated database: registers that clients work on, a trace of the
/// transactions that were applied, and pieces that make transactions large.
pub fn schema() -> &'static Arc<DatabaseSchema> {
    static SCHEMA: OnceLock<Arc<DatabaseSchema>> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let json = json!({"name": "Simulated", "version": "1.0.0", "tables": {
            "Register": {"isRoot": true, "indexes": [["name"]], "columns": {
                "name": {"type": "integer"},
                "value": {"type": "integer"}}},
            "Piece": {"isRoot": true, "columns": {
                "number": {"type": "integer"},
                "operation": {"type": "integer"}}},
            "Trace": {"isRoot": true, "columns": {
                "operation": {"type": "integer"}}}}});
        Arc::new(DatabaseSchema::from_json(&json).expect("the schema is well-formed"))
    })
}
