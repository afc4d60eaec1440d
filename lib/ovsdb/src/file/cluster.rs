//! The file of a member of a cluster: a snapshot in its first record, and Raft's log behind it.
//!
//! An entry of the log takes the place of all those from its index on: that is how Raft takes back what was never
//! committed. All that remain at the end are applied, also those that the file does not say are committed: the member
//! may have answered for them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::record::{Record, Records};
use super::transaction::Transaction;
use super::{Contents, FileError};
use crate::schema::DatabaseSchema;

/// The first record, as far as it matters here.
#[derive(Deserialize)]
struct Header<'b> {
    prev_index: Option<i64>,
    #[serde(borrow)]
    prev_data: Option<&'b RawValue>,
    #[serde(borrow)]
    remote_addresses: Option<&'b RawValue>,
}

/// Any other record, as far as it matters here.
#[derive(Deserialize)]
struct Item<'b> {
    index: Option<i64>,
    #[serde(borrow)]
    data: Option<&'b RawValue>,
    commit_index: Option<i64>,
}

/// A schema, or none, and a transaction, or none.
type Data<'b> = (Option<&'b RawValue>, Option<&'b RawValue>);

/// Reads a file, given its first record and the others.
pub(super) fn read<'b>(
    first: &Record<'b>,
    records: &mut Records<'b>,
    progress: &mut dyn FnMut(usize),
) -> Result<Contents, FileError> {
    let header: Header<'b> = parse(first, first.text()?)?;
    let Some(data) = header.prev_data else {
        return Err(match header.remote_addresses {
            Some(_) => FileError::Joining,
            None => first.wrong(&"it has no \"prev_data\""),
        });
    };
    let mut contents = None;
    apply(&mut contents, first, data)?;
    let Some(mut contents) = contents else {
        return Err(first.wrong(&"it has no schema"));
    };

    let start = header.prev_index.unwrap_or_default();
    let mut log: BTreeMap<i64, (Record<'b>, Option<&'b RawValue>)> = BTreeMap::new();
    let mut committed = start;
    for record in records.by_ref() {
        let record = record?;
        let item: Item<'b> = parse(&record, record.text()?)?;
        committed = committed.max(item.commit_index.unwrap_or_default());
        progress(record.end());
        if let Some(index) = item.index {
            log.split_off(&index);
            log.insert(index, (record, item.data));
        }
    }
    let mut next = start + 1;
    for (index, (record, data)) in log.split_off(&next) {
        if index != next {
            return Err(record.wrong(&format!("log entry {next} is missing before it")));
        }
        next += 1;
        if let Some(data) = data {
            let mut whole = Some(contents);
            apply(&mut whole, &record, data)?;
            contents = whole.expect("contents stay once they are there");
        }
    }
    let open = next - 1 - committed;
    if open > 0 {
        let entries = if open == 1 { "entry" } else { "entries" };
        contents.warnings.push(format!(
            "{open} {entries} at the end of the log may not have been committed in the cluster; taken over all the same"
        ));
    }
    Ok(contents)
}

fn parse<'b, T: Deserialize<'b>>(record: &Record<'b>, text: &'b str) -> Result<T, FileError> {
    serde_json::from_str(text).map_err(|error| record.wrong(&error))
}

fn apply<'b>(
    contents: &mut Option<Contents>,
    record: &Record<'b>,
    data: &'b RawValue,
) -> Result<(), FileError> {
    let (schema, transaction): Data<'b> = parse(record, data.get())?;
    if let Some(schema) = schema {
        let schema = parse(record, schema.get())?;
        let schema = DatabaseSchema::from_json(&schema).map_err(|error| record.wrong(&error))?;
        *contents = Some(Contents::empty(schema));
    }
    if let (Some(contents), Some(transaction)) = (contents, transaction) {
        let transaction = Transaction::read(&contents.schema, transaction.get());
        contents.apply(transaction.map_err(|error| record.wrong(&error))?);
    }
    Ok(())
}
