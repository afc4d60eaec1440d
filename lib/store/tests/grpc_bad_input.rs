//! Bad input at the gRPC door: each piece gets its error, and the others' calls go on.

#![allow(
    clippy::unwrap_used,
    reason = "a panic is the message of a failed test"
)]

use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use ovsdb::schema::DatabaseSchema;
use rpc::v1;
use rpc::v1::database_client::DatabaseClient;
use serde_json::json;
use store::server::{Server, ServerArgs};
use tokio_stream::StreamExt;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// A server, until it is dropped.
struct Rig {
    _directory: tempfile::TempDir,
    server: Option<Server>,
    address: String,
}

impl Rig {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let args = ServerArgs {
            data_dir: Some(directory.path().join("data")),
            listen: vec!["pgrpc:0:127.0.0.1".parse().unwrap()],
            plaintext: true,
            ..ServerArgs::default()
        };
        let schema = DatabaseSchema::from_json(&json!({"name": "Test", "version": "1.0.0",
            "tables": {"Item": {"isRoot": true, "columns": {"name": {"type": "string"}}}}}));
        let schema = Arc::new(schema.unwrap());
        let nowhere = "punix:/nowhere".parse().unwrap();
        let server = Server::start(&args, &schema, Path::new("/nowhere"), nowhere);
        let server = server.await.unwrap();
        let remotes = server.control("ovsdb-server/list-remotes", &[]).await;
        let remotes = remotes.unwrap();
        let (_, rest) = remotes.split_once('(').unwrap();
        Self {
            _directory: directory,
            server: Some(server),
            address: format!("http://{}", rest.split_once(')').unwrap().0),
        }
    }

    /// A connection of its own.
    async fn connect(&self) -> Channel {
        let channel = Channel::from_shared(self.address.clone()).unwrap();
        channel.connect().await.unwrap()
    }

    /// Adds a row over a new connection: the server still serves others.
    async fn serves_others(&self, name: &str) {
        let request = rpc::shared::TransactRequest {
            database: "Test".to_owned(),
            operations: vec![insert(name)],
            ..Default::default()
        };
        let mut client = DatabaseClient::new(self.connect().await);
        let response = client.transact(request).await.unwrap().into_inner();
        assert_eq!(response.results.len(), 1);
        assert_eq!(response.transaction_id.len(), 16);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            tokio::task::block_in_place(|| server.stop());
        }
    }
}

fn insert(name: &str) -> bytes::Bytes {
    let value = Some(v1::atom::Value::String(name.to_owned()));
    let datum = v1::Datum {
        kind: Some(v1::datum::Kind::Scalar(v1::Atom { value })),
    };
    let insert = v1::Insert {
        table: "Item".to_owned(),
        row: Some(v1::Row {
            columns: [("name".to_owned(), datum)].into(),
        }),
        ..Default::default()
    };
    rpc::shared::encode_operation(&v1::Operation {
        kind: Some(v1::operation::Kind::Insert(insert)),
    })
}

fn watch_everything() -> v1::MonitorRequest {
    let open = v1::MonitorOpen {
        database: "Test".to_owned(),
        tables: vec![v1::TableMonitor {
            table: "Item".to_owned(),
            ..Default::default()
        }],
        since: Vec::new(),
        differences: false,
    };
    v1::MonitorRequest {
        kind: Some(v1::monitor_request::Kind::Open(open)),
    }
}

/// Messages that are whatever bytes they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}

async fn call(channel: Channel, path: &'static str, bytes: Vec<u8>) -> Status {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static(path);
    let answer = client.unary(Request::new(bytes), path, Raw).await;
    answer.map(|_| ()).unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_by_name() {
    const TRANSACT: &str = "/weft.db.v1.Database/Transact";
    let rig = Rig::new().await;
    let channel = rig.connect().await;
    let cases: [(&str, Vec<u8>, Code, &str); 5] = [
        (TRANSACT, vec![0xff; 100], Code::Internal, "decode"),
        (
            TRANSACT,
            b"\x0a\x7fshort".to_vec(),
            Code::Internal,
            "decode",
        ),
        (
            TRANSACT,
            vec![0; rpc::MAX_MESSAGE_BYTES + 1],
            Code::OutOfRange,
            "the limit is: 67108864",
        ),
        (
            // Empty operations, more than thirty million of them.
            TRANSACT,
            [0x12, 0].repeat(rpc::MAX_MESSAGE_BYTES / 2),
            Code::ResourceExhausted,
            "weft.db.v1.TransactRequest would take more than 536870912 bytes of memory",
        ),
        (
            "/weft.db.v1.Database/Fly",
            Vec::new(),
            Code::Unimplemented,
            "",
        ),
    ];
    for (path, bytes, code, expected) in cases {
        let status = call(channel.clone(), path, bytes).await;
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(expected), "{status}");
        // The connection goes on, and so do others.
        rig.serves_others(path).await;
    }
    let mut request = Request::new(v1::GetSchemaRequest {
        database: "Test".to_owned(),
    });
    let long = "x".repeat(20_000).parse().unwrap();
    request.metadata_mut().insert("weight", long);
    let mut client = DatabaseClient::new(channel);
    client.get_schema(request).await.unwrap_err();
    rig.serves_others("after long headers").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_calls_on_a_connection_wait_for_each_other_only() {
    const CALLS: usize = 3000;
    const AT_A_TIME: usize = 1024;
    let rig = Rig::new().await;
    let client = DatabaseClient::new(rig.connect().await);
    let (opened, mut open) = tokio::sync::mpsc::channel(CALLS);
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let (mut client, opened) = (client.clone(), opened.clone());
            tokio::spawn(async move {
                let request = v1::LockRequest {
                    database: "Test".to_owned(),
                    name: "one".to_owned(),
                    steal: false,
                };
                let mut answers = client.lock(request).await.unwrap().into_inner();
                answers.message().await.unwrap().unwrap();
                opened.send(()).await.unwrap();
                std::future::pending::<()>().await;
                drop(answers);
            })
        })
        .collect();
    for _ in 0..AT_A_TIME {
        open.recv().await.unwrap();
    }
    rig.serves_others("beside them").await;
    assert!(
        open.try_recv().is_err(),
        "no more than {AT_A_TIME} at a time"
    );
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    drop(client);
    rig.serves_others("after them").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_nobody_reads_miss_nothing_and_hurt_nobody() {
    const STREAMS: usize = 50;
    const ROWS: usize = 400;
    let rig = Rig::new().await;
    let mut client = DatabaseClient::new(rig.connect().await);
    let mut streams = Vec::new();
    let requests = || tokio_stream::once(watch_everything()).chain(tokio_stream::pending());
    for _ in 0..STREAMS {
        streams.push(client.monitor(requests()).await.unwrap().into_inner());
    }
    // Streams of one connection share its window, so this one has a connection of its own.
    let mut client = DatabaseClient::new(rig.connect().await);
    let mut late = client.monitor(requests()).await.unwrap().into_inner();
    // More than the windows of HTTP/2 hold, and more updates than a session may have queued.
    let padding = "x".repeat(20_000);
    for number in 0..ROWS {
        rig.serves_others(&format!("{number}{padding}")).await;
    }
    // One who reads at last gets all of it.
    let mut rows = 0;
    while rows < ROWS {
        let response = late.message().await.unwrap().unwrap();
        let tables = response.tables.iter();
        rows += tables.map(|table| table.rows.len()).sum::<usize>();
    }
    assert_eq!(rows, ROWS);
    drop(streams);
}
