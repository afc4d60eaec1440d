//! Reaching the northbound: what the commands read of it, and how they commit.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use daemon::args::TlsArgs;
use nb_db::tables::{NbGlobal, WeftProblem};
use northbound::Draft;
use objects::catalog::Place;
use objects::{Kind, Refused, catalog, find};
use ovsdb::{ErrorKind, Table};
use replica::TableSpec;

use super::tell;
use crate::error::{CommandError, Outcome};
use crate::options::{RunOptions, Wait};
use crate::run::commit::{counter, wait_until};
use crate::run::connection::Connection;
use crate::run::database::{Database, DatabaseError};
use crate::run::line::global_row;
use crate::tools::NB;

/// How to reach the northbound.
#[derive(Args, Clone, Debug)]
pub struct Connect {
    /// The northbound database: remotes, comma-separated; by default the one on this machine
    #[arg(
        long,
        global = true,
        value_name = "REMOTE",
        env = "OVN_NB_DB",
        hide_env_values = true
    )]
    pub db: Option<String>,

    /// PEM file with the key to identify with
    #[arg(
        short = 'p',
        long,
        global = true,
        value_name = "FILE",
        help_heading = "TLS"
    )]
    pub private_key: Option<PathBuf>,

    /// PEM file with the certificate for it
    #[arg(
        short = 'c',
        long,
        global = true,
        value_name = "FILE",
        help_heading = "TLS"
    )]
    pub certificate: Option<PathBuf>,

    /// PEM file with the CA that the server is checked against
    #[arg(
        short = 'C',
        long,
        global = true,
        value_name = "FILE",
        help_heading = "TLS"
    )]
    pub ca_cert: Option<PathBuf>,

    /// Give up after this time
    #[arg(
        short,
        long,
        global = true,
        value_name = "SECONDS",
        env = "OVS_CTL_TIMEOUT",
        hide_env_values = true
    )]
    pub timeout: Option<u32>,
}

/// How far a change has to come.
#[derive(Args, Clone, Copy, Debug)]
pub struct WaitFor {
    /// After a change, wait for the southbound database (sb) or for all chassis (hv)
    #[arg(long, value_name = "none|sb|hv", default_value = "none", value_parser = parse_wait)]
    pub wait: Wait,
}

fn parse_wait(text: &str) -> Result<Wait, String> {
    crate::options::parse_wait(text).map_err(|error| error.to_string())
}

/// The northbound, with what was asked for of it.
pub struct Northbound {
    connection: Connection,
}

impl Connect {
    /// Where the northbound is.
    pub fn remote(&self) -> String {
        let default = || {
            let socket = daemon::place::run_dir().join(NB.socket);
            format!("unix:{}", socket.display())
        };
        self.db.clone().unwrap_or_else(default)
    }

    /// For how long there is time.
    pub fn limit(&self) -> Option<Duration> {
        let seconds = self.timeout.filter(|seconds| *seconds > 0)?;
        Some(Duration::from_secs(seconds.into()))
    }

    /// The files of TLS, as daemons take them.
    pub fn tls(&self) -> TlsArgs {
        TlsArgs {
            private_key: self.private_key.clone(),
            certificate: self.certificate.clone(),
            ca_cert: self.ca_cert.clone(),
            ..TlsArgs::default()
        }
    }

    /// The same as options of `weft nb`.
    pub fn options(&self) -> Outcome<RunOptions> {
        let path = |path: &Option<PathBuf>| Some(path.as_ref()?.display().to_string());
        let values = [
            ("--db", self.db.clone()),
            ("--private-key", path(&self.private_key)),
            ("--certificate", path(&self.certificate)),
            ("--ca-cert", path(&self.ca_cert)),
            ("--timeout", self.timeout.map(|seconds| seconds.to_string())),
        ];
        let given = values.into_iter().filter(|(_, value)| value.is_some());
        let variable = |name: &str| std::env::var(name).ok();
        RunOptions::read(&NB, &given.collect::<Vec<_>>(), &variable)
    }

    /// Connects, and reads what there is to know of objects of this kind, or of all.
    pub fn open(&self, kind: Option<&Kind>) -> Outcome<Northbound> {
        let options = self.options()?;
        let schema = Arc::clone((NB.schema)());
        let mut connection = Connection::open(&options, &schema, needed_tables(kind))?;
        find::index(connection.snapshot_mut());
        Ok(Northbound { connection })
    }
}

impl From<DatabaseError> for CommandError {
    fn from(error: DatabaseError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The tables with what objects of a kind say, and with what they refer to.
fn needed_tables(kind: Option<&Kind>) -> Vec<TableSpec> {
    let mut tables = vec![NbGlobal::INDEX, WeftProblem::INDEX];
    for kind in catalog()
        .kinds()
        .iter()
        .filter(|other| kind.is_none_or(|kind| kind.table == other.table))
    {
        tables.push(kind.table);
        tables.extend(kind.fields.iter().filter_map(|field| match &field.place {
            Place::Column(_) => None,
            Place::References(_, table) | Place::Parents(table, _) => Some(*table),
            Place::Parts(part) => Some(part.table),
        }));
    }
    tables.sort_unstable();
    tables.dedup();
    tables.into_iter().map(TableSpec::all).collect()
}

impl Northbound {
    /// What was read.
    pub fn snapshot(&self) -> &northbound::Snapshot {
        self.connection.snapshot()
    }

    /// Does this in one transaction, again if somebody else was faster, and waits for it to come as far as asked.
    pub fn change<T>(
        &mut self,
        wait: Wait,
        remark: &str,
        change: impl Fn(&mut Draft<'_>) -> Result<T, Refused>,
    ) -> Outcome<T> {
        loop {
            let mut draft = Draft::new(self.connection.snapshot());
            let done = change(&mut draft).map_err(|refused| tell(&refused))?;
            // Who asks again because no answer came waits for what was done the first time.
            let waits = wait != Wait::None;
            if waits
                && let Some((table, uuid)) = global_row(&NB, &mut draft)
                && let Some(column) = draft.table_schema(table).column_index("nb_cfg")
            {
                draft.increment(table, uuid, column);
            }
            let operations = draft.operations();
            if operations.is_empty() {
                return Ok(done);
            }
            let operations = crate::run::commit::with_remark(operations, remark);
            match self.connection.transact(&operations)? {
                Ok(results) => {
                    if let Some(goal) = waits.then(|| counter(&results)).flatten() {
                        wait_until(&NB, &mut self.connection, goal, wait)?;
                    }
                    return Ok(done);
                }
                // Something that was relied upon is not so any more.
                Err(failure) if failure.error.kind == ErrorKind::TimedOut => {
                    self.connection.wait_for_change()?;
                }
                Err(failure) => {
                    let text = format!("the database refused the change: {}", failure.error);
                    return Err(CommandError::Failed(text));
                }
            }
        }
    }
}
