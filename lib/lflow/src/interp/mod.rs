//! The interpreter: what logical flows do with a packet, without a switch.
//!
//! It is the oracle of property tests and the heart of `weft trace`. [`State`] is a packet with its metadata, [`matches`]
//! evaluates a match on it by the letter of the language (not through normal form, so that each can check the other), and
//! [`run`] sends a packet through the logical flows of a [`Network`] and tells where it comes out, what it asks the
//! controller for, and which flows it met on its way.

mod eval;
mod run;
mod state;
mod transform;

pub use eval::matches;
pub use run::{Effect, LogicalFlow, Network, Outcome, Step, run};
pub use state::State;
pub use transform::transformed;
