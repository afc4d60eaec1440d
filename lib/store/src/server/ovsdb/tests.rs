//! Sessions whose core is the test: what reaches it, and what does not have to.

use ovsdb::OpResult;
use ovsdb::operation::Outcome;
use serde_json::json;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::Semaphore;

use super::super::engine::fake::FakeCore;
use super::super::limits::workers::MAX_THREADS;
use super::*;
use crate::access::rule::Subject;
use crate::caller::Caller;
use crate::session::SessionId;

/// So long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client, and the core of its server.
struct Pair {
    stream: DuplexStream,
    framer: Framer,
    core: FakeCore,
    engine: Arc<Engine>,
}

impl Pair {
    fn new() -> Self {
        let schema = json!({"name": "T", "version": "1.0.0", "tables": {
            "A": {"columns": {"s": {"type": "string"}}, "isRoot": true}}});
        let schema = Arc::new(DatabaseSchema::from_json(&schema).unwrap());
        let (engine, core) = Engine::fake(&schema);
        let (stream, io) = tokio::io::duplex(1 << 20);
        let places = Arc::new(Semaphore::new(1));
        let connection = Connection {
            io: Box::new(io),
            peer: "the test".to_owned(),
            subject: Subject::default(),
            caller: Caller::unrestricted(),
            probe: None,
            permit: places.try_acquire_owned().unwrap(),
        };
        tokio::spawn(serve(engine.clone(), connection));
        Self {
            stream,
            framer: Framer::new(FrameLimits::CLIENT),
            core,
            engine,
        }
    }

    async fn send(&mut self, message: &Value) {
        let bytes = message.to_string();
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Sends transactions of one operation, named by these numbers.
    async fn transact(&mut self, ids: std::ops::Range<usize>, database: &str, operation: &Value) {
        for id in ids {
            let transact = json!({"id": id, "method": "transact", "params": [database, operation]});
            self.send(&transact).await;
        }
    }

    async fn receive(&mut self) -> Value {
        let mut chunk = [0; 4096];
        loop {
            if let Some(frame) = self.framer.next_frame().unwrap() {
                return serde_json::from_slice(frame).unwrap();
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut chunk)).await;
            let count = read.expect("an answer is due").unwrap();
            assert!(count > 0, "the server closed the connection");
            self.framer.push(&chunk[..count]);
        }
    }

    /// What the core is asked, when everything that was sent was read. The session must have nothing else to say.
    async fn asked(&mut self) -> Vec<(SessionId, RequestId, Request)> {
        self.send(&json!({"id": "echo", "method": "echo", "params": []}))
            .await;
        assert_eq!(self.receive().await["id"], json!("echo"));
        self.core.asked()
    }

    /// Answers a transaction: what the client is told.
    async fn answer(&mut self, (session, request, _): &(SessionId, RequestId, Request)) -> Value {
        let outcome: Outcome = Ok(vec![OpResult::Count(1)]);
        let answer = Output::Transacted {
            request: *request,
            asked: 1,
            outcome,
            state: None,
        };
        self.core.say(*session, answer);
        self.receive().await
    }
}

fn select() -> Value {
    json!({"op": "select", "table": "A", "where": []})
}

fn insert(text: &str) -> Value {
    json!({"op": "insert", "table": "A", "row": {"s": text}})
}

fn wait() -> Value {
    json!({"op": "wait", "table": "A", "where": [], "columns": ["s"], "until": "!=", "rows": []})
}

#[tokio::test]
async fn the_core_gets_a_few_requests_at_a_time_and_echoes_pass_them() {
    for (operation, most) in [(select(), 4), (insert("x"), 64)] {
        let mut pair = Pair::new();
        pair.transact(0..most + 30, "T", &operation).await;
        let asked = pair.asked().await;
        assert_eq!(asked.len(), most, "{operation}");
        for (index, request) in asked.iter().take(3).enumerate() {
            let answer = pair.answer(request).await;
            assert_eq!(answer["id"], json!(index));
            assert_eq!(pair.asked().await.len(), 1, "one goes, one comes");
        }
    }
}

#[tokio::test]
async fn monitors_count_as_reads() {
    let mut pair = Pair::new();
    for id in 0..9 {
        let params = json!(["T", id, {"A": {}}]);
        pair.send(&json!({"id": id, "method": "monitor_cond", "params": params}))
            .await;
    }
    assert_eq!(pair.asked().await.len(), 4);
}

#[tokio::test]
async fn what_waits_for_a_condition_keeps_nothing_from_the_core_and_can_be_cancelled() {
    let mut pair = Pair::new();
    pair.transact(0..200, "T", &wait()).await;
    pair.transact(200..201, "T", &insert("x")).await;
    let asked = pair.asked().await;
    assert_eq!(asked.len(), 201);
    pair.send(&json!({"id": null, "method": "cancel", "params": [7]}))
        .await;
    let target = asked[7].1;
    let cancelled = pair.asked().await;
    assert!(
        matches!(&cancelled[..], [(_, _, Request::Cancel { target: is })] if *is == target),
        "{cancelled:?}"
    );
    pair.core
        .say(asked[7].0, Output::Canceled { request: target });
    assert_eq!(pair.receive().await["error"]["error"], json!("canceled"));
    assert_eq!(pair.answer(&asked[200]).await["id"], json!(200));
}

#[tokio::test]
async fn what_the_core_does_not_have_yet_is_cancelled_without_it() {
    let mut pair = Pair::new();
    pair.transact(0..6, "T", &select()).await;
    pair.send(&json!({"id": null, "method": "cancel", "params": [4]}))
        .await;
    let answer = pair.receive().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["error"]),
        (&json!(4), &json!("canceled"))
    );
    let asked = pair.asked().await;
    assert_eq!(asked.len(), 4);
    pair.answer(&asked[0]).await;
    let next = pair.asked().await;
    assert_eq!(pair.answer(&next[0]).await["id"], json!(5));
}

#[tokio::test]
async fn questions_about_the_server_stand_in_line_when_they_are_no_longer_held() {
    let mut pair = Pair::new();
    let databases = json!({"op": "select", "table": "Database", "where": []});
    pair.transact(0..10, "_Server", &databases).await;
    pair.transact(10..11, "T", &select()).await;
    let asked = pair.asked().await;
    // The read that tells whether somebody leads, and what is not about that.
    assert_eq!(asked.len(), 2);
    assert_eq!(pair.answer(&asked[1]).await["id"], json!(10));
    let (session, request, _) = asked[0];
    let outcome = Ok(Vec::new());
    let known = Output::Transacted {
        request,
        asked: 0,
        outcome,
        state: None,
    };
    pair.core.say(session, known);
    // The echo may be read before what the core says.
    let mut asked = Vec::new();
    while asked.is_empty() {
        asked = pair.asked().await;
    }
    assert_eq!(asked.len(), 4);
    assert_eq!(pair.answer(&asked[0]).await["id"], json!(0));
}

#[tokio::test]
async fn whoever_asks_for_too_much_is_told_so() {
    let mut pair = Pair::new();
    pair.transact(0..MAX_OUTSTANDING, "T", &insert("x")).await;
    assert_eq!(pair.asked().await.len(), 64);
    pair.transact(MAX_OUTSTANDING..MAX_OUTSTANDING + 1, "T", &insert("x"))
        .await;
    let answer = pair.receive().await;
    assert_eq!(answer["id"], json!(MAX_OUTSTANDING));
    let error = answer["error"].to_string();
    assert!(error.contains("More than 4096 requests"), "{error}");
}

#[tokio::test]
async fn a_large_message_waits_for_its_lane_and_nothing_overtakes_it() {
    let mut pair = Pair::new();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    // Whatever else is large has to wait.
    let engine = pair.engine.clone();
    let busy = [(); MAX_THREADS].map(|()| {
        let (engine, held) = (engine.clone(), held.clone());
        tokio::spawn(async move {
            let busy = move || held.lock().unwrap().recv().is_err();
            engine.workers.run(busy).await.unwrap()
        })
    });
    tokio::task::yield_now().await;
    pair.transact(0..1, "T", &insert("small")).await;
    pair.transact(1..2, "T", &insert(&"x".repeat(2 * LARGE_BYTES)))
        .await;
    pair.transact(2..3, "T", &insert("small")).await;
    // All of it is there to be read: more turns than the session needs, on this one thread.
    let mut asked = Vec::new();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
        asked.extend(pair.core.asked());
    }
    assert_eq!(asked.len(), 1);
    drop(release);
    for busy in busy {
        assert!(busy.await.unwrap());
    }
    asked.extend(pair.asked().await);
    let lengths = asked.iter().map(|(_, _, request)| match request {
        Request::Transact { transaction, .. } => format!("{:?}", transaction.operations).len(),
        other => panic!("{other:?}"),
    });
    let large: Vec<bool> = lengths.map(|length| length > LARGE_BYTES).collect();
    assert_eq!(large, [false, true, false]);
}

#[tokio::test]
async fn large_answers_come_in_their_order() {
    let mut pair = Pair::new();
    pair.transact(0..3, "T", &select()).await;
    let asked = pair.asked().await;
    for (index, rows) in [(0, 1), (1, 20_000), (2, 1)] {
        let (session, request, _) = asked[index];
        let row = vec![("s".into(), ovsdb::Datum::from("x"))];
        let outcome = Ok(vec![OpResult::Rows(vec![row; rows])]);
        let answer = Output::Transacted {
            request,
            asked: 1,
            outcome,
            state: None,
        };
        assert_eq!(is_large(&answer), rows > 1);
        pair.core.say(session, answer);
    }
    for (index, rows) in [(0, 1), (1, 20_000), (2, 1)] {
        let answer = pair.receive().await;
        assert_eq!(answer["id"], json!(index));
        let result = answer["result"][0]["rows"].as_array().unwrap();
        assert_eq!(result.len(), rows);
    }
}
