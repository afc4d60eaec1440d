//! What goes wrong, as every door tells it.

use objects::Refused;

/// Why something cannot be done.
#[derive(Debug)]
pub enum Trouble {
    /// It is refused.
    Refused(Refused),
    /// The client may not.
    Denied(String),
    /// What the client shows does not let it in.
    Unauthenticated(String),
    /// There is no database now.
    Unavailable(String),
    /// It was done, but waiting for it took too long.
    Late(String),
    /// There are too many.
    Exhausted(String),
    /// Nobody knows whether it was done.
    Unknown(String),
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
