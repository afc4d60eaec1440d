//! What an operation or a request failed with: RFC 7047, section 3.1, `<error>`.
//!
//! An error is a short string that programs compare, [`ErrorKind`], with a sentence for people beside it and, where
//! the request itself was at fault, the piece of it that was.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::datum::DatumError;

/// The string that names an error (RFC 7047, sections 4 and 5, and Open vSwitch's own additions).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request does not have the form that the RFC asks for.
    SyntaxError,
    /// A table has no such column.
    UnknownColumn,
    /// The server has no such database.
    UnknownDatabase,
    /// The server has no such method.
    UnknownMethod,
    /// The session has no such monitor.
    UnknownMonitor,
    /// The session has such a monitor already.
    DuplicateMonitor,
    /// Two inserts of a transaction have one name.
    DuplicateUuidName,
    /// An insert asks for the UUID of a row that exists, or that this transaction deleted.
    DuplicateUuid,
    /// A value, a number of rows or an index is not as the schema demands.
    ConstraintViolation,
    /// A strong reference points to no row, or a row that is referenced was deleted.
    ReferentialIntegrityViolation,
    /// A mutation has no result: a division by zero.
    DomainError,
    /// A mutation's result does not fit its type.
    RangeError,
    /// A `wait` waited in vain.
    TimedOut,
    /// An `assert` names a lock that the session does not own.
    NotOwner,
    /// The transaction contains an `abort`.
    Aborted,
    /// The transaction was canceled by request, or because its database went.
    Canceled,
    /// The server does not offer this.
    NotSupported,
    /// The database may not be changed here, or not now.
    NotAllowed,
    /// This member of a cluster does not lead, or does not serve yet as the leader; nothing was done.
    NotLeader,
    /// The client may not do this (role-based access control).
    PermissionError,
    /// A limit of the server was reached; the details name it.
    ResourcesExhausted,
    /// The server could not store the transaction.
    IoError,
    /// The server is at fault.
    InternalError,
    /// Any other string: what a newer or different server says.
    Other(String),
}

const NAMES: [(ErrorKind, &str); 23] = [
    (ErrorKind::SyntaxError, "syntax error"),
    (ErrorKind::UnknownColumn, "unknown column"),
    (ErrorKind::UnknownDatabase, "unknown database"),
    (ErrorKind::UnknownMethod, "unknown method"),
    (ErrorKind::UnknownMonitor, "unknown monitor"),
    (ErrorKind::DuplicateMonitor, "duplicate monitor ID"),
    (ErrorKind::DuplicateUuidName, "duplicate uuid-name"),
    (ErrorKind::DuplicateUuid, "duplicate uuid"),
    (ErrorKind::ConstraintViolation, "constraint violation"),
    (
        ErrorKind::ReferentialIntegrityViolation,
        "referential integrity violation",
    ),
    (ErrorKind::DomainError, "domain error"),
    (ErrorKind::RangeError, "range error"),
    (ErrorKind::TimedOut, "timed out"),
    (ErrorKind::NotOwner, "not owner"),
    (ErrorKind::Aborted, "aborted"),
    (ErrorKind::Canceled, "canceled"),
    (ErrorKind::NotSupported, "not supported"),
    (ErrorKind::NotAllowed, "not allowed"),
    (ErrorKind::NotLeader, "not leader"),
    (ErrorKind::PermissionError, "permission error"),
    (ErrorKind::ResourcesExhausted, "resources exhausted"),
    (ErrorKind::IoError, "I/O error"),
    (ErrorKind::InternalError, "internal error"),
];

impl ErrorKind {
    /// The string in the protocol.
    pub fn name(&self) -> &str {
        if let Self::Other(name) = self {
            return name;
        }
        NAMES
            .iter()
            .find(|(kind, _)| kind == self)
            .map_or("internal error", |(_, name)| name)
    }

    /// The kind that the protocol calls `name`.
    pub fn from_name(name: &str) -> Self {
        NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map_or_else(|| Self::Other(name.to_owned()), |(kind, _)| kind.clone())
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An `<error>`: its kind, a sentence, and perhaps the JSON that was at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What programs compare.
    pub kind: ErrorKind,
    /// What people read: the thing, the place, the remedy.
    pub details: String,
    /// The piece of the request that could not be read (an Open vSwitch extension).
    pub syntax: Option<String>,
}

impl Error {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, details: impl Into<String>) -> Self {
        Self {
            kind,
            details: details.into(),
            syntax: None,
        }
    }

    /// A "syntax error".
    pub fn syntax(details: impl Into<String>) -> Self {
        Self::new(ErrorKind::SyntaxError, details)
    }

    /// A "constraint violation".
    pub fn constraint(details: impl Into<String>) -> Self {
        Self::new(ErrorKind::ConstraintViolation, details)
    }

    /// The same error with the JSON that was at fault, cut to a length that fits a message.
    #[must_use]
    pub fn at(mut self, json: &Value) -> Self {
        self.syntax = Some(brief(json));
        self
    }

    /// The same error with `place` before its details.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        self.details = format!("{place}: {}", self.details);
        self
    }

    /// The JSON form.
    pub fn to_json(&self) -> Value {
        let mut json = json!({"error": self.kind.name()});
        if !self.details.is_empty() {
            json["details"] = json!(self.details);
        }
        if let Some(syntax) = &self.syntax {
            json["syntax"] = json!(syntax);
        }
        json
    }

    /// Reads the JSON form leniently: what a server sends as an error is one, whatever it looks like.
    pub fn from_json(json: &Value) -> Self {
        let field = |fields: &Map<String, Value>, name| {
            fields.get(name).and_then(Value::as_str).map(str::to_owned)
        };
        match json {
            Value::Object(fields) => Self {
                kind: ErrorKind::from_name(&field(fields, "error").unwrap_or_default()),
                details: field(fields, "details").unwrap_or_default(),
                syntax: field(fields, "syntax"),
            },
            Value::String(name) => Self::new(ErrorKind::from_name(name), ""),
            other => Self::new(ErrorKind::Other(brief(other)), ""),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        if !self.details.is_empty() {
            write!(f, ": {}", self.details)?;
        }
        if let Some(syntax) = &self.syntax {
            write!(f, " (in {syntax})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<DatumError> for Error {
    fn from(error: DatumError) -> Self {
        match error {
            DatumError::Syntax(details) => Self::syntax(details),
            DatumError::Constraint(details) => Self::constraint(details),
        }
    }
}

/// The JSON, cut to a length that fits a message.
pub(crate) fn brief(json: &Value) -> String {
    const LIMIT: usize = 120;
    let text = json.to_string();
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_survive_their_json_form() {
        for (kind, name) in NAMES {
            let error = Error::new(kind, "why").at(&json!({"op": 1}));
            let json = error.to_json();
            assert_eq!(json["error"], name);
            assert_eq!(Error::from_json(&json), error);
        }
        let odd = Error::from_json(&json!({"error": "fire"}));
        assert_eq!(odd.kind, ErrorKind::Other("fire".to_owned()));
        assert_eq!(odd.to_string(), "fire");
    }
}
