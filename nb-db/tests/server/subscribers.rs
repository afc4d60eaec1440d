//! Updates that many clients want: to each in order, whatever else is said to it and however it reads.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use crate::rig::{Client, DATABASE, Server, insert_switch};
use crate::tls::certificates;

/// How often the row changes, ...
const CHANGES: usize = 400;
/// ... how long its name is, and each so many times.
const LONG: usize = 2000;
const VERY_LONG: (usize, usize) = (40_000, 50);
/// Clients that read at once, for each kind of monitor, and those that begin to read at the end.
const QUICK: usize = 5;
const SLOW: usize = 2;
/// Clients over TLS.
const OVER_TLS: usize = 3;
/// The quick ones ask something after so many updates.
const ASKS: usize = 20;

fn name(number: usize) -> String {
    let very_long = number.is_multiple_of(VERY_LONG.1);
    let length = if very_long { VERY_LONG.0 } else { LONG };
    format!("#{number:05}{}", "x".repeat(length))
}

/// The number in a message that has a name in it; if there are two, the row was older before.
fn number(message: &str) -> Option<usize> {
    let names = message.split("\"#").skip(1);
    names.filter_map(|name| name.get(..5)?.parse().ok()).max()
}

fn monitor(client: &mut Client, method: &str) {
    let wanted = json!({"Logical_Switch": [{"columns": ["name"]}]});
    let mut params = vec![json!(DATABASE), json!({"my": method}), wanted];
    if method == "monitor_cond_since" {
        params.push(json!("00000000-0000-0000-0000-000000000000"));
    }
    let answer = client.call(method, &Value::Array(params)).unwrap();
    assert_eq!(answer["error"], Value::Null);
}

/// Reads until the last change; each update is of a newer row than the one before. Returns how
/// many there were.
fn read_all(client: &mut Client, method: &str, asks: bool) -> usize {
    let (mut newest, mut updates, mut unanswered) = (0, 0, 0);
    while newest < CHANGES || unanswered > 0 {
        let message = client.receive().expect("the server goes on");
        if message["id"] == json!("ask") {
            unanswered -= 1;
            continue;
        }
        let params = &message["params"];
        assert_eq!(params[0]["my"], method, "it has the monitor's name");
        let this = number(&params.to_string()).expect("it has the row's name");
        assert!(this > newest, "{this} comes after {newest}");
        (newest, updates) = (this, updates + 1);
        if asks && usize::is_multiple_of(updates, ASKS) {
            let ask = json!({"id": "ask", "method": "echo", "params": [updates]});
            client.stream.write_all(ask.to_string().as_bytes()).unwrap();
            unanswered += 1;
        }
    }
    updates
}

/// `ovsdb-client monitor`, and the numbers that it prints.
struct Watcher {
    child: Child,
    reading: JoinHandle<Vec<usize>>,
}

impl Watcher {
    fn start(remote: &str, flags: &[String]) -> Self {
        let mut child = Command::new("ovsdb-client")
            .args(flags)
            .args(["monitor", "--format=json", remote, DATABASE])
            .args(["Logical_Switch", "name"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // It prints what is there when it has begun.
        let first = lines.next().unwrap().unwrap();
        assert!(first.contains("first"), "{first}");
        let reading = thread::spawn(move || {
            let mut numbers = Vec::new();
            for line in lines {
                numbers.extend(number(&line.unwrap()));
                if numbers.last() == Some(&CHANGES) {
                    break;
                }
            }
            numbers
        });
        Self { child, reading }
    }

    fn finish(mut self) -> Vec<usize> {
        let numbers = self.reading.join().unwrap();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        numbers
    }
}

#[test]
fn everybody_is_told_of_every_change_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_owned();
    certificates(&place, "ca", &["server", "client"]);
    let flags = |name: &str| {
        let file = |end: &str| {
            place
                .join(format!("{name}-{end}.pem"))
                .display()
                .to_string()
        };
        [
            format!("--private-key={}", file("key")),
            format!("--certificate={}", file("cert")),
            format!("--ca-cert={}", place.join("ca.pem").display()),
        ]
    };
    let [key, certificate, ca] = flags("server");
    let listen = "--listen=pssl:0:127.0.0.1";
    let server = Server::start_with(directory, &[listen, &key, &certificate, &ca]);
    let remotes = server.control(&["ovsdb-server/list-remotes"]);
    let (_, rest) = remotes.split_once("(127.0.0.1:").unwrap();
    let remote = format!("ssl:127.0.0.1:{}", rest.split_once(')').unwrap().0);

    let mut writer = server.connect();
    writer.transact(&[insert_switch("first")]).unwrap();
    let watchers: Vec<_> = (0..OVER_TLS)
        .map(|_| Watcher::start(&remote, &flags("client")))
        .collect();
    let (mut quick, mut slow) = (Vec::new(), Vec::new());
    for method in ["monitor", "monitor_cond", "monitor_cond_since"] {
        for _ in 0..QUICK {
            let mut client = server.connect();
            monitor(&mut client, method);
            quick.push(thread::spawn(move || read_all(&mut client, method, true)));
        }
        for _ in 0..SLOW {
            let mut client = server.connect();
            monitor(&mut client, method);
            slow.push((client, method));
        }
    }
    for change in 1..=CHANGES {
        let update = json!({"op": "update", "table": "Logical_Switch", "where": [],
            "row": {"name": name(change)}});
        assert_eq!(writer.transact(&[update]).unwrap()[0], json!({"count": 1}));
    }
    for reading in quick {
        let updates = reading.join().unwrap();
        assert!(updates <= CHANGES);
    }
    for (mut client, method) in slow {
        let updates = read_all(&mut client, method, false);
        assert!(updates < CHANGES, "what does not fit is merged: {updates}");
    }
    for watcher in watchers {
        let numbers = watcher.finish();
        assert!(numbers.is_sorted(), "{numbers:?}");
        assert_eq!(numbers.last(), Some(&CHANGES));
    }
}
