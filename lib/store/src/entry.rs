//! What a log entry says: a transaction's effect, or nothing.
//!
//! ```text
//! entry  = (nothing: the start of a term)
//!        | version u8 = 1, name, tables
//! name   = 0 | 1, 16 bytes of UUID, results (length varint, bytes)
//! tables = count varint, table…
//! table  = name string, columns (count varint, name string…), rows (count varint, row…)
//! row    = 16 bytes of UUID, 0                  the row goes
//!        | 16 bytes of UUID, 1, columns         the row comes; columns left out have their default
//!        | 16 bytes of UUID, 2, columns         these columns change
//! ```
//!
//! `columns` and strings are those of [`crate::codec`]; the numbers count the table's columns as
//! the entry lists them, so that an entry means the same on members whose schemas order them
//! differently.
//!
//! An entry holds new values only. Whoever applies it has the old ones: [`decode`] asks for them,
//! and gives back changes that can be undone.

use std::sync::Arc;

use bytes::Bytes;
use ovsdb::schema::{DatabaseSchema, TableSchema};
use ovsdb::{Datum, Row, RowChange};
use uuid::Uuid;

use crate::codec::{self, DecodeError, Decoder, Names};

/// The version of the layout above.
const VERSION: u8 = 1;

const ROW_GOES: u8 = 0;
const ROW_COMES: u8 = 1;
const ROW_CHANGES: u8 = 2;

/// The name that a client gave to its transaction, and what it was answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedResult {
    /// Chosen by the client at random.
    pub name: Uuid,
    /// The encoded results.
    pub results: Bytes,
}

/// An entry of the log, read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Entry {
    /// Set if the client named the transaction.
    pub named: Option<NamedResult>,
    /// The rows that changed, each once.
    pub changes: Vec<RowChange>,
}

/// To what an entry is applied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// To the state before it: every row that it changes is there.
    Next,
    /// To rows of which some may contain this entry and later ones, all of which will be applied
    /// again: a row that is not there was removed by one of them.
    Again,
}

/// Why an entry cannot be applied here.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum EntryError {
    /// Written by a newer server.
    #[error("written in version {0} of the entry format, but this server knows {VERSION} only")]
    Version(u8),
    /// The bytes make no sense.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The entry speaks of a table or column that the schema lacks.
    #[error("the schema has no {0}; run a server of the version that wrote it")]
    Unknown(String),
    /// The entry changes or removes a row that is not there.
    #[error("row {uuid} of table {table} is not there")]
    NoSuchRow {
        /// The table's name.
        table: Arc<str>,
        /// The row.
        uuid: Uuid,
    },
}

/// So much memory is reserved at most for changes whose size is not known.
const MOST_RESERVED: usize = 64 << 20;

/// Encodes a transaction's effect.
pub fn encode(
    schema: &DatabaseSchema,
    named: Option<&NamedResult>,
    changes: &[RowChange],
) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    match named {
        None => bytes.push(0),
        Some(NamedResult { name, results }) => {
            bytes.push(1);
            bytes.extend_from_slice(name.as_bytes());
            codec::put_count(&mut bytes, results.len());
            bytes.extend_from_slice(results);
        }
    }
    let mut tables: Vec<(usize, Vec<&RowChange>)> = Vec::new();
    for change in changes {
        match tables.iter_mut().find(|(table, _)| *table == change.table) {
            Some((_, rows)) => rows.push(change),
            None => tables.push((change.table, vec![change])),
        }
    }
    codec::put_count(&mut bytes, tables.len());
    for (table, rows) in tables {
        encode_table(&mut bytes, &schema.tables[table], &rows);
    }
    bytes
}

fn encode_table(bytes: &mut Vec<u8>, table: &TableSchema, rows: &[&RowChange]) {
    let mut columns = Names::default();
    let mut body = Vec::new();
    let mut row_bytes = Vec::new();
    let defaults = Row::default_for(table);
    for (number, row) in rows.iter().enumerate() {
        if number == 1 {
            // The rows of a large transaction are about as long as the first.
            body.reserve((body.len() * rows.len()).min(MOST_RESERVED));
        }
        body.extend_from_slice(row.uuid.as_bytes());
        let Some(new) = &row.new else {
            body.push(ROW_GOES);
            continue;
        };
        let changed = |index: usize, datum: &Datum| match &row.old {
            Some(old) => old.get(index) != datum,
            None => datum != defaults.get(index),
        };
        body.push(match row.old {
            Some(_) => ROW_CHANGES,
            None => ROW_COMES,
        });
        let mut count = 0;
        row_bytes.clear();
        for (index, datum) in new.columns().iter().enumerate() {
            if changed(index, datum) {
                let number = columns.number(&table.columns[index].name);
                codec::put_varint(&mut row_bytes, u64::from(number));
                codec::put_datum(&mut row_bytes, datum);
                count += 1;
            }
        }
        codec::put_count(&mut body, count);
        body.extend_from_slice(&row_bytes);
    }
    codec::put_str(bytes, &table.name);
    codec::put_count(bytes, columns.next() as usize);
    for name in columns.since(0) {
        codec::put_str(bytes, name);
    }
    codec::put_count(bytes, rows.len());
    bytes.extend_from_slice(&body);
}

/// Reads an entry; `old` tells what a row of the table with that index is now.
pub fn decode(
    schema: &DatabaseSchema,
    bytes: &[u8],
    turn: Turn,
    old: impl Fn(usize, Uuid) -> Option<Arc<Row>>,
) -> Result<Entry, EntryError> {
    if bytes.is_empty() {
        return Ok(Entry::default());
    }
    let mut decoder = Decoder::new(bytes);
    let version = decoder.byte()?;
    if version != VERSION {
        return Err(EntryError::Version(version));
    }
    let mut entry = Entry::default();
    if decoder.byte()? != 0 {
        let name = decoder.uuid()?;
        let length = decoder.count()?;
        let results = Bytes::copy_from_slice(decoder.take(length)?);
        entry.named = Some(NamedResult { name, results });
    }
    for _ in 0..decoder.count()? {
        decode_table(schema, &mut decoder, turn, &old, &mut entry.changes)?;
    }
    decoder.finish()?;
    Ok(entry)
}

fn decode_table(
    schema: &DatabaseSchema,
    decoder: &mut Decoder<'_>,
    turn: Turn,
    old: &impl Fn(usize, Uuid) -> Option<Arc<Row>>,
    changes: &mut Vec<RowChange>,
) -> Result<(), EntryError> {
    let name = decoder.string()?;
    let index = schema
        .table_index(name)
        .ok_or_else(|| EntryError::Unknown(format!("table {name}")))?;
    let table = &schema.tables[index];
    let mut columns = Vec::new();
    for _ in 0..decoder.count()? {
        let column = decoder.string()?;
        columns.push(
            table
                .column_index(column)
                .ok_or_else(|| EntryError::Unknown(format!("column {column} in table {name}")))?,
        );
    }
    for _ in 0..decoder.count()? {
        let uuid = decoder.uuid()?;
        let kind = decoder.byte()?;
        let found = old(index, uuid);
        let is_missing = kind != ROW_COMES && found.is_none();
        if is_missing && turn == Turn::Next {
            let table = table.name.clone();
            return Err(EntryError::NoSuchRow { table, uuid });
        }
        let mut new = match kind {
            ROW_GOES => None,
            ROW_COMES => Some(Row::default_for(table)),
            ROW_CHANGES => Some(match &found {
                Some(old) => Row::clone(old),
                None => Row::default_for(table),
            }),
            _ => return Err(DecodeError::Invalid("an unknown kind of change").into()),
        };
        if let Some(new) = &mut new {
            for _ in 0..decoder.count()? {
                let number = decoder.number()? as usize;
                let column = *columns.get(number).ok_or(DecodeError::Invalid(
                    "a column that the entry does not list",
                ))?;
                new.set(column, decoder.datum()?);
            }
        }
        if !is_missing {
            changes.push(RowChange {
                table: index,
                uuid,
                old: found.filter(|_| kind != ROW_COMES),
                new: new.map(Arc::new),
            });
        }
    }
    Ok(())
}

/// Encodes an applied row for the disk, against the dictionary of the file.
pub fn encode_row(names: &mut Names, table: &TableSchema, row: &Row) -> Vec<u8> {
    let mut body = Vec::new();
    let mut count = 0;
    for (column, datum) in table.columns.iter().zip(row.columns()) {
        if *datum != Datum::default_for(&column.ty) {
            codec::put_varint(&mut body, u64::from(names.number(&column.name)));
            codec::put_datum(&mut body, datum);
            count += 1;
        }
    }
    let mut bytes = Vec::with_capacity(body.len() + 2);
    codec::put_count(&mut bytes, count);
    bytes.extend_from_slice(&body);
    bytes
}

/// Reads an applied row.
pub fn decode_row(names: &Names, table: &TableSchema, bytes: &[u8]) -> Result<Row, EntryError> {
    let mut decoder = Decoder::new(bytes);
    let mut row = Row::default_for(table);
    for _ in 0..decoder.count()? {
        let name = names
            .name(decoder.number()?)
            .ok_or(DecodeError::Invalid("a name that the dictionary lacks"))?;
        let column = table
            .column_index(name)
            .ok_or_else(|| EntryError::Unknown(format!("column {name} in table {}", table.name)))?;
        row.set(column, decoder.datum()?);
    }
    decoder.finish()?;
    Ok(row)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::codec::tests::any_datum;

    fn schema(tables: &serde_json::Value) -> DatabaseSchema {
        DatabaseSchema::from_json(&json!({"name": "T", "tables": tables})).unwrap()
    }

    fn two_tables() -> DatabaseSchema {
        let map = json!({"key": "string", "value": "string", "min": 0, "max": "unlimited"});
        let columns =
            json!({"a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": map}});
        schema(&json!({"A": {"columns": columns}, "B": {"columns": columns}}))
    }

    fn any_row() -> impl Strategy<Value = Arc<Row>> {
        proptest::collection::vec(any_datum(), 3).prop_map(|columns| Arc::new(Row::new(columns)))
    }

    /// Changes of different rows, sorted by table as the engine sorts them.
    fn any_changes() -> impl Strategy<Value = Vec<RowChange>> {
        let sides = (any_row(), any_row(), 0..3);
        proptest::collection::vec((0usize..2, sides), 0..8).prop_map(|changes| {
            let mut changes: Vec<RowChange> = changes
                .into_iter()
                .enumerate()
                .map(|(number, (table, (old, new, kind)))| RowChange {
                    table,
                    uuid: Uuid::from_u128(number as u128),
                    old: (kind != 0).then_some(old),
                    new: (kind != 1).then_some(new),
                })
                .collect();
            changes.sort_by_key(|change| (change.table, change.uuid));
            changes
        })
    }

    proptest! {
        #[test]
        fn an_entry_survives_the_round_trip(changes in any_changes(), name: Option<u128>) {
            let schema = two_tables();
            let named = name.map(|name| NamedResult {
                name: Uuid::from_u128(name),
                results: Bytes::from_static(b"[{}]"),
            });
            let bytes = encode(&schema, named.as_ref(), &changes);
            let old = |table, uuid| {
                let mut changes = changes.iter();
                changes.find(|c| (c.table, c.uuid) == (table, uuid))?.old.clone()
            };
            prop_assert_eq!(decode(&schema, &bytes, Turn::Next, old), Ok(Entry { named, changes: changes.clone() }));
            for cut in 1..bytes.len() {
                prop_assert!(decode(&schema, &bytes[..cut], Turn::Next, old).is_err());
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let versioned: Vec<u8> = [VERSION].into_iter().chain(bytes).collect();
            let _ = decode(&two_tables(), &versioned, Turn::Again, |_, _| None);
        }

        #[test]
        fn a_row_survives_the_round_trip(row in any_row()) {
            let schema = two_tables();
            let mut names = Names::default();
            let bytes = encode_row(&mut names, &schema.tables[0], &row);
            let read = decode_row(&names, &schema.tables[0], &bytes);
            prop_assert_eq!(read.as_ref(), Ok(&*row));
        }
    }

    #[test]
    fn an_entry_means_the_same_under_a_schema_with_more_columns() {
        let columns = json!({"b": {"type": "string"}});
        let narrow = schema(&json!({"B": {"columns": columns}}));
        let change = RowChange {
            table: 0,
            uuid: Uuid::from_u128(1),
            old: None,
            new: Some(Arc::new(Row::new(vec![Datum::from("x")]))),
        };
        let bytes = encode(&narrow, None, &[change]);
        let wide = two_tables();
        let entry = decode(&wide, &bytes, Turn::Next, |_, _| None).unwrap();
        let row = entry.changes[0].new.as_ref().unwrap();
        assert_eq!(entry.changes[0].table, 1);
        assert_eq!(row.get(1), &Datum::from("x"));
        assert_eq!(row.get(0), &Datum::from(0));

        let other = schema(&json!({"B": {"columns": {"c": {"type": "string"}}}}));
        let error = decode(&other, &bytes, Turn::Next, |_, _| None).unwrap_err();
        assert_eq!(error, EntryError::Unknown("column b in table B".to_owned()));
    }

    #[test]
    fn a_newer_version_is_refused() {
        let error = decode(&two_tables(), &[9, 1, 2], Turn::Next, |_, _| None).unwrap_err();
        assert_eq!(error, EntryError::Version(9));
    }
}
