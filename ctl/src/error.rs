//! What a command fails with.

/// Why a command did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// It cannot be done; the text says what is wrong, and the whole line is given up.
    #[error("{0}")]
    Failed(String),
    /// What the command waits for is not there yet: the line is to be run again when the database has changed.
    #[error("not yet")]
    NotYet,
}

/// The result of a command, or of a part of one.
pub type Outcome<T = ()> = Result<T, CommandError>;

impl From<String> for CommandError {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

/// Gives up with this text.
pub fn fail<T>(text: impl Into<String>) -> Outcome<T> {
    Err(CommandError::Failed(text.into()))
}
