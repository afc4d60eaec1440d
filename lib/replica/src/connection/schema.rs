//! A server's schema, for those who have none of their own to see its database by.

use std::time::Duration;

use ovsdb::Remote;
use ovsdb::framing::{FrameLimits, Framer};
use ovsdb::jsonrpc::{self, Message};
use ovsdb::remote::Protocol;
use ovsdb::schema::DatabaseSchema;
use rpc::v1;
use rpc::v1::database_client::DatabaseClient;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::transport::Channel;

use super::client::ClientError;
use super::stream::{self, Stream};
use super::{Reason, grpc_session};
use crate::Tls;

/// How long a server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Asks the first of these remotes that answers for the schema of a database.
pub async fn fetch_schema(
    remotes: &[Remote],
    tls: Option<&Tls>,
    database: &str,
) -> Result<DatabaseSchema, ClientError> {
    let mut last = ClientError::Timeout;
    for remote in remotes {
        let asked = tokio::time::timeout(TIMEOUT, ask(remote, tls, database)).await;
        let reason = match asked {
            Ok(Ok(schema)) => return Ok(schema),
            Ok(Err(reason)) => reason,
            Err(_) => format!("no answer within {} seconds", TIMEOUT.as_secs()),
        };
        last = connect_error(remote, reason);
    }
    Err(last)
}

/// Opens a channel to a member that speaks gRPC, for calls other than a replica's.
pub async fn open_channel(remote: &Remote, tls: Option<&Tls>) -> Result<Channel, ClientError> {
    if remote.protocol() != Protocol::Grpc {
        let reason = "not a gRPC remote (grpc+unix:PATH, grpcs:HOST:PORT, grpc:HOST:PORT)";
        return Err(connect_error(remote, reason.to_owned()));
    }
    let stream = stream::connect(remote, tls).await;
    let stream = stream.map_err(|error| connect_error(remote, error.to_string()))?;
    let channel = grpc_session::channel(stream, TIMEOUT).await;
    channel.map_err(|reason| connect_error(remote, text(reason)))
}

fn connect_error(remote: &Remote, reason: String) -> ClientError {
    ClientError::Connect {
        remote: remote.to_string(),
        reason,
    }
}

fn text(reason: Reason) -> String {
    match reason {
        Reason::Closed => "the connection was closed".to_owned(),
        Reason::Lost(reason) => reason,
    }
}

async fn ask(remote: &Remote, tls: Option<&Tls>, database: &str) -> Result<DatabaseSchema, String> {
    let stream = stream::connect(remote, tls).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let json = match remote.protocol() {
        Protocol::Grpc => ask_in_grpc(stream, database).await?,
        Protocol::Ovsdb => ask_in_ovsdb(stream, database).await?,
    };
    DatabaseSchema::from_json(&json).map_err(|error| format!("the server sent a {error}"))
}

async fn ask_in_grpc(stream: Box<dyn Stream>, database: &str) -> Result<Value, String> {
    let channel = grpc_session::channel(stream, TIMEOUT).await.map_err(text)?;
    let request = v1::GetSchemaRequest {
        database: database.to_owned(),
    };
    let answer = DatabaseClient::new(channel).get_schema(request).await;
    let answer = answer.map_err(|status| status.message().to_owned())?;
    serde_json::from_str(&answer.into_inner().schema_json).map_err(|error| error.to_string())
}

async fn ask_in_ovsdb(mut stream: Box<dyn Stream>, database: &str) -> Result<Value, String> {
    let request = jsonrpc::request(&json!(0), "get_schema", &json!([database]));
    let lost = |error: std::io::Error| error.to_string();
    stream.write_all(&request).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let mut framer = Framer::new(FrameLimits::CLIENT);
    let mut buffer = vec![0; 1 << 16];
    loop {
        while let Some(frame) = framer.next_frame().map_err(|error| error.to_string())? {
            // Whatever else the server says, such as a probe, is not worth an answer in so short a conversation.
            if let Message::Response { result, .. } =
                Message::parse(frame).map_err(|error| error.to_string())?
            {
                let result = result.map_err(|error| error.to_string())?;
                return serde_json::from_str(result.get()).map_err(|error| error.to_string());
            }
        }
        match stream.read(&mut buffer).await.map_err(lost)? {
            0 => return Err("connection closed by peer".to_owned()),
            count => framer.push(&buffer[..count]),
        }
    }
}
