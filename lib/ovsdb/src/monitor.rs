//! What a client wants to see: `monitor` (RFC 7047, section 4.1.5), `monitor_cond` and `monitor_cond_since`
//! (Open vSwitch's extensions), and what a server tells it.
//!
//! | method | updates come as | form | conditions |
//! | --- | --- | --- | --- |
//! | `monitor` | `update` | old and new | no |
//! | `monitor_cond` | `update2` | differences | yes |
//! | `monitor_cond_since` | `update3`, with a transaction id | differences | yes |
//!
//! A request may list the columns of one table in several parts, each with its own choice of events, but each column
//! once. So a table is monitored through a list of columns that say for which events they are shown, and one condition:
//! any clause of any part.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::condition::{ColumnRef, Condition};
use crate::datum::Datum;
use crate::error::{Error, ErrorKind};
use crate::row::{Row, RowChange};
use crate::schema::{DatabaseSchema, TableSchema};
use crate::update::{Delta, RowUpdate, SparseRow, TableUpdates};

/// Which of the three protocols a monitor speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MonitorVersion {
    /// `monitor` and `update`.
    V1,
    /// `monitor_cond` and `update2`.
    V2,
    /// `monitor_cond_since` and `update3`.
    V3,
}

impl MonitorVersion {
    /// The request's name.
    pub fn request(self) -> &'static str {
        match self {
            Self::V1 => "monitor",
            Self::V2 => "monitor_cond",
            Self::V3 => "monitor_cond_since",
        }
    }

    /// The notification's name.
    pub fn update(self) -> &'static str {
        match self {
            Self::V1 => "update",
            Self::V2 => "update2",
            Self::V3 => "update3",
        }
    }
}

/// For which events a column is shown (`<monitor-select>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Select {
    /// The row is there when the monitor begins.
    pub initial: bool,
    /// The row comes to be.
    pub insert: bool,
    /// The row goes.
    pub delete: bool,
    /// The row changes.
    pub modify: bool,
}

impl Select {
    /// For all events.
    pub const ALL: Self = Self {
        initial: true,
        insert: true,
        delete: true,
        modify: true,
    };

    /// For no event.
    const NONE: Self = Self {
        initial: false,
        insert: false,
        delete: false,
        modify: false,
    };

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

    fn or(self, other: Self) -> Self {
        Self {
            initial: self.initial || other.initial,
            insert: self.insert || other.insert,
            delete: self.delete || other.delete,
            modify: self.modify || other.modify,
        }
    }

    fn to_json(self) -> Value {
        json!({
            "initial": self.initial, "insert": self.insert, "delete": self.delete, "modify": self.modify,
        })
    }
}

/// A column that is monitored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MonitoredColumn {
    /// The column.
    pub column: ColumnRef,
    /// For which events it is shown.
    pub select: Select,
}

/// A table that is monitored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableMonitor {
    /// The table's index in the schema.
    pub table: usize,
    /// The columns, sorted, each once.
    pub columns: Vec<MonitoredColumn>,
    /// The events of which a row is told at all: those of some part of the request. A part without columns is about
    /// the rows' coming and going alone.
    pub select: Select,
    /// The rows.
    pub condition: Condition,
}

impl TableMonitor {
    /// All events of these columns, in the rows that meet `condition`.
    pub fn new(
        table: usize,
        columns: impl IntoIterator<Item = ColumnRef>,
        condition: Condition,
    ) -> Self {
        let mut columns: Vec<MonitoredColumn> = columns
            .into_iter()
            .map(|column| MonitoredColumn {
                column,
                select: Select::ALL,
            })
            .collect();
        columns.sort_by_key(|monitored| monitored.column);
        columns.dedup();
        Self {
            table,
            columns,
            select: Select::ALL,
            condition,
        }
    }

    /// What the answer to the request says of a row that is there. `None` if it says nothing of it.
    pub fn initial(
        &self,
        version: MonitorVersion,
        schema: &TableSchema,
        uuid: Uuid,
        row: &Row,
    ) -> Option<RowUpdate> {
        if !self.select.initial || !self.condition.holds(uuid, row) {
            return None;
        }
        Some(match version {
            MonitorVersion::V1 => RowUpdate::Replace {
                old: None,
                new: Some(self.whole(uuid, row, |select| select.initial)),
            },
            _ => RowUpdate::Initial(
                self.without_defaults(schema, uuid, row, |select| select.initial),
            ),
        })
    }

    /// What a notification says of a row that changed. `None` if the client does not see the change.
    pub fn update(
        &self,
        version: MonitorVersion,
        schema: &TableSchema,
        change: &RowChange,
    ) -> Option<RowUpdate> {
        let seen = |row: &Option<std::sync::Arc<Row>>| {
            row.as_ref()
                .is_some_and(|row| self.condition.holds(change.uuid, row))
        };
        self.seen_update(
            version,
            schema,
            change,
            seen(&change.old),
            seen(&change.new),
        )
    }

    /// As [`TableMonitor::update`], for a caller that knows whether the condition held before and holds now.
    pub fn seen_update(
        &self,
        version: MonitorVersion,
        schema: &TableSchema,
        change: &RowChange,
        saw: bool,
        sees: bool,
    ) -> Option<RowUpdate> {
        let old = change.old.as_deref().filter(|_| saw);
        let new = change.new.as_deref().filter(|_| sees);
        self.transition(version, schema, change.uuid, old, new)
    }

    /// What a notification says of a row of which the client saw `old` and is to see `new` from now on. With a
    /// condition that changed, both are the same row, where they are.
    pub fn transition(
        &self,
        version: MonitorVersion,
        schema: &TableSchema,
        uuid: Uuid,
        old: Option<&Row>,
        new: Option<&Row>,
    ) -> Option<RowUpdate> {
        let select = self.select;
        let v1 = version == MonitorVersion::V1;
        match (old, new) {
            (None, None) => None,
            (None, Some(_)) if !select.insert => None,
            (None, Some(new)) if v1 => Some(RowUpdate::Replace {
                old: None,
                new: Some(self.whole(uuid, new, |select| select.insert)),
            }),
            (None, Some(new)) => Some(RowUpdate::Insert(self.without_defaults(
                schema,
                uuid,
                new,
                |select| select.insert,
            ))),
            (Some(_), None) if !select.delete => None,
            (Some(old), None) if v1 => Some(RowUpdate::Replace {
                old: Some(self.whole(uuid, old, |select| select.delete)),
                new: None,
            }),
            (Some(_), None) => Some(RowUpdate::Delete),
            (Some(_), Some(_)) if !select.modify => None,
            (Some(old), Some(new)) => self.modification(version, schema, uuid, old, new),
        }
    }

    fn modification(
        &self,
        version: MonitorVersion,
        schema: &TableSchema,
        uuid: Uuid,
        old: &Row,
        new: &Row,
    ) -> Option<RowUpdate> {
        let changed = self
            .columns
            .iter()
            .filter(|monitored| monitored.select.modify)
            .map(|monitored| monitored.column)
            .filter(|column| match column {
                ColumnRef::Column(index) => old.get(*index) != new.get(*index),
                ColumnRef::Version => old != new,
                ColumnRef::Uuid => false,
            });
        if version == MonitorVersion::V1 {
            let old: SparseRow = changed
                .map(|column| (column, column.of(uuid, old)))
                .collect();
            return (!old.is_empty()).then(|| RowUpdate::Replace {
                old: Some(old),
                new: Some(self.whole(uuid, new, |select| select.modify)),
            });
        }
        let deltas: Vec<(ColumnRef, Delta)> = changed
            .map(|column| {
                let delta = match column {
                    ColumnRef::Column(index) => {
                        Delta::between(&schema.columns[index].ty, old.get(index), new.get(index))
                    }
                    _ => Delta::Replace(column.of(uuid, new)),
                };
                (column, delta)
            })
            .collect();
        (!deltas.is_empty()).then_some(RowUpdate::Modify(deltas))
    }

    fn whole(&self, uuid: Uuid, row: &Row, shown: fn(Select) -> bool) -> SparseRow {
        self.columns
            .iter()
            .filter(|monitored| shown(monitored.select))
            .map(|monitored| (monitored.column, monitored.column.of(uuid, row)))
            .collect()
    }

    fn without_defaults(
        &self,
        schema: &TableSchema,
        uuid: Uuid,
        row: &Row,
        shown: fn(Select) -> bool,
    ) -> SparseRow {
        let columns = self.columns.iter().filter(|column| shown(column.select));
        columns
            .filter(|monitored| match monitored.column {
                ColumnRef::Column(index) => {
                    *row.get(index) != Datum::default_for(&schema.columns[index].ty)
                }
                _ => true,
            })
            .map(|monitored| (monitored.column, monitored.column.of(uuid, row)))
            .collect()
    }

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

/// All that one monitor is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MonitorSpec {
    /// The protocol.
    pub version: MonitorVersion,
    /// The tables, sorted, each once.
    pub tables: Vec<TableMonitor>,
}

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

    /// The part about this table.
    pub fn table(&self, table: usize) -> Option<&TableMonitor> {
        self.tables
            .binary_search_by_key(&table, |monitor| monitor.table)
            .ok()
            .map(|index| &self.tables[index])
    }

    /// What the answer to the request says, given the rows of a table.
    pub fn initial<'r, Rows>(
        &self,
        schema: &DatabaseSchema,
        mut rows: impl FnMut(&TableMonitor) -> Rows,
    ) -> TableUpdates
    where
        Rows: IntoIterator<Item = (Uuid, &'r Row)>,
    {
        let mut updates = TableUpdates::default();
        for monitor in &self.tables {
            if !monitor.select.initial {
                continue;
            }
            let table = &schema.tables[monitor.table];
            for (uuid, row) in rows(monitor) {
                if let Some(update) = monitor.initial(self.version, table, uuid, row) {
                    updates.push(monitor.table, uuid, update);
                }
            }
        }
        updates
    }

    /// What a notification says of the changes of a transaction; perhaps nothing.
    pub fn updates<'c>(
        &self,
        schema: &DatabaseSchema,
        changes: impl IntoIterator<Item = &'c RowChange>,
    ) -> TableUpdates {
        let mut updates = TableUpdates::default();
        for change in changes {
            if let Some(monitor) = self.table(change.table)
                && let Some(update) =
                    monitor.update(self.version, &schema.tables[change.table], change)
            {
                updates.push(change.table, change.uuid, update);
            }
        }
        updates
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
    if choices.is_empty() {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn schema() -> DatabaseSchema {
        DatabaseSchema::from_json(&json!({"name": "T", "tables": {
            "A": {"columns": {
                "level": {"type": "integer"},
                "name": {"type": "string"},
                "tags": {"type": {"key": "integer", "min": 0, "max": "unlimited"}}}},
            "B": {"columns": {"x": {"type": "integer"}}}}}))
        .unwrap()
    }

    fn row(level: i64, name: &str, tags: &[i64]) -> Arc<Row> {
        let tags = Datum::set(tags.iter().map(|&tag| tag.into()));
        Arc::new(Row::new(vec![level.into(), name.into(), tags]))
    }

    #[track_caller]
    fn check(
        request: &Value,
        version: MonitorVersion,
        old: Option<Arc<Row>>,
        new: Option<Arc<Row>>,
        expected: &Value,
    ) {
        let schema = schema();
        let spec = MonitorSpec::from_json(version, &schema, &json!({"A": request})).unwrap();
        let uuid = Uuid::from_u128(1);
        let change = RowChange {
            table: 0,
            uuid,
            old,
            new,
        };
        let updates = spec.updates(&schema, [&change]);
        let json = serde_json::to_value(updates.with(&schema)).unwrap();
        let shown = json["A"].get(uuid.to_string()).cloned().unwrap_or_default();
        assert_eq!(&shown, expected);
    }

    #[test]
    fn changes_are_told_in_each_protocol() {
        use MonitorVersion::{V1, V2};
        let all = json!([{"columns": ["level", "name", "tags"]}]);
        let (a, b) = (row(1, "a", &[1, 2]), row(1, "b", &[2, 3]));
        check(
            &all,
            V1,
            None,
            Some(a.clone()),
            &json!({"new": {"level": 1, "name": "a", "tags": ["set", [1, 2]]}}),
        );
        check(
            &all,
            V1,
            Some(a.clone()),
            None,
            &json!({"old": {"level": 1, "name": "a", "tags": ["set", [1, 2]]}}),
        );
        check(
            &all,
            V1,
            Some(a.clone()),
            Some(b.clone()),
            &json!({
            "old": {"name": "a", "tags": ["set", [1, 2]]},
            "new": {"level": 1, "name": "b", "tags": ["set", [2, 3]]}}),
        );
        check(
            &all,
            V2,
            None,
            Some(row(0, "a", &[])),
            &json!({"insert": {"name": "a"}}),
        );
        check(&all, V2, Some(a.clone()), None, &json!({"delete": null}));
        check(
            &all,
            V2,
            Some(a.clone()),
            Some(b.clone()),
            &json!({"modify": {"name": "b", "tags": ["set", [1, 3]]}}),
        );
        let level = json!({"columns": ["level"]});
        check(&level, V1, Some(a.clone()), Some(b.clone()), &Value::Null);
        check(&level, V2, Some(a.clone()), Some(b.clone()), &Value::Null);
        let quiet = json!([{"columns": ["name"], "select": {"modify": false}},
                           {"columns": ["tags"], "select": {"delete": false, "insert": false}}]);
        check(
            &quiet,
            V1,
            Some(a.clone()),
            Some(b.clone()),
            &json!({
            "old": {"tags": ["set", [1, 2]]}, "new": {"tags": ["set", [2, 3]]}}),
        );
        let rows_only = json!([{"columns": []}]);
        check(
            &rows_only,
            V1,
            Some(a.clone()),
            Some(b.clone()),
            &Value::Null,
        );
        check(
            &rows_only,
            V2,
            None,
            Some(b.clone()),
            &json!({"insert": {}}),
        );
        check(
            &rows_only,
            V2,
            Some(b.clone()),
            None,
            &json!({"delete": null}),
        );
        check(&quiet, V1, Some(a), None, &json!({"old": {"name": "a"}}));
        check(&quiet, V2, None, Some(b), &json!({"insert": {"name": "b"}}));
    }

    #[test]
    fn rows_come_and_go_with_the_condition() {
        use MonitorVersion::V3;
        let high =
            json!([{"columns": ["name"], "where": [["level", ">", 5], ["name", "==", "x"]]}]);
        let (low, up) = (row(1, "a", &[]), row(6, "a", &[]));
        check(
            &high,
            V3,
            Some(low.clone()),
            Some(up.clone()),
            &json!({"insert": {"name": "a"}}),
        );
        check(
            &high,
            V3,
            Some(up.clone()),
            Some(low.clone()),
            &json!({"delete": null}),
        );
        check(
            &high,
            V3,
            Some(up.clone()),
            Some(row(7, "b", &[])),
            &json!({"modify": {"name": "b"}}),
        );
        check(&high, V3, Some(up), Some(row(7, "a", &[])), &Value::Null);
        check(&high, V3, Some(low.clone()), None, &Value::Null);
        check(
            &high,
            V3,
            Some(low),
            Some(row(1, "x", &[])),
            &json!({"insert": {"name": "x"}}),
        );
    }

    #[test]
    fn requests_survive_their_json_form() {
        let schema = schema();
        let json = json!({
            "A": [{"columns": ["level"], "where": [["level", ">", 5]]},
                  {"columns": ["name"], "select": {"initial": false, "insert": true, "delete": true, "modify": true},
                   "where": [["level", ">", 5]]}],
            "B": [{"columns": ["x"]}]});
        let spec = MonitorSpec::from_json(MonitorVersion::V2, &schema, &json).unwrap();
        let again = serde_json::to_value(spec.with(&schema)).unwrap();
        let reread = MonitorSpec::from_json(MonitorVersion::V2, &schema, &again).unwrap();
        assert_eq!(again["B"], json["B"]);
        assert_eq!(again["A"][1]["select"], json["A"][1]["select"]);
        assert_eq!(reread.tables[1], spec.tables[1]);
        assert!(
            spec.condition_changes(&schema, &json!({"A": [{"where": [["level", "<", 1]]}]}))
                .is_ok()
        );
    }

    #[test]
    fn wrong_requests_are_refused() {
        let schema = schema();
        for (json, expected) in [
            (
                json!([]),
                "syntax error: monitor requests should be an object of tables",
            ),
            (json!({"Q": []}), "syntax error: no table named Q"),
            (
                json!({"A": [{"columns": ["q"]}]}),
                "syntax error: q is not a valid column name",
            ),
            (
                json!({"A": [{"columns": ["name"]}, {"columns": ["name"]}]}),
                "syntax error: column name mentioned more than once",
            ),
            (
                json!({"A": [{"columns": ["name"], "where": []}]}),
                "syntax error: Member 'where' is present but not allowed here.",
            ),
            (
                json!({"A": [{"select": {"insert": 1}}]}),
                "syntax error: \"insert\" in \"select\" should be a boolean.",
            ),
            (
                json!({"A": 3}),
                "syntax error: A monitor request should be an object.",
            ),
        ] {
            let error = MonitorSpec::from_json(MonitorVersion::V1, &schema, &json).unwrap_err();
            let error = Error {
                syntax: None,
                ..error
            };
            assert_eq!(error.to_string(), expected);
        }
    }
}
