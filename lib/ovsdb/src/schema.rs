//! Database schemas (RFC 7047, section 3.2): what tables and columns there are and what they may hold.
//!
//! Tables and columns are kept in the order of their names, which is the order of the JSON form too, so that an index
//! into [`DatabaseSchema::tables`] or [`TableSchema::columns`] names a table or a column everywhere.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::atom::{AtomicType, Real};
pub use crate::types::{BaseType, ColumnType, Constraint, RefKind};

/// A database's schema.
#[derive(Clone, Debug, PartialEq)]
pub struct DatabaseSchema {
    /// The database's name, such as `OVN_Northbound`.
    pub name: Arc<str>,
    /// The schema's version, `x.y.z`.
    pub version: Arc<str>,
    /// A checksum that tools print; no meaning to a server.
    pub cksum: Option<Arc<str>>,
    /// The tables, sorted by name.
    pub tables: Vec<TableSchema>,
}

/// A table's schema.
#[derive(Clone, Debug, PartialEq)]
pub struct TableSchema {
    /// The table's name.
    pub name: Arc<str>,
    /// The columns, sorted by name, without `_uuid` and `_version`.
    pub columns: Vec<ColumnSchema>,
    /// How many rows the table may have.
    pub max_rows: Option<usize>,
    /// Whether rows live without being referenced. A row of another table is gone with its last strong reference.
    pub is_root: bool,
    /// Sets of columns of which no two rows may have the same values: indexes into `columns`, sorted as given.
    pub indexes: Vec<Vec<usize>>,
}

/// A column's schema.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSchema {
    /// The column's name.
    pub name: Arc<str>,
    /// What it may hold.
    pub ty: ColumnType,
    /// Whether its contents need not survive a restart.
    pub ephemeral: bool,
    /// Whether it may be changed after the row came to be.
    pub mutable: bool,
}

/// What is wrong with a schema's JSON, and where: `tables/Logical_Switch/columns/name/type: …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("schema: {place}: {what}")]
pub struct SchemaError {
    /// The path of names to the place.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

fn error<T>(place: &str, what: impl Into<String>) -> Result<T, SchemaError> {
    Err(SchemaError {
        place: place.to_owned(),
        what: what.into(),
    })
}

impl DatabaseSchema {
    /// The index of the table with this name.
    pub fn table_index(&self, name: &str) -> Option<usize> {
        self.tables
            .binary_search_by(|table| (*table.name).cmp(name))
            .ok()
    }

    /// The table with this name.
    pub fn table(&self, name: &str) -> Option<&TableSchema> {
        self.table_index(name).map(|index| &self.tables[index])
    }

    /// Reads the JSON form (RFC 7047, section 3.2, `<database-schema>`).
    pub fn from_json(json: &Value) -> Result<Self, SchemaError> {
        let schema = object(json, "schema")?;
        let mut tables = Vec::new();
        for (name, table) in object(schema.get("tables").unwrap_or(&Value::Null), "tables")? {
            tables.push(TableSchema::from_json(name, table)?);
        }
        let mut schema = Self {
            name: text(schema, "name", "schema")?,
            version: schema
                .get("version")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .into(),
            cksum: schema.get("cksum").and_then(Value::as_str).map(Into::into),
            tables,
        };
        schema.tables.sort_by(|a, b| a.name.cmp(&b.name));
        // As in Open vSwitch: a schema that says nothing of roots means that all are.
        if !schema.tables.iter().any(|table| table.is_root) {
            schema
                .tables
                .iter_mut()
                .for_each(|table| table.is_root = true);
        }
        schema.check_references()?;
        Ok(schema)
    }

    fn check_references(&self) -> Result<(), SchemaError> {
        for table in &self.tables {
            for column in &table.columns {
                for base in std::iter::once(&column.ty.key).chain(&column.ty.value) {
                    if let Constraint::Reference { table: target, .. } = &base.constraint
                        && self.table_index(target).is_none()
                    {
                        let place = format!("tables/{}/columns/{}", table.name, column.name);
                        return error(
                            &place,
                            format!("refTable {target:?} is not a table of this schema"),
                        );
                    }
                }
            }
        }
        Ok(())
    }

    /// The JSON form, as `get_schema` returns it.
    pub fn to_json(&self) -> Value {
        let tables: Map<String, Value> = self
            .tables
            .iter()
            .map(|table| (table.name.to_string(), table.to_json()))
            .collect();
        let mut json = json!({"name": &*self.name, "version": &*self.version, "tables": tables});
        if let Some(cksum) = &self.cksum {
            json["cksum"] = json!(&**cksum);
        }
        json
    }
}

impl TableSchema {
    /// The index of the column with this name.
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns
            .binary_search_by(|column| (*column.name).cmp(name))
            .ok()
    }

    /// The column with this name.
    pub fn column(&self, name: &str) -> Option<&ColumnSchema> {
        self.column_index(name).map(|index| &self.columns[index])
    }

    /// Reads the JSON form of the table called `name` (RFC 7047, section 3.2, `<table-schema>`).
    pub fn from_json(name: &str, json: &Value) -> Result<Self, SchemaError> {
        let place = format!("tables/{name}");
        let table = object(json, &place)?;
        let mut columns = Vec::new();
        for (column, json) in object(
            table.get("columns").unwrap_or(&Value::Null),
            &format!("{place}/columns"),
        )? {
            let place = format!("{place}/columns/{column}");
            let fields = object(json, &place)?;
            let ty = ColumnType::from_json(fields.get("type").unwrap_or(&Value::Null)).map_err(
                |what| SchemaError {
                    place: format!("{place}/type"),
                    what,
                },
            )?;
            columns.push(ColumnSchema {
                name: column.as_str().into(),
                ty,
                ephemeral: fields
                    .get("ephemeral")
                    .and_then(Value::as_bool)
                    .unwrap_or(false),
                mutable: fields
                    .get("mutable")
                    .and_then(Value::as_bool)
                    .unwrap_or(true),
            });
        }
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        let mut schema = Self {
            name: name.into(),
            columns,
            max_rows: table
                .get("maxRows")
                .and_then(Value::as_u64)
                .map(|rows| rows as usize),
            is_root: table
                .get("isRoot")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            indexes: Vec::new(),
        };
        for index in table
            .get("indexes")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let mut columns = Vec::new();
            for column in index.as_array().into_iter().flatten() {
                match column
                    .as_str()
                    .and_then(|column| schema.column_index(column))
                {
                    Some(column) => columns.push(column),
                    None => {
                        return error(
                            &format!("{place}/indexes"),
                            format!("{column} is not a column"),
                        );
                    }
                }
            }
            schema.indexes.push(columns);
        }
        Ok(schema)
    }

    /// The JSON form.
    pub fn to_json(&self) -> Value {
        let columns: Map<String, Value> = self
            .columns
            .iter()
            .map(|column| (column.name.to_string(), column.to_json()))
            .collect();
        let mut json = json!({"columns": columns});
        if let Some(rows) = self.max_rows {
            json["maxRows"] = json!(rows);
        }
        if self.is_root {
            json["isRoot"] = json!(true);
        }
        if !self.indexes.is_empty() {
            let names = |index: &Vec<usize>| {
                index
                    .iter()
                    .map(|&c| &*self.columns[c].name)
                    .collect::<Vec<_>>()
            };
            json["indexes"] = json!(self.indexes.iter().map(names).collect::<Vec<_>>());
        }
        json
    }
}

impl ColumnSchema {
    /// The JSON form.
    pub fn to_json(&self) -> Value {
        let mut json = json!({"type": self.ty.to_json()});
        if self.ephemeral {
            json["ephemeral"] = json!(true);
        }
        if !self.mutable {
            json["mutable"] = json!(false);
        }
        json
    }
}

impl ColumnType {
    /// Reads the JSON form (RFC 7047, section 3.2, `<type>`). The error says what is wrong.
    pub fn from_json(json: &Value) -> Result<Self, String> {
        if json.is_string() {
            return Ok(Self {
                key: BaseType::from_json(json)?,
                value: None,
                min: 1,
                max: 1,
            });
        }
        let fields = json
            .as_object()
            .ok_or_else(|| format!("a type should be a name or an object, not {json}"))?;
        let key = BaseType::from_json(fields.get("key").ok_or("a type needs a \"key\"")?)?;
        let value = fields.get("value").map(BaseType::from_json).transpose()?;
        let min = match fields.get("min") {
            None => 1,
            Some(min) => min
                .as_u64()
                .filter(|&min| min <= 1)
                .ok_or("\"min\" should be 0 or 1")? as usize,
        };
        let max = match fields.get("max") {
            None => 1,
            Some(Value::String(text)) if text == "unlimited" => usize::MAX,
            Some(max) => max
                .as_u64()
                .filter(|&max| max >= 1)
                .ok_or("\"max\" should be at least 1 or \"unlimited\"")?
                as usize,
        };
        Ok(Self {
            key,
            value,
            min,
            max,
        })
    }

    /// The JSON form.
    pub fn to_json(&self) -> Value {
        if self.is_scalar()
            && self.key.enumeration.is_none()
            && self.key.constraint == Constraint::None
        {
            return json!(self.key.atomic.name());
        }
        let mut json = json!({"key": self.key.to_json()});
        if let Some(value) = &self.value {
            json["value"] = value.to_json();
        }
        if self.min != 1 {
            json["min"] = json!(self.min);
        }
        if self.max == usize::MAX {
            json["max"] = json!("unlimited");
        } else if self.max != 1 {
            json["max"] = json!(self.max);
        }
        json
    }
}

impl BaseType {
    /// Reads the JSON form (RFC 7047, section 3.2, `<base-type>`). The error says what is wrong.
    pub fn from_json(json: &Value) -> Result<Self, String> {
        let named = |name: &Value| {
            let name = name
                .as_str()
                .ok_or_else(|| format!("a type's name should be a string, not {name}"))?;
            AtomicType::from_name(name).ok_or_else(|| format!("{name:?} is not a type"))
        };
        let Some(fields) = json.as_object() else {
            return Ok(Self::plain(named(json)?));
        };
        let atomic = named(fields.get("type").ok_or("a base type needs a \"type\"")?)?;
        let enumeration = match fields.get("enum") {
            None => None,
            Some(json) => {
                let ty = ColumnType {
                    key: Self::plain(atomic),
                    value: None,
                    min: 1,
                    max: usize::MAX,
                };
                let datum = crate::Datum::from_json(&ty, json, &mut |_| None)
                    .map_err(|error| error.to_string())?;
                Some(datum.atoms().iter().cloned().collect())
            }
        };
        let integer = |name: &str| fields.get(name).and_then(Value::as_i64);
        let real = |name: &str| fields.get(name).and_then(Value::as_f64);
        let constraint = match atomic {
            AtomicType::Integer if integer("minInteger").or(integer("maxInteger")).is_some() => {
                Constraint::Integer {
                    min: integer("minInteger").unwrap_or(i64::MIN),
                    max: integer("maxInteger").unwrap_or(i64::MAX),
                }
            }
            AtomicType::Real if real("minReal").or(real("maxReal")).is_some() => Constraint::Real {
                min: Real(real("minReal").unwrap_or(f64::MIN)),
                max: Real(real("maxReal").unwrap_or(f64::MAX)),
            },
            AtomicType::String if integer("minLength").or(integer("maxLength")).is_some() => {
                Constraint::Length {
                    min: integer("minLength").map_or(0, |length| length.max(0) as usize),
                    max: integer("maxLength").map_or(usize::MAX, |length| length.max(0) as usize),
                }
            }
            AtomicType::Uuid => match fields.get("refTable").and_then(Value::as_str) {
                None => Constraint::None,
                Some(table) => Constraint::Reference {
                    table: table.into(),
                    kind: match fields.get("refType").and_then(Value::as_str) {
                        None | Some("strong") => RefKind::Strong,
                        Some("weak") => RefKind::Weak,
                        Some(other) => {
                            return Err(format!(
                                "refType {other:?} is neither \"strong\" nor \"weak\""
                            ));
                        }
                    },
                },
            },
            _ => Constraint::None,
        };
        Ok(Self {
            atomic,
            enumeration,
            constraint,
        })
    }

    /// The JSON form.
    pub fn to_json(&self) -> Value {
        if self.enumeration.is_none() && self.constraint == Constraint::None {
            return json!(self.atomic.name());
        }
        let mut json = json!({"type": self.atomic.name()});
        if let Some(values) = &self.enumeration {
            json["enum"] = json!(["set", values]);
        }
        match &self.constraint {
            Constraint::None => {}
            Constraint::Integer { min, max } => {
                if *min != i64::MIN {
                    json["minInteger"] = json!(min);
                }
                if *max != i64::MAX {
                    json["maxInteger"] = json!(max);
                }
            }
            Constraint::Real { min, max } => {
                if min.0 != f64::MIN {
                    json["minReal"] = json!(min.0);
                }
                if max.0 != f64::MAX {
                    json["maxReal"] = json!(max.0);
                }
            }
            Constraint::Length { min, max } => {
                if *min != 0 {
                    json["minLength"] = json!(min);
                }
                if *max != usize::MAX {
                    json["maxLength"] = json!(max);
                }
            }
            Constraint::Reference { table, kind } => {
                json["refTable"] = json!(&**table);
                if *kind == RefKind::Weak {
                    json["refType"] = json!("weak");
                }
            }
        }
        json
    }
}

fn object<'j>(json: &'j Value, place: &str) -> Result<&'j Map<String, Value>, SchemaError> {
    json.as_object().ok_or_else(|| SchemaError {
        place: place.to_owned(),
        what: "an object is missing here".to_owned(),
    })
}

fn text(fields: &Map<String, Value>, name: &str, place: &str) -> Result<Arc<str>, SchemaError> {
    match fields.get(name).and_then(Value::as_str) {
        Some(text) => Ok(text.into()),
        None => error(place, format!("{name:?} should be a string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_survives_its_json_form() {
        let json = json!({
            "name": "Test", "version": "1.0.0",
            "tables": {
                "A": {
                    "isRoot": true, "maxRows": 1, "indexes": [["name"]],
                    "columns": {
                        "name": {"type": "string", "mutable": false},
                        "level": {"type": {"key": {"type": "integer", "minInteger": 0, "maxInteger": 7}}},
                        "bs": {"type": {"key": {"type": "uuid", "refTable": "B"}, "min": 0, "max": "unlimited"}},
                        "status": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}, "ephemeral": true}
                    }
                },
                "B": {"columns": {"kind": {"type": {"key": {"type": "string", "enum": ["set", ["x", "y"]]}}}}}
            }
        });
        let schema = DatabaseSchema::from_json(&json).unwrap();
        assert_eq!(schema.to_json(), json);
        assert_eq!(
            schema.table("A").unwrap().indexes,
            [[schema.table("A").unwrap().column_index("name").unwrap()]]
        );
    }

    #[test]
    fn a_wrong_schema_is_refused_with_the_place() {
        let json = json!({"name": "T", "tables": {"A": {"columns": {"c": {"type": {"key": {"type": "uuid", "refTable": "Z"}}}}}}});
        let error = DatabaseSchema::from_json(&json).unwrap_err();
        assert_eq!(
            error.to_string(),
            "schema: tables/A/columns/c: refTable \"Z\" is not a table of this schema"
        );
    }
}
