//! The server: sockets, threads and clocks around the core. The only asynchronous part.
//!
//! ```text
//!   listen ──▶ ovsdb sessions ─┐            ┌──▶ disk thread
//!          └─▶ grpc calls ─────┴─▶ core task ◀──┘
//! ```

pub mod args;
mod backup;
mod budget;
mod cluster;
mod connections;
pub mod control;
mod delivery;
mod disk;
mod doors;
mod end;
mod engine;
mod grpc;
mod grumble;
mod held;
mod lane;
mod largeness;
mod line;
mod listen;
mod outputs;
mod ovsdb;
pub mod peers;
mod reading;
mod shell;
mod stranger;
mod tls;
mod unix;
mod wire;

pub use self::args::ServerArgs;
pub use self::engine::{ConnectError, Engine, EngineError, Session, Stopped};
pub use self::outputs::Outputs;
pub use self::peers::{Change, ChangeError, Cluster};
pub use self::shell::{Server, StartError, Watcher};

use std::num::NonZero;
use std::sync::Arc;

use ::ovsdb::schema::DatabaseSchema;
use ::ovsdb::{Error, ErrorKind, Uuid};
use bytes::Bytes;

use crate::event::DatabaseId;
use crate::server_database;

/// The runtime that a server wants: at least two threads, so that a long step of the core leaves one
/// to the sessions.
///
/// # Errors
/// The operating system's, when it gives no threads.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.max(2))
        .enable_all()
        .build()
}

/// What the doors know about the databases that they give access to.
#[derive(Debug)]
pub struct Databases {
    main: Served,
    server: Served,
    /// Identifies this run of the server (`get_server_id`).
    pub process: Uuid,
}

/// A database that clients can name.
#[derive(Debug)]
pub struct Served {
    /// Which it is.
    pub id: DatabaseId,
    /// Its schema.
    pub schema: Arc<DatabaseSchema>,
    /// Its schema in JSON.
    pub schema_json: Bytes,
}

impl Databases {
    /// The main database with this schema, and `_Server`.
    pub fn new(schema: &Arc<DatabaseSchema>, process: Uuid) -> Self {
        let served = |id, schema: &Arc<DatabaseSchema>| Served {
            id,
            schema: schema.clone(),
            schema_json: schema.to_json().to_string().into(),
        };
        Self {
            main: served(DatabaseId::Main, schema),
            server: served(DatabaseId::Server, server_database::schema()),
            process,
        }
    }

    /// Their names.
    pub fn names(&self) -> [&str; 2] {
        [&self.server.schema.name, &self.main.schema.name]
    }

    /// The database of this name.
    pub fn find(&self, name: &str) -> Option<&Served> {
        [&self.main, &self.server]
            .into_iter()
            .find(|served| *served.schema.name == *name)
    }

    /// The database that a client names.
    ///
    /// # Errors
    /// "unknown database".
    pub fn named(&self, name: &str) -> Result<&Served, Error> {
        self.find(name).ok_or_else(|| {
            Error::new(
                ErrorKind::UnknownDatabase,
                format!("get_schema, transact and monitor know no database {name}."),
            )
        })
    }

    /// The database of this identity.
    pub fn get(&self, id: DatabaseId) -> &Served {
        match id {
            DatabaseId::Main => &self.main,
            DatabaseId::Server => &self.server,
        }
    }
}
