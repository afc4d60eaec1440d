//! The one error of this crate: what was read, where, and what would have been right.

use std::fmt;

/// A text that is not the address it should be.
///
/// Prints as `"10.0.0.256" is not an IP address, at offset 18: expected ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddrError {
    /// The word that could not be read.
    pub word: String,
    /// Byte offset of the word in the text that was parsed.
    pub at: usize,
    /// What the word should have been, e.g. `a MAC address`.
    pub wanted: &'static str,
    /// What is wrong, or how it is written.
    pub hint: &'static str,
}

impl AddrError {
    /// An error about `word`, standing at the start of the text.
    pub fn new(word: &str, wanted: &'static str, hint: &'static str) -> Self {
        Self {
            word: word.to_owned(),
            at: 0,
            wanted,
            hint,
        }
    }

    /// The same error, `offset` bytes further into the text.
    pub fn shifted(mut self, offset: usize) -> Self {
        self.at += offset;
        self
    }
}

impl fmt::Display for AddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Words come from outside: print at most the first 64 characters of them.
        let shown: String = self.word.chars().take(64).collect();
        write!(f, "{shown:?} is not {}", self.wanted)?;
        if self.at > 0 {
            write!(f, " (at column {})", self.at + 1)?;
        }
        write!(f, ": {}", self.hint)
    }
}

impl std::error::Error for AddrError {}
