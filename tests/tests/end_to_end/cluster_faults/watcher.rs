//! Whoever watches: a client with a live view that goes on where it stopped when its connection breaks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};
use tests::cluster::Member;
use tests::ovsdb::Client;

use super::check::Rows;
use super::workload::{EPOCH, Load};

/// How long there may be nothing to see before it looks whether to stop.
const LOOK: Duration = Duration::from_millis(250);
/// How long the contents may take to come.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long after the end it may take to have seen everything.
const LIMIT: Duration = Duration::from_secs(30);

/// Where a member is reached.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its OVSDB door.
    pub ovsdb: PathBuf,
    /// Its gRPC door.
    pub grpc: PathBuf,
}

impl Place {
    /// That member's.
    pub fn of(member: &Member) -> Self {
        Self {
            ovsdb: member.socket(),
            grpc: member.grpc_socket(),
        }
    }
}

/// A live view of the registers and the trace.
#[derive(Debug)]
pub struct Watcher<'a> {
    places: &'a [Place],
    load: &'a Load,
    name: String,
    /// Which member it asks next; one that is pinned asks no other.
    next: usize,
    pinned: bool,
    /// By table and UUID.
    view: BTreeMap<(String, String), Map<String, Value>>,
    last_transaction: String,
}

impl<'a> Watcher<'a> {
    /// One for each place, and one more that goes from member to member.
    pub fn new(places: &'a [Place], number: usize, load: &'a Load) -> Self {
        Self {
            places,
            load,
            name: format!("watcher {}", number + 1),
            next: number % places.len(),
            pinned: number < places.len(),
            view: BTreeMap::new(),
            last_transaction: "00000000-0000-0000-0000-000000000000".to_owned(),
        }
    }

    /// Watches until it has seen everything, or something that cannot be.
    pub fn run(mut self) -> Result<()> {
        let mut client = None;
        let mut limit = None;
        loop {
            client = match client.take() {
                None => self.open()?,
                Some(client) => self.watch(client)?,
            };
            let over = self
                .load
                .show_is_over
                .lock()
                .expect("nobody panics")
                .clone();
            match over {
                None => {}
                Some(None) => return Ok(()),
                Some(Some(rows)) if self.rows()? == rows => return Ok(()),
                Some(Some(rows)) => {
                    let until = *limit.get_or_insert_with(|| Instant::now() + LIMIT);
                    if Instant::now() > until {
                        bail!(
                            "{}: its view is not what there is: {:?}, not {rows:?}",
                            self.name,
                            self.rows()?
                        );
                    }
                }
            }
        }
    }

    /// Connects and gets what it missed, if somebody answers.
    fn open(&mut self) -> Result<Option<Client>> {
        let place = &self.places[self.next];
        let Ok(mut client) = Client::connect_within(&place.ovsdb, PATIENCE) else {
            // A member that is down is not there at once when it is started.
            std::thread::sleep(LOOK / 10);
            self.go_on();
            return Ok(None);
        };
        let tables = json!({"BFD": [{"columns": ["logical_port", "min_tx"]}], "DNS": [{"columns": ["external_ids"]}]});
        let params = json!(["OVN_Northbound", "view", tables, self.last_transaction]);
        let Ok(answer) = client.request("monitor_cond_since", &params) else {
            self.go_on();
            return Ok(None);
        };
        if answer[0] == false {
            self.view.clear();
        }
        self.take(&answer[1], &answer[2])?;
        ensure!(client.set_patience(LOOK).is_ok(), "a time-out can be set");
        Ok(Some(client))
    }

    /// Takes what comes.
    fn watch(&mut self, mut client: Client) -> Result<Option<Client>> {
        match client.poll() {
            Ok(None) => Ok(Some(client)),
            Ok(Some(message)) if message["method"] == "update3" => {
                self.take(&message["params"][1], &message["params"][2])?;
                Ok(Some(client))
            }
            Ok(Some(message)) => bail!("{}: what is {message}?", self.name),
            Err(_) => {
                self.go_on();
                Ok(None)
            }
        }
    }

    fn go_on(&mut self) {
        if !self.pinned {
            self.next = (self.next + 1) % self.places.len();
        }
    }

    /// Applies an update, which must go with the view.
    fn take(&mut self, transaction: &Value, updates: &Value) -> Result<()> {
        let (mut registers, mut traces, mut epochs) = (0, 0, 0);
        for (table, rows) in updates.as_object().into_iter().flatten() {
            for (uuid, change) in rows.as_object().into_iter().flatten() {
                let key = (table.clone(), uuid.clone());
                let (kind, row) = change
                    .as_object()
                    .and_then(|change| change.iter().next())
                    .context("a change")?;
                let columns = row.as_object().cloned().unwrap_or_default();
                let known = self.view.get(&key);
                let is_new = matches!(kind.as_str(), "initial" | "insert");
                let goes_with_it = is_new == known.is_none();
                ensure!(
                    goes_with_it,
                    "{}: {kind} of {table} {uuid}, where there was {known:?}",
                    self.name
                );
                if kind == "delete" {
                    self.view.remove(&key);
                    continue;
                }
                let row = self.view.entry(key).or_default();
                row.extend(columns);
                match table.as_str() {
                    "DNS" => traces += 1,
                    _ if row["logical_port"] == EPOCH => epochs += 1,
                    _ => registers += 1,
                }
            }
        }
        // Every write has its trace; what makes an epoch has none.
        ensure!(
            registers == 0 || traces > 0 || epochs > 0,
            "{}: {registers} registers have changed without a trace in transaction {transaction}",
            self.name
        );
        let transaction = transaction
            .as_str()
            .context("an update has a transaction")?;
        transaction.clone_into(&mut self.last_transaction);
        Ok(())
    }

    fn rows(&self) -> Result<Rows> {
        let mut rows = Rows::default();
        for ((table, _), row) in &self.view {
            let row = Value::Object(row.clone());
            match table.as_str() {
                "BFD" => rows.add_register(&row)?,
                _ => rows.add_trace(&row)?,
            }
        }
        Ok(rows)
    }
}
