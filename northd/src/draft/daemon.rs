//! Drafts on the standard input and output: one, or one after the other, for as long as somebody asks.

use std::io::{BufRead, Read, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use ovsdb::condition::Clause;
use ovsdb::operation::Transaction;
use ovsdb::schema::DatabaseSchema;
use ovsdb::{ColumnRef, Operation, Remote, RowChange};
use replica::record::changes_to_json;
use replica::{Client, ClientError, Event, Spec, TableSpec, TransactError};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Drafted, Draftsman, Rows, draft_once};
use crate::core::{Now, Side};
use crate::daemon::Config;
use crate::error::Error;

/// The longest transaction that is drafted: the longest message that databases take.
const MAX_BYTES: u64 = 64 << 20;
/// So long northd at work has for what it was told before the draft.
const GRACE: Duration = Duration::from_millis(500);
/// So long a draft waits for a database that is away.
const AWAY: Duration = Duration::from_secs(30);

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn wrong(why: &dyn std::fmt::Display) -> Error {
    Error::Input(why.to_string())
}

fn too_long() -> Error {
    wrong(&format!("it has more than {MAX_BYTES} bytes"))
}

/// Prints what the transaction on the input would change: changes of rows, as they are recorded.
///
/// # Errors
/// When the databases cannot be read, or there is no saying.
pub fn once(config: &Config) -> Result<(), Error> {
    let mut input = String::new();
    let read = std::io::stdin()
        .lock()
        .take(MAX_BYTES + 1)
        .read_to_string(&mut input);
    read.map_err(|error| wrong(&error))?;
    if input.len() as u64 > MAX_BYTES {
        return Err(too_long());
    }
    let transaction = transaction(&input)?;
    let runtime = runtime()?;
    let connected = runtime.block_on(async {
        let north = connect(config, nb_db::schema(), &config.north);
        let south = connect(config, sb_db::schema(), &config.south);
        tokio::try_join!(north, south)
    });
    let (north, south) = connected?;
    let drafted = draft_once(
        VERSION,
        Now::read(),
        rows(&north),
        rows(&south),
        &transaction,
    )?;
    println!("{}", told(&drafted));
    // The process ends: what they know is given back with it.
    std::mem::forget((north, south));
    Ok(())
}

/// Reads transactions, one a line, and prints a line for each: what it would change, or `{"error":"why not"}`. The first line,
/// `{"ready":true}`, says that both databases were read and compiled; they are followed until the input ends.
///
/// # Errors
/// When the databases cannot be read, or nobody takes the answers.
pub fn lines(config: &Config) -> Result<(), Error> {
    let (sender, lines) = mpsc::channel(1);
    let reader = std::thread::Builder::new().name("input".to_owned());
    let reader = reader.spawn(move || {
        let mut input = std::io::stdin().lock();
        while let ControlFlow::Continue(line) = line(&mut input) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    reader.map_err(|error| Error::System {
        what: "a thread",
        error,
    })?;
    runtime()?.block_on(answer(config, lines))
}

fn runtime() -> Result<Runtime, Error> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Error::System {
        what: "a runtime",
        error,
    })
}

/// The next line of the input; none when it ends, or when what comes is no line.
fn line(input: &mut impl BufRead) -> ControlFlow<(), Result<String, Error>> {
    let mut line = String::new();
    match input.take(MAX_BYTES + 1).read_line(&mut line) {
        Ok(0) => ControlFlow::Break(()),
        Ok(_) if line.ends_with('\n') => ControlFlow::Continue(Ok(line)),
        Ok(_) => ControlFlow::Continue(Err(too_long())),
        Err(error) => ControlFlow::Continue(Err(wrong(&error))),
    }
}

fn transaction(text: &str) -> Result<Transaction, Error> {
    let operations: Vec<Value> = serde_json::from_str(text).map_err(|error| wrong(&error))?;
    let mut new_uuid = uuid::Uuid::new_v4;
    let transaction = Transaction::from_json(nb_db::schema(), &operations, &mut new_uuid);
    match &transaction.error {
        Some(error) => Err(wrong(error)),
        None => Ok(transaction),
    }
}

async fn connect(
    config: &Config,
    schema: &Arc<DatabaseSchema>,
    remotes: &[Remote],
) -> Result<Client, Error> {
    let tables = 0..schema.tables.len();
    let spec = Spec {
        tables: tables.map(TableSpec::all).collect(),
        leader_only: true,
        tls: config.tls.clone(),
        ..Spec::new(Arc::clone(schema), remotes.to_vec())
    };
    Ok(Client::connect(spec, None, false).await?)
}

fn rows(client: &Client) -> Rows {
    let tables = 0..client.tables().schema().tables.len();
    let rows = tables.flat_map(|table| {
        let rows = client.tables().table(table).iter();
        rows.map(move |(uuid, row)| (table, uuid, Arc::clone(row)))
    });
    rows.collect()
}

/// The two databases, and what is drafted on copies of them.
struct Followed {
    north: Client,
    south: Client,
    draftsman: Draftsman,
    /// How often a database was asked whether there is news.
    asked: u64,
}

/// Answers lines, and follows the databases in between.
async fn answer(
    config: &Config,
    mut lines: mpsc::Receiver<Result<String, Error>>,
) -> Result<(), Error> {
    let mut followed = Followed {
        north: connect(config, nb_db::schema(), &config.north).await?,
        south: connect(config, sb_db::schema(), &config.south).await?,
        draftsman: Draftsman::default(),
        asked: 0,
    };
    followed.copy()?;
    let mut text = json!({"ready": true});
    loop {
        let mut output = std::io::stdout().lock();
        let written = writeln!(output, "{text}").and_then(|()| output.flush());
        written.map_err(|error| Error::System {
            what: "the output",
            error,
        })?;
        drop(output);
        if !followed.draftsman.is_ready() && followed.draftsman.is_worth_copying() {
            // Whoever asks next does not wait for it. What is wrong with the rows is told then.
            let _ = followed.copy();
        }
        let line = loop {
            tokio::select! {
                biased;
                line = lines.recv() => match line {
                    Some(line) => break line,
                    None => return Ok(()),
                },
                event = followed.north.next() => followed.take(Side::North, event?),
                event = followed.south.next() => followed.take(Side::South, event?),
            }
        };
        text = match line {
            // What comes after half a line makes no sense either.
            Err(error) => return Err(error),
            Ok(line) => match followed.draft(&line).await {
                Ok(drafted) => told(&drafted),
                Err(error) => json!({"error": error.to_string()}),
            },
        };
    }
}

impl Followed {
    /// Copies both databases anew.
    fn copy(&mut self) -> Result<(), Error> {
        let (north, south) = (rows(&self.north), rows(&self.south));
        Ok(self.draftsman.copy(VERSION, Now::read(), north, south)?)
    }

    fn take(&mut self, side: Side, event: Event) {
        if let Event::Changes(changes) = event {
            self.draftsman.follow(Now::read(), side, &changes);
        }
    }

    async fn draft(&mut self, line: &str) -> Result<Drafted, Error> {
        let transaction = transaction(line)?;
        let newest = async {
            self.catch_up(Side::North).await?;
            self.catch_up(Side::South).await
        };
        match timeout(AWAY, newest).await {
            Ok(caught_up) => caught_up?,
            Err(_) => return Err(wrong(&"a database is away")),
        }
        let until = Instant::now() + GRACE;
        while self.draftsman.is_ready() && !self.draftsman.is_at_rest(Now::read()) {
            // Northd at work is about to write what is missing.
            match timeout_at(until, self.south.next()).await {
                Ok(event) => self.take(Side::South, event?),
                Err(_) => break,
            }
        }
        // It is late, or of another mind, because it has another past: copies that begin anew have none.
        if !self.draftsman.is_at_rest(Now::read()) {
            self.copy()?;
        }
        Ok(self.draftsman.draft(Now::read(), &transaction)?)
    }

    /// Waits until everything is here that has been committed before.
    async fn catch_up(&mut self, side: Side) -> Result<(), Error> {
        let (client, draftsman) = match side {
            Side::North => (&mut self.north, &mut self.draftsman),
            Side::South => (&mut self.south, &mut self.draftsman),
        };
        loop {
            self.asked += 1;
            let nothing = Operation::Select {
                table: 0,
                condition: vec![Clause::is_row(uuid::Uuid::nil())],
                columns: Arc::from([ColumnRef::Uuid]),
            };
            let is_asked =
                client.is_synced() && client.handle().transact(self.asked, vec![nothing]).is_ok();
            loop {
                match client.next().await? {
                    Event::Changes(changes) => draftsman.follow(Now::read(), side, &changes),
                    Event::TransactReply { id, result } if id == self.asked => match result {
                        Ok(_) => return Ok(()),
                        Err(TransactError::NotConnected | TransactError::Disconnected) => break,
                        Err(error) => return Err(ClientError::Transact(error).into()),
                    },
                    Event::Synced if !is_asked => break,
                    _ => {}
                }
            }
        }
    }
}

/// Rows as they were and as they would be.
fn told(drafted: &Drafted) -> Value {
    json!({
        "north": rows_told(nb_db::schema(), &drafted.north),
        "south": rows_told(sb_db::schema(), &drafted.south),
        "unsettled": drafted.unsettled,
    })
}

fn rows_told(schema: &DatabaseSchema, changes: &[RowChange]) -> Value {
    let before = changes.iter().filter(|change| change.old.is_some());
    let before = before.map(|change| RowChange {
        new: change.old.clone(),
        ..change.clone()
    });
    let before: Vec<RowChange> = before.collect();
    json!({
        "before": changes_to_json(schema, &before),
        "changes": changes_to_json(schema, changes),
    })
}
