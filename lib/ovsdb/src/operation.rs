//! The operations of a transaction: RFC 7047, section 5.2, and what comes back for each.
//!
//! Operations are read against the schema of their database: tables and columns become indexes, values become data of
//! the columns' types, and names of rows to be (`uuid-name`, `["named-uuid", …]`) become UUIDs. So an [`Operation`]
//! that exists is well-typed. What depends on the rows that are there, on `mutable`, or on other operations, is for
//! the engine to check.
//!
//! Every insert has its UUID from the start: the client's own choice (the `uuid` member, an Open vSwitch extension),
//! or one that the reader is given to hand out. Clients of this crate always choose, so that they can refer to a new
//! row, in the same transaction and later, without waiting for an answer.
//!
//! Open vSwitch refuses a transaction at the first operation that it cannot read, after executing those before it.
//! [`Transaction`] keeps that: it holds the operations up to there, and the error.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::condition::{Clause, ColumnRef, Named, clauses_from_json};
use crate::datum::Datum;
use crate::error::{Error, ErrorKind};
use crate::mutation::Mutation;
use crate::schema::{DatabaseSchema, TableSchema};

/// One operation of a transaction. Tables and columns are indexes into the database's schema; a list of clauses means
/// the rows for which all of them hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// A new row (section 5.2.1). Columns that `row` does not have get their defaults.
    Insert {
        /// The table.
        table: usize,
        /// The row's identity.
        uuid: Uuid,
        /// The columns that are given, each at most once.
        row: Vec<(usize, Datum)>,
    },
    /// Rows to read (section 5.2.2).
    Select {
        /// The table.
        table: usize,
        /// Which rows.
        condition: Vec<Clause>,
        /// Which columns.
        columns: Vec<ColumnRef>,
    },
    /// Columns to overwrite (section 5.2.3).
    Update {
        /// The table.
        table: usize,
        /// Which rows.
        condition: Vec<Clause>,
        /// The columns that are given, each at most once.
        row: Vec<(usize, Datum)>,
    },
    /// Columns to change (section 5.2.4).
    Mutate {
        /// The table.
        table: usize,
        /// Which rows.
        condition: Vec<Clause>,
        /// The changes, done in this order.
        mutations: Vec<Mutation>,
    },
    /// Rows to delete (section 5.2.5).
    Delete {
        /// The table.
        table: usize,
        /// Which rows.
        condition: Vec<Clause>,
    },
    /// Waits until the rows are, or are not, these (section 5.2.6).
    Wait {
        /// The table.
        table: usize,
        /// Which rows.
        condition: Vec<Clause>,
        /// Which columns of them are compared.
        columns: Vec<ColumnRef>,
        /// Whether they should be `rows`, or should not.
        until: Until,
        /// The rows to compare with, as a set; a column that is not given has its default.
        rows: Vec<Vec<(ColumnRef, Datum)>>,
        /// How long to wait; `None` for as long as it takes. Zero checks once.
        timeout_ms: Option<u64>,
    },
    /// Asks that the transaction be on disk before the answer, if `durable` (section 5.2.7).
    Commit {
        /// Whether to wait for the disk.
        durable: bool,
    },
    /// Fails the transaction (section 5.2.8).
    Abort,
    /// A remark for the log (section 5.2.9).
    Comment {
        /// The remark.
        comment: Arc<str>,
    },
    /// Fails the transaction unless the session owns this lock (section 5.2.10).
    Assert {
        /// The lock's name.
        lock: Arc<str>,
    },
}

/// What a `wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// `==`: the rows are these.
    Equal,
    /// `!=`: the rows are not these.
    NotEqual,
}

impl Operation {
    /// Deletes the row `uuid`.
    pub fn delete_row(table: usize, uuid: Uuid) -> Self {
        Self::Delete {
            table,
            condition: vec![Clause::is_row(uuid)],
        }
    }

    /// Overwrites columns of the row `uuid`.
    pub fn update_row(table: usize, uuid: Uuid, row: Vec<(usize, Datum)>) -> Self {
        Self::Update {
            table,
            condition: vec![Clause::is_row(uuid)],
            row,
        }
    }

    /// Changes columns of the row `uuid`.
    pub fn mutate_row(table: usize, uuid: Uuid, mutations: Vec<Mutation>) -> Self {
        Self::Mutate {
            table,
            condition: vec![Clause::is_row(uuid)],
            mutations,
        }
    }

    /// Checks, without waiting, that the row `uuid` exists and has these columns, and fails the transaction with
    /// "timed out" if not.
    pub fn verify_row(table: usize, uuid: Uuid, row: Vec<(usize, Datum)>) -> Self {
        let row: Vec<(ColumnRef, Datum)> = row
            .into_iter()
            .map(|(column, datum)| (ColumnRef::Column(column), datum))
            .collect();
        Self::Wait {
            table,
            condition: vec![Clause::is_row(uuid)],
            columns: row.iter().map(|(column, _)| *column).collect(),
            until: Until::Equal,
            rows: vec![row],
            timeout_ms: Some(0),
        }
    }

    /// The operation's name in the protocol.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Insert { .. } => "insert",
            Self::Select { .. } => "select",
            Self::Update { .. } => "update",
            Self::Mutate { .. } => "mutate",
            Self::Delete { .. } => "delete",
            Self::Wait { .. } => "wait",
            Self::Commit { .. } => "commit",
            Self::Abort => "abort",
            Self::Comment { .. } => "comment",
            Self::Assert { .. } => "assert",
        }
    }

    /// The table that it is about, if it is about one.
    pub fn table(&self) -> Option<usize> {
        match self {
            Self::Insert { table, .. }
            | Self::Select { table, .. }
            | Self::Update { table, .. }
            | Self::Mutate { table, .. }
            | Self::Delete { table, .. }
            | Self::Wait { table, .. } => Some(*table),
            Self::Commit { .. } | Self::Abort | Self::Comment { .. } | Self::Assert { .. } => None,
        }
    }

    /// Whether it can change a row.
    pub fn is_write(&self) -> bool {
        matches!(
            self,
            Self::Insert { .. } | Self::Update { .. } | Self::Mutate { .. } | Self::Delete { .. }
        )
    }

    /// The operation with the names that its JSON form needs.
    pub fn with<'a>(&'a self, schema: &'a DatabaseSchema) -> impl Serialize + 'a {
        WithSchema {
            schema,
            operation: self,
        }
    }
}

/// What one operation gave.
#[derive(Clone, Debug, PartialEq)]
pub enum OpResult {
    /// Nothing but success: `wait`, `commit`, `comment`, `assert`.
    Empty,
    /// `insert`: the new row's identity.
    Inserted(Uuid),
    /// `update`, `mutate`, `delete`: how many rows the condition met.
    Count(u64),
    /// `select`: the rows, each with its columns in the order asked for.
    Rows(Vec<Vec<(Arc<str>, Datum)>>),
}

impl OpResult {
    /// Reads the result of `operation`.
    pub fn from_json(
        schema: &DatabaseSchema,
        operation: &Operation,
        json: &Value,
    ) -> Result<Self, Error> {
        let wrong =
            || Error::syntax(format!("This is not the result of {}.", operation.name())).at(json);
        match operation {
            Operation::Insert { .. } => match json["uuid"].as_array().map(Vec::as_slice) {
                Some([Value::String(tag), Value::String(uuid)]) if tag == "uuid" => {
                    Uuid::try_parse(uuid)
                        .map(Self::Inserted)
                        .map_err(|_| wrong())
                }
                _ => Err(wrong()),
            },
            Operation::Update { .. } | Operation::Mutate { .. } | Operation::Delete { .. } => {
                json["count"].as_u64().map(Self::Count).ok_or_else(wrong)
            }
            Operation::Select { table, columns, .. } => {
                let table = &schema.tables[*table];
                let rows = json["rows"].as_array().ok_or_else(wrong)?;
                let row = |row: &Value| {
                    columns
                        .iter()
                        .map(|column| {
                            let name = column.shared_name(table);
                            let ty = column.column_type(table);
                            let value = row.get(&*name).ok_or_else(wrong)?;
                            let datum = Datum::from_json_unbounded(&ty, value, &mut |_| None)?;
                            Ok((name, datum))
                        })
                        .collect::<Result<Vec<_>, Error>>()
                };
                Ok(Self::Rows(rows.iter().map(row).collect::<Result<_, _>>()?))
            }
            _ => Ok(Self::Empty),
        }
    }
}

impl Serialize for OpResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Rows<'a>(&'a [Vec<(Arc<str>, Datum)>]);
        impl Serialize for Rows<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut sequence = serializer.serialize_seq(Some(self.0.len()))?;
                for row in self.0 {
                    sequence.serialize_element(&NamedRow(row))?;
                }
                sequence.end()
            }
        }
        struct NamedRow<'a>(&'a [(Arc<str>, Datum)]);
        impl Serialize for NamedRow<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(name, datum)| (&**name, datum)))
            }
        }
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Empty => {}
            Self::Inserted(uuid) => {
                map.serialize_entry("uuid", &crate::Atom::Uuid(*uuid))?;
            }
            Self::Count(count) => map.serialize_entry("count", count)?,
            Self::Rows(rows) => map.serialize_entry("rows", &Rows(rows))?,
        }
        map.end()
    }
}

/// Where and why a transaction failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The results of the operations before the one that failed; of all operations if it was the commit.
    pub done: Vec<OpResult>,
    /// What went wrong.
    pub error: Error,
}

/// What a transaction gave: a result an operation, or the failure that undid it.
pub type Outcome = Result<Vec<OpResult>, Failure>;

/// The `result` member of the answer to a `transact` of `operations` operations (RFC 7047, section 4.1.3): a result
/// an operation; where one failed, its error and then nulls; where the commit failed, the error as one element more.
pub fn outcome_to_json(operations: usize, outcome: &Outcome) -> Value {
    let (done, error) = match outcome {
        Ok(done) => (done, None),
        Err(failure) => (&failure.done, Some(&failure.error)),
    };
    let mut elements: Vec<Value> = done
        .iter()
        .map(|result| serde_json::to_value(result).unwrap_or(Value::Null))
        .collect();
    elements.extend(error.map(Error::to_json));
    while elements.len() < operations {
        elements.push(Value::Null);
    }
    Value::Array(elements)
}

/// Reads the `result` member of the answer to a `transact` of these operations. The outer error means that the answer
/// makes no sense.
pub fn outcome_from_json(
    schema: &DatabaseSchema,
    operations: &[Operation],
    json: &Value,
) -> Result<Outcome, Error> {
    let elements = json
        .as_array()
        .ok_or_else(|| Error::syntax("The result of transact should be an array.").at(json))?;
    let mut done = Vec::with_capacity(operations.len());
    for (index, element) in elements.iter().enumerate() {
        if element.get("error").is_some() {
            let error = Error::from_json(element);
            return Ok(Err(Failure { done, error }));
        }
        let operation = operations
            .get(index)
            .ok_or_else(|| Error::syntax("transact has more results than operations.").at(json))?;
        done.push(OpResult::from_json(schema, operation, element)?);
    }
    if done.len() < operations.len() {
        return Err(Error::syntax("transact has fewer results than operations.").at(json));
    }
    Ok(Ok(done))
}

/// A transaction as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    /// The operations up to the first that could not be read.
    pub operations: Vec<Operation>,
    /// Why the one after `operations` could not be read.
    pub error: Option<Error>,
    /// How many operations were asked for.
    pub asked: usize,
}

impl Transaction {
    /// Reads operations, the elements after the first of `transact`'s `params`. `new_uuid` gives the UUIDs of the rows
    /// to insert that come without one.
    pub fn from_json(
        schema: &DatabaseSchema,
        operations: &[Value],
        new_uuid: &mut dyn FnMut() -> Uuid,
    ) -> Self {
        let mut reader = Reader {
            schema,
            names: FxHashMap::default(),
            new_uuid,
        };
        for operation in operations {
            reader.collect_name(operation);
        }
        let mut transaction = Self {
            operations: Vec::with_capacity(operations.len()),
            error: None,
            asked: operations.len(),
        };
        for json in operations {
            match reader.operation(json) {
                Ok(operation) => transaction.operations.push(operation),
                Err(error) => {
                    transaction.error = Some(error);
                    break;
                }
            }
        }
        transaction
    }
}

/// A row that an insert of the transaction names.
struct NamedUuid {
    uuid: Uuid,
    /// Whether the reader has passed the insert.
    inserted: bool,
}

struct Reader<'a> {
    schema: &'a DatabaseSchema,
    names: FxHashMap<String, NamedUuid>,
    new_uuid: &'a mut dyn FnMut() -> Uuid,
}

impl Reader<'_> {
    /// Names may be used before the insert that defines them, so they are collected first.
    fn collect_name(&mut self, operation: &Value) {
        if operation["op"] == "insert"
            && let Some(name) = operation["uuid-name"].as_str()
            && !self.names.contains_key(name)
        {
            let uuid = operation["uuid"]
                .as_str()
                .and_then(|uuid| Uuid::try_parse(uuid).ok())
                .unwrap_or_else(|| (self.new_uuid)());
            let inserted = false;
            self.names
                .insert(name.to_owned(), NamedUuid { uuid, inserted });
        }
    }

    fn operation(&mut self, json: &Value) -> Result<Operation, Error> {
        let fields = json
            .as_object()
            .ok_or_else(|| Error::syntax("An operation should be an object.").at(json))?;
        let mut members = Members {
            json,
            fields,
            used: vec!["op"],
        };
        let operation = match members.text("op")? {
            "insert" => self.insert(&mut members)?,
            "select" => {
                let (table, condition) = self.rows(&mut members)?;
                let columns = self.columns(&mut members, table, true)?;
                Operation::Select {
                    table,
                    condition,
                    columns,
                }
            }
            "update" => {
                let (table, condition) = self.rows(&mut members)?;
                let row = self.row(table, members.required("row")?)?;
                Operation::Update {
                    table,
                    condition,
                    row,
                }
            }
            "mutate" => {
                let (table, condition) = self.rows(&mut members)?;
                let table_schema = &self.schema.tables[table];
                let names = &self.names;
                let mutations = members
                    .array("mutations")?
                    .iter()
                    .map(|json| Mutation::from_json(table_schema, json, &mut named(names)))
                    .collect::<Result<_, _>>()?;
                Operation::Mutate {
                    table,
                    condition,
                    mutations,
                }
            }
            "delete" => {
                let (table, condition) = self.rows(&mut members)?;
                Operation::Delete { table, condition }
            }
            "wait" => self.wait(&mut members)?,
            "commit" => {
                let durable = members.required("durable")?.as_bool();
                let durable = durable.ok_or_else(|| members.wrong("durable"))?;
                Operation::Commit { durable }
            }
            "abort" => Operation::Abort,
            "comment" => Operation::Comment {
                comment: members.text("comment")?.into(),
            },
            "assert" => Operation::Assert {
                lock: members.text("lock")?.into(),
            },
            other => {
                return Err(Error::syntax(format!("No operation \"{other}\"")).at(json));
            }
        };
        members.finish()?;
        Ok(operation)
    }

    fn insert(&mut self, members: &mut Members<'_>) -> Result<Operation, Error> {
        let table = self.table(members)?;
        let row = self.row(table, members.required("row")?)?;
        let asked = match members.optional("uuid") {
            None => None,
            Some(json) => Some(
                json.as_str()
                    .and_then(|text| Uuid::try_parse(text).ok())
                    .ok_or_else(|| Error::syntax("bad uuid").at(json))?,
            ),
        };
        let uuid = match members.optional("uuid-name") {
            None => asked.unwrap_or_else(|| (self.new_uuid)()),
            Some(json) => {
                let name = json
                    .as_str()
                    .filter(|name| is_id(name))
                    .ok_or_else(|| members.wrong("uuid-name"))?;
                let entry = self
                    .names
                    .get_mut(name)
                    .ok_or_else(|| members.wrong("uuid-name"))?;
                if std::mem::replace(&mut entry.inserted, true) {
                    return Err(Error::new(
                        ErrorKind::DuplicateUuidName,
                        "This \"uuid-name\" appeared on an earlier \"insert\" operation.",
                    )
                    .at(json));
                }
                entry.uuid
            }
        };
        Ok(Operation::Insert { table, uuid, row })
    }

    fn wait(&self, members: &mut Members<'_>) -> Result<Operation, Error> {
        let (table, condition) = self.rows(members)?;
        let columns = self.columns(members, table, false)?;
        let until = match members.text("until")? {
            "==" => Until::Equal,
            "!=" => Until::NotEqual,
            _ => return Err(members.wrong("until")),
        };
        let timeout_ms = match members.optional("timeout") {
            None => None,
            // A negative time has passed already.
            Some(json) => Some(
                json.as_i64()
                    .map(|ms| ms.max(0) as u64)
                    .ok_or_else(|| members.wrong("timeout"))?,
            ),
        };
        let table_schema = &self.schema.tables[table];
        let mut rows = Vec::new();
        for json in members.array("rows")? {
            let mut row = Vec::new();
            for (name, value) in object(json)? {
                let column =
                    ColumnRef::from_name(table_schema, name).map_err(|error| error.at(json))?;
                let ty = column.column_type(table_schema);
                let datum = Datum::from_json(&ty, value, &mut named(&self.names))
                    .map_err(|error| column_error(error.into(), name, value))?;
                row.push((column, datum));
            }
            rows.push(row);
        }
        Ok(Operation::Wait {
            table,
            condition,
            columns,
            until,
            rows,
            timeout_ms,
        })
    }

    fn table(&self, members: &mut Members<'_>) -> Result<usize, Error> {
        let name = members.text("table")?;
        self.schema
            .table_index(name)
            .ok_or_else(|| Error::syntax(format!("No table named {name}.")).at(members.json))
    }

    fn rows(&self, members: &mut Members<'_>) -> Result<(usize, Vec<Clause>), Error> {
        let table = self.table(members)?;
        let condition = clauses_from_json(
            &self.schema.tables[table],
            members.required("where")?,
            &mut named(&self.names),
        )?;
        Ok((table, condition))
    }

    fn row(&self, table: usize, json: &Value) -> Result<Vec<(usize, Datum)>, Error> {
        let table = &self.schema.tables[table];
        let mut row = Vec::new();
        for (name, value) in object(json)? {
            let ColumnRef::Column(column) =
                ColumnRef::from_name(table, name).map_err(|error| error.at(json))?
            else {
                return Err(Error::constraint(format!(
                    "Cannot update immutable column {name} in table {}.",
                    table.name
                ))
                .at(json));
            };
            let ty = &table.columns[column].ty;
            let datum = Datum::from_json(ty, value, &mut named(&self.names))
                .map_err(|error| column_error(error.into(), name, value))?;
            row.push((column, datum));
        }
        Ok(row)
    }

    /// The columns that an operation names; if it names none, all, for a `select` with those that every table has.
    fn columns(
        &self,
        members: &mut Members<'_>,
        table: usize,
        implicit: bool,
    ) -> Result<Vec<ColumnRef>, Error> {
        let table = &self.schema.tables[table];
        if members.optional("columns").is_none() {
            let own = (0..table.columns.len()).map(ColumnRef::Column);
            let always = [ColumnRef::Uuid, ColumnRef::Version];
            let always = always.into_iter().filter(|_| implicit);
            return Ok(always.chain(own).collect());
        }
        let mut columns = Vec::new();
        for json in members.array("columns")? {
            let name = json.as_str().ok_or_else(|| members.wrong("columns"))?;
            let column = ColumnRef::from_name(table, name).map_err(|error| error.at(json))?;
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        Ok(columns)
    }
}

fn named(names: &FxHashMap<String, NamedUuid>) -> impl FnMut(&str) -> Option<Uuid> + '_ {
    |name| names.get(name).map(|named| named.uuid)
}

fn object(json: &Value) -> Result<&Map<String, Value>, Error> {
    json.as_object()
        .ok_or_else(|| Error::syntax("A row should be an object.").at(json))
}

fn column_error(error: Error, name: &str, value: &Value) -> Error {
    error.within(&format!("column {name}")).at(value)
}

/// Whether `name` is an `<id>` (RFC 7047, section 3.1).
fn is_id(name: &str) -> bool {
    name.bytes().enumerate().all(|(index, byte)| {
        byte == b'_' || byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit())
    }) && !name.is_empty()
}

/// The members of an operation's object; those that nobody asked for are an error, because they are mistakes.
struct Members<'j> {
    json: &'j Value,
    fields: &'j Map<String, Value>,
    used: Vec<&'static str>,
}

impl<'j> Members<'j> {
    fn optional(&mut self, name: &'static str) -> Option<&'j Value> {
        self.used.push(name);
        self.fields.get(name)
    }

    fn required(&mut self, name: &'static str) -> Result<&'j Value, Error> {
        self.optional(name).ok_or_else(|| {
            Error::syntax(format!("Required '{name}' member is missing.")).at(self.json)
        })
    }

    fn text(&mut self, name: &'static str) -> Result<&'j str, Error> {
        let json = self.required(name)?;
        json.as_str().ok_or_else(|| self.wrong(name))
    }

    fn array(&mut self, name: &'static str) -> Result<&'j Vec<Value>, Error> {
        let json = self.required(name)?;
        json.as_array().ok_or_else(|| self.wrong(name))
    }

    fn wrong(&self, name: &str) -> Error {
        Error::syntax(format!("Type mismatch for member '{name}'.")).at(self.json)
    }

    fn finish(&self) -> Result<(), Error> {
        match self
            .fields
            .keys()
            .find(|name| !self.used.contains(&name.as_str()))
        {
            None => Ok(()),
            Some(name) => Err(Error::syntax(format!(
                "Member '{name}' is present but not allowed here."
            ))
            .at(self.json)),
        }
    }
}

struct WithSchema<'a> {
    schema: &'a DatabaseSchema,
    operation: &'a Operation,
}

struct RowJson<'a, T>(&'a TableSchema, &'a [(T, Datum)]);

impl Serialize for RowJson<'_, usize> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = |&(column, ref datum): &'_ (usize, Datum)| {
            (self.0.columns[column].name.clone(), datum.clone())
        };
        serializer.collect_map(self.1.iter().map(name))
    }
}

impl Serialize for RowJson<'_, ColumnRef> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.1
                .iter()
                .map(|(column, datum)| (column.name(self.0), datum)),
        )
    }
}

impl Serialize for WithSchema<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let operation = self.operation;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("op", operation.name())?;
        let table = operation.table().map(|table| &self.schema.tables[table]);
        if let Some(table) = table {
            map.serialize_entry("table", &table.name)?;
        }
        match (operation, table) {
            (Operation::Insert { uuid, row, .. }, Some(table)) => {
                map.serialize_entry("uuid", uuid)?;
                map.serialize_entry("row", &RowJson(table, row))?;
            }
            (
                Operation::Select {
                    condition, columns, ..
                },
                Some(table),
            ) => {
                where_entry(&mut map, table, condition)?;
                map.serialize_entry("columns", &column_names(table, columns))?;
            }
            (Operation::Update { condition, row, .. }, Some(table)) => {
                where_entry(&mut map, table, condition)?;
                map.serialize_entry("row", &RowJson(table, row))?;
            }
            (
                Operation::Mutate {
                    condition,
                    mutations,
                    ..
                },
                Some(table),
            ) => {
                where_entry(&mut map, table, condition)?;
                let mutations: Vec<_> = mutations
                    .iter()
                    .map(|inner| Named { table, inner })
                    .collect();
                map.serialize_entry("mutations", &mutations)?;
            }
            (Operation::Delete { condition, .. }, Some(table)) => {
                where_entry(&mut map, table, condition)?;
            }
            (
                Operation::Wait {
                    condition,
                    columns,
                    until,
                    rows,
                    timeout_ms,
                    ..
                },
                Some(table),
            ) => {
                where_entry(&mut map, table, condition)?;
                map.serialize_entry("columns", &column_names(table, columns))?;
                let until = if *until == Until::Equal { "==" } else { "!=" };
                map.serialize_entry("until", until)?;
                let rows: Vec<_> = rows.iter().map(|row| RowJson(table, row)).collect();
                map.serialize_entry("rows", &rows)?;
                if let Some(timeout) = timeout_ms {
                    map.serialize_entry("timeout", timeout)?;
                }
            }
            (Operation::Commit { durable }, _) => map.serialize_entry("durable", durable)?,
            (Operation::Comment { comment }, _) => map.serialize_entry("comment", comment)?,
            (Operation::Assert { lock }, _) => map.serialize_entry("lock", lock)?,
            _ => {}
        }
        map.end()
    }
}

fn where_entry<M: SerializeMap>(
    map: &mut M,
    table: &TableSchema,
    condition: &[Clause],
) -> Result<(), M::Error> {
    map.serialize_entry(
        "where",
        &Named {
            table,
            inner: condition,
        },
    )
}

fn column_names<'a>(table: &'a TableSchema, columns: &[ColumnRef]) -> Vec<&'a str> {
    columns.iter().map(|column| column.name(table)).collect()
}

/// The `params` of a `transact` request (RFC 7047, section 4.1.3).
pub fn transact_params<'a>(
    schema: &'a DatabaseSchema,
    operations: &'a [Operation],
) -> impl Serialize + 'a {
    struct Params<'a>(&'a DatabaseSchema, &'a [Operation]);
    impl Serialize for Params<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut sequence = serializer.serialize_seq(Some(1 + self.1.len()))?;
            sequence.serialize_element(&self.0.name)?;
            for operation in self.1 {
                sequence.serialize_element(&operation.with(self.0))?;
            }
            sequence.end()
        }
    }
    Params(schema, operations)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> DatabaseSchema {
        DatabaseSchema::from_json(&json!({"name": "T", "version": "1.0.0", "tables": {
            "A": {"isRoot": true, "columns": {
                "name": {"type": "string"},
                "level": {"type": {"key": {"type": "integer", "minInteger": 0, "maxInteger": 7}}},
                "bs": {"type": {"key": {"type": "uuid", "refTable": "B"}, "min": 0, "max": "unlimited"}}}},
            "B": {"columns": {"kind": {"type": "string"}}}}}))
        .unwrap()
    }

    #[track_caller]
    fn read(operations: &Value) -> Transaction {
        let mut next = 0;
        Transaction::from_json(&schema(), operations.as_array().unwrap(), &mut || {
            next += 1;
            Uuid::from_u128(next)
        })
    }

    #[test]
    fn operations_survive_their_json_form() {
        let uuid = "00000000-0000-0000-0000-0000000000aa";
        let json = json!([
            {"op": "insert", "table": "A", "uuid": uuid, "row": {"level": 3, "name": "n"}},
            {"op": "select", "table": "A", "where": [["name", "==", "n"]], "columns": ["_uuid", "level"]},
            {"op": "update", "table": "A", "where": [], "row": {"bs": ["set", []]}},
            {"op": "mutate", "table": "A", "where": [true], "mutations": [["level", "+=", 1]]},
            {"op": "delete", "table": "A", "where": [["_uuid", "==", ["uuid", uuid]]]},
            {"op": "wait", "table": "A", "where": [], "columns": ["name"], "until": "!=", "rows": [{"name": "x"}], "timeout": 5},
            {"op": "commit", "durable": true},
            {"op": "comment", "comment": "why"},
            {"op": "assert", "lock": "l"},
            {"op": "abort"}
        ]);
        let transaction = read(&json);
        assert_eq!(transaction.error, None);
        let schema = schema();
        let printed: Vec<_> = transaction
            .operations
            .iter()
            .map(|op| op.with(&schema))
            .collect();
        assert_eq!(serde_json::to_value(printed).unwrap(), json);
    }

    #[test]
    fn names_may_be_used_before_they_are_defined() {
        let transaction = read(&json!([
            {"op": "insert", "table": "A", "row": {"bs": ["named-uuid", "b"]}},
            {"op": "insert", "table": "B", "uuid-name": "b", "row": {}},
        ]));
        let [
            Operation::Insert { row, .. },
            Operation::Insert { uuid, .. },
        ] = transaction.operations.as_slice()
        else {
            panic!("{transaction:?}");
        };
        assert_eq!(row[0].1, Datum::from(*uuid));
    }

    #[test]
    fn the_first_wrong_operation_ends_the_reading() {
        for (wrong, expected) in [
            (json!({"op": "foo"}), "syntax error: No operation \"foo\""),
            (
                json!({"op": "insert", "table": "Z", "row": {}}),
                "syntax error: No table named Z.",
            ),
            (
                json!({"op": "insert", "table": "A"}),
                "syntax error: Required 'row' member is missing.",
            ),
            (
                json!({"op": "insert", "table": "A", "row": {}, "x": 1}),
                "syntax error: Member 'x' is present but not allowed here.",
            ),
            (
                json!({"op": "insert", "table": "A", "row": {"zz": 1}}),
                "unknown column: No column zz in table A.",
            ),
            (
                json!({"op": "insert", "table": "A", "row": {"level": 9}}),
                "constraint violation: column level: 9 is not in the range 0 to 7",
            ),
            (
                json!({"op": "insert", "table": "A", "row": {"bs": ["named-uuid", "q"]}}),
                "syntax error: column bs: named-uuid \"q\" is not defined by any insert",
            ),
            (
                json!({"op": "insert", "table": "A", "uuid-name": "a b", "row": {}}),
                "syntax error: Type mismatch for member 'uuid-name'.",
            ),
            (
                json!({"op": "insert", "table": "A", "uuid": "a b", "row": {}}),
                "syntax error: bad uuid",
            ),
            (
                json!({"op": "insert", "table": "B", "uuid-name": "first", "row": {}}),
                "duplicate uuid-name: This \"uuid-name\" appeared on an earlier \"insert\" operation.",
            ),
            (
                json!({"op": "update", "table": "A", "where": [], "row": {"_version": ["uuid", "x"]}}),
                "constraint violation: Cannot update immutable column _version in table A.",
            ),
            (
                json!({"op": "wait", "table": "A", "where": [], "until": "<", "rows": []}),
                "syntax error: Type mismatch for member 'until'.",
            ),
            (json!(3), "syntax error: An operation should be an object."),
        ] {
            let first = json!({"op": "insert", "table": "A", "uuid-name": "first", "row": {}});
            let transaction = read(&json!([first, wrong, {"op": "abort"}]));
            let error = Error {
                syntax: None,
                ..transaction.error.unwrap()
            };
            assert_eq!(error.to_string(), expected);
            assert_eq!((transaction.operations.len(), transaction.asked), (1, 3));
        }
    }

    #[test]
    fn outcomes_survive_their_json_form() {
        let schema = schema();
        let uuid = Uuid::from_u128(7);
        let operations = read(&json!([
            {"op": "insert", "table": "A", "row": {}},
            {"op": "select", "table": "A", "where": [], "columns": ["name"]},
            {"op": "delete", "table": "A", "where": []},
            {"op": "comment", "comment": ""},
        ]))
        .operations;
        let done = vec![
            OpResult::Inserted(uuid),
            OpResult::Rows(vec![vec![("name".into(), "x".into())]]),
            OpResult::Count(2),
            OpResult::Empty,
        ];
        let error = Error::new(ErrorKind::Aborted, "");
        let failure = |count: usize| {
            Err(Failure {
                done: done[..count].to_vec(),
                error: error.clone(),
            })
        };
        for (outcome, length) in [(Ok(done.clone()), 4), (failure(1), 4), (failure(4), 5)] {
            let json = outcome_to_json(4, &outcome);
            assert_eq!(json.as_array().unwrap().len(), length);
            assert_eq!(
                outcome_from_json(&schema, &operations, &json).unwrap(),
                outcome
            );
        }
        assert_eq!(outcome_to_json(4, &failure(1))[2], Value::Null);
        assert!(outcome_from_json(&schema, &operations, &json!([])).is_err());
    }
}
