//! Replicas of databases that Open vSwitch's own server serves.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use super::common::{PATIENCE, Server, parsed, run, schema, text};
use ovsdb::operation::{OpResult, Operation};
use ovsdb::{Clause, Condition, Datum, ErrorKind, Function, Mutation, Mutator, RowChange, Uuid};
use replica::{Client, ClientError, Event, State, TableSpec, Tls, TransactError};
use serde_json::{Value, json};

const A: usize = 0;
const B: usize = 1;
const BS: usize = 0;
const LEVEL: usize = 1;
const MAP: usize = 2;
const NAME: usize = 3;
const OPT: usize = 4;
const SET: usize = 5;

fn names(client: &Client) -> Vec<String> {
    let mut names: Vec<String> = client
        .tables()
        .table(A)
        .iter()
        .map(|(_, row)| row.get(NAME).scalar().unwrap().as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn insert(name: &str) -> Operation {
    let row = vec![(NAME, name.into())];
    Operation::Insert {
        table: A,
        uuid: Uuid::new_v4(),
        row,
    }
}

/// What two clients see is what the server has, whoever wrote it.
#[tokio::test]
async fn changes_are_seen_as_they_are_made() {
    let server = Server::start(&schema());
    server.insert(
        "A",
        &json!({"name": "early", "opt": 3, "set": ["set", [1, 2]]}),
    );
    let mut writer = server.client(&schema()).await;
    let mut reader = server.client(&schema()).await;
    assert_eq!(names(&reader), ["early"]);
    let (a, b) = (Uuid::new_v4(), Uuid::new_v4());
    let map = Datum::map([("k".into(), "v".into()), ("l".into(), "w".into())]);
    let results = writer
        .transact(vec![
            Operation::Insert {
                table: A,
                uuid: a,
                row: vec![
                    (NAME, "a".into()),
                    (BS, b.into()),
                    (MAP, map),
                    (OPT, 7.into()),
                    (SET, Datum::set([1.into(), 2.into()])),
                ],
            },
            Operation::Insert {
                table: B,
                uuid: b,
                row: vec![(0, "y".into())],
            },
            Operation::Comment {
                comment: "both".into(),
            },
        ])
        .await
        .unwrap();
    assert_eq!(
        results,
        [
            OpResult::Inserted(a),
            OpResult::Inserted(b),
            OpResult::Empty
        ]
    );
    // Changes come before the reply.
    assert!(writer.tables().get(A, a).is_some());
    let changes = reader.changed().await.unwrap();
    assert_eq!(changes.len(), 2);
    // Every kind of difference: a scalar, an optional, a set, a map.
    let pairs = Datum::map([("k".into(), "x".into())]);
    let keys = Datum::set(["k".into(), "l".into()]);
    let results = writer
        .transact(vec![
            Operation::mutate_row(
                A,
                a,
                vec![
                    Mutation::new(LEVEL, Mutator::Add, 5),
                    Mutation::new(SET, Mutator::Insert, Datum::set([2.into(), 9.into()])),
                    Mutation::new(MAP, Mutator::Delete, keys),
                    Mutation::new(MAP, Mutator::Insert, pairs),
                ],
            ),
            Operation::update_row(A, a, vec![(OPT, Datum::empty_set())]),
            Operation::verify_row(A, a, vec![(LEVEL, 5.into()), (OPT, Datum::empty_set())]),
            Operation::Select {
                table: A,
                condition: vec![Clause::is_row(a)],
                columns: [ovsdb::ColumnRef::Column(SET), ovsdb::ColumnRef::Uuid].into(),
            },
        ])
        .await
        .unwrap();
    let nine = Datum::set([1.into(), 2.into(), 9.into()]);
    let selected = vec![vec![
        ("set".into(), nine.clone()),
        ("_uuid".into(), a.into()),
    ]];
    assert_eq!(
        results,
        [
            OpResult::Count(1),
            OpResult::Count(1),
            OpResult::Empty,
            OpResult::Rows(selected)
        ]
    );
    reader.changed().await.unwrap();
    let row = reader.tables().get(A, a).unwrap().clone();
    assert_eq!(row.get(LEVEL), &Datum::from(5));
    assert_eq!(row.get(OPT), &Datum::empty_set());
    assert_eq!(row.get(SET), &nine);
    assert_eq!(row.get(MAP), &Datum::map([("k".into(), "x".into())]));
    assert_eq!(row, *writer.tables().get(A, a).unwrap());
    let gone = vec![Operation::Delete {
        table: A,
        condition: vec![Clause::is_row(a)],
    }];
    assert_eq!(writer.transact(gone).await.unwrap(), [OpResult::Count(1)]);
    // The last reference took the other row along.
    assert_eq!(reader.changed().await.unwrap().len(), 2);
    assert_eq!(names(&reader), ["early"]);
    assert!(reader.tables().table(B).is_empty());
}

#[tokio::test]
async fn failures_are_told_with_their_place() {
    let server = Server::start(&schema());
    let mut client = server.client(&schema()).await;
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
    let dangling = Operation::Insert {
        table: A,
        uuid: Uuid::new_v4(),
        row: vec![(BS, Uuid::new_v4().into())],
    };
    assert_eq!(
        failed(client.transact(vec![dangling]).await),
        (1, ErrorKind::ReferentialIntegrityViolation)
    );
    let nobody = Operation::verify_row(A, Uuid::new_v4(), vec![(LEVEL, 1.into())]);
    assert_eq!(
        failed(client.transact(vec![nobody]).await),
        (0, ErrorKind::TimedOut)
    );
    assert!(client.tables().is_empty());
}

/// After the server was killed and came back, only what is different is told.
#[tokio::test]
async fn a_restart_of_the_server_brings_the_difference_only() {
    let mut server = Server::start(&schema());
    for name in ["same", "changes", "goes"] {
        server.insert("A", &json!({"name": name}));
    }
    let mut client = server.client(&schema()).await;
    assert_eq!(names(&client), ["changes", "goes", "same"]);
    let socket = server.path("db.sock");
    // Behind a socket that the client does not know, the database changes.
    server.kill();
    loop {
        if let Event::Disconnected { reason, .. } = client.next().await.unwrap() {
            assert!(!reason.is_empty());
            break;
        }
    }
    let refused = client.transact(vec![insert("lost")]).await.unwrap_err();
    assert_eq!(refused, ClientError::Transact(TransactError::NotConnected));
    let params = json!(["T",
        {"op": "update", "table": "A", "where": [["name", "==", "changes"]], "row": {"level": 1}},
        {"op": "delete", "table": "A", "where": [["name", "==", "goes"]]},
        {"op": "insert", "table": "A", "row": {"name": "new"}}]);
    run(
        "ovsdb-tool",
        &["transact", text(&server.path("db")), &params.to_string()],
    );
    assert!(!socket.exists());
    server.run();
    let mut changes = Vec::new();
    loop {
        match client.next().await.unwrap() {
            Event::Changes(more) => changes.extend(more),
            Event::Synced => break,
            _ => {}
        }
    }
    let kinds = |change: &RowChange| (change.old.is_some(), change.new.is_some());
    let mut kinds: Vec<_> = changes.iter().map(kinds).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [(false, true), (true, false), (true, true)]);
    assert_eq!(names(&client), ["changes", "new", "same"]);
    client.transact(vec![insert("later")]).await.unwrap();
    assert_eq!(names(&client).len(), 4);
}

/// A transaction that waits for its answer when the connection breaks is reported as of unknown outcome.
#[tokio::test]
async fn transactions_in_flight_are_reported_when_the_connection_breaks() {
    let mut server = Server::start(&schema());
    let mut client = server.client(&schema()).await;
    let forever = Operation::Wait {
        table: A,
        condition: vec![],
        columns: vec![ovsdb::ColumnRef::Column(NAME)],
        until: ovsdb::operation::Until::NotEqual,
        rows: vec![],
        timeout_ms: None,
    };
    client.handle().transact(77, vec![forever]).unwrap();
    // An answer to something sent later shows that the first was sent.
    client
        .transact(vec![Operation::Comment { comment: "".into() }])
        .await
        .unwrap();
    server.kill();
    loop {
        if let Event::TransactReply { id, result } = client.next().await.unwrap() {
            assert_eq!((id, result), (77, Err(TransactError::Disconnected)));
            break;
        }
    }
    assert!(matches!(
        client.next().await.unwrap(),
        Event::Disconnected { .. }
    ));
}

/// Conditions narrow and widen what is seen, across a restart too.
#[tokio::test]
async fn conditions_decide_what_is_seen() {
    let mut server = Server::start(&schema());
    for (name, level) in [("one", 1), ("two", 2), ("three", 3)] {
        server.insert("A", &json!({"name": name, "level": level}));
    }
    let above = |level: i64| Condition::any([Clause::compare(LEVEL, Function::Greater, level)]);
    let mut spec = server.spec(&schema());
    spec.tables = vec![TableSpec::all(A).columns([NAME]).rows(above(2))];
    let mut client = Client::connect(spec, Some(PATIENCE), true).await.unwrap();
    assert_eq!(names(&client), ["three"]);
    let level = |client: &Client| {
        let (_, row) = client.tables().table(A).iter().next().unwrap();
        row.get(LEVEL).clone()
    };
    assert_eq!(
        level(&client),
        Datum::from(0),
        "a column that is not in view reads as its default"
    );
    for _ in 0..2 {
        let number = client.handle().set_condition(A, above(1));
        while client.next().await.unwrap() != Event::ConditionsInEffect(number) {}
        assert_eq!(names(&client), ["three", "two"]);
    }
    server.kill();
    while !matches!(client.next().await.unwrap(), Event::Disconnected { .. }) {}
    client
        .handle()
        .set_condition(A, Condition::any([Clause::equals(LEVEL, 1)]));
    server.run();
    client.synced().await.unwrap();
    assert_eq!(names(&client), ["one"]);
}

/// A server with an older schema: what it lacks reads as its default and is not written.
#[tokio::test]
async fn an_older_schema_is_enough() {
    let mut older = schema();
    older["tables"].as_object_mut().unwrap().remove("B");
    let columns = older["tables"]["A"]["columns"].as_object_mut().unwrap();
    columns.remove("bs");
    columns.remove("opt");
    columns.insert("ancient".to_owned(), json!({"type": "integer"}));
    let server = Server::start(&older);
    let mut client = server.client(&schema()).await;
    let (a, b) = (Uuid::new_v4(), Uuid::new_v4());
    let row = vec![
        (NAME, "a".into()),
        (OPT, 3.into()),
        (SET, 4.into()),
        (BS, b.into()),
    ];
    let results = client
        .transact(vec![
            Operation::Insert {
                table: B,
                uuid: b,
                row: vec![(0, "x".into())],
            },
            Operation::Insert {
                table: A,
                uuid: a,
                row,
            },
        ])
        .await
        .unwrap();
    assert_eq!(results, [OpResult::Inserted(b), OpResult::Inserted(a)]);
    let seen = client.tables().get(A, a).unwrap();
    assert_eq!((seen.get(NAME), seen.get(SET)), (&"a".into(), &4.into()));
    assert_eq!(
        (seen.get(OPT), seen.get(BS)),
        (&Datum::empty_set(), &Datum::empty_set())
    );
    assert!(client.tables().table(B).is_empty());
}

/// A lock passes from one client to the next when its owner goes.
#[tokio::test]
async fn a_lock_has_one_owner() {
    let server = Server::start(&schema());
    let mut spec = server.spec(&schema());
    spec.lock = Some("northd".into());
    let mut first = Client::connect(spec.clone(), Some(PATIENCE), true)
        .await
        .unwrap();
    while first.next().await.unwrap() != Event::Lock(true) {}
    let mut second = Client::connect(spec, Some(PATIENCE), true).await.unwrap();
    let guarded = || {
        vec![
            Operation::Assert {
                lock: "northd".into(),
            },
            insert("guarded"),
        ]
    };
    assert!(matches!(
        second.transact(guarded()).await,
        Err(ClientError::Transact(TransactError::Failed(failure))) if failure.error.kind == ErrorKind::NotOwner
    ));
    first.transact(guarded()).await.unwrap();
    assert!(first.owns_lock() && !second.owns_lock());
    drop(first);
    while second.next().await.unwrap() != Event::Lock(true) {}
}

/// What an owner of the lock has inserted is known to it without being told; what others do there is seen.
#[tokio::test]
async fn rows_of_its_own_need_not_be_told() {
    let server = Server::start(&schema());
    let early = server.insert("A", &json!({"name": "early", "level": 2}));
    let mut spec = server.spec(&schema());
    spec.lock = Some("northd".into());
    spec.own_inserts = vec![A];
    let mut owner = Client::connect(spec.clone(), Some(PATIENCE), true)
        .await
        .unwrap();
    let mut other = server.client(&schema()).await;
    let waiting = Client::connect(spec, Some(PATIENCE), true).await.unwrap();
    assert!(owner.owns_lock() && !waiting.owns_lock());
    assert_eq!(owner.tables().get(A, early).unwrap().get(LEVEL), &2.into());
    let own = Uuid::new_v4();
    let row = vec![
        (LEVEL, 7.into()),
        (NAME, "own".into()),
        (SET, Datum::set([1.into(), 2.into()])),
    ];
    let insertion = Operation::Insert {
        table: A,
        uuid: own,
        row,
    };
    owner.transact(vec![insertion]).await.unwrap();
    other.changed().await.unwrap();
    let row = |client: &Client, uuid| client.tables().get(A, uuid).cloned();
    assert_eq!(row(&owner, own), row(&other, own));
    assert_eq!(row(&owner, own).unwrap().get(LEVEL), &7.into());
    // Whoever waits for the lock is told of everything.
    let mut waiting = waiting;
    while row(&waiting, own).is_none() {
        waiting.changed().await.unwrap();
    }
    assert_eq!(row(&waiting, own), row(&other, own));
    let strange = server.insert("A", &json!({"name": "strange", "level": 9}));
    while row(&owner, strange).is_none() {
        owner.changed().await.unwrap();
    }
    let defaults = row(&owner, strange).unwrap();
    assert_eq!(
        (defaults.get(NAME), defaults.get(LEVEL)),
        (&"".into(), &0.into())
    );
    // Changes are seen as ever.
    let level = Operation::update_row(A, own, vec![(LEVEL, 8.into())]);
    other.transact(vec![level]).await.unwrap();
    owner.changed().await.unwrap();
    assert_eq!(row(&owner, own).unwrap().get(LEVEL), &8.into());
    let gone = Operation::delete_row(A, strange);
    other.transact(vec![gone]).await.unwrap();
    owner.changed().await.unwrap();
    assert_eq!(row(&owner, strange), None);
}

/// TLS with the certificates that `ovs-pki` makes.
#[tokio::test]
async fn certificates_of_open_vswitch_are_good_enough() {
    let mut server = Server::start(&schema());
    server.insert("A", &json!({"name": "secret"}));
    let directory = server.directory.path().to_owned();
    let pki = directory.join("pki");
    let log = directory.join("pki.log");
    let tool = |arguments: &[&str]| {
        let mut command = std::process::Command::new("ovs-pki");
        command
            .current_dir(&directory)
            .arg("-d")
            .arg(&pki)
            .arg("-l")
            .arg(&log)
            .arg("-u");
        assert!(command.args(arguments).output().unwrap().status.success());
    };
    tool(&["init"]);
    tool(&["req+sign", "server", "controller"]);
    tool(&["req+sign", "client", "switch"]);
    let file = |name: &str| directory.join(name);
    let port = server.listen_tls(
        &file("server-privkey.pem"),
        &file("server-cert.pem"),
        &pki.join("switchca/cacert.pem"),
    );
    let mut spec = server.spec(&schema());
    spec.remotes = vec![format!("ssl:127.0.0.1:{port}").parse().unwrap()];
    let tls = Tls {
        private_key: file("client-privkey.pem"),
        certificate: file("client-cert.pem"),
        ca: pki.join("controllerca/cacert.pem"),
        server_name: None,
    };
    let connect = |tls: Option<Tls>| {
        let mut spec = spec.clone();
        spec.tls = tls;
        Client::connect(spec, Some(PATIENCE), false)
    };
    let client = connect(Some(tls.clone())).await.unwrap();
    assert_eq!(names(&client), ["secret"]);
    let reason = async |tls| match connect(tls).await.unwrap_err() {
        ClientError::Connect { reason, .. } => reason,
        other => panic!("{other}"),
    };
    assert!(
        reason(None)
            .await
            .contains("a private key, a certificate and a CA certificate are needed")
    );
    let untrusted = Tls {
        ca: pki.join("switchca/cacert.pem"),
        ..tls.clone()
    };
    assert!(
        reason(Some(untrusted))
            .await
            .contains("invalid peer certificate: UnknownIssuer")
    );
    let missing = Tls {
        ca: file("nowhere.pem"),
        ..tls
    };
    assert!(
        reason(Some(missing))
            .await
            .contains("nowhere.pem: cannot be read: No such file or directory")
    );
}

/// The next remote is tried when one does not answer, and a forced reconnection goes through.
#[tokio::test]
async fn several_remotes_are_tried_in_turn() {
    let server = Server::start(&schema());
    let mut spec = server.spec(&schema());
    let nowhere = server.path("nowhere.sock");
    spec.remotes
        .insert(0, format!("unix:{}", nowhere.display()).parse().unwrap());
    let mut client = Client::connect(spec.clone(), Some(PATIENCE), false)
        .await
        .unwrap();
    let status = client.handle().status();
    assert_eq!(
        (status.state, status.remote),
        (State::Live, Some(server.remote()))
    );
    client.handle().force_reconnect();
    while !matches!(client.next().await.unwrap(), Event::Disconnected { .. }) {}
    client.synced().await.unwrap();
    client.handle().set_remotes(vec![server.remote()]);
    client.transact(vec![insert("a")]).await.unwrap();
    spec.remotes.truncate(1);
    let error = Client::connect(spec, Some(PATIENCE), false)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "unix:{}: database connection failed (connection attempt failed (No such file or directory))",
            nowhere.display()
        )
    );
}

/// A client that wants the leader stays with a cluster of one, and transaction ids make resuming cheap.
#[tokio::test]
async fn a_clustered_database_resumes_from_the_last_transaction() {
    let mut server = Server::start(&schema());
    server.kill();
    std::fs::remove_file(server.path("db")).unwrap();
    run(
        "ovsdb-tool",
        &[
            "create-cluster",
            text(&server.path("db")),
            text(&server.path("db.ovsschema")),
            &format!("unix:{}", server.path("raft.sock").display()),
        ],
    );
    server.run();
    let mut spec = server.spec(&schema());
    spec.leader_only = true;
    let mut client = Client::connect(spec, Some(PATIENCE), true).await.unwrap();
    client
        .transact(vec![insert("a"), insert("b")])
        .await
        .unwrap();
    client.handle().force_reconnect();
    while !matches!(client.next().await.unwrap(), Event::Disconnected { .. }) {}
    server.insert("A", &json!({"name": "c"}));
    let mut changes = 0;
    loop {
        match client.next().await.unwrap() {
            Event::Changes(more) => changes += more.len(),
            Event::Synced => break,
            _ => {}
        }
    }
    // The row may have come before or after the contents, depending on who was faster.
    while names(&client).len() < 3 {
        changes += client.changed().await.unwrap().len();
    }
    assert_eq!(changes, 1);
}

/// When the leader of a cluster dies, a client that wants the leader finds the next one, and what it saw stays.
#[tokio::test]
async fn the_next_leader_is_found() {
    let mut members = super::common::cluster(&schema());
    let mut spec = members[0].spec(&schema());
    spec.remotes = members.iter().map(Server::remote).collect();
    spec.leader_only = true;
    let mut client = Client::connect(spec, Some(PATIENCE), true).await.unwrap();
    client.transact(vec![insert("a")]).await.unwrap();
    let leader = client.handle().status().remote.unwrap();
    members
        .iter_mut()
        .find(|member| member.remote() == leader)
        .unwrap()
        .kill();
    while !matches!(client.next().await.unwrap(), Event::Disconnected { .. }) {}
    let mut later = 0;
    while client.transact(vec![insert("b")]).await.is_err() {
        client.synced().await.unwrap();
        later += 1;
        assert!(later < 10);
    }
    assert_ne!(client.handle().status().remote.unwrap(), leader);
    assert_eq!(names(&client), ["a", "b"]);
}

/// The server waits while its client does not read, and nothing is lost.
#[tokio::test]
async fn a_slow_owner_holds_the_server_back() {
    let server = Server::start(&schema());
    let mut spec = server.spec(&schema());
    spec.tables = vec![TableSpec::all(A)];
    let (sender, mut events) = tokio::sync::mpsc::channel(1);
    let _handle = replica::spawn(spec, sender, |event| event);
    let mut tables = replica::Tables::new(&parsed(&schema()));
    while events.recv().await.unwrap() != Event::Synced {}
    // More than the sockets' buffers hold, while nobody listens.
    let filler = "x".repeat(10_000);
    for round in 0..50 {
        let row = |n: usize| json!({"op": "insert", "table": "A", "row": {"name": format!("{round}-{n}-{filler}")}});
        let rows: Vec<Value> = (0..10).map(row).collect();
        server.transact(&rows);
    }
    while tables.len() < 500 {
        if let Event::Changes(changes) = events.recv().await.unwrap() {
            changes.iter().for_each(|change| tables.apply(change));
        }
    }
}
