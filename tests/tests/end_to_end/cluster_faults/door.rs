//! The two doors of a member, each as a place where a transaction is handed in and an answer may come out.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use ovsdb::operation::outcome_to_json;
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Transaction, Uuid};
use rpc::convert;
use rpc::v1::database_client::DatabaseClient;
use serde_json::Value;
use tests::ovsdb::Client;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

/// How long a client waits for an answer before it tries another member.
const LIMIT: Duration = Duration::from_secs(3);

/// What a client was told.
#[derive(Debug)]
pub enum Answer {
    /// The results of its operations, in the form of RFC 7047.
    Results(Vec<Value>),
    /// Nothing, or that nobody knows.
    Unknown,
}

/// A connection.
pub trait Door: fmt::Debug + Send {
    /// Hands in the transaction with that number. Through a door that has names, the same number is the same transaction.
    fn transact(&mut self, number: u64, operations: &[Value]) -> Answer;
}

/// The OVSDB door: its transactions have no names.
#[derive(Debug)]
pub struct Ovsdb {
    client: Client,
}

impl Ovsdb {
    /// Connects.
    pub fn open(socket: &Path) -> Result<Self> {
        let client = Client::connect_within(socket, LIMIT)?;
        Ok(Self { client })
    }
}

impl Door for Ovsdb {
    fn transact(&mut self, _number: u64, operations: &[Value]) -> Answer {
        let mut params = vec![Value::from("OVN_Northbound")];
        params.extend_from_slice(operations);
        match self.client.request("transact", &Value::Array(params)) {
            Ok(Value::Array(results)) => Answer::Results(results),
            _ => Answer::Unknown,
        }
    }
}

/// The gRPC door.
#[derive(Debug)]
pub struct Grpc {
    runtime: Runtime,
    client: DatabaseClient<Channel>,
    schema: Arc<DatabaseSchema>,
}

impl Grpc {
    /// Connects.
    pub fn open(socket: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let channel = runtime.block_on(async {
            let channel = connect(socket.to_owned());
            tokio::time::timeout(LIMIT, channel)
                .await
                .context("no connection in time")?
        })?;
        Ok(Self {
            runtime,
            client: DatabaseClient::new(channel),
            schema: nb_db::schema().clone(),
        })
    }

    fn ask(&mut self, number: u64, operations: &[Value]) -> Result<Vec<Value>> {
        // The rows' UUIDs are part of the operations: the same transaction has the same ones.
        let mut count = 0;
        let mut uuids = || {
            count += 1;
            Uuid::from_u64_pair(number, count)
        };
        let transaction = Transaction::from_json(&self.schema, operations, &mut uuids);
        let request = rpc::shared::TransactRequest {
            database: self.schema.name.to_string(),
            operations: convert::operations_to_proto(&self.schema, &transaction.operations),
            name: Uuid::from_u64_pair(number, 0).as_bytes().to_vec(),
            ..rpc::shared::TransactRequest::default()
        };
        let call = self.client.transact(request);
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(LIMIT, call).await });
        let results = answer.context("no answer in time")??.into_inner().results;
        let outcome = convert::outcome_from_proto(&self.schema, &transaction.operations, results);
        let outcome = outcome.map_err(|error| anyhow::anyhow!("{error}"))?;
        match outcome_to_json(operations.len(), &outcome) {
            Value::Array(results) => Ok(results),
            other => anyhow::bail!("results are an array, not {other}"),
        }
    }
}

impl Door for Grpc {
    fn transact(&mut self, number: u64, operations: &[Value]) -> Answer {
        self.ask(number, operations)
            .map_or(Answer::Unknown, Answer::Results)
    }
}

async fn connect(socket: PathBuf) -> Result<Channel> {
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    // The name is that of no host: the connector decides who is talked to.
    let channel = Endpoint::from_static("http://weft")
        .connect_with_connector(connector)
        .await;
    channel.context("cannot connect")
}
