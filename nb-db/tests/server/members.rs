//! Who belongs to a cluster: members that come and go, and those of other clusters.

use rpc::v1;
use rpc::v1::change_request::Change;
use rpc::v1::cluster_client::ClusterClient;
use rpc::v1::raft_client::RaftClient;

use crate::cluster::{Cluster, wait};
use crate::rig::{DATABASE, command, text};
use crate::tls::certificates;

/// Asks a member for a change of the members, as an administrator.
fn change(cluster: &Cluster, member: u64, change: Change) -> Result<(), tonic::Status> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(async {
        let address = cluster.grpc_address(member);
        let mut client = ClusterClient::connect(address).await.unwrap();
        match change {
            Change::Remove(member) => {
                let request = v1::RemoveMemberRequest { member };
                client.remove_member(request).await.map(drop)
            }
            Change::Transfer(member) => {
                let request = v1::TransferLeadershipRequest { member };
                client.transfer_leadership(request).await.map(drop)
            }
            other => panic!("no test wants {other:?}"),
        }
    })
}

/// Starts a server that is expected to fail; what it says.
fn fails(cluster: &Cluster, member: u64, flags: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let flags = cluster.flags(member, flags);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let output = command(directory.path(), &flags).output().unwrap();
    assert!(!output.status.success());
    text(&output.stderr)
}

#[test]
fn a_cluster_of_one_grows_and_members_come_and_go() {
    let mut cluster = Cluster::new(&["--plaintext".to_owned()]);
    // It begins as a server on its own, without any address for others.
    let server = crate::rig::Server::start();
    server.run("ovn-nbctl", &["ls-add", "before"]);
    cluster.add(1, server.crash(), &[]);
    cluster.members[&1].wait_for_log("other members reach this one at");
    let join = format!("--join={}", cluster.address(1));
    for (member, voters) in [(2, 2), (3, 3), (4, 4)] {
        cluster.add(member, tempfile::tempdir().unwrap(), &[&join]);
        cluster.wait_for_voters(1, voters);
        cluster.wait_for_switch(member, "before");
    }
    cluster.run(3, &["ls-add", "after"]);

    // A number that is taken is not given again, and a server asked twice is added once.
    let elsewhere = Cluster::new(&["--plaintext".to_owned()]);
    let said = fails(&elsewhere, 3, &["--join", &cluster.address(2)]);
    assert!(said.contains("member 3 is server"), "{said}");

    // Whoever is asked, the leader goes as well.
    let leader = cluster.leader();
    let asked = 1 + leader % 4;
    change(&cluster, asked, Change::Remove(leader)).unwrap();
    cluster.wait_for_voters(asked, 3);
    let refused = change(&cluster, asked, Change::Remove(leader)).unwrap_err();
    assert!(refused.message().contains("not a member"), "{refused}");
    let gone = cluster.members.remove(&leader).unwrap();
    gone.wait_for_log("does not belong to this cluster, or was removed");
    drop(gone);

    // The leadership goes where it is sent.
    let others: Vec<u64> = cluster.members.keys().copied().collect();
    for to in others {
        change(&cluster, asked, Change::Transfer(to)).unwrap();
        wait("the leader that was asked for", || {
            (cluster.leader() == to).then_some(())
        });
    }
    cluster.run(asked, &["ls-add", "at the end"]);
    for member in cluster.members.keys() {
        cluster.wait_for_switch(*member, "at the end");
    }
}

#[test]
fn a_member_that_lost_its_disk_joins_anew_and_never_votes_as_before() {
    let mut cluster = Cluster::start(3);
    cluster.leader();
    cluster.run(1, &["ls-add", "kept"]);
    let lost = cluster.members.remove(&2).unwrap();
    drop(lost.crash());

    // Started as it was the first time, it says why it does not start again.
    let peers: Vec<String> = (1..=3)
        .map(|member| format!("{member}={}", cluster.address(member)))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_owned();
    let flags = cluster.flags(2, &[&format!("--peers={}", peers.join(","))]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let output = command(&place, &flags).output().unwrap();
    assert!(output.status.success());
    let log = wait("the end of the initial member", || {
        let log = std::fs::read_to_string(place.join("weft-nb.log")).ok()?;
        log.contains("cannot start as an initial member")
            .then_some(log)
    });
    assert!(log.contains("remove member 2 from the cluster"), "{log}");
    cluster.members[&1].wait_for_log("refused somebody who speaks as member 2");

    let said = fails(&cluster, 2, &["--join", &cluster.address(1)]);
    assert!(said.contains("member 2 is server"), "{said}");
    let leader = cluster.leader();
    change(&cluster, leader, Change::Remove(2)).unwrap();
    let join = format!("--join={}", cluster.address(leader));
    cluster.add(2, tempfile::tempdir().unwrap(), &[&join]);
    cluster.wait_for_switch(2, "kept");
    cluster.wait_for_voters(2, 3);
}

#[test]
fn outsiders_are_refused_and_told_why_once() {
    let cluster = Cluster::start(1);
    cluster.leader();
    // Somebody who takes member 1 for one of its own cluster.
    let mut other = Cluster::new(&["--plaintext".to_owned()]);
    let peers = format!("--peers=1={},2={}", cluster.address(1), other.address(2));
    let flags = other.flags(2, &[&peers]);
    let directory = tempfile::tempdir().unwrap();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let output = command(directory.path(), &flags).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    cluster.members[&1].wait_for_log("refused somebody who speaks as member 2");
    // Two initial members with different lists wait for each other, and say so.
    let (one, two) = (other.address(3), other.address(4));
    let longer = format!("--peers=3={one},4={two},5={}", other.address(5));
    other.add(
        3,
        tempfile::tempdir().unwrap(),
        &[&format!("--peers=3={one},4={two}")],
    );
    other.add(4, tempfile::tempdir().unwrap(), &[&longer]);
    for member in [3, 4] {
        other.members[&member].wait_for_log("yours is another list");
        assert!(other.status(member).contains("waits for member"));
    }
    let log = other.members[&3].log();
    assert_eq!(
        log.matches("refused somebody who greets").count(),
        1,
        "{log}"
    );
}

#[test]
fn who_asks_for_a_change_says_who_it_is() {
    let cluster = Cluster::start(3);
    let leader = cluster.leader();
    let other = if leader == 3 { 2 } else { 3 };
    let ask = |passed_on, hello: Option<v1::RaftHello>, change| {
        let request = v1::ChangeRequest {
            database: DATABASE.to_owned(),
            passed_on,
            hello,
            change: Some(change),
            ..v1::ChangeRequest::default()
        };
        let place = format!("http://{}", cluster.address(leader));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let asked = async {
            let mut client = RaftClient::connect(place).await.unwrap();
            client.change(request).await.map(drop)
        };
        runtime.block_on(asked).unwrap_err().message().to_owned()
    };
    let outsider = |from| v1::RaftHello {
        from,
        to: leader,
        server_id: vec![7; 16],
        ..v1::RaftHello::default()
    };
    for hello in [None, Some(outsider(other)), Some(outsider(9))] {
        for passed_on in [false, true] {
            for change in [Change::Remove(other), Change::Transfer(other)] {
                let said = ask(passed_on, hello.clone(), change);
                assert!(said.starts_with("refused: "), "{said}");
            }
        }
    }
    // Nobody can be added but who asks.
    let add = Change::Add(v1::MemberAddress {
        member: 8,
        address: "127.0.0.1:1".to_owned(),
        server_id: vec![8; 16],
    });
    let said = ask(false, Some(outsider(9)), add);
    assert!(said.contains("to be added itself"), "{said}");
    cluster.wait_for_voters(leader, 3);
}

#[test]
fn members_need_certificates_of_the_same_ca() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    certificates(place, "ca", &["member", "nameless"]);
    certificates(place, "others", &["member-outside"]);
    let file = |name: &str| place.join(name).display().to_string();
    let flags = |who: &str| {
        vec![
            format!("--private-key={}", file(&format!("{who}-key.pem"))),
            format!("--certificate={}", file(&format!("{who}-cert.pem"))),
            format!("--ca-cert={}", file("ca.pem")),
        ]
    };
    let mut cluster = Cluster::new(&flags("member"));
    cluster.found(2);
    cluster.leader();
    cluster.run(1, &["ls-add", "in TLS"]);
    cluster.wait_for_switch(2, "in TLS");

    // Neither a certificate of another CA nor none at all opens the door.
    let mut outsider = Cluster::new(&flags("member-outside"));
    let peers = format!("--peers=1={},7={}", cluster.address(1), outsider.address(7));
    outsider.add(7, tempfile::tempdir().unwrap(), &[&peers]);
    outsider.members[&7].wait_for_log("waiting for initial member 1");
    cluster.members[&1].wait_for_log("TLS handshake");
    let mut plain = Cluster::new(&["--plaintext".to_owned()]);
    let peers = format!("--peers=1={},8={}", cluster.address(1), plain.address(8));
    plain.add(8, tempfile::tempdir().unwrap(), &[&peers]);
    plain.members[&8].wait_for_log("waiting for initial member 1");

    // Nor does one of the same CA that does not say that it is a member's, wherever it is.
    let mut client = Cluster::new(&flags("nameless"));
    let peers = format!("--peers=1={},9={}", cluster.address(1), client.address(9));
    client.add(9, tempfile::tempdir().unwrap(), &[&peers]);
    client.members[&9].wait_for_log("waiting for initial member 1");
    cluster.members[&1].wait_for_log("its certificate is none of a member");
    let mut misled = Cluster::new(&flags("member"));
    let peers = format!("--peers=9={},4={}", client.address(9), misled.address(4));
    misled.add(4, tempfile::tempdir().unwrap(), &[&peers]);
    misled.members[&4].wait_for_log("its certificate is none of a member");

    let said = fails(&Cluster::new(&[]), 1, &["--peers=1=127.0.0.1:1"]);
    assert!(
        said.contains("--private-key") && said.contains("--plaintext"),
        "{said}"
    );
}
