//! The listeners that the database itself asks for: the rows of `Connection`, with the keys of `SSL`.
//!
//! They are opened, changed and closed as the rows come, change and go, as `ovsdb-server` does with
//! `--remote=db:…,connections`, and by every member of a cluster. What cannot be opened is said in the log and tried
//! again. A row that changes closes the listener and its connections, so that nobody keeps rights that were taken away.
//!
//! | column | what becomes of it |
//! | --- | --- |
//! | `target` | where to listen; a target to connect to is refused, for this server only listens |
//! | `inactivity_probe` | after so many milliseconds of silence the client is probed; 0: never |
//! | `role`, or key `role` of `other_config` | the role of the clients, see [`crate::access::rule`] |
//! | keys `role:NAME` of `other_config` | with role `certificate`, the role of the client of that name |
//! | `read_only` | the same as role `reader` |
//! | `max_backoff`, `is_connected`, `status` | nothing: the state is in the log, and of every member its own |
//!
//! TLS takes the files of the row of `SSL`, or, without one, those of the flags. `ptcp:` needs no `--plaintext`: whoever
//! writes the row is the administrator, and asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ovsdb::monitor::{MonitoredColumn, Select, TableMonitor};
use ovsdb::schema::{DatabaseSchema, TableSchema};
use ovsdb::{Atom, ColumnRef, Condition, Listen, Row, Uuid};
use tokio::time::Instant;

use super::listeners::{Listeners, Opened};
use crate::access::rule::{ListenerConfig, Rule};
use crate::caller::{Caller, Role};
use crate::event::{Output, Request};
use crate::monitor::{Update, View};
use crate::server::engine::{Engine, Session};
use crate::server::limits::Stopped;
use crate::server::net::listen::{ListenError, Listener, PROBE};
use crate::server::net::tls::Files;
use crate::session::{DatabaseId, MonitorId};

/// What could not be opened is tried again after so long.
const RETRY: Duration = Duration::from_secs(5);
/// The connections of a listener that was closed have so long to hear the answers that are on their way.
const FAREWELL: Duration = Duration::from_secs(1);
/// Clients are not probed more often than this.
const MIN_PROBE: Duration = Duration::from_secs(1);

/// Follows the tables until the server ends.
pub async fn follow(engine: Arc<Engine>, listeners: Listeners, flags: Files) {
    let schema = engine.databases.get(DatabaseId::Main).schema.clone();
    let Some(tables) = Tables::find(&schema) else {
        return;
    };
    let mut keeper = Keeper {
        schema,
        tables,
        listeners,
        flags,
        connections: BTreeMap::new(),
        ssl: BTreeMap::new(),
        open: BTreeMap::new(),
        complaints: BTreeSet::new(),
    };
    if keeper.run(&engine).await.is_err() {
        tracing::debug!("the listeners of the database are no longer followed");
    }
}

/// Where the two tables are.
struct Tables {
    connection: usize,
    ssl: usize,
}

impl Tables {
    fn find(schema: &DatabaseSchema) -> Option<Self> {
        Some(Self {
            connection: schema.table_index("Connection")?,
            ssl: schema.table_index("SSL")?,
        })
    }

    fn view(&self, schema: &DatabaseSchema) -> View {
        let table = |table: usize| {
            let columns = 0..schema.tables[table].columns.len();
            let columns = columns.map(|column| MonitoredColumn {
                column: ColumnRef::Column(column),
                select: Select::ALL,
            });
            let monitor = TableMonitor {
                table,
                columns: columns.collect(),
                select: Select::ALL,
                condition: Condition::everything(),
            };
            (Arc::new(monitor), Condition::everything())
        };
        let mut tables = [self.connection, self.ssl];
        tables.sort_unstable();
        View {
            tables: tables.map(table).into(),
        }
    }
}

/// A listener that a row asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Wanted {
    config: ListenerConfig,
    probe: Option<Duration>,
    /// For TLS.
    files: Option<Files>,
}

struct Keeper {
    schema: Arc<DatabaseSchema>,
    tables: Tables,
    listeners: Listeners,
    /// The files that the flags name.
    flags: Files,
    connections: BTreeMap<Uuid, Arc<Row>>,
    ssl: BTreeMap<Uuid, Arc<Row>>,
    /// By target.
    open: BTreeMap<String, (Wanted, Opened)>,
    /// What was said about what is wrong, so that it is not said again.
    complaints: BTreeSet<String>,
}

impl Keeper {
    async fn run(&mut self, engine: &Engine) -> Result<(), Stopped> {
        let mut session = engine.connect(Caller::unrestricted()).await?;
        let monitor = Request::Monitor {
            database: DatabaseId::Main,
            monitor: MonitorId(1),
            view: self.tables.view(&self.schema),
            since: None,
        };
        session.request(monitor).await?;
        let mut retry = None;
        loop {
            tokio::select! {
                output = session.outputs.recv() => match output {
                    Some(output) => self.take(output, &mut session).await?,
                    None => return Err(Stopped),
                },
                () = until(retry) => {}
            }
            // All that is there belongs together: a command that replaces rows is one transaction.
            while let Some(output) = session.outputs.try_recv() {
                self.take(output, &mut session).await?;
            }
            let complete = self.reconcile().await;
            retry = (!complete).then(|| Instant::now() + RETRY);
        }
    }

    async fn take(&mut self, output: Output, session: &mut Session) -> Result<(), Stopped> {
        match output {
            Output::MonitorStarted { update, .. } => self.apply(&update),
            Output::Updated { update, .. } => {
                self.apply(&update);
                session.written().await?;
            }
            _ => {}
        }
        Ok(())
    }

    fn apply(&mut self, update: &Update) {
        for (view, fragments) in &update.tables {
            let rows = match view.table == self.tables.connection {
                true => &mut self.connections,
                false => &mut self.ssl,
            };
            for fragment in fragments {
                let change = &fragment.change;
                match &change.new {
                    Some(row) => rows.insert(change.uuid, row.clone()),
                    None => rows.remove(&change.uuid),
                };
            }
        }
    }

    /// Makes what is open what is wanted. False if something is to be tried again.
    async fn reconcile(&mut self) -> bool {
        let mut complaints = BTreeSet::new();
        let files = self.files();
        let table = &self.schema.tables[self.tables.connection];
        let mut wanted = BTreeMap::new();
        for row in self.connections.values() {
            match read(&Columns { table, row }, &files) {
                Ok((target, listener)) => {
                    wanted.insert(target, listener);
                }
                Err(complaint) => {
                    complaints.insert(complaint);
                }
            }
        }
        let gone =
            |target: &String, open: &mut (Wanted, Opened)| wanted.get(target) != Some(&open.0);
        let closed: Vec<Opened> = self
            .open
            .extract_if(.., gone)
            .map(|(_, (_, opened))| opened)
            .collect();
        for opened in closed {
            let tie = opened.close().await;
            // The connections end when they have heard why.
            tokio::spawn(async move {
                tokio::time::sleep(FAREWELL).await;
                drop(tie);
            });
        }
        let mut complete = true;
        for (target, wanted) in wanted {
            if self.open.contains_key(&target) {
                continue;
            }
            match open(&wanted).await {
                Ok(listener) => {
                    let opened = self.listeners.serve_for_now(listener);
                    self.open.insert(target, (wanted, opened));
                }
                Err(error) => {
                    complete = false;
                    complaints.insert(format!(
                        "{error}; it is tried again every {} seconds",
                        RETRY.as_secs()
                    ));
                }
            }
        }
        for complaint in complaints.difference(&self.complaints) {
            tracing::error!("table Connection: {complaint}");
        }
        self.complaints = complaints;
        complete
    }

    /// The files for TLS.
    fn files(&self) -> Files {
        let table = &self.schema.tables[self.tables.ssl];
        let Some(row) = self.ssl.values().next() else {
            return self.flags.clone();
        };
        let columns = Columns { table, row };
        let file = |name| columns.text(name).map(PathBuf::from);
        if columns.flag("bootstrap_ca_cert") && file("ca_cert").is_some_and(|path| !path.exists()) {
            tracing::error!(
                "table SSL: bootstrap_ca_cert would believe the first client; put the CA's certificate into ca_cert"
            );
        }
        let protocols = columns.text("ssl_protocols").unwrap_or_default();
        let mut protocols = protocols
            .split([',', ' ', '+'])
            .filter(|name| !name.is_empty());
        Files {
            private_key: file("private_key"),
            certificate: file("certificate"),
            ca_certificate: file("ca_cert"),
            only_tls13: protocols.clone().next().is_some()
                && protocols.all(|name| name == "TLSv1.3"),
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn open(wanted: &Wanted) -> Result<Listener, ListenError> {
    let files = wanted.files.clone().unwrap_or_default();
    let mut listener = Listener::open(&wanted.config, true, &files).await?;
    listener.set_probe(wanted.probe);
    Ok(listener)
}

/// What a row asks for.
fn read(columns: &Columns<'_>, files: &Files) -> Result<(String, Wanted), String> {
    let target = columns.text("target").unwrap_or_default();
    let listen: Listen = target.parse().map_err(|error| {
        format!(
            "{error}; this server only listens, at pssl:PORT[:IP], ptcp:PORT[:IP] or punix:PATH"
        )
    })?;
    let mut rule = Rule::new(
        columns
            .text("role")
            .or(columns.pair("other_config", "role"))
            .unwrap_or_default(),
    );
    rule.names = columns.pairs_with("other_config", "role:");
    if columns.flag("read_only") {
        if rule.role.is_some() {
            return Err(format!(
                "{target}: a listener with a role cannot be read_only; give it the role reader"
            ));
        }
        rule.role = Some(Role::Reader.name().to_owned());
    }
    let probe = match columns.number("inactivity_probe") {
        Some(0) => None,
        Some(probe) => {
            let probe = u64::try_from(probe).map_or(MIN_PROBE, Duration::from_millis);
            Some(probe.max(MIN_PROBE))
        }
        None => Some(PROBE).filter(|_| matches!(listen, Listen::Tcp { .. })),
    };
    let files = listen.is_tls().then(|| files.clone());
    let wanted = Wanted {
        config: ListenerConfig { listen, rule },
        probe,
        files,
    };
    Ok((target.to_owned(), wanted))
}

/// A row, read by the names of columns: the two databases have not the same ones.
struct Columns<'a> {
    table: &'a TableSchema,
    row: &'a Row,
}

impl<'a> Columns<'a> {
    fn datum(&self, name: &str) -> Option<&'a ovsdb::Datum> {
        Some(self.row.get(self.table.column_index(name)?))
    }

    /// A text that is not empty.
    fn text(&self, name: &str) -> Option<&'a str> {
        let text = self.datum(name)?.scalar()?.as_str()?;
        Some(text).filter(|text| !text.is_empty())
    }

    fn flag(&self, name: &str) -> bool {
        self.datum(name).and_then(ovsdb::Datum::scalar) == Some(&Atom::Boolean(true))
    }

    fn number(&self, name: &str) -> Option<i64> {
        match self.datum(name)?.scalar()? {
            Atom::Integer(number) => Some(*number),
            _ => None,
        }
    }

    fn pair(&self, name: &str, key: &str) -> Option<&'a str> {
        self.datum(name)?
            .get_str(key)
            .filter(|value| !value.is_empty())
    }

    /// The pairs whose keys begin so, without that.
    fn pairs_with(&self, name: &str, beginning: &str) -> BTreeMap<String, String> {
        let pairs = self.datum(name).map_or(&[][..], ovsdb::Datum::pairs);
        let texts = pairs.iter().filter_map(|(key, value)| {
            let key = key.as_str()?.strip_prefix(beginning)?;
            Some((key.to_owned(), value.as_str()?.to_owned()))
        });
        texts.collect()
    }
}
