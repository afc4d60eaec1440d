//! The body of a record with many rows, made piece by piece.

use std::fmt;
use std::io::Write;

use uuid::Uuid;

use crate::datum::Datum;
use crate::row::Row;
use crate::schema::TableSchema;

/// A transaction record in which rows come into being. Whoever makes one takes the bytes away as they come.
pub struct Body {
    bytes: Vec<u8>,
    table: Option<String>,
    is_first_row: bool,
    taken: u64,
    checksum: sha1_smol::Sha1,
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Body({} bytes and {})",
            self.taken,
            self.bytes.len()
        )
    }
}

impl Body {
    /// Begins a record. `date_ms` is the time of day in milliseconds since the epoch, and `comment` what
    /// `ovsdb-tool show-log` shows.
    pub fn new(date_ms: i64, comment: &str) -> Self {
        let mut body = Self {
            bytes: format!("{{\"_date\":{date_ms},\"_comment\":").into_bytes(),
            table: None,
            is_first_row: true,
            taken: 0,
            checksum: sha1_smol::Sha1::new(),
        };
        body.json(comment);
        body
    }

    /// Adds a row. Rows of one table have to follow each other.
    pub fn row(&mut self, table: &TableSchema, uuid: Uuid, row: &Row) {
        if self.table.as_deref() != Some(&*table.name) {
            self.end_table();
            self.bytes.push(b',');
            self.json(&*table.name);
            self.bytes.extend_from_slice(b":{");
            self.table = Some(table.name.to_string());
            self.is_first_row = true;
        }
        if !std::mem::take(&mut self.is_first_row) {
            self.bytes.push(b',');
        }
        self.json(&uuid);
        self.bytes.extend_from_slice(b":{");
        let mut is_first = true;
        for (column, datum) in table.columns.iter().zip(row.columns()) {
            if column.ephemeral || *datum == Datum::default_for(&column.ty) {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                self.bytes.push(b',');
            }
            self.json(&*column.name);
            self.bytes.push(b':');
            self.json(datum);
        }
        self.bytes.push(b'}');
    }

    /// Ends the record. Nothing may be added after that.
    pub fn end(&mut self) {
        self.end_table();
        self.bytes.extend_from_slice(b"}\n");
    }

    /// How many bytes wait to be taken.
    pub fn waiting(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the bytes that have come since the last time.
    pub fn take(&mut self) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.bytes);
        self.checksum.update(&bytes);
        self.taken += bytes.len() as u64;
        bytes
    }

    /// How many bytes have been taken, and their SHA-1 checksum.
    pub fn taken(&self) -> (u64, [u8; 20]) {
        (self.taken, self.checksum.digest().bytes())
    }

    fn end_table(&mut self) {
        if self.table.take().is_some() {
            self.bytes.push(b'}');
        }
    }

    fn json(&mut self, value: &(impl serde::Serialize + ?Sized)) {
        let written = serde_json::to_writer(self.bytes.by_ref(), value);
        written.expect("memory takes everything, and keys are strings");
    }
}
