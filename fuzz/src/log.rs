//! What is in the log and in the rows on disk.

use std::sync::Arc;

use ovsdb::{Row, Uuid};
use store::codec::Names;
use store::entry::{self, Turn};
use store::retries;

use crate::sample;

/// Bytes of the log or of a row; the first says which.
pub fn log_entries(input: &[u8]) {
    let Some((&which, bytes)) = input.split_first() else {
        return;
    };
    let schema = sample::schema();
    match which % 4 {
        0 | 1 => {
            let turn = if which % 4 == 0 {
                Turn::Next
            } else {
                Turn::Again
            };
            let database = sample::database();
            let old = |table, uuid| database.row(table, uuid).cloned();
            let Ok(read) = entry::decode(schema, bytes, turn, old) else {
                return;
            };
            if bytes.is_empty() {
                return;
            }
            let written = entry::encode(schema, read.named.as_ref(), &read.changes);
            let again = entry::decode(schema, &written, Turn::Next, |table, uuid| {
                let mut changes = read.changes.iter();
                let change = changes.find(|change| (change.table, change.uuid) == (table, uuid));
                change.and_then(|change| change.old.clone())
            });
            // A row that stands in an entry twice is told by whoever applies it.
            let mut ids: Vec<(usize, Uuid)> = read
                .changes
                .iter()
                .map(|change| (change.table, change.uuid))
                .collect();
            ids.sort_unstable();
            let count = ids.len();
            ids.dedup();
            if ids.len() == count {
                again.expect("it was written by us");
                // Whether it fits is for the database to say.
                let _ = sample::database().apply(&read.changes);
            }
        }
        2 => {
            let columns = schema.tables.iter().flat_map(|table| &table.columns);
            let mut names = Names::new(columns.map(|column| column.name.to_string()));
            let table = &schema.tables[0];
            if let Ok(row) = entry::decode_row(&names, table, bytes) {
                let row: Arc<Row> = Arc::new(row);
                let written = entry::encode_row(&mut names, table, &row);
                let again = entry::decode_row(&names, table, &written);
                let again = again.expect("it was written by us");
                assert_eq!(again, *row);
            }
        }
        _ => {
            if let Ok((index, named)) = retries::decode(Uuid::nil(), bytes) {
                let written = retries::encode(index, &named.results);
                assert_eq!(retries::decode(Uuid::nil(), &written), Ok((index, named)));
            }
        }
    }
}
