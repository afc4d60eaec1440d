//! raft-rs logs through slog; here its records become tracing's.
//!
//! Raft narrates its normal life at INFO; an operator does not want that, so it becomes DEBUG. Its
//! warnings stay warnings.

use std::fmt::{self, Write};

use slog::{Drain, KV, Level, Logger, OwnedKVList, Record, Serializer};

/// The logger to hand to raft-rs.
pub fn logger() -> Logger {
    Logger::root(TracingDrain, slog::o!())
}

#[derive(Debug)]
struct TracingDrain;

impl Drain for TracingDrain {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), slog::Never> {
        let level = record.level();
        if !level.is_at_least(Level::Warning) && !tracing::enabled!(tracing::Level::DEBUG) {
            return Ok(());
        }
        let mut fields = Fields(String::new());
        // A field that cannot be printed is left out of the line.
        let _ = record.kv().serialize(record, &mut fields);
        let _ = values.serialize(record, &mut fields);
        let (message, fields) = (record.msg(), fields.0);
        match level {
            Level::Critical | Level::Error => tracing::error!("{message}{fields}"),
            Level::Warning => tracing::warn!("{message}{fields}"),
            Level::Info | Level::Debug => tracing::debug!("{message}{fields}"),
            Level::Trace => tracing::trace!("{message}{fields}"),
        }
        Ok(())
    }
}

/// Prints fields as ` key=value`.
struct Fields(String);

impl Serializer for Fields {
    fn emit_arguments(&mut self, key: slog::Key, value: &fmt::Arguments<'_>) -> slog::Result {
        write!(self.0, " {key}={value}").map_err(|_| slog::Error::Other)
    }
}
