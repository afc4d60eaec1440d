//! Real processes under faults: whatever happens to three members, what was answered holds.
//!
//! ```text
//!   clients ── OVSDB and gRPC, through any member ──▶ three weft-nb ◀── injector: kill, pause, cut, fill, flip, …
//!      │                                                │
//!   history                            watchers, one a member, and one that wanders
//!      └──────────────▶ check ◀─────────────────────────┘
//! ```
//!
//! A run consists of rounds. In each, clients read, write, add and swap on a few registers while faults come; then
//! everything is mended, and it is checked that
//!
//! * every member serves a write again within [`PROGRESS`], and every client gets on;
//! * no answered write is lost, none is applied twice, and none that failed is applied;
//! * the history of each register is one that a register of which there is only one could have (`sim::linearizable`);
//! * all members have the same rows;
//! * whoever watched has these rows too, was told nothing that does not go with what it had, and was never shown half
//!   of a transaction;
//! * no member has ended without reason or panicked.
//!
//! `WEFT_FAULTS` says how many faults there are to be, `WEFT_SEED` from which seed they are drawn. The seed gives the
//! same faults again; when they hit is up to the machine.

mod check;
mod door;
mod injector;
mod watcher;
mod workload;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sim::random::Random;
use tests::cluster::Cluster;
use tests::implementation::Side;
use tests::ovsdb::Client;
use tests::process::tail;
use tests::wait::wait_until;

use self::check::Rows;
use self::injector::Injector;
use self::watcher::{Place, Watcher};
use self::workload::{Load, Worker};

/// Faults of a run that is not told how many: CI's share.
const FAULTS: usize = 24;
const FAULTS_A_ROUND: usize = 12;
const MEMBERS: usize = 3;
/// Clients of each door.
const CLIENTS: usize = 4;
/// Enough for the database and its log; it is the disk that is made full.
const DISK_BYTES: u64 = 160 << 20;
/// How long after the last fault everybody must be served again.
const PROGRESS: Duration = Duration::from_secs(30);
/// How many answers make a client one that gets on.
const ANSWERS: u64 = 5;
/// How much of each log a failure shows.
const LOG_LINES: usize = 40;

#[test]
fn cluster_faults_cost_nothing_that_was_answered() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("a number"))
    };
    let faults =
        number("WEFT_FAULTS").map_or(FAULTS, |count| usize::try_from(count).expect("a count"));
    let seed = number("WEFT_SEED").unwrap_or_else(some_seed);
    println!("WEFT_SEED={seed} WEFT_FAULTS={faults}");
    let began = Instant::now();
    let mut cluster =
        Cluster::start(Side::Northbound, MEMBERS, DISK_BYTES).expect("a cluster starts");
    let mut injector = Injector::new(Random::new(seed));
    let told = run(&mut cluster, &mut injector, faults);
    println!("{} in {} s", injector.summary(), began.elapsed().as_secs());
    if let Err(error) = told {
        show_logs(&cluster);
        injector.show();
        panic!("{error:#} (WEFT_SEED={seed} WEFT_FAULTS={faults})");
    }
}

fn some_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis() as u64 % 1_000_000)
}

fn run(cluster: &mut Cluster, injector: &mut Injector, faults: usize) -> Result<()> {
    cluster.leader(PROGRESS)?;
    let mut first = prepare(cluster)?;
    for epoch in 0.. {
        let left = faults.saturating_sub(injector.count());
        if left == 0 {
            break;
        }
        let wanted = left.min(FAULTS_A_ROUND);
        first = round(cluster, injector, epoch, wanted, &first)
            .with_context(|| format!("after {} faults, in round {epoch}", injector.count()))?;
    }
    Ok(())
}

/// Makes the registers: their values.
fn prepare(cluster: &Cluster) -> Result<Vec<i64>> {
    let mut operations = vec![workload::new_register(workload::EPOCH, 1)];
    operations.extend(
        (0..workload::REGISTERS).map(|at| workload::new_register(&workload::register(at), 1)),
    );
    Client::connect(&cluster.members[0].socket())?.transact(cluster.schema(), operations)?;
    Ok(vec![1; workload::REGISTERS])
}

/// Work, faults, and the checks: the values of the registers at the end.
fn round(
    cluster: &mut Cluster,
    injector: &mut Injector,
    epoch: i64,
    faults: usize,
    first: &[i64],
) -> Result<Vec<i64>> {
    let places: Vec<Place> = cluster.members.iter().map(Place::of).collect();
    let load = Load::new(epoch + 1, 2 * CLIENTS);
    let (records, healed, views) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2 * CLIENTS)
            .map(|number| {
                let mut worker = Worker::new(number, injector.random(), &places, &load);
                scope.spawn(move || worker.run())
            })
            .collect();
        let watchers: Vec<_> = (0..=places.len())
            .map(|number| {
                let watcher = Watcher::new(&places, number, &load);
                scope.spawn(move || watcher.run())
            })
            .collect();
        let hurt = injector.hurt(cluster, &load, faults);
        let healed = hurt.and_then(|()| heal(cluster, injector, &load));
        load.work_is_over.store(true, Ordering::Relaxed);
        let records: Result<Vec<_>> = workers
            .into_iter()
            .map(|worker| worker.join().expect("a client does not panic"))
            .collect();
        // Whoever watches goes on until it has seen everything that there is.
        let rows = healed.and_then(|own| Ok((own, equal_rows(cluster)?)));
        load.show_is_over
            .lock()
            .expect("nobody panics")
            .replace(match &rows {
                Ok((_, rows)) => Some(rows.clone()),
                Err(_) => None,
            });
        let views: Result<Vec<()>> = watchers
            .into_iter()
            .map(|watcher| watcher.join().expect("a watcher does not panic"))
            .collect();
        (records, rows, views)
    });
    let (own, rows) = healed?;
    let mut records: Vec<_> = records?.into_iter().flatten().collect();
    records.extend(own);
    check::history(&records, &rows, first)?;
    views?;
    check_logs(cluster)?;
    println!(
        "round {epoch}: {faults} faults, {} operations, {} answered, {} applied",
        records.len(),
        records
            .iter()
            .filter(|record| record.answer.is_some())
            .count(),
        rows.trace.len(),
    );
    next_epoch(cluster, epoch + 2)
}

/// Ends all faults and waits until everybody is served: what was written for that.
fn heal(
    cluster: &mut Cluster,
    injector: &mut Injector,
    load: &Load,
) -> Result<Vec<workload::Record>> {
    injector.heal(cluster)?;
    let began = Instant::now();
    let before = load.answers();
    let mut records = Vec::new();
    for at in 0..cluster.members.len() {
        let what = format!("a write through member {}", at + 1);
        wait_until(&what, PROGRESS.saturating_sub(began.elapsed()), || {
            injector.revive(cluster)?;
            let record = load.add_once(&cluster.members[at].socket());
            let answered = record.answer.is_some();
            records.push(record);
            Ok(answered)
        })?;
    }
    let everybody = || {
        load.answers()
            .iter()
            .zip(&before)
            .all(|(now, before)| now - before >= ANSWERS)
    };
    wait_until("every client to be answered", PROGRESS, || Ok(everybody()))?;
    injector.recovered(began.elapsed());
    Ok(records)
}

/// Waits until all members have the same rows.
fn equal_rows(cluster: &Cluster) -> Result<Rows> {
    let mut rows = None;
    wait_until("the members to have the same rows", PROGRESS, || {
        let all: Vec<Value> = cluster
            .members
            .iter()
            .map(|member| dump(&member.socket()))
            .collect::<Result<_>>()?;
        let same = all.windows(2).all(|two| two[0] == two[1]);
        rows = all.into_iter().next();
        ensure!(same, "they differ");
        Ok(same)
    })?;
    Rows::read(&rows.context("there are members")?)
}

/// Everything that a member itself has.
fn dump(socket: &std::path::Path) -> Result<Value> {
    let mut client = Client::connect_within(socket, PROGRESS)?;
    let schema = client.request("get_schema", &json!([Side::Northbound.schema()]))?;
    let tables = schema["tables"]
        .as_object()
        .context("a schema has tables")?;
    let all: serde_json::Map<String, Value> = tables
        .keys()
        .map(|name| (name.clone(), json!([{}])))
        .collect();
    client.request("monitor", &json!([Side::Northbound.schema(), null, all]))
}

/// No member has panicked, and all run.
fn check_logs(cluster: &mut Cluster) -> Result<()> {
    for member in &mut cluster.members {
        member.daemon.check_alive()?;
        let output = member.dir().join(format!("{}.out", member.daemon.name()));
        let text = std::fs::read_to_string(&output)?;
        if let Some(line) = text.lines().find(|line| line.contains("panicked")) {
            bail!("member {}: {line}", member.number());
        }
    }
    Ok(())
}

/// Forgets the trace, so that histories stay short: the values of the registers.
fn next_epoch(cluster: &Cluster, epoch: i64) -> Result<Vec<i64>> {
    let operations = workload::next_epoch(epoch);
    let mut client = Client::connect(&cluster.members[0].socket())?;
    let results = client.transact(cluster.schema(), operations)?;
    let rows = results.last().context("a result for each operation")?;
    (0..workload::REGISTERS)
        .map(|at| {
            check::value(&rows["rows"], &workload::register(at)).context("a register is gone")
        })
        .collect()
}

fn show_logs(cluster: &Cluster) {
    for member in &cluster.members {
        for kind in ["log", "out"] {
            let path = member
                .dir()
                .join(format!("{}.{kind}", member.daemon.name()));
            eprintln!("---- {}\n{}", path.display(), tail(&path, LOG_LINES));
        }
    }
}
