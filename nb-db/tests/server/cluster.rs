//! Three processes, of which one after the other is killed under load.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ovsdb::Transaction;
use replica::{ClientError, TransactError};
use rpc::v1;
use rpc::v1::database_client::DatabaseClient;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rig::{Client, DATABASE, Server, insert_switch, switches};

const CLIENTS: usize = 6;
/// Within this time, anything that is waited for happens.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where members listen for each other, and for gRPC clients; each has an IP address of its own.
const PEER_PORT: u16 = 6643;
const DOOR: u16 = 6641;

/// Servers of one cluster, or who would like to be.
pub struct Cluster {
    pub members: BTreeMap<u64, Server>,
    /// Flags that each is started with again.
    flags: BTreeMap<u64, Vec<String>>,
    /// Flags of all.
    common: Vec<String>,
    network: String,
}

impl Cluster {
    /// None yet; all will be started with these flags.
    pub fn new(common: &[String]) -> Self {
        static NETWORKS: AtomicU32 = AtomicU32::new(0);
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed) + 16 * std::process::id();
        let number = number % 62_500;
        Self {
            members: BTreeMap::new(),
            flags: BTreeMap::new(),
            common: common.to_vec(),
            network: format!("127.{}.{}", 1 + number / 250, number % 250),
        }
    }

    /// A new cluster, in the clear, of members numbered from 1.
    pub fn start(size: u64) -> Self {
        let mut cluster = Self::new(&["--plaintext".to_owned()]);
        cluster.found(size);
        cluster
    }

    /// Starts the members of a new cluster.
    pub fn found(&mut self, size: u64) {
        let peers = (1..=size).map(|member| format!("{member}={}", self.address(member)));
        let peers = format!("--peers={}", peers.collect::<Vec<_>>().join(","));
        for member in 1..=size {
            self.add(member, tempfile::tempdir().unwrap(), &[&peers]);
        }
    }

    /// Where other members reach a member.
    pub fn address(&self, member: u64) -> String {
        format!("{}.{member}:{PEER_PORT}", self.network)
    }

    /// Where clients reach a member by gRPC, in the clear.
    pub fn grpc_address(&self, member: u64) -> String {
        format!("http://{}.{member}:{DOOR}", self.network)
    }

    /// The flags of a member.
    pub fn flags(&self, member: u64, more: &[&str]) -> Vec<String> {
        let mut flags = vec![
            format!("--id={member}"),
            format!("--peer-listen={}", self.address(member)),
        ];
        flags.extend(self.common.iter().cloned());
        if self.common.iter().any(|flag| flag == "--plaintext") {
            flags.push(format!("--listen=pgrpc:{DOOR}:{}.{member}", self.network));
        }
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        flags
    }

    /// Starts a member in a directory.
    pub fn add(&mut self, member: u64, directory: TempDir, more: &[&str]) {
        let flags = self.flags(member, more);
        let server = Server::start_with(directory, &texts(&flags));
        self.members.insert(member, server);
        self.flags.insert(member, flags);
    }

    pub fn status(&self, member: u64) -> String {
        self.members[&member].control(&["cluster/status", DATABASE])
    }

    /// Waits until somebody leads; who does.
    pub fn leader(&self) -> u64 {
        wait("a leader", || {
            let mut members = self.members.keys();
            let leads = |member: &&u64| self.status(**member).contains("Role: leader");
            members.find(leads).copied()
        })
    }

    /// Waits until a member knows that so many members vote.
    pub fn wait_for_voters(&self, member: u64, voters: usize) {
        let found = attempts(|| {
            let status = self.status(member);
            let (_, servers) = status.split_once("Servers:\n")?;
            (servers.lines().count() == voters).then_some(())
        });
        assert!(found.is_some(), "not {voters} voters:\n{}", self.report());
    }

    /// What every member knows of the cluster, and has logged.
    fn report(&self) -> String {
        let report = |(member, server): (&u64, &Server)| {
            let status = self.status(*member);
            format!("member {member}:\n{status}\n{}\n", server.log())
        };
        self.members.iter().map(report).collect()
    }

    pub fn crash_and_restart(&mut self, member: u64) {
        let flags = self.flags[&member].clone();
        let server = self.members.get_mut(&member).unwrap();
        server.crash_and_restart_with(&texts(&flags));
    }

    /// Ends a process in good order, and starts it again.
    fn roll(&mut self, member: u64) {
        assert_eq!(self.members[&member].control(&["exit"]), "");
        self.crash_and_restart(member);
    }

    /// What a member has, itself: how often each switch.
    pub fn switches(&self, member: u64) -> BTreeMap<String, usize> {
        let mut client = self.connect(member);
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

    /// Waits until a member has a switch.
    pub fn wait_for_switch(&self, member: u64, name: &str) {
        wait("a switch", || {
            self.switches(member).contains_key(name).then_some(())
        });
    }

    /// A connection to a member, when it has opened its door.
    pub fn connect(&self, member: u64) -> Client {
        wait("the door", || self.members[&member].try_connect())
    }

    /// Runs OVN's tool at one member, whoever leads.
    pub fn run(&self, member: u64, args: &[&str]) -> String {
        drop(self.connect(member));
        let args = [&["--no-leader-only"], args].concat();
        self.members[&member].run("ovn-nbctl", &args)
    }

    fn remotes(&self) -> String {
        let remotes: Vec<String> = self.members.values().map(Server::remote).collect();
        remotes.join(",")
    }

    /// Adds switches from several clients, at all members, while something happens; at the end,
    /// every switch that was answered for is there once, on every member.
    fn under_load(&mut self, happening: impl FnOnce(&mut Self, &dyn Fn(usize))) {
        let doors = self.members.keys();
        let doors: Vec<String> = doors
            .map(|member| format!("http://{}.{member}:{DOOR}", self.network))
            .collect();
        let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
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
            happening(self, &|wanted| {
                let target = count.load(Ordering::Relaxed) + wanted;
                wait("answers", || {
                    (count.load(Ordering::Relaxed) >= target).then_some(())
                });
            });
            stop.store(true, Ordering::Relaxed);
            let lists = clients.into_iter().map(|client| client.join().unwrap());
            lists.flatten().collect()
        });
        let first = self.leader();
        let found = self.switches(first);
        for name in &answered {
            assert_eq!(found.get(name), Some(&1), "{name} on member {first}");
        }
        assert!(found.values().all(|times| *times == 1));
        assert!(found.len() <= answered.len() + CLIENTS);
        for member in self.members.keys() {
            wait("the members to be equal", || {
                (self.switches(*member) == found).then_some(())
            });
        }
    }
}

fn texts(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

pub fn wait<T>(what: &str, attempt: impl FnMut() -> Option<T>) -> T {
    attempts(attempt).unwrap_or_else(|| panic!("waited in vain for {what}"))
}

/// Attempts as long as there is patience; `None` when it ends.
fn attempts<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = attempt();
        if found.is_some() || Instant::now() > end {
            return found;
        }
        std::thread::yield_now();
    }
}

fn insertion(name: &str, uuid: ovsdb::Uuid) -> rpc::shared::TransactRequest {
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
    rpc::shared::TransactRequest {
        database: DATABASE.to_owned(),
        operations: vec![rpc::shared::encode_operation(&operation)],
        name: uuid.as_bytes().to_vec(),
        ..rpc::shared::TransactRequest::default()
    }
}

/// Adds switches until it is told to stop, each under a name of its transaction, asking one member
/// after the other until it is answered.
async fn work(
    client: usize,
    doors: &[String],
    stop: &AtomicBool,
    count: &AtomicUsize,
) -> Vec<String> {
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
                let address = doors[door % doors.len()].clone();
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
    cluster.under_load(|cluster, more| {
        for _ in 0..3 {
            more(100);
            let leader = cluster.leader();
            cluster.crash_and_restart(leader);
        }
        more(100);
    });
}

#[test]
fn a_rolling_restart_loses_nothing() {
    let mut cluster = Cluster::start(3);
    cluster.leader();
    cluster.under_load(|cluster, more| {
        for member in 1..=3 {
            more(100);
            cluster.roll(member);
        }
        more(100);
    });
}

#[test]
fn any_member_serves_and_tools_find_the_next_leader() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    for member in cluster.members.keys() {
        let name = format!("by-{member}");
        cluster.run(*member, &["ls-add", &name]);
        let list = cluster.run(*member, &["ls-list"]);
        assert!(list.contains(&name), "{list}");
    }
    let row = json!({"op": "select", "table": "Database", "columns": ["leader", "connected"],
        "where": [["name", "==", DATABASE]]});
    for member in cluster.members.keys() {
        let select = json!(["_Server", row]);
        let answer = cluster.connect(*member).call("transact", &select).unwrap();
        let told: &Value = &answer["result"][0]["rows"][0];
        assert_eq!(
            *told,
            json!({"leader": *member == leader, "connected": true})
        );
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
    let server = cluster.members.remove(&leader).unwrap();
    server.wait_for_log("passing the leadership");
    cluster.leader();
}

/// What is asked first about `_Server` waits for a leader, in its order, and not for ever; all else is answered meanwhile.
#[test]
fn who_looks_for_the_leader_waits_until_it_is_certain_who_leads() {
    let mut cluster = Cluster::start(3);
    cluster.leader();
    let _lost = [2, 3].map(|member| cluster.members.remove(&member).unwrap().crash());
    wait("the survivor to miss the others", || {
        let status = cluster.status(1);
        status.contains("Leader: unknown").then_some(())
    });
    let mut client = cluster.connect(1);
    let rows = json!({"Database": [{"columns": ["name", "leader", "connected"]}]});
    let nothing = json!({"Database": [{"where": [false]}]});
    let calls = [
        ("monitor_cond", json!(["_Server", "m", rows])),
        ("monitor_cond_change", json!(["m", "n", nothing])),
        ("echo", json!(["still there?"])),
    ];
    for (method, params) in calls {
        let request = json!({"id": method, "method": method, "params": params});
        let bytes = request.to_string().into_bytes();
        client.stream.write_all(&bytes).unwrap();
    }
    let mut answer = || client.receive().unwrap();
    let echo = answer();
    assert_eq!(echo["id"], json!("echo"), "{echo}");
    let content = answer();
    assert_eq!(content["id"], json!("monitor_cond"), "{content}");
    let rows = content["result"]["Database"].as_object().unwrap();
    let row = rows.values().map(|row| &row["initial"]);
    let row = { row }.find(|row| row["name"] == json!(DATABASE)).unwrap();
    // What is not there is false.
    assert_eq!(row["leader"], Value::Null, "{row}");
    assert_eq!(row["connected"], Value::Null, "{row}");
    let changed = (0..10).map(|_| answer());
    let changed = { changed }.find(|answer| answer["id"] == json!("monitor_cond_change"));
    assert_eq!(changed.unwrap()["error"], Value::Null);
}

/// Everything about switches, from all members, over gRPC.
fn replica_of(cluster: &Cluster) -> replica::Spec {
    let remotes = cluster.members.keys().map(|member| {
        let remote = format!("grpc:{}.{member}:{DOOR}", cluster.network);
        remote.parse().unwrap()
    });
    let schema = nb_db::schema().clone();
    let table = schema.table_index("Logical_Switch").unwrap();
    replica::Spec {
        tables: vec![replica::TableSpec::all(table)],
        resend: true,
        ..replica::Spec::new(schema, remotes.collect())
    }
}

/// Waits for the answer to a transaction.
async fn answer(client: &mut replica::Client, asked: u64) -> Result<(), TransactError> {
    loop {
        let event = client.next().await.unwrap();
        if let replica::Event::TransactReply { id, result } = event {
            assert_eq!(id, asked);
            return result.map(drop);
        }
    }
}

#[test]
fn a_replica_goes_on_when_the_leader_is_killed() {
    let mut cluster = Cluster::start(3);
    let mut leader = cluster.leader();
    let schema = nb_db::schema();
    let table = schema.table_index("Logical_Switch").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut spec = replica_of(&cluster);
    // It begins at the leader.
    spec.remotes
        .rotate_left(usize::try_from(leader - 1).unwrap());
    let mut client = runtime
        .block_on(replica::Client::connect(spec, Some(PATIENCE), true))
        .unwrap();
    for number in 0..150 {
        let insert = json!([insert_switch(&number.to_string())]);
        let operations = insert.as_array().unwrap();
        let transaction = Transaction::from_json(schema, operations, &mut ovsdb::Uuid::new_v4);
        let mut result = Err(TransactError::NotConnected);
        if number % 50 == 25 {
            // While the transaction is on its way.
            let operations = transaction.operations.clone();
            client.handle().transact(1000 + number, operations).unwrap();
            cluster.crash_and_restart(leader);
            result = runtime.block_on(answer(&mut client, 1000 + number));
            leader = cluster.leader();
        }
        // The connection may be lost before anything is sent: then nothing is, and the answer says so.
        let given_up = Instant::now() + PATIENCE;
        while result == Err(TransactError::NotConnected) {
            assert!(Instant::now() < given_up, "no connection");
            runtime.block_on(client.synced()).unwrap();
            result = match runtime.block_on(client.transact(transaction.operations.clone())) {
                Ok(_) => Ok(()),
                Err(ClientError::Transact(error)) => Err(error),
                Err(error) => panic!("{error}"),
            };
        }
        result.unwrap();
    }
    runtime.block_on(client.synced()).unwrap();
    let rows = client.tables().table(table);
    assert_eq!(rows.iter().count(), 150);
    for member in 1..=3 {
        wait("all switches, each once", || {
            let found = cluster.switches(member);
            (found.len() == 150 && found.values().all(|times| *times == 1)).then_some(())
        });
    }
}

/// Selects all switches from a member, over gRPC; how many there are.
fn select(cluster: &Cluster, member: u64, consistency: v1::Consistency) -> Option<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let address = format!("http://{}.{member}:{DOOR}", cluster.network);
    let select = v1::Select {
        table: "Logical_Switch".to_owned(),
        ..v1::Select::default()
    };
    let request = rpc::shared::TransactRequest {
        database: DATABASE.to_owned(),
        operations: vec![rpc::shared::encode_operation(&v1::Operation {
            kind: Some(v1::operation::Kind::Select(select)),
        })],
        consistency: consistency.into(),
        ..rpc::shared::TransactRequest::default()
    };
    let answer = runtime.block_on(async {
        let mut database = DatabaseClient::connect(address).await.ok()?;
        let call = database.transact(request);
        let answer = tokio::time::timeout(Duration::from_secs(3), call).await;
        Some(answer.ok()?.ok()?.into_inner())
    });
    match answer?.results.into_iter().next()?.kind? {
        v1::operation_result::Kind::Rows(rows) => Some(rows.rows.len()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_member_reads_the_newest_and_without_a_majority_what_it_has() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    for number in 0..20 {
        // What one member has answered, every other one shows at once.
        let writer = 1 + number % 3;
        cluster
            .connect(writer)
            .transact(&[insert_switch(&number.to_string())])
            .unwrap();
        for reader in 1..=3 {
            let found = select(&cluster, reader, v1::Consistency::Linearizable);
            assert_eq!(found, Some(number as usize + 1), "member {reader}");
            let found = switches(&mut cluster.connect(reader));
            assert_eq!(found.len(), number as usize + 1, "member {reader}");
        }
    }
    let alone = 1 + leader % 3;
    cluster.members.retain(|member, _| *member == alone);
    assert_eq!(select(&cluster, alone, v1::Consistency::Local), Some(20));
    assert_eq!(select(&cluster, alone, v1::Consistency::Linearizable), None);
}
