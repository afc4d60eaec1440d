//! The matrix: every role, table, column, operation and door, made from the schemas, against the oracle; of a cluster, so that
//! both who leads and who forwards are asked, with and without names of transactions.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ovsdb::operation::Until;
use ovsdb::schema::{BaseType, ColumnType, Constraint, DatabaseSchema};
use ovsdb::{Atom, AtomicType, Clause, ColumnRef, Datum, Mutation, Mutator, Operation, Uuid};
use store::access::rule::ListenerConfig;
use store::server::{Server, ServerArgs};
use tests::wait::wait_for;

use super::doors::{Ask, Grpc, Ovsdb};
use super::oracle::{ROLES, beyond_tables, expected};
use super::rig::PATIENCE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn northbound_roles_may_do_what_they_should_and_nothing_else() {
    no_wrong_answer(nb_db::schema()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn southbound_roles_may_do_what_they_should_and_nothing_else() {
    no_wrong_answer(sb_db::schema()).await;
}

/// So many members; one of them follows.
const MEMBERS: u64 = 2;

async fn no_wrong_answer(schema: &Arc<DatabaseSchema>) {
    let directory = tempfile::tempdir().unwrap();
    let dir = |member: u64| directory.path().join(member.to_string());
    let servers = start(schema, &dir).await;
    let mut wrong = Vec::new();
    let (mut asked, mut denied) = (0, 0);
    for role in ROLES {
        let cells = cells(schema, role);
        for member in 1..=MEMBERS {
            let mut ovsdb = Ovsdb::connect(&socket(&dir(member), role, "ovsdb"), schema);
            let grpc = Grpc::connect(&socket(&dir(member), role, "grpc"), schema).await;
            for (number, (name, ask, allowed)) in cells.iter().enumerate() {
                // At each member half of them has a name, at the other one the other half.
                let is_named = (number as u64 + member).is_multiple_of(2);
                let answers = [
                    ("ovsdb", tokio::task::block_in_place(|| ovsdb.denies(ask))),
                    ("grpc", grpc.denies(ask, is_named).await),
                ];
                for (door, denies) in answers {
                    let Some(denies) = denies else {
                        continue;
                    };
                    asked += 1;
                    denied += usize::from(denies);
                    if denies == *allowed {
                        wrong.push(format!(
                            "{role}, member {member}, {door}: {name}: denied {denies}, allowed {allowed}"
                        ));
                    }
                }
            }
        }
    }
    println!(
        "{}: {asked} questions, {denied} denied, {} wrong answers",
        schema.name,
        wrong.len()
    );
    assert!(
        wrong.is_empty(),
        "{} of {asked}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(
        denied > 2000 && asked - denied > 2000,
        "{denied} of {asked} denied"
    );
    let stop = move || servers.into_iter().for_each(Server::stop);
    tokio::task::spawn_blocking(stop).await.unwrap();
}

/// Starts a cluster, and waits until one of it leads and the other one knows.
async fn start(schema: &Arc<DatabaseSchema>, dir: &impl Fn(u64) -> PathBuf) -> Vec<Server> {
    let free: Vec<_> = (1..=MEMBERS)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let addresses = free.iter().map(|port| port.local_addr().unwrap());
    let ports: Vec<(u64, SocketAddr)> = (1..).zip(addresses).collect();
    drop(free);
    let peers: Vec<String> = ports
        .iter()
        .map(|(member, address)| format!("{member}={address}"))
        .collect();
    let mut servers = Vec::new();
    for (member, address) in &ports {
        let dir = dir(*member);
        std::fs::create_dir(&dir).unwrap();
        let listen = |role: &&str| {
            [("punix", "ovsdb"), ("pgrpc+unix", "grpc")].map(|(scheme, door)| {
                let path = socket(&dir, role, door);
                format!("role={role} {scheme}:{}", path.display())
                    .parse::<ListenerConfig>()
                    .unwrap()
            })
        };
        let args = ServerArgs {
            data_dir: Some(dir.join("data")),
            listen: ROLES.iter().flat_map(listen).collect(),
            id: Some(*member),
            peer_listen: Some(address.to_string()),
            peers: Some(peers.join(",")),
            plaintext: true,
            ..ServerArgs::default()
        };
        let nowhere = "punix:/nowhere".parse().unwrap();
        let server = Server::start(&args, schema, Path::new("/nowhere"), nowhere).await;
        servers.push(server.unwrap());
    }
    let members = 1..=MEMBERS;
    for socket in members.map(|member| socket(&dir(member), ROLES[0], "grpc")) {
        tokio::task::block_in_place(|| {
            wait_for("a listener", PATIENCE, || {
                Ok(UnixStream::connect(&socket).ok())
            })
            .unwrap();
        });
        let grpc = Grpc::connect(&socket, schema).await;
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            wait_for("a leader", PATIENCE, || {
                Ok(runtime.block_on(grpc.knows_a_leader()).then_some(()))
            })
            .unwrap();
        });
    }
    servers
}

fn socket(dir: &Path, role: &str, door: &str) -> PathBuf {
    dir.join(format!("{role}.{door}"))
}

/// Everything that can be asked, and whether the oracle allows it.
fn cells(schema: &DatabaseSchema, role: &str) -> Vec<(String, Ask, bool)> {
    let (locks, status) = beyond_tables(role);
    let assert = Operation::Assert {
        lock: "lock".into(),
    };
    let mut cells = vec![
        ("lock".to_owned(), Ask::Lock, locks),
        ("assert".to_owned(), Ask::Operation(assert), locks),
        ("status".to_owned(), Ask::Status, status),
        ("server id".to_owned(), Ask::ServerId, true),
        ("_Server".to_owned(), Ask::Server("select"), true),
        ("_Server wait".to_owned(), Ask::Server("wait"), true),
    ];
    for (index, table) in schema.tables.iter().enumerate() {
        let expected = expected(&schema.name, role, &table.name);
        // A condition that no row meets: the table decides, not its rows.
        let nobody = || vec![Clause::Always(false)];
        let mut add = |what: &str, column: &str, operation, allowed| {
            let name = format!("{what} {} {column}", table.name);
            cells.push((name, Ask::Operation(operation), allowed));
        };
        add(
            "delete",
            "",
            Operation::Delete {
                table: index,
                condition: nobody(),
            },
            expected.delete,
        );
        let row = Vec::new();
        let insert = Operation::Insert {
            table: index,
            uuid: Uuid::new_v4(),
            row,
        };
        add("insert", "", insert, expected.insert);
        let update = Operation::Update {
            table: index,
            condition: nobody(),
            row: Vec::new(),
        };
        add("update", "nothing", update, !expected.update.is_empty());
        for (place, column) in table.columns.iter().enumerate() {
            let columns = vec![ColumnRef::Column(place)];
            let select = Operation::Select {
                table: index,
                condition: nobody(),
                columns: columns.clone().into(),
            };
            add("select", &column.name, select, expected.read);
            let wait = Operation::Wait {
                table: index,
                condition: nobody(),
                columns,
                until: Until::Equal,
                rows: Vec::new(),
                timeout_ms: Some(0),
            };
            add("wait", &column.name, wait, expected.read);
            let value = sample(&column.ty);
            let row = vec![(place, value.clone())];
            let insert = Operation::Insert {
                table: index,
                uuid: Uuid::new_v4(),
                row: row.clone(),
            };
            let give = expected.update.has(&column.name) || expected.give.contains(&&*column.name);
            add("insert", &column.name, insert, expected.insert && give);
            let changes = expected.update.has(&column.name);
            let update = Operation::Update {
                table: index,
                condition: nobody(),
                row,
            };
            add("update", &column.name, update, changes);
            if let Some(mutation) = mutation(place, &column.ty, value) {
                let mutations = vec![mutation];
                let mutate = Operation::Mutate {
                    table: index,
                    condition: nobody(),
                    mutations,
                };
                add("mutate", &column.name, mutate, changes);
            }
        }
        cells.push((
            format!("monitor {}", table.name),
            Ask::Monitor(index),
            expected.monitor,
        ));
    }
    cells
}

/// A value of the column that is not its default.
fn sample(ty: &ColumnType) -> Datum {
    match &ty.value {
        Some(value) => Datum::map([(atom(&ty.key), atom(value))]),
        None => Datum::set([atom(&ty.key)]),
    }
}

fn atom(base: &BaseType) -> Atom {
    if let Some(values) = &base.enumeration {
        return values.last().cloned().unwrap();
    }
    match (base.atomic, &base.constraint) {
        (AtomicType::Integer, Constraint::Integer { max, .. }) => Atom::Integer((*max).min(60_000)),
        (AtomicType::Integer, _) => Atom::Integer(7),
        (AtomicType::Boolean, _) => Atom::Boolean(true),
        (AtomicType::Uuid, _) => Atom::Uuid(Uuid::from_u128(7)),
        (AtomicType::String, _) => Atom::from("a:b"),
        (AtomicType::Real, _) => panic!("OVN has no real columns"),
    }
}

/// A change of the column, if its type has any.
fn mutation(column: usize, ty: &ColumnType, value: Datum) -> Option<Mutation> {
    if ty.value.is_some() || ty.max > 1 {
        return Some(Mutation::new(column, Mutator::Insert, value));
    }
    let is_number = ty.key.atomic == AtomicType::Integer && ty.key.enumeration.is_none();
    is_number.then(|| Mutation::new(column, Mutator::Add, Atom::Integer(1)))
}
