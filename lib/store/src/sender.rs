//! By what a member is known to others: its number, and the server that has it.

use ovsdb::Uuid;

/// Who has said something: a member's number is used again when its server is gone, the server's identity never is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Sender {
    /// The member's number.
    pub member: u64,
    /// The server that has it, as the sender says.
    pub server: Uuid,
    /// The log index of the change that made the members those that the sender knew when its stream began.
    pub members_since: u64,
}

/// Whether a member is listened to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It is that server, or knows of later members.
    Member,
    /// Its number is that of another server.
    Other(Uuid),
    /// It is none, or not any more.
    Unknown,
}

impl Sender {
    /// The same, as one who knows no more than others: for what a leader is asked, whose list of the members is the
    /// newest.
    pub fn strictly(self) -> Self {
        Self {
            members_since: 0,
            ..self
        }
    }

    /// Whether these members listen to it.
    pub fn standing(&self, since: u64, known: Option<Uuid>, is_voter: bool) -> Standing {
        match known {
            // A member that lags behind learns the list from whoever knows of a newer one.
            _ if self.members_since > since => Standing::Member,
            Some(server) if server == self.server => Standing::Member,
            Some(other) => Standing::Other(other),
            // A voter from before this was written down; a learner has to join first.
            None if is_voter => Standing::Member,
            None => Standing::Unknown,
        }
    }
}
