//! The incremental engine: tracked reads, units of compilation, deltas.
//!
//! A [`Program`] describes a computation as *units*: pure functions, each keyed by an entity (a port, a switch). A unit
//! reads *cells* (a row, the members of an index bucket, the absence of either) and says *facts*. The engine records what
//! each unit read and said. When a cell changes, the units that read it run again, and no others; what a unit says now is
//! compared with what it said before, and only the difference is applied. Facts may become cells of a later layer, so a
//! change travels through the layers exactly as far as it makes a difference (early cutoff).
//!
//! ```text
//!  inputs ──changed cells──▶ units of layer 0 ──facts──▶ stores ──changed cells──▶ units of layer 1 ──▶ … ──▶ outputs
//!                              ▲ reads are recorded             ▲ a store that stays equal changes nothing
//! ```
//!
//! What the engine guarantees:
//!
//! * After [`Engine::step`] says that it is done, every unit's facts are what the unit would say now: the state is the one
//!   that a computation from scratch would reach. `tests/oracle.rs` holds the engine to that with random programs.
//! * Within one wave of changes no unit runs twice, because a unit reads only what earlier layers write.
//! * Work is bounded by the readers of what changed. Nothing walks all units or all cells; edges are kept in doubly linked
//!   lists, so that a cell with ten thousand readers costs nothing to a reader that leaves.
//! * Work can be interrupted: a step runs at most as many units as it is told.
//!
//! What it leaves to the program: where values are stored (with [`Store`], [`Index`] and [`Counted`] as building blocks)
//! and what applying a fact means.

mod counted;
mod engine;
mod graph;
mod index;
mod places;
mod reads;
mod stats;
mod store;

pub use counted::Counted;
pub use engine::{Engine, Life, Program, Progress, Said, UnitId};
pub use index::Index;
pub use reads::{Changes, Reads};
pub use stats::{Stats, UnitStats};
pub use store::Store;
