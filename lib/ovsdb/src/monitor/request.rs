//! Monitor requests to and from JSON: `<monitor-requests>`, `<monitor-cond-requests>` and what changes them.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use super::{MonitorSpec, MonitorVersion, MonitoredColumn, Select, TableMonitor};
use crate::condition::{ColumnRef, Condition};
use crate::error::{Error, ErrorKind};
use crate::schema::{DatabaseSchema, TableSchema};

impl MonitorSpec {
    /// Reads the `<monitor-requests>` of a request.
    pub fn from_json(
        version: MonitorVersion,
        schema: &DatabaseSchema,
        json: &Value,
    ) -> Result<Self, Error> {
        let fields = json.as_object().ok_or_else(|| {
            Error::syntax("monitor requests should be an object of tables").at(json)
        })?;
        let mut tables = Vec::with_capacity(fields.len());
        for (name, parts) in fields {
            let table = schema
                .table_index(name)
                .ok_or_else(|| Error::syntax(format!("no table named {name}")))?;
            tables.push(TableMonitor::from_json(
                version,
                table,
                &schema.tables[table],
                parts,
            )?);
        }
        tables.sort_by_key(|monitor| monitor.table);
        Ok(Self { version, tables })
    }

    /// Reads the `<monitor-cond-update-requests>` of a `monitor_cond_change` and gives the new conditions by table.
    /// The monitor itself is not changed: whoever keeps the rows tells the client of those that come and go by
    /// [`TableMonitor::transition`], and puts the conditions in place.
    pub fn condition_changes(
        &self,
        schema: &DatabaseSchema,
        json: &Value,
    ) -> Result<Vec<(usize, Condition)>, Error> {
        let fields = json.as_object().ok_or_else(|| {
            Error::syntax("monitor condition changes should be an object of tables").at(json)
        })?;
        let mut changes = Vec::with_capacity(fields.len());
        for (name, parts) in fields {
            let table = schema
                .table_index(name)
                .ok_or_else(|| Error::syntax(format!("no table named {name}")))?;
            if self.table(table).is_none() {
                return Err(Error::new(
                    ErrorKind::SyntaxError,
                    format!("table {name} is not part of this monitor"),
                ));
            }
            let parts = parts
                .as_array()
                .map_or(std::slice::from_ref(parts), Vec::as_slice);
            let mut clauses = Vec::new();
            for part in parts {
                let fields = part.as_object().ok_or_else(|| {
                    Error::syntax("A monitor request should be an object.").at(part)
                })?;
                check_members(fields, &["columns", "where"], part)?;
                let condition = match fields.get("where") {
                    None => Condition::everything(),
                    Some(json) => Condition::from_json(&schema.tables[table], json)?,
                };
                clauses.extend(condition.clauses().iter().cloned());
            }
            changes.push((table, Condition::any(clauses)));
        }
        Ok(changes)
    }

    /// The request with the names that its JSON form needs.
    pub fn with<'a>(&'a self, schema: &'a DatabaseSchema) -> impl Serialize + 'a {
        SpecJson { schema, spec: self }
    }
}

impl TableMonitor {
    /// Reads the parts of a request that are about one table.
    fn from_json(
        version: MonitorVersion,
        table: usize,
        schema: &TableSchema,
        json: &Value,
    ) -> Result<Self, Error> {
        // A single part may stand without an array around it, as it did in the oldest servers.
        let parts = json
            .as_array()
            .map_or(std::slice::from_ref(json), Vec::as_slice);
        let mut columns: Vec<MonitoredColumn> = Vec::new();
        let mut told = Select::NONE;
        let mut clauses = Vec::new();
        for part in parts {
            let fields = part
                .as_object()
                .ok_or_else(|| Error::syntax("A monitor request should be an object.").at(part))?;
            let allowed: &[&str] = match version {
                MonitorVersion::V1 => &["columns", "select"],
                _ => &["columns", "select", "where"],
            };
            check_members(fields, allowed, part)?;
            let select = Select::from_json(fields.get("select"))?;
            told = told.or(select);
            for column in columns_of(schema, fields)? {
                if columns.iter().any(|other| other.column == column) {
                    return Err(Error::syntax(format!(
                        "column {} mentioned more than once",
                        column.name(schema)
                    ))
                    .at(part));
                }
                columns.push(MonitoredColumn { column, select });
            }
            let condition = match fields.get("where") {
                None => Condition::everything(),
                Some(json) => Condition::from_json(schema, json)?,
            };
            clauses.extend(condition.clauses().iter().cloned());
        }
        columns.sort_by_key(|monitored| monitored.column);
        Ok(Self {
            table,
            columns,
            select: told,
            condition: Condition::any(clauses),
        })
    }
}

impl Select {
    fn from_json(json: Option<&Value>) -> Result<Self, Error> {
        let Some(json) = json else {
            return Ok(Self::ALL);
        };
        let fields = json
            .as_object()
            .ok_or_else(|| Error::syntax("\"select\" should be an object.").at(json))?;
        check_members(fields, &["initial", "insert", "delete", "modify"], json)?;
        let flag = |name| match fields.get(name) {
            None => Ok(true),
            Some(flag) => flag.as_bool().ok_or_else(|| {
                Error::syntax(format!("{name:?} in \"select\" should be a boolean.")).at(json)
            }),
        };
        Ok(Self {
            initial: flag("initial")?,
            insert: flag("insert")?,
            delete: flag("delete")?,
            modify: flag("modify")?,
        })
    }

    fn to_json(self) -> Value {
        json!({
            "initial": self.initial, "insert": self.insert, "delete": self.delete, "modify": self.modify,
        })
    }
}

/// The columns that a part names; if it names none, all and `_version`.
fn columns_of(schema: &TableSchema, fields: &Map<String, Value>) -> Result<Vec<ColumnRef>, Error> {
    let Some(json) = fields.get("columns") else {
        let own = (0..schema.columns.len()).map(ColumnRef::Column);
        return Ok(own.chain([ColumnRef::Version]).collect());
    };
    json.as_array()
        .ok_or_else(|| Error::syntax("\"columns\" should be an array.").at(json))?
        .iter()
        .map(|name| {
            let name = name
                .as_str()
                .ok_or_else(|| Error::syntax("A column's name should be a string.").at(json))?;
            ColumnRef::from_name(schema, name)
                .map_err(|_| Error::syntax(format!("{name} is not a valid column name")).at(json))
        })
        .collect()
}

fn check_members(fields: &Map<String, Value>, allowed: &[&str], json: &Value) -> Result<(), Error> {
    match fields.keys().find(|name| !allowed.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            Err(Error::syntax(format!("Member '{name}' is present but not allowed here.")).at(json))
        }
    }
}

struct SpecJson<'a> {
    schema: &'a DatabaseSchema,
    spec: &'a MonitorSpec,
}

impl Serialize for SpecJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.spec.tables.len()))?;
        for monitor in &self.spec.tables {
            let table = &self.schema.tables[monitor.table];
            map.serialize_entry(
                &*table.name,
                &parts_to_json(self.spec.version, table, monitor),
            )?;
        }
        map.end()
    }
}

/// One part for each choice of events.
fn parts_to_json(version: MonitorVersion, table: &TableSchema, monitor: &TableMonitor) -> Value {
    let mut choices: Vec<(Select, Vec<&str>)> = Vec::new();
    for monitored in &monitor.columns {
        let name = monitored.column.name(table);
        match choices
            .iter_mut()
            .find(|(select, _)| *select == monitored.select)
        {
            Some((_, names)) => names.push(name),
            None => choices.push((monitored.select, vec![name])),
        }
    }
    let shown = choices.iter().map(|(select, _)| *select);
    if shown.fold(Select::NONE, Select::or) != monitor.select || choices.is_empty() {
        // Of some events, it is told of the row and of none of its columns.
        choices.push((monitor.select, Vec::new()));
    }
    let part = |(select, names): (Select, Vec<&str>)| {
        let mut part = json!({"columns": names});
        if select != Select::ALL {
            part["select"] = select.to_json();
        }
        if version != MonitorVersion::V1 && !monitor.condition.is_everything() {
            part["where"] = serde_json::to_value(monitor.condition.with(table)).unwrap_or_default();
        }
        part
    };
    Value::Array(choices.into_iter().map(part).collect())
}

/// The parameters of a `monitor_cond_change` that gives tables new conditions.
pub fn condition_changes_to_json<'a>(
    schema: &DatabaseSchema,
    conditions: impl IntoIterator<Item = (usize, &'a Condition)>,
) -> Value {
    let part = |(table, condition): (usize, &Condition)| {
        let table = &schema.tables[table];
        let clauses = serde_json::to_value(condition.with(table)).unwrap_or_default();
        (table.name.to_string(), json!([{"where": clauses}]))
    };
    Value::Object(conditions.into_iter().map(part).collect())
}
