//! Roles in a cluster: whoever is asked forwards who asks, and the leader says no.

use std::process::Command;

use crate::cluster::Cluster;
use crate::rig::text;

#[test]
fn a_role_holds_whichever_member_is_asked() {
    const SIZE: u64 = 3;
    let mut cluster = Cluster::new(&["--plaintext".to_owned()]);
    let peers = (1..=SIZE).map(|member| format!("{member}={}", cluster.address(member)));
    let peers = format!("--peers={}", peers.collect::<Vec<_>>().join(","));
    let mut sockets = Vec::new();
    for member in 1..=SIZE {
        let directory = tempfile::tempdir().unwrap();
        let socket = |role: &str| {
            let path = directory.path().join(format!("{role}.sock"));
            path.display().to_string()
        };
        let roles = ["reader", "writer"].map(|role| (role, socket(role)));
        let listen = |(role, path): &(&str, String)| format!("--listen=role={role} punix:{path}");
        let [reader, writer] = roles.each_ref().map(listen);
        sockets.push(roles);
        cluster.add(member, directory, &[&peers, &reader, &writer]);
    }
    cluster.leader();
    for (number, [(_, reader), (_, writer)]) in sockets.iter().enumerate() {
        let run = |socket: &str, args: &[&str]| {
            let db = format!("--db=unix:{socket}");
            Command::new("ovn-nbctl")
                .args([&db, "--no-leader-only", "--timeout=60"])
                .args(args)
                .output()
                .unwrap()
        };
        let name = format!("sw{number}");
        let denied = run(reader, &["ls-add", &name]);
        let said = text(&denied.stderr);
        assert!(said.contains("permission error"), "member {number}: {said}");
        assert!(run(writer, &["ls-add", &name]).status.success());
        assert!(text(&run(reader, &["ls-list"]).stdout).contains(&name));
        let denied = run(writer, &["set-connection", "ptcp:0"]);
        assert!(!denied.status.success(), "member {number}");
    }
}
