//! What was answered survives `kill -9`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::rig::{Server, insert_switch, switches};

const CLIENTS: usize = 8;
const ROUNDS: usize = 4;
/// After so many answers in a round, the process is killed.
const ANSWERS: usize = 200;

#[test]
fn what_was_answered_survives_kill_9() {
    let mut server = Server::start();
    let mut answered: BTreeSet<String> = BTreeSet::new();
    for round in 0..ROUNDS {
        let count = AtomicUsize::new(0);
        let (enough, reached) = mpsc::channel();
        let pid = server.pid;
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let mut connection = server.connect();
                    let (count, enough) = (&count, enough.clone());
                    scope.spawn(move || {
                        let mut answered = Vec::new();
                        for number in 0.. {
                            let name = format!("{round}-{client}-{number}");
                            if connection.transact(&[insert_switch(&name)]).is_none() {
                                return answered;
                            }
                            answered.push(name);
                            if count.fetch_add(1, Ordering::Relaxed) == ANSWERS {
                                enough.send(()).unwrap();
                            }
                        }
                        answered
                    })
                })
                .collect();
            reached.recv().unwrap();
            let killed = std::process::Command::new("kill")
                .args(["-9", &pid.to_string()])
                .status();
            assert!(killed.unwrap().success());
            for client in clients {
                answered.extend(client.join().unwrap());
            }
        });
        server.crash_and_restart();
        let found = switches(&mut server.connect());
        let lost: Vec<_> = answered.difference(&found).collect();
        assert!(lost.is_empty(), "answered and lost: {lost:?}");
        // What was not answered may be there; but only what was sent, one per client.
        let extra = found.difference(&answered).count();
        assert!(extra <= CLIENTS * (round + 1), "{extra} that nobody sent");
    }
}

#[test]
fn a_good_end_loses_nothing_either() {
    let mut server = Server::start();
    server.connect().transact(&[insert_switch("kept")]).unwrap();
    let monitor = server.run("ovsdb-client", &["get-schema-version", &server.remote()]);
    assert_eq!(monitor.trim(), "7.18.0");
    assert_eq!(server.control(&["exit"]), "");
    server.crash_and_restart();
    assert!(switches(&mut server.connect()).contains("kept"));
}
