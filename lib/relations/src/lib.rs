//! Rows of a database, and what is derived of them, as tracked inputs of the incremental engine.
//!
//! A *cell* is a relation and a key: that is all the engine needs to know of what a unit reads. There are two sorts of
//! relations:
//!
//! * [`Rows`]: the rows of one database, by small handles; which rows refer to a row; which rows have a value, such as a
//!   name. They follow the changes that a replica tells.
//! * [`Values`]: what units say, typed for each relation ([`Relation`], [`Bucket`], [`Set`]) and stored together, so that a feature
//!   declares its relations where it stands, and no list of all types has to know them.
//!
//! ```text
//! RowChange ──▶ Rows ──cells──▶ units ──values──▶ Values ──cells──▶ units of later layers
//! ```
//!
//! What holds:
//!
//! * Keys are exact and small ([`Key`], five words). Where a name has no such key, the *cell* carries a keyed hash of it, and
//!   the *lookup* compares the name itself: two names with one hash cost an idle run of a unit at worst, and nobody outside
//!   can find such names.
//! * Absence is read, too: every accessor notes its cell before it answers.
//! * The members of a bucket stand in the order of their rows' UUIDs or of their own values, never in the order of arrival:
//!   what is computed from them does not depend on history.
//! * A handle is used again only after [`Rows::recycle`], which is called when the engine is at rest: until then units may
//!   still know it.

mod cell;
mod rows;
mod values;

pub use cell::{Cell, Handle, Key, Small};
pub use rows::{Applied, IndexId, Rows, difference};
pub use values::{Bucket, Changed, Declared, Relation, Set, Value, Values};
