//! Durable transactions against any OVSDB server: how many a second, and how long one takes.
//!
//! ```sh
//! cargo bench -p store --bench load -- SOCKET DATABASE TABLE CLIENTS SECONDS
//! ```
//!
//! Each client inserts a row and waits for the answer, again and again. Every transaction asks for
//! durability, without which Open vSwitch's server answers before the disk has it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let [socket, database, table, clients, seconds] = args.as_slice() else {
        println!("usage: load SOCKET DATABASE TABLE CLIENTS SECONDS");
        return ExitCode::SUCCESS;
    };
    let (Ok(clients), Ok(seconds)) = (clients.parse::<usize>(), seconds.parse::<u64>()) else {
        eprintln!("CLIENTS and SECONDS should be numbers");
        return ExitCode::FAILURE;
    };
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let mut latencies: Vec<Duration> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|client| {
                let stop = &stop;
                scope.spawn(move || run(socket, database, table, client, stop))
            })
            .collect();
        std::thread::sleep(Duration::from_secs(seconds));
        stop.store(true, Ordering::Relaxed);
        let results = clients.into_iter().map(std::thread::ScopedJoinHandle::join);
        results
            .flat_map(|result| result.expect("a client failed"))
            .collect()
    });
    let elapsed = start.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: f64| {
        let last = latencies.len().saturating_sub(1);
        latencies
            .get((last as f64 * share) as usize)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{clients} clients: {:.0} transactions/s, p50 {:.3?}, p99 {:.3?}, max {:.3?}",
        latencies.len() as f64 / elapsed,
        at(0.5),
        at(0.99),
        at(1.0),
    );
    ExitCode::SUCCESS
}

fn run(
    socket: &str,
    database: &str,
    table: &str,
    client: usize,
    stop: &AtomicBool,
) -> Vec<Duration> {
    let mut stream = UnixStream::connect(socket).expect("a server listens");
    let mut latencies = Vec::new();
    let mut answer = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let number = latencies.len();
        let request = format!(
            r#"{{"id":{number},"method":"transact","params":["{database}",{{"op":"insert","table":"{table}","row":{{"name":"{client}-{number}"}}}},{{"op":"commit","durable":true}}]}}"#
        );
        let start = Instant::now();
        stream
            .write_all(request.as_bytes())
            .expect("the server reads");
        answer.clear();
        while !is_whole(&answer) {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).expect("the server answers");
            assert!(count > 0, "the server closed the connection");
            answer.extend_from_slice(&chunk[..count]);
        }
        latencies.push(start.elapsed());
        let text = String::from_utf8_lossy(&answer);
        assert!(text.contains("uuid"), "{text}");
    }
    latencies
}

/// Answers here have no brackets in strings.
fn is_whole(answer: &[u8]) -> bool {
    let count = |wanted: u8| answer.iter().filter(|byte| **byte == wanted).count();
    !answer.is_empty() && count(b'{') == count(b'}')
}
