//! Open vSwitch's database files, as `man 5 ovsdb` describes them: standalone ones, and a member's of a cluster.
//!
//! A file is a log: a record with the schema, and one for each transaction. [`read`] goes over it and gives the
//! [`Contents`] that the log comes to, in the file's own schema. [`write`] makes a standalone file of contents, which
//! any `ovsdb-server` and `ovsdb-tool` opens.
//!
//! Values of ephemeral columns are in no file.

mod body;
mod cluster;
mod record;
mod transaction;

use std::collections::BTreeMap;
use std::io::{self, Seek, Write};

use uuid::Uuid;

pub use self::body::Body;
pub use self::record::Recorder;
use self::record::{Magic, Records};
use self::transaction::Transaction;
use crate::row::Row;
use crate::schema::DatabaseSchema;

/// So many bytes are written at once.
const CHUNK: usize = 1 << 20;

/// A database at rest: a schema, and rows that fit it.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// The schema.
    pub schema: DatabaseSchema,
    /// The rows of each table, in the schema's order.
    pub tables: Vec<BTreeMap<Uuid, Row>>,
    /// What somebody should know about where they come from.
    pub warnings: Vec<String>,
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is something else.
    #[error(
        "not a database file of Open vSwitch: it should begin with \"OVSDB JSON\" or \"OVSDB CLUSTER\""
    )]
    Foreign,
    /// It has no record.
    #[error("the file is empty")]
    Empty,
    /// It has no contents yet.
    #[error("the file was made to join a cluster and has no contents yet; take another member's")]
    Joining,
    /// A record is damaged.
    #[error("record {number}, at byte {offset}: {reason}")]
    Record {
        /// Which, counting from 1.
        number: usize,
        /// Where it begins.
        offset: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl Contents {
    /// No rows.
    pub fn empty(schema: DatabaseSchema) -> Self {
        Self {
            tables: schema.tables.iter().map(|_| BTreeMap::new()).collect(),
            schema,
            warnings: Vec::new(),
        }
    }

    /// How many rows there are in all tables.
    pub fn row_count(&self) -> usize {
        self.tables.iter().map(BTreeMap::len).sum()
    }

    fn apply(&mut self, transaction: Transaction) {
        for (table, rows) in transaction.tables {
            let schema = &self.schema.tables[table];
            for (uuid, columns) in rows {
                let Some(columns) = columns else {
                    self.tables[table].remove(&uuid);
                    continue;
                };
                let is_new = !self.tables[table].contains_key(&uuid);
                let row = self.tables[table].entry(uuid);
                let row = row.or_insert_with(|| Row::default_for(schema));
                for (column, datum) in columns {
                    // A new row is written with its values in any case.
                    let datum = match transaction.is_diff && !is_new {
                        true => transaction::patch(&schema.columns[column], row.get(column), datum),
                        false => datum,
                    };
                    row.set(column, datum);
                }
            }
        }
    }
}

/// Reads a file. `progress` is told from time to time how many bytes are done.
pub fn read(bytes: &[u8], progress: &mut dyn FnMut(usize)) -> Result<Contents, FileError> {
    let mut records = Records::new(bytes);
    let first = records.next().transpose()?.ok_or(FileError::Empty)?;
    let mut contents = match first.magic {
        Magic::Json => {
            let schema = first.json()?;
            let schema = DatabaseSchema::from_json(&schema).map_err(|e| first.wrong(&e))?;
            let mut contents = Contents::empty(schema);
            for record in records.by_ref() {
                let record = record?;
                let transaction = Transaction::read(&contents.schema, record.text()?);
                contents.apply(transaction.map_err(|error| record.wrong(&error))?);
                progress(record.end());
            }
            contents
        }
        Magic::Cluster => cluster::read(&first, &mut records, progress)?,
    };
    if let Some(offset) = records.cut() {
        contents.warnings.push(format!(
            "the last record, at byte {offset}, is cut short, as by a crash in the middle of writing; it is left out"
        ));
    }
    Ok(contents)
}

/// Writes a standalone file: the schema, and one transaction with all rows. `date_ms` is the time of day in
/// milliseconds since the epoch, and `comment` what `ovsdb-tool show-log` shows.
pub fn write<W: Write + Seek>(
    contents: &Contents,
    date_ms: i64,
    comment: &str,
    out: W,
) -> io::Result<W> {
    let mut recorder = Recorder::begin(write_schema(&contents.schema, out)?)?;
    let mut body = Body::new(date_ms, comment);
    let tables = contents.schema.tables.iter().zip(&contents.tables);
    for (table, rows) in tables {
        for (uuid, row) in rows {
            body.row(table, *uuid, row);
            if body.waiting() >= CHUNK {
                recorder.write_all(&body.take())?;
            }
        }
    }
    body.end();
    recorder.write_all(&body.take())?;
    recorder.finish()
}

/// Writes the first record of a standalone file, the schema.
pub fn write_schema<W: Write + Seek>(schema: &DatabaseSchema, out: W) -> io::Result<W> {
    record::write(out, &schema.to_json())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn file(magic: &str, records: &[Value]) -> Vec<u8> {
        let records = records.iter().map(|body| record::record(magic, body));
        records.collect::<Vec<_>>().concat()
    }

    fn schema() -> Value {
        let set = json!({"type": {"key": "string", "min": 0, "max": "unlimited"}});
        let map =
            json!({"type": {"key": "string", "value": "integer", "min": 0, "max": "unlimited"}});
        let some = json!({"type": {"key": "string", "min": 1, "max": "unlimited"}});
        let columns = json!({"s": set, "m": map, "i": {"type": "integer"}, "n": some});
        json!({"name": "T", "version": "1.0.0", "tables": {"A": {"columns": columns}}})
    }

    const ROW: &str = "40a26fa6-6d36-4db1-91dd-5bcfede4202d";

    fn row(contents: &Contents) -> Value {
        let rows: Vec<_> = contents.tables[0].values().collect();
        let [row] = rows.as_slice() else {
            return json!(rows.len());
        };
        json!({"i": row.get(0), "m": row.get(1), "n": row.get(2), "s": row.get(3)})
    }

    #[test]
    fn whole_values_replace_and_differences_toggle() {
        let is_diff = true;
        let bytes = file(
            "JSON",
            &[
                schema(),
                json!({"A": {ROW: {"s": ["set", ["a", "b"]], "m": ["map", [["x", 1], ["y", 2]]], "i": 3, "n": "q"}},
                   "_date": 1, "_is_diff": is_diff}),
                json!({"A": {ROW: {"s": ["set", ["a", "c"]], "m": ["map", [["x", 9], ["y", 2]]], "i": 5,
                               "n": ["set", ["q", "r"]]}}, "_is_diff": is_diff, "_comment": "x"}),
                json!({"A": {ROW: {"i": 6}}}),
            ],
        );
        let contents = read(&bytes, &mut |_| ()).unwrap();
        let expected =
            json!({"i": 6, "m": ["map", [["x", 9]]], "n": "r", "s": ["set", ["b", "c"]]});
        assert_eq!(row(&contents), expected);
        assert!(contents.warnings.is_empty());

        let written = write(&contents, 7, "c", io::Cursor::new(Vec::new())).unwrap();
        let written = written.into_inner();
        assert_eq!(read(&written, &mut |_| ()).unwrap(), contents);
    }

    fn header() -> Value {
        json!({"server_id": ROW, "local_address": "tcp:1:2", "name": "T", "cluster_id": ROW, "prev_term": 1,
               "prev_index": 4, "prev_servers": {}, "prev_eid": ROW, "prev_data": [schema(), {"A": {ROW: {"i": 1}}}]})
    }

    fn entry(index: u64, i: i64) -> Value {
        json!({"term": 2, "index": index, "eid": ROW, "data": [null, {"A": {ROW: {"i": i}}}]})
    }

    #[test]
    fn an_entry_takes_the_place_of_those_from_its_index_on() {
        let records = [
            header(),
            entry(5, 2),
            entry(6, 3),
            json!({"term": 3, "vote": ROW}),
            entry(5, 7),
        ];
        let contents = read(&file("CLUSTER", &records), &mut |_| ()).unwrap();
        assert_eq!(row(&contents)["i"], 7);
        assert!(
            contents.warnings[0].contains("1 entry"),
            "{:?}",
            contents.warnings
        );
        let records = [header(), entry(5, 2), json!({"commit_index": 5})];
        let contents = read(&file("CLUSTER", &records), &mut |_| ()).unwrap();
        assert_eq!(
            (&row(&contents)["i"], contents.warnings.len()),
            (&json!(2), 0)
        );
    }

    #[test]
    fn an_entry_with_a_schema_begins_anew() {
        let all = json!([schema(), {"A": {"40a26fa6-6d36-4db1-91dd-5bcfede42000": {"i": 8}}}]);
        let again = json!({"term": 2, "index": 5, "eid": ROW, "data": all});
        let contents = read(&file("CLUSTER", &[header(), again]), &mut |_| ()).unwrap();
        assert_eq!(row(&contents)["i"], 8);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let good = file("JSON", &[schema(), json!({"A": {ROW: {"i": 3}}})]);
        let second = file("JSON", &[schema()]).len();
        let check = |bytes: &[u8], expected: &str| {
            let error = read(bytes, &mut |_| ()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(b"", "empty");
        check(b"weft", "OVSDB JSON");
        check(
            &file(
                "CLUSTER",
                &[json!({"server_id": ROW, "remote_addresses": []})],
            ),
            "join",
        );
        check(
            &file("CLUSTER", &[header(), entry(7, 1)]),
            "entry 5 is missing",
        );
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        check(
            &flipped,
            &format!("record 2, at byte {second}: the checksum"),
        );
        check(&file("JSON", &[schema(), json!({"B": {}})]), "table B");
        check(
            &file("JSON", &[schema(), json!({"A": {ROW: {"z": 1}}})]),
            "column z",
        );
        check(
            &file("JSON", &[schema(), json!({"A": {ROW: {"i": "x"}}})]),
            "integer",
        );
        check(
            &file("JSON", &[schema(), json!({"A": {"x": null}})]),
            "\"x\" is not a UUID",
        );

        for cut in second + 1..good.len() {
            let contents = read(&good[..cut], &mut |_| ()).unwrap();
            assert_eq!(contents.row_count(), 0);
            assert!(contents.warnings[0].contains("cut short"));
        }
    }
}
