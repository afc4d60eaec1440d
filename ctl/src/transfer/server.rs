//! The database of a running server, read and written as a whole. Its own schema is what counts.

use std::sync::Arc;

use ovsdb::file::Contents;
use ovsdb::operation::{Operation, Until};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Clause, ColumnRef, Datum, Function, Row, Uuid};
use replica::{Client, ClientError, Spec, TableSpec, TransactError, fetch_schema};
use tokio::runtime::{Builder, Runtime};

use super::fit::fit;
use super::portions::{PORTION, RowId, WHOLE, portions};
use crate::error::{CommandError, Outcome, fail};
use crate::options::RunOptions;
use crate::progress::Progress;
use crate::tool::Tool;

/// Tables besides the global one that `init`, `set-connection` and `set-ssl` have filled in a database that is empty
/// otherwise.
const SETTINGS: [&str; 2] = ["Connection", "SSL"];

/// Reads everything.
pub(super) fn read(tool: &Tool, options: &RunOptions) -> Outcome<Contents> {
    let runtime = runtime()?;
    let schema = schema(&runtime, tool, options)?;
    let progress = Progress::new("reading", schema.tables.len() as u64);
    let client = connect(
        &runtime,
        options,
        &schema,
        (0..schema.tables.len()).collect(),
    )?;
    let mut contents = Contents::empty(DatabaseSchema::clone(&schema));
    for (table, rows) in contents.tables.iter_mut().enumerate() {
        let all = client.tables().table(table).iter();
        rows.extend(all.map(|(uuid, row)| (uuid, Row::clone(row))));
        progress.set(table as u64 + 1);
    }
    Ok(contents)
}

/// Writes everything: into an empty database, or with `replace` in place of what it has. Answers what was done, and
/// what was left out because of `skip`.
pub(super) fn write(
    tool: &Tool,
    options: &RunOptions,
    contents: Contents,
    replace: bool,
    skip: bool,
) -> Outcome<(String, Vec<String>)> {
    let runtime = runtime()?;
    let schema = schema(&runtime, tool, options)?;
    let contents = fit(contents, &schema, skip)?;
    let portions = portions(&contents, WHOLE, PORTION);
    let total = contents.row_count();
    if options.dry_run {
        let text = format!(
            "{total} rows would be imported in {} transactions\n",
            portions.len()
        );
        return Ok((text, contents.warnings));
    }
    let watched = match replace {
        true => (0..schema.tables.len()).collect(),
        false => replaceable(tool, &schema),
    };
    let mut client = connect(&runtime, options, &schema, watched)?;
    let progress = Progress::new("writing", total as u64);
    let mut written = Written { done: 0, total };
    // What is there goes with the first transaction, together with all that comes if that is in one, too: a row that
    // was there and comes again is then changed, since it cannot come anew in the transaction in which it goes.
    let is_whole = portions.len() == 1;
    let kept = |id: &RowId| is_whole && contents.tables[id.0].contains_key(&id.1);
    let mut steps = match replace {
        true => Vec::new(),
        false => expect_empty(tool, &schema),
    };
    for table in 0..schema.tables.len() {
        let there = client
            .tables()
            .table(table)
            .iter()
            .map(|(uuid, _)| (table, uuid));
        steps.extend(there.filter(|id| !kept(id)).map(delete));
    }
    if !is_whole {
        let first = std::mem::take(&mut steps);
        transact(&runtime, &mut client, &schema, first, &written)?;
    }
    for (number, portion) in portions.iter().enumerate() {
        let mut steps = std::mem::take(&mut steps);
        steps.extend(portion.iter().map(|id| {
            let old = is_whole.then(|| client.tables().get(id.0, id.1)).flatten();
            bring(&contents, *id, old.map(AsRef::as_ref))
        }));
        let comment = format!(
            "weft {} import, part {} of {}",
            tool.name,
            number + 1,
            portions.len()
        );
        let comment = Operation::Comment {
            comment: comment.into(),
        };
        steps.push((comment, Place::Elsewhere));
        transact(&runtime, &mut client, &schema, steps, &written)?;
        written.done += portion.len();
        progress.set(written.done as u64);
    }
    let transactions = match portions.len() {
        1 => "one transaction".to_owned(),
        count => format!("{count} transactions"),
    };
    Ok((
        format!("{total} rows imported in {transactions}\n"),
        contents.warnings,
    ))
}

fn runtime() -> Outcome<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::Failed(error.to_string()))
}

fn schema(runtime: &Runtime, tool: &Tool, options: &RunOptions) -> Outcome<Arc<DatabaseSchema>> {
    let fetched = fetch_schema(&options.remotes, options.tls.as_ref(), tool.database);
    let schema = runtime.block_on(fetched);
    Ok(Arc::new(schema.map_err(|error| {
        CommandError::Failed(error.to_string())
    })?))
}

fn connect(
    runtime: &Runtime,
    options: &RunOptions,
    schema: &Arc<DatabaseSchema>,
    tables: Vec<usize>,
) -> Outcome<Client> {
    let spec = Spec {
        tables: tables.into_iter().map(TableSpec::all).collect(),
        leader_only: options.leader_only,
        tls: options.tls.clone(),
        // Executing a large transaction takes a server its time.
        probe_interval: std::time::Duration::from_secs(120),
        ..Spec::new(schema.clone(), options.remotes.clone())
    };
    let client = runtime.block_on(Client::connect(spec, options.timeout, false));
    client.map_err(|error| CommandError::Failed(error.to_string()))
}

/// How far the writing has come, in rows.
struct Written {
    done: usize,
    total: usize,
}

/// What an operation is about, for messages.
#[derive(Clone, Copy)]
enum Place {
    /// A table that should be empty.
    Empty(usize),
    Row(RowId),
    Elsewhere,
}

type Step = (Operation, Place);

/// The tables whose rows make way without being asked: the global one, and what `init` and its kin have filled.
fn replaceable(tool: &Tool, schema: &DatabaseSchema) -> Vec<usize> {
    let names = SETTINGS.into_iter().chain([tool.global_table]);
    names.filter_map(|name| schema.table_index(name)).collect()
}

/// Fails where there is a row already.
fn expect_empty(tool: &Tool, schema: &DatabaseSchema) -> Vec<Step> {
    let replaceable = replaceable(tool, schema);
    let tables = (0..schema.tables.len()).filter(|table| !replaceable.contains(table));
    let wait = |table| Operation::Wait {
        table,
        condition: vec![Clause::Always(true)],
        columns: vec![ColumnRef::Uuid],
        until: Until::Equal,
        rows: Vec::new(),
        timeout_ms: Some(0),
    };
    tables
        .map(|table| (wait(table), Place::Empty(table)))
        .collect()
}

fn is_row(uuid: Uuid) -> Vec<Clause> {
    vec![Clause::Compare {
        column: ColumnRef::Uuid,
        function: Function::Equal,
        arg: Datum::from(uuid),
    }]
}

fn delete((table, uuid): RowId) -> Step {
    let condition = is_row(uuid);
    (
        Operation::Delete { table, condition },
        Place::Row((table, uuid)),
    )
}

/// Inserts a row, or changes what differs in the one that is there.
fn bring(contents: &Contents, id: RowId, old: Option<&Row>) -> Step {
    let (table, uuid) = id;
    let new = &contents.tables[table][&uuid];
    let columns = contents.schema.tables[table].columns.iter().enumerate();
    let given = columns.filter(|(index, column)| {
        let before = match old {
            Some(old) => old.get(*index).clone(),
            None => Datum::default_for(&column.ty),
        };
        !column.ephemeral && *new.get(*index) != before
    });
    let row = given
        .map(|(index, _)| (index, new.get(index).clone()))
        .collect();
    let operation = match old {
        None => Operation::Insert { table, uuid, row },
        Some(_) => Operation::Update {
            table,
            condition: is_row(uuid),
            row,
        },
    };
    (operation, Place::Row(id))
}

fn transact(
    runtime: &Runtime,
    client: &mut Client,
    schema: &DatabaseSchema,
    steps: Vec<Step>,
    written: &Written,
) -> Outcome {
    let (operations, places): (Vec<Operation>, Vec<Place>) = steps.into_iter().unzip();
    match runtime.block_on(client.transact(operations)) {
        Ok(_) => Ok(()),
        Err(error) => fail(explain(&error, schema, &places, written)),
    }
}

/// What went wrong, where, and how to go on.
fn explain(
    error: &ClientError,
    schema: &DatabaseSchema,
    places: &[Place],
    written: &Written,
) -> String {
    let mut text = match error {
        ClientError::Transact(TransactError::Failed(failure)) => {
            match places.get(failure.done.len()) {
                Some(Place::Empty(table)) => {
                    let table = &schema.tables[*table].name;
                    return format!(
                        "the database is not empty: table {table} has rows; --replace deletes everything first"
                    );
                }
                Some(Place::Row((table, uuid))) => {
                    let table = &schema.tables[*table].name;
                    format!("row {uuid} of table {table}: {}", failure.error)
                }
                Some(Place::Elsewhere) | None => failure.error.to_string(),
            }
        }
        error => error.to_string(),
    };
    if written.done > 0 {
        text.push_str(&format!(
            "\n{} of {} rows are in the database already; --replace begins anew",
            written.done, written.total
        ));
    }
    text
}
