//! The two doors, each asked whether something may be done.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use ovsdb::Operation;
use ovsdb::schema::DatabaseSchema;
use rpc::v1::cluster_client::ClusterClient;
use rpc::v1::database_client::DatabaseClient;
use rpc::{convert, v1};
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};

/// What the protocol calls a denial.
pub const DENIED: &str = "permission error";

/// Something to ask for.
#[derive(Debug)]
pub enum Ask {
    /// A transaction of an operation and an `abort`: nothing is ever changed, and what comes before decides.
    Operation(Operation),
    /// To watch a table.
    Monitor(usize),
    /// To lock something.
    Lock,
    /// For the state of the cluster; the gRPC door only.
    Status,
    /// Who the server is; the OVSDB door only.
    ServerId,
    /// `select` or `wait` in `_Server`; the OVSDB door only.
    Server(&'static str),
}

/// A connection to the OVSDB door.
pub struct Ovsdb {
    stream: UnixStream,
    schema: Arc<DatabaseSchema>,
    next: u64,
    buffer: Vec<u8>,
}

impl Ovsdb {
    pub fn connect(socket: &Path, schema: &Arc<DatabaseSchema>) -> Self {
        Self {
            stream: UnixStream::connect(socket).unwrap(),
            schema: schema.clone(),
            next: 0,
            buffer: Vec::new(),
        }
    }

    /// Whether it is denied; `None` where this door has no such question.
    pub fn denies(&mut self, ask: &Ask) -> Option<bool> {
        let name = &*self.schema.name;
        self.next += 1;
        let (method, params) = match ask {
            Ask::Operation(operation) => {
                let operation = serde_json::to_value(operation.with(&self.schema)).unwrap();
                ("transact", json!([name, operation, {"op": "abort"}]))
            }
            Ask::Monitor(table) => {
                let table = &*self.schema.tables[*table].name;
                let tables = json!({ table: [{}] });
                ("monitor_cond", json!([name, self.next, tables]))
            }
            Ask::Lock => ("lock", json!([format!("lock{}", self.next)])),
            Ask::Status => return None,
            Ask::ServerId => ("get_server_id", json!([])),
            Ask::Server(op) => (
                "transact",
                json!(["_Server", {"op": op, "table": "Database", "where": [], "columns": ["name"],
                    "until": "!=", "rows": [], "timeout": 0}]),
            ),
        };
        let request = json!({"id": self.next, "method": method, "params": params});
        self.stream
            .write_all(request.to_string().as_bytes())
            .unwrap();
        let answer = self.answer();
        let mut errors = vec![answer["error"]["error"].clone()];
        let results = answer["result"].as_array();
        errors.extend(
            results
                .into_iter()
                .flatten()
                .map(|result| result["error"].clone()),
        );
        if let Ask::Monitor(_) = ask
            && answer["error"].is_null()
        {
            // So that the session never has too many.
            let request = json!({"id": "end", "method": "monitor_cancel", "params": [self.next]});
            self.stream
                .write_all(request.to_string().as_bytes())
                .unwrap();
            self.answer();
        }
        Some(errors.contains(&json!(DENIED)))
    }

    fn answer(&mut self) -> Value {
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter();
            if let Some(Ok(value)) = values.next() {
                let used = values.byte_offset();
                self.buffer.drain(..used);
                return value;
            }
            let mut chunk = [0; 65536];
            let count = self.stream.read(&mut chunk).unwrap();
            assert!(count > 0, "closed");
            self.buffer.extend_from_slice(&chunk[..count]);
        }
    }
}

/// A connection to the gRPC door.
pub struct Grpc {
    channel: Channel,
    schema: Arc<DatabaseSchema>,
}

impl Grpc {
    pub async fn connect(socket: &Path, schema: &Arc<DatabaseSchema>) -> Self {
        let socket = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move {
                tokio::net::UnixStream::connect(socket)
                    .await
                    .map(TokioIo::new)
            }
        });
        let channel = Endpoint::from_static("http://weft")
            .connect_with_connector(connector)
            .await;
        Self {
            channel: channel.unwrap(),
            schema: schema.clone(),
        }
    }

    /// Whether the member knows who leads.
    pub async fn knows_a_leader(&self) -> bool {
        let mut client = ClusterClient::new(self.channel.clone());
        let status = client.status(v1::StatusRequest::default()).await;
        status.is_ok_and(|status| status.get_ref().leader != 0)
    }

    /// Whether it is denied; `None` where this door has no such question. Transactions get a name, or none.
    pub async fn denies(&self, ask: &Ask, is_named: bool) -> Option<bool> {
        let database = self.schema.name.to_string();
        let mut client = DatabaseClient::new(self.channel.clone());
        let denied = |status: &tonic::Status| status.code() == tonic::Code::PermissionDenied;
        Some(match ask {
            Ask::ServerId | Ask::Server(_) => return None,
            Ask::Operation(operation) => {
                let operations = [operation.clone(), Operation::Abort];
                let name = ovsdb::Uuid::new_v4().as_bytes().to_vec();
                let request = rpc::shared::TransactRequest {
                    database,
                    name: if is_named { name } else { Vec::new() },
                    operations: convert::operations_to_proto(&self.schema, &operations),
                    ..Default::default()
                };
                let response = client.transact(request).await.unwrap().into_inner();
                response.results.iter().any(|result| {
                    let kind = result.kind.as_ref();
                    matches!(kind, Some(v1::operation_result::Kind::Error(error)) if error.error == DENIED)
                })
            }
            Ask::Monitor(table) => {
                let open = v1::MonitorOpen {
                    database,
                    tables: vec![v1::TableMonitor {
                        table: self.schema.tables[*table].name.to_string(),
                        columns: None,
                        r#where: Vec::new(),
                    }],
                    since: Vec::new(),
                    differences: false,
                };
                let open = v1::MonitorRequest {
                    kind: Some(v1::monitor_request::Kind::Open(open)),
                };
                let requests = tokio_stream::once(open);
                let mut stream = client.monitor(requests).await.unwrap().into_inner();
                stream.message().await.is_err_and(|status| denied(&status))
            }
            Ask::Lock => {
                let request = v1::LockRequest {
                    database,
                    name: "lock".to_owned(),
                    steal: false,
                };
                let mut stream = client.lock(request).await.unwrap().into_inner();
                stream.message().await.is_err_and(|status| denied(&status))
            }
            Ask::Status => {
                let mut client = ClusterClient::new(self.channel.clone());
                let status = client.status(v1::StatusRequest::default()).await;
                status.is_err_and(|status| denied(&status))
            }
        })
    }
}
