//! What all errors of this crate have in common.
//!
//! Every verb has a small error of its own, whose variants carry what they speak of. What a face tells its user it makes
//! of those: [`Refusal::kind`] is the code, the variants' fields are the details, and `Display` is a sentence.

/// Why something was refused, in the classes for which every face has a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// What was to be read or changed is not there.
    NotFound,
    /// What was to be made is there already.
    AlreadyExists,
    /// The request makes no sense, whatever the network is.
    Invalid,
    /// The request does not fit the network as it is.
    Conflict,
    /// The server's schema has no room for it.
    Unsupported,
}

/// An error of a verb.
pub trait Refusal: std::error::Error {
    /// Its class.
    fn kind(&self) -> RefusalKind;
}

/// The server's schema, older than ours, lacks something that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// A table.
    #[error("the database has no table {0}")]
    NoTable(&'static str),
    /// A column of a table that it has.
    #[error("the database has no column {column} in table {table}")]
    NoColumn {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
}

impl Refusal for DraftError {
    fn kind(&self) -> RefusalKind {
        RefusalKind::Unsupported
    }
}
