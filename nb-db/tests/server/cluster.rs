//! Three processes, of which one after the other is killed under load.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rpc::v1;
use rpc::v1::database_client::DatabaseClient;
use serde_json::{Value, json};

use crate::rig::{DATABASE, Server};

const CLIENTS: usize = 6;
/// Within this time, anything that is waited for happens.
const PATIENCE: Duration = Duration::from_secs(40);

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

struct Cluster {
    members: BTreeMap<usize, Server>,
    flags: BTreeMap<usize, Vec<String>>,
    doors: Vec<u16>,
}

impl Cluster {
    fn start(size: usize) -> Self {
        let ports: Vec<u16> = (0..size).map(|_| free_port()).collect();
        let doors: Vec<u16> = (0..size).map(|_| free_port()).collect();
        let peers = ports.iter().enumerate();
        let peers: Vec<String> = peers
            .map(|(at, port)| format!("{}=127.0.0.1:{port}", at + 1))
            .collect();
        let peers = peers.join(",");
        let mut cluster = Self {
            members: BTreeMap::new(),
            flags: BTreeMap::new(),
            doors,
        };
        for (at, port) in ports.iter().enumerate() {
            let flags = vec![
                format!("--id={}", at + 1),
                format!("--peer-listen=127.0.0.1:{port}"),
                format!("--peers={peers}"),
                format!("--listen=pgrpc:{}:127.0.0.1", cluster.doors[at]),
                "--plaintext".to_owned(),
            ];
            let text: Vec<&str> = flags.iter().map(String::as_str).collect();
            let server = Server::start_with(tempfile::tempdir().unwrap(), &text);
            cluster.members.insert(at, server);
            cluster.flags.insert(at, flags);
        }
        cluster
    }

    /// Waits until somebody leads; who does.
    fn leader(&self) -> usize {
        wait("a leader", || {
            let leads = |server: &&Server| {
                let status = server.control(&["cluster/status", DATABASE]);
                status.contains("Role: leader")
            };
            let mut members = self.members.iter();
            members.find(|(_, server)| leads(server)).map(|(at, _)| *at)
        })
    }

    fn crash_and_restart(&mut self, at: usize) {
        let flags = self.flags[&at].clone();
        let text: Vec<&str> = flags.iter().map(String::as_str).collect();
        let server = self.members.get_mut(&at).unwrap();
        server.crash_and_restart_with(&text);
    }

    /// What a member has, itself: how often each switch.
    fn switches(&self, at: usize) -> BTreeMap<String, usize> {
        let mut client = self.members[&at].connect();
        let columns = json!({"Logical_Switch": [{"columns": ["name"]}]});
        let answer = client.call("monitor", &json!([DATABASE, null, columns]));
        let mut counts = BTreeMap::new();
        let answer = answer.unwrap();
        let rows = answer["result"]["Logical_Switch"].as_object();
        for row in rows.into_iter().flat_map(|rows| rows.values()) {
            let name = row["new"]["name"].as_str().unwrap().to_owned();
            *counts.entry(name).or_default() += 1;
        }
        counts
    }

    fn remotes(&self) -> String {
        let remotes: Vec<String> = self.members.values().map(Server::remote).collect();
        remotes.join(",")
    }
}

fn wait<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

fn insertion(name: &str, uuid: ovsdb::Uuid) -> v1::TransactRequest {
    let text = v1::Atom {
        value: Some(v1::atom::Value::String(name.to_owned())),
    };
    let datum = v1::Datum {
        kind: Some(v1::datum::Kind::Scalar(text)),
    };
    let insert = v1::Insert {
        table: "Logical_Switch".to_owned(),
        row: Some(v1::Row {
            columns: [("name".to_owned(), datum)].into(),
        }),
        ..v1::Insert::default()
    };
    let operation = v1::Operation {
        kind: Some(v1::operation::Kind::Insert(insert)),
    };
    v1::TransactRequest {
        database: DATABASE.to_owned(),
        operations: vec![operation],
        name: uuid.as_bytes().to_vec(),
        ..v1::TransactRequest::default()
    }
}

/// Adds switches until it is told to stop, each under a name of its transaction, asking one member
/// after the other until it is answered.
async fn work(client: usize, doors: &[u16], stop: &AtomicBool, count: &AtomicUsize) -> Vec<String> {
    let mut answered = Vec::new();
    let mut door = client;
    let mut connection = None;
    for number in 0.. {
        let name = format!("{client}-{number}");
        let transaction = ovsdb::Uuid::from_u64_pair(client as u64 + 1, number);
        loop {
            if stop.load(Ordering::Relaxed) {
                return answered;
            }
            if connection.is_none() {
                door += 1;
                let address = format!("http://127.0.0.1:{}", doors[door % doors.len()]);
                connection = DatabaseClient::connect(address).await.ok();
            }
            let Some(database) = &mut connection else {
                tokio::task::yield_now().await;
                continue;
            };
            let call = database.transact(insertion(&name, transaction));
            match tokio::time::timeout(Duration::from_secs(3), call).await {
                Ok(Ok(response)) => {
                    let results = response.into_inner().results;
                    let kind = results.into_iter().next().and_then(|result| result.kind);
                    assert!(
                        matches!(kind, Some(v1::operation_result::Kind::Inserted(_))),
                        "{kind:?}"
                    );
                    answered.push(name);
                    count.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                _ => connection = None,
            }
        }
    }
    answered
}

#[test]
fn what_was_answered_is_there_once_whoever_is_killed() {
    let mut cluster = Cluster::start(3);
    cluster.leader();
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let doors = cluster.doors.clone();
    let answered: Vec<String> = std::thread::scope(|scope| {
        let (stop, count, doors) = (&stop, &count, &doors);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = { runtime }.enable_all().build().unwrap();
                    runtime.block_on(work(client, doors, stop, count))
                })
            })
            .collect();
        let more = |wanted: usize| {
            let target = count.load(Ordering::Relaxed) + wanted;
            wait("answers", || {
                (count.load(Ordering::Relaxed) >= target).then_some(())
            });
        };
        for _ in 0..3 {
            more(150);
            let leader = cluster.leader();
            cluster.crash_and_restart(leader);
        }
        more(150);
        stop.store(true, Ordering::Relaxed);
        let lists = clients.into_iter().map(|client| client.join().unwrap());
        lists.flatten().collect()
    });
    for at in 0..3 {
        wait("the members to be equal", || {
            (cluster.switches(at) == cluster.switches((at + 1) % 3)).then_some(())
        });
        let found = cluster.switches(at);
        for name in &answered {
            assert_eq!(found.get(name), Some(&1), "{name} on member {}", at + 1);
        }
        assert!(found.values().all(|times| *times == 1));
        assert!(found.len() <= answered.len() + CLIENTS);
    }
}

#[test]
fn any_member_serves_and_tools_find_the_next_leader() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    for (at, server) in &cluster.members {
        let name = format!("by-{at}");
        server.run("ovn-nbctl", &["--no-leader-only", "ls-add", &name]);
        let list = server.run("ovn-nbctl", &["--no-leader-only", "ls-list"]);
        assert!(list.contains(&name), "{list}");
    }
    let row = json!({"op": "select", "table": "Database", "columns": ["leader", "connected"],
        "where": [["name", "==", DATABASE]]});
    for (at, server) in &cluster.members {
        let select = json!(["_Server", row]);
        let answer = server.connect().call("transact", &select).unwrap();
        let told: &Value = &answer["result"][0]["rows"][0];
        assert_eq!(*told, json!({"leader": *at == leader, "connected": true}));
    }
    cluster.crash_and_restart(leader);
    wait("a tool to find the new leader", || {
        let output = Command::new("ovn-nbctl")
            .arg(format!("--db={}", cluster.remotes()))
            .args(["--timeout=20", "--may-exist", "ls-add", "after"])
            .output()
            .unwrap();
        output.status.success().then_some(())
    });
    // A member that ends in good order passes the leadership on first.
    let leader = cluster.leader();
    assert_eq!(cluster.members[&leader].control(&["exit"]), "");
    cluster.members.remove(&leader);
    cluster.leader();
}
