//! The museum: mistakes that the clustered databases of others have made.
//!
//! Each test has the name of a class of mistakes from the history of OVN's ovsdb-server or of
//! etcd, and passes because Weft does not make it. `lib/sim/mutants.txt` has a mutant of the store
//! for each, which does; `cargo xtask mutants` shows that each test fails on its mutants. Mistakes
//! of those around the core (disks, the server) are [`Bug`]s, found here at once.

use std::ops::RangeInclusive;

use ovsdb::Uuid;
use sim::plan::{Bug, Plan};
use sim::runs::{run, run_all};
use sim::script::Script;
use store::raft::{Message, MessageType, Node};
use store::storage::{HardState, Identity, LogPosition, Membership, State};

/// A small cluster in a storm, with little log, and large transactions in many parts.
fn storm(seed: u64) -> Plan {
    Plan {
        members: 3,
        clients: 6,
        pause_ms: 20..400,
        lasts_ms: 1500,
        log_entries: 12,
        part_bytes: 60,
        membership: false,
        files: false,
        ..Plan::of(seed)
    }
}

fn hold(seeds: RangeInclusive<u64>, plan: impl Fn(u64) -> Plan + Sync) {
    let (violations, report) = run_all(seeds, plan);
    assert!(violations.is_empty(), "{violations:?}");
    assert!(report.answered > 0);
}

fn holds(script: impl FnOnce() -> Result<(), String>) {
    if let Err(violation) = script() {
        panic!("{violation}");
    }
}

/// A member of three, as it was after an election, with nothing in its log.
fn lonely_node() -> Node {
    let state = State {
        identity: Identity {
            database: "Test".to_owned(),
            cluster: Uuid::nil(),
            server: Uuid::nil(),
            member: 3,
        },
        hard_state: HardState::default(),
        membership: Membership {
            voters: vec![1, 2, 3],
            ..Membership::default()
        },
        applied: LogPosition::default(),
        truncated: LogPosition::default(),
        entries: Vec::new(),
        names: Vec::new(),
    };
    Node::new(&state, LogPosition::default(), 7).expect("the state makes sense")
}

/// Lets time pass until the node asks whether it could win an election; in which term?
fn until_it_asks(node: &mut Node) -> u64 {
    for _ in 0..100 {
        node.tick();
        while let Some(work) = node.take_work() {
            if let Some(flush) = work.flush {
                node.persisted(flush);
            }
            let asks =
                |message: &&Message| message.get_msg_type() == MessageType::MsgRequestPreVote;
            let mut messages = work.messages.iter().chain(&work.messages_after_flush);
            if let Some(message) = messages.find(asks) {
                return message.term;
            }
        }
    }
    panic!("it never asks");
}

fn hear(node: &mut Node, kind: MessageType, term: u64) {
    let mut message = Message {
        from: 1,
        to: 3,
        term,
        ..Message::default()
    };
    message.set_msg_type(kind);
    node.receive(message).expect("the message makes sense");
}

/// A grant of a pre-vote that was asked for long ago counts in a later one, and the member calls an
/// election that nobody wants.
#[test]
fn stale_pre_vote() {
    let mut node = lonely_node();
    let asked = until_it_asks(&mut node);
    // The answer is late. A leader is there meanwhile, in that term, and goes again.
    hear(&mut node, MessageType::MsgHeartbeat, asked);
    assert_eq!(until_it_asks(&mut node), asked + 1);
    hear(&mut node, MessageType::MsgRequestPreVoteResponse, asked);
    assert_eq!(node.status().term, asked, "it believes the late answer");
    hear(&mut node, MessageType::MsgRequestPreVoteResponse, asked + 1);
    assert_eq!(node.status().term, asked + 1, "it believes no answer");
}

/// A member that was cut off comes back with a newer term and deposes a leader that serves.
#[test]
fn disruptive_server() {
    holds(|| {
        let mut script = Script::begin(Plan::quiet(1, 3))?;
        let (leader, term, follower) = (script.leader(), script.term(), script.follower());
        script.isolate(follower, true);
        script.pass(20_000)?;
        script.isolate(follower, false);
        script.pass(5_000)?;
        assert_eq!((script.leader(), script.term()), (leader, term));
        script.end()
    });
}

/// A member whose disk has lost entries that it acknowledged takes part as if it had them.
#[test]
fn commit_index_beyond_the_log() {
    let mut script = Script::begin(Plan::quiet(1, 3)).expect("it serves");
    let follower = script.follower();
    let old = script.copy_disk(follower).expect("it is in memory");
    script.write(10).expect("it serves");
    script.crash(follower);
    script.replace_disk(follower, old);
    let ended = script.start(follower).and_then(|()| script.pass(5_000));
    let error = ended.expect_err("it must notice");
    assert!(
        error.contains("its disk has lost what was on it"),
        "{error}"
    );
}

/// A snapshot that was lost is waited for forever, and the new member never joins.
#[test]
fn stuck_join() {
    holds(|| {
        let mut script = Script::begin(Plan {
            snapshots_lost: 3,
            log_entries: 12,
            ..Plan::quiet(1, 3)
        })?;
        script.write(40)?;
        let member = script.add()?;
        script.until_voter(member)?;
        script.end()
    });
}

/// A transaction that a client sends again is applied again.
#[test]
fn double_commit() {
    hold(1..=12, storm);
}

/// What was answered is not on the disks of a majority.
#[test]
fn acknowledged_before_flush() {
    hold(21..=32, |seed| Plan {
        pause_ms: 20..200,
        ..storm(seed)
    });
}

/// A member votes twice in a term, because it forgets its vote when it ends.
#[test]
fn forgotten_vote() {
    hold(41..=52, storm);
}

/// A leader that was deposed shows what it has.
#[test]
fn stale_read() {
    hold(61..=72, storm);
}

/// What a leader did ahead of the cluster stays when it is deposed.
#[test]
fn lost_speculation_undo() {
    hold(81..=92, storm);
}

/// Whoever watches does not hear of a commit.
#[test]
fn monitor_gap() {
    hold(101..=116, storm);
}

/// A part of a transaction is there, or the rest of it never comes.
#[test]
fn half_applied_transaction() {
    hold(121..=140, |seed| Plan {
        part_bytes: 30,
        ..storm(seed)
    });
}

/// A full disk is taken for one that has written.
#[test]
fn enospc() {
    let files = |seed| Plan {
        files: true,
        ..storm(seed)
    };
    hold(141..=144, files);
    hold(145..=150, storm);
    let ignores = |seed| Plan {
        bug: Some(Bug::IgnoredFullDisk),
        ..storm(seed)
    };
    let found = (141..=160).any(|seed| run(ignores(seed)).is_err());
    assert!(found, "nobody would notice");
}
