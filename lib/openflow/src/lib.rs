//! OpenFlow 1.5 and the Nicira extensions of Open vSwitch: codec and session, without I/O.
//!
//! Bytes come in and messages go out; sockets, clocks and retries belong to the caller. Three layers:
//!
//! 1. what a flow is made of: [`Field`], [`Match`], [`Action`];
//! 2. messages, from [`Message::decode`] and [`Message::encode`];
//! 3. [`Session`]: framing, version negotiation, echoes, and which answer belongs to which question.
//!
//! Only what a controller of Open vSwitch needs is here: OpenFlow 1.5 (wire version 6), no other version, and those messages and
//! actions that Weft sends or can meet in answers. What it does not know is an error that names it, or, where a message can be
//! passed over, [`Message::Other`].
//!
//! ```
//! use openflow::{Field, Match};
//!
//! let tcp = Match::new()
//!     .with(Field::EthType, 0x0800_u16)
//!     .with(Field::IpProto, 6_u8)
//!     .with_masked(Field::Metadata, 5_u64, 0xff_ffff_u64);
//! let mut bytes = Vec::new();
//! tcp.encode(&mut bytes);
//! assert_eq!(bytes.len() % 8, 0);
//! assert_eq!(Match::decode(&mut openflow::wire::Reader::new(&bytes))?, tcp);
//! # Ok::<(), openflow::DecodeError>(())
//! ```

pub mod action;
mod error;
pub mod field;
mod flow_match;
pub mod message;
mod oxm;
mod port;
pub mod session;
pub mod wire;

pub(crate) use action::NICIRA;
#[cfg(test)]
mod testing;

pub use action::{Action, MAX_NESTING};
pub use error::DecodeError;
pub use field::{Field, Prerequisite, Subfield, ones};
pub use flow_match::{Match, Term, VLAN_PRESENT};
pub use message::{ErrorMessage, Message, Xid};
pub use port::Port;
pub use session::{Incoming, Session, SessionError};
