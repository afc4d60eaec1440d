//! Starts that cannot succeed say why.

use crate::rig::{Server, command, text};

#[track_caller]
fn fails(flags: &[&str], expected: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let output = command(directory.path(), flags).output().unwrap();
    assert!(!output.status.success());
    let error = text(&output.stderr);
    for expected in expected {
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn flags_that_cannot_be_obeyed_are_refused() {
    fails(&["--peers=1=a:1,2=b:2"], &["--id", "--peer-listen"]);
    fails(
        &["--listen=ptcp:0:127.0.0.1"],
        &["ptcp:0:127.0.0.1", "--plaintext"],
    );
    fails(&["--listen=pssl:0:127.0.0.1"], &["--private-key"]);
    fails(&["--listen=nonsense"], &["nonsense"]);
    fails(
        &["--listen=punix:/proc/no/such/place"],
        &["punix:/proc/no/such/place"],
    );
}

#[test]
fn two_servers_cannot_share_a_directory() {
    let server = Server::start();
    let directory = server.directory.path();
    let other = tempfile::tempdir().unwrap();
    let output = command(directory, &[])
        .env("OVN_RUNDIR", other.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let error = text(&output.stderr);
    assert!(error.contains("in use by another process"), "{error}");
    assert!(error.contains("weft.redb"), "{error}");
    assert!(
        server
            .connect()
            .call("list_dbs", &serde_json::json!([]))
            .is_some()
    );
}

#[test]
fn plain_tcp_works_when_it_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start_with(directory, &["--listen=ptcp:0:127.0.0.1", "--plaintext"]);
    let remotes = server.control(&["ovsdb-server/list-remotes"]);
    let port = remotes
        .split_once("(127.0.0.1:")
        .and_then(|(_, rest)| rest.split_once(')'))
        .map(|(port, _)| port)
        .unwrap();
    let remote = format!("tcp:127.0.0.1:{port}");
    let databases = server.run("ovsdb-client", &["list-dbs", &remote]);
    assert_eq!(databases, "OVN_Northbound\n_Server\n");
}
