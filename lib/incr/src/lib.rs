//! The incremental engine: tracked reads, units of compilation, deltas.
