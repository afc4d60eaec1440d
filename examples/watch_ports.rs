//! Watches the logical switch ports of a northbound database over gRPC.
//!
//! usage: `watch_ports SOCKET|http://HOST:PORT [COUNT]`
//!
//! The first is the path of a Unix socket, such as `/var/run/ovn/weft-nb-grpc.sock`, or where the server listens on TCP
//! without TLS. Prints a line for each port that appears (+), changes (~) or goes (-), and ends after COUNT lines, if given.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use prost::Message;
use rpc::v1::database_client::DatabaseClient;
use rpc::v1::datum::Kind;
use rpc::v1::row_update::Change;
use rpc::v1::{self, atom, monitor_request};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let place = words.next().context("where is the database?")?;
    let count: Option<usize> = words.next().map(|word| word.parse()).transpose()?;
    watch(connect(&place).await?, count).await
}

async fn connect(place: &str) -> Result<Channel> {
    if place.starts_with("http") {
        return Ok(Endpoint::new(place.to_owned())?.connect().await?);
    }
    // Over a Unix socket the address means nothing, but there has to be one.
    let path = PathBuf::from(place);
    let connector = service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    Ok(endpoint.connect_with_connector(connector).await?)
}

async fn watch(channel: Channel, count: Option<usize>) -> Result<()> {
    let columns = ["name", "up"].map(str::to_owned).to_vec();
    let open = v1::MonitorOpen {
        database: "OVN_Northbound".to_owned(),
        tables: vec![v1::TableMonitor {
            table: "Logical_Switch_Port".to_owned(),
            columns: Some(v1::Columns { names: columns }),
            ..Default::default()
        }],
        ..Default::default()
    };
    let kind = Some(monitor_request::Kind::Open(open));
    let requests = tokio_stream::iter([v1::MonitorRequest { kind }]);
    let mut client = DatabaseClient::new(channel);
    let mut updates = client.monitor(requests).await?.into_inner();

    let (mut ports, mut printed) = (Ports::default(), 0);
    while let Some(update) = updates.message().await? {
        if update.reset {
            // The reader was too slow, or the server starts anew: this is the whole content.
            ports.0.clear();
        }
        for row in update.tables.iter().flat_map(|table| &table.rows) {
            // The server encodes a row once for all who watch it; so it comes as bytes.
            let row = v1::RowUpdate::decode(row.clone())?;
            let Some(change) = &row.change else { continue };
            println!("{}", ports.apply(&row.uuid, change));
            printed += 1;
            if count.is_some_and(|count| printed >= count) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// A copy of the table: name, and whether the port is up, by the row's UUID.
#[derive(Default)]
struct Ports(HashMap<Vec<u8>, (String, bool)>);

impl Ports {
    /// Takes a row's change into the copy: what to print of it.
    fn apply(&mut self, uuid: &[u8], change: &Change) -> String {
        let told = |sign, (name, up): &(String, bool)| {
            format!("{sign} {name} {}", if *up { "up" } else { "down" })
        };
        let (sign, row) = match change {
            Change::Deleted(_) => {
                let gone = self.0.remove(uuid).unwrap_or_default();
                return told("-", &gone);
            }
            Change::Inserted(row) => ("+", row),
            Change::Modified(row) => ("~", row),
            // Only clients that ask for differences get them.
            Change::Changed(_) => return "a difference that nobody asked for".to_owned(),
        };
        let port = self.0.entry(uuid.to_vec()).or_default();
        if let Some(datum) = row.columns.get("name") {
            port.0 = atoms(datum).find_map(text).unwrap_or_default();
        }
        if let Some(datum) = row.columns.get("up") {
            // An optional boolean: a set of none or one.
            port.1 = atoms(datum).any(|value| *value == atom::Value::Boolean(true));
        }
        told(sign, port)
    }
}

/// The atoms of a scalar or a set.
fn atoms(datum: &v1::Datum) -> impl Iterator<Item = &atom::Value> {
    let atoms = match &datum.kind {
        Some(Kind::Scalar(atom)) => std::slice::from_ref(atom),
        Some(Kind::Set(set)) => &set.atoms,
        Some(Kind::Map(_)) | None => &[],
    };
    atoms.iter().filter_map(|atom| atom.value.as_ref())
}

fn text(value: &atom::Value) -> Option<String> {
    match value {
        atom::Value::String(text) => Some(text.clone()),
        _ => None,
    }
}
