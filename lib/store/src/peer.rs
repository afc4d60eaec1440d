//! What members say to each other.
//!
//! Raft's messages are one part. The other is the service of clients by any member: whoever does
//! not lead forwards transactions to the leader, under a name that keeps the transaction from
//! being applied twice however often it is sent.
//!
//! The two have streams of their own, so that neither a large transaction nor a large answer keeps a heartbeat waiting.
//! A snapshot goes apart from both: Raft's message says where it stands, its rows are streamed.

use std::sync::Arc;

use bytes::Bytes;
use ovsdb::{Error, Row, Transaction, Uuid};

use crate::caller::Caller;
use crate::entry::NamedResult;
use crate::raft::Message;
use crate::session::SessionId;
use crate::storage::{LogPosition, Membership};

/// A message from one member to another.
#[derive(Clone, Debug)]
pub enum PeerMessage {
    /// Raft's.
    Raft(Message),
    /// Execute a client's transaction, if you lead.
    Forward(Box<Forward>),
    /// Nobody waits for a forwarded transaction any more.
    Cancel(Call),
    /// What became of a forwarded transaction.
    Answer(Answer),
}

/// What a stream between two members is for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Purpose {
    /// Raft's messages.
    Raft,
    /// Transactions that are forwarded, and their answers.
    Forwards,
}

impl Purpose {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Raft, Self::Forwards];
}

impl PeerMessage {
    /// The stream in which it goes.
    pub fn purpose(&self) -> Purpose {
        match self {
            Self::Raft(_) => Purpose::Raft,
            Self::Forward(_) | Self::Cancel(_) | Self::Answer(_) => Purpose::Forwards,
        }
    }
}

/// By what a member recognises a transaction that it forwarded.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Call {
    /// The random number of the member's process.
    pub process: u64,
    /// Counts its calls.
    pub number: u64,
}

/// A client's transaction on its way to the leader.
#[derive(Clone, Debug)]
pub struct Forward {
    /// For the answer.
    pub call: Call,
    /// The transaction's name: the client's, or one that the member chose.
    pub name: Uuid,
    /// How far the log was applied when it was sent for the first time: it can only have been
    /// applied after that.
    pub since: u64,
    /// How long it has waited for its conditions, in milliseconds.
    pub waited_ms: u64,
    /// The term of the leader that is asked. In another one, nothing is done.
    pub term: u64,
    /// Counts what the member's process sends, each transaction as often as it is sent. What comes
    /// after a newer sending is late, and nothing is done.
    pub sending: u64,
    /// Who the client is: the member that it is connected to vouches for that, and the leader checks what it may do.
    pub caller: Caller,
    /// The client's session at that member, by which it takes turns with others.
    pub session: SessionId,
    /// The operations.
    pub transaction: Transaction,
}

/// What became of a forwarded transaction.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Which.
    pub call: Call,
    /// Which sending of it.
    pub sending: u64,
    /// What.
    pub result: Answered,
}

/// What became of a forwarded transaction.
#[derive(Clone, Debug)]
pub enum Answered {
    /// It was executed.
    Done {
        /// The results, as the JSON array of RFC 7047, section 4.1.3.
        results: Bytes,
        /// How far the answering member's log was applied; who asked should have as much.
        index: u64,
        /// The log index of the commit, if there was one.
        commit: Option<u64>,
    },
    /// Who was asked does not lead; send it to the leader.
    NotLeader,
    /// It was not executed, or too long ago to know.
    Refused(Error),
}

/// A snapshot on its way to a member.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Raft's message.
    pub message: Message,
    /// What it is about.
    pub content: Arc<Content>,
}

/// The whole database at one place of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// The place.
    pub position: LogPosition,
    /// The members there.
    pub membership: Membership,
    /// The log index at which the rows last changed.
    pub data_index: u64,
    /// By table, all rows.
    pub rows: Vec<(usize, Uuid, Arc<Row>)>,
    /// The names of transactions, with the log index and the answer of each.
    pub names: Vec<(u64, NamedResult)>,
}
