//! One transaction of a file: for each table, rows with the columns that it sets, or none where it deletes the row.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use uuid::Uuid;

use crate::datum::Datum;
use crate::decode::DatumSeed;
use crate::schema::{ColumnSchema, DatabaseSchema, TableSchema};
use crate::update::Delta;

/// Rows of a table: those with columns are set, those without are deleted.
type Rows = Vec<(Uuid, Option<Vec<(usize, Datum)>>)>;

/// What a transaction does.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// Whether values of changed columns are differences.
    pub(super) is_diff: bool,
    /// The tables, by their index in the schema.
    pub(super) tables: Vec<(usize, Rows)>,
}

impl Transaction {
    /// Reads the JSON form.
    pub(super) fn read(schema: &DatabaseSchema, text: &str) -> Result<Self, serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        let transaction = TransactionSeed(schema).deserialize(&mut json)?;
        json.end()?;
        Ok(transaction)
    }
}

/// What a column holds after a difference.
pub(super) fn patch(column: &ColumnSchema, old: &Datum, value: Datum) -> Datum {
    match column.ty.max {
        1 => value,
        _ => Delta::Toggle(value).apply(old),
    }
}

struct TransactionSeed<'s>(&'s DatabaseSchema);

impl<'de> DeserializeSeed<'de> for TransactionSeed<'_> {
    type Value = Transaction;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Transaction, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TransactionSeed<'_> {
    type Value = Transaction;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tables")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Transaction, A::Error> {
        let mut transaction = Transaction::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == "_is_diff" {
                transaction.is_diff = map.next_value()?;
            } else if name.starts_with('_') {
                // Remarks, such as `_date` and `_comment`.
                map.next_value::<IgnoredAny>()?;
            } else {
                let index = self.0.table_index(&name);
                let index = index.ok_or_else(|| {
                    A::Error::custom(format_args!("table {name} is not in the file's schema"))
                })?;
                let rows = map.next_value_seed(RowsSeed(&self.0.tables[index]))?;
                transaction.tables.push((index, rows));
            }
        }
        Ok(transaction)
    }
}

struct RowsSeed<'s>(&'s TableSchema);

impl<'de> DeserializeSeed<'de> for RowsSeed<'_> {
    type Value = Rows;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Rows, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowsSeed<'_> {
    type Value = Rows;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of rows")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rows, A::Error> {
        let mut rows = Rows::new();
        while let Some(uuid) = map.next_key::<String>()? {
            let uuid = Uuid::try_parse(&uuid)
                .map_err(|_| A::Error::custom(format_args!("{uuid:?} is not a UUID")))?;
            rows.push((uuid, map.next_value_seed(RowSeed(self.0))?));
        }
        Ok(rows)
    }
}

struct RowSeed<'s>(&'s TableSchema);

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = Option<Vec<(usize, Datum)>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = Option<Vec<(usize, Datum)>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of columns, or null")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut columns = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let index = self.0.column_index(&name).ok_or_else(|| {
                let table = &self.0.name;
                A::Error::custom(format_args!(
                    "column {name} is not in table {table} of the file's schema"
                ))
            })?;
            let datum = map.next_value_seed(DatumSeed(&self.0.columns[index].ty))?;
            columns.push((index, datum));
        }
        Ok(Some(columns))
    }
}
