//! A replica's events as JSON, so that what happened to a daemon can be recorded and made to happen again.
//!
//! | event | JSON |
//! | --- | --- |
//! | connected, disconnected | `{"connected": REMOTE}`, `{"disconnected": [REMOTE, REASON]}` |
//! | changes | `{"changes": [[TABLE, UUID, null or {COLUMN: DATUM, …}], …]}`: rows as they are after it, without the columns that have their defaults |
//! | synced | `"synced"` |
//! | conditions | `{"conditions": NUMBER}` |
//! | lock | `{"lock": BOOLEAN}` |
//! | reply | `{"reply": [NUMBER, null or ERROR]}`: results are left out |

use std::sync::Arc;

use ovsdb::schema::DatabaseSchema;
use ovsdb::{Datum, Error, Row, RowChange};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::TransactError;
use crate::event::Event;
use crate::tables::Tables;

/// A recorded event cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("a recorded event makes no sense: {what}")]
pub struct RecordError {
    what: String,
}

impl RecordError {
    fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

/// An event of a replica with this schema.
pub fn event_to_json(schema: &DatabaseSchema, event: &Event) -> Value {
    match event {
        Event::Connected { remote } => json!({"connected": remote.to_string()}),
        Event::Disconnected { remote, reason } => {
            json!({"disconnected": [remote.to_string(), reason]})
        }
        Event::Changes(changes) => json!({"changes": changes_to_json(schema, changes)}),
        Event::Synced => json!("synced"),
        Event::ConditionsInEffect(number) => json!({"conditions": number}),
        Event::Lock(held) => json!({"lock": held}),
        Event::TransactReply { id, result } => {
            let error = match result {
                Ok(_) => Value::Null,
                Err(error) => match error.error() {
                    Some(known) => known.to_json(),
                    None => json!(error.to_string()),
                },
            };
            json!({"reply": [id, error]})
        }
    }
}

/// Changes of rows, whatever event tells of them.
pub fn changes_to_json(schema: &DatabaseSchema, changes: &[RowChange]) -> Value {
    let changes = changes.iter().filter_map(|change| {
        let table = schema.tables.get(change.table)?;
        let row = change.new.as_ref().map(|row| {
            let defaults = Row::default_for(table);
            let columns = table.columns.iter().zip(row.columns()).enumerate();
            let said = columns.filter(|(index, (_, datum))| *datum != defaults.get(*index));
            said.map(|(_, (column, datum))| (column.name.to_string(), json!(datum)))
                .collect::<serde_json::Map<_, _>>()
        });
        Some(json!([&*table.name, change.uuid.to_string(), row]))
    });
    changes.collect()
}

/// Reads events back. It keeps the rows, to say what each was before a change.
#[derive(Debug)]
pub struct EventReader {
    rows: Tables,
}

impl EventReader {
    /// For the events of a replica with this schema, from the first on.
    pub fn new(schema: &Arc<DatabaseSchema>) -> Self {
        Self {
            rows: Tables::without_indexes(schema.clone()),
        }
    }

    /// The event that this is.
    pub fn read(&mut self, json: &Value) -> Result<Event, RecordError> {
        if json == "synced" {
            return Ok(Event::Synced);
        }
        let member = json.as_object().and_then(|members| members.iter().next());
        let (kind, value) = member.ok_or_else(|| RecordError::new("it is no object"))?;
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let remote = |value: &Value| text(value)?.parse().ok();
        let event = match kind.as_str() {
            "connected" => remote(value).map(|remote| Event::Connected { remote }),
            "disconnected" => remote(&value[0])
                .zip(text(&value[1]))
                .map(|(remote, reason)| Event::Disconnected { remote, reason }),
            "changes" => Some(Event::Changes(self.changes(value)?)),
            "conditions" => value.as_u64().map(Event::ConditionsInEffect),
            "lock" => value.as_bool().map(Event::Lock),
            "reply" => value[0].as_u64().map(|id| Event::TransactReply {
                id,
                result: reply(&value[1]),
            }),
            _ => None,
        };
        event.ok_or_else(|| RecordError::new(format!("\"{kind}\" with {value}")))
    }

    /// Changes of rows, whatever event tells of them.
    pub fn changes(&mut self, json: &Value) -> Result<Vec<RowChange>, RecordError> {
        let changes = json.as_array().into_iter().flatten();
        changes.map(|change| self.change(change)).collect()
    }

    fn change(&mut self, json: &Value) -> Result<RowChange, RecordError> {
        let schema = self.rows.schema().clone();
        let name = json[0].as_str().unwrap_or_default();
        let table = schema.tables.iter().position(|table| *table.name == *name);
        let table = table.ok_or_else(|| RecordError::new(format!("no table {name}")))?;
        let uuid = json[1].as_str().and_then(|text| text.parse::<Uuid>().ok());
        let uuid = uuid.ok_or_else(|| RecordError::new("a row without identity"))?;
        let new = match &json[2] {
            Value::Object(said) => {
                let columns = &schema.tables[table].columns;
                let mut row = Row::default_for(&schema.tables[table]);
                for (index, column) in columns.iter().enumerate() {
                    if let Some(value) = said.get(&*column.name) {
                        let datum = Datum::from_json_unbounded(&column.ty, value, &mut |_| None);
                        let wrong = |error| RecordError::new(format!("{name}: {error}"));
                        row.set(index, datum.map_err(wrong)?);
                    }
                }
                Some(Arc::new(row))
            }
            _ => None,
        };
        let change = RowChange {
            table,
            uuid,
            old: self.rows.get(table, uuid).cloned(),
            new,
        };
        self.rows.apply(&change);
        Ok(change)
    }
}

/// What a transaction came to. Its results are not known any more.
fn reply(json: &Value) -> Result<Vec<ovsdb::operation::OpResult>, TransactError> {
    match json {
        Value::Null => Ok(Vec::new()),
        Value::String(text) if *text == TransactError::NotConnected.to_string() => {
            Err(TransactError::NotConnected)
        }
        Value::String(_) => Err(TransactError::Disconnected),
        error => Err(TransactError::Refused(Error::from_json(error))),
    }
}
