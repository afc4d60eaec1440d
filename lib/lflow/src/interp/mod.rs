//! The interpreter: what logical flows do with a packet, without a switch.
//!
//! It is the oracle of property tests and the heart of `weft trace`. [`State`] is a packet with its metadata, [`matches`]
//! evaluates a match on it by the letter of the language (not through normal form, so that each can check the other), and
//! [`run`] executes a network's logical flows.

mod eval;
mod state;

pub use eval::matches;
pub use state::State;
