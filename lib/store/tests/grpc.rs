//! The gRPC door, with a client of the generated code, and the OVSDB door beside it.

#![allow(
    clippy::unwrap_used,
    reason = "a panic is the message of a failed test"
)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ovsdb::Uuid;
use ovsdb::schema::DatabaseSchema;
use prost::Message;
use rpc::shared::{TransactRequest, encode_operation};
use rpc::v1::cluster_client::ClusterClient;
use rpc::v1::database_client::DatabaseClient;
use rpc::{convert, v1};
use serde_json::{Value, json};
use store::server::{Server, ServerArgs};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

struct Rig {
    directory: tempfile::TempDir,
    server: Option<Server>,
    channel: Channel,
}

impl Rig {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = format!("punix:{}", directory.path().join("ovsdb.sock").display());
        let args = ServerArgs {
            data_dir: Some(directory.path().join("data")),
            listen: vec![
                "pgrpc:0:127.0.0.1".parse().unwrap(),
                socket.parse().unwrap(),
            ],
            plaintext: true,
            ..ServerArgs::default()
        };
        let schema = DatabaseSchema::from_json(&json!({"name": "Test", "version": "1.0.0",
            "tables": {"Item": {"isRoot": true, "columns": {
                "name": {"type": "string"},
                "group": {"type": "integer"}}}}}));
        let schema = Arc::new(schema.unwrap());
        let listen = "punix:/nowhere".parse().unwrap();
        let server = Server::start(&args, &schema, Path::new("/nowhere"), listen);
        let server = server.await.unwrap();
        let remotes = server
            .control("ovsdb-server/list-remotes", &[])
            .await
            .unwrap();
        let (_, rest) = remotes.split_once('(').unwrap();
        let address = rest.split_once(')').unwrap().0;
        let channel = Channel::from_shared(format!("http://{address}")).unwrap();
        Self {
            channel: channel.connect().await.unwrap(),
            server: Some(server),
            directory,
        }
    }

    fn database(&self) -> DatabaseClient<Channel> {
        DatabaseClient::new(self.channel.clone())
    }

    async fn transact(&self, request: TransactRequest) -> v1::TransactResponse {
        let request = TransactRequest {
            database: "Test".to_owned(),
            ..request
        };
        self.database()
            .transact(request)
            .await
            .unwrap()
            .into_inner()
    }

    async fn insert(&self, name: &str, group: i64) -> v1::TransactResponse {
        self.transact(TransactRequest {
            operations: vec![insert(name, group)],
            ..Default::default()
        })
        .await
    }

    async fn lock(&self, steal: bool) -> Streaming<v1::LockResponse> {
        let request = v1::LockRequest {
            database: "Test".to_owned(),
            name: "northd".to_owned(),
            steal,
        };
        self.database().lock(request).await.unwrap().into_inner()
    }

    /// What the OVSDB door says.
    fn ovsdb(&self, method: &str, params: &Value) -> Value {
        let path = self.directory.path().join("ovsdb.sock");
        let mut stream = UnixStream::connect(path).unwrap();
        let request = json!({"id": 1, "method": method, "params": params}).to_string();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).unwrap();
            assert!(count > 0, "closed");
            bytes.extend_from_slice(&chunk[..count]);
            if let Ok(mut answer) = serde_json::from_slice::<Value>(&bytes) {
                return answer["result"].take();
            }
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            tokio::task::block_in_place(|| server.stop());
        }
    }
}

fn atom(value: v1::atom::Value) -> v1::Datum {
    v1::Datum {
        kind: Some(v1::datum::Kind::Scalar(v1::Atom { value: Some(value) })),
    }
}

fn integer(value: i64) -> v1::Datum {
    atom(v1::atom::Value::Integer(value))
}

fn insert(name: &str, group: i64) -> Bytes {
    let name = atom(v1::atom::Value::String(name.to_owned()));
    let columns = [
        ("name".to_owned(), name),
        ("group".to_owned(), integer(group)),
    ];
    let insert = v1::Insert {
        table: "Item".to_owned(),
        row: Some(v1::Row {
            columns: columns.into(),
        }),
        ..Default::default()
    };
    encode_operation(&v1::Operation {
        kind: Some(v1::operation::Kind::Insert(insert)),
    })
}

fn assert_lock() -> Bytes {
    let lock = "northd".to_owned();
    encode_operation(&v1::Operation {
        kind: Some(v1::operation::Kind::Assert(v1::Assert { lock })),
    })
}

fn in_group(group: i64) -> v1::Clause {
    let comparison = v1::Comparison {
        column: "group".to_owned(),
        function: v1::Function::Equal.into(),
        value: Some(integer(group)),
    };
    v1::Clause {
        kind: Some(v1::clause::Kind::Comparison(comparison)),
    }
}

/// A monitor's call.
struct Watch {
    requests: mpsc::Sender<v1::MonitorRequest>,
    responses: Streaming<v1::MonitorResponse>,
}

impl Watch {
    async fn open(rig: &Rig, group: i64, since: Vec<u8>) -> Self {
        let open = v1::MonitorOpen {
            database: "Test".to_owned(),
            tables: vec![v1::TableMonitor {
                table: "Item".to_owned(),
                columns: None,
                r#where: vec![in_group(group)],
            }],
            since,
            differences: false,
        };
        let (requests, stream) = mpsc::channel(4);
        let request = v1::MonitorRequest {
            kind: Some(v1::monitor_request::Kind::Open(open)),
        };
        requests.send(request).await.unwrap();
        let responses = rig.database().monitor(ReceiverStream::new(stream)).await;
        Self {
            requests,
            responses: responses.unwrap().into_inner(),
        }
    }

    async fn retarget(&self, group: i64, tag: u64) {
        let change = v1::MonitorChange {
            tables: vec![v1::TableCondition {
                table: "Item".to_owned(),
                r#where: vec![in_group(group)],
            }],
            tag,
        };
        let kind = Some(v1::monitor_request::Kind::Change(change));
        self.requests
            .send(v1::MonitorRequest { kind })
            .await
            .unwrap();
    }

    async fn next(&mut self) -> v1::MonitorResponse {
        self.responses.message().await.unwrap().unwrap()
    }
}

fn is_success(response: &v1::TransactResponse) -> bool {
    use v1::operation_result::Kind;
    let mut results = response.results.iter();
    !results.any(|result| matches!(result.kind, Some(Kind::Error(_))))
}

fn name(row: &v1::Row) -> String {
    let ty = ovsdb::schema::ColumnType::from_json(&json!("string")).unwrap();
    let datum = convert::datum_from_proto(&ty, row.columns["name"].clone()).unwrap();
    datum.scalar().unwrap().as_str().unwrap().to_owned()
}

/// An update as text: for each row, what happened and its name.
fn shown(response: &v1::MonitorResponse) -> Vec<String> {
    use v1::row_update::Change;
    let rows = response.tables.iter().flat_map(|table| &table.rows);
    let mut shown: Vec<String> = rows
        .map(|row| v1::RowUpdate::decode(row.clone()).unwrap())
        .map(|row| match row.change.unwrap() {
            Change::Inserted(row) => format!("+{}", name(&row)),
            Change::Modified(row) => format!("~{:?}", row.columns.keys().collect::<Vec<_>>()),
            Change::Changed(changed) => format!("{changed:?}"),
            Change::Deleted(_) => "-".to_owned(),
        })
        .collect();
    shown.sort();
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn both_doors_see_each_others_commits() {
    let rig = Rig::new().await;
    let request = v1::GetSchemaRequest {
        database: "Test".to_owned(),
    };
    let schema = rig
        .database()
        .get_schema(request)
        .await
        .unwrap()
        .into_inner();
    let schema: Value = serde_json::from_str(&schema.schema_json).unwrap();
    assert_eq!(schema["name"], "Test");

    let response = rig.insert("from grpc", 1).await;
    assert_eq!(response.transaction_id.len(), 16);
    assert!(is_success(&response));
    let select = json!({"op": "select", "table": "Item", "where": [], "columns": ["name"]});
    let rows = rig.ovsdb("transact", &json!(["Test", select]));
    assert_eq!(rows, json!([{"rows": [{"name": "from grpc"}]}]));

    let mut watch = Watch::open(&rig, 2, Vec::new()).await;
    let initial = watch.next().await;
    assert!(initial.reset && initial.tables.is_empty());
    let insert =
        json!({"op": "insert", "table": "Item", "row": {"name": "from ovsdb", "group": 2}});
    rig.ovsdb("transact", &json!(["Test", insert]));
    assert_eq!(shown(&watch.next().await), ["+from ovsdb"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_follows_its_condition_and_resumes() {
    let rig = Rig::new().await;
    rig.insert("a", 1).await;
    rig.insert("b", 2).await;
    let mut watch = Watch::open(&rig, 1, Vec::new()).await;
    let initial = watch.next().await;
    assert!(initial.reset && !initial.more);
    assert_eq!(shown(&initial), ["+a"]);

    watch.retarget(2, 7).await;
    let moved = watch.next().await;
    assert_eq!(
        (shown(&moved), moved.tag),
        (vec!["+b".to_owned(), "-".to_owned()], 7)
    );
    let settled = watch.next().await;
    assert!(settled.tables.is_empty() && settled.tag == 7);

    rig.insert("c", 2).await;
    let update = watch.next().await;
    assert_eq!(shown(&update), ["+c"]);
    let state = update.transaction_id.clone();
    drop(watch);

    rig.insert("missed", 2).await;
    let mut resumed = Watch::open(&rig, 2, state).await;
    let missed = resumed.next().await;
    assert!(!missed.reset);
    assert_eq!(shown(&missed), ["+missed"]);
    let mut unknown = Watch::open(&rig, 2, vec![9; 16]).await;
    assert!(unknown.next().await.reset);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_content_comes_in_parts() {
    let rig = Rig::new().await;
    let padding = "x".repeat(500);
    let names = (0..10_000).map(|n| format!("{n}{padding}"));
    let operations = names.map(|name| insert(&name, 1)).collect();
    let request = TransactRequest {
        operations,
        ..Default::default()
    };
    let response = rig.transact(request).await;
    assert_eq!(response.results.len(), 10_000);
    let mut watch = Watch::open(&rig, 1, Vec::new()).await;
    let (mut rows, mut parts) = (0, 0);
    loop {
        let part = watch.next().await;
        assert_eq!(part.reset, parts == 0);
        rows += shown(&part).len();
        parts += 1;
        if !part.more {
            break;
        }
    }
    assert_eq!((rows, parts), (10_000, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_transaction_is_applied_once() {
    let rig = Rig::new().await;
    let name = Uuid::new_v4().as_bytes().to_vec();
    let request = TransactRequest {
        operations: vec![insert("once", 1)],
        name,
        ..Default::default()
    };
    let first = rig.transact(request.clone()).await;
    let second = rig.transact(request).await;
    assert_eq!(first, second);
    let select = json!({"op": "select", "table": "Item", "where": [], "columns": ["name"]});
    let rows = rig.ovsdb("transact", &json!(["Test", select]));
    assert_eq!(rows, json!([{"rows": [{"name": "once"}]}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_lives_as_long_as_its_call() {
    let rig = Rig::new().await;
    let mut first = rig.lock(false).await;
    let owned = first.message().await.unwrap().unwrap();
    let token = owned.token.unwrap();
    assert!(owned.owned);
    let mut second = rig.lock(false).await;
    assert!(!second.message().await.unwrap().unwrap().owned);

    let asserted = |locks| TransactRequest {
        operations: vec![assert_lock()],
        locks,
        ..Default::default()
    };
    let with = rig.transact(asserted(vec![token.clone()])).await;
    assert!(is_success(&with));
    let without = rig.transact(asserted(Vec::new())).await;
    assert!(!is_success(&without));

    drop(first);
    assert!(second.message().await.unwrap().unwrap().owned);
    let stale = rig.transact(asserted(vec![token])).await;
    assert!(!is_success(&stale));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_refused_by_name() {
    let rig = Rig::new().await;
    let request = TransactRequest {
        database: "Nowhere".to_owned(),
        ..Default::default()
    };
    let error = rig.database().transact(request).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::NotFound);
    assert!(error.message().contains("Nowhere"));
    // One without anything, and bytes that are none.
    for operation in [
        encode_operation(&v1::Operation { kind: None }),
        Bytes::from_static(&[0x0a, 5, 0]),
    ] {
        let request = TransactRequest {
            database: "Test".to_owned(),
            operations: vec![operation],
            ..Default::default()
        };
        let response = rig.transact(request).await;
        let shown = format!("{:?}", response.results);
        assert!(shown.contains("operations[0]"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_health_are_told() {
    let rig = Rig::new().await;
    let status = ClusterClient::new(rig.channel.clone())
        .status(v1::StatusRequest::default())
        .await;
    let status = status.unwrap().into_inner();
    assert_eq!(status.database, "Test");
    assert_eq!((status.role(), status.leader), (v1::Role::Leader, 1));
    assert_eq!(status.voters, [1]);
    let mut health = tonic_health::pb::health_client::HealthClient::new(rig.channel.clone());
    let request = tonic_health::pb::HealthCheckRequest {
        service: "weft.db.v1.Database".to_owned(),
    };
    let response = health.check(request).await.unwrap().into_inner();
    assert_eq!(
        response.status(),
        tonic_health::pb::health_check_response::ServingStatus::Serving
    );
}

/// Adds a row under a name of our own, and watches the table until the row is there.
async fn add_and_watch(channel: Channel, database: &str) -> Result<usize, tonic::Status> {
    let mut client = DatabaseClient::new(channel);

    // A live view: first the present content, then every commit that touches it.
    let open = v1::MonitorOpen {
        database: database.to_owned(),
        tables: vec![v1::TableMonitor {
            table: "Item".to_owned(),
            ..Default::default()
        }],
        since: Vec::new(),
        differences: false,
    };
    let kind = Some(v1::monitor_request::Kind::Open(open));
    let requests = tokio_stream::iter([v1::MonitorRequest { kind }]);
    let mut updates = client.monitor(requests).await?.into_inner();
    let content = updates.message().await?.unwrap_or_default();
    println!("state {:02x?}", content.transaction_id);

    // One transaction. Its name makes it safe to send again: it is applied once.
    let text = v1::Atom {
        value: Some(v1::atom::Value::String("web".to_owned())),
    };
    let name = v1::Datum {
        kind: Some(v1::datum::Kind::Scalar(text)),
    };
    let insert = v1::Insert {
        table: "Item".to_owned(),
        row: Some(v1::Row {
            columns: [("name".to_owned(), name)].into(),
        }),
        ..Default::default()
    };
    let request = TransactRequest {
        database: database.to_owned(),
        operations: vec![encode_operation(&v1::Operation {
            kind: Some(v1::operation::Kind::Insert(insert)),
        })],
        name: Uuid::new_v4().as_bytes().to_vec(),
        ..Default::default()
    };
    client.transact(request.clone()).await?;
    client.transact(request).await?;

    let update = updates.message().await?.unwrap_or_default();
    let rows = update.tables.iter().map(|table| table.rows.len());
    Ok(rows.sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_book_works() {
    let rig = Rig::new().await;
    let added = add_and_watch(rig.channel.clone(), "Test").await.unwrap();
    assert_eq!(added, 1);
    let (page, code) = (
        include_str!("../../../docs/grpc.md"),
        include_str!("grpc.rs"),
    );
    let (_, example) = page.split_once("```rust\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    assert!(
        code.contains(example),
        "docs/grpc.md has another program than this file"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_comes_in_pieces_with_a_checksum() {
    use v1::backup_response::Part;
    let rig = Rig::new().await;
    for number in 0..100 {
        rig.insert(&"x".repeat(9000), number).await;
    }
    let mut client = ClusterClient::new(rig.channel.clone());
    let mut parts = client
        .backup(v1::BackupRequest {})
        .await
        .unwrap()
        .into_inner();
    let Some(Part::Head(head)) = parts.message().await.unwrap().unwrap().part else {
        panic!("a backup begins with its head");
    };
    assert_eq!((head.rows, head.database.as_str()), (100, "Test"));
    let schema = serde_json::from_str(&head.schema_json).unwrap();
    let schema = DatabaseSchema::from_json(&schema).unwrap();
    let out = ovsdb::file::write_schema(&schema, std::io::Cursor::new(Vec::new())).unwrap();
    let mut recorder = ovsdb::file::Recorder::begin(out).unwrap();
    let mut pieces = 0;
    let end = loop {
        match parts.message().await.unwrap().unwrap().part {
            Some(Part::Body(bytes)) => recorder.write_all(&bytes).unwrap(),
            Some(Part::End(end)) => break end,
            other => panic!("{other:?}"),
        }
        pieces += 1;
    };
    assert!(pieces > 2, "{pieces}");
    let (bytes, sha1) = recorder.written();
    assert_eq!((end.bytes, end.sha1), (bytes, sha1.to_vec()));
    assert!(parts.message().await.unwrap().is_none());
    let file = recorder.finish().unwrap().into_inner();
    let contents = ovsdb::file::read(&file, &mut |_| ()).unwrap();
    assert_eq!(contents.row_count(), 100);
}
