//! `weft-api` as a process, on Weft's northbound: both doors, from outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use objects::v1::northbound_client::NorthboundClient;
use objects::v1::{self, Kind, object::Spec};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_types::StatusExt;

#[path = "doors/leaderless.rs"]
mod leaderless;
#[path = "doors/tokens.rs"]
mod tokens;

/// A northbound, and the API on it.
struct Scene {
    directory: TempDir,
    children: Vec<Child>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Scene {
    fn new() -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_weft-api")).with_file_name("weft-nb");
        let missing = "is missing: run `cargo build --package nb-db`";
        assert!(program.exists(), "{} {missing}", program.display());
        let mut scene = Self {
            directory: TempDir::new().unwrap(),
            children: Vec::new(),
        };
        let mut server = Command::new(program);
        server
            .arg(format!("--data-dir={}", scene.path("nb").display()))
            .arg(format!(
                "--listen=punix:{}",
                scene.path("nb.sock").display()
            ))
            .args(["--unixctl=none", "-vconsole:off"]);
        scene.start(&mut server);
        let northbound = format!("unix:{}", scene.path("nb.sock").display());
        let connected = Command::new("ovsdb-client")
            .args([
                "--timeout=60",
                "wait",
                &northbound,
                "OVN_Northbound",
                "connected",
            ])
            .status();
        assert!(connected.unwrap().success());
        let mut api = Command::new(env!("CARGO_BIN_EXE_weft-api"));
        let listen = |role: &str, name: &str, scheme: &str| {
            format!("{role}{scheme}:{}", scene.path(name).display())
        };
        api.arg(format!("--nb={northbound}"))
            .args(["--listen", &listen("", "grpc.sock", "pgrpc+unix")])
            .args([
                "--listen",
                &listen("role=reader ", "reader.sock", "pgrpc+unix"),
            ])
            .args(["--rest-listen", &listen("", "rest.sock", "punix")])
            .args([
                "--rest-listen",
                &listen("role=token ", "token.sock", "punix"),
            ])
            .args([
                "--listen",
                &listen("role=token ", "token-grpc.sock", "pgrpc+unix"),
            ])
            .args(["--unixctl=none", "-vconsole:off"]);
        scene.start(&mut api);
        let limit = Instant::now() + Duration::from_secs(60);
        // It answers when it listens, and with objects when it has them.
        while scene
            .try_rest("GET", "/v1/switches", "")
            .is_none_or(|(status, _)| status != 200)
        {
            let has_ended = scene.children[1].try_wait().unwrap().is_some();
            assert!(!has_ended && Instant::now() < limit, "it does not serve");
            std::thread::yield_now();
        }
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&mut self, command: &mut Command) {
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        self.children.push(child);
    }

    async fn client(&self, socket: &str) -> NorthboundClient<Channel> {
        let path = self.path(socket);
        let connect = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move {
                Ok::<_, std::io::Error>(TokioIo::new(tokio::net::UnixStream::connect(path).await?))
            }
        });
        let endpoint = Endpoint::from_static("http://weft");
        NorthboundClient::new(endpoint.connect_with_connector(connect).await.unwrap())
    }

    fn try_rest(&self, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
        self.try_rest_on("rest.sock", "", method, path, body)
    }

    /// The same on another socket, with more headers.
    fn try_rest_on(
        &self,
        socket: &str,
        headers: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> Option<(u16, Value)> {
        let mut stream = UnixStream::connect(self.path(socket)).ok()?;
        let length = body.len();
        // All at once: who is refused is not read to the end.
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: weft\r\n{headers}Connection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).ok()?))
    }

    #[track_caller]
    fn rest(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        self.try_rest(method, path, &body).unwrap()
    }
}

fn switch(name: &str) -> v1::Object {
    v1::Object {
        name: name.to_owned(),
        spec: Some(Spec::LogicalSwitch(v1::LogicalSwitch::default())),
        ..v1::Object::default()
    }
}

fn port(name: &str, switch: &str) -> v1::Object {
    v1::Object {
        name: name.to_owned(),
        spec: Some(Spec::LogicalSwitchPort(v1::LogicalSwitchPort {
            logical_switch: switch.to_owned(),
            ..v1::LogicalSwitchPort::default()
        })),
        ..v1::Object::default()
    }
}

fn apply(objects: Vec<v1::Object>) -> v1::ApplyRequest {
    v1::ApplyRequest {
        owner: "test".to_owned(),
        objects,
        ..v1::ApplyRequest::default()
    }
}

impl Scene {
    /// `weft token`: what it prints.
    fn token(&self, words: &[&str]) -> String {
        let program = Path::new(env!("CARGO_BIN_EXE_weft-api")).with_file_name("weft");
        let missing = "is missing: run `cargo build --package ctl`";
        assert!(program.exists(), "{} {missing}", program.display());
        let output = Command::new(program)
            .arg("token")
            .arg(format!("--db=unix:{}", self.path("nb.sock").display()))
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The answer to whoever shows a token, once it is as expected: what was made in the database is known a moment later.
    #[track_caller]
    fn expect(&self, token: &str, request: (&str, &str, Value), expected: (u16, &str)) -> Value {
        let header = match token {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let (method, path, body) = request;
        let body = match &body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let limit = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.try_rest_on("token.sock", &header, method, path, &body);
            let (status, answer) = answer.unwrap();
            let name = answer["status"].as_str().unwrap_or_default();
            if (status, name) == expected {
                return answer;
            }
            assert!(
                Instant::now() < limit,
                "{method} {path}: {status} {answer}, not {expected:?}"
            );
            std::thread::yield_now();
        }
    }
}

/// An object with more fields.
fn with(mut object: Value, more: &Value) -> Value {
    let more = more.as_object().cloned().unwrap_or_default();
    object.as_object_mut().unwrap().extend(more);
    object
}

#[tokio::test]
async fn objects_live_through_grpc() {
    let scene = Scene::new();
    let mut client = scene.client("grpc.sock").await;
    let create = |object: v1::Object| v1::CreateRequest {
        object: Some(object),
        ..v1::CreateRequest::default()
    };
    let made = client
        .create(create(switch("s")))
        .await
        .unwrap()
        .into_inner();
    let made = made.object.unwrap();
    assert!(
        !made.uuid.is_empty() && !made.version.is_empty(),
        "{made:?}"
    );
    let again = client.create(create(switch("s"))).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
    let lost = client.create(create(port("p", "none"))).await.unwrap_err();
    assert_eq!(lost.code(), Code::FailedPrecondition);
    let details = lost.get_details_bad_request().unwrap();
    let field = &details.field_violations[0];
    assert_eq!(field.field, "object.logical_switch_port.logical_switch");
    assert!(field.description.contains("make it first"), "{field:?}");

    let mut changed = made.clone();
    let subnet = ("subnet".to_owned(), "10.0.0.0/24".to_owned());
    changed.spec = Some(Spec::LogicalSwitch(v1::LogicalSwitch {
        other_config: [subnet].into(),
        ..v1::LogicalSwitch::default()
    }));
    let update = |paths: &[&str]| v1::UpdateRequest {
        object: Some(changed.clone()),
        update_mask: Some(prost_types::FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
        ..v1::UpdateRequest::default()
    };
    let nothing = client.update(update(&[])).await.unwrap_err();
    assert_eq!(nothing.code(), Code::InvalidArgument);
    client.update(update(&["other_config"])).await.unwrap();
    let stale = client.update(update(&["other_config"])).await.unwrap_err();
    assert_eq!(stale.code(), Code::Aborted);

    let get = |name: &str| v1::GetRequest {
        kind: Kind::LogicalSwitch.into(),
        name: name.to_owned(),
    };
    let object = client
        .get(get("s"))
        .await
        .unwrap()
        .into_inner()
        .object
        .unwrap();
    assert_eq!(object.spec, changed.spec);
    let mut reader = scene.client("reader.sock").await;
    reader.get(get("s")).await.unwrap();
    let denied = reader.create(create(switch("t"))).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);

    let long = client.get(get(&"s".repeat(100_000))).await.unwrap_err();
    assert_eq!(long.code(), Code::InvalidArgument);
    assert!(long.message().contains("65536 bytes"), "{long}");

    let delete = v1::DeleteRequest {
        kind: Kind::LogicalSwitch.into(),
        name: "s".to_owned(),
        ..v1::DeleteRequest::default()
    };
    client.delete(delete).await.unwrap();
    assert_eq!(
        client.get(get("s")).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn thousands_of_ports_are_applied_in_one_call_and_watched() {
    const PORTS: usize = 2000;
    let scene = Scene::new();
    let client = scene.client("grpc.sock").await;
    let mut client = client
        .max_decoding_message_size(64 << 20)
        .max_encoding_message_size(64 << 20);
    let ports = (0..PORTS).map(|number| port(&format!("p{number}"), "s"));
    let objects: Vec<v1::Object> = std::iter::once(switch("s")).chain(ports).collect();
    let plan = v1::ApplyRequest {
        dry_run: true,
        ..apply(objects.clone())
    };
    let plan = client.apply(plan).await.unwrap().into_inner();
    assert_eq!(plan.changes.len(), PORTS + 1);
    client.apply(apply(objects.clone())).await.unwrap();
    let again = client
        .apply(apply(objects.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (again.changes.len(), again.unchanged),
        (0, PORTS as i64 + 1)
    );
    let mistake = client.apply(apply(Vec::new())).await.unwrap_err();
    assert_eq!(mistake.code(), Code::InvalidArgument);

    let watch = |version: &str| v1::WatchRequest {
        kinds: vec![Kind::LogicalSwitchPort.into()],
        version: version.to_owned(),
        ..v1::WatchRequest::default()
    };
    let mut told = client.watch(watch("")).await.unwrap().into_inner();
    let mut seen = 0;
    let version = loop {
        let response = told.message().await.unwrap().unwrap();
        assert_eq!(response.reset, seen == 0);
        seen += response.changed.len();
        if !response.version.is_empty() {
            break response.version;
        }
    };
    assert_eq!(seen, PORTS);
    drop(told);
    // Who comes back is told what changed meanwhile.
    client
        .apply(apply(objects[..PORTS].to_vec()))
        .await
        .unwrap();
    let mut told = client.watch(watch(&version)).await.unwrap().into_inner();
    let response = told.message().await.unwrap().unwrap();
    assert!(!response.reset);
    assert_eq!((response.changed.len(), response.gone.len()), (0, 1));
    client.apply(apply(objects.clone())).await.unwrap();
    let response = told.message().await.unwrap().unwrap();
    assert_eq!(response.changed[0].name, format!("p{}", PORTS - 1));
    let mut told = client
        .watch(watch("of-another-life"))
        .await
        .unwrap()
        .into_inner();
    assert!(told.message().await.unwrap().unwrap().reset);
}

#[test]
fn objects_live_through_rest() {
    let scene = Scene::new();
    let switch = json!({"name": "s", "logical_switch": {}});
    let (status, made) = scene.rest("POST", "/v1/switches", &switch);
    assert_eq!(status, 201, "{made}");
    assert_eq!(scene.rest("POST", "/v1/switches", &switch).0, 409);
    let port = json!({"name": "p", "logical_switch_port": {"logical_switch": "s"}});
    assert_eq!(scene.rest("POST", "/v1/switch-ports", &port).0, 201);
    let (_, page) = scene.rest("GET", "/v1/switch-ports?parent=s", &Value::Null);
    assert_eq!(page["objects"][0]["name"], "p");
    let change =
        json!({"version": made["version"], "logical_switch": {"other_config": {"a": "b"}}});
    let (status, changed) = scene.rest("PATCH", "/v1/switches/s", &change);
    assert_eq!(
        (status, &changed["logical_switch"]["other_config"]["a"]),
        (200, &json!("b"))
    );
    let (status, stale) = scene.rest("PATCH", "/v1/switches/s", &change);
    assert_eq!((status, &stale["status"]), (409, &json!("ABORTED")));
    for (method, path, body, status, field) in [
        (
            "POST",
            "/v1/acls",
            json!({"name": "a", "acl": {"mach": "ip4"}}),
            400,
            "object.acl.mach",
        ),
        ("POST", "/v1/acls", switch.clone(), 400, "object"),
        ("POST", "/v1/acls", json!([]), 400, "object"),
        ("GET", "/v1/switches?size=3", Value::Null, 400, "size"),
        (
            "GET",
            "/v1/switches?page_size=x",
            Value::Null,
            400,
            "page_size",
        ),
        (
            "PATCH",
            "/v1/switches/s?update_mask=ports",
            switch.clone(),
            400,
            "update_mask",
        ),
        ("POST", "/v1/apply", json!({"owner": "o"}), 400, "objects"),
    ] {
        let (actual, answer) = scene.rest(method, path, &body);
        assert_eq!(actual, status, "{method} {path}: {answer}");
        let violation = &answer["details"][0]["fieldViolations"][0];
        assert_eq!(violation["field"], field, "{answer}");
    }
    let as_page = "POST /v1/switches HTTP/1.1\r\nHost: weft\r\nConnection: close\r\nOrigin: http://evil\r\n\
                   Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}";
    let mut stream = UnixStream::connect(scene.path("rest.sock")).unwrap();
    stream.write_all(as_page.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    for path in ["/v1/pods", "/v1/switches/none", "/nothing"] {
        assert_eq!(scene.rest("GET", path, &Value::Null).0, 404, "{path}");
    }
    // What the frame of the server refuses is told in the same form.
    for (method, path, status) in [
        ("PUT", "/v1/switches/s", 405),
        ("DELETE", "/v1/switches", 405),
        ("GET", "/v1/switches/%ff", 400),
    ] {
        let (actual, answer) = scene.rest(method, path, &Value::Null);
        assert_eq!(actual, status, "{method} {path}: {answer}");
        assert!(answer["message"].is_string(), "{answer}");
    }
    let (status, answer) = scene.rest("DELETE", "/v1/switches/s", &Value::Null);
    assert_eq!(status, 400, "{answer}");
    assert_eq!(
        scene
            .rest("DELETE", "/v1/switches/s?cascade=true", &Value::Null)
            .0,
        200
    );
    let wanted = json!({"owner": "o", "objects": [switch]});
    let (_, done) = scene.rest("POST", "/v1/apply", &wanted);
    assert_eq!(done["changes"][0]["action"], "ACTION_CREATE", "{done}");
    let twice = scene
        .try_rest("POST", "/v1/apply", r#"{"owner": "a", "owner": "b"}"#)
        .unwrap();
    assert_eq!(twice.0, 400, "{}", twice.1);
}

/// Who may not write learns that, however much is still to be sent.
#[test]
fn who_is_refused_is_heard_out() {
    let scene = Scene::new();
    let objects = json!([{"name": "x".repeat(512 << 10), "logical_switch": {}}]);
    let body = json!({"owner": "o", "objects": objects}).to_string();
    let refused = scene.try_rest_on("token.sock", "", "POST", "/v1/apply", &body);
    let (status, answer) = refused.expect("an answer, not a connection that breaks");
    assert_eq!(status, 403, "{answer}");
}

/// What one server has answered, another one shows to whoever asks it afterwards: reads are of the newest state.
#[test]
fn what_was_answered_is_read_from_every_server() {
    let mut scene = Scene::new();
    let mut other = Command::new(env!("CARGO_BIN_EXE_weft-api"));
    let northbound = format!("--nb=unix:{}", scene.path("nb.sock").display());
    let socket = |scheme: &str, name: &str| format!("{scheme}:{}", scene.path(name).display());
    let rest = socket("--rest-listen=punix", "other.sock");
    let grpc = socket("--listen=pgrpc+unix", "other-grpc.sock");
    scene.start(
        other
            .args([&northbound, &rest, &grpc])
            .args(["--unixctl=none", "-vconsole:off"]),
    );
    let ask = |path: &str| scene.try_rest_on("other.sock", "", "GET", path, "");
    let limit = Instant::now() + Duration::from_secs(60);
    while ask("/v1/switches").is_none_or(|(status, _)| status != 200) {
        assert!(Instant::now() < limit, "the other server does not serve");
        std::thread::yield_now();
    }
    for number in 0..300 {
        let name = format!("s{number}");
        let object = json!({"name": name, "logical_switch": {}});
        assert_eq!(scene.rest("POST", "/v1/switches", &object).0, 201);
        let (status, found) = ask(&format!("/v1/switches/{name}")).unwrap();
        assert_eq!(status, 200, "{name}: {found}");
        let (_, page) = ask("/v1/switches?page_size=1000").unwrap();
        let found = page["objects"].as_array().map_or(0, Vec::len);
        assert_eq!(found, number + 1, "{name}");
    }
}

/// Reads show what was committed before. Where the database does not say what that is, they do not wait for it for ever.
#[test]
fn a_database_that_hangs_is_told_soon() {
    let scene = Scene::new();
    let body = json!({"name": "s", "logical_switch": {}});
    assert_eq!(scene.rest("POST", "/v1/switches", &body).0, 201);
    let process = scene.children[0].id().to_string();
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &process]).status();
        assert!(sent.unwrap().success());
    };
    // `State: T (stopped)` of each thread: whoever still runs may answer.
    let runs = || {
        let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let mut states = threads.map(|thread| {
            let path = thread.unwrap().path().join("status");
            std::fs::read_to_string(path).unwrap()
        });
        states.any(|status| !status.contains("State:\tT"))
    };
    signal("-STOP");
    while runs() {
        std::thread::yield_now();
    }
    for path in ["/v1/switches", "/v1/switches/s"] {
        let asked = Instant::now();
        let (status, answer) = scene.rest("GET", path, &Value::Null);
        assert_eq!(
            (status, &answer["status"]),
            (503, &json!("UNAVAILABLE")),
            "{answer}"
        );
        assert!(asked.elapsed() < Duration::from_secs(30), "{path}");
    }
    signal("-CONT");
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let (status, answer) = scene.rest("GET", "/v1/switches/s", &Value::Null);
        if status == 200 {
            return;
        }
        assert!(Instant::now() < limit, "{answer}");
    }
}

/// Who has had no answer asks again. Nothing is to be done then, but what was done before may not be everywhere yet.
#[test]
fn who_applies_again_waits_for_what_was_done_before() {
    let scene = Scene::new();
    let remote = format!("--db=unix:{}", scene.path("nb.sock").display());
    let nb = |words: &[&str]| {
        let words = [&["nb", &*remote, "--timeout=60"], words].concat();
        let (is_done, text) = scene.run("weft", &words);
        assert!(is_done, "{words:?}: {text}");
    };
    nb(&["init"]);
    let apply = |wait: &str| {
        let objects = json!([{"name": "s", "logical_switch": {}}]);
        let body = json!({"owner": "o", "objects": objects, "wait": wait});
        scene.rest("POST", "/v1/apply", &body)
    };
    assert_eq!(apply("WAIT_UNSPECIFIED").0, 200);
    std::thread::scope(|scope| {
        let again = scope.spawn(|| apply("WAIT_SOUTHBOUND"));
        nb(&["wait-until", "NB_Global", ".", "nb_cfg=1"]);
        assert!(!again.is_finished(), "nobody has said that it is there");
        nb(&["set", "NB_Global", ".", "sb_cfg=1"]);
        let (status, answer) = again.join().unwrap();
        assert_eq!(status, 200, "{answer}");
        assert!(answer["changes"].is_null(), "{answer}");
    });
}

#[test]
fn changes_come_as_server_sent_events() {
    let scene = Scene::new();
    let mut stream = UnixStream::connect(scene.path("rest.sock")).unwrap();
    let request = "GET /v1/watch?kinds=switches HTTP/1.1\r\nHost: weft\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut next = || -> Value {
        loop {
            let line = lines.next().unwrap().unwrap();
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    };
    assert_eq!(next()["reset"], true);
    let switch = json!({"name": "s", "logical_switch": {}});
    assert_eq!(scene.rest("POST", "/v1/switches", &switch).0, 201);
    assert_eq!(next()["changed"][0]["name"], "s");
    assert_eq!(scene.rest("DELETE", "/v1/switches/s", &Value::Null).0, 200);
    assert_eq!(next()["gone"][0]["kind"], "KIND_LOGICAL_SWITCH");
}

#[test]
fn the_description_is_in_the_book() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/reference/openapi.json"
    );
    let text = format!("{:#}\n", api::openapi::document());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page == text, "{path} is stale: BLESS=1 writes it anew");
}

impl Scene {
    /// The output of a program that is built beside this one, and whether it was content.
    fn run(&self, program: &str, words: &[&str]) -> (bool, String) {
        let path = Path::new(env!("CARGO_BIN_EXE_weft-api")).with_file_name(program);
        assert!(
            path.exists(),
            "{} is missing: run `cargo build`",
            path.display()
        );
        let output = Command::new(path).args(words).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    /// A southbound, and northd between it and the northbound.
    fn start_northd(&mut self) {
        let program = |name: &str| {
            let path = Path::new(env!("CARGO_BIN_EXE_weft-api")).with_file_name(name);
            assert!(
                path.exists(),
                "{} is missing: run `cargo build`",
                path.display()
            );
            let mut command = Command::new(path);
            command.args(["--unixctl=none", "-vconsole:off"]);
            command
        };
        let socket = |scene: &Self, name: &str| format!("unix:{}", scene.path(name).display());
        let mut server = program("weft-sb");
        server.arg(format!("--data-dir={}", self.path("sb").display()));
        server.arg(format!("--listen=p{}", socket(self, "sb.sock")));
        self.start(&mut server);
        let mut northd = program("weft-northd");
        northd.arg(format!("--nb={}", socket(self, "nb.sock")));
        northd.arg(format!("--sb={}", socket(self, "sb.sock")));
        self.start(&mut northd);
    }
}

/// What is refused where it is written is nowhere; what a database client writes all the same is named beside it.
#[tokio::test]
async fn a_match_that_cannot_be_read_is_named_at_every_door() {
    const WRONG: &str = "ip4.src == 10.0.0.1 && ip4.sorce == 10.0.0.2";
    const WHY: &str = "unknown field \"ip4.sorce\"; perhaps ip4.src is meant";
    const CARET: &str =
        "  ip4.src == 10.0.0.1 && ip4.sorce == 10.0.0.2\n                         ^^^^^^^^^";
    let mut scene = Scene::new();
    scene.start_northd();
    let mut client = scene.client("grpc.sock").await;
    client.apply(apply(vec![switch("s")])).await.unwrap();
    let database = format!("--db=unix:{}", scene.path("nb.sock").display());

    let words = [
        "nb", &database, "acl-add", "s", "to-lport", "5", WRONG, "drop",
    ];
    let (is_done, said) = scene.run("weft", &words);
    assert!(
        !is_done && said.contains(WHY) && said.contains(CARET),
        "{said}"
    );

    let rule = v1::Object {
        name: "r".to_owned(),
        spec: Some(Spec::Acl(v1::Acl {
            logical_switches: vec!["s".to_owned()],
            priority: 5,
            direction: "to-lport".to_owned(),
            r#match: WRONG.to_owned(),
            action: "drop".to_owned(),
            ..v1::Acl::default()
        })),
        ..v1::Object::default()
    };
    let refused = client
        .apply(apply(vec![switch("s"), rule]))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let details = refused.get_details_bad_request().unwrap();
    let field = &details.field_violations[0];
    assert_eq!(field.field, "objects[1].acl.match");
    let said = &field.description;
    assert!(said.contains(WHY) && said.contains(CARET), "{said}");

    let rule = json!({"name": "r", "acl": {
        "logical_switches": ["s"], "priority": 5, "direction": "to-lport", "match": WRONG, "action": "drop",
    }});
    let (status, answer) = scene.rest("POST", "/v1/acls", &rule);
    assert_eq!(status, 400, "{answer}");
    let violation = &answer["details"][0]["fieldViolations"][0];
    assert_eq!(violation["field"], "object.acl.match", "{answer}");
    let said = violation["description"].as_str().unwrap();
    assert!(said.contains(WHY) && said.contains(CARET), "{said}");

    let (_, acls) = scene.run("weft", &["nb", &database, "list", "ACL"]);
    assert_eq!(acls.trim(), "", "nothing of it is there");
    let operations = json!(["OVN_Northbound",
        {"op": "insert", "table": "ACL", "uuid-name": "r", "row": {
            "priority": 5, "direction": "to-lport", "match": WRONG, "action": "drop"}},
        {"op": "mutate", "table": "Logical_Switch", "where": [["name", "==", "s"]],
            "mutations": [["acls", "insert", ["named-uuid", "r"]]]},
    ]);
    let written = Command::new("ovsdb-client")
        .arg("transact")
        .arg(format!("unix:{}", scene.path("nb.sock").display()))
        .arg(operations.to_string())
        .output();
    assert!(written.unwrap().status.success());
    let words = [
        "nb",
        &database,
        "--bare",
        "--columns=table,column,offset,text,why",
    ];
    let words = [&words[..], &["list", "Weft_Problem"]].concat();
    let limit = Instant::now() + Duration::from_secs(60);
    let said = loop {
        let (_, said) = scene.run("weft", &words);
        if !said.trim().is_empty() {
            break said;
        }
        assert!(Instant::now() < limit, "nobody tells of it");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let lines: Vec<&str> = said.trim().lines().collect();
    assert_eq!(lines, ["ACL", "match", "23", WRONG, WHY]);
}
