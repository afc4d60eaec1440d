//! Between the messages of `weft.db.v1` and the OVSDB data model.
//!
//! What both doors have in common should mean the same at both. So operations and monitor requests that come in as
//! protobuf take the same way as those that come as JSON: here they become the values that RFC 7047 writes, and
//! `ovsdb` reads, checks and refuses them. What goes out, and the updates of monitors in both directions, which are
//! many, are converted directly; so are new rows with which everything is in order.

mod data;
mod monitor;
mod operation;
mod outcome;

use ovsdb::Uuid;

pub use data::{datum_from_proto, datum_to_proto};
pub use monitor::{
    conditions_from_proto, conditions_to_proto, monitor_from_proto, monitor_to_proto,
    updates_from_proto,
};
pub use operation::{operations_to_proto, transaction_from_proto};
pub use outcome::{outcome_from_proto, outcome_to_proto};

/// Why a message has no meaning in the data model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct ConvertError {
    /// The field of the message.
    pub field: String,
    /// What is wrong with it.
    pub what: String,
}

impl ConvertError {
    fn new(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            what: what.into(),
        }
    }

    /// The same error, seen from the message around it.
    fn within(mut self, place: &str) -> Self {
        self.field = if self.field.is_empty() {
            place.to_owned()
        } else {
            format!("{place}.{}", self.field)
        };
        self
    }
}

impl From<ConvertError> for ovsdb::Error {
    fn from(error: ConvertError) -> Self {
        Self::syntax(error.to_string())
    }
}

/// 16 bytes as a UUID.
pub fn uuid_from_bytes(field: &str, bytes: &[u8]) -> Result<Uuid, ConvertError> {
    Uuid::from_slice(bytes)
        .map_err(|_| ConvertError::new(field, format!("{} bytes are not a UUID", bytes.len())))
}

/// 16 bytes as a UUID, or nothing as the nil UUID.
pub fn optional_uuid_from_bytes(field: &str, bytes: &[u8]) -> Result<Uuid, ConvertError> {
    if bytes.is_empty() {
        return Ok(Uuid::nil());
    }
    uuid_from_bytes(field, bytes)
}

#[cfg(test)]
mod tests;
