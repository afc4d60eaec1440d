//! Debian's unmodified clients.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::rig::{DATABASE, Server, text};

#[test]
fn ovn_nbctl_builds_a_network_and_shows_it() {
    let server = Server::start();
    server.run("ovn-nbctl", &["init"]);
    server.run(
        "ovn-nbctl",
        &[
            "ls-add",
            "sw0",
            "--",
            "lsp-add",
            "sw0",
            "p1",
            "--",
            "lsp-set-addresses",
            "p1",
            "00:00:00:00:00:01 10.0.0.1",
        ],
    );
    let shown = server.run("ovn-nbctl", &["show"]);
    assert!(shown.contains("(sw0)\n    port p1\n"), "{shown}");
    assert!(shown.contains("00:00:00:00:00:01 10.0.0.1"), "{shown}");

    server.run(
        "ovn-nbctl",
        &[
            "set",
            "logical_switch",
            "sw0",
            "other_config:subnet=10.0.0.0/24",
        ],
    );
    let subnet = ["get", "logical_switch", "sw0", "other_config:subnet"];
    assert_eq!(server.run("ovn-nbctl", &subnet), "\"10.0.0.0/24\"\n");

    let error = server.try_run("ovn-nbctl", &["lsp-add", "sw0", "p1"]);
    assert!(!error.status.success());
    server.run("ovn-nbctl", &["ls-del", "sw0"]);
    let ports = server.run("ovn-nbctl", &["--bare", "list", "logical_switch_port"]);
    assert_eq!(ports, "", "ports go with their switch");
}

#[test]
fn ovsdb_client_reads_the_database_and_its_server() {
    let server = Server::start();
    let remote = server.remote();
    let client = |args: &[&str]| server.run("ovsdb-client", args);
    assert_eq!(client(&["list-dbs", &remote]), "OVN_Northbound\n_Server\n");
    let tables = client(&["list-tables", &remote, DATABASE]);
    assert!(tables.contains("Logical_Switch_Port"), "{tables}");
    let inserted = client(&[
        "transact",
        &remote,
        r#"["OVN_Northbound",{"op":"insert","table":"Logical_Switch","row":{"name":"a"}}]"#,
    ]);
    assert!(inserted.starts_with(r#"[{"uuid":["uuid",""#), "{inserted}");
    let dump = client(&["dump", &remote, DATABASE, "Logical_Switch", "name"]);
    assert_eq!(dump, "Logical_Switch table\nname\n----\na\n");
    client(&["wait", &remote, DATABASE, "connected"]);
    let leader = client(&[
        "query",
        &remote,
        r#"["_Server",{"op":"select","table":"Database","where":[["name","==","OVN_Northbound"]],"columns":["leader","model","connected"]}]"#,
    ]);
    assert_eq!(
        leader,
        "[{\"rows\":[{\"connected\":true,\"leader\":true,\"model\":\"clustered\"}]}]\n"
    );
    let backup = client(&["backup", &remote, DATABASE]);
    assert!(backup.contains(r#""name":"a""#), "{backup}");
}

#[test]
fn ovsdb_client_watches_changes_and_locks() {
    let server = Server::start();
    let remote = server.remote();
    let mut monitor = Command::new("ovsdb-client")
        .args([
            "monitor",
            "--format=csv",
            &remote,
            DATABASE,
            "Logical_Switch",
            "name",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(monitor.stdout.take().unwrap()).lines();
    let mut seen = |wanted: &str| {
        let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(wanted)));
        assert!(line.is_some(), "{wanted} was not seen");
    };
    // Each change waits for the one before to be seen, so none can hide in the initial content.
    server.run("ovn-nbctl", &["ls-add", "sw0"]);
    seen("sw0");
    server.run("ovn-nbctl", &["set", "logical_switch", "sw0", "name=sw1"]);
    seen("new,sw1");
    server.run("ovn-nbctl", &["ls-del", "sw1"]);
    seen("delete,sw1");
    monitor.kill().unwrap();
    monitor.wait().unwrap();

    let lock = |verb: &str| {
        let mut child = Command::new("ovsdb-client")
            .args([verb, &remote, "northd"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, lines)
    };
    let (mut first, mut first_lines) = lock("lock");
    assert_eq!(first_lines.next().unwrap().unwrap(), r#"{"locked":true}"#);
    let (mut second, mut second_lines) = lock("steal");
    assert_eq!(second_lines.next().unwrap().unwrap(), r#"{"locked":true}"#);
    assert_eq!(first_lines.next().unwrap().unwrap(), "stolen");
    assert_eq!(first_lines.next().unwrap().unwrap(), r#"["northd"]"#);
    second.kill().unwrap();
    second.wait().unwrap();
    assert_eq!(first_lines.next().unwrap().unwrap(), "locked");
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn the_control_socket_answers() {
    let server = Server::start();
    let status = server.control(&["cluster/status", DATABASE]);
    for line in [
        "Name: OVN_Northbound",
        "Role: leader",
        "Status: cluster member",
    ] {
        assert!(status.contains(line), "{status}");
    }
    let wrong = server.control(&["cluster/status", "Nonsense"]);
    assert!(wrong.contains("Nonsense: no such database"), "{wrong}");
    assert!(server.control(&["status"]).contains("role: leader"));
    assert_eq!(
        server.control(&["ovsdb-server/list-dbs"]),
        "_Server\nOVN_Northbound\n"
    );
    assert!(server.control(&["version"]).contains("Weft"));
}

/// What Neutron and other users of the `ovs` library do: replicate, lock, transact, narrow the view.
const PYTHON: &str = r#"
import sys
import ovs.db.idl, ovs.jsonrpc, ovs.poller, ovs.stream

remote = sys.argv[1]
error, stream = ovs.stream.Stream.open_block(ovs.stream.Stream.open(remote))
connection = ovs.jsonrpc.Connection(stream)
request = ovs.jsonrpc.Message.create_request("get_schema", ["OVN_Northbound"])
error, reply = connection.transact_block(request)
helper = ovs.db.idl.SchemaHelper(schema_json=reply.result)
helper.register_all()
idl = ovs.db.idl.Idl(remote, helper)
idl.set_lock("test")

def run_until(done):
    while not done():
        idl.run()
        if done():
            return
        poller = ovs.poller.Poller()
        idl.wait(poller)
        poller.timer_wait(10000)
        poller.block()

def switches():
    return sorted(row.name for row in idl.tables["Logical_Switch"].rows.values())

run_until(lambda: idl.has_ever_connected() and idl.has_lock)
for name in ["a", "b"]:
    transaction = ovs.db.idl.Transaction(idl)
    transaction.insert(idl.tables["Logical_Switch"]).name = name
    print(transaction.commit_block(), switches())
idl.cond_change("Logical_Switch", [["name", "==", "b"]])
run_until(lambda: switches() == ["b"])
print("narrowed")
"#;

#[test]
fn the_python_library_replicates_and_transacts() {
    let server = Server::start();
    let output = Command::new("/usr/bin/python3")
        .args(["-c", PYTHON, &server.remote()])
        .output()
        .unwrap();
    let (printed, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(
        printed, "success ['a']\nsuccess ['a', 'b']\nnarrowed\n",
        "{error}"
    );
}

#[test]
fn a_conversion_to_what_is_there_succeeds_and_to_anything_else_names_the_remedy() {
    let server = Server::start();
    let mut client = server.connect();
    let schema = client
        .call("get_schema", &json!(["OVN_Northbound"]))
        .unwrap()["result"]
        .clone();
    let answer = client
        .call("convert", &json!(["OVN_Northbound", schema]))
        .unwrap();
    assert_eq!(
        (&answer["result"], &answer["error"]),
        (&json!({}), &Value::Null)
    );
    let mut newer = schema.clone();
    newer["version"] = json!("99.0.0");
    let answer = client
        .call("convert", &json!(["OVN_Northbound", newer]))
        .unwrap();
    let error = answer["error"].to_string();
    assert!(
        error.contains("not supported")
            && error.contains("99.0.0")
            && error.contains("version of Weft"),
        "{error}"
    );
    newer["name"] = json!("Other");
    let answer = client
        .call("convert", &json!(["OVN_Northbound", newer]))
        .unwrap();
    assert!(
        answer["error"]
            .to_string()
            .contains("not of OVN_Northbound"),
        "{answer}"
    );
    // What ovn-ctl does when a clustered database starts.
    let remote = server.remote();
    server.run(
        "ovsdb-client",
        &["wait", &remote, "OVN_Northbound", "connected"],
    );
    let version = server.run(
        "ovsdb-client",
        &["get-schema-version", &remote, "OVN_Northbound"],
    );
    assert_eq!(Some(version.trim()), schema["version"].as_str());
}
