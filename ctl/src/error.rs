//! What a command fails with.

use northbound::Refusal;

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

/// What a verb refuses is said in its words. Where OVN's tool says something else, the command does.
impl<E: Refusal> From<E> for CommandError {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Gives up with this text.
pub fn fail<T>(text: impl Into<String>) -> Outcome<T> {
    Err(CommandError::Failed(text.into()))
}
