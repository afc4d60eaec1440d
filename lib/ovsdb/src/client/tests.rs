//! Sessions against a server that is played by the test, message by message.

use super::*;
use crate::condition::{Clause, ColumnRef};
use crate::operation::OpResult;

/// A session and what was said so far.
struct Talk {
    session: Session,
    now: Instant,
    framer: Framer,
}

fn schema() -> Arc<DatabaseSchema> {
    let json = json!({"name": "T", "version": "1.0.0", "tables": {
        "A": {"columns": {"level": {"type": "integer"}, "name": {"type": "string"}}},
        "New": {"columns": {"x": {"type": "integer"}}}}});
    Arc::new(DatabaseSchema::from_json(&json).unwrap())
}

fn server_schema() -> Value {
    json!({"name": "T", "version": "0.9.0", "tables": {
        "A": {"columns": {"level": {"type": "integer"}, "name": {"type": "string"}, "old": {"type": "real"}}}}})
}

fn config() -> Config {
    let schema = schema();
    let all = |table: usize| (0..schema.tables[table].columns.len()).map(ColumnRef::Column);
    Config {
        tables: vec![
            TableMonitor::new(0, all(0), Condition::any([Clause::equals(0, 3)])),
            TableMonitor::new(1, all(1), Condition::everything()),
        ],
        schema: schema.clone(),
        leader_only: true,
        lock: Some("l".into()),
        own_inserts: Vec::new(),
        probe_interval: Duration::from_secs(5),
        last_transaction: Uuid::nil(),
    }
}

impl Talk {
    fn new(config: Config) -> Self {
        let now = Instant::now();
        Self {
            session: Session::new(config, now),
            now,
            framer: Framer::new(FrameLimits::SERVER),
        }
    }

    /// Everything that the session wants to say.
    fn said(&mut self) -> Vec<Value> {
        self.framer.push(&self.session.take_output());
        let mut messages = Vec::new();
        while let Some(frame) = self.framer.next_frame().unwrap() {
            messages.push(serde_json::from_slice(frame).unwrap());
        }
        messages
    }

    fn methods(&mut self) -> Vec<String> {
        let method = |message: &Value| message["method"].as_str().unwrap_or("-").to_owned();
        self.said().iter().map(method).collect()
    }

    fn hear(&mut self, message: &Value) -> Result<(), SessionError> {
        self.session
            .receive(self.now, message.to_string().as_bytes())
    }

    fn answer(&mut self, id: u64, result: &Value) -> Result<(), SessionError> {
        self.hear(&json!({"id": id, "result": result, "error": null}))
    }

    fn fail(&mut self, id: u64, error: &Value) -> Result<(), SessionError> {
        self.hear(&json!({"id": id, "result": null, "error": error}))
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.next_event()).collect()
    }

    /// Through the greeting and to the contents.
    fn live(config: Config) -> Self {
        let mut talk = Self::new(config);
        talk.answer(1, &json!({})).unwrap();
        talk.answer(2, &database(true, true)).unwrap();
        talk.answer(3, &server_schema()).unwrap();
        talk.answer(4, &json!([false, Uuid::from_u128(5), {}]))
            .unwrap();
        talk.answer(5, &json!({"locked": false})).unwrap();
        talk.said();
        talk.events();
        talk
    }
}

fn database(connected: bool, leader: bool) -> Value {
    json!({"Database": {Uuid::from_u128(1).to_string(): {
        "initial": {"name": "T", "connected": connected, "leader": leader}}}})
}

#[test]
fn a_session_begins_with_what_the_server_is_and_has() {
    let mut talk = Talk::new(config());
    assert_eq!(
        talk.methods(),
        ["set_db_change_aware", "monitor_cond", "get_schema"]
    );
    talk.answer(3, &server_schema()).unwrap();
    assert_eq!(talk.methods(), [""; 0]);
    talk.answer(2, &database(true, true)).unwrap();
    let said = talk.said();
    let nil = Uuid::nil().to_string();
    assert_eq!(
        said[0]["params"],
        json!(["T", "weft", {"A": [{"columns": ["level", "name"], "where": [["level", "==", 3]]}]}, nil])
    );
    assert_eq!(said[1]["params"], json!(["l"]));
    let row = Uuid::from_u128(7);
    talk.answer(
        4,
        &json!([true, row, {"A": {row.to_string(): {"insert": {"name": "x"}}}}]),
    )
    .unwrap();
    talk.answer(5, &json!({"locked": true})).unwrap();
    let events = talk.events();
    let [
        Event::Schema(missing),
        Event::Contents {
            since_last: true,
            updates,
            last_transaction,
        },
        Event::Lock(true),
    ] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert_eq!(missing.to_string(), "tables New");
    assert_eq!((updates.len(), *last_transaction), (1, row));
    talk.hear(&json!({"id": null, "method": "stolen", "params": ["l"]}))
        .unwrap();
    talk.hear(&json!({"id": null, "method": "update3", "params": ["weft", row, {}]}))
        .unwrap();
    assert!(matches!(
        talk.events().as_slice(),
        [Event::Lock(false), Event::Updates { .. }]
    ));
}

#[test]
fn older_servers_are_asked_in_older_ways() {
    let mut talk = Talk::new(Config {
        lock: None,
        ..config()
    });
    talk.said();
    talk.fail(1, &json!("unknown method")).unwrap();
    talk.fail(2, &json!({"error": "unknown database"})).unwrap();
    talk.answer(3, &server_schema()).unwrap();
    assert_eq!(talk.methods(), ["monitor_cond_since"]);
    talk.fail(4, &json!("unknown method")).unwrap();
    assert_eq!(talk.methods(), ["monitor_cond"]);
    talk.fail(5, &json!("unknown method")).unwrap();
    let said = talk.said();
    assert_eq!(
        said[0]["params"],
        json!(["T", "weft", {"A": [{"columns": ["level", "name"]}]}])
    );
    let new = json!({"A": {Uuid::from_u128(7).to_string(): {"new": {"name": "x", "level": 3}}}});
    talk.answer(6, &new).unwrap();
    assert!(matches!(
        talk.events().as_slice(),
        [
            _,
            Event::Contents {
                since_last: false,
                ..
            }
        ]
    ));
    talk.session.set_conditions([(0, Condition::everything())]);
    assert_eq!(talk.events(), [Event::Conditions]);
}

#[test]
fn a_server_that_is_not_fit_is_left() {
    let refused = |state: Value, leader_only: bool| {
        let mut talk = Talk::new(Config {
            leader_only,
            ..config()
        });
        talk.answer(2, &state).err().map(|error| error.to_string())
    };
    assert_eq!(refused(database(true, false), false), None);
    assert_eq!(
        refused(database(true, false), true).unwrap(),
        "the server is not the leader of its cluster"
    );
    assert_eq!(
        refused(database(false, true), false).unwrap(),
        "the server is not connected to its cluster"
    );
    assert_eq!(
        refused(json!({}), false).unwrap(),
        "the server has no database T"
    );
    let mut talk = Talk::live(config());
    let row = Uuid::from_u128(1).to_string();
    let lost = json!({"Database": {row: {"modify": {"leader": false}}}});
    let error = talk
        .hear(&json!({"method": "update2", "params": ["weft-server", lost]}))
        .unwrap_err();
    assert!(matches!(error, SessionError::NotLeader));
}

#[test]
fn transactions_are_answered_by_number() {
    let mut talk = Talk::live(config());
    let uuid = Uuid::from_u128(3);
    let operations = [
        Operation::Insert {
            table: 1,
            uuid,
            row: vec![],
        },
        Operation::update_row(0, uuid, vec![(0, 3.into())]),
        Operation::delete_row(1, uuid),
    ];
    talk.session.transact(70, operations.to_vec()).unwrap();
    let said = talk.said();
    assert_eq!(said[0]["params"].as_array().unwrap().len(), 2);
    let id = said[0]["id"].as_u64().unwrap();
    talk.answer(id, &json!([{"count": 1}])).unwrap();
    let done = vec![
        OpResult::Inserted(uuid),
        OpResult::Count(1),
        OpResult::Count(0),
    ];
    assert_eq!(
        talk.events(),
        [Event::Reply {
            id: 70,
            result: Ok(Ok(done))
        }]
    );
    talk.session.transact(71, operations.to_vec()).unwrap();
    talk.fail(id + 1, &json!({"error": "unknown database"}))
        .unwrap();
    assert!(matches!(
        talk.events().as_slice(),
        [Event::Reply {
            id: 71,
            result: Err(_)
        }]
    ));
    let mut fresh = Talk::new(config());
    assert!(fresh.session.transact(72, operations.to_vec()).is_err());
}

#[test]
fn rows_of_its_own_need_not_be_told() {
    let begin = |is_locked: bool| {
        let mut talk = Talk::new(Config {
            own_inserts: vec![0],
            ..config()
        });
        talk.answer(2, &database(true, true)).unwrap();
        talk.answer(3, &server_schema()).unwrap();
        talk.said();
        talk.session.set_conditions([(0, Condition::everything())]);
        talk.answer(4, &json!({"locked": is_locked})).unwrap();
        let said = talk.said();
        talk.answer(5, &json!([false, Uuid::nil(), {}])).unwrap();
        talk.events();
        (talk, said[0]["params"][2]["A"].clone())
    };
    let (_, monitor) = begin(false);
    assert_eq!(monitor, json!([{"columns": ["level", "name"]}]));
    let (mut talk, monitor) = begin(true);
    let select = json!({"initial": true, "insert": false, "delete": true, "modify": true});
    assert_eq!(
        monitor,
        json!([{"columns": ["level", "name"], "select": select}, {"columns": []}])
    );
    let [one, two, other] = [1, 2, 3].map(Uuid::from_u128);
    let insert = |uuid| Operation::Insert {
        table: 0,
        uuid,
        row: vec![(1, "x".into())],
    };
    talk.session.transact(7, vec![insert(one)]).unwrap();
    talk.session.transact(8, vec![insert(two)]).unwrap();
    let came = |row: Uuid, columns: Value| json!({row.to_string(): {"insert": columns}});
    let mut rows = came(one, json!({}));
    rows[other.to_string()] = json!({"insert": {}});
    let update = json!({"id": null, "method": "update3", "params": ["weft", one, {"A": rows}]});
    talk.hear(&update).unwrap();
    talk.answer(6, &json!([{"uuid": ["uuid", one]}])).unwrap();
    // It is refused; what is told of it later is somebody else's.
    talk.fail(7, &json!({"error": "not allowed"})).unwrap();
    let rows = came(two, json!({}));
    let update = json!({"method": "update3", "params": ["weft", two, {"A": rows}], "id": null});
    talk.hear(&update).unwrap();
    let mut told = Vec::new();
    for event in talk.events() {
        if let Event::Updates { updates, .. } = event {
            told.extend(updates.tables.into_iter().flat_map(|(_, rows)| rows));
        }
    }
    let known = vec![(ColumnRef::Column(1), "x".into())];
    let came = |row, columns| (row, crate::update::RowUpdate::Insert(columns));
    assert_eq!(
        told,
        [came(one, known), came(other, vec![]), came(two, vec![])]
    );
}

#[test]
fn conditions_change_while_the_session_lives() {
    let mut talk = Talk::live(config());
    talk.session
        .set_conditions([(0, Condition::any([Clause::equals(0, 3)]))]);
    assert!(talk.said().is_empty());
    talk.session
        .set_conditions([(0, Condition::nothing()), (1, Condition::nothing())]);
    let said = talk.said();
    assert_eq!(
        said[0]["params"],
        json!(["weft", "weft", {"A": [{"where": [false]}]}])
    );
    assert!(!talk.session.conditions_in_effect());
    talk.answer(said[0]["id"].as_u64().unwrap(), &json!({}))
        .unwrap();
    assert_eq!(talk.events(), [Event::Conditions]);
}

#[test]
fn silence_is_probed_and_then_ends_the_session() {
    let mut early = Talk::new(config());
    early
        .session
        .handle_timer(early.now + Duration::from_secs(30))
        .unwrap();
    assert!(
        !early.methods().contains(&"echo".to_owned()),
        "the contents may take long"
    );
    let mut talk = Talk::live(config());
    let start = talk.now;
    let after = |seconds| start + Duration::from_secs(seconds);
    talk.session.handle_timer(after(4)).unwrap();
    assert!(talk.said().is_empty());
    talk.session.handle_timer(after(5)).unwrap();
    assert_eq!(talk.methods(), ["echo"]);
    talk.now = after(6);
    talk.hear(&json!({"id": "echo", "method": "echo", "params": [{"a": 1}]}))
        .unwrap();
    let said = talk.said();
    assert_eq!(
        said[0],
        json!({"id": "echo", "result": [{"a": 1}], "error": null})
    );
    talk.session.handle_timer(after(11)).unwrap();
    assert_eq!(talk.methods(), ["echo"]);
    assert!(talk.session.handle_timer(after(15)).is_ok());
    let error = talk.session.handle_timer(after(16)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no response to inactivity probe after 10 seconds"
    );
}

#[test]
fn nonsense_ends_the_session_with_a_reason() {
    for (message, expected) in [
        (
            json!({"method": "update3", "params": ["weft", "x", {}]}),
            "the server sent an update: syntax error",
        ),
        (
            json!({"method": "update2", "params": ["weft", {"A": {"x": {}}}]}),
            "the server sent an update: syntax error: table updates: invalid value: string \"x\"",
        ),
        (
            json!({"method": "locked", "params": []}),
            "the server sent a lock",
        ),
        (json!({}), "the message is not JSON-RPC"),
    ] {
        let error = Talk::live(config()).hear(&message).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let mut talk = Talk::live(config());
    assert!(talk.session.receive(talk.now, b"HTTP/1.1 400").is_err());
    let mut talk = Talk::live(config());
    talk.hear(&json!({"method": "news", "params": [1]}))
        .unwrap();
    talk.answer(999, &json!({})).unwrap();
    assert!(talk.events().is_empty());
}
