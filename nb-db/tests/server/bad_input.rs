//! Clients that send nonsense, or stop in the middle: they get an error or lose their connection,
//! and nobody else notices.

use std::io::Write;

use rustix::process::{Resource, Rlimit};
use serde_json::{Value, json};

use crate::rig::{DATABASE, Server, insert_switch, switches};

/// Sends bytes, and says whether the server closed the connection.
fn is_dropped_after(server: &Server, bytes: &[u8]) -> bool {
    let mut client = server.connect();
    // The server may close while we still write.
    let _ = client.stream.write_all(bytes);
    client.call("echo", &json!([])).is_none()
}

#[test]
fn nonsense_costs_its_sender_the_connection() {
    let server = Server::start();
    let mut bystander = server.connect();
    bystander.transact(&[insert_switch("before")]).unwrap();
    let deep = "{\"a\":".to_owned() + &"[".repeat(100_000);
    let cases: [(&str, &[u8]); 7] = [
        ("no JSON", b"GET / HTTP/1.1\r\n\r\n"),
        ("an array", b"[1,2,3]"),
        ("broken JSON", b"{\"id\":1,]}"),
        ("no JSON-RPC", b"{\"hello\":1}"),
        (
            "no UTF-8",
            b"{\"id\":1,\"method\":\"\xff\xfe\",\"params\":[]}",
        ),
        ("too deep", deep.as_bytes()),
        (
            "parameters that are no array",
            b"{\"id\":1,\"method\":\"echo\",\"params\":3}",
        ),
    ];
    for (what, bytes) in cases {
        assert!(is_dropped_after(&server, bytes), "{what}");
    }
    bystander.transact(&[insert_switch("after")]).unwrap();
    assert_eq!(switches(&mut bystander).len(), 2);
    server.wait_for_log("a message should begin with '{'");
    server.wait_for_log("levels of nesting");
}

#[test]
fn half_a_message_and_a_vanished_client_hurt_nobody() {
    let server = Server::start();
    let whole = json!({"id": 1, "method": "transact", "params": [DATABASE, insert_switch("half")]})
        .to_string();
    let mut halves = Vec::new();
    for cut in 1..whole.len() {
        let mut client = server.connect();
        client.stream.write_all(&whole.as_bytes()[..cut]).unwrap();
        // Every other client vanishes; the rest keep their half message open.
        if cut % 2 == 0 {
            halves.push(client);
        }
    }
    let mut bystander = server.connect();
    assert_eq!(switches(&mut bystander).len(), 0);
    for (client, cut) in halves.iter_mut().zip((2..).step_by(2)) {
        client.stream.write_all(&whole.as_bytes()[cut..]).unwrap();
        let answer = client.receive().unwrap();
        assert_eq!(answer["error"], Value::Null, "{answer}");
    }
    assert_eq!(switches(&mut bystander).len(), 1);
}

#[test]
fn thousands_of_idle_clients_and_one_that_never_reads_hurt_nobody() {
    const IDLE: usize = 3000;
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        ..limit
    };
    rustix::process::setrlimit(Resource::Nofile, wanted).unwrap();
    let server = Server::start();
    let idle: Vec<_> = (0..IDLE).map(|_| server.connect()).collect();
    let mut deaf = server.connect();
    let all = json!([DATABASE, "all", {"Logical_Switch": {"columns": ["name"]}}]);
    deaf.call("monitor_cond", &all).unwrap();

    let mut bystander = server.connect();
    let long = "x".repeat(50_000);
    for number in 0..320 {
        // More than a socket holds, and more than the queue of a monitor.
        let name = format!("{number}{long}");
        bystander.transact(&[insert_switch(&name)]).unwrap();
    }
    assert_eq!(switches(&mut bystander).len(), 320);
    // When it reads at last, it has missed nothing.
    let mut seen = 0;
    while seen < 320 {
        let update = deaf.receive().unwrap();
        seen += update["params"][1]["Logical_Switch"]
            .as_object()
            .unwrap()
            .len();
    }
    drop(idle);
}

#[test]
fn wrong_requests_get_errors_that_name_what_is_wrong() {
    let server = Server::start();
    let mut client = server.connect();
    let cases = [
        ("nonsense", json!([]), "unknown method"),
        ("get_schema", json!(["Nowhere"]), "unknown database"),
        ("transact", json!([]), "syntax error"),
        (
            "monitor",
            json!([DATABASE, null, {"Nothing": {}}]),
            "no table named Nothing",
        ),
        ("monitor_cancel", json!(["never"]), "unknown monitor"),
        ("convert", json!([DATABASE, {}]), "not supported"),
    ];
    for (method, params, expected) in cases {
        let answer = client.call(method, &params).unwrap();
        let error = answer["error"].to_string();
        assert!(error.contains(expected), "{method}: {error}");
    }
    let cases = [
        (
            json!({"op": "insert", "table": "Nothing", "row": {}}),
            "Nothing",
        ),
        (
            json!({"op": "insert", "table": "Logical_Switch", "row": {"nam": "x"}}),
            "nam",
        ),
        (
            json!({"op": "insert", "table": "Logical_Switch", "row": {"name": 3}}),
            "string",
        ),
        (json!({"op": "fly"}), "fly"),
        (
            json!({"op": "insert", "table": "ACL", "row": {"priority": 99999}}),
            "99999",
        ),
    ];
    for (operation, expected) in cases {
        let results = client
            .transact(&[insert_switch("undone"), operation.clone()])
            .unwrap();
        let error = results[1].to_string();
        assert!(error.contains(expected), "{operation}: {error}");
    }
    assert_eq!(switches(&mut client).len(), 0, "all of it or nothing");
}
