//! The incremental compiler from the northbound database to southbound logical flows.
