//! Clients that send nonsense, or stop in the middle: they get an error or lose their connection,
//! and nobody else notices.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use rustix::process::{Resource, Rlimit};
use serde_json::{Value, json};

use crate::rig::{DATABASE, Server, insert_switch, switches};

/// Sends bytes: what the server says before it closes the connection, which it must.
fn farewell_after(server: &Server, bytes: &[u8]) -> String {
    let mut client = server.connect();
    // The server may close while we still write.
    let _ = client.stream.write_all(bytes);
    let farewell = client.receive().expect("a reason");
    assert_eq!(farewell["id"], Value::Null, "{farewell}");
    assert!(client.receive().is_none(), "the connection is closed");
    farewell["error"].to_string()
}

#[test]
fn nonsense_costs_its_sender_the_connection() {
    let server = Server::start();
    let mut bystander = server.connect();
    bystander.transact(&[insert_switch("before")]).unwrap();
    let deep = "{\"a\":".to_owned() + &"[".repeat(100_000);
    let cases: [(&str, &[u8], &str); 11] = [
        (
            "HTTP/1",
            b"GET / HTTP/1.1\r\n\r\n",
            "the client speaks HTTP/1",
        ),
        (
            "gRPC",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "the client speaks gRPC",
        ),
        ("TLS", &[0x16, 0x03, 0x01, 0x00], "the client speaks TLS"),
        (
            "noise",
            b"\x00\x01\x02\x03",
            "should begin with '{', not with byte 0x00",
        ),
        (
            "an array",
            b"[1,2,3]",
            "should begin with '{', not with byte 0x5b",
        ),
        ("broken JSON", b"{\"id\":1,]}", "not JSON"),
        ("no JSON-RPC", b"{\"hello\":1}", "not JSON-RPC"),
        (
            "no UTF-8",
            b"{\"id\":1,\"method\":\"\xff\xfe\",\"params\":[]}",
            "not UTF-8 after byte 18",
        ),
        (
            "too deep",
            deep.as_bytes(),
            "more than 120 levels of nesting",
        ),
        (
            "parameters that are no array",
            b"{\"id\":1,\"method\":\"echo\",\"params\":3}",
            "should be an array",
        ),
        (
            "a member twice",
            b"{\"id\":1,\"method\":\"echo\",\"method\":\"x\",\"params\":[]}",
            "duplicate field",
        ),
    ];
    for (what, bytes, expected) in cases {
        let told = farewell_after(&server, bytes);
        assert!(told.contains(expected), "{what}: {told}");
    }
    bystander.transact(&[insert_switch("after")]).unwrap();
    assert_eq!(switches(&mut bystander).len(), 2);
    server.wait_for_log("a message should begin with '{'");
    server.wait_for_log("levels of nesting");
}

#[test]
fn a_message_without_end_has_one() {
    let server = Server::start();
    let mut bystander = server.connect();
    let mut client = server.connect();
    client.stream.write_all(b"{\"id\":\"").unwrap();
    let piece = [b'x'; 1 << 20];
    let mut sent = 0;
    while client.stream.write_all(&piece).is_ok() {
        sent += 1;
        assert!(sent < 300, "the limit of 256 MiB holds");
        bystander.call("echo", &json!([])).unwrap();
    }
    assert!(sent > 250, "what is below the limit is read: {sent}");
    server.wait_for_log("a message is longer than the limit of 268435456 bytes");
}

#[test]
fn another_protocol_on_a_grpc_port_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let grpc = directory.path().join("grpc.sock");
    let listen = format!("--listen=pgrpc+unix:{}", grpc.display());
    let server = Server::start_with(directory, &[&listen]);
    let cases: [(&[u8], &str, &str); 3] = [
        (
            b"GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 426 Upgrade Required",
            "speaks HTTP/1",
        ),
        (
            b"{\"id\":1,\"method\":\"list_dbs\",\"params\":[]}",
            "\"error\":\"syntax error\"",
            "speaks OVSDB (JSON-RPC)",
        ),
        (b"\x16\x03\x01\x00\xff", "", "speaks TLS"),
    ];
    for (bytes, told, logged) in cases {
        let mut stream = UnixStream::connect(&grpc).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(told), "{answer}");
        assert_eq!(answer.is_empty(), told.is_empty(), "{answer}");
        server.wait_for_log(logged);
    }
    assert_eq!(switches(&mut server.connect()).len(), 0);
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
    const IDLE: usize = 10_000;
    const MOST_BYTES_EACH: usize = 16 << 10;
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        ..limit
    };
    rustix::process::setrlimit(Resource::Nofile, wanted).unwrap();
    let server = Server::start();
    switches(&mut server.connect());
    let before = server.memory();
    let mut idle: Vec<_> = (0..IDLE).map(|_| server.connect()).collect();
    // Whoever is accepted last is answered when all the others are in.
    idle[IDLE - 1].call("echo", &json!([])).unwrap();
    let each = (server.memory() - before) / IDLE;
    assert!(each < MOST_BYTES_EACH, "{each} bytes for an idle client");
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
        ("convert", json!([DATABASE, {}]), "not of OVN_Northbound"),
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

#[test]
fn large_and_laborious_requests_are_bounded() {
    let server = Server::start();
    let mut client = server.connect();
    // A set of a hundred thousand, which is right, and one of as many with a wrong element.
    let address = |n: usize| json!(format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255));
    let mut addresses: Vec<Value> = (0..100_000).map(address).collect();
    let set = |addresses: &[Value]| {
        json!({"op": "insert", "table": "Address_Set", "row": {
        "name": format!("as{}", addresses.len()), "addresses": ["set", addresses]}})
    };
    let results = client.transact(&[set(&addresses)]).unwrap();
    assert!(results[0]["uuid"].is_array(), "{results}");
    addresses.push(json!(3));
    let results = client.transact(&[set(&addresses)]).unwrap();
    assert!(
        results[0]["details"].to_string().contains("addresses"),
        "{results}"
    );
    assert!(results.to_string().len() < 10_000, "an error is short");

    // A condition that compares more than anybody needs.
    let rows: Vec<Value> = (0..1000).map(|n| insert_switch(&n.to_string())).collect();
    client.transact(&rows).unwrap();
    let many = vec![json!(["name", "!=", "x"]); 30_000];
    let scan = json!({"op": "select", "table": "Logical_Switch", "where": many});
    let results = client.transact(&[scan]).unwrap().to_string();
    assert!(results.contains("resources exhausted"), "{results}");
    assert!(
        results.contains("more than the limit of 25000000 values"),
        "{results}"
    );

    // More operations than a transaction may have; and nothing was done of all that.
    let comment = json!({"op": "comment", "comment": ""});
    let mut params = vec![comment; 1_000_002];
    params[0] = json!(DATABASE);
    let answer = client.call("transact", &Value::Array(params)).unwrap();
    assert!(answer["error"].to_string().contains("1000001 operations"));
    assert_eq!(switches(&mut client).len(), 1000);
}

#[test]
fn nearly_equal_requests_have_the_meaning_that_the_last_word_gives_them() {
    let server = Server::start();
    let mut client = server.connect();
    let twice = format!(
        r#"{{"id":7,"method":"transact","params":["{DATABASE}",{{"op":"insert","table":"Logical_Switch",
            "row":{{"name":"first","name":"second"}}}}]}}"#
    );
    client.stream.write_all(twice.as_bytes()).unwrap();
    assert_eq!(client.receive().unwrap()["error"], Value::Null);
    assert_eq!(
        switches(&mut client).into_iter().collect::<Vec<_>>(),
        ["second"]
    );
    // Integers beyond 64 bits are no integers.
    let endless = r#"{"id":9,"method":"echo","params":[1e999]}"#;
    client.stream.write_all(endless.as_bytes()).unwrap();
    let error = client.receive().unwrap()["error"].to_string();
    assert!(error.contains("number out of range"), "{error}");
    for huge in [
        "18446744073709551616",
        "-9223372036854775809",
        "1e300",
        "1.5",
    ] {
        let request = format!(
            r#"{{"id":8,"method":"transact","params":["{DATABASE}",{{"op":"insert","table":"ACL",
                "row":{{"priority":{huge}}}}}]}}"#
        );
        client.stream.write_all(request.as_bytes()).unwrap();
        let answer = client.receive().unwrap();
        let error = answer["result"][0]["error"].to_string();
        assert!(
            error.contains("syntax error") || error.contains("constraint"),
            "{answer}"
        );
    }
}

#[test]
fn whoever_asks_for_much_at_once_gets_all_of_it() {
    const EACH: u64 = 300;
    let server = Server::start();
    let mut client = server.connect();
    let mut bystander = server.connect();
    let request = |id: u64, operation: &Value| {
        json!({"id": id, "method": "transact", "params": [DATABASE, operation]}).to_string()
    };
    // Never so, and for as long as it takes.
    let wait = json!({"op": "wait", "table": "Logical_Switch", "where": [["name", "==", "never"]],
        "columns": ["name"], "until": "==", "rows": [{"name": "never"}]});
    let select = json!({"op": "select", "table": "Logical_Switch", "where": []});
    let mut all = request(1_000_000, &wait);
    for number in 0..EACH {
        all += &request(2 * number, &insert_switch(&number.to_string()));
        all += &request(2 * number + 1, &select);
    }
    all += r#"{"id":null,"method":"cancel","params":[1000000]}"#;
    client.stream.write_all(all.as_bytes()).unwrap();
    bystander.transact(&[insert_switch("bystander")]).unwrap();
    let mut answered = std::collections::BTreeSet::new();
    let mut canceled = false;
    while answered.len() < 2 * EACH as usize || !canceled {
        let answer = client.receive().unwrap();
        let id = answer["id"].as_u64().unwrap();
        if id == 1_000_000 {
            assert_eq!(answer["error"]["error"], json!("canceled"), "{answer}");
            canceled = true;
            continue;
        }
        assert!(answered.insert(id), "once each");
        if id % 2 == 1 {
            let rows = answer["result"][0]["rows"].as_array().unwrap().len() as u64;
            assert!(
                rows > id / 2,
                "it has what was asked for before: {rows}, {id}"
            );
        }
    }
    assert_eq!(switches(&mut bystander).len(), EACH as usize + 1);
}
