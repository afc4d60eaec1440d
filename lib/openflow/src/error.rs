//! What can be wrong with received bytes.

/// Bytes that are not a valid message, match or action. The session ends on it: after a wrong length nothing that follows can
/// be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The message ends too early.
    #[error("{what}: {needed} bytes expected, {left} left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// How many bytes it takes.
        needed: usize,
        /// How many there were.
        left: usize,
    },
    /// A length field disagrees with what it measures.
    #[error("{what}: impossible length {length}")]
    Length {
        /// What the length belongs to.
        what: &'static str,
        /// Its value.
        length: usize,
    },
    /// A number that has no meaning there.
    #[error("{what}: unknown value {value:#x}")]
    Unknown {
        /// What the number stands for.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// Actions nested deeper than [`MAX_NESTING`](crate::MAX_NESTING).
    #[error("actions nested deeper than {max} levels")]
    TooDeep {
        /// The limit.
        max: u8,
    },
}
