//! The logical flows.
//!
//! One feature, one file: what arrives, what the feature guarantees, what it leaves to others; then the [`stage::Rule`]s that
//! it uses and the functions that make its flows. What is the same on all switches is said once, by [`switch::shared`], and
//! is one flow with a group of datapaths.

pub mod flow;
pub mod stage;
pub mod switch;

pub use flow::{Flows, Owner};
pub use stage::{Rule, Stage};
