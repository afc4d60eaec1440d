//! By what a member recognises its own proposals.

/// By what a member recognises its own proposals: 24 bytes in `Entry.context`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// The member that proposed.
    pub member: u64,
    /// A random number, chosen when its process started.
    pub process: u64,
    /// Counts the process's proposals.
    pub sequence: u64,
}

impl Mark {
    pub(super) fn encode(self) -> Vec<u8> {
        [self.member, self.process, self.sequence]
            .map(u64::to_le_bytes)
            .concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        match (words, rest) {
            ([member, process, sequence], []) => Some(Self {
                member: u64::from_le_bytes(*member),
                process: u64::from_le_bytes(*process),
                sequence: u64::from_le_bytes(*sequence),
            }),
            _ => None,
        }
    }
}
