//! Why a session of the OVSDB service ends, and what its client is told of it.

use std::fmt;
use std::time::Duration;

use ovsdb::framing::FrameError;
use ovsdb::jsonrpc::MessageError;
use ovsdb::{Error, ErrorKind};

use crate::server::limits::Stopped;
use crate::server::limits::budget::Exhausted;

/// So long a client may take to send a message to its end.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(300);

/// Why a session ended.
#[derive(Debug)]
pub enum End {
    /// The client went.
    Closed,
    /// The client broke the connection, or the network did.
    Io(std::io::Error),
    /// The client sent what cannot be cut into messages.
    Frame(FrameError),
    /// The client sent what is not JSON-RPC.
    Message(MessageError),
    /// The client speaks another protocol.
    WrongProtocol(String),
    /// The client sends a message that does not end.
    Unfinished,
    /// There is no room for the client's requests.
    Exhausted(Exhausted),
    /// The client does not read what it asked for.
    CutOff,
    /// The client did not answer a probe.
    Silent,
    /// The server goes.
    Stopped,
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => formatter.write_str("closed by the client"),
            Self::Io(error) => write!(formatter, "connection lost: {error}"),
            Self::Frame(error) => write!(formatter, "{error}"),
            Self::Message(error) => write!(formatter, "{error}"),
            Self::WrongProtocol(what) => formatter.write_str(what),
            Self::Unfinished => write!(
                formatter,
                "a message was begun and not finished within {MESSAGE_TIMEOUT:?}"
            ),
            Self::Exhausted(exhausted) => write!(formatter, "{exhausted}"),
            Self::CutOff => formatter.write_str("the client does not read what it asked for"),
            Self::Silent => formatter.write_str("no answer to a probe"),
            Self::Stopped => formatter.write_str("the server is shutting down"),
        }
    }
}

impl End {
    /// What the client is told of it, if it is its fault and it may listen.
    pub fn told(&self) -> Option<Error> {
        match self {
            Self::Closed | Self::Io(_) | Self::Silent | Self::Stopped => None,
            Self::Frame(_) | Self::Message(_) | Self::WrongProtocol(_) | Self::Unfinished => {
                Some(Error::syntax(self.to_string()))
            }
            Self::Exhausted(_) | Self::CutOff => {
                Some(Error::new(ErrorKind::ResourcesExhausted, self.to_string()))
            }
        }
    }
}

impl From<Stopped> for End {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}
