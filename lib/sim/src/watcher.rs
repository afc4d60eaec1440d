//! A client that watches the database, and has to see every commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use ovsdb::monitor::{MonitorSpec, MonitorVersion};
use ovsdb::{Row, Uuid};
use serde_json::json;
use store::monitor::{Update, View};
use store::session::{Backlog, SessionId};

use crate::schema;

/// Rows by table.
pub type Rows = BTreeMap<(usize, Uuid), Arc<Row>>;

/// A watching client.
#[derive(Debug)]
pub struct Watcher {
    /// Its session, and the member that has it.
    pub session: Option<(SessionId, u64)>,
    /// The session's queue.
    pub backlog: Arc<Backlog>,
    /// What it has seen.
    pub rows: Rows,
    /// The name of the state that it has seen.
    pub state: Option<Uuid>,
}

impl Watcher {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self {
            session: None,
            backlog: Arc::default(),
            rows: Rows::new(),
            state: None,
        }
    }

    /// What it wants to see: everything.
    pub fn view() -> View {
        let tables = json!({
            "Register": [{"columns": ["name", "value"]}],
            "Piece": [{"columns": ["number", "operation"]}],
            "Trace": [{"columns": ["operation"]}]});
        let spec = MonitorSpec::from_json(MonitorVersion::V3, schema(), &tables);
        View::from(spec.expect("the tables and columns exist"))
    }

    /// Its monitor has started.
    pub fn started(&mut self, resumed: bool, state: Uuid, update: &Update) -> Result<(), String> {
        if !resumed {
            self.rows.clear();
        }
        self.apply(state, update)
    }

    /// Something changed.
    pub fn apply(&mut self, state: Uuid, update: &Update) -> Result<(), String> {
        for (columns, rows) in &update.tables {
            let table = &schema().tables[columns.table];
            let defaults = Row::default_for(table);
            for fragment in rows {
                let key = (columns.table, fragment.change.uuid);
                let told = fragment.row_update(table, columns, MonitorVersion::V3);
                let old = self.rows.remove(&key);
                let expected = fragment.change.old.is_some() && !fragment.initial;
                if expected != old.is_some() {
                    return Err(format!(
                        "a watcher was told that row {} of {} changed from {:?}, but it has {old:?}",
                        key.1, table.name, fragment.change.old,
                    ));
                }
                if let Some(row) = told.apply(&defaults, old.as_deref()) {
                    self.rows.insert(key, Arc::new(row));
                }
            }
        }
        self.state = Some(state);
        Ok(())
    }
}
