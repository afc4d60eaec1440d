//! The in-memory relational engine over the OVSDB data model: constraints, references, indexes, transactions as deltas.
