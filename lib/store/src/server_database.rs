//! `_Server`: the database in which a server describes itself.
//!
//! Clients of clusters watch it to find the leader, and to tell a member that lags behind
//! (ovsdb-server(5)). It has one table with a row for each database, `_Server` itself included.
//! It lives in memory only; nobody can write to it.

use std::sync::Arc;

use ovsdb::{Row, RowChange, Table, TableDefinition, Uuid};
use table::Database;

use crate::monitor::Monitors;

pub use ovsdb::server_db::{Database as DatabaseRow, schema};

/// The database and its monitors.
#[derive(Debug)]
pub struct ServerDatabase {
    /// The rows.
    pub database: Database,
    /// Who watches them.
    pub monitors: Monitors,
    main: Uuid,
}

impl ServerDatabase {
    /// With a row for the main database, which has this identity within `_Server`.
    pub fn new(main: Uuid, row: &DatabaseRow) -> Self {
        let mut database = Database::new(schema().clone());
        let own = DatabaseRow {
            name: "_Server".into(),
            model: "standalone".into(),
            schema: Some(schema().to_json().to_string().into()),
            connected: true,
            leader: true,
            ..DatabaseRow::default()
        };
        let rows = [
            (main, Arc::new(row.to_row())),
            (Uuid::new_v5(&main, b"_Server"), Arc::new(own.to_row())),
        ];
        let rows = rows.map(|(uuid, row)| (DatabaseRow::INDEX, uuid, row));
        database
            .load(rows)
            .expect("these two rows refer to nothing");
        Self {
            database,
            monitors: Monitors::new(schema()),
            main,
        }
    }

    /// What is said about the main database.
    pub fn main(&self) -> DatabaseRow {
        let row = self.database.row(DatabaseRow::INDEX, self.main);
        let row = row.expect("the row is never removed");
        DatabaseRow::from_row(self.main, row)
    }

    /// Says something else about the main database; the change, if it is one.
    pub fn set_main(&mut self, row: &DatabaseRow) -> Option<RowChange> {
        let old = self.database.row(DatabaseRow::INDEX, self.main).cloned();
        let new: Option<Arc<Row>> = Some(Arc::new(row.to_row()));
        let change = RowChange {
            table: DatabaseRow::INDEX,
            uuid: self.main,
            old,
            new,
        };
        if change.old == change.new {
            return None;
        }
        self.database
            .apply(std::slice::from_ref(&change))
            .expect("the row is there");
        Some(change)
    }
}
