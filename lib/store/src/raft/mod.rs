//! Consensus: one raft-rs node and the log that it reads, without I/O.
//!
//! [`Node`] is driven from outside: time comes as [`Node::tick`], proposals as [`Node::propose`],
//! finished disk writes as [`Node::persisted`]. After each of these, [`Node::take_work`] says what
//! is to be done. The order that keeps Raft's promises is in that one function.

pub mod convert;
mod drain;
mod log;
mod node;

pub use raft::eraftpb::{Message, MessageType};

pub use self::node::{Committed, Mark, MemberChange, Node, NodeError, Role, Status, Work};
