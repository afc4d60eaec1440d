//! The databases that clients can name.

use std::sync::Arc;

use bytes::Bytes;
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Error, ErrorKind, Uuid};

use crate::server_database;
use crate::session::DatabaseId;

/// What the services know about the databases that they give access to.
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
