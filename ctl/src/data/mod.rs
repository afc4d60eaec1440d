//! What commands read and write.
//!
//! A [`Snapshot`] is the state of the database at one moment, of those tables that a command line needs. A [`Draft`]
//! is a snapshot with the changes that the commands have made so far on top, and becomes the operations of one
//! transaction. Both speak our own schema; what the server lacks of it is hidden from those who look for it by name.

mod draft;
pub mod lookup;
mod operations;
mod snapshot;
pub mod text;

pub use draft::Draft;
pub use snapshot::Snapshot;
