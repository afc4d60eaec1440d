//! The museum: mistakes that the clustered databases of others have made.
//!
//! Each test has the name of a class of mistakes from the history of OVN's ovsdb-server or of
//! etcd, and passes because Weft does not make it. `lib/sim/mutants.txt` has a mutant of the store
//! for each, which does; `cargo xtask mutants` shows that each test fails on its mutants. Mistakes
//! of those around the core (disks, the server) are [`Bug`]s, found here at once.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ovsdb::{Transaction, Uuid};
use sim::member::{Member, server_of};
use sim::plan::{Bug, Plan};
use sim::random::Random;
use sim::runs::{run, run_all};
use sim::script::Script;
use store::caller::Caller;
use store::core::{Core, Process};
use store::event::{Event, Request};
use store::load;
use store::peer::PeerMessage;
use store::raft::{Message, MessageType, Node};
use store::sender::Sender;
use store::session::{Consistency, DatabaseId, RequestId, SessionId};
use store::storage::{HardState, Identity, LogPosition, Membership, State, Storage};

/// A small cluster in a storm, with little log, and large transactions in many parts.
fn storm(seed: u64) -> Plan {
    Plan {
        members: 3,
        clients: 6,
        pause_ms: 20..400,
        lasts_ms: 1500,
        log_entries: 12,
        part_bytes: 60,
        rows_per_step: 2,
        membership: false,
        files: false,
        failing_disks: false,
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

/// A member takes over a snapshot and, before its disk has it, asks for an election, or is called to
/// one: it looks for log entries that the snapshot has taken the place of.
#[test]
fn early_election() {
    let mut node = lonely_node();
    let mut message = Message {
        from: 1,
        to: 3,
        term: 1,
        ..Message::default()
    };
    message.set_msg_type(MessageType::MsgSnapshot);
    let metadata = message.mut_snapshot().mut_metadata();
    (metadata.index, metadata.term) = (10, 1);
    metadata.mut_conf_state().voters = vec![1, 2, 3];
    node.receive(message).expect("the message makes sense");
    let mut flush = None;
    let mut work = |node: &mut Node| {
        while let Some(work) = node.take_work() {
            flush = work.flush.or(flush);
            let mut messages = work.messages.iter().chain(&work.messages_after_flush);
            let asks = |message: &Message| {
                let kind = message.get_msg_type();
                matches!(
                    kind,
                    MessageType::MsgRequestPreVote | MessageType::MsgRequestVote
                )
            };
            assert!(!messages.any(asks), "it asks for an election");
        }
        flush
    };
    work(&mut node);
    for _ in 0..100 {
        node.tick();
        work(&mut node);
    }
    hear(&mut node, MessageType::MsgTimeoutNow, 1);
    let flush = work(&mut node).expect("a snapshot goes to the disk");
    node.persisted(flush);
    // Then it may.
    assert_eq!(until_it_asks(&mut node), 2);
}

/// A new member never joins: a snapshot that was lost is waited for forever; or the member has all
/// there is before it is known that its snapshot has arrived, and nothing more happens.
#[test]
fn stuck_join() {
    for (snapshots_lost, report_ms) in [(3, 0..1), (0, 200..201)] {
        holds(|| {
            let mut script = Script::begin(Plan {
                snapshots_lost,
                report_ms,
                log_entries: 12,
                ..Plan::quiet(1, 3)
            })?;
            script.write(40)?;
            let member = script.add()?;
            script.until_voter(member)?;
            script.end()
        });
    }
}

/// A transaction that a client sends again is applied again.
#[test]
fn double_commit() {
    hold(1..=12, storm);
}

/// What is answered to one try of a forwarded transaction is taken for the fate of another.
#[test]
fn answer_of_another_try() {
    let plan = || Plan {
        clients: 4,
        ..Plan::quiet(1, 3)
    };
    // A leader that passes its leadership on does nothing, and its word is late: by then, the next
    // one was asked, whose word is later still.
    holds(|| {
        let mut script = Script::begin(plan())?;
        script.write(1)?;
        let (old, asked) = (script.leader(), script.follower());
        let heir = 6 - old - asked;
        script.delay(old, asked, 400);
        script.delay(heir, old, 100);
        script.retire(old)?;
        script.begin_unnamed_write(asked)?;
        script.until_other_leads(old)?;
        script.delay(heir, asked, 800);
        script.pass(2_000)?;
        script.end()
    });
    // A condition does not hold at the first try. That is known late: by then, it held at the
    // second.
    holds(|| {
        let mut script = Script::begin(plan())?;
        script.write(1)?;
        let (leader, asked) = (script.leader(), script.follower());
        script.delay(leader, asked, 400);
        script.begin_swap(asked)?;
        script.pass(50)?;
        script.begin_write(leader)?;
        script.pass(50)?;
        script.break_stream(asked, leader)?;
        script.pass(1_000)?;
        script.end()
    });
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
    let mut voter = Member::new(3, &[1, 2, 3], false);
    voter.start(1, 7, &Plan::quiet(1, 3)).expect("it starts");
    assert_eq!(vote(&mut voter, 1), Some(true));
    voter.crash(&mut Random::new(1));
    voter.start(2, 8, &Plan::quiet(1, 3)).expect("it starts");
    assert_eq!(vote(&mut voter, 2), Some(false), "it has voted already");
    assert_eq!(vote(&mut voter, 1), Some(true), "it has voted for this one");
}

/// A member of the first ones.
fn sender(member: u64) -> Sender {
    Sender {
        member,
        server: server_of(member),
        members_since: 0,
    }
}

/// Asks a member for its vote in the fifth term; what it answers once its disk has it.
fn vote(voter: &mut Member, candidate: u64) -> Option<bool> {
    let mut message = Message {
        from: candidate,
        to: 3,
        term: 5,
        // A candidate of a transfer may ask those who hear a leader.
        context: "CampaignTransfer".into(),
        ..Message::default()
    };
    message.set_msg_type(MessageType::MsgRequestVote);
    let process = voter.process.as_mut()?;
    let message = PeerMessage::Raft(message);
    let sender = sender(candidate);
    let mut effects = process.core.step(0, Event::Peer { sender, message });
    let mut messages = std::mem::take(&mut effects.messages);
    effects
        .jobs
        .into_iter()
        .for_each(|job| process.writer.push(job));
    let (batch, flush) = process.writer.take(false);
    voter.disk.write(&batch).expect("there is room");
    let flush = flush.into_iter();
    let after = flush.flat_map(|flush| process.core.step(0, Event::Persisted { flush }).messages);
    messages.extend(after);
    messages.into_iter().find_map(|(_, message)| match message {
        PeerMessage::Raft(message)
            if message.get_msg_type() == MessageType::MsgRequestVoteResponse =>
        {
            Some(!message.reject)
        }
        _ => None,
    })
}

/// A leader that was deposed, and does not know it, shows what it has.
#[test]
fn stale_read() {
    holds(|| {
        let mut script = Script::begin(Plan::quiet(1, 3))?;
        script.write(1)?;
        let old = script.leader();
        script.stop(old);
        script.until_other_leads(old)?;
        script.write(1)?;
        script.pass(1)?;
        script.read_and_go_on(old)?;
        script.end()
    });
    holds(|| {
        let mut script = Script::begin(Plan::quiet(1, 3))?;
        script.write(1)?;
        let old = script.leader();
        // The others have the write, and say so, when the leader is stopped.
        script.begin_write(old)?;
        script.stop(old);
        script.until_other_leads(old)?;
        script.write(1)?;
        script.pass(1)?;
        script.read_and_go_on(old)?;
        script.end()
    });
    hold(61..=66, storm);
}

/// What a leader did ahead of the cluster stays when it is deposed.
#[test]
fn lost_speculation_undo() {
    hold(81..=104, storm);
}

/// Two clients are told at once that they own a lock, or what one does that does not own it any more
/// is committed.
#[test]
fn shared_lock() {
    hold(181..=188, storm);
}

/// Whoever watches does not hear of a commit.
#[test]
fn monitor_gap() {
    holds(|| {
        let mut script = Script::begin(Plan {
            log_entries: 12,
            ..Plan::quiet(1, 3)
        })?;
        script.write(1)?;
        // A watcher goes from a member that then falls so far behind that it gets a snapshot, and
        // comes back with what it had.
        let follower = script.follower();
        script.watch(0, follower)?;
        script.isolate(follower, true);
        script.unwatch(0)?;
        script.write(60)?;
        script.isolate(follower, false);
        script.until_equal()?;
        assert!(script.snapshots() > 0, "it had to be a snapshot");
        script.watch(0, follower)?;
        script.end()
    });
    hold(101..=120, storm);
}

/// A part of a transaction is there, or the rest of it never comes.
#[test]
fn half_applied_transaction() {
    hold(121..=140, |seed| Plan {
        part_bytes: 30,
        log_entries: if seed % 2 == 0 { 3 } else { 12 },
        ..storm(seed)
    });
}

/// A snapshot that is taken while the store goes on has some rows as they were later.
#[test]
fn torn_snapshot() {
    hold(161..=172, |seed| Plan {
        pause_ms: 20..200,
        ..storm(seed)
    });
}

/// A transaction that reads a little at a time has some rows as they were later.
#[test]
fn torn_read() {
    hold(191..=202, |seed| Plan {
        slice_steps: 1,
        ..storm(seed)
    });
}

/// A monitor begins with rows that nobody has agreed on, or with all in one step; or its conditions change so.
#[test]
fn monitor_contents() {
    hold(203..=214, |seed| Plan {
        slice_steps: 1,
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

/// A large answer breaks the stream to who has asked, again and again.
#[test]
fn large_answers() {
    holds(|| {
        let mut script = Script::begin(Plan {
            frame_bytes: 48 << 10,
            answer_bytes: 32 << 10,
            ..Plan::quiet(1, 3)
        })?;
        script.write(1)?;
        script.pass(10_000)?;
        let (term, lost) = (script.term(), script.streams_lost());
        let (leader, follower) = (script.leader(), script.follower());
        // Too much is refused by its name, once, and what fits is not.
        script.select_much(follower, 400)?;
        let told = script.until_refused()?;
        assert!(told.contains("more bytes than the limit"), "{told:?}");
        script.select_much(follower, 20)?;
        assert_eq!(script.until_refused()?, "");
        script.pass(5_000)?;
        assert_eq!(script.streams_lost(), lost, "a stream broke");
        assert_eq!(
            (script.term(), script.leader()),
            (term, leader),
            "an election"
        );
        script.end()
    });
}

/// All that waits is looked at with every commit, in one step.
#[test]
fn waits_multiply() {
    holds(|| {
        let mut script = Script::begin(Plan {
            wait_steps: 100,
            clients: 4,
            ..Plan::quiet(1, 3)
        })?;
        script.write(1)?;
        let (leader, follower) = (script.leader(), script.follower());
        script.wait_much(leader, 400)?;
        script.wait_much(follower, 400)?;
        script.write(5)?;
        // Those that end at once cost as much.
        script.wait_for_a_while(leader, 400, 500)?;
        script.pass(2_000)?;
        // Nobody's wait is forgotten for all that.
        script.begin_unnamed_wait(leader)?;
        script.pass(100)?;
        script.cancel()?;
        script.until_unnamed_answered()?;
        script.end()
    });
}

/// What a member has said is taken for the word of the next one that has its number.
#[test]
fn reused_number() {
    holds(|| {
        let mut script = Script::begin(Plan::quiet(1, 3))?;
        script.write(5)?;
        let (leader, follower) = (script.leader(), script.follower());
        script.delay(follower, leader, 2_000);
        script.write(5)?;
        script.remove(follower)?;
        script.delay(follower, leader, 0);
        script.add_as(follower)?;
        script.until_voter(follower)?;
        script.write(5)?;
        script.end()
    });
}

/// After a write that failed, later ones stand on what is not there. Few storms have a member that
/// ends between the two: four of these.
#[test]
fn write_after_failure() {
    hold(244..=331, |seed| Plan {
        failing_disks: true,
        files: seed % 4 == 0,
        pause_ms: 10..100,
        ..storm(seed)
    });
}

/// A client has the transaction of another one answered without being executed, or is told its
/// results: under its name, which it knows or has foretold.
#[test]
fn foretold_names() {
    holds(|| {
        let mut script = Script::begin(Plan::quiet(1, 3))?;
        script.write(1)?;
        let (leader, follower) = (script.leader(), script.follower());
        for member in [leader, follower] {
            script.imitate(member, true)?;
            script.pass(50)?;
            script.write(1)?;
            script.imitate(member, false)?;
            script.pass(50)?;
        }
        script.end()
    });
    let names: Vec<Uuid> = (1..4).map(chosen_name).collect();
    let process = 7;
    for (number, name) in names.iter().enumerate() {
        assert_ne!(
            *name,
            Uuid::from_u64_pair(process, 1),
            "the process and a counter"
        );
        assert!(
            !names[..number].contains(name),
            "the same whatever the secret"
        );
    }
}

/// The name under which a member forwards its first transaction, with this secret.
fn chosen_name(secret: u128) -> Uuid {
    let mut disk = store::storage::MemoryStorage::default();
    let identity = Identity {
        database: sim::schema().name.to_string(),
        cluster: Uuid::from_u128(1),
        server: Uuid::from_u128(3),
        member: 3,
    };
    let membership = Membership {
        voters: vec![1, 2, 3],
        ..Membership::default()
    };
    disk.create(&identity, &membership).expect("there is room");
    let unused = Uuid::nil();
    let loaded = load::load(&mut disk, sim::schema(), unused, unused).expect("it was created");
    let process = Process {
        number: 7,
        secret: Uuid::from_u128(secret),
    };
    let mut core = Core::new(loaded, process).expect("the state makes sense");
    let mut heartbeat = Message {
        from: 1,
        to: 3,
        term: 5,
        ..Message::default()
    };
    heartbeat.set_msg_type(MessageType::MsgHeartbeat);
    let message = PeerMessage::Raft(heartbeat);
    let sender = sender(1);
    core.step(0, Event::Peer { sender, message });
    let session = SessionId(1);
    let connected = Event::Connected {
        session,
        backlog: Arc::default(),
        caller: Caller::unrestricted(),
    };
    core.step(0, connected);
    let operations = [serde_json::json!({"op": "insert", "table": "Trace", "row": {}})];
    let body = Request::Transact {
        database: DatabaseId::Main,
        transaction: Transaction::from_json(sim::schema(), &operations, &mut Uuid::nil),
        name: None,
        lock_holders: Vec::new(),
        consistency: Consistency::default(),
    };
    let request = RequestId(1);
    let event = Event::Request {
        session,
        request,
        body,
    };
    let messages = core.step(0, event).messages;
    let mut names = messages
        .into_iter()
        .filter_map(|(_, message)| match message {
            PeerMessage::Forward(forward) => Some(forward.name),
            _ => None,
        });
    names.next().expect("the leader is asked")
}
