//! A client's live copy of a database, over gRPC or OVSDB alike: change feed, transactions with retry.
//!
//! ```text
//!   remotes ══▶ connection/ ── client::Event ──▶ core ── Event ──▶ the owner's channel
//!                   ▲                                                   │
//!                   └────────────── Handle: transact, conditions ◀──────┘
//! ```
//!
//! [`spawn`] starts a task that stays connected to one of the [`Spec`]'s remotes and tells its owner of every change as
//! [`RowChange`](ovsdb::RowChange)s, in the columns and order of the owner's schema, whatever the server's is. After a
//! reconnection only the difference to what was told before is told. The owner keeps what it wants of it, for example
//! in [`Tables`].
//!
//! # What is guaranteed
//! * Changes applied in order give, at every [`Event::Synced`] and after every [`Event::Changes`] that follows it until
//!   [`Event::Disconnected`], a state that the database had. Between `Disconnected` and the next `Synced` the last
//!   state stands, stale.
//! * The changes that a transaction of the owner's makes are told before its [`Event::TransactReply`].
//! * Every transaction is replied to exactly once. [`TransactError::Disconnected`] means that nobody knows whether it
//!   happened: look at what the changes say after the next `Synced`, and try again if need be. With [`Spec::resend`] and
//!   over gRPC, the replica tries again by itself.
//! * An owner that does not empty its channel stops the task from reading, and so, in the end, the server from sending:
//!   nothing is queued without bound and nothing is dropped.

mod connection;
mod core;
mod error;
mod event;
pub mod record;
mod spec;
mod tables;

pub use connection::client::{Client, ClientError};
pub use connection::schema::{fetch_schema, open_channel};
pub use connection::{Handle, State, Status, spawn};
pub use error::TransactError;
pub use event::Event;
pub use spec::{Columns, Spec, TableSpec};
pub use tables::{TableRows, Tables};
pub use tls::Files as Tls;
