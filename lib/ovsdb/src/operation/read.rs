//! Reading operations from the JSON of a request.

use std::borrow::Cow;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{MAX_OPERATIONS, Operation, Operations, Until};
use crate::condition::{Clause, ColumnRef, clauses_from_json};
use crate::datum::Datum;
use crate::error::{Error, ErrorKind};
use crate::mutation::Mutation;
use crate::schema::DatabaseSchema;

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
    /// Whether it changes nothing and waits for nothing, whatever it finds.
    pub fn only_reads(&self) -> bool {
        let mut operations = self.operations.iter();
        operations.all(|operation| {
            matches!(
                operation,
                Operation::Select { .. } | Operation::Comment { .. } | Operation::Commit { .. }
            )
        })
    }

    /// Reads operations, the elements after the first of `transact`'s `params`. `new_uuid` gives the UUIDs of the rows
    /// to insert that come without one.
    pub fn read(
        schema: &DatabaseSchema,
        operations: &Operations<'_>,
        new_uuid: &mut dyn FnMut() -> Uuid,
    ) -> Self {
        let mut reader = TransactionReader::new(schema, operations.len(), new_uuid);
        let names = operations.names();
        reader.names.reserve(names.len());
        for (name, uuid) in names {
            reader.name(name, uuid);
        }
        let error = operations.each(&mut |json| reader.read(json)).err();
        Self {
            error,
            ..reader.finish()
        }
    }

    /// As [`Transaction::read`], from operations that are trees already.
    pub fn from_json(
        schema: &DatabaseSchema,
        operations: &[Value],
        new_uuid: &mut dyn FnMut() -> Uuid,
    ) -> Self {
        let mut reader = TransactionReader::new(schema, operations.len(), new_uuid);
        for json in operations {
            if json["op"] == "insert"
                && let Some(name) = json["uuid-name"].as_str()
            {
                let uuid = json["uuid"].as_str();
                let uuid = uuid.and_then(|uuid| Uuid::try_parse(uuid).ok());
                reader.name(name.into(), uuid);
            }
        }
        let error = operations.iter().try_for_each(|json| reader.read(json));
        Self {
            error: error.err(),
            ..reader.finish()
        }
    }
}

/// A row that an insert of the transaction names.
struct NamedUuid {
    uuid: Uuid,
    /// Whether the reader has passed the insert.
    inserted: bool,
}

/// Reads the operations of a transaction one by one, for those that do not have all of them as JSON at once.
pub struct TransactionReader<'a> {
    schema: &'a DatabaseSchema,
    names: FxHashMap<Cow<'a, str>, NamedUuid>,
    new_uuid: &'a mut dyn FnMut() -> Uuid,
    /// For each table, when it was asked for: all columns that a `select` may mean.
    all_columns: FxHashMap<usize, Arc<[ColumnRef]>>,
    transaction: Transaction,
}

impl<'a> TransactionReader<'a> {
    /// Reads as many operations as were `asked` for.
    pub fn new(
        schema: &'a DatabaseSchema,
        asked: usize,
        new_uuid: &'a mut dyn FnMut() -> Uuid,
    ) -> Self {
        Self {
            schema,
            names: FxHashMap::default(),
            new_uuid,
            all_columns: FxHashMap::default(),
            transaction: Transaction {
                operations: Vec::with_capacity(asked.min(MAX_OPERATIONS)),
                error: None,
                asked,
            },
        }
    }

    /// Takes a name (`uuid-name`) that one of the operations gives to its row, and the UUID that it asks for.
    /// Names may be used before the insert that defines them, so all of them come before the first operation.
    pub fn name(&mut self, name: Cow<'a, str>, uuid: Option<Uuid>) {
        let new_uuid = &mut self.new_uuid;
        self.names.entry(name).or_insert_with(|| NamedUuid {
            uuid: uuid.unwrap_or_else(new_uuid),
            inserted: false,
        });
    }

    /// Reads the next operation.
    ///
    /// # Errors
    /// Why it cannot be read: the transaction ends before it.
    pub fn read(&mut self, json: &Value) -> Result<(), Error> {
        let operation = self.operation(json)?;
        self.transaction.operations.push(operation);
        Ok(())
    }

    /// Takes the next operation from somebody who has read it: it is as [`TransactionReader::read`] would have it.
    pub fn take(&mut self, operation: Operation) {
        self.transaction.operations.push(operation);
    }

    /// What was read.
    pub fn finish(self) -> Transaction {
        self.transaction
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
                let columns = self.columns_to_select(&mut members, table)?;
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
                lock: match members.text("lock")? {
                    lock if is_id(lock) => lock.into(),
                    _ => return Err(members.wrong("lock")),
                },
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
        let columns = match self.columns(members, table)? {
            Some(columns) => columns,
            None => self.own_columns(table).collect(),
        };
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
        let columns = object(json)?;
        let mut row = Vec::with_capacity(columns.len());
        for (name, value) in columns {
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

    /// The columns that a `select` names; else all, with those that every table has.
    fn columns_to_select(
        &mut self,
        members: &mut Members<'_>,
        table: usize,
    ) -> Result<Arc<[ColumnRef]>, Error> {
        if let Some(columns) = self.columns(members, table)? {
            return Ok(columns.into());
        }
        if let Some(all) = self.all_columns.get(&table) {
            return Ok(all.clone());
        }
        let always = [ColumnRef::Uuid, ColumnRef::Version];
        let all: Arc<[_]> = always.into_iter().chain(self.own_columns(table)).collect();
        self.all_columns.insert(table, all.clone());
        Ok(all)
    }

    fn own_columns(&self, table: usize) -> impl Iterator<Item = ColumnRef> + use<> {
        (0..self.schema.tables[table].columns.len()).map(ColumnRef::Column)
    }

    /// The columns that an operation names, if it does.
    fn columns(
        &self,
        members: &mut Members<'_>,
        table: usize,
    ) -> Result<Option<Vec<ColumnRef>>, Error> {
        let table = &self.schema.tables[table];
        if members.optional("columns").is_none() {
            return Ok(None);
        }
        let mut columns = Vec::new();
        for json in members.array("columns")? {
            let name = json.as_str().ok_or_else(|| members.wrong("columns"))?;
            let column = ColumnRef::from_name(table, name).map_err(|error| error.at(json))?;
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        Ok(Some(columns))
    }
}

fn named<'n>(
    names: &'n FxHashMap<Cow<'_, str>, NamedUuid>,
) -> impl FnMut(&str) -> Option<Uuid> + 'n {
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
pub(crate) fn is_id(name: &str) -> bool {
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
