//! Reading databases once: which ones, as arguments say it, and their rows.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use daemon::args::TlsArgs;
use daemon::place;
use ovsdb::Remote;
use ovsdb::schema::DatabaseSchema;
use replica::{Client, Spec, TableSpec, fetch_schema};
use tokio::runtime::{Builder, Runtime};

use crate::error::{CommandError, Outcome};
use crate::tool::Tool;

/// How long a silent database is trusted.
const PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// When nothing comes of a database for so long, there is no more for now; and so long is listened at most.
const QUIET: Duration = Duration::from_millis(10);
const MOST_CATCHING_UP: Duration = Duration::from_millis(100);

/// Which databases are read.
#[derive(Args, Clone, Debug)]
pub(crate) struct DatabaseArgs {
    /// The southbound database; by default that of OVN_SB_DB, else the one on this machine
    #[arg(
        long,
        visible_alias = "db",
        global = true,
        value_name = "REMOTE",
        help_heading = "Databases"
    )]
    pub(crate) ovnsb: Option<String>,
    /// The northbound database; by default that of OVN_NB_DB, else the one on this machine
    #[arg(long, global = true, value_name = "REMOTE", help_heading = "Databases")]
    pub(crate) ovnnb: Option<String>,
    /// Accept any member of a cluster
    #[arg(long, global = true, help_heading = "Databases")]
    pub(crate) no_leader_only: bool,
    /// Give up after this time
    #[arg(
        short,
        long,
        global = true,
        value_name = "SECONDS",
        help_heading = "Databases"
    )]
    pub(crate) timeout: Option<u64>,
}

/// A failure with the words of an error.
pub(crate) fn wrong(error: &dyn std::fmt::Display) -> CommandError {
    CommandError::Failed(error.to_string())
}

/// What reads databases.
pub(crate) struct Reader {
    runtime: Runtime,
    tls: Option<replica::Tls>,
    leader_only: bool,
    timeout: Option<Duration>,
}

impl Reader {
    /// One that connects with these files, and gives up after this time.
    pub(crate) fn new(
        tls: &TlsArgs,
        leader_only: bool,
        timeout: Option<Duration>,
    ) -> Outcome<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Self {
            runtime: runtime.map_err(|error| wrong(&error))?,
            tls: tls.files().map_err(|error| wrong(&error))?,
            leader_only,
            timeout,
        })
    }

    /// The rows of some tables of a tool's database.
    pub(crate) fn read(
        &self,
        tool: &Tool,
        given: Option<&String>,
        tables: &[usize],
    ) -> Outcome<Client> {
        let of_variable = || std::env::var(tool.remote_variable).ok();
        let default = || {
            let socket: PathBuf = place::run_dir().join(tool.socket);
            format!("unix:{}", socket.display())
        };
        let remote = given.cloned().or_else(of_variable).unwrap_or_else(default);
        self.connect(Arc::clone((tool.schema)()), &remote, tables)
    }

    /// The outcome, if it comes in time.
    fn in_time<T>(&self, work: impl Future<Output = T>) -> Outcome<T> {
        let Some(limit) = self.timeout else {
            return Ok(self.runtime.block_on(work));
        };
        let timed = async { tokio::time::timeout(limit, work).await };
        let timed = self.runtime.block_on(timed);
        timed.map_err(|_| wrong(&"timed out after waiting for the database"))
    }

    /// Takes over what has come of a database since it was read, or was asked for this last.
    pub(crate) fn catch_up(&self, client: &mut Client) -> Outcome {
        let until = tokio::time::Instant::now() + MOST_CATCHING_UP;
        self.runtime.block_on(async {
            loop {
                let until = until.min(tokio::time::Instant::now() + QUIET);
                match tokio::time::timeout_at(until, client.next()).await {
                    Ok(event) => drop(event.map_err(|error| wrong(&error))?),
                    Err(_) => return Ok(()),
                }
            }
        })
    }

    /// The schema that a server has for a database.
    pub(crate) fn schema(&self, remotes: &[Remote], database: &str) -> Outcome<DatabaseSchema> {
        let schema = fetch_schema(remotes, self.tls.as_ref(), database);
        self.in_time(schema)?.map_err(|error| wrong(&error))
    }

    /// The rows of some tables of a database with this schema.
    pub(crate) fn connect(
        &self,
        schema: Arc<DatabaseSchema>,
        remote: &str,
        tables: &[usize],
    ) -> Outcome<Client> {
        let remotes = Remote::parse_list(remote).map_err(|error| wrong(&error))?;
        let spec = Spec {
            tables: tables.iter().copied().map(TableSpec::all).collect(),
            leader_only: self.leader_only,
            probe_interval: PROBE_INTERVAL,
            tls: self.tls.clone(),
            ..Spec::new(schema, remotes)
        };
        let client = self
            .runtime
            .block_on(Client::connect(spec, self.timeout, false));
        client.map_err(|error| wrong(&error))
    }
}

impl DatabaseArgs {
    /// What reads them.
    pub(crate) fn reader(&self, tls: &TlsArgs) -> Outcome<Reader> {
        let limit = self.timeout.filter(|seconds| *seconds > 0);
        Reader::new(tls, !self.no_leader_only, limit.map(Duration::from_secs))
    }
}

/// Prints on the standard output.
pub(crate) fn print(text: &str) {
    // Who has closed the output does not want more of it.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
