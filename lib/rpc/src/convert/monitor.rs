//! Monitors: what is asked for, and what is told.

use bytes::Bytes;
use ovsdb::monitor::{MonitorSpec, MonitorVersion, TableMonitor};
use ovsdb::schema::{DatabaseSchema, TableSchema};
use ovsdb::update::{Delta, RowUpdate, SparseRow, TableUpdates};
use ovsdb::{ColumnRef, Condition, Error, Uuid};
use prost::Message;
use serde_json::{Map, Value, json};

use super::data::datum_from_proto;
use super::operation::{clauses_to_json, clauses_to_proto};
use super::{ConvertError, uuid_from_bytes};
use crate::shared::TableUpdate;
use crate::v1;
use crate::v1::row_update::Change;
use crate::wire::read;

/// The tables of a monitor request as messages.
pub fn monitor_to_proto<'a>(
    schema: &DatabaseSchema,
    tables: impl IntoIterator<Item = &'a TableMonitor>,
) -> Vec<v1::TableMonitor> {
    let convert = |monitor: &TableMonitor| {
        let table = &schema.tables[monitor.table];
        let name =
            |monitored: &ovsdb::monitor::MonitoredColumn| monitored.column.name(table).to_owned();
        v1::TableMonitor {
            table: table.name.to_string(),
            columns: Some(v1::Columns {
                names: monitor.columns.iter().map(name).collect(),
            }),
            r#where: clauses_to_proto(table, monitor.condition.clauses()),
        }
    };
    tables.into_iter().map(convert).collect()
}

/// Reads the tables of a monitor request, as those of a `monitor_cond_since`.
pub fn monitor_from_proto(
    schema: &DatabaseSchema,
    tables: Vec<v1::TableMonitor>,
) -> Result<MonitorSpec, Error> {
    let mut json = Map::new();
    for monitor in tables {
        let mut part = json!({"where": clauses_to_json(monitor.r#where)?});
        if let Some(columns) = monitor.columns {
            part["columns"] = json!(columns.names);
        }
        if json.insert(monitor.table.clone(), json!([part])).is_some() {
            let twice = ConvertError::new("tables", format!("{} stands here twice", monitor.table));
            return Err(twice.into());
        }
    }
    MonitorSpec::from_json(MonitorVersion::V3, schema, &Value::Object(json))
}

/// New conditions of tables as messages.
pub fn conditions_to_proto<'a>(
    schema: &DatabaseSchema,
    conditions: impl IntoIterator<Item = (usize, &'a Condition)>,
) -> Vec<v1::TableCondition> {
    let convert = |(table, condition): (usize, &Condition)| {
        let table = &schema.tables[table];
        v1::TableCondition {
            table: table.name.to_string(),
            r#where: clauses_to_proto(table, condition.clauses()),
        }
    };
    conditions.into_iter().map(convert).collect()
}

/// Reads new conditions for tables of `spec`.
pub fn conditions_from_proto(
    schema: &DatabaseSchema,
    spec: &MonitorSpec,
    conditions: Vec<v1::TableCondition>,
) -> Result<Vec<(usize, Condition)>, Error> {
    let mut json = Map::new();
    for condition in conditions {
        let clauses = clauses_to_json(condition.r#where)?;
        json.insert(condition.table, json!([{"where": clauses}]));
    }
    spec.condition_changes(schema, &Value::Object(json))
}

/// Reads updates. Tables and columns that `schema` does not have are left out: a newer server may tell of them.
pub fn updates_from_proto(
    schema: &DatabaseSchema,
    updates: Vec<TableUpdate>,
) -> Result<TableUpdates, ConvertError> {
    let mut tables = Vec::with_capacity(updates.len());
    for update in updates {
        let Some(index) = schema.table_index(&update.table) else {
            continue;
        };
        let table = &schema.tables[index];
        let row = |row: Bytes| {
            if let Some(read) = usual(table, &row) {
                return Ok(read);
            }
            let row = v1::RowUpdate::decode(row)
                .map_err(|error| ConvertError::new("rows", error.to_string()))?;
            let uuid = uuid_from_bytes("uuid", &row.uuid)?;
            let update = match row.change {
                Some(Change::Inserted(columns)) => {
                    RowUpdate::Insert(row_from_proto(table, columns)?)
                }
                Some(Change::Modified(columns)) => {
                    let columns = row_from_proto(table, columns)?.into_iter();
                    let delta = |(column, datum)| (column, Delta::Replace(datum));
                    RowUpdate::Modify(columns.map(delta).collect())
                }
                Some(Change::Changed(v1::Changed { replaced, toggled })) => {
                    let columns =
                        |row: Option<v1::Row>| row_from_proto(table, row.unwrap_or_default());
                    let replaced = columns(replaced)?.into_iter();
                    let replaced = replaced.map(|(column, datum)| (column, Delta::Replace(datum)));
                    let toggled = columns(toggled)?.into_iter();
                    let toggled = toggled.map(|(column, datum)| (column, Delta::Toggle(datum)));
                    RowUpdate::Modify(replaced.chain(toggled).collect())
                }
                Some(Change::Deleted(v1::Done {})) => RowUpdate::Delete,
                None => return Err(ConvertError::new("change", "missing")),
            };
            Ok((uuid, update))
        };
        let rows: Result<Vec<_>, ConvertError> = update.rows.into_iter().map(row).collect();
        tables.push((index, rows.map_err(|error| error.within(&update.table))?));
    }
    Ok(TableUpdates { tables })
}

/// What most of many updates are: a row that came, with columns as they should be.
fn usual(table: &TableSchema, mut message: &[u8]) -> Option<(Uuid, RowUpdate)> {
    let bytes = |field| match field {
        Some((tag, read::Value::Bytes(bytes))) => Some((tag, bytes)),
        _ => None,
    };
    let (1, uuid) = bytes(read::next(&mut message))? else {
        return None;
    };
    let (2, inserted) = bytes(read::next(&mut message))? else {
        return None;
    };
    let columns = read::row(table, inserted, true).filter(|_| message.is_empty())?;
    let columns = columns.into_iter();
    let columns = columns.map(|(column, datum, _)| (ColumnRef::Column(column), datum));
    Some((
        Uuid::from_slice(uuid).ok()?,
        RowUpdate::Insert(columns.collect()),
    ))
}

fn row_from_proto(table: &TableSchema, row: v1::Row) -> Result<SparseRow, ConvertError> {
    let mut columns = Vec::with_capacity(row.columns.len());
    for (name, datum) in row.columns {
        if let Some(index) = table.column_index(&name) {
            let datum = datum_from_proto(&table.columns[index].ty, datum)
                .map_err(|error| error.within(&name))?;
            columns.push((ColumnRef::Column(index), datum));
        }
    }
    Ok(columns)
}
