//! A copy of the database as of one moment, streamed out of a running member.
//!
//! The copy has the form of an OVSDB file (ovsdb(5)), which says how many bytes it has and what their checksum is, and
//! which every `ovsdb-server` can open, should it come to that. The core gives the rows as it gives them to a monitor
//! of everything: shared pointers, in one go. Encoding is done here, in pieces, as fast as the client reads.

use std::time::{SystemTime, UNIX_EPOCH};

use ovsdb::file::Body;
use ovsdb::monitor::{MonitorSpec, MonitorVersion, TableMonitor};
use ovsdb::{ColumnRef, Condition, Uuid};
use rpc::v1;
use rpc::v1::backup_response::Part;
use tokio::sync::mpsc;
use tonic::Status;

use crate::caller::Caller;
use crate::event::{Output, Request};
use crate::monitor::{Update, View};
use crate::server::databases::Databases;
use crate::server::engine::{ConnectError, Engine};
use crate::server::limits::Stopped;
use crate::session::{DatabaseId, MonitorId};
use crate::storage::Identity;

/// The version of the form of backups.
const FORMAT: u32 = 1;
/// So many bytes go out in one message.
const PIECE_BYTES: usize = 256 << 10;
/// So many messages wait for the network.
const QUEUED_PIECES: usize = 4;

/// The parts of a backup, as the client reads them.
pub type Parts = mpsc::Receiver<Result<v1::BackupResponse, Status>>;

/// Starts a backup.
pub async fn start(engine: &Engine) -> Result<Parts, ConnectError> {
    let databases = engine.databases.clone();
    let schema = databases.get(DatabaseId::Main).schema.clone();
    let tables = schema.tables.iter().enumerate();
    let tables = tables.map(|(index, table)| {
        let columns = (0..table.columns.len()).map(ColumnRef::Column);
        TableMonitor::new(index, columns, Condition::everything())
    });
    let view = View::from(MonitorSpec {
        version: MonitorVersion::V3,
        tables: tables.collect(),
    });
    let mut session = engine.connect(Caller::unrestricted()).await?;
    session
        .request(Request::Monitor {
            database: DatabaseId::Main,
            monitor: MonitorId(1),
            view,
            since: None,
        })
        .await?;
    let Some(Output::MonitorStarted { state, update, .. }) = session.outputs.recv().await else {
        return Err(Stopped.into());
    };
    // What happens from here on is of no interest.
    drop(session);
    let identity = engine.identity.clone();
    let (parts, receiver) = mpsc::channel(QUEUED_PIECES);
    tokio::task::spawn_blocking(move || {
        let told = tell(&databases, &identity, state, &update, &parts);
        if told.is_none() {
            tracing::info!("a backup was given up by who asked for it");
        }
    });
    Ok(receiver)
}

/// Sends all parts; `None` if nobody takes them any more.
fn tell(
    databases: &Databases,
    identity: &Identity,
    state: Uuid,
    update: &Update,
    parts: &mpsc::Sender<Result<v1::BackupResponse, Status>>,
) -> Option<()> {
    let send = |part| {
        let response = v1::BackupResponse { part: Some(part) };
        parts.blocking_send(Ok(response)).ok()
    };
    let served = databases.get(DatabaseId::Main);
    let rows = update
        .tables
        .iter()
        .map(|(_, rows)| rows.len() as u64)
        .sum();
    send(Part::Head(v1::BackupHead {
        format: FORMAT,
        database: identity.database.clone(),
        schema_json: String::from_utf8_lossy(&served.schema_json).into_owned(),
        cluster_id: identity.cluster.as_bytes().to_vec(),
        member: identity.member,
        transaction_id: state.as_bytes().to_vec(),
        rows,
    }))?;
    let comment = format!(
        "weft backup, format {FORMAT}: cluster {}, member {}, transaction {state}, {rows} rows",
        identity.cluster, identity.member
    );
    let mut body = Body::new(now_ms(), &comment);
    for (view, fragments) in &update.tables {
        let table = &served.schema.tables[view.table];
        for fragment in fragments {
            if let Some(row) = &fragment.change.new {
                body.row(table, fragment.change.uuid, row);
            }
            if body.waiting() >= PIECE_BYTES {
                send(Part::Body(body.take()))?;
            }
        }
    }
    body.end();
    send(Part::Body(body.take()))?;
    let (bytes, sha1) = body.taken();
    send(Part::End(v1::BackupEnd {
        bytes,
        sha1: sha1.to_vec(),
    }))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
