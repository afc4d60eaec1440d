//! The same requests, byte for byte, to `weft-nb` and to Open vSwitch's `ovsdb-server` with the
//! same schema: the answers, and the notifications between them, must be the same but for the
//! identities of rows and what is said in `details`.

use std::collections::HashMap;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::rig::{Client, DATABASE, Server};

/// Open vSwitch's server.
struct Reference {
    directory: tempfile::TempDir,
    child: Child,
}

impl Reference {
    /// Serves an empty database with the schema that the other server has.
    fn start(server: &Server) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let answer = server.connect().call("get_schema", &json!([DATABASE]));
        std::fs::write(path("schema"), answer.unwrap()["result"].to_string()).unwrap();
        let created = Command::new("ovsdb-tool")
            .arg("create")
            .args([path("db"), path("schema")])
            .output()
            .expect("ovsdb-tool is installed");
        assert!(created.status.success(), "{created:?}");
        let child = Command::new("ovsdb-server")
            .arg(format!("--remote=punix:{}", path("sock").display()))
            .arg(format!("--unixctl={}", path("ctl").display()))
            .args(["-vconsole:off", "--no-chdir"])
            .arg(path("db"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { directory, child }
    }

    fn connect(&self) -> Client {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            match UnixStream::connect(self.directory.path().join("sock")) {
                Ok(stream) => return Client::new(stream),
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Makes what two servers say comparable: identities become numbers in the order in which they
/// are seen, details and the order of what has none go.
#[derive(Default)]
struct Plain {
    seen: HashMap<String, usize>,
}

impl Plain {
    fn text(&mut self, text: &str) -> String {
        let is_uuid = text.len() == 36
            && text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
            && text
                .bytes()
                .all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
        if !is_uuid || text.bytes().all(|byte| matches!(byte, b'0' | b'-')) {
            return text.to_owned();
        }
        let next = self.seen.len();
        format!("uuid-{}", self.seen.entry(text.to_owned()).or_insert(next))
    }

    fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(elements) => elements.iter().map(|value| self.value(value)).collect(),
            Value::Object(members) => {
                let failed = members.get("error").is_some_and(|error| !error.is_null());
                let kept = members.iter().filter(|(key, _)| match key.as_str() {
                    // What is wrong is not said by everybody in the same words.
                    "details" | "syntax" => false,
                    // With an error there may be no result, or null.
                    "result" => !failed,
                    _ => true,
                });
                kept.map(|(key, value)| (self.text(key), self.value(value)))
                    .collect()
            }
            other => other.clone(),
        }
    }
}

/// One of the two: connections by name, and its identities.
struct Side {
    name: &'static str,
    connect: Box<dyn Fn() -> Client>,
    clients: HashMap<&'static str, Client>,
    plain: Plain,
    /// Row identities that the script gave names to.
    names: HashMap<String, String>,
}

impl Side {
    fn new(name: &'static str, connect: impl Fn() -> Client + 'static) -> Self {
        Self {
            name,
            connect: Box::new(connect),
            clients: HashMap::new(),
            plain: Plain::default(),
            names: HashMap::new(),
        }
    }

    /// Sends messages in one piece, and gives what comes until all requests are answered but those
    /// whose name begins with `waits`.
    fn say(&mut self, who: &'static str, messages: &[Value]) -> Vec<Value> {
        let client = self.clients.entry(who).or_insert_with(|| (self.connect)());
        let mut bytes = String::new();
        let mut unanswered = 0;
        for message in messages {
            let waits = |id: &str| id.starts_with("waits");
            let is_asked = !message["id"].is_null() && !message["id"].as_str().is_some_and(waits);
            unanswered += usize::from(is_asked);
            let mut text = message.to_string();
            for (name, uuid) in &self.names {
                text = text.replace(
                    &format!("[\"uuid\",\"{name}\"]"),
                    &format!("[\"uuid\",\"{uuid}\"]"),
                );
            }
            bytes += &text;
        }
        client.stream.write_all(bytes.as_bytes()).unwrap();
        let mut heard = Vec::new();
        while unanswered > 0 {
            let message = self.hear(who);
            let is_answer = message.get("method").is_none();
            unanswered -= usize::from(is_answer && !message["id"].is_null());
            heard.push(message);
        }
        if messages.len() > 1 {
            // Requests that do not depend on each other are answered in any order.
            heard.sort_by_key(|message| message["id"].to_string());
        } else if let Some((_, before)) = heard.split_last_mut() {
            // What comes before the answer, from several monitors, in any order too.
            before.sort_by_key(Value::to_string);
        }
        heard
    }

    /// The next that comes.
    fn hear(&mut self, who: &'static str) -> Value {
        let client = self.clients.get_mut(who).expect("it has spoken before");
        let message = client.receive();
        let message = message.unwrap_or_else(|| panic!("{} says nothing to {who}", self.name));
        self.learn(&message);
        self.plain.value(&message)
    }

    /// The first row that a transaction named `@NAME` inserts is known by that name later.
    fn learn(&mut self, message: &Value) {
        if let Some(name) = message["id"].as_str().filter(|id| id.starts_with('@'))
            && let Some(uuid) = message["result"][0]["uuid"][1].as_str()
        {
            self.names.insert(name.to_owned(), uuid.to_owned());
        }
    }
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "scripts read better with values"
)]
fn request(id: &str, method: &str, params: Value) -> Value {
    json!({"id": id, "method": method, "params": params})
}

fn transact(id: &str, operations: &[Value]) -> Value {
    let mut params = vec![json!(DATABASE)];
    params.extend_from_slice(operations);
    request(id, "transact", Value::Array(params))
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "scripts read better with values"
)]
fn insert(table: &str, row: Value) -> Value {
    json!({"op": "insert", "table": table, "row": row})
}

/// Says the same to both, and compares what they say.
struct Pair {
    ours: Side,
    theirs: Side,
}

impl Pair {
    #[track_caller]
    fn say(&mut self, who: &'static str, messages: &[Value]) {
        let ours = self.ours.say(who, messages);
        let theirs = self.theirs.say(who, messages);
        compare(&ours, &theirs, &format!("{who}: {}", json!(messages)));
    }

    /// So many messages come to somebody.
    #[track_caller]
    fn hear(&mut self, who: &'static str, count: usize) {
        let hear = |side: &mut Side| {
            let mut heard: Vec<Value> = (0..count).map(|_| side.hear(who)).collect();
            // Which of somebody's monitors is told first is nobody's promise.
            heard.sort_by_key(Value::to_string);
            heard
        };
        let (ours, theirs) = (hear(&mut self.ours), hear(&mut self.theirs));
        compare(&ours, &theirs, who);
    }
}

#[track_caller]
fn compare(ours: &[Value], theirs: &[Value], what: &str) {
    let show = |said: &[Value]| {
        let lines: Vec<String> = said
            .iter()
            .map(|message| format!("  {message}\n"))
            .collect();
        lines.concat()
    };
    assert!(
        ours == theirs,
        "{what}\nours:\n{}theirs:\n{}",
        show(ours),
        show(theirs)
    );
}

fn with_both(script: impl FnOnce(&mut Pair)) {
    let server = Server::start();
    let reference = Reference::start(&server);
    let socket = crate::rig::socket(server.directory.path());
    let ours = Side::new("weft-nb", move || {
        Client::new(UnixStream::connect(&socket).unwrap())
    });
    let reference = std::rc::Rc::new(reference);
    let theirs = Side::new("ovsdb-server", {
        let reference = reference.clone();
        move || reference.connect()
    });
    script(&mut Pair { ours, theirs });
}

#[test]
fn operations_and_their_errors_are_answered_alike() {
    with_both(|pair| {
        let switch = |name: &str| insert("Logical_Switch", json!({"name": name}));
        pair.say("a", &[transact("@sw", &[switch("one")])]);
        pair.say(
            "a",
            &[transact(
                "1",
                &[switch("two"), switch("two"), insert("ACL", json!({}))],
            )],
        );
        let select = |columns: Value, condition: Value| json!({"op": "select", "table": "Logical_Switch", "where": condition, "columns": columns});
        // Equal rows are one row of the answer, unless the identity is asked for.
        pair.say(
            "a",
            &[transact(
                "2",
                &[select(json!(["name"]), json!([["name", "==", "two"]]))],
            )],
        );
        pair.say(
            "a",
            &[transact("3", &[select(json!(["other_config"]), json!([]))])],
        );
        let one = json!([["_uuid", "==", ["uuid", "@sw"]]]);
        let without_columns = json!({"op": "select", "table": "Logical_Switch", "where": one});
        let mut answers = vec![transact(
            "4",
            &[select(json!(["_uuid", "name"]), one.clone())],
        )];
        answers.push(transact("5", &[without_columns]));
        let update = |row: Value| json!({"op": "update", "table": "Logical_Switch", "where": one, "row": row});
        let mutate = |mutations: Value| json!({"op": "mutate", "table": "Logical_Switch", "where": one, "mutations": mutations});
        let good = [
            update(json!({"other_config": ["map", [["a", "1"], ["b", "2"]]]})),
            mutate(json!([[
                "other_config",
                "insert",
                ["map", [["a", "no"], ["c", "3"]]]
            ]])),
            mutate(json!([["other_config", "delete", ["set", ["b"]]]])),
            mutate(json!([["other_config", "delete", ["map", [["c", "x"]]]]])),
            json!({"op": "wait", "table": "Logical_Switch", "where": one, "columns": ["name"],
                "until": "==", "rows": [{"name": "one"}], "timeout": 0}),
            json!({"op": "comment", "comment": "why"}),
            json!({"op": "commit", "durable": true}),
            select(json!(["name", "other_config"]), one.clone()),
            json!({"op": "delete", "table": "Logical_Switch", "where": [["name", "==", "two"]]}),
        ];
        answers.push(transact("6", &good));
        let bad = [
            json!({"op": "wait", "table": "Logical_Switch", "where": one, "columns": ["name"],
                "until": "!=", "rows": [{"name": "one"}], "timeout": 0}),
            json!({"op": "abort"}),
            json!({"op": "assert", "lock": "nobody's"}),
            json!({"op": "assert", "lock": "nobodys"}),
            json!({"op": "fly"}),
            json!({"op": "insert", "table": "Nothing", "row": {}}),
            insert("Logical_Switch", json!({"nam": "x"})),
            insert("Logical_Switch", json!({"name": 3})),
            insert(
                "Logical_Switch",
                json!({"ports": ["uuid", "00000000-0000-0000-0000-00000000000a"]}),
            ),
            insert("Logical_Switch_Port", json!({"tag": 5000})),
            insert("Logical_Router_Static_Route", json!({"policy": "sideways"})),
            update(json!({"_uuid": ["uuid", "@sw"]})),
            mutate(json!([["name", "+=", 1]])),
            mutate(json!([["nothing", "insert", 1]])),
            select(json!(["name"]), json!([["name", "~", "x"]])),
            select(json!(["name"]), json!([["name", "<", "x"]])),
            json!({"op": "insert", "table": "Logical_Switch", "row": {}, "uuid-name": "not an id"}),
            json!({"op": "insert", "table": "Logical_Switch", "row": {}, "more": 1}),
            json!({"table": "Logical_Switch"}),
            json!("insert"),
            json!(null),
        ];
        for (number, operation) in bad.into_iter().enumerate() {
            answers.push(transact(
                &format!("bad {number}"),
                &[switch("undone"), operation, switch("never")],
            ));
        }
        // Names of rows, unique columns, rows that nobody refers to.
        answers.push(transact("7", &[
            json!({"op": "insert", "table": "Logical_Switch", "uuid-name": "s", "row": {"name": "three",
                "ports": ["set", [["named-uuid", "p"]]]}}),
            json!({"op": "insert", "table": "Logical_Switch_Port", "uuid-name": "p", "row": {"name": "p"}}),
            json!({"op": "insert", "table": "Logical_Switch_Port", "row": {"name": "orphan"}}),
        ]));
        answers.push(transact(
            "8",
            &[
                json!({"op": "select", "table": "Logical_Switch_Port", "where": [],
            "columns": ["name", "up", "tag"]}),
            ],
        ));
        answers.push(transact(
            "9",
            &[
                insert("Address_Set", json!({"name": "a"})),
                insert("Address_Set", json!({"name": "a"})),
            ],
        ));
        answers.push(transact(
            "10",
            &[
                json!({"op": "insert", "table": "Logical_Switch", "uuid-name": "s", "row": {}}),
                json!({"op": "insert", "table": "Logical_Switch", "uuid-name": "s", "row": {}}),
            ],
        ));
        answers.push(transact("12", &[]));
        for answer in answers {
            pair.say("a", &[answer]);
        }
    });
}

#[test]
fn methods_and_their_errors_are_answered_alike() {
    with_both(|pair| {
        let requests = [
            request("1", "echo", json!([1, {"a": [null]}])),
            request("2", "nonsense", json!([])),
            request("4", "get_schema", json!(["Nowhere"])),
            request("5", "get_schema", json!([])),
            request("6", "transact", json!([])),
            request("7", "transact", json!(["Nowhere"])),
            request("8", "monitor", json!([DATABASE, "m", {"Nothing": {}}])),
            request("10", "monitor_cancel", json!(["never"])),
            request("11", "monitor_cond_change", json!(["never", "x", {}])),
            request("12", "lock", json!([])),
            request("13", "lock", json!([3])),
            request("14", "unlock", json!(["never"])),
            request("15", "set_db_change_aware", json!([true])),
            request("16", "set_db_change_aware", json!([3])),
            json!({"id": {"any": ["value"]}, "method": "echo", "params": ["an id is any value"]}),
            json!({"id": null, "method": "cancel", "params": ["nothing waits"]}),
            json!({"id": null, "method": "nonsense", "params": []}),
        ];
        for request in requests {
            pair.say("a", &[request]);
        }
    });
}

#[test]
fn locks_and_monitors_tell_the_same_in_the_same_order() {
    with_both(|pair| {
        for who in ["a", "b", "c"] {
            pair.say(who, &[request("lock", "lock", json!(["northd"]))]);
        }
        pair.say("a", &[request("again", "lock", json!(["northd"]))]);
        pair.say(
            "a",
            &[transact(
                "mine",
                &[json!({"op": "assert", "lock": "northd"})],
            )],
        );
        pair.say(
            "b",
            &[transact(
                "not mine",
                &[json!({"op": "assert", "lock": "northd"})],
            )],
        );
        pair.say("d", &[request("steal", "steal", json!(["northd"]))]);
        pair.hear("a", 1);
        pair.say("d", &[request("give", "unlock", json!(["northd"]))]);
        pair.hear("a", 1);
        pair.say("a", &[request("give", "unlock", json!(["northd"]))]);
        pair.hear("b", 1);

        let columns = json!({"columns": ["name", "other_config"]});
        let watched = json!({"Logical_Switch": columns});
        pair.say(
            "a",
            &[transact(
                "@one",
                &[insert("Logical_Switch", json!({"name": "one"}))],
            )],
        );
        pair.say(
            "b",
            &[request("m1", "monitor", json!([DATABASE, "old", watched]))],
        );
        let condition = json!({"Logical_Switch": [{"columns": ["name", "other_config"],
            "where": [["name", "==", "one"]]}]});
        pair.say(
            "b",
            &[request(
                "m2",
                "monitor_cond",
                json!([DATABASE, ["new"], condition]),
            )],
        );
        let silent = json!({"Logical_Switch": {"columns": ["name"],
            "select": {"initial": false, "insert": false, "delete": false}}});
        pair.say(
            "c",
            &[request("m3", "monitor", json!([DATABASE, null, silent]))],
        );
        let one = json!([["_uuid", "==", ["uuid", "@one"]]]);
        let change = |row: Value| json!({"op": "update", "table": "Logical_Switch", "where": one, "row": row});
        for (operation, to_b, to_c) in [
            (change(json!({"other_config": ["map", [["k", "v"]]]})), 2, 0),
            (insert("Logical_Switch", json!({"name": "two"})), 1, 0),
            (change(json!({"name": "three"})), 2, 1),
            (
                change(json!({"name": "one", "other_config": ["map", [["k", "w"], ["l", "x"]]]})),
                2,
                1,
            ),
            (change(json!({"name": "one"})), 0, 0),
        ] {
            pair.say("a", &[transact("t", &[operation])]);
            pair.hear("b", to_b);
            pair.hear("c", to_c);
        }
        // One's own changes come before the answer.
        pair.say("b", &[transact("own", &[change(json!({"name": "own"}))])]);
        let widened =
            json!({"Logical_Switch": [{"where": [["name", "==", "two"], ["name", "==", "own"]]}]});
        pair.say(
            "b",
            &[request(
                "c1",
                "monitor_cond_change",
                json!([["new"], ["newer"], widened]),
            )],
        );
        pair.say(
            "b",
            &[request(
                "c2",
                "monitor_cond_change",
                json!([["new"], ["new"], widened]),
            )],
        );
        pair.say("b", &[request("x", "monitor_cancel", json!(["old"]))]);
        pair.say(
            "a",
            &[transact(
                "d",
                &[json!({"op": "delete", "table": "Logical_Switch", "where": one})],
            )],
        );
        pair.hear("b", 1);
        pair.hear("c", 1);
    });
}

#[test]
fn requests_of_one_connection_wait_and_are_cancelled_alike() {
    with_both(|pair| {
        let until = |name: &str, timeout: Value| {
            let mut wait = json!({"op": "wait", "table": "Logical_Switch", "where": [["name", "==", name]],
                "columns": ["name"], "until": "==", "rows": [{"name": name}]});
            if !timeout.is_null() {
                wait["timeout"] = timeout;
            }
            wait
        };
        // The first waits; those behind it do not, and fulfil it.
        pair.say("a", &[
            transact("waits", &[until("x", Value::Null), insert("Logical_Switch", json!({"name": "after"}))]),
            transact("read", &[json!({"op": "select", "table": "Logical_Switch", "where": [], "columns": ["name"]})]),
            request("echo", "echo", json!(["between"])),
        ]);
        pair.say(
            "b",
            &[transact(
                "fulfils",
                &[insert("Logical_Switch", json!({"name": "x"}))],
            )],
        );
        pair.hear("a", 1);
        // Debian's ovsdb-server leaves this unanswered; RFC 7047, section 4.1.4, does not.
        let cancelled = pair.ours.say(
            "a",
            &[
                transact("never", &[until("y", Value::Null)]),
                json!({"id": null, "method": "cancel", "params": ["never"]}),
            ],
        );
        assert!(
            cancelled[0]["error"].to_string().contains("canceled"),
            "{cancelled:?}"
        );
        pair.say("a", &[transact("soon", &[until("y", json!(1))])]);
    });
}
