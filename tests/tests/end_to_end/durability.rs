//! What the database has answered survives `kill -9`, whole or not at all.
//!
//! Several clients insert pairs of rows, each pair in one transaction, and note what was answered. In the midst of it the
//! server is killed and started again, several times. Every pair that was answered must be there; of one that was not,
//! both rows or none.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::implementation::{Database, Implementation, Side};
use tests::ovsdb::Client;
use tests::wait::wait_until;

const ROUNDS: usize = 5;
const CLIENTS: usize = 4;
/// How many answers there must be between two kills.
const ANSWERS: usize = 150;

#[test]
fn what_was_answered_survives_a_kill() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut database = Database::start(
        Implementation::Weft,
        Side::Northbound,
        dir.path(),
        None,
        None,
    )
    .expect("the database starts");
    let answered: Mutex<BTreeSet<String>> = Mutex::default();
    for round in 0..ROUNDS {
        let socket = database.socket();
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (socket, answered) = (&socket, &answered);
                scope.spawn(move || {
                    insert_until_it_dies(socket, &format!("{round}-{client}"), answered);
                });
            }
            let wanted = (round + 1) * ANSWERS;
            let waited = wait_until("answers", Duration::from_secs(60), || {
                Ok(count(&answered) >= wanted)
            });
            // Killed in any case: the clients go on until it is.
            database.daemon.kill().expect("the database can be killed");
            waited.expect("the database answers");
        });
        database
            .daemon
            .start_again()
            .expect("the database starts again");
        check(&database.socket(), &answered).expect("what was answered is there");
    }
}

fn count(answered: &Mutex<BTreeSet<String>>) -> usize {
    answered.lock().expect("no client panics").len()
}

/// Inserts pairs named `prefix-NUMBER` until the server is gone.
fn insert_until_it_dies(socket: &Path, prefix: &str, answered: &Mutex<BTreeSet<String>>) {
    let Ok(mut client) = Client::connect(socket) else {
        return;
    };
    for number in 0.. {
        let name = format!("{prefix}-{number}");
        let insert = |kind| json!({"op": "insert", "table": "Address_Set", "row": {"name": format!("{name}-{kind}")}});
        if client
            .transact("OVN_Northbound", vec![insert("a"), insert("b")])
            .is_err()
        {
            return;
        }
        answered.lock().expect("no client panics").insert(name);
    }
}

fn check(socket: &Path, answered: &Mutex<BTreeSet<String>>) -> Result<()> {
    let select = json!({"op": "select", "table": "Address_Set", "where": [], "columns": ["name"]});
    let results = Client::connect(socket)?.transact("OVN_Northbound", vec![select])?;
    let rows = results[0]["rows"]
        .as_array()
        .context("a select gives rows")?;
    let names: BTreeSet<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    for name in &names {
        let pair = name.trim_end_matches(['a', 'b']);
        ensure!(
            names.contains(format!("{pair}a").as_str()),
            "half of {pair} is gone"
        );
        ensure!(
            names.contains(format!("{pair}b").as_str()),
            "half of {pair} is gone"
        );
    }
    for name in answered.lock().expect("no client panics").iter() {
        ensure!(
            names.contains(format!("{name}-a").as_str()),
            "{name} was answered and is gone"
        );
    }
    Ok(())
}
