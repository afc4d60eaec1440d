//! The core under random clients, a disk that takes its time, and crashes.
//!
//! A *shadow* database executes the same transactions in the same order and remembers every state
//! it went through. Three things must hold at all times:
//!
//! * nothing is answered before it is on disk: after a crash, the rows are those of a state at or
//!   after the last one that was answered;
//! * whoever watches sees exactly the committed rows that match its condition, whatever happened
//!   in between, its own slowness included;
//! * a client that resumes where it was before the crash misses nothing.

#![allow(
    clippy::unwrap_used,
    reason = "a panic is the message of a failed test"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ovsdb::monitor::{MonitorSpec, MonitorVersion};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Condition, ErrorKind, Row, Transaction, Uuid};
use proptest::prelude::*;
use serde_json::{Value, json};
use store::caller::Caller;
use store::codec::Names;
use store::core::{Core, Process};
use store::event::{Effects, Event, Output, Request};
use store::load;
use store::monitor::{Update, View};
use store::raft::MemberChange;
use store::session::{Backlog, Consistency, DatabaseId, MonitorId, RequestId, SessionId};
use store::storage::{MemoryStorage, Storage};
use store::writer::{Job, Writer};
use table::{Context, Database, Execution};

type Rows = BTreeMap<Uuid, Arc<Row>>;

const CLIENT: SessionId = SessionId(1);
const PORTION: usize = 2;

fn schema() -> Arc<DatabaseSchema> {
    let json = json!({"name": "Test", "version": "1.0.0", "tables": {"Item": {
        "isRoot": true,
        "columns": {
            "name": {"type": "string"},
            "group": {"type": "integer"},
            "tags": {"type": {"key": "integer", "min": 0, "max": "unlimited"}}}}}});
    Arc::new(DatabaseSchema::from_json(&json).unwrap())
}

/// A core, its disk, and those who talk to it.
struct Rig {
    schema: Arc<DatabaseSchema>,
    disk: MemoryStorage,
    core: Core,
    writer: Writer,
    /// Jobs that have not reached the disk.
    jobs: Vec<Job>,
    /// What is on disk, but the core has not heard of it.
    written: Option<u64>,
    now_ms: u64,
    requests: u64,
    backlogs: HashMap<SessionId, Arc<Backlog>>,
    watchers: BTreeMap<SessionId, Watcher>,
    answers: Vec<(RequestId, Output)>,
    other: Vec<(SessionId, Output)>,
    seed: u128,
}

/// A client with one monitor, that applies what it is told.
struct Watcher {
    condition: Condition,
    rows: Rows,
    state: Uuid,
    /// Updates that it has not read yet.
    queue: Vec<(Uuid, Arc<Update>)>,
    /// A slow one reads only when it is told to.
    slow: bool,
    /// It has not read yet what its latest change of condition brought.
    retargeted: bool,
    /// Its monitor has.
    begun: bool,
}

impl Rig {
    fn new() -> Self {
        let mut rig = Self::stopped();
        rig.start();
        rig
    }

    /// Nothing has happened yet.
    fn stopped() -> Self {
        let disk = MemoryStorage::default();
        let schema = schema();
        let (core, writer) = open(&disk, &schema);
        Self {
            schema,
            disk,
            core,
            writer,
            jobs: Vec::new(),
            written: None,
            now_ms: 0,
            requests: 0,
            backlogs: HashMap::new(),
            watchers: BTreeMap::new(),
            answers: Vec::new(),
            other: Vec::new(),
            seed: 0,
        }
    }

    fn start(&mut self) {
        self.step(Event::Tick);
        self.settle();
        assert!(self.core.serves());
        self.connect(CLIENT);
    }

    fn connect(&mut self, session: SessionId) {
        let backlog = Arc::new(Backlog::default());
        self.backlogs.insert(session, backlog.clone());
        self.step(Event::Connected {
            session,
            backlog,
            caller: Caller::unrestricted(),
        });
    }

    fn step(&mut self, event: Event) {
        let Effects {
            outputs,
            jobs,
            failure,
            messages,
            ..
        } = self.core.step(self.now_ms, event);
        assert_eq!(failure, None);
        assert!(messages.is_empty());
        self.jobs.extend(jobs);
        for (session, output) in outputs {
            match output {
                Output::Updated { state, update, .. } => {
                    let watcher = self.watchers.get_mut(&session).unwrap();
                    watcher.queue.push((state, update));
                }
                Output::MonitorStarted {
                    resumed,
                    state,
                    update,
                    ..
                } => {
                    let watcher = self.watchers.get_mut(&session).unwrap();
                    watcher.begun = true;
                    if !resumed {
                        watcher.rows.clear();
                    }
                    watcher.apply(&self.schema, state, &update);
                }
                output => match output.answers() {
                    Some(request) if session == CLIENT => self.answers.push((request, output)),
                    _ => self.other.push((session, output)),
                },
            }
        }
    }

    fn request(&mut self, session: SessionId, body: Request) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.step(Event::Request {
            session,
            request,
            body,
        });
        request
    }

    fn transaction(&mut self, operations: &Value) -> Transaction {
        let seed = &mut self.seed;
        let mut uuid = || {
            *seed += 1;
            Uuid::from_u128(*seed)
        };
        Transaction::from_json(&self.schema, operations.as_array().unwrap(), &mut uuid)
    }

    fn transact(&mut self, operations: &Value) -> RequestId {
        let transaction = self.transaction(operations);
        self.transact_named(transaction, None)
    }

    fn transact_named(&mut self, transaction: Transaction, name: Option<Uuid>) -> RequestId {
        self.request(
            CLIENT,
            Request::Transact {
                database: DatabaseId::Main,
                transaction,
                name,
                lock_holders: vec![CLIENT],
                consistency: Consistency::default(),
            },
        )
    }

    fn watch(&mut self, session: SessionId, condition: &Value, slow: bool, since: Option<Uuid>) {
        let tables = json!({"Item": [{"columns": ["name", "group", "tags"], "where": condition}]});
        let spec = MonitorSpec::from_json(MonitorVersion::V3, &self.schema, &tables).unwrap();
        let watcher = self.watchers.entry(session).or_insert_with(|| Watcher {
            condition: Condition::everything(),
            rows: Rows::new(),
            state: Uuid::nil(),
            queue: Vec::new(),
            slow,
            retargeted: false,
            begun: false,
        });
        watcher.condition = spec.tables[0].condition.clone();
        self.connect(session);
        self.request(
            session,
            Request::Monitor {
                database: DatabaseId::Main,
                monitor: MonitorId(1),
                view: View::from(spec),
                since,
            },
        );
    }

    /// Writes what waits for the disk; the core does not hear of it yet.
    fn write(&mut self) {
        for job in std::mem::take(&mut self.jobs) {
            self.writer.push(job);
        }
        let (batch, flush) = self.writer.take(self.seed.is_multiple_of(3));
        self.disk.write(&batch).unwrap();
        self.written = flush.or(self.written);
    }

    fn hear(&mut self) {
        if let Some(flush) = self.written.take() {
            self.step(Event::Persisted { flush });
        }
    }

    fn settle(&mut self) {
        while !self.jobs.is_empty() || self.written.is_some() || self.writer.in_round() {
            self.write();
            self.hear();
        }
    }

    /// Lets a client read what waits for it.
    fn read(&mut self, session: SessionId) {
        let Some(watcher) = self.watchers.get_mut(&session) else {
            return;
        };
        for (state, update) in std::mem::take(&mut watcher.queue) {
            let watcher = self.watchers.get_mut(&session).expect("found above");
            watcher.apply(&self.schema, state, &update);
            if self.backlogs[&session].remove() {
                self.step(Event::Drained { session });
                return self.read(session);
            }
        }
        if let Some(watcher) = self.watchers.get_mut(&session) {
            watcher.retargeted = false;
        }
    }

    fn has_begun(&self, session: SessionId) -> bool {
        self.watchers[&session].begun
    }

    fn committed(&self) -> Rows {
        self.core.committed_rows(0).into_iter().collect()
    }

    fn check_watchers(&mut self) {
        for session in self.watchers.keys().copied().collect::<Vec<_>>() {
            if !self.watchers[&session].slow {
                self.read(session);
                self.check_watcher(session);
            }
        }
    }

    fn check_watcher(&self, session: SessionId) {
        let watcher = &self.watchers[&session];
        let mut expected = self.committed();
        expected.retain(|uuid, row| watcher.condition.holds(*uuid, row));
        assert_eq!(watcher.rows, expected, "what client {session:?} sees");
    }

    /// The process dies, and starts again.
    fn crash(&mut self) {
        self.jobs.clear();
        self.written = None;
        (self.core, self.writer) = open(&self.disk, &self.schema);
        self.backlogs.clear();
        self.start();
    }
}

impl Watcher {
    fn apply(&mut self, schema: &DatabaseSchema, state: Uuid, update: &Update) {
        for (columns, rows) in &update.tables {
            let table = &schema.tables[columns.table];
            let defaults = Row::default_for(table);
            for fragment in rows {
                let uuid = fragment.change.uuid;
                let told = fragment.row_update(table, columns, MonitorVersion::V3);
                let old = self.rows.remove(&uuid);
                if let Some(row) = told.apply(&defaults, old.as_deref()) {
                    self.rows.insert(uuid, Arc::new(row));
                }
            }
        }
        self.state = state;
    }
}

fn open(disk: &MemoryStorage, schema: &Arc<DatabaseSchema>) -> (Core, Writer) {
    let mut disk = disk.clone();
    let ids = (Uuid::from_u128(7 << 64), Uuid::from_u128(8));
    let mut loaded = load::load(&mut disk, schema, ids.0, ids.1).unwrap();
    let names = Names::new(loaded.state.names.iter().cloned());
    // Small portions, so that most crashes come in the middle of a round.
    let mut writer = Writer::with_portion(schema.clone(), names, PORTION);
    writer.push(std::mem::take(&mut loaded.job));
    let process = Process {
        number: 1,
        secret: Uuid::from_u128(1),
    };
    (Core::new(loaded, process).unwrap(), writer)
}

#[derive(Clone, Debug)]
enum Action {
    Insert {
        group: i64,
    },
    Update {
        group: i64,
        to: i64,
    },
    Tag {
        group: i64,
        tag: i64,
    },
    Delete {
        group: i64,
    },
    Fail,
    Watch {
        client: u64,
        group: Option<i64>,
        slow: bool,
    },
    Retarget {
        client: u64,
        groups: Vec<i64>,
    },
    Read {
        client: u64,
    },
    Write,
    Hear,
    Tick,
    Crash,
}

fn any_action() -> impl Strategy<Value = Action> {
    let group = 0i64..5;
    prop_oneof![
        6 => group.clone().prop_map(|group| Action::Insert { group }),
        4 => (group.clone(), group.clone()).prop_map(|(group, to)| Action::Update { group, to }),
        4 => (group.clone(), 0i64..4).prop_map(|(group, tag)| Action::Tag { group, tag }),
        2 => group.clone().prop_map(|group| Action::Delete { group }),
        1 => Just(Action::Fail),
        2 => (2u64..8, proptest::option::of(group.clone()), any::<bool>())
            .prop_map(|(client, group, slow)| Action::Watch { client, group, slow }),
        3 => (2u64..8, proptest::collection::vec(group, 0..3))
            .prop_map(|(client, groups)| Action::Retarget { client, groups }),
        2 => (2u64..8).prop_map(|client| Action::Read { client }),
        6 => Just(Action::Write),
        6 => Just(Action::Hear),
        1 => Just(Action::Tick),
        1 => Just(Action::Crash),
    ]
}

/// The states that a database goes through.
struct Shadow {
    database: Database,
    states: Vec<Rows>,
    /// How many of the states were answered.
    answered: usize,
}

impl Shadow {
    fn execute(&mut self, transaction: &Transaction) {
        if let Execution::Done(done) = self.database.execute(transaction, &Context::default())
            && !done.delta.is_empty()
        {
            self.states.push(rows_of(&self.database));
        }
    }

    /// The database crashed and came back with these rows.
    fn recover(&mut self, rows: &Rows) {
        let found = (self.answered..self.states.len()).find(|at| self.states[*at] == *rows);
        let found = found.expect("a state at or after the last one that was answered");
        self.states.truncate(found + 1);
        self.answered = found;
        self.database = Database::new(self.database.schema().clone());
        let rows = rows.iter().map(|(uuid, row)| (0, *uuid, row.clone()));
        self.database.load(rows).unwrap();
    }
}

fn rows_of(database: &Database) -> Rows {
    let rows = database.rows(0);
    rows.map(|(uuid, row)| (uuid, row.clone())).collect()
}

fn operations(action: &Action) -> Option<Value> {
    let of_group = |group: &i64| json!([["group", "==", group]]);
    Some(match action {
        Action::Insert { group } => json!([{"op": "insert", "table": "Item",
            "row": {"name": format!("of {group}"), "group": group}}]),
        Action::Update { group, to } => json!([{"op": "update", "table": "Item",
            "where": of_group(group), "row": {"group": to}}]),
        Action::Tag { group, tag } => json!([{"op": "mutate", "table": "Item",
            "where": of_group(group), "mutations": [["tags", "insert", tag]]}]),
        Action::Delete { group } => json!([{"op": "delete", "table": "Item",
            "where": of_group(group)}]),
        Action::Fail => json!([{"op": "delete", "table": "Item", "where": []}, {"op": "abort"}]),
        _ => return None,
    })
}

fn run(actions: &[Action]) {
    let mut rig = Rig::new();
    let mut shadow = Shadow {
        database: Database::new(rig.schema.clone()),
        states: vec![Rows::new()],
        answered: 0,
    };
    for action in actions {
        if let Some(operations) = operations(action) {
            let transaction = rig.transaction(&operations);
            shadow.execute(&transaction);
            rig.transact_named(transaction, None);
        }
        match action {
            Action::Watch {
                client,
                group,
                slow,
            } if !rig.watchers.contains_key(&SessionId(*client)) => {
                let condition = match group {
                    Some(group) => json!([["group", "==", group]]),
                    None => json!([]),
                };
                rig.watch(SessionId(*client), &condition, *slow, None);
            }
            Action::Retarget { client, groups } => {
                let clauses = groups.iter().map(|group| {
                    let json = json!(["group", "==", group]);
                    let table = &rig.schema.tables[0];
                    ovsdb::Clause::from_json(table, &json, &mut |_| None).unwrap()
                });
                let condition = Condition::any(clauses);
                if let Some(watcher) = rig.watchers.get_mut(&SessionId(*client)) {
                    watcher.condition = condition.clone();
                    watcher.retargeted = true;
                    let request = Request::ChangeConditions {
                        monitor: MonitorId(1),
                        conditions: vec![(0, condition)],
                    };
                    rig.request(SessionId(*client), request);
                }
            }
            Action::Read { client } => rig.read(SessionId(*client)),
            Action::Write => rig.write(),
            Action::Hear => rig.hear(),
            Action::Tick => rig.step(Event::Tick),
            Action::Crash => {
                rig.crash();
                shadow.recover(&rig.committed());
                // Everybody comes back, and says where they were. What a slow one had not read is
                // lost with its connection; who does not have the rows of its new condition yet
                // starts anew, as Open vSwitch's clients do.
                for (session, watcher) in std::mem::take(&mut rig.watchers) {
                    let clauses = watcher.condition.clauses();
                    let table = &rig.schema.tables[0];
                    let clauses: Vec<Value> = clauses
                        .iter()
                        .map(|clause| serde_json::to_value(clause.with(table)).unwrap())
                        .collect();
                    let (slow, state) = (watcher.slow, watcher.state);
                    let state = (!watcher.retargeted).then_some(state);
                    rig.watchers.insert(
                        session,
                        Watcher {
                            queue: Vec::new(),
                            retargeted: false,
                            ..watcher
                        },
                    );
                    rig.watch(session, &json!(clauses), slow, state);
                }
            }
            _ => {}
        }
        for (_, output) in std::mem::take(&mut rig.answers) {
            if let Output::Transacted { state: Some(_), .. } = output {
                shadow.answered += 1;
            }
        }
        assert!(shadow.answered < shadow.states.len());
        assert_eq!(rig.committed(), shadow.states[shadow.answered]);
        rig.check_watchers();
    }
    rig.settle();
    for session in rig.watchers.keys().copied().collect::<Vec<_>>() {
        rig.read(session);
        rig.check_watcher(session);
    }
}

proptest! {
    #[test]
    fn nothing_acknowledged_is_lost_and_nobody_misses_anything(
        actions in proptest::collection::vec(any_action(), 1..120),
    ) {
        run(&actions);
    }
}

fn answer(rig: &Rig, request: RequestId) -> Option<&Output> {
    let mut answers = rig.answers.iter();
    answers.find(|(of, _)| *of == request).map(|(_, o)| o)
}

fn insert(name: &str) -> Value {
    json!([{"op": "insert", "table": "Item", "row": {"name": name}}])
}

#[test]
fn an_answer_waits_for_the_disk_and_so_does_what_depends_on_it() {
    let mut rig = Rig::new();
    let write = rig.transact(&insert("a"));
    let read = rig.transact(&json!([{"op": "select", "table": "Item", "where": []}]));
    assert!(answer(&rig, write).is_none() && answer(&rig, read).is_none());
    rig.write();
    assert!(answer(&rig, write).is_none() && answer(&rig, read).is_none());
    rig.hear();
    assert!(matches!(
        answer(&rig, write),
        Some(Output::Transacted { state: Some(_), .. })
    ));
    assert!(matches!(
        answer(&rig, read),
        Some(Output::Transacted { state: None, .. })
    ));
    rig.settle();
    let later = rig.transact(&json!([{"op": "select", "table": "Item", "where": []}]));
    assert!(answer(&rig, later).is_some(), "nothing is pending");
}

#[test]
fn many_transactions_share_a_flush() {
    let mut rig = Rig::new();
    let before = rig.disk.writes();
    let requests: Vec<_> = (0..100)
        .map(|n| rig.transact(&insert(&n.to_string())))
        .collect();
    rig.settle();
    assert!(
        rig.disk.writes() <= before + 2,
        "one flush, and the rows later"
    );
    assert!(
        requests
            .iter()
            .all(|request| answer(&rig, *request).is_some())
    );
}

#[test]
fn a_named_transaction_is_applied_once_even_over_a_crash() {
    let mut rig = Rig::new();
    let name = Some(Uuid::from_u128(99));
    let first = rig.transaction(&insert("a"));
    let again = rig.transaction(&insert("a"));
    let requests = [
        rig.transact_named(first, name),
        rig.transact_named(again, name),
    ];
    rig.settle();
    for request in requests {
        assert!(matches!(
            answer(&rig, request),
            Some(Output::Transacted { outcome: Ok(_), .. })
        ));
    }
    assert_eq!(rig.committed().len(), 1);
    for _ in 0..2 {
        let transaction = rig.transaction(&insert("a"));
        let request = rig.transact_named(transaction, name);
        let Some(Output::Repeated { results, .. }) = answer(&rig, request) else {
            panic!("{:?}", answer(&rig, request));
        };
        let uuid = rig.committed().into_keys().next().unwrap();
        let expected = json!([{"uuid": ["uuid", uuid]}]);
        assert_eq!(serde_json::from_slice::<Value>(results).unwrap(), expected);
        rig.crash();
    }
    assert_eq!(rig.committed().len(), 1);
}

#[test]
fn so_many_wait_for_a_named_transaction_and_no_more() {
    let mut rig = Rig::new();
    let name = Some(Uuid::from_u128(99));
    let send = |rig: &mut Rig| {
        let transaction = rig.transaction(&insert("a"));
        rig.transact_named(transaction, name)
    };
    let requests: Vec<RequestId> = (0..65).map(|_| send(&mut rig)).collect();
    let last = send(&mut rig);
    let Some(Output::Refused { error, .. }) = answer(&rig, last) else {
        panic!("{:?}", answer(&rig, last));
    };
    // It says nothing about what becomes of the transaction.
    assert_eq!(error.kind, ErrorKind::IoError);
    assert!(error.to_string().contains("More than 64 others"), "{error}");
    assert!(
        requests
            .iter()
            .all(|request| answer(&rig, *request).is_none())
    );
    rig.settle();
    // All of them are told the state that it has led to.
    let states = requests.into_iter().map(|request| {
        let Some(Output::Transacted {
            outcome: Ok(_),
            state,
            ..
        }) = answer(&rig, request)
        else {
            panic!("{:?}", answer(&rig, request));
        };
        *state
    });
    let states: BTreeSet<Option<Uuid>> = states.collect();
    assert!(states.len() == 1 && !states.contains(&None), "{states:?}");
    let late = send(&mut rig);
    assert!(matches!(answer(&rig, late), Some(Output::Repeated { .. })));
    assert_eq!(rig.committed().len(), 1);
}

#[test]
fn a_wait_ends_with_the_change_or_with_its_time() {
    let wait = json!([{"op": "wait", "table": "Item", "where": [["name", "==", "a"]],
        "columns": ["name"], "until": "==", "rows": [{"name": "a"}], "timeout": 500}]);
    let mut rig = Rig::new();
    let in_time = rig.transact(&wait);
    assert!(answer(&rig, in_time).is_none());
    rig.transact(&insert("a"));
    assert!(answer(&rig, in_time).is_none(), "not before the commit");
    rig.settle();
    assert!(matches!(
        answer(&rig, in_time),
        Some(Output::Transacted { outcome: Ok(_), .. })
    ));

    let absent = json!([{"op": "wait", "table": "Item", "where": [["name", "==", "b"]],
        "columns": ["name"], "until": "==", "rows": [{"name": "b"}], "timeout": 500}]);
    let too_late = rig.transact(&absent);
    let canceled = rig.transact(&absent);
    rig.request(CLIENT, Request::Cancel { target: canceled });
    assert!(matches!(
        answer(&rig, canceled),
        Some(Output::Canceled { .. })
    ));
    rig.now_ms += 499;
    rig.step(Event::Timer);
    assert!(answer(&rig, too_late).is_none());
    rig.now_ms += 1;
    rig.step(Event::Timer);
    assert!(matches!(
        answer(&rig, too_late),
        Some(Output::Transacted {
            outcome: Err(_),
            ..
        })
    ));
}

#[test]
fn a_slow_client_costs_itself_only() {
    let mut rig = Rig::new();
    rig.watch(SessionId(2), &json!([]), true, None);
    rig.watch(SessionId(3), &json!([]), false, None);
    for n in 0..2000 {
        rig.transact(&insert(&n.to_string()));
        rig.settle();
        rig.check_watchers();
    }
    let queued = rig.watchers[&SessionId(2)].queue.len();
    assert_eq!(queued, store::monitor::MAX_QUEUED_UPDATES);
    rig.read(SessionId(2));
    rig.check_watcher(SessionId(2));
    assert_eq!(rig.watchers[&SessionId(2)].rows.len(), 2000);
}

#[test]
fn who_is_elected_and_does_not_serve_yet_says_so() {
    let mut rig = Rig::stopped();
    rig.step(Event::Tick);
    assert!(!rig.core.serves(), "nothing is on disk");
    rig.connect(CLIENT);
    let change = MemberChange::Add {
        member: 2,
        address: "h2:1".to_owned(),
        server: None,
    };
    for body in [
        Request::ChangeMembers(change),
        Request::Transfer { member: 2 },
    ] {
        let asked = rig.request(CLIENT, body);
        let Some(Output::Refused { error, .. }) = answer(&rig, asked) else {
            panic!("{:?}", answer(&rig, asked));
        };
        assert_eq!(error.kind, ErrorKind::NotLeader, "{error}");
    }
}

#[test]
fn who_begins_to_lead_executes_what_waits_in_steps_and_in_order() {
    const WAITING: usize = 2000;
    let mut rig = Rig::stopped();
    rig.connect(CLIENT);
    let asked: Vec<RequestId> = (0..WAITING)
        .map(|number| {
            rig.transact(&json!([{"op": "insert", "table": "Item", "row": {
            "name": format!("waits {number}")}}]))
        })
        .collect();
    assert!(rig.answers.is_empty(), "nobody leads");
    rig.step(Event::Tick);
    while !rig.core.serves() {
        rig.write();
        rig.hear();
    }
    // What the session asks for now comes after what it asked for before.
    let last = rig.transact(&json!([
        {"op": "wait", "timeout": 0, "table": "Item", "where": [["name", "==", "waits 1999"]],
         "columns": ["name"], "until": "==", "rows": [{"name": "waits 1999"}]},
        {"op": "insert", "table": "Item", "row": {"name": "last"}}]));
    let mut before = rig.core.waiting_for_leader();
    assert!(before > 256, "{before} of {WAITING} wait");
    while before > 0 {
        rig.step(Event::Timer);
        let now = rig.core.waiting_for_leader();
        assert!(now < before, "nothing goes on");
        assert!(before - now <= 256, "{} in one step", before - now);
        before = now;
    }
    rig.settle();
    for request in asked.into_iter().chain([last]) {
        let outcome = answer(&rig, request);
        assert!(
            matches!(outcome, Some(Output::Transacted { outcome, .. }) if outcome.is_ok()),
            "{outcome:?}"
        );
    }
}

#[test]
fn assert_asks_for_the_lock() {
    let mut rig = Rig::new();
    let asserted = json!([{"op": "assert", "lock": "northd"}]);
    let lock = || Request::Lock {
        name: "northd".into(),
        steal: false,
    };
    let without = rig.transact(&asserted);
    assert!(matches!(
        answer(&rig, without),
        Some(Output::Transacted {
            outcome: Err(_),
            ..
        })
    ));
    rig.connect(SessionId(2));
    rig.request(SessionId(2), lock());
    let queued = rig.request(CLIENT, lock());
    assert!(matches!(
        answer(&rig, queued),
        Some(Output::Lock { owned: false, .. })
    ));
    rig.step(Event::Disconnected {
        session: SessionId(2),
    });
    let told = rig.other.iter().any(|(session, output)| {
        *session == CLIENT && matches!(output, Output::LockChanged { owned: true, .. })
    });
    assert!(told, "{:?}", rig.other);
    let with = rig.transact(&asserted);
    assert!(matches!(
        answer(&rig, with),
        Some(Output::Transacted { outcome: Ok(_), .. })
    ));
}

#[test]
fn the_log_is_truncated_and_a_restart_needs_only_the_rest() {
    let mut rig = Rig::new();
    for n in 0..20_000 {
        rig.transact(&insert(&n.to_string()));
        if n % 500 == 0 {
            rig.settle();
        }
    }
    rig.settle();
    let state = rig.disk.load().unwrap().unwrap();
    assert!(state.truncated.index > 0);
    assert!(state.entries.len() < 17_000, "{}", state.entries.len());
    let before = rig.committed();
    rig.crash();
    assert_eq!(rig.committed(), before);
}

/// Thousands of rows that nobody has an index of, looked at a few at a time, with others in between.
#[test]
fn monitors_of_large_tables_hold_up_nobody() {
    const SLICE: usize = 64;
    const ROWS: usize = 3000;
    let mut rig = Rig::new();
    for n in 0..ROWS {
        rig.transact(&insert(&n.to_string()));
    }
    rig.settle();
    rig.core.set_slice_steps(SLICE);
    let tags = json!([["tags", "includes", 1], ["name", "!=", "7"]]);
    let sessions = [(2, json!([])), (3, tags), (4, json!([["group", "==", 1]]))];
    for (session, condition) in &sessions {
        rig.watch(SessionId(*session), condition, false, None);
        assert!(rig.core.spent() <= SLICE, "{} steps", rig.core.spent());
        assert!(!rig.has_begun(SessionId(*session)));
    }
    // What is small does not wait for what is large.
    let small = json!([["_uuid", "==", ["uuid", Uuid::from_u128(1)]]]);
    rig.watch(SessionId(5), &small, false, None);
    assert!(rig.has_begun(SessionId(5)));
    let mut turns = 0;
    while !sessions
        .iter()
        .all(|(session, _)| rig.has_begun(SessionId(*session)))
    {
        let request = rig.transact(&insert(&format!("meanwhile {turns}")));
        rig.settle();
        assert!(answer(&rig, request).is_some());
        rig.step(Event::Timer);
        // Of the index that is made as well.
        assert!(rig.core.spent() <= 3 * SLICE, "{} steps", rig.core.spent());
        turns += 1;
        assert!(turns < 10 * ROWS / SLICE, "it ends");
    }
    assert!(turns > ROWS / SLICE, "{turns} turns");
    rig.transact(&insert("later"));
    rig.settle();
    rig.check_watchers();
}

#[test]
fn what_is_wanted_of_a_monitor_is_done_in_order_or_not_at_all() {
    let mut rig = Rig::new();
    for n in 0..100 {
        rig.transact(&insert(&n.to_string()));
    }
    rig.settle();
    rig.core.set_slice_steps(4);
    let session = SessionId(2);
    rig.watch(session, &json!([]), false, None);
    let conditions = |schema: &DatabaseSchema, clauses: &Value| {
        vec![(0, Condition::from_json(&schema.tables[0], clauses).unwrap())]
    };
    let change = |rig: &mut Rig, clauses: &Value| {
        let conditions = conditions(&rig.schema, clauses);
        let monitor = MonitorId(1);
        let body = Request::ChangeConditions {
            monitor,
            conditions,
        };
        rig.request(session, body)
    };
    let first = change(&mut rig, &json!([["name", "==", "5"]]));
    let second = change(&mut rig, &json!([["name", "!=", "5"]]));
    assert!(!rig.has_begun(session) && rig.other.is_empty());
    let done = |rig: &Rig, request| {
        let mut told = rig.other.iter();
        told.position(|(_, output)| output.answers() == Some(request))
    };
    while done(&rig, second).is_none() {
        rig.step(Event::Timer);
    }
    assert!(done(&rig, first) < done(&rig, second));
    let watcher = rig.watchers.get_mut(&session).unwrap();
    watcher.condition = conditions(&rig.schema, &json!([["name", "!=", "5"]]))[0]
        .1
        .clone();
    rig.check_watchers();
    // One that is taken back is refused, and holds up nobody.
    let taken_back = change(&mut rig, &json!([["group", "<", 5]]));
    let monitor = MonitorId(1);
    let cancel = rig.request(session, Request::CancelMonitor { monitor });
    let answer = |request| {
        let told = rig
            .other
            .iter()
            .find(|(_, output)| output.answers() == Some(request));
        told.map(|(_, output)| output)
    };
    assert!(matches!(answer(taken_back), Some(Output::Refused { .. })));
    assert!(matches!(answer(cancel), Some(Output::Done { .. })));
    // Nor does one whose client goes.
    rig.watchers.remove(&session);
    rig.watch(SessionId(3), &json!([]), false, None);
    rig.step(Event::Disconnected {
        session: SessionId(3),
    });
    rig.watch(SessionId(4), &json!([]), false, None);
    while !rig.has_begun(SessionId(4)) {
        rig.step(Event::Timer);
    }
    rig.watchers.remove(&SessionId(3));
    rig.check_watchers();
}
