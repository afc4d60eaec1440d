//! Replicas of databases that our own server serves, through both doors: what holds at one holds at the other.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ovsdb::operation::{OpResult, Operation, Until};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{
    Clause, ColumnRef, Condition, Datum, ErrorKind, Function, Listen, Mutation, Mutator, Uuid,
};
use replica::{Client, ClientError, Event, Spec, TableSpec, Tls, TransactError};
use serde_json::json;
use store::access::rule::ListenerConfig;
use store::server::{Server, ServerArgs};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

/// The longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

const A: usize = 0;
const LEVEL: usize = 0;
const MAP: usize = 1;
const NAME: usize = 2;
const SET: usize = 3;

fn schema() -> Arc<DatabaseSchema> {
    let many = |key: &str| json!({"key": key, "min": 0, "max": "unlimited"});
    let json = json!({"name": "T", "version": "1.0.0", "tables": {
        "A": {"isRoot": true, "indexes": [["name"]], "columns": {
            "level": {"type": "integer"},
            "map": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
            "name": {"type": "string"},
            "set": {"type": many("integer")}}}}});
    Arc::new(DatabaseSchema::from_json(&json).unwrap())
}

/// Our server, with both doors.
struct Store {
    directory: TempDir,
    /// A door behind TLS, and its port.
    tls: Option<(Listen, u16)>,
    server: Option<Server>,
}

impl Store {
    async fn start() -> Self {
        let mut store = Self {
            directory: TempDir::new().unwrap(),
            tls: None,
            server: None,
        };
        store.run().await;
        store
    }

    /// With one of the doors behind TLS too, and certificates from `ovs-pki`.
    async fn start_with_tls(door: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let tool = |arguments: &[&str]| {
            let mut command = Command::new("ovs-pki");
            command.current_dir(directory.path());
            command.arg("-d").arg(directory.path().join("pki"));
            command
                .arg("-l")
                .arg(directory.path().join("pki.log"))
                .arg("-u");
            assert!(command.args(arguments).output().unwrap().status.success());
        };
        tool(&["init"]);
        tool(&["req+sign", "server", "controller"]);
        tool(&["req+sign", "client", "switch"]);
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let scheme = if door == "ovsdb" { "pssl" } else { "pgrpcs" };
        let listen = format!("{scheme}:{port}:127.0.0.1").parse().unwrap();
        let mut store = Self {
            directory,
            tls: Some((listen, port)),
            server: None,
        };
        store.run().await;
        store
    }

    fn listen(&self, scheme: &str, name: &str) -> Listen {
        format!("{scheme}:{}", self.directory.path().join(name).display())
            .parse()
            .unwrap()
    }

    async fn run(&mut self) {
        let mut listen = vec![
            self.listen("punix", "ovsdb.sock"),
            self.listen("pgrpc+unix", "grpc.sock"),
        ];
        listen.extend(self.tls.iter().map(|(listen, _)| listen.clone()));
        let is_tls = self.tls.is_some();
        let file = |name: &str| is_tls.then(|| self.directory.path().join(name));
        let args = ServerArgs {
            data_dir: Some(self.directory.path().join("data")),
            private_key: file("server-privkey.pem"),
            certificate: file("server-cert.pem"),
            ca_cert: file("pki/switchca/cacert.pem"),
            listen: listen.into_iter().map(ListenerConfig::open).collect(),
            ..ServerArgs::default()
        };
        let unused = self.listen("punix", "unused.sock");
        let server = Server::start(&args, &schema(), Path::new("/nonexistent"), unused).await;
        self.server = Some(server.unwrap());
    }

    fn stop(&mut self) {
        let server = self.server.take().unwrap();
        tokio::task::block_in_place(|| server.stop());
    }

    /// A replica through one of the doors.
    fn spec(&self, door: &str) -> Spec {
        let text = match door {
            "ovsdb" => format!(
                "unix:{}",
                self.directory.path().join("ovsdb.sock").display()
            ),
            _ => format!(
                "grpc+unix:{}",
                self.directory.path().join("grpc.sock").display()
            ),
        };
        Spec::new(schema(), vec![text.parse().unwrap()])
    }

    async fn client(&self, door: &str) -> Client {
        Client::connect(self.spec(door), Some(PATIENCE), true)
            .await
            .unwrap()
    }
}

fn insert(name: &str) -> Operation {
    let row = vec![(NAME, name.into())];
    Operation::Insert {
        table: A,
        uuid: Uuid::new_v4(),
        row,
    }
}

fn names(client: &Client) -> Vec<String> {
    let rows = client.tables().table(A).iter();
    let mut names: Vec<String> = rows
        .map(|(_, row)| row.get(NAME).scalar().unwrap().as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// Every scenario at every door.
macro_rules! at_both_doors {
    ($($scenario:ident),* $(,)?) => {
        mod ovsdb_door {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $scenario() {
                super::$scenario("ovsdb").await;
            }
        )*}
        mod grpc_door {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $scenario() {
                super::$scenario("grpc").await;
            }
        )*}
    };
}

at_both_doors!(
    changes_come_before_the_reply,
    failures_name_their_kind,
    conditions_decide_what_is_seen,
    a_lock_has_one_owner,
    rows_of_its_own_need_not_be_told,
    waiting_holds_nobody_up,
    a_restart_brings_the_difference_only,
    certificates_are_checked,
);

async fn changes_come_before_the_reply(door: &str) {
    let store = Store::start().await;
    let mut writer = store.client(door).await;
    let mut other = store
        .client(if door == "grpc" { "ovsdb" } else { "grpc" })
        .await;
    let uuid = Uuid::new_v4();
    let map = Datum::map([("k".into(), "v".into())]);
    let row = vec![
        (NAME, "a".into()),
        (MAP, map),
        (SET, Datum::set([1.into(), 2.into()])),
    ];
    let inserted = writer
        .transact(vec![Operation::Insert {
            table: A,
            uuid,
            row,
        }])
        .await
        .unwrap();
    assert_eq!(inserted, [OpResult::Inserted(uuid)]);
    for round in 1..=20 {
        let results = writer
            .transact(vec![
                Operation::mutate_row(
                    A,
                    uuid,
                    vec![
                        Mutation::new(LEVEL, Mutator::Add, 1),
                        Mutation::new(SET, Mutator::Insert, round),
                        Mutation::new(MAP, Mutator::Delete, Datum::from("k")),
                    ],
                ),
                Operation::Select {
                    table: A,
                    condition: vec![Clause::is_row(uuid)],
                    columns: [ColumnRef::Column(LEVEL), ColumnRef::Uuid].into(),
                },
            ])
            .await
            .unwrap();
        let selected = vec![
            ("level".into(), round.into()),
            ("_uuid".into(), uuid.into()),
        ];
        assert_eq!(
            results,
            [OpResult::Count(1), OpResult::Rows(vec![selected])]
        );
        assert_eq!(
            writer.tables().get(A, uuid).unwrap().get(LEVEL),
            &Datum::from(round)
        );
    }
    let row = writer.tables().get(A, uuid).unwrap().clone();
    assert_eq!(row.get(SET).len(), 20);
    assert!(row.get(MAP).is_empty());
    while other.tables().get(A, uuid) != Some(&row) {
        other.changed().await.unwrap();
    }
    writer
        .transact(vec![Operation::delete_row(A, uuid)])
        .await
        .unwrap();
    assert!(writer.tables().is_empty());
    while !other.tables().is_empty() {
        other.changed().await.unwrap();
    }
}

async fn failures_name_their_kind(door: &str) {
    let store = Store::start().await;
    let mut client = store.client(door).await;
    let failed = |result: Result<_, ClientError>| match result {
        Err(ClientError::Transact(TransactError::Failed(failure))) => {
            (failure.done.len(), failure.error.kind)
        }
        other => panic!("{other:?}"),
    };
    let twice = vec![insert("a"), insert("a")];
    assert_eq!(
        failed(client.transact(twice).await),
        (2, ErrorKind::ConstraintViolation)
    );
    let stop = vec![insert("a"), Operation::Abort, insert("b")];
    assert_eq!(failed(client.transact(stop).await), (1, ErrorKind::Aborted));
    let nobody = Operation::verify_row(A, Uuid::new_v4(), vec![(LEVEL, 1.into())]);
    assert_eq!(
        failed(client.transact(vec![nobody]).await),
        (0, ErrorKind::TimedOut)
    );
    assert!(client.tables().is_empty());
}

/// Nobody sends it again, and the connection lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_larger_than_a_message_is_refused() {
    let store = Store::start().await;
    let mut client = store.client("grpc").await;
    let large = vec![insert(&"x".repeat(rpc::MAX_MESSAGE_BYTES))];
    match client.transact(large).await {
        Err(ClientError::Transact(TransactError::Refused(error))) => {
            assert_eq!(error.kind, ErrorKind::SyntaxError, "{error}");
        }
        other => panic!("{:?}", other.map(drop)),
    }
    client.transact(vec![insert("small")]).await.unwrap();
    assert_eq!(names(&client), ["small"]);
}

async fn conditions_decide_what_is_seen(door: &str) {
    let store = Store::start().await;
    let level = |name: &str, level: i64| {
        let row = vec![(NAME, name.into()), (LEVEL, level.into())];
        Operation::Insert {
            table: A,
            uuid: Uuid::new_v4(),
            row,
        }
    };
    let mut writer = store.client(door).await;
    writer
        .transact(vec![level("one", 1), level("two", 2), level("three", 3)])
        .await
        .unwrap();
    let above = |level: i64| Condition::any([Clause::compare(LEVEL, Function::Greater, level)]);
    let mut spec = store.spec(door);
    spec.tables = vec![TableSpec::all(A).columns([NAME]).rows(above(2))];
    let mut client = Client::connect(spec, Some(PATIENCE), true).await.unwrap();
    assert_eq!(names(&client), ["three"]);
    for (condition, expected) in [
        (above(1), vec!["three", "two"]),
        (above(1), vec!["three", "two"]),
        (Condition::nothing(), vec![]),
        (Condition::everything(), vec!["one", "three", "two"]),
    ] {
        let number = client.handle().set_condition(A, condition);
        while client.next().await.unwrap() != Event::ConditionsInEffect(number) {}
        assert_eq!(names(&client), expected);
    }
}

async fn a_lock_has_one_owner(door: &str) {
    let store = Store::start().await;
    let mut spec = store.spec(door);
    spec.lock = Some("northd".into());
    let mut first = Client::connect(spec.clone(), Some(PATIENCE), true)
        .await
        .unwrap();
    while !first.owns_lock() {
        first.next().await.unwrap();
    }
    let mut second = Client::connect(spec, Some(PATIENCE), true).await.unwrap();
    let guarded = |name: &str| {
        vec![
            Operation::Assert {
                lock: "northd".into(),
            },
            insert(name),
        ]
    };
    assert!(matches!(
        second.transact(guarded("a")).await,
        Err(ClientError::Transact(TransactError::Failed(failure))) if failure.error.kind == ErrorKind::NotOwner
    ));
    first.transact(guarded("a")).await.unwrap();
    assert!(!second.owns_lock());
    drop(first);
    while !second.owns_lock() {
        second.next().await.unwrap();
    }
    second.transact(guarded("b")).await.unwrap();
}

async fn rows_of_its_own_need_not_be_told(door: &str) {
    let store = Store::start().await;
    let mut spec = store.spec(door);
    spec.lock = Some("northd".into());
    spec.own_inserts = vec![A];
    let mut owner = Client::connect(spec, Some(PATIENCE), true).await.unwrap();
    while !owner.owns_lock() {
        owner.next().await.unwrap();
    }
    let mut other = store.client("ovsdb").await;
    let insertion = insert("own");
    let Operation::Insert { uuid, .. } = insertion else {
        unreachable!("it is one")
    };
    owner.transact(vec![insertion]).await.unwrap();
    other.changed().await.unwrap();
    let row = |client: &Client| client.tables().get(A, uuid).cloned();
    assert!(row(&owner).is_some());
    assert_eq!(row(&owner), row(&other));
    let map = Datum::map([("k".into(), "v".into())]);
    let update = Operation::update_row(A, uuid, vec![(MAP, map)]);
    other.transact(vec![update]).await.unwrap();
    owner.changed().await.unwrap();
    assert_eq!(row(&owner), row(&other));
}

async fn waiting_holds_nobody_up(door: &str) {
    let store = Store::start().await;
    let mut client = store.client(door).await;
    let until_there = Operation::Wait {
        table: A,
        condition: vec![Clause::equals(NAME, "a")],
        columns: vec![ColumnRef::Column(NAME)],
        until: Until::Equal,
        rows: vec![vec![(ColumnRef::Column(NAME), "a".into())]],
        timeout_ms: None,
    };
    let handle = client.handle();
    handle
        .transact(1_000, vec![until_there, insert("b")])
        .unwrap();
    handle.transact(1_001, vec![insert("a")]).unwrap();
    // The second makes the first go on; which of them is answered first is nobody's promise.
    let mut answered = Vec::new();
    while answered.len() < 2 {
        if let Event::TransactReply { id, result } = client.next().await.unwrap() {
            answered.push((id, result.unwrap().len()));
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, [(1_000, 2), (1_001, 1)]);
    assert_eq!(names(&client), ["a", "b"]);
}

async fn a_restart_brings_the_difference_only(door: &str) {
    let mut store = Store::start().await;
    let mut client = store.client(door).await;
    // More than fits into one message.
    let many = (0..5000)
        .map(|number| insert(&format!("n{number}")))
        .collect();
    client.transact(many).await.unwrap();
    store.stop();
    while !matches!(client.next().await.unwrap(), Event::Disconnected { .. }) {}
    let refused = client.transact(vec![insert("lost")]).await.unwrap_err();
    assert_eq!(refused, ClientError::Transact(TransactError::NotConnected));
    store.run().await;
    let mut other = store.client(door).await;
    assert_eq!(names(&other).len(), 5000);
    other.transact(vec![insert("new")]).await.unwrap();
    let mut changes = 0;
    while !names(&client).contains(&"new".to_owned()) {
        if let Event::Changes(more) = client.next().await.unwrap() {
            changes += more.len();
        }
    }
    assert_eq!(changes, 1);
    client.synced().await.unwrap();
    client.transact(vec![insert("later")]).await.unwrap();
}

/// A client that stays reads its files whenever it connects, also those that have changed.
async fn files_are_read_again(mut spec: Spec, good: &Tls) {
    let directory = TempDir::new().unwrap();
    let ca = directory.path().join("ca.pem");
    let put = |content: &Path| std::fs::copy(content, &ca).unwrap();
    put(&good.ca);
    spec.tls = Some(Tls {
        ca: ca.clone(),
        ..good.clone()
    });
    let mut client = Client::connect(spec, Some(PATIENCE), true).await.unwrap();
    put(&good.ca.with_file_name("../switchca/cacert.pem"));
    client.handle().force_reconnect();
    loop {
        match client.next().await.unwrap() {
            Event::Disconnected { reason, .. } if reason.contains("UnknownIssuer") => break,
            _ => {}
        }
    }
    put(&good.ca);
    client.synced().await.unwrap();
}

#[tokio::test]
async fn a_server_is_asked_for_by_name() {
    let store = Store::start_with_tls("ovsdb").await;
    let file = |name: &str| store.directory.path().join(name);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut spec = Spec::new(
        schema(),
        vec![format!("ssl:127.0.0.1:{port}").parse().unwrap()],
    );
    spec.tls = Some(Tls {
        private_key: file("client-privkey.pem"),
        certificate: file("client-cert.pem"),
        ca: file("pki/controllerca/cacert.pem"),
        server_name: Some("northbound.example".to_owned()),
    });
    let hello = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        bytes.truncate(count);
        bytes
    };
    let (hello, connected) =
        tokio::join!(hello, Client::connect(spec.clone(), Some(PATIENCE), false));
    assert!(connected.is_err());
    assert!(String::from_utf8_lossy(&hello).contains("northbound.example"));
    spec.tls.as_mut().unwrap().server_name = Some("no name".to_owned());
    let refused = Client::connect(spec, Some(PATIENCE), false).await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("\"no name\" is no name of a server"),
        "{refused}"
    );
}

async fn certificates_are_checked(door: &str) {
    let store = Store::start_with_tls(door).await;
    let file = |name: &str| store.directory.path().join(name);
    let (_, port) = store.tls.as_ref().unwrap();
    let scheme = if door == "ovsdb" { "ssl" } else { "grpcs" };
    let remote = format!("{scheme}:127.0.0.1:{port}").parse().unwrap();
    let mut spec = Spec::new(schema(), vec![remote]);
    let good = Tls {
        private_key: file("client-privkey.pem"),
        certificate: file("client-cert.pem"),
        ca: file("pki/controllerca/cacert.pem"),
        server_name: None,
    };
    spec.tls = Some(good.clone());
    let mut client = Client::connect(spec.clone(), Some(PATIENCE), true)
        .await
        .unwrap();
    client.transact(vec![insert("a")]).await.unwrap();
    files_are_read_again(spec.clone(), &good).await;
    // The server's certificate is from another authority than this client trusts.
    spec.tls = Some(Tls {
        ca: file("pki/switchca/cacert.pem"),
        ..good.clone()
    });
    let error = Client::connect(spec.clone(), Some(PATIENCE), false)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    // The client's certificate is from another authority than the server trusts.
    spec.tls = Some(Tls {
        private_key: file("server-privkey.pem"),
        certificate: file("server-cert.pem"),
        ..good
    });
    assert!(Client::connect(spec, Some(PATIENCE), false).await.is_err());
}
