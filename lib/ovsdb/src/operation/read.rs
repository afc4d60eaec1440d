//! Reading operations from the JSON of a request.

use rustc_hash::FxHashMap;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Operation, Until};
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
