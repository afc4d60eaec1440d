//! What a monitor is told: changed rows, and their bytes once somebody needs them.
//!
//! A commit touches a row once, but many monitors see it. The piece of JSON about one row, a
//! [`Fragment`], depends only on the columns that a monitor shows, so all monitors with equal
//! columns share it; whole updates are shared by monitors with equal columns and conditions. The
//! bytes are made by the first session that needs them, in its own thread, and kept beside.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use ovsdb::monitor::{MonitorVersion, TableMonitor};
use ovsdb::schema::{DatabaseSchema, TableSchema};
use ovsdb::update::RowUpdate;
use ovsdb::{RowChange, Uuid};

use super::message;
use super::view::View;

/// Changes of rows, as far as a view shows them.
#[derive(Debug, Default)]
pub struct Update {
    /// By table, each once, and none without rows.
    pub tables: Vec<(Arc<TableMonitor>, Vec<Arc<Fragment>>)>,
    json: [OnceLock<Bytes>; 2],
}

/// The change of one row.
#[derive(Debug)]
pub struct Fragment {
    /// The row, with the sides of the change that the view sees.
    pub change: RowChange,
    /// Whether it is part of a view's initial content.
    pub initial: bool,
    json: [OnceLock<Box<[u8]>>; 2],
    messages: [OnceLock<Bytes>; 2],
}

impl Update {
    /// An update of these rows.
    pub fn new(tables: Vec<(Arc<TableMonitor>, Vec<Arc<Fragment>>)>) -> Self {
        Self {
            tables,
            json: Default::default(),
        }
    }

    /// Whether it tells nothing.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The JSON object of tables.
    pub fn to_json(&self, schema: &DatabaseSchema, version: MonitorVersion) -> &Bytes {
        self.json[form(version)].get_or_init(|| self.encode(schema, version).into())
    }

    fn encode(&self, schema: &DatabaseSchema, version: MonitorVersion) -> Vec<u8> {
        let mut json = vec![b'{'];
        for (view, rows) in &self.tables {
            let table = &schema.tables[view.table];
            begin_member(&mut json, &table.name);
            json.push(b'{');
            for fragment in rows {
                let mut buffer = Uuid::encode_buffer();
                let uuid = fragment.change.uuid.hyphenated().encode_lower(&mut buffer);
                begin_member(&mut json, uuid);
                json.extend_from_slice(fragment.to_json(table, view, version));
            }
            json.push(b'}');
        }
        json.push(b'}');
        json
    }
}

/// Starts a member of a JSON object whose name needs no escapes.
fn begin_member(json: &mut Vec<u8>, name: &str) {
    if json.last() != Some(&b'{') {
        json.push(b',');
    }
    json.push(b'"');
    json.extend_from_slice(name.as_bytes());
    json.extend_from_slice(b"\":");
}

impl Fragment {
    /// A fragment about a row of which the view sees these sides.
    pub fn new(change: RowChange, initial: bool) -> Self {
        Self {
            change,
            initial,
            json: Default::default(),
            messages: Default::default(),
        }
    }

    fn to_json(&self, table: &TableSchema, view: &TableMonitor, version: MonitorVersion) -> &[u8] {
        self.json[form(version)].get_or_init(|| {
            let update = self.row_update(table, view, version);
            serde_json::to_vec(&update.with(table))
                .expect("rows have string keys and no failing parts")
                .into()
        })
    }

    /// The bytes of the message that tells gRPC clients; with `differences`, those that asked for them.
    pub fn to_message(
        &self,
        table: &TableSchema,
        view: &TableMonitor,
        differences: bool,
    ) -> &Bytes {
        self.messages[usize::from(differences)]
            .get_or_init(|| message::row_update(table, view, &self.change, differences))
    }

    /// The change in the form that a client reads.
    pub fn row_update(
        &self,
        table: &TableSchema,
        view: &TableMonitor,
        version: MonitorVersion,
    ) -> RowUpdate {
        let RowChange { uuid, old, new, .. } = &self.change;
        let update = match new {
            Some(new) if self.initial => view.initial(version, table, *uuid, new),
            _ => view.transition(version, table, *uuid, old.as_deref(), new.as_deref()),
        };
        update.expect("what is not worth a word has no fragment")
    }
}

/// Groups rows by the tables of a view.
pub fn grouped(view: &View, rows: Vec<(usize, Arc<Fragment>)>) -> Update {
    let mut tables: Vec<Vec<Arc<Fragment>>> = vec![Vec::new(); view.tables.len()];
    for (place, fragment) in rows {
        tables[place].push(fragment);
    }
    let tables = tables.into_iter().zip(&view.tables);
    let filled = tables.filter(|(rows, _)| !rows.is_empty());
    Update::new(
        filled
            .map(|(rows, (columns, _))| (columns.clone(), rows))
            .collect(),
    )
}

/// Of the three versions, the last two have one form.
fn form(version: MonitorVersion) -> usize {
    usize::from(version != MonitorVersion::V1)
}
